#include "core/encoding/pickle/global_levels.h"

#include <gtest/gtest.h>

namespace shardlens::test {
namespace {

using pickle::GlobalName;
using pickle::levelOf;
using pickle::python3Name;

struct NameCase {
    const char* name;
    const char* module;
    const char* global;
    int protocol;
    int level;
    const char* code;
};

class GlobalLevels : public ::testing::TestWithParam<NameCase> {};

TEST_P(GlobalLevels, FollowTheLists)
{
    const NameCase& row = GetParam();
    const GlobalName global = python3Name({row.module, row.global}, row.protocol);
    const pickle::GlobalLevel found = levelOf(global, {.protocol = row.protocol});
    EXPECT_EQ(found.level, row.level) << global.module << '.' << global.name;
    EXPECT_EQ(found.code, row.code);
}

INSTANTIATE_TEST_SUITE_P(Pickle, GlobalLevels, ::testing::Values(
    NameCase{"OrderedDict", "collections", "OrderedDict", 2, 1, "G1"},
    NameCase{"RebuildTensor", "torch._utils", "_rebuild_tensor_v2", 2, 1, "G1"},
    NameCase{"Float8", "torch", "float8_e4m3fn", 2, 1, "G1"},
    NameCase{"FirstOfALongRow", "torch", "BFloat16Tensor", 2, 1, "G1"},
    NameCase{"LastOfALongRow", "torch", "uint8", 2, 1, "G1"},
    NameCase{"StorageClassAnywhereInTorch", "torch.cuda", "FloatStorage", 2, 1, "G1"},
    NameCase{"StorageClassElsewhere", "torchy", "FloatStorage", 2, 3, "G3"},
    NameCase{"Python2Set", "__builtin__", "set", 2, 1, "G1"},
    NameCase{"Python2Long", "__builtin__", "long", 2, 2, "G2"},
    NameCase{"Python2StandardError", "exceptions", "StandardError", 0, 2, "G2"},
    NameCase{"Python2Exception", "exceptions", "KeyError", 2, 2, "G2"},
    NameCase{"Python2UserDict", "UserDict", "IterableUserDict", 2, 2, "G2"},
    NameCase{"Python2NameOfANewerProtocol", "exceptions", "KeyError", 3, 3, "G3"},
    NameCase{"DefaultDict", "collections", "defaultdict", 4, 2, "G2"},
    NameCase{"ObjectNew", "copyreg", "__newobj__", 2, 2, "G2"},
    NameCase{"ModuleClass", "torch.nn.modules.linear", "Linear", 2, 2, "G2"},
    NameCase{"ModuleHelper", "torch.nn.modules.linear", "_helper", 2, 3, "G3"},
    NameCase{"NumpyType", "numpy.dtypes", "StringDType", 4, 2, "G2"},
    NameCase{"ExceptionOfADangerousModule", "uuid", "UUID", 2, 2, "G2"},
    NameCase{"SignalNumber", "signal", "Signals", 4, 2, "G2"},
    NameCase{"Logger", "logging", "getLogger", 4, 2, "G2"},
    NameCase{"Layout", "torch.serialization", "_get_layout", 2, 1, "G1"},
    NameCase{"EnumOfDeepSpeed", "deepspeed.runtime.zero.config", "ZeroStageEnum", 2, 2, "G2"},
    NameCase{"NestedClass", "torch.distributed._shard.sharded_tensor.api", "ShardedTensor.ProcessGroupState", 4, 2, "G2"},
    NameCase{"NestedClassThatCannotResolve", "torch.distributed._shard.sharded_tensor.api", "ShardedTensor.ProcessGroupState", 2, 4, "G8"},
    NameCase{"UnknownClass", "mylib.train", "Args", 2, 3, "G3"},
    NameCase{"LooksLikeADangerousModule", "osmium", "system_name", 2, 3, "G3"},
    NameCase{"System", "os", "system", 2, 5, "G5"},
    NameCase{"Posix", "posix", "fork", 4, 5, "G5"},
    NameCase{"BelowADangerousModule", "torch._inductor.codecache", "compile_file", 4, 5, "G5"},
    NameCase{"Python2Commands", "commands", "getoutput", 2, 5, "G5"},
    NameCase{"Python2Pickle", "cPickle", "loads", 2, 5, "G5"},
    NameCase{"Eval", "builtins", "eval", 4, 5, "G5"},
    NameCase{"UnmappedBuiltin", "__builtin__", "eval", 4, 5, "G5"},
    NameCase{"UnmappedHarmlessBuiltin", "__builtin__", "int", 4, 5, "G5"},
    NameCase{"BuiltinDunder", "builtins", "__import__", 4, 5, "G5"},
    NameCase{"DottedBuiltin", "builtins", "str.format", 4, 5, "G5"},
    NameCase{"IndirectBuiltin", "builtins", "map", 4, 4, "G7"},
    NameCase{"BuiltinOnNoList", "builtins", "aiter", 4, 4, "G7"},
    NameCase{"BuiltinError", "builtins", "ConnectionResetError", 4, 2, "G2"},
    NameCase{"CodeType", "types", "CodeType", 4, 5, "G5"},
    NameCase{"MethodOfADangerousName", "io", "FileIO.write", 4, 5, "G5"},
    NameCase{"TorchLoad", "torch", "load", 4, 5, "G5"},
    NameCase{"ModuleThroughAnother", "pathlib", "os.system", 4, 5, "G6"},
    NameCase{"ModuleThroughAnotherCannotResolve", "pathlib", "os.system", 2, 5, "G6"},
    NameCase{"ReExportedModule", "torch.storage", "os", 4, 5, "G6"},
    NameCase{"MethodDunder", "collections", "OrderedDict.__init__", 4, 5, "G6"},
    NameCase{"HardModuleInThePath", "mylib.subprocess", "wrapper", 4, 4, "G7"},
    NameCase{"HotName", "mylib", "runstring", 4, 4, "G7"},
    NameCase{"DottedNameBelowProtocol4", "mylib", "A.B", 2, 4, "G8"},
    NameCase{"DottedName", "mylib", "A.B", 4, 3, "G3"},
    NameCase{"CarriageReturn", "os\r", "system", 0, 4, "G8"},
    NameCase{"EmptyModule", "", "system", 4, 4, "G8"},
    NameCase{"Path", "mylib/x", "f", 4, 4, "G8"},
    NameCase{"ScriptTypeOutsideAnArchive", "__torch__", "Model", 2, 3, "G3"}),
    [](const auto& row) { return row.param.name; });

TEST(GlobalLevels, LeaveGetattrTypeAndPartialToTheCall)
{
    for (const GlobalName name : {GlobalName{"builtins", "getattr"}, GlobalName{"builtins", "type"}, GlobalName{"functools", "partial"}})
        EXPECT_TRUE(levelOf(name, {}).decidedAtCall) << name.name;
    EXPECT_FALSE(levelOf({"builtins", "setattr"}, {}).decidedAtCall);
    EXPECT_EQ(levelOf({"builtins", "getattr"}, {}).level, 5) << "handed on as a value";
}

TEST(GlobalLevels, KnowTypesOfTorchScriptInItsArchives)
{
    EXPECT_EQ(levelOf({"__torch__.torch.nn", "Linear"}, {.isTorchScript = true}).level, 2);
    EXPECT_EQ(levelOf({"__torch__hacked", "Linear"}, {.isTorchScript = true}).level, 3);
    EXPECT_EQ(levelOf({"os", "system"}, {.isTorchScript = true}).level, 5);
}

TEST(GlobalLevels, NameThePartThatDecided)
{
    EXPECT_EQ(levelOf({"pathlib", "PurePath.os.system"}, {.protocol = 4}).component, "os");
    EXPECT_EQ(levelOf({"mylib.pickle", "f"}, {.protocol = 4}).component, "pickle");
}

TEST(GlobalLevels, KeepThePythonTwoMeaningOfANameTogether)
{
    EXPECT_EQ(python3Name({"urllib", "urlopen"}, 2), (GlobalName{"urllib.request", "urlopen"}));
    EXPECT_EQ(python3Name({"urllib2", "HTTPError"}, 2), (GlobalName{"urllib.error", "HTTPError"}));
    EXPECT_EQ(python3Name({"urllib2", "urlopen"}, 1), (GlobalName{"urllib.request", "urlopen"}));
    EXPECT_EQ(python3Name({"socket", "_socketobject"}, 2), (GlobalName{"socket", "SocketType"}));
    EXPECT_EQ(python3Name({"__builtin__", "reduce"}, 2), (GlobalName{"functools", "reduce"}));
    EXPECT_EQ(python3Name({"collections", "OrderedDict"}, 2), (GlobalName{"collections", "OrderedDict"}));
    EXPECT_EQ(python3Name({"__builtin__", "reduce"}, 3), (GlobalName{"__builtin__", "reduce"}));
}

} // namespace
} // namespace shardlens::test
