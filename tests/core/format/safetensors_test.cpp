#include "tests/core/format/format_fixture.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace shardlens::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class SafetensorsFormat : public testing::Test {
protected:
    CheckpointPtr openFolder()
    {
        auto opened = openPath(m_folder.path().string());
        EXPECT_TRUE(opened.ok()) << opened.error().text();
        return opened ? opened.take() : nullptr;
    }

    TemporaryFolder m_folder;
};

TEST_F(SafetensorsFormat, AFileHasItsTensorsMetadataAndHeaderSpan)
{
    writeSafetensors(m_folder.file("model.safetensors"), {{"a", {2, 2}, 1}, {"b", {3}, 7}}, R"({"format":"pt"})");
    const auto opened = openPath(m_folder.file("model.safetensors"));
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_EQ((*opened)->formatId(), "safetensors");
    EXPECT_THAT(floatsOf(*opened, "a"), ElementsAre(1, 2, 3, 4));
    EXPECT_THAT(floatsOf(*opened, "b"), ElementsAre(7, 8, 9));
    ASSERT_FALSE((*opened)->fileSpans().empty());
    EXPECT_EQ((*opened)->fileSpans()[0].length + 28, (*opened)->files()[0].size);
    ASSERT_FALSE((*opened)->metadata().empty());
}

TEST_F(SafetensorsFormat, AShardedFolderIsOneModel)
{
    writeSafetensors(m_folder.file("model-00001-of-00002.safetensors"), {{"a", {2}, 1}});
    writeSafetensors(m_folder.file("model-00002-of-00002.safetensors"), {{"b", {2}, 5}});
    writeText(m_folder.file("model.safetensors.index.json"), R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
    const auto checkpoint = openFolder();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(checkpoint->parameters(), UnorderedElementsAre("a", "b"));
    EXPECT_TRUE(checkpoint->findings().empty()) << testing::PrintToString(findingsOf(*checkpoint));
    const auto byIndex = openPath(m_folder.file("model.safetensors.index.json"));
    ASSERT_TRUE(byIndex.ok()) << byIndex.error().text();
    EXPECT_EQ((*byIndex)->parameters().size(), 2u);
}

// Files of Hugging Face folders say "type" of many things; only a list of the SDLoader names checkpoints.
TEST_F(SafetensorsFormat, AFolderWithOtherJsonIsStillTheModels)
{
    writeSafetensors(m_folder.file("model.safetensors"), {{"a", {2}, 1}});
    writeText(m_folder.file("config.json"), R"({"rope_scaling": {"type": "linear", "factor": 2.0}, "model_type": "llama"})");
    std::filesystem::create_directory(m_folder.file("onnx"));
    const auto opened = openPath(m_folder.path().string());
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_EQ((*opened)->formatId(), "safetensors");
    EXPECT_FALSE(openPath(m_folder.file("config.json")));
}

TEST_F(SafetensorsFormat, NumberedFilesNeedNoIndex)
{
    writeSafetensors(m_folder.file("model-00001-of-00002.safetensors"), {{"a", {2}, 1}});
    writeSafetensors(m_folder.file("model-00002-of-00002.safetensors"), {{"b", {2}, 5}});
    const auto checkpoint = openFolder();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(checkpoint->parameters().size(), 2u);
}

TEST_F(SafetensorsFormat, AMissingShardIsNamed)
{
    writeSafetensors(m_folder.file("model-00001-of-00003.safetensors"), {{"a", {2}, 1}});
    writeSafetensors(m_folder.file("model-00003-of-00003.safetensors"), {{"c", {2}, 5}});
    const auto opened = openPath(m_folder.path().string());
    const std::string said = opened ? testing::PrintToString(findingsOf(**opened)) : opened.error().text();
    EXPECT_THAT(said, HasSubstr("model-00002-of-00003.safetensors"));
}

TEST_F(SafetensorsFormat, ANameThatTheIndexPutsElsewhereIsAnError)
{
    writeSafetensors(m_folder.file("model-00001-of-00002.safetensors"), {{"a", {2}, 1}, {"b", {2}, 3}});
    writeSafetensors(m_folder.file("model-00002-of-00002.safetensors"), {{"c", {2}, 5}});
    writeText(m_folder.file("model.safetensors.index.json"),
              R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model-00002-of-00002.safetensors"}})");
    const auto checkpoint = openFolder();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(findingsOf(*checkpoint), Contains(HasSubstr("b")));
    EXPECT_THAT(checkpoint->findings(), Contains(testing::Field(&Finding::severity, Severity::Error)));
}

TEST_F(SafetensorsFormat, TheSameNameInTwoFilesIsRefusedOrSaid)
{
    writeSafetensors(m_folder.file("model-00001-of-00002.safetensors"), {{"a", {2}, 1}});
    writeSafetensors(m_folder.file("model-00002-of-00002.safetensors"), {{"a", {2}, 5}});
    const auto opened = openPath(m_folder.path().string());
    const std::string said = opened ? testing::PrintToString(findingsOf(**opened)) : opened.error().text();
    EXPECT_THAT(said, HasSubstr("a"));
    EXPECT_THAT(said, testing::AnyOf(HasSubstr("twice"), HasSubstr("two files"), HasSubstr("already"))) << said;
}

TEST_F(SafetensorsFormat, APointerOfLargeFileStorageIsSaidToBeOne)
{
    writeText(m_folder.file("model.safetensors"), "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4567\n");
    const auto opened = openPath(m_folder.file("model.safetensors"));
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().text(), HasSubstr("git lfs pull"));
}

TEST_F(SafetensorsFormat, APickleUnderThisNameIsOpenedAsWhatItIs)
{
    writeTorchFile(m_folder.file("model.safetensors"), pyDict({{"w", floatTensor(0, 2, {2})}}), {floatStorage(2, 3)});
    const auto opened = openPath(m_folder.file("model.safetensors"));
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_EQ((*opened)->formatId(), "torch");
}

} // namespace
} // namespace shardlens::test
