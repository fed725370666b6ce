#include "app/cli/value_text.h"
#include "app/cli/value_window.h"

#include "core/base/endian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace shardlens::cli {
namespace {

using testing::HasSubstr;

std::string partOf(std::string_view text, const Shape& shape)
{
    const auto slice = parseSlice(text, shape);
    return slice ? regionText(BoxView(slice->box)) : "error: " + slice.error().text();
}

TEST(ParseSlice, MeansWhatPythonMeans)
{
    const Shape shape{8, 5};
    EXPECT_EQ(partOf("0:4,0:4", shape), "[0:4, 0:4]");
    EXPECT_EQ(partOf("-2:", shape), "[6:8, 0:5]");
    EXPECT_EQ(partOf(":,-1", shape), "[0:8, 4:5]");
    EXPECT_EQ(partOf(" [ 3 , : ] ", shape), "[3:4, 0:5]");
    EXPECT_EQ(partOf("2:100", shape), "[2:8, 0:5]");
    EXPECT_EQ(partOf("", shape), "[0:8, 0:5]");
}

TEST(ParseSlice, AnIndexLeavesItsAxisOut)
{
    const auto slice = parseSlice("3,1:4", Shape{8, 5});
    ASSERT_TRUE(slice);
    EXPECT_EQ(slice->shape(), Shape{3});
    EXPECT_EQ(wholeOf(Shape{2, 3}).shape(), (Shape{2, 3}));
}

struct BadSlice {
    const char* name;
    const char* text;
    const char* says;
};

class ParseSliceRejects : public testing::TestWithParam<BadSlice> {};

TEST_P(ParseSliceRejects, WithTheAxis)
{
    const auto slice = parseSlice(GetParam().text, Shape{8, 5});
    ASSERT_FALSE(slice);
    EXPECT_EQ(slice.error().code(), ErrorCode::Refused);
    EXPECT_THAT(slice.error().text(), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(Texts, ParseSliceRejects,
                         testing::Values(BadSlice{"IndexOutside", "8", "axis 0: 8 does not fit an extent of 8"},
                                         BadSlice{"NegativeOutside", "0,-6", "axis 1"}, BadSlice{"Backwards", "4:2", "axis 0"},
                                         BadSlice{"Step", "0:4:2", "axis 0"}, BadSlice{"Words", "a:b", "axis 0"},
                                         BadSlice{"TooManyAxes", "0,0,0", "more axes than the 2 of [8, 5]"},
                                         BadSlice{"Nothing", "0,", "axis 1"}),
                         [](const auto& row) { return row.param.name; });

TEST(ValueText, ReadsEveryKind)
{
    std::array<std::byte, 16> bytes{};
    storeLe<float>(bytes.data(), 0.1f);
    EXPECT_EQ(valueText(DType::F32, bytes.data(), true), "0.1");
    storeLe<double>(bytes.data(), 1.0 / 3);
    EXPECT_EQ(valueText(DType::F64, bytes.data(), false), "0.3333333");
    EXPECT_EQ(valueText(DType::F64, bytes.data(), true), "0.3333333333333333");
    storeLe<std::uint16_t>(bytes.data(), 0x3F80);
    EXPECT_EQ(valueText(DType::BF16, bytes.data(), true), "1");
    storeLe<std::int64_t>(bytes.data(), std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(valueText(DType::I64, bytes.data(), true), "-9223372036854775808");
    EXPECT_EQ(valueText(DType::U64, bytes.data(), true), "9223372036854775808");
    storeLe<float>(bytes.data(), 1.5f);
    storeLe<float>(bytes.data() + 4, -2.0f);
    EXPECT_EQ(valueText(DType::C64, bytes.data(), true), "1.5-2j");
    storeLe<float>(bytes.data(), std::numeric_limits<float>::quiet_NaN());
    EXPECT_EQ(valueText(DType::F32, bytes.data(), true), "nan");
    storeLe<std::uint8_t>(bytes.data(), 1);
    EXPECT_EQ(valueText(DType::Bool, bytes.data(), true), "true");
}

TEST(Numpy, HeaderIsAlignedAndClosed)
{
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{4096, 11008, 7, 1, 2}}) {
        const std::string header = numpyHeader(DType::F32, shape);
        EXPECT_EQ(header.size() % 64, 0u);
        EXPECT_EQ(header.back(), '\n');
        EXPECT_EQ(header.substr(0, 6), "\x93NUMPY");
        const auto low = static_cast<unsigned char>(header[8]);
        const auto high = static_cast<unsigned char>(header[9]);
        EXPECT_EQ(low + 256u * high, header.size() - 10);
    }
    EXPECT_THAT(numpyHeader(DType::F32, Shape{3}), HasSubstr("'descr': '<f4', 'fortran_order': False, 'shape': (3, ), "));
    EXPECT_THAT(numpyHeader(DType::F32, {}), HasSubstr("'shape': (), "));
}

TEST(Numpy, WidensWhatItHasNoTypeFor)
{
    std::array<std::byte, 4> bf16{};
    storeLe<std::uint16_t>(bf16.data(), 0x3F80);     // 1
    storeLe<std::uint16_t>(bf16.data() + 2, 0xC000); // -2
    const auto wide = numpyBytes(DType::BF16, bf16);
    ASSERT_EQ(wide.size(), 8u);
    EXPECT_EQ(loadLe<float>(wide.data()), 1.0f);
    EXPECT_EQ(loadLe<float>(wide.data() + 4), -2.0f);
    EXPECT_TRUE(numpyType(DType::BF16).widened);
    EXPECT_EQ(numpyBytes(DType::U16, bf16).size(), 4u);
}

} // namespace
} // namespace shardlens::cli
