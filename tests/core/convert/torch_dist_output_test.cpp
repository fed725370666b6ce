#include "core/encoding/dcp_metadata.h"
#include "core/encoding/torch_file.h"
#include "core/io/byte_source.h"
#include "tests/core/convert/convert_fixture.h"
#include "tests/support/megatron_test_run.h"
#include "tests/support/rank_test_file.h"
#include "tests/support/torch_dist_test_run.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <map>

namespace shardlens {
namespace {

using test::contentsOf;
using test::MegatronTestRun;
using test::Py;
using test::pyDict;
using test::TestTensor;
using test::TorchDistTestRun;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAreArray;

// Checkpoints of megatron-core that are made of others.
class TorchDistOutputTest : public test::ConvertTest {
protected:
    CheckpointPtr open(const std::string& name) const
    {
        JobContext job;
        const auto out = openCheckpoint(path(name), {}, job);
        EXPECT_TRUE(out.ok()) << out.error().text();
        return out ? *out : nullptr;
    }

    ConvertRequest wanted(const std::string& target = "made") const
    {
        ConvertRequest out = request(target, "torch-dist");
        out.verify = true;
        return out;
    }

    static std::vector<std::string> sorted(std::vector<std::string> lines)
    {
        std::sort(lines.begin(), lines.end());
        return lines;
    }

    // Key → its shape, "object" for those that are none.
    std::map<std::string, std::string> keysOf(const std::string& iteration) const
    {
        JobContext job;
        const auto source = FileSource::open(path(iteration + "/.metadata"));
        EXPECT_TRUE(source.ok()) << source.error().text();
        std::map<std::string, std::string> out;
        if (!source)
            return out;
        auto bytes = readBytes(**source, 0, (*source)->size(), 1u << 24);
        const auto metadata = DcpMetadata::parse(std::make_shared<const std::vector<std::byte>>(bytes.take()), job);
        EXPECT_TRUE(metadata.ok()) << metadata.error().text();
        for (const DcpEntry& entry : metadata->entries) {
            std::string shape;
            for (const std::uint64_t extent : entry.shape)
                shape += (shape.empty() ? "" : " ") + std::to_string(extent);
            out[entry.key] = entry.kind == DcpEntry::Kind::Tensor ? shape : "object";
        }
        return out;
    }

    std::shared_ptr<const TorchFile> commonOf(const std::string& iteration) const
    {
        JobContext job;
        const auto source = FileSource::open(path(iteration + "/common.pt"));
        EXPECT_TRUE(source.ok()) << source.error().text();
        auto torch = source ? TorchFile::open(*source, job) : Result<TorchFile>(source.error());
        EXPECT_TRUE(torch.ok()) << torch.error().text();
        return torch ? std::make_shared<const TorchFile>(torch.take()) : nullptr;
    }

    static TestTensor counted(std::string name, std::vector<std::uint64_t> shape)
    {
        TestTensor out{std::move(name), std::move(shape), {}};
        std::uint64_t count = 1;
        for (const std::uint64_t extent : out.shape)
            count *= extent;
        for (std::uint64_t i = 0; i < count; ++i)
            out.values.push_back(static_cast<float>(out.name.size() * 1000 + i));
        return out;
    }

    CheckpointPtr ranks(const std::vector<TestTensor>& tensors, std::vector<std::pair<std::string, Py>> arguments = {}) const
    {
        arguments.emplace_back("tensor_model_parallel_size", Py{std::int64_t{1}});
        test::writeRankFile(path("run/iter_0000007/mp_rank_00/model_optim_rng.pt"), "model", tensors,
                            {{"args", pyDict(std::move(arguments))}, {"checkpoint_version", Py{3.0}}, {"iteration", Py{std::int64_t{7}}}, {"rng_state", Py{std::vector<Py>{Py{std::int64_t{1}}}}}});
        return open("run");
    }
};

TEST_F(TorchDistOutputTest, EveryFormComesBackEqual)
{
    int number = 0;
    for (const bool stacked : {true, false})
        for (const std::uint64_t experts : {0u, 2u})
            for (const auto optimizer : {TorchDistTestRun::Optimizer::None, TorchDistTestRun::Optimizer::Whole, TorchDistTestRun::Optimizer::Flattened})
                for (const std::uint32_t writers : {1u, 3u}) {
                    TorchDistTestRun run;
                    run.stacked = stacked;
                    run.experts = experts;
                    run.optimizer = optimizer;
                    run.vocabulary = 60'000; // large enough to be cut over the writers
                    const std::string name = "run" + std::to_string(number);
                    const std::string made = "made" + std::to_string(number++);
                    run.write(path(name));
                    ConvertRequest asked = wanted(made);
                    asked.dp = writers;
                    ASSERT_EQ(convert(open(name), asked), "") << made;
                    EXPECT_EQ(sorted(contentsOf(path(made))), sorted(contentsOf(path(name)))) << made;
                    EXPECT_TRUE(std::filesystem::exists(path(made + "/iter_0000005/__" + std::to_string(writers - 1) + "_0.distcp")));
                    EXPECT_FALSE(std::filesystem::exists(path(made + "/iter_0000005/__" + std::to_string(writers) + "_0.distcp")));
                    EXPECT_EQ(test::readText(path(made + "/latest_checkpointed_iteration.txt")), "5");
                    const auto keys = keysOf(made + "/iter_0000005");
                    EXPECT_EQ(keys.contains("decoder.layers.self_attention.linear_qkv.weight"), stacked);
                    EXPECT_EQ(keys.contains("decoder.layers.1.self_attention.linear_qkv.weight"), !stacked);
                }
}

// Rank files with every kind of optimizer: model, masters and moments are those of the source.
TEST_F(TorchDistOutputTest, RankFilesBecomeOneCheckpointWithTheirStates)
{
    using Kept = MegatronTestRun::Optimizer;
    for (const Kept kept : {Kept::None, Kept::Coalesced, Kept::Plain}) {
        MegatronTestRun run;
        run.optimizer = kept;
        run.tp = 2;
        run.pp = 2;
        run.half = kept == Kept::Plain;
        std::filesystem::remove_all(path("run"));
        std::filesystem::remove_all(path("made"));
        run.write(path("run"));
        const CheckpointPtr source = open("run");
        ASSERT_TRUE(source);
        ASSERT_EQ(convert(source, wanted()), "");
        const auto lines = contentsOf(path("made"));
        for (const std::string& line : contentsOf(source))
            EXPECT_THAT(lines, Contains(line));
        const auto keys = keysOf("made/iter_0000003");
        EXPECT_EQ(keys.contains("optimizer.state.exp_avg.embedding.word_embeddings.weight"), kept != Kept::None);
        EXPECT_EQ(keys.contains("optimizer.state.param.embedding.word_embeddings.weight"), kept == Kept::Coalesced) << "the type fully_reshardable";
        EXPECT_EQ(keys.contains("optimizer.state.fp32_param.embedding.word_embeddings.weight"), kept == Kept::Plain);
        const auto common = commonOf("made/iter_0000003");
        EXPECT_EQ(common->root().find("content_metadata").find("distrib_optim_sharding_type").asText().value_or("-"), kept == Kept::Coalesced ? "fully_reshardable" : "-");
        EXPECT_EQ(bool(common->root().find("optimizer")), kept != Kept::None);
        EXPECT_FALSE(common->root().find("model"));
        EXPECT_TRUE(common->root().find("args"));
    }
}

TEST_F(TorchDistOutputTest, NormsAndExpertsGetTheNamesOfTheFormat)
{
    std::vector<TestTensor> tensors{counted("embedding.word_embeddings.weight", {4, 2})};
    for (const char* layer : {"0", "1"}) {
        const std::string before = std::string("decoder.layers.") + layer + ".";
        tensors.push_back(counted(before + "input_layernorm.weight", {2}));
        tensors.push_back(counted(before + "self_attention.linear_qkv.weight", {6, 2}));
        tensors.push_back(counted(before + "pre_mlp_layernorm.weight", {2}));
        for (const char* expert : {"0", "1", "2"})
            tensors.push_back(counted(before + "mlp.experts.local_experts." + expert + ".linear_fc2.weight", {2, 3}));
    }
    const CheckpointPtr source = ranks(tensors, {{"num_layers", Py{std::int64_t{2}}}, {"num_experts", Py{std::int64_t{3}}}});
    ASSERT_EQ(convert(source, wanted()), "");
    std::map<std::string, std::string> wantedKeys{{"embedding.word_embeddings.weight", "4 2"},
                                                  {"decoder.layers.self_attention.linear_qkv.layer_norm_weight", "2 2"},
                                                  {"decoder.layers.self_attention.linear_qkv.weight", "2 6 2"},
                                                  {"decoder.layers.mlp.linear_fc1.layer_norm_weight", "2 2"},
                                                  {"decoder.layers.mlp.experts.experts.linear_fc2.weight", "2 3 2 3"}};
    EXPECT_EQ(keysOf("made/iter_0000007"), wantedKeys);
    const auto lines = planLinesOf(source, wanted("other"));
    EXPECT_THAT(lines, Contains(HasSubstr("4 norms get the names of the fused modules")));
    EXPECT_THAT(lines, Contains(HasSubstr("dropped Random states: rng_state of the ranks")));
}

// Transformer Engine has fused what it fuses already, and keeps a norm before experts for itself.
TEST_F(TorchDistOutputTest, FusedModelsKeepTheirNames)
{
    ASSERT_EQ(convert(ranks({counted("decoder.layers.0.self_attention.linear_qkv.layer_norm_weight", {2}), counted("decoder.layers.0.self_attention.linear_qkv.weight", {6, 2}),
                             counted("decoder.layers.0.pre_mlp_layernorm.weight", {2})}),
                      wanted()),
              "");
    EXPECT_TRUE(keysOf("made/iter_0000007").contains("decoder.layers.pre_mlp_layernorm.weight"));
}

// Layers that are not alike, or that Megatron would not stack, have their numbers.
TEST_F(TorchDistOutputTest, LayersAreNumberedWhereTheyMustBe)
{
    const auto isNumbered = [&](const std::vector<TestTensor>& tensors, std::vector<std::pair<std::string, Py>> arguments = {}) {
        std::filesystem::remove_all(path("run"));
        std::filesystem::remove_all(path("made"));
        EXPECT_EQ(convert(ranks(tensors, std::move(arguments)), wanted()), "");
        return keysOf("made/iter_0000007").contains("decoder.layers.1.mlp.linear_fc2.weight");
    };
    const std::vector<TestTensor> alike{counted("decoder.layers.0.mlp.linear_fc2.weight", {2, 3}), counted("decoder.layers.1.mlp.linear_fc2.weight", {2, 3})};
    EXPECT_FALSE(isNumbered(alike));
    EXPECT_FALSE(isNumbered(alike, {{"moe_layer_freq", Py{std::int64_t{1}}}}));
    EXPECT_TRUE(isNumbered(alike, {{"moe_layer_freq", Py{std::int64_t{2}}}}));
    EXPECT_TRUE(isNumbered(alike, {{"moe_layer_freq", Py{std::vector<Py>{Py{std::int64_t{1}}, Py{std::int64_t{1}}}}}}));
    EXPECT_TRUE(isNumbered(alike, {{"hybrid_override_pattern", Py{std::string("M*")}}}));
    EXPECT_TRUE(isNumbered({alike[0], counted("decoder.layers.1.mlp.linear_fc2.weight", {2, 4})})) << "shapes differ";
    EXPECT_TRUE(isNumbered({alike[0], alike[1], counted("decoder.layers.1.mlp.router.weight", {2, 4})})) << "one has more";
}

TEST_F(TorchDistOutputTest, ObjectsOfTheContainerAreTakenOver)
{
    TorchDistTestRun run;
    run.optimizer = TorchDistTestRun::Optimizer::Whole;
    test::DcpTestFolder container = run.container();
    const Py nothing{std::vector<Py>{Py{Py::None{}}}};
    for (const char* key : {"decoder.layers.mlp.linear_fc1._extra_state/shard_0_3", "rng_state/shard_0.1_1.2", "common_state/shard_0_1"})
        container.objects.push_back({key, nothing});
    container.write(path("run/iter_0000005"));
    TorchDistTestRun::writeBeside(path("run/iter_0000005"), {});
    ASSERT_EQ(convert(open("run"), wanted()), "");
    const auto keys = keysOf("made/iter_0000005");
    EXPECT_EQ(keys.at("decoder.layers.mlp.linear_fc1._extra_state/shard_0_3"), "object");
    EXPECT_EQ(keys.at("rng_state/shard_0.1_1.2"), "object");
    EXPECT_FALSE(keys.contains("common_state/shard_0_1")) << "it is in common.pt";
    ConvertRequest weights = wanted("weights");
    weights.select = Select::Weights;
    ASSERT_EQ(convert(open("run"), weights), "");
    EXPECT_THAT(contentsOf(path("weights")), testing::SizeIs(run.parameters().size()));
}

// Objects that modules ask for are made where the source had none of this form.
TEST_F(TorchDistOutputTest, ModulesGetTheObjectsThatTheyAskFor)
{
    TorchDistTestRun run;
    run.layers = 2;
    run.write(path("run"));
    ConvertRequest plain = request("plain", "safetensors");
    ASSERT_EQ(convert(open("run"), plain), "");
    ASSERT_EQ(convert(open("plain"), wanted()), "");
    std::vector<std::string> objects;
    for (const auto& [key, what] : keysOf("made/release"))
        if (what == "object")
            objects.push_back(key);
    EXPECT_THAT(objects, ElementsAre("decoder.layers.mlp.linear_fc1._extra_state/shard_0_2", "decoder.layers.mlp.linear_fc1._extra_state/shard_1_2",
                                     "decoder.layers.self_attention.linear_proj._extra_state/shard_0_2", "decoder.layers.self_attention.linear_proj._extra_state/shard_1_2",
                                     "decoder.layers.self_attention.linear_qkv._extra_state/shard_0_2", "decoder.layers.self_attention.linear_qkv._extra_state/shard_1_2"));
    EXPECT_EQ(test::readText(path("made/latest_checkpointed_iteration.txt")), "release");
}

TEST_F(TorchDistOutputTest, PatternsAndTypesChooseWhatIsWritten)
{
    TorchDistTestRun run;
    run.write(path("run"));
    ConvertRequest asked = wanted();
    asked.include = {"linear_qkv"};
    asked.exclude = {"layers\\.1\\."};
    asked.dtype = DType::BF16;
    ASSERT_EQ(convert(open("run"), asked), "");
    const auto lines = contentsOf(path("made"));
    EXPECT_THAT(lines, testing::SizeIs(4));
    EXPECT_THAT(lines, testing::Each(HasSubstr("BF16")));
    EXPECT_TRUE(keysOf("made/iter_0000005").contains("decoder.layers.2.self_attention.linear_qkv.weight")) << "a stack with a hole is none";
}

TEST_F(TorchDistOutputTest, RefusesWhatMeansNothingAndWhatHasOtherNames)
{
    TorchDistTestRun run;
    run.write(path("run"));
    const CheckpointPtr source = open("run");
    const auto refusal = [&](const std::function<void(ConvertRequest&)>& change) {
        ConvertRequest asked = wanted();
        change(asked);
        return convert(source, asked);
    };
    EXPECT_THAT(refusal([](auto& asked) { asked.tp = 2; }), HasSubstr("--tp means nothing for torch-dist: it holds whole tensors, and a run of any size takes its part of them"));
    EXPECT_THAT(refusal([](auto& asked) { asked.pp = 2; }), HasSubstr("--pp means nothing"));
    EXPECT_THAT(refusal([](auto& asked) { asked.rank = 0; }), HasSubstr("--rank means nothing for torch-dist"));
    EXPECT_THAT(refusal([](auto& asked) { asked.zeroStage = 1; }), HasSubstr("--zero-stage means nothing"));
    EXPECT_THAT(refusal([](auto& asked) { asked.dp = 100'000; }), HasSubstr("--dp 100000: 1 to 4096 writers"));
    EXPECT_THAT(refusal([](auto& asked) { asked.include = {"nothing like it"}; }), HasSubstr("nothing is selected"));
    EXPECT_THAT(convert(tiny({{"model.layers.0.mlp.up_proj.weight", DType::F32, {2, 2}}}), wanted()), HasSubstr("holds models under the names of megatron-core"));
    EXPECT_THAT(convert(tiny({{"embedding.word_embeddings.weight", DType::F32, {2}}, {"decoder.layers.0.mixer.in_proj.weight", DType::F32, {4, 2}}}), wanted()),
                HasSubstr("decoder.layers.0.mixer.in_proj.weight is stored in parts (z, x, B, C, dt), and the source's arguments do not say how large each is"));
    std::filesystem::remove(path("run/iter_0000005/__1_0.distcp"));
    EXPECT_THAT(convert(open("run"), wanted()), HasSubstr("__1_0.distcp"));
    EXPECT_THAT(names(), Not(Contains("made")));
}

// Each expert under its number where a selection leaves some out.
TEST_F(TorchDistOutputTest, OtherFormatsTakeTheModelUnderItsNames)
{
    TorchDistTestRun run;
    run.experts = 2;
    run.optimizer = TorchDistTestRun::Optimizer::Flattened;
    run.write(path("run"));
    const CheckpointPtr source = open("run");
    for (const char* format : {"safetensors", "torch", "dcp"}) {
        ASSERT_EQ(convert(source, request(std::string("as-") + format, format)), "") << format;
        const auto lines = contentsOf(path(std::string("as-") + format));
        EXPECT_THAT(lines, testing::SizeIs(run.parameters().size())) << format;
        EXPECT_THAT(lines, Contains(HasSubstr("decoder.layers.1.mlp.experts.experts.1.linear_fc1.weight F32 [8, 6]"))) << format;
    }
}

} // namespace
} // namespace shardlens
