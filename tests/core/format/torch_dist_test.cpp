#include "core/model/coverage.h"
#include "tests/core/format/format_fixture.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/torch_dist_test_run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

namespace shardlens::torch_dist {
namespace {

using test::DcpTestFolder;
using test::findingsOf;
using test::floatsOf;
using test::fullNamesOf;
using test::openPath;
using test::Py;
using test::pyDict;
using test::TemporaryFolder;
using test::TorchDistTestRun;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Kept = TorchDistTestRun::Optimizer;

// Every tensor of the run, read whole.
void expectAll(const CheckpointPtr& checkpoint, const TorchDistTestRun& run)
{
    const bool hasStates = run.optimizer != Kept::None;
    for (const TorchDistTestRun::Parameter& parameter : run.parameters()) {
        EXPECT_EQ(floatsOf(checkpoint, hasStates ? parameter.name + "/module" : parameter.name), TorchDistTestRun::whole(parameter, "")) << parameter.name;
        if (!hasStates)
            continue;
        EXPECT_EQ(floatsOf(checkpoint, parameter.name), TorchDistTestRun::whole(parameter, run.masterState)) << parameter.name;
        EXPECT_EQ(floatsOf(checkpoint, parameter.name + "/exp_avg"), TorchDistTestRun::whole(parameter, "exp_avg")) << parameter.name;
    }
    EXPECT_EQ(checkpoint->tensors().size(), run.parameters().size() * (hasStates ? 3 : 1));
}

CheckpointPtr opened(const TemporaryFolder& folder, const OpenOptions& options = {})
{
    auto out = openPath(folder.path().string(), options);
    EXPECT_TRUE(out.ok()) << out.error().text();
    return out ? *out : nullptr;
}

TEST(TorchDist, EveryGridOfAnyRunGivesTheSameModel)
{
    std::mt19937 random(20261126);
    const auto pick = [&](std::uint64_t from, std::uint64_t to) { return std::uniform_int_distribution<std::uint64_t>(from, to)(random); };
    for (int round = 0; round < 40; ++round) {
        TorchDistTestRun run;
        run.tp = pick(1, 3);
        run.dp = pick(1, 5);
        run.layers = pick(1, 4);
        run.hidden = 6 * pick(1, 2);
        run.ffn = 6 * pick(1, 2);
        run.vocabulary = 6 * pick(1, 3);
        run.experts = pick(0, 3);
        run.stacked = pick(0, 1) == 1;
        run.optimizer = static_cast<Kept>(pick(0, 2));
        run.masterState = pick(0, 1) == 1 ? "param" : "fp32_param";
        run.chain = pick(0, 2) == 0 ? "chained_1." : "";
        run.prefix = pick(0, 2) == 0 ? "model.module." : "";
        SCOPED_TRACE(fmt::format("round {}: tp {}, dp {}, {} layers, {} experts, {}, optimizer {}, '{}', '{}'", round, run.tp, run.dp, run.layers, run.experts, run.stacked ? "stacked" : "numbered",
                                 static_cast<int>(run.optimizer), run.chain, run.prefix));
        const TemporaryFolder folder;
        run.write(folder.path().string());
        const CheckpointPtr checkpoint = opened(folder);
        ASSERT_TRUE(checkpoint);
        EXPECT_EQ(checkpoint->formatId(), "torch-dist");
        EXPECT_THAT(findingsOf(*checkpoint), IsEmpty());
        expectAll(checkpoint, run);
    }
}

TEST(TorchDist, ParametersStandInTheOrderOfTheModel)
{
    const TemporaryFolder folder;
    TorchDistTestRun run;
    run.layers = 2;
    run.write(folder.path().string());
    std::vector<std::string> wanted;
    for (const TorchDistTestRun::Parameter& parameter : run.parameters())
        wanted.push_back(parameter.name);
    EXPECT_EQ(opened(folder)->parameters(), wanted);
}

// One chunk of all layers, as tools that convert write it.
TEST(TorchDist, AStackMayBeOneChunk)
{
    const TemporaryFolder folder;
    DcpTestFolder container;
    std::vector<float> values;
    for (int i = 0; i < 24; ++i)
        values.push_back(static_cast<float>(i));
    container.tensors.push_back({"decoder.layers.mlp.linear_fc2.weight", {2, 3, 4}, {{{0, 0, 0}, {2, 3, 4}, values, 0}}});
    container.write(folder.file("iter_0000001"));
    TorchDistTestRun::writeBeside(folder.file("iter_0000001"), {});
    const CheckpointPtr checkpoint = opened(folder);
    ASSERT_TRUE(checkpoint);
    EXPECT_EQ(floatsOf(checkpoint, "decoder.layers.1.mlp.linear_fc2.weight"), std::vector<float>(values.begin() + 12, values.end()));
}

// Mamba's projections and gate and up of single experts are stored in parts.
TEST(TorchDist, PartsAreJoinedInTheirOrder)
{
    const TemporaryFolder folder;
    DcpTestFolder container;
    const auto add = [&](const std::string& key, float first) { container.tensors.push_back({key, {2, 1}, {{{0, 0}, {2, 1}, {first, first + 1}, 0}}}); };
    add("decoder.layers.0.mixer.in_proj.weight.dt", 9);
    for (const auto& [part, first] : {std::pair{"B", 5.0F}, {"z", 1.0F}, {"x", 3.0F}, {"C", 7.0F}})
        add(std::string("decoder.layers.0.mixer.in_proj.weight.") + part, first);
    add("decoder.layers.1.mlp.experts.experts.4.linear_fc1.weight_v", 22);
    add("decoder.layers.1.mlp.experts.experts.4.linear_fc1.weight_w", 20);
    add("decoder.layers.2.mlp.experts.experts.4.linear_fc1.weight_w", 30); // without the other half
    container.write(folder.file("iter_0000001"));
    TorchDistTestRun::writeBeside(folder.file("iter_0000001"), {});
    const CheckpointPtr checkpoint = opened(folder);
    ASSERT_TRUE(checkpoint);
    EXPECT_THAT(floatsOf(checkpoint, "decoder.layers.0.mixer.in_proj.weight"), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
    EXPECT_THAT(floatsOf(checkpoint, "decoder.layers.1.mlp.experts.experts.4.linear_fc1.weight"), ElementsAre(20, 21, 22, 23));
    EXPECT_THAT(floatsOf(checkpoint, "decoder.layers.2.mlp.experts.experts.4.linear_fc1.weight_w"), ElementsAre(30, 31));
}

TEST(TorchDist, AStepThatIsKeptOnceStandsUnderEveryParameter)
{
    const auto stepsOf = [](std::vector<std::pair<std::string, Py>> common, std::vector<DcpTestFolder::Object> objects = {}) {
        const TemporaryFolder folder;
        TorchDistTestRun run;
        run.optimizer = Kept::Whole;
        DcpTestFolder container = run.container();
        container.objects = std::move(objects);
        container.write(folder.file("iter_0000005"));
        TorchDistTestRun::writeBeside(folder.file("iter_0000005"), std::move(common));
        std::size_t steps = 0;
        for (const std::string& name : fullNamesOf(*opened(folder)))
            steps += name.ends_with("/step") ? 1 : 0;
        return steps;
    };
    const auto group = [](std::int64_t step) { return pyDict({{"lr", Py{0.5}}, {"step", Py{step}}}); };
    const auto groups = [&](std::vector<Py> all) { return pyDict({{"param_groups", Py{std::move(all)}}}); };
    const std::size_t all = TorchDistTestRun{}.parameters().size();
    EXPECT_EQ(stepsOf({}), 0u);
    EXPECT_EQ(stepsOf({{"optimizer", pyDict({{"optimizer", groups({group(7), group(7)})}})}}), all);
    EXPECT_EQ(stepsOf({{"optimizer", pyDict({{"optimizer", groups({group(7), group(8)})}})}}), 0u) << "which parameters a group has is not known";
    EXPECT_EQ(stepsOf({{"optimizer", pyDict({{"state", pyDict({{"common_step", Py{std::int64_t{7}}}})}, {"param_groups", Py{std::vector<Py>{pyDict({})}}}})}}), all);
    EXPECT_EQ(stepsOf({}, {{"optimizer.distributed.dp_group_idx_0.optimizer/shard_0_1", Py{std::vector<Py>{groups({group(9)})}}}}), all);
}

TEST(TorchDist, WhatIsNotShardedComesFromTheFileOrTheContainer)
{
    const Py args = pyDict({{"num_layers", Py{std::int64_t{3}}}, {"tensor_model_parallel_size", Py{std::int64_t{2}}}, {"gated_linear_unit", Py{true}}});
    const Py entry{std::vector<Py>{pyDict({{"args", pyDict({{"num_layers", Py{std::int64_t{99}}}})}, {"iteration", Py{std::int64_t{6}}}})}};
    const TorchDistTestRun run;
    DcpTestFolder container = run.container();
    container.objects.push_back({"common_state/shard_0_1", entry});
    const TemporaryFolder both;
    container.write(both.file("iter_0000005"));
    TorchDistTestRun::writeBeside(both.file("iter_0000005"), {{"args", args}});
    const CheckpointPtr fromFile = opened(both);
    EXPECT_EQ(fromFile->modelFacts().at("num_layers"), "3");
    EXPECT_EQ(fromFile->modelFacts().at("swiglu"), "true");
    EXPECT_THAT(findingsOf(*fromFile), ElementsAre(HasSubstr("common-twice: common.pt lies beside an entry common_state")));

    const TemporaryFolder newer;
    container.write(newer.file("iter_0000005"));
    TorchDistTestRun::writeBeside(newer.file("iter_0000005"), {});
    std::filesystem::remove(newer.file("iter_0000005/common.pt"));
    const CheckpointPtr fromEntry = opened(newer);
    EXPECT_EQ(fromEntry->modelFacts().at("iteration"), "6");
    EXPECT_THAT(findingsOf(*fromEntry), ElementsAre(HasSubstr("layer-count: The arguments say 99 layers, and the stacks hold 3")));
}

TEST(TorchDist, OneOfSeveralIterationsIsChosenByTheTracker)
{
    const TemporaryFolder folder;
    const TorchDistTestRun run;
    run.write(folder.path().string());
    std::filesystem::copy(folder.file("iter_0000005"), folder.file("iter_0000009"));
    EXPECT_EQ(opened(folder)->subtitle(), "iter_0000005");
    EXPECT_EQ(opened(folder, {.tag = "iter_0000009"})->subtitle(), "iter_0000009");
    for (const char* inside : {"iter_0000009", "iter_0000009/.metadata", "iter_0000009/__1_0.distcp", "iter_0000009/metadata.json", "latest_checkpointed_iteration.txt"}) {
        const auto one = openPath(folder.file(inside));
        ASSERT_TRUE(one.ok()) << inside << ": " << one.error().text();
        EXPECT_EQ((*one)->formatId(), "torch-dist") << inside;
    }
}

TEST(TorchDist, BuffersOfAnOptimizerAreShownAndNotTakenForStates)
{
    const TemporaryFolder folder;
    const TorchDistTestRun run;
    DcpTestFolder container = run.container();
    const std::string key = "chained_0.optimizer.distributed.dp_group_idx_0.gbuf_idx_0.dtype_(torch.bfloat16, torch.float32).bucket_idx_0.exp_avg";
    container.tensors.push_back({key, {4}, {{{0}, {4}, {1, 2, 3, 4}, 0}}});
    container.write(folder.file("iter_0000005"));
    TorchDistTestRun::writeBeside(folder.file("iter_0000005"), {{"args", pyDict({{"tensor_model_parallel_size", Py{std::int64_t{2}}}, {"pipeline_model_parallel_size", Py{std::int64_t{4}}}})},
                                                               {"content_metadata", pyDict({{"distrib_optim_sharding_type", Py{std::string("dp_reshardable")}}})}});
    const CheckpointPtr checkpoint = opened(folder);
    ASSERT_TRUE(checkpoint);
    EXPECT_THAT(floatsOf(checkpoint, key), ElementsAre(1, 2, 3, 4));
    EXPECT_EQ(checkpoint->roleOf(test::tensorNamed(*checkpoint, key)).kind, RoleKind::Other);
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(HasSubstr("optimizer-in-buffers: The optimizer's state lies in 1 buffer of the data-parallel groups (dp_reshardable): it is tied to TP=2, PP=4.")));
}

TEST(TorchDist, OldFlattenedStatesWithoutShapesAreLostAndTheModelIsNot)
{
    const TemporaryFolder folder;
    TorchDistTestRun run;
    run.optimizer = Kept::Flattened;
    run.saysShapes = false;
    run.write(folder.path().string());
    const CheckpointPtr checkpoint = opened(folder);
    ASSERT_TRUE(checkpoint);
    EXPECT_THAT(findingsOf(*checkpoint), Contains(HasSubstr("optimizer tensors are flattened and their original shape is not recorded")));
    for (const TorchDistTestRun::Parameter& parameter : run.parameters())
        EXPECT_EQ(floatsOf(checkpoint, parameter.name), TorchDistTestRun::whole(parameter, ""));
}

// The earliest form: all elements in one row.
TEST(TorchDist, AStateInOneRowHasTheShapeOfItsParameter)
{
    const TemporaryFolder folder;
    DcpTestFolder container;
    container.tensors.push_back({"decoder.layers.mlp.linear_fc2.weight", {2, 1, 3}, {{{0, 0, 0}, {2, 1, 3}, {1, 2, 3, 4, 5, 6}, 0}}});
    container.tensors.push_back({"optimizer.state.exp_avg.decoder.layers.mlp.linear_fc2.weight", {6}, {{{0}, {4}, {10, 20, 30, 40}, 0}, {{4}, {2}, {50, 60}, 0}}});
    container.write(folder.file("iter_0000001"));
    TorchDistTestRun::writeBeside(folder.file("iter_0000001"), {});
    const CheckpointPtr checkpoint = opened(folder);
    ASSERT_TRUE(checkpoint);
    EXPECT_THAT(floatsOf(checkpoint, "decoder.layers.0.mlp.linear_fc2.weight/exp_avg"), ElementsAre(10, 20, 30));
    EXPECT_THAT(floatsOf(checkpoint, "decoder.layers.1.mlp.linear_fc2.weight/exp_avg"), ElementsAre(40, 50, 60));
}

TEST(TorchDist, AStackOfAnotherLengthStaysOneTensor)
{
    const TemporaryFolder folder;
    DcpTestFolder container = TorchDistTestRun{}.container();
    container.tensors.push_back({"decoder.layers.odd.weight", {2, 2}, {{{0, 0}, {2, 2}, {1, 2, 3, 4}, 0}}});
    container.write(folder.file("iter_0000005"));
    TorchDistTestRun::writeBeside(folder.file("iter_0000005"), {});
    const CheckpointPtr checkpoint = opened(folder);
    EXPECT_THAT(floatsOf(checkpoint, "decoder.layers.odd.weight"), ElementsAre(1, 2, 3, 4));
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(HasSubstr("decoder.layers.odd.weight has the shape [2, 2], and the other stacks of decoder.layers. have 3 layers")));
}

} // namespace
} // namespace shardlens::torch_dist
