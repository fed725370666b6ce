// Any bytes as a strategy file of MindSpore. What is accepted tiles its tensors, says who needs what of whom, and is the same after it was written again.
#include "core/layout/mindspore_strategy.h"
#include "core/layout/strategy_boxes.h"
#include "core/layout/strategy_ranks.h"
#include "core/layout/strategy_writer.h"
#include "tests/fuzz/input_file.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace shardlens::fuzz {
namespace {

using namespace mindspore;

constexpr std::uint64_t kMostRanksTried = 64;

void require(bool holds)
{
    if (!holds)
        std::abort();
}

// The slices of a tensor that divides are inside it, and different ones do not meet.
void tile(const ParameterLayout& layout)
{
    Shape full = cutsOf(layout);
    if (!full.empty())
        full[0] *= optimizerShards(layout);
    const std::uint64_t devices = deviceCount(layout);
    require(devices % sliceCount(layout) == 0);
    const bool isBox = checkDivides(layout, full).ok();
    for (std::uint64_t rank = 0; rank < std::min(devices, kMostRanksTried); ++rank) {
        const auto same = ranksWithSameSlice(layout, rank);
        require(std::find(same.begin(), same.end(), rank) != same.end() && same.size() == devices / sliceCount(layout));
        require(sliceOf(layout, rank) < sliceCount(layout));
        const auto box = boxOf(layout, full, rank);
        require(box.ok() == isBox);
        if (!isBox)
            continue;
        require(isInside(RegionView(BoxView(*box)), full));
        const auto first = boxOf(layout, full, 0);
        require(*first == *box || intersect(*first, *box).volume() == 0);
        require((*first == *box) == (sliceOf(layout, rank) == sliceOf(layout, 0)) || box->volume() == 0);
        const auto whole = fullShapeOf(layout, box->extent);
        require(whole.ok() && *whole == full);
    }
}

void ask(const Strategy* source, const Strategy* target)
{
    const auto needed = NeededRanks::make(source, target);
    require(needed.ok());
    for (std::uint64_t rank = 0; rank < std::min(needed->targetRanks(), kMostRanksTried); ++rank) {
        const auto ranks = needed->of(rank);
        require(ranks.ok() && std::is_sorted(ranks->rbegin(), ranks->rend()));
        require(ranks->empty() || ranks->front() < (source == nullptr ? 1 : source->worldSize()));
    }
    require(!needed->of(needed->targetRanks()).ok());
}

bool sayTheSame(const Strategy& a, const Strategy& b)
{
    return std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(), [&](const StrategyItem& one, const StrategyItem& other) {
        const ParameterLayout& x = a.layoutOf(one);
        const ParameterLayout& y = b.layoutOf(other);
        return one.name == other.name && one.stage == other.stage && x.deviceMatrix == y.deviceMatrix && x.tensorMap == y.tensorMap &&
               x.optShardStep == y.optShardStep && x.optShardSize == y.optShardSize && x.paramSplitShape == y.paramSplitShape && x.field == y.field;
    });
}

void writeAgain(const Strategy& strategy)
{
    const std::string bytes = strategyProtobuf(strategy);
    const auto again = parseStrategy(bytes, "again");
    require(again.ok() && sayTheSame(strategy, *again) && strategyProtobuf(*again) == bytes);
    const auto json = strategyJson(strategy);
    if (!json)
        return;
    const auto read = parseStrategy(*json, "again");
    require(read.ok() && sayTheSame(strategy, *read));
}

} // namespace
} // namespace shardlens::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace shardlens;
    if (size > fuzz::kMaxInput)
        return -1;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    (void)mindspore::looksLikeStrategy(bytes.substr(0, size / 2), size);
    (void)mindspore::looksLikeStrategy(bytes, size);
    const auto strategy = mindspore::parseStrategy(bytes, "input");
    if (!strategy || strategy->stageDeviceCount() > 4096 || strategy->items().size() > 256)
        return 0;
    for (const mindspore::ParameterLayout& layout : strategy->layouts())
        fuzz::tile(layout);
    fuzz::ask(&*strategy, nullptr);
    fuzz::ask(nullptr, &*strategy);
    const auto self = mindspore::NeededRanks::make(&*strategy, &*strategy);
    if (self) // a parameter may have other dimensions in another stage
        fuzz::ask(&*strategy, &*strategy);
    fuzz::writeAgain(*strategy);
    return 0;
}
