// `.metadata` of torch.distributed.checkpoint (formats/pytorch.md §9.2, §9.3): what it says, and what is said where it is not what it should be.
#include "core/encoding/dcp_metadata.h"

#include "core/base/text.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/support/dcp_test_save.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

Result<DcpMetadata> parsedMetadata(std::string_view bytes)
{
    JobContext job;
    return DcpMetadata::parse(std::make_shared<const std::vector<std::byte>>(toBytes(bytes)), job);
}

std::string itemText(const DcpMetadata& metadata, const DcpItem& item)
{
    if (item.file == DcpItem::kNoFile)
        return "nowhere";
    const auto& transforms = metadata.transforms.at(item.transforms);
    return fmt::format("{} {}+{}{}", metadata.files.at(item.file), item.offset, item.length, transforms.empty() ? "" : fmt::format(" by {}", fmt::join(transforms, ", ")));
}

std::string stepsText(const DcpEntry& entry)
{
    std::string out;
    for (const DcpStep& step : entry.path)
        out += "/" + (step.index ? fmt::format("#{}", *step.index) : step.key);
    return out.empty() ? "no path" : out;
}

// "w F32 [4, 2] at /model/w: [0, 0]+[2, 2] in __0_0.distcp 0+1577, …"
std::string entryLine(const DcpMetadata& metadata, const DcpEntry& entry)
{
    std::string out = printable(entry.key);
    if (entry.kind == DcpEntry::Kind::Unknown)
        return out + " unknown: " + entry.problem;
    if (entry.kind == DcpEntry::Kind::Bytes)
        return fmt::format("{} object at {}: {}", out, stepsText(entry), itemText(metadata, entry.item));
    out += fmt::format(" {} {} at {}:", nameOf(entry.dtype), shapeText(entry.shape), stepsText(entry));
    for (std::size_t chunk = entry.firstChunk; chunk < entry.firstChunk + entry.chunkCount; ++chunk) {
        const auto shape = [](ShapeView numbers) { return shapeText(Shape(numbers.begin(), numbers.end())); };
        out += fmt::format(" {}+{} in {}", shape(metadata.chunks.offset(chunk)), shape(metadata.chunks.extent(chunk)), itemText(metadata, metadata.chunks.item(chunk)));
    }
    return out;
}

std::vector<std::string> metadataLines(const Result<DcpMetadata>& metadata)
{
    if (!metadata)
        return {codeName(metadata.error().code()) + ": " + metadata.error().text()};
    std::vector<std::string> out;
    for (const DcpEntry& entry : metadata->entries)
        out.push_back(entryLine(*metadata, entry));
    for (const DcpRemark& remark : metadata->remarks)
        out.push_back(remark.code + ": " + remark.text);
    return out;
}

std::vector<std::string> metadataLines(const Py& root)
{
    return metadataLines(parsedMetadata(pickled(root)));
}

// Of one tensor `w` [4, 2] of two chunks in two files, with what a test wants to be different.
struct Parts {
    Py entry = dcpTensor("float32", {4, 2}, {dcpChunk({0, 0}, {2, 2}), dcpChunk({2, 0}, {2, 2})});
    std::vector<PyItem> storage{{dcpIndex("w", Counts{0, 0}, 0), dcpPlace("__0_0.distcp", 0, 10)}, {dcpIndex("w", Counts{2, 0}, 1), dcpPlace("__1_0.distcp", 5, 20)}};
    Py paths = pyDict({{"w", dcpPath({{std::string("w")}})}});

    [[nodiscard]] std::vector<std::string> lines() const { return metadataLines(dcpMetadata(pyDict({{"w", entry}}), paths, storage)); }
};

constexpr const char* kGood = "w F32 [4, 2] at /w: [0, 0]+[2, 2] in __0_0.distcp 0+10 [2, 0]+[2, 2] in __1_0.distcp 5+20";

std::string currentExample() // formats/pytorch.md §12.4
{
    return fromBase64(
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
        "X2lkcSROWAcAAABtb2R1bGVzcSVddWJYBwAAAHZlcnNpb25xJlgFAAAAMS4wLjBxJ3ViLg==");
}

std::string oldExample() // §12.5: PyTorch 1.13
{
    return fromBase64(
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
        "cJRobksAaHlN6wJ1YnV1Yi4=");
}

TEST(DcpMetadata, OfTheCurrentRelease)
{
    const auto metadata = parsedMetadata(currentExample());
    EXPECT_THAT(metadataLines(metadata), ElementsAre("model.w F32 [4, 2] at /model/w: [0, 0]+[2, 2] in __0_0.distcp 0+1577 [2, 0]+[2, 2] in __1_0.distcp 0+1577", "step object at /step: __0_0.distcp 1577+431"));
    EXPECT_EQ(metadata->version, "1.0.0");
    EXPECT_EQ(metadata->topClass, "torch.distributed.checkpoint.metadata.Metadata");
    EXPECT_THAT(metadata->files, ElementsAre("__0_0.distcp", "__1_0.distcp"));
}

TEST(DcpMetadata, OfPyTorch1)
{
    const auto metadata = parsedMetadata(oldExample());
    EXPECT_THAT(metadataLines(metadata), ElementsAre("w F32 [5, 2] at no path: [0, 0]+[3, 2] in __0_0.distcp 0+747 [3, 0]+[2, 2] in __1_0.distcp 0+747", "r F32 [2] at no path: [0]+[2] in __0_1.distcp 0+747",
                                               "opt object at no path: __0_2.distcp 0+431", "s I64 [] at no path: []+[] in __0_3.distcp 0+747"));
    EXPECT_EQ(metadata->version, "");
}

TEST(DcpMetadata, OfTheTestsOwnWriter)
{
    EXPECT_THAT(Parts().lines(), ElementsAre(kGood));
}

TEST(DcpMetadata, EveryPrefixIsRefusedWithASentence)
{
    for (const std::string& whole : {currentExample(), oldExample()})
        for (std::size_t length = 0; length < whole.size(); ++length) {
            const auto metadata = parsedMetadata(whole.substr(0, length));
            ASSERT_FALSE(metadata.ok()) << length;
            EXPECT_EQ(metadata.error().code(), ErrorCode::Corrupt) << length;
            EXPECT_GT(metadata.error().text().size(), 10u) << length;
        }
}

TEST(DcpMetadata, AnyByteMayBeWrong)
{
    for (const std::string& whole : {currentExample(), oldExample()})
        for (std::size_t at = 0; at < whole.size(); ++at)
            for (const char wrong : {'\0', '.', '\xff', static_cast<char>(whole[at] ^ 1)}) {
                std::string harmed = whole;
                harmed[at] = wrong;
                const auto metadata = parsedMetadata(harmed);
                if (metadata) {
                    EXPECT_THAT(metadataLines(metadata), SizeIs(::testing::Ge(metadata->entries.size())));
                } else {
                    EXPECT_GT(metadata.error().text().size(), 10u) << at;
                }
            }
}

TEST(DcpMetadata, StopsWhenAsked)
{
    std::stop_source stop;
    stop.request_stop();
    JobContext job(stop.get_token());
    std::vector<Py> chunks;
    std::vector<PyItem> storage;
    for (std::uint64_t i = 0; i < 40'000; ++i) {
        chunks.push_back(dcpChunk({i}, {1}));
        storage.emplace_back(dcpIndex("w", Counts{i}, static_cast<std::int64_t>(i)), dcpPlace("a", 0, 1));
    }
    const std::string bytes = pickled(dcpMetadata(pyDict({{"w", dcpTensor("float32", {40'000}, std::move(chunks))}}), {Py::None{}}, std::move(storage)));
    const auto metadata = DcpMetadata::parse(std::make_shared<const std::vector<std::byte>>(toBytes(bytes)), job);
    ASSERT_FALSE(metadata.ok());
    EXPECT_EQ(metadata.error().code(), ErrorCode::Cancelled);
}

// ---- what is no metadata ----

struct BadRoot {
    const char* name;
    Py root;
    const char* says;
};

class DcpMetadataRefused : public ::testing::TestWithParam<BadRoot> {};

TEST_P(DcpMetadataRefused, SaysWhy)
{
    EXPECT_THAT(metadataLines(GetParam().root), ElementsAre(HasSubstr(GetParam().says)));
}

const Py kNothing{Py::None{}};
const Py kNoEntries = pyDict({});

Py metadataWith(Py entries, Py storage)
{
    return dcpObject("Metadata", {{"state_dict_metadata", std::move(entries)}, {"planner_data", kNothing}, {"storage_data", std::move(storage)}});
}

Py placedIn(const std::string& file, std::int64_t offset = 0, std::int64_t length = 1)
{
    return dcpMetadata(pyDict({{"w", dcpBytes()}}), kNothing, {{dcpIndex("w"), dcpPlace(file, offset, length)}});
}

Py placeOf(std::vector<std::pair<std::string, Py>> attributes)
{
    return dcpMetadata(pyDict({{"w", dcpBytes()}}), kNothing, {{dcpIndex("w"), dcpObject("_StorageInfo", std::move(attributes))}});
}

const std::string kHugeLong = std::string("\x8a\x09") + std::string(8, '\xff') + '\x7f'; // LONG1: 2^71 - 1
const std::string kZeroInName("a\0b", 3);

INSTANTIATE_TEST_SUITE_P(Roots, DcpMetadataRefused, ::testing::Values(
    BadRoot{"ANumber", {std::int64_t{7}}, "Unsupported: a pickle of a plain value, and no metadata of torch.distributed.checkpoint"},
    BadRoot{"AnotherClass", {Py::Object{{"my.module", "Metadata"}, {}, {pyDict({})}}}, "Unsupported: a pickle of my.module.Metadata"},
    BadRoot{"ACommand", {Py::Call{{"os", "system"}, {{std::string("true")}}}}, "Unsupported: a pickle of os.system"},
    BadRoot{"NoState", {Py::Object{{"torch.distributed.checkpoint.metadata", "Metadata"}, {}, {}}}, "state_dict_metadata is no dictionary"},
    BadRoot{"EntriesAreAList", metadataWith({std::vector<Py>{}}, pyDict({})), "Corrupt: state_dict_metadata is no dictionary"},
    BadRoot{"NoStorage", dcpObject("Metadata", {{"state_dict_metadata", kNoEntries}}), "Corrupt: storage_data is no dictionary: nothing says where the data are"},
    BadRoot{"StorageIsNone", metadataWith(kNoEntries, kNothing), "storage_data is no dictionary"},
    BadRoot{"Absolute", placedIn("/etc/passwd"), "Refused: w is said to lie in /etc/passwd, outside the checkpoint's folder"},
    BadRoot{"Parent", placedIn("../__0_0.distcp"), "outside the checkpoint's folder"},
    BadRoot{"ParentInside", placedIn("a/../../b"), "outside the checkpoint's folder"},
    BadRoot{"ParentAtTheEnd", placedIn("a/.."), "outside the checkpoint's folder"},
    BadRoot{"ParentOfWindows", placedIn("a\\..\\..\\b"), "outside the checkpoint's folder"},
    BadRoot{"DriveLetter", placedIn("C:\\b"), "outside the checkpoint's folder"},
    BadRoot{"BackslashFirst", placedIn("\\\\host\\share"), "outside the checkpoint's folder"},
    BadRoot{"NulInTheName", placedIn(kZeroInName), "outside the checkpoint's folder"},
    BadRoot{"NoName", placedIn(""), "outside the checkpoint's folder"},
    BadRoot{"NegativeOffset", placedIn("a", -1), "Corrupt: the place of w in storage_data lacks a file, an offset or a length, or has a negative one"},
    BadRoot{"NegativeLength", placedIn("a", 0, -5), "or has a negative one"},
    BadRoot{"HugeOffset", placeOf({{"relative_path", {std::string("a")}}, {"offset", {Py::Opcodes{kHugeLong}}}, {"length", {std::int64_t{1}}}}), "lacks a file, an offset or a length"},
    BadRoot{"OffsetIsText", placeOf({{"relative_path", {std::string("a")}}, {"offset", {std::string("0")}}, {"length", {std::int64_t{1}}}}), "lacks a file, an offset or a length"},
    BadRoot{"NoPath", placeOf({{"offset", {std::int64_t{0}}}, {"length", {std::int64_t{1}}}}), "lacks a file, an offset or a length"},
    BadRoot{"PlaceIsANumber", dcpMetadata(pyDict({{"w", dcpBytes()}}), kNothing, {{dcpIndex("w"), {std::int64_t{3}}}}), "lacks a file, an offset or a length"}),
    [](const auto& row) { return row.param.name; });

TEST(DcpMetadata, ThatOfMembersAloneIsReadToo) // a class that somebody derived
{
    const Py root{Py::Object{{"my.module", "MyMetadata"}, {}, {pyDict({{"state_dict_metadata", pyDict({{"w", dcpBytes()}})}, {"storage_data", pyDict({})}})}}};
    EXPECT_THAT(metadataLines(root), ElementsAre("w object at no path: nowhere"));
}

// ---- an entry that cannot be read leaves the others ----

struct BadEntry {
    const char* name;
    Py entry;
    const char* says;
};

class DcpMetadataEntry : public ::testing::TestWithParam<BadEntry> {};

TEST_P(DcpMetadataEntry, IsSaidAndTheRestIsRead)
{
    const Parts good;
    auto storage = good.storage;
    storage.emplace_back(dcpIndex("bad", Counts{0, 0}, 0), dcpPlace("__0_0.distcp", 30, 10));
    const auto lines = metadataLines(dcpMetadata(pyDict({{"bad", GetParam().entry}, {"w", good.entry}}), good.paths, storage));
    EXPECT_THAT(lines, ElementsAre(AllOf(StartsWith("bad unknown: "), HasSubstr("bad"), HasSubstr(GetParam().says)), kGood));
}

Py tensorWith(const std::string& attribute, const Py& value)
{
    std::vector<std::pair<std::string, Py>> attributes{{"properties", {Py::Object{{"torch.distributed.checkpoint.metadata", "TensorProperties"}, {}, {{Py::Tuple{{{Py::Global{"torch", "float32"}}}}}}}}},
                                                       {"size", pySize({4, 2})},
                                                       {"chunks", {std::vector<Py>{dcpChunk({0, 0}, {4, 2})}}}};
    for (auto& [name, old] : attributes)
        if (name == attribute)
            old = value;
    return dcpObject("TensorStorageMetadata", attributes);
}

Py chunkWith(const Py& offset, const Py& extent)
{
    return tensorWith("chunks", {std::vector<Py>{dcpChunk({0, 0}, {2, 2}), dcpObject("ChunkStorageMetadata", {{"offsets", offset}, {"sizes", extent}})}});
}

INSTANTIATE_TEST_SUITE_P(Entries, DcpMetadataEntry, ::testing::Values(
    BadEntry{"ForeignClass", {Py::Object{{"os", "system"}, {{std::string("true")}}, {}}}, "described by os.system, which is no class of torch.distributed.checkpoint"},
    BadEntry{"ClassOfAnotherModule", {Py::Object{{"evil", "TensorStorageMetadata"}, {}, {pyDict({})}}}, "described by evil.TensorStorageMetadata"},
    BadEntry{"ANumber", {std::int64_t{3}}, "described by a plain value"},
    BadEntry{"UnknownDType", dcpTensor("float9_x", {4, 2}, {}), "the dtype float9_x is not known"},
    BadEntry{"DTypeOfAnotherModule", tensorWith("properties", {Py::Object{{"torch.distributed.checkpoint.metadata", "TensorProperties"}, {}, {{Py::Tuple{{{Py::Global{"os", "float32"}}}}}}}}), "the dtype float32 is not known"},
    BadEntry{"NoDType", tensorWith("properties", {Py::None{}}), "it names no dtype"},
    BadEntry{"PackedDType", dcpTensor("float4_e2m1fn_x2", {4, 2}, {dcpChunk({0, 0}, {4, 2})}), "chunks of float4_e2m1fn_x2 are not read"},
    BadEntry{"SizeIsText", tensorWith("size", {std::string("4")}), "it is no list of sizes"},
    BadEntry{"SizeOfTexts", tensorWith("size", {Py::Tuple{{{std::string("4")}}}}), "a size that is no number"},
    BadEntry{"NegativeSize", tensorWith("size", {Py::Tuple{{{std::int64_t{-4}}, {std::int64_t{2}}}}}), "a size of -4"},
    BadEntry{"HugeSize", tensorWith("size", {Py::Tuple{{{Py::Opcodes{kHugeLong}}, {std::int64_t{2}}}}}), "a size that is no number"},
    BadEntry{"MoreBytesThanCanBeCounted", dcpTensor("float32", {1ull << 62, 1ull << 62}, {}), "has more bytes than can be counted"},
    BadEntry{"MoreBytesThanSignedNumbersCount", dcpTensor("float32", {1ull << 61, 1}, {}), "has more bytes than can be counted"},
    BadEntry{"TooManyDimensions", dcpTensor("float32", Counts(65, 1), {dcpChunk(Counts(65, 0), Counts(65, 1))}), "65 sizes, at most 64 are read"},
    BadEntry{"ChunksAreNone", tensorWith("chunks", {Py::None{}}), "its chunks are no list"},
    BadEntry{"ChunkIsANumber", tensorWith("chunks", {std::vector<Py>{{std::int64_t{3}}}}), "chunk 0: it is no list of sizes"},
    BadEntry{"ChunkOfAnotherRank", chunkWith(pySize({0}), pySize({4, 2})), "chunk 1 has 1 offsets and 2 sizes, and the tensor 2 dimensions"},
    BadEntry{"NegativeOffset", chunkWith({Py::Tuple{{{std::int64_t{-1}}, {std::int64_t{0}}}}}, pySize({4, 2})), "chunk 1: a size of -1"},
    BadEntry{"OffsetsOfAnObject", chunkWith({Py::Call{{"os", "Size"}, {{Py::Tuple{}}}}}, pySize({4, 2})), "chunk 1: it is no list of sizes"}),
    [](const auto& row) { return row.param.name; });

TEST(DcpMetadata, SixtyFourDimensionsAreRead)
{
    const auto lines = metadataLines(dcpMetadata(pyDict({{"w", dcpTensor("int8", Counts(64, 1), {dcpChunk(Counts(64, 0), Counts(64, 1))})}}), kNothing, {{dcpIndex("w", Counts(64, 0), 0), dcpPlace("a", 0, 9)}}));
    EXPECT_THAT(lines, ElementsAre(AllOf(StartsWith("w I8 [1, 1"), HasSubstr(" in a 0+9"))));
}

TEST(DcpMetadata, SizesMayBeListsAndSlots) // other writers, and dataclasses with slots
{
    Parts parts;
    const auto numbers = [](std::int64_t a, std::int64_t b) { return Py{std::vector<Py>{{a}, {b}}}; };
    const Py slots{Py::Object{{"torch.distributed.checkpoint.metadata", "ChunkStorageMetadata"}, {}, {{Py::Tuple{{{Py::None{}}, pyDict({{"offsets", numbers(2, 0)}, {"sizes", numbers(2, 2)}})}}}}}};
    parts.entry = dcpTensor("float32", {4, 2}, {dcpChunk({0, 0}, {2, 2}), slots});
    EXPECT_THAT(parts.lines(), ElementsAre(kGood));
}

// ---- keys and places ----

TEST(DcpMetadata, AKeyThatStandsTwiceIsReadOnce)
{
    const Parts good;
    const Py entries{Py::Dict{{{{std::string("w")}, good.entry}, {{std::string("w")}, dcpBytes()}}, false}};
    EXPECT_THAT(metadataLines(dcpMetadata(entries, good.paths, good.storage)), ElementsAre(kGood, "repeated-key: w stands twice in the metadata; the first is read."));
}

TEST(DcpMetadata, ChunksAreFoundWithoutAHintOrWithAWrongOne)
{
    for (const std::optional<std::int64_t> hint : {std::optional<std::int64_t>{}, std::optional<std::int64_t>{0}, std::optional<std::int64_t>{-1}, std::optional<std::int64_t>{99}}) {
        Parts parts;
        parts.storage = {{dcpIndex("w", Counts{2, 0}, hint), dcpPlace("__1_0.distcp", 5, 20)}, {dcpIndex("w", Counts{0, 0}, hint), dcpPlace("__0_0.distcp", 0, 10)}};
        EXPECT_THAT(parts.lines(), ElementsAre(AllOf(HasSubstr("[0, 0]+[2, 2] in __0_0.distcp 0+10"), HasSubstr("[2, 0]+[2, 2] in __1_0.distcp 5+20"))));
    }
}

// The places of many tensors in turn, as ranks list them, and no hints: each is found by a search and not by a look at all of them.
TEST(DcpMetadata, ManyChunksWithoutHintsInTurnsAreFound)
{
    constexpr std::uint64_t kChunks = 3000;
    std::vector<std::pair<std::string, Py>> entries;
    std::vector<PyItem> storage;
    for (const char* name : {"a", "b", "c"}) {
        std::vector<Py> chunks;
        for (std::uint64_t i = kChunks; i-- > 0;)
            chunks.push_back(dcpChunk({i}, {1}));
        entries.emplace_back(name, dcpTensor("float32", {kChunks}, std::move(chunks)));
    }
    for (std::uint64_t i = 0; i < kChunks; ++i)
        for (const char* name : {"a", "b", "c"})
            storage.emplace_back(dcpIndex(name, Counts{i}), dcpPlace(name, static_cast<std::int64_t>(i), 1));
    const auto metadata = parsedMetadata(pickled(dcpMetadata(pyDict(entries), kNothing, std::move(storage))));
    ASSERT_TRUE(metadata.ok()) << metadata.error().text();
    EXPECT_THAT(metadata->remarks, IsEmpty());
    for (std::size_t chunk = 0; chunk < metadata->chunks.size(); ++chunk)
        ASSERT_EQ(metadata->chunks.item(chunk).offset, metadata->chunks.offset(chunk)[0]) << chunk;
}

TEST(DcpMetadata, AChunkWithoutStorageLiesNowhere)
{
    Parts parts;
    parts.storage.pop_back();
    EXPECT_THAT(parts.lines(), ElementsAre(HasSubstr("[2, 0]+[2, 2] in nowhere")));
}

TEST(DcpMetadata, StorageThatNobodyKnowsIsARemark)
{
    Parts parts;
    parts.storage.emplace_back(dcpIndex("w", Counts{1, 0}, 0), dcpPlace("x", 0, 1));
    parts.storage.emplace_back(dcpIndex("w"), dcpPlace("x", 0, 1));
    parts.storage.emplace_back(dcpIndex("other"), dcpPlace("x", 0, 1));
    parts.storage.emplace_back(Py{std::string("w")}, dcpPlace("x", 0, 1));
    EXPECT_THAT(parts.lines(), ElementsAre(kGood, HasSubstr("a chunk of w at [1, 0], and the tensor has none there"), HasSubstr("names w without the offset of a chunk"),
                                           HasSubstr("names other, of which state_dict_metadata knows nothing"), HasSubstr("Entry 5 of storage_data has a key without name (a plain value)")));
}

TEST(DcpMetadata, RemarksAreFew)
{
    Parts parts;
    for (int i = 0; i < 100; ++i)
        parts.storage.emplace_back(dcpIndex("x" + std::to_string(i)), dcpPlace("x", 0, 1));
    EXPECT_THAT(parts.lines(), AllOf(SizeIs(10), Contains("more-remarks: 92 more such entries of the metadata.")));
}

TEST(DcpMetadata, StorageThatIsSaidTwiceIsTheLast)
{
    Parts parts;
    parts.storage.emplace_back(dcpIndex("w", Counts{0, 0}, 0), dcpPlace("__7_0.distcp", 1, 2));
    EXPECT_THAT(parts.lines(), ElementsAre(HasSubstr("[0, 0]+[2, 2] in __7_0.distcp 1+2"), "repeated-storage: storage_data says twice where w lies; the last counts, as in Python."));
}

TEST(DcpMetadata, WithoutPathsTheKeysAreAll)
{
    Parts parts;
    for (const Py& paths : {kNothing, pyDict({}), Py{std::int64_t{3}}, pyDict({{"w", {std::int64_t{3}}}}), pyDict({{"w", dcpPath({{0.5}})}}), pyDict({{"other", dcpPath({{std::string("w")}})}}),
                            pyDict({{"w", dcpPath(std::vector<Py>(129, Py{std::string("a")}))}})}) {
        parts.paths = paths;
        EXPECT_THAT(parts.lines(), ElementsAre(StartsWith("w F32 [4, 2] at no path")));
    }
}

TEST(DcpMetadata, NumbersInPathsAreListsAndNegativeOnesAreKeys)
{
    Parts parts;
    parts.paths = pyDict({{"w", dcpPath({{std::string("a.b")}, {std::int64_t{3}}, {std::int64_t{-1}}})}});
    EXPECT_THAT(parts.lines(), ElementsAre(StartsWith("w F32 [4, 2] at /a.b/#3/-1:")));
}

TEST(DcpMetadata, KeysMayBeNumbers) // a planner that does not flatten
{
    const Py entries{Py::Dict{{{{std::int64_t{7}}, dcpBytes()}, {{std::int64_t{8}}, dcpTensor("float32", {2}, {dcpChunk({0}, {2})})}}, false}};
    const auto index = [](std::int64_t key, const std::optional<Counts>& offset) {
        Py out = dcpIndex("", offset, 0);
        std::get<Py::Dict>(std::get<Py::Object>(out.value).state[0].value).items[0].second = Py{key};
        return out;
    };
    EXPECT_THAT(metadataLines(dcpMetadata(entries, kNothing, {{index(7, {}), dcpPlace("a", 1, 2)}, {index(8, Counts{0}), dcpPlace("a", 3, 4)}})),
                ElementsAre("7 object at no path: a 1+2", "8 F32 [2] at no path: [0]+[2] in a 3+4"));
}

TEST(DcpMetadata, TransformsAreKeptByName)
{
    Parts parts;
    parts.storage[0].second = dcpPlace("__0_0.distcp", 0, 10, {{std::string("stream.zstd/1")}});
    parts.storage[1].second = dcpPlace("__1_0.distcp", 5, 20, {{std::string("stream.zstd/1")}, {std::string("x@y/2")}});
    EXPECT_THAT(parts.lines(), ElementsAre(AllOf(HasSubstr("__0_0.distcp 0+10 by stream.zstd/1 "), HasSubstr("__1_0.distcp 5+20 by stream.zstd/1, x@y/2"))));
}

TEST(DcpMetadata, ShapesBeforeMegatronFlattenedThem)
{
    const Py more = pyDict({{"w", pyDict({{"nd_reformulated_orig_global_shape", pySize({2, 2, 2})}})}, {"v", pyDict({{"nd_reformulated_orig_global_shape", {std::string("no")}}})}});
    const Parts good;
    const auto metadata = parsedMetadata(pickled(dcpMetadata(pyDict({{"w", good.entry}}), good.paths, good.storage, {{"mcore_data", more}})));
    ASSERT_TRUE(metadata.ok());
    EXPECT_THAT(metadata->flattenedShapes, ElementsAre(::testing::Pair("w", ElementsAre(2, 2, 2))));
}

TEST(DcpMetadata, WhatElseItHoldsIsShownAndNotRun)
{
    const Parts good;
    const Py path{Py::Call{{"pathlib", "PosixPath"}, {{std::string("/")}, {std::string("ck")}}}};
    const auto metadata = parsedMetadata(pickled(dcpMetadata(pyDict({{"w", good.entry}}), good.paths, good.storage, {{"storage_meta", dcpObject("StorageMeta", {{"checkpoint_id", path}})}, {"version", {std::int64_t{2}}}})));
    ASSERT_TRUE(metadata.ok());
    EXPECT_EQ(metadata->version, ""); // no text
    std::vector<std::string> keys;
    for (const MetaNode& node : metadata->tree.children)
        keys.push_back(node.key);
    EXPECT_THAT(keys, ElementsAre("state_dict_metadata", "storage_data", "storage_meta", "version"));
}

// ---- metadata of ranks ----

DcpMetadata ofRank(const std::vector<std::pair<std::string, Py>>& entries, std::vector<PyItem> storage)
{
    auto out = parsedMetadata(pickled(dcpMetadata(pyDict(entries), kNothing, std::move(storage))));
    EXPECT_TRUE(out.ok());
    return out.take();
}

TEST(DcpMetadata, RanksMetadataBecomeOne)
{
    const auto part = [](std::uint64_t row, const std::string& file, std::vector<Py> transforms) {
        return ofRank({{"w", dcpTensor("float32", {4}, {dcpChunk({row}, {2})})}, {file, dcpBytes()}, {"same", dcpBytes()}},
                      {{dcpIndex("w", Counts{row}, 0), dcpPlace(file, 7, 8, std::move(transforms))}, {dcpIndex(file), dcpPlace("common", 1, 2)}, {dcpIndex("same"), dcpPlace(file, 3, 4)}});
    };
    std::vector<DcpMetadata> parts;
    parts.push_back(part(0, "a", {}));
    parts.push_back(part(2, "b", {{std::string("x/1")}}));
    const DcpMetadata merged = mergeDcpMetadata(std::move(parts));
    EXPECT_THAT(metadataLines(Result<DcpMetadata>(merged)), ElementsAre("w F32 [4] at no path: [0]+[2] in a 7+8 [2]+[2] in b 7+8 by x/1", "a object at no path: common 1+2", "same object at no path: a 3+4", "b object at no path: common 1+2"));
    EXPECT_THAT(merged.files, ElementsAre("a", "common", "b"));
}

TEST(DcpMetadata, AnObjectLiesWhereSomeRankSaysThatItDoes)
{
    std::vector<DcpMetadata> parts;
    parts.push_back(ofRank({{"x", dcpBytes()}}, {}));
    parts.push_back(ofRank({{"x", dcpBytes()}}, {{dcpIndex("x"), dcpPlace("b", 3, 4)}}));
    EXPECT_THAT(metadataLines(Result<DcpMetadata>(mergeDcpMetadata(std::move(parts)))), ElementsAre("x object at no path: b 3+4"));
}

TEST(DcpMetadata, RanksThatDoNotAgreeAreSaid)
{
    const Py two = dcpTensor("float32", {2}, {});
    for (const auto& [other, says] : {std::pair<Py, const char*>{dcpTensor("float32", {3}, {}), "F32 [2] and F32 [3]"}, {dcpTensor("int8", {2}, {}), "F32 [2] and I8 [2]"}, {dcpBytes(), "F32 [2] and an object"}}) {
        std::vector<DcpMetadata> parts;
        for (const Py& entry : {two, other, two})
            parts.push_back(ofRank({{"w", entry}}, {}));
        EXPECT_THAT(metadataLines(Result<DcpMetadata>(mergeDcpMetadata(std::move(parts)))), ElementsAre(AllOf(StartsWith("w unknown: The ranks' metadata do not agree about w"), HasSubstr(says), HasSubstr("different saves"))));
    }
}

TEST(DcpMetadata, WhatOneRankCannotSayIsSaidOfTheWhole)
{
    std::vector<DcpMetadata> parts;
    parts.push_back(ofRank({{"w", dcpTensor("float32", {2}, {})}}, {}));
    parts.push_back(ofRank({{"w", dcpTensor("float9_x", {2}, {})}}, {}));
    EXPECT_THAT(metadataLines(Result<DcpMetadata>(mergeDcpMetadata(std::move(parts)))), ElementsAre(HasSubstr("the dtype float9_x is not known")));
}

} // namespace
} // namespace shardlens::test
