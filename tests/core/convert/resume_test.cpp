#include "core/base/text.h"
#include "core/encoding/torch_file.h"
#include "tests/core/convert/convert_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <optional>
#include <set>

// Runs that are cut for another number of ranks or another stage, against the same run written so from the start by the test writer.
namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Cut {
    int stage;
    std::uint32_t world;
    int targetStage;
    std::uint32_t targetWorld;
};

ZeroTestRun someRun(int stage, std::uint32_t world)
{
    ZeroTestRun run;
    run.parameters = {{"embed.weight", {13, 6}, 0}, {"norm.weight", {7}, 1}, {"up.weight", {11, 6}, 0}, {"up.bias", {11}, 1}, {"one", {1}, 1}};
    run.stage = stage;
    run.world = world;
    run.subGroupSize = 20;
    return run;
}

Result<CheckpointPtr> opened(const std::string& path)
{
    JobContext job;
    return openCheckpoint(path, {}, job);
}

// "up.weight/exp_avg rank 1 [3, 9)" for every piece of masters and moments.
std::vector<std::string> piecesOf(const Checkpoint& checkpoint)
{
    std::vector<std::string> out;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
        const auto id = idAt<TensorId>(i);
        if (checkpoint.tensor(id).moduleCopy || checkpoint.roleOf(id).kind == RoleKind::Module || checkpoint.tensor(id).shape.empty())
            continue;
        for (std::size_t p = checkpoint.pieces().firstOf(id); p < checkpoint.pieces().lastOf(id); ++p) {
            const Piece piece = checkpoint.pieces().at(idAt<PieceId>(p));
            out.push_back(fmt::format("{} rank {} {}", checkpoint.fullName(id), checkpoint.rankOfPiece(piece).value_or(99), regionText(piece.region)));
        }
    }
    std::sort(out.begin(), out.end());
    return out;
}

class ResumeTest : public ConvertTest, public ::testing::WithParamInterface<Cut> {};

TEST_P(ResumeTest, CutsAsTheEngineDoes)
{
    const Cut& cut = GetParam();
    someRun(cut.stage, cut.world).write(path("from"), "global_step1");
    someRun(cut.targetStage, cut.targetWorld).write(path("wanted"), "global_step1");
    const auto source = opened(path("from"));
    ASSERT_TRUE(source);
    ConvertRequest wanted = request("out", "deepspeed");
    wanted.source = path("from");
    wanted.dp = cut.targetWorld;
    wanted.zeroStage = static_cast<std::uint32_t>(cut.targetStage);
    wanted.verify = true; // every value is read back and compared
    ASSERT_EQ(convert(*source, wanted), "");
    const auto result = opened(path("out"));
    ASSERT_TRUE(result) << result.error().text();
    const auto expected = opened(path("wanted"));
    ASSERT_TRUE(expected);
    EXPECT_EQ(piecesOf(**result), piecesOf(**expected));
    EXPECT_EQ((*result)->formatTitle(), (*expected)->formatTitle());
    EXPECT_EQ((*result)->files().size(), (*expected)->files().size());
}

INSTANTIATE_TEST_SUITE_P(Runs, ResumeTest,
                         ::testing::Values(Cut{2, 3, 2, 2}, Cut{2, 2, 2, 5}, Cut{1, 4, 1, 1}, Cut{1, 2, 3, 3}, Cut{3, 2, 3, 5}, Cut{3, 3, 2, 2}, Cut{3, 4, 1, 3}, Cut{2, 1, 3, 7}),
                         [](const auto& row) {
                             return fmt::format("Stage{}On{}ToStage{}On{}", row.param.stage, row.param.world, row.param.targetStage, row.param.targetWorld);
                         });

// An optimizer counts its steps in place: states that shared a counter would count for each other.
TEST_F(ConvertTest, EveryStateOfAResumedRunHasItsOwnStepCounter)
{
    ZeroTestRun run = someRun(3, 2);
    run.stepTensors = true;
    run.write(path("from"), "global_step1");
    const auto source = opened(path("from"));
    ASSERT_TRUE(source);
    ConvertRequest wanted = request("out", "deepspeed");
    wanted.source = path("from");
    wanted.dp = 3;
    ASSERT_EQ(convert(*source, wanted), "");
    const auto bytes = FileSource::open(path("out/global_step1/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"));
    ASSERT_TRUE(bytes) << bytes.error().text();
    JobContext job;
    const auto file = TorchFile::open(*bytes, job);
    ASSERT_TRUE(file) << file.error().text();
    const pickle::Value states = file->root().find("optimizer_state_dict").find("optimizer_state_dict").find("state");
    ASSERT_GT(states.size(), 2u);
    std::set<std::size_t> storages;
    for (std::size_t i = 0; i < states.size(); ++i) {
        const auto step = file->tensorOf(states.valueAt(i).find("step"));
        ASSERT_TRUE(step) << step.error().text();
        storages.insert(step->storage);
    }
    EXPECT_EQ(storages.size(), states.size());
}

// What the program does not interpret keeps its keys, its classes and its tensors; random states go from where they stand, and from there alone.
class ClientState : public ConvertTest {
protected:
    std::string resumed(std::vector<PyItem> state)
    {
        ZeroTestRun run = someRun(2, 2);
        run.clientState = std::move(state);
        run.write(path("from"), "global_step1");
        const auto source = opened(path("from"));
        if (!source)
            return source.error().text();
        ConvertRequest wanted = request("out", "deepspeed");
        wanted.source = path("from");
        wanted.dp = 3;
        return convert(*source, wanted);
    }
    pickle::Value result()
    {
        JobContext job;
        const auto bytes = FileSource::open(path("out/global_step1/mp_rank_00_model_states.pt"));
        EXPECT_TRUE(bytes);
        auto file = TorchFile::open(*bytes, job);
        EXPECT_TRUE(file);
        m_file.emplace(file.take());
        return m_file->root();
    }
    std::optional<TorchFile> m_file;
};

TEST_F(ClientState, KeepsKeysThatAreNoText)
{
    ASSERT_EQ(resumed({{Py{std::int64_t{7}}, Py{std::string("seven")}}, {Py{std::int64_t{8}}, Py{std::string("eight")}}}), "");
    const pickle::Value root = result();
    std::vector<std::string> found;
    for (std::size_t i = 0; i < root.size(); ++i)
        if (const auto key = root.keyAt(i).asInt())
            found.push_back(fmt::format("{} {}", *key, root.valueAt(i).asText().value_or("")));
    EXPECT_THAT(found, ElementsAre("7 seven", "8 eight"));
}

TEST_F(ClientState, LosesRandomStatesAndNothingElse)
{
    const Py history{std::vector<Py>{Py{std::int64_t{1}}, Py{std::int64_t{2}}}};
    ASSERT_EQ(resumed({{Py{std::string("trainer")}, pyDict({{"rng_state", history}, {"history", history}}, true)}}), "");
    const pickle::Value trainer = result().find("trainer");
    EXPECT_TRUE(trainer.isCallOf("collections", "OrderedDict"));
    EXPECT_FALSE(trainer.find("rng_state"));
    EXPECT_EQ(trainer.find("history").size(), 2u);
}

TEST_F(ClientState, NoTensorIsLostWithAnObject)
{
    const Py tensor{Py::Tensor{"BFloat16Storage", 0, 78, 0, {3}, {}}}; // of the first parameter's storage
    const Py object{Py::Call{{"my.project", "Buffer"}, {tensor}}};
    const Py random{std::vector<Py>{Py{std::int64_t{1}}}};
    for (const bool besideRandom : {false, true}) {
        std::filesystem::remove_all(path("from"));
        const Py trainer = besideRandom ? pyDict({{"rng_state", random}, {"replay", object}}) : pyDict({{"replay", object}});
        EXPECT_THAT(resumed({{Py{std::string("trainer")}, trainer}}), AllOf(HasSubstr("tensors of trainer lie in objects of unknown classes (my.project.Buffer)"), HasSubstr("--keep-objects")));
    }
}

class ResumeRefusals : public ConvertTest {
protected:
    std::string refusal()
    {
        const auto source = opened(path("from"));
        if (!source)
            return source.error().text();
        ConvertRequest wanted = request("out", "deepspeed");
        wanted.source = path("from");
        wanted.dp = 2;
        return convert(*source, wanted);
    }
};

TEST_F(ResumeRefusals, ARankThatIsMissing)
{
    someRun(2, 3).write(path("from"), "s");
    for (const auto& entry : std::filesystem::directory_iterator(path("from/s")))
        if (entry.path().filename().string().find("zero_pp_rank_1_") != std::string::npos)
            std::filesystem::remove(entry.path());
    EXPECT_THAT(refusal(), AllOf(HasSubstr("rank 1"), HasSubstr("nothing to resume from")));
    EXPECT_THAT(names(), ElementsAre("from"));
}

TEST_F(ResumeRefusals, TakesTheSourcesSizeAndStageWhereNoneIsAsked)
{
    someRun(3, 3).write(path("from"), "s");
    const auto source = opened(path("from"));
    ASSERT_TRUE(source);
    ConvertRequest wanted = request("out");
    wanted.source = path("from");
    wanted.to.reset(); // the source's own format
    ASSERT_EQ(convert(*source, wanted), "");
    const auto result = opened(path("out"));
    ASSERT_TRUE(result);
    EXPECT_EQ(piecesOf(**result), piecesOf(**source));
}

TEST_F(ResumeRefusals, ContentsArePlannedBeforeAPlaceIsChosen)
{
    someRun(2, 3).write(path("from"), "s");
    const auto source = opened(path("from"));
    ASSERT_TRUE(source);
    ConvertRequest wanted = request("out", "deepspeed");
    wanted.source = path("from");
    wanted.target = path("no/such/folder/out");
    wanted.dp = 2;
    wanted.zeroStage = 3;
    JobContext job;
    EXPECT_FALSE(planConversion(*source, wanted, job));
    const auto contents = planContents(*source, wanted, job);
    ASSERT_TRUE(contents) << contents.error().text();
    EXPECT_EQ(contents->layoutBefore, (TargetLayout{(*source)->formatTitle(), 3}));
    EXPECT_EQ(contents->layoutAfter, (TargetLayout{"DeepSpeed ZeRO-3", 2}));
    std::vector<std::string> files;
    for (const PlannedFile& file : contents->files)
        files.push_back(fmt::format("{} {}", file.rank ? std::to_string(*file.rank) : "-", file.name.substr(file.name.find('/') + 1)));
    EXPECT_THAT(files, ElementsAre("0 zero_pp_rank_0_mp_rank_00_model_states.pt", "1 zero_pp_rank_1_mp_rank_00_model_states.pt",
                                   "0 bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "1 bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt", "- latest"));
    wanted.target = path("made");
    const auto whole = planConversion(*source, wanted, job);
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole->bytesToWrite, contents->bytesToWrite);
}

TEST_F(ResumeRefusals, TheClassesThatAreLeftOutAreNamed)
{
    ZeroTestRun run = someRun(2, 2);
    run.unknownClass = "train.Config";
    run.write(path("from"), "s");
    const auto source = opened(path("from"));
    ASSERT_TRUE(source);
    ConvertRequest wanted = request("out", "deepspeed");
    wanted.source = path("from");
    JobContext job;
    EXPECT_EQ(planConversion(*source, wanted, job)->leftOut, "train.Config");
    wanted.keepObjects = true;
    EXPECT_EQ(planConversion(*source, wanted, job)->leftOut, "");
}

TEST_F(ResumeRefusals, ReplacesARunOnlyWhereAsked)
{
    someRun(2, 3).write(path("from"), "s");
    ASSERT_EQ(refusal(), "");
    EXPECT_THAT(refusal(), HasSubstr("it exists"));
    const auto source = opened(path("from"));
    ConvertRequest again = request("out", "deepspeed");
    again.source = path("from");
    again.dp = 4;
    again.overwrite = true;
    ASSERT_EQ(convert(*source, again), "");
    EXPECT_THAT(names(), ElementsAre("from", "out"));
    EXPECT_EQ((*opened(path("out")))->files().size(), 5u);
}

TEST_F(ResumeRefusals, ACancelAtAnyMomentLeavesNothing)
{
    someRun(2, 3).write(path("from"), "s");
    const auto source = opened(path("from"));
    ASSERT_TRUE(source);
    ConvertRequest wanted = request("out", "deepspeed");
    wanted.source = path("from");
    wanted.dp = 2;
    wanted.verify = true;
    const auto made = plan(*source, wanted);
    ASSERT_TRUE(made);
    std::size_t steps = 0;
    for (std::size_t stopAt = 0; stopAt < 200; ++stopAt) {
        std::stop_source stop;
        JobContext job(stop.get_token());
        steps = 0;
        ScriptedExecutor executor([&](std::size_t) {
            if (steps++ == stopAt)
                stop.request_stop();
        });
        const auto report = executePlan(*made, executor, job);
        if (report)
            break;
        EXPECT_EQ(report.error().code(), ErrorCode::Cancelled);
        EXPECT_THAT(names(), ElementsAre("from"));
    }
    EXPECT_GT(steps, 3u);
    EXPECT_THAT(names(), ElementsAre("from", "out"));
}

} // namespace
} // namespace shardlens::test
