#include "core/encoding/tensor_reader.h"
#include "tests/core/convert/convert_fixture.h"
#include "tests/support/rank_test_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstring>
#include <fstream>

namespace shardlens {
namespace {

using test::Py;
using test::pyDict;
using test::TestTensor;
using test::writeRankFile;
using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<float> countUp(std::size_t count, float first = 0)
{
    std::vector<float> out(count);
    for (std::size_t i = 0; i < count; ++i)
        out[i] = first + static_cast<float>(i);
    return out;
}

// Rank files that are made, cut or merged, written and opened again.
class RankFilesTest : public test::ConvertTest {
protected:
    CheckpointPtr opened(const std::string& name)
    {
        JobContext job;
        auto checkpoint = openCheckpoint(path(name), {}, job);
        EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().text();
        return checkpoint ? *checkpoint : nullptr;
    }

    // Values of a tensor of a checkpoint, or of the one file of a rank.
    std::vector<float> floats(const std::string& of, const std::string& name)
    {
        const CheckpointPtr checkpoint = opened(of);
        for (std::size_t i = 0; checkpoint && i < checkpoint->tensors().size(); ++i) {
            if (checkpoint->fullName(idAt<TensorId>(i)) != name)
                continue;
            const StreamSet streams(checkpoint);
            const auto reader = TensorReader::open(streams, idAt<TensorId>(i));
            EXPECT_TRUE(reader.ok()) << reader.error().text();
            std::vector<float> out(reader->sizeBytes() / sizeof(float));
            EXPECT_TRUE(reader->readAt(0, std::as_writable_bytes(std::span(out))).ok());
            return out;
        }
        ADD_FAILURE() << of << " has no " << name;
        return {};
    }

    // A Megatron-LM run of one rank: two layers of hidden size 2, a vocabulary of `rows` rows.
    void writeMegatron(std::uint64_t rows, std::vector<std::pair<std::string, Py>> arguments = {})
    {
        arguments.emplace_back("num_layers", Py{std::int64_t{2}});
        arguments.emplace_back("tensor_model_parallel_size", Py{std::int64_t{1}});
        arguments.emplace_back("pipeline_model_parallel_size", Py{std::int64_t{1}});
        arguments.emplace_back("padded_vocab_size", Py{static_cast<std::int64_t>(rows)});
        std::vector<TestTensor> tensors{{"embedding.word_embeddings.weight", {rows, 2}, countUp(rows * 2)}};
        for (int layer = 0; layer < 2; ++layer) {
            const std::string at = fmt::format("decoder.layers.{}.", layer);
            tensors.push_back({at + "mlp.linear_fc1.weight", {8, 2}, countUp(16, 100.F * static_cast<float>(layer))}); // gated: 4 rows of gate, 4 of up
            tensors.push_back({at + "mlp.linear_fc2.weight", {2, 4}, countUp(8, 50.F)});
            tensors.push_back({at + "input_layernorm.weight", {2}, {1, 2}});
        }
        tensors.push_back({"decoder.final_layernorm.weight", {2}, {3, 4}});
        writeRankFile(path("run/iter_0000007/mp_rank_00/model_optim_rng.pt"), "model", tensors,
                      {{"args", pyDict(std::move(arguments))}, {"checkpoint_version", Py{3.0}}, {"iteration", Py{std::int64_t{7}}}});
        std::ofstream(path("run/latest_checkpointed_iteration.txt")) << "7";
    }

    std::string cut(const std::string& target, std::uint32_t tp, std::uint32_t pp)
    {
        ConvertRequest wanted = request(target, "megatron");
        wanted.tp = tp;
        wanted.pp = pp;
        wanted.verify = true;
        return convert(opened("run"), wanted);
    }
};

std::string rankFile(const std::string& run, const std::string& rank)
{
    return run + "/iter_0000007/" + rank + "/model_optim_rng.pt";
}

TEST_F(RankFilesTest, GatedHalvesAreEachCutAndComeTogetherAgain)
{
    writeMegatron(4);
    ASSERT_EQ(cut("tp2", 2, 1), "");
    EXPECT_THAT(floats(rankFile("tp2", "mp_rank_00"), "decoder.layers.0.mlp.linear_fc1.weight"), ElementsAre(0, 1, 2, 3, 8, 9, 10, 11));
    EXPECT_THAT(floats(rankFile("tp2", "mp_rank_01"), "decoder.layers.0.mlp.linear_fc1.weight"), ElementsAre(4, 5, 6, 7, 12, 13, 14, 15));
    EXPECT_THAT(floats(rankFile("tp2", "mp_rank_01"), "decoder.layers.0.mlp.linear_fc2.weight"), ElementsAre(52, 53, 56, 57));
    EXPECT_EQ(test::contentsOf(opened("tp2")), test::contentsOf(opened("run")));
}

TEST_F(RankFilesTest, StagesBeginTheirLayersAtZeroAndHaveTheTiedCopyOnTheLast)
{
    writeMegatron(4);
    ASSERT_EQ(cut("pp2", 1, 2), "");
    EXPECT_THAT(floats(rankFile("pp2", "mp_rank_00_001"), "decoder.layers.0.mlp.linear_fc1.weight"), Contains(115.F));
    EXPECT_EQ(floats(rankFile("pp2", "mp_rank_00_001"), "output_layer.weight"), countUp(8)); // tied unless args say otherwise
    EXPECT_THAT(test::contentsOf(opened("pp2")), testing::IsSupersetOf(test::contentsOf(opened("run")))); // and the tied name
    EXPECT_THAT(cut("pp3", 1, 3), HasSubstr("2 layers"));
}

// formats/megatron.md §5.11, worked: V = 10, divisible by 4, tensor parallel 1 to 2: 12 rows become 16, the new ones copies of the last.
TEST_F(RankFilesTest, TheVocabularyIsPaddedAnewAndThePlanSaysSo)
{
    writeMegatron(12, {{"vocab_size", Py{std::int64_t{10}}}, {"make_vocab_size_divisible_by", Py{std::int64_t{4}}}});
    ConvertRequest wanted = request("tp2", "megatron");
    wanted.tp = 2;
    EXPECT_THAT(planLinesOf(opened("run"), wanted), Contains(AllOf(HasSubstr("Vocabulary"), HasSubstr("has 12 rows and gets 16"))));
    ASSERT_EQ(cut("tp2", 2, 1), "");
    EXPECT_EQ(floats(rankFile("tp2", "mp_rank_00"), "embedding.word_embeddings.weight"), countUp(16));
    EXPECT_THAT(floats(rankFile("tp2", "mp_rank_01"), "embedding.word_embeddings.weight"), ElementsAre(16, 17, 18, 19, 20, 21, 22, 23, 22, 23, 22, 23, 22, 23, 22, 23));
    wanted.tp.reset();
    EXPECT_THAT(planLinesOf(opened("run"), wanted), Each(Not(HasSubstr("Vocabulary"))));
}

TEST_F(RankFilesTest, OptionsThatWouldDoNothingAreRefused)
{
    writeMegatron(4);
    ConvertRequest wanted = request("out", "megatron");
    wanted.select = Select::Optimizer;
    EXPECT_THAT(convert(opened("run"), wanted), HasSubstr("--select optimizer: rank files hold all of the model"));
    wanted = request("out", "megatron");
    wanted.dp = 2;
    EXPECT_THAT(convert(opened("run"), wanted), HasSubstr("--dp means nothing"));
    wanted = request("out", "megatron");
    wanted.rank = 1;
    EXPECT_THAT(convert(opened("run"), wanted), HasSubstr("--rank 1: the target has the ranks 0 to 0"));
    EXPECT_THAT(names(), Not(Contains("out")));
}

TEST_F(RankFilesTest, MeansAreSaidWhereverTheyAreWritten)
{
    for (const int rank : {0, 1})
        writeRankFile(path(fmt::format("list/mp_rank_{:02d}_model_states.pt", rank)), "module", {{"shared.weight", {2}, {1.F + static_cast<float>(rank), 4}}, {"attention.dense.weight", {1, 1}, {7}}});
    std::ofstream(path("list/list.json")) << R"({"type": "Megatron", "version": 2, "checkpoints": ["mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"]})";
    std::ofstream(path("mean.json")) << R"({"shardlens_rules": 1, "id": "mean", "rules": [{"pattern": "shared", "ranks": "average"}, {"pattern": "dense", "ranks": "split", "dim": 1}]})";
    OpenOptions open;
    open.rules = path("mean.json");
    JobContext job;
    const auto source = openCheckpoint(path("list/list.json"), open, job);
    ASSERT_TRUE(source) << source.error().text();
    for (const char* to : {"safetensors", "sdloader"}) {
        ConvertRequest wanted = request(fmt::format("to-{}", to), to);
        wanted.open.rules = open.rules;
        EXPECT_THAT(planLinesOf(*source, wanted), Contains(HasSubstr("The rules average 1 tensor over the tensor-parallel ranks"))) << to;
        wanted.verify = true;
        EXPECT_EQ(convert(*source, wanted), "") << to;
    }
    EXPECT_THAT(floats("to-safetensors", "shared.weight"), ElementsAre(1.5F, 4));
    EXPECT_THAT(floats("to-sdloader/mp_rank_01_model_states.pt", "module.shared.weight"), ElementsAre(1.5F, 4));
}

TEST_F(RankFilesTest, HeadsAreNotCutApart)
{
    writeMegatron(4, {{"num_attention_heads", Py{std::int64_t{2}}}, {"num_query_groups", Py{std::int64_t{1}}}, {"group_query_attention", Py{true}}});
    EXPECT_THAT(cut("tp4", 4, 1), HasSubstr("2 attention heads cannot be divided over 4 tensor-parallel ranks; 1, 2 can"));
    ConvertRequest wanted = request("tp2", "megatron");
    wanted.tp = 2;
    EXPECT_THAT(planLinesOf(opened("run"), wanted), Contains(HasSubstr("1 query group on 2 tensor-parallel ranks: Megatron-core before 0.16 refuses")));
    wanted.tp = 1;
    wanted.ep = 2;
    EXPECT_THAT(convert(opened("run"), wanted), HasSubstr("--ep 2: the model has no experts"));
}

TEST_F(RankFilesTest, RulesOfAnotherFamilyAreSaid)
{
    writeMegatron(4);
    ASSERT_EQ(cut("tp2", 2, 1), "");
    std::ofstream(path("other.json")) << R"({"shardlens_rules": 1, "id": "other", "rules": [{"pattern": "qkv_proj", "ranks": "split", "dim": 0}], "otherwise": {"ranks": "replicated"}})";
    OpenOptions open;
    open.rules = path("other.json");
    JobContext job;
    const auto source = openCheckpoint(path("tp2"), open, job);
    ASSERT_TRUE(source) << source.error().text();
    ASSERT_FALSE((*source)->findings().empty());
    ConvertRequest wanted = request("out");
    wanted.open.rules = open.rules;
    EXPECT_THAT(convert(*source, wanted), HasSubstr("No name matches a rule of other"));
}

} // namespace
} // namespace shardlens
