#include "core/format/deepspeed/parallel.h"

#include "core/base/text.h"
#include "core/encoding/tensor_reader.h"
#include "core/numeric/cast.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::deepspeed {
namespace {

constexpr std::uint64_t kSampledCells = 16 * 1024; // at the start, in the middle and at the end

// Values of a tensor at three places.
Result<std::vector<std::byte>> sampleOf(const CheckpointPtr& checkpoint, TensorId tensor)
{
    const StreamSet streams(checkpoint);
    SHARDLENS_ASSIGN(const TensorReader reader, TensorReader::open(streams, tensor));
    const std::uint64_t cells = reader.sizeBytes() / reader.cellBytes();
    const std::uint64_t count = std::min(cells, kSampledCells);
    std::vector<std::byte> out;
    for (const std::uint64_t at : {std::uint64_t{0}, (cells - count) / 2, cells - count}) {
        std::vector<std::byte> part(count * reader.cellBytes());
        SHARDLENS_TRY(reader.readAt(at * reader.cellBytes(), part));
        out.insert(out.end(), part.begin(), part.end());
    }
    return out;
}

Result<std::vector<std::byte>> sampleAs(const CheckpointPtr& checkpoint, TensorId tensor, DType dtype)
{
    const DType own = checkpoint->tensor(tensor).dtype;
    SHARDLENS_ASSIGN(std::vector<std::byte> values, sampleOf(checkpoint, tensor));
    if (own == dtype)
        return values;
    if (!canCast(own, dtype))
        return Error{ErrorCode::Unsupported, "no cast"};
    const std::size_t count = values.size() / info(own).bytesPerBlock;
    std::vector<std::byte> out(count * info(dtype).bytesPerBlock);
    castValues(own, values.data(), dtype, out.data(), count);
    return out;
}

// Parameters tied_modules.<key>.… of the stages' ranks: the first rank that has each, of tensor-parallel rank 0.
struct TiedParameter {
    const ParallelRank* rank = nullptr;
    TensorId master{};
};
using TiedModules = std::map<std::string, std::map<std::string, TiedParameter>>; // "tied_modules.embed." → "weight" → where

TiedModules tiedModules(const ParallelRun& run)
{
    constexpr std::string_view kTied = "tied_modules.";
    TiedModules out;
    for (const ParallelRank& rank : run.ranks) {
        if (!rank.checkpoint || rank.model != 0)
            continue;
        for (std::size_t i = 0; i < rank.checkpoint->tensors().size(); ++i) {
            const std::string& name = rank.checkpoint->parameterOf(idAt<TensorId>(i));
            const std::size_t dot = name.starts_with(kTied) ? name.find('.', kTied.size()) : std::string::npos;
            if (dot == std::string::npos || rank.checkpoint->roleOf(idAt<TensorId>(i)).kind != RoleKind::Weight)
                continue;
            out[name.substr(0, dot + 1)].try_emplace(name.substr(dot + 1), TiedParameter{&rank, idAt<TensorId>(i)});
        }
    }
    return out;
}

const LayerFile* layerAt(const ParallelRun& run, std::uint32_t index)
{
    for (const LayerFile& layer : run.layers)
        if (layer.index == index && layer.model == 0)
            return layer.content.checkpoint ? &layer : nullptr;
    return nullptr;
}

std::optional<TensorId> tensorNamed(const Checkpoint& checkpoint, const std::string& name)
{
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (checkpoint.parameterOf(idAt<TensorId>(i)) == name)
            return idAt<TensorId>(i);
    return std::nullopt;
}

// Whether a layer file holds a tied module: each of its parameters in its shape, and the first as its master rounds to it.
bool holds(const LayerFile& layer, const std::map<std::string, TiedParameter>& parameters)
{
    const Checkpoint& content = *layer.content.checkpoint;
    bool isCompared = false;
    for (const auto& [rest, parameter] : parameters) {
        const auto own = tensorNamed(content, rest);
        const Checkpoint& masters = *parameter.rank->checkpoint;
        if (!own || content.tensor(*own).shape != masters.tensor(parameter.master).shape)
            return false;
        if (isCompared)
            continue;
        isCompared = true;
        const auto copy = sampleOf(layer.content.checkpoint, *own);
        const auto master = sampleAs(parameter.rank->checkpoint, parameter.master, content.tensor(*own).dtype);
        if (copy && master && *copy != *master)
            return false; // where either cannot be read, the shape decides
    }
    return isCompared;
}

bool sameContent(const LayerFile& a, const LayerFile& b)
{
    const Checkpoint& first = *a.content.checkpoint;
    for (std::size_t i = 0; i < first.tensors().size(); ++i) {
        const auto other = tensorNamed(*b.content.checkpoint, first.parameterOf(idAt<TensorId>(i)));
        if (!other || first.tensors()[i].shape != b.content.checkpoint->tensor(*other).shape)
            return false;
        const auto mine = sampleOf(a.content.checkpoint, idAt<TensorId>(i));
        const auto theirs = sampleOf(b.content.checkpoint, *other);
        if (!mine || !theirs || *mine != *theirs)
            return false;
    }
    return first.tensors().size() == b.content.checkpoint->tensors().size();
}

// Numbers whose keys some rank's optimizer or buffers name as `<index>.<key>`: they are no tied layer's.
std::set<std::uint32_t> claimedLayers(const ParallelRun& run)
{
    std::set<std::string> names;
    for (const ParallelRank& rank : run.ranks) {
        names.insert(rank.opened.names.trainable.begin(), rank.opened.names.trainable.end());
        names.insert(rank.opened.names.buffers.begin(), rank.opened.names.buffers.end());
    }
    std::set<std::uint32_t> out;
    for (const LayerFile& layer : run.layers)
        for (std::size_t i = 0; layer.content.checkpoint && i < layer.content.values.size(); ++i)
            if (names.contains(fmt::format("{}.{}", layer.index, layer.content.checkpoint->parameterOf(idAt<TensorId>(i)))))
                out.insert(layer.index);
    return out;
}

void renameLayer(ParallelRun& run, std::uint32_t index, const std::string& prefix)
{
    for (LayerFile& layer : run.layers)
        if (layer.index == index)
            layer.prefix = prefix;
}

} // namespace

Status nameLayers(ParallelRun& run, JobContext& job)
{
    const std::set<std::uint32_t> claimed = claimedLayers(run);
    std::set<std::uint32_t> free;
    for (const LayerFile& layer : run.layers)
        if (!claimed.contains(layer.index) && layerAt(run, layer.index) != nullptr)
            free.insert(layer.index);
    for (const auto& [prefix, parameters] : tiedModules(run)) {
        SHARDLENS_TRY(job.poll());
        const LayerFile* found = nullptr;
        for (const std::uint32_t index : std::set(free)) {
            const LayerFile* layer = layerAt(run, index);
            const bool isFirst = found == nullptr && holds(*layer, parameters);
            if (!isFirst && !(found != nullptr && sameContent(*found, *layer)))
                continue;
            if (isFirst)
                found = layer;
            renameLayer(run, index, prefix); // the layer at its other place has its values again
            free.erase(index);
        }
        if (found == nullptr)
            run.builder.addFinding({Severity::Warning, "tied-layer", fmt::format("No layer file holds the parameters of {}: buffers and the module's copy of it are missing.",
                                                                                 printable(prefix.substr(0, prefix.size() - 1))),
                                    kNoTensor, kNoFile, std::nullopt});
    }
    return {};
}

} // namespace shardlens::deepspeed
