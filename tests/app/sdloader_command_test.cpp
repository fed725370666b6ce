#include "tests/app/captured_console.h"
#include "tests/support/rank_test_file.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

namespace shardlens::cli {
namespace {

using nlohmann::json;
using test::Answer;
using test::Py;
using test::runShardlens;
using test::TemporaryFolder;
using test::TestTensor;
using testing::HasSubstr;

TestTensor zeros(const std::string& name, const std::vector<std::uint64_t>& shape)
{
    std::uint64_t count = 1;
    for (const std::uint64_t extent : shape)
        count *= extent;
    return {name, shape, std::vector<float>(count)};
}

// Lists over rank files of one layer with 4 heads of 2, as they lie on 1, 2 and 4 ranks.
class SdloaderSelect : public testing::Test {
protected:
    void SetUp() override
    {
        for (const std::uint64_t ranks : {1u, 2u, 4u}) {
            json list{{"type", "Megatron"}, {"version", nullptr}, {"checkpoints", json::array()}};
            for (std::uint64_t rank = 0; rank < ranks; ++rank) {
                const std::string name = "tp" + std::to_string(ranks) + "/mp_rank_0" + std::to_string(rank) + "_model_states.pt";
                list["checkpoints"].push_back(name);
                write(name, ranks, 2.0, true);
            }
            writeList("tp" + std::to_string(ranks), list);
        }
    }
    void write(const std::string& name, std::uint64_t ranks, double version, bool hasBias) const
    {
        std::vector<TestTensor> tensors{zeros("word_embeddings.weight", {8 / ranks, 8}), zeros("layers.0.attention.query_key_value.weight", {24 / ranks, 8}),
                                        zeros("layers.0.attention.dense.weight", {8, 8 / ranks}), zeros("layers.0.mlp.dense_h_to_4h.weight", {32 / ranks, 8}),
                                        zeros("layers.0.mlp.dense_4h_to_h.weight", {8, 32 / ranks})};
        if (hasBias)
            tensors.push_back(zeros("layers.0.mlp.dense_h_to_4h.bias", {32 / ranks}));
        test::writeRankFile(m_folder.file(name), "module", tensors, {{"checkpoint_version", Py{version}}, {"mp_world_size", Py{static_cast<std::int64_t>(ranks)}}});
    }
    void writeList(const std::string& name, const json& list) const { std::ofstream(m_folder.file(name + ".json")) << list; }

    [[nodiscard]] Answer select(const std::string& list, std::size_t size, std::size_t rank, std::vector<std::string> more = {}) const
    {
        std::vector<std::string> arguments{"sdloader", "select", m_folder.file(list + ".json"), "--mp-size", std::to_string(size), "--mp-rank", std::to_string(rank)};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return runShardlens(arguments);
    }
    [[nodiscard]] json answer(const std::string& list, std::size_t size, std::size_t rank, std::vector<std::string> more = {}) const
    {
        more.emplace_back("--json");
        const Answer got = select(list, size, rank, more);
        EXPECT_EQ(got.exitCode, 0) << got.remarks;
        return json::parse(got.results);
    }

    TemporaryFolder m_folder;
};

TEST_F(SdloaderSelect, LoadsMergesAndSplits)
{
    json merged = answer("tp4", 2, 1);
    EXPECT_EQ(merged.at("action"), "merge");
    EXPECT_EQ(merged.at("index"), 2);
    EXPECT_EQ(merged.at("merge_count"), 2);
    EXPECT_EQ(merged.at("merged"), json({"tp4/mp_rank_02_model_states.pt", "tp4/mp_rank_03_model_states.pt"}));
    EXPECT_EQ(merged.at("version"), "2");
    const json split = answer("tp2", 8, 6);
    EXPECT_EQ(split.at("action"), "split");
    EXPECT_EQ(split.at("file"), "tp2/mp_rank_01_model_states.pt");
    EXPECT_EQ(split.at("split_into"), 4);
    EXPECT_EQ(split.at("part"), 2);
    const json loaded = answer("tp2", 2, 1);
    EXPECT_EQ(loaded.at("action"), "load");
    EXPECT_EQ(loaded.at("index"), 1);
    EXPECT_EQ(loaded.at("version"), nullptr);
    const json pipe = answer("tp4", 2, 1, {"--pipe"});
    EXPECT_EQ(pipe.at("action"), "load");
    EXPECT_EQ(pipe.at("index"), 0);
    EXPECT_THAT(select("tp4", 2, 0).results, HasSubstr("merges 2 files, query_key_value as in version 2\n    tp4/mp_rank_00_model_states.pt\n"));
}

TEST_F(SdloaderSelect, RefusesWhatTheLoaderRefuses)
{
    const auto says = [&](const std::string& list, std::size_t size, std::size_t rank, std::vector<std::string> more = {}) {
        const Answer got = select(list, size, rank, std::move(more));
        EXPECT_EQ(got.exitCode, 2) << got.results;
        return got.remarks;
    };
    EXPECT_THAT(says("tp4", 3, 0), HasSubstr("4 files cannot be merged into 3: it does not divide"));
    EXPECT_THAT(says("tp2", 3, 0), HasSubstr("2 files cannot be split into 3: it does not divide"));
    EXPECT_THAT(says("tp1", 3, 2), HasSubstr("8 elements along dimension 0 cannot be cut into 3 equal parts"));
    EXPECT_THAT(says("tp2", 2, 2), HasSubstr("rank 2 of 2 on 2 files"));
    EXPECT_THAT(says("tp2", 1, 0, {"--module-key", "other"}), HasSubstr("has no such dictionary"));
    EXPECT_THAT(says("tp2", 1, 0, {"--module-key", "none"}), HasSubstr("no key of tp2/mp_rank_00_model_states.pt contains attention.dense.weight"));
    EXPECT_THAT(says("gone", 1, 0), HasSubstr("No such file"));
    writeList("short", {{"type", "Megatron"}, {"version", 2}, {"checkpoints", {"tp2/mp_rank_00_model_states.pt"}}});
    EXPECT_THAT(says("short", 1, 0), HasSubstr("checkpoint count 1 is different from the saved mp_world_size 2"));
    writeList("inference", {{"type", "ds_model"}, {"version", 1}, {"checkpoints", {"a.pt"}}});
    EXPECT_THAT(says("inference", 1, 0), HasSubstr("a list of type ds_model is given to the inference engine"));
    writeList("none", {{"type", "Megatron"}, {"version", 1}, {"checkpoints", {{"non_tp", {"a.pt"}}}}});
    EXPECT_THAT(says("none", 1, 0), HasSubstr("the list names no checkpoint files"));
}

TEST_F(SdloaderSelect, ChecksKeysOnlyBeforeAMerge)
{
    for (const int rank : {0, 1})
        write("bare/mp_rank_0" + std::to_string(rank) + "_model_states.pt", 2, 2.0, false);
    writeList("bare", {{"type", "Megatron"}, {"version", nullptr}, {"checkpoints", {"bare/mp_rank_00_model_states.pt", "bare/mp_rank_01_model_states.pt"}}});
    EXPECT_EQ(answer("bare", 2, 1).at("action"), "load");
    EXPECT_EQ(answer("bare", 4, 1).at("action"), "split");
    const Answer merge = select("bare", 1, 0);
    EXPECT_EQ(merge.exitCode, 2);
    EXPECT_THAT(merge.remarks, HasSubstr("the sanity check before a merge: no key of bare/mp_rank_00_model_states.pt contains mlp.dense_h_to_4h.bias"));
}

TEST_F(SdloaderSelect, TheVersionMattersWhereQueryKeyValueIsCut)
{
    const json files{"tp2/mp_rank_00_model_states.pt", "tp2/mp_rank_01_model_states.pt"};
    writeList("three", {{"type", "Megatron"}, {"version", 3.0}, {"checkpoints", files}});
    EXPECT_EQ(answer("three", 2, 0).at("action"), "load");
    EXPECT_THAT(select("three", 4, 0).remarks, HasSubstr("checkpoint version: 3 is not supported by the loader (0, 1 and 2 are), and layers.0.attention.query_key_value.weight needs it"));
    writeList("zero", {{"type", "Megatron"}, {"version", 0}, {"checkpoints", files}});
    EXPECT_EQ(answer("zero", 4, 0).at("version"), "0"); // the list's, not the files'
    EXPECT_THAT(select("zero", 16, 0).remarks, HasSubstr("cannot be cut into 8 equal parts"));
}

} // namespace
} // namespace shardlens::cli
