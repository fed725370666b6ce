#include "tests/core/format/format_fixture.h"
#include "tests/support/megatron_test_run.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace shardlens::megatron {
namespace {

using test::findingsOf;
using test::floatsOf;
using test::fullNamesOf;
using test::MegatronTestRun;
using test::openPath;
using test::Py;
using test::TemporaryFolder;
using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Kept = MegatronTestRun::Optimizer;

CheckpointPtr openedRun(const MegatronTestRun& run, const TemporaryFolder& folder)
{
    run.write(folder.path().string());
    auto opened = openPath(folder.path().string());
    EXPECT_TRUE(opened.ok()) << opened.error().text();
    return opened ? *opened : nullptr;
}

void expectStates(const CheckpointPtr& checkpoint, const MegatronTestRun& run, bool hasMasters)
{
    for (const auto& parameter : run.parameters()) {
        SCOPED_TRACE(parameter.name);
        EXPECT_EQ(floatsOf(checkpoint, parameter.name), MegatronTestRun::whole(parameter, hasMasters ? "param" : "module"));
        EXPECT_EQ(floatsOf(checkpoint, parameter.name + "/exp_avg"), MegatronTestRun::whole(parameter, "exp_avg"));
        EXPECT_EQ(floatsOf(checkpoint, parameter.name + "/exp_avg_sq"), MegatronTestRun::whole(parameter, "exp_avg_sq"));
        if (hasMasters) {
            EXPECT_EQ(floatsOf(checkpoint, parameter.name + "/module"), MegatronTestRun::whole(parameter, "module"));
        }
    }
}

struct Layout {
    const char* name;
    MegatronTestRun run;
};

MegatronTestRun runOf(Kept kind, std::uint32_t tp, std::uint32_t pp, const std::function<void(MegatronTestRun&)>& more = {})
{
    MegatronTestRun out;
    out.optimizer = kind;
    out.aligned = kind == Kept::Coalesced;
    out.tp = tp;
    out.pp = pp;
    if (more)
        more(out);
    return out;
}

class OptimizerLayouts : public testing::TestWithParam<Layout> {};

TEST_P(OptimizerLayouts, GiveEveryParameterItsStates)
{
    const TemporaryFolder folder;
    const MegatronTestRun& run = GetParam().run;
    const CheckpointPtr opened = openedRun(run, folder);
    ASSERT_TRUE(opened);
    EXPECT_THAT(findingsOf(*opened), IsEmpty());
    expectStates(opened, run, run.optimizer != Kept::Plain);
}

INSTANTIATE_TEST_SUITE_P(Megatron, OptimizerLayouts,
                         testing::Values(Layout{"Coalesced", runOf(Kept::Coalesced, 1, 1)}, Layout{"CoalescedTensorParallel", runOf(Kept::Coalesced, 2, 1)},
                                         Layout{"CoalescedTiedPipeline", runOf(Kept::Coalesced, 2, 2, [](auto& run) { run.tied = true; })},
                                         Layout{"CoalescedOfEarly2024", runOf(Kept::Coalesced, 1, 1, [](auto& run) { run.aligned = false; })},
                                         Layout{"CoalescedBuckets", runOf(Kept::Coalesced, 1, 1, [](auto& run) { run.bucketSize = 150; })},
                                         Layout{"CoalescedChunks", runOf(Kept::Coalesced, 2, 2,
                                                                         [](auto& run) {
                                                                             run.chunks = 2;
                                                                             run.layers = 4;
                                                                         })},
                                         Layout{"CoalescedExperts", runOf(Kept::Coalesced, 2, 1,
                                                                          [](auto& run) {
                                                                              run.ep = 2;
                                                                              run.experts = 4;
                                                                              run.dp = 4;
                                                                          })},
                                         Layout{"CoalescedExpertsOfOneRank", runOf(Kept::Coalesced, 1, 1, [](auto& run) { run.experts = 2; })},
                                         Layout{"ExpertsInOneOptimizer", runOf(Kept::Coalesced, 2, 1,
                                                                               [](auto& run) {
                                                                                   run.experts = 2;
                                                                                   run.chained = false;
                                                                               })},
                                         Layout{"Buckets", runOf(Kept::Buckets, 2, 1,
                                                                 [](auto& run) {
                                                                     run.bucketSize = 100;
                                                                     run.dp = 3;
                                                                 })},
                                         Layout{"BucketsOfUnknownRanks", runOf(Kept::Buckets, 1, 2,
                                                                               [](auto& run) {
                                                                                   run.dp = 3;
                                                                                   run.saysRanks = false;
                                                                               })},
                                         Layout{"Padded", runOf(Kept::Padded, 1, 2, [](auto& run) { run.dp = 5; })},
                                         Layout{"Plain", runOf(Kept::Plain, 2, 2, [](auto& run) { run.tied = true; })},
                                         Layout{"PlainExperts", runOf(Kept::Plain, 1, 1,
                                                                      [](auto& run) {
                                                                          run.experts = 4;
                                                                          run.ep = 2;
                                                                      })}),
                         [](const auto& info) { return info.param.name; });

Py* memberOf(Py& dict, const std::string& key)
{
    for (auto& [name, value] : std::get<Py::Dict>(dict.value).items)
        if (const auto* text = std::get_if<std::string>(&name.value); text != nullptr && *text == key)
            return &value;
    return nullptr;
}

// The content of the one buffer of a file.
Py& bufferOf(Py& root)
{
    for (auto& [key, value] : std::get<Py::Dict>(root.value).items)
        if (std::holds_alternative<std::int64_t>(key.value))
            return std::get<Py::Dict>(value.value).items.front().second;
    return root;
}

bool isFlat(const std::string& file)
{
    return file.ends_with("distrib_optim.pt");
}

struct Broken {
    const char* name;
    Kept kind;
    std::function<void(Py& root)> breaks; // of distrib_optim.pt, or of the model file with a plain optimizer
    const char* says;
};

class BrokenOptimizers : public testing::TestWithParam<Broken> {};

TEST_P(BrokenOptimizers, AreALossByNameAndTheModelStays)
{
    const TemporaryFolder folder;
    MegatronTestRun run = runOf(GetParam().kind, 1, 1);
    run.change = [&](const std::string& file, Py& root) {
        if (isFlat(file) || GetParam().kind == Kept::Plain)
            GetParam().breaks(root);
    };
    const CheckpointPtr opened = openedRun(run, folder);
    ASSERT_TRUE(opened);
    EXPECT_THAT(findingsOf(*opened), Contains(HasSubstr(GetParam().says)));
    ASSERT_FALSE(opened->lostTensors().empty());
    EXPECT_EQ(opened->lostTensors().front().role, RoleKind::OptimizerState);
    EXPECT_THAT(fullNamesOf(*opened), Each(Not(HasSubstr("exp_avg"))));
    for (const auto& parameter : run.parameters())
        EXPECT_EQ(floatsOf(opened, parameter.name), MegatronTestRun::whole(parameter, "module"));
}

Py::Tensor& tensorAt(Py& buffer, const char* key)
{
    return std::get<Py::Tensor>(memberOf(buffer, key)->value);
}

void shortenAll(Py& root, std::uint64_t by)
{
    for (const char* key : {"param", "exp_avg", "exp_avg_sq"})
        tensorAt(bufferOf(root), key).shape[0] -= by;
    *memberOf(bufferOf(root), "numel_unpadded") = Py{static_cast<std::int64_t>(tensorAt(bufferOf(root), "param").shape[0])};
}

INSTANTIATE_TEST_SUITE_P(
    Megatron, BrokenOptimizers,
    testing::Values(Broken{"AnotherLength", Kept::Coalesced, [](Py& root) { shortenAll(root, 3); },
                           "optimizer-not-read: mp_rank_00/distrib_optim.pt, buffer 0 (float32, float32): it holds"},
                    Broken{"NumelUnpadded", Kept::Coalesced, [](Py& root) { *memberOf(bufferOf(root), "numel_unpadded") = Py{std::int64_t{5}}; },
                           "numel_unpadded says 5 elements, and its vectors hold"},
                    Broken{"StatesOfOtherLengths", Kept::Coalesced, [](Py& root) { tensorAt(bufferOf(root), "exp_avg").shape[0] -= 1; },
                           "fp32 master and exp_avg differ in length"},
                    Broken{"NoVector", Kept::Coalesced,
                           [](Py& root) {
                               bufferOf(root) = test::pyDict({{"numel_unpadded", Py{std::int64_t{5}}}});
                           },
                           "it has no vectors"},
                    Broken{"Matrix", Kept::Coalesced,
                           [](Py& root) {
                               tensorAt(bufferOf(root), "param").shape = {2, 3};
                           },
                           "param: a dense one-dimensional tensor is expected, and it is F32 [2, 3]"},
                    Broken{"PastItsStorage", Kept::Coalesced, [](Py& root) { tensorAt(bufferOf(root), "param").shape[0] += 1000; }, "param: "},
                    Broken{"BufferOfNobody", Kept::Coalesced,
                           [](Py& root) {
                               for (auto& [key, value] : std::get<Py::Dict>(root.value).items)
                                   if (std::holds_alternative<std::int64_t>(key.value))
                                       key = Py{std::int64_t{4}};
                           },
                           "buffer 4 (float32, float32): the model has no parameters for it"},
                    Broken{"PerBucketNumel", Kept::Buckets,
                           [](Py& root) { *memberOf(root, "per_bucket_numel") = Py{std::vector<Py>{Py{std::vector<Py>{Py{std::int64_t{9}}}}}}; },
                           "per_bucket_numel says 9 for 1 bucket, and its vectors are of"},
                    Broken{"NoBuffers", Kept::Coalesced,
                           [](Py& root) {
                               root = test::pyDict({{"buckets_coalesced", Py{true}}});
                           },
                           "it has no buffers under numbers"},
                    Broken{"ThreeOptimizers", Kept::Coalesced,
                           [](Py& root) {
                               root = Py{std::vector<Py>{root, root, root}};
                           },
                           "it is a list of 3 optimizers"},
                    Broken{"NoDictionary", Kept::Coalesced, [](Py& root) { root = Py{std::int64_t{1}}; },
                           "it is neither a dictionary of buffers nor a list of them"},
                    Broken{"PlainGroups", Kept::Plain,
                           [](Py& root) {
                               auto& groups = std::get<std::vector<Py>>(memberOf(*memberOf(root, "optimizer"), "param_groups")->value);
                               std::get<std::vector<Py>>(memberOf(groups[0], "params")->value).pop_back();
                           },
                           "optimizer-not-read: mp_rank_00/model_optim_rng.pt, optimizer: its groups of "},
                    Broken{"PlainShapes", Kept::Plain,
                           [](Py& root) {
                               auto& states = std::get<Py::Dict>(memberOf(*memberOf(root, "optimizer"), "state")->value).items;
                               std::swap(states[0].second, states[1].second);
                           },
                           "so its states have no names"}),
    [](const auto& info) { return info.param.name; });

TEST(MegatronOptimizer, AMissingFileLeavesHolesInItsRanksStatesOnly)
{
    const TemporaryFolder folder;
    const MegatronTestRun run = runOf(Kept::Coalesced, 2, 1);
    run.write(folder.path().string());
    std::filesystem::remove(folder.file("iter_0000003/mp_rank_01/distrib_optim.pt"));
    const auto opened = openPath(folder.path().string());
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), ElementsAre(HasSubstr("missing-file: Other ranks have a distrib_optim.pt, and mp_rank_01/distrib_optim.pt is missing")));
    for (const auto& parameter : run.parameters()) {
        EXPECT_EQ(floatsOf(*opened, parameter.name + "/module"), MegatronTestRun::whole(parameter, "module"));
        const Tensor& average = (*opened)->tensor(test::tensorNamed(**opened, parameter.name + "/exp_avg"));
        EXPECT_EQ(average.shape, parameter.shape);
    }
    const Tensor& norm = (*opened)->tensor(test::tensorNamed(**opened, "decoder.final_layernorm.weight/exp_avg"));
    EXPECT_EQ(norm.combine, Combine::Replicas); // of which one is left
}

TEST(MegatronOptimizer, TruncatedFilesCostTheirStatesAndNothingElse)
{
    const TemporaryFolder folder;
    const MegatronTestRun run = runOf(Kept::Coalesced, 1, 1);
    run.write(folder.path().string());
    const std::string file = folder.file("iter_0000003/mp_rank_00/distrib_optim.pt");
    const auto size = std::filesystem::file_size(file);
    for (std::uintmax_t left = size; left-- > 0; left -= std::min<std::uintmax_t>(left, 97)) {
        std::filesystem::resize_file(file, left);
        const auto opened = openPath(folder.path().string());
        ASSERT_TRUE(opened) << opened.error().text();
        ASSERT_EQ((*opened)->lostTensors().size(), 1u) << left;
        ASSERT_THAT((*opened)->lostTensors().front().problem, HasSubstr("mp_rank_00/distrib_optim.pt: it cannot be read: ")) << left;
        ASSERT_EQ(floatsOf(*opened, "decoder.final_layernorm.weight"), MegatronTestRun::whole(run.parameters()[run.parameters().size() - 2], "module"));
    }
}

// Where one tensor-parallel rank's states have no names, those of the others are no whole.
TEST(MegatronOptimizer, StatesThatSomeRanksCannotNameAreLeftOut)
{
    const TemporaryFolder folder;
    MegatronTestRun run = runOf(Kept::Coalesced, 2, 1);
    run.change = [](const std::string& file, Py& root) {
        if (file == "mp_rank_01/distrib_optim.pt")
            shortenAll(root, 1);
    };
    const CheckpointPtr opened = openedRun(run, folder);
    ASSERT_TRUE(opened);
    EXPECT_THAT(findingsOf(*opened), testing::UnorderedElementsAre(HasSubstr("optimizer-not-read: mp_rank_01/distrib_optim.pt, buffer 0"),
                                                                   HasSubstr("partial-states: Optimizer states of")));
    EXPECT_EQ(floatsOf(opened, "output_layer.weight"), MegatronTestRun::whole(run.parameters().back(), "module"));
    EXPECT_THAT(fullNamesOf(*opened), Not(Contains(HasSubstr("exp_avg"))));
}

TEST(MegatronOptimizer, ShardsOf2022AreALossAndTheirModelIsRead)
{
    const TemporaryFolder folder;
    const MegatronTestRun run = runOf(Kept::None, 1, 1);
    run.write(folder.path().string());
    const std::string iteration = folder.file("iter_0000003");
    std::filesystem::rename(iteration + "/mp_rank_00/model_optim_rng.pt", iteration + "/mp_rank_00/model_rng.pt");
    for (const char* rank : {"mp_rank_00_000", "mp_rank_00_001"}) {
        std::filesystem::create_directory(iteration + "/" + rank);
        test::writeText(iteration + "/" + rank + "/optim.pt", "x");
    }
    const auto opened = openPath(folder.path().string());
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(
        findingsOf(**opened),
        ElementsAre(
            "optimizer-not-read: mp_rank_00_000/optim.pt and 1 more: how the optimizer's shards of 2022 to 2023 lie is not known, so their states are not "
            "read; the model is."));
    EXPECT_EQ(floatsOf(*opened, "output_layer.weight"), MegatronTestRun::whole(run.parameters().back(), "module"));
}

using States = std::vector<test::PyItem>;

// The states of a plain optimizer by parameter, each a dictionary.
States& plainStatesOf(Py& root)
{
    return std::get<Py::Dict>(memberOf(*memberOf(root, "optimizer"), "state")->value).items;
}

// A run with one rank whose plain optimizer is changed before it is written.
MegatronTestRun plainRun(std::function<void(Py& root)> change)
{
    MegatronTestRun run = runOf(Kept::Plain, 1, 1);
    run.change = [change = std::move(change)](const std::string&, Py& root) { change(root); };
    return run;
}

void keepMomentumOnly(Py& root)
{
    for (auto& [number, own] : plainStatesOf(root))
        own = test::pyDict({{"momentum_buffer", *memberOf(own, "exp_avg")}});
}

void inOneGroup(Py& root)
{
    std::vector<Py> numbers;
    for (const auto& [number, own] : plainStatesOf(root))
        numbers.push_back(number);
    *memberOf(*memberOf(root, "optimizer"), "param_groups") = Py{std::vector<Py>{test::pyDict({{"params", Py{numbers}}})}};
}

TEST(MegatronOptimizer, StatesOfAnyNameAreNamedByTheirShapes)
{
    const TemporaryFolder folder;
    const MegatronTestRun run = plainRun(keepMomentumOnly);
    const CheckpointPtr opened = openedRun(run, folder);
    ASSERT_TRUE(opened);
    EXPECT_THAT(findingsOf(*opened), IsEmpty());
    for (const auto& parameter : run.parameters())
        EXPECT_EQ(floatsOf(opened, parameter.name + "/momentum_buffer"), MegatronTestRun::whole(parameter, "exp_avg"));
}

TEST(MegatronOptimizer, StatesInAnotherOrderThanTheModelsGetNoNames)
{
    const TemporaryFolder folder;
    const MegatronTestRun run = plainRun([](Py& root) {
        keepMomentumOnly(root);
        inOneGroup(root);
        States& states = plainStatesOf(root);
        for (std::size_t i = 0, j = states.size(); i < --j; ++i)
            std::swap(states[i].second, states[j].second);
    });
    const CheckpointPtr opened = openedRun(run, folder);
    ASSERT_TRUE(opened);
    EXPECT_THAT(findingsOf(*opened), ElementsAre(HasSubstr("optimizer-not-read: mp_rank_00/model_optim_rng.pt, optimizer: its groups of ")));
    EXPECT_THAT(fullNamesOf(*opened), Each(Not(HasSubstr("momentum_buffer"))));
}

TEST(MegatronOptimizer, StatesWithoutAShapeGetNoNames)
{
    const TemporaryFolder folder;
    const CheckpointPtr opened = openedRun(plainRun([](Py& root) {
                                               for (auto& [number, own] : plainStatesOf(root))
                                                   own = test::pyDict({{"step", Py{std::int64_t{5}}}});
                                           }),
                                           folder);
    ASSERT_TRUE(opened);
    EXPECT_THAT(findingsOf(*opened), ElementsAre(HasSubstr("so its states have no names")));
    EXPECT_THAT(fullNamesOf(*opened), Each(Not(HasSubstr("step"))));
}

// Sums over rows and columns, flags and nothing at all: what has a shape of its own is lost by name, and the others are read.
TEST(MegatronOptimizer, StatesOfOtherShapesAndKindsAreALossByName)
{
    const TemporaryFolder folder;
    const MegatronTestRun run = plainRun([](Py& root) {
        for (auto& [number, own] : plainStatesOf(root)) {
            auto& items = std::get<Py::Dict>(own.value).items;
            Py row = *memberOf(own, "exp_avg_sq");
            auto& shape = std::get<Py::Tensor>(row.value).shape;
            if (shape.size() == 2) {
                shape.pop_back();
                std::erase_if(items, [](const auto& item) { return std::get<std::string>(item.first.value) == "exp_avg_sq"; });
                items.emplace_back(Py{std::string("exp_avg_sq_row")}, row);
            }
            items.emplace_back(Py{std::string("fused")}, Py{true});
            items.emplace_back(Py{std::string("later")}, Py{});
            items.emplace_back(Py{std::string("name")}, Py{std::string("x")});
        }
    });
    const CheckpointPtr opened = openedRun(run, folder);
    ASSERT_TRUE(opened);
    EXPECT_THAT(findingsOf(*opened),
                ElementsAre("optimizer-not-read: mp_rank_00/model_optim_rng.pt, optimizer: states that are neither a number nor of the shape of their "
                            "parameter are not read: exp_avg_sq_row of embedding.word_embeddings.weight is [16], and the parameter [16, 6], "
                            "fused of embedding.word_embeddings.weight is no tensor, later of embedding.word_embeddings.weight is no tensor, "
                            "name of embedding.word_embeddings.weight is no tensor."));
    EXPECT_EQ(opened->lostTensors().size(), 1u);
    for (const auto& parameter : run.parameters())
        EXPECT_EQ(floatsOf(opened, parameter.name + "/exp_avg"), MegatronTestRun::whole(parameter, "exp_avg"));
}

TEST(MegatronOptimizer, StepsThatRanksDifferInAreSaid)
{
    const TemporaryFolder folder;
    MegatronTestRun run = runOf(Kept::Plain, 2, 1);
    run.change = [](const std::string& file, Py& root) {
        auto& step = *memberOf(plainStatesOf(root).front().second, "step");
        step = Py{std::int64_t{file.starts_with("mp_rank_00") ? 100 : 101}};
    };
    const CheckpointPtr opened = openedRun(run, folder);
    ASSERT_TRUE(opened);
    EXPECT_THAT(findingsOf(*opened),
                ElementsAre("numbers-differ: Ranks differ in 1 number of the optimizer's states, and the first rank's are taken: step of "
                            "embedding.word_embeddings.weight is 101 in mp_rank_01/model_optim_rng.pt, and 100 in the first that has it."));
}

// formats/megatron.md §4.2: masters are numbered among the parameters in half precision only, and routers are in float32.
TEST(MegatronOptimizer, MastersOfHalfPrecisionAreReadAndJoined)
{
    for (const std::uint64_t experts : {0, 4}) {
        SCOPED_TRACE(experts);
        const TemporaryFolder folder;
        const MegatronTestRun run = runOf(Kept::Plain, 2, 2, [&](auto& more) {
            more.half = true;
            more.experts = experts;
        });
        const CheckpointPtr opened = openedRun(run, folder);
        ASSERT_TRUE(opened);
        EXPECT_THAT(findingsOf(*opened), IsEmpty());
        for (const auto& parameter : run.parameters()) {
            SCOPED_TRACE(parameter.name);
            const bool isHalf = !parameter.name.ends_with("router.weight");
            EXPECT_EQ(floatsOf(opened, parameter.name), MegatronTestRun::whole(parameter, isHalf ? "param" : "module"));
            EXPECT_EQ(floatsOf(opened, parameter.name + "/exp_avg_sq"), MegatronTestRun::whole(parameter, "exp_avg_sq"));
            if (isHalf) {
                EXPECT_EQ(opened->tensor(test::tensorNamed(*opened, parameter.name + "/module")).dtype, DType::BF16);
            }
        }
    }
}

TEST(MegatronOptimizer, ANumberThatGroupsHaveTwiceNamesNothing)
{
    const TemporaryFolder folder;
    const CheckpointPtr opened = openedRun(plainRun([](Py& root) {
                                               auto& groups = std::get<std::vector<Py>>(memberOf(*memberOf(root, "optimizer"), "param_groups")->value);
                                               auto& vectors = std::get<std::vector<Py>>(memberOf(groups[1], "params")->value);
                                               vectors[1] = vectors[0];
                                           }),
                                           folder);
    ASSERT_TRUE(opened);
    EXPECT_THAT(findingsOf(*opened), ElementsAre(AllOf(HasSubstr("optimizer: its groups have the number "), HasSubstr(" twice"))));
}

} // namespace
} // namespace shardlens::megatron
