#include "core/layout/pipeline_layers.h"

#include "core/layout/parameter_use.h"
#include "core/layout/partition.h"
#include "core/model/checkpoint_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardlens {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Builds a checkpoint from names; what a reader of the formats would leave.
class Model {
public:
    Model() : m_builder("model", ".") {}

    FileId file(const std::string& name, File::State state = File::State::Read)
    {
        File file;
        file.name = file.path = name;
        file.size = 1 << 20;
        file.state = state;
        return m_builder.addFile(file);
    }
    // A tensor that lies whole in each of the files.
    void add(const std::string& name, RoleKind kind, const Shape& shape, bool moduleCopy, const std::vector<FileId>& files = {},
             const Holder& holder = {})
    {
        const TensorId id =
            m_builder.addTensor({m_builder.parameter(name), m_builder.role(kind, kind == RoleKind::OptimizerState ? "exp_avg" : "x"),
                                 DType::F32, Combine::Replicas, moduleCopy, shape});
        for (const FileId file : files)
            EXPECT_TRUE(m_builder.addWhole(id, {m_builder.streamOf(file), 0, m_builder.holder(holder), {}}).ok());
    }
    // A trained parameter: a master without a layer file, and the module's copy in layer files.
    void addTrained(const std::string& name, const Shape& shape, const std::vector<FileId>& files = {})
    {
        add(name, RoleKind::Weight, shape, false);
        add(name, RoleKind::Module, shape, false, files);
    }
    void addPlain(const std::string& name, const Shape& shape, const std::vector<FileId>& files = {})
    {
        add(name, RoleKind::Weight, shape, true, files);
    }
    CheckpointBuilder& builder() { return m_builder; }

    Result<PipelineLayers> layers(const LayerOptions& options = {}) { return pipelineLayersOf(*std::move(m_builder).finish(), options); }

private:
    CheckpointBuilder m_builder;
};

// "NAME:weight/frozen"
std::vector<std::string> rowsOf(const Result<PipelineLayers>& layers)
{
    std::vector<std::string> out;
    if (!layers)
        return {layers.error().text()};
    for (const PipelineLayer& layer : layers->layers)
        out.push_back(layer.name + ":" + std::to_string(layer.weight) + "/" + std::to_string(layer.frozen));
    return out;
}

TEST(PipelineLayers, CountTrainedParametersOfLayerFiles)
{
    Model model;
    const FileId file0 = model.file("global_step3/layer_00-model_states.pt");
    const FileId file1 = model.file("global_step3/layer_01-model_states.pt");
    const FileId file3 = model.file("global_step3/layer_03-model_states.pt");
    model.addTrained("tied_modules.embed.weight", {11, 5}, {file0, file3}); // without a forward function each place has a file
    model.addTrained("1.up.weight", {7, 5}, {file1});
    model.addPlain("1.frozen", {3, 3}, {file1});
    model.add("1.mean", RoleKind::Buffer, {5}, true, {file1});
    const auto layers = model.layers();
    EXPECT_THAT(rowsOf(layers), ElementsAre("0:55/0", "1:35/9", "2:0/0", "3:55/0"));
    EXPECT_TRUE(layers->isPipelineRun);
    EXPECT_THAT(layers->notes, ElementsAre(HasSubstr("Layers 0 to 3")));
    EXPECT_EQ(layers->layers.at(1).bytes, 2 * 35 * 4 + 9 * 4 + 5 * 4u);
    EXPECT_THAT(layers->layers.at(3).parameters, ElementsAre("tied_modules.embed.weight"));
    EXPECT_THAT(weightsOf(*layers), ElementsAre(55, 35, 0, 55));
}

TEST(PipelineLayers, EndAtTheHighestFileEvenIfItIsLostOrHoldsNothing)
{
    Model model;
    const FileId file0 = model.file("layer_00-model_00-model_states.pt");
    model.file("layer_04-model_01-model_states.pt", File::State::Missing);
    model.addTrained("0.weight", {4}, {file0});
    EXPECT_THAT(rowsOf(model.layers()), ElementsAre("0:4/0", "1:0/0", "2:0/0", "3:0/0", "4:0/0"));
}

TEST(PipelineLayers, SayWhichTiedParameterHasNoPlace)
{
    Model model;
    model.addTrained("tied_modules.embed.weight", {4});
    model.addTrained("2.weight", {3});
    const auto layers = model.layers();
    EXPECT_THAT(rowsOf(layers), ElementsAre("0:0/0", "1:0/0", "2:3/0"));
    EXPECT_THAT(layers->notes, Contains(HasSubstr("which layer holds tied_modules.embed.weight: not counted")));
}

TEST(PipelineLayers, ATiedLayerCountsAtEveryPositionUnderItsOtherNameToo)
{
    Model model;
    const FileId file0 = model.file("layer_00-model_states.pt");
    const FileId file2 = model.file("layer_02-model_states.pt");
    model.addPlain("0.weight", {6}, {file0, file2});
    model.addPlain("1.weight", {5});
    model.builder().addAlias("2.weight", model.builder().parameter("0.weight"));
    EXPECT_THAT(rowsOf(model.layers()), ElementsAre("0:6/0", "1:5/0", "2:6/0"));
}

TEST(PipelineLayers, WithoutZeroTheShapesOfStatesTellWhatIsFrozen)
{
    Model model;
    const FileId file = model.file("layer_01-model_states.pt");
    model.addPlain("0.weight", {13, 6});
    model.addPlain("1.up", {4, 6}, {file});
    model.addPlain("1.down", {6, 17}, {file}); // frozen
    model.addPlain("2.weight", {13, 6});
    // Each stage numbers from 0; 10 stands behind 9.
    const auto state = [&](const std::string& name, const Shape& shape, std::uint32_t stage) {
        model.add(name, RoleKind::OptimizerState, shape, false, {file}, {{{Axis::Pp, stage}}});
    };
    state("9", {13, 6}, 0);
    state("10", {4, 6}, 0);
    state("0", {13, 6}, 1);
    const auto layers = model.layers();
    EXPECT_THAT(rowsOf(layers), ElementsAre("0:78/0", "1:24/102", "2:78/0"));
    EXPECT_THAT(layers->notes, Contains(HasSubstr("told by the shapes")));
    EXPECT_THAT(layers->notes, Not(Contains(HasSubstr("more than one way"))));
}

TEST(PipelineLayers, SayWhereShapesLeaveFrozenOpen)
{
    Model model;
    for (const char* name : {"0.weight", "1.weight", "2.weight"})
        model.addPlain(name, {4});
    model.add("0", RoleKind::OptimizerState, {4}, false);
    model.add("1", RoleKind::OptimizerState, {4}, false);
    const auto layers = model.layers();
    EXPECT_THAT(rowsOf(layers), ElementsAre("0:4/0", "1:4/0", "2:0/4"));
    EXPECT_THAT(layers->notes, Contains(HasSubstr("more than one way")));
}

TEST(PipelineLayers, CountEverythingWhereNothingTells)
{
    Model model;
    model.addPlain("0.weight", {4});
    model.addPlain("1.weight", {3});
    model.add("1.mean", RoleKind::Buffer, {9}, true);
    model.add("7", RoleKind::OptimizerState, {99}, false); // fits no parameter
    const auto layers = model.layers();
    EXPECT_THAT(rowsOf(layers), ElementsAre("0:4/0", "1:3/0"));
    EXPECT_THAT(layers->notes, Contains(HasSubstr("all that are no buffers count")));
}

TEST(PipelineLayers, CountOneTensorParallelRank)
{
    Model model;
    model.builder().setTopology({{{Axis::Pp, 1}, {Axis::Dp, 2}, {Axis::Tp, 2}}});
    const FileId file = model.file("layer_00-model_00-model_states.pt");
    CheckpointBuilder& builder = model.builder();
    const auto add = [&](const std::string& name, bool isSplit) {
        const TensorId id = builder.addTensor(
            {builder.parameter(name), builder.role(RoleKind::Module, "module copy"), DType::F32, Combine::Replicas, false, {6, 4}});
        for (std::uint32_t rank = 0; rank < 2; ++rank) {
            const Box box{{isSplit ? rank * 3 : 0u, 0}, {isSplit ? 3u : 6u, 4}};
            for (int replica = 0; replica < 2; ++replica)
                EXPECT_TRUE(builder.addPiece(id, BoxView(box), {builder.streamOf(file), 0, builder.holder({{{Axis::Tp, rank}}}), {}}).ok());
        }
        builder.addTensor(
            {builder.parameter(name), builder.role(RoleKind::Weight, "fp32 master"), DType::F32, Combine::Exclusive, false, {6, 4}});
    };
    add("0.split", true);
    add("0.whole", false);
    const auto layers = model.layers();
    EXPECT_THAT(rowsOf(layers), ElementsAre("0:36/0"));
    EXPECT_THAT(layers->notes, Contains(HasSubstr("one of 2 tensor-parallel ranks")));
}

TEST(PipelineLayers, KnowTheStagesAndRanksOfTheirRun)
{
    const auto run = [](const Topology& topology) {
        Model model;
        model.builder().setTopology(topology);
        model.addTrained("h.0.w", {3});
        model.addTrained("h.1.w", {3});
        return model.layers().take();
    };
    const PipelineLayers usual = run({{{Axis::Pp, 3}, {Axis::Dp, 2}, {Axis::Tp, 4}}});
    EXPECT_EQ(usual.stages, 3u);
    ASSERT_TRUE(usual.axes);
    EXPECT_EQ(usual.axes->dp, 2u);
    EXPECT_EQ(usual.axes->tp, 4u);
    EXPECT_EQ(run({{{Axis::Pp, 2}, {Axis::Tp, 4}}}).axes->dp, 1u);
    EXPECT_EQ(run({{{Axis::Dp, 2}}}).stages, 0u);
    EXPECT_EQ(run({{{Axis::Pp, 1}, {Axis::Dp, 2}}}).stages, 0u) << "one stage is no pipeline";
    EXPECT_FALSE(run({{{Axis::Tp, 2}, {Axis::Pp, 2}}}).axes) << "ranks are numbered in another order";
    EXPECT_FALSE(run({{{Axis::Pp, 2}, {Axis::Ep, 2}}}).axes);
    EXPECT_TRUE(run({{{Axis::Dp, 1}, {Axis::Pp, 2}, {Axis::Tp, 2}}}).axes) << "an axis of one is of no account";
}

TEST(NumberedLayers, HaveEntriesBeforeAndBehind)
{
    Model model;
    model.addTrained("model.embed.weight", {10, 2});
    for (const char* name : {"model.layers.0.up", "model.layers.2.up", "model.layers.10.up"})
        model.addTrained(name, {5});
    model.addPlain("model.layers.2.frozen", {7});
    model.addTrained("model.norm", {2});
    model.builder().addAlias("lm_head.weight", model.builder().parameter("model.embed.weight"));
    const auto layers = model.layers();
    EXPECT_THAT(rowsOf(layers),
                ElementsAre("before the layers:20/0", "model.layers.0:5/0", "model.layers.1:0/0", "model.layers.2:5/7",
                            "model.layers.3:0/0", "model.layers.4:0/0", "model.layers.5:0/0", "model.layers.6:0/0", "model.layers.7:0/0",
                            "model.layers.8:0/0", "model.layers.9:0/0", "model.layers.10:5/0", "behind the layers:22/0"));
    EXPECT_FALSE(layers->isPipelineRun);
    EXPECT_THAT(layers->notes,
                ElementsAre(HasSubstr("model.embed.weight. One entry before the layers."),
                            HasSubstr("model.norm, lm_head.weight. One entry behind"), HasSubstr("need not be the model's")));
}

TEST(NumberedLayers, SeveralRowsKeepWhatStandsBetween)
{
    Model model;
    for (const char* name : {"shared", "encoder.block.0.w", "encoder.block.1.w", "encoder.norm", "decoder.block.0.layer.0.w",
                             "decoder.block.0.layer.1.w", "decoder.block.1.layer.0.w", "decoder.norm", "pooler.0.w"})
        model.addPlain(name, {3});
    EXPECT_THAT(rowsOf(model.layers()),
                ElementsAre("before the layers:3/0", "encoder.block.0:3/0", "encoder.block.1:3/0", "behind encoder.block.*:3/0",
                            "decoder.block.0:6/0", "decoder.block.1:3/0", "behind the layers:6/0"));
}

TEST(NumberedLayers, SortedNamesPutTheHeadBehindAndPatternsSayTheRest)
{
    const auto sorted = [] {
        auto model = std::make_unique<Model>();
        for (const char* name : {"lm_head", "model.h.0.w", "model.h.1.w", "model.norm", "model.wte"})
            model->addPlain(name, {3});
        return model;
    };
    const auto layers = sorted()->layers();
    EXPECT_THAT(rowsOf(layers), ElementsAre("model.h.0:3/0", "model.h.1:3/0", "behind the layers:9/0"));
    EXPECT_THAT(layers->notes, Contains(HasSubstr("The names are sorted")));
    LayerOptions options;
    options.before = Regex::compile("wte|norm").take();
    EXPECT_THAT(rowsOf(sorted()->layers(options)),
                ElementsAre("before the layers:6/0", "model.h.0:3/0", "model.h.1:3/0", "behind the layers:3/0"));
    options.behind = Regex::compile(".").take();
    EXPECT_THAT(rowsOf(sorted()->layers(options)).back(), "behind the layers:3/0") << "--before decides first";
}

TEST(NumberedLayers, MayBeOneLayer)
{
    Model model;
    for (const char* name : {"embed", "layers.0.w", "layers.0.b", "norm"})
        model.addPlain(name, {3});
    EXPECT_THAT(rowsOf(model.layers()), ElementsAre("before the layers:3/0", "layers.0:6/0", "behind the layers:3/0"));
}

TEST(NumberedLayers, RefuseModelsWithoutNumbersAndNumbersWithoutEnd)
{
    Model plain;
    plain.addPlain("weight", {2});
    plain.addPlain("head.weight.0", {2}); // a number that names no module
    EXPECT_THAT(rowsOf(plain.layers()), ElementsAre(HasSubstr("no names number its layers")));
    Model endless;
    endless.addPlain("h.0.w", {2});
    endless.addPlain("h.100000.w", {2});
    EXPECT_THAT(rowsOf(endless.layers()), ElementsAre(HasSubstr("layer number 100,000, less than 100,000 are allowed")));
    Model pipeline;
    pipeline.addPlain("999999999.weight", {2});
    EXPECT_THAT(rowsOf(pipeline.layers()), ElementsAre(HasSubstr("layer number 999,999,999")));
    Model files;
    files.file("layer_123456-model_states.pt");
    EXPECT_THAT(rowsOf(files.layers()), ElementsAre(HasSubstr("layer number 123,456")));
}

TEST(LayerFiles, AreNumberedByTheirNames)
{
    EXPECT_EQ(layerNumberOfFile("global_step1/layer_07-model_states.pt"), 7u);
    EXPECT_EQ(layerNumberOfFile("layer_112-model_01-model_states.pt"), 112u);
    for (const char* bad : {"layer_-model_states.pt", "layer_1x-model_states.pt", "layer_01-model_-model_states.pt",
                            "player_01-model_states.pt", "layer_01-model_states.pth", "layer_01-model_a-model_states.pt",
                            "layer_9999999999-model_states.pt", "mp_rank_00_model_states.pt", "layer_model_states.pt", ""})
        EXPECT_EQ(layerNumberOfFile(bad), std::nullopt) << bad;
}

} // namespace
} // namespace shardlens
