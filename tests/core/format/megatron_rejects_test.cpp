#include "tests/core/format/format_fixture.h"
#include "tests/support/megatron_test_run.h"
#include "tests/support/rank_test_file.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace shardlens::megatron {
namespace {

using test::findingsOf;
using test::floatsOf;
using test::fullNamesOf;
using test::MegatronTestRun;
using test::openPath;
using test::Py;
using test::pyDict;
using test::TemporaryFolder;
using test::TestTensor;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Kept = MegatronTestRun::Optimizer;

std::string replacedAll(std::string text, const std::vector<std::pair<std::string, std::string>>& words)
{
    for (const auto& [from, to] : words)
        if (const std::size_t at = text.find(from); at != std::string::npos)
            text.replace(at, from.size(), to);
    return text;
}

Py* memberNamed(Py& dict, const std::string& key)
{
    for (auto& [name, value] : std::get<Py::Dict>(dict.value).items)
        if (const auto* text = std::get_if<std::string>(&name.value); text != nullptr && *text == key)
            return &value;
    return nullptr;
}

// A run of megatron.model before versions were counted: one attention matrix a layer whose rows are [part, head].
MegatronTestRun runOfVersionZero(Kept kind)
{
    MegatronTestRun out;
    out.optimizer = kind;
    out.arguments = {{"num_attention_heads", Py{std::int64_t{2}}}};
    out.change = [](const std::string& file, Py& root) {
        if (!file.ends_with("model_optim_rng.pt"))
            return;
        *memberNamed(root, "checkpoint_version") = Py{std::int64_t{0}};
        for (auto& [name, value] : std::get<Py::Dict>(memberNamed(root, "model")->value).items)
            name = Py{replacedAll(std::get<std::string>(name.value), {{"decoder.", "language_model.encoder."},
                                                                      {"embedding.word", "language_model.embedding.word"},
                                                                      {"output_layer", "language_model.output_layer"},
                                                                      {"linear_proj", "query_key_value"},
                                                                      {"linear_fc1", "dense_h_to_4h"},
                                                                      {"linear_fc2", "dense_4h_to_h"}})};
    };
    return out;
}

class VersionZero : public testing::TestWithParam<Kept> {};

// Rows q0 q1 k0 k1 v0 v1 become q0 k0 v0 q1 k1 v1, in the states as in the model; a step is one number and has no rows.
TEST_P(VersionZero, OrdersTheRowsOfStatesToo)
{
    const TemporaryFolder folder;
    const MegatronTestRun run = runOfVersionZero(GetParam());
    run.write(folder.path().string());
    const auto opened = openPath(folder.path().string());
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
    const auto parameters = run.parameters();
    const auto matrix = std::find_if(parameters.begin(), parameters.end(), [](const auto& one) { return one.name.ends_with("linear_proj.weight"); });
    const std::string name = "language_model.encoder.layers.0.self_attention.query_key_value.weight";
    for (const char* state : {"module", "exp_avg", "exp_avg_sq"}) {
        const auto stored = MegatronTestRun::whole(*matrix, state);
        std::vector<float> ordered;
        for (const std::size_t row : {0, 2, 4, 1, 3, 5})
            ordered.insert(ordered.end(), stored.begin() + static_cast<std::ptrdiff_t>(row * 6), stored.begin() + static_cast<std::ptrdiff_t>(row * 6 + 6));
        const bool isOnly = state == std::string("module") && GetParam() == Kept::Plain;
        EXPECT_EQ(floatsOf(*opened, isOnly ? name : name + "/" + state), ordered) << state;
    }
    if (GetParam() == Kept::Plain) {
        EXPECT_THAT(fullNamesOf(**opened), Contains(name + "/step"));
    }
}

INSTANTIATE_TEST_SUITE_P(Megatron, VersionZero, testing::Values(Kept::Plain, Kept::Coalesced),
                         [](const auto& info) { return std::string(info.param == Kept::Plain ? "Plain" : "Coalesced"); });

// Files of one rank with arguments of their own.
class MegatronRejects : public testing::Test {
protected:
    using Arguments = std::vector<std::pair<std::string, Py>>;

    void write(const std::vector<TestTensor>& tensors, Arguments arguments, const std::string& rank = "mp_rank_00") const
    {
        test::writeRankFile(m_folder.file("iter_0000007/" + rank + "/model_optim_rng.pt"), "model", tensors,
                            {{"args", pyDict(std::move(arguments))}, {"checkpoint_version", Py{3.0}}, {"iteration", Py{std::int64_t{7}}}});
        test::writeText(m_folder.file("latest_checkpointed_iteration.txt"), "7");
    }
    Result<CheckpointPtr> open() const { return openPath(m_folder.path().string()); }
    std::string problem() const
    {
        const auto opened = open();
        return opened ? "opened" : opened.error().text();
    }

    TemporaryFolder m_folder;
};

TEST_F(MegatronRejects, GroupedExpertsWithoutElementsAreNotTakenApart)
{
    write({{"decoder.layers.0.mlp.experts.weight1", {0, 0}, {}}}, {{"num_experts", Py{std::int64_t{1} << 20}}});
    const auto columns = open();
    ASSERT_TRUE(columns) << columns.error().text();
    EXPECT_THAT(findingsOf(**columns), ElementsAre(HasSubstr("is one tensor of all experts and is shown as it is: [0, 0] holds no elements.")));
    EXPECT_THAT(fullNamesOf(**columns), ElementsAre("decoder.layers.0.mlp.experts.weight1"));
    write({{"decoder.layers.0.mlp.experts.linear_fc1.weight", {1u << 20, 3, 0}, {}}}, {});
    const auto stack = open();
    ASSERT_TRUE(stack) << stack.error().text();
    EXPECT_THAT(findingsOf(**stack), ElementsAre(HasSubstr("[1048576, 3, 0] holds no elements.")));
}

struct ExpertArgument {
    const char* name;
    const char* parameter;
    const char* argument;
    Py value;
    const char* says;
};

class ExpertArguments : public MegatronRejects, public testing::WithParamInterface<ExpertArgument> {};

TEST_P(ExpertArguments, ThatMeanAnotherLayoutAreRefusedByName)
{
    const auto& row = GetParam();
    for (const char* rank : {"mp_rank_00", "mp_rank_01"})
        write({{row.parameter, {2, 1}, {1, 2}}}, {{"tensor_model_parallel_size", Py{std::int64_t{2}}}, {row.argument, row.value}}, rank);
    EXPECT_THAT(problem(), HasSubstr(row.says));
}

constexpr const char* kExpert = "decoder.layers.0.mlp.experts.local_experts.0.linear_fc1.weight";
constexpr const char* kShared = "decoder.layers.0.mlp.shared_experts.linear_fc1.weight";
constexpr const char* kDense = "decoder.layers.0.mlp.linear_fc1.weight";

INSTANTIATE_TEST_SUITE_P(
    Megatron, ExpertArguments,
    testing::Values(ExpertArgument{"OtherTensorParallel", kExpert, "expert_tensor_parallel_size", Py{std::int64_t{1}},
                                   "expert_tensor_parallel_size is 1, and tensor_model_parallel_size 2: experts that are cut otherwise than the rest of the model are not read"},
                    ExpertArgument{"GroupedOtherTensorParallel", "decoder.layers.0.mlp.experts.weight1", "expert_tensor_parallel_size", Py{std::int64_t{4}},
                                   "expert_tensor_parallel_size is 4"},
                    ExpertArgument{"SameTensorParallel", kExpert, "expert_tensor_parallel_size", Py{std::int64_t{2}}, "opened"},
                    ExpertArgument{"NoTensorParallelOfExperts", kExpert, "expert_tensor_parallel_size", Py{}, "opened"},
                    ExpertArgument{"OtherTensorParallelWithoutExperts", kDense, "expert_tensor_parallel_size", Py{std::int64_t{1}}, "opened"},
                    ExpertArgument{"Interleaved", kExpert, "moe_mlp_glu_interleave_size", Py{std::int64_t{32}},
                                   "moe_mlp_glu_interleave_size is 32: rows of gate and up that alternate in blocks are not read"},
                    ExpertArgument{"InterleavedByNothing", kExpert, "moe_mlp_glu_interleave_size", Py{std::int64_t{0}}, "opened"},
                    ExpertArgument{"NotInterleaved", kExpert, "moe_mlp_glu_interleave_size", Py{}, "opened"},
                    ExpertArgument{"InterleavedSharedExpert", kShared, "moe_shared_expert_glu_interleave_size", Py{std::int64_t{8}},
                                   "moe_shared_expert_glu_interleave_size is 8: "}),
    [](const auto& info) { return info.param.name; });

TEST_F(MegatronRejects, LayerWiseOptimizersAreALossByName)
{
    write({{"decoder.final_layernorm.weight", {2}, {1, 2}}}, {});
    for (const char* name : {"layer_wise_optimizer_0.pt", "layer_wise_optimizer_12.pt", "layer_wise_optimizer_.pt", "layer_wise_optimizer_a.pt"})
        test::writeText(m_folder.file("iter_0000007/mp_rank_00/") + name, "x");
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), ElementsAre("optimizer-not-read: mp_rank_00/layer_wise_optimizer_0.pt and 1 more: which layers each file of a layer-wise "
                                                  "optimizer owns is not known, so its states are not read; the model is."));
    ASSERT_EQ((*opened)->lostTensors().size(), 1u);
    EXPECT_EQ((*opened)->lostTensors().front().role, RoleKind::OptimizerState);
    EXPECT_THAT(floatsOf(*opened, "decoder.final_layernorm.weight"), ElementsAre(1, 2));
}

// distrib_optim.pt of a run of one rank, changed before it is written; what the checkpoint then says.
std::vector<std::string> findingsWith(MegatronTestRun run, const std::function<void(Py::Dict& root)>& change, CheckpointPtr* opened = nullptr)
{
    const TemporaryFolder folder;
    run.change = [&](const std::string& file, Py& root) {
        if (file.ends_with("distrib_optim.pt"))
            change(std::get<Py::Dict>(root.value));
    };
    run.write(folder.path().string());
    const auto checkpoint = openPath(folder.path().string());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().text();
    if (opened != nullptr && checkpoint)
        *opened = *checkpoint;
    return checkpoint ? findingsOf(**checkpoint) : std::vector<std::string>{};
}

TEST(MegatronFlatStates, OfManyBuffersThatAreNoneTheFirstFewAreSaid)
{
    const auto findings = findingsWith({}, [](Py::Dict& root) {
        Py::Dict many;
        for (std::int64_t i = 0; i < 60'000; ++i)
            many.items.emplace_back(Py{i}, Py{std::int64_t{5}});
        root.items.back().second = Py{many};
    });
    EXPECT_EQ(std::count_if(findings.begin(), findings.end(), [](const std::string& one) { return one.starts_with("optimizer-not-read: "); }), 9);
    EXPECT_THAT(findings, Contains(HasSubstr("buffer 0 (?): the model has no parameters for it")));
    EXPECT_THAT(findings, Contains(HasSubstr("mp_rank_00/distrib_optim.pt: 59,992 buffers behind these are not looked at.")));
}

MegatronTestRun runWithChunks()
{
    MegatronTestRun out;
    out.pp = 2;
    out.chunks = 2;
    out.layers = 4;
    return out;
}

// Buffers are numbered through: what is left of those of two chunks may be of either.
TEST(MegatronFlatStates, NumbersWithAGapSayNothingAboutTheOthers)
{
    CheckpointPtr opened;
    const auto findings = findingsWith(runWithChunks(), [](Py::Dict& root) { root.items.pop_back(); }, &opened);
    EXPECT_THAT(findings, ElementsAre("optimizer-not-read: mp_rank_00_000/distrib_optim.pt: it has 1 buffer, and the chunks of the model need 2: which one is whose cannot be told.",
                                      "optimizer-not-read: mp_rank_00_001/distrib_optim.pt: it has 1 buffer, and the chunks of the model need 2: which one is whose cannot be told."));
    EXPECT_THAT(fullNamesOf(*opened), Not(Contains(HasSubstr("exp_avg"))));
}

// The content of buffer `number`.
Py::Dict& bufferAt(Py::Dict& root, std::int64_t number)
{
    for (auto& [key, value] : root.items)
        if (const auto* index = std::get_if<std::int64_t>(&key.value); index != nullptr && *index == number)
            return std::get<Py::Dict>(std::get<Py::Dict>(value.value).items.front().second.value);
    return root;
}

TEST(MegatronFlatStates, ABufferWithStatesOfItsOwnIsALossByName)
{
    MegatronTestRun run = runWithChunks();
    run.pp = 1;
    CheckpointPtr opened;
    const auto more = findingsWith(run,
                                   [](Py::Dict& root) {
                                       auto& second = bufferAt(root, 1);
                                       second.items.emplace_back(Py{std::string("max_exp_avg_sq")}, second.items.front().second);
                                   },
                                   &opened);
    EXPECT_THAT(more, ElementsAre("optimizer-not-read: mp_rank_00/distrib_optim.pt, buffer 1 (float32, float32): it has fp32 master F32, exp_avg F32, exp_avg_sq F32, "
                                  "max_exp_avg_sq F32, and the buffers before it fp32 master F32, exp_avg F32, exp_avg_sq F32."));
    EXPECT_THAT(fullNamesOf(*opened), Contains("decoder.layers.0.input_layernorm.weight/exp_avg"));
    EXPECT_THAT(fullNamesOf(*opened), Not(Contains("decoder.layers.2.input_layernorm.weight/exp_avg")));
    const auto other = findingsWith(run, [](Py::Dict& root) {
        auto& average = std::get<Py::Tensor>(bufferAt(root, 1).items[1].second.value);
        average.storageClass = "IntStorage";
    });
    EXPECT_THAT(other, ElementsAre(HasSubstr("buffer 1 (float32, float32): it has fp32 master F32, exp_avg I32, exp_avg_sq F32, and the buffers before it")));
}

TEST(MegatronFlatStates, AStateThatIsNoVectorIsALossByNameAndTheOthersStay)
{
    CheckpointPtr opened;
    const auto findings = findingsWith({}, [](Py::Dict& root) { bufferAt(root, 0).items.front().second = Py{}; }, &opened);
    EXPECT_THAT(findings, ElementsAre("optimizer-not-read: mp_rank_00/distrib_optim.pt, buffer 0 (float32, float32): no vector: param (None)."));
    EXPECT_THAT(fullNamesOf(*opened), Contains("decoder.layers.1.input_layernorm.weight/exp_avg"));
}

} // namespace
} // namespace shardlens::megatron
