#include "core/convert/plan_shards.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <unordered_map>

namespace shardlens {
namespace {

void placeTies(const std::vector<OutputTensor>& tensors, const std::vector<std::size_t>& ties, std::vector<Shard>& shards)
{
    if (ties.empty())
        return;
    std::unordered_map<std::uint32_t, std::size_t> shardOf;
    for (std::size_t i = 0; i < shards.size(); ++i)
        for (const std::size_t tensor : shards[i])
            shardOf[static_cast<std::uint32_t>(tensors[tensor].source)] = i;
    for (const std::size_t alias : ties) {
        Shard& shard = shards[shardOf.at(static_cast<std::uint32_t>(tensors[alias].source))];
        shard.insert(std::upper_bound(shard.begin(), shard.end(), alias), alias);
    }
}

} // namespace

std::vector<Shard> splitIntoShards(const std::vector<OutputTensor>& tensors, std::uint64_t maxBytes, bool tiedTogether)
{
    std::vector<Shard> shards;
    std::vector<std::size_t> ties; // aliases, placed at the end
    Shard open;
    std::uint64_t openBytes = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const std::uint64_t size = tensors[i].sizeBytes;
        if (tiedTogether && tensors[i].isAlias) {
            ties.push_back(i);
            continue;
        }
        if (size > maxBytes) {
            shards.push_back({i});
            continue;
        }
        if (size > maxBytes - openBytes) {
            shards.push_back(std::move(open));
            open.clear();
            openBytes = 0;
        }
        open.push_back(i);
        openBytes += size;
    }
    if (!open.empty())
        shards.push_back(std::move(open));
    placeTies(tensors, ties, shards);
    return shards;
}

std::string shardName(const std::string& stem, const std::string& extension, std::size_t index, std::size_t count)
{
    if (count == 1)
        return stem + extension;
    return fmt::format("{}-{:05}-of-{:05}{}", stem, index + 1, count, extension);
}

std::string indexText(const std::vector<OutputTensor>& tensors, const std::vector<Shard>& shards, const std::vector<std::string>& fileNames,
                      bool tiedTogether)
{
    std::uint64_t totalBytes = 0;
    nlohmann::json map = nlohmann::json::object(); // sorts its members
    for (std::size_t i = 0; i < shards.size(); ++i)
        for (const std::size_t tensor : shards[i]) {
            map[tensors[tensor].name] = fileNames[i];
            totalBytes += tiedTogether && tensors[tensor].isAlias ? 0 : tensors[tensor].sizeBytes;
        }
    const nlohmann::json document{{"metadata", {{"total_size", totalBytes}}}, {"weight_map", std::move(map)}};
    return document.dump(2) + "\n";
}

} // namespace shardlens
