#include "tests/app/captured_console.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>

// What the commands say of quantized weights.
namespace shardlens::cli {
namespace {

using test::Answer;
using test::runShardlens;
using test::TemporaryFolder;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string kQuantized = SHARDLENS_QUANTIZED;
const std::string kProjection = "model.layers.0.self_attn.k_proj.weight";

TEST(QuantizedModel, CountsCodesApartFromWeights)
{
    const Answer inspected = runShardlens({"inspect", kQuantized});
    EXPECT_EQ(inspected.exitCode, 0);
    EXPECT_THAT(inspected.results, AllOf(HasSubstr("weight (quantized)  F8_E4M3"), HasSubstr("quantized as  fp8-block128 (1 weight)")));
    const auto json = nlohmann::json::parse(runShardlens({"inspect", kQuantized, "--json"}).results);
    std::uint64_t parts = 0;
    for (const auto& role : json["roles"])
        parts += role["quantized"].get<bool>() ? role["tensors"].get<std::uint64_t>() : 0;
    EXPECT_EQ(parts, 4u);
    const Answer values = runShardlens({"inspect", kQuantized, "--dequantize"});
    EXPECT_THAT(values.results, AllOf(HasSubstr("dequantized from"), Not(HasSubstr("(quantized)"))));
}

TEST(QuantizedModel, PointsAtItsValues)
{
    EXPECT_THAT(runShardlens({"show", kQuantized, kProjection, "--slice", "0:2,0:2"}).results, HasSubstr("--dequantize shows the weight's values"));
    EXPECT_THAT(runShardlens({"show", kQuantized, kProjection, "--slice", "0:2,0:2", "--dequantize"}).results, Not(HasSubstr("--dequantize")));
    EXPECT_THAT(runShardlens({"layout", kQuantized, kProjection, "--dequantize"}).results, HasSubstr("from model.safetensors (computed)"));
    const auto json = nlohmann::json::parse(runShardlens({"layout", kQuantized, kProjection, "--dequantize", "--json"}).results);
    EXPECT_EQ(json["pieces"][0]["computed_from"], nlohmann::json::array({"model.safetensors"}));
}

TEST(QuantizedModel, IsComparedByItsValues)
{
    const TemporaryFolder folder;
    const std::string plain = folder.file("plain");
    ASSERT_EQ(runShardlens({"convert", kQuantized, plain, "--dequantize", "--progress", "none"}).exitCode, 0);
    EXPECT_EQ(runShardlens({"diff", kQuantized, plain}).exitCode, 1);
    EXPECT_EQ(runShardlens({"diff", kQuantized, plain, "--dequantize-a"}).exitCode, 0);
    EXPECT_EQ(runShardlens({"diff", plain, kQuantized, "--dequantize-b"}).exitCode, 0);
    EXPECT_EQ(runShardlens({"diff", plain, kQuantized, "--dequantize-a"}).exitCode, 2) << "nothing is stored quantized there";
}

TEST(QuantizeOptions, AreRefusedInWords)
{
    const TemporaryFolder folder;
    const auto refusal = [&](std::vector<std::string> options) {
        options.insert(options.begin(), {"convert", SHARDLENS_SAMPLE, folder.file("out")});
        const Answer answer = runShardlens(std::move(options));
        EXPECT_EQ(answer.exitCode, 2);
        return answer.remarks;
    };
    EXPECT_THAT(refusal({"--precision", "maybe"}), HasSubstr("maybe not in {exact,none,sampled}"));
    EXPECT_THAT(refusal({"--progress", "often"}), HasSubstr("often not in {auto,json,none}"));
    EXPECT_THAT(refusal({"--quantize", "fp8", "--to", "safetensors"}), HasSubstr("the nearest first: fp8-tensor, fp8-channel, fp8-block128"));
    EXPECT_THAT(refusal({"--quantize", "int8-channel", "--to", "safetensors", "--device", "tpu"}), HasSubstr("tpu"));
}

} // namespace
} // namespace shardlens::cli
