#include "core/format/torch/view_slack.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace shardlens::torch {
namespace {

struct ByteRange {
    std::uint64_t begin;
    std::uint64_t end;
};

struct UsedStorage {
    std::string name; // of one tensor on it
    std::vector<ByteRange> ranges;
};
using UsedStorages = std::map<std::size_t, UsedStorage>;

// From the first byte of a tensor to its last; what lies between the elements of a view with gaps counts as used.
ByteRange extentOf(const TorchTensor& tensor)
{
    const Shape units = unitShape(tensor.shape, tensor.dtype);
    std::uint64_t last = 0;
    for (std::size_t axis = 0; axis < units.size(); ++axis)
        last += (units[axis] - 1) * static_cast<std::uint64_t>(tensor.strides[axis]);
    return {tensor.offsetBytes, tensor.offsetBytes + last + info(tensor.dtype).bytesPerBlock};
}

void use(const TorchFile& torch, const std::string& name, pickle::Value value, UsedStorages& out)
{
    const auto tensor = torch.tensorOf(value);
    if (!tensor || tensor->noData || elementCount(tensor->shape).value_or(0) == 0)
        return;
    UsedStorage& storage = out[tensor->storage];
    if (storage.name.empty())
        storage.name = name;
    storage.ranges.push_back(extentOf(*tensor));
}

UsedStorages usedStorages(const TorchFile& torch, const std::vector<TreeLeaf>& leaves)
{
    UsedStorages out;
    for (const TreeLeaf& leaf : leaves) {
        if (!TorchFile::sparseLayoutOf(leaf.value)) {
            use(torch, leaf.name, leaf.value, out);
            continue;
        }
        if (const auto parts = TorchFile::sparsePartsOf(leaf.value))
            for (const TorchSparsePart& part : *parts)
                use(torch, leaf.name, part.value, out);
    }
    return out;
}

// What the ranges leave of [0, size).
std::vector<ByteRange> gapsOf(std::vector<ByteRange> used, std::uint64_t size)
{
    std::sort(used.begin(), used.end(), [](const ByteRange& a, const ByteRange& b) { return a.begin < b.begin; });
    used.push_back({size, size});
    std::vector<ByteRange> out;
    std::uint64_t at = 0;
    for (const ByteRange& range : used) {
        if (range.begin > at)
            out.push_back({at, range.begin});
        at = std::max(at, range.end);
    }
    return out;
}

} // namespace

void addViewSlack(CheckpointBuilder& builder, FileId file, const TorchFile& torch, const std::vector<TreeLeaf>& leaves)
{
    std::uint64_t wasted = 0;
    std::uint64_t whole = 0;
    std::uint64_t most = 0;
    std::size_t count = 0;
    std::string example;
    for (auto& [index, used] : usedStorages(torch, leaves)) {
        const TorchStorage& storage = torch.storages()[index];
        std::uint64_t unused = 0;
        for (const ByteRange& gap : gapsOf(used.ranges, storage.sizeBytes)) {
            unused += gap.end - gap.begin;
            if (!storage.deflated && !storage.decoded)
                builder.addFileSpan({file, storage.offset + gap.begin, gap.end - gap.begin, FileSpan::Kind::Unused});
        }
        if (unused == 0)
            continue;
        ++count;
        wasted += unused;
        whole += storage.sizeBytes;
        if (unused > most) {
            most = unused;
            example = fmt::format("{} uses {} of {}", printable(used.name), exactSizeText(storage.sizeBytes - unused), exactSizeText(storage.sizeBytes));
        }
    }
    if (count == 0)
        return;
    builder.addFinding({Severity::Info, "wasted-bytes",
                        fmt::format("{}: {} of {} in {} belong to no tensor, because a view is saved with the whole storage behind it: {}{}. What is written from the tensors leaves them out.",
                                    printable(builder.file(file).name), exactSizeText(wasted), exactSizeText(whole), plural(count, "storage", "storages"),
                                    count > 1 ? "most where " : "", example),
                        kNoTensor, file, std::nullopt});
}

} // namespace shardlens::torch
