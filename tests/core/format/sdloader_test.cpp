#include "core/format/sdloader/factory_list.h"
#include "core/layout/rule_library.h"
#include "tests/core/format/format_fixture.h"
#include "tests/support/rank_test_file.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace shardlens::sdloader {
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
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kFiles = std::string(SHARDLENS_SOURCE_DIR) + "/tests/core/format/files/";

std::vector<std::string> cellsOf(const std::string& line)
{
    std::vector<std::string> out;
    std::istringstream in(line);
    for (std::string cell; std::getline(in, cell, ',');)
        out.push_back(cell);
    out.resize(8);
    return out;
}

// Whether the table's weights of the model that the loader ran on (embedding 16 x 8, 4 heads of 2) can be cut so.
bool isDivisible(std::size_t files, std::size_t parts)
{
    const RuleSet& rules = builtInRules("deepspeed-megatron");
    const Facts facts{{"version", "2"}};
    const auto divides = [&](const char* name, const Shape& shape) {
        const auto rule = rules.ruleFor(name, facts);
        return divisionOf(**rule, shape, static_cast<std::uint32_t>(parts), facts).ok();
    };
    return divides("word_embeddings.weight", {16 / files, 8}) && divides("attention.dense.weight", {8, 8 / files});
}

TEST(SdloaderSelection, IsTheLoadersOwnInEveryRow)
{
    std::ifstream in(kFiles + "sdloader_selection.csv");
    std::string line;
    std::getline(in, line);
    std::size_t rows = 0;
    for (; std::getline(in, line); ++rows) {
        const auto cells = cellsOf(line);
        const std::size_t files = std::stoul(cells[0]);
        const auto selection = select(files, std::stoul(cells[1]), std::stoul(cells[2]), cells[3] != "none", cells[4] == "1");
        const std::string& refused = cells[7];
        if (refused == "a size does not divide") { // said of the tensors, not of the files
            ASSERT_TRUE(selection) << line;
            EXPECT_FALSE(isDivisible(files, selection->splitInto)) << line;
        } else if (!refused.empty()) {
            ASSERT_FALSE(selection) << line;
            EXPECT_THAT(selection.error().text(), HasSubstr(refused.ends_with("merge") ? "cannot be merged into" : "cannot be split into")) << line;
        } else {
            ASSERT_TRUE(selection) << line;
            EXPECT_EQ(selection->file, std::stoul(cells[5])) << line;
            EXPECT_EQ(selection->mergeCount, std::stoul(cells[6])) << line;
            EXPECT_TRUE(isDivisible(files, selection->splitInto)) << line;
        }
    }
    EXPECT_EQ(rows, 162u);
}

struct BadList {
    const char* name;
    const char* json;
    const char* says;
};

class SdloaderListRefuses : public testing::TestWithParam<BadList> {};

TEST_P(SdloaderListRefuses, ByName)
{
    const auto list = parseList(GetParam().json);
    ASSERT_FALSE(list);
    EXPECT_THAT(list.error().text(), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Own, SdloaderListRefuses,
    testing::Values(BadList{"NoJson", "{", "no JSON"}, BadList{"NoObject", "[1]", "it is no JSON object"},
                    BadList{"NoType", R"({"checkpoints": ["a"], "version": 1})", "no member type"}, BadList{"NoFiles", R"({"type": "Megatron", "version": 1})", "no member checkpoints"},
                    BadList{"NoVersion", R"({"type": "Megatron", "checkpoints": ["a"]})", "no member version, which SDLoaderFactory needs"},
                    BadList{"EmptyFiles", R"({"type": "Megatron", "checkpoints": [], "version": 1})", "names no checkpoint files"},
                    BadList{"OnlyNotParallel", R"({"type": "Megatron", "checkpoints": {"non_tp": ["a"]}, "version": 1})", "names no checkpoint files"},
                    BadList{"OtherType", R"({"type": "HuggingFace", "checkpoints": ["a"], "version": 1})", "HuggingFace checkpoint type is not supported; Megatron, bloom and ds_model are"},
                    BadList{"TypeInOtherCase", R"({"type": "megatron", "checkpoints": ["a"], "version": 1})", "megatron checkpoint type is not supported"},
                    BadList{"TypeIsNumber", R"({"type": 3, "checkpoints": ["a"], "version": 1})", "the list's type is not text"},
                    BadList{"NamesAreNumbers", R"({"type": "Megatron", "checkpoints": [1], "version": 1})", "the list's checkpoints is not a list of file names"},
                    BadList{"EmptyName", R"({"type": "Megatron", "checkpoints": [""], "version": 1})", "the list's checkpoints is not a list of file names"},
                    BadList{"VersionIsText", R"({"type": "Megatron", "checkpoints": ["a"], "version": "2"})", "the list's version is not a number or null"}),
    [](const auto& row) { return row.param.name; });

TEST(SdloaderList, ReadsEveryMember)
{
    const auto list = parseList(R"({"type": "Megatron", "checkpoints": {"tp": ["a", "b"]}, "version": 1.5, "parallelization": "tp", "mp_size": 2, "base_dir": "x", "dtype": "half"})");
    ASSERT_TRUE(list) << list.error().text();
    EXPECT_THAT(list->checkpoints, ElementsAre("a", "b"));
    EXPECT_EQ(list->version, 1.5);
    EXPECT_EQ(list->parallelization, "tp");
    EXPECT_EQ(list->baseDir, "x");
    const auto again = parseList(listText(*list, {"c"}));
    ASSERT_TRUE(again);
    EXPECT_THAT(again->checkpoints, ElementsAre("c"));
    EXPECT_EQ(again->version, 1.5);
    EXPECT_EQ(again->baseDir, "");
    EXPECT_EQ(parseList(R"({"type": "BLOOM", "checkpoints": {"non_tp": ["a"]}, "version": 1})")->type, FactoryList::Type::Inference);
}

// Two ranks: a fused bias of 6 rows each, a row-parallel matrix, a norm.
class SdloaderFiles : public testing::Test {
protected:
    void write(int rank, const std::string& key, std::vector<std::pair<std::string, Py>> extras = {}, const std::string& folder = "") const
    {
        const auto base = static_cast<float>(100 * rank);
        std::vector<float> fused;
        for (int i = 0; i < 6; ++i)
            fused.push_back(base + static_cast<float>(i));
        writeRankFile(m_folder.file(folder + name(rank)), key,
                      {{"attention.query_key_value.bias", {6}, fused}, {"attention.dense.weight", {2, 1}, {base, base + 1}}, {"norm.weight", {2}, {1, 2}}}, std::move(extras));
    }
    static std::string name(int rank) { return "mp_rank_0" + std::to_string(rank) + "_model_states.pt"; }
    std::string list(const std::string& version = "null", const std::string& more = "") const
    {
        const std::string path = m_folder.file("list.json");
        writeText(path, R"({"type": "Megatron", "version": )" + version + R"(, "checkpoints": [")" + name(0) + R"(", ")" + name(1) + "\"]" + more + "}");
        return path;
    }
    Result<CheckpointPtr> open(const std::string& path, const std::optional<std::string>& key = {}) const { return openPath(path, {std::nullopt, key, std::nullopt}); }

    TemporaryFolder m_folder;
};

TEST_F(SdloaderFiles, TheListsVersionCountsBeforeTheFiles)
{
    for (const int rank : {0, 1})
        write(rank, "module", {{"checkpoint_version", Py{2.0}}});
    const auto whole = open(list());
    ASSERT_TRUE(whole) << whole.error().text();
    EXPECT_EQ((*whole)->formatId(), "sdloader");
    EXPECT_THAT(floatsOf(*whole, "attention.query_key_value.bias"), ElementsAre(0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104, 105));
    EXPECT_THAT(floatsOf(*whole, "attention.dense.weight"), ElementsAre(0, 100, 1, 101));
    EXPECT_THAT(floatsOf(*whole, "norm.weight"), ElementsAre(1, 2));
    const auto thirds = open(list("0"));
    ASSERT_TRUE(thirds) << thirds.error().text();
    EXPECT_THAT(floatsOf(*thirds, "attention.query_key_value.bias"), ElementsAre(0, 1, 100, 101, 2, 3, 102, 103, 4, 5, 104, 105));
    EXPECT_EQ((*thirds)->modelFacts().at("version"), "0");
    const auto unknown = open(list("1.5"));
    ASSERT_FALSE(unknown);
    EXPECT_THAT(unknown.error().text(), HasSubstr("checkpoint version 1.5 is not supported: the rules do not say how attention.query_key_value.bias lies in it"));
}

TEST_F(SdloaderFiles, WithoutAVersionItIsZero)
{
    for (const int rank : {0, 1})
        write(rank, "model");
    const auto opened = open(m_folder.path().string()); // the one list of the folder is not written yet
    EXPECT_FALSE(opened && (*opened)->formatId() == "sdloader");
    const auto thirds = open(list());
    ASSERT_TRUE(thirds) << thirds.error().text();
    EXPECT_THAT(floatsOf(*thirds, "attention.query_key_value.bias"), ElementsAre(0, 1, 100, 101, 2, 3, 102, 103, 4, 5, 104, 105));
    const auto folder = open(m_folder.path().string());
    ASSERT_TRUE(folder) << folder.error().text();
    EXPECT_EQ((*folder)->formatId(), "sdloader");
}

TEST_F(SdloaderFiles, ModuleKeys)
{
    for (const int rank : {0, 1})
        write(rank, "state", {{"other", test::pyDict({})}});
    const auto none = open(list("2"));
    ASSERT_FALSE(none);
    EXPECT_THAT(none.error().text(), HasSubstr("contains neither 'model' nor 'module'"));
    const auto named = open(list("2"), "state");
    ASSERT_TRUE(named) << named.error().text();
    EXPECT_EQ(floatsOf(*named, "norm.weight").size(), 2u);
    const auto wrong = open(list("2"), "nothing");
    ASSERT_FALSE(wrong);
    EXPECT_THAT(wrong.error().text(), HasSubstr("--module-key nothing: the checkpoint has no such dictionary"));
    for (const int rank : {0, 1})
        write(rank, "");
    const auto bare = open(list("2"), "none");
    ASSERT_TRUE(bare) << bare.error().text();
    EXPECT_EQ(floatsOf(*bare, "norm.weight").size(), 2u);
    for (const int rank : {0, 1})
        write(rank, "model", {{"module", test::pyDict({})}});
    const auto both = open(list("2"));
    ASSERT_FALSE(both);
    EXPECT_THAT(both.error().text(), HasSubstr("has both 'model' and 'module' keys"));
    EXPECT_TRUE(open(list("2"), "model"));
}

TEST_F(SdloaderFiles, AFolderWithSeveralListsSaysWhichThereAre)
{
    for (const int rank : {0, 1})
        write(rank, "module");
    const std::string folder = std::filesystem::path(list("2")).parent_path().string();
    ASSERT_TRUE(openPath(folder).ok());
    std::filesystem::copy_file(list("2"), folder + "/second.json");
    const auto several = openPath(folder);
    ASSERT_FALSE(several);
    EXPECT_THAT(several.error().text(), testing::AllOf(HasSubstr("2 lists of checkpoints are in the folder; open one of them"), HasSubstr("second.json")));
}

TEST_F(SdloaderFiles, BaseDirIsCountedFromTheList)
{
    for (const int rank : {0, 1})
        write(rank, "module", {}, "deep/er/");
    const auto opened = open(list("2", R"(, "base_dir": "deep/er")"));
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
}

TEST_F(SdloaderFiles, TheSavedNumberOfRanksMustBeTheLists)
{
    for (const int rank : {0, 1})
        write(rank, "module", {{"mp_world_size", Py{std::int64_t{4}}}});
    const auto opened = open(list("2"));
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().text(), HasSubstr("the list names 2 checkpoint files, and mp_rank_00_model_states.pt was saved with mp_world_size 4"));
}

TEST_F(SdloaderFiles, MissingAndBrokenFilesAreSaidWithTheirRank)
{
    write(0, "module", {{"checkpoint_version", Py{2.0}}});
    auto opened = open(list());
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), ElementsAre("missing-file: Rank 1 has no file mp_rank_01_model_states.pt: the list names it and it is not there."));
    EXPECT_THAT(fullNamesOf(**opened), ElementsAre("attention.query_key_value.bias", "attention.dense.weight", "norm.weight"));
    EXPECT_THAT(floatsOf(*opened, "norm.weight"), ElementsAre(1, 2)); // each rank has it
    writeText(m_folder.file(name(1)), "no torch file");
    opened = open(list());
    ASSERT_TRUE(opened);
    EXPECT_THAT(findingsOf(**opened), ElementsAre(HasSubstr("unreadable-file: mp_rank_01_model_states.pt cannot be read: ")));
    std::filesystem::remove(m_folder.file(name(0)));
    std::filesystem::remove(m_folder.file(name(1)));
    opened = open(list());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), ErrorCode::NotFound);
}

TEST_F(SdloaderFiles, NamesOfAnotherFamilyAreSaid)
{
    for (const int rank : {0, 1})
        writeRankFile(m_folder.file(name(rank)), "module", {{"model.q_proj.weight", {2, 2}, {1, 2, 3, 4}}});
    const auto opened = open(list("2"));
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), ElementsAre(HasSubstr("no-rule-matches: No name matches a rule of deepspeed-megatron (model.q_proj.weight is one)")));
    writeText(m_folder.file("rules.json"), R"({"shardlens_rules": 1, "id": "own", "rules": [{"pattern": "q_proj", "ranks": "split", "dim": 0}]})");
    const auto own = openPath(m_folder.file("list.json"), {std::nullopt, std::nullopt, m_folder.file("rules.json")});
    ASSERT_TRUE(own) << own.error().text();
    EXPECT_THAT(findingsOf(**own), IsEmpty());
    EXPECT_EQ(floatsOf(*own, "model.q_proj.weight").size(), 8u);
}

// formats/deepspeed.md §18: two ranks, each in two files; attention of hidden size 2, an MLP of 4.
class InferenceFiles : public testing::Test {
protected:
    void SetUp() override
    {
        for (const int rank : {0, 1}) {
            const auto base = static_cast<float>(100 * rank);
            part(rank, 0, {{"h.0.attention.attn_qkvw", {2, 3}, {base, base + 1, base + 2, base + 10, base + 11, base + 12}}, {"h.0.attention.attn_qkvb", {3}, {base, base + 1, base + 2}},
                           {"h.0.attention.attn_ow", {1, 2}, {base, base + 1}}});
            part(rank, 1, {{"h.0.mlp.inter_w", {2, 2}, {base, base + 1, base + 10, base + 11}}, {"h.0.mlp.output_w", {2, 2}, {base, base + 1, base + 2, base + 3}}, {"h.0.norm_w", {2}, {5, 6}}});
        }
        writeRankFile(m_folder.file("non-tp.pt"), "", {{"wte.weight", {3, 2}, {1, 2, 3, 4, 5, 6}}});
    }
    void part(int rank, int number, const std::vector<TestTensor>& tensors, std::vector<std::pair<std::string, Py>> extras = {}) const
    {
        writeRankFile(m_folder.file("tp_0" + std::to_string(rank) + "_0" + std::to_string(number) + ".pt"), "", tensors, std::move(extras));
    }
    [[nodiscard]] std::string list(const std::string& more = R"("tp_size": 2, "base_dir": "/where/it/was/saved")", const std::string& tp = R"("tp_00_00.pt", "tp_01_00.pt", "tp_00_01.pt", "tp_01_01.pt")") const
    {
        writeText(m_folder.file("ds_inference_config.json"),
                  R"({"type": "ds_model", "version": 1.0, "parallelization": "tp", "checkpoints": {"non_tp": ["non-tp.pt"], "tp": [)" + tp + "]}, " + more + "}");
        return m_folder.path().string();
    }

    TemporaryFolder m_folder;
};

TEST_F(InferenceFiles, AreOneModel)
{
    const auto opened = openPath(list());
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
    EXPECT_EQ((*opened)->formatTitle(), "DeepSpeed inference set");
    EXPECT_THAT(floatsOf(*opened, "h.0.attention.attn_qkvw"), ElementsAre(0, 100, 1, 101, 2, 102, 10, 110, 11, 111, 12, 112));
    EXPECT_THAT(floatsOf(*opened, "h.0.attention.attn_qkvb"), ElementsAre(0, 100, 1, 101, 2, 102));
    EXPECT_THAT(floatsOf(*opened, "h.0.attention.attn_ow"), ElementsAre(0, 1, 100, 101));
    EXPECT_THAT(floatsOf(*opened, "h.0.mlp.inter_w"), ElementsAre(0, 1, 100, 101, 10, 11, 110, 111));
    EXPECT_THAT(floatsOf(*opened, "h.0.mlp.output_w"), ElementsAre(0, 1, 2, 3, 100, 101, 102, 103));
    EXPECT_THAT(floatsOf(*opened, "h.0.norm_w"), ElementsAre(5, 6));
    EXPECT_THAT(floatsOf(*opened, "wte.weight"), ElementsAre(1, 2, 3, 4, 5, 6));
    TargetOptions options;
    JobContext job;
    const auto target = formatById("sdloader")->layOut(*opened, options, job);
    ASSERT_FALSE(target);
    EXPECT_EQ(target.error().text(), "ds_inference_config.json lists an inference set (type ds_model), whose files are not for the SDLoader");
}

TEST_F(InferenceFiles, AGatedMlpIsCutHalfByHalf)
{
    for (const int rank : {0, 1}) {
        const auto base = static_cast<float>(100 * rank);
        part(rank, 1, {{"h.0.mlp.inter_w", {2, 2}, {base, base + 1, base + 10, base + 11}}, {"h.0.mlp.inter_b", {2}, {base, base + 1}}, {"h.0.mlp.output_w", {1, 2}, {base, base + 1}}});
    }
    const auto opened = openPath(list());
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(floatsOf(*opened, "h.0.mlp.inter_w"), ElementsAre(0, 100, 1, 101, 10, 110, 11, 111));
    EXPECT_THAT(floatsOf(*opened, "h.0.mlp.inter_b"), ElementsAre(0, 100, 1, 101));
}

TEST_F(InferenceFiles, WhatTheShapesDoNotSayIsLostByName)
{
    for (const int rank : {0, 1}) // fewer heads of k and v than of q: 2 + 2·1 columns of hidden size 2
        part(rank, 0, {{"h.0.attention.attn_qkvw", {2, 2}, {1, 2, 3, 4}}, {"h.0.attention.attn_qw", {2, 2}, {1, 2, 3, 4}}});
    const auto opened = openPath(list());
    ASSERT_TRUE(opened) << opened.error().text();
    ASSERT_EQ((*opened)->lostTensors().size(), 2u);
    EXPECT_THAT((*opened)->lostTensors()[0].problem, HasSubstr("h.0.attention.attn_qkvw: "));
    EXPECT_THAT((*opened)->lostTensors()[1].problem, HasSubstr("h.0.attention.attn_qw: no tensor-parallel rule of deepspeed-inference matches it"));
}

TEST_F(InferenceFiles, MissingFilesAreSaid)
{
    std::filesystem::remove(m_folder.file("tp_01_01.pt"));
    std::filesystem::remove(m_folder.file("non-tp.pt"));
    auto opened = openPath(list());
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), ElementsAre("missing-file: tp_01_01.pt is not there, and ds_inference_config.json names it.",
                                                  "missing-file: non-tp.pt is not there, and ds_inference_config.json names it."));
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "h.0.mlp.output_w")).shape, (Shape{4, 2}));
    opened = openPath(list(R"("tp_size": 3)"));
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().text(), HasSubstr("ds_inference_config.json names 4 files for 3 tensor-parallel ranks: each needs as many as the others"));
    opened = openPath(list(R"("tp_size": 1)", R"("gone.pt")"));
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().text(), HasSubstr("none of the files that ds_inference_config.json names can be read"));
}

TEST_F(InferenceFiles, ANameInBothKindsOfFilesIsAFinding)
{
    writeRankFile(m_folder.file("non-tp.pt"), "", {{"wte.weight", {1}, {1}}, {"h.0.norm_w", {2}, {7, 8}}});
    const auto opened = openPath(list());
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), ElementsAre(HasSubstr("held-twice: h.0.norm_w lies in files of single ranks and in non-tp.pt")));
}

TEST_F(InferenceFiles, Int8WeightsAreRefusedByName)
{
    const Py pair{std::vector<Py>{Py{Py::Tensor{"CharStorage", 0, 2, 0, {2}, {1}}}, Py{Py::Tensor{"FloatStorage", 1, 1, 0, {1}, {1}}}}};
    test::writeTorchFile(m_folder.file("tp_00_00.pt"), test::pyDict({{"h.0.attention.attn_ow", pair}}), {{2, [](std::uint64_t, std::span<std::byte>) {}}, {4, [](std::uint64_t, std::span<std::byte>) {}}});
    const auto opened = openPath(list());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), ErrorCode::Unsupported);
    EXPECT_THAT(opened.error().text(), HasSubstr("tp_00_00.pt: h.0.attention.attn_ow is an int8 weight with scales of its own rank"));
}

TEST_F(InferenceFiles, FilesOfAWholeModelAreItsParts)
{
    writeText(m_folder.file("list.json"), R"({"type": "BLOOM", "version": null, "checkpoints": ["tp_00_00.pt", "non-tp.pt"]})");
    const auto opened = openPath(m_folder.file("list.json"));
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(floatsOf(*opened, "h.0.attention.attn_ow"), ElementsAre(0, 1));
    EXPECT_THAT(floatsOf(*opened, "wte.weight"), ElementsAre(1, 2, 3, 4, 5, 6));
}

} // namespace
} // namespace shardlens::sdloader
