#include "tests/core/convert/convert_fixture.h"

#include <gmock/gmock.h>

#include <algorithm>

namespace shardlens::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PlanTest : public ConvertTest {
protected:
    // The tied pair of a small language model, with optimizer state and a tensor that is neither.
    CheckpointPtr model()
    {
        return tiny({{"embed.weight", DType::F32, {4, 2}},
                     {"norm.bias", DType::BF16, {3}},
                     {"steps", DType::I64, {}, {}, RoleKind::Buffer},
                     {"embed.weight", DType::F32, {4, 2}, {}, RoleKind::OptimizerState},
                     {"rng", DType::U8, {5}, {}, RoleKind::Other}},
                    {{"head.weight", "embed.weight"}});
    }
};

TEST_F(PlanTest, SaysWhatIsWrittenAndWhatIsNot)
{
    EXPECT_THAT(planLinesOf(model(), request("out")),
                ElementsAre("4 tensors, 374 B written, 78 B read", "file model.safetensors: 4 tensors, 374 B", "kept Weights: 4 tensors, 78 B.",
                            "duplicated Tied names: embed.weight and head.weight were tied; safetensors knows no ties, so the values are written twice (32 B).",
                            "dropped Optimizer state: Not carried over: 1 tensor, 32 B.", "dropped Other tensors: Not carried over: 1 tensor, 5 B: rng."));
}

TEST_F(PlanTest, KeepsTiesInATorchFile)
{
    const auto made = plan(model(), request("model.pt", "torch"));
    ASSERT_TRUE(made.ok()) << made.error().text();
    EXPECT_TRUE(made->targetIsFile);
    EXPECT_EQ(made->files.front().name, "model.pt");
    EXPECT_EQ(made->bytesToRead, 46u); // the tied bytes once
    EXPECT_THAT(planText(*made), Contains("info Tied names: head.weight shares the bytes of embed.weight, as it does in the source."));
    const auto tied = std::find_if(made->files.front().tensors.begin(), made->files.front().tensors.end(), [](const PlannedTensor& one) { return one.isAlias; });
    ASSERT_NE(tied, made->files.front().tensors.end());
    EXPECT_TRUE(tied->sharesBytes);
}

TEST_F(PlanTest, CastsFloatingPointAndNothingElse)
{
    ConvertRequest wanted = request("out");
    wanted.dtype = DType::BF16;
    const auto made = plan(model(), wanted);
    ASSERT_TRUE(made.ok()) << made.error().text();
    EXPECT_THAT(planText(*made), Contains("cast Cast: F32 to BF16: 2 tensors, 32 B."));
    std::vector<std::string> types;
    for (const PlannedTensor& tensor : made->files.front().tensors)
        types.push_back(tensor.name + " " + std::string(nameOf(tensor.dtype)));
    EXPECT_THAT(types, ElementsAre("steps I64", "embed.weight BF16", "head.weight BF16", "norm.bias BF16")); // the reference writer's order
}

TEST_F(PlanTest, LeavesOutWhatPatternsSay)
{
    ConvertRequest wanted = request("out");
    wanted.exclude = {"^steps$", "head"};
    EXPECT_THAT(planLinesOf(model(), wanted), ElementsAre("2 tensors, 214 B written, 38 B read", "file model.safetensors: 2 tensors, 214 B", "kept Weights: 2 tensors, 38 B.",
                                                          "dropped Patterns: Left out by --include and --exclude: 1 tensor, 8 B.",
                                                          "dropped Optimizer state: Not carried over: 1 tensor, 32 B.",
                                                          "dropped Other tensors: Not carried over: 1 tensor, 5 B: rng."));
}

TEST_F(PlanTest, TakesOptimizerStatesUnderTheirFullNames)
{
    ConvertRequest wanted = request("out");
    wanted.select = Select::Optimizer;
    const auto made = plan(model(), wanted);
    ASSERT_TRUE(made.ok()) << made.error().text();
    ASSERT_EQ(made->tensorCount(), 1u);
    EXPECT_EQ(made->files.front().tensors.front().name, "embed.weight/exp_avg");
}

TEST_F(PlanTest, SplitsAFolderAndIndexesIt)
{
    ConvertRequest wanted = request("out");
    wanted.maxShardBytes = 40;
    const auto made = plan(model(), wanted);
    ASSERT_TRUE(made.ok()) << made.error().text();
    std::vector<std::string> files;
    for (const PlannedFile& file : made->files)
        files.push_back(file.name);
    EXPECT_THAT(files, ElementsAre("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors", "model.safetensors.index.json"));
}

TEST_F(PlanTest, NamesTorchShardsAsTransformersDoes)
{
    ConvertRequest wanted = request("out", "torch");
    wanted.maxShardBytes = 40;
    const auto made = plan(model(), wanted);
    ASSERT_TRUE(made.ok()) << made.error().text();
    std::vector<std::string> files;
    for (const PlannedFile& file : made->files)
        files.push_back(file.name);
    EXPECT_THAT(files, ElementsAre("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"));
}

TEST_F(PlanTest, TakesTheFormatFromTheTargetsName)
{
    ConvertRequest wanted = request("model.pth");
    wanted.to.reset();
    const auto made = plan(model(), wanted);
    ASSERT_TRUE(made.ok()) << made.error().text();
    EXPECT_EQ(made->formatId, "torch");
    EXPECT_EQ(made->request.to, "torch");
}

TEST_F(PlanTest, FillsInEveryDefault)
{
    ConvertRequest wanted = request("out");
    wanted.threads = 0;
    const auto made = plan(model(), wanted);
    ASSERT_TRUE(made.ok()) << made.error().text();
    EXPECT_EQ(made->request.threads, availableThreads());
    EXPECT_EQ(made->request.maxShardBytes, kDefaultShardBytes);
    EXPECT_LE(made->peakBufferBytes + made->metadataBytes, kDefaultMemoryLimit);
}

TEST_F(PlanTest, CoversEveryByteOfItsFiles)
{
    for (const char* to : {"safetensors", "torch"}) {
        ConvertRequest wanted = request("out", to);
        wanted.maxShardBytes = 40;
        const auto made = plan(model(), wanted);
        ASSERT_TRUE(made.ok()) << made.error().text();
        for (const PlannedFile& file : made->files) {
            std::vector<int> times(file.sizeBytes, 0);
            for (const PlannedBytes& literal : file.literals)
                for (std::size_t i = 0; i < literal.bytes.size(); ++i)
                    ++times.at(literal.offset + i);
            for (const PlannedTensor& tensor : file.tensors)
                for (std::size_t i = 0; !tensor.sharesBytes && i < tensor.sizeBytes; ++i)
                    ++times.at(tensor.offset + i);
            EXPECT_THAT(times, ::testing::Each(1)) << file.name;
        }
    }
}

TEST_F(PlanTest, OfARunReadsEveryMasterOnceAndSaysWhatIsLeftBehind)
{
    writeRun();
    const auto lines = planLinesOf(openRun(), request("out"));
    ASSERT_GE(lines.size(), 4u);
    EXPECT_THAT(lines[0], ::testing::StartsWith("3 tensors, "));
    EXPECT_THAT(lines[0], ::testing::EndsWith("208 B read")); // (35 + 12 + 5) values of 4 B
    EXPECT_THAT(lines, Contains("kept Weights: 3 tensors, 208 B."));
    EXPECT_THAT(lines, Contains("dropped Module copies: Not carried over: 3 tensors, 104 B."));
    EXPECT_THAT(lines, Contains(::testing::StartsWith("dropped Optimizer state: Not carried over: ")));
    EXPECT_THAT(lines, Contains(::testing::AllOf(::testing::StartsWith("dropped Other values: "), HasSubstr("ds_config"))));
}

} // namespace
} // namespace shardlens::test
