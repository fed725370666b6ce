#include "core/analysis/file_scanner.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/pickle/graph.h"
#include "core/encoding/pickle/instruction.h"
#include "core/encoding/torch_storage_types.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <unordered_map>

namespace shardlens {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kHeadBytes = 512;
constexpr std::uint64_t kTarBlock = 512;
constexpr std::uint64_t kMaxKeyBytes = 256ull << 20;
constexpr std::uint32_t kLegacyPickles = 5;
constexpr std::string_view kLegacyMagic = "\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19"sv; // LONG1 of ten bytes
constexpr std::uint64_t kMaxTarMembers = 100'000;
constexpr int kMaxTarDepth = 3;

struct OtherFormat {
    std::string_view magic;
    const char* what;
};
constexpr std::array<OtherFormat, 9> kOtherFormats{{{"version https://git-lfs"sv, "a Git LFS pointer: the real file was not downloaded"},
                                                    {"\x89PNG"sv, "a PNG picture"},
                                                    {"GGUF"sv, "a GGUF file"},
                                                    {"<!"sv, "an HTML page"},
                                                    {"<html"sv, "an HTML page"},
                                                    {"\x7F" "ELF"sv, "a program"},
                                                    {"%PDF"sv, "a PDF document"},
                                                    {"{"sv, "text that begins as JSON"},
                                                    {"\xFF\xD8\xFF"sv, "a JPEG picture"}}};

constexpr std::array<OtherFormat, 7> kCompressed{{{"\x1F\x8B\x08"sv, "gzip"},
                                                   {"BZh"sv, "bzip2"},
                                                   {"\xFD" "7zXZ"sv, "xz"},
                                                   {"\x5D\0\0"sv, "lzma"},
                                                   {"\x28\xB5\x2F\xFD"sv, "zstd"},
                                                   {"\x04\x22\x4D\x18"sv, "lz4"},
                                                   {"Rar!\x1A\x07"sv, "RAR"}}};

// What compressed a file, as joblib, pandas and people do with pickles; nullptr where nothing did.
const char* compressionOf(const ByteSource& source, std::string_view head)
{
    for (const OtherFormat& one : kCompressed)
        if (head.starts_with(one.magic))
            return one.what;
    const bool zlibHead = head.size() > 2 && head[0] == 'x' && (static_cast<std::uint8_t>(head[0]) * 256 + static_cast<std::uint8_t>(head[1])) % 31 == 0;
    return zlibHead && inflatePrefix(source, 2, source.size() - 2, 64) ? "zlib" : nullptr;
}

std::string headOf(const ByteSource& source, std::uint64_t begin, std::uint64_t end)
{
    std::string out(std::min(kHeadBytes, end - begin), '\0');
    return source.readAt(begin, std::as_writable_bytes(std::span(out))) ? out : std::string{};
}

bool isTarHead(std::string_view head)
{
    return head.size() == kHeadBytes && head.substr(257, 5) == "ustar";
}

bool isSafetensorsHead(std::string_view head, std::uint64_t size)
{
    return head.size() > 8 && head[8] == '{' && loadLe64(reinterpret_cast<const std::byte*>(head.data())) <= size - 8;
}

// PROTO with a number that no Python knows yet, and an opcode behind it.
bool isOfNewerProtocol(std::string_view head)
{
    return head.size() > 2 && head[0] == '\x80' && !beginsAsPickle(head) && pickle::opcodeInfo(static_cast<std::uint8_t>(head[2])) != nullptr;
}

std::optional<std::uint64_t> octal(std::string_view field)
{
    field = field.substr(0, field.find('\0'));
    while (!field.empty() && field.front() == ' ')
        field.remove_prefix(1);
    field = field.substr(0, field.find(' '));
    std::uint64_t out = 0;
    const auto [end, problem] = std::from_chars(field.data(), field.data() + field.size(), out, 8);
    return problem == std::errc{} && end == field.data() + field.size() ? std::optional(out) : std::nullopt;
}

std::uint64_t elementBytesOf(std::string_view storageClass)
{
    const auto dtype = dtypeOfStorageClass(storageClass);
    return dtype ? info(*dtype).bytesPerBlock : 1;
}

} // namespace

Status FileScanner::scan(std::size_t index)
{
    m_file = index;
    m_nestedBytes = 0;
    m_nestedCount = 0;
    m_decodedBytes = 0;
    SHARDLENS_ASSIGN(const auto source, FileSource::open(m_report.files[index].path));
    m_report.files[index].sizeBytes = source->size();
    SHARDLENS_TRY(scanContainer(source, Place{}, Claim::Perhaps));
    ScannedFile& file = m_report.files[index];
    if (file.kind.empty())
        file.kind = file.streams > 0 ? "pickle" : "no pickle: " + whatElse(source);
    return {};
}

std::string FileScanner::whatElse(const Source& source)
{
    if (source->size() == 0)
        return "an empty file";
    const std::string head = headOf(*source, 0, source->size());
    for (const OtherFormat& other : kOtherFormats)
        if (head.starts_with(other.magic))
            return other.what;
    if (isSafetensorsHead(head, source->size()))
        return "a safetensors file";
    if (std::ranges::all_of(head, [](char c) { return c == 0; }))
        return "zeros (an interrupted copy?)";
    return "no format that is known";
}

Status FileScanner::scanContainer(const Source& source, const Place& place, Claim claim)
{
    if (source->size() == 0)
        return {};
    const std::string head = headOf(*source, 0, source->size());
    std::string& kind = m_report.files[m_file].kind;
    const bool isFile = place.depth == 0 && place.member.empty();
    if (head.starts_with("PK")) {
        kind = isFile ? "zip archive" : kind;
        return scanZip(source, place);
    }
    if (head.starts_with("7z\xBC\xAF\x27\x1C"sv)) {
        kind = isFile ? "7-Zip archive" : kind;
        add(place, 4, "A7", 0, "a 7-Zip archive, which PyTorch does not load: not scanned");
        m_report.files[m_file].scanned = false;
        return {};
    }
    if (const char* how = claim == Claim::Perhaps ? compressionOf(*source, head) : nullptr) {
        kind = isFile ? fmt::format("compressed by {}", how) : kind;
        add(place, 3, "A10", 0, fmt::format("compressed by {}, which is not looked into: decompress it and scan the result", how));
        m_report.files[m_file].scanned = false;
    }
    SHARDLENS_ASSIGN(const std::uint64_t end, scanUnzipped(source, place, claim));
    const auto archive = ZipArchive::open(*source, &m_job);
    const bool isBehind = archive && !archive->members().empty() && archive->leadingBytes() >= end; // and no value of a pickle
    if (isBehind) {
        add(place, 4, "A8", archive->leadingBytes(), "an archive behind other data: two programs see two different files");
        kind = isFile ? "zip archive behind other data" : kind;
        return scanArchive(source, *archive, place);
    }
    return {};
}

Result<std::uint64_t> FileScanner::scanUnzipped(const Source& source, const Place& place, Claim claim)
{
    const std::string head = headOf(*source, 0, source->size());
    std::string& kind = m_report.files[m_file].kind;
    const bool isFile = place.depth == 0 && place.member.empty();
    if (head.starts_with("\x93NUMPY")) {
        kind = isFile ? "NumPy array" : kind;
        SHARDLENS_TRY(scanNumpy(source, 0, source->size(), place));
        return std::uint64_t{0};
    }
    if (isTarHead(head)) {
        kind = isFile ? "tar archive" : kind;
        return scanTar(source, place);
    }
    if (std::string_view(head).substr(0, 40).find(kLegacyMagic) != std::string_view::npos && beginsAsPickle(head)) {
        kind = isFile ? "torch file (legacy)" : kind;
        return scanLegacy(source, place);
    }
    if (claim == Claim::Perhaps) // a header of safetensors may begin with the bytes of a pickle
        claim = isSafetensorsHead(head, source->size()) ? Claim::Data : beginsAsPickle(head) || isOfNewerProtocol(head) ? Claim::Named : claim;
    SHARDLENS_ASSIGN(const Row row, scanRow(source, 0, source->size(), claim, place));
    if (row.stopped && row.end < source->size())
        add(place, 0, "P19", row.end, fmt::format("{} B after the pickle are never read", groupedText(source->size() - row.end)));
    return row.end;
}

// \x93NUMPY, version(2), header length (2 or 4), header as Python source, data: a pickle where the dtype holds objects.
Status FileScanner::scanNumpy(const Source& source, std::uint64_t begin, std::uint64_t end, const Place& place)
{
    const std::string head = headOf(*source, begin, end);
    const bool isWide = head.size() > 12 && head[6] >= 2;
    const std::uint64_t fixed = isWide ? 12 : 10;
    if (head.size() < fixed)
        return {};
    const auto* const field = reinterpret_cast<const std::byte*>(head.data()) + 8;
    const std::uint64_t length = isWide ? loadLe32(field) : loadLe16(field);
    if (length > end - begin - fixed || length > (1u << 20)) {
        add(place, 4, "A12", begin - place.origin,
            fmt::format("the array's header needs {} B, {} left: not scanned", groupedText(length), groupedText(end - begin - fixed)));
        return {};
    }
    std::string header(length, '\0');
    SHARDLENS_TRY(source->readAt(begin + fixed, std::as_writable_bytes(std::span(header))));
    const std::size_t descr = header.find("'descr'");
    const std::string_view dtype = std::string_view(header).substr(descr == std::string::npos ? 0 : descr + 7);
    if (dtype.substr(0, dtype.find("'fortran_order'")).find('O') == std::string_view::npos)
        return {};
    SHARDLENS_ASSIGN(const Row row, scanRow(source, begin + fixed + length, end, Claim::Named, place));
    (void)row;
    return {};
}

Result<std::uint64_t> FileScanner::scanTar(const Source& source, const Place& place)
{
    std::uint64_t members = 0;
    std::uint64_t at = 0;
    while (source->size() - at >= kTarBlock) {
        SHARDLENS_TRY(m_job.poll());
        const std::string header = headOf(*source, at, source->size());
        const auto length = octal(std::string_view(header).substr(124, 12));
        if (!isTarHead(header))
            break;
        const std::uint64_t begin = at + kTarBlock;
        if (!length || *length > source->size() - begin || ++members > kMaxTarMembers) {
            add(place, 4, "A5", at, "a tar archive that breaks off: what follows was not scanned");
            m_report.files[m_file].scanned = false;
            break;
        }
        Place inner = place;
        inner.member = (place.member.empty() ? "" : place.member + " ") + std::string(header.c_str());
        inner.origin = begin;
        SHARDLENS_TRY(scanTarParts(source, begin, begin + *length, inner));
        at = std::min(source->size(), begin + (*length + kTarBlock - 1) / kTarBlock * kTarBlock);
    }
    return at;
}

// Members of PyTorch's first format; `storages` and `tensors` hold numbers between their pickles (formats/pytorch.md §6.2).
Status FileScanner::scanTarParts(const Source& source, std::uint64_t begin, std::uint64_t end, const Place& place)
{
    const std::string_view name = std::string_view(place.member).substr(place.member.find_last_of("/ ") + 1);
    const bool isPart = name == "storages" || name == "tensors" || name == "pickle" || name == "sys_info";
    if (end == begin)
        return {};
    if (!isPart)
        return scanTarMember(source, begin, end, place);
    if (name != "storages" && name != "tensors") {
        SHARDLENS_ASSIGN(const Row row, scanRow(source, begin, end, Claim::Named, place));
        (void)row;
        return {};
    }
    for (std::uint64_t at = begin, number = 0; at < end; ++number) {
        SHARDLENS_TRY(m_job.poll());
        Stream stream;
        SHARDLENS_ASSIGN(const bool isPickle, scanOne(source, at, end, Claim::Named, place, stream));
        (void)isPickle;
        at = stream.end;
        const bool stopped = stream.scan.stopped;
        const std::uint64_t element = stream.scan.imports.empty() ? 1 : elementBytesOf(stream.scan.imports.front().name);
        const bool hasNumbers = !stream.scan.imports.empty();
        SHARDLENS_TRY(report(stream, static_cast<std::uint32_t>(number), place));
        if (!stopped)
            return {};
        std::array<std::byte, 8> field{};
        if (!hasNumbers || end - at < field.size())
            continue;
        SHARDLENS_TRY(source->readAt(at, field));
        const std::uint64_t count = name == "storages" ? loadLe64(field.data()) : 2 * std::uint64_t{loadLe32(field.data())} + 1;
        const std::uint64_t width = name == "storages" ? element : 8;
        at += field.size();
        if (count > (end - at) / width) {
            add(place, 4, "P6", at - place.origin, fmt::format("truncated: {} values declared, {} B left", groupedText(count), groupedText(end - at)));
            return {};
        }
        at += count * width;
    }
    return {};
}

// A file of its own in a plain archive, as .nemo and .tar of whole checkpoints have them.
Status FileScanner::scanTarMember(const Source& source, std::uint64_t begin, std::uint64_t end, Place place)
{
    if (++place.depth > kMaxTarDepth) {
        unread(place, "A9", 0, fmt::format("archives are nested more than {} deep", kMaxTarDepth));
        return {};
    }
    place.sourceAt += begin;
    place.isDetached = place.isDetached || place.deflatedBytes != 0;
    place.origin = 0;
    return scanContainer(std::make_shared<SliceSource>(source, begin, end - begin), place, Claim::Perhaps);
}

Result<std::uint64_t> FileScanner::scanLegacy(const Source& source, const Place& place)
{
    SHARDLENS_ASSIGN(const Row row, scanRow(source, 0, source->size(), Claim::Named, place, kLegacyPickles));
    if (row.count < kLegacyPickles) {
        add(place, 4, "P6", row.end, fmt::format("truncated: {} of the {} pickles of a torch file are there", row.count, kLegacyPickles));
        return row.end;
    }
    return scanLegacyStorages(source, row, place);
}

// For every key: i64 count, bytes. What lies behind the last one is looked at again.
Result<std::uint64_t> FileScanner::scanLegacyStorages(const Source& source, const Row& row, const Place& place)
{
    std::unordered_map<std::string_view, std::string_view> classes;
    for (const PickleScan::Storage& storage : row.storages)
        classes.emplace(storage.key, storage.className);
    SHARDLENS_ASSIGN(auto bytes, readBytes(*source, row.begin, row.end - row.begin, kMaxKeyBytes));
    const auto keys = pickle::Graph::parse(std::make_shared<const std::vector<std::byte>>(std::move(bytes)), 0, &m_job);
    std::uint64_t at = row.end;
    for (std::size_t i = 0; keys && i < (*keys)->root().size(); ++i) {
        const auto known = classes.find((*keys)->root().at(i).asText().value_or(""));
        std::array<std::byte, 8> field{};
        const bool fits = known != classes.end() && source->size() - at >= field.size();
        if (fits)
            SHARDLENS_TRY(source->readAt(at, field));
        const std::uint64_t element = fits ? elementBytesOf(known->second) : 1;
        if (!fits || loadLe64(field.data()) > (source->size() - at - field.size()) / element) {
            at = row.end;
            break;
        }
        const std::uint64_t begin = at + field.size();
        at = begin + loadLe64(field.data()) * element;
        Place inner = place;
        inner.embedded = true;
        if (beginsAsPickle(headOf(*source, begin, std::min(at, begin + 2)))) {
            SHARDLENS_ASSIGN(const Row data, scanRow(source, begin, at, Claim::Data, inner, 1));
            (void)data;
        }
    }
    SHARDLENS_ASSIGN(const Row behind, scanRow(source, at, source->size(), Claim::Perhaps, place));
    if (behind.end < source->size())
        add(place, 0, "P19", behind.end, fmt::format("{} B after the last storage are never read", groupedText(source->size() - behind.end)));
    return behind.end;
}

} // namespace shardlens
