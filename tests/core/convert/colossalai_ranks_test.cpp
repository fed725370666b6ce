#include "core/encoding/tensor_reader.h"
#include "core/layout/selection.h"
#include "tests/core/convert/convert_fixture.h"
#include "tests/support/colossalai_test_run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>

namespace shardlens::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// dtype, shape and bytes of every tensor of a selection, by name.
using SelectedValues = std::map<std::string, std::pair<std::string, std::vector<std::byte>>>;

SelectedValues selectedValues(const CheckpointPtr& checkpoint, Select select)
{
    SelectedValues out;
    const StreamSet streams(checkpoint);
    for (const SelectedTensor& one : selectTensors(*checkpoint, {select, {}, {}})) {
        const Tensor& tensor = checkpoint->tensor(one.tensor);
        auto reader = TensorReader::open(streams, one.tensor);
        EXPECT_TRUE(reader.ok()) << reader.error().text();
        std::vector<std::byte> bytes(reader ? reader->sizeBytes() : 0);
        const Status read = reader ? reader->readAt(0, bytes) : Status();
        EXPECT_TRUE(read.ok());
        out[one.name] = {fmt::format("{} {}", nameOf(tensor.dtype), fmt::join(tensor.shape, "x")), std::move(bytes)};
    }
    return out;
}

class ColossalaiRanks : public ConvertTest {
protected:
    CheckpointPtr open(const std::string& name)
    {
        JobContext job;
        auto opened = openCheckpoint(path(name), {}, job);
        EXPECT_TRUE(opened.ok()) << opened.error().text();
        return opened ? opened.take() : nullptr;
    }

    ConvertRequest toRanks(const std::string& target, std::uint32_t tp, std::uint32_t pp) const
    {
        ConvertRequest out = request(target, "colossalai");
        out.tp = tp;
        out.pp = pp;
        return out;
    }

    // Four layers, a vocabulary that nothing divides, a fused projection, a buffer.
    void writeModel(const std::string& name, std::uint32_t tp, bool safetensors) const
    {
        DistTestRun run;
        run.count = tp;
        run.safetensors = safetensors;
        run.tensors = {copiedTensor("model.embed_tokens.weight", {7, 4}, 0, tp)};
        for (int layer = 0; layer < 4; ++layer) {
            const std::string prefix = fmt::format("model.layers.{}.", layer);
            run.tensors.push_back(slicedTensor(prefix + "self_attn.q_proj.weight", {12, 4}, 100.0f * static_cast<float>(layer + 1), 0, tp));
            run.tensors.push_back(slicedTensor(prefix + "self_attn.o_proj.weight", {4, 12}, 500.0f * static_cast<float>(layer + 1), 1, tp));
            run.tensors.push_back(copiedTensor(prefix + "input_layernorm.weight", {4}, 7, tp));
        }
        run.tensors.push_back(copiedTensor("model.norm.weight", {4}, 9, tp));
        run.buffers = {{"model.layers.0.seen", 3}};
        run.write(path(name));
    }
};

TEST_F(ColossalaiRanks, AnySizesGiveTheSameModel)
{
    for (const std::uint32_t from : {1u, 2u, 3u})
        writeModel(fmt::format("tp{}", from), from, from % 2 == 0);
    const SelectedValues expected = selectedValues(open("tp1"), Select::Weights);
    ASSERT_EQ(expected.size(), 15u);
    std::mt19937 random(11);
    for (int round = 0; round < 16; ++round) {
        const CheckpointPtr source = open(fmt::format("tp{}", 1 + random() % 3));
        EXPECT_EQ(selectedValues(source, Select::Weights), expected);
        const std::uint32_t sizes[] = {1, 2, 3, 4, 6};
        ConvertRequest wanted = toRanks(fmt::format("out{}", round), sizes[random() % 5], 1 + static_cast<std::uint32_t>(random() % 4));
        if (wanted.tp == 6u)
            wanted.tp = 12; // q_proj's rows and o_proj's columns
        wanted.outputFormat = round % 2 == 0 ? "bin" : "safetensors";
        if (round % 3 == 0)
            wanted.maxShardBytes = 200;
        if (round % 4 == 0)
            wanted.prefix = "step_20";
        ASSERT_EQ(convert(source, wanted), "");
        const CheckpointPtr result = open(wanted.target.substr(path("").size()));
        ASSERT_NE(result, nullptr);
        EXPECT_EQ(selectedValues(result, Select::Weights), expected) << wanted.target;
        EXPECT_EQ(result->topology().sizeOf(Axis::Tp), *wanted.tp);
        EXPECT_EQ(result->topology().sizeOf(Axis::Pp), *wanted.pp);
    }
}

TEST_F(ColossalaiRanks, SizesAndContainerAreTheSourcesUnlessSaidOtherwise)
{
    writeModel("run", 2, true);
    const CheckpointPtr source = open("run");
    ASSERT_EQ(convert(source, request("out", "colossalai")), "");
    EXPECT_TRUE(std::filesystem::exists(path("out/model-dist-00001-shard-00000.safetensors")));
    EXPECT_TRUE(std::filesystem::exists(path("out/pytorch_model-meta-dist-00001.index.json")));
    EXPECT_FALSE(std::filesystem::exists(path("out/pytorch_model-meta-dist-00002.index.json")));
}

TEST_F(ColossalaiRanks, ASizeThatDoesNotDivideIsRefusedByTensorDimensionAndSize)
{
    writeModel("run", 1, false);
    EXPECT_THAT(planLinesOf(open("run"), toRanks("out", 5, 1)), ElementsAre(AllOf(HasSubstr("model.layers.0.self_attn.q_proj.weight"), HasSubstr("dimension 0"),
                                                                                  HasSubstr("tensor parallel 5"))));
    EXPECT_THAT(planLinesOf(open("run"), toRanks("out", 1, 5)), ElementsAre(HasSubstr("4 layers cannot be divided over 5 pipeline stages")));
}

TEST_F(ColossalaiRanks, OptionsThatMeanNothingAreRefused)
{
    writeModel("run", 1, false);
    const CheckpointPtr source = open("run");
    ConvertRequest wanted = request("out", "colossalai");
    wanted.dp = 2;
    EXPECT_THAT(planLinesOf(source, wanted), ElementsAre(HasSubstr("--dp means nothing")));
    wanted = toRanks("out", 2, 1);
    wanted.rank = 2;
    EXPECT_THAT(planLinesOf(source, wanted), ElementsAre(HasSubstr("the dist ids 0 to 1")));
    wanted = request("out", "colossalai");
    wanted.prefix = "a/b";
    EXPECT_THAT(planLinesOf(source, wanted), ElementsAre(HasSubstr("--prefix a/b")));
}

TEST_F(ColossalaiRanks, LayersGoToStagesWithTheRestInTheMiddle)
{
    writeModel("run", 1, false);
    ASSERT_EQ(convert(open("run"), toRanks("out", 1, 3)), ""); // 4 layers: 1, 2, 1
    const CheckpointPtr result = open("out");
    const auto stageOf = [&](const std::string& name) {
        for (std::size_t i = 0; i < result->tensors().size(); ++i)
            if (result->fullName(idAt<TensorId>(i)) == name)
                return result->rankOfPiece(result->pieces().at(idAt<PieceId>(result->pieces().firstOf(idAt<TensorId>(i))))).value_or(99);
        return 99u;
    };
    EXPECT_EQ(stageOf("model.embed_tokens.weight"), 0u);
    EXPECT_EQ(stageOf("model.layers.0.self_attn.q_proj.weight"), 0u);
    EXPECT_EQ(stageOf("model.layers.1.self_attn.q_proj.weight"), 1u);
    EXPECT_EQ(stageOf("model.layers.2.self_attn.q_proj.weight"), 1u);
    EXPECT_EQ(stageOf("model.layers.3.self_attn.q_proj.weight"), 2u);
    EXPECT_EQ(stageOf("model.norm.weight"), 2u);
}

TEST_F(ColossalaiRanks, OneRankIsTheFilesOfOneDistId)
{
    writeModel("run", 2, false);
    ConvertRequest wanted = toRanks("out", 2, 2);
    wanted.rank = 3;
    ASSERT_EQ(convert(open("run"), wanted), "");
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(path("out")))
        files.push_back(entry.path().filename());
    std::sort(files.begin(), files.end());
    EXPECT_THAT(files, ElementsAre("pytorch_model-dist-00003-shard-00000.bin", "pytorch_model-meta-dist-00003.json"));
}

TEST_F(ColossalaiRanks, TiedNamesAndPatternsAndTypesAreKept)
{
    const CheckpointPtr source = tiny({{"embed_tokens.weight", DType::F32, {4, 2}, bytesOfFloats({0, 1, 2, 3, 4, 5, 6, 7})},
                                       {"layers.0.norm.weight", DType::F32, {2}, bytesOfFloats({1, 2})}, {"layers.1.ids", DType::I64, {2}}},
                                      {{"lm_head.weight", "embed_tokens.weight"}});
    for (const std::uint32_t pp : {1u, 2u}) {
        ConvertRequest wanted = toRanks(fmt::format("out{}", pp), 2, pp);
        wanted.exclude = {"norm"};
        wanted.dtype = DType::F64;
        ASSERT_EQ(convert(source, wanted), "");
        const SelectedValues found = selectedValues(open(fmt::format("out{}", pp)), Select::Weights);
        ASSERT_EQ(found.size(), 3u);
        EXPECT_EQ(found.at("lm_head.weight"), found.at("embed_tokens.weight"));
        EXPECT_EQ(found.at("embed_tokens.weight").first, "F64 4x2");
        EXPECT_EQ(found.at("layers.1.ids").first, "I64 2");
    }
}

TEST_F(ColossalaiRanks, OptimizerStatesComeBackUnderTheirNames)
{
    writeRun(); // a ZeRO run with masters and moments
    const CheckpointPtr source = openRun();
    const SelectedValues weights = selectedValues(source, Select::Weights);
    const SelectedValues states = selectedValues(source, Select::Optimizer);
    ASSERT_FALSE(states.empty());
    for (const char* container : {"bin", "safetensors"}) {
        ConvertRequest wanted = toRanks(container, 1, 1);
        wanted.outputFormat = container;
        wanted.maxShardBytes = 100;
        EXPECT_THAT(planLinesOf(source, wanted), AllOf(Contains(HasSubstr("dropped Parameter groups")), Contains(HasSubstr("dropped Module copies"))));
        ASSERT_EQ(convert(source, wanted), "");
        const CheckpointPtr result = open(container);
        ASSERT_NE(result, nullptr);
        EXPECT_EQ(selectedValues(result, Select::Weights), weights);
        EXPECT_EQ(selectedValues(result, Select::Optimizer), states);
        ConvertRequest again = toRanks(fmt::format("{}2", container), 1, 1); // numbers and groups are kept
        EXPECT_THAT(planLinesOf(result, again), Not(Contains(HasSubstr("dropped"))));
        ASSERT_EQ(convert(result, again), "");
        EXPECT_EQ(selectedValues(open(fmt::format("{}2", container)), Select::All), selectedValues(result, Select::All));
    }
    ConvertRequest alone = request("alone", "colossalai");
    alone.select = Select::Optimizer;
    ASSERT_EQ(convert(source, alone), "");
    EXPECT_EQ(selectedValues(open("alone"), Select::Optimizer), states);
    alone = request("weights", "colossalai");
    alone.select = Select::Weights;
    ASSERT_EQ(convert(source, alone), "");
    EXPECT_EQ(selectedValues(open("weights"), Select::All), weights);
}

TEST_F(ColossalaiRanks, AHoleAndALostFileAreRefused)
{
    writeModel("run", 2, false);
    std::filesystem::remove(path("run/pytorch_model-dist-00001-shard-00000.bin"));
    EXPECT_THAT(planLinesOf(open("run"), request("out")), ElementsAre(HasSubstr("pytorch_model-dist-00001-shard-00000.bin")));
    DistTestRun holed;
    holed.count = 2;
    holed.tensors = {{"w", {6, 2}, 0, {{0, {0, 0}, {2, 2}, 0}, {1, {4, 0}, {2, 2}, 0}}}};
    holed.write(path("holed"));
    EXPECT_THAT(planLinesOf(open("holed"), request("out")), ElementsAre(HasSubstr("w: elements 4 to 7 of [6, 2] are missing")));
}

// Boxes that overlap without being equal: equal values are fine, others are refused with both places.
TEST_F(ColossalaiRanks, OverlappingBoxesMustAgree)
{
    for (const float added : {0.0f, 1.0f}) {
        DistTestRun run;
        run.count = 2;
        run.tensors = {{"w", {6, 2}, 0, {{0, {0, 0}, {4, 2}, 0}, {1, {3, 0}, {3, 2}, added}}}};
        run.write(path("run"));
        const auto lines = planLinesOf(open("run"), request("out"));
        if (added == 0) {
            EXPECT_THAT(lines, Not(Contains(HasSubstr("error"))));
            continue;
        }
        EXPECT_THAT(lines, ElementsAre(AllOf(HasSubstr("w:"), HasSubstr("pytorch_model-dist-00000-shard-00000.bin and pytorch_model-dist-00001-shard-00000.bin"),
                                                 HasSubstr("differ"))));
    }
}

// Names of another framework: the rules are for those of Hugging Face models.
TEST_F(ColossalaiRanks, ThatNoRuleKnowsMostNamesIsSaid)
{
    std::vector<ValuesTensor> tensors{{"embed_tokens.weight", {4, 2}, std::vector<float>(8, 1)}};
    for (int layer = 0; layer < 3; ++layer)
        tensors.push_back({fmt::format("decoder.layers.{}.mlp.linear_fc1.weight", layer), {4, 2}, std::vector<float>(8, 2)});
    writeValues(path("foreign.safetensors"), tensors);
    EXPECT_THAT(planLinesOf(open("foreign.safetensors"), toRanks("out", 2, 1)), Contains(AllOf(HasSubstr("Little is cut"), HasSubstr("decoder.layers.0.mlp.linear_fc1.weight"))));
    EXPECT_THAT(planLinesOf(open("foreign.safetensors"), toRanks("out", 1, 1)), Not(Contains(HasSubstr("Little is cut"))));
    writeModel("known", 2, true);
    EXPECT_THAT(planLinesOf(open("known"), toRanks("out", 2, 1)), Not(Contains(HasSubstr("Little is cut"))));
}

// Equal boxes are copies by the metadata alone: a file of another save among them shows by its values.
TEST_F(ColossalaiRanks, CopiesThatDifferAreSaid)
{
    for (const float added : {0.0f, 1.0f}) {
        DistTestRun run;
        run.count = 2;
        run.tensors = {{"w", {3, 2}, 0, {{0, {0, 0}, {3, 2}, 0}, {1, {0, 0}, {3, 2}, added}}}};
        run.write(path("run"));
        const auto lines = planLinesOf(open("run"), request("out"));
        const auto said = Contains(AllOf(HasSubstr("Copies differ"), HasSubstr("w:"), HasSubstr("pytorch_model-dist-00000-shard-00000.bin and pytorch_model-dist-00001-shard-00000.bin"),
                                         HasSubstr("lowest dist id")));
        if (added == 0)
            EXPECT_THAT(lines, Not(Contains(HasSubstr("differ"))));
        else
            EXPECT_THAT(lines, said);
    }
}

} // namespace
} // namespace shardlens::test
