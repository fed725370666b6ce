#include "core/convert/plan_files.h"

#include "core/encoding/safetensors.h"

#include <string_view>
#include <unordered_map>

namespace shardlens {

Result<PlannedFile> planSafetensorsFile(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const Shard& shard)
{
    std::vector<SafetensorsEntry> entries;
    std::unordered_map<std::string_view, std::size_t> tensorOf; // by name
    for (const std::size_t i : shard) {
        entries.push_back({tensors[i].name, tensors[i].dtype, source.tensor(tensors[i].source).shape});
        tensorOf[tensors[i].name] = i;
    }
    SHARDLENS_TRY(placeInReferenceOrder(entries));
    SHARDLENS_ASSIGN(auto header, safetensorsHeaderBytes(entries, {{"format", "pt"}}));
    PlannedFile out;
    out.container = PlannedFile::Container::Safetensors;
    out.sizeBytes = header.size() + (entries.empty() ? 0 : entries.back().end);
    for (const SafetensorsEntry& entry : entries) {
        const OutputTensor& tensor = tensors[tensorOf.at(entry.name)];
        out.tensors.push_back({tensor.name, tensor.source, tensor.dtype, header.size() + entry.begin, tensor.sizeBytes, tensor.isAlias, false, 0});
    }
    out.tensorCount = out.tensors.size();
    out.literals.push_back({0, std::move(header)});
    return out;
}

} // namespace shardlens
