// Files that other things than a plain torch.save of dense tensors leave: sparse tensors, TorchScript, bare pickles, views.
#include "tests/core/format/format_fixture.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace shardlens::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

CheckpointPtr openFixture(const std::string& name)
{
    auto opened = openPath(std::string(SHARDLENS_SOURCE_DIR "/tests/core/format/files/") + name);
    EXPECT_TRUE(opened.ok()) << opened.error().text();
    return opened ? opened.take() : nullptr;
}

std::vector<std::string> namesIn(const Checkpoint& checkpoint, RoleKind kind)
{
    std::vector<std::string> out;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (checkpoint.roleOf(idAt<TensorId>(i)).kind == kind)
            out.push_back(checkpoint.parameterOf(idAt<TensorId>(i)));
    return out;
}

TEST(TorchKinds, SparseTensorsAreShownAsTheirParts)
{
    const auto checkpoint = openFixture("sparse.pt");
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(namesIn(*checkpoint, RoleKind::Weight),
                ElementsAre("coo.indices", "coo.values", "csr.crow_indices", "csr.col_indices", "csr.values", "csc.ccol_indices", "csc.row_indices", "csc.values", "bsr.crow_indices",
                            "bsr.col_indices", "bsr.values", "bsc.ccol_indices", "bsc.row_indices", "bsc.values", "learned.indices", "learned.values", "dense"));
    EXPECT_THAT(floatsOf(checkpoint, "coo.values"), ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_THAT(floatsOf(checkpoint, "csc.values"), ElementsAre(4, 1, 6, 3, 2, 5));
    EXPECT_EQ(checkpoint->tensor(tensorNamed(*checkpoint, "bsr.values")).shape, (Shape{4, 2, 2}));
    for (std::size_t i = 0; i < checkpoint->tensors().size(); ++i)
        EXPECT_EQ(checkpoint->tensors()[i].sparsePart, checkpoint->fullName(idAt<TensorId>(i)) != "dense");
    EXPECT_THAT(findingsOf(*checkpoint), Contains("sparse-tensor: bsr is a sparse tensor (BSR [4, 4]); its parts are shown."));
}

TEST(TorchKinds, TheCodeOfTorchScriptTellsStateFromAttributes)
{
    const auto checkpoint = openFixture("scripted.pt");
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(checkpoint->formatTitle(), "TorchScript");
    EXPECT_EQ(checkpoint->files()[0].container, "TorchScript");
    EXPECT_THAT(namesIn(*checkpoint, RoleKind::Weight), ElementsAre("seen", "inner.weight", "blocks.0.weight", "blocks.0.bias"));
    EXPECT_THAT(namesIn(*checkpoint, RoleKind::Other), ElementsAre("scale", "inner.table"));
    EXPECT_THAT(floatsOf(checkpoint, "blocks.0.bias"), ElementsAre(5, 6));
}

class BarePickle : public testing::TestWithParam<const char*> {};

TEST_P(BarePickle, HoldsItsTensorsAsTorchFilesInside)
{
    const auto checkpoint = openFixture(GetParam());
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(checkpoint->files()[0].container, "bare pickle");
    EXPECT_THAT(namesIn(*checkpoint, RoleKind::Weight), ElementsAre("a", "nested.b", "tail"));
    EXPECT_THAT(floatsOf(checkpoint, "a"), ElementsAre(0, 1, 2, 3, 4, 5));
    EXPECT_THAT(floatsOf(checkpoint, "tail"), ElementsAre(2, 3, 4));
}

INSTANTIATE_TEST_SUITE_P(Protocols, BarePickle, testing::Values("bare2.pkl", "bare4.pkl"), [](const auto& row) { return std::string(row.param).substr(0, 5); });

TEST(TorchKinds, AStorageInsideAPickleMayBeAZipArchive)
{
    const auto checkpoint = openFixture("bare_zip.pkl");
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(floatsOf(checkpoint, "z"), ElementsAre(1, 2, 3));
}

TEST(TorchKinds, AStorageInsideAPickleThatIsDamagedIsSaid)
{
    const TemporaryFolder folder;
    std::ifstream file(SHARDLENS_SOURCE_DIR "/tests/core/format/files/bare4.pkl", std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const std::size_t magic = bytes.find("\x6C\xFC\x9C\x46");
    ASSERT_NE(magic, std::string::npos);
    bytes[magic] = 'm';
    writeText(folder.file("bare.pkl"), bytes);
    const auto opened = openPath(folder.file("bare.pkl"));
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(namesIn(**opened, RoleKind::Weight), ElementsAre("nested.b", "tail"));
    EXPECT_THAT(findingsOf(**opened), Contains(StartsWith("unsupported-tensor: a cannot be read: a torch file inside the pickle: ")));
}

TEST(TorchKinds, APickleOfPlainValuesIsNoCheckpoint)
{
    const TemporaryFolder folder;
    writeText(folder.file("plain.pkl"), pickled(pyDict({{"step", {std::int64_t{3}}}})));
    const auto opened = openPath(folder.file("plain.pkl"));
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code(), ErrorCode::Unsupported);
    EXPECT_THAT(opened.error().text(), HasSubstr("a pickle without tensors"));
}

TEST(TorchKinds, ARecordLongerThanThePickleSaysIsAWarning)
{
    const TemporaryFolder folder;
    TestStorage storage = floatStorage(6, 1);
    storage.bytes += 4;
    writeTorchFile(folder.file("model.pt"), pyDict({{"a", floatTensor(0, 6, {6})}}), {storage});
    const auto opened = openPath(folder.file("model.pt"));
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    ASSERT_FALSE((*opened)->findings().empty());
    EXPECT_EQ((*opened)->findings()[0].severity, Severity::Warning);
    EXPECT_THAT(findingsOf(**opened), Contains(StartsWith("record-size: model.pt: data/0 has 28 B, and the pickle says 24 B")));
}

// Two views that meet cover their storage; one that repeats cells uses no more than it spans.
TEST(TorchKinds, StoragesThatViewsCoverAreNotWasted)
{
    const TemporaryFolder folder;
    writeTorchFile(folder.file("model.pt"), pyDict({{"a", floatTensor(0, 6, {2}, 4)}, {"b", floatTensor(0, 6, {2, 4}, 0, {0, 1})}}), {floatStorage(6, 0)});
    const auto opened = openPath(folder.file("model.pt"));
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(findingsOf(**opened), Not(Contains(StartsWith("wasted-bytes"))));
}

TEST(TorchKinds, BytesBehindViewsAreCounted)
{
    const auto checkpoint = openFixture("views.pt");
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(AllOf(StartsWith("wasted-bytes: views.pt: 3.89 KiB (3,988 B) of 3.91 KiB (4,000 B) in 1 storage belong to no tensor"),
                                                           HasSubstr("view uses 12 B of 3.91 KiB (4,000 B)"))));
    std::vector<std::uint64_t> unused;
    for (const FileSpan& span : checkpoint->fileSpans())
        if (span.kind == FileSpan::Kind::Unused)
            unused.push_back(span.length);
    EXPECT_THAT(unused, ElementsAre(8, 3980));
}

// What is shown in part only is still told apart: comparing two runs' arguments compares these texts.
TEST(TorchKinds, LongArgumentsThatDifferReadDifferently)
{
    const TemporaryFolder folder;
    const auto shown = [&](std::string last) {
        writeTorchFile(folder.file("model.pt"), pyDict({{"w", floatTensor(0, 2, {2})}, {"note", Py{std::string(5000, 'x') + last}}}), {floatStorage(2, 0)});
        const auto opened = openPath(folder.file("model.pt"));
        EXPECT_TRUE(opened.ok());
        return opened ? (*opened)->metadata().at(0).root.child("note")->value : "";
    };
    EXPECT_THAT(shown("a"), HasSubstr("(5,001 B, CRC "));
    EXPECT_NE(shown("a"), shown("b"));
    EXPECT_EQ(shown("a"), shown("a"));
}

} // namespace
} // namespace shardlens::test
