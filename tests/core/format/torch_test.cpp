#include "core/encoding/pickle/graph.h"
#include "core/encoding/tensor_leaves.h"
#include "core/model/coverage.h"
#include "tests/core/format/format_fixture.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fmt/format.h>

namespace shardlens::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class TorchFormat : public testing::Test {
protected:
    CheckpointPtr write(const Py& root, const std::vector<TestStorage>& storages, const std::string& name = "model.pt")
    {
        writeTorchFile(m_folder.file(name), root, storages);
        auto opened = openPath(m_folder.file(name));
        EXPECT_TRUE(opened.ok()) << opened.error().text();
        return opened ? opened.take() : nullptr;
    }

    TemporaryFolder m_folder;
};

TEST_F(TorchFormat, AStateDictHasItsNamesAndValues)
{
    const auto checkpoint = write(pyDict({{"a.weight", floatTensor(0, 6, {2, 3})}, {"a.bias", floatTensor(1, 2, {2})}}, true), {floatStorage(6, 10), floatStorage(2, 90)});
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(checkpoint->formatId(), "torch");
    EXPECT_THAT(checkpoint->parameters(), ElementsAre("a.weight", "a.bias"));
    EXPECT_THAT(floatsOf(checkpoint, "a.weight"), ElementsAre(10, 11, 12, 13, 14, 15));
    EXPECT_THAT(floatsOf(checkpoint, "a.bias"), ElementsAre(90, 91));
}

TEST_F(TorchFormat, AStridedViewReadsItsOwnCells)
{
    // the transpose of rows 1 and 2 of a [3, 2] storage
    const auto checkpoint = write(pyDict({{"t", floatTensor(0, 6, {2, 2}, 2, {1, 2})}}), {floatStorage(6, 0)});
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(floatsOf(checkpoint, "t"), ElementsAre(2, 4, 3, 5));
}

TEST_F(TorchFormat, TensorsThatShareMemoryAreTied)
{
    const auto checkpoint = write(pyDict({{"embed", floatTensor(0, 4, {4})}, {"head", floatTensor(0, 4, {4})}, {"other", floatTensor(1, 4, {4})}}), {floatStorage(4, 0), floatStorage(4, 0)});
    ASSERT_NE(checkpoint, nullptr);
    ASSERT_EQ(checkpoint->aliases().size(), 1u);
    EXPECT_EQ(checkpoint->aliases()[0].name, "head");
    EXPECT_EQ(checkpoint->parameters()[indexOf(checkpoint->aliases()[0].parameter)], "embed");
}

TEST_F(TorchFormat, TheModelBranchOfATrainingFileLosesItsPrefix)
{
    const Py model = pyDict({{"w", floatTensor(0, 2, {2})}}, true);
    const Py state = pyDict({{"step", {std::int64_t{7}}}, {"exp_avg", floatTensor(1, 2, {2})}});
    const Py groups{std::vector<Py>{pyDict({{"params", {std::vector<Py>{{std::int64_t{0}}}}}, {"lr", {0.5}}})}};
    const Py optimizer = pyDict({{"state", {Py::Dict{{{{std::int64_t{0}}, state}}, false}}}, {"param_groups", groups}});
    const auto checkpoint = write(pyDict({{"model", model}, {"optimizer", optimizer}, {"epoch", {std::int64_t{3}}}}), {floatStorage(2, 1), floatStorage(2, 5)});
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(floatsOf(checkpoint, "w"), ElementsAre(1, 2));
    EXPECT_THAT(floatsOf(checkpoint, "0/exp_avg"), ElementsAre(5, 6)); // this optimizer numbers its parameters
    EXPECT_THAT(fullNamesOf(*checkpoint), UnorderedElementsAre("w", "0/exp_avg", "0/step"));
    const TensorId moment = tensorNamed(*checkpoint, "0/exp_avg");
    ASSERT_NE(moment, kNoTensor);
    EXPECT_EQ(checkpoint->roleOf(moment).kind, RoleKind::OptimizerState);
}

TEST_F(TorchFormat, WhatIsNoStorageIsMarkedAsHeader)
{
    const auto checkpoint = write(pyDict({{"w", floatTensor(0, 1000, {1000})}}), {floatStorage(1000, 0)});
    ASSERT_NE(checkpoint, nullptr);
    std::uint64_t header = 0;
    for (const FileSpan& span : checkpoint->fileSpans())
        if (span.kind == FileSpan::Kind::Header)
            header += span.length;
    EXPECT_EQ(header + 4000, checkpoint->files()[0].size);
}

TEST_F(TorchFormat, AShardedFolderFollowsItsIndex)
{
    writeTorchFile(m_folder.file("pytorch_model-00001-of-00002.bin"), pyDict({{"a", floatTensor(0, 2, {2})}}, true), {floatStorage(2, 1)});
    writeTorchFile(m_folder.file("pytorch_model-00002-of-00002.bin"), pyDict({{"b", floatTensor(0, 2, {2})}}, true), {floatStorage(2, 8)});
    writeText(m_folder.file("pytorch_model.bin.index.json"),
              R"({"metadata":{"total_size":16},"weight_map":{"a":"pytorch_model-00001-of-00002.bin","b":"pytorch_model-00002-of-00002.bin"}})");
    const auto opened = openPath(m_folder.path().string());
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT((*opened)->parameters(), UnorderedElementsAre("a", "b"));
    EXPECT_THAT(floatsOf(*opened, "b"), ElementsAre(8, 9));
    EXPECT_TRUE((*opened)->findings().empty()) << testing::PrintToString(findingsOf(**opened));
}

TEST_F(TorchFormat, AnIndexThatNamesAMissingFileIsAnErrorWithItsName)
{
    writeTorchFile(m_folder.file("pytorch_model-00001-of-00002.bin"), pyDict({{"a", floatTensor(0, 2, {2})}}, true), {floatStorage(2, 1)});
    writeText(m_folder.file("pytorch_model.bin.index.json"), R"({"weight_map":{"a":"pytorch_model-00001-of-00002.bin","b":"pytorch_model-00002-of-00002.bin"}})");
    const auto opened = openPath(m_folder.path().string());
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), testing::Contains(HasSubstr("pytorch_model-00002-of-00002.bin")));
}

TEST_F(TorchFormat, AFileThatIsCutOffIsRefusedWithAReason)
{
    write(pyDict({{"w", floatTensor(0, 1000, {1000})}}), {floatStorage(1000, 0)});
    std::filesystem::resize_file(m_folder.file("model.pt"), 3000);
    const auto opened = openPath(m_folder.file("model.pt"));
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), HasSubstr("model.pt"));
}

TEST_F(TorchFormat, AViewThatLeavesItsStorageIsRefused)
{
    writeTorchFile(m_folder.file("model.pt"), pyDict({{"w", floatTensor(0, 4, {3}, 2)}}), {floatStorage(4, 0)});
    const auto opened = openPath(m_folder.file("model.pt"));
    const std::string said = opened ? testing::PrintToString(findingsOf(**opened)) : opened.error().text();
    EXPECT_THAT(said, HasSubstr("w"));
    EXPECT_THAT(said, testing::AnyOf(HasSubstr("storage"), HasSubstr("leaves")));
}

TEST_F(TorchFormat, CodeIsDataAndSaidNotRun)
{
    const std::string proof = m_folder.file("ran");
    const Py call{Py::Call{{"os", "system"}, {{"touch " + proof}}}};
    const auto checkpoint = write(pyDict({{"w", floatTensor(0, 2, {2})}, {"hook", call}}), {floatStorage(2, 0)});
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_FALSE(std::filesystem::exists(proof));
    EXPECT_THAT(checkpoint->parameters(), testing::Contains("w"));
}

TEST_F(TorchFormat, AFolderOfUnrelatedFilesAsksWhichOne)
{
    write(pyDict({{"w", floatTensor(0, 2, {2})}}), {floatStorage(2, 0)}, "one.bin");
    write(pyDict({{"w", floatTensor(0, 2, {2})}}), {floatStorage(2, 0)}, "two.bin");
    const auto opened = openPath(m_folder.path().string());
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), HasSubstr("one.bin"));
}

// A long key over many references to one tensor: the names would take gigabytes.
TEST_F(TorchFormat, NamesWithoutEndAreRefused)
{
    std::vector<Py> many(3000, floatTensor(0, 2, {2}));
    writeTorchFile(m_folder.file("model.pt"), pyDict({{std::string(1 << 16, 'k'), {many}}}), {floatStorage(2, 0)});
    const auto opened = openPath(m_folder.file("model.pt"));
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code(), ErrorCode::LimitExceeded);
    EXPECT_THAT(opened.error().text(), HasSubstr("names of more than 256 MiB"));
}

TEST_F(TorchFormat, AKeyWithoutEndIsRefusedWhereTensorsLieBelowIt)
{
    const std::string key((1 << 16) + 1, 'k');
    writeTorchFile(m_folder.file("model.pt"), pyDict({{key, floatTensor(0, 2, {2})}}), {floatStorage(2, 0)});
    const auto opened = openPath(m_folder.file("model.pt"));
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code(), ErrorCode::LimitExceeded);
    EXPECT_THAT(opened.error().text(), HasSubstr("a key of 65,537 B, at most 65,536 are read"));
    EXPECT_NE(write(pyDict({{key, {std::int64_t{7}}}, {"w", floatTensor(0, 2, {2})}}), {floatStorage(2, 0)}), nullptr); // of no tensor's name
}

TEST_F(TorchFormat, TheWalkThroughATreeStopsWhenAsked)
{
    std::string pickle = "\x80\x02](";
    for (int i = 0; i < 100'000; ++i)
        pickle += "K\x01";
    pickle += "e.";
    const auto graph = pickle::Graph::parse(std::make_shared<const std::vector<std::byte>>(std::as_bytes(std::span(pickle)).begin(), std::as_bytes(std::span(pickle)).end()));
    ASSERT_TRUE(graph.ok()) << graph.error().text();
    JobContext going;
    EXPECT_TRUE(tensorLeavesOf((*graph)->root(), going).ok());
    std::stop_source stop;
    stop.request_stop();
    JobContext stopped(stop.get_token());
    const auto leaves = tensorLeavesOf((*graph)->root(), stopped);
    ASSERT_FALSE(leaves.ok());
    EXPECT_EQ(leaves.error().code(), ErrorCode::Cancelled);
}

// Lists that hold one another lead to a value on many ways: little is walked of what holds no tensor, and what holds one is refused early.
TEST_F(TorchFormat, ATreeThatSharesWithoutEndEndsSoon)
{
    const auto shared = [](const std::string& leaf) {
        std::string pickle = "\x80\x02" + leaf + "q";
        pickle += '\0';
        pickle += '0';
        for (char i = 0; i < 40; ++i)
            pickle += std::string("(h") + i + "h" + i + "lq" + static_cast<char>(i + 1) + "0";
        return pickle + "h" + static_cast<char>(40) + ".";
    };
    const auto walk = [](const std::string& pickle) {
        const auto bytes = std::as_bytes(std::span(pickle));
        const auto graph = pickle::Graph::parse(std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end()));
        EXPECT_TRUE(graph.ok());
        const JobContext job;
        const auto leaves = tensorLeavesOf((*graph)->root(), job);
        return leaves ? fmt::format("{} tensors", leaves->size()) : leaves.error().text();
    };
    EXPECT_EQ(walk(shared("]")), "0 tensors");
    EXPECT_THAT(walk(shared("ctorch._utils\n_rebuild_tensor_v2\n)R")), HasSubstr("counted once for every way to them"));
}

// Larger than any span that is read at once: the cells of a transposed matrix arrive in their places whatever is read when.
TEST_F(TorchFormat, ALargeTransposedMatrixReadsRight)
{
    constexpr std::uint64_t kRows = 700;
    constexpr std::uint64_t kColumns = 1200;
    const auto checkpoint = write(pyDict({{"t", floatTensor(0, kRows * kColumns, {kColumns, kRows}, 0, {1, kColumns})}}), {floatStorage(kRows * kColumns, 0)});
    ASSERT_NE(checkpoint, nullptr);
    const std::vector<float> values = floatsOf(checkpoint, "t");
    ASSERT_EQ(values.size(), kRows * kColumns);
    for (std::uint64_t column = 0; column < kColumns; ++column)
        for (std::uint64_t row = 0; row < kRows; ++row)
            ASSERT_EQ(values[column * kRows + row], static_cast<float>(row * kColumns + column)) << column << ' ' << row;
}

} // namespace
} // namespace shardlens::test
