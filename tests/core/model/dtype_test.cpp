#include "core/model/dtype.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

namespace shardlens {
namespace {

TEST(DType, RowsStandInTheOrderOfTheEnumerators)
{
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < allDTypes().size(); ++i) {
        const DTypeInfo& row = allDTypes()[i];
        EXPECT_EQ(static_cast<std::size_t>(row.dtype), i) << row.name;
        EXPECT_EQ(&info(row.dtype), &row);
        EXPECT_TRUE(names.insert(row.name).second) << row.name;
        EXPECT_EQ(dtypeByName(row.name), row.dtype);
        if (!row.torchName.empty()) {
            EXPECT_EQ(dtypeByTorchName(row.torchName), row.dtype);
        }
    }
}

TEST(DType, KnowsTorchsOtherNames)
{
    EXPECT_EQ(dtypeByTorchName("float"), DType::F32);
    EXPECT_EQ(dtypeByTorchName("half"), DType::F16);
    EXPECT_EQ(dtypeByTorchName("long"), DType::I64);
    EXPECT_EQ(dtypeByTorchName("Float"), std::nullopt);
    EXPECT_EQ(dtypeByName("f32"), std::nullopt);
}

TEST(DType, BytesFillWholeBlocksOrAreRefused)
{
    EXPECT_EQ(bytesOf(DType::F32, 3), 12u);
    EXPECT_EQ(bytesOf(DType::F4, 4), 2u);
    EXPECT_EQ(bytesOf(DType::F4, 3), std::nullopt);
    EXPECT_EQ(bytesOf(DType::F6E2M3, 8), 6u);
    EXPECT_EQ(bytesOf(DType::F64, std::numeric_limits<std::uint64_t>::max() / 4), std::nullopt);
}

} // namespace
} // namespace shardlens
