// `--select all --to torch`: the tree of a torch file is written again.
#include "core/encoding/pickle/emitter.h"
#include "core/encoding/pickle/graph.h"
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

// What `scan` calls suspicious or dangerous for its calls, not for its names, is not passed on.
TEST_F(KeepTreeTest, CallsThatRunSomethingElseAreNotWrittenAgain)
{
    const Py tensor{Py::Tensor{"FloatStorage", 0, 2, 0, {2}, {}}};
    const Py computed{Py::Call{{"collections", "OrderedDict"}, {}}};
    const Py object{Py::Global{"__builtin__", "object"}};
    const Py none{Py::None{}};
    const std::vector<std::pair<std::string, Py::Call>> calls{
        {"codec", {{"_codecs", "encode"}, {Py{std::string("abc")}, Py{std::string("rot13")}}}},
        {"reconstructor", {{"copy_reg", "_reconstructor"}, {computed, object, none}}},
        {"from_type", {{"torch._tensor", "_rebuild_from_type_v2"}, {computed, Py{Py::Global{"torch", "Tensor"}}, Py{Py::Tuple{}}, none}}},
        {"passed_on", {{"torch._tensor", "_rebuild_from_type_v2"}, {Py{Py::Global{"_codecs", "encode"}}, object, Py{Py::Tuple{}}, none}}},
    };
    for (const auto& [name, call] : calls) {
        writeTorchFile(path(name + ".pt"), pyDict({{"w", tensor}, {"x", Py{call}}}), {{8, {}}});
        for (const bool keepObjects : {false, true}) {
            ConvertRequest wanted = everything("out.pt");
            wanted.keepObjects = keepObjects;
            EXPECT_THAT(convert(opened(path(name + ".pt")), wanted), HasSubstr("such a pickle is not written again")) << name;
        }
    }
}

// A name of Python 2 that the source means as it stands must not become another in a pickle of protocol 2.
TEST_F(KeepTreeTest, NamesAreNotMappedOnTheWay)
{
    JobContext job;
    const std::string pickle = "\x80\x04\x8c\x10SimpleHTTPServer\x8c\x04test\x93.";
    const auto bytes = std::as_bytes(std::span(pickle));
    const auto graph = pickle::Graph::parse(std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end()));
    ASSERT_TRUE(graph.ok()) << graph.error().text();
    const auto written = pickle::emitPickle((*graph)->root());
    ASSERT_TRUE(written.ok());
    const auto again = pickle::Graph::parse(std::make_shared<const std::vector<std::byte>>(*written));
    ASSERT_TRUE(again.ok());
    EXPECT_EQ((*again)->root().globalModule(), "SimpleHTTPServer");
    EXPECT_FALSE((*again)->root().hasPython2Names());
}

// PyTorch 2.13 refuses records that are longer than their pickle says; what is written says what it has.
TEST_F(KeepTreeTest, WritesNoRecordLongerThanItsPickleSays)
{
    writeTorchFile(path("model.pt"), pyDict({{"w", Py{Py::Tensor{"FloatStorage", 0, 2, 0, {2}, {}}}}}), {{12, {}}});
    ASSERT_EQ(convert(opened(path("model.pt")), everything("out.pt")), "");
    const CheckpointPtr result = opened(path("out.pt"));
    ASSERT_NE(result, nullptr);
    for (const Finding& finding : result->findings())
        EXPECT_NE(finding.code, "record-size");
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
