#include "core/io/byte_source.h"
#include "core/model/checkpoint_builder.h"
#include "tests/ui/atlas_sample.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>

namespace shardlens::test {
namespace {

constexpr std::uint64_t kRows = 300;
constexpr std::uint64_t kColumns = 40;

void require(const Status& status)
{
    if (!status) {
        fmt::print(stderr, "values sample: {}\n", status.error().text());
        std::abort();
    }
}

template <typename T>
void append(std::string& bytes, T value)
{
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes.append(raw, sizeof(T));
}

std::string valueBytes()
{
    std::string bytes;
    for (std::uint64_t row = 0; row < kRows; ++row)
        for (std::uint64_t column = 0; column < kColumns; ++column) {
            float value = static_cast<float>(row) + static_cast<float>(column) / 1000;
            if (row == 1 && column == 2)
                value = std::numeric_limits<float>::quiet_NaN();
            if (row == 1 && (column == 3 || column == 4))
                value = std::numeric_limits<float>::infinity() * (column == 3 ? 1.0F : -1.0F);
            append(bytes, value);
        }
    for (std::int64_t i = 0; i < 100; ++i)
        append(bytes, 7 * i);
    for (int i = 0; i < 60; ++i)
        append(bytes, static_cast<float>(i));
    bytes.append(4 + 32, '\1'); // packed, lost
    return bytes;
}

MetaNode leaf(std::string key, MetaNode::Kind kind, std::string value, std::string type)
{
    return {kind, std::move(key), std::move(value), std::move(type), {}};
}

} // namespace

CheckpointPtr writeValuesSample(const std::string& folder)
{
    const std::string bytes = valueBytes();
    const std::string path = folder + "/values.bin";
    std::ofstream(path, std::ios::binary) << bytes;
    auto stamp = stampOf(path);
    if (!stamp)
        require(stamp.takeError());
    CheckpointBuilder builder(folder, folder);
    builder.setFormat("made", "values");
    File file;
    file.path = path;
    file.name = "values.bin";
    file.size = stamp->sizeBytes;
    file.modifiedNs = stamp->modifiedNs;
    file.rank = 0;
    const StreamId stream = builder.streamOf(builder.addFile(file));
    const HolderId holder = builder.holder({});
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    const auto add = [&](const char* name, DType dtype, Shape shape) {
        return builder.addTensor({builder.parameter(name), role, dtype, Combine::Exclusive, true, std::move(shape)});
    };
    const TensorId matrix = add("matrix", DType::F32, {kRows, kColumns});
    const std::uint64_t half = kRows / 2 * kColumns + 11; // cut inside a row
    require(builder.addPiece(matrix, FlatRange{0, half}, {stream, 0, holder, {}}));
    require(builder.addPiece(matrix, FlatRange{half, kRows * kColumns}, {stream, half * 4, holder, {}}));
    std::uint64_t at = kRows * kColumns * 4;
    require(builder.addWhole(add("vector", DType::I64, {100}), {stream, at, holder, {}}));
    at += 800;
    require(builder.addWhole(add("cube", DType::F32, {3, 4, 5}), {stream, at, holder, {}}));
    at += 240;
    require(builder.addWhole(add("packed", DType::F4, {8}), {stream, at, holder, {}}));
    require(builder.addPiece(add("lost", DType::F32, {4, 4}), FlatRange{0, 8}, {stream, at + 4, holder, {}}));
    return std::move(builder).finish();
}

CheckpointPtr makeMetadataSample(std::uint32_t ranks)
{
    CheckpointBuilder builder("/data/runs/meta", "/data/runs/meta");
    builder.setFormat("made", "metadata");
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
        File file;
        file.path = fmt::format("/data/runs/meta/rank_{}.pt", rank);
        file.name = fmt::format("rank_{}.pt", rank);
        file.size = 100;
        file.rank = rank;
        const FileId id = builder.addFile(file);
        MetaNode args{MetaNode::Kind::Dict, "args", "3 entries", "dict", {}};
        args.children = {leaf("lr", MetaNode::Kind::Float, "0.0003", "float"), leaf("rank", MetaNode::Kind::Integer, std::to_string(rank), "int"),
                         leaf("policy", MetaNode::Kind::Opaque, "", "acme.Policy")};
        MetaNode root{MetaNode::Kind::Dict, "", "2 entries", "dict", {}};
        root.children = {leaf("global_steps", MetaNode::Kind::Integer, "12000", "int"), args};
        if (rank == 0)
            root.children.push_back(leaf("module", MetaNode::Kind::Summary, "291 tensors", "OrderedDict"));
        builder.addMetadata({id, root});
    }
    return std::move(builder).finish();
}

CheckpointPtr makeShapesSample(std::uint64_t experts)
{
    CheckpointBuilder builder("/data/runs/shapes", "/data/runs/shapes");
    builder.setFormat("made", "shapes");
    builder.setTopology({{{Axis::Dp, 4}}});
    std::vector<StreamId> streams;
    std::vector<HolderId> holders;
    for (std::uint32_t rank = 0; rank < 4; ++rank) {
        File file;
        file.path = fmt::format("/data/runs/shapes/rank_{}.pt", rank);
        file.name = fmt::format("rank_{}.pt", rank);
        file.size = 1u << 30;
        file.rank = rank;
        streams.push_back(builder.streamOf(builder.addFile(file)));
        holders.push_back(builder.holder({{{Axis::Dp, rank}}}));
    }
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    const TensorId stacked = builder.addTensor({builder.parameter("experts.w1"), role, DType::F32, Combine::Exclusive, true, {experts, 6, 8}});
    for (std::uint64_t expert = 0; expert < experts; ++expert) {
        const std::size_t rank = expert % 4;
        const Box box{{expert, 0, 0}, {1, 6, 8}};
        require(builder.addPiece(stacked, BoxView(box), {streams[rank], expert * 192, holders[rank], {}}));
    }
    const TensorId replicated = builder.addTensor({builder.parameter("norm.weight"), role, DType::F32, Combine::Replicas, true, {64}});
    for (std::size_t rank = 0; rank < 4; ++rank)
        require(builder.addWhole(replicated, {streams[rank], 1u << 20, holders[rank], {}}));
    const TensorId holed = builder.addTensor({builder.parameter("holed.weight"), role, DType::F32, Combine::Exclusive, true, {100, 50}});
    require(builder.addPiece(holed, FlatRange{0, 2010}, {streams[0], 2u << 20, holders[0], {}}));
    require(builder.addPiece(holed, FlatRange{3020, 5000}, {streams[1], 2u << 20, holders[1], {}}));
    return std::move(builder).finish();
}

} // namespace shardlens::test
