#include "core/numeric/quantizer.h"

#include "core/base/endian.h"
#include "core/numeric/cast.h"
#include "core/numeric/quant_books.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace shardlens {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = QuantPart::Kind;

std::vector<std::byte> bytesOf(DType dtype, const std::vector<float>& values)
{
    std::vector<std::byte> out(values.size() * info(dtype).bytesPerBlock);
    (void)castValues(DType::F32, reinterpret_cast<const std::byte*>(values.data()), dtype, out.data(), values.size());
    return out;
}

QuantLayout layoutOf(const char* scheme, DType dtype, const Shape& shape, QuantParameters parameters = {})
{
    auto out = QuantLayout::make(*quantSchemeByName(scheme), parameters, "m.weight", dtype, shape);
    EXPECT_TRUE(out) << (out ? "" : out.error().text());
    return out.take();
}

// All parts of a weight, quantized at once.
std::map<Kind, std::vector<std::byte>> quantized(const QuantLayout& layout, const std::vector<std::byte>& values, const NumericKernels& kernels = numericKernels())
{
    const Quantizer quantizer(layout, kernels);
    ScaleRanges ranges;
    ranges.reset(0, layout.scales());
    quantizer.measure(0, values, ranges);
    float global = 1;
    if (layout.scheme().scale == ScaleKind::E4M3) {
        float least = 0;
        float greatest = 0;
        for (std::size_t i = 0; i < ranges.least.size(); ++i) {
            least = std::min(least, std::bit_cast<float>(bitsOfOrdered(ranges.least[i])));
            greatest = std::max(greatest, std::bit_cast<float>(bitsOfOrdered(ranges.greatest[i])));
        }
        global = nvfp4GlobalScale(layout.dtype(), least, greatest);
    }
    QuantScales scales;
    quantizer.makeScales(ranges, global, scales);
    std::map<Kind, std::vector<std::byte>> out;
    for (const QuantPart& part : layout.parts()) {
        std::vector<std::byte>& bytes = out[part.kind];
        bytes = part.constant;
        bytes.resize(part.sizeBytes());
        if (part.kind == Kind::Codes)
            quantizer.writeCodes(0, values, scales, bytes);
        else if (part.kind == Kind::Scale)
            quantizer.writeScales(scales, bytes);
        else if (part.kind == Kind::ZeroPoint)
            quantizer.writeZeroPoints(scales, bytes);
        else if (part.kind == Kind::GlobalScale)
            storeLe(bytes.data(), global);
    }
    return out;
}

template <typename T>
std::vector<T> as(const std::vector<std::byte>& bytes)
{
    std::vector<T> out(bytes.size() / sizeof(T));
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
}

std::vector<int> integers(const std::vector<std::byte>& bytes)
{
    std::vector<int> out;
    for (const std::byte byte : bytes)
        out.push_back(static_cast<std::int8_t>(byte));
    return out;
}

std::vector<float> halvesOf(const std::vector<std::byte>& bytes)
{
    std::vector<float> out(bytes.size() / 2);
    (void)castValues(DType::BF16, bytes.data(), DType::F32, reinterpret_cast<std::byte*>(out.data()), out.size());
    return out;
}

// The numbers of formats/quantization.md, which its authors measured with the libraries.

TEST(Quantizer, Int4OfTheReferenceIsThatOfCompressedTensors)
{
    const std::vector<float> row{0.10009765625f, -0.69921875f, 0.330078125f, 0.55078125f, -0.2099609375f, 0.02001953125f, 0.69140625f, -0.050048828125f};
    const auto symmetric = quantized(layoutOf("int4-channel", DType::BF16, {1, 8}), bytesOf(DType::BF16, row)); // §4.3: one group of 8
    EXPECT_THAT(as<std::uint32_t>(symmetric.at(Kind::Codes)), ElementsAre(0x7f86ec09u));
    EXPECT_THAT(halvesOf(symmetric.at(Kind::Scale)), ElementsAre(0.09326171875f));
    EXPECT_THAT(as<std::int64_t>(symmetric.at(Kind::Shape)), ElementsAre(1, 8));
}

TEST(Quantizer, Int8ChannelOfTheReference)
{
    const auto parts = quantized(layoutOf("int8-channel", DType::F32, {1, 4}), bytesOf(DType::F32, {0.5f, -1, 0.25f, 0.999f}));
    EXPECT_THAT(as<float>(parts.at(Kind::Scale)), ElementsAre(0.007843137718737125f));
    EXPECT_THAT(integers(parts.at(Kind::Codes)), ElementsAre(64, -127, 32, 127));
}

TEST(Quantizer, Fp8ChannelOfTheReference)
{
    const auto parts = quantized(layoutOf("fp8-channel", DType::F32, {3, 4}), bytesOf(DType::F32, {0.5f, -1, 0.25f, 0.1f, 0, 0, 0, 0, 3, -0.001f, 0.02f, 2.9f}));
    EXPECT_THAT(as<std::uint8_t>(parts.at(Kind::Codes)), ElementsAre(0x76, 0xfe, 0x6e, 0x63, 0, 0, 0, 0, 0x7e, 0xa2, 0x44, 0x7e));
    EXPECT_THAT(as<float>(parts.at(Kind::Scale)), ElementsAre(0.002232143f, 1.1920929e-07f, 0.0066964286f));
}

TEST(Quantizer, Nvfp4OfTheReference)
{
    std::vector<float> row;
    for (int i = 0; i < 16; ++i)
        row.push_back(i == 3 ? -0.02f : 0.1f * static_cast<float>(i - 8));
    for (int i = 0; i < 16; ++i)
        row.push_back(0.01f * static_cast<float>(i - 7));
    const auto parts = quantized(layoutOf("nvfp4", DType::F32, {1, 32}), bytesOf(DType::F32, row));
    EXPECT_THAT(as<float>(parts.at(Kind::GlobalScale)), ElementsAre(3360.0f));
    EXPECT_THAT(as<std::uint8_t>(parts.at(Kind::Scale)), ElementsAre(0x7e, 0x63));
    EXPECT_THAT(as<std::uint8_t>(parts.at(Kind::Codes)), ElementsAre(0xff, 0x8e, 0xcd, 0xab, 0x20, 0x43, 0x65, 0x76, 0xef, 0xde, 0xbc, 0x0a, 0x32, 0x54, 0x66, 0x77));
}

TEST(Quantizer, Mxfp4OfTheReference)
{
    std::vector<float> row;
    for (int i = 0; i < 32; ++i)
        row.push_back(0.1f * static_cast<float>(i - 16));
    const auto parts = quantized(layoutOf("mxfp4", DType::F32, {1, 32}), bytesOf(DType::F32, row));
    EXPECT_THAT(as<std::uint8_t>(parts.at(Kind::Scale)), ElementsAre(125));
    EXPECT_THAT(as<std::uint8_t>(parts.at(Kind::Codes)), ElementsAre(0xff, 0xff, 0xee, 0xee, 0xdd, 0xcc, 0xab, 0x9a, 0x10, 0x22, 0x43, 0x54, 0x65, 0x66, 0x76, 0x77));
}

TEST(Quantizer, MxExponentsFollowTheRuleOfOneAndThreeQuarters)
{
    const std::map<float, int> exponents{{1.0f, 125}, {1.7499f, 125}, {1.75f, 126}, {2.0f, 126}, {3.5f, 127}, {6.0f, 127}, {7.0f, 128}, {0.0f, 0}};
    for (const auto& [magnitude, expected] : exponents) {
        std::vector<float> row(32, 0.0f);
        row[5] = -magnitude;
        const auto parts = quantized(layoutOf("mxfp4", DType::F32, {1, 32}), bytesOf(DType::F32, row));
        EXPECT_EQ(as<std::uint8_t>(parts.at(Kind::Scale)).front(), expected) << magnitude;
    }
    const auto ofZeros = quantized(layoutOf("mxfp4", DType::F16, {1, 32}), bytesOf(DType::F16, std::vector<float>(32, 0.0f)));
    EXPECT_EQ(as<std::uint8_t>(ofZeros.at(Kind::Scale)).front(), 127); // §4.7: 2^-127 is no F16
}

TEST(Quantizer, Nf4OfTheReference)
{
    std::vector<float> values(64, 0.0f);
    for (int i = 0; i < 16; ++i)
        values[static_cast<std::size_t>(i)] = 0.25f * static_cast<float>(i - 8);
    const auto parts = quantized(layoutOf("nf4", DType::F32, {1, 64}), bytesOf(DType::F32, values));
    const auto codes = as<std::uint8_t>(parts.at(Kind::Codes));
    EXPECT_THAT(std::vector(codes.begin(), codes.begin() + 8), ElementsAre(0x00, 0x11, 0x23, 0x46, 0x79, 0xab, 0xcd, 0xef));
    EXPECT_THAT(as<float>(parts.at(Kind::Scale)), ElementsAre(2.0f));
    const auto state = parts.at(Kind::State);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(state.data()), state.size()), R"({"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [1, 64]})");
}

TEST(Quantizer, AnOddNumberOfValuesIsFilledUpWithTheCodeOfZero)
{
    const std::vector<float> values(7 * 9, 1.0f);
    const auto nf4 = quantized(layoutOf("nf4", DType::F32, {7, 9}), bytesOf(DType::F32, values));
    EXPECT_EQ(nf4.at(Kind::Codes).size(), 32u);
    EXPECT_EQ(nf4.at(Kind::Codes).back(), std::byte{0xF7});
    const auto fp4 = quantized(layoutOf("fp4", DType::F32, {7, 9}), bytesOf(DType::F32, values));
    EXPECT_EQ(fp4.at(Kind::Codes).back(), std::byte{0x30});
}

TEST(Quantizer, DeepSpeedsTestVectors)
{
    const std::vector<float> x{0.5f, -1, 0.25f, 0, 2, -2, 1, 0.003f};
    const auto two = quantized(layoutOf("deepspeed-int8", DType::F32, {2, 4}, {2, 8}), bytesOf(DType::F32, x)); // formats/deepspeed.md §17, vector 1
    EXPECT_THAT(integers(two.at(Kind::Codes)), ElementsAre(64, -128, 32, 0, 127, -128, 64, 0));
    EXPECT_THAT(as<float>(two.at(Kind::Scale)), ElementsAre(0x1.000054p-7f, 0x1.00002ap-6f));
    const auto one = quantized(layoutOf("deepspeed-int8", DType::F32, {2, 2}, {1, 8}), bytesOf(DType::F32, {0.1f, -0.3f, 0.2f, 0.05f})); // vector 2
    EXPECT_THAT(integers(one.at(Kind::Codes)), ElementsAre(43, -128, 85, 21));
    EXPECT_THAT(as<float>(one.at(Kind::Scale)), ElementsAre(0x1.333484p-9f));
    const auto four = quantized(layoutOf("deepspeed-int8", DType::F32, {2, 4}, {2, 4}), bytesOf(DType::F32, x)); // vector 3
    EXPECT_THAT(integers(four.at(Kind::Codes)), ElementsAre(4, -8, 2, 0, 7, -8, 4, 0));
}

TEST(Quantizer, GroupsThatDoNotDivideTheValuesGiveOneMore)
{
    const QuantLayout layout = layoutOf("deepspeed-int8", DType::F32, {2, 5}, {3, 8}); // 10 values: 3, 3, 3, 1
    EXPECT_EQ(layout.scales(), 4u);
    const auto parts = quantized(layout, bytesOf(DType::F32, std::vector<float>(10, 0.0f)));
    EXPECT_THAT(as<float>(parts.at(Kind::Scale)), ElementsAre(3.90625e-08f, 3.90625e-08f, 3.90625e-08f, 3.90625e-08f));
}

TEST(Quantizer, ZeroPointsArePackedAlongTheRows)
{
    // One group a row, whose zero points are 0 (zeros), -8 (nothing below zero), 7 (nothing above): formats/quantization.md §4.2.
    std::vector<float> values(10 * 32, 0.0f);
    for (std::size_t i = 0; i < 32; ++i) {
        values[1 * 32 + i] = static_cast<float>(i);
        values[2 * 32 + i] = -static_cast<float>(i);
    }
    const auto parts = quantized(layoutOf("int4-g32-asym", DType::F32, {10, 32}), bytesOf(DType::F32, values));
    EXPECT_THAT(as<std::uint32_t>(parts.at(Kind::ZeroPoint)), ElementsAre(0x88888F08u, 0x00000088u));
}

TEST(Quantizer, RefusesWhatASchemeCannotHold)
{
    const auto refusal = [](const char* scheme, const char* name, DType dtype, const Shape& shape, QuantParameters parameters = {}) {
        const auto layout = QuantLayout::make(*quantSchemeByName(scheme), parameters, name, dtype, shape);
        return layout ? std::string("nothing") : layout.error().text();
    };
    EXPECT_THAT(refusal("int4-g128", "m.weight", DType::F32, {4, 160}), HasSubstr("160 values are no multiple of the group of 128"));
    EXPECT_THAT(refusal("int8-channel", "m.weight", DType::F64, {4, 4}), HasSubstr("F64"));
    EXPECT_THAT(refusal("int8-channel", "m.weight", DType::F32, {4}), HasSubstr("1 dimension"));
    EXPECT_THAT(refusal("int8-channel", "m.weight", DType::F32, {0, 4}), HasSubstr("no values"));
    EXPECT_THAT(refusal("deepspeed-int8", "m.weight", DType::F32, {2, 2}, {5, 8}), HasSubstr("5 groups"));
    EXPECT_THAT(refusal("llm-int8", "m.kernel", DType::F32, {2, 2}), HasSubstr("does not end in .weight"));
    EXPECT_EQ(quantSchemeByName("int5"), nullptr);
    EXPECT_THAT(unknownSchemeText("int4-128"), HasSubstr("first: int4-g128"));
    EXPECT_THAT(unknownSchemeText("FP8"), HasSubstr("'FP8'; there are, the nearest first: fp8-tensor, fp8-channel, fp8-block128, "));
    EXPECT_THAT(unknownSchemeText(""), HasSubstr("first: int8-channel, int8-tensor"));
    EXPECT_EQ(quantSchemeByName("INT4-g128"), quantSchemeByName("int4-g128"));
}

TEST(Quantizer, NamesTheFirstRunThatIsNotFinite)
{
    std::vector<float> values(4 * 64, 1.0f);
    values[2 * 64 + 40] = HUGE_VALF;
    const QuantLayout layout = layoutOf("int4-g32", DType::F32, {4, 64});
    const Quantizer quantizer(layout);
    ScaleRanges ranges;
    ranges.reset(0, layout.scales());
    quantizer.measure(0, bytesOf(DType::F32, values), ranges);
    EXPECT_EQ(quantizer.firstNonFinite(ranges), std::optional<std::uint64_t>(5));
    EXPECT_EQ(firstNonFinite(DType::F32, bytesOf(DType::F32, values), false), std::optional<std::uint64_t>(2 * 64 + 40));
    EXPECT_EQ(firstNonFinite(DType::F32, bytesOf(DType::F32, {1, 70000}), true), std::optional<std::uint64_t>(1));
    EXPECT_EQ(firstNonFinite(DType::F32, bytesOf(DType::F32, {1, 70000}), false), std::nullopt);
}

// Every scheme, dtype and a few awkward shapes: what is cut into units is what is done at once, by every set of instructions.

struct Case {
    const char* scheme;
    DType dtype;
    Shape shape;
};

std::vector<Case> allCases()
{
    std::vector<Case> out;
    for (const QuantScheme& scheme : quantSchemes())
        for (const DType dtype : {DType::F32, DType::BF16, DType::F16})
            for (const Shape& shape : {Shape{19, 256}, Shape{130, 384}, Shape{3, 37}, Shape{1, 4352}})
                if (scheme.scope != ScaleScope::Group || shape[1] % scheme.group == 0)
                    if (scheme.codes != CodeKind::E2M1 || shape[1] % 2 == 0)
                        out.push_back({scheme.name.data(), dtype, shape});
    return out;
}

class QuantizerTest : public ::testing::TestWithParam<Case> {
protected:
    void SetUp() override
    {
        std::mt19937 random(7);
        std::normal_distribution<float> normal(0, 0.04f);
        m_values.resize(GetParam().shape[0] * GetParam().shape[1]);
        for (float& value : m_values)
            value = random() % 50 == 0 ? 0 : normal(random) * (random() % 100 == 0 ? 20.0f : 1.0f);
        m_bytes = bytesOf(GetParam().dtype, m_values);
        m_layout = layoutOf(GetParam().scheme, GetParam().dtype, GetParam().shape, {5, 8});
    }

    std::vector<float> m_values;
    std::vector<std::byte> m_bytes;
    QuantLayout m_layout;
};

INSTANTIATE_TEST_SUITE_P(All, QuantizerTest, ::testing::ValuesIn(allCases()), [](const auto& one) {
    std::string name = fmt::format("{}_{}_{}x{}", one.param.scheme, nameOf(one.param.dtype), one.param.shape[0], one.param.shape[1]);
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

TEST_P(QuantizerTest, EveryInstructionSetGivesTheSameBytes)
{
    const auto expected = quantized(m_layout, m_bytes, *usableNumericKernels().front());
    for (const NumericKernels* kernels : usableNumericKernels())
        EXPECT_EQ(quantized(m_layout, m_bytes, *kernels), expected) << kernels->name;
}

TEST_P(QuantizerTest, UnitsGiveTheBytesOfTheWhole)
{
    if (m_layout.scheme().scale == ScaleKind::E4M3)
        return; // its scales need the whole tensor: core/quantized tests it
    const auto whole = quantized(m_layout, m_bytes);
    const Quantizer quantizer(m_layout);
    const std::size_t cell = info(m_layout.dtype()).bytesPerBlock;
    std::vector<std::byte> codes;
    std::vector<std::byte> scaleBytes;
    for (std::uint64_t first = 0; first < m_layout.values(); first += m_layout.unitValues()) {
        const std::uint64_t count = std::min(m_layout.unitValues(), m_layout.values() - first);
        const auto part = std::span(m_bytes).subspan(first * cell, count * cell);
        ScaleRanges ranges;
        ranges.reset(m_layout.grid().firstScale(first), m_layout.grid().endOfScales(first + count) - m_layout.grid().firstScale(first));
        quantizer.measure(first, part, ranges);
        QuantScales scales;
        quantizer.makeScales(ranges, 1, scales);
        std::vector<std::byte> own(m_layout.codeBytesBefore(first + count) - m_layout.codeBytesBefore(first));
        quantizer.writeCodes(first, part, scales, own);
        codes.insert(codes.end(), own.begin(), own.end());
        own.assign(scales.stored.size() * info(m_layout.parts()[1].dtype).bytesPerBlock, std::byte{});
        quantizer.writeScales(scales, own);
        scaleBytes.insert(scaleBytes.end(), own.begin(), own.end());
    }
    EXPECT_EQ(codes, whole.at(Kind::Codes));
    EXPECT_EQ(scaleBytes, whole.at(Kind::Scale));
}

} // namespace
} // namespace shardlens
