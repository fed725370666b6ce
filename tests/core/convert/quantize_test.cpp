#include "tests/core/convert/quantize_fixture.h"

#include "core/encoding/tensor_reader.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <stop_token>

namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// What a scheme of those bits can lose of normal values (formats/quantization.md §9, less a little).
double leastSignalToNoise(const QuantScheme& scheme)
{
    return scheme.codes == CodeKind::E4M3 ? 30 : scheme.bits == 8 ? 35 : scheme.group == 0 ? 14 : 17;
}

class QuantizeSchemeTest : public QuantizeTest, public ::testing::WithParamInterface<const QuantScheme*> {
protected:
    [[nodiscard]] static bool isOfLayout() { return GetParam()->name == "sdloader-int8"; }
};

INSTANTIATE_TEST_SUITE_P(All, QuantizeSchemeTest, ::testing::ValuesIn(schemes()), [](const auto& one) {
    std::string name(one.param->name);
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

TEST_P(QuantizeSchemeTest, ComesBackWithinItsBounds)
{
    ConvertRequest wish = quantize(std::string(GetParam()->name));
    ASSERT_EQ(convert(model(), wish), "");
    EXPECT_TRUE(m_report.verified);
    for (const auto& [name, values] : {std::pair{"layers.0.up_proj.weight", &m_up}, {"layers.0.down_proj.weight", &m_down}})
        EXPECT_GT(signalToNoise(*values, dequantized("out", name)), leastSignalToNoise(*GetParam())) << name;
}

TEST_P(QuantizeSchemeTest, IsTheSameInShardsInTorchFilesAndWithLittleMemory)
{
    const std::string scheme(GetParam()->name);
    ASSERT_EQ(convert(model(), quantize(scheme)), "");
    const std::vector<std::string> wanted = contentsOf(path("out"));
    ConvertRequest inShards = quantize(scheme, "shards");
    inShards.maxShardBytes = 4000;
    ASSERT_EQ(convert(model(), inShards), "");
    EXPECT_EQ(contentsOf(path("shards")), wanted);
    ASSERT_EQ(convert(model(), quantize(scheme, "torch", "torch")), "");
    EXPECT_EQ(contentsOf(path("torch")), wanted);
    ASSERT_EQ(convert(model(), quantize(scheme, "dcp", "dcp")), "");
    EXPECT_EQ(contentsOf(path("dcp")), wanted);
    ASSERT_EQ(convert(model(), quantize(scheme, "model.safetensors")), "");
    EXPECT_EQ(contentsOf(path("model.safetensors")), wanted);
}

// A weight whose rows are longer than a thread may hold: ranges are measured first, and it is read twice.
TEST_P(QuantizeSchemeTest, MeasuresLongRowsFirst)
{
    const std::size_t columns = 128 * 1024;
    const CheckpointPtr source = tiny({{"a.weight", DType::F32, {8, columns}, bytesOfFloats(normalValues(8 * columns, 3))}});
    const std::string scheme(GetParam()->name);
    ConvertRequest wish = quantize(scheme, "large");
    wish.memoryLimit = 256u << 20;
    ASSERT_EQ(convert(source, wish), "");
    wish.target = path("small");
    wish.memoryLimit = 9u << 20;
    ASSERT_EQ(convert(source, wish), "");
    EXPECT_EQ(contentsOf(path("small")), contentsOf(path("large")));
}

TEST_P(QuantizeSchemeTest, SaysNoToWhatIsNotFinite)
{
    for (const float bad : {std::nanf(""), HUGE_VALF}) {
        std::vector<float> values = normalValues(9 * 128, 4);
        values[3 * 128 + 90] = bad;
        const CheckpointPtr source = tiny({{"a.weight", DType::F32, {9, 128}, bytesOfFloats(values)}, {"b.weight", DType::F32, {9, 128}, bytesOfFloats(normalValues(9 * 128, 5))}});
        EXPECT_THAT(convert(source, quantize(std::string(GetParam()->name))), AllOf(HasSubstr("a.weight"), HasSubstr("at [3, 90]")));
        EXPECT_THAT(names(), ElementsAre("data.bin"));
        ConvertRequest keeping = quantize(std::string(GetParam()->name));
        keeping.quantize.keepNonFinite = true;
        ASSERT_EQ(convert(source, keeping), "");
        EXPECT_THAT(contentsOf(path("out")), Contains(HasSubstr("a.weight F32 [9, 128]")));
        EXPECT_THAT(contentsOf(path("out")), Not(Contains(HasSubstr("b.weight F32"))));
        std::filesystem::remove_all(path("out"));
    }
}

TEST_F(QuantizeTest, ReplacesTheWeightsOfLinearLayersOnly)
{
    ASSERT_EQ(convert(model(), quantize("int4-g128")), "");
    std::vector<std::string> found;
    for (const std::string& line : contentsOf(path("out")))
        found.push_back(line.substr(0, line.rfind(' ')));
    EXPECT_THAT(found, ElementsAre("embed_tokens.weight F32 [16, 128]", "layers.0.down_proj.weight_packed I32 [9, 16]", "layers.0.down_proj.weight_scale F32 [9, 1]",
                                   "layers.0.down_proj.weight_shape I64 [2]", "layers.0.norm.weight F32 [128]", "layers.0.table.weight I32 [4, 4]", "layers.0.up_proj.bias F32 [48]",
                                   "layers.0.up_proj.weight_packed I32 [48, 32]", "layers.0.up_proj.weight_scale F32 [48, 2]", "layers.0.up_proj.weight_shape I64 [2]", "lm_head.weight F32 [16, 128]"));
}

TEST_F(QuantizeTest, ConfigHasWhatServersNeedAndKeepsTheRest)
{
    std::ofstream(path("config.json")) << R"({"model_type": "llama", "rms_norm_eps": 1e-06})";
    ASSERT_EQ(convert(model(), quantize("int4-g128")), "");
    const auto config = nlohmann::json::parse(readText(path("out/config.json")));
    EXPECT_EQ(config["model_type"], "llama");
    const auto& quantization = config["quantization_config"];
    EXPECT_EQ(quantization["quant_method"], "compressed-tensors");
    EXPECT_EQ(quantization["format"], "pack-quantized");
    EXPECT_EQ(quantization["ignore"], nlohmann::json::array({"lm_head"}));
    EXPECT_EQ(quantization["config_groups"]["group_0"]["weights"]["group_size"], 128);
    ConvertRequest back = request("back");
    back.open.dequantize = true;
    JobContext job;
    ASSERT_EQ(convert(openCheckpoint(path("out"), back.open, job).take(), back), "");
    EXPECT_FALSE(nlohmann::json::parse(readText(path("back/config.json"))).contains("quantization_config"));
}

TEST_F(QuantizeTest, SchemesMayDifferByTensor)
{
    ConvertRequest wish = quantize("int4-g128");
    wish.quantize.tensorTypes = {"down_proj=int8-channel", "up_proj\\.weight$=int4-g32"};
    ASSERT_EQ(convert(model(), wish), "");
    EXPECT_THAT(contentsOf(path("out")), AllOf(Contains(HasSubstr("down_proj.weight I8 [9, 128]")), Contains(HasSubstr("up_proj.weight_scale F32 [48, 8]"))));
    const auto config = nlohmann::json::parse(readText(path("out/config.json")))["quantization_config"];
    EXPECT_EQ(config["format"], "mixed-precision");
    EXPECT_EQ(config["config_groups"].size(), 2u);
    EXPECT_EQ(config["config_groups"]["group_0"]["targets"], nlohmann::json::array({"layers.0.up_proj"}));
    EXPECT_GT(signalToNoise(m_down, dequantized("out", "layers.0.down_proj.weight")), 35);
}

TEST_F(QuantizeTest, CastsBeforeItQuantizes)
{
    ConvertRequest wish = quantize("int8-channel");
    wish.dtype = DType::BF16;
    ASSERT_EQ(convert(model(), wish), "");
    EXPECT_THAT(contentsOf(path("out")), AllOf(Contains(HasSubstr("up_proj.weight_scale BF16 [48, 1]")), Contains(HasSubstr("norm.weight BF16 [128]"))));
}

TEST_F(QuantizeTest, IncludeAndExcludeChooseByName)
{
    ConvertRequest wish = quantize("int8-channel");
    wish.quantize.include = {"embed|down"};
    wish.quantize.exclude = {"down"};
    ASSERT_EQ(convert(model(), wish), "");
    EXPECT_THAT(contentsOf(path("out")), AllOf(Contains(HasSubstr("embed_tokens.weight I8")), Contains(HasSubstr("lm_head.weight I8")), Contains(HasSubstr("lm_head.weight_scale")),
                                               Contains(HasSubstr("down_proj.weight F32"))));
    EXPECT_EQ(nlohmann::json::parse(readText(path("out/config.json")))["quantization_config"]["ignore"], nlohmann::json::array({"lm_head", "layers.0.down_proj", "layers.0.up_proj"}));
    // tied names stay tied in a torch file, and come back
    wish = quantize("int4-g32", "torch", "torch");
    wish.quantize.include = {"embed"};
    ASSERT_EQ(convert(model(), wish), "");
    EXPECT_EQ(dequantized("torch", "lm_head.weight"), dequantized("torch", "embed_tokens.weight"));
}

// A code without its scale is no value: what is chosen are weights, under the names that they have before.
TEST_F(QuantizeTest, PatternsOfTheSelectionChooseWeightsAndNotTheirParts)
{
    ConvertRequest wish = quantize("int8-channel");
    wish.include = {"down_proj\\.weight$"};
    ASSERT_EQ(convert(model(), wish), "");
    EXPECT_THAT(contentsOf(path("out")), ElementsAre(HasSubstr("down_proj.weight I8"), HasSubstr("down_proj.weight_scale")));
    EXPECT_THAT(planLinesOf(model(), quantize("int8-channel", "all")), Contains(HasSubstr("2 weights")));
    wish.target = path("without");
    wish.include.clear();
    wish.exclude = {"weight_scale", "up_proj"}; // no weight has the first in its name
    EXPECT_THAT(planLinesOf(model(), wish), Contains(HasSubstr("1 weight to int8-channel")));
    ASSERT_EQ(convert(model(), wish), "");
    EXPECT_THAT(contentsOf(path("without")), AllOf(Contains(HasSubstr("down_proj.weight_scale")), Not(Contains(HasSubstr("up_proj"))), Contains(HasSubstr("norm.weight F32"))));
    wish.target = path("none");
    wish.exclude = {"proj"};
    EXPECT_THAT(refusal(wish), HasSubstr("nothing to quantize: the patterns leave no matrix"));
}

TEST_F(QuantizeTest, ModulesUnderATiedNameAreLeftToo)
{
    const CheckpointPtr source = tiny({{"embed.weight", DType::F32, {16, 128}, bytesOfFloats(normalValues(16 * 128, 9))}, {"up.weight", DType::F32, {16, 128}, bytesOfFloats(normalValues(16 * 128, 3))}},
                                      {{"head.weight", "embed.weight"}});
    ASSERT_EQ(convert(source, quantize("int8-channel")), "");
    EXPECT_EQ(nlohmann::json::parse(readText(path("out/config.json")))["quantization_config"]["ignore"], nlohmann::json::array({"lm_head", "head"}));
    EXPECT_THAT(planLinesOf(source, quantize("int8-channel", "again")), Contains(HasSubstr("1 Linear module, which config.json says")));
    EXPECT_THAT(planLinesOf(source, quantize("int8-channel", "again", "dcp")), AllOf(Contains(HasSubstr("1 Linear module.")), Not(Contains(HasSubstr("says to servers")))));
}

TEST_F(QuantizeTest, AScaleThatWouldBeInfiniteIsRefused)
{
    std::vector<float> wide = normalValues(4 * 32, 1);
    wide[0] = 60000;
    wide[1] = -60000;
    CheckpointPtr source = tiny({{"a.weight", DType::F32, {4, 32}, bytesOfFloats(wide)}});
    ConvertRequest wish = quantize("int8-channel-asym");
    wish.dtype = DType::F16;
    EXPECT_THAT(convert(source, wish), AllOf(HasSubstr("a.weight"), HasSubstr("would be infinite in F16")));
    wish.dtype.reset();
    EXPECT_EQ(convert(source, wish), "");
    wide[0] = 2e38f;
    source = tiny({{"a.weight", DType::F32, {4, 32}, bytesOfFloats(wide)}});
    wish = quantize("deepspeed-int8", "ds");
    wish.quantize.groups = 4;
    EXPECT_THAT(convert(source, wish), HasSubstr("would be infinite in F32"));
}

TEST_F(QuantizeTest, PatternsFindTiedNamesToo)
{
    ConvertRequest wish = quantize("int8-channel");
    wish.quantize.include = {"embed|up"};
    wish.quantize.exclude = {"lm_head"}; // tied to the embedding
    ASSERT_EQ(convert(model(), wish), "");
    EXPECT_THAT(contentsOf(path("out")), AllOf(Contains(HasSubstr("embed_tokens.weight F32")), Contains(HasSubstr("lm_head.weight F32")), Contains(HasSubstr("up_proj.weight I8"))));
}

TEST_F(QuantizeTest, PartsOfOneFusedProjectionShareTheScaleOfTheWhole)
{
    std::vector<float> small = normalValues(4 * 32, 6);
    std::vector<float> large = small;
    for (float& value : large)
        value *= 8;
    const CheckpointPtr source = tiny({{"a.q_proj.weight", DType::F32, {4, 32}, bytesOfFloats(small)}, {"a.k_proj.weight", DType::F32, {4, 32}, bytesOfFloats(large)},
                                       {"b.q_proj.weight", DType::F32, {4, 32}, bytesOfFloats(small)}});
    ASSERT_EQ(convert(source, quantize("nvfp4")), "");
    std::map<std::string, std::string> sums;
    for (const std::string& line : contentsOf(path("out")))
        if (line.find("global_scale") != std::string::npos)
            sums[line.substr(0, line.find(' '))] = line.substr(line.rfind(' '));
    EXPECT_EQ(sums["a.q_proj.weight_global_scale"], sums["a.k_proj.weight_global_scale"]);
    EXPECT_NE(sums["a.q_proj.weight_global_scale"], sums["b.q_proj.weight_global_scale"]);
}

TEST_F(QuantizeTest, RefusesWhatCannotBeDone)
{
    EXPECT_THAT(refusal(quantize("int5-g77")), AllOf(HasSubstr("int5-g77"), HasSubstr("int4-g128")));
    EXPECT_THAT(refusal(quantize("sdloader-int8")), HasSubstr("--to sdloader"));
    ConvertRequest wish = quantize("int8-channel");
    wish.select = Select::All;
    EXPECT_THAT(refusal(wish), HasSubstr("--select says all"));
    wish = quantize("int8-channel");
    wish.quantize.groups = 4;
    EXPECT_THAT(refusal(wish), HasSubstr("--groups is for deepspeed-int8"));
    wish = quantize("int8-channel");
    wish.quantize.bits = 4;
    EXPECT_THAT(refusal(wish), HasSubstr("--quantize-bits is for sdloader-int8"));
    wish = quantize("int8-channel");
    wish.quantize.tensorTypes = {"down=nf4"};
    EXPECT_THAT(refusal(wish), HasSubstr("two libraries"));
    wish.quantize.tensorTypes = {"down=int4-g32", "no such name=int8-tensor"};
    EXPECT_THAT(refusal(wish), HasSubstr("--tensor-type no such name=int8-tensor takes nothing"));
    wish.quantize.tensorTypes = {"down=int4-g32", "down=int8-tensor"};
    EXPECT_THAT(refusal(wish), HasSubstr("down=int8-tensor takes nothing"));
    wish.quantize.scheme = "nf4";
    wish.quantize.tensorTypes = {"down=fp4"};
    EXPECT_THAT(refusal(wish), HasSubstr("bitsandbytes reads a model in one scheme"));
    wish = quantize("int8-channel");
    wish.quantize.tensorTypes = {"nf4"};
    EXPECT_THAT(refusal(wish), HasSubstr("RE=SCHEME"));
    wish.quantize.tensorTypes = {"(=nf4"};
    EXPECT_THAT(refusal(wish), HasSubstr("--tensor-type"));
    wish = quantize("int8-channel");
    wish.quantize.include = {"nothing here"};
    EXPECT_THAT(refusal(wish), HasSubstr("nothing to quantize"));
    wish = quantize("int8-channel");
    wish.quantize.exclude = {"["};
    EXPECT_THAT(refusal(wish), HasSubstr("--quantize-exclude ["));
    wish = request("out");
    wish.quantize.exclude = {"x"};
    EXPECT_THAT(refusal(wish), HasSubstr("--quantize-exclude means nothing without --quantize"));
    wish = quantize("int4-g32", "out", "mindspore");
    EXPECT_THAT(refusal(wish), HasSubstr("has no place for"));
    EXPECT_THAT(refusal(tiny({{"a.weight", DType::F64, {4, 4}}}), quantize("int8-channel")), AllOf(HasSubstr("a.weight"), HasSubstr("F64")));
    EXPECT_THAT(refusal(tiny({{"a.weight", DType::F32, {4, 160}}}), quantize("int4-g128")), AllOf(HasSubstr("a.weight"), HasSubstr("128")));
    EXPECT_THAT(refusal(tiny({{"a.bias", DType::F32, {4}}}), quantize("int4-g128")), HasSubstr("looks like the weight of a Linear layer"));
}

TEST_F(QuantizeTest, AQuantizedSourceIsSaidAndLeftAlone)
{
    ASSERT_EQ(convert(model(), quantize("int4-g32")), "");
    JobContext job;
    const CheckpointPtr stored = openCheckpoint(path("out"), {}, job).take();
    EXPECT_THAT(refusal(stored, quantize("int8-channel", "again")), AllOf(HasSubstr("quantized already"), HasSubstr("--dequantize")));
    ConvertRequest wish = request("again");
    wish.dtype = DType::F16;
    EXPECT_THAT(refusal(stored, wish), AllOf(HasSubstr("is a part of a quantized weight"), HasSubstr("--dequantize")));
    // from one scheme to another, over the values
    wish = quantize("int8-channel", "again");
    wish.open.dequantize = true;
    ASSERT_EQ(convert(openCheckpoint(path("out"), wish.open, job).take(), wish), "");
    EXPECT_THAT(contentsOf(path("again")), Contains(HasSubstr("up_proj.weight I8")));
    // and what is stored plainly is not dequantized
    EXPECT_THAT(openCheckpoint(path("again/model.safetensors"), {.dequantize = true}, job).ok(), true);
    ASSERT_EQ(convert(model(), request("plain")), "");
    const auto plain = openCheckpoint(path("plain"), {.dequantize = true}, job);
    ASSERT_FALSE(plain);
    EXPECT_THAT(plain.error().text(), HasSubstr("none are stored here"));
}

TEST_F(QuantizeTest, ACancelAtAnyMomentLeavesNothing)
{
    ConvertRequest wish = quantize("int8-tensor");
    const CheckpointPtr source = model();
    std::size_t steps = 0;
    for (std::size_t at = 0; at == 0 || at < steps; ++at) {
        const auto made = plan(source, wish);
        ASSERT_TRUE(made);
        std::stop_source stop;
        JobContext job(stop.get_token());
        std::size_t seen = 0;
        ScriptedExecutor executor([&](std::size_t) {
            if (seen++ == at)
                stop.request_stop();
        });
        const auto report = executePlan(*made, executor, job);
        ASSERT_FALSE(report) << at;
        EXPECT_EQ(report.error().code(), ErrorCode::Cancelled);
        EXPECT_THAT(names(), ElementsAre("data.bin"));
        if (at == 0) {
            JobContext whole;
            ScriptedExecutor counting([&](std::size_t) { ++steps; });
            ASSERT_TRUE(executePlan(*made, counting, whole));
            std::filesystem::remove_all(path("out"));
        }
    }
    EXPECT_GT(steps, 5u);
}

TEST_F(QuantizeTest, NamesOfSchemesMayBeInCapitals)
{
    ASSERT_EQ(convert(model(), quantize("INT4-G32")), "");
    EXPECT_THAT(contentsOf(path("out")), Contains(HasSubstr("up_proj.weight_packed")));
}

TEST_F(QuantizeTest, WeightsOfEmbeddingsAreSaidToBeNoLinearLayers)
{
    ConvertRequest wish = quantize("int8-channel");
    wish.quantize.include = {"embed_tokens", "up_proj"};
    EXPECT_THAT(planLinesOf(model(), wish), Contains(AllOf(HasSubstr("warning"), HasSubstr("1 quantized weight is of embeddings or norms"))));
    wish.quantize.include = {"up_proj"};
    EXPECT_THAT(planLinesOf(model(), wish), Not(Contains(HasSubstr("embeddings or norms"))));
}

TEST_F(QuantizeTest, SaysWhatServersWouldNotLoad)
{
    const auto matrix = [](const char* name, std::uint64_t rows, std::uint64_t columns) { return TinyTensor{name, DType::F32, {rows, columns}}; };
    const CheckpointPtr gpt2 = tiny({matrix("h.0.attn.c_attn.weight", 32, 96), matrix("h.0.attn.c_proj.weight", 32, 32), matrix("h.0.mlp.c_fc.weight", 32, 64)});
    EXPECT_THAT(planLinesOf(gpt2, quantize("int8-channel")), Contains(HasSubstr("3 quantized weights are of GPT-2's Conv1D")));
    const CheckpointPtr linear = tiny({matrix("h.0.attn.c_attn.weight", 96, 32)});
    EXPECT_THAT(planLinesOf(linear, quantize("int8-channel")), Not(Contains(HasSubstr("Conv1D"))));
    // parts of what servers make one
    const CheckpointPtr llama = tiny({matrix("l.q_proj.weight", 8, 32), matrix("l.k_proj.weight", 8, 32), matrix("l.v_proj.weight", 8, 32), matrix("l.o_proj.weight", 8, 32)});
    ConvertRequest wish = quantize("int8-channel");
    wish.quantize.exclude = {"k_proj"};
    EXPECT_THAT(planLinesOf(llama, wish), Contains(HasSubstr("Servers make one of l.q_proj.weight + l.v_proj.weight + l.k_proj.weight")));
    wish.quantize.exclude = {"o_proj"};
    EXPECT_THAT(planLinesOf(llama, wish), Not(Contains(HasSubstr("Servers make one"))));
    wish.quantize.exclude = {"nothing_like_this"};
    EXPECT_THAT(planLinesOf(llama, wish), Contains(AllOf(HasSubstr("warning"), HasSubstr("--quantize-exclude nothing_like_this is in no name"))));
}

TEST_F(QuantizeTest, TheConfigurationSaysTheDtypeThatIsCastTo)
{
    std::ofstream(path("config.json")) << R"({"model_type": "tiny", "torch_dtype": "bfloat16"})";
    ConvertRequest wish = quantize("nf4");
    wish.dtype = DType::F16;
    ASSERT_EQ(convert(model(), wish), "");
    EXPECT_THAT(readText(path("out/config.json")), AllOf(HasSubstr(R"("torch_dtype": "float16")"), HasSubstr(R"("bnb_4bit_compute_dtype": "float16")")));
}

TEST_F(QuantizeTest, ARefusalCountsTheOthersThatItHolds)
{
    const CheckpointPtr source = tiny({{"a.weight", DType::F32, {4, 48}}, {"b.weight", DType::F32, {4, 64}}, {"c.weight", DType::F32, {4, 40}}, {"d.weight", DType::F32, {4, 20}}});
    EXPECT_THAT(refusal(source, quantize("int4-g64")), AllOf(HasSubstr("a.weight: its rows of 48 values"), HasSubstr("and so 2 more of the weights that are chosen")));
}

TEST_F(QuantizeTest, ValuesThatComeBackSayWhatTheyCameFrom)
{
    ASSERT_EQ(convert(model(), quantize("llm-int8", "out.safetensors")), "");
    ConvertRequest wish = request("back");
    wish.open.dequantize = true;
    JobContext job;
    const CheckpointPtr values = openCheckpoint(path("out.safetensors"), wish.open, job).take();
    EXPECT_THAT(values->facts(), Contains(std::pair<std::string, std::string>("dequantized from", "llm-int8 (2 weights)")));
    EXPECT_THAT(values->findings(), IsEmpty()) << "a lost config.json matters to codes alone";
    EXPECT_THAT(planLinesOf(values, wish), Contains(AllOf(HasSubstr("Dequantized"), HasSubstr("2 weights as F32"))));
}

TEST_F(QuantizeTest, WhatIsMeasuredFirstCountsAsProgress)
{
    for (const char* scheme : {"nvfp4", "int8-tensor", "int4-g32"}) {
        const auto made = plan(model(), quantize(scheme));
        ASSERT_TRUE(made) << made.error().text();
        const std::uint64_t values = m_up.size() + m_down.size();
        EXPECT_EQ(made->bytesToPrepare(), std::string_view(scheme) == "nvfp4" ? values * sizeof(float) : 0) << scheme; // a short tensor fits a thread's memory whole
        InlineExecutor executor;
        JobContext job;
        ASSERT_TRUE(executePlan(*made, executor, job));
        EXPECT_EQ(job.progress().done.load(), job.progress().total.load()) << scheme;
        const auto fresh = plan(model(), quantize(scheme, "other"));
        std::uint64_t said = 0;
        for (const auto& computation : fresh->prepared)
            ASSERT_TRUE(computation->prepareAll({{}, [&said](std::uint64_t bytes) { said += bytes; }}));
        EXPECT_EQ(said, fresh->bytesToPrepare()) << scheme;
        std::filesystem::remove_all(path("out"));
    }
}

TEST_F(QuantizeTest, AStoredModelIsCopiedWithItsConfiguration)
{
    ASSERT_EQ(convert(model(), quantize("int4-g32")), "");
    JobContext job;
    const CheckpointPtr stored = openCheckpoint(path("out"), {}, job).take();
    const std::string config = readText(path("out/config.json"));
    for (const char* format : {"safetensors", "torch"}) {
        ASSERT_EQ(convert(stored, request("copy", format)), "");
        EXPECT_EQ(readText(path("copy/config.json")), config) << format;
        std::filesystem::remove_all(path("copy"));
    }
    EXPECT_THAT(planLinesOf(stored, request("copy.safetensors")), Contains(AllOf(HasSubstr("warning config.json"), HasSubstr("One file holds no config.json"))));
    // patterns that part codes from what belongs to them, and a target without a place for scales
    ConvertRequest wish = request("copy");
    wish.exclude = {"up_proj.weight_scale$"};
    EXPECT_THAT(planLinesOf(stored, wish), ElementsAre(AllOf(HasSubstr("take layers.0.up_proj.weight_scale from layers.0.up_proj.weight"), HasSubstr("--dequantize"))));
    wish.exclude = {"up_proj.weight_packed$"};
    EXPECT_THAT(planLinesOf(stored, wish), Contains(AllOf(HasSubstr("warning"), HasSubstr("Scales without their codes are taken: layers.0.up_proj.weight"))));
    wish.exclude = {"up_proj"};
    EXPECT_THAT(planLinesOf(stored, wish), Not(Contains(HasSubstr("quantized weight"))));
    EXPECT_THAT(planLinesOf(stored, request("copy", "colossalai")), Contains(AllOf(HasSubstr("warning"), HasSubstr("no place for scales"))));
}

// What is computed of what is computed reads as often as both do.
TEST_F(QuantizeTest, BytesOfValuesThatAreQuantizedAgainCountAPass)
{
    ASSERT_EQ(convert(model(), quantize("fp8-channel")), "");
    ConvertRequest once = quantize("int8-channel", "again");
    once.open.dequantize = true;
    ConvertRequest twice = quantize("nvfp4", "again");
    twice.open.dequantize = true;
    JobContext job;
    const CheckpointPtr values = openCheckpoint(path("out"), once.open, job).take();
    const auto first = plan(values, once);
    const auto second = plan(values, twice);
    ASSERT_TRUE(first && second);
    const std::uint64_t stored = (m_up.size() + m_down.size()) + (48 + 9) * sizeof(float); // codes and scales
    EXPECT_EQ(second->bytesToRead - first->bytesToRead, stored);
}

// Changed bytes of the source are found below a computation too, with the tensors that are made of them.
TEST_F(QuantizeTest, VerifyingLooksAtWhatWeightsAreMadeOf)
{
    ASSERT_EQ(convert(model(), request("plain.pt", "torch")), "");
    std::string bytes = readText(path("plain.pt"));
    const std::vector<std::byte> values = bytesOfFloats(m_up);
    const std::size_t at = bytes.find(std::string(reinterpret_cast<const char*>(values.data()), 64));
    ASSERT_NE(at, std::string::npos);
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    std::ofstream(path("plain.pt"), std::ios::binary) << bytes;
    JobContext job;
    ASSERT_EQ(convert(openCheckpoint(path("plain.pt"), {}, job).take(), quantize("int4-g32")), "");
    const auto line = std::find_if(m_report.lines.begin(), m_report.lines.end(), [](const PlanLine& one) { return one.topic == "Source is damaged"; });
    ASSERT_NE(line, m_report.lines.end());
    EXPECT_THAT(line->text, AllOf(HasSubstr("layers.0.up_proj.weight"), HasSubstr("have changed since")));
}

TEST_F(QuantizeTest, ADeviceThatIsNotThereIsRefusedBeforeAnythingIsMade)
{
    ConvertRequest wish = quantize("int8-channel");
    wish.device = "cuda:97";
    EXPECT_THAT(convert(model(), wish), HasSubstr("cuda:97 is not there"));
    EXPECT_THAT(names(), ElementsAre("data.bin"));
}

TEST_F(QuantizeTest, TheJobDocumentHoldsAllOfIt)
{
    ConvertRequest wish = quantize("deepspeed-int8");
    wish.quantize.groups = 7;
    wish.quantize.include = {"a"};
    wish.quantize.exclude = {"b", "c"};
    wish.quantize.tensorTypes = {"d=deepspeed-int8"};
    wish.quantize.bits = 5;
    wish.quantize.mlpExtraGrouping = false;
    wish.quantize.keepNonFinite = true;
    wish.open.dequantize = true;
    wish.device = "cuda:0,cuda:1";
    const auto read = requestFromJson(requestToJson(wish));
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(*read, wish);
    const std::string line = commandLineOf(wish);
    for (const char* part : {"--quantize deepspeed-int8", "--groups 7", "--quantize-include a", "--quantize-exclude b", "--tensor-type d=deepspeed-int8", "--quantize-bits 5",
                             "--no-mlp-extra-grouping", "--non-finite keep", "--dequantize", "--device cuda:0,cuda:1"})
        EXPECT_THAT(line, HasSubstr(part));
}

} // namespace
} // namespace shardlens::test
