#include "core/format/deepspeed/legacy_zero1.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/deepspeed/flat_vector.h"
#include "core/format/deepspeed/parameter_shapes.h"

#include <fmt/format.h>

#include <set>

namespace shardlens::deepspeed {
namespace {

constexpr const char* kSubPartitions = "local_sub_partitions_of_fp32_groups";

// The sub-partitions of a group in the order of the flat vector.
Result<std::vector<FlatVector::Part>> partsOf(Run& run, std::map<std::uint32_t, TorchPieces>& pieces, std::size_t group, DType& dtype)
{
    std::vector<FlatVector::Part> parts;
    std::uint64_t begin = 0;
    const auto first = run.firstOptimizer();
    const std::size_t intervals = run.optimizerState(*first).find(kSubPartitions).at(group).size();
    for (std::size_t interval = 0; interval < intervals; ++interval)
        for (auto& [rank, file] : run.optimizers) {
            if (!file.torch)
                return Error{ErrorCode::Refused, fmt::format("rank {} is missing, and the sub-partitions of legacy ZeRO-1 cannot be placed without it", rank)};
            SHARDLENS_ASSIGN(const TorchTensor tensor, file.torch->tensorOf(run.optimizerState(rank).find(kSubPartitions).at(group).at(interval)));
            if (tensor.shape.size() != 1 || !tensor.contiguous)
                return Error{ErrorCode::Corrupt, fmt::format("sub-partition {} of rank {} is no dense vector: {}", interval, rank, shapeText(tensor.shape))};
            dtype = tensor.dtype;
            parts.push_back({begin, tensor.shape[0], rank, pieces.at(rank).placementOf(tensor, run.rank(rank))});
            begin += tensor.shape[0];
        }
    return parts;
}

} // namespace

void recoverLegacyShapes(Run& run)
{
    const auto first = run.firstOptimizer();
    if (!run.groups.empty() || !first)
        return;
    const pickle::Value groups = run.optimizerState(*first).find(kSubPartitions);
    std::set<std::string, std::less<>> buffers;
    const pickle::Value listed = run.model.root().find("buffer_names");
    for (std::size_t i = 0; i < listed.size(); ++i)
        buffers.emplace(listed.at(i).asText().value_or(""));
    ParameterGroup all;
    std::set<std::pair<std::size_t, std::uint64_t>> seen;
    std::uint64_t total = 0;
    const pickle::Value module = run.module();
    for (std::size_t i = 0; i < module.size(); ++i) {
        const std::string name(module.keyAt(i).asText().value_or(""));
        const auto tensor = TorchFile::isTensor(module.valueAt(i)) ? run.model.torch->tensorOf(module.valueAt(i)) : Result<TorchTensor>(Error{ErrorCode::Corrupt, ""});
        if (!tensor || buffers.contains(name) || !isFloat(tensor->dtype) || !seen.emplace(tensor->storage, tensor->offsetBytes).second)
            continue;
        const std::uint64_t count = elementCount(tensor->shape).value_or(0);
        all.push_back({name, tensor->shape, count});
        total += count;
    }
    std::uint64_t have = 0;
    for (const auto& [rank, file] : run.optimizers)
        for (std::size_t interval = 0; file.torch && groups.size() == 1 && interval < groups.at(0).size(); ++interval)
            if (const auto part = file.torch->tensorOf(run.optimizerState(rank).find(kSubPartitions).at(0).at(interval)))
                have += elementCount(part->shape).value_or(0);
    if (groups.size() == 1 && have >= total && have - total < 2ull * run.world * std::max<std::uint64_t>(1, groups.at(0).size()))
        run.groups.push_back(std::move(all));
}

Status addLegacyGroups(Run& run)
{
    const auto first = run.firstOptimizer();
    if (!first)
        return {};
    auto pieces = piecesOfOptimizers(run);
    const RoleId role = run.builder.role(RoleKind::Weight, "fp32 master");
    for (std::size_t index = 0; index < run.groups.size(); ++index) {
        DType dtype = DType::F32;
        SHARDLENS_ASSIGN(auto parts, partsOf(run, pieces, index, dtype));
        const FlatVector masters = FlatVector::of(std::move(parts), dtype);
        std::uint64_t begin = 0;
        for (const ParameterShape& parameter : run.groups[index]) {
            const TensorId id = run.builder.addTensor({run.builder.parameter(parameter.name), role, dtype, Combine::Exclusive, false, parameter.shape});
            SHARDLENS_TRY(masters.addPieces(run.builder, id, begin, parameter.count));
            begin += parameter.count;
        }
    }
    run.find(Severity::Info, "legacy-zero1",
             "Legacy ZeRO-1: masters are read; the optimizer's states of this layout are shown under Metadata only.");
    return {};
}

} // namespace shardlens::deepspeed
