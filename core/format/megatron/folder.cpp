#include "core/format/megatron/folder.h"


#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace shardlens::megatron {
namespace {

constexpr std::size_t kMostRankFolders = 1u << 16;
constexpr std::size_t kIterationsLookedAt = 200;

bool holdsModel(const Candidate& iteration, const std::string& rank)
{
    const auto inside = lookAt(iteration.path + "/" + rank);
    return inside && (inside->entry(kModelFile) != nullptr || inside->entry(kModelFileWithoutOptimizer) != nullptr);
}

std::vector<std::string> iterationsOf(const Candidate& root)
{
    std::vector<std::string> out;
    for (const DirectoryEntry& entry : root.entries) {
        if (!entry.isFolder || !isIterationName(entry.name) || out.size() >= kIterationsLookedAt)
            continue;
        if (const auto inside = lookAt(root.path + "/" + entry.name); inside && looksLikeIteration(*inside))
            out.push_back(entry.name);
    }
    return out;
}

// layer_wise_optimizer_N.pt, one a data-parallel rank (§2.3).
void addLayerWise(const std::string& folder, const Candidate& inside, IterationFolder& out)
{
    constexpr std::string_view kBegin = "layer_wise_optimizer_";
    constexpr std::string_view kEnd = ".pt";
    for (const DirectoryEntry& file : inside.entries) {
        const std::string_view name = file.name;
        if (file.isFolder || name.size() <= kBegin.size() + kEnd.size() || !name.starts_with(kBegin) || !name.ends_with(kEnd))
            continue;
        const std::string_view number = name.substr(kBegin.size(), name.size() - kBegin.size() - kEnd.size());
        if (number.find_first_not_of("0123456789") != std::string_view::npos)
            continue;
        if (out.layerWiseFiles++ == 0)
            out.firstLayerWise = folder + "/" + file.name;
    }
}

Result<IterationFolder> listIteration(const Candidate& folder)
{
    IterationFolder out;
    out.path = folder.path;
    out.root = folder.path;
    out.name = folder.name();
    for (const DirectoryEntry& entry : folder.entries) {
        auto rank = entry.isFolder ? rankFolderOf(entry.name) : std::nullopt;
        if (!rank)
            continue;
        const auto inside = lookAt(folder.path + "/" + entry.name);
        if (!inside)
            continue;
        addLayerWise(entry.name, *inside, out);
        const bool isNew = inside->entry(kModelFile) != nullptr;
        if (!isNew && inside->entry("optim.pt") != nullptr)
            out.optimizerShards.push_back(entry.name + "/optim.pt");
        if (!isNew && inside->entry(kModelFileWithoutOptimizer) == nullptr)
            continue;
        if (isNew && out.modelFile == std::string_view(kModelFileWithoutOptimizer))
            out.ranks.clear(); // ranks of both kinds: the newer count
        if (!isNew && out.modelFile == std::string_view(kModelFile))
            continue;
        out.modelFile = isNew ? kModelFile : kModelFileWithoutOptimizer;
        out.hasDistributedOptimizer = out.hasDistributedOptimizer || inside->entry("distrib_optim.pt") != nullptr;
        out.ranks.push_back(std::move(*rank));
        if (out.ranks.size() > kMostRankFolders)
            return Error{ErrorCode::LimitExceeded, fmt::format("more than {} rank folders", kMostRankFolders)};
    }
    return out;
}

} // namespace

std::optional<RankFolder> rankFolderOf(std::string_view name)
{
    constexpr std::string_view kPrefix = "mp_rank_";
    if (!name.starts_with(kPrefix))
        return std::nullopt;
    RankFolder out{std::string(name), {}};
    std::string_view left = name.substr(kPrefix.size());
    while (out.numbers.size() < 3) {
        std::uint32_t number = 0;
        const auto [end, problem] = std::from_chars(left.data(), left.data() + left.size(), number);
        const auto digits = static_cast<std::size_t>(end - left.data());
        if (problem != std::errc{} || digits < (out.numbers.empty() ? 2u : 3u))
            return std::nullopt;
        out.numbers.push_back(number);
        left.remove_prefix(digits);
        if (left.empty())
            return out;
        if (left.front() != '_')
            return std::nullopt;
        left.remove_prefix(1);
    }
    return std::nullopt;
}

bool looksLikeIteration(const Candidate& candidate)
{
    if (candidate.entry("metadata.json") != nullptr || candidate.entry(".metadata") != nullptr) // torch_dist and its kin
        return false;
    for (const DirectoryEntry& entry : candidate.entries)
        if (entry.isFolder && rankFolderOf(entry.name) && holdsModel(candidate, entry.name))
            return true;
    return false;
}

bool looksLikeRoot(const Candidate& candidate)
{
    return !iterationsOf(candidate).empty();
}

Result<IterationFolder> resolve(const Candidate& candidate, const OpenOptions& options)
{
    if (looksLikeIteration(candidate) && !options.tag)
        return listIteration(candidate);
    const std::vector<std::string> iterations = iterationsOf(candidate);
    SHARDLENS_ASSIGN(const std::string name, chooseIteration(candidate, options, iterations));
    SHARDLENS_ASSIGN(const Candidate folder, lookAt(candidate.path + "/" + name));
    SHARDLENS_ASSIGN(IterationFolder out, listIteration(folder));
    out.root = candidate.path;
    for (const std::string& other : iterations)
        if (other != name)
            out.otherIterations.push_back(other);
    return out;
}

} // namespace shardlens::megatron
