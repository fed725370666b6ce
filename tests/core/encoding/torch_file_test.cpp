#include "core/encoding/torch_file.h"

#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/torch_fixture.h"
#include "tests/support/torch_test_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Files that torch 2.13.0 wrote, and what it reads from them; files/README.md says how.
std::string realFile(const std::string& name)
{
    return readFile(SHARDLENS_SOURCE_DIR "/tests/core/encoding/files/" + name);
}

std::vector<std::string> noteCodes(std::string_view bytes)
{
    JobContext job;
    const auto file = TorchFile::open(memory(bytes), job);
    std::vector<std::string> out;
    if (file)
        for (const TorchNote& note : file->notes())
            out.push_back(note.code);
    return out;
}

// The numbers 0 to 5 as six floats.
std::string sixFloats()
{
    std::string out;
    for (const float value : {0.f, 1.f, 2.f, 3.f, 4.f, 5.f})
        out.append(reinterpret_cast<const char*>(&value), sizeof value);
    return out;
}

TEST(TorchFile, ReadsTheSmallestFile)
{
    JobContext job;
    const auto source = memory(smallestTorchFile());
    const auto file = TorchFile::open(source, job);
    ASSERT_TRUE(file.ok()) << file.error().text();
    EXPECT_EQ(file->container(), TorchFile::Container::Zip);
    const auto tensor = file->tensorOf(file->root().find("w"));
    ASSERT_TRUE(tensor.ok());
    EXPECT_TRUE(tensor->contiguous);
    ASSERT_EQ(file->storages().size(), 1u);
    EXPECT_EQ(file->storages()[0].offset, 320u);
    EXPECT_EQ(textAt(*source, 320, 24), sixFloats());
    EXPECT_THAT(tensorLines(*file, source), ElementsAre("w F32 [2, 3] strides [12, 4] at 0 crc 91e79017"));
}

TEST(TorchFile, ReadsViewsOfEveryKind)
{
    EXPECT_THAT(tensorLines(realFile("views.pth")),
                ElementsAreArray({
                    "transposed F32 [3, 5] strides [4, 12] at 0 crc 84159a98",
                    "rows F32 [3, 8] strides [32, 4] at 64 crc 6816e63f",
                    "columns F32 [6, 3] strides [32, 8] at 4 crc aeeecd76",
                    "base F32 [6, 8] strides [32, 4] at 0 crc 67b2e06f",
                    "diagonal F32 [6] strides [36] at 0 crc b0bfaae2",
                    "expanded F32 [4, 6] strides [4, 0] at 0 crc 8bc35f6a",
                    "flat F32 [48] strides [4] at 0 crc 67b2e06f",
                    "reshaped F32 [8, 6] strides [24, 4] at 0 crc 67b2e06f",
                    "permuted F32 [4, 2, 3] strides [4, 48, 16] at 0 crc d33fc675",
                    "last F32 [2, 3, 4, 5] strides [240, 4, 60, 12] at 0 crc eecc7ce4",
                    "tied.a F32 [7, 3] strides [12, 4] at 0 crc 0cfa9fa6",
                    "tied.b F32 [7, 3] strides [12, 4] at 0 crc 0cfa9fa6",
                    "slack F32 [2] strides [4] at 28 crc ad7e21eb",
                    "element F32 [] strides [] at 112 crc f8a636c7",
                    "as int F32 [4] strides [4] at 0 crc 4517d332",
                    "conj C64 [3] strides [8] at 0 crc 879336cd",
                    "imag F32 [3] strides [8] at 4 crc 8087de0d",
                    "negative F32 [3] strides [8] at 4 crc 4b457fe6"}));
}

TEST(TorchFile, TellsWhatSharesMemory)
{
    JobContext job;
    const auto file = TorchFile::open(memory(realFile("views.pth")), job);
    ASSERT_TRUE(file.ok());
    const auto storageOf = [&](pickle::Value value) {
        const auto tensor = file->tensorOf(value);
        return tensor ? tensor->storage : file->storages().size();
    };
    const pickle::Value root = file->root();
    EXPECT_LT(storageOf(root.find("base")), file->storages().size());
    EXPECT_EQ(storageOf(root.find("base")), storageOf(root.find("rows")));
    EXPECT_EQ(storageOf(root.find("base")), storageOf(root.find("diagonal")));
    EXPECT_LT(storageOf(root.find("tied.a")), file->storages().size());
    EXPECT_EQ(storageOf(root.find("tied.a")), storageOf(root.find("tied.b")));
    EXPECT_NE(storageOf(root.find("base")), storageOf(root.find("slack")));
    EXPECT_FALSE(file->tensorOf(root.find("columns"))->contiguous);
    EXPECT_TRUE(file->tensorOf(root.find("rows"))->contiguous);
    EXPECT_FALSE(file->tensorOf(root.find("expanded"))->contiguous);
    EXPECT_TRUE(file->tensorOf(root.find("conj"))->flags.conjugate);
    EXPECT_TRUE(file->tensorOf(root.find("negative"))->flags.negate);
}

TEST(TorchFile, ReadsTheStreamFormat)
{
    EXPECT_THAT(tensorLines(realFile("protocol4.pth")),
                ElementsAreArray({
                    "kinds.f64 F64 [3, 2] strides [16, 8] at 0 crc a4aea179",
                    "kinds.f32 F32 [3, 2] strides [8, 4] at 0 crc dade7183",
                    "kinds.f16 F16 [3, 2] strides [4, 2] at 0 crc dd613c15",
                    "kinds.bf16 BF16 [3, 2] strides [4, 2] at 0 crc 1bb25bed",
                    "kinds.i64 I64 [3, 2] strides [16, 8] at 0 crc 28206753",
                    "kinds.i32 I32 [3, 2] strides [8, 4] at 0 crc 156c74b7",
                    "kinds.i16 I16 [3, 2] strides [4, 2] at 0 crc 87f55e6c",
                    "kinds.i8 I8 [3, 2] strides [2, 1] at 0 crc 9d84d7ca",
                    "kinds.u8 U8 [3, 2] strides [2, 1] at 0 crc 563f435c",
                    "kinds.bool BOOL [3, 2] strides [2, 1] at 0 crc 42dbb5d7",
                    "kinds.c64 C64 [3, 2] strides [16, 8] at 0 crc 49716239",
                    "rows F32 [3, 8] strides [32, 4] at 32 crc 2fd342fa",
                    "columns F32 [6] strides [32] at 12 crc 3ab0586b",
                    "transposed F32 [8, 6] strides [4, 32] at 0 crc 10a5b682",
                    "scalar F32 [] strides [] at 0 crc bb5082e6",
                    "empty F32 [0, 3] strides [12, 4] at 0 crc 00000000",
                    "tied F32 [6, 8] strides [32, 4] at 0 crc 67b2e06f",
                    "list.0 F32 [2] strides [4] at 0 crc 6c02a312",
                    "list.1.x F32 [3] strides [4] at 0 crc f69b7468"}));
    EXPECT_THAT(tensorLines(realFile("untyped.pth")),
                ElementsAreArray({
                    "e4m3 F8_E4M3 [3, 2] strides [2, 1] at 0 crc 0476c33c",
                    "e5m2 F8_E5M2 [3, 2] strides [2, 1] at 0 crc 797cfecf",
                    "e8m0 F8_E8M0 [3, 2] strides [2, 1] at 0 crc e7a70957",
                    "u16 U16 [3, 2] strides [4, 2] at 0 crc 9e96b5f8",
                    "u32 U32 [3, 2] strides [8, 4] at 0 crc a6826277",
                    "u64 U64 [3, 2] strides [16, 8] at 0 crc f57548ff",
                    "plain F32 [2] strides [4] at 0 crc 8348e56a"}));
}

TEST(TorchFile, ReadsBigEndianValues)
{
    EXPECT_THAT(tensorLines(realFile("big-endian.pt")),
                ElementsAreArray({
                    "t0 F32 [1, 3] strides [12, 4] at 0 crc e690636a",
                    "t1 BF16 [2, 3] strides [6, 2] at 0 crc 1b356ae7",
                    "t2 I64 [3, 3] strides [24, 8] at 0 crc adaae67c",
                    "t3 C64 [4, 3] strides [24, 8] at 0 crc e6e10cc2",
                    "t4 U16 [5, 3] strides [6, 2] at 0 crc d3f9d09e",
                    "t5 F8_E5M2 [6, 3] strides [3, 1] at 0 crc 87ff2aa2",
                    "t6 BOOL [7, 3] strides [3, 1] at 0 crc 269e8c8a"}));
    JobContext job;
    const auto file = TorchFile::open(memory(realFile("big-endian.pt")), job);
    ASSERT_TRUE(file.ok());
    EXPECT_TRUE(file->tensorOf(file->root().find("t0"))->flags.bigEndian);
    EXPECT_FALSE(file->tensorOf(file->root().find("t6"))->flags.bigEndian); // single bytes have no order
}

TEST(TorchFile, ReadsWhatWasPackedAgain)
{
    EXPECT_THAT(tensorLines(realFile("deflated.pt")),
                ElementsAreArray({
                    "first F32 [4, 5] strides [20, 4] at 0 crc a034fa49",
                    "second F64 [3] strides [8] at 0 crc 6703e1dd",
                    "third I32 [7] strides [4] at 0 crc e552e569"}));
    EXPECT_THAT(noteCodes(realFile("deflated.pt")), ElementsAre("repacked"));
}

TEST(TorchFile, FindsTensorsInParametersAndSubclasses)
{
    const auto lines = tensorLines(realFile("objects.ckpt"));
    EXPECT_THAT(lines, ::testing::IsSupersetOf({HasSubstr("model.weight F32 [3, 4] strides [16, 4]"), HasSubstr("model.bias F32 [2, 3] strides [12, 4]"),
                                                HasSubstr("model.marked F32 [2, 2] strides [8, 4]")}));
}

TEST(TorchFile, ReadsTheSmallStream)
{
    JobContext job;
    const auto source = memory(smallLegacyFile());
    const auto file = TorchFile::open(source, job);
    ASSERT_TRUE(file.ok()) << file.error().text();
    EXPECT_EQ(file->container(), TorchFile::Container::Legacy);
    ASSERT_EQ(file->storages().size(), 2u);
    EXPECT_EQ(file->storages()[0].offset, 516u);
    EXPECT_EQ(file->storages()[1].offset, 526u);
    EXPECT_EQ(textAt(*source, 516, 2), "\xc0\x3f");
    EXPECT_EQ(textAt(*source, 526, 24), sixFloats());
    const auto w = file->tensorOf(file->root().find("w"));
    const auto v = file->tensorOf(file->root().find("v"));
    const auto b = file->tensorOf(file->root().find("b"));
    ASSERT_TRUE(w.ok() && v.ok() && b.ok());
    EXPECT_EQ(w->storage, 1u);
    EXPECT_EQ(v->storage, 1u);
    EXPECT_EQ(v->offsetBytes, 8u);
    EXPECT_EQ(b->dtype, DType::BF16);
    EXPECT_THAT(file->notes(), IsEmpty());
    EXPECT_THAT(noteCodes(smallLegacyFile() + "tail"), ElementsAre("trailing-bytes"));
}

TEST(TorchFile, RefusesAStreamCutAnywhere)
{
    const std::string bytes = smallLegacyFile();
    JobContext job;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto file = TorchFile::open(memory(std::string_view(bytes).substr(0, size)), job);
        ASSERT_FALSE(file.ok()) << size;
        EXPECT_EQ(codeName(file.error().code()), "Corrupt") << size << ": " << file.error().text();
    }
}

TEST(TorchFile, ReadsTheOtherWaysToRebuild)
{
    const std::string floats = sixFloats();
    const std::string hooks = py::call("collections", "OrderedDict", "");
    const std::string plain = py::tensor(py::storage("FloatStorage", "0", 6), 0, {2, 3}, {3, 1}, hooks);
    const auto line = [&](std::string_view value) { return tensorLines(torchArchive(value, {floats})).at(0); };
    EXPECT_EQ(line(plain), "F32 [2, 3] strides [12, 4] at 0 crc 91e79017");
    EXPECT_EQ(line(py::call("torch._utils", "_rebuild_parameter", plain + "\x88" + hooks)), line(plain));
    EXPECT_EQ(line(py::call("torch._utils", "_rebuild_parameter_with_state", plain + "\x88" + hooks + "}")), line(plain));
    EXPECT_EQ(line(py::call("torch._tensor", "_rebuild_from_type_v2",
                            py::global("torch._utils", "_rebuild_tensor_v2") + py::global("torch", "Tensor") + "("s + py::storage("FloatStorage", "0", 6) + py::integer(0) +
                                py::tuple({2, 3}) + py::tuple({3, 1}) + "\x89" + hooks + "t}")),
              line(plain));
    // before 0.4: no gradient flag, no hooks
    EXPECT_EQ(line(py::call("torch._utils", "_rebuild_tensor", py::storage("FloatStorage", "0", 6) + py::integer(0) + py::tuple({2, 3}) + py::tuple({3, 1}))), line(plain));
    // a storage that is a part of another
    EXPECT_EQ(line(py::tensor(py::storage("FloatStorage", "0", 6, "("s + py::text("9") + py::integer(2) + py::integer(3) + "t"), 1, {2}, {1})).substr(0, 29), "F32 [2] strides [4] at 12 crc");
    EXPECT_EQ(line(py::call("torch._utils", "_rebuild_meta_tensor_no_storage", py::global("torch", "bfloat16") + py::tuple({4, 2}) + py::tuple({2, 1}) + "\x89")),
              "BF16 [4, 2] without data");
    EXPECT_EQ(line(py::call("torch._utils", "_rebuild_qtensor",
                            py::storage("QInt8Storage", "0", 24) + py::integer(0) + py::tuple({24}) + py::tuple({1}) + "("s + py::global("torch", "per_tensor_affine") +
                                "G"s + std::string(8, '\0') + "K"s + std::string(1, '\0') + "t\x89" + hooks)),
              "QI8 [24] strides [1] at 0 crc 91e79017");
}

TEST(TorchFile, CountsValuesWhereTorchCountsPairs)
{
    const std::string storage = "("s + py::text("storage") + py::global("torch.storage", "UntypedStorage") + py::text("0") + py::text("cpu") + py::integer(6) + "tQ";
    const std::string value = py::call("torch._utils", "_rebuild_tensor_v3",
                                       storage + py::integer(0) + py::tuple({2, 3}) + py::tuple({3, 1}) + "\x89" + py::call("collections", "OrderedDict", "") +
                                           py::global("torch", "float4_e2m1fn_x2"));
    EXPECT_THAT(tensorLines(torchArchive(value, {"abcdef"})).at(0), HasSubstr("F4 [2, 6] strides [3, 1] at 0"));
}

TEST(TorchFile, TakesEmptyTensorsWhereverTheyPoint)
{
    const std::string value = py::tensor(py::storage("FloatStorage", "0", 0), 1'000, {0, 3}, {3, 1});
    EXPECT_THAT(tensorLines(torchArchive(value, {""})), ElementsAre("F32 [0, 3] strides [12, 4] at 0 crc 00000000"));
}

TEST(TorchFile, DescribesWithoutRunningAnything)
{
    const Py root = pyDict({{"weights", pyDict({{"w", Py{Py::Tensor{"FloatStorage", 0, 6, 0, {2, 3}, {}}}}}, true)},
                            {"step", Py{std::int64_t{7}}},
                            {"rate", Py{0.5}},
                            {"shape", pySize({4, 5})},
                            {"evil", Py{Py::Call{{"os", "system"}, {Py{std::string("ls")}}}}}});
    const std::string pickle = pickled(root);
    JobContext job;
    const auto file = TorchFile::open(memory(torchArchive(std::string_view(pickle).substr(2, pickle.size() - 3), {sixFloats()})), job);
    ASSERT_TRUE(file.ok()) << file.error().text();
    std::vector<std::string> lines;
    for (const MetaNode& node : describe(*file).children)
        lines.push_back(fmt::format("{} {} '{}'", node.key, node.type, node.value));
    EXPECT_THAT(lines, ElementsAre("weights OrderedDict '1 entry'", "step int '7'", "rate float '0.5'", "shape Size '2 items'", "evil os.system 'not executed'"));
    const MetaNode tree = describe(*file);
    EXPECT_EQ(tree.child("weights")->child("w")->value, "F32 [2, 3]");
    EXPECT_EQ(tree.child("evil")->kind, MetaNode::Kind::Opaque);
    std::size_t nodes = 0;
    const auto count = [&](const auto& self, const MetaNode& node) -> void {
        ++nodes;
        for (const MetaNode& child : node.children)
            self(self, child);
    };
    count(count, describe(*file, 3));
    EXPECT_LE(nodes, 6u); // and a line for each branch that was left
}

TEST(TorchFile, StopsWhenAsked)
{
    std::stop_source stop;
    stop.request_stop();
    JobContext job(stop.get_token());
    for (const std::string& bytes : {smallestTorchFile(), smallLegacyFile()}) {
        const auto file = TorchFile::open(memory(bytes), job);
        ASSERT_FALSE(file.ok());
        EXPECT_EQ(codeName(file.error().code()), "Cancelled");
    }
}

} // namespace
} // namespace shardlens::test
