#include "core/format/deepspeed/experts.h"
#include "tests/core/format/format_fixture.h"
#include "tests/support/moe_test_run.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

namespace shardlens {
namespace {

using test::MoeTestRun;
using test::TemporaryFolder;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

MoeTestRun randomRun(std::mt19937& random)
{
    const auto below = [&](unsigned limit) { return static_cast<std::uint32_t>(random() % limit); };
    MoeTestRun run;
    run.expertParallel = 1 + below(4);
    run.world = run.expertParallel * (1 + below(3));
    run.localExperts = 1 + below(3);
    run.layers = 1 + below(3);
    run.dataFirst = below(2) == 0;
    run.stripPadding = below(2) == 0;
    run.width = 1 + below(5);
    return run;
}

void expectEverything(const MoeTestRun& run, const CheckpointPtr& checkpoint)
{
    constexpr const char* kSuffixes[] = {"", "/exp_avg", "/exp_avg_sq"};
    for (const MoeTestRun::Parameter& parameter : run.parameters())
        for (int state = 0; state < 3; ++state) {
            const std::vector<float> values = test::floatsOf(checkpoint, parameter.name + kSuffixes[state]);
            ASSERT_EQ(values.size(), parameter.count()) << parameter.name;
            for (std::uint64_t i = 0; i < values.size(); ++i)
                ASSERT_EQ(values[i], MoeTestRun::valueAt(parameter.name, state, i)) << parameter.name << kSuffixes[state] << " at " << i;
        }
}

TEST(Experts, EveryElementIsUnderItsGlobalName)
{
    std::mt19937 random(11);
    for (int round = 0; round < 40; ++round) {
        const MoeTestRun run = randomRun(random);
        SCOPED_TRACE(fmt::format("W {}, E {}, {} local, {} layers, data first {}", run.world, run.expertParallel, run.localExperts, run.layers, run.dataFirst));
        const TemporaryFolder folder;
        run.write(folder.path().string(), "t");
        const auto opened = test::openPath(folder.path().string());
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
        expectEverything(run, *opened);
        EXPECT_EQ((*opened)->topology().worldSize(), run.world);
        EXPECT_EQ((*opened)->topology().sizeOf(Axis::Ep), run.expertParallel);
        for (const MoeTestRun::Parameter& parameter : run.parameters()) {
            const TensorId copy = test::tensorNamed(**opened, parameter.name + "/module");
            EXPECT_EQ((*opened)->tensor(copy).dtype, DType::BF16);
            EXPECT_EQ((*opened)->tensor(copy).shape, parameter.shape);
        }
    }
}

TEST(Experts, PiecesBelongToTheRankThatWroteThem)
{
    for (const bool dataFirst : {false, true}) {
        MoeTestRun run;
        run.dataFirst = dataFirst;
        const TemporaryFolder folder;
        run.write(folder.path().string(), "t");
        const auto opened = test::openPath(folder.path().string());
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        std::size_t looked = 0;
        for (std::size_t row = 0; row < (*opened)->pieces().size(); ++row) {
            const Piece piece = (*opened)->pieces().at(idAt<PieceId>(row));
            const FileId file = (*opened)->stream(piece.source.stream).file;
            if (!(*opened)->file(file).rank || !(*opened)->file(file).name.starts_with("bf16_"))
                continue;
            const auto rank = (*opened)->topology().rankOf((*opened)->holder(piece.holder));
            if (rank) {
                EXPECT_EQ(*rank, *(*opened)->file(file).rank);
                ++looked;
            }
        }
        EXPECT_GT(looked, 20u);
    }
}

TEST(Experts, WithoutZeroMastersAreNamedByTheirExperts)
{
    std::mt19937 random(12);
    for (int round = 0; round < 12; ++round) {
        MoeTestRun run = randomRun(random);
        run.withZero = false;
        SCOPED_TRACE(fmt::format("W {}, E {}, {} local, {} layers", run.world, run.expertParallel, run.localExperts, run.layers));
        const TemporaryFolder folder;
        run.write(folder.path().string(), "t");
        const auto opened = test::openPath(folder.path().string());
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
        expectEverything(run, *opened);
    }
}

TEST(Experts, StackedOnesAreOneTensor)
{
    std::mt19937 random(13);
    for (int round = 0; round < 40; ++round) {
        MoeTestRun run = randomRun(random);
        run.stacked = true;
        run.stage3 = round % 2 == 0;
        SCOPED_TRACE(fmt::format("W {}, E {}, {} local, {} layers, data first {}, ZeRO-3 {}", run.world, run.expertParallel, run.localExperts, run.layers, run.dataFirst, run.stage3));
        const TemporaryFolder folder;
        run.write(folder.path().string(), "t");
        const auto opened = test::openPath(folder.path().string());
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
        expectEverything(run, *opened);
        const auto names = test::fullNamesOf(**opened);
        EXPECT_EQ(std::count(names.begin(), names.end(), "blocks.0.moe.experts.w1/step"), 1);
        const TensorId master = test::tensorNamed(**opened, "blocks.0.moe.experts.w1");
        EXPECT_EQ((*opened)->tensor(master).shape, (Shape{run.experts(), run.width + 1, run.width}));
        if (!run.stage3) {
            const TensorId copy = test::tensorNamed(**opened, "blocks.0.moe.experts.w1/module");
            EXPECT_EQ((*opened)->pieces().lastOf(copy) - (*opened)->pieces().firstOf(copy), run.experts());
        }
    }
}

TEST(Experts, FilesOfOldVersionsHoldAnExpertOfEveryLayer)
{
    MoeTestRun run;
    run.oldNames = true;
    for (const bool withZero : {true, false}) {
        run.withZero = withZero;
        const TemporaryFolder folder;
        run.write(folder.path().string(), "t");
        const auto opened = test::openPath(folder.path().string());
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
        expectEverything(run, *opened);
    }
}

class BrokenExperts : public testing::Test {
protected:
    std::string path(const std::string& file) { return (m_folder.path() / "t" / file).string(); }
    Result<CheckpointPtr> written(const MoeTestRun& run)
    {
        run.write(m_folder.path().string(), "t");
        return test::openPath(m_folder.path().string());
    }
    Result<CheckpointPtr> again() { return test::openPath(m_folder.path().string()); }

    const TemporaryFolder m_folder;
};

TEST_F(BrokenExperts, AMissingFileIsNamedAndItsTensorsAreHoles)
{
    ASSERT_TRUE(written({}).ok());
    std::filesystem::remove(path(MoeTestRun::expertFile(1, 3)));
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), Contains(AllOf(HasSubstr("missing-file: Expert 3 of layer 1"), HasSubstr(MoeTestRun::expertFile(1, 3)))));
    const TensorId copy = test::tensorNamed(**opened, "blocks.1.deepspeed_moe.experts.deepspeed_experts.3.fc.weight/module");
    ASSERT_NE(copy, kNoTensor);
    const Piece piece = (*opened)->pieces().at(idAt<PieceId>((*opened)->pieces().firstOf(copy)));
    EXPECT_EQ((*opened)->stream(piece.source.stream).kind, Stream::Kind::Missing);
}

TEST_F(BrokenExperts, EveryRankWithTheSameExpertsLostLeavesHoles)
{
    MoeTestRun run;
    run.world = 2; // one rank an expert-parallel rank
    ASSERT_TRUE(written(run).ok());
    std::filesystem::remove(path("bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"));
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    for (const char* suffix : {"", "/exp_avg", "/exp_avg_sq"}) {
        const TensorId lost = test::tensorNamed(**opened, fmt::format("blocks.0.deepspeed_moe.experts.deepspeed_experts.2.fc.weight{}", suffix));
        ASSERT_NE(lost, kNoTensor);
        EXPECT_EQ((*opened)->stream((*opened)->pieces().at(idAt<PieceId>((*opened)->pieces().firstOf(lost))).source.stream).kind, Stream::Kind::Missing);
    }
    EXPECT_FALSE(test::floatsOf(*opened, "blocks.0.deepspeed_moe.experts.deepspeed_experts.1.fc.weight").empty());
}

TEST_F(BrokenExperts, AFileBeyondNumExpertsIsLeftOver)
{
    ASSERT_TRUE(written({}).ok());
    std::filesystem::copy_file(path(MoeTestRun::expertFile(1, 3)), path(MoeTestRun::expertFile(1, 4)));
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), Contains(AllOf(HasSubstr("leftover-file"), HasSubstr("Expert 4 of layer 1"), HasSubstr(MoeTestRun::expertFile(1, 4)))));
}

TEST_F(BrokenExperts, AFileUnderTheNameOfAnotherExpertIsSaid)
{
    ASSERT_TRUE(written({}).ok());
    std::filesystem::remove(path(MoeTestRun::expertFile(0, 1)));
    std::filesystem::copy_file(path(MoeTestRun::expertFile(0, 2)), path(MoeTestRun::expertFile(0, 1)));
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), Contains(AllOf(HasSubstr("wrong-expert"), HasSubstr(MoeTestRun::expertFile(0, 1)), HasSubstr("belongs to another expert"))));
}

TEST_F(BrokenExperts, FilesOfTwoLayersSwappedAreRefused)
{
    ASSERT_TRUE(written({}).ok());
    std::filesystem::remove(path(MoeTestRun::expertFile(0, 1)));
    std::filesystem::copy_file(path(MoeTestRun::expertFile(1, 1)), path(MoeTestRun::expertFile(0, 1)));
    const auto opened = again();
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), AllOf(HasSubstr("blocks.1"), HasSubstr("layer 0"), HasSubstr("layer 1")));
}

TEST_F(BrokenExperts, ATruncatedFileIsNamed)
{
    ASSERT_TRUE(written({}).ok());
    std::filesystem::resize_file(path(MoeTestRun::expertFile(0, 0)), 100);
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), Contains(AllOf(HasSubstr("unreadable-file"), HasSubstr(MoeTestRun::expertFile(0, 0)))));
}

TEST_F(BrokenExperts, NumExpertsThatContradictsTheShapesIsRefused)
{
    MoeTestRun run;
    run.numExperts = {4, 3};
    const auto opened = written(run);
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), AllOf(HasSubstr("3 experts"), HasSubstr("blocks.1")));
    run.numExperts = {4'000'000'000u, 4};
    const auto huge = written(run);
    ASSERT_FALSE(huge.ok());
    EXPECT_THAT(huge.error().text(), HasSubstr("num_experts counts more than"));
}

TEST_F(BrokenExperts, AGroupsNameThatContradictsItsPartsIsRefused)
{
    MoeTestRun run;
    run.groupName = "ep_size_4";
    const auto opened = written(run);
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), AllOf(HasSubstr("ep_size_4"), HasSubstr("expert-parallel size")));
}

TEST_F(BrokenExperts, AMissingOptimizerOfAnExpertRankIsNamed)
{
    MoeTestRun run;
    run.withZero = false;
    run.numExperts = {4, 4};
    ASSERT_TRUE(written(run).ok());
    std::filesystem::remove(path("expp_rank_0_mp_rank_00_optim_states.pt"));
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), Contains(AllOf(HasSubstr("missing-file"), HasSubstr("expp_rank_0_mp_rank_00_optim_states.pt"))));
}

TEST_F(BrokenExperts, AMissingFileOfStackedExpertsIsAHoleInTheirTensor)
{
    MoeTestRun run;
    run.stacked = true;
    ASSERT_TRUE(written(run).ok());
    std::filesystem::remove(path(MoeTestRun::expertFile(0, 1)));
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), Contains(HasSubstr("Expert 1 of layer 0")));
    const TensorId copy = test::tensorNamed(**opened, "blocks.0.moe.experts.w1/module");
    ASSERT_NE(copy, kNoTensor);
    std::size_t holes = 0;
    for (std::size_t row = (*opened)->pieces().firstOf(copy); row < (*opened)->pieces().lastOf(copy); ++row)
        holes += (*opened)->stream((*opened)->pieces().at(idAt<PieceId>(row)).source.stream).kind == Stream::Kind::Missing;
    EXPECT_EQ(holes, 1u);
}

TEST_F(BrokenExperts, StackedExpertsInAnotherOrderAreRefused)
{
    MoeTestRun run;
    run.stacked = true;
    run.placement = {{0, 1}, {2, 3}};
    EXPECT_TRUE(written(run).ok());
    run.placement = {{0, 2}, {1, 3}};
    const auto opened = written(run);
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), AllOf(HasSubstr("expert_placement"), HasSubstr("blocks.0.moe.experts")));
}

TEST_F(BrokenExperts, StackedExpertsWithoutZeroAreRefused)
{
    MoeTestRun run;
    run.stacked = true;
    run.withZero = false;
    const auto opened = written(run);
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), HasSubstr("AutoEP run without ZeRO"));
}

TEST_F(BrokenExperts, ZeRO3KnowsOnlyStackedExperts)
{
    MoeTestRun run;
    run.stage3 = true;
    const auto opened = written(run);
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), HasSubstr("mixture-of-experts run of ZeRO-3"));
}

TEST(ExpertNames, ArePartsOfParameters)
{
    const auto parsed = deepspeed::expertParameterOf("blocks.3.deepspeed_moe.experts.deepspeed_experts.12.fc.weight");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->module, "blocks.3");
    EXPECT_EQ(parsed->expert, 12u);
    EXPECT_EQ(parsed->rest, "fc.weight");
    EXPECT_EQ(deepspeed::nameOf(*parsed), "blocks.3.deepspeed_moe.experts.deepspeed_experts.12.fc.weight");
    const auto atRoot = deepspeed::expertParameterOf("deepspeed_moe.experts.deepspeed_experts.0.w");
    ASSERT_TRUE(atRoot);
    EXPECT_EQ(deepspeed::nameOf(*atRoot), "deepspeed_moe.experts.deepspeed_experts.0.w");
    for (const char* other : {"blocks.3.deepspeed_moe.gate.wg.weight", "a.deepspeed_moe.experts.deepspeed_experts.1", "a.deepspeed_moe.experts.deepspeed_experts.x.w",
                              "a.xdeepspeed_moe.experts.deepspeed_experts.1.w", "a.deepspeed_moe.experts.deepspeed_experts.99999999999.w"})
        EXPECT_FALSE(deepspeed::expertParameterOf(other)) << other;
}

} // namespace
} // namespace shardlens
