#include "tests/core/convert/convert_fixture.h"

#include "core/base/endian.h"
#include "core/encoding/value_reader.h"
#include "core/numeric/quant_books.h"
#include "core/quantized/dequantized_view.h"
#include "core/quantized/source_quantization.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::byte> bytesOf(std::initializer_list<int> values)
{
    std::vector<std::byte> out;
    for (const int value : values)
        out.push_back(static_cast<std::byte>(value));
    return out;
}

std::vector<std::byte> wordsOf(const std::vector<std::uint32_t>& values)
{
    std::vector<std::byte> out(values.size() * 4);
    std::size_t at = 0;
    for (const std::uint32_t value : values)
        storeLe(out.data() + 4 * at++, value);
    return out;
}

std::vector<std::byte> longsOf(std::initializer_list<std::int64_t> values)
{
    std::vector<std::byte> out(values.size() * 8);
    std::size_t at = 0;
    for (const std::int64_t value : values)
        storeLe(out.data() + 8 * at++, value);
    return out;
}

std::vector<std::byte> textOf(const std::string& text)
{
    const auto* first = reinterpret_cast<const std::byte*>(text.data());
    return {first, first + text.size()};
}

class DequantizeTest : public ConvertTest {
protected:
    // Values of the one quantized weight, or "error: …".
    struct Answer {
        std::string error;
        Shape shape;
        DType dtype{};
        std::vector<float> values;
    };
    Answer values(const std::vector<TinyTensor>& tensors, const std::string& name = "m.weight")
    {
        const CheckpointPtr source = describeQuantization(tiny(tensors));
        auto view = dequantizedView(source);
        if (!view)
            return {view.error().text(), {}, {}, {}};
        Answer out;
        for (std::size_t i = 0; i < (*view)->tensors().size(); ++i) {
            const auto id = idAt<TensorId>(i);
            if ((*view)->parameterOf(id) != name)
                continue;
            out.shape = (*view)->tensor(id).shape;
            out.dtype = (*view)->tensor(id).dtype;
            out.values.resize(elementCount(out.shape).value());
            const ValueReader reader(*view);
            CastCounts lost;
            const auto read = reader.readAt(id, DType::F32, 0, std::as_writable_bytes(std::span(out.values)), lost);
            if (!read)
                out.error = read.error().text();
        }
        return out;
    }

    // Texts of the findings that describing it adds.
    std::vector<std::string> findings(const std::vector<TinyTensor>& tensors)
    {
        std::vector<std::string> out;
        const CheckpointPtr described = describeQuantization(tiny(tensors));
        for (const Finding& finding : described->findings())
            out.push_back(finding.text);
        return out;
    }

    std::string fact(const std::vector<TinyTensor>& tensors, const std::string& name)
    {
        const CheckpointPtr described = describeQuantization(tiny(tensors));
        for (const auto& [key, value] : described->facts())
            if (key == name)
                return value;
        return {};
    }

    void writeConfig(const std::string& text) const { std::ofstream(path("config.json")) << text; }
};

// formats/quantization.md §4.3: int4 [-8,-7,-1,0,1,5,6,7] and a ninth value 3
std::vector<TinyTensor> int4Weight(Shape scaleShape = {1, 1}, std::vector<float> scales = {0.5f})
{
    return {{"m.weight_packed", DType::I32, {1, 2}, wordsOf({0xfed98710u, 0x0000000bu})},
            {"m.weight_scale", DType::F32, std::move(scaleShape), bytesOfFloats(scales)},
            {"m.weight_shape", DType::I64, {2}, longsOf({1, 9})}};
}

TEST_F(DequantizeTest, WordsOfFourBits)
{
    const Answer found = values(int4Weight());
    EXPECT_EQ(found.error, "");
    EXPECT_EQ(found.shape, (Shape{1, 9}));
    EXPECT_THAT(found.values, ElementsAre(-4, -3.5f, -0.5f, 0, 0.5f, 2.5f, 3, 3.5f, 1.5f));
}

TEST_F(DequantizeTest, WordsOfThreeBitsInBothPackings)
{
    writeConfig(R"({"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 3}}}}})");
    const std::vector<float> expected{-4, -3, -2, -1, 0, 1, 2, 3, -4, 3, 1};
    const auto weight = [](std::initializer_list<std::uint32_t> words) {
        return std::vector<TinyTensor>{{"m.weight_packed", DType::I32, {1, words.size()}, wordsOf(words)}, {"m.weight_scale", DType::F32, {1, 1}, bytesOfFloats({1})}, {"m.weight_shape", DType::I64, {2}, longsOf({1, 11})}};
    };
    EXPECT_EQ(values(weight({0x78fac688u, 0x00000001u})).values, expected); // dense: the last code crosses into the second word
    // before 0.18 ten codes a word; 11 columns make two words either way, and dense comes first: 22 tell them apart
    std::vector<std::uint32_t> loose(3, 0);
    for (std::uint32_t i = 0; i < 22; ++i)
        loose[i / 10] |= (i % 8) << (i % 10 * 3);
    const std::vector<TinyTensor> old{{"m.weight_packed", DType::I32, {1, 4}, wordsOf({loose[0], loose[1], loose[2], 0})}, {"m.weight_scale", DType::F32, {1, 1}, bytesOfFloats({1})}, {"m.weight_shape", DType::I64, {2}, longsOf({1, 32})}};
    const Answer found = values(old);
    EXPECT_EQ(found.error, "");
    for (std::size_t i = 0; i < 22; ++i)
        EXPECT_EQ(found.values[i], static_cast<float>(i % 8) - 4) << i;
}

TEST_F(DequantizeTest, BlockScalesOfDeepSeekMultiply)
{
    // [130, 2] in blocks of 128: two scales, the second for the last two rows
    std::vector<std::byte> codes(130 * 2, std::byte{0x38}); // 1
    const Answer found = values({{"m.weight", DType::F8E4M3, {130, 2}, codes}, {"m.weight_scale_inv", DType::F32, {2, 1}, bytesOfFloats({0.5f, 3})}});
    EXPECT_EQ(found.error, "");
    EXPECT_EQ(found.dtype, DType::BF16);
    EXPECT_THAT(std::vector(found.values.begin(), found.values.begin() + 256), Each(0.5f));
    EXPECT_THAT(std::vector(found.values.begin() + 256, found.values.end()), Each(3.0f));
    const Answer powers = values({{"m.weight", DType::F8E4M3, {130, 2}, codes}, {"m.weight_scale_inv", DType::F8E8M0, {2, 1}, bytesOf({126, 129})}});
    EXPECT_EQ(powers.values.back(), 4);
}

TEST_F(DequantizeTest, BlocksOfAnotherSizeAreSaidByTheConfiguration)
{
    const std::vector<TinyTensor> weight{{"m.weight", DType::F8E4M3, {64, 128}, std::vector<std::byte>(64 * 128, std::byte{0x38})}, {"m.weight_scale_inv", DType::F32, {1, 2}, bytesOfFloats({1, 2})}};
    EXPECT_THAT(values(weight).error, AllOf(HasSubstr("m.weight"), HasSubstr("[1, 2]"), HasSubstr("blocks of 64 × 64 would fit")));
    writeConfig(R"({"text_config": {"quantization_config": {"quant_method": "fp8", "weight_block_size": [64, 64]}}})");
    const Answer found = values(weight);
    EXPECT_EQ(found.error, "");
    EXPECT_EQ(found.values[64], 2);
    EXPECT_THAT(findings(weight), IsEmpty());
}

// Sides close to 2^64 must not wrap around.
TEST_F(DequantizeTest, BlocksMayBeSaidToBeLargerThanTheWeight)
{
    const std::vector<TinyTensor> weight{{"m.weight", DType::F8E4M3, {4, 6}, std::vector<std::byte>(24, std::byte{0x38})}, {"m.weight_scale_inv", DType::F32, {2, 1}, bytesOfFloats({2, 3})}};
    writeConfig(R"({"quantization_config": {"quant_method": "fp8", "weight_block_size": [2, 18446744073709551615]}})");
    const Answer found = values(weight);
    EXPECT_EQ(found.error, "");
    EXPECT_EQ(found.values.front(), 2);
    EXPECT_EQ(found.values.back(), 3);
    writeConfig(R"({"quantization_config": {"quant_method": "fp8", "weight_block_size": [18446744073709551615, 2]}})");
    EXPECT_THAT(values(weight).error, HasSubstr("m.weight"));
}

TEST_F(DequantizeTest, ScalesOfAWrongShapeAreNamedWithWhatFits)
{
    EXPECT_THAT(values(int4Weight({2}, {1, 2})).error, AllOf(HasSubstr("m.weight_scale is [2]"), HasSubstr("[1, 9]")));
    std::vector<TinyTensor> noScale = int4Weight();
    noScale.erase(noScale.begin() + 1);
    EXPECT_THAT(values(noScale).error, AllOf(HasSubstr("m.weight"), HasSubstr("has no m.weight_scale")));
    EXPECT_THAT(findings(noScale), Contains(HasSubstr("cannot be dequantized: it has no m.weight_scale")));
    std::vector<TinyTensor> noShape = int4Weight();
    noShape.pop_back();
    EXPECT_THAT(values(noShape).error, HasSubstr("has no m.weight_shape"));
    std::vector<TinyTensor> otherShape = int4Weight();
    otherShape.back().bytes = longsOf({1, 999});
    EXPECT_THAT(values(otherShape).error, HasSubstr("m.weight_shape says [1, 999], and the words are [1, 2]"));
    otherShape.back().bytes = longsOf({-1, 9});
    EXPECT_THAT(values(otherShape).error, HasSubstr("says [-1, 9]"));
    std::vector<TinyTensor> ofIntegers = int4Weight();
    ofIntegers[1] = {"m.weight_scale", DType::I32, {1, 1}, wordsOf({1})};
    EXPECT_THAT(values(ofIntegers).error, HasSubstr("m.weight_scale is I32; F32, BF16 and F16 are read"));
}

TEST_F(DequantizeTest, ZeroPointsAreTakenAwayFirst)
{
    std::vector<TinyTensor> weight = int4Weight();
    weight.push_back({"m.weight_zero_point", DType::I32, {1, 1}, wordsOf({8 + 3})});
    EXPECT_THAT(values(weight).values, ElementsAre(-5.5f, -5, -2, -1.5f, -1, 1, 1.5f, 2, 0));
    weight.back().shape = {1, 2};
    weight.back().bytes = wordsOf({8, 8});
    EXPECT_THAT(values(weight).error, HasSubstr("m.weight_zero_point is I32 [1, 2], which does not go with scales [1, 1]"));
    const Answer bytes = values({{"m.weight", DType::I8, {2, 2}, bytesOf({5, 6, 7, 8})}, {"m.weight_scale", DType::F32, {2, 1}, bytesOfFloats({1, 2})}, {"m.weight_zero_point", DType::I8, {2, 1}, bytesOf({5, -8})}});
    EXPECT_THAT(bytes.values, ElementsAre(0, 1, 30, 32));
}

std::vector<TinyTensor> nf4Weight(const std::string& state)
{
    const auto& book = quantBook("nf4").values;
    return {{"m.weight", DType::U8, {32, 1}, std::vector<std::byte>(32, std::byte{0xF0})},
            {"m.weight.absmax", DType::F32, {1}, bytesOfFloats({2})},
            {"m.weight.quant_map", DType::F32, {16}, bytesOfFloats({book.begin(), book.end()})},
            {"m.weight.quant_state.bitsandbytes__nf4", DType::U8, {state.size()}, textOf(state)}};
}

TEST_F(DequantizeTest, FourBitsOfBitsandbytesSayTheirShapeThemselves)
{
    const Answer found = values(nf4Weight(R"({"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [4, 16]})"));
    EXPECT_EQ(found.error, "");
    EXPECT_EQ(found.shape, (Shape{4, 16}));
    EXPECT_EQ(found.dtype, DType::F16);
    EXPECT_EQ(found.values[0], 2);  // the high half first
    EXPECT_EQ(found.values[1], -2);
    for (const char* state : {"no JSON", "[1]", R"({"shape": []})", R"({"blocksize": 64, "dtype": "float16", "shape": [4, 0]})", R"({"blocksize": 63, "dtype": "float16", "shape": [4, 16]})",
                              R"({"blocksize": 64, "dtype": "int8", "shape": [4, 16]})", R"({"blocksize": 64, "dtype": "float16", "shape": [18446744073709551615, 16]})"})
        EXPECT_THAT(values(nf4Weight(state)).error, HasSubstr("quant_state.bitsandbytes__nf4")) << state;
    EXPECT_THAT(values(nf4Weight(R"({"blocksize": 64, "dtype": "float16", "shape": [4, 17]})")).error, HasSubstr("32 B of codes, and 68 values need 34"));
    EXPECT_THAT(values(nf4Weight(R"({"blocksize": 32, "dtype": "float16", "shape": [4, 16]})")).error, HasSubstr("m.weight.absmax is F32 [1], and F32 [2] is needed"));
}

TEST_F(DequantizeTest, NestedStatisticsNeedTheirOffset)
{
    std::vector<TinyTensor> weight = nf4Weight(R"({"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [4, 16], "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.5})");
    std::vector<float> map(256, 0.25f);
    weight[1] = {"m.weight.absmax", DType::U8, {1}, bytesOf({7})};
    weight.push_back({"m.weight.nested_absmax", DType::F32, {1}, bytesOfFloats({4})});
    weight.push_back({"m.weight.nested_quant_map", DType::F32, {256}, bytesOfFloats(map)});
    EXPECT_EQ(values(weight).values[0], 1.5f); // 0.25 · 4 + 0.5
    weight[3] = {"m.weight.quant_state.bitsandbytes__nf4", DType::U8, {69}, textOf(R"({"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [4, 16]})")};
    weight[3].shape = {weight[3].bytes.size()};
    EXPECT_THAT(values(weight).error, HasSubstr("nested_offset"));
}

TEST_F(DequantizeTest, LlmInt8OfAGpusTilesIsRefused)
{
    std::vector<TinyTensor> weight{{"m.weight", DType::I8, {2, 2}, bytesOf({127, -127, 1, 0})}, {"m.SCB", DType::F32, {2}, bytesOfFloats({2, 127})}, {"m.weight_format", DType::U8, {}, bytesOf({0})}};
    EXPECT_THAT(values(weight).values, ElementsAre(FloatNear(2, 1e-6f), FloatNear(-2, 1e-6f), FloatNear(1, 1e-6f), 0));
    weight[2].bytes = bytesOf({2});
    EXPECT_THAT(values(weight).error, HasSubstr("layout of a GPU's tiles"));
}

TEST_F(DequantizeTest, GroupsOfDeepSpeedFollowFromTheirNumberOrTheConfiguration)
{
    // 10 values in 4 pieces: 3, 3, 3, 1
    const std::vector<TinyTensor> uneven{{"m.weight", DType::I8, {2, 5}, std::vector<std::byte>(10, std::byte{1})}, {"m.weight_scale", DType::F32, {1, 4}, bytesOfFloats({1, 2, 3, 4})}};
    EXPECT_THAT(values(uneven).values, ElementsAre(1, 1, 1, 2, 2, 2, 3, 3, 3, 4));
    // 1000 values in 4 pieces may be 4 groups, or 3 and one value more: config.json tells
    const std::vector<TinyTensor> either{{"m.weight", DType::I8, {2, 500}, std::vector<std::byte>(1000, std::byte{1})}, {"m.weight_scale", DType::F32, {1, 4}, bytesOfFloats({1, 2, 3, 4})}};
    EXPECT_EQ(values(either).values[250], 2);
    writeConfig(R"({"quantization_config": {"quant_method": "deepspeed-int8", "groups": 3}})");
    EXPECT_EQ(values(either).values[250], 1);
    EXPECT_EQ(values(either).values[999], 4);
    // many pieces are looked for by their length: 5,000 runs of 3, and one value
    std::vector<float> scales(5001, 1);
    scales.back() = 7;
    std::filesystem::remove(path("config.json"));
    const std::vector<TinyTensor> many{{"m.weight", DType::I8, {1, 15001}, std::vector<std::byte>(15001, std::byte{1})}, {"m.weight_scale", DType::F32, {1, 5001}, bytesOfFloats(scales)}};
    EXPECT_EQ(values(many).values[14999], 1);
    EXPECT_EQ(values(many).values[15000], 7);
    EXPECT_THAT(findings(many), Contains(HasSubstr("runs of equal length are taken")));
    const std::vector<TinyTensor> none{{"m.weight", DType::I8, {2, 2}, bytesOf({1, 1, 1, 1})}, {"m.weight_scale", DType::F32, {1, 9}, bytesOfFloats({1, 1, 1, 1, 1, 1, 1, 1, 1})}};
    EXPECT_THAT(values(none).error, HasSubstr("no number of groups of 4 values"));
}

TEST_F(DequantizeTest, AConfigurationThatContradictsTheScalesIsAProblem)
{
    // rows of 64 values in 4 bits, groups of 32
    const std::vector<TinyTensor> int4{{"m.weight_packed", DType::I32, {2, 8}, wordsOf(std::vector<std::uint32_t>(16, 0x88888888u))},
                                       {"m.weight_scale", DType::F32, {2, 2}, bytesOfFloats({1, 1, 1, 1})},
                                       {"m.weight_shape", DType::I64, {2}, longsOf({2, 64})}};
    const auto config = [&](int bits, int group) {
        writeConfig(fmt::format(R"({{"quantization_config": {{"quant_method": "compressed-tensors", "config_groups": {{"group_0": {{"targets": ["Linear"],
            "weights": {{"num_bits": {}, "type": "int", "strategy": "group", "group_size": {}}}}}}}}}}})", bits, group));
    };
    config(4, 32);
    EXPECT_EQ(values(int4).error, "");
    EXPECT_EQ(fact(int4, "quantized as"), "int4-g32 (1 weight)");
    config(4, 64);
    EXPECT_THAT(findings(int4), Contains(HasSubstr("config.json says 4 bits and groups of 64, and m.weight_scale is [2, 2]")));
    EXPECT_THAT(values(int4).error, HasSubstr("groups of 64"));
    config(8, 32);
    EXPECT_THAT(values(int4).error, HasSubstr("8 bits and groups of 32"));
    // rows of one group are still a group
    const std::vector<TinyTensor> oneGroup{int4[0], {"m.weight_scale", DType::F32, {2, 1}, bytesOfFloats({1, 1})}, int4[2]};
    config(4, 64);
    EXPECT_EQ(fact(oneGroup, "quantized as"), "int4-g64 (1 weight)");
    EXPECT_EQ(values(oneGroup).error, "");
}

TEST_F(DequantizeTest, WhatTheConfigurationSaysOfAllWeightsHolds)
{
    const auto config = [&](const char* weights) {
        writeConfig(fmt::format(R"({{"quantization_config": {{"quant_method": "compressed-tensors", "config_groups": {{"any_name": {{"targets": ["Linear"], "weights": {}}}}}}}}})", weights));
    };
    // 64 values in 16 words are 8 bits, whatever fits else
    const std::vector<TinyTensor> int8{{"m.weight_packed", DType::I32, {1, 16}, wordsOf(std::vector<std::uint32_t>(16, 0x81818181u))},
                                       {"m.weight_scale", DType::F32, {1, 1}, bytesOfFloats({1})},
                                       {"m.weight_shape", DType::I64, {2}, longsOf({1, 64})}};
    config(R"({"num_bits": 8, "type": "int", "strategy": "channel"})");
    EXPECT_THAT(values(int8).values, Each(1.0f));
    config(R"({"num_bits": 4, "type": "int", "strategy": "channel"})");
    EXPECT_THAT(values(int8).error, HasSubstr("16 words a row hold no 64 codes of 4 bits each, which config.json says"));
    // scales of groups where rows are said
    const std::vector<TinyTensor> groups{int8[0], {"m.weight_scale", DType::F32, {1, 2}, bytesOfFloats({1, 2})}, int8[2]};
    config(R"({"num_bits": 8, "type": "int", "strategy": "channel"})");
    EXPECT_THAT(values(groups).error, HasSubstr("config.json says a scale a row"));
    // the last group of a row is shorter: four scales for 100 values in groups of 32
    const std::vector<TinyTensor> ragged{{"m.weight_packed", DType::I32, {1, 13}, wordsOf(std::vector<std::uint32_t>(13, 0x99999999u))},
                                         {"m.weight_scale", DType::F32, {1, 4}, bytesOfFloats({1, 2, 3, 4})},
                                         {"m.weight_shape", DType::I64, {2}, longsOf({1, 100})}};
    config(R"({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32})");
    EXPECT_THAT(values(ragged).error, HasSubstr("groups of 32 do not divide its rows of 100 values"));
}

TEST_F(DequantizeTest, WhatIsNotReadMayBeSound)
{
    const std::vector<TinyTensor> experts{{"m.weight", DType::F8E4M3, {2, 2, 2}}, {"m.weight_scale_inv", DType::F32, {2, 1, 1}, bytesOfFloats({1, 1})}};
    const auto found = checkStoredWeights(describeQuantization(tiny(experts)));
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found.front().severity, Severity::Info);
    const std::vector<TinyTensor> table{{"lut", DType::I8, {5}}, {"lut_scale", DType::F32, {7}}};
    EXPECT_THAT(checkStoredWeights(describeQuantization(tiny(table))), IsEmpty()) << "an integer table of somebody's own";
}

TEST_F(DequantizeTest, VerifyingLooksWhetherThePartsFit)
{
    std::vector<TinyTensor> book{{"m.weight", DType::U8, {32, 1}},
                                 {"m.weight.absmax", DType::F32, {1}, bytesOfFloats({1})},
                                 {"m.weight.quant_map", DType::F32, {16}, bytesOfFloats(std::vector<float>(16, 0.5f))},
                                 {"m.weight.quant_state.bitsandbytes__nf4", DType::U8, {0}, textOf(R"({"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [4, 16]})")}};
    book[3].shape = {book[3].bytes.size()};
    EXPECT_THAT(checkStoredWeights(describeQuantization(tiny(book))), IsEmpty());
    book[1] = {"m.weight.absmax", DType::F32, {2}, bytesOfFloats({1, 1})};
    const auto found = checkStoredWeights(describeQuantization(tiny(book)));
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found.front().severity, Severity::Error);
    EXPECT_THAT(found.front().text, AllOf(HasSubstr("m.weight"), HasSubstr("absmax")));
}

TEST_F(DequantizeTest, OthersAreRecognisedAndNotTakenApart)
{
    const std::vector<TinyTensor> gptq{{"m.qweight", DType::I32, {4, 32}}, {"m.qzeros", DType::I32, {1, 4}}, {"m.scales", DType::F16, {1, 32}}, {"m.g_idx", DType::I32, {32}}};
    EXPECT_EQ(fact(gptq, "quantized by"), "gptq");
    EXPECT_THAT(values(gptq).error, HasSubstr("GPTQ's words are recognised and not taken apart"));
    std::vector<TinyTensor> awq = gptq;
    awq.pop_back();
    EXPECT_EQ(fact(awq, "quantized by"), "awq");
    EXPECT_EQ(fact({{"m.W_q", DType::U8, {4, 4}}}, "quantized by"), "hqq");
    const std::vector<TinyTensor> noState{{"m.weight", DType::U8, {2, 1}}, {"m.weight.absmax", DType::F32, {1}}};
    EXPECT_THAT(values(noState).error, HasSubstr("which says its shape"));
}

TEST_F(DequantizeTest, WhatIsNotQuantizedIsLeftAsItIs)
{
    EXPECT_EQ(fact({{"m.weight", DType::I8, {2, 2}}, {"n_scale", DType::F32, {2}}}, "quantized by"), ""); // integers without scales
    EXPECT_THAT(values({{"m.weight", DType::F32, {2, 2}}}).error, HasSubstr("none are stored here"));
    const CheckpointPtr plain = tiny({{"m.weight", DType::F32, {2, 2}}});
    EXPECT_EQ(describeQuantization(plain), plain);
}

TEST_F(DequantizeTest, AConfigurationThatIsLostOrSaysOtherwiseIsAFinding)
{
    EXPECT_THAT(findings(int4Weight()), ElementsAre(AllOf(HasSubstr("no config.json lies beside them"), HasSubstr("compressed-tensors"))));
    EXPECT_EQ(fact(int4Weight(), "quantized as"), "int4-channel (1 weight)");
    writeConfig("{}");
    EXPECT_THAT(findings(int4Weight()), ElementsAre(HasSubstr("config.json beside them does not say so")));
    writeConfig(R"({"quantization_config": {"quant_method": "awq"}})");
    EXPECT_THAT(findings(int4Weight()), ElementsAre(HasSubstr("config.json says quant_method awq, and the tensors are those of compressed-tensors")));
    writeConfig("{\"quantization_config\": ");
    EXPECT_THAT(findings(int4Weight()), ElementsAre(AllOf(HasSubstr("config.json"), HasSubstr("no JSON"))));
    writeConfig(R"({"compression_config": {"config_groups": {}}})");
    EXPECT_THAT(findings(int4Weight()), IsEmpty());
}

} // namespace
} // namespace shardlens::test
