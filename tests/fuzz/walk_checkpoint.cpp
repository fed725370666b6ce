#include "tests/fuzz/walk_checkpoint.h"

#include "core/encoding/tensor_reader.h"
#include "core/model/coverage.h"

#include <algorithm>
#include <array>

namespace shardlens::fuzz {
namespace {

constexpr std::uint64_t kRead = 4096; // bytes at a time
constexpr std::size_t kMaxHoles = 4;

void readSome(const TensorReader& reader)
{
    const std::uint64_t size = reader.sizeBytes();
    const std::uint64_t cell = reader.cellBytes();
    const std::uint64_t count = std::min(size, kRead) / cell * cell;
    std::array<std::byte, kRead> buffer{};
    for (const std::uint64_t offset : {std::uint64_t{0}, (size - count) / 2 / cell * cell, size - count})
        (void)reader.readAt(offset, std::span(buffer).first(count));
    (void)reader.readAt(size, std::span(buffer).first(cell)); // past the end: refused
}

} // namespace

void walkCheckpoint(const CheckpointPtr& checkpoint)
{
    const StreamSet streams(checkpoint);
    for (std::size_t i = 0; i < checkpoint->tensors().size(); ++i) {
        const auto id = idAt<TensorId>(i);
        for (const Hole& hole : coverageOf(*checkpoint, id, kMaxHoles).holes)
            (void)holeText(*checkpoint, id, hole);
        if (const auto reader = TensorReader::open(streams, id))
            readSome(*reader);
    }
}

} // namespace shardlens::fuzz
