// What a save lies in: metadata of ranks, files left over, saves that were interrupted, accelerate's folders (formats/pytorch.md §9.1, §9.8).
#include "tests/core/format/dcp_fixture.h"

#include "core/model/coverage.h"

#include <fmt/format.h>

#include <filesystem>

namespace shardlens::test {
namespace {

std::vector<Py> oneKey(const std::string& key)
{
    return {Py{key}};
}

// Rank `rank` of two has rows 2·rank and 2·rank + 1 of w [4, 2], and a copy of b.
DcpTestSave ofOneRank(std::uint32_t rank)
{
    DcpTestSave save;
    save.files = {fmt::format("__{}_0.distcp", rank)};
    save.addFloats(oneKey("w"), {4, 2}, 1, {{{2 * rank, 0}, {2, 2}}});
    save.addWhole(oneKey("b"), {3}, 50);
    return save;
}

class DcpFolders : public DcpFormat {
protected:
    std::string twoRanks()
    {
        for (const std::uint32_t rank : {0u, 1u})
            ofOneRank(rank).write(m_folder.file("ranks"), fmt::format("__{}.metadata", rank));
        return m_folder.file("ranks");
    }
    std::string oneSave()
    {
        DcpTestSave save;
        save.addWhole(oneKey("w"), {4}, 1);
        return folderOf(save);
    }
};

TEST_F(DcpFolders, MetadataOfRanksAreOneModel) // use_collectives=False
{
    const CheckpointPtr checkpoint = openedPath(twoRanks());
    EXPECT_THAT(floatsOf(checkpoint, "w"), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
    EXPECT_THAT(floatsOf(checkpoint, "b"), ElementsAre(50, 51, 52));
    EXPECT_EQ(checkpoint->tensor(tensorNamed(*checkpoint, "b")).combine, Combine::Replicas);
    EXPECT_EQ(checkpoint->tensor(tensorNamed(*checkpoint, "w")).combine, Combine::Exclusive);
    EXPECT_THAT(findingsOf(*checkpoint), IsEmpty());
    EXPECT_THAT(checkpoint->facts(), Contains(testing::Pair("written by", "2 ranks")));
}

TEST_F(DcpFolders, ALostMetadataOfARankIsSaidAndItsDataAreNotTakenForLeftOvers)
{
    const std::string folder = twoRanks();
    std::filesystem::remove(folder + "/__1.metadata");
    const CheckpointPtr checkpoint = openedPath(folder);
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(HasSubstr("hole: The chunks of w hold 4 of the 8 values of [4, 2]"), HasSubstr("__1.metadata is not in the folder: each rank of this save has metadata of its own, and nothing says what rank 1 wrote")));
    EXPECT_FALSE(coverageOf(*checkpoint, tensorNamed(*checkpoint, "w")).complete());
    EXPECT_THAT(floatsOf(checkpoint, "b"), ElementsAre(50, 51, 52));
}

TEST_F(DcpFolders, ALostRankIsAHole)
{
    const std::string folder = twoRanks();
    std::filesystem::remove(folder + "/__0.metadata");
    std::filesystem::remove(folder + "/__0_0.distcp");
    const CheckpointPtr checkpoint = openedPath(folder);
    const Coverage coverage = coverageOf(*checkpoint, tensorNamed(*checkpoint, "w"));
    EXPECT_EQ(coverage.missingCells, 4u);
}

TEST_F(DcpFolders, MetadataOfDifferentSavesAreSaid)
{
    const std::string folder = twoRanks();
    DcpTestSave other;
    other.files = {"__1_0.distcp"};
    other.addWhole(oneKey("w"), {9}, 1);
    other.addWhole(oneKey("b"), {3}, 50);
    other.write(folder, "__1.metadata");
    const CheckpointPtr checkpoint = openedPath(folder);
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(AllOf(HasSubstr("do not agree about w"), HasSubstr("F32 [4, 2] and F32 [9]"))));
    EXPECT_THAT(floatsOf(checkpoint, "b"), ElementsAre(50, 51, 52));
}

TEST_F(DcpFolders, TheMetadataOfTheWholeCounts)
{
    const std::string folder = twoRanks();
    DcpTestSave whole;
    whole.files = {"__5_0.distcp"};
    whole.addWhole(oneKey("v"), {2}, 7);
    whole.write(folder);
    const CheckpointPtr checkpoint = openedPath(folder);
    EXPECT_THAT(describedNames(*checkpoint), ElementsAre("v weight"));
    EXPECT_THAT(findingsOf(*checkpoint), testing::Each(HasSubstr("left over")));
}

TEST_F(DcpFolders, FilesLeftOverFromASaveOfMoreRanksAreSaid)
{
    const std::string folder = oneSave();
    writeBytesTo(folder + "/__1_0.distcp", floatItem({2}, {1, 2}));
    writeBytesTo(folder + "/__2_0.distcp", "");
    const CheckpointPtr checkpoint = openedPath(folder);
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(AllOf(HasSubstr("leftover-file: __1_0.distcp"), HasSubstr("is not named by the metadata"))));
    EXPECT_EQ(checkpoint->findings()[0].severity, Severity::Info);
}

TEST_F(DcpFolders, ASaveThatWasInterrupted)
{
    const std::string folder = oneSave();
    std::filesystem::rename(folder + "/.metadata", folder + "/.metadata.tmp");
    EXPECT_THAT(refusal(folder), AllOf(HasSubstr(folder), HasSubstr("the save was interrupted")));
    std::filesystem::copy_file(folder + "/.metadata.tmp", folder + "/.metadata");
    const CheckpointPtr checkpoint = openedPath(folder);
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(HasSubstr("interrupted-save")));
    std::filesystem::remove(folder + "/__0_0.distcp");
    std::filesystem::remove(folder + "/.metadata");
    EXPECT_THAT(refusal(folder), HasSubstr("the save was interrupted")); // no data either
}

TEST_F(DcpFolders, WithoutMetadataNothingSaysWhatTheFilesHold)
{
    const std::string folder = oneSave();
    std::filesystem::remove(folder + "/.metadata");
    EXPECT_THAT(refusal(folder), HasSubstr("1 data file and no .metadata: the index of the checkpoint is missing"));
    EXPECT_THAT(refusal(folder + "/__0_0.distcp"), HasSubstr("the index of the checkpoint is missing"));
}

TEST_F(DcpFolders, MetadataThatIsHarmedIsRefusedByItsName)
{
    const std::string folder = oneSave();
    std::filesystem::resize_file(folder + "/.metadata", 100);
    EXPECT_THAT(refusal(folder), AllOf(HasSubstr(".metadata"), HasSubstr("pickle")));
    writeBytesTo(folder + "/.metadata", "");
    EXPECT_THAT(refusal(folder), HasSubstr(".metadata"));
}

TEST_F(DcpFolders, AnyFileOfItOpensTheWhole)
{
    const std::string folder = oneSave();
    for (const char* name : {"/.metadata", "/__0_0.distcp", "/"})
        EXPECT_THAT(floatsOf(openedPath(folder + name), "w"), ElementsAre(1, 2, 3, 4)) << name;
    const std::string ranks = twoRanks();
    for (const char* name : {"/__0.metadata", "/__1.metadata", "/__1_0.distcp"})
        EXPECT_THAT(floatsOf(openedPath(ranks + name), "w"), testing::SizeIs(8)) << name;
}

TEST_F(DcpFolders, AFolderWithoutMembersIsAnEmptyModel)
{
    const std::string folder = folderOf(DcpTestSave{});
    const CheckpointPtr checkpoint = openedPath(folder);
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_TRUE(checkpoint->tensors().empty());
}

// ---- accelerate ----

std::string accelerateFolder(const TemporaryFolder& folder)
{
    DcpTestSave model;
    model.addWhole({{std::string("model")}, {std::string("w")}}, {2}, 1);
    DcpTestSave optimizer;
    optimizer.addWhole({{std::string("optimizer")}, {std::string("state")}, {std::string("w")}, {std::string("exp_avg")}}, {2}, 5);
    model.write(folder.file("step/pytorch_model_fsdp_0"));
    optimizer.write(folder.file("step/optimizer_0"));
    return folder.file("step");
}

TEST_F(DcpFolders, AccelerateKeepsModelAndOptimizerApart)
{
    const std::string folder = accelerateFolder(m_folder);
    const CheckpointPtr checkpoint = openedPath(folder);
    EXPECT_THAT(describedNames(*checkpoint), ElementsAre("w weight", "w/exp_avg optimizer"));
    EXPECT_THAT(floatsOf(checkpoint, "w"), ElementsAre(1, 2));
    EXPECT_THAT(floatsOf(checkpoint, "w/exp_avg"), ElementsAre(5, 6));
    EXPECT_THAT(describedNames(*openedPath(folder + "/optimizer_0")), ElementsAre("w/exp_avg optimizer")); // each by itself
    std::filesystem::remove(folder + "/optimizer_0/__0_0.distcp");
    EXPECT_THAT(findingsOf(*openedPath(folder)), Contains(HasSubstr("optimizer_0/__0_0.distcp is not in the folder")));
    std::filesystem::remove(folder + "/optimizer_0/.metadata");
    writeBytesTo(folder + "/optimizer_0/__0_0.distcp", "x");
    EXPECT_THAT(refusal(folder), AllOf(HasSubstr("optimizer_0"), HasSubstr("no .metadata")));
}

TEST_F(DcpFolders, SeveralModelsOfAccelerateAreAsked)
{
    const std::string folder = accelerateFolder(m_folder);
    std::filesystem::copy(folder + "/pytorch_model_fsdp_0", folder + "/pytorch_model_fsdp_1");
    EXPECT_THAT(refusal(folder), HasSubstr("2 models (pytorch_model_fsdp_0, pytorch_model_fsdp_1): open one of their folders"));
}

TEST_F(DcpFolders, ATensorThatTwoFoldersHaveIsSaid)
{
    const std::string folder = accelerateFolder(m_folder);
    std::filesystem::copy(folder + "/pytorch_model_fsdp_0", folder + "/optimizer_0", std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
    EXPECT_THAT(findingsOf(*openedPath(folder)), Contains(HasSubstr("Two tensors come out under the name w")));
}

// ---- shards in safetensors (§9.9) ----

class HfShards : public DcpFormat {
protected:
    // Rows [first, first + rows) of w [.., 2] in the file of a rank, counted from 1.
    void shard(std::uint32_t rank, std::uint64_t first, std::uint64_t rows, std::uint32_t output = 1, std::uint32_t outputs = 1, const std::string& tensor = "w")
    {
        std::filesystem::create_directories(m_folder.file("sharded"));
        writeSafetensors(m_folder.file(fmt::format("sharded/shard-{:05d}-model-{:05d}-of-{:05d}.safetensors", rank, output, outputs)), {{tensor, {rows, 2}, static_cast<float>(2 * first)}},
                         info(fmt::format("{{\\\"{}\\\":{{\\\"saved_offsets\\\":[{},0]}}}}", tensor, first)));
    }
    static std::string info(const std::string& offsets) { return fmt::format(R"({{"DCP_VERSION":"1.0","DCP_SHARDING_INFO":"{}"}})", offsets); }
    void threeRanks()
    {
        shard(1, 0, 2);
        shard(2, 2, 2);
        shard(3, 4, 1);
    }
    void lose(std::uint32_t rank, std::uint32_t output = 1, std::uint32_t outputs = 1) { std::filesystem::remove(m_folder.file(fmt::format("sharded/shard-{:05d}-model-{:05d}-of-{:05d}.safetensors", rank, output, outputs))); }
    std::string folder() { return m_folder.file("sharded"); }
    // What is found beside what every such folder is said to be: no file of it tells how many ranks there were.
    static std::vector<std::string> otherFindings(const Checkpoint& checkpoint)
    {
        std::vector<std::string> findings = findingsOf(checkpoint);
        EXPECT_EQ(std::erase_if(findings, [](const std::string& finding) { return finding.starts_with("last-shard: "); }), 1u);
        return findings;
    }
};

TEST_F(HfShards, AreOneModel)
{
    threeRanks();
    const CheckpointPtr checkpoint = openedPath(folder());
    EXPECT_THAT(floatsOf(checkpoint, "w"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
    EXPECT_THAT(otherFindings(*checkpoint), IsEmpty());
    EXPECT_THAT(floatsOf(openedPath(folder() + "/shard-00002-model-00001-of-00001.safetensors"), "w"), testing::SizeIs(10)); // one of them opens all
}

TEST_F(HfShards, ALostFirstOrMiddleRankIsNamed)
{
    for (const std::uint32_t lost : {1u, 2u}) {
        threeRanks();
        lose(lost);
        const CheckpointPtr checkpoint = openedPath(folder());
        EXPECT_THAT(otherFindings(*checkpoint), ElementsAre(HasSubstr(fmt::format("shard-{:05d}-model-00001-of-00001.safetensors is not in the folder", lost))));
        EXPECT_THAT(checkpoint->findings(), Contains(AllOf(testing::Field(&Finding::code, std::string("missing-file")), testing::Field(&Finding::rank, std::optional<std::uint32_t>(lost - 1)))));
        EXPECT_FALSE(coverageOf(*checkpoint, tensorNamed(*checkpoint, "w")).complete());
    }
}

TEST_F(HfShards, ALostLastRankLeavesNoTrace) // no file says how large a tensor is
{
    threeRanks();
    lose(3);
    EXPECT_THAT(floatsOf(openedPath(folder()), "w"), testing::SizeIs(8));
}

TEST_F(HfShards, ALostOutputOfOneRankIsNamedByWhatItsOthersHave)
{
    for (std::uint32_t rank = 1; rank <= 3; ++rank) {
        shard(rank, 2 * (rank - 1), 2, 1, 2, "w");
        shard(rank, 2 * (rank - 1), 2, 2, 2, "v");
    }
    EXPECT_THAT(otherFindings(*openedPath(folder())), IsEmpty());
    lose(3, 2, 2);
    EXPECT_THAT(otherFindings(*openedPath(folder())), ElementsAre(AllOf(HasSubstr("shard-00003-model-00002-of-00002.safetensors is not in the folder"), HasSubstr("all other ranks have parts of the same tensors"))));
}

TEST_F(HfShards, OverlapsAreReplicasAndHolesAreHoles)
{
    shard(1, 0, 3);
    shard(2, 2, 2); // row 2 twice
    const CheckpointPtr twice = openedPath(folder());
    EXPECT_EQ(twice->tensor(tensorNamed(*twice, "w")).combine, Combine::Replicas);
    EXPECT_THAT(floatsOf(twice, "w"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
    shard(2, 4, 1);
    const CheckpointPtr hole = openedPath(folder());
    EXPECT_EQ(coverageOf(*hole, tensorNamed(*hole, "w")).missingCells, 2u);
}

struct BadInfo {
    const char* name;
    std::string metadata;
    const char* says;
};

class HfShardsBad : public HfShards, public testing::WithParamInterface<BadInfo> {};

TEST_P(HfShardsBad, AreRefusedOrSaid)
{
    threeRanks();
    writeSafetensors(folder() + "/shard-00002-model-00001-of-00001.safetensors", {{"w", {2, 2}, 4}}, GetParam().metadata);
    const auto opened = openPath(folder());
    const std::string said = opened ? testing::PrintToString(findingsOf(**opened)) : opened.error().text();
    EXPECT_THAT(said, AllOf(HasSubstr("shard-00002-model-00001-of-00001.safetensors"), HasSubstr(GetParam().says)));
}

INSTANTIATE_TEST_SUITE_P(Infos, HfShardsBad, testing::Values(
    BadInfo{"None", R"({"format":"pt"})", "its __metadata__ has no DCP_SHARDING_INFO"},
    BadInfo{"NoJson", R"({"DCP_SHARDING_INFO":"{"})", "DCP_SHARDING_INFO"},
    BadInfo{"AList", R"({"DCP_SHARDING_INFO":"[]"})", "DCP_SHARDING_INFO is no object"},
    BadInfo{"NoOffsets", R"({"DCP_SHARDING_INFO":"{\"w\":{}}"})", "DCP_SHARDING_INFO of w has no list saved_offsets"},
    BadInfo{"NegativeOffset", R"({"DCP_SHARDING_INFO":"{\"w\":{\"saved_offsets\":[-1,0]}}"})", "saved_offsets of w hold what is no count"},
    BadInfo{"TextAsOffset", R"({"DCP_SHARDING_INFO":"{\"w\":{\"saved_offsets\":[\"1\",0]}}"})", "saved_offsets of w hold what is no count"},
    BadInfo{"AnotherRank", R"({"DCP_SHARDING_INFO":"{\"w\":{\"saved_offsets\":[2]}}"})", "parts of different tensors"},
    BadInfo{"OffsetsWithoutEnd", R"({"DCP_SHARDING_INFO":"{\"w\":{\"saved_offsets\":[18446744073709551615,0]}}"})", "which no tensor has"},
    BadInfo{"MoreThanCanBeCounted", R"({"DCP_SHARDING_INFO":"{\"w\":{\"saved_offsets\":[9223372036854775807,9223372036854775807]}}"})", "more bytes than can be counted"}),
    [](const auto& row) { return row.param.name; });

TEST_F(HfShards, PartsOfAnotherDTypeAreLost)
{
    threeRanks();
    const std::string json = R"({"__metadata__":{"DCP_SHARDING_INFO":"{\"w\":{\"saved_offsets\":[2,0]}}"},"w":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}})";
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(json.size());
    writeBytesTo(folder() + "/shard-00002-model-00001-of-00001.safetensors", bytes + json + std::string(8, '\1'));
    EXPECT_THAT(otherFindings(*openedPath(folder())), ElementsAre(HasSubstr("parts of different tensors")));
}

TEST_F(HfShards, AModelWithAnIndexBesideThemIsTheModel)
{
    threeRanks();
    writeText(folder() + "/model.safetensors.index.json", R"({"weight_map":{"w":"model-00001-of-00001.safetensors"}})");
    writeSafetensors(folder() + "/model-00001-of-00001.safetensors", {{"w", {5, 2}, 0}});
    EXPECT_EQ(openedPath(folder())->formatId(), "safetensors");
}

} // namespace
} // namespace shardlens::test
