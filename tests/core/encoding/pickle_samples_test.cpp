#include "tests/core/encoding/encoding_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

// Pickles that other programs wrote, or that were made up to fool a reader. Nothing in them is run; what they say is read as data.
namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using pickle::Graph;
using pickle::Value;

struct Sample {
    const char* name;
    std::string bytes;
    const char* shows;
};

class PickleSample : public ::testing::TestWithParam<Sample> {};

TEST_P(PickleSample, StaysData)
{
    EXPECT_EQ(shownPickle(GetParam().bytes), GetParam().shows);
}

// formats/pickle-safety.md §12.1
const std::vector<Sample> kSafety{
    {"Protocol0OsSystem", "cos\nsystem\n(S'ls'\ntR."s, "os.system('ls')"},
    {"Inst", "(S'print(1)'\ni__builtin__\nexec\n."s, "__builtin__.exec('print(1)')"},
    {"StringWithStackGlobal", "S'os'\nS'system'\n\x93S'ls'\n\x85R."s, "os.system('ls')"},
    {"NamesThroughTheMemo", "\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x8c\x05torch0h\x00h\x01\x93\x8c\x02ls\x85R."s, "os.system('ls')"},
    {"MemoStoredAfterAPop", "\x80\x04\x8c\x02os\x8c\x0b" "collections0\x94" "0h\x00\x8c\x06system\x93\x8c\x02ls\x85R."s, "os.system('ls')"},
    {"ExtensionCode", "\x82\x05."s, "extension"},
    {"ObjResultPopped", "\x80\x04(csmtplib\nSMTP\n\x8c\x09" "127.0.0.1o0N."s, "None"},
    {"DottedPathIntoAModule", "\x80\x04\x8c\x07pathlib\x8c\x09os.system\x93\x8c\x02ls\x85R."s, "pathlib.os.system('ls')"},
    {"SameUnderProtocol2", "\x80\x02" "cpathlib\nos.system\n."s, "pathlib.os.system"},
    {"FrameStraddle", "\x80\x05\x95\x02\x00\x00\x00\x00\x00\x00\x00" "B\x07\x00\x00\x00\x00" "ABCDEF."s, "b:00414243444546"},
    {"FrameInFrame", "\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00N\x95\x01\x00\x00\x00\x00\x00\x00\x00N."s, "None"},
    {"PayloadThenTruncation", "cposix\nsystem\n(S'ls'\ntRX\xff\xff\xff\x7f"s, "Corrupt: pickle opcode 0x58 at 23: argument: 2,147,483,647 B declared, 0 left"},
    {"SecondPickle", "\x80\x02N.\x80\x02" "cos\nsystem\nX\x02\x00\x00\x00ls\x85R."s, "None"},
    {"EnumByGetattr", "\x80\x02" "c__builtin__\ngetattr\nctorch.distributed._shard.sharded_tensor.metadata\nMEM_FORMAT_ENCODING\nX\x17\x00\x00\x00TORCH_CONTIGUOUS_FORMAT\x86R."s, "__builtin__.getattr(torch.distributed._shard.sharded_tensor.metadata.MEM_FORMAT_ENCODING, 'TORCH_CONTIGUOUS_FORMAT')"},
    {"NestedClassByGetattr", "\x80\x02" "c__builtin__\ngetattr\nctorch.distributed._shard.sharded_tensor.api\nShardedTensor\nX\x11\x00\x00\x00ProcessGroupState\x86R)\x81."s, "new __builtin__.getattr(torch.distributed._shard.sharded_tensor.api.ShardedTensor, 'ProcessGroupState')()"},
    {"GetattrOnUnlistedClass", "\x80\x02" "c__builtin__\ngetattr\ncmylib.cfg\nMode\nX\x04\x00\x00\x00" "FAST\x86R."s, "__builtin__.getattr(mylib.cfg.Mode, 'FAST')"},
    {"GetattrDunder", "\x80\x02" "c__builtin__\ngetattr\nccollections\nOrderedDict\nX\x0e\x00\x00\x00__subclasses__\x86R)R."s, "__builtin__.getattr(collections.OrderedDict, '__subclasses__')()"},
    {"MutationOfAModule", "\x80\x04\x8c\x05torch\x8c\x06_utils\x93}\x8c\x0f_rebuild_tensor\x8c\x08" "builtinssb."s, "Corrupt: pickle opcode 0x62 at 47: BUILD on what is no object"},
    {"ImportNameComputedByACall", "\x80\x04\x8c\x02os\x8c\x0b" "collections\x8c\x07" "Counter\x93)R\x93."s, "Corrupt: pickle opcode 0x93 at 31: STACK_GLOBAL without two texts"},
    {"UnknownClass", "\x80\x02" "cmylib.train\nArgs\n)\x81}X\x02\x00\x00\x00lrK\x01sb."s, "new mylib.train.Args() state {'lr': 1}"},
    {"Namespace", "\x80\x02" "cargparse\nNamespace\n)\x81}X\x02\x00\x00\x00lrK\x01sb."s, "new argparse.Namespace() state {'lr': 1}"},
    {"Tensor", "\x80\x02" "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00" "0X\x03\x00\x00\x00" "cpuK\x04tQK\x00K\x04\x85K\x01\x85\x89" "ccollections\nOrderedDict\n)RtR."s, "torch._utils._rebuild_tensor_v2(pid(('storage', torch.FloatStorage, '0', 'cpu', 4)), 0, (4), (1), False, collections.OrderedDict(){})"},
    {"PlainData", "\x80\x02}X\x01\x00\x00\x00" "aK\x01s."s, "{'a': 1}"},
    {"TwoProto", "\x80\x02\x80\x02N."s, "None"},
    {"ProtoLate", "N\x80\x02" "0N."s, "None"},
    {"LeftoverValues", "\x80\x02K\x01N."s, "None"},
    {"MemoBomb", "\x80\x02Nr\x00\x00\x00\xc0."s, "None"},
    {"NestedTorchLoadDataOnly", "\x80\x04" "ctorch.storage\n_load_from_bytes\nC\x04\x80\x02N.\x85R."s, "torch.storage._load_from_bytes(b:80024e2e)"},
    {"NestedTorchLoadOfAComputedValue", "\x80\x04" "ctorch.storage\n_load_from_bytes\n)R."s, "torch.storage._load_from_bytes()"},
    {"FunctoolsPartial", "\x80\x04" "cfunctools\npartial\nctorch.hub\nload\n\x85R."s, "functools.partial(torch.hub.load)"},
    {"OddCodec", "\x80\x02" "c_codecs\nencode\nX\x01\x00\x00\x00" "aX\x05\x00\x00\x00rot13\x86R."s, "_codecs.encode('a', 'rot13')"},
    {"TypeNone", "\x80\x04" "cbuiltins\ntype\nN\x85R."s, "builtins.type(None)"},
    {"TypeBuildingAClass", "\x80\x04" "cbuiltins\ntype\n\x8c\x01" "A)}\x87R."s, "builtins.type('A', (), {})"},
    {"Python2AliasUnderProtocol4", "\x80\x04" "c__builtin__\neval\n."s, "__builtin__.eval"},
    {"CpickleAliasUnderProtocol2", "\x80\x02" "ccPickle\nloads\n."s, "cPickle.loads"},
    {"Py2Long", "\x80\x02" "ccollections\ndefaultdict\nc__builtin__\nlong\n\x85R."s, "collections.defaultdict(__builtin__.long){}"},
    {"ReExportedModule", "\x80\x04" "ctorch.storage\nos\n."s, "torch.storage.os"},
    {"WeirdStorageModule", "\x80\x02" "ctorch.cuda\nFloatStorage\n."s, "torch.cuda.FloatStorage"},
    {"ModuleDunder", "\x80\x04\x8c\x0b" "collections\x8c\x14OrderedDict.__init__\x93."s, "collections.OrderedDict.__init__"},
    {"SelfReferencingList", "\x80\x02]q\x00h\x00" "a."s, "[[[[[[[[[...]]]]]]]]]"},
    {"UnterminatedImport", "\x80\x02" "cos\nsystem"s, "Corrupt: pickle opcode 0x63 at 2: a line that does not end"},
    {"Rebuildfromtypev2HidingACall", "\x80\x02" "ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nctorch\nTensor\nX\x02\x00\x00\x00ls\x85}tR."s, "torch._tensor._rebuild_from_type_v2(os.system, torch.Tensor, ('ls'), {})"},
    {"TextWithCr", "cos\x0d\nsystem\n."s, "os\\r.system"},
    {"DeepSpeedEnumPython3112Form", "\x80\x02" "c__builtin__\ngetattr\ncdeepspeed.runtime.zero.config\nZeroStageEnum\nX\x09\x00\x00\x00gradients\x86R."s, "__builtin__.getattr(deepspeed.runtime.zero.config.ZeroStageEnum, 'gradients')"},
    {"EnumMemberThatIsThenCalled", "\x80\x02" "c__builtin__\ngetattr\ncdeepspeed.runtime.zero.config\nZeroStageEnum\nX\x09\x00\x00\x00gradients\x86R)R."s, "__builtin__.getattr(deepspeed.runtime.zero.config.ZeroStageEnum, 'gradients')()"},
    {"BytesIO", "\x80\x04" "c_io\nBytesIO\n)\x81" "C\x04\x80\x02N.K\x00N\x87" "b."s, "new _io.BytesIO() state (b:80024e2e, 0, None)"},
};

INSTANTIATE_TEST_SUITE_P(Safety, PickleSample, ::testing::ValuesIn(kSafety), [](const auto& row) { return row.param.name; });

std::shared_ptr<const Graph> parsed(std::string_view base64)
{
    auto graph = Graph::parse(std::make_shared<const std::vector<std::byte>>(toBytes(fromBase64(base64))));
    return graph ? graph.take() : nullptr;
}

// formats/pytorch.md §12.4: .metadata of a distributed checkpoint, protocol 2
constexpr std::string_view kMetadata =
    "gAJjdG9yY2guZGlzdHJpYnV0ZWQuY2hlY2twb2ludC5tZXRhZGF0YQpNZXRhZGF0YQpxACmBfShYEwAAAHN0YXRlX2RpY3Rf"
    "bWV0YWRhdGFxAX0oWAcAAABtb2RlbC53cQJjdG9yY2guZGlzdHJpYnV0ZWQuY2hlY2twb2ludC5tZXRhZGF0YQpUZW5zb3JT"
    "dG9yYWdlTWV0YWRhdGEKcQMpgX0oWAoAAABwcm9wZXJ0aWVzcQRjdG9yY2guZGlzdHJpYnV0ZWQuY2hlY2twb2ludC5tZXRh"
    "ZGF0YQpUZW5zb3JQcm9wZXJ0aWVzCnEFKYEoY3RvcmNoCmZsb2F0MzIKcQZjdG9yY2guc2VyaWFsaXphdGlvbgpfZ2V0X2xh"
    "eW91dApxB1gNAAAAdG9yY2guc3RyaWRlZHEIhVKJY3RvcmNoLmRpc3RyaWJ1dGVkLmNoZWNrcG9pbnQubWV0YWRhdGEKX01F"
    "TV9GT1JNQVRfRU5DT0RJTkcKcQlLAIVSiXRiWAQAAABzaXplcQpjdG9yY2gKU2l6ZQpxC0sESwKGhVJYBgAAAGNodW5rc3EM"
    "XShjdG9yY2guZGlzdHJpYnV0ZWQuY2hlY2twb2ludC5tZXRhZGF0YQpDaHVua1N0b3JhZ2VNZXRhZGF0YQpxDSmBfShYBwAA"
    "AG9mZnNldHNxDmgLSwBLAIaFUlgFAAAAc2l6ZXNxD2gLSwJLAoaFUnViaA0pgX0oaA5oC0sCSwCGhVJoD2gLSwJLAoaFUnVi"
    "ZXViWAQAAABzdGVwcRBjdG9yY2guZGlzdHJpYnV0ZWQuY2hlY2twb2ludC5tZXRhZGF0YQpCeXRlc1N0b3JhZ2VNZXRhZGF0"
    "YQpxESmBdVgMAAAAcGxhbm5lcl9kYXRhcRJ9KGgCKFgFAAAAbW9kZWxxE1gBAAAAd3EUdGgQKGgQdHVYDAAAAHN0b3JhZ2Vf"
    "ZGF0YXEVfShjdG9yY2guZGlzdHJpYnV0ZWQuY2hlY2twb2ludC5tZXRhZGF0YQpNZXRhZGF0YUluZGV4CnEWKYF9KFgDAAAA"
    "ZnFucRdoAlgFAAAAaW5kZXhxGEsAWAYAAABvZmZzZXRxGWgLSwBLAIaFUnViY3RvcmNoLmRpc3RyaWJ1dGVkLmNoZWNrcG9p"
    "bnQuZmlsZXN5c3RlbQpfU3RvcmFnZUluZm8KcRopgX0oWA0AAAByZWxhdGl2ZV9wYXRocRtYDAAAAF9fMF8wLmRpc3RjcHEc"
    "aBlLAFgGAAAAbGVuZ3RocR1NKQZ1YmgWKYF9KGgXaAJoGEsBaBloC0sCSwCGhVJ1YmgaKYF9KGgbWAwAAABfXzFfMC5kaXN0"
    "Y3BxHmgZSwBoHU0pBnViaBYpgX0oaBdoEGgYTnViaBopgX0oaBtoHGgZTSkGaB1NrwF1YnVYDAAAAHN0b3JhZ2VfbWV0YXEf"
    "Y3RvcmNoLmRpc3RyaWJ1dGVkLmNoZWNrcG9pbnQubWV0YWRhdGEKU3RvcmFnZU1ldGEKcSApgX0oWA0AAABjaGVja3BvaW50"
    "X2lkcSFOWAcAAABzYXZlX2lkcSJYJAAAADBmMGM4YzBlLTAwMDAtNDAwMC04MDAwLTAwMDAwMDAwMDAwMHEjWAcAAABsb2Fk"
    "X2lkcSROWAcAAABtb2R1bGVzcSVddWJYBwAAAHZlcnNpb25xJlgFAAAAMS4wLjBxJ3ViLg==";

// formats/pytorch.md §12.5: the same of PyTorch 1.13, protocol 4
constexpr std::string_view kOldMetadata =
    "gASVzgQAAAAAAACMLHRvcmNoLmRpc3RyaWJ1dGVkLl9zaGFyZC5jaGVja3BvaW50Lm1ldGFkYXRhlIwITWV0YWRhdGGUk5Qp"
    "gZR9lCiME3N0YXRlX2RpY3RfbWV0YWRhdGGUfZQojAF3lGgAjBVUZW5zb3JTdG9yYWdlTWV0YWRhdGGUk5QpgZR9lCiMCnBy"
    "b3BlcnRpZXOUjDB0b3JjaC5kaXN0cmlidXRlZC5fc2hhcmQuc2hhcmRlZF90ZW5zb3IubWV0YWRhdGGUjBBUZW5zb3JQcm9w"
    "ZXJ0aWVzlJOUKYGUKIwFdG9yY2iUjAdmbG9hdDMylJOUjBN0b3JjaC5zZXJpYWxpemF0aW9ulIwLX2dldF9sYXlvdXSUk5SM"
    "DXRvcmNoLnN0cmlkZWSUhZRSlImMCGJ1aWx0aW5zlIwHZ2V0YXR0cpSTlGgNjBNNRU1fRk9STUFUX0VOQ09ESU5HlJOUjBdU"
    "T1JDSF9DT05USUdVT1VTX0ZPUk1BVJSGlFKUiXSUYowEc2l6ZZSMBXRvcmNolIwEU2l6ZZSTlEsFSwKGlIWUUpSMBmNodW5r"
    "c5RdlChoAIwUQ2h1bmtTdG9yYWdlTWV0YWRhdGGUk5QpgZR9lCiMB29mZnNldHOUaCZLAEsAhpSFlFKUjAVzaXplc5RoJksD"
    "SwKGlIWUUpR1YmgtKYGUfZQoaDBoJksDSwCGlIWUUpRoNGgmSwJLAoaUhZRSlHViZXVijAFylGgJKYGUfZQoaAxoDymBlCho"
    "E2gZiWghiXSUYmgjaCZLAoWUhZRSlGgqXZRoLSmBlH2UKGgwaCZLAIWUhZRSlGg0aCZLAoWUhZRSlHViYXVijANvcHSUaACM"
    "FEJ5dGVzU3RvcmFnZU1ldGFkYXRhlJOUKYGUjAFzlGgJKYGUfZQoaAxoDymBlChoEYwFaW50NjSUk5RoGYloIYl0lGJoI2gm"
    "KYWUUpRoKl2UaC0pgZR9lChoMGgmKYWUUpRoNGgmKYWUUpR1YmF1YnWMDHBsYW5uZXJfZGF0YZROjAxzdG9yYWdlX2RhdGGU"
    "fZQoaACMDU1ldGFkYXRhSW5kZXiUk5QpgZR9lCiMA2ZxbpRoB4wFaW5kZXiUSwCMBm9mZnNldJRoJksASwCGlIWUUpR1Yowu"
    "dG9yY2guZGlzdHJpYnV0ZWQuX3NoYXJkLmNoZWNrcG9pbnQuZmlsZXN5c3RlbZSMDF9TdG9yYWdlSW5mb5STlCmBlH2UKIwN"
    "cmVsYXRpdmVfcGF0aJSMDF9fMF8wLmRpc3RjcJRobksAjAZsZW5ndGiUTesCdWJoaSmBlH2UKGhsaEBobUsAaG5oJksAhZSF"
    "lFKUdWJodCmBlH2UKGh3jAxfXzBfMS5kaXN0Y3CUaG5LAGh5TesCdWJoaSmBlH2UKGhsjANvcHSUaG1OdWJodCmBlH2UKGh3"
    "jAxfXzBfMi5kaXN0Y3CUaG5LAGh5Ta8BdWJoaSmBlH2UKGhsaFVobUsAaG5oJimFlFKUdWJodCmBlH2UKGh3jAxfXzBfMy5k"
    "aXN0Y3CUaG5LAGh5TesCdWJoaSmBlH2UKGhsaAdobUsBaG5oJksDSwCGlIWUUpR1Ymh0KYGUfZQoaHeMDF9fMV8wLmRpc3Rj"
    "cJRobksAaHlN6wJ1YnV1Yi4=";

// formats/pytorch.md §12.6: data.pkl with a ShardedTensor, rank 1 of 2
constexpr std::string_view kSharded =
    "gAJ9cQAoWAEAAAB3cQFjdG9yY2guX3RlbnNvcgpfcmVidWlsZF9mcm9tX3R5cGVfdjIKcQIoY3RvcmNoLl91dGlscwpfcmVi"
    "dWlsZF93cmFwcGVyX3N1YmNsYXNzCnEDY3RvcmNoLmRpc3RyaWJ1dGVkLl9zaGFyZC5zaGFyZGVkX3RlbnNvci5hcGkKU2hh"
    "cmRlZFRlbnNvcgpxBChoBGN0b3JjaApmbG9hdDMyCnEFSwVLAoZxBksCSwGGcQdLAGN0b3JjaC5zZXJpYWxpemF0aW9uCl9n"
    "ZXRfbGF5b3V0CnEIWA0AAAB0b3JjaC5zdHJpZGVkcQmFcQpScQtjdG9yY2gKZGV2aWNlCnEMWAMAAABjcHVxDYVxDlJxD4l0"
    "cRAoXXERY3RvcmNoLmRpc3RyaWJ1dGVkLl9zaGFyZC5zaGFyZGVkX3RlbnNvci5zaGFyZApTaGFyZApxEimBcRNOfXEUKFgG"
    "AAAAdGVuc29ycRVjdG9yY2guX3V0aWxzCl9yZWJ1aWxkX3RlbnNvcl92MgpxFigoWAcAAABzdG9yYWdlcRdjdG9yY2gKRmxv"
    "YXRTdG9yYWdlCnEYWAEAAAAwcRlYAwAAAGNwdXEaSwR0cRtRSwBLAksChnEcSwJLAYZxHYljY29sbGVjdGlvbnMKT3JkZXJl"
    "ZERpY3QKcR4pUnEfdHEgUnEhWAgAAABtZXRhZGF0YXEiY3RvcmNoLmRpc3RyaWJ1dGVkLl9zaGFyZC5tZXRhZGF0YQpTaGFy"
    "ZE1ldGFkYXRhCnEjKYFxJE59cSUoWA0AAABzaGFyZF9vZmZzZXRzcSZdcScoSwNLAGVYCwAAAHNoYXJkX3NpemVzcShdcSko"
    "SwJLAmVYCQAAAHBsYWNlbWVudHEqY3RvcmNoLmRpc3RyaWJ1dGVkLnJlbW90ZV9kZXZpY2UKX3JlbW90ZV9kZXZpY2UKcSsp"
    "gXEsfXEtKFgMAAAAX3dvcmtlcl9uYW1lcS5OWAUAAABfcmFua3EvSwFYBwAAAF9kZXZpY2VxMGgMWAMAAABjcHVxMYVxMlJx"
    "M3VidYZxNGJ1hnE1YmFjdG9yY2guZGlzdHJpYnV0ZWQuX3NoYXJkLnNoYXJkZWRfdGVuc29yLm1ldGFkYXRhClNoYXJkZWRU"
    "ZW5zb3JNZXRhZGF0YQpxNimBcTd9cTgoWA8AAABzaGFyZHNfbWV0YWRhdGFxOV1xOihoIymBcTtOfXE8KGgmXXE9KEsASwBl"
    "aChdcT4oSwNLAmVoKmgrKYFxP31xQChoLk5oL0sAaDBoDFgDAAAAY3B1cUGFcUJScUN1YnWGcURiaCRlWAQAAABzaXplcUVj"
    "dG9yY2gKU2l6ZQpxRksFSwKGcUeFcUhScUlYEQAAAHRlbnNvcl9wcm9wZXJ0aWVzcUpjdG9yY2guZGlzdHJpYnV0ZWQuX3No"
    "YXJkLnNoYXJkZWRfdGVuc29yLm1ldGFkYXRhClRlbnNvclByb3BlcnRpZXMKcUspgXFMKGgFaAuJY19fYnVpbHRpbl9fCmdl"
    "dGF0dHIKcU1jdG9yY2guZGlzdHJpYnV0ZWQuX3NoYXJkLnNoYXJkZWRfdGVuc29yLm1ldGFkYXRhCk1FTV9GT1JNQVRfRU5D"
    "T0RJTkcKcU5YFwAAAFRPUkNIX0NPTlRJR1VPVVNfRk9STUFUcU+GcVBScVGJdHFSYnViaE1oBFgRAAAAUHJvY2Vzc0dyb3Vw"
    "U3RhdGVxU4ZxVFJxVSmBcVZ9cVcoWAoAAABsb2NhbF9yYW5rcVhLAVgLAAAAZ2xvYmFsX3JhbmtxWUsBWBAAAABsb2NhbF93"
    "b3JsZF9zaXplcVpLAlgRAAAAZ2xvYmFsX3dvcmxkX3NpemVxW0sCdWJjdG9yY2guZGlzdHJpYnV0ZWQuX3NoYXJkLnNoYXJk"
    "aW5nX3NwZWMuY2h1bmtfc2hhcmRpbmdfc3BlYwpDaHVua1NoYXJkaW5nU3BlYwpxXCmBcV19cV4oWAMAAABkaW1xX0sAWAoA"
    "AABwbGFjZW1lbnRzcWBdcWEoaD9oLGV1Yol0cWJ0cWNScWRYAQAAAHJxZWgWKChoF2gYWAEAAAAxcWZoGksCdHFnUUsASwKF"
    "cWhLAYVxaYloHilScWp0cWtScWx1Lg==";

std::string numbers(Value sequence)
{
    std::string out;
    for (std::size_t i = 0; i < sequence.size(); ++i)
        out += fmt::format("{}{}", i == 0 ? "" : "x", sequence.at(i).asInt().value_or(-1));
    return out;
}

// "w 4x2 at 0x0 of 2x2", one line a chunk; "step bytes" for what is no tensor.
std::vector<std::string> chunkLines(Value metadata)
{
    std::vector<std::string> out;
    const Value tensors = metadata.attribute("state_dict_metadata");
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const std::string name(tensors.keyAt(i).asText().value_or("?"));
        const Value tensor = tensors.valueAt(i);
        const Value chunks = tensor.attribute("chunks");
        if (!chunks)
            out.push_back(name + " bytes");
        for (std::size_t j = 0; j < chunks.size(); ++j)
            out.push_back(fmt::format("{} {} at {} of {}", name, numbers(tensor.attribute("size")), numbers(chunks.at(j).attribute("offsets")),
                                      numbers(chunks.at(j).attribute("sizes"))));
    }
    return out;
}

// "w 0x0: __0_0.distcp 0+1577"
std::vector<std::string> placeLines(Value metadata)
{
    std::vector<std::string> out;
    const Value places = metadata.attribute("storage_data");
    for (std::size_t i = 0; i < places.size(); ++i) {
        const Value index = places.keyAt(i);
        const Value place = places.valueAt(i);
        out.push_back(fmt::format("{} {}: {} {}+{}", index.attribute("fqn").asText().value_or("?"), numbers(index.attribute("offset")),
                                  place.attribute("relative_path").asText().value_or("?"), place.attribute("offset").asInt().value_or(-1),
                                  place.attribute("length").asInt().value_or(-1)));
    }
    return out;
}

TEST(PickleOfOthers, HoldsTheMetadataOfADistributedCheckpoint)
{
    const auto graph = parsed(kMetadata);
    ASSERT_TRUE(graph);
    EXPECT_EQ(graph->end(), 1276u);
    const Value root = graph->root();
    EXPECT_TRUE(root.isCallOf("torch.distributed.checkpoint.metadata", "Metadata"));
    EXPECT_THAT(chunkLines(root), ElementsAre("model.w 4x2 at 0x0 of 2x2", "model.w 4x2 at 2x0 of 2x2", "step bytes"));
    EXPECT_THAT(placeLines(root), ElementsAre("model.w 0x0: __0_0.distcp 0+1577", "model.w 2x0: __1_0.distcp 0+1577", "step : __0_0.distcp 1577+431"));
    EXPECT_EQ(shown(root.attribute("planner_data")), "{'model.w': ('model', 'w'), 'step': ('step')}");
    EXPECT_EQ(root.attribute("version").asText(), "1.0.0");
    EXPECT_TRUE(root.attribute("storage_meta").attribute("checkpoint_id").isNone());
}

TEST(PickleOfOthers, HoldsTheMetadataOfPyTorch113)
{
    const auto graph = parsed(kOldMetadata);
    ASSERT_TRUE(graph);
    EXPECT_EQ(graph->end(), 1241u);
    EXPECT_THAT(chunkLines(graph->root()), ElementsAre("w 5x2 at 0x0 of 3x2", "w 5x2 at 3x0 of 2x2", "r 2 at 0 of 2", "opt bytes", "s  at  of "));
    EXPECT_THAT(placeLines(graph->root()),
                ElementsAre("w 0x0: __0_0.distcp 0+747", "r 0: __0_1.distcp 0+747", "opt : __0_2.distcp 0+431", "s : __0_3.distcp 0+747", "w 3x0: __1_0.distcp 0+747"));
}

TEST(PickleOfOthers, HoldsTheShardsOfAShardedTensor)
{
    const auto graph = parsed(kSharded);
    ASSERT_TRUE(graph);
    EXPECT_EQ(graph->end(), 1606u);
    const Value wrapped = graph->root().find("w");
    EXPECT_TRUE(wrapped.isCallOf("torch._tensor", "_rebuild_from_type_v2"));
    const Value state = wrapped.args().at(3);
    EXPECT_EQ(state.kind(), pickle::Kind::Tuple);
    const Value shard = state.at(0).at(0);
    EXPECT_TRUE(shard.isCallOf("torch.distributed._shard.sharded_tensor.shard", "Shard"));
    EXPECT_EQ(shown(shard.attribute("tensor").args().at(0)), "pid(('storage', torch.FloatStorage, '0', 'cpu', 4))");
    EXPECT_EQ(numbers(shard.attribute("metadata").attribute("shard_offsets")), "3x0");
    EXPECT_EQ(numbers(shard.attribute("metadata").attribute("shard_sizes")), "2x2");
    const Value all = state.at(1).attribute("shards_metadata");
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(numbers(all.at(0).attribute("shard_sizes")), "3x2");
    EXPECT_EQ(numbers(state.at(1).attribute("size")), "5x2");
    EXPECT_EQ(state.at(2).attribute("local_rank").asInt(), 1);
}

} // namespace
} // namespace shardlens::test
