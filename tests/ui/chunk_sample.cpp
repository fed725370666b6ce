#include "tests/ui/chunk_sample.h"

#include "core/model/checkpoint_builder.h"

#include <fmt/format.h>

#include <cstdlib>

namespace shardlens::test {
namespace {

constexpr std::uint64_t kFileBytes = 1u << 30;

void needed(const Status& status)
{
    if (!status)
        std::abort(); // the sample is wrong
}

} // namespace

CheckpointPtr makeChunkSample(const ChunkSample& sample)
{
    CheckpointBuilder builder("/data/runs/chunks", "/data/runs/chunks");
    builder.setFormat("dcp", "PyTorch DCP");
    builder.setTitle("chunks", "");
    std::vector<FileId> files;
    std::vector<std::uint64_t> ends(sample.ranks, 1000);
    for (std::uint32_t rank = 0; rank < sample.ranks; ++rank) {
        File file;
        file.name = fmt::format("__{}_0.distcp", rank);
        file.path = "/data/runs/chunks/" + file.name;
        file.state = sample.missing.contains(rank) ? File::State::Missing : File::State::Read;
        file.size = file.state == File::State::Read ? kFileBytes : 0;
        if (sample.hasRanks)
            file.rank = rank;
        files.push_back(builder.addFile(file));
    }
    const TensorId tensor = builder.addTensor({builder.parameter("grid.weight"), builder.role(RoleKind::Weight, "weight"), DType::F32,
                                               sample.areCopies ? Combine::Replicas : Combine::Exclusive, true, sample.shape});
    const auto add = [&](const Box& box, std::uint32_t rank) {
        needed(builder.addPiece(tensor, BoxView(box), {builder.streamOf(files[rank]), ends[rank], builder.holder({}), {}}));
        ends[rank] += box.volume() * 4;
    };
    const std::uint64_t count = elementCount(sample.parts).value_or(0);
    for (std::uint64_t chunk = 0; chunk < count; chunk += sample.onlyEvery) {
        if (sample.left.contains(chunk))
            continue;
        Box box{indexAt(chunk, sample.parts), {}};
        for (std::size_t axis = 0; axis < sample.shape.size(); ++axis) {
            box.extent.push_back(sample.shape[axis] / sample.parts[axis]);
            box.offset[axis] *= box.extent[axis];
        }
        for (std::uint32_t copy = 0; copy < sample.copies; ++copy)
            add(box, static_cast<std::uint32_t>((chunk + copy) % sample.ranks));
    }
    if (sample.twice)
        add(*sample.twice, sample.ranks - 1);
    return std::move(builder).finish();
}

} // namespace shardlens::test
