#include "core/analysis/pickle_scan.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;

PickleScan scanned(const std::string& bytes)
{
    auto scan = scanPickle(std::as_bytes(std::span(bytes)), 0, {});
    EXPECT_TRUE(scan.ok());
    return scan.take();
}

// All streams of the bytes, one behind another.
std::vector<PickleScan> streamsOf(const std::string& bytes)
{
    std::vector<PickleScan> out;
    for (std::size_t at = 0; at < bytes.size();) {
        auto scan = scanPickle(std::as_bytes(std::span(bytes)), at, {});
        EXPECT_TRUE(scan.ok());
        at = scan->end;
        out.push_back(scan.take());
        if (!out.back().stopped)
            break;
    }
    return out;
}

// "G5@0 C6@19": in the order of the report.
std::string codesOf(const std::vector<PickleScan>& streams)
{
    std::string out;
    for (const PickleScan& stream : streams)
        for (const PickleFinding& finding : stream.findings)
            out += fmt::format("{}{}@{}", out.empty() ? "" : " ", finding.code, finding.offset);
    return out;
}

struct SafetyCase {
    const char* name;
    std::string bytes;
    int level;
    const char* findings;
    const char* weightsOnly; // what stops it and where; "ok"
};

class PickleSafety : public ::testing::TestWithParam<SafetyCase> {};

// The byte strings of formats/pickle-safety.md §12.1, with the findings of an independent prototype.
TEST_P(PickleSafety, FindsWhatThePrototypeFound)
{
    const auto streams = streamsOf(GetParam().bytes);
    EXPECT_EQ(codesOf(streams), GetParam().findings);
    int level = 0;
    for (const PickleScan& stream : streams)
        level = std::max(level, stream.level());
    EXPECT_EQ(level, GetParam().level);
}

TEST_P(PickleSafety, ForecastsWeightsOnly)
{
    const std::string expected = GetParam().weightsOnly;
    const WeightsOnlyForecast forecast = scanned(GetParam().bytes).weightsOnly;
    const std::size_t at = expected.rfind('@');
    EXPECT_EQ(forecast.accepted, at == std::string::npos) << forecast.blocker;
    const std::uint64_t offset = at == std::string::npos ? 0 : std::stoull(expected.substr(at + 1));
    EXPECT_EQ(forecast.blockerOffset, offset) << forecast.blocker;
}

INSTANTIATE_TEST_SUITE_P(Pickle, PickleSafety, ::testing::Values(
    SafetyCase{"U1Protocol0OsSystem", "cos\nsystem\n(S'ls'\ntR."s, 5, "G5@0 C6@19", "os.system @0"},
    SafetyCase{"U2Inst", "(S'print(1)'\ni__builtin__\nexec\n."s, 5, "G5@13 C6@13", "op 0x53 @1"},
    SafetyCase{"U3StringStackGlobal", "S'os'\nS'system'\n\223S'ls'\n\205R."s, 5, "G9@16 G5@16 C6@24", "op 0x53 @0"},
    SafetyCase{"U4NamesThroughTheMemo", "\200\004\214\002os\224\214\006system\224\214\005torch0h\000h\001\223\214\002ls\205R."s,
               5, "G5@28 C6@34 P15@35", "op 0x8c @2"},
    SafetyCase{"U5MemoStoredAfterAPop", "\200\004\214\002os\214\013collections0\2240h\000\214\006system\223\214\002ls\205R."s,
               5, "G5@32 C6@38", "op 0x8c @2"},
    SafetyCase{"U6ExtensionCode", "\202\005."s, 4, "P12@0", "op 0x82 @0"},
    SafetyCase{"U7ObjResultPopped", "\200\004(csmtplib\nSMTP\n\214\011127.0.0.1o0N."s, 5, "G5@3 C6@28 P14@29", "smtplib.SMTP @3"},
    SafetyCase{"U8DottedPathIntoAModule", "\200\004\214\007pathlib\214\011os.system\223\214\002ls\205R."s, 5, "G6@22 C6@28", "op 0x8c @2"},
    SafetyCase{"U9SameUnderProtocol2", "\200\002cpathlib\nos.system\n."s, 5, "G6@2", "pathlib.os.system @2"},
    SafetyCase{"U10FrameStraddle", "\200\005\225\002\000\000\000\000\000\000\000B\007\000\000\000\000ABCDEF."s, 5, "P1@11", "op 0x95 @2"},
    SafetyCase{"U11FrameInFrame", "\200\004\225\013\000\000\000\000\000\000\000N\225\001\000\000\000\000\000\000\000N."s, 4, "P2@12 P15@22", "op 0x95 @2"},
    SafetyCase{"U12PayloadThenTruncation", "cposix\nsystem\n(S'ls'\ntRX\377\377\377\177"s, 5, "G5@0 C6@22 P6@23", "posix.system @0"},
    SafetyCase{"U13SecondPickle", "\200\002N.\200\002cos\nsystem\nX\002\000\000\000ls\205R."s, 5, "G5@6 C6@25", "ok"},
    SafetyCase{"U14EnumByGetattr",
               "\200\002c__builtin__\ngetattr\nctorch.distributed._shard.sharded_tensor.metadata\nMEM_FORMAT_ENCODING\n"
               "X\027\000\000\000TORCH_CONTIGUOUS_FORMAT\206R."s,
               2, "G2@23 C2@122", "builtins.getattr @2"},
    SafetyCase{"U15NestedClassByGetattr",
               "\200\002c__builtin__\ngetattr\nctorch.distributed._shard.sharded_tensor.api\nShardedTensor\n"
               "X\021\000\000\000ProcessGroupState\206R)\201."s,
               2, "G2@23 C2@105", "builtins.getattr @2"},
    SafetyCase{"U16GetattrOnUnlistedClass", "\200\002c__builtin__\ngetattr\ncmylib.cfg\nMode\nX\004\000\000\000FAST\206R."s,
               3, "G3@23 C3@49", "builtins.getattr @2"},
    SafetyCase{"U17GetattrDunder", "\200\002c__builtin__\ngetattr\ncollections\nOrderedDict\nX\016\000\000\000__subclasses__\206R)R."s,
               5, "G3@23 C5@67 C6@69", "builtins.getattr @2"},
    SafetyCase{"U18MutationOfAModule", "\200\004\214\005torch\214\006_utils\223}\214\017_rebuild_tensor\214\010builtinssb."s,
               5, "G3@17 C8@47", "op 0x8c @2"},
    SafetyCase{"U19ImportNameComputedByACall", "\200\004\214\002os\214\013collections\214\007Counter\223)R\223."s, 5, "G1@28 G4@31", "op 0x8c @2"},
    SafetyCase{"U20UnknownClass", "\200\002cmylib.train\nArgs\n)\201}X\002\000\000\000lrK\001sb."s, 3, "G3@2 C3@21", "mylib.train.Args @2"},
    SafetyCase{"U21Namespace", "\200\002cargparse\nNamespace\n)\201}X\002\000\000\000lrK\001sb."s, 2, "G2@2", "argparse.Namespace @2"},
    SafetyCase{"U22Tensor",
               "\200\002ctorch._utils\n_rebuild_tensor_v2\n((X\007\000\000\000storagectorch\nFloatStorage\n"
               "X\001\000\000\0000X\003\000\000\000cpuK\004tQK\000K\004\205K\001\205\211ccollections\nOrderedDict\n)RtR."s,
               1, "G1@2 G1@49 G1@96", "ok"},
    SafetyCase{"U23PlainData", "\200\002}X\001\000\000\000aK\001s."s, 0, "", "ok"},
    SafetyCase{"U24TwoProto", "\200\002\200\002N."s, 4, "P3@2", "not blocked by opcode/import"},
    SafetyCase{"U25ProtoLate", "N\200\0020N."s, 4, "P3@1", "op 0x30 @3"},
    SafetyCase{"U26LeftoverValues", "\200\002K\001N."s, 4, "P15@5", "not blocked by opcode/import"},
    SafetyCase{"U27MemoBomb", "\200\002Nr\000\000\000\300."s, 4, "P17@3", "not blocked by opcode/import"},
    SafetyCase{"U28NestedTorchLoadDataOnly", "\200\004ctorch.storage\n_load_from_bytes\nC\004\200\002N.\205R."s,
               2, "G2@2", "torch.storage._load_from_bytes @2"},
    SafetyCase{"U29NestedTorchLoadOfAComputedValue", "\200\004ctorch.storage\n_load_from_bytes\n)R."s,
               5, "G2@2 C4@35", "torch.storage._load_from_bytes @2"},
    SafetyCase{"U30FunctoolsPartial", "\200\004cfunctools\npartial\nctorch.hub\nload\n\205R."s, 5, "G5@21 C6@38", "functools.partial @2"},
    SafetyCase{"U31OddCodec", "\200\002c_codecs\nencode\nX\001\000\000\000aX\005\000\000\000rot13\206R."s, 4, "G1@2 C7@35", "not blocked by opcode/import"},
    SafetyCase{"U32TypeNone", "\200\004cbuiltins\ntype\nN\205R."s, 2, "C2@19", "builtins.type @2"},
    SafetyCase{"U33TypeBuildingAClass", "\200\004cbuiltins\ntype\n\214\001A)}\207R."s, 4, "C4@23", "builtins.type @2"},
    SafetyCase{"U34Python2AliasUnderProtocol4", "\200\004c__builtin__\neval\n."s, 5, "G5@2", "__builtin__.eval @2"},
    SafetyCase{"U35CpickleAliasUnderProtocol2", "\200\002ccPickle\nloads\n."s, 5, "G5@2", "pickle.loads @2"},
    SafetyCase{"U36Py2Long", "\200\002ccollections\ndefaultdict\nc__builtin__\nlong\n\205R."s, 2, "G2@2 G2@27", "collections.defaultdict @2"},
    SafetyCase{"U37ReExportedModule", "\200\004ctorch.storage\nos\n."s, 5, "G6@2", "torch.storage.os @2"},
    SafetyCase{"U38WeirdStorageModule", "\200\002ctorch.cuda\nFloatStorage\n."s, 1, "G1@2", "ok"},
    SafetyCase{"U39ModuleDunder", "\200\004\214\013collections\214\024OrderedDict.__init__\223."s, 5, "G6@37", "op 0x8c @2"},
    SafetyCase{"U40SelfReferencingList", "\200\002]q\000h\000a."s, 0, "", "ok"},
    SafetyCase{"U42UnterminatedImport", "\200\002cos\nsystem"s, 5, "G5@2 P6@2", "os.syste @2"},
    SafetyCase{"U43ReduceOnString", "\200\002X\001\000\000\000a)R."s, 4, "P9@9", "broken @9"},
    SafetyCase{"U44RebuildFromTypeV2HidingACall",
               "\200\002ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nctorch\nTensor\n"
               "X\002\000\000\000ls\205}tR."s,
               5, "G1@2 G5@40 G1@51 C6@75", "os.system @40"},
    SafetyCase{"U45TextWithCr", "cos\015\nsystem\n."s, 4, "G8@0", "os\r.system @0"},
    SafetyCase{"U46DeepspeedEnumPython3112Form",
               "\200\002c__builtin__\ngetattr\ncdeepspeed.runtime.zero.config\nZeroStageEnum\n"
               "X\011\000\000\000gradients\206R."s,
               2, "G2@23 C2@83", "builtins.getattr @2"},
    SafetyCase{"U47EnumMemberThatIsThenCalled",
               "\200\002c__builtin__\ngetattr\ncdeepspeed.runtime.zero.config\nZeroStageEnum\n"
               "X\011\000\000\000gradients\206R)R."s,
               4, "G2@23 C2@83 C4@85", "builtins.getattr @2"},
    SafetyCase{"U48Bytesio", "\200\004c_io\nBytesIO\n)\201C\004\200\002N.K\000N\207b."s, 2, "G2@2", "_io.BytesIO @2"}),
    [](const auto& row) { return row.param.name; });


TEST(PickleScan, NeedsANodeALevelOfSharedLists)
{
    std::string bytes = "\x80\x02]q\0"s;
    for (char i = 0; i < 100; ++i)
        bytes += "0](h"s + i + "h" + i + "eq" + static_cast<char>(i + 1);
    const PickleScan scan = scanned(bytes + ".");
    EXPECT_TRUE(scan.stopped);
    EXPECT_EQ(scan.level(), 0);
}

TEST(PickleScan, SaysTheCallWithItsArguments)
{
    const PickleScan scan = scanned("cos\nsystem\n(S'ls -l'\nI5\nN](K\1K\2e}S'a'\nG\x3f\xf0\0\0\0\0\0\0stR."s);
    ASSERT_EQ(scan.findings.size(), 2u);
    EXPECT_EQ(scan.findings[1].what, "calls os.system('ls -l', 5, None, [1, 2], {'a': 1})");
}

TEST(PickleScan, ShortensWhatACallIsGiven)
{
    std::string bytes = "cos\nsystem\n(X\x40\x42\x0f\0"s + std::string(1'000'000, 'x');
    for (int i = 0; i < 1000; ++i)
        bytes += "K\1";
    const PickleScan scan = scanned(bytes + "tR.");
    EXPECT_LT(scan.findings[1].what.size(), 400u);
    EXPECT_THAT(scan.findings[1].what, HasSubstr("1,000,000 B"));
}

TEST(PickleScan, KeepsWhatWasFoundBeforeAnyCut)
{
    const std::string whole = "\x80\x04(cos\nsystem\nX\x02\0\0\0lsoN}q\x07h\x07]K\1a\x86."s;
    const std::size_t imported = whole.find("system") + 6;
    for (std::size_t length = 0; length < whole.size(); ++length) {
        const PickleScan scan = scanned(whole.substr(0, length));
        EXPECT_FALSE(scan.stopped) << length;
        EXPECT_TRUE(scan.needsMore) << length;
        EXPECT_EQ(scan.level(), length < imported - 5 ? 4 : 5) << length;
    }
    EXPECT_TRUE(scanned(whole).stopped);
}

TEST(PickleScan, CountsFromTheOffsetOfItsFile)
{
    const std::string bytes = "xxcos\nsystem\n."s;
    const auto scan = scanPickle(std::as_bytes(std::span(bytes)), 2, {.base = 1000});
    ASSERT_TRUE(scan.ok());
    EXPECT_EQ(scan->begin, 1002u);
    EXPECT_EQ(scan->end, 1014u);
    EXPECT_EQ(scan->findings.front().offset, 1002u);
}

TEST(PickleScan, CountsAnImportThatIsMadeAgain)
{
    const PickleScan scan = scanned("(cm\nf\ncm\nf\ncm\ng\nt."s);
    ASSERT_EQ(scan.imports.size(), 2u);
    EXPECT_EQ(scan.imports[0].count, 2u);
    EXPECT_EQ(scan.findings.size(), 2u) << "one finding a name";
}

TEST(PickleScan, KeepsTheNameOfTheFileBesideTheOneLookedUp)
{
    const PickleScan scan = scanned("\x80\x02" "ccommands\ngetoutput\n."s);
    ASSERT_EQ(scan.imports.size(), 1u);
    EXPECT_EQ(scan.imports[0].module, "subprocess");
    EXPECT_EQ(scan.imports[0].rawModule, "commands");
    EXPECT_THAT(scan.findings[0].what, HasSubstr("(written as commands.getoutput)"));
}

struct Judged {
    const char* name;
    std::string bytes;
    int level;
    const char* says;
};

class PickleJudgement : public ::testing::TestWithParam<Judged> {};

TEST_P(PickleJudgement, IsTheLevelOfTheWorst)
{
    const PickleScan scan = scanned(GetParam().bytes);
    EXPECT_EQ(scan.level(), GetParam().level) << codesOf({scan});
    EXPECT_TRUE(std::ranges::any_of(scan.findings, [](const PickleFinding& one) { return one.what.find(GetParam().says) != std::string::npos; }))
        << codesOf({scan});
}

INSTANTIATE_TEST_SUITE_P(Pickle, PickleJudgement, ::testing::Values(
    Judged{"GetattrHandedOn", "\x80\x04(cbuiltins\ngetattr\ncm\nf\nt."s, 5, "hands on builtins.getattr"},
    Judged{"GetattrAsTheResult", "\x80\x04" "cbuiltins\ngetattr\n."s, 5, "hands on builtins.getattr"},
    Judged{"GetattrInAList", "\x80\x04]cbuiltins\ngetattr\na."s, 5, "hands on"},
    Judged{"GetattrOfOneArgument", "\x80\x04" "cbuiltins\ngetattr\ncm\nf\n\x85R."s, 5, "computed attribute"},
    Judged{"GetattrOfAComputedObject", "\x80\x04" "cbuiltins\ngetattr\n]X\1\0\0\0a\x86R."s, 5, "computed attribute"},
    Judged{"GetattrByInst", "(cos\nsystem\nS'x'\ni__builtin__\ngetattr\n."s, 5, "takes attribute x of os.system"},
    Judged{"PartialOfAnUnknownName", "\x80\x04" "cfunctools\npartial\ncm\nf\n\x85R."s, 3, "calls functools.partial(m.f)"},
    Judged{"PartialOfAKnownName", "\x80\x04" "cfunctools\npartial\ncbuiltins\nint\n\x85R."s, 3, "calls functools.partial(builtins.int)"},
    Judged{"PartialOfWhatWasComputed", "\x80\x04" "cfunctools\npartial\ncm\nf\n)R\x85R."s, 5, "binds arguments to what was computed"},
    Judged{"PartialWithAnotherFunctionInItsState", "\x80\x04" "cfunctools\npartial\ncm\nf\n\x85R(cm\nf\n)R)}Ntb."s, 5, "binds arguments"},
    Judged{"PartialAsAnArgument", "\x80\x04" "cm\nf\ncfunctools\npartial\n\x85R."s, 3, "hands on functools.partial"},
    Judged{"ReconstructorOfAKnownClass", "\x80\x04" "ccopyreg\n_reconstructor\n(ccollections\ndeque\ncbuiltins\nobject\nNtR."s, 2, "copyreg._reconstructor"},
    Judged{"ReconstructorOfAnUnknownClass", "\x80\x04" "ccopyreg\n_reconstructor\n(cm\nC\ncbuiltins\nobject\nNtR."s, 3, "calls m.C("},
    Judged{"ReconstructorOfWhatWasComputed", "\x80\x04" "ccopyreg\n_reconstructor\n(cm\nC\n)RcN\nN\nNtR."s, 5, "calls what was computed"},
    Judged{"NewObjThroughCopyreg", "\x80\x04" "ccopyreg\n__newobj__\ncm\nC\n\x85R."s, 3, "calls m.C("},
    Judged{"RebuildFromTypeOfGetattr", "\x80\x02" "ctorch._tensor\n_rebuild_from_type_v2\n(c__builtin__\ngetattr\nctorch\nTensor\ncm\nC\nX\7\0\0\0__mro__\x86}tR."s, 5,
           "takes attribute __mro__ of m.C"},
    Judged{"CallOfACall", "cm\nf\n)R)R."s, 5, "calls an object that was itself computed: m.f()()"},
    Judged{"CallOfAStorage", "\x80\x02(X\7\0\0\0storageK\1tQ)R."s, 5, "itself computed"},
    Judged{"CallOfAWholeModulesClass", "\x80\x02(X\6\0\0\0modulectorch.nn.modules.linear\nLinear\ntQ)R."s, 2, "persistent id of kind module"},
    Judged{"OtherPersistentId", "\x80\x02(X\5\0\0\0otherK\1tQ."s, 3, "persistent id of kind other"},
    Judged{"PersistentIdOfText", "Pabc\n."s, 3, "persistent id of kind 'abc'"},
    Judged{"ExtensionCalled", "\x80\x02\x82\5)R."s, 4, "calls an object that was itself computed: <extension 5>()"},
    Judged{"ZeroExtension", "\x80\x02\x82\0."s, 4, "extension code 0"},
    Judged{"DunderInTheState", "\x80\x02" "cm\nC\n)\x81}X\x09\0\0\0__class__Nsb."s, 4, "sets special attribute __class__"},
    Judged{"DunderInTheSlots", "\x80\x02" "cm\nC\n)\x81N}X\x09\0\0\0__class__Ns\x86" "b."s, 4, "sets special attribute __class__"},
    Judged{"DunderInADictThatIsData", "\x80\x02}X\x09\0\0\0__class__NscbuiltiN\nx\n\x86."s, 3, "builtiN.x"},
    Judged{"AppendToAnImport", "\x80\x02" "csome\nlist\nK\1a."s, 5, "changes the imported object some.list"},
    Judged{"SetItemOfAnAttribute", "\x80\x02" "c__builtin__\ngetattr\ncm\nC\nX\1\0\0\0a\x86RK\1K\2s."s, 5, "changes the imported object m.C.a"},
    Judged{"SetUnderAWrongTarget", "K\1K\2a."s, 4, "items for 1"},
    Judged{"OddKeys", "}(NNNu."s, 4, "3 values as keys and values"},
    Judged{"ImportNameOfNumbers", "\x80\x04K\1K\2\x93."s, 5, "name is computed while loading"},
    Judged{"NotUtf8", "\x80\x02X\2\0\0\0\xff\xfe."s, 4, "is no UTF-8"},
    Judged{"OutOfBandBuffer", "\x80\x05\x97\x98."s, 4, "out-of-band"},
    Judged{"LengthOfAllOnes", "\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\xff"s, 4, "needs 18,446,744,073,709,551,615 B, 0 left"},
    Judged{"FramePastTheEnd", "\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN."s, 4, "the frame needs"},
    Judged{"ProtocolOfTomorrow", "\x80\x06N."s, 4, "protocol 6 is newer than any known (5)"},
    Judged{"MemoReused", "\x80\x02Nq\1q\1."s, 4, "memo slot 1 is reused"},
    Judged{"MarkLeft", "\x80\x02N(N."s, 4, "left on the stack"},
    Judged{"StopOnAMark", "\x80\x02N(."s, 4, "stack underflow"},
    Judged{"ManyDigits", "L"s + std::string(5000, '9') + "L\n."s, 4, "current Python refuses it"},
    Judged{"NumberThatIsNone", "Iabc\n."s, 4, "malformed number"},
    Judged{"BatchOfEightBitNames", "U\2osU\6system\x93."s, 5, "no pickler writes"}),
    [](const auto& row) { return row.param.name; });

TEST(PickleScan, AcceptsLoneSurrogatesAsPythonDoes)
{
    EXPECT_TRUE(scanned("\x80\x02X\5\0\0\0a\xed\xa0\x80" "b."s).stopped);
    EXPECT_FALSE(scanned("\x80\x02X\3\0\0\0\xed\xa0" "b."s).stopped);
    EXPECT_FALSE(scanned("\x80\x02X\4\0\0\0\xff\xed\xa0\x80."s).stopped);
    EXPECT_TRUE(scanned("\x80\x02X\3\0\0\0\xed\x95\x9c."s).stopped);
}

TEST(PickleScan, ReadsNumbersOfEitherSign)
{
    const PickleScan scan = scanned("\x80\x02" "cm\nf\n(J\xff\xff\xff\xff\x8a\1\x80\x8a\0K\xff\x8a\2\xff\0I-7\ntR."s);
    EXPECT_EQ(scan.findings.back().what, "calls m.f(-1, -128, 0, 255, 255, -7)");
}

TEST(PickleScan, KeepsTheFirstOfAnEndlessKind)
{
    std::string bytes = "\x80\x02";
    for (int i = 0; i < 100'000; ++i)
        bytes += "\x82\x05" "0";
    const PickleScan scan = scanned(bytes + "N.");
    EXPECT_LT(scan.findings.size(), 1000u);
    EXPECT_THAT(scan.findings.back().what, HasSubstr("more of this kind"));
}

TEST(PickleScan, StopsAtWhatNoFileHonestlyHolds)
{
    std::string bytes = "\x80\x02";
    for (int i = 0; i < 4'000'000; ++i)
        bytes += "(";
    for (int i = 0; i < 300'000; ++i)
        bytes += "}NNs";
    EXPECT_EQ(scanned(bytes + ".").level(), 4);
}

TEST(PickleScan, NamesTheStoragesOfATorchFile)
{
    const PickleScan scan = scanned("\x80\x02(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" "7X\3\0\0\0cpuK\4tQ."s);
    ASSERT_EQ(scan.storages.size(), 1u);
    EXPECT_EQ(scan.storages[0].className, "FloatStorage");
    EXPECT_EQ(scan.storages[0].key, "7");
}

TEST(PickleScan, HandsOutNestedFiles)
{
    const PickleScan loaded = scanned("\x80\x04" "ctorch.storage\n_load_from_bytes\nC\4\x80\2N.\x85R."s);
    ASSERT_EQ(loaded.nested.size(), 2u) << "once as bytes that look like a file, once as what is loaded";
    EXPECT_TRUE(loaded.nested[1].loaded);
    EXPECT_EQ(loaded.nested[0].bytes.data(), loaded.nested[1].bytes.data());
    const PickleScan encoded =
        scanned("\x80\x02" "ctorch.storage\n_load_from_bytes\nc_codecs\nencode\nX\5\0\0\0\xc2\x80\2N.X\6\0\0\0latin1\x86R\x85R."s);
    ASSERT_EQ(encoded.nested.size(), 2u);
    EXPECT_EQ(encoded.nested[1].bytes, "\x80\2N."s);
    EXPECT_TRUE(encoded.nested[1].loaded);
}

TEST(PickleScan, IsCancelled)
{
    std::stop_source source;
    source.request_stop();
    const JobContext job(source.get_token());
    const std::string bytes = "N.";
    EXPECT_EQ(scanPickle(std::as_bytes(std::span(bytes)), 0, {}, &job).error().code(), ErrorCode::Cancelled);
}

TEST(PickleScan, ListsWhatWeightsOnlyWouldHaveToAllow)
{
    const PickleScan scan = scanned("\x80\x02" "cargparse\nNamespace\n)\x81}X\2\0\0\0lrcm\nf\nsb."s);
    EXPECT_THAT(scan.weightsOnly.safeGlobals, ::testing::ElementsAre("argparse.Namespace", "m.f"));
    EXPECT_TRUE(scanned("\x80\x04\x8c\1m\x8c\1f\x93."s).weightsOnly.safeGlobals.empty()) << "its opcodes are refused whatever is allowed";
}

} // namespace
} // namespace shardlens::test
