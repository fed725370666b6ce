#include "core/format/torch_dist/iteration.h"

#include "core/base/text.h"
#include "core/encoding/json_document.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::torch_dist {
namespace {

constexpr std::uint64_t kMostBackendBytes = 64 * 1024;
constexpr std::size_t kBackendDepth = 8;
constexpr std::size_t kIterationsLookedInto = 200;
constexpr std::string_view kDataEnding = ".distcp";
constexpr std::string_view kFsdpBackend = "fsdp_dtensor"; // plain DCP with names of its own

std::optional<std::string> backendOf(const Candidate& folder)
{
    const DirectoryEntry* entry = folder.entry(kBackendFile);
    if (entry == nullptr || entry->isFolder || entry->sizeBytes > kMostBackendBytes)
        return std::nullopt;
    const auto file = FileSource::open(folder.path + "/" + kBackendFile);
    const auto bytes = file ? readBytes(**file, 0, (*file)->size(), kMostBackendBytes) : Result<std::vector<std::byte>>(file.error());
    if (!bytes)
        return std::nullopt;
    const auto json = parseJson({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, kMostBackendBytes, kBackendDepth);
    if (!json || !json->is_object() || !json->contains("sharded_backend") || !(*json)["sharded_backend"].is_string())
        return std::nullopt;
    return (*json)["sharded_backend"].get<std::string>();
}

bool hasDataFiles(const std::vector<DirectoryEntry>& entries)
{
    return std::any_of(entries.begin(), entries.end(), [](const DirectoryEntry& entry) { return !entry.isFolder && entry.name.starts_with("__") && entry.name.ends_with(kDataEnding); });
}

// metadata.json says so, whatever else is lost; or, where it is lost itself, what no other format has beside the container.
bool isIteration(const Candidate& folder)
{
    if (const auto backend = backendOf(folder))
        return *backend != kFsdpBackend;
    return folder.entry(kCommonFile) != nullptr && (folder.entry(kIndexFile) != nullptr || hasDataFiles(folder.entries));
}

std::vector<std::string> distributedIterations(const Candidate& root)
{
    std::vector<std::string> out;
    for (const DirectoryEntry& entry : root.entries) {
        if (!entry.isFolder || !isIterationName(entry.name) || out.size() >= kIterationsLookedInto)
            continue;
        if (const auto inside = lookAt(root.path + "/" + entry.name); inside && isIteration(*inside))
            out.push_back(entry.name);
    }
    return out;
}

// A root may hold iterations of several formats: the one that the tracker means says what it is.
bool isDistributedRoot(const Candidate& candidate)
{
    const auto iterations = distributedIterations(candidate);
    if (iterations.empty() || candidate.entry(kTrackerFile) == nullptr)
        return !iterations.empty();
    const auto tracked = trackedFolder(candidate);
    return !tracked || candidate.entry(*tracked) == nullptr || std::find(iterations.begin(), iterations.end(), *tracked) != iterations.end();
}

bool isPartName(std::string_view name)
{
    return name == kIndexFile || name == kBackendFile || name == kTrackerFile || (name.starts_with("__") && name.ends_with(kDataEnding));
}

Result<Candidate> folderAround(const Candidate& file)
{
    const std::size_t slash = file.path.find_last_of('/');
    return lookAt(slash == std::string::npos ? "." : slash == 0 ? "/" : file.path.substr(0, slash));
}

Status checkIteration(const Iteration& iteration)
{
    if (iteration.backend && *iteration.backend != kBackend && iteration.entry(kIndexFile) == nullptr)
        return Error{ErrorCode::Unsupported, fmt::format("{} names the backend {}, which is not read; this version reads {}", kBackendFile, printable(*iteration.backend), kBackend)};
    if (iteration.entry(kIndexFile) != nullptr)
        return {};
    const auto files = std::count_if(iteration.entries.begin(), iteration.entries.end(), [](const DirectoryEntry& entry) { return entry.name.ends_with(kDataEnding); });
    return Error{ErrorCode::Refused, fmt::format("{} and no {}, the index that says what lies where: the save was interrupted, or hidden files were not copied", plural(static_cast<std::uint64_t>(files), "data file", "data files"),
                                                 kIndexFile)};
}

} // namespace

const DirectoryEntry* Iteration::entry(std::string_view file) const
{
    const auto at = std::find_if(entries.begin(), entries.end(), [&](const DirectoryEntry& one) { return one.name == file; });
    return at == entries.end() ? nullptr : &*at;
}

Match matchIteration(const Candidate& candidate)
{
    if (candidate.isFolder)
        return isIteration(candidate) || isDistributedRoot(candidate) ? Match::ByContent : Match::No;
    if (!isPartName(candidate.name()))
        return Match::No;
    const auto folder = folderAround(candidate);
    return folder ? matchIteration(*folder) : Match::No;
}

Result<Iteration> resolveIteration(const Candidate& candidate, const OpenOptions& options)
{
    if (!candidate.isFolder) {
        SHARDLENS_ASSIGN(const Candidate folder, folderAround(candidate));
        return resolveIteration(folder, options);
    }
    Iteration out;
    out.root = candidate.path;
    Candidate folder = candidate;
    if (!isIteration(candidate) || options.tag) {
        std::vector<std::string> iterations = distributedIterations(candidate);
        SHARDLENS_ASSIGN(const std::string name, chooseIteration(candidate, options, iterations));
        SHARDLENS_ASSIGN(folder, lookAt(candidate.path + "/" + name));
        std::erase(iterations, name);
        out.others = std::move(iterations);
    }
    out.path = folder.path;
    out.name = folder.name();
    out.backend = backendOf(folder);
    out.entries = std::move(folder.entries);
    SHARDLENS_TRY(checkIteration(out));
    return out;
}

} // namespace shardlens::torch_dist
