#include "core/quantized/precision.h"
#include "tests/core/convert/quantize_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// What a plan says of precision.

class PrecisionTest : public QuantizeTest {
protected:
    [[nodiscard]] std::vector<TensorPrecision> measured(const ConvertRequest& wish, const PrecisionOptions& options = {}) { return measured(model(), wish, options); }
    [[nodiscard]] static std::vector<TensorPrecision> measured(const CheckpointPtr& source, const ConvertRequest& wish, const PrecisionOptions& options = {})
    {
        const auto made = plan(source, wish);
        EXPECT_TRUE(made) << made.error().text();
        InlineExecutor executor;
        JobContext job;
        auto out = measurePrecision(made->lossy, options, executor, job);
        EXPECT_TRUE(out) << out.error().text();
        return out.take();
    }
};

TEST_F(PrecisionTest, IsWhatComesBack)
{
    for (const QuantScheme* scheme : schemes()) {
        const auto found = measured(quantize(std::string(scheme->name)), {.exact = true});
        ASSERT_THAT(found, SizeIs(2));
        ASSERT_EQ(convert(model(), quantize(std::string(scheme->name))), "");
        for (const TensorPrecision& one : found) {
            const std::vector<float>& values = one.name == "layers.0.up_proj.weight" ? m_up : m_down;
            EXPECT_NEAR(one.signalToNoise().value(), signalToNoise(values, dequantized("out", one.name)), 1e-6) << scheme->name;
            EXPECT_EQ(one.looked, values.size());
            EXPECT_FLOAT_EQ(static_cast<float>(one.least), *std::min_element(values.begin(), values.end()));
            EXPECT_FLOAT_EQ(static_cast<float>(one.greatest), *std::max_element(values.begin(), values.end()));
        }
        std::filesystem::remove_all(path("out"));
    }
}

TEST_F(PrecisionTest, ASampleIsNearTheWhole)
{
    const CheckpointPtr source = tiny({{"a.weight", DType::F32, {1024, 512}, bytesOfFloats(normalValues(1024 * 512, 8))}});
    const auto exact = measured(source, quantize("int4-g32"), {.exact = true});
    const auto sampled = measured(source, quantize("int4-g32"));
    EXPECT_FALSE(sampled.front().isExact());
    EXPECT_LE(sampled.front().looked, 64u << 10);
    EXPECT_NEAR(sampled.front().signalToNoise().value(), exact.front().signalToNoise().value(), 0.2);
}

TEST_F(PrecisionTest, OfACastCountsWhatOverflows)
{
    const CheckpointPtr source = tiny({{"a.weight", DType::F32, {2, 2}, bytesOfFloats({1, 70000, 1.0001f, HUGE_VALF})}, {"b.weight", DType::BF16, {2, 2}}});
    ConvertRequest wish = request("out");
    wish.dtype = DType::F16;
    const auto found = measured(source, wish);
    ASSERT_THAT(found, SizeIs(2));
    const TensorPrecision& a = found[0].name == "a.weight" ? found[0] : found[1];
    EXPECT_EQ(a.overflow, 1u);
    EXPECT_EQ(a.nonFinite, 1u);
    EXPECT_EQ(a.scheme, "F16");
    wish.dtype = DType::F32; // holds all of BF16
    const auto made = plan(source, wish);
    ASSERT_TRUE(made);
    EXPECT_THAT(made->lossy, IsEmpty());
}

TEST_F(PrecisionTest, AdvisesToKeepWhatStandsOut)
{
    std::vector<TinyTensor> tensors;
    for (int i = 0; i < 10; ++i) {
        std::vector<float> values = normalValues(64 * 128, static_cast<std::uint32_t>(i));
        if (i == 3)
            for (std::size_t at = 0; at < values.size(); at += 128)
                values[at] = 50; // an outlier in every row
        tensors.push_back({fmt::format("layers.{}.up_proj.weight", i), DType::F32, {64, 128}, bytesOfFloats(values)});
    }
    const auto found = measured(tiny(tensors), quantize("int4-channel"));
    const auto outlying = std::find_if(found.begin(), found.end(), [](const TensorPrecision& one) { return one.name == "layers.3.up_proj.weight"; });
    EXPECT_EQ(outlying->outliers, 64u);
    EXPECT_TRUE(std::is_sorted(found.begin(), found.end(), [](const TensorPrecision& a, const TensorPrecision& b) { return a.signalToNoise() < b.signalToNoise(); }));
    const PrecisionAdvice advice = adviseOn(found);
    EXPECT_THAT(advice.keep, ElementsAre("layers.3.up_proj.weight"));
    EXPECT_GT(advice.share, 0.9);
    EXPECT_THAT(advice.text, AllOf(HasSubstr("Keep layers.3.up_proj.weight in F32"), HasSubstr("% of the squared error")));
    ConvertRequest wish = quantize("int4-channel");
    wish.quantize.exclude = {advice.option.substr(advice.option.find('\'') + 1, advice.option.rfind('\'') - advice.option.find('\'') - 1)};
    const auto kept = measured(tiny(tensors), wish);
    EXPECT_THAT(kept, SizeIs(9));
    EXPECT_THAT(adviseOn(kept).keep, IsEmpty());
    EXPECT_THAT(adviseOn(kept).text, HasSubstr("evenly"));
}

TEST_F(PrecisionTest, NeverAdvisesToKeepEverything)
{
    std::vector<TinyTensor> tensors;
    for (const char* part : {"q_proj", "k_proj", "v_proj"}) {
        std::vector<float> values = normalValues(64 * 128, 7);
        if (part[0] == 'k')
            for (std::size_t at = 0; at < values.size(); at += 128)
                values[at] = 50;
        tensors.push_back({fmt::format("layers.0.{}.weight", part), DType::F32, {64, 128}, bytesOfFloats(values)});
    }
    EXPECT_THAT(adviseOn(measured(tiny(tensors), quantize("int4-g128"), {.exact = true})).keep, IsEmpty());
}

TEST_F(PrecisionTest, AdvisesOnWhatServersMakeOneTogether)
{
    std::vector<TinyTensor> tensors;
    for (int i = 0; i < 8; ++i)
        for (const char* part : {"q_proj", "k_proj", "v_proj"}) {
            std::vector<float> values = normalValues(64 * 128, static_cast<std::uint32_t>(i));
            if (i == 3 && part[0] == 'k')
                for (std::size_t at = 0; at < values.size(); at += 128)
                    values[at] = 50;
            tensors.push_back({fmt::format("layers.{}.{}.weight", i, part), DType::F32, {64, 128}, bytesOfFloats(values)});
        }
    const PrecisionAdvice advice = adviseOn(measured(tiny(tensors), quantize("int4-g128"), {.exact = true}));
    EXPECT_THAT(advice.keep, ElementsAre("layers.3.k_proj.weight", "layers.3.q_proj.weight", "layers.3.v_proj.weight"));
}

TEST_F(PrecisionTest, SaysWhichCannotBeQuantized)
{
    std::vector<float> values = normalValues(9 * 128, 4);
    values[5] = std::nanf("");
    const auto found = measured(tiny({{"a.weight", DType::F32, {9, 128}, bytesOfFloats(normalValues(9 * 128, 1))}, {"b.weight", DType::F32, {9, 128}, bytesOfFloats(values)}}), quantize("int8-channel"));
    EXPECT_EQ(found.front().name, "b.weight");
    EXPECT_THAT(found.front().problem, HasSubstr("NaN at [0, 5]"));
    const std::string csv = precisionCsv(found);
    EXPECT_THAT(csv, AllOf(HasSubstr("name,scheme,dtype,shape"), HasSubstr("a.weight,int8-channel,F32,\"[9, 128]\"")));
    EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 3);
}

} // namespace
} // namespace shardlens::test
