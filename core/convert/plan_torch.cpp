#include "core/convert/plan_files.h"

#include "core/convert/plan_archive.h"
#include "core/encoding/torch_writer.h"

#include <unordered_map>

namespace shardlens {

Result<PlannedFile> planTorchFile(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const Shard& shard, const std::string& name)
{
    ArchiveContent content;
    std::vector<StateDictEntry> entries;
    std::unordered_map<std::uint32_t, std::size_t> keys; // tied names share a storage
    for (const std::size_t i : shard) {
        const OutputTensor& tensor = tensors[i];
        const auto [key, isNew] = keys.try_emplace(static_cast<std::uint32_t>(tensor.source), content.storages.size());
        if (isNew)
            content.storages.push_back({tensor.sizeBytes, {}});
        content.storages[key->second].runs.push_back({tensor.name, tensor.source, tensor.dtype, 0, tensor.sizeBytes, tensor.isAlias, !isNew, 0});
        entries.push_back({tensor.name, tensor.dtype, source.tensor(tensor.source).shape, key->second});
    }
    SHARDLENS_ASSIGN(content.pickle, stateDictPickle(entries));
    SHARDLENS_ASSIGN(PlannedFile out, planTorchArchive(name, std::move(content)));
    out.tensorCount = entries.size();
    return out;
}

} // namespace shardlens
