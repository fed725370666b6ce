#include "core/model/coverage.h"
#include "tests/core/format/format_fixture.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/torch_dist_test_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

namespace shardlens::torch_dist {
namespace {

using test::DcpTestFolder;
using test::findingsOf;
using test::openPath;
using test::Py;
using test::pyDict;
using test::TemporaryFolder;
using test::TorchDistTestRun;
using test::writeText;
using testing::Contains;
using testing::HasSubstr;

// One way to harm the folder of an iteration, and what is said about it.
struct Harm {
    const char* name;
    std::function<void(const std::string& root)> harm;
    const char* refused; // empty: it opens
    const char* finding; // of those, one says so
};

class TorchDistHarmed : public testing::TestWithParam<Harm> {};

TEST_P(TorchDistHarmed, SaysWhatIsWrong)
{
    const TemporaryFolder folder;
    TorchDistTestRun{}.write(folder.path().string());
    GetParam().harm(folder.path().string());
    const auto opened = openPath(folder.path().string());
    if (*GetParam().refused != '\0') {
        ASSERT_FALSE(opened.ok());
        EXPECT_THAT(opened.error().text(), HasSubstr(GetParam().refused));
        return;
    }
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_EQ((*opened)->formatId(), "torch-dist");
    EXPECT_THAT(findingsOf(**opened), Contains(HasSubstr(GetParam().finding)));
}

std::string iterationOf(const std::string& root)
{
    return root + "/iter_0000005/";
}

void rewrite(const std::string& root, const std::function<void(DcpTestFolder&)>& change)
{
    DcpTestFolder container = TorchDistTestRun{}.container();
    change(container);
    container.write(iterationOf(root));
}

INSTANTIATE_TEST_SUITE_P(
    TorchDist, TorchDistHarmed,
    testing::Values(
        Harm{"NoIndex", [](const auto& root) { std::filesystem::remove(iterationOf(root) + ".metadata"); }, "2 data files and no .metadata, the index", ""},
        Harm{"NoIndexNoBackend",
             [](const auto& root) {
                 std::filesystem::remove(iterationOf(root) + ".metadata");
                 std::filesystem::remove(iterationOf(root) + "metadata.json");
             },
             "and no .metadata", ""},
        Harm{"IndexIsNoPickle", [](const auto& root) { writeText(iterationOf(root) + ".metadata", "text"); }, ".metadata: ", ""},
        Harm{"NoBackend", [](const auto& root) { std::filesystem::remove(iterationOf(root) + "metadata.json"); }, "", "no-backend: metadata.json is not there: it is written last"},
        Harm{"OtherBackend", [](const auto& root) { writeText(iterationOf(root) + "metadata.json", R"({"sharded_backend": "torch_new"})"); }, "", "other-backend: metadata.json names the backend torch_new"},
        Harm{"Zarr",
             [](const auto& root) {
                 std::filesystem::remove(iterationOf(root) + ".metadata");
                 writeText(iterationOf(root) + "metadata.json", R"({"sharded_backend": "zarr"})");
             },
             "metadata.json names the backend zarr, which is not read", ""},
        Harm{"NoDataFile", [](const auto& root) { std::filesystem::remove(iterationOf(root) + "__1_0.distcp"); }, "", "missing-file: __1_0.distcp is not in the folder"},
        Harm{"ShortDataFile", [](const auto& root) { std::filesystem::resize_file(iterationOf(root) + "__1_0.distcp", 700); }, "", "truncated-file: __1_0.distcp is cut off: the metadata place items up to byte"},
        Harm{"NoCommon", [](const auto& root) { std::filesystem::remove(iterationOf(root) + "common.pt"); }, "", "no-common: There is no common.pt"},
        Harm{"CommonIsNoTorchFile", [](const auto& root) { writeText(iterationOf(root) + "common.pt", "text"); }, "", "unreadable-common: common.pt cannot be read"},
        Harm{"LeftOver", [](const auto& root) { writeText(iterationOf(root) + "__7_0.distcp", "text"); }, "", "leftover-file: __7_0.distcp (4 B) is not named by .metadata"},
        Harm{"IntegrityNamesMore", [](const auto& root) { writeText(iterationOf(root) + "integrity.json", R"({"algorithm": "sha256", "files": {".metadata": "00", "__9_0.distcp": "00"}})"); }, "",
             "integrity: integrity.json names 1 file that is not there: __9_0.distcp"},
        Harm{"IntegrityIsNoJson", [](const auto& root) { writeText(iterationOf(root) + "integrity.json", "text"); }, "", "integrity: integrity.json cannot be read"},
        Harm{"Tracker", [](const auto& root) { writeText(root + "/latest_checkpointed_iteration.txt", "abc"); }, "latest_checkpointed_iteration.txt holds 'abc'", ""},
        Harm{"TrackedIsMissing", [](const auto& root) { writeText(root + "/latest_checkpointed_iteration.txt", "6"); }, "the tracker points to iter_0000006, which is not here; found: iter_0000005", ""},
        Harm{"ChunkOutside", [](const auto& root) { rewrite(root, [](auto& all) { all.tensors[1].chunks[0].offset[0] = 3; }); }, "", "A chunk of decoder.layers.self_attention.linear_qkv.layer_norm_weight leaves the tensor"},
        Harm{"ChunksOverlap", [](const auto& root) { rewrite(root, [](auto& all) { all.tensors[0].chunks[1] = {{3, 0}, {5, 6}, std::vector<float>(30, 1.0F), 1}; }); }, "", "Two chunks of embedding.word_embeddings.weight overlap"},
        Harm{"FlattenedOddly",
             [](const auto& root) {
                 rewrite(root, [](auto& all) {
                     all.tensors.push_back({"optimizer.state.exp_avg.decoder.final_layernorm.weight", {4, 2}, {{{0, 0}, {4, 2}, {1, 2, 3, 4, 5, 6, 7, 8}, 0}}});
                     all.flattened.push_back({"optimizer.state.exp_avg.decoder.final_layernorm.weight", {6}});
                 });
             },
             "", "it is stored as [4, 2], which is no way to cut [6] into equal shards"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(TorchDistRejects, LostChunksAreHolesOfTheirLayersAlone)
{
    const TemporaryFolder folder;
    TorchDistTestRun run;
    DcpTestFolder container = run.container();
    for (DcpTestFolder::Tensor& tensor : container.tensors)
        if (tensor.key.find("linear_fc1") != std::string::npos)
            for (DcpTestFolder::Chunk& chunk : tensor.chunks)
                chunk.writer = chunk.offset[0] == 1 ? 8 : 0; // layer 1 in a file of its own
    container.write(folder.file("iter_0000005"));
    TorchDistTestRun::writeBeside(folder.file("iter_0000005"), {});
    std::filesystem::remove(folder.file("iter_0000005/__8_0.distcp"));
    const auto opened = openPath(folder.path().string());
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    for (const char* layer : {"0", "1", "2"}) {
        const TensorId id = test::tensorNamed(**opened, std::string("decoder.layers.") + layer + ".mlp.linear_fc1.weight");
        EXPECT_EQ(coverageOf(**opened, id).holes.empty(), *layer != '1') << layer;
    }
}

// Any beginning of a good index is refused or opens; nothing reads past its end.
TEST(TorchDistRejects, EveryPrefixOfAnIndexIsRefusedOrOpens)
{
    const TemporaryFolder folder;
    TorchDistTestRun run;
    run.layers = 1;
    run.optimizer = TorchDistTestRun::Optimizer::Flattened;
    run.write(folder.path().string());
    for (const char* name : {".metadata", "common.pt", "__0_0.distcp", "metadata.json"}) {
        const std::string path = folder.file(std::string("iter_0000005/") + name);
        std::ifstream file(path, std::ios::binary);
        const std::string whole{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
        const std::size_t step = std::max<std::size_t>(whole.size() / 97, 1);
        for (std::size_t size = 0; size < whole.size(); size += step) {
            writeText(path, whole.substr(0, size));
            const auto opened = openPath(folder.path().string());
            EXPECT_TRUE(opened.ok() || !opened.error().text().empty());
        }
        writeText(path, whole);
    }
    EXPECT_TRUE(openPath(folder.path().string()).ok());
}

// Few bytes of metadata must not ask for pieces without end.
TEST(TorchDistRejects, StacksWithoutEndAreRefused)
{
    const TemporaryFolder folder;
    DcpTestFolder container;
    constexpr std::uint64_t kColumns = 600;
    DcpTestFolder::Tensor tensor{"decoder.layers.odd.weight", {60'000, kColumns}, {}};
    for (std::uint64_t column = 0; column < kColumns; ++column)
        tensor.chunks.push_back({{0, column}, {60'000, 1}, {}, 5});
    container.tensors.push_back(std::move(tensor));
    container.write(folder.file("iter_0000005"));
    TorchDistTestRun::writeBeside(folder.file("iter_0000005"), {});
    std::filesystem::remove(folder.file("iter_0000005/__5_0.distcp")); // lost: nothing has to be stored for the chunks
    const auto opened = openPath(folder.path().string());
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code(), ErrorCode::LimitExceeded);
    EXPECT_THAT(opened.error().text(), HasSubstr("cut into more than 16,777,216 pieces"));
}

} // namespace
} // namespace shardlens::torch_dist
