#include "core/analysis/file_scanner.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace shardlens {
namespace {

constexpr std::uint64_t kScanWindow = 16u << 10;       // at first: nothing says how long a pickle is
constexpr std::uint64_t kWindowGrowth = 8;
constexpr std::uint64_t kLargestPickle = 512ull << 20;
constexpr std::uint64_t kLargestGuess = 64ull << 20;   // of what only might be one
constexpr std::uint64_t kDecodedSlack = 64ull << 20;   // beyond the size of the file
constexpr int kDeepestNesting = 3;
constexpr std::uint64_t kMostNestedBytes = 1ull << 30; // of a file, all together
constexpr std::uint32_t kMostPickles = 100'000;        // in a row
constexpr std::uint64_t kMostNested = 100'000;         // of a file

} // namespace

void FileScanner::add(const Place& place, int level, const char* code, std::uint64_t offset, std::string what)
{
    add(place, kNoStream, PickleFinding{level, code, offset, 0, std::move(what)});
}

void FileScanner::add(const Place& place, std::size_t stream, PickleFinding finding)
{
    if (place.embedded && finding.level > 2) {
        finding.level = std::min(finding.level, 4);
        finding.what = "in data, runs only if the program unpickles them: " + finding.what;
    }
    ScannedFile& file = m_report.files[m_file];
    file.level = std::max(file.level, finding.level);
    m_report.findings.push_back({m_file, place.member, stream, std::move(finding)});
}

std::uint64_t FileScanner::limitOf(const ByteSource& source) const
{
    return std::min(kLargestPickle, kDecodedSlack + source.size());
}

// A window is read and widened while the pickle runs past it.
Result<bool> FileScanner::scanOne(const Source& source, std::uint64_t begin, std::uint64_t end, Claim claim, const Place& place, Stream& out)
{
    const std::uint64_t limit = claim == Claim::Named ? kLargestPickle : kLargestGuess;
    for (std::uint64_t window = kScanWindow;; window *= kWindowGrowth) {
        SHARDLENS_TRY(m_job.poll());
        const std::uint64_t count = std::min({window, end - begin, limit});
        SHARDLENS_ASSIGN(out.bytes, readBytes(*source, begin, count, limit));
        SHARDLENS_ASSIGN(out.scan, scanPickle(out.bytes, 0, {.base = begin - place.origin, .isTorchScript = place.isTorchScript}, &m_job));
        if (!out.scan.needsMore || count == end - begin || count == limit)
            break;
    }
    out.end = begin + (out.scan.end - out.scan.begin);
    if (out.scan.needsMore && end - begin > limit)
        out.scan.findings.push_back({4, "P13", begin - place.origin, 0, fmt::format("limit reached: only the first {} were analysed", sizeText(limit))});
    return claim == Claim::Named || out.scan.stopped || (claim != Claim::Bytes && out.scan.level() == 5);
}

Result<FileScanner::Row> FileScanner::scanRow(const Source& source, std::uint64_t begin, std::uint64_t end, Claim claim, const Place& place, std::uint32_t most)
{
    Row row;
    row.begin = row.end = begin;
    while (row.end < end && (most == 0 || row.count < most)) {
        if (row.count >= kMostPickles) {
            add(place, 4, "P13", row.end - place.origin,
                fmt::format("limit reached: more than {} pickles in a row; the rest was not analysed", groupedText(kMostPickles)));
            break;
        }
        std::array<std::byte, 2> head{};
        const bool hasHead = end - row.end >= head.size();
        if (hasHead)
            SHARDLENS_TRY(source->readAt(row.end, head));
        const bool says = hasHead && beginsAsPickle({reinterpret_cast<const char*>(head.data()), head.size()});
        const Claim own = claim == Claim::Named && row.count > 0 ? Claim::Perhaps : claim;
        Stream stream;
        SHARDLENS_ASSIGN(const bool isPickle, scanOne(source, row.end, end, own == Claim::Perhaps && says ? Claim::Named : own, place, stream));
        if (!isPickle)
            break;
        row.storages.insert(row.storages.end(), stream.scan.storages.begin(), stream.scan.storages.end());
        SHARDLENS_TRY(report(stream, row.count++, place));
        row.begin = row.end;
        row.end = stream.end;
        row.stopped = stream.scan.stopped;
        if (!row.stopped)
            break;
    }
    return row;
}

Status FileScanner::report(Stream& stream, std::uint32_t number, const Place& place)
{
    SHARDLENS_TRY(scanNested(stream.scan, place));
    PickleScan& scan = stream.scan;
    const std::size_t index = m_report.streams.size();
    ScanStream row{m_file, place.member, number, scan.begin, scan.end, scan.protocol, scan.opcodes, scan.level(), place.embedded,
                   place.sourceAt + place.origin, place.deflatedBytes, place.isDetached, std::move(scan.imports), std::move(scan.weightsOnly)};
    m_report.streams.push_back(std::move(row));
    ++m_report.files[m_file].streams;
    for (PickleFinding& finding : scan.findings)
        add(place, index, std::move(finding));
    return {};
}

Status FileScanner::scanNested(const PickleScan& scan, const Place& place)
{
    std::unordered_map<const char*, bool> seen; // by their place: the same bytes may be loaded again and again
    for (const PickleScan::Nested& one : scan.nested)
        if (one.loaded)
            seen.emplace(one.bytes.data(), false);
    for (const PickleScan::Nested& one : scan.nested) {
        const auto known = seen.find(one.bytes.data());
        if (known != seen.end() && (known->second || !one.loaded))
            continue;
        seen[one.bytes.data()] = true;
        m_nestedBytes += one.bytes.size();
        if (++m_nestedCount > kMostNested) {
            add(place, 4, "P13", one.offset, fmt::format("limit reached: more than {} files inside it; the rest was not analysed", groupedText(kMostNested)));
            return {};
        }
        if (place.depth >= kDeepestNesting || m_nestedBytes > kMostNestedBytes) {
            add(place, 4, "A9", one.offset, fmt::format("files are nested more than {} deep; the innermost were not scanned", kDeepestNesting));
            continue;
        }
        Place inner = place;
        inner.member = (place.member.empty() ? "" : place.member + " ") + fmt::format("[bytes at {}]", one.offset);
        inner.depth = place.depth + 1;
        inner.embedded = place.embedded || !one.loaded;
        inner.origin = 0;
        inner.isDetached = true;
        const auto bytes = std::as_bytes(std::span(one.bytes));
        const auto held = std::make_shared<const MemorySource>(std::vector<std::byte>(bytes.begin(), bytes.end()));
        SHARDLENS_TRY(scanContainer(held, inner, one.loaded ? Claim::Named : Claim::Bytes));
    }
    return {};
}

} // namespace shardlens
