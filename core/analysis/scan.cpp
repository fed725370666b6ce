#include "core/analysis/scan.h"

#include "core/analysis/file_scanner.h"
#include "core/analysis/named_files.h"
#include "core/base/text.h"
#include "core/encoding/zip.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <tuple>
#include <unistd.h>

namespace shardlens {
namespace {

constexpr std::size_t kMostScannedFiles = 1'000'000;
constexpr std::uint64_t kLargestListing = 512ull << 20;

constexpr const char* kLinkedFolder = "link to a folder";

// Files below a folder, with their names relative to it. Links to files are followed, links to folders are not. Folders that cannot be looked into and links
// to folders are rows as well: nobody may take what lies there for looked at.
Result<std::vector<ScannedFile>> filesBelow(const std::filesystem::path& root, const JobContext& job)
{
    std::error_code problem;
    std::vector<ScannedFile> out;
    using Walk = std::filesystem::recursive_directory_iterator;
    Walk walk(root, std::filesystem::directory_options::skip_permission_denied, problem);
    if (problem)
        return Error{ErrorCode::Io, problem.message()};
    for (; walk != Walk(); walk.increment(problem)) {
        if (out.size() % 1024 == 0)
            SHARDLENS_TRY(job.poll());
        std::error_code ignored;
        const bool isLinkedFolder = walk->is_symlink(ignored) && walk->is_directory(ignored);
        const bool isClosedFolder = !isLinkedFolder && walk->is_directory(ignored) && ::access(walk->path().c_str(), R_OK | X_OK) != 0;
        if (const bool isFile = walk->is_regular_file(ignored); isFile || isLinkedFolder || isClosedFolder)
            out.push_back({walk->path().lexically_relative(root).string(), walk->path().string(), isFile ? walk->file_size(ignored) : 0,
                           isLinkedFolder ? kLinkedFolder : "", 0, true, 0});
        if (out.size() > kMostScannedFiles)
            return Error{ErrorCode::LimitExceeded, fmt::format("more than {} files", groupedText(kMostScannedFiles))};
        if (problem)
            return Error{ErrorCode::Io, problem.message()};
    }
    std::ranges::sort(out, [](const ScannedFile& a, const ScannedFile& b) { return naturalLess(a.name, b.name); });
    return out;
}

Result<std::vector<ScannedFile>> filesOf(const std::string& path, const JobContext& job)
{
    std::error_code problem;
    const std::filesystem::file_status status = std::filesystem::status(path, problem);
    if (!std::filesystem::exists(status))
        return Error{ErrorCode::NotFound, problem && problem != std::errc::no_such_file_or_directory ? problem.message() : "no such file or folder"};
    if (std::filesystem::is_directory(status))
        return filesBelow(path, job);
    const std::uint64_t size = std::filesystem::file_size(path, problem);
    return std::vector<ScannedFile>{{std::filesystem::path(path).filename().string(), path, problem ? 0 : size, {}, 0, true, 0}};
}

// A list of checkpoints is no pickle; what it names is loaded.
void addNamedFiles(std::vector<ScannedFile>& files)
{
    const std::string list = files.front().path;
    const std::filesystem::path folder = std::filesystem::path(list).parent_path();
    for (const std::string& path : filesNamedIn(list)) {
        std::error_code problem;
        const std::uint64_t size = std::filesystem::file_size(path, problem);
        files.push_back({std::filesystem::path(path).lexically_proximate(folder).string(), path, problem ? 0 : size, {}, 0, true, 0});
    }
}

void sortFindings(std::vector<ScanFinding>& findings)
{
    std::ranges::stable_sort(findings, [](const ScanFinding& a, const ScanFinding& b) {
        return std::tuple(-a.finding.level, a.file) < std::tuple(-b.finding.level, b.file);
    });
}

// Python's own files beside a checkpoint are what an unknown module would be imported from (§1.2, rule 4).
void noteNeighbours(ScanReport& report)
{
    for (ScanFinding& finding : report.findings) {
        if (finding.finding.level != 3 || finding.stream == kNoStream || std::string_view(finding.finding.code) != "G3")
            continue;
        const std::filesystem::path folder = std::filesystem::path(report.files[finding.file].path).parent_path();
        for (const PickleImport& import : report.streams[finding.stream].imports) {
            const std::string top = import.module.substr(0, import.module.find('.'));
            std::error_code ignored;
            if (import.level == 3 && import.offset == finding.finding.offset && top.find('/') == std::string::npos &&
                std::filesystem::exists(folder / (top + ".py"), ignored))
                finding.finding.what += fmt::format("; Python would import {} from this folder", printable(top + ".py"));
        }
    }
}

} // namespace

Verdict verdictOf(int level)
{
    return level >= 5 ? Verdict::Dangerous : level == 4 ? Verdict::Suspicious : level == 3 ? Verdict::Unknown : Verdict::Safe;
}

const char* nameOf(Verdict verdict)
{
    switch (verdict) {
    case Verdict::Safe: return "safe";
    case Verdict::Unknown: return "unknown";
    case Verdict::Suspicious: return "suspicious";
    case Verdict::Dangerous: return "dangerous";
    }
    return "";
}

int ScanReport::level() const
{
    int out = 0;
    for (const ScannedFile& file : files)
        out = std::max(out, file.level);
    return out;
}

Result<ScanReport> scanPath(const std::string& path, JobContext& job)
{
    ScanReport report;
    report.path = path;
    SHARDLENS_ASSIGN(report.files, filesOf(pointedFolder(path), job));
    if (report.files.size() == 1 && report.files.front().path == path)
        addNamedFiles(report.files);
    std::uint64_t total = 0;
    for (const ScannedFile& file : report.files)
        total += file.sizeBytes;
    job.setTotal(total);
    FileScanner scanner(report, job);
    std::size_t unread = 0;
    for (std::size_t i = 0; i < report.files.size(); ++i) {
        SHARDLENS_TRY(job.poll());
        if (report.files[i].kind == kLinkedFolder) {
            report.files[i].scanned = false;
            report.files[i].level = 3;
            report.findings.push_back({i, {}, kNoStream, {3, "A11", 0, 0, "a link to a folder, which is not followed: scan that folder too"}});
            continue;
        }
        Status done = scanner.scan(i);
        job.advance(report.files[i].sizeBytes);
        if (done)
            continue;
        if (done.error().code() == ErrorCode::Cancelled || (report.files.size() == 1 && report.streams.empty()))
            return done.takeError();
        ScannedFile& file = report.files[i];
        ++unread;
        file.scanned = false;
        file.level = std::max(file.level, 4);
        report.findings.push_back({i, {}, kNoStream, {4, "A5", 0, 0, "it cannot be read (" + done.error().text() + "): not scanned"}});
    }
    if (unread == report.files.size() && unread > 0)
        return Error{ErrorCode::Io, fmt::format("none of the {} could be read", plural(unread, "file", "files"))};
    noteNeighbours(report);
    sortFindings(report.findings);
    return report;
}

Result<std::shared_ptr<const std::vector<std::byte>>> bytesOfStream(const ScanReport& report, const ScanStream& stream)
{
    if (stream.detached)
        return Error{ErrorCode::Unsupported, "a pickle inside the data of another one; it is not listed"};
    SHARDLENS_ASSIGN(const auto source, FileSource::open(report.files[stream.file].path));
    auto bytes = stream.deflatedBytes != 0 ? inflatePrefix(*source, stream.dataOffset, stream.deflatedBytes, std::min(stream.end, kLargestListing))
                                           : readBytes(*source, stream.dataOffset, stream.end, kLargestListing);
    if (!bytes)
        return bytes.takeError();
    return std::make_shared<const std::vector<std::byte>>(bytes.take());
}

} // namespace shardlens
