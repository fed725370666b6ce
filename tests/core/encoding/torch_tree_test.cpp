#include "core/encoding/torch_tree.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/torch_fixture.h"

#include <gmock/gmock.h>

// What of a tree is written again (formats/pickle-safety.md §6, levels 0 to 2), and what never.
namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct TakenOver {
    std::string shows; // the tree, or the error
    std::vector<std::string> leftOut;
    std::size_t tensorsBefore = 0;
    std::size_t tensorsAfter = 0;
};

// A torch file with this root and one storage of 8 bytes, taken over and read back.
TakenOver takenOver(std::string_view root, bool keepObjects = false)
{
    JobContext job;
    auto opened = TorchFile::open(memory(torchArchive(root, {"12345678"})), job);
    if (!opened)
        return {opened.error().text(), {}};
    const auto file = std::make_shared<const TorchFile>(opened.take());
    TorchTree tree(keepObjects, [](const TorchFile&, const TorchStoragePart& part) { return part.storage + 7; });
    const auto made = tree.import(file, file->root());
    TakenOver out;
    out.leftOut = tree.leftOut();
    out.tensorsBefore = tensorsBelow(file->root());
    if (!made) {
        out.shows = made.error().text();
        return out;
    }
    out.tensorsAfter = tensorsBelow(*made);
    const auto bytes = std::move(tree).finish(*made);
    out.shows = bytes ? shownPickle({reinterpret_cast<const char*>(bytes->data()), bytes->size()}) : bytes.error().text();
    return out;
}

std::string dictOf(const std::string& key, const std::string& value)
{
    return "}" + py::text(key) + value + "s";
}

const std::string kTensor = py::tensor(py::storage("FloatStorage", "0", 2), 0, {2}, {1});

TEST(TorchTree, MovesStoragesAndKeepsPlainValues)
{
    const TakenOver taken = takenOver(dictOf("w", kTensor));
    EXPECT_THAT(taken.shows, AllOf(HasSubstr("'w'"), HasSubstr("pid(('storage', torch.FloatStorage, '7', 'cpu', 2))")));
    EXPECT_EQ(taken.tensorsAfter, 1u);
}

TEST(TorchTree, LeavesObjectsOfUnknownClassesOutUnlessTheyAreKept)
{
    const std::string object = py::global("train", "Config") + ")\x81}" + py::text("lr") + "K\1sb";
    EXPECT_EQ(takenOver("}(" + py::text("a") + "K\1" + py::text("b") + object + "u").shows, "{'a': 1}");
    EXPECT_THAT(takenOver(dictOf("b", object)).leftOut, ElementsAre("train.Config"));
    EXPECT_THAT(takenOver(dictOf("b", object), true).shows, HasSubstr("train.Config"));
    // The class as an argument of a known function.
    const std::string rebuilt = py::global("copyreg", "_reconstructor") + py::global("train", "Config") + py::global("builtins", "object") + "N\x87R";
    EXPECT_THAT(takenOver(dictOf("b", rebuilt)).leftOut, ElementsAre("train.Config"));
}

TEST(TorchTree, CountsTensorsThatAnObjectTakesWithIt)
{
    const TakenOver taken = takenOver(dictOf("m", py::global("train", "Model") + ")\x81" + dictOf("w", kTensor) + "b"));
    EXPECT_EQ(taken.tensorsBefore, 1u);
    EXPECT_EQ(taken.tensorsAfter, 0u);
}

TEST(TorchTree, KeepsBothEncodingsOfEnumerations)
{
    const std::string stage = py::global("deepspeed.runtime.zero.config", "ZeroStageEnum");
    EXPECT_THAT(takenOver(dictOf("z", stage + "K\2\x85R")).shows, HasSubstr("ZeroStageEnum(2)"));
    EXPECT_THAT(takenOver(dictOf("z", py::global("__builtin__", "getattr") + stage + py::text("gradients") + "\x86R")).shows,
                HasSubstr("builtins.getattr(deepspeed.runtime.zero.config.ZeroStageEnum, 'gradients')"));
}

struct Refused {
    const char* name;
    std::string value;
    const char* says;
};

class TorchTreeRefuses : public ::testing::TestWithParam<Refused> {};

TEST_P(TorchTreeRefuses, WithTheOffset)
{
    const TakenOver taken = takenOver(dictOf("x", GetParam().value), true); // keeping objects changes nothing here
    EXPECT_THAT(taken.shows, AllOf(HasSubstr(GetParam().says), HasSubstr("at offset")));
}

const std::vector<Refused> kRefused{
    {"ACall", py::call("os", "system", py::text("ls") + "\x85"), "os.system"},
    {"AName", py::global("posix", "system"), "posix.system"},
    {"APython2Name", py::global("__builtin__", "eval"), "builtins.eval"},
    {"GetattrOfAModule", py::call("builtins", "getattr", py::global("collections", "OrderedDict") + py::text("fromkeys") + "\x86"), "getattr"},
    {"GetattrAsAValue", py::global("builtins", "getattr"), "builtins.getattr"},
    {"ATorchFileInside", py::call("torch.storage", "_load_from_bytes", py::text("x") + "\x85"), "a torch file inside itself"},
    {"AStorageClassOfAnotherModule",
     py::call("torch._utils", "_rebuild_tensor_v2",
              "((" + py::text("storage") + py::global("evil", "FloatStorage") + py::text("0") + py::text("cpu") + "K\2tQK\0K\2\x85K\1\x85\x89Nt"s),
     "evil.FloatStorage"},
};

INSTANTIATE_TEST_SUITE_P(Kinds, TorchTreeRefuses, ::testing::ValuesIn(kRefused), [](const auto& row) { return std::string(row.param.name); });

TEST(TorchTree, RefusesCallsOfWhatWasComputed)
{
    EXPECT_THAT(takenOver(dictOf("x", py::call("collections", "OrderedDict", ")") + ")R")).shows, HasSubstr("calls what is no name"));
}

} // namespace
} // namespace shardlens::test
