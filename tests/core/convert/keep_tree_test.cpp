// `--select all --to torch`: the tree of a torch file is written again.
#include "tests/core/convert/convert_fixture.h"
#include "tests/support/torch_test_file.h"

#include <gmock/gmock.h>

namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class KeepTreeTest : public ConvertTest {
protected:
    static CheckpointPtr opened(const std::string& path)
    {
        JobContext job;
        auto checkpoint = openCheckpoint(path, {}, job);
        EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().text();
        return checkpoint ? checkpoint.take() : nullptr;
    }
    static CheckpointPtr fixture(const std::string& name) { return opened(SHARDLENS_SOURCE_DIR "/tests/core/format/files/" + name); }
    [[nodiscard]] ConvertRequest everything(const std::string& target) const
    {
        ConvertRequest out = request(target, "torch");
        out.select = Select::All;
        return out;
    }
};

class KeepTreeOf : public KeepTreeTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(KeepTreeOf, HoldsTheSameTensors)
{
    const CheckpointPtr source = fixture(GetParam());
    ASSERT_EQ(convert(source, everything("out.pt")), "");
    EXPECT_EQ(contentsOf(path("out.pt")), contentsOf(source));
    EXPECT_EQ(opened(path("out.pt"))->files()[0].container, "torch zip");
}

INSTANTIATE_TEST_SUITE_P(Files, KeepTreeOf, ::testing::Values("sparse.pt", "bare2.pkl", "bare4.pkl", "bare_zip.pkl", "views.pt"), [](const auto& row) {
    std::string name = row.param;
    name.resize(name.find('.'));
    return name;
});

TEST_F(KeepTreeTest, LeavesOutNoTensorWithAnObjectOfAnUnknownClass)
{
    const Py tensor{Py::Tensor{"FloatStorage", 0, 2, 0, {2}, {}}};
    writeTorchFile(path("alone.pt"), pyDict({{"plain", {std::int64_t{1}}}, {"wrapped", {Py::Call{{"my.project", "Wrapper"}, {tensor}}}}}), {{8, {}}});
    EXPECT_THAT(convert(opened(path("alone.pt")), everything("other.pt")), AllOf(HasSubstr("1 tensor lies in objects of unknown classes (my.project.Wrapper)"), HasSubstr("--keep-objects")));
    ConvertRequest kept = everything("other.pt");
    kept.keepObjects = true;
    EXPECT_EQ(convert(opened(path("alone.pt")), kept), "");
}

TEST_F(KeepTreeTest, TorchScriptIsNotWrittenAgain)
{
    EXPECT_THAT(convert(fixture("scripted.pt"), everything("out.pt")), HasSubstr("a TorchScript archive holds code, which is not written"));
    EXPECT_EQ(convert(fixture("scripted.pt"), request("out.pt", "torch")), "");
    EXPECT_THAT(contentsOf(path("out.pt")), ::testing::SizeIs(4)); // parameters and buffers
}

TEST_F(KeepTreeTest, PartsOfSparseTensorsAreNoTensorsOfTheirOwn)
{
    EXPECT_THAT(convert(fixture("sparse.pt"), request("out", "safetensors")), HasSubstr("coo.indices is a part of a sparse tensor, which safetensors cannot hold; leave it out with --exclude"));
    EXPECT_THAT(convert(fixture("sparse.pt"), request("out.pt", "torch")), AllOf(HasSubstr("coo.indices is a part of a sparse tensor"), HasSubstr("keep the whole tree with --select all")));
    ConvertRequest dense = request("out", "safetensors");
    dense.include = {"^dense$"};
    EXPECT_EQ(convert(fixture("sparse.pt"), dense), "");
    EXPECT_THAT(contentsOf(path("out")), ::testing::SizeIs(1));
}

} // namespace
} // namespace shardlens::test
