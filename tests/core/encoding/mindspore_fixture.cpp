#include "tests/core/encoding/mindspore_fixture.h"
#include "tests/support/mindspore_test_run.h"

#include "core/base/text.h"
#include "core/io/checksum.h"
#include "tests/core/encoding/encoding_fixture.h"

#include <fmt/format.h>

namespace shardlens::test {
namespace {

using mindspore::CkptEntry;

std::string hexOfBytes(std::string_view bytes)
{
    std::string out;
    for (const char c : bytes)
        out += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return out;
}

std::string entryLine(std::string_view file, const CkptEntry& entry)
{
    std::string out = printable(entry.name);
    if (!entry.tag.empty())
        out += fmt::format(" (tag {})", printable(entry.tag));
    if (entry.kind == CkptEntry::Kind::Text)
        return fmt::format("{}: text '{}'", out, printable(entry.text));
    const std::string kind = entry.kind == CkptEntry::Kind::Opaque ? "opaque " : entry.kind == CkptEntry::Kind::MapTensor ? "map " : "";
    return fmt::format("{}: {}{} {} {} {}{}", out, kind, printable(entry.typeName), nameOf(entry.dtype), shapeText(entry.shape), entry.wideBFloat16 ? "wide " : "",
                       hexOfBytes(ckptValues(file, entry)));
}

} // namespace

std::string pbVarint(std::uint64_t value)
{
    std::string out;
    for (; value >= 0x80; value >>= 7)
        out += static_cast<char>((value & 0x7f) | 0x80);
    return out + static_cast<char>(value);
}

std::string pbBytes(int field, std::string_view bytes)
{
    return pbVarint(static_cast<std::uint64_t>(field) << 3 | 2) + pbVarint(bytes.size()) + std::string(bytes);
}

std::string pbNumber(int field, std::uint64_t value)
{
    return pbVarint(static_cast<std::uint64_t>(field) << 3) + pbVarint(value);
}

std::string ckptTensor(const std::vector<std::int64_t>& dims, std::string_view type, std::string_view content)
{
    std::string out;
    for (const std::int64_t dim : dims)
        out += pbNumber(1, static_cast<std::uint64_t>(dim));
    return out + pbBytes(2, type) + pbBytes(3, content);
}

std::string ckptRecord(std::string_view tag, std::string_view tensor)
{
    return pbBytes(1, pbBytes(1, tag) + pbBytes(2, tensor));
}

std::string ckptMapRecord(std::string_view tag, const std::vector<std::string>& tensors)
{
    std::string map;
    for (const std::string& tensor : tensors)
        map += pbBytes(1, tensor);
    return pbBytes(1, pbBytes(1, tag) + pbBytes(3, map));
}

std::string ckptTrailer(std::string_view content)
{
    return crcTrailerText(crc32Of(toBytes(content)));
}

std::string ckptOfFour()
{
    return fromHex("0a 24 0a 01 77 12 1f 08 02 08 02 12 07 46 6c 6f 61 74 33 32 1a 10 00 00 80 3f 00 00 00 40 00 00 40 40 00 00 80 40"
                   "0a 17 0a 01 62 12 12 08 02 12 08 42 46 6c 6f 61 74 31 36 1a 04 80 3f 00 40"
                   "0a 15 0a 04 73 74 65 70 12 0d 12 05 49 6e 74 33 32 1a 04 07 00 00 00"
                   "0a 19 0a 04 6e 6f 74 65 12 11 08 00 12 03 73 74 72 1a 08 68 00 00 00 69 00 00 00");
}

std::string ckptMapOfEmb()
{
    return fromHex("0a 52 0a 03 65 6d 62 1a 4b 0a 13 08 02 12 05 69 6e 74 33 32 1a 08 05 00 00 00 09 00 00 00"
                   "0a 1f 08 02 08 02 12 07 66 6c 6f 61 74 33 32 1a 10 00 00 80 3f 00 00 00 40 00 00 40 40 00 00 80 40"
                   "0a 13 08 02 12 05 69 6e 74 33 32 1a 08 01 00 00 00 01 00 00 00");
}

std::string ckptValues(std::string_view file, const CkptEntry& entry)
{
    std::string out;
    for (const mindspore::CkptPiece& piece : entry.pieces)
        out += file.substr(piece.offset, piece.length);
    return out;
}

std::string shownCkpt(std::string_view bytes)
{
    const auto source = memory(bytes);
    const auto file = mindspore::readCkpt(*source);
    if (!file)
        return codeName(file.error().code()) + ": " + file.error().text();
    std::string out;
    for (const CkptEntry& entry : file->entries)
        out += entryLine(bytes, entry) + "\n";
    for (const mindspore::CkptLost& lost : file->lost)
        out += fmt::format("lost {} ({}): {}\n", printable(lost.name), lost.code, lost.problem);
    for (const mindspore::CkptNote& note : file->notes)
        out += fmt::format("{} ({}): {}\n", note.severity == Severity::Error ? "error" : note.severity == Severity::Warning ? "warning" : "info", note.code, note.text);
    return out;
}

std::string filledLayout(const mindspore::CkptLayout& layout, const std::function<std::string(std::size_t)>& values)
{
    std::string out(layout.sizeBytes, '?');
    for (const mindspore::CkptLiteral& literal : layout.literals)
        out.replace(literal.offset, literal.bytes.size(), reinterpret_cast<const char*>(literal.bytes.data()), literal.bytes.size());
    for (const mindspore::CkptRun& run : layout.runs)
        out.replace(run.offset, run.length, values(run.entry).substr(run.firstByte, run.length));
    return out;
}

} // namespace shardlens::test
