#include "core/encoding/torch_file.h"

#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/torch_fixture.h"

#include <gmock/gmock.h>

#include <limits>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;

constexpr std::int64_t kHuge = std::int64_t{1} << 62;

struct BadTensor {
    const char* name;
    std::string value; // pickled; storage "0" holds 24 bytes
    const char* says;  // with the code
};

class TorchTensorRefused : public ::testing::TestWithParam<BadTensor> {};

TEST_P(TorchTensorRefused, SaysWhatDoesNotFit)
{
    const auto lines = tensorLines(torchArchive(GetParam().value, {std::string(24, 'x')}));
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_THAT(lines[0], HasSubstr(GetParam().says));
}

std::string floats(std::int64_t count, std::string_view view = "N")
{
    return py::storage("FloatStorage", "0", count, view);
}

std::string view(std::int64_t offset, std::int64_t count)
{
    return "("s + py::text("1") + py::integer(offset) + py::integer(count) + "t";
}

std::string call(std::string_view name, std::string_view arguments)
{
    return py::call("torch._utils", name, arguments);
}

std::string fourBit(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides)
{
    return call("_rebuild_tensor_v3", py::storage("UntypedStorage", "0", 24) + py::integer(0) + py::tuple(shape) + py::tuple(strides) + "\x89N" + py::global("torch", "float4_e2m1fn_x2"));
}

INSTANTIATE_TEST_SUITE_P(Torch, TorchTensorRefused, ::testing::Values(
    BadTensor{"StorageThatIsNotThere", py::tensor(py::storage("FloatStorage", "7", 6), 0, {6}, {1}), "Corrupt: storage 7 is not in the file"},
    BadTensor{"StorageTooShort", py::tensor(floats(7), 0, {6}, {1}), "Corrupt: storage 0: the pickle says 28 B, the record has 24 B"},
    BadTensor{"StorageBeyond64Bits", py::tensor(floats(kHuge), 0, {6}, {1}), "Corrupt: storage 0: the pickle says more than 2^64 B, the record has 24 B"},
    BadTensor{"NegativeCount", py::tensor(floats(-1), 0, {6}, {1}), "Corrupt: a tensor without a storage"},
    BadTensor{"NoStorage", py::tensor("N", 0, {6}, {1}), "Corrupt: a tensor without a storage"},
    BadTensor{"UnknownClass", py::tensor(py::storage("FooStorage", "0", 6), 0, {6}, {1}), "Unsupported: storages of class FooStorage are not known"},
    BadTensor{"ViewPastTheEnd", py::tensor(floats(6), 1, {2, 3}, {3, 1}), "Corrupt: a view of shape [2, 3] with strides [3, 1] at 1 leaves its storage of 24 B"},
    BadTensor{"StridePastTheEnd", py::tensor(floats(6), 0, {2}, {6}), "Corrupt: a view of shape [2] with strides [6] at 0 leaves its storage"},
    BadTensor{"ViewPastWhatThePickleSays", py::tensor(floats(4), 0, {6}, {1}), "leaves its storage of 16 B"},
    BadTensor{"HugeStride", py::tensor(floats(6), 0, {5}, {kHuge}), "leaves its storage of 24 B"},
    BadTensor{"HugeOffset", py::tensor(floats(6), kHuge, {1}, {1}), "leaves its storage of 24 B"},
    BadTensor{"HugeShape", py::tensor(floats(6), 0, {kHuge, 8}, {0, 0}), "Corrupt: shape [4611686018427387904, 8] with strides [0, 0]"},
    BadTensor{"RepeatedPast64Bits", py::tensor(py::storage("DoubleStorage", "0", 3), 0, {std::int64_t{1} << 61}, {0}), "Corrupt: shape [2305843009213693952] of F64: more than 2^64 B, at most 9,223,372,036,854,775,807 can be counted"},
    BadTensor{"RepeatedPastSignedAddresses", py::tensor(py::storage("DoubleStorage", "0", 3), 0, {std::int64_t{1} << 60}, {0}), "Corrupt: shape [1152921504606846976] of F64: 9,223,372,036,854,775,808 B, at most"},
    BadTensor{"PairsPast64Bits", fourBit({std::numeric_limits<std::int64_t>::max(), 1, 2}, {0, 1, 0}), "Corrupt: shape [9223372036854775807, 1, 2] of F4: more than 2^64 B"},
    BadTensor{"PairWithoutShape", fourBit({}, {}), "Unsupported: one element of F4 without a shape, which holds 2 values"},
    BadTensor{"MetaPast64Bits", call("_rebuild_meta_tensor_no_storage", py::global("torch", "float64") + py::tuple({std::int64_t{1} << 61}) + py::tuple({1}) + "\x89"), "Corrupt: shape [2305843009213693952] of F64: more than 2^64 B"},
    BadTensor{"ExpandedBeyondTheFile", py::tensor(floats(6), 0, {7, 2}, {1, 0}), "leaves its storage of 24 B"},
    BadTensor{"NegativeOffset", py::tensor(floats(6), -1, {6}, {1}), "Corrupt: a tensor without an offset"},
    BadTensor{"NegativeExtent", py::tensor(floats(6), 0, {-1}, {1}), "Corrupt: a shape with a negative or missing number"},
    BadTensor{"NegativeStride", py::tensor(floats(6), 5, {6}, {-1}), "Corrupt: a stride with a negative or missing number"},
    BadTensor{"OtherNumberOfStrides", py::tensor(floats(6), 0, {2, 3}, {1}), "Corrupt: shape [2, 3] with strides [1]"},
    BadTensor{"TooManyAxes", py::tensor(floats(6), 0, std::vector<std::int64_t>(65, 1), std::vector<std::int64_t>(65, 1)), "Corrupt: a shape that is no short tuple"},
    BadTensor{"StorageViewPastTheEnd", py::tensor(floats(6, view(5, 2)), 0, {2}, {1}), "Corrupt: storage 0: the pickle says 28 B, the record has 24 B"},
    BadTensor{"StorageViewFarAway", py::tensor(floats(6, view(kHuge, 1)), 0, {1}, {1}), "Corrupt: storage 0: the pickle says more than 2^64 B"},
    BadTensor{"StorageViewOfNegative", py::tensor(floats(6, view(-1, 1)), 0, {1}, {1}), "Corrupt: a storage view without offset and length"},
    BadTensor{"UnknownDType", call("_rebuild_tensor_v3", py::storage("UntypedStorage", "0", 24) + py::integer(0) + py::tuple({24}) + py::tuple({1}) + "\x89N" + py::global("torch", "int4")), "Unsupported: values of type int4 are not known"},
    BadTensor{"Sparse", call("_rebuild_sparse_tensor", py::global("torch", "sparse_coo") + ")"), "Unsupported: a sparse tensor"},
    BadTensor{"Nested", call("_rebuild_nested_tensor", "N"), "Unsupported: a tensor rebuilt by _rebuild_nested_tensor"},
    BadTensor{"PerChannel", call("_rebuild_qtensor", py::storage("QInt8Storage", "0", 24) + py::integer(0) + py::tuple({24}) + py::tuple({1}) + "("s + py::global("torch", "per_channel_affine") + "t\x89N"), "Unsupported: a tensor quantized per channel"},
    BadTensor{"MetaOfUnknownType", call("_rebuild_meta_tensor_no_storage", py::global("torch", "int4") + py::tuple({2}) + py::tuple({1}) + "\x89"), "Unsupported: a tensor on the meta device of unknown type"}),
    [](const auto& row) { return row.param.name; });

TEST(TorchTensor, IsNoTensorWhereWrappersDoNotEnd)
{
    std::string value = py::tensor(floats(6), 0, {6}, {1});
    for (int i = 0; i < 12; ++i)
        value = call("_rebuild_parameter", value + "\x88N");
    EXPECT_THAT(tensorLines(torchArchive(value, {std::string(24, 'x')})), ::testing::IsEmpty());
}

struct BadFile {
    const char* name;
    std::string bytes;
    const char* says;
};

class TorchFileRefused : public ::testing::TestWithParam<BadFile> {};

TEST_P(TorchFileRefused, SaysWhatItIs)
{
    const auto lines = tensorLines(GetParam().bytes);
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_THAT(lines[0], HasSubstr(GetParam().says));
}

std::string zipWith(std::vector<std::string> names)
{
    std::vector<MadeMember> members;
    for (std::string& name : names)
        members.push_back({.name = std::move(name), .data = "N."});
    return makeZip(members).bytes;
}

std::string patched(std::string bytes, std::size_t at, std::uint64_t value, std::size_t count)
{
    patch(bytes, at, value, count);
    return bytes;
}

// Where in the stream: 17 is the protocol's number, 508 and 518 the counts of the two storages.
INSTANTIATE_TEST_SUITE_P(Torch, TorchFileRefused, ::testing::Values(
    BadFile{"Empty", "", "Corrupt: an empty file"},
    BadFile{"LfsPointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Unsupported: a Git LFS pointer"},
    BadFile{"SevenZip", "7z\xBC\xAF\x27\x1C\0\4"s, "Unsupported: a 7z archive"},
    BadFile{"Picture", "\x89PNG\r\n\x1a\n", "Unsupported: a PNG picture"},
    BadFile{"WebPage", "<!DOCTYPE html><html></html>", "Unsupported: an HTML page"},
    BadFile{"NumpyArray", "\x93NUMPY\1\0"s, "Unsupported: a NumPy array file"},
    BadFile{"Text", "hello", "Corrupt: "},
    BadFile{"Tar", std::string(257, 'a') + "ustar" + std::string(512, '\0'), "Unsupported: a tar archive"},
    BadFile{"BarePickle", "\x80\x02}X\1\0\0\0aK\1s."s, "Unsupported: a pickle without tensors that torch.save did not write"},
    BadFile{"ZipOfOthers", zipWith({"a.txt", "b.txt"}), "Unsupported: a zip archive without data.pkl"},
    BadFile{"OldTorchScript", zipWith({"a/model.json"}), "Unsupported: a TorchScript archive from before PyTorch 1.4"},
    BadFile{"Npz", zipWith({"x.npy"}), "Unsupported: a NumPy archive"},
    BadFile{"ExportedProgram", zipWith({"serialized_exported_program.json"}), "Unsupported: an exported program"},
    BadFile{"NoPickleInside", makeZip({{.name = "a/data.pkl", .data = "\x80\x02(."s}}).bytes, "Corrupt: a/data.pkl: pickle opcode 0x2e at 3"},
    BadFile{"PickleCutShort", makeZip({{.name = "a/data.pkl", .data = "\x80\x02N"s}}).bytes, "Corrupt: a/data.pkl: pickle: it ends at 3 without STOP"},
    BadFile{"StorageOfOtherMethod", makeZip({{.name = "a/data.pkl", .data = "N."}, {.name = "a/data/0", .data = "12", .method = 12}}).bytes, "Unsupported: a/data/0 is compressed by method 12"},
    BadFile{"StoredSizesDiffer", makeZip({{.name = "a/data.pkl", .data = "N."}, {.name = "a/data/0", .data = "12", .sizeBytes = 3}}).bytes, "Corrupt: a/data/0 is stored with 2 B and says 3 B"},
    BadFile{"OtherLegacyProtocol", patched(smallLegacyFile(), 18, 1002, 2), "Unsupported: legacy protocol 1002, and 1001 is known"},
    BadFile{"StorageLongerThanTheStream", patched(smallLegacyFile(), 518, 7, 8), "Corrupt: storage 888058656: 7 elements declared, 24 B left; the file is truncated"},
    BadFile{"StorageOfNegativeLength", patched(smallLegacyFile(), 508, ~0ull, 8), "Corrupt: storage 825635840: 18,446,744,073,709,551,615 elements declared"},
    BadFile{"StorageNobodyRefersTo", patched(smallLegacyFile(), 486, '9', 1), "is listed and nothing refers to it"}),
    [](const auto& row) { return row.param.name; });

TEST(TorchFileNames, AreFoundInAnyCaseAndAnyRoot)
{
    const std::string pickle = "\x80\x02"s + py::tensor(floats(6), 0, {6}, {1}) + ".";
    const std::string values(24, 'x');
    EXPECT_THAT(tensorLines(makeZip({{.name = "some name/data.pkl", .data = pickle}, {.name = "some name/data/0", .data = values}}).bytes),
                ::testing::ElementsAre(HasSubstr("F32 [6]")));
    EXPECT_THAT(tensorLines(makeZip({{.name = "a/DATA.pkl", .data = pickle}, {.name = "a/data/0", .data = values}}).bytes), ::testing::ElementsAre(HasSubstr("F32 [6]")));
}

} // namespace
} // namespace shardlens::test
