#include "core/encoding/zip.h"

#include "core/base/endian.h"
#include "core/base/text.h"

#include <fmt/format.h>
#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <strings.h>

namespace shardlens {

// End record: sig(4) disk(2) disk(2) count(2) count(2) size(4) offset(4) comment(2)
// ZIP64 end: sig(4) size(8) made(2) needed(2) disk(4) disk(4) count(8) count(8) size(8) offset(8); locator: sig(4) disk(4) offset(8) disks(4)
// Row: sig(4) made(2) needed(2) flags(2) method(2) time(2) date(2) crc(4) stored(4) size(4) name(2) extra(2) comment(2) disk(2) attr(2) attr(4) offset(4)
// Local header: sig(4) needed(2) flags(2) method(2) time(2) date(2) crc(4) stored(4) size(4) name(2) extra(2)
struct ZipArchive::Directory {
    std::uint64_t count = 0;
    std::uint64_t size = 0;
    std::uint64_t offset = 0;
    std::uint64_t endsAt = 0; // offset of the first end record: the directory lies just before it
};

namespace {

constexpr std::size_t kMostArchivesInARow = 1'000'000;
constexpr std::uint32_t kLocalSignature = 0x04034B50;
constexpr std::uint32_t kRowSignature = 0x02014B50;
constexpr std::uint32_t kEndSignature = 0x06054B50;
constexpr std::uint32_t kEnd64Signature = 0x06064B50;
constexpr std::uint32_t kLocator64Signature = 0x07064B50;
constexpr std::uint64_t kEndBytes = 22;
constexpr std::uint64_t kEnd64Bytes = 56;
constexpr std::uint64_t kLocatorBytes = 20;
constexpr std::uint64_t kDirectoryRowBytes = 46;
constexpr std::uint64_t kLocalHeaderBytes = 30;
constexpr std::uint64_t kSearched = 1u << 20; // the end record is looked for in this many last bytes
constexpr std::uint64_t kMaxDirectoryBytes = 1ull << 30;
constexpr std::size_t kMaxMembers = 1'000'000;
constexpr std::size_t kPollEvery = 4096; // members
constexpr std::uint32_t kNoField32 = 0xFFFFFFFF;

Error corrupt(std::string text)
{
    return {ErrorCode::Corrupt, std::move(text)};
}

// Offset of the end record: the last bytes as a rule, else searched backwards.
Result<std::uint64_t> findEnd(const ByteSource& source)
{
    std::array<std::byte, kEndBytes> last{};
    SHARDLENS_TRY(source.readAt(source.size() - kEndBytes, last));
    if (loadLe32(last.data()) == kEndSignature && loadLe16(last.data() + 20) == 0)
        return source.size() - kEndBytes;
    const std::uint64_t length = std::min(source.size(), kSearched);
    SHARDLENS_ASSIGN(const auto tail, readBytes(source, source.size() - length, length, kSearched));
    for (std::uint64_t at = length >= kEndBytes ? length - kEndBytes + 1 : 0; at-- > 0;)
        if (loadLe32(tail.data() + at) == kEndSignature)
            return source.size() - length + at;
    return corrupt("truncated archive: it begins as a zip and has no central directory at its end");
}

// Replaces what is 0xFFFFFFFF by the numbers of the ZIP64 block, in their order.
void applyZip64(std::span<const std::byte> extra, ZipMember& member)
{
    for (std::size_t at = 0; at + 4 <= extra.size();) {
        const std::uint16_t id = loadLe16(extra.data() + at);
        const std::size_t length = std::min<std::size_t>(loadLe16(extra.data() + at + 2), extra.size() - at - 4);
        std::span<const std::byte> body = extra.subspan(at + 4, length);
        at += 4 + length;
        if (id != 1)
            continue;
        for (std::uint64_t* field : {&member.sizeBytes, &member.storedBytes, &member.headerOffset})
            if (*field == kNoField32 && body.size() >= 8) {
                *field = loadLe64(body.data());
                body = body.subspan(8);
            }
    }
}

} // namespace

Result<ZipArchive> ZipArchive::open(const ByteSource& source, const JobContext* job)
{
    if (source.size() < kEndBytes)
        return corrupt(fmt::format("truncated archive: {} B", source.size()));
    SHARDLENS_ASSIGN(const std::uint64_t end, findEnd(source));
    std::array<std::byte, kEndBytes> record{};
    SHARDLENS_TRY(source.readAt(end, record));
    Directory directory{loadLe16(record.data() + 10), loadLe32(record.data() + 12), loadLe32(record.data() + 16), end};
    ZipArchive out(source);
    const std::uint64_t comment = loadLe16(record.data() + 20);
    if (const std::uint64_t after = source.size() - end - kEndBytes; after != comment) {
        out.m_trailing = after > comment ? after - comment : after;
        out.m_notes.push_back({"trailing-bytes", fmt::format("{} B after the archive's end", groupedText(out.m_trailing))});
    }
    std::array<std::byte, kLocatorBytes> locator{};
    if (end >= kLocatorBytes + kEnd64Bytes) {
        SHARDLENS_TRY(source.readAt(end - kLocatorBytes, locator));
        if (loadLe32(locator.data()) == kLocator64Signature) {
            // The ZIP64 record lies just before its locator, wherever the locator says: bytes before the archive shift every offset.
            directory.endsAt = end - kLocatorBytes - kEnd64Bytes;
            std::array<std::byte, kEnd64Bytes> wide{};
            SHARDLENS_TRY(source.readAt(directory.endsAt, wide));
            if (loadLe32(wide.data()) != kEnd64Signature)
                return corrupt("the ZIP64 end record is not where it should be");
            directory.count = loadLe64(wide.data() + 32);
            directory.size = loadLe64(wide.data() + 40);
            directory.offset = loadLe64(wide.data() + 48);
        }
    }
    SHARDLENS_TRY(out.readDirectory(directory, job));
    return out;
}

Status ZipArchive::readDirectory(const Directory& directory, const JobContext* job)
{
    if (directory.size > directory.endsAt)
        return corrupt(fmt::format("central directory: {} B declared, {} before its end", groupedText(directory.size), groupedText(directory.endsAt)));
    const std::uint64_t begin = directory.endsAt - directory.size;
    if (begin < directory.offset)
        return corrupt(fmt::format("central directory: offset {} declared, it can begin at {} at most", groupedText(directory.offset), groupedText(begin)));
    m_shift = begin - directory.offset;
    if (m_shift != 0)
        m_notes.push_back({"leading-bytes", fmt::format("{} B before the archive's start", groupedText(m_shift))});
    SHARDLENS_ASSIGN(const auto bytes, readBytes(*m_source, begin, directory.size, kMaxDirectoryBytes));
    std::span<const std::byte> left(bytes);
    m_members.reserve(std::min<std::uint64_t>({directory.count, directory.size / kDirectoryRowBytes, kMaxMembers}));
    while (left.size() >= kDirectoryRowBytes && loadLe32(left.data()) == kRowSignature) {
        if (m_members.size() >= kMaxMembers)
            return Error{ErrorCode::LimitExceeded, fmt::format("more than {} members", groupedText(kMaxMembers))};
        if (job != nullptr && m_members.size() % kPollEvery == 0)
            SHARDLENS_TRY(job->poll());
        const std::byte* row = left.data();
        const std::uint64_t nameBytes = loadLe16(row + 28);
        const std::uint64_t extraBytes = loadLe16(row + 30);
        const std::uint64_t rowBytes = kDirectoryRowBytes + nameBytes + extraBytes + loadLe16(row + 32);
        if (rowBytes > left.size())
            return corrupt(fmt::format("central directory: row {} needs {} B, {} left", m_members.size(), rowBytes, left.size()));
        ZipMember member{std::string(reinterpret_cast<const char*>(row + kDirectoryRowBytes), nameBytes), loadLe32(row + 42), loadLe32(row + 20), loadLe32(row + 24),
                         loadLe32(row + 16), loadLe16(row + 10), (loadLe16(row + 8) & 1) != 0, loadLe16(row + 8)};
        applyZip64(left.subspan(kDirectoryRowBytes + nameBytes, extraBytes), member);
        if (member.headerOffset > m_source->size() - m_shift)
            return corrupt(fmt::format("{}: its header lies at {}, and the file ends at {}", printable(member.name), groupedText(member.headerOffset), groupedText(m_source->size())));
        member.headerOffset += m_shift;
        m_members.push_back(std::move(member));
        left = left.subspan(rowBytes);
    }
    if (!left.empty())
        return corrupt(fmt::format("central directory: {} B after row {} are no row", left.size(), m_members.size()));
    if (m_members.size() != directory.count && directory.count != 0xFFFF)
        m_notes.push_back({"wrong-count", fmt::format("the directory has {}, its end record says {}", plural(m_members.size(), "member", "members"), directory.count)});
    m_byName.reserve(m_members.size());
    for (std::size_t i = 0; i < m_members.size(); ++i)
        if (!m_byName.try_emplace(m_members[i].name, i).second)
            m_notes.push_back({"duplicate-member", fmt::format("two members are named {}; the first counts", printable(m_members[i].name))});
    return {};
}

const ZipMember* ZipArchive::findExact(std::string_view name) const
{
    const auto at = m_byName.find(name);
    return at != m_byName.end() ? &m_members[at->second] : nullptr;
}

const ZipMember* ZipArchive::find(std::string_view name) const
{
    if (const ZipMember* exact = findExact(name))
        return exact;
    for (const ZipMember& member : m_members)
        if (member.name.size() == name.size() && ::strncasecmp(member.name.data(), name.data(), name.size()) == 0)
            return &member;
    return nullptr;
}

Result<std::uint64_t> ZipArchive::dataOffset(const ZipMember& member) const
{
    std::array<std::byte, kLocalHeaderBytes> header{};
    if (Status read = m_source->readAt(member.headerOffset, header); !read)
        return read.takeError().within(printable(member.name));
    if (loadLe32(header.data()) != kLocalSignature)
        return corrupt(fmt::format("{}: no local header at {}", printable(member.name), groupedText(member.headerOffset)));
    if (member.encrypted)
        return Error{ErrorCode::Unsupported, fmt::format("{} is encrypted", printable(member.name))};
    const std::uint64_t offset = member.headerOffset + kLocalHeaderBytes + loadLe16(header.data() + 26) + loadLe16(header.data() + 28);
    if (offset > m_source->size() || member.storedBytes > m_source->size() - offset)
        return corrupt(fmt::format("{} needs {} B at {}, and the file ends at {}", printable(member.name), groupedText(member.storedBytes), groupedText(offset),
                                   groupedText(m_source->size())));
    return offset;
}

Result<std::vector<std::byte>> ZipArchive::read(const ZipMember& member, std::uint64_t limit) const
{
    SHARDLENS_ASSIGN(const std::uint64_t offset, dataOffset(member));
    if (member.method == 0) {
        if (member.storedBytes != member.sizeBytes)
            return corrupt(fmt::format("{} is stored with {} B and says {} B", printable(member.name), groupedText(member.storedBytes), groupedText(member.sizeBytes)));
        return readBytes(*m_source, offset, member.sizeBytes, limit);
    }
    if (member.method != 8)
        return Error{ErrorCode::Unsupported, fmt::format("{} is compressed by method {}; stored and deflated are read", printable(member.name), member.method)};
    SHARDLENS_ASSIGN(const auto packed, readBytes(*m_source, offset, member.storedBytes, limit));
    // deflate gains at most about 1032 : 1, so a larger claim is a lie and costs nothing
    if (member.sizeBytes > limit || member.sizeBytes / 1032 > member.storedBytes)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} says {} B from {} compressed", printable(member.name), groupedText(member.sizeBytes), groupedText(member.storedBytes))};
    std::vector<std::byte> out(member.sizeBytes);
    libdeflate_decompressor* decoder = libdeflate_alloc_decompressor();
    std::size_t made = 0;
    const libdeflate_result result = libdeflate_deflate_decompress(decoder, packed.data(), packed.size(), out.data(), out.size(), &made);
    libdeflate_free_decompressor(decoder);
    if (result != LIBDEFLATE_SUCCESS || made != out.size())
        return corrupt(fmt::format("{} does not decompress to its {} B", printable(member.name), groupedText(member.sizeBytes)));
    return out;
}

Result<ZipLocalHeader> readLocalHeader(const ByteSource& source, std::uint64_t offset)
{
    constexpr std::uint64_t kUsualBytes = kLocalHeaderBytes + 96; // with the name, as a rule: one read for both
    if (offset > source.size() || source.size() - offset < kLocalHeaderBytes)
        return corrupt(fmt::format("no local header at {}: the file ends at {}", groupedText(offset), groupedText(source.size())));
    std::array<std::byte, kUsualBytes> head{};
    const std::uint64_t count = std::min(kUsualBytes, source.size() - offset);
    SHARDLENS_TRY(source.readAt(offset, std::span(head).first(count)));
    if (loadLe32(head.data()) != kLocalSignature)
        return corrupt(fmt::format("no local header at {}", groupedText(offset)));
    const std::uint64_t nameBytes = loadLe16(head.data() + 26);
    if (nameBytes > source.size() - offset - kLocalHeaderBytes)
        return corrupt(fmt::format("the local header at {} is cut off", groupedText(offset)));
    std::string name(reinterpret_cast<const char*>(head.data()) + kLocalHeaderBytes, std::min(nameBytes, count - kLocalHeaderBytes));
    if (name.size() < nameBytes) {
        name.resize(nameBytes);
        SHARDLENS_TRY(source.readAt(offset + kLocalHeaderBytes, std::as_writable_bytes(std::span(name))));
    }
    return ZipLocalHeader{std::move(name), loadLe16(head.data() + 6), loadLe16(head.data() + 8), loadLe32(head.data() + 18),
                          offset + kLocalHeaderBytes + nameBytes + loadLe16(head.data() + 28)};
}

Status inflateInto(const ByteSource& source, std::uint64_t offset, std::uint64_t storedBytes, std::uint64_t most, const std::function<Status(std::span<const std::byte>)>& visit)
{
    constexpr std::size_t kStep = 64u << 10;
    if (offset > source.size() || storedBytes > source.size() - offset)
        return corrupt(fmt::format("{} B at {}, and the file ends at {}", groupedText(storedBytes), groupedText(offset), groupedText(source.size())));
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
        return Error{ErrorCode::LimitExceeded, "no memory to decompress"};
    const std::unique_ptr<z_stream, decltype(&inflateEnd)> keeper(&stream, &inflateEnd);
    std::vector<std::byte> in(kStep);
    std::vector<std::byte> out(kStep);
    for (int answer = Z_OK; answer == Z_OK && most > 0;) {
        if (stream.avail_in == 0) {
            const std::size_t count = std::min<std::uint64_t>(kStep, storedBytes);
            if (count == 0)
                return corrupt("compressed data that break off");
            SHARDLENS_TRY(source.readAt(offset, std::span(in).first(count)));
            offset += count;
            storedBytes -= count;
            stream.next_in = reinterpret_cast<Bytef*>(in.data());
            stream.avail_in = static_cast<uInt>(count);
        }
        const std::size_t room = std::min<std::uint64_t>(kStep, most);
        stream.next_out = reinterpret_cast<Bytef*>(out.data());
        stream.avail_out = static_cast<uInt>(room);
        answer = inflate(&stream, Z_NO_FLUSH);
        if (answer != Z_OK && answer != Z_STREAM_END && answer != Z_BUF_ERROR)
            return corrupt("data that do not decompress");
        answer = answer == Z_BUF_ERROR ? Z_OK : answer;
        most -= room - stream.avail_out;
        SHARDLENS_TRY(visit(std::span<const std::byte>(out).first(room - stream.avail_out)));
    }
    return {};
}

Result<std::vector<std::byte>> inflatePrefix(const ByteSource& source, std::uint64_t offset, std::uint64_t storedBytes, std::uint64_t most)
{
    std::vector<std::byte> out;
    SHARDLENS_TRY(inflateInto(source, offset, storedBytes, most, [&](std::span<const std::byte> bytes) -> Status {
        out.insert(out.end(), bytes.begin(), bytes.end());
        return {};
    }));
    return out;
}

namespace {

// A local header begins at `at`, or as much of its signature as there is room for.
bool beginsArchive(const ByteSource& source, std::uint64_t at)
{
    constexpr std::array kSignature{std::byte{'P'}, std::byte{'K'}, std::byte{3}, std::byte{4}};
    std::array<std::byte, 4> head{};
    const auto count = static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(head.size(), source.size() - at));
    return source.readAt(at, std::span(head).first(static_cast<std::size_t>(count))).ok() && std::equal(head.begin(), head.begin() + count, kSignature.begin());
}

constexpr std::size_t kMostEndsTried = 1000; // values may look like one

// Where the last whole archive ends, looked for from the end back however far that is; nothing where there is none.
std::optional<std::uint64_t> lastArchiveEnd(const std::shared_ptr<const ByteSource>& source, const JobContext& job)
{
    std::size_t tried = 0;
    for (std::uint64_t before = source->size(); before >= kEndBytes;) {
        if (!job.poll())
            return std::nullopt;
        const std::uint64_t length = std::min(before, kSearched);
        const auto block = readBytes(*source, before - length, length, kSearched);
        if (!block)
            return std::nullopt;
        for (std::uint64_t at = length - 3; at-- > 0;) {
            const std::uint64_t record = before - length + at;
            if (loadLe32(block->data() + at) != kEndSignature || record + kEndBytes > source->size())
                continue;
            std::array<std::byte, 2> comment{};
            if (!source->readAt(record + 20, comment))
                return std::nullopt;
            const std::uint64_t end = record + kEndBytes + loadLe16(comment.data());
            if (end > source->size())
                continue;
            if (++tried > kMostEndsTried)
                return std::nullopt;
            const SliceSource front(source, 0, end);
            if (const auto archive = ZipArchive::open(front, &job); archive && !archive->members().empty() && archive->trailingBytes() == 0)
                return end;
        }
        before = length < kSearched ? 0 : before - length + 3; // a signature may lie across the border
    }
    return std::nullopt;
}

} // namespace

ArchiveRow archivesInARow(const std::shared_ptr<const ByteSource>& source, const JobContext& job)
{
    const auto last = lastArchiveEnd(source, job);
    if (!last || (*last < source->size() && !beginsArchive(*source, *last)))
        return {};
    ArchiveRow out{{}, *last};
    for (std::uint64_t end = *last; end > 0;) { // from the last one: only its end says where an archive is
        const SliceSource front(source, 0, end);
        const auto archive = ZipArchive::open(front, &job);
        const bool isWhole = archive && !archive->members().empty() && archive->trailingBytes() == 0;
        if (!isWhole || archive->leadingBytes() >= end || out.begins.size() >= kMostArchivesInARow)
            return {};
        end = archive->leadingBytes();
        out.begins.push_back(end);
    }
    std::ranges::reverse(out.begins);
    return out;
}

} // namespace shardlens
