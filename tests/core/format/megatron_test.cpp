#include "tests/core/format/format_fixture.h"
#include "tests/support/rank_test_file.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace shardlens::megatron {
namespace {

using test::findingsOf;
using test::floatsOf;
using test::fullNamesOf;
using test::openPath;
using test::Py;
using test::TemporaryFolder;
using test::TestTensor;
using test::writeRankFile;
using test::writeText;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<float> counting(std::size_t count, float first)
{
    std::vector<float> out;
    for (std::size_t i = 0; i < count; ++i)
        out.push_back(first + static_cast<float>(i));
    return out;
}

Py numbersDict(const std::vector<std::pair<std::string, std::int64_t>>& numbers)
{
    std::vector<std::pair<std::string, Py>> items;
    for (const auto& [name, value] : numbers)
        items.emplace_back(name, Py{value});
    return test::pyDict(std::move(items));
}

class Megatron : public testing::Test {
protected:
    using Arguments = std::vector<std::pair<std::string, std::int64_t>>;

    void write(const std::string& rank, const std::vector<TestTensor>& tensors, const Arguments& arguments, double version = 3.0, const std::string& iteration = "iter_0000007") const
    {
        std::vector<std::pair<std::string, Py>> extras{{"checkpoint_version", Py{version}}, {"iteration", Py{std::int64_t{7}}}};
        if (!arguments.empty())
            extras.emplace_back("args", numbersDict(arguments));
        writeRankFile(m_folder.file(iteration + "/" + rank + "/model_optim_rng.pt"), "model", tensors, std::move(extras));
    }
    void track(const std::string& text) const { writeText(m_folder.file("latest_checkpointed_iteration.txt"), text); }
    Result<CheckpointPtr> open(const OpenOptions& options = {}) const { return openPath(m_folder.path().string(), options); }
    std::string problem(const OpenOptions& options = {}) const
    {
        const auto opened = open(options);
        return opened ? "opened" : opened.error().text();
    }

    TemporaryFolder m_folder;
};

TEST_F(Megatron, TheTrackerSaysWhichIteration)
{
    for (const char* iteration : {"iter_0000007", "iter_0000008"})
        write("mp_rank_00", {{"decoder.layers.0.mlp.linear_fc2.weight", {1, 1}, {1}}}, {{"num_layers", 1}}, 3.0, iteration);
    EXPECT_THAT(problem(), HasSubstr("2 iterations and no latest_checkpointed_iteration.txt: choose one with --tag"));
    track("8\n");
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_EQ((*opened)->subtitle(), "iter_0000008");
    track("abc");
    EXPECT_THAT(problem(), HasSubstr("latest_checkpointed_iteration.txt holds 'abc'; a number or \"release\" is expected"));
    track("5000");
    EXPECT_THAT(problem(), HasSubstr("the tracker points to iter_0005000, which is not here; found: iter_0000007, iter_0000008"));
    EXPECT_THAT(problem({"iter_1", {}, {}}), HasSubstr("--tag names 'iter_1', which is no iteration here"));
    opened = open({"iter_0000007", {}, {}});
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_EQ((*opened)->subtitle(), "iter_0000007");
    std::filesystem::rename(m_folder.file("iter_0000007"), m_folder.file("release"));
    track("release");
    opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_EQ((*opened)->subtitle(), "release");
}

TEST_F(Megatron, AMissingRankIsNamedAndItsRowsAreHoles)
{
    track("7");
    write("mp_rank_00", {{"embedding.word_embeddings.weight", {2, 1}, {0, 1}}}, {{"tensor_model_parallel_size", 2}});
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), Contains(HasSubstr("missing-file: Tensor parallel 2 x pipeline 1 x expert 1 needs mp_rank_01/model_optim_rng.pt, and it is missing (tp 1, pp 0, ep 0).")));
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "embedding.word_embeddings.weight")).shape, (Shape{4, 1}));
}

TEST_F(Megatron, StagesCountTheirLayersFromZero)
{
    track("7");
    const Megatron::Arguments arguments{{"pipeline_model_parallel_size", 2}, {"num_layers", 3}};
    write("mp_rank_00_000", {{"decoder.layers.0.mlp.linear_fc2.weight", {1, 1}, {10}}, {"decoder.layers.1.mlp.linear_fc2.weight", {1, 1}, {11}}}, arguments);
    write("mp_rank_00_001", {{"decoder.layers.0.mlp.linear_fc2.weight", {1, 1}, {12}}, {"decoder.final_layernorm.weight", {1}, {5}}}, arguments);
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
    EXPECT_THAT(floatsOf(*opened, "decoder.layers.2.mlp.linear_fc2.weight"), ElementsAre(12));
    EXPECT_EQ(fullNamesOf(**opened).size(), 4u);
}

TEST_F(Megatron, AGapInTheLayersIsFound)
{
    track("7");
    const Megatron::Arguments arguments{{"pipeline_model_parallel_size", 2}, {"num_layers", 4}};
    write("mp_rank_00_000", {{"decoder.layers.0.mlp.linear_fc2.weight", {1, 1}, {1}}}, arguments);
    write("mp_rank_00_001", {{"decoder.layers.0.mlp.linear_fc2.weight", {1, 1}, {1}}, {"decoder.layers.2.mlp.linear_fc2.weight", {1, 1}, {1}}}, arguments);
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), ElementsAre(HasSubstr("missing-layer: Pipeline stage 1 has the layers 0, 2 of decoder.layers.")));
    write("mp_rank_00_001", {{"decoder.layers.0.mlp.linear_fc2.weight", {1, 1}, {1}}}, arguments);
    const auto fewer = open();
    ASSERT_TRUE(fewer);
    EXPECT_THAT(findingsOf(**fewer), ElementsAre("layer-count: The arguments say 4 layers, and the files hold 2."));
}

TEST_F(Megatron, ShapesProveWhetherAnMlpIsGated)
{
    track("7");
    for (const int rank : {0, 1}) {
        const auto base = static_cast<float>(10 * rank);
        write(fmt::format("mp_rank_0{}", rank), {{"decoder.layers.0.mlp.linear_fc1.weight", {4, 1}, counting(4, base)}, {"decoder.layers.0.mlp.linear_fc2.weight", {1, 2}, counting(2, base)}},
              {{"tensor_model_parallel_size", 2}, {"num_layers", 1}});
    }
    const auto gated = open();
    ASSERT_TRUE(gated) << gated.error().text();
    EXPECT_THAT(findingsOf(**gated), ElementsAre(HasSubstr("gated-mlp: The arguments say that the MLP is not gated, and its shapes prove that it is gated: decoder.layers.0.mlp.linear_fc1.weight has 4 "
                                                           "rows, decoder.layers.0.mlp.linear_fc2.weight has 2 columns.")));
    EXPECT_THAT(floatsOf(*gated, "decoder.layers.0.mlp.linear_fc1.weight"), ElementsAre(0, 1, 10, 11, 2, 3, 12, 13));
    EXPECT_EQ((*gated)->modelFacts().at("swiglu"), "true");
}

// formats/megatron.md §5.4, "version 0, TP 2, nh = 4, hn = 1".
TEST_F(Megatron, VersionZeroKeepsEachPartTogether)
{
    track("7");
    // Q0 Q1 K0 K1 V0 V1 and Q2 Q3 K2 K3 V2 V3: tens are heads, ones are q, k, v.
    write("mp_rank_00", {{"language_model.encoder.layers.0.self_attention.query_key_value.weight", {6, 1}, {1, 11, 2, 12, 3, 13}}},
          {{"tensor_model_parallel_size", 2}, {"num_attention_heads", 4}}, 0);
    write("mp_rank_01", {{"language_model.encoder.layers.0.self_attention.query_key_value.weight", {6, 1}, {21, 31, 22, 32, 23, 33}}},
          {{"tensor_model_parallel_size", 2}, {"num_attention_heads", 4}}, 0);
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(floatsOf(*opened, "language_model.encoder.layers.0.self_attention.query_key_value.weight"), ElementsAre(1, 2, 3, 11, 12, 13, 21, 22, 23, 31, 32, 33));
}

// §5.4, version 1: Q0.0 K0.0 V0.0 Q0.1 K0.1 V0.1 Q1.0 …; hundreds are heads, tens are elements, ones are q, k, v.
TEST_F(Megatron, VersionOneKeepsEachElementTogether)
{
    track("7");
    write("mp_rank_00", {{"language_model.encoder.layers.0.self_attention.query_key_value.bias", {12}, {1, 2, 3, 11, 12, 13, 101, 102, 103, 111, 112, 113}},
                         {"language_model.decoder.layers.0.inter_attention.key_value.bias", {8}, {2, 3, 12, 13, 102, 103, 112, 113}}},
          {{"num_attention_heads", 2}}, 1);
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(floatsOf(*opened, "language_model.encoder.layers.0.self_attention.query_key_value.bias"), ElementsAre(1, 11, 2, 12, 3, 13, 101, 111, 102, 112, 103, 113));
    EXPECT_THAT(floatsOf(*opened, "language_model.decoder.layers.0.inter_attention.key_value.bias"), ElementsAre(2, 12, 3, 13, 102, 112, 103, 113));
}

TEST_F(Megatron, OldHeadOrdersThatCannotBeToldAreRefused)
{
    track("7");
    const std::vector<TestTensor> fused{{"language_model.encoder.layers.0.self_attention.query_key_value.bias", {8}, counting(8, 0)}};
    write("mp_rank_00", fused, {{"num_attention_heads", 4}}, 0);
    EXPECT_THAT(problem(), HasSubstr("query_key_value.bias: 8 rows are not 4 heads of 3 parts"));
    write("mp_rank_00", fused, {{"num_layers", 1}}, 1);
    EXPECT_THAT(problem(), HasSubstr("the arguments do not say how many attention heads a rank has"));
    write("mp_rank_00", fused, {{"num_attention_heads", 4}}, 4);
    EXPECT_THAT(problem(), HasSubstr("checkpoint_version 4 is not known: how the rows of"));
}

TEST_F(Megatron, ExpertsTakeTheModelsNumbers)
{
    track("7");
    const Megatron::Arguments arguments{{"expert_model_parallel_size", 2}, {"num_experts", 4}, {"num_layers", 1}};
    for (const int rank : {0, 1}) {
        std::vector<TestTensor> tensors{{"decoder.layers.0.mlp.router.weight", {1}, {9}}};
        for (const int expert : {0, 1})
            tensors.push_back({fmt::format("decoder.layers.0.mlp.experts.local_experts.{}.linear_fc2.weight", expert), {1, 1}, {static_cast<float>(10 * rank + expert)}});
        write(fmt::format("mp_rank_00_00{}", rank), tensors, arguments);
    }
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(floatsOf(*opened, "decoder.layers.0.mlp.experts.local_experts.3.linear_fc2.weight"), ElementsAre(11));
    EXPECT_THAT(floatsOf(*opened, "decoder.layers.0.mlp.experts.local_experts.2.linear_fc2.weight"), ElementsAre(10));
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "decoder.layers.0.mlp.router.weight")).combine, Combine::Replicas);
    EXPECT_EQ(fullNamesOf(**opened).size(), 5u);
}

TEST_F(Megatron, ExpertsWithoutAFileAreNamed)
{
    track("7");
    const Megatron::Arguments arguments{{"expert_model_parallel_size", 2}, {"num_experts", 4}, {"num_layers", 1}};
    write("mp_rank_00_000", {{"decoder.layers.0.mlp.experts.local_experts.0.linear_fc2.weight", {1, 1}, {1}}, {"decoder.layers.0.mlp.experts.local_experts.1.linear_fc2.weight", {1, 1}, {2}}},
          arguments);
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened),
                ElementsAre(HasSubstr("missing-file: "), "lost-experts: mp_rank_00_001/model_optim_rng.pt had the experts 2 and 3 of pipeline stage 0, and no other file has them: 2 tensors are lost "
                                                         "(decoder.layers.0.mlp.experts.local_experts.2.linear_fc2.weight, decoder.layers.0.mlp.experts.local_experts.3.linear_fc2.weight)."));
}

// formats/megatron.md §5.6, the example: one buffer of two experts, each [in, out] in memory.
TEST_F(Megatron, GroupedExpertsAreTakenApart)
{
    track("7");
    const Megatron::Arguments arguments{{"expert_model_parallel_size", 2}, {"num_experts", 4}, {"num_layers", 1}, {"swiglu", 1}};
    for (const int rank : {0, 1}) {
        const auto base = static_cast<float>(10 * rank);
        write(fmt::format("mp_rank_00_00{}", rank), {{"decoder.layers.0.mlp.experts.weight1", {2, 4}, counting(8, base)}, {"decoder.layers.0.mlp.experts.weight2", {2, 2}, counting(4, base)}},
              arguments);
    }
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
    const std::string experts = "decoder.layers.0.mlp.experts.local_experts.";
    EXPECT_THAT(floatsOf(*opened, experts + "0.linear_fc1.weight"), ElementsAre(0, 2, 1, 3));
    EXPECT_THAT(floatsOf(*opened, experts + "1.linear_fc1.weight"), ElementsAre(4, 6, 5, 7));
    EXPECT_THAT(floatsOf(*opened, experts + "2.linear_fc1.weight"), ElementsAre(10, 12, 11, 13));
    EXPECT_THAT(floatsOf(*opened, experts + "3.linear_fc2.weight"), ElementsAre(12, 13)); // [out, in] = [2, 1]
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, experts + "3.linear_fc2.weight")).shape, (Shape{2, 1}));
    EXPECT_EQ(fullNamesOf(**opened).size(), 8u);
}

TEST_F(Megatron, StackedExpertsAreTakenApart)
{
    track("7");
    write("mp_rank_00", {{"decoder.layers.0.mlp.experts.linear_fc2.weight", {2, 1, 3}, counting(6, 0)}}, {{"num_layers", 1}});
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(floatsOf(*opened, "decoder.layers.0.mlp.experts.linear_fc2.weight1"), ElementsAre(3, 4, 5));
}

TEST_F(Megatron, GroupedExpertsThatCannotBeTakenApartAreSaid)
{
    track("7");
    const std::vector<TestTensor> grouped{{"decoder.layers.0.mlp.experts.weight1", {2, 4}, counting(8, 0)}};
    write("mp_rank_00", grouped, {{"num_layers", 1}});
    const auto whole = open();
    ASSERT_TRUE(whole) << whole.error().text();
    EXPECT_THAT(findingsOf(**whole), ElementsAre("grouped-experts: decoder.layers.0.mlp.experts.weight1 of mp_rank_00/model_optim_rng.pt is one tensor of all experts and is shown as it is: the "
                                                 "arguments do not say how many experts a rank has."));
    EXPECT_EQ(floatsOf(*whole, "decoder.layers.0.mlp.experts.weight1"), counting(8, 0));
    std::filesystem::remove_all(m_folder.file("iter_0000007"));
    for (const char* rank : {"mp_rank_00_000", "mp_rank_00_001"})
        write(rank, grouped, {{"num_layers", 1}, {"expert_model_parallel_size", 2}, {"num_experts", 6}});
    const auto parted = open();
    ASSERT_TRUE(parted) << parted.error().text();
    ASSERT_EQ((*parted)->lostTensors().size(), 2u);
    EXPECT_THAT((*parted)->lostTensors().front().problem, HasSubstr("is one tensor of all experts of a rank: [2, 4] cannot be divided into 3 experts."));
    EXPECT_THAT(fullNamesOf(**parted), IsEmpty());
}

TEST_F(Megatron, FoldersThatAreNoRankAreSaid)
{
    track("7");
    write("mp_rank_00", {{"embedding.word_embeddings.weight", {2, 1}, {0, 1}}}, {{"tensor_model_parallel_size", 1}});
    write("mp_rank_01", {{"embedding.word_embeddings.weight", {2, 1}, {0, 1}}}, {{"tensor_model_parallel_size", 1}});
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), ElementsAre(HasSubstr("left-over: mp_rank_01 is no rank of tensor parallel 1 x pipeline 1 x expert 1 and is not read.")));
}

} // namespace
} // namespace shardlens::megatron
