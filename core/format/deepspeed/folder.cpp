#include "core/format/deepspeed/folder.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace shardlens::deepspeed {
namespace {

constexpr std::uint64_t kMaxLatestBytes = 4096;
constexpr std::size_t kMaxTagsLookedAt = 200;
constexpr std::uint64_t kMaxModelRank = 1u << 14;

std::string stripped(std::string text)
{
    const auto isSpace = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
    while (!text.empty() && isSpace(text.back()))
        text.pop_back();
    while (!text.empty() && isSpace(text.front()))
        text.erase(text.begin());
    return text;
}

Result<std::string> readTag(const std::string& path)
{
    SHARDLENS_ASSIGN(const auto file, FileSource::open(path));
    SHARDLENS_ASSIGN(const auto bytes, readBytes(*file, 0, file->size(), kMaxLatestBytes));
    return stripped(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

// A tag is one folder name: "../x" and "/x" would lead out of the root.
bool isFolderName(const std::string& tag)
{
    return !tag.empty() && tag != "." && tag != ".." && tag.find('/') == std::string::npos && tag.find('\0') == std::string::npos;
}

std::vector<std::string> tagsIn(const Candidate& root)
{
    std::vector<std::string> tags;
    std::size_t looked = 0;
    for (const DirectoryEntry& entry : root.entries) {
        if (!entry.isFolder || ++looked > kMaxTagsLookedAt)
            continue;
        if (const auto inside = lookAt(root.path + "/" + entry.name); inside && looksLikeTagFolder(inside->entries))
            tags.push_back(entry.name);
    }
    return tags;
}

std::string choices(const std::vector<std::string>& tags)
{
    std::string out;
    for (const std::string& tag : tags)
        out += (out.empty() ? "'" : ", '") + printable(tag) + "'";
    return out.empty() ? "none" : out;
}

Error unknownTag(const std::string& says, const std::string& tag, const std::vector<std::string>& tags)
{
    return {ErrorCode::NotFound, fmt::format("{} '{}', which is no folder here; folders with checkpoints: {}", says, printable(tag), choices(tags))};
}

Result<std::string> chooseTag(const Candidate& root, const OpenOptions& options)
{
    const std::vector<std::string> tags = tagsIn(root);
    const auto isHere = [&](const std::string& tag) {
        const DirectoryEntry* entry = isFolderName(tag) ? root.entry(tag) : nullptr;
        return entry != nullptr && entry->isFolder;
    };
    if (options.tag) {
        if (!isHere(*options.tag))
            return unknownTag("--tag names", *options.tag, tags);
        return *options.tag;
    }
    for (const char* pointer : {"latest", "latest_universal"}) {
        if (root.entry(pointer) == nullptr)
            continue;
        auto tag = readTag(root.path + "/" + pointer);
        if (!tag)
            return tag.takeError().within(pointer);
        if (!isHere(*tag))
            return unknownTag(fmt::format("{} names", pointer), *tag, tags);
        return tag;
    }
    if (tags.size() == 1)
        return tags.front();
    return Error{ErrorCode::Refused, fmt::format("{} and no `latest`: choose one with --tag, or open its folder: {}",
                                                 plural(tags.size(), "checkpoint", "checkpoints"), choices(tags))};
}

// Layouts that are recognised and not read, in words.
Status refuseOtherLayouts(const Candidate& folder)
{
    for (const DirectoryEntry& entry : folder.entries) {
        if (entry.isFolder && entry.name == "offloaded_tensors")
            return Error{ErrorCode::Unsupported, "optimizer states offloaded to NVMe (offloaded_tensors/) are not in the rank files; "
                                                 "save again with the optimizer offloaded to the CPU, or not at all"};
        const auto name = entry.isFolder ? std::nullopt : classify(entry.name);
        if (!name)
            continue;
        switch (name->kind) {
        case FileKind::Inference: return Error{ErrorCode::Corrupt, "ds_inference_config.json is no list of an inference set: JSON with type, checkpoints and version"};
        case FileKind::Fragment: return Error{ErrorCode::Unsupported, fmt::format("{} is a fragment of the parallel FastPersist writer, which is not read", printable(entry.name))};
        case FileKind::Model:
        case FileKind::ModelStage3:
        case FileKind::Expert:
        case FileKind::MoeOptimizer:
        case FileKind::PipelineLayer:
        case FileKind::Optimizer: break;
        }
    }
    return {};
}

Status addFile(TagFolder& out, std::map<std::string, std::map<std::uint32_t, std::string>>& optimizers, const std::string& entry, const FileName& name)
{
    if (name.kind == FileKind::Expert) {
        const auto [known, added] = out.experts.try_emplace({name.layer, name.expert}, entry);
        if (!added)
            return Error{ErrorCode::Corrupt, fmt::format("two files of one expert: {} and {}", printable(known->second), printable(entry))};
        return {};
    }
    auto& slot = name.kind == FileKind::Optimizer ? optimizers[name.prefix] : name.kind == FileKind::MoeOptimizer ? out.moeOptimizers : out.stage3Models;
    const auto [at, isNew] = slot.try_emplace(name.dpRank, entry);
    if (!isNew)
        return Error{ErrorCode::Corrupt, fmt::format("two files of rank {}: {} and {}", name.dpRank, printable(at->second), printable(entry))};
    return {};
}

// Two saves laid over each other give two sets of optimizer files: the fuller one counts, and the choice is said.
void chooseOptimizers(TagFolder& out, const std::map<std::string, std::map<std::uint32_t, std::string>>& sets)
{
    const auto fuller = std::max_element(sets.begin(), sets.end(), [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
    if (fuller == sets.end())
        return;
    out.optimizers = fuller->second;
    out.optimizerPrefix = fuller->first;
    for (const auto& [prefix, files] : sets)
        if (prefix != fuller->first)
            out.findings.push_back({Severity::Warning, "overlaid-saves",
                                    fmt::format("Two saves lie over each other in this folder: {} named {}zero_pp_rank_… and {} named {}zero_pp_rank_…. The first are read.",
                                                plural(fuller->second.size(), "optimizer file", "optimizer files"), fuller->first,
                                                plural(files.size(), "optimizer file", "optimizer files"), prefix),
                                    kNoTensor, kNoFile, std::nullopt});
}

Status addLayer(TagFolder& out, const std::string& entry, const FileName& name)
{
    const auto [known, isNew] = out.layers[*name.layer].try_emplace(name.model.value_or(0), entry);
    if (!isNew)
        return Error{ErrorCode::Corrupt, fmt::format("two files of one layer: {} and {}", printable(known->second), printable(entry))};
    out.hasModelAxis = out.hasModelAxis || name.model.has_value();
    return {};
}

// Tensor-parallel ranks that names by stage speak of; nothing where no model file is named so.
std::optional<std::uint32_t> stageDegreeOf(const Candidate& folder)
{
    std::optional<std::uint32_t> out;
    for (const DirectoryEntry& entry : folder.entries)
        if (const auto name = entry.isFolder ? std::nullopt : classify(entry.name); name && name->pipe)
            out = std::max(out.value_or(1), name->model.value_or(0) + 1);
    return out;
}

Result<TagFolder> listTag(const Candidate& folder, std::uint32_t mpRank)
{
    SHARDLENS_TRY(refuseOtherLayouts(folder));
    TagFolder out;
    out.mpRank = mpRank;
    out.path = folder.path;
    out.root = folder.path;
    out.tag = folder.name();
    out.isUniversal = looksUniversal(folder.entries);
    out.stageDegree = stageDegreeOf(folder);
    std::map<std::string, std::map<std::uint32_t, std::string>> optimizers;
    for (const DirectoryEntry& entry : folder.entries) {
        auto name = entry.isFolder ? std::nullopt : classify(entry.name);
        if (!name)
            continue;
        if (name->pipe) {
            const auto number = checkedMul(std::uint64_t{*name->pipe}, std::uint64_t{*out.stageDegree});
            if (!number || *number + name->model.value_or(0) > kMaxModelRank)
                return Error{ErrorCode::LimitExceeded, fmt::format("{}: at most {} model-parallel ranks are read", printable(entry.name), groupedText(kMaxModelRank))};
            name->mpRank = static_cast<std::uint32_t>(*number) + name->model.value_or(0);
        }
        if (out.isUniversal && name->mpRank != 0) {
            const bool isModel = name->kind == FileKind::Model || (name->kind == FileKind::ModelStage3 && name->dpRank == 0);
            if (isModel)
                out.otherModels.push_back(entry.name);
            continue;
        }
        if (name->kind == FileKind::PipelineLayer) {
            SHARDLENS_TRY(addLayer(out, entry.name, *name));
            continue;
        }
        out.mpRanks.insert(name->mpRank);
        if (name->kind == FileKind::Optimizer)
            out.optimizerPrefix = name->prefix; // of the other ranks' files, where this one's are gone
        if (name->mpRank != mpRank)
            continue;
        if (name->kind == FileKind::Model && !out.model.empty())
            return Error{ErrorCode::Corrupt, fmt::format("two files of one rank: {} and {}", printable(out.model), printable(entry.name))};
        if (name->kind == FileKind::Model)
            out.model = entry.name;
        else
            SHARDLENS_TRY(addFile(out, optimizers, entry.name, *name));
    }
    chooseOptimizers(out, optimizers);
    return out;
}

Result<Candidate> parentOf(const Candidate& file)
{
    const std::size_t slash = file.path.find_last_of('/');
    return lookAt(slash == std::string::npos ? "." : slash == 0 ? "/" : file.path.substr(0, slash));
}

} // namespace

std::string modelRankName(const TagFolder& folder, std::uint32_t mpRank)
{
    if (!folder.stageDegree)
        return fmt::format("mp_rank_{:02d}", mpRank);
    const std::uint32_t tp = *folder.stageDegree;
    return tp == 1 ? fmt::format("module-pipe_{:02d}", mpRank) : fmt::format("module-pipe_{:02d}-model_{:02d}", mpRank / tp, mpRank % tp);
}

bool looksLikeTagFolder(const std::vector<DirectoryEntry>& entries)
{
    return std::any_of(entries.begin(), entries.end(), [](const DirectoryEntry& entry) { return !entry.isFolder && classify(entry.name).has_value(); });
}

bool looksUniversal(const std::vector<DirectoryEntry>& entries)
{
    const bool hasZero = std::any_of(entries.begin(), entries.end(), [](const DirectoryEntry& entry) { return entry.isFolder && entry.name == "zero"; });
    return hasZero && std::none_of(entries.begin(), entries.end(), [](const DirectoryEntry& entry) {
               const auto name = entry.isFolder ? std::nullopt : classify(entry.name);
               return name && name->kind == FileKind::Optimizer;
           });
}

bool looksLikeRoot(const Candidate& candidate)
{
    const bool hasFolder = std::any_of(candidate.entries.begin(), candidate.entries.end(), [](const DirectoryEntry& entry) { return entry.isFolder; });
    if (candidate.entry("latest") != nullptr || candidate.entry("latest_universal") != nullptr)
        return true;
    return hasFolder && !tagsIn(candidate).empty();
}

Result<TagFolder> resolve(const Candidate& candidate, const OpenOptions& options, std::uint32_t mpRank)
{
    if (!candidate.isFolder) {
        SHARDLENS_ASSIGN(const Candidate parent, parentOf(candidate));
        return resolve(parent, options, mpRank);
    }
    if (looksLikeTagFolder(candidate.entries) && !options.tag)
        return listTag(candidate, mpRank);
    SHARDLENS_ASSIGN(const std::string tag, chooseTag(candidate, options));
    SHARDLENS_ASSIGN(const Candidate folder, lookAt(candidate.path + "/" + tag));
    auto listed = listTag(folder, mpRank);
    if (!listed)
        return listed.takeError().within(printable(tag));
    listed->root = candidate.path;
    for (const std::string& other : tagsIn(candidate))
        if (other != tag)
            listed->otherTags.push_back(other);
    return listed;
}

} // namespace shardlens::deepspeed
