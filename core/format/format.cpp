#include "core/format/format.h"

#include "core/base/text.h"
#include "core/io/byte_source.h"
#include "core/io/system_error.h"
#include "core/quantized/dequantized_view.h"
#include "core/quantized/source_quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <memory>
#include <sys/stat.h>

namespace shardlens {
namespace {

constexpr std::size_t kHeadBytes = 512;
constexpr std::size_t kFoldersLookedInto = 32;
constexpr std::size_t kMaxEntries = 1'000'000;
constexpr const char* kLookedFor = "latest, mp_rank_*_model_states.pt, zero_pp_rank_*, latest_checkpointed_iteration.txt, mp_rank_*/model_optim_rng.pt, metadata.json, lists of the SDLoader (*.json), rank_N/*.ckpt, param_name_map.json, .metadata with *.distcp, pytorch_model-meta-dist-*.json, modeling/, *.safetensors, *.index.json, *.pt, *.pth, *.bin";

Result<std::vector<DirectoryEntry>> listFolder(const std::string& path)
{
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
    if (!folder)
        return systemError(errno);
    std::vector<DirectoryEntry> entries;
    while (const dirent* row = ::readdir(folder.get())) {
        const std::string name = row->d_name;
        if (name == "." || name == "..")
            continue;
        if (entries.size() == kMaxEntries)
            return Error{ErrorCode::LimitExceeded, fmt::format("more than {} entries in one folder", groupedText(kMaxEntries))};
        struct stat facts {};
        if (::fstatat(::dirfd(folder.get()), name.c_str(), &facts, 0) != 0)
            continue; // gone again, or a link to nowhere: no part of a checkpoint
        entries.push_back({name, S_ISDIR(facts.st_mode), static_cast<std::uint64_t>(facts.st_size)});
    }
    std::sort(entries.begin(), entries.end(), [](const DirectoryEntry& a, const DirectoryEntry& b) { return naturalLess(a.name, b.name); });
    return entries;
}

// The first folder in it that is one.
std::string checkpointBelow(const Candidate& folder)
{
    std::size_t looked = 0;
    for (const DirectoryEntry& entry : folder.entries) {
        if (!entry.isFolder || entry.name.starts_with('.') || looked++ == kFoldersLookedInto)
            continue;
        const auto inside = lookAt(folder.path + "/" + entry.name);
        if (inside && detect(*inside) != nullptr)
            return inside->path;
    }
    return {};
}

Error nothingFound(const Candidate& candidate)
{
    if (const std::string below = candidate.isFolder ? checkpointBelow(candidate) : std::string(); !below.empty())
        return {ErrorCode::Unsupported, fmt::format("no checkpoint here, and one below: open {}; looked here for {}", printable(below), kLookedFor)};
    if (candidate.isFolder)
        return {ErrorCode::Unsupported, fmt::format("no checkpoint here; looked for {}", kLookedFor)};
    return {ErrorCode::Unsupported, fmt::format("a file of {} that no format here reads; `shardlens formats` lists them", exactSizeText(candidate.sizeBytes))};
}

} // namespace

std::string Candidate::name() const
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? path : path.substr(slash + 1);
}

const DirectoryEntry* Candidate::entry(std::string_view name) const
{
    const auto at = std::find_if(entries.begin(), entries.end(), [&](const DirectoryEntry& one) { return one.name == name; });
    return at == entries.end() ? nullptr : &*at;
}

Result<Candidate> lookAt(const std::string& path)
{
    if (path.empty())
        return Error{ErrorCode::NotFound, "an empty path is no checkpoint"};
    Candidate out;
    out.path = path;
    while (out.path.size() > 1 && out.path.back() == '/')
        out.path.pop_back();
    struct stat facts {};
    if (::stat(out.path.c_str(), &facts) != 0)
        return systemError(errno);
    if (S_ISDIR(facts.st_mode)) {
        out.isFolder = true;
        SHARDLENS_ASSIGN(out.entries, listFolder(out.path));
        return out;
    }
    SHARDLENS_ASSIGN(const auto file, FileSource::open(out.path));
    out.sizeBytes = file->size();
    out.head.resize(std::min<std::uint64_t>(kHeadBytes, file->size()));
    SHARDLENS_TRY(file->readAt(0, out.head));
    return out;
}

const Format* formatById(std::string_view id)
{
    for (const Format& one : formats())
        if (one.id == id)
            return &one;
    return nullptr;
}

const Format* detect(const Candidate& candidate)
{
    const Format* best = nullptr;
    Match firmest = Match::No;
    for (const Format& one : formats()) {
        const Match match = one.probe(candidate);
        if (match > firmest) {
            firmest = match;
            best = &one;
        }
    }
    return best;
}

Result<CheckpointPtr> openCheckpoint(const std::string& path, const OpenOptions& options, JobContext& job)
{
    auto candidate = lookAt(path);
    if (!candidate)
        return path.empty() ? candidate.takeError() : candidate.takeError().within(printable(path));
    const Format* format = options.rankFiles.empty() ? detect(*candidate) : formatById("mindspore"); // whose files may lie anywhere
    if (format == nullptr)
        return nothingFound(*candidate).within(printable(path));
    if (options.tag && !format->hasTags)
        return Error{ErrorCode::Refused, fmt::format("a tag ('{}') is asked for, and {} has no tags", printable(*options.tag), format->title)}.within(printable(path));
    if (options.moduleKey && !format->hasModuleKey)
        return Error{ErrorCode::Refused, fmt::format("--module-key is for lists of DeepSpeed's SDLoader, and this is {}", format->title)}.within(printable(path));
    if (options.rules && !format->hasRules)
        return Error{ErrorCode::Refused, fmt::format("--rules is for checkpoints of tensor-parallel ranks, and this is {}", format->title)}.within(printable(path));
    if ((options.sourceStrategy || !options.rankFiles.empty()) && !format->hasStrategy)
        return Error{ErrorCode::Refused, fmt::format("{} is for checkpoints of MindSpore, and this is {}", options.sourceStrategy ? "--source-strategy" : "--rank-file",
                                                     format->title)}.within(printable(path));
    auto opened = format->open(*candidate, options, job);
    if (!opened)
        return opened.takeError().within(printable(path));
    const CheckpointPtr described = describeQuantization(opened.take());
    if (!options.dequantize || format->openDequantizes)
        return described;
    auto values = dequantizedView(described);
    if (!values)
        return values.takeError().within(printable(path));
    return values;
}

Result<CheckpointPtr> dequantized(const CheckpointPtr& opened, OpenOptions options, JobContext& job)
{
    const Format* const format = formatById(opened->formatId());
    if (format == nullptr || !format->openDequantizes)
        return dequantizedView(opened);
    options.dequantize = true;
    return openCheckpoint(opened->path(), options, job);
}

} // namespace shardlens
