#include "core/format/colossalai/shard_index.h"

#include "core/base/text.h"
#include "core/encoding/hf_index.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace shardlens::colossalai {
namespace {

constexpr std::size_t kFewestNames = 3; // that stand in an order by name for a reason

std::tuple<std::uint32_t, std::uint32_t> placeOf(const std::string& file)
{
    const auto shard = shardFileOf(file);
    return {shard && shard->stage ? *shard->stage : 0, shard && shard->expert ? *shard->expert : 0};
}

// Stages come in the order of a directory (§4.4): the names of their files say which is first.
void sortByStage(std::vector<std::pair<std::string, std::string>>& map)
{
    std::map<std::string, std::tuple<std::uint32_t, std::uint32_t>> places;
    for (const auto& [name, file] : map)
        if (!places.contains(file))
            places.emplace(file, placeOf(file));
    std::stable_sort(map.begin(), map.end(), [&](const auto& a, const auto& b) { return places.at(a.second) < places.at(b.second); });
}

Status readInto(ShardIndex& out, const std::string& path, const std::string& name)
{
    auto file = FileSource::open(path);
    auto index = file ? readHfIndex(**file, extensionOf(out.kind.container)) : Result<HfIndex>(file.takeError());
    if (!index)
        return index.takeError().within(fmt::format("index {}", printable(name)));
    out.map.insert(out.map.end(), std::make_move_iterator(index->weightMap.begin()), std::make_move_iterator(index->weightMap.end()));
    for (const auto& [key, value] : index->aliases)
        if (key == "param_groups")
            out.groups = value;
    return {};
}

std::vector<std::pair<std::uint32_t, std::string>> stageIndexes(const Candidate& below, FileKind kind, const IndexFile* of)
{
    std::vector<std::pair<std::uint32_t, std::string>> out;
    for (const DirectoryEntry& entry : below.entries) {
        const auto stage = entry.isFolder ? std::nullopt : stageIndexFileOf(entry.name);
        if (stage && stage->index.kind == kind && (of == nullptr || (stage->index.container == of->container && stage->index.prefix == of->prefix)))
            out.emplace_back(stage->stage, entry.name);
    }
    std::sort(out.begin(), out.end());
    return out;
}

Result<std::optional<ShardIndex>> mergeStages(const Candidate& below, FileKind kind)
{
    const auto found = stageIndexes(below, kind, nullptr);
    if (found.empty())
        return std::optional<ShardIndex>{};
    ShardIndex out;
    out.kind = stageIndexFileOf(found.front().second)->index;
    out.name = kStageIndexFolder;
    out.isMerged = true;
    for (const auto& [stage, name] : stageIndexes(below, kind, &out.kind)) {
        SHARDLENS_TRY(readInto(out, below.path + "/" + name, fmt::format("{}/{}", kStageIndexFolder, name)));
        out.indexedStages.push_back(stage);
    }
    std::set<std::string> seen; // experts' ranks repeat what others have
    std::erase_if(out.map, [&](const auto& entry) { return !seen.insert(entry.first).second; });
    return std::optional(std::move(out));
}

} // namespace

std::set<std::string> ShardIndex::files() const
{
    std::set<std::string> out;
    for (const auto& [name, file] : map)
        out.insert(file);
    return out;
}

bool ShardIndex::isSortedByName() const
{
    return map.size() >= kFewestNames && std::is_sorted(map.begin(), map.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
}

std::vector<std::string> ShardIndex::leftOver(const Candidate& folder) const
{
    const std::set<std::string> named = files();
    std::vector<std::string> out;
    for (const DirectoryEntry& entry : folder.entries) {
        const auto shard = entry.isFolder ? std::nullopt : shardFileOf(entry.name);
        if (shard && shard->kind == kind.kind && !named.contains(entry.name))
            out.push_back(entry.name);
    }
    return out;
}

std::vector<std::string> indexesIn(const Candidate& folder, FileKind kind)
{
    std::vector<std::string> out;
    for (const DirectoryEntry& entry : folder.entries)
        if (const auto index = entry.isFolder ? std::nullopt : indexFileOf(entry.name); index && index->kind == kind)
            out.push_back(entry.name);
    return out;
}

bool hasStageIndexes(const Candidate& folder)
{
    const DirectoryEntry* below = folder.entry(kStageIndexFolder);
    return below != nullptr && below->isFolder;
}

Result<std::optional<ShardIndex>> findIndex(const Candidate& folder, FileKind kind, const std::string& name)
{
    std::vector<std::string> found = name.empty() ? indexesIn(folder, kind) : std::vector<std::string>{name};
    if (found.size() > 1)
        return Error{ErrorCode::Refused, fmt::format("{} indexes in one folder: open one of them: {}", found.size(), printable(fmt::format("{}", fmt::join(found, ", "))))};
    std::optional<Candidate> below;
    if (hasStageIndexes(folder)) {
        SHARDLENS_ASSIGN(below, lookAt(folder.path + "/" + kStageIndexFolder));
    }
    std::optional<ShardIndex> out;
    if (!found.empty()) {
        ShardIndex index;
        index.kind = *indexFileOf(found.front());
        index.name = found.front();
        SHARDLENS_TRY(readInto(index, folder.path + "/" + index.name, index.name));
        index.isDoubtful = below && !stageIndexes(*below, kind, &index.kind).empty();
        out = std::move(index);
    } else if (below) {
        SHARDLENS_ASSIGN(out, mergeStages(*below, kind));
    }
    if (!out)
        return out;
    sortByStage(out->map);
    for (const DirectoryEntry& entry : folder.entries)
        if (const auto shard = shardFileOf(entry.name); shard && shard->kind == kind && shard->stage)
            out->fileStages.insert(*shard->stage);
    return out;
}

} // namespace shardlens::colossalai
