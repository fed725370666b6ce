#include "core/convert/plan_files.h"

#include "core/base/endian.h"
#include "core/base/text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace shardlens {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kHeaderStep = 8;
constexpr std::uint64_t kLargestHeader = 100'000'000; // formats/safetensors.md §3

// The reference writer's order: by dtype from the widest down, then by name (formats/safetensors.md §4.1).
Shard inReferenceOrder(const std::vector<OutputTensor>& tensors, const Shard& shard)
{
    Shard out = shard;
    std::sort(out.begin(), out.end(), [&](std::size_t a, std::size_t b) {
        if (tensors[a].dtype != tensors[b].dtype)
            return tensors[a].dtype > tensors[b].dtype;
        return tensors[a].name < tensors[b].name;
    });
    return out;
}

std::string quoted(const std::string& text)
{
    return nlohmann::json(text).dump();
}

} // namespace

Result<PlannedFile> planSafetensorsFile(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const Shard& shard)
{
    PlannedFile out;
    out.container = PlannedFile::Container::Safetensors;
    std::string header = R"({"__metadata__":{"format":"pt"})";
    std::uint64_t at = 0;
    for (const std::size_t i : inReferenceOrder(tensors, shard)) {
        const OutputTensor& tensor = tensors[i];
        const Shape& shape = source.tensor(tensor.source).shape;
        header += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", quoted(tensor.name), nameOf(tensor.dtype), fmt::join(shape, ","), at,
                              at + tensor.sizeBytes);
        out.tensors.push_back({tensor.name, tensor.source, tensor.dtype, at, tensor.sizeBytes, tensor.isAlias, false, {}});
        at += tensor.sizeBytes;
    }
    header += '}';
    header.resize((header.size() + kHeaderStep - 1) / kHeaderStep * kHeaderStep, ' ');
    if (header.size() > kLargestHeader)
        return Error{ErrorCode::Refused, fmt::format("a header of {} B, at most {} B are allowed; write smaller files with --max-shard-size", groupedText(header.size()),
                                                     groupedText(kLargestHeader))};
    PlannedBytes literal;
    literal.bytes.resize(kLengthBytes + header.size());
    storeLe(literal.bytes.data(), std::uint64_t{header.size()});
    std::transform(header.begin(), header.end(), literal.bytes.begin() + kLengthBytes, [](char c) { return static_cast<std::byte>(c); });
    for (PlannedTensor& tensor : out.tensors)
        tensor.offset += literal.bytes.size();
    out.sizeBytes = literal.bytes.size() + at;
    out.literals.push_back(std::move(literal));
    return out;
}

} // namespace shardlens
