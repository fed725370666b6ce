#include "core/convert/blocks.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardlens {
namespace {

using ::testing::ElementsAre;

// A header of 10 bytes, then tensors end to end.
Plan planOf(const std::vector<std::pair<DType, std::uint64_t>>& tensors)
{
    PlannedFile file;
    file.literals.push_back({0, std::vector<std::byte>(10)});
    file.sizeBytes = 10;
    for (const auto& [dtype, count] : tensors) {
        const std::uint64_t size = bytesOf(dtype, count).value_or(0);
        file.tensors.push_back({fmt::format("t{}", file.tensors.size()), {}, dtype, file.sizeBytes, size, false, false, 0});
        file.sizeBytes += size;
    }
    Plan plan;
    plan.files = {file, file};
    return plan;
}

std::vector<std::string> textOf(const Plan& plan, std::uint64_t blockBytes)
{
    std::vector<std::string> out;
    for (const Block& block : cutIntoBlocks(plan, blockBytes))
        out.push_back(fmt::format("{}: {}-{}", block.file, block.begin, block.end));
    return out;
}

TEST(Blocks, HoldManySmallTensorsOrPartOfALargeOne)
{
    EXPECT_THAT(textOf(planOf({{DType::U8, 20}, {DType::U8, 3}, {DType::U8, 3}}), 16), ElementsAre("0: 0-16", "0: 16-32", "0: 32-36", "1: 0-16", "1: 16-32", "1: 32-36"));
    EXPECT_THAT(textOf(planOf({{DType::U8, 20}}), 1000), ElementsAre("0: 0-30", "1: 0-30"));
}

TEST(Blocks, CutNoValue)
{
    EXPECT_THAT(textOf(planOf({{DType::F64, 4}}), 16), ElementsAre("0: 0-10", "0: 10-26", "0: 26-42", "1: 0-10", "1: 10-26", "1: 26-42"));
    EXPECT_THAT(textOf(planOf({{DType::U8, 1}, {DType::F32, 4}}), 16), ElementsAre("0: 0-15", "0: 15-27", "1: 0-15", "1: 15-27"));
}

TEST(Blocks, FindWhatLiesInThem)
{
    const Plan plan = planOf({{DType::U8, 20}, {DType::U8, 0}, {DType::U8, 3}});
    const PlannedFile& file = plan.files.front();
    const auto names = [&](std::uint64_t begin, std::uint64_t end) {
        std::string out;
        for (const PlannedTensor& tensor : tensorsIn(file, begin, end))
            out += tensor.name;
        return out;
    };
    EXPECT_EQ(names(0, 10), "");
    EXPECT_EQ(names(0, 11), "t0");
    EXPECT_EQ(names(29, 31), "t0t1t2");
    EXPECT_EQ(names(31, 33), "t2");
    EXPECT_EQ(literalsIn(file, 9, 10).size(), 1u);
    EXPECT_TRUE(literalsIn(file, 10, 33).empty());
}

} // namespace
} // namespace shardlens
