#include "core/format/dcp/distributed_value.h"

#include "core/base/text.h"
#include "core/format/dcp/placements.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace shardlens::dcp {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr std::size_t kMostAxesOfValue = 64;
constexpr std::uint64_t kMostBytesOfValue = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kMostMeshDims = 16;
constexpr std::uint64_t kMostRanksOfMesh = 1u << 20;

// A subclass of Tensor is rebuilt by _rebuild_from_type_v2(function, class, arguments, state).
Value wrappedClass(Value value)
{
    if (!value.isCallOf("torch._tensor", "_rebuild_from_type_v2"))
        return {};
    return value.args().at(1);
}

bool isClassNamed(Value type, std::string_view name)
{
    return type.kind() == Kind::Global && type.globalName() == name && type.globalModule().starts_with("torch.distributed.");
}

bool isObjectOf(Value object, std::string_view name)
{
    return isClassNamed(object.callable(), name);
}

Result<std::vector<std::uint64_t>> countsOf(Value value, const char* what)
{
    if (!value.isSequence() || value.size() > kMostAxesOfValue)
        return Error{ErrorCode::Corrupt, fmt::format("{} is no list of counts", what)};
    std::vector<std::uint64_t> out;
    for (std::size_t i = 0; i < value.size(); ++i) {
        const auto number = value.at(i).asInt();
        if (!number || *number < 0)
            return Error{ErrorCode::Corrupt, fmt::format("{} holds what is no count", what)};
        out.push_back(static_cast<std::uint64_t>(*number));
    }
    return out;
}

// "rank:3/cuda:1", or the number beside it.
std::optional<std::uint32_t> rankOfDevice(Value device)
{
    if (const auto rank = device.attribute("_rank").asInt(); rank && *rank >= 0 && *rank < static_cast<std::int64_t>(kMostRanksOfMesh))
        return static_cast<std::uint32_t>(*rank);
    const auto text = device.asText();
    if (!text || !text->starts_with("rank:"))
        return std::nullopt;
    std::uint32_t out = 0;
    const auto [end, failed] = std::from_chars(text->data() + 5, text->data() + text->size(), out);
    return failed == std::errc{} ? std::optional(out) : std::nullopt;
}

Result<Box> boxOf(Value metadata, const Shape& shape)
{
    SHARDLENS_ASSIGN(const auto offset, countsOf(metadata.attribute("shard_offsets"), "shard_offsets"));
    SHARDLENS_ASSIGN(const auto extent, countsOf(metadata.attribute("shard_sizes"), "shard_sizes"));
    if (offset.size() != shape.size() || extent.size() != shape.size())
        return Error{ErrorCode::Corrupt, "a shard with another number of dimensions than its tensor"};
    const Box out{Shape(offset.begin(), offset.end()), Shape(extent.begin(), extent.end())};
    if (!isInside(BoxView(out), shape))
        return Error{ErrorCode::Corrupt, fmt::format("a shard at {} of size {} leaves the tensor {}", shapeText(out.offset), shapeText(out.extent), shapeText(shape))};
    return out;
}

Result<DistributedValue> shardedTensorOf(Value value, std::span<const std::uint32_t> asked, DistributedValue out)
{
    const Value state = value.args().at(3); // (local shards, metadata, process group, spec, rrefs)
    const Value shards = state.at(0);
    for (std::size_t i = 0; i < shards.size(); ++i) {
        auto box = boxOf(shards.at(i).attribute("metadata"), out.shape);
        if (!box)
            return box.takeError();
        out.parts.push_back({box.take(), shards.at(i).attribute("tensor")});
    }
    const Value all = state.at(1).attribute("shards_metadata");
    for (std::size_t i = 0; i < all.size() && !asked.empty(); ++i) {
        const auto rank = rankOfDevice(all.at(i).attribute("placement"));
        auto box = boxOf(all.at(i), out.shape);
        if (!box)
            return box.takeError();
        if (rank && std::binary_search(asked.begin(), asked.end(), *rank))
            out.places.push_back({*rank, box.take()});
    }
    if (const auto world = state.at(2).attribute("global_world_size").asInt(); world && *world > 0 && *world <= static_cast<std::int64_t>(kMostRanksOfMesh))
        out.worldSize = static_cast<std::uint32_t>(*world);
    return out;
}

// A device mesh: its shape, this process's place, and where the place of others follows.
struct Mesh {
    std::vector<std::uint64_t> shape;
    std::vector<std::uint64_t> strides;    // of each dimension among `ranks`; empty: not known
    std::vector<std::uint64_t> coordinate; // of this file's rank; empty: the mesh does not say
    std::vector<std::uint64_t> ranks;      // of the root mesh, flattened; empty: 0, 1, 2 …
    std::uint64_t worldSize = 0;

    [[nodiscard]] std::vector<std::uint64_t> coordinateOf(std::uint32_t rank) const
    {
        std::uint64_t index = rank;
        if (!ranks.empty()) {
            const auto at = std::find(ranks.begin(), ranks.end(), rank);
            if (at == ranks.end())
                return {};
            index = static_cast<std::uint64_t>(at - ranks.begin());
        }
        std::vector<std::uint64_t> out;
        for (std::size_t k = 0; k < strides.size(); ++k)
            out.push_back(index / strides[k] % shape[k]);
        return out;
    }
};

Status readNewMesh(Value layout, Value mesh, Mesh& out) // 2.13: axes of shape and stride within the ranks
{
    const Value axes = layout.attribute("axes");
    if (!axes.isSequence() || axes.size() > kMostMeshDims)
        return Error{ErrorCode::Unsupported, "the device mesh has no axes that are known"};
    for (std::size_t i = 0; i < axes.size(); ++i) {
        const Value shape = axes.at(i).attribute("shape");
        const Value stride = axes.at(i).attribute("stride");
        SHARDLENS_ASSIGN(const auto sizes, countsOf(shape.isSequence() ? shape : axes.at(i), "the shape of a mesh axis"));
        std::uint64_t product = 1;
        for (const std::uint64_t size : sizes)
            product = std::min(product * std::max<std::uint64_t>(size, 1), kMostRanksOfMesh);
        out.shape.push_back(product);
        const auto step = stride.isSequence() && stride.size() == 1 ? stride.at(0).asInt() : std::nullopt;
        if (step && *step > 0)
            out.strides.push_back(static_cast<std::uint64_t>(*step));
    }
    const Value ranks = mesh.attribute("_flatten_rank_map");
    for (std::size_t i = 0; ranks.isSequence() && i < ranks.size() && i < kMostRanksOfMesh; ++i)
        out.ranks.push_back(static_cast<std::uint64_t>(std::max<std::int64_t>(ranks.at(i).asInt().value_or(0), 0)));
    out.worldSize = out.ranks.size();
    return {};
}

Status readOldMesh(const TorchFile& file, Value mesh, Mesh& out) // a tensor of ranks, of the mesh's shape
{
    const Value ranks = mesh.attribute("mesh");
    if (!TorchFile::isTensor(ranks))
        return Error{ErrorCode::Unsupported, "the device mesh is of a kind that is not known"};
    SHARDLENS_ASSIGN(const TorchTensor tensor, file.tensorOf(ranks));
    out.shape.assign(tensor.shape.begin(), tensor.shape.end());
    const Shape strides = rowMajorStrides(tensor.shape); // ranks in order, as init_device_mesh numbers them
    out.strides.assign(strides.begin(), strides.end());
    out.worldSize = elementCount(tensor.shape).value_or(0);
    return {};
}

Result<Mesh> meshOf(const TorchFile& file, Value mesh, std::uint32_t rank)
{
    Mesh out;
    if (const Value layout = mesh.attribute("_layout"); layout && !layout.isNone())
        SHARDLENS_TRY(readNewMesh(layout, mesh, out));
    else
        SHARDLENS_TRY(readOldMesh(file, mesh, out));
    if (out.shape.empty() || out.shape.size() > kMostMeshDims || std::find(out.shape.begin(), out.shape.end(), 0u) != out.shape.end() || out.worldSize > kMostRanksOfMesh)
        return Error{ErrorCode::Corrupt, "the device mesh has an impossible shape"};
    if (out.strides.size() != out.shape.size())
        out.strides.clear();
    if (const auto own = countsOf(mesh.attribute("_coordinate_on_dim"), "_coordinate_on_dim"); own && own->size() == out.shape.size())
        out.coordinate = *own;
    else
        out.coordinate = out.coordinateOf(rank);
    for (std::size_t k = 0; k < out.coordinate.size(); ++k)
        if (out.coordinate[k] >= out.shape[k])
            return Error{ErrorCode::Corrupt, "the file's place lies outside its device mesh"};
    if (out.coordinate.size() != out.shape.size())
        return Error{ErrorCode::Unsupported, "the device mesh does not say where this rank stands in it"};
    return out;
}

Result<std::vector<Placement>> placementsOf(Value list)
{
    std::vector<Placement> out;
    for (std::size_t i = 0; i < list.size(); ++i) {
        const Value one = list.at(i);
        const auto dim = one.attribute("dim").asInt();
        const auto factor = one.attribute("split_factor").asInt();
        if (isObjectOf(one, "Replicate")) {
            out.push_back({});
        } else if (isObjectOf(one, "Shard") && dim && *dim >= 0) {
            out.push_back({Placement::Kind::Shard, static_cast<std::size_t>(*dim), 1});
        } else if ((isObjectOf(one, "_StridedShard") || isObjectOf(one, "StridedShard")) && dim && *dim >= 0 && factor && *factor > 0) {
            out.push_back({Placement::Kind::StridedShard, static_cast<std::size_t>(*dim), static_cast<std::uint64_t>(*factor)});
        } else if (isObjectOf(one, "Partial") || isObjectOf(one, "_Partial")) {
            return Error{ErrorCode::Unsupported, "its placement is Partial: each rank holds a summand, and the values are their sum"};
        } else {
            return Error{ErrorCode::Unsupported, fmt::format("a placement of class {} is not known", printable(one.callable().globalName()))};
        }
    }
    return out;
}

// The order that the spec states itself; empty where it does not.
std::vector<ShardOrder> statedOrder(Value order, std::size_t rank, std::size_t meshDims)
{
    std::vector<ShardOrder> out;
    for (std::size_t i = 0; order.isSequence() && i < order.size(); ++i) {
        const Value entry = order.at(i);
        const auto dim = entry.args().at(0).asInt();
        const auto dims = countsOf(entry.args().at(1), "mesh_dims");
        if (!dim || *dim < 0 || static_cast<std::size_t>(*dim) >= rank || !dims || std::any_of(dims->begin(), dims->end(), [&](std::uint64_t one) { return one >= meshDims; }))
            return {};
        out.push_back({static_cast<std::size_t>(*dim), std::vector<std::size_t>(dims->begin(), dims->end())});
    }
    return out;
}

Result<DistributedValue> dtensorOf(const TorchFile& file, Value value, std::uint32_t rank, std::span<const std::uint32_t> asked, DistributedValue out)
{
    const Value state = value.args().at(3);
    const Value attributes = state.isMapping() ? state : state.at(1); // (None, {…})
    const Value spec = attributes.find("_spec");
    SHARDLENS_ASSIGN(const Mesh mesh, meshOf(file, spec.attribute("mesh"), rank));
    SHARDLENS_ASSIGN(const std::vector<Placement> placements, placementsOf(spec.attribute("placements")));
    if (placements.size() != mesh.shape.size())
        return Error{ErrorCode::Corrupt, fmt::format("{} placements on a device mesh of {} dimensions", placements.size(), mesh.shape.size())};
    const bool isStrided = std::any_of(placements.begin(), placements.end(), [](const Placement& one) { return one.kind == Placement::Kind::StridedShard; });
    std::vector<ShardOrder> order = isStrided ? std::vector<ShardOrder>() : statedOrder(spec.attribute("shard_order"), out.shape.size(), mesh.shape.size());
    if (order.empty()) {
        SHARDLENS_ASSIGN(order, shardOrderOf(placements, mesh.shape, out.shape.size()));
    }
    out.parts.push_back({localBox(out.shape, order, mesh.shape, mesh.coordinate), attributes.find("_local_tensor")});
    out.worldSize = static_cast<std::uint32_t>(mesh.worldSize);
    for (const std::uint32_t other : asked) {
        const auto coordinate = mesh.coordinateOf(other);
        if (!coordinate.empty())
            out.places.push_back({other, localBox(out.shape, order, mesh.shape, coordinate)});
    }
    return out;
}

} // namespace

bool isDistributed(Value value)
{
    const Value type = wrappedClass(value);
    return isClassNamed(type, "ShardedTensor") || isClassNamed(type, "DTensor");
}

Result<DistributedValue> distributedValueOf(const TorchFile& file, Value value, std::uint32_t rank, std::span<const std::uint32_t> asked)
{
    const Value arguments = value.args().at(2); // (class, dtype, size, stride, …)
    const Value dtype = arguments.at(1);
    const auto known = dtype.kind() == Kind::Global && dtype.globalModule() == "torch" ? dtypeByTorchName(dtype.globalName()) : std::nullopt;
    if (!known || info(*known).valuesPerBlock > 1)
        return Error{ErrorCode::Unsupported, "a distributed tensor of a dtype that is not read"};
    DistributedValue out;
    out.dtype = *known;
    SHARDLENS_ASSIGN(const auto shape, countsOf(arguments.at(2), "the size of a distributed tensor"));
    out.shape.assign(shape.begin(), shape.end());
    const auto values = elementCount(out.shape);
    if (const auto bytes = values ? bytesOf(out.dtype, *values) : std::nullopt; !bytes || *bytes > kMostBytesOfValue)
        return Error{ErrorCode::Corrupt, fmt::format("a tensor of {} {} has more bytes than can be counted", nameOf(out.dtype), shapeText(out.shape))};
    return isClassNamed(wrappedClass(value), "DTensor") ? dtensorOf(file, value, rank, asked, std::move(out)) : shardedTensorOf(value, asked, std::move(out));
}

} // namespace shardlens::dcp
