#include "core/model/coverage.h"
#include "tests/core/format/format_fixture.h"
#include "tests/support/colossalai_test_run.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>

namespace shardlens::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::vector<float> countingUp(std::size_t count, float first)
{
    std::vector<float> out(count);
    std::iota(out.begin(), out.end(), first);
    return out;
}

class DistModel : public testing::Test {
protected:
    // tp 2, pp 2
    static DistTestRun grid()
    {
        DistTestRun run;
        run.count = 4;
        run.tensors = {slicedTensor("model.embed_tokens.weight", {8, 3}, 0, 0, 2, 0), slicedTensor("model.layers.0.self_attn.o_proj.weight", {4, 4}, 100, 1, 2, 0),
                       copiedTensor("model.layers.0.input_layernorm.weight", {4}, 200, 2, 0), slicedTensor("model.layers.1.self_attn.q_proj.weight", {4, 4}, 300, 0, 2, 1),
                       copiedTensor("model.norm.weight", {4}, 400, 2, 1)};
        return run;
    }

    CheckpointPtr open(const std::string& name = {})
    {
        auto opened = openPath(name.empty() ? m_folder.path().string() : m_folder.file(name));
        EXPECT_TRUE(opened.ok()) << opened.error().text();
        return opened ? opened.take() : nullptr;
    }

    TemporaryFolder m_folder;
};

TEST_F(DistModel, BoxesOfAllDistIdsAreOneModel)
{
    for (const bool safetensors : {false, true}) {
        DistTestRun run = grid();
        run.safetensors = safetensors;
        run.write(m_folder.file(safetensors ? "flat" : "bin"));
        const auto checkpoint = open(safetensors ? "flat" : "bin");
        ASSERT_NE(checkpoint, nullptr);
        EXPECT_EQ(checkpoint->formatId(), "colossalai");
        EXPECT_EQ(checkpoint->topology().sizeOf(Axis::Tp), 2u);
        EXPECT_EQ(checkpoint->topology().sizeOf(Axis::Pp), 2u);
        EXPECT_EQ(floatsOf(checkpoint, "model.layers.0.self_attn.o_proj.weight"), countingUp(16, 100));
        EXPECT_EQ(floatsOf(checkpoint, "model.layers.1.self_attn.q_proj.weight"), countingUp(16, 300));
        EXPECT_EQ(floatsOf(checkpoint, "model.norm.weight"), countingUp(4, 400));
        EXPECT_THAT(findingsOf(*checkpoint), IsEmpty());
        const TensorId split = tensorNamed(*checkpoint, "model.layers.1.self_attn.q_proj.weight");
        const PieceStore& pieces = checkpoint->pieces();
        ASSERT_EQ(pieces.countOf(split), 2u);
        EXPECT_EQ(checkpoint->rankOfPiece(pieces.at(idAt<PieceId>(pieces.firstOf(split) + 1))), 3u);
    }
}

TEST_F(DistModel, AnyOfItsMetadataFilesOpensAll)
{
    const DistTestRun run = grid();
    run.write(m_folder.path().string());
    const auto checkpoint = open(run.metaName(3));
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(checkpoint->tensors().size(), 5u);
}

TEST_F(DistModel, BuffersHaveNoMetadataAndAreTakenFromTheLowestDistId)
{
    DistTestRun run = grid();
    run.buffers = {{"model.layers.0.seen", 7}};
    run.write(m_folder.path().string());
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(floatsOf(checkpoint, "model.layers.0.seen"), ElementsAre(7, 8, 9));
    EXPECT_EQ(checkpoint->roleOf(tensorNamed(*checkpoint, "model.layers.0.seen")).kind, RoleKind::Buffer);
}

TEST_F(DistModel, TheFolderInFileIsTheWritersAndFilesBesideTheMetadataCount)
{
    DistTestRun run = grid();
    run.filePath = "/somewhere/else/";
    run.write(m_folder.path().string());
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(floatsOf(checkpoint, "model.embed_tokens.weight"), countingUp(24, 0));
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(HasSubstr("/somewhere/else/")));
}

// Each rank's part of a fused projection is [Q_r | K_r | V_r] (formats/colossalai.md §3.6).
TEST_F(DistModel, FusedProjectionsArePutInOrder)
{
    DistTestRun run;
    run.count = 2;
    run.tensors = {slicedTensor("h.0.attn.c_attn.bias", {12}, 0, 0, 2), slicedTensor("h.0.mlp.c_fc.bias", {4}, 50, 0, 2)};
    run.safetensors = true;
    run.write(m_folder.path().string());
    writeValues(m_folder.file(run.shardName(0)), {{"h.0.attn.c_attn.bias", {6}, {0, 1, 4, 5, 8, 9}}, {"h.0.mlp.c_fc.bias", {2}, {50, 51}}});
    writeValues(m_folder.file(run.shardName(1)), {{"h.0.attn.c_attn.bias", {6}, {2, 3, 6, 7, 10, 11}}, {"h.0.mlp.c_fc.bias", {2}, {52, 53}}});
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(floatsOf(checkpoint, "h.0.attn.c_attn.bias"), countingUp(12, 0));
    EXPECT_EQ(floatsOf(checkpoint, "h.0.mlp.c_fc.bias"), countingUp(4, 50));
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(HasSubstr("fused: 1 parameter")));
}

// A name in every file that shares the storage of a parameter and has no entry (§3.2).
TEST_F(DistModel, ATiedNameHasThePlacementOfTheNameWhoseMemoryItShares)
{
    DistTestRun run;
    run.count = 2;
    run.tensors = {slicedTensor("embed.weight", {4, 2}, 0, 0, 2), copiedTensor("norm.weight", {2}, 50, 2)};
    run.write(m_folder.path().string());
    for (std::uint32_t dist = 0; dist < 2; ++dist)
        writeTorchFile(m_folder.file(run.shardName(dist)),
                       pyDict({{"embed.weight", floatTensor(0, 4, {2, 2})}, {"norm.weight", floatTensor(1, 2, {2})}, {"head.weight", floatTensor(0, 4, {2, 2})}}),
                       {floatStorage(4, static_cast<float>(dist) * 4), floatStorage(2, 50)});
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    ASSERT_EQ(checkpoint->aliases().size(), 1u);
    EXPECT_EQ(checkpoint->aliases()[0].name, "head.weight");
    EXPECT_EQ(floatsOf(checkpoint, "embed.weight"), countingUp(8, 0));
    EXPECT_EQ(checkpoint->tensors().size(), 2u);
}

// Safetensors share no memory: the async writer of an unsharded save stores the tied name with bytes of its own.
TEST_F(DistModel, ATiedVocabularyInSafetensorsHasThePlacementOfTheOther)
{
    DistTestRun run;
    run.count = 2;
    run.safetensors = true;
    run.tensors = {slicedTensor("model.embed_tokens.weight", {4, 2}, 0, 0, 2)};
    run.write(m_folder.path().string());
    for (std::uint32_t dist = 0; dist < 2; ++dist) {
        const std::vector<float> values = countingUp(4, static_cast<float>(dist) * 4);
        writeValues(m_folder.file(run.shardName(dist)), {{"lm_head.weight", {2, 2}, values}, {"model.embed_tokens.weight", {2, 2}, values}});
    }
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(floatsOf(checkpoint, "lm_head.weight"), countingUp(8, 0));
}

TEST_F(DistModel, APaddedVocabularyIsCutFromTheLowestDistIdOfItsStage)
{
    DistTestRun run;
    run.count = 2;
    DistTestTensor embed{"model.embed_tokens.weight", {3, 2}, 0, {{0, {0, 0}, {4, 2}, 0}, {1, {0, 0}, {4, 2}, 1000}}};
    run.tensors = {embed, slicedTensor("up.weight", {4, 2}, 50, 0, 2)};
    run.safetensors = true;
    run.write(m_folder.path().string());
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(floatsOf(checkpoint, "model.embed_tokens.weight"), countingUp(6, 0));
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(HasSubstr("padded-vocabulary: model.embed_tokens.weight")));
}

TEST_F(DistModel, AHoleInTheMiddleOfTheOutlineIsFound)
{
    DistTestRun run;
    run.count = 2;
    run.tensors = {{"w", {6, 2}, 0, {{0, {0, 0}, {2, 2}, 0}, {1, {4, 0}, {2, 2}, 0}}}};
    run.write(m_folder.path().string());
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    const Coverage coverage = coverageOf(*checkpoint, tensorNamed(*checkpoint, "w"));
    ASSERT_EQ(coverage.holes.size(), 1u);
    EXPECT_EQ(std::get<FlatRange>(coverage.holes[0].region), (FlatRange{4, 8}));
}

TEST_F(DistModel, ALostDistIdIsAHoleThatNamesIt)
{
    const DistTestRun run = grid();
    run.write(m_folder.path().string());
    std::filesystem::remove(m_folder.file(run.metaName(3)));
    std::filesystem::remove(m_folder.file(run.shardName(3)));
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(AllOf(HasSubstr("dist id 3"), HasSubstr("tp rank 1, pp rank 1"))));
    const Coverage coverage = coverageOf(*checkpoint, tensorNamed(*checkpoint, "model.layers.1.self_attn.q_proj.weight"));
    ASSERT_EQ(coverage.holes.size(), 1u);
    ASSERT_TRUE(coverage.holes[0].expected);
    EXPECT_EQ(checkpoint->rankOfPiece(checkpoint->pieces().at(*coverage.holes[0].expected)), 3u);
    EXPECT_TRUE(coverageOf(*checkpoint, tensorNamed(*checkpoint, "model.norm.weight")).complete());
}

TEST_F(DistModel, StaleShardsOfADistIdAreLeftOut)
{
    const DistTestRun run = grid();
    run.write(m_folder.path().string());
    writeTorchValues(m_folder.file("pytorch_model-dist-00000.bin"), {{"model.embed_tokens.weight", {4, 3}, std::vector<float>(12, -1)}, {"old.buffer", {1}, {5}}});
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(checkpoint->tensors().size(), 5u);
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(AllOf(HasSubstr("leftover-file"), HasSubstr("stale"), HasSubstr("pytorch_model-dist-00000.bin"))));
}

// Random chunkings, replicas and overlaps along every dimension: the union of the boxes is the tensor, whatever it looks like.
TEST_F(DistModel, RandomBoxesGiveTheirTensor)
{
    std::mt19937 random(7);
    const auto below = [&](std::uint64_t end) { return std::uniform_int_distribution<std::uint64_t>(0, end - 1)(random); };
    for (int round = 0; round < 40; ++round) {
        DistTestRun run;
        run.count = static_cast<std::uint32_t>(1 + below(5));
        run.safetensors = round % 2 == 0;
        DistTestTensor tensor{"w", {1 + below(6), 1 + below(5), 1 + below(4)}, 10, {}};
        for (std::uint64_t begin = 0; begin < tensor.shape[1];) { // slabs along the second dimension, some reaching into the next, some twice
            const std::uint64_t extent = 1 + below(tensor.shape[1] - begin);
            const std::uint64_t more = below(2) == 0 ? 0 : below(tensor.shape[1] - begin - extent + 1);
            const auto dist = static_cast<std::uint32_t>(below(run.count));
            const bool isTaken = std::any_of(tensor.boxes.begin(), tensor.boxes.end(), [&](const DistTestBox& box) { return box.dist == dist; });
            if (isTaken && tensor.boxes.size() >= run.count)
                break;
            if (isTaken)
                continue;
            tensor.boxes.push_back({dist, {0, begin, 0}, {tensor.shape[0], extent + more, tensor.shape[2]}, 0});
            begin += extent;
        }
        std::uint64_t covered = 0;
        for (const DistTestBox& box : tensor.boxes)
            covered = std::max(covered, box.offsets[1] + box.lengths[1]);
        run.tensors = {tensor};
        const std::string folder = "round" + std::to_string(round);
        run.write(m_folder.file(folder));
        const auto checkpoint = open(folder);
        ASSERT_NE(checkpoint, nullptr);
        if (covered < tensor.shape[1]) {
            EXPECT_FALSE(coverageOf(*checkpoint, tensorNamed(*checkpoint, "w")).complete()) << folder;
            continue;
        }
        EXPECT_EQ(floatsOf(checkpoint, "w"), countingUp(tensor.shape[0] * tensor.shape[1] * tensor.shape[2], 10)) << folder;
    }
}

TEST_F(DistModel, EveryBeginningOfAMetadataFileIsSurvived)
{
    DistTestRun run = grid();
    run.write(m_folder.path().string());
    const std::string text = run.metaText(1);
    for (std::size_t size = 0; size < text.size(); size += 3) {
        writeText(m_folder.file(run.metaName(1)), text.substr(0, size));
        const auto opened = openPath(m_folder.path().string());
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        EXPECT_THAT(findingsOf(**opened), Contains(HasSubstr("metadata " + run.metaName(1)))) << size;
    }
}

TEST_F(DistModel, EveryBeginningOfAWeightFileIsSurvived)
{
    DistTestRun run = grid();
    run.safetensors = true;
    run.write(m_folder.path().string());
    const std::string path = m_folder.file(run.shardName(1));
    for (std::uintmax_t size = std::filesystem::file_size(path); size > 0;) {
        size -= std::min<std::uintmax_t>(size, 7);
        std::filesystem::resize_file(path, size);
        const auto opened = openPath(m_folder.path().string());
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        EXPECT_THAT(findingsOf(**opened), Contains(HasSubstr(run.shardName(1)))) << size;
    }
}

struct BadDist {
    const char* name;
    const char* change; // in the metadata of dist id 1: what is taken out
    const char* with;
    const char* says;
};

class DistModelRejects : public testing::TestWithParam<BadDist> {};

TEST_P(DistModelRejects, WithASentence)
{
    const BadDist& row = GetParam();
    const TemporaryFolder folder;
    DistTestRun run;
    run.count = 2;
    run.tensors = {slicedTensor("up.weight", {4, 2}, 0, 0, 2), slicedTensor("down.weight", {2, 4}, 50, 1, 2)};
    run.write(folder.path().string());
    std::string text = run.metaText(1);
    const std::size_t at = text.find(row.change);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, std::string(row.change).size(), row.with);
    writeText(folder.file(run.metaName(1)), text);
    const auto opened = openPath(folder.path().string());
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), Contains(HasSubstr(row.says)));
}

INSTANTIATE_TEST_SUITE_P(Colossalai, DistModelRejects,
                         testing::Values(BadDist{"NoOffsets", "\"offsets\": [2, 0], ", "", "pytorch_model-meta-dist-00001.json: entry up.weight: it has no member \"offsets\""},
                                         BadDist{"NoFile", "\"file\": \"pytorch_model-dist-00001-shard-00000.bin\", ", "", "entry up.weight: it has no member \"file\""},
                                         BadDist{"NoRank", ", \"rank\": 2", "", "entry up.weight: it has no member \"rank\""},
                                         BadDist{"NegativeOffset", "[2, 0]", "[-2, 0]", "offsets holds -2"},
                                         BadDist{"HugeOffset", "[2, 0]", "[9223372036854775808, 0]", "at most 9223372036854775807"},
                                         BadDist{"LargeOffset", "[2, 0]", "[9223372036854775807, 0]", "reach beyond global_shape [4, 2] along dimension 0"},
                                         BadDist{"FractionOffset", "[2, 0]", "[2.5, 0]", "2.5, which is no whole number"},
                                         BadDist{"TextOffset", "[2, 0]", "[\"2\", 0]", "offsets is or holds text"},
                                         BadDist{"ListInOffsets", "[2, 0]", "[[2], 0]", "offsets is or holds a list"},
                                         BadDist{"OffsetsNoList", "[2, 0]", "2", "offsets is or holds a number"},
                                         BadDist{"FileNoText", "\"file\": \"pytorch_model-dist-00001-shard-00000.bin\"", "\"file\": 7", "file is or holds a number"},
                                         BadDist{"OtherRank", "[2, 0]", "[2]", "are not of one number of dimensions"},
                                         BadDist{"BeyondTheTensor", "[2, 0]", "[3, 0]", "reach beyond global_shape [4, 2] along dimension 0"},
                                         BadDist{"AnotherGlobalShape", "[4, 2]", "[6, 2]", "global_shape is [6, 2], and [4, 2] in the metadata of dist id 0"},
                                         BadDist{"StoredShape", "\"lengths\": [2, 2], \"global_shape\": [4, 2]", "\"lengths\": [1, 2], \"global_shape\": [4, 2]",
                                                 "holds [2, 2], and the metadata of dist id 1"},
                                         BadDist{"EntryIsAList", "{\"offsets\": [2, 0], \"lengths\": [2, 2], \"global_shape\": [4, 2], \"file\": \"pytorch_model-dist-00001-shard-00000.bin\", \"rank\": 2}", "[1, 2]",
                                                 "it is a list and no object"},
                                         BadDist{"NameTwice", "\"down.weight\"", "\"up.weight\"", "stands twice in the metadata of dist id 1"},
                                         BadDist{"NoMetadata", "\"metadata\"", "\"metadatas\"", "it has no member \"metadata\""},
                                         BadDist{"MetadataIsText", "\"metadata\": {", "\"metadata\": \"x\", \"other\": {", "\"metadata\" is text and no object"},
                                         BadDist{"OtherVersion", "\"1.0\"", "\"2.0\"", "checkpoint_version is 2.0"},
                                         BadDist{"FileNotThere", "pytorch_model-dist-00001-shard-00000.bin", "pytorch_model-dist-00001-shard-00007.bin",
                                                 "pytorch_model-dist-00001-shard-00007.bin of dist id 1"},
                                         BadDist{"FileLacksIt", "\"up.weight\"", "\"upper.weight\"", "says that upper.weight lies in"}),
                         [](const auto& row) { return row.param.name; });

TEST_F(DistModel, WeightsWithoutAnyMetadataAreSaidSo)
{
    writeTorchValues(m_folder.file("pytorch_model-dist-00000-shard-00000.bin"), {{"w", {1}, {1}}});
    const auto opened = openPath(m_folder.path().string());
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), HasSubstr("left over from a broken save"));
}

TEST_F(DistModel, TwoSavesInOneFolderAreRefused)
{
    const DistTestRun run = grid();
    run.write(m_folder.path().string());
    writeText(m_folder.file("pytorch_model-meta-dist-00002.index.json"), run.metaText(2));
    const auto opened = openPath(m_folder.path().string());
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), HasSubstr("dist id 2 has two metadata files"));
}

} // namespace
} // namespace shardlens::test
