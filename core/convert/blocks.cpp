#include "core/convert/blocks.h"

#include <algorithm>

namespace shardlens {
namespace {

std::uint64_t endOf(const PlannedTensor& tensor)
{
    return tensor.offset + tensor.sizeBytes;
}

std::uint64_t endOf(const PlannedRecord& record)
{
    return record.offset + record.sizeBytes;
}

std::uint64_t endOf(const PlannedBytes& literal)
{
    return literal.offset + literal.bytes.size();
}

// Items ascend by offset and do not overlap (or are equal, where they share bytes), so their ends ascend too.
template <typename Item>
std::span<const Item> itemsIn(const std::vector<Item>& items, std::uint64_t begin, std::uint64_t end)
{
    const auto first = std::upper_bound(items.begin(), items.end(), begin, [](std::uint64_t at, const Item& item) { return at < endOf(item); });
    const auto last = std::lower_bound(first, items.end(), end, [](const Item& item, std::uint64_t at) { return item.offset < at; });
    return {items.data() + (first - items.begin()), static_cast<std::size_t>(last - first)};
}

// `at`, or up to a value's size before it where a value would be cut.
std::uint64_t wholeValues(const PlannedFile& file, std::uint64_t at)
{
    const auto tensors = tensorsIn(file, at, at + 1);
    if (tensors.empty())
        return at;
    return at - (at - tensors.front().offset) % info(tensors.front().dtype).bytesPerBlock;
}

void cutRun(const PlannedFile& file, std::uint32_t number, std::uint64_t begin, std::uint64_t end, std::uint64_t blockBytes, std::vector<Block>& blocks)
{
    while (begin < end) {
        const bool last = end - begin <= blockBytes;
        const std::uint64_t cut = last ? end : wholeValues(file, begin + blockBytes);
        blocks.push_back({number, begin, cut});
        begin = cut;
    }
}

} // namespace

std::span<const PlannedTensor> tensorsIn(const PlannedFile& file, std::uint64_t begin, std::uint64_t end)
{
    return itemsIn(file.tensors, begin, end);
}

std::span<const PlannedRecord> recordsIn(const PlannedFile& file, std::uint64_t begin, std::uint64_t end)
{
    return itemsIn(file.records, begin, end);
}

std::span<const PlannedBytes> literalsIn(const PlannedFile& file, std::uint64_t begin, std::uint64_t end)
{
    return itemsIn(file.literals, begin, end);
}

std::vector<Block> cutIntoBlocks(const Plan& plan, std::uint64_t blockBytes)
{
    std::vector<Block> blocks;
    for (std::size_t i = 0; i < plan.files.size(); ++i) {
        const PlannedFile& file = plan.files[i];
        std::uint64_t begin = 0;
        for (const PlannedTensor& tensor : file.tensors) {
            if (!tensor.withOthers)
                continue;
            cutRun(file, static_cast<std::uint32_t>(i), begin, tensor.offset, blockBytes, blocks);
            begin = endOf(tensor);
        }
        cutRun(file, static_cast<std::uint32_t>(i), begin, file.sizeBytes, blockBytes, blocks);
    }
    return blocks;
}

} // namespace shardlens
