// Any bytes as a safetensors file, and as the index beside such files. What is read must lie in the file and must survive being written.
#include "core/encoding/hf_index.h"
#include "core/encoding/safetensors.h"
#include "core/model/checkpoint_builder.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/walk_checkpoint.h"

#include <algorithm>
#include <cstdlib>

namespace shardlens::fuzz {
namespace {

constexpr std::size_t kMaxTensors = 64;

CheckpointPtr checkpointOf(const InputFile& input, const SafetensorsHeader& header)
{
    CheckpointBuilder builder("input", ".");
    const FileId file = builder.addFile(input.row());
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    for (const SafetensorsEntry& entry : header.entries) {
        if (builder.tensorCount() == kMaxTensors)
            break;
        const TensorId id = builder.addTensor({builder.parameter(entry.name), role, entry.dtype, Combine::Exclusive, true, entry.shape});
        if (!builder.addWhole(id, {builder.streamOf(file), header.dataOffset + entry.begin, builder.holder({}), {}}))
            std::abort(); // the header was accepted, so its tensors lie in the file
    }
    return std::move(builder).finish();
}

// A header that was read is written again, and read again: the same tensors, each as long as before.
void writeAndReadAgain(const SafetensorsHeader& header)
{
    std::vector<SafetensorsEntry> entries = header.entries;
    if (!placeInReferenceOrder(entries))
        std::abort();
    auto bytes = safetensorsHeaderBytes(entries, header.metadata);
    if (!bytes)
        std::abort();
    const std::uint64_t dataBytes = entries.empty() ? 0 : entries.back().end;
    std::vector<std::byte> whole = bytes.take();
    whole.resize(whole.size() + dataBytes);
    const auto again = readSafetensorsHeader(MemorySource(std::move(whole)));
    auto metadata = header.metadata;
    std::sort(metadata.begin(), metadata.end()); // written by key
    if (!again || again->entries.size() != entries.size() || again->metadata != metadata)
        std::abort();
    for (std::size_t i = 0; i < entries.size(); ++i)
        if (again->entries[i].end - again->entries[i].begin != entries[i].end - entries[i].begin)
            std::abort();
}

} // namespace
} // namespace shardlens::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace shardlens;
    if (size > fuzz::kMaxInput)
        return -1;
    const fuzz::InputFile input({data, size});
    (void)readHfIndex(*input.source(), ".safetensors");
    const auto header = readSafetensorsHeader(*input.source());
    if (!header)
        return 0;
    fuzz::walkCheckpoint(fuzz::checkpointOf(input, *header));
    fuzz::writeAndReadAgain(*header);
    return 0;
}
