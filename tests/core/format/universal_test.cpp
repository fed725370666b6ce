#include "tests/core/format/format_fixture.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/universal_test_run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace shardlens {
namespace {

using test::TemporaryFolder;
using test::ZeroTestRun;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

ZeroTestRun universalSource(int stage)
{
    ZeroTestRun run;
    run.parameters = {{"embed.weight", {5, 3}, 0}, {"up.weight", {4, 3}, 0}, {"up.bias", {4}, 1}, {"one", {1}, 1}};
    run.stage = stage;
    run.world = 3;
    return run;
}

class UniversalFolder : public testing::Test {
protected:
    Result<CheckpointPtr> written(const ZeroTestRun& run)
    {
        test::writeUniversal(run, root(), "t");
        return again();
    }
    Result<CheckpointPtr> again() { return test::openPath(root()); }
    std::string root() { return m_folder.path().string(); }
    std::string path(const std::string& file) { return root() + "/t/" + file; }
    std::vector<std::string> findings()
    {
        const auto opened = again();
        return opened.ok() ? test::findingsOf(**opened) : std::vector<std::string>{"refused: " + opened.error().text()};
    }

    const TemporaryFolder m_folder;
};

class UniversalStages : public UniversalFolder, public testing::WithParamInterface<int> {};

TEST_P(UniversalStages, GiveEveryElementAndTheStep)
{
    const ZeroTestRun run = universalSource(GetParam());
    const auto opened = written(run);
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
    EXPECT_EQ((*opened)->formatId(), "universal");
    constexpr const char* kSuffixes[] = {"", "/exp_avg", "/exp_avg_sq"};
    for (std::size_t i = 0; i < run.parameters.size(); ++i) {
        for (int state = 0; state < 3; ++state) {
            const std::string name = run.parameters[i].name + kSuffixes[state];
            EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, name)).shape, run.parameters[i].shape) << name;
            const std::vector<float> values = test::floatsOf(*opened, name);
            ASSERT_EQ(values.size(), run.parameters[i].count()) << name;
            for (std::uint64_t at = 0; at < values.size(); ++at)
                ASSERT_EQ(values[at], run.valueAt(i, state, at)) << name << " at " << at;
        }
        const TensorId step = test::tensorNamed(**opened, run.parameters[i].name + "/step");
        EXPECT_EQ((*opened)->tensor(step).dtype, DType::I64);
        EXPECT_THAT((*opened)->tensor(step).shape, IsEmpty());
    }
    EXPECT_EQ((*opened)->parameters(), (std::vector<std::string>{"embed.weight", "up.weight", "up.bias", "one"}));
}

INSTANTIATE_TEST_SUITE_P(Stages, UniversalStages, testing::Values(1, 2, 3), [](const auto& row) { return "Stage" + std::to_string(row.param); });

TEST_F(UniversalFolder, PointerTagFolderAndRootAreTheSame)
{
    ASSERT_TRUE(written(universalSource(2)).ok());
    for (const char* place : {"", "/t", "/latest_universal"}) {
        const auto opened = test::openPath(root() + place);
        ASSERT_TRUE(opened.ok()) << place << opened.error().text();
        EXPECT_EQ((*opened)->formatId(), "universal");
    }
}

TEST_F(UniversalFolder, TheRunsOwnPointerWins)
{
    test::writeUniversal(universalSource(2), root(), "t");
    universalSource(1).write(root(), "run");
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_EQ((*opened)->formatId(), "deepspeed");
    EXPECT_EQ((*opened)->subtitle(), "run");
    const auto other = test::openPath(root(), {.tag = "t", .moduleKey = {}, .rules = {}});
    ASSERT_TRUE(other.ok()) << other.error().text();
    EXPECT_EQ((*other)->formatId(), "universal");
}

TEST_F(UniversalFolder, FilesOfTheRunItselfWinOverZero)
{
    test::writeUniversal(universalSource(2), root(), "t");
    universalSource(2).write(root(), "t");
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_EQ((*opened)->formatId(), "deepspeed");
}

TEST_F(UniversalFolder, AMissingStateIsNamedAndAHole)
{
    ASSERT_TRUE(written(universalSource(2)).ok());
    std::filesystem::remove(path("zero/up.weight/exp_avg.pt"));
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), Contains(AllOf(HasSubstr("missing-file: up.weight has no exp_avg"), HasSubstr("zero/up.weight/exp_avg.pt"))));
    const TensorId hole = test::tensorNamed(**opened, "up.weight/exp_avg");
    ASSERT_NE(hole, kNoTensor);
    EXPECT_EQ((*opened)->tensor(hole).shape, (Shape{4, 3}));
    EXPECT_EQ((*opened)->stream((*opened)->pieces().at(idAt<PieceId>((*opened)->pieces().firstOf(hole))).source.stream).kind, Stream::Kind::Missing);
}

TEST_F(UniversalFolder, AMissingFolderLacksEveryState)
{
    ASSERT_TRUE(written(universalSource(2)).ok());
    std::filesystem::remove_all(path("zero/up.bias"));
    const auto found = findings();
    for (const char* state : {"fp32", "exp_avg", "exp_avg_sq", "step"})
        EXPECT_THAT(found, Contains(HasSubstr(fmt::format("up.bias has no {}:", state))));
}

TEST_F(UniversalFolder, WhatIsNoEntryIsSaid)
{
    ASSERT_TRUE(written(universalSource(2)).ok());
    test::writeTorchFile(path("zero/up.weight/fp32.pt"), test::pyDict({{"values", test::Py{std::int64_t{3}}}}), {});
    EXPECT_THAT(findings(), Contains(AllOf(HasSubstr("no-entry"), HasSubstr("zero/up.weight/fp32.pt"), HasSubstr("`param`"))));
    test::writeTorchFile(path("zero/up.weight/fp32.pt"), test::Py{std::string("nothing")}, {});
    EXPECT_THAT(findings(), Contains(AllOf(HasSubstr("no-entry"), HasSubstr("zero/up.weight/fp32.pt"))));
    std::filesystem::resize_file(path("zero/one/exp_avg.pt"), 50);
    EXPECT_THAT(findings(), Contains(AllOf(HasSubstr("unreadable-file"), HasSubstr("zero/one/exp_avg.pt"))));
}

TEST_F(UniversalFolder, AShapeThatContradictsTheModelFileIsSaid)
{
    ASSERT_TRUE(written(universalSource(2)).ok());
    test::writeUniversalEntry(path("zero/up.weight/fp32.pt"), std::vector<float>(12, 1.0f), {3, 4});
    EXPECT_THAT(findings(), Contains(AllOf(HasSubstr("wrong-shape"), HasSubstr("[3, 4]"), HasSubstr("[4, 3]"))));
}

TEST_F(UniversalFolder, AVocabularyHasFewerRowsThanItsPaddedParameter)
{
    ASSERT_TRUE(written(universalSource(2)).ok());
    for (const char* state : {"fp32", "exp_avg", "exp_avg_sq"})
        test::writeUniversalEntry(path(fmt::format("zero/embed.weight/{}.pt", state)), std::vector<float>(9, 1.0f), {3, 3}, {{"vocab_tensor", test::Py{true}}});
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "embed.weight")).shape, (Shape{3, 3}));
}

TEST_F(UniversalFolder, StackedExpertsAreThoseOfAllRanks)
{
    ASSERT_TRUE(written(universalSource(2)).ok());
    for (const char* state : {"fp32", "exp_avg", "exp_avg_sq"})
        test::writeUniversalEntry(path(fmt::format("zero/up.weight/{}.pt", state)), std::vector<float>(24, 1.0f), {8, 3},
                                  {{"is_expert_param", test::Py{true}}, {"ep_num_experts", test::Py{std::int64_t{8}}}});
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "up.weight")).shape, (Shape{8, 3}));
    test::writeUniversalEntry(path("zero/up.weight/fp32.pt"), std::vector<float>(21, 1.0f), {7, 3}, {{"is_expert_param", test::Py{true}}, {"ep_num_experts", test::Py{std::int64_t{8}}}});
    EXPECT_THAT(findings(), Contains(AllOf(HasSubstr("wrong-shape"), HasSubstr("[7, 3]"), HasSubstr("[8, 3]"))));
}

TEST_F(UniversalFolder, AVectorThatIsTooShortIsAHole)
{
    ASSERT_TRUE(written(universalSource(3)).ok());
    test::writeBareEntry(path("zero/up.weight/fp32.pt"), std::vector<float>(11, 1.0f));
    EXPECT_THAT(findings(), Contains(AllOf(HasSubstr("wrong-shape"), HasSubstr("[11]"), HasSubstr("needs 12 elements"))));
}

TEST_F(UniversalFolder, WithoutTheOptimizersSettingsWeightsAreRead)
{
    ASSERT_TRUE(written(universalSource(2)).ok());
    std::filesystem::remove(path("zero/optimizer_state.pt"));
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), Contains(AllOf(HasSubstr("missing-file"), HasSubstr("optimizer_state.pt"))));
    EXPECT_EQ(test::floatsOf(*opened, "up.bias").size(), 4u);
}

TEST_F(UniversalFolder, WithoutTheModelFileTheTensorsOfZeroAreShown)
{
    ASSERT_TRUE(written(universalSource(2)).ok());
    std::filesystem::remove(path("mp_rank_00_model_states.pt"));
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), Contains(AllOf(HasSubstr("missing-file"), HasSubstr("mp_rank_00_model_states.pt"))));
    EXPECT_EQ(test::floatsOf(*opened, "up.weight").size(), 12u);
}

TEST_F(UniversalFolder, ANameThatNoListHasIsShownAsItIs)
{
    ASSERT_TRUE(written(universalSource(2)).ok());
    test::writeUniversalEntry(path("zero/group/extra.weight/fp32.pt"), {1, 2, 3}, {3});
    const auto opened = again();
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), Contains(AllOf(HasSubstr("unlisted"), HasSubstr("group/extra.weight"))));
    EXPECT_EQ(test::floatsOf(*opened, "group/extra.weight"), (std::vector<float>{1, 2, 3}));
}

TEST_F(UniversalFolder, AnInterruptedConversionIsSaid)
{
    ASSERT_TRUE(written(universalSource(2)).ok());
    std::filesystem::create_directories(path("tmp/up.weight/0"));
    EXPECT_THAT(findings(), Contains(HasSubstr("interrupted")));
}

// Two tensor-parallel ranks: the model files name local shapes, the entries whole ones.
TEST_F(UniversalFolder, SeveralModelFilesNameTheParametersTogether)
{
    const auto model = [](const std::vector<std::pair<std::string, std::vector<std::uint64_t>>>& shapes) {
        test::Py::Dict group{{}, true};
        for (const auto& [name, shape] : shapes)
            group.items.emplace_back(test::Py{name}, test::pySize(shape));
        return test::pyDict({{"module", test::Py{test::Py::None{}}}, {"param_shapes", test::Py{std::vector<test::Py>{test::Py{std::move(group)}}}}, {"dp_world_size", test::Py{std::int64_t{1}}}});
    };
    for (const char* state : {"fp32", "exp_avg"}) {
        test::writeUniversalEntry(path(fmt::format("zero/0.word.weight/{}.pt", state)), {1, 2, 3, 4, 5, 6}, {3, 2}, {{"cat_dim", test::Py{std::int64_t{0}}}, {"vocab_tensor", test::Py{true}}});
        test::writeUniversalEntry(path(fmt::format("zero/1.norm.weight/{}.pt", state)), {7, 8}, {2});
    }
    test::writeTorchFile(path("zero/optimizer_state.pt"), test::pyDict({{"zero_stage", test::Py{std::int64_t{1}}}}), {});
    test::writeTorchFile(path("mp_rank_00_model_states.pt"), model({{"0.word.weight", {2, 2}}}), {});
    test::writeTorchFile(path("mp_rank_01_model_states.pt"), model({{"0.word.weight", {2, 2}}}), {});
    test::writeTorchFile(path("mp_rank_02_model_states.pt"), model({{"1.norm.weight", {2}}}), {});
    const auto opened = test::openPath(path(""));
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
    EXPECT_EQ((*opened)->parameters(), (std::vector<std::string>{"0.word.weight", "1.norm.weight"}));
    EXPECT_EQ(test::floatsOf(*opened, "0.word.weight"), (std::vector<float>{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(test::floatsOf(*opened, "1.norm.weight/exp_avg"), (std::vector<float>{7, 8}));
    std::filesystem::remove(path("zero/1.norm.weight/exp_avg.pt"));
    const auto harmed = test::openPath(path(""));
    ASSERT_TRUE(harmed.ok());
    EXPECT_THAT(test::findingsOf(**harmed), Contains(HasSubstr("1.norm.weight has no exp_avg")));
}

// Ties, frozen parameters and buffers: zero/ repeats them as floats, and the model file counts (formats/deepspeed.md §14.1).
TEST_F(UniversalFolder, WhatNoOptimizerOwnsComesFromTheModelFile)
{
    using test::Py;
    const auto tensor = [](const char* kind, std::size_t storage, std::uint64_t count) { return Py{Py::Tensor{kind, storage, count, 0, {count}, {}}}; };
    Py::Dict module{{}, true};
    module.items.emplace_back(Py{std::string("embed")}, tensor("BFloat16Storage", 0, 2));
    module.items.emplace_back(Py{std::string("frozen")}, tensor("BFloat16Storage", 1, 2));
    module.items.emplace_back(Py{std::string("ids")}, tensor("LongStorage", 2, 2));
    module.items.emplace_back(Py{std::string("head")}, tensor("BFloat16Storage", 0, 2));
    Py::Dict shapes{{{Py{std::string("embed")}, test::pySize({2})}}, true};
    std::filesystem::create_directories(path("zero"));
    test::writeTorchFile(path("mp_rank_00_model_states.pt"),
                         test::pyDict({{"module", Py{std::move(module)}}, {"buffer_names", Py{std::vector<Py>{Py{std::string("ids")}}}}, {"param_shapes", Py{std::vector<Py>{Py{std::move(shapes)}}}},
                                       {"shared_params", test::pyDict({{"head", Py{std::string("embed")}}})}, {"dp_world_size", Py{std::int64_t{1}}}}),
                         {{4, nullptr}, {4, nullptr}, {16, nullptr}});
    test::writeUniversalEntry(path("zero/embed/fp32.pt"), {1, 2}, {2}, {{"cat_dim", Py{std::int64_t{0}}}});
    for (const char* name : {"frozen", "ids", "head"})
        test::writeUniversalEntry(path(fmt::format("zero/{}/fp32.pt", name)), {9, 9}, {2});
    test::writeTorchFile(path("zero/optimizer_state.pt"), test::pyDict({{"zero_stage", Py{std::int64_t{1}}}}), {});
    const auto opened = test::openPath(path(""));
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "frozen")).dtype, DType::BF16);
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "ids")).dtype, DType::I64);
    EXPECT_EQ((*opened)->roleOf(test::tensorNamed(**opened, "ids")).kind, RoleKind::Buffer);
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "embed")).dtype, DType::F32);
    ASSERT_EQ((*opened)->aliases().size(), 1u);
    EXPECT_EQ((*opened)->aliases().front().name, "head");
    EXPECT_THAT(test::fullNamesOf(**opened), Not(Contains("head")));
}

} // namespace
} // namespace shardlens
