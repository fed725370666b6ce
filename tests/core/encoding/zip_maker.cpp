#include "tests/core/encoding/zip_maker.h"

namespace shardlens::test {
namespace {

constexpr std::uint32_t kZip64Mark32 = 0xFFFFFFFF;

void put(std::string& out, std::uint64_t value, std::size_t count)
{
    for (std::size_t i = 0; i < count; ++i)
        out += i < 8 ? static_cast<char>(value >> (8 * i) & 0xFF) : '\0';
}

std::uint64_t decodedBytes(const MadeMember& member)
{
    return member.sizeBytes.value_or(member.data.size());
}

void putHeader(std::string& out, const MadeMember& member)
{
    put(out, 0x04034B50, 4);
    put(out, 45, 2);
    put(out, 0, 2);
    put(out, member.method, 2);
    put(out, 0, 8); // time, date, CRC
    put(out, member.data.size(), 4);
    put(out, decodedBytes(member), 4);
    put(out, member.name.size(), 2);
    put(out, member.padding, 2);
    out += member.name + std::string(member.padding, 'Z');
}

void putRow(std::string& out, const MadeMember& member, std::uint64_t header)
{
    put(out, 0x02014B50, 4);
    put(out, 45, 2);
    put(out, 45, 2);
    put(out, 0, 2);
    put(out, member.method, 2);
    put(out, 0, 8);
    put(out, member.wide ? kZip64Mark32 : member.data.size(), 4);
    put(out, member.wide ? kZip64Mark32 : decodedBytes(member), 4);
    put(out, member.name.size(), 2);
    put(out, member.wide ? 34 : 0, 2);
    put(out, 0, 10); // comment, disk, attributes
    put(out, member.wide ? kZip64Mark32 : header, 4);
    out += member.name;
    if (!member.wide)
        return;
    out += "UT"; // a block of another kind comes first
    put(out, 2, 2);
    out += "??";
    put(out, 1, 2);
    put(out, 24, 2);
    put(out, decodedBytes(member), 8);
    put(out, member.data.size(), 8);
    put(out, header, 8);
}

void putEnd64(std::string& out, std::uint64_t count, std::uint64_t size, std::uint64_t offset)
{
    put(out, 0x06064B50, 4);
    put(out, 44, 8);
    put(out, 0, 12); // versions, disks
    put(out, count, 8);
    put(out, count, 8);
    put(out, size, 8);
    put(out, offset, 8);
    put(out, 0x07064B50, 4);
    put(out, 0, 4);
    put(out, offset + size, 8);
    put(out, 1, 4);
}

} // namespace

MadeZip makeZip(const std::vector<MadeMember>& members, const ZipOptions& options)
{
    MadeZip out;
    out.bytes = options.before;
    const std::size_t shift = options.before.size();
    for (const MadeMember& member : members) {
        out.headers.push_back(out.bytes.size());
        putHeader(out.bytes, member);
        out.data.push_back(out.bytes.size());
        out.bytes += member.data;
    }
    const std::size_t directory = out.bytes.size();
    for (std::size_t i = 0; i < members.size(); ++i) {
        out.rows.push_back(out.bytes.size());
        putRow(out.bytes, members[i], out.headers[i] - shift);
    }
    const std::size_t size = out.bytes.size() - directory;
    if (options.zip64)
        putEnd64(out.bytes, members.size(), size, directory - shift);
    out.end = out.bytes.size();
    put(out.bytes, 0x06054B50, 4);
    put(out.bytes, 0, 4);
    put(out.bytes, options.zip64 ? 0xFFFF : members.size(), 2);
    put(out.bytes, options.zip64 ? 0xFFFF : members.size(), 2);
    put(out.bytes, options.zip64 ? kZip64Mark32 : size, 4);
    put(out.bytes, options.zip64 ? kZip64Mark32 : directory - shift, 4);
    put(out.bytes, options.comment.size(), 2);
    out.bytes += options.comment + options.after;
    return out;
}

std::string deflatedAsIs(std::string_view text)
{
    std::string out(1, '\1'); // the last block, stored
    put(out, text.size(), 2);
    put(out, ~text.size(), 2);
    return out.append(text);
}

void patch(std::string& bytes, std::size_t at, std::uint64_t value, std::size_t count)
{
    std::string field;
    put(field, value, count);
    bytes.replace(at, count, field);
}

} // namespace shardlens::test
