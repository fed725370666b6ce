#include "core/format/deepspeed/reshard_stages.h"
#include "tests/core/format/format_fixture.h"
#include "tests/support/rank_test_file.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>

namespace shardlens::deepspeed {
namespace {

using test::findingsOf;
using test::floatsOf;
using test::fullNamesOf;
using test::openPath;
using test::Py;
using test::pyDict;
using test::TemporaryFolder;
using test::TestStorage;
using test::TestTensor;
using test::writeRankFile;
using test::writeTorchFile;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TestStorage storageOf(const std::vector<float>& values)
{
    return {values.size() * sizeof(float), [values](std::uint64_t offset, std::span<std::byte> out) {
                if (!out.empty())
                    std::memcpy(out.data(), reinterpret_cast<const std::byte*>(values.data()) + offset, out.size());
            }};
}

Py textsOf(const std::vector<std::string>& texts)
{
    std::vector<Py> out;
    for (const std::string& one : texts)
        out.push_back(Py{one});
    return Py{std::move(out)};
}

// A run of ZeRO-1 over pipeline stages and tensor-parallel ranks, as the pipeline engine writes it. One flat group a rank.
class PipelineRun : public testing::Test {
protected:
    // What a model-parallel rank trains: names, shapes and masters.
    using Trained = std::vector<TestTensor>;

    void rank(std::uint32_t mpRank, const Trained& trained, std::uint32_t mpWorld, std::uint32_t tp, std::vector<std::pair<std::string, Py>> more = {}, std::uint32_t dp = 1) const
    {
        std::vector<std::pair<std::string, Py>> shapes;
        std::vector<float> flat;
        for (const TestTensor& one : trained) {
            shapes.emplace_back(one.name, test::pySize(one.shape));
            flat.insert(flat.end(), one.values.begin(), one.values.end());
        }
        const Py config = pyDict({{"zero_optimization", pyDict({{"stage", Py{std::int64_t{1}}}})}});
        std::vector<std::pair<std::string, Py>> model{{"module", Py{}},
                                                      {"buffer_names", textsOf(m_buffers)},
                                                      {"param_shapes", Py{std::vector<Py>{pyDict(std::move(shapes), true)}}},
                                                      {"frozen_param_shapes", Py{}},
                                                      {"shared_params", pyDict({})},
                                                      {"dp_world_size", Py{std::int64_t{dp}}},
                                                      {"mp_world_size", Py{std::int64_t{mpWorld}}},
                                                      {"checkpoint_parallel_dimensions", pyDict({{"pp_degree", Py{std::int64_t{mpWorld / tp}}}, {"tp_degree", Py{std::int64_t{tp}}}})},
                                                      {"ds_config", config},
                                                      {"ds_version", Py{std::string("0.19.8")}}};
        model.insert(model.end(), more.begin(), more.end());
        std::filesystem::create_directories(m_folder.file("step"));
        writeTorchFile(file(fmt::format("mp_rank_{:02d}_model_states.pt", mpRank)), pyDict(std::move(model)), {});
        for (std::uint32_t data = 0; data < dp; ++data) {
            const std::size_t part = flat.size() / dp;
            optimizer(fmt::format("zero_pp_rank_{}_mp_rank_{:02d}_optim_states.pt", data, mpRank),
                      {flat.begin() + static_cast<std::ptrdiff_t>(data * part), flat.begin() + static_cast<std::ptrdiff_t>((data + 1) * part)}, config, dp);
        }
        test::writeText(m_folder.file("latest"), "step");
    }
    void layer(const std::string& name, const std::vector<TestTensor>& tensors) const { writeRankFile(file(name), "", tensors); }
    [[nodiscard]] std::string file(const std::string& name) const { return m_folder.file("step/" + name); }
    Result<CheckpointPtr> open() const { return openPath(m_folder.path().string()); }

    std::vector<std::string> m_buffers;
    TemporaryFolder m_folder;

private:
    void optimizer(const std::string& name, const std::vector<float>& part, const Py& config, std::uint32_t dp) const
    {
        const auto flat = [&](std::size_t storage) { return Py{Py::Tensor{"FloatStorage", storage, part.size(), 0, {part.size()}, {1}}}; };
        Py::Dict states;
        states.items.emplace_back(Py{std::int64_t{0}}, pyDict({{"step", Py{std::int64_t{3}}}, {"exp_avg", flat(1)}, {"exp_avg_sq", flat(2)}}));
        const Py base = pyDict({{"state", Py{std::move(states)}}, {"param_groups", Py{std::vector<Py>{pyDict({{"params", Py{std::vector<Py>{Py{std::int64_t{0}}}}}})}}}});
        const Py stage{Py::Call{{"deepspeed.runtime.zero.config", "ZeroStageEnum"}, {Py{std::int64_t{1}}}}};
        const Py state = pyDict({{"zero_stage", stage},
                                 {"partition_count", Py{std::vector<Py>{Py{std::int64_t{dp}}}}},
                                 {"base_optimizer_state", base},
                                 {"single_partition_of_fp32_groups", Py{std::vector<Py>{flat(0)}}}});
        writeTorchFile(file(name), pyDict({{"optimizer_state_dict", state}, {"ds_config", config}, {"ds_version", Py{std::string("0.19.8")}}}),
                       {storageOf(part), storageOf(std::vector<float>(part.size(), 0.5f)), storageOf(std::vector<float>(part.size(), 0.25f))});
    }
};

TEST_F(PipelineRun, StagesAreOneModelAndALostLayerIsFound)
{
    m_buffers = {"1.seen"};
    rank(0, {{"0.weight", {2}, {1, 2}}, {"1.weight", {2}, {3, 4}}}, 2, 1);
    m_buffers.clear();
    rank(1, {{"3.weight", {2}, {5, 6}}}, 2, 1);
    layer("layer_00-model_states.pt", {{"weight", {2}, {1, 2}}});
    layer("layer_01-model_states.pt", {{"weight", {2}, {3, 4}}, {"seen", {1}, {8}}});
    layer("layer_03-model_states.pt", {{"weight", {2}, {5, 6}}}); // 2 is a function
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
    EXPECT_THAT(floatsOf(*opened, "3.weight"), ElementsAre(5, 6));
    EXPECT_THAT(floatsOf(*opened, "3.weight/exp_avg"), ElementsAre(0.5, 0.5));
    EXPECT_THAT(floatsOf(*opened, "1.seen"), ElementsAre(8));
    EXPECT_THAT(floatsOf(*opened, "1.weight/module"), ElementsAre(3, 4));
    std::filesystem::remove(file("layer_01-model_states.pt"));
    opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), Contains(HasSubstr("missing-file: The file layer_01-model_states.pt of layer 1 is not in the folder.")));
}

TEST_F(PipelineRun, ATiedLayerAtTwoPlacesIsOne)
{
    rank(0, {{"tied_modules.embed.weight", {3, 2}, {1, 2, 3, 4, 5, 6}}, {"1.weight", {2}, {7, 8}}}, 2, 1);
    rank(1, {{"tied_modules.embed.weight", {3, 2}, {1, 2, 3, 4, 5, 6}}, {"2.weight", {2}, {9, 9}}}, 2, 1);
    for (const char* name : {"layer_00-model_states.pt", "layer_03-model_states.pt"})
        layer(name, {{"weight", {3, 2}, {1, 2, 3, 4, 5, 6}}});
    layer("layer_01-model_states.pt", {{"weight", {2}, {7, 8}}});
    layer("layer_02-model_states.pt", {{"weight", {2}, {9, 9}}});
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
    const auto names = fullNamesOf(**opened);
    EXPECT_EQ(std::count(names.begin(), names.end(), "tied_modules.embed.weight"), 1);
    EXPECT_THAT(names, testing::Not(Contains("3.weight")));
    EXPECT_THAT(floatsOf(*opened, "tied_modules.embed.weight"), ElementsAre(1, 2, 3, 4, 5, 6));
    const Checkpoint& checkpoint = **opened;
    const TensorId master = test::tensorNamed(checkpoint, "tied_modules.embed.weight");
    EXPECT_EQ(checkpoint.tensor(master).combine, Combine::Replicas);
    EXPECT_GT(checkpoint.pieces().countOf(master), 1u); // each stage's
}

// The embedding stands again behind layer 3, with a forward function and so without a file: it weighs there too, as PipelineModule counts it.
TEST_F(PipelineRun, ATiedPlaceWithoutAFileWeighsWhereStagesAreCut)
{
    rank(0, {{"tied_modules.embed.weight", {3, 2}, {1, 2, 3, 4, 5, 6}}, {"1.weight", {8}, {1, 2, 3, 4, 5, 6, 7, 8}}}, 2, 1);
    rank(1, {{"tied_modules.embed.weight", {3, 2}, {1, 2, 3, 4, 5, 6}}, {"2.weight", {2}, {9, 9}}, {"3.weight", {5}, {1, 1, 1, 1, 1}}}, 2, 1);
    layer("layer_00-model_states.pt", {{"weight", {3, 2}, {1, 2, 3, 4, 5, 6}}});
    layer("layer_01-model_states.pt", {{"weight", {8}, {1, 2, 3, 4, 5, 6, 7, 8}}});
    layer("layer_02-model_states.pt", {{"weight", {2}, {9, 9}}});
    layer("layer_03-model_states.pt", {{"weight", {5}, {1, 1, 1, 1, 1}}});
    JobContext job;
    const auto candidate = lookAt(m_folder.file("step"));
    ASSERT_TRUE(candidate);
    auto run = readParallelRun(*candidate, {}, job);
    ASSERT_TRUE(run) << run.error().text();
    const CheckpointPtr joined = std::move((*run)->builder).finish();
    const auto three = StageMap::of(**run, *joined, 3);
    ASSERT_TRUE(three) << three.error().text();
    EXPECT_THAT(three->boundaries(), ElementsAre(0, 1, 3, 5)); // of 6, 8, 2, 5, 6 elements; without the last it would be 0, 1, 2, 4
    EXPECT_THAT(three->stagesOf("tied_modules.embed.weight"), ElementsAre(0, 2));
    EXPECT_THAT(three->stagesOf("2.weight"), ElementsAre(1));
    const auto two = StageMap::of(**run, *joined, 2);
    ASSERT_TRUE(two) << two.error().text();
    EXPECT_THAT(two->boundaries(), ElementsAre(0, 2, 4)); // the source's own
}

TEST_F(PipelineRun, IsNotCutAnewWithoutAllItsFiles)
{
    rank(0, {{"0.weight", {4}, {1, 2, 3, 4}}}, 2, 1, {}, 2);
    rank(1, {{"1.weight", {4}, {5, 6, 7, 8}}}, 2, 1, {}, 2);
    layer("layer_00-model_states.pt", {{"weight", {4}, {1, 2, 3, 4}}});
    layer("layer_01-model_states.pt", {{"weight", {4}, {5, 6, 7, 8}}});
    const auto refusal = [&]() -> std::string {
        const auto opened = open();
        if (!opened)
            return opened.error().text();
        TargetOptions options;
        options.pp = 1;
        JobContext job;
        const auto target = formatById("deepspeed")->layOut(*opened, options, job);
        return target ? std::string("it is cut") : target.error().text();
    };
    EXPECT_EQ(refusal(), "it is cut");
    const auto without = [&](const std::string& name) {
        std::filesystem::rename(file(name), m_folder.file("aside"));
        const std::string text = refusal();
        std::filesystem::rename(m_folder.file("aside"), file(name));
        return text;
    };
    EXPECT_THAT(without("zero_pp_rank_1_mp_rank_01_optim_states.pt"), HasSubstr("the optimizer file of rank 1 (zero_pp_rank_1_mp_rank_01_optim_states.pt) is missing"));
    EXPECT_THAT(without("mp_rank_01_model_states.pt"), HasSubstr("model-parallel rank 1 (mp_rank_01) is missing"));
    EXPECT_THAT(without("layer_01-model_states.pt"), HasSubstr("the layer file layer_01-model_states.pt is missing"));
}

TEST_F(PipelineRun, IsNotCutForStagesOfZeroThatPipelinesDoNotHave)
{
    rank(0, {{"0.weight", {4}, {1, 2, 3, 4}}}, 1, 1);
    layer("layer_00-model_states.pt", {{"weight", {4}, {1, 2, 3, 4}}});
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    for (const std::uint32_t stage : {2u, 3u}) {
        TargetOptions options;
        options.zeroStage = stage;
        JobContext job;
        const auto target = formatById("deepspeed")->layOut(*opened, options, job);
        ASSERT_FALSE(target);
        EXPECT_THAT(target.error().text(), HasSubstr(fmt::format("ZeRO-{} on pipeline stages", stage)));
    }
}

// The optimizer of a pipeline without ZeRO only numbers its parameters; it is not written, and no rule is wanted for it.
TEST_F(PipelineRun, WithoutZeroIsCutOverTensorParallelRanks)
{
    std::filesystem::create_directories(m_folder.file("step"));
    const Py state = pyDict({{"exp_avg", Py{Py::Tensor{"FloatStorage", 0, 4, 0, {4, 1}, {}}}}});
    Py::Dict states;
    states.items.emplace_back(Py{std::int64_t{0}}, state);
    const Py optimizer = pyDict({{"state", Py{std::move(states)}}, {"param_groups", Py{std::vector<Py>{pyDict({{"params", Py{std::vector<Py>{Py{std::int64_t{0}}}}}})}}}});
    for (const int mpRank : {0, 1})
        writeTorchFile(file(fmt::format("mp_rank_{:02d}_model_states.pt", mpRank)),
                       pyDict({{"module", Py{}}, {"buffer_names", Py{std::vector<Py>{}}}, {"optimizer", optimizer}, {"param_shapes", Py{}}, {"dp_world_size", Py{std::int64_t{1}}},
                               {"mp_world_size", Py{std::int64_t{2}}}, {"ds_config", pyDict({})}, {"ds_version", Py{std::string("0.19.8")}}}),
                       {storageOf({1, 2, 3, 4})});
    test::writeText(m_folder.file("latest"), "step");
    for (const int index : {0, 1})
        layer(fmt::format("layer_{:02d}-model_states.pt", index), {{"mlp.dense_h_to_4h.weight", {4, 1}, {1, 2, 3, 4}}});
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    TargetOptions options;
    options.tp = 2;
    options.pp = 1;
    JobContext job;
    const auto target = formatById("deepspeed")->layOut(*opened, options, job);
    ASSERT_TRUE(target) << target.error().text();
    EXPECT_EQ(target->torchFiles.size(), 6u); // two ranks, and two layers of two parts
}

TEST_F(PipelineRun, TensorParallelFilesAreJoinedByTheRunsOwnRules)
{
    const Py info = pyDict({{"universal_checkpoint_version", Py{0.2}},
                            {"tp_replicated_parameter_patterns", textsOf({"\\d+.norm.weight"})},
                            {"parameter_to_average_patterns", textsOf({"\\d+.mean.weight"})},
                            {"parameter_with_2_sub_params_cat_dim_0", textsOf({"\\d+.gated.weight"})},
                            {"parameter_with_row_parallelism_patterns", textsOf({"\\d+.row.weight"})},
                            {"parameter_with_sub_params", Py{std::vector<Py>{pyDict({{"patterns", textsOf({"\\d+.qkv.weight"})},
                                                                                     {"shape", Py{Py::Tuple{{Py{Py::Tuple{{Py{std::int64_t{4}}, Py{std::int64_t{2}}, Py{std::int64_t{2}}}}}}}}},
                                                                                     {"partition_dim", Py{std::int64_t{0}}}})}}}});
    for (std::uint32_t tp = 0; tp < 2; ++tp) {
        const auto base = static_cast<float>(100 * tp);
        const std::vector<TestTensor> own{{"norm.weight", {2}, {1, 2}},
                                          {"mean.weight", {2}, {base, base + 2}},
                                          {"gated.weight", {2, 1}, {base, base + 1}},
                                          {"row.weight", {2, 1}, {base, base + 1}},
                                          {"qkv.weight", {4}, {base, base + 1, base + 10, base + 20}},
                                          {"plain.weight", {2}, {base, base + 1}}};
        for (std::uint32_t pipe = 0; pipe < 2; ++pipe) {
            Trained trained;
            for (TestTensor one : own) {
                one.name = fmt::format("{}.{}", pipe, one.name);
                trained.push_back(std::move(one));
            }
            rank(pipe * 2 + tp, trained, 4, 2, {{"universal_checkpoint_info", info}});
            layer(fmt::format("layer_{:02d}-model_{:02d}-model_states.pt", pipe, tp), own);
        }
    }
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT((*opened)->lostTensors(), IsEmpty());
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
    for (const char* stage : {"0.", "1."})
        for (const char* what : {"", "/module"}) {
            const auto values = [&](const char* name) { return floatsOf(*opened, stage + std::string(name) + what); };
            EXPECT_THAT(values("norm.weight"), ElementsAre(1, 2));
            EXPECT_THAT(values("mean.weight"), ElementsAre(50, 52));
            EXPECT_THAT(values("gated.weight"), ElementsAre(0, 100, 1, 101));
            EXPECT_THAT(values("row.weight"), ElementsAre(0, 100, 1, 101));
            EXPECT_THAT(values("qkv.weight"), ElementsAre(0, 1, 100, 101, 10, 110, 20, 120));
            EXPECT_THAT(values("plain.weight"), ElementsAre(0, 1, 100, 101));
        }
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "1.row.weight")).shape, (Shape{2, 2}));
}

// Version 0.4 records how wide each rank's share of each sub-parameter is: uneven ones too (formats/deepspeed.md §14.4).
TEST_F(PipelineRun, RecordedWidthsOfSubParametersCount)
{
    const auto numbers = [](std::initializer_list<std::int64_t> values) {
        std::vector<Py> out;
        for (const std::int64_t value : values)
            out.push_back(Py{value});
        return Py{std::move(out)};
    };
    const Py widths = pyDict({{"\\d+.qkv.weight", Py{std::vector<Py>{numbers({4, 2}), numbers({2, 1}), numbers({2, 1})}}}});
    const Py parts = pyDict({{"patterns", textsOf({"\\d+.qkv.weight"})},
                             {"shape", Py{Py::Tuple{{Py{Py::Tuple{{Py{std::int64_t{6}}, Py{std::int64_t{3}}, Py{std::int64_t{3}}}}}}}}},
                             {"partition_dim", Py{std::int64_t{0}}}});
    const Py info = pyDict({{"universal_checkpoint_version", Py{0.4}}, {"parameter_with_sub_params", Py{std::vector<Py>{parts}}}, {"sub_param_shard_widths", widths}});
    const std::vector<float> first{0, 1, 2, 3, 10, 11, 20, 21};
    const std::vector<float> second{4, 5, 12, 22};
    for (std::uint32_t tp = 0; tp < 2; ++tp) {
        const std::vector<float>& own = tp == 0 ? first : second;
        rank(tp, {{"0.qkv.weight", {own.size()}, own}}, 2, 2, {{"universal_checkpoint_info", info}});
        layer(fmt::format("layer_00-model_{:02d}-model_states.pt", tp), {{"qkv.weight", {own.size()}, own}});
    }
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
    EXPECT_THAT(floatsOf(*opened, "0.qkv.weight"), ElementsAre(0, 1, 2, 3, 4, 5, 10, 11, 12, 20, 21, 22));
}

// formats/deepspeed.md §11.2: PP 2, DP 2, TP 2; global rank 5 is pipe 1, data 0, model 1, and its files are those of mp rank 3.
TEST_F(PipelineRun, RanksAreNumberedPipeDataModel)
{
    for (std::uint32_t mpRank = 0; mpRank < 4; ++mpRank) {
        const std::uint32_t pipe = mpRank / 2;
        rank(mpRank, {{fmt::format("{}.mlp.dense_h_to_4h.weight", pipe), {4, 1}, {1, 2, 3, 4}}}, 4, 2, {}, 2);
        layer(fmt::format("layer_{:02d}-model_{:02d}-model_states.pt", pipe, mpRank % 2), {{"mlp.dense_h_to_4h.weight", {4, 1}, {1, 2, 3, 4}}});
    }
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
    std::map<std::string, std::uint32_t> ranks;
    for (const File& one : (*opened)->files())
        if (one.rank)
            ranks.emplace(one.name, *one.rank);
    EXPECT_EQ(ranks.at("zero_pp_rank_0_mp_rank_03_optim_states.pt"), 5u);
    EXPECT_EQ(ranks.at("zero_pp_rank_1_mp_rank_03_optim_states.pt"), 7u);
    EXPECT_EQ(ranks.at("zero_pp_rank_1_mp_rank_00_optim_states.pt"), 2u);
    EXPECT_EQ(ranks.at("zero_pp_rank_0_mp_rank_01_optim_states.pt"), 1u);
    EXPECT_EQ((*opened)->topology().worldSize(), 8u);
    EXPECT_THAT(floatsOf(*opened, "1.mlp.dense_h_to_4h.weight"), ElementsAre(1, 2, 3, 4, 1, 2, 3, 4));
}

TEST_F(PipelineRun, AMissingModelParallelRankIsSaid)
{
    for (std::uint32_t mpRank = 0; mpRank < 4; ++mpRank) {
        rank(mpRank, {{fmt::format("{}.mlp.dense_h_to_4h.weight", mpRank / 2), {2, 1}, {1, 2}}}, 4, 2);
        layer(fmt::format("layer_{:02d}-model_{:02d}-model_states.pt", mpRank / 2, mpRank % 2), {{"mlp.dense_h_to_4h.weight", {2, 1}, {1, 2}}});
    }
    std::filesystem::remove(file("mp_rank_03_model_states.pt"));
    std::filesystem::remove(file("zero_pp_rank_0_mp_rank_03_optim_states.pt"));
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), Contains(HasSubstr("Model-parallel rank 3 (mp_rank_03) cannot be read")));
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "1.mlp.dense_h_to_4h.weight")).shape, (Shape{4, 1}));
    EXPECT_THAT(floatsOf(*opened, "0.mlp.dense_h_to_4h.weight"), ElementsAre(1, 2, 1, 2));
}

// PipelineModule.ckpt_prefix: the coordinates in the name, with or without a tensor-parallel rank, and whatever the client put behind.
TEST_F(PipelineRun, FilesNamedByTheirStageAreOneModel)
{
    for (std::uint32_t pipe = 0; pipe < 2; ++pipe)
        for (std::uint32_t model = 0; model < 2; ++model) {
            const auto base = static_cast<float>(10 * model);
            writeRankFile(file(fmt::format("module-pipe_{:02d}-model_{:02d}{}", pipe, model, pipe == 0 ? ".pt" : "_model_states.pt")), pipe == 0 ? "" : "module",
                          {{fmt::format("{}.mlp.dense_h_to_4h.weight", pipe), {2, 1}, {base, base + 1}}});
        }
    auto opened = openPath(m_folder.file("step"));
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
    EXPECT_EQ((*opened)->topology().text(), "pipeline parallel 2, data parallel 1, tensor parallel 2");
    for (const char* name : {"0.mlp.dense_h_to_4h.weight", "1.mlp.dense_h_to_4h.weight"})
        EXPECT_THAT(floatsOf(*opened, name), ElementsAre(0, 1, 10, 11));
    TargetOptions options;
    options.pp = 1;
    JobContext job;
    const auto target = formatById("deepspeed")->layOut(*opened, options, job);
    ASSERT_FALSE(target);
    EXPECT_EQ(target.error().text(), "module-pipe_00-model_00.pt is a state dict of the module alone: there is nothing to resume from");

    for (const int model : {0, 1}) {
        const std::string name = fmt::format("module-pipe_01-model_{:02d}_model_states.pt", model);
        std::filesystem::rename(file(name), m_folder.file("aside"));
        opened = openPath(m_folder.file("step"));
        ASSERT_TRUE(opened) << opened.error().text();
        EXPECT_THAT(findingsOf(**opened), Contains(HasSubstr(fmt::format("Model-parallel rank {} (module-pipe_01-model_{:02d}) cannot be read", 2 + model, model))));
        std::filesystem::rename(m_folder.file("aside"), file(name));
    }

    writeRankFile(file("mp_rank_00_model_states.pt"), "module", {{"0.weight", {1}, {1}}});
    EXPECT_THAT(openPath(m_folder.file("step")).error().text(), HasSubstr("two files of one rank"));
}

TEST_F(PipelineRun, OneStageByItselfIsOpened)
{
    for (const char* name : {"module-pipe_00_model_states.pt", "module-pipe_00-model_states.pt"})
        EXPECT_TRUE(classify(name) && classify(name)->pipe && !classify(name)->model) << name;
    EXPECT_EQ(classify("module-pipe_00-model_03-model_states.pt")->model, 3u);
    for (const char* name : {"module-pipe_0.pt", "module-pipe_00-data_01.pt", "module-pipe_00.txt", "module-pipe_00-model_.pt"})
        EXPECT_FALSE(classify(name)) << name;
    writeRankFile(file("module-pipe_00.pt"), "", {{"0.weight", {2}, {1, 2}}});
    const auto opened = openPath(m_folder.file("step"));
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_THAT(floatsOf(*opened, "0.weight"), ElementsAre(1, 2));
    TargetOptions options;
    JobContext job;
    const auto target = formatById("deepspeed")->layOut(*opened, options, job);
    ASSERT_FALSE(target);
    EXPECT_THAT(target.error().text(), HasSubstr("is a state dict of the module alone"));
}

} // namespace
} // namespace shardlens::deepspeed
