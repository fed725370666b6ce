#include "core/encoding/tensor_reader.h"
#include "core/format/deepspeed/names.h"
#include "core/format/format.h"
#include "core/layout/selection.h"
#include "core/model/coverage.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/zero_test_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

namespace shardlens {
namespace {

using deepspeed::classify;
using deepspeed::FileKind;
using test::TemporaryFolder;
using test::ZeroTestRun;

Result<CheckpointPtr> openPath(const std::string& path, OpenOptions options = {})
{
    JobContext job;
    return openCheckpoint(path, options, job);
}

std::vector<float> floatsOf(const StreamSet& streams, TensorId tensor)
{
    auto reader = TensorReader::open(streams, tensor);
    EXPECT_TRUE(reader.ok()) << reader.error().text();
    if (!reader)
        return {};
    std::vector<float> values(reader->sizeBytes() / 4);
    const Status read = reader->readAt(0, std::as_writable_bytes(std::span(values)));
    EXPECT_TRUE(read.ok()) << read.error().text();
    return values;
}

TensorId tensorNamed(const Checkpoint& checkpoint, const std::string& fullName)
{
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (checkpoint.fullName(idAt<TensorId>(i)) == fullName)
            return idAt<TensorId>(i);
    return kNoTensor;
}

std::vector<std::string> codesOf(const Checkpoint& checkpoint)
{
    std::vector<std::string> codes;
    for (const Finding& finding : checkpoint.findings())
        codes.push_back(finding.code);
    return codes;
}

ZeroTestRun randomRun(std::mt19937& random, int stage)
{
    const auto below = [&](unsigned limit) { return static_cast<std::uint32_t>(random() % limit); };
    ZeroTestRun run;
    run.stage = stage;
    run.world = 1 + below(6);
    run.stripPadding = below(2) == 0;
    run.alignParameters = stage != 3 && below(3) == 0;
    run.subGroupSize = 1 + below(40);
    const std::uint32_t groups = 1 + below(2);
    const std::uint32_t count = groups + below(6);
    for (std::uint32_t i = 0; i < count; ++i) {
        ZeroTestRun::Parameter parameter{"layer." + std::to_string(i) + ".weight", {}, i < groups ? i : below(groups)};
        for (std::uint32_t axis = below(3); axis-- > 0;)
            parameter.shape.push_back(1 + below(9));
        parameter.shape.push_back(1 + below(12));
        run.parameters.push_back(std::move(parameter));
    }
    return run;
}

void expectWhole(const ZeroTestRun& run, const Checkpoint& checkpoint, const StreamSet& streams)
{
    constexpr const char* kSuffixes[] = {"", "/exp_avg", "/exp_avg_sq"};
    for (std::size_t i = 0; i < run.parameters.size(); ++i)
        for (int state = 0; state < 3; ++state) {
            const TensorId id = tensorNamed(checkpoint, run.parameters[i].name + kSuffixes[state]);
            ASSERT_NE(id, kNoTensor) << run.parameters[i].name << kSuffixes[state];
            EXPECT_EQ(checkpoint.tensor(id).shape, run.parameters[i].shape);
            const std::vector<float> values = floatsOf(streams, id);
            ASSERT_EQ(values.size(), run.parameters[i].count());
            for (std::uint64_t at = 0; at < values.size(); ++at)
                ASSERT_EQ(values[at], run.valueAt(i, state, at)) << run.parameters[i].name << kSuffixes[state] << " at " << at;
        }
}

class RandomZero : public testing::TestWithParam<int> {};

TEST_P(RandomZero, GivesEveryElementItsOwnValue)
{
    std::mt19937 random(static_cast<unsigned>(1000 + GetParam()));
    for (int round = 0; round < 40; ++round) {
        const ZeroTestRun run = randomRun(random, GetParam());
        SCOPED_TRACE(testing::Message() << "round " << round << ", world " << run.world << ", parameters " << run.parameters.size());
        const TemporaryFolder folder;
        run.write(folder.path().string(), "global_step7");
        const auto opened = openPath(folder.path().string());
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        const StreamSet streams(*opened);
        expectWhole(run, **opened, streams);
        EXPECT_EQ((*opened)->topology().worldSize(), run.world);
        EXPECT_THAT(codesOf(**opened), testing::IsEmpty());
    }
}

INSTANTIATE_TEST_SUITE_P(Stages, RandomZero, testing::Values(1, 2, 3), [](const auto& row) { return "Stage" + std::to_string(row.param); });

class LostRank : public testing::TestWithParam<int> {};

TEST_P(LostRank, LeavesExactlyItsPartAsAHole)
{
    std::mt19937 random(static_cast<unsigned>(7 + GetParam()));
    for (int round = 0; round < 20; ++round) {
        ZeroTestRun run = randomRun(random, GetParam());
        run.world += 1;
        const std::uint32_t lost = static_cast<std::uint32_t>(random() % run.world);
        const TemporaryFolder folder;
        run.write(folder.path().string(), "t");
        const auto whole = openPath(folder.path().string());
        ASSERT_TRUE(whole.ok()) << whole.error().text();
        const std::string name = "bf16_zero_pp_rank_" + std::to_string(lost) + "_mp_rank_00_optim_states.pt";
        std::filesystem::remove(folder.path() / "t" / name);
        const auto opened = openPath(folder.path().string());
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        for (std::size_t i = 0; i < (*opened)->tensors().size(); ++i) {
            const TensorId id = idAt<TensorId>(i);
            if ((*opened)->roleOf(id).name != "fp32 master")
                continue;
            const TensorId before = tensorNamed(**whole, (*opened)->fullName(id));
            std::uint64_t expected = 0;
            for (std::size_t row = (*whole)->pieces().firstOf(before); row < (*whole)->pieces().lastOf(before); ++row) {
                const Piece piece = (*whole)->pieces().at(idAt<PieceId>(row));
                expected += (*whole)->rankOfPiece(piece) == lost ? volumeOf(piece.region) : 0;
            }
            const Coverage coverage = coverageOf(**opened, id);
            EXPECT_EQ(coverage.missingCells, expected) << (*opened)->fullName(id);
            for (const Hole& hole : coverage.holes) {
                ASSERT_TRUE(hole.expected.has_value());
                EXPECT_EQ((*opened)->rankOfPiece((*opened)->pieces().at(*hole.expected)), lost);
            }
            if (expected > 0) {
                const StreamSet streams(*opened);
                const auto reader = TensorReader::open(streams, id);
                ASSERT_FALSE(reader.ok());
                EXPECT_THAT(reader.error().text(), testing::AllOf(testing::HasSubstr("rank " + std::to_string(lost)), testing::HasSubstr(name)));
            }
        }
        EXPECT_THAT(codesOf(**opened), testing::Contains("missing-file"));
    }
}

INSTANTIATE_TEST_SUITE_P(Stages, LostRank, testing::Values(1, 2, 3), [](const auto& row) { return "Stage" + std::to_string(row.param); });

ZeroTestRun smallRun()
{
    ZeroTestRun run;
    run.world = 2;
    run.parameters = {{"embed.weight", {5, 3}, 0}, {"norm.weight", {4}, 0}};
    return run;
}

TEST(DeepSpeedFolder, TagFolderRootAndLatestAreTheSame)
{
    const TemporaryFolder folder;
    smallRun().write(folder.path().string(), "global_step7");
    for (const std::string& path : {folder.path().string(), folder.file("global_step7"), folder.file("latest"), folder.path().string() + "/"}) {
        const auto opened = openPath(path);
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        EXPECT_EQ((*opened)->tensors().size(), 2u * 5u); // master, module, exp_avg, exp_avg_sq, step
    }
}

TEST(DeepSpeedFolder, LatestThatNamesNothingListsTheChoices)
{
    const TemporaryFolder folder;
    smallRun().write(folder.path().string(), "global_step7");
    std::ofstream(folder.file("latest")) << "global_step99";
    const auto opened = openPath(folder.path().string());
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code(), ErrorCode::NotFound);
    EXPECT_THAT(opened.error().text(), testing::AllOf(testing::HasSubstr("global_step99"), testing::HasSubstr("'global_step7'")));
}

TEST(DeepSpeedFolder, LatestCannotLeadOutOfTheRoot)
{
    const TemporaryFolder folder;
    smallRun().write(folder.file("run"), "global_step7");
    std::filesystem::create_directories(folder.file("run/inner"));
    std::ofstream(folder.file("run/latest")) << "../run/global_step7";
    EXPECT_FALSE(openPath(folder.file("run")).ok());
}

TEST(DeepSpeedFolder, SeveralTagsWithoutLatestAreAChoice)
{
    const TemporaryFolder folder;
    smallRun().write(folder.path().string(), "a1");
    smallRun().write(folder.path().string(), "a10");
    std::filesystem::remove(folder.file("latest"));
    const auto opened = openPath(folder.path().string());
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), testing::HasSubstr("'a1', 'a10'"));
    OpenOptions options;
    options.tag = "a10";
    const auto chosen = openPath(folder.path().string(), options);
    ASSERT_TRUE(chosen.ok()) << chosen.error().text();
    EXPECT_EQ((*chosen)->subtitle(), "a10");
}

TEST(DeepSpeedFolder, ModelFileWithoutItsOptimizerFilesIsIncomplete)
{
    const TemporaryFolder folder;
    smallRun().write(folder.path().string(), "t");
    for (const char* rank : {"0", "1"})
        std::filesystem::remove(folder.path() / "t" / (std::string("bf16_zero_pp_rank_") + rank + "_mp_rank_00_optim_states.pt"));
    const auto opened = openPath(folder.path().string());
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_EQ(codesOf(**opened), (std::vector<std::string>{"missing-file", "missing-file"}));
    EXPECT_EQ(coverageOf(**opened, tensorNamed(**opened, "embed.weight")).missingCells, 15u);
}

TEST(DeepSpeedFolder, WithoutTheModelFileNothingCanBeNamed)
{
    const TemporaryFolder folder;
    smallRun().write(folder.path().string(), "t");
    std::filesystem::remove(folder.file("t/mp_rank_00_model_states.pt"));
    const auto opened = openPath(folder.path().string());
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), testing::HasSubstr("mp_rank_00_model_states.pt is not in the folder"));
}

TEST(DeepSpeedFolder, TwoFilesOfOneRankAreRefused)
{
    const TemporaryFolder folder;
    smallRun().write(folder.path().string(), "t");
    std::filesystem::copy(folder.file("t/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"), folder.file("t/bf16_zero_pp_rank_01_mp_rank_00_optim_states.pt"));
    const auto opened = openPath(folder.path().string());
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), testing::HasSubstr("two files of rank 1"));
}

TEST(DeepSpeedFolder, FilesOfALargerWorldAreLeftOver)
{
    const TemporaryFolder folder;
    ZeroTestRun larger = smallRun();
    larger.world = 4;
    larger.write(folder.path().string(), "t");
    smallRun().write(folder.path().string(), "t");
    const auto opened = openPath(folder.path().string());
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_EQ(codesOf(**opened), (std::vector<std::string>{"leftover-file", "leftover-file"}));
    const StreamSet streams(*opened);
    expectWhole(smallRun(), **opened, streams);
}

TEST(DeepSpeedFolder, ATruncatedRankFileIsNamedAndAHole)
{
    const TemporaryFolder folder;
    smallRun().write(folder.path().string(), "t");
    std::filesystem::resize_file(folder.file("t/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"), 1500);
    const auto opened = openPath(folder.path().string());
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    ASSERT_EQ(codesOf(**opened), std::vector<std::string>{"unreadable-file"});
    EXPECT_THAT((*opened)->findings()[0].text, testing::HasSubstr("bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"));
}

TEST(DeepSpeedFolder, ARankWrittenMuchLaterIsSaid)
{
    const TemporaryFolder folder;
    ZeroTestRun run = smallRun();
    run.world = 3;
    run.write(folder.path().string(), "t");
    const auto late = folder.path() / "t" / "bf16_zero_pp_rank_2_mp_rank_00_optim_states.pt";
    std::filesystem::last_write_time(late, std::filesystem::last_write_time(late) + std::chrono::minutes(41));
    const auto opened = openPath(folder.path().string());
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    ASSERT_EQ(codesOf(**opened), std::vector<std::string>{"late-rank"});
    EXPECT_EQ((*opened)->findings()[0].rank, 2u);
}

TEST(DeepSpeedFolder, StopsWhenAsked)
{
    const TemporaryFolder folder;
    smallRun().write(folder.path().string(), "t");
    std::stop_source stop;
    stop.request_stop();
    JobContext job(stop.get_token());
    const auto opened = openCheckpoint(folder.path().string(), {}, job);
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code(), ErrorCode::Cancelled);
}

struct NameRow {
    const char* test;
    const char* name;
    std::optional<FileKind> kind;
    std::uint32_t dp;
};

class DeepSpeedNames : public testing::TestWithParam<NameRow> {};

TEST_P(DeepSpeedNames, AreClassified)
{
    const auto found = classify(GetParam().name);
    ASSERT_EQ(found.has_value(), GetParam().kind.has_value());
    if (found) {
        EXPECT_EQ(found->kind, *GetParam().kind);
        EXPECT_EQ(found->dpRank, GetParam().dp);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Rows, DeepSpeedNames,
    testing::Values(NameRow{"Model", "mp_rank_00_model_states.pt", FileKind::Model, 0}, NameRow{"Fragment", "mp_rank_00_model_states.pt-0.2", FileKind::Fragment, 0},
                    NameRow{"Stage3", "zero_pp_rank_11_mp_rank_00_model_states.pt", FileKind::ModelStage3, 11},
                    NameRow{"Optimizer", "zero_pp_rank_10_mp_rank_00_optim_states.pt", FileKind::Optimizer, 10},
                    NameRow{"Bf16", "bf16_zero_pp_rank_2_mp_rank_00_optim_states.pt", FileKind::Optimizer, 2},
                    NameRow{"OldOptimizer", "zero_pp_rank_3_mp_rank_00optim_states.pt", FileKind::Optimizer, 3},
                    NameRow{"Bf16Stage3ModelIsNone", "bf16_zero_pp_rank_2_mp_rank_00_model_states.pt", std::nullopt, 0},
                    NameRow{"Expert", "layer_0_expert_5_mp_rank_00_model_states.pt", FileKind::Expert, 0},
                    NameRow{"OldExpert", "expert_5_mp_rank_00_model_states.pt", FileKind::Expert, 0},
                    NameRow{"Pipeline", "layer_03-model_00-model_states.pt", FileKind::PipelineLayer, 0},
                    NameRow{"Moe", "expp_rank_1_mp_rank_00_optim_states.pt", FileKind::MoeOptimizer, 1}, NameRow{"OneDigitMp", "mp_rank_0_model_states.pt", std::nullopt, 0},
                    NameRow{"HugeRank", "zero_pp_rank_99999999999_mp_rank_00_optim_states.pt", std::nullopt, 0}, NameRow{"Other", "optimizer.pt", std::nullopt, 0}),
    [](const auto& row) { return std::string(row.param.test); });

} // namespace
} // namespace shardlens
