#include "core/encoding/torch_file.h"
#include "tests/core/convert/convert_fixture.h"
#include "tests/support/moe_test_run.h"
#include "tests/support/universal_test_run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <optional>

// Universal checkpoints of ZeRO runs, against the same written by the test writer, and through them into another run.
namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ZeroTestRun runToShare(int stage)
{
    ZeroTestRun run;
    run.parameters = {{"embed.weight", {13, 6}, 0}, {"norm.weight", {7}, 1}, {"up.weight", {11, 6}, 0}, {"up.bias", {11}, 1}, {"one", {1}, 1}};
    run.stage = stage;
    run.world = 3;
    run.subGroupSize = 20;
    run.alignParameters = stage == 2;
    return run;
}

std::optional<TorchFile> torchAt(const std::string& path)
{
    const auto bytes = FileSource::open(path);
    EXPECT_TRUE(bytes.ok()) << path;
    if (!bytes)
        return std::nullopt;
    JobContext job;
    auto file = TorchFile::open(*bytes, job);
    EXPECT_TRUE(file.ok()) << path;
    return file ? std::optional(file.take()) : std::nullopt;
}

class ToUniversal : public ConvertTest {
protected:
    std::string convertTo(const std::string& from, const std::string& target, const std::string& to, std::optional<std::uint32_t> dp = {}, std::optional<std::uint32_t> stage = {})
    {
        JobContext job;
        const auto source = openCheckpoint(path(from), {}, job);
        if (!source)
            return source.error().text();
        ConvertRequest wanted = request(target, to);
        wanted.source = path(from);
        wanted.dp = dp;
        wanted.zeroStage = stage;
        wanted.verify = true; // every value is read back and compared
        return convert(*source, wanted);
    }
};

class ToUniversalStages : public ToUniversal, public ::testing::WithParamInterface<int> {};

TEST_P(ToUniversalStages, IsWhatTheConverterOfDeepSpeedWrites)
{
    const ZeroTestRun run = runToShare(GetParam());
    run.write(path("from"), "t");
    writeUniversal(run, path("wanted"), "t");
    ASSERT_EQ(convertTo("from", "out", "universal"), "");
    EXPECT_EQ(contentsOf(path("out")), contentsOf(path("wanted")));
    std::vector<std::string> made;
    std::vector<std::string> expected;
    for (const auto& [root, into] : {std::pair{path("out"), &made}, std::pair{path("wanted"), &expected}}) {
        for (const auto& entry : std::filesystem::recursive_directory_iterator(root))
            into->push_back(entry.path().string().substr(root.size()));
        std::sort(into->begin(), into->end());
    }
    EXPECT_EQ(made, expected);
    EXPECT_EQ(readText(path("out/latest_universal")), "t");
}

TEST_P(ToUniversalStages, GivesTheRunBackAtAnotherSize)
{
    ZeroTestRun run = runToShare(GetParam());
    run.write(path("from"), "t");
    ASSERT_EQ(convertTo("from", "universal", "universal"), "");
    ASSERT_EQ(convertTo("universal", "again", "deepspeed", 2u), "");
    run.world = 2;
    run.write(path("wanted"), "t");
    EXPECT_EQ(contentsOf(path("again")), contentsOf(path("wanted")));
}

INSTANTIATE_TEST_SUITE_P(Stages, ToUniversalStages, ::testing::Values(1, 2, 3), [](const auto& row) { return fmt::format("Stage{}", row.param); });

TEST_F(ToUniversal, EntriesSayHowTheyAreCut)
{
    ZeroTestRun run;
    run.parameters = {{"0.word.weight", {6, 2}, 0}, {"1.norm.weight", {2}, 0}, {"1.dense.weight", {2, 4}, 0}, {"1.gate.weight", {8, 2}, 0}, {"1.up.weight", {4, 2}, 0}};
    const auto list = [](const char* pattern) { return Py{std::vector<Py>{Py{std::string(pattern)}}}; };
    run.clientState.emplace_back(Py{std::string("universal_checkpoint_info")},
                                 pyDict({{"tp_replicated_parameter_patterns", list(R"(\d+.norm.weight)")}, {"parameter_with_row_parallelism_patterns", list(R"(\d+.dense.weight)")},
                                         {"parameter_with_2_sub_params_cat_dim_0", list(R"(\d+.gate.weight)")}, {"vocabulary_parameter_patterns", list("0.word")}}));
    run.write(path("from"), "t");
    ASSERT_EQ(convertTo("from", "out", "universal"), "");
    const auto member = [&](const std::string& parameter, const char* key) {
        const auto file = torchAt(path("out/t/zero/" + parameter + "/fp32.pt"));
        return file ? file->root().find(key).asInt() : std::nullopt;
    };
    EXPECT_EQ(member("1.up.weight", "cat_dim"), 0);
    EXPECT_EQ(member("1.dense.weight", "cat_dim"), 1);
    EXPECT_EQ(member("1.norm.weight", "cat_dim"), std::nullopt);
    EXPECT_EQ(member("1.gate.weight", "param_n_sub_params"), 2);
    const auto word = torchAt(path("out/t/zero/0.word.weight/exp_avg.pt"));
    ASSERT_TRUE(word);
    EXPECT_EQ(word->root().find("vocab_tensor").asBool(), true);
}

Py numberTuple(std::initializer_list<std::int64_t> values)
{
    Py::Tuple out;
    for (const std::int64_t value : values)
        out.items.push_back(Py{value});
    return Py{std::move(out)};
}

TEST_F(ToUniversal, SubParametersKeepTheirWidths)
{
    ZeroTestRun run;
    run.parameters = {{"1.qkv.weight", {8, 2}, 0}, {"1.old.weight", {6, 2}, 0}, {"1.bad.weight", {6, 2}, 0}};
    const auto row = [](const char* pattern, Py extent, std::int64_t other) {
        return pyDict({{"patterns", Py{std::vector<Py>{Py{std::string(pattern)}}}}, {"shape", Py{Py::Tuple{{std::move(extent), Py{other}}}}}, {"partition_dim", Py{std::int64_t{0}}}});
    };
    const auto info = [&](std::vector<Py> rows) { return pyDict({{"parameter_with_sub_params", Py{std::move(rows)}}}); };
    run.clientState.emplace_back(Py{std::string("universal_checkpoint_info")}, info({row(R"(\d+.qkv)", numberTuple({4, 2, 2}), -1), row(R"(\d+.old)", Py{std::int64_t{3}}, 2)}));
    run.write(path("from"), "t");
    ASSERT_EQ(convertTo("from", "out", "universal"), "");
    const auto widthsOf = [&](const std::string& parameter) {
        std::vector<std::int64_t> out;
        const auto file = torchAt(path("out/t/zero/" + parameter + "/exp_avg.pt"));
        if (!file)
            return out;
        const pickle::Value object = file->root().find("sub_param_shape");
        EXPECT_FALSE(file->root().find("cat_dim"));
        EXPECT_EQ(object.attribute("partition_dim").asInt(), 0);
        EXPECT_EQ(object.attribute("patterns").size(), 1u);
        const pickle::Value shape = object.attribute("shape");
        for (std::size_t i = 0; i < shape.at(0).size(); ++i)
            out.push_back(shape.at(0).at(i).asInt().value_or(-7));
        out.push_back(shape.at(1).asInt().value_or(-7));
        return out;
    };
    EXPECT_THAT(widthsOf("1.qkv.weight"), ElementsAre(4, 2, 2, -1));
    EXPECT_THAT(widthsOf("1.old.weight"), ElementsAre(2, 2, 2, 2)); // a number, before version 0.4: equal parts

    const auto refusal = [&](std::vector<Py> rows) {
        run.clientState.front().second = info(std::move(rows));
        run.write(path("from"), "t");
        return convertTo("from", "refused", "universal");
    };
    for (const Py& bad : {row(R"(\d+.bad)", numberTuple({4, 1}), -1), row(R"(\d+.bad)", Py{std::int64_t{4}}, -1), row(R"(\d+.bad)", numberTuple({3, 3}), 5),
                          row(R"(\d+.bad)", numberTuple({INT64_MAX, INT64_MAX, 8}), -1),
                          pyDict({{"patterns", Py{std::vector<Py>{Py{std::string(R"(\d+.bad)")}}}}})})
        EXPECT_THAT(refusal({bad}), HasSubstr("1.bad.weight: its entry in parameter_with_sub_params does not describe the shape [6, 2]"));
    EXPECT_FALSE(std::filesystem::exists(path("refused")));
}

TEST_F(ToUniversal, APatternThatDoesNotCompileIsRefused)
{
    ZeroTestRun run;
    run.parameters = {{"1.qkv.weight", {6, 2}, 0}};
    run.clientState.emplace_back(Py{std::string("universal_checkpoint_info")}, pyDict({{"tp_replicated_parameter_patterns", Py{std::vector<Py>{Py{std::string("(")}}}}}));
    run.write(path("from"), "t");
    EXPECT_THAT(convertTo("from", "out", "universal"), AllOf(HasSubstr("universal_checkpoint_info"), HasSubstr("pattern (")));
}

TEST_F(ToUniversal, NamesThatLeadOutOfTheFolderAreRefused)
{
    for (const std::string& name : std::vector<std::string>{"../../evil", "/evil", "a//b", "a/.", std::string(300, 'x')}) {
        ZeroTestRun run;
        run.parameters = {{name, {4}, 0}};
        run.write(path("from"), "t");
        EXPECT_THAT(convertTo("from", "out", "universal"), HasSubstr("cannot be a folder's name")) << name;
    }
    ZeroTestRun run;
    run.parameters = {{"a/b", {4}, 0}};
    run.write(path("from"), "t");
    EXPECT_EQ(convertTo("from", "out", "universal"), "");
    EXPECT_TRUE(std::filesystem::exists(path("out/t/zero/a/b/fp32.pt")));
}

TEST_F(ToUniversal, OptionsOfARunAreRefused)
{
    runToShare(2).write(path("from"), "t");
    EXPECT_THAT(convertTo("from", "out", "universal", 2u), HasSubstr("--dp means nothing"));
    EXPECT_THAT(convertTo("from", "out", "universal", {}, 3u), HasSubstr("--zero-stage means nothing"));
}

TEST_F(ToUniversal, ExpertsAreRefused)
{
    MoeTestRun{}.write(path("from"), "t");
    EXPECT_THAT(convertTo("from", "out", "universal"), HasSubstr("experts"));
}

TEST_F(ToUniversal, ALostRankStopsIt)
{
    runToShare(2).write(path("from"), "t");
    std::filesystem::remove(path("from/t/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"));
    EXPECT_THAT(convertTo("from", "out", "universal"), HasSubstr("rank 1"));
    EXPECT_FALSE(std::filesystem::exists(path("out")));
}

// Of several model files the first is harmed, and no settings of the optimizer say of what stage the run is.
TEST_F(ToUniversal, AHarmedModelFileAmongSeveralStopsWhatIsMadeOfIt)
{
    writeUniversal(runToShare(2), path("from"), "t");
    std::filesystem::copy(path("from/t/mp_rank_00_model_states.pt"), path("from/t/mp_rank_01_model_states.pt"));
    std::filesystem::resize_file(path("from/t/mp_rank_00_model_states.pt"), 10);
    std::filesystem::remove(path("from/t/zero/optimizer_state.pt"));
    EXPECT_THAT(convertTo("from", "out", "deepspeed"), AllOf(HasSubstr("mp_rank_00_model_states.pt cannot be read"), HasSubstr("nothing to resume")));
    std::filesystem::remove(path("from/t/mp_rank_00_model_states.pt"));
    EXPECT_THAT(convertTo("from", "out", "deepspeed"), HasSubstr("nothing to resume"));
    EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(ToUniversal, UnknownObjectsAreLeftOutOrKept)
{
    ZeroTestRun run = runToShare(2);
    run.unknownClass = "train.Config";
    run.write(path("from"), "t");
    JobContext job;
    const auto source = openCheckpoint(path("from"), {}, job);
    ASSERT_TRUE(source);
    ConvertRequest wanted = request("out", "universal");
    wanted.source = path("from");
    const auto lines = planLinesOf(*source, wanted);
    EXPECT_THAT(lines, Contains(HasSubstr("train.Config")));
    wanted.keepObjects = true;
    ASSERT_EQ(convert(*source, wanted), "");
    const auto model = torchAt(path("out/t/mp_rank_00_model_states.pt"));
    ASSERT_TRUE(model);
    EXPECT_TRUE(model->root().find("client").isCallOf("train", "Config"));
}

} // namespace
} // namespace shardlens::test
