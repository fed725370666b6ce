#include "core/format/mindspore/file_layout.h"

#include "core/base/text.h"
#include "core/encoding/mindspore_writer.h"
#include "core/encoding/safetensors.h"

#include <fmt/format.h>

#include <unordered_map>

namespace shardlens::mindspore {
namespace {

constexpr const char* kInt4 = "Int4";

Error elsewhere(const OutputEntry& entry, const Tensor& tensor, const char* container)
{
    return {ErrorCode::Refused, fmt::format("{} is {}, which a {} file cannot hold", printable(entry.name), nameOf(tensor.dtype), container)};
}

// A run of whole values.
TargetRun runOf(TensorId id, const Tensor& tensor, std::uint64_t offset, std::uint64_t firstByte, std::uint64_t length)
{
    const std::uint64_t cell = info(tensor.dtype).bytesPerBlock;
    return {id, tensor.dtype, firstByte / cell, length / cell, offset};
}

Result<CkptOutput> outputFor(const CheckpointBuilder& payload, const OutputEntry& entry)
{
    if (entry.text)
        return outputText(entry.name, *entry.text);
    const Tensor& tensor = payload.tensor(entry.tensor);
    if (entry.typeName.empty())
        return outputTensor(entry.name, tensor.dtype, tensor.shape);
    CkptOutput out;
    out.name = entry.name;
    out.typeName = entry.typeName;
    out.shape = entry.storedShape.value_or(tensor.shape);
    out.sizeBytes = bytesOf(tensor.dtype, elementCount(tensor.shape).value_or(0)).value_or(0);
    return out;
}

} // namespace

Result<TargetFlatFile> ckptFile(const CheckpointBuilder& payload, const std::vector<OutputEntry>& entries)
{
    std::vector<CkptOutput> outputs;
    outputs.reserve(entries.size());
    TargetFlatFile out;
    for (const OutputEntry& entry : entries) {
        SHARDLENS_ASSIGN(auto output, outputFor(payload, entry));
        outputs.push_back(std::move(output));
        out.tensors += entry.text ? 0 : 1;
    }
    SHARDLENS_ASSIGN(CkptLayout layout, layOutCkpt(outputs));
    out.container = TargetFlatFile::Container::MindSporeCkpt;
    out.sizeBytes = layout.sizeBytes;
    for (CkptLiteral& literal : layout.literals)
        out.literals.push_back({literal.offset, std::move(literal.bytes)});
    out.runs.reserve(layout.runs.size());
    for (const CkptRun& run : layout.runs) {
        const TensorId id = entries[run.entry].tensor;
        out.runs.push_back(runOf(id, payload.tensor(id), run.offset, run.firstByte, run.length));
    }
    return out;
}

Result<TargetFlatFile> safetensorsFile(const CheckpointBuilder& payload, const std::vector<OutputEntry>& entries)
{
    std::vector<SafetensorsEntry> places;
    std::unordered_map<std::string_view, TensorId> tensorOf;
    std::vector<std::pair<std::string, std::string>> metadata{{"format", "ms"}, {"remove_redundancy", "False"}}; // formats/mindspore.md §6.1
    for (const OutputEntry& entry : entries) {
        const Tensor& tensor = payload.tensor(entry.tensor);
        if (!info(tensor.dtype).inSafetensors)
            return elsewhere(entry, tensor, "safetensors");
        places.push_back({entry.name, tensor.dtype, tensor.shape});
        tensorOf.emplace(entry.name, entry.tensor);
        if (entry.typeName == kInt4)
            metadata.emplace_back(entry.name, kInt4);
    }
    SHARDLENS_TRY(placeInReferenceOrder(places));
    SHARDLENS_ASSIGN(auto header, safetensorsHeaderBytes(places, std::move(metadata)));
    TargetFlatFile out;
    out.container = TargetFlatFile::Container::Safetensors;
    out.tensors = entries.size();
    out.sizeBytes = header.size() + (places.empty() ? 0 : places.back().end);
    for (const SafetensorsEntry& place : places) {
        const TensorId id = tensorOf.at(place.name);
        if (place.end > place.begin)
            out.runs.push_back(runOf(id, payload.tensor(id), header.size() + place.begin, 0, place.end - place.begin));
    }
    out.literals.push_back({0, std::move(header)});
    return out;
}

} // namespace shardlens::mindspore
