#include "tests/core/convert/convert_fixture.h"
#include "tests/support/moe_test_run.h"
#include "tests/support/universal_test_run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>

// Runs with experts, and universal checkpoints, that are cut for other ranks, against the same run written so from the start.
namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Result<CheckpointPtr> openedFrom(const std::string& path)
{
    JobContext job;
    return openCheckpoint(path, {}, job);
}

// "up.weight/exp_avg rank 1 [3, 9)" for every piece of masters and moments.
std::vector<std::string> cutsOf(const Checkpoint& checkpoint)
{
    std::vector<std::string> out;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
        const auto id = idAt<TensorId>(i);
        if (checkpoint.tensor(id).moduleCopy || checkpoint.tensor(id).shape.empty())
            continue;
        for (std::size_t p = checkpoint.pieces().firstOf(id); p < checkpoint.pieces().lastOf(id); ++p) {
            const Piece piece = checkpoint.pieces().at(idAt<PieceId>(p));
            out.push_back(fmt::format("{} rank {} {}", checkpoint.fullName(id), checkpoint.rankOfPiece(piece).value_or(99), regionText(piece.region)));
        }
    }
    std::sort(out.begin(), out.end());
    return out;
}

struct ExpertCut {
    std::uint32_t size;
    std::uint32_t world;
    std::uint32_t targetWorld;
    bool dataFirst;
};

class ResumeExperts : public ConvertTest, public ::testing::WithParamInterface<ExpertCut> {};

TEST_P(ResumeExperts, CutsAsTheEngineDoes)
{
    MoeTestRun run;
    run.expertParallel = GetParam().size;
    run.dataFirst = GetParam().dataFirst;
    run.localExperts = 3;
    run.world = GetParam().world;
    run.write(path("from"), "global_step1");
    run.world = GetParam().targetWorld;
    run.write(path("wanted"), "global_step1");
    const auto source = openedFrom(path("from"));
    ASSERT_TRUE(source) << source.error().text();
    ConvertRequest wanted = request("out", "deepspeed");
    wanted.source = path("from");
    wanted.dp = GetParam().targetWorld;
    wanted.verify = true; // every value is read back and compared
    ASSERT_EQ(convert(*source, wanted), "");
    const auto result = openedFrom(path("out"));
    ASSERT_TRUE(result) << result.error().text();
    const auto expected = openedFrom(path("wanted"));
    ASSERT_TRUE(expected) << expected.error().text();
    EXPECT_EQ(cutsOf(**result), cutsOf(**expected));
    EXPECT_EQ((*result)->files().size(), (*expected)->files().size());
    EXPECT_TRUE((*result)->findings().empty());
    EXPECT_EQ((*result)->topology().text(), (*expected)->topology().text());
}

INSTANTIATE_TEST_SUITE_P(Runs, ResumeExperts, ::testing::Values(ExpertCut{2, 4, 2, false}, ExpertCut{2, 2, 6, true}, ExpertCut{4, 8, 4, true}, ExpertCut{1, 3, 2, false}, ExpertCut{3, 3, 9, false}),
                         [](const auto& row) {
                             return fmt::format("E{}W{}To{}{}", row.param.size, row.param.world, row.param.targetWorld, row.param.dataFirst ? "DataFirst" : "");
                         });

TEST_F(ConvertTest, ExpertsAreResumedOnMultiplesOfTheirRanks)
{
    MoeTestRun{}.write(path("from"), "t");
    const auto source = openedFrom(path("from"));
    ASSERT_TRUE(source);
    ConvertRequest wanted = request("out", "deepspeed");
    wanted.source = path("from");
    wanted.dp = 3;
    EXPECT_THAT(convert(*source, wanted), AllOf(HasSubstr("--dp 3"), HasSubstr("blocks.0"), HasSubstr("multiple of 2")));
    wanted.dp = 2;
    wanted.zeroStage = 3;
    EXPECT_THAT(convert(*source, wanted), HasSubstr("no ZeRO-3"));
}

TEST_F(ConvertTest, StackedExpertsAreNotWrittenAnew)
{
    MoeTestRun run;
    run.stacked = true;
    run.write(path("from"), "t");
    const auto source = openedFrom(path("from"));
    ASSERT_TRUE(source) << source.error().text();
    ConvertRequest wanted = request("out", "deepspeed");
    wanted.source = path("from");
    EXPECT_THAT(convert(*source, wanted), HasSubstr("AutoEP"));
    wanted = request("out.safetensors");
    wanted.source = path("from");
    EXPECT_EQ(convert(*source, wanted), "");
}

TEST_F(ConvertTest, AMissingExpertStopsAConversion)
{
    MoeTestRun{}.write(path("from"), "t");
    std::filesystem::remove(path("from/t/" + MoeTestRun::expertFile(1, 2)));
    const auto source = openedFrom(path("from"));
    ASSERT_TRUE(source);
    for (const char* to : {"deepspeed", "safetensors"}) {
        ConvertRequest wanted = request("out", to);
        wanted.source = path("from");
        EXPECT_THAT(convert(*source, wanted), HasSubstr("layer_1_expert_2_mp_rank_00")) << to;
    }
}

struct UniversalCut {
    int targetStage;
    std::uint32_t targetWorld;
};

class ResumeUniversal : public ConvertTest, public ::testing::WithParamInterface<UniversalCut> {};

TEST_P(ResumeUniversal, CutsAsTheEngineDoes)
{
    ZeroTestRun run;
    run.parameters = {{"embed.weight", {13, 6}, 0}, {"norm.weight", {7}, 1}, {"up.weight", {11, 6}, 0}, {"up.bias", {11}, 1}, {"one", {1}, 1}};
    run.subGroupSize = 20;
    run.world = 2;
    writeUniversal(run, path("from"), "global_step1");
    run.stage = GetParam().targetStage;
    run.world = GetParam().targetWorld;
    run.write(path("wanted"), "global_step1");
    const auto source = openedFrom(path("from"));
    ASSERT_TRUE(source) << source.error().text();
    ConvertRequest wanted = request("out", "deepspeed");
    wanted.source = path("from");
    wanted.dp = GetParam().targetWorld;
    wanted.zeroStage = static_cast<std::uint32_t>(GetParam().targetStage);
    wanted.verify = true;
    ASSERT_EQ(convert(*source, wanted), "");
    const auto result = openedFrom(path("out"));
    ASSERT_TRUE(result) << result.error().text();
    const auto expected = openedFrom(path("wanted"));
    ASSERT_TRUE(expected);
    EXPECT_EQ(cutsOf(**result), cutsOf(**expected));
    EXPECT_EQ((*result)->formatTitle(), (*expected)->formatTitle());
    EXPECT_TRUE((*result)->findings().empty());
}

INSTANTIATE_TEST_SUITE_P(Runs, ResumeUniversal, ::testing::Values(UniversalCut{2, 3}, UniversalCut{1, 1}, UniversalCut{3, 2}),
                         [](const auto& row) { return fmt::format("Stage{}On{}", row.param.targetStage, row.param.targetWorld); });

TEST_F(ConvertTest, AUniversalCheckpointWithoutSettingsIsNotResumed)
{
    ZeroTestRun run;
    run.parameters = {{"w", {4}, 0}};
    writeUniversal(run, path("from"), "t");
    std::filesystem::remove(path("from/t/zero/optimizer_state.pt"));
    const auto source = openedFrom(path("from"));
    ASSERT_TRUE(source);
    ConvertRequest wanted = request("out", "deepspeed");
    wanted.source = path("from");
    EXPECT_THAT(convert(*source, wanted), HasSubstr("nothing to resume"));
}

} // namespace
} // namespace shardlens::test
