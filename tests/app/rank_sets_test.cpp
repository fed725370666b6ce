#include "tests/app/captured_console.h"
#include "tests/support/rank_test_file.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace shardlens::cli {
namespace {

using nlohmann::json;
using test::Answer;
using test::Py;
using test::runShardlens;
using test::TemporaryFolder;
using test::TestTensor;
using testing::ElementsAre;
using testing::HasSubstr;

TestTensor counting(const std::string& name, const std::vector<std::uint64_t>& shape, float first)
{
    TestTensor out{name, shape, {}};
    std::uint64_t count = 1;
    for (const std::uint64_t extent : shape)
        count *= extent;
    for (std::uint64_t i = 0; i < count; ++i)
        out.values.push_back(first + static_cast<float>(i));
    return out;
}

json tensorsOf(const std::string& path)
{
    const Answer answer = runShardlens({"digest", path, "--json"});
    EXPECT_EQ(answer.exitCode, 0) << answer.remarks;
    return answer.exitCode == 0 ? json::parse(answer.results).at("tensors") : json{};
}

// The values of a tensor in row-major order.
std::vector<float> valuesOf(const std::string& path, const std::string& name, const TemporaryFolder& folder)
{
    static int number = 0;
    const std::string file = folder.file("values" + std::to_string(++number) + ".csv");
    const Answer answer = runShardlens({"show", path, name, "--out", file});
    EXPECT_EQ(answer.exitCode, 0) << answer.remarks;
    std::vector<float> out;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        std::istringstream cells(line);
        for (std::string cell; std::getline(cells, cell, ',');)
            out.push_back(std::stof(cell));
    }
    return out;
}

void runConversion(std::vector<std::string> arguments)
{
    arguments.insert(arguments.begin(), "convert");
    const Answer answer = runShardlens(arguments);
    EXPECT_EQ(answer.exitCode, 0) << answer.remarks;
}

std::string conversionRefusal(std::vector<std::string> arguments)
{
    arguments.insert(arguments.begin(), "convert");
    const Answer answer = runShardlens(arguments);
    EXPECT_EQ(answer.exitCode, 2) << answer.results;
    return answer.remarks;
}

class SdloaderSets : public testing::TestWithParam<int> {
protected:
    // One file of a layer with 8 heads of 2, of the version under test.
    std::string write() const
    {
        test::writeRankFile(m_folder.file("one/mp_rank_00_model_states.pt"), "module",
                            {counting("word_embeddings.weight", {8, 3}, 0), counting("layers.0.attention.query_key_value.weight", {48, 3}, 100),
                             counting("layers.0.attention.query_key_value.bias", {48}, 300), counting("layers.0.attention.dense.weight", {3, 16}, 400),
                             counting("layers.0.mlp.dense_h_to_4h.weight", {16, 3}, 500), counting("layers.0.mlp.dense_4h_to_h.weight", {3, 16}, 600), counting("norm.weight", {3}, 700)},
                            {{"checkpoint_version", Py{std::int64_t{GetParam()}}}, {"mp_world_size", Py{std::int64_t{1}}}, {"iteration", Py{std::int64_t{12}}}});
        const std::string list = m_folder.file("one/list.json");
        std::ofstream(list) << R"({"type": "Megatron", "version": null, "checkpoints": ["mp_rank_00_model_states.pt"]})";
        return list;
    }
    TemporaryFolder m_folder;
};

TEST_P(SdloaderSets, SplitAndMergedAgainAreTheSource)
{
    const std::string list = write();
    const json source = tensorsOf(list);
    ASSERT_EQ(source.size(), 7u);
    runConversion({list, m_folder.file("eight"), "--tp", "8"});
    EXPECT_EQ(tensorsOf(m_folder.file("eight")), source);
    runConversion({m_folder.file("eight"), m_folder.file("two"), "--tp", "2"});
    EXPECT_EQ(tensorsOf(m_folder.file("two")), source);
    runConversion({m_folder.file("two"), m_folder.file("four"), "--tp", "4"});
    runConversion({m_folder.file("four"), m_folder.file("again"), "--tp", "1"});
    EXPECT_EQ(tensorsOf(m_folder.file("again")), source);
    EXPECT_TRUE(std::filesystem::exists(m_folder.file("four/mp_rank_03_model_states.pt")));
    // The parts themselves: rank 1 of 2.
    const std::string part = m_folder.file("two/mp_rank_01_model_states.pt");
    const auto fused = valuesOf(part, "module.layers.0.attention.query_key_value.bias", m_folder);
    ASSERT_EQ(fused.size(), 24u);
    EXPECT_EQ(fused[0], GetParam() == 0 ? 308.f : 324.f); // the second half of the first third, or of the whole
    EXPECT_EQ(fused[8], GetParam() == 0 ? 324.f : 332.f);
    EXPECT_EQ(valuesOf(part, "module.layers.0.attention.dense.weight", m_folder)[0], 408.f);
    EXPECT_THAT(valuesOf(part, "module.norm.weight", m_folder), ElementsAre(700, 701, 702));
}

TEST_P(SdloaderSets, OneRankIsWrittenAlone)
{
    runConversion({write(), m_folder.file("out"), "--tp", "4", "--rank", "2"});
    EXPECT_TRUE(std::filesystem::exists(m_folder.file("out/mp_rank_02_model_states.pt")));
    EXPECT_FALSE(std::filesystem::exists(m_folder.file("out/mp_rank_00_model_states.pt")));
    EXPECT_FALSE(std::filesystem::exists(m_folder.file("out/list.json")));
    EXPECT_EQ(valuesOf(m_folder.file("out/mp_rank_02_model_states.pt"), "module.word_embeddings.weight", m_folder)[0], 12.f);
    EXPECT_THAT(conversionRefusal({m_folder.file("one/list.json"), m_folder.file("no"), "--tp", "4", "--rank", "4"}), HasSubstr("--rank 4: the target has the ranks 0 to 3"));
}

TEST_P(SdloaderSets, WhatDoesNotDivideIsRefused)
{
    const std::string list = write();
    EXPECT_THAT(conversionRefusal({list, m_folder.file("no"), "--tp", "3"}), HasSubstr("word_embeddings.weight: 8 elements along dimension 0 cannot be cut into 3 equal parts"));
    runConversion({list, m_folder.file("two"), "--tp", "2"});
    EXPECT_THAT(conversionRefusal({m_folder.file("two"), m_folder.file("no"), "--tp", "3"}), HasSubstr("2 files cannot be split into 3: it does not divide"));
    EXPECT_THAT(conversionRefusal({list, m_folder.file("no"), "--pp", "2"}), HasSubstr("--pp means nothing for sdloader"));
    EXPECT_FALSE(std::filesystem::exists(m_folder.file("no")));
    // The set says its own size: the loader's construction would refuse it otherwise.
    EXPECT_THAT(runShardlens({"sdloader", "select", m_folder.file("two"), "--mp-size", "4", "--mp-rank", "3"}).results, HasSubstr("splits one file into 2, and takes part 1"));
}

INSTANTIATE_TEST_SUITE_P(Versions, SdloaderSets, testing::Values(0, 1, 2), [](const auto& row) { return "v" + std::to_string(row.param); });

class MegatronSets : public testing::Test {
protected:
    using Arguments = std::vector<std::pair<std::string, std::int64_t>>;

    void write(const std::string& rank, const std::vector<TestTensor>& tensors, Arguments arguments) const
    {
        std::vector<std::pair<std::string, Py>> args;
        for (const auto& [name, value] : arguments)
            args.emplace_back(name, Py{value});
        test::writeRankFile(m_folder.file("run/iter_0000007/" + rank + "/model_optim_rng.pt"), "model", tensors,
                            {{"checkpoint_version", Py{3.0}}, {"iteration", Py{std::int64_t{7}}}, {"args", test::pyDict(std::move(args))}});
        std::ofstream(m_folder.file("run/latest_checkpointed_iteration.txt")) << "7";
    }
    // Four layers on one rank; a vocabulary of 10 words, filled up to 12.
    void writeModel() const
    {
        std::vector<TestTensor> tensors{counting("embedding.word_embeddings.weight", {12, 1}, 0)};
        for (int layer = 0; layer < 4; ++layer) {
            const std::string prefix = "decoder.layers." + std::to_string(layer) + ".";
            const auto base = static_cast<float>(1000 * (layer + 1));
            tensors.push_back(counting(prefix + "mlp.linear_fc1.weight", {8, 2}, base));
            tensors.push_back(counting(prefix + "mlp.linear_fc2.weight", {2, 4}, base + 100));
            tensors.push_back(counting(prefix + "input_layernorm.weight", {2}, base + 200));
        }
        tensors.push_back(counting("decoder.final_layernorm.weight", {2}, 9000));
        write("mp_rank_00", tensors,
              {{"tensor_model_parallel_size", 1}, {"pipeline_model_parallel_size", 1}, {"num_layers", 4}, {"vocab_size", 10}, {"make_vocab_size_divisible_by", 4}, {"padded_vocab_size", 12}});
    }
    [[nodiscard]] std::string run() const { return m_folder.file("run"); }
    [[nodiscard]] std::string fileOf(const std::string& target, const std::string& rank) const
    {
        return m_folder.file(target + "/iter_0000007/" + rank + "/model_optim_rng.pt");
    }

    TemporaryFolder m_folder;
};

TEST_F(MegatronSets, StagesRanksAndPaddingGoThereAndBack)
{
    writeModel();
    const json source = tensorsOf(run());
    runConversion({run(), m_folder.file("many"), "--tp", "2", "--pp", "2"});
    // formats/megatron.md §5.11: 10 words by 4 on two ranks are 16 rows, and the new ones are copies of the last.
    EXPECT_THAT(valuesOf(fileOf("many", "mp_rank_01_000"), "embedding.word_embeddings.weight", m_folder), ElementsAre(8, 9, 10, 11, 11, 11, 11, 11));
    // Gate and up are cut each by itself, the second stage counts its layers from 0 and has a copy of the embedding.
    EXPECT_THAT(valuesOf(fileOf("many", "mp_rank_01_001"), "decoder.layers.1.mlp.linear_fc1.weight", m_folder), ElementsAre(4004, 4005, 4006, 4007, 4012, 4013, 4014, 4015));
    EXPECT_THAT(valuesOf(fileOf("many", "mp_rank_01_001"), "output_layer.weight", m_folder), ElementsAre(8, 9, 10, 11, 11, 11, 11, 11));
    EXPECT_THAT(valuesOf(fileOf("many", "mp_rank_00_001"), "decoder.final_layernorm.weight", m_folder), ElementsAre(9000, 9001));
    const Answer verified = runShardlens({"verify", m_folder.file("many")});
    EXPECT_NE(verified.exitCode, 2) << verified.remarks;
    EXPECT_THAT(verified.results, testing::Not(HasSubstr("error")));
    runConversion({m_folder.file("many"), m_folder.file("back"), "--tp", "1", "--pp", "1"});
    EXPECT_EQ(tensorsOf(m_folder.file("back")), source); // 12 rows again
    std::ifstream tracker(m_folder.file("many/latest_checkpointed_iteration.txt"));
    std::string text;
    tracker >> text;
    EXPECT_EQ(text, "7");
    const std::string inspected = runShardlens({"inspect", fileOf("many", "mp_rank_00_000"), "--json"}).results;
    EXPECT_THAT(inspected, testing::ContainsRegex("\"tensor_model_parallel_size\",\n *\"value\": \"2\""));
    EXPECT_THAT(inspected, testing::ContainsRegex("\"padded_vocab_size\",\n *\"value\": \"16\""));
}

TEST_F(MegatronSets, SizesThatDoNotDivideAreRefusedWithThoseThatDo)
{
    writeModel();
    EXPECT_THAT(conversionRefusal({run(), m_folder.file("no"), "--pp", "3"}), HasSubstr("4 layers of decoder.layers. cannot be divided over 3 pipeline stages; 1, 2, 4 can"));
    EXPECT_THAT(conversionRefusal({run(), m_folder.file("no"), "--pp", "8"}), HasSubstr("4 layers of decoder.layers. cannot be divided over 8 pipeline stages; 1, 2, 4 can"));
    EXPECT_THAT(conversionRefusal({run(), m_folder.file("no"), "--tp", "8"}), HasSubstr("cannot be cut into 8 equal parts"));
    EXPECT_THAT(conversionRefusal({run(), m_folder.file("no"), "--ep", "2"}), HasSubstr("expert"));
    EXPECT_FALSE(std::filesystem::exists(m_folder.file("no")));
}

TEST_F(MegatronSets, ExpertsMoveBetweenRanks)
{
    for (const int rank : {0, 1}) {
        std::vector<TestTensor> tensors{counting("embedding.word_embeddings.weight", {4, 1}, 0), counting("decoder.layers.0.mlp.router.weight", {4, 1}, 50)};
        for (const int expert : {0, 1})
            tensors.push_back(counting("decoder.layers.0.mlp.experts.local_experts." + std::to_string(expert) + ".linear_fc2.weight", {1, 2}, static_cast<float>(100 * (2 * rank + expert))));
        write("mp_rank_00_00" + std::to_string(rank), tensors, {{"expert_model_parallel_size", 2}, {"num_experts", 4}, {"num_layers", 1}});
    }
    const json source = tensorsOf(run());
    runConversion({run(), m_folder.file("four"), "--ep", "4"});
    EXPECT_THAT(valuesOf(fileOf("four", "mp_rank_00_003"), "decoder.layers.0.mlp.experts.local_experts.0.linear_fc2.weight", m_folder), ElementsAre(300, 301));
    EXPECT_EQ(tensorsOf(m_folder.file("four")), source);
    runConversion({m_folder.file("four"), m_folder.file("one"), "--ep", "1"});
    EXPECT_EQ(tensorsOf(m_folder.file("one")), source);
    EXPECT_THAT(conversionRefusal({run(), m_folder.file("no"), "--ep", "3"}), HasSubstr("4 experts cannot be divided over 3 expert-parallel ranks; 1, 2, 4 can"));
}

TEST_F(MegatronSets, ATiedCopyThatDiffersIsFoundWithBothFiles)
{
    const Arguments arguments{{"pipeline_model_parallel_size", 2}, {"num_layers", 2}};
    write("mp_rank_00_000", {counting("embedding.word_embeddings.weight", {4, 1}, 0), counting("decoder.layers.0.mlp.linear_fc2.weight", {1, 1}, 1)}, arguments);
    write("mp_rank_00_001", {counting("decoder.layers.0.mlp.linear_fc2.weight", {1, 1}, 2), counting("output_layer.weight", {4, 1}, 0)}, arguments);
    EXPECT_EQ(runShardlens({"verify", run()}).exitCode, 0);
    EXPECT_TRUE(tensorsOf(run()).contains("output_layer.weight"));
    TestTensor copy = counting("output_layer.weight", {4, 1}, 0);
    copy.values[2] = 7;
    write("mp_rank_00_001", {counting("decoder.layers.0.mlp.linear_fc2.weight", {1, 1}, 2), copy}, arguments);
    const Answer differs = runShardlens({"verify", run()});
    EXPECT_EQ(differs.exitCode, 1);
    EXPECT_THAT(differs.results, testing::AllOf(HasSubstr("embedding.word_embeddings.weight"), HasSubstr("mp_rank_00_000/model_optim_rng.pt"), HasSubstr("mp_rank_00_001/model_optim_rng.pt"),
                                                HasSubstr("first at element")));
}

} // namespace
} // namespace shardlens::cli
