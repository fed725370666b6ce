#include "core/encoding/safetensors.h"

#include "core/base/text.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/zip_maker.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A tensor of two floats: eight bytes.
constexpr std::string_view kTwoFloats = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";

// A file with this header and as many bytes of data.
std::string file(std::string_view header, std::size_t dataBytes = 0)
{
    std::string out(8, '\0');
    patch(out, 0, header.size(), 8);
    out.append(header);
    for (std::size_t i = 0; i < dataBytes; ++i)
        out += static_cast<char>(i + 1);
    return out;
}

std::string withTensor(std::string_view tensor, std::size_t dataBytes = 8)
{
    return file(fmt::format(R"({{"a":{}}})", tensor), dataBytes);
}

std::string withPlace(std::string_view dtype, std::string_view shape, std::string_view offsets, std::size_t dataBytes)
{
    return withTensor(fmt::format(R"({{"dtype":"{}","shape":{},"data_offsets":{}}})", dtype, shape, offsets), dataBytes);
}

// Two or more tensors of U8: name, begin, end.
struct Range {
    const char* name;
    unsigned begin;
    unsigned end;
};
std::string withRanges(const std::vector<Range>& ranges, std::size_t dataBytes)
{
    std::string out = "{";
    for (const Range& range : ranges)
        out += fmt::format(R"({}"{}":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}})", out.size() == 1 ? "" : ",", range.name,
                           range.end < range.begin ? 0 : range.end - range.begin, range.begin, range.end);
    return file(out + "}", dataBytes);
}

std::string nested(std::size_t levels)
{
    return withTensor(fmt::format(R"({{"dtype":"F32","shape":[2],"more":{}{},"data_offsets":[0,8]}})", std::string(levels, '['), std::string(levels, ']')));
}

// "a F32 [2] 0-8; b …; metadata k=v; twice a"
std::string shownHeader(std::string_view bytes)
{
    const auto source = memory(bytes);
    const auto header = readSafetensorsHeader(*source);
    if (!header)
        return codeName(header.error().code()) + ": " + header.error().text();
    std::string out;
    const auto add = [&](const std::string& part) { out += (out.empty() ? "" : "; ") + part; };
    for (const SafetensorsEntry& entry : header->entries)
        add(fmt::format("{} {} {} {}-{}", printable(entry.name), nameOf(entry.dtype), shapeText(entry.shape), entry.begin, entry.end));
    for (const auto& [key, value] : header->metadata)
        add(fmt::format("metadata {}={}", key, value));
    for (const std::string& name : header->repeated)
        add(fmt::format("twice {}", name));
    return out;
}

struct Header {
    const char* name;
    std::string bytes;
    const char* shows;
};

class SafetensorsHeaderOf : public ::testing::TestWithParam<Header> {};

TEST_P(SafetensorsHeaderOf, IsReadAsTheReferenceReadsIt)
{
    EXPECT_EQ(shownHeader(GetParam().bytes), GetParam().shows);
}

// formats/safetensors.md §3.1; the numbers are its rows.
INSTANTIATE_TEST_SUITE_P(Good, SafetensorsHeaderOf, ::testing::Values(
    Header{"Row1NoTensors", file("{}"), ""},
    Header{"Row2BlanksBefore", file("  {}"), ""},
    Header{"Row3BlanksAfter", file("{} \t\r\n"), ""},
    Header{"Row7MetadataNull", file(R"({"__metadata__":null})"), ""},
    Header{"Row7MetadataEmpty", file(R"({"__metadata__":{}})"), ""},
    Header{"Row7MetadataLast", file(fmt::format(R"({{"a":{},"__metadata__":{{"k":"v"}}}})", kTwoFloats), 8), "a F32 [2] 0-8; metadata k=v"},
    Header{"Row10MetadataKeyTwice", file(R"({"__metadata__":{"k":"1","l":"2","k":"3"}})"), "metadata k=3; metadata l=2"},
    Header{"Row11TensorTwiceInOnePlace", file(fmt::format(R"({{"a":{0},"a":{0}}})", kTwoFloats), 8), "a F32 [2] 0-8; twice a"},
    Header{"Row14UnknownField", withTensor(R"({"more":{"x":[1,{"y":null}],"z":"t"},"dtype":"F32","shape":[2],"less":1.5,"data_offsets":[0,8],"last":true})"), "a F32 [2] 0-8"},
    Header{"Row14DeepUnknownField", nested(120), "a F32 [2] 0-8"},
    Header{"Row17TensorAsArray", withTensor(R"(["F32",[2],[0,8]])"), "a F32 [2] 0-8"},
    Header{"Row18DTypeAsObject", withTensor(R"({"dtype":{"F32":null},"shape":[2],"data_offsets":[0,8]})"), "a F32 [2] 0-8"},
    Header{"Row24OtherOrder", withRanges({{"b", 3, 8}, {"a", 0, 3}}, 8), "a U8 [3] 0-3; b U8 [5] 3-8"},
    Header{"Row25OddOffset", file(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"F64","shape":[1],"data_offsets":[3,11]}})", 11), "a U8 [3] 0-3; b F64 [1] 3-11"},
    Header{"Row26EmptyBetween", withRanges({{"a", 0, 8}, {"e", 8, 8}, {"b", 8, 12}}, 12), "a U8 [8] 0-8; e U8 [0] 8-8; b U8 [4] 8-12"},
    Header{"EmptyAtTheStartAndTheEnd", withRanges({{"e", 0, 0}, {"a", 0, 4}, {"f", 4, 4}}, 4), "e U8 [0] 0-0; a U8 [4] 0-4; f U8 [0] 4-4"},
    Header{"Row28Scalar", withPlace("F32", "[]", "[0,4]", 4), "a F32 [] 0-4"},
    Header{"Row30SixBits", withPlace("F6_E2M3", "[4]", "[0,3]", 3), "a F6_E2M3 [4] 0-3"},
    Header{"Row31ZeroBeforeHuge", withPlace("F32", "[0,18446744073709551615,18446744073709551615]", "[0,0]", 0), "a F32 [0, 18446744073709551615, 18446744073709551615] 0-0"},
    Header{"Row32EmptyName", file(R"({"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1), " U8 [1] 0-1"},
    Header{"Row32Escapes", file(R"({"a\u0041\n":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1), "aA\\n U8 [1] 0-1"},
    Header{"PairOfSurrogates", file(R"({"\ud83d\ude00":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1), "\xf0\x9f\x98\x80 U8 [1] 0-1"},
    Header{"FourBits", withPlace("F4", "[2,3]", "[0,3]", 3), "a F4 [2, 3] 0-3"}),
    [](const auto& row) { return row.param.name; });

struct BadHeader {
    const char* name;
    std::string bytes;
    const char* says;
};

class SafetensorsHeaderRefused : public ::testing::TestWithParam<BadHeader> {};

TEST_P(SafetensorsHeaderRefused, SaysWhatAndWhere)
{
    const auto source = memory(GetParam().bytes);
    const auto header = readSafetensorsHeader(*source);
    ASSERT_FALSE(header.ok()) << shownHeader(GetParam().bytes);
    EXPECT_EQ(codeName(header.error().code()), "Corrupt");
    EXPECT_THAT(header.error().text(), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(Json, SafetensorsHeaderRefused, ::testing::Values(
    BadHeader{"Row4NulAfter", file("{}\0"s), "a NUL byte at 10"},
    BadHeader{"Row4JunkAfter", file("{}x"), "header: no JSON at byte"},
    BadHeader{"Row4SecondObject", file("{}{}"), "header: no JSON at byte"},
    BadHeader{"Row4Comment", file("{}//c"), "header: no JSON at byte"},
    BadHeader{"CommentInside", file("{/*c*/}"), "header: no JSON at byte"},
    BadHeader{"Row5Nothing", file(""), "header: no JSON"},
    BadHeader{"OnlyBlanks", file("    "), "header: no JSON"},
    BadHeader{"Row6Array", file("[]"), "the header must be a JSON object"},
    BadHeader{"Row6Null", file("null"), "the header must be a JSON object, and it is null"},
    BadHeader{"Row6ByteOrderMark", file("\xEF\xBB\xBF{}"), "begins with a byte order mark"},
    BadHeader{"Row8MetadataOfNumbers", file(R"({"__metadata__":{"k":1}})"), "__metadata__ must map text to text, and holds the number 1"},
    BadHeader{"Row8MetadataOfNull", file(R"({"__metadata__":{"k":null}})"), "__metadata__ must map text to text, and holds null"},
    BadHeader{"Row8MetadataLikeATensor", file(fmt::format(R"({{"__metadata__":{}}})", kTwoFloats), 8), "__metadata__ must map text to text, and holds a list"},
    BadHeader{"MetadataAsText", file(R"({"__metadata__":"k"})"), "__metadata__ must map text to text, and holds text"},
    BadHeader{"Row9MetadataTwice", file(R"({"__metadata__":{},"__metadata__":{}})"), "__metadata__ stands twice"},
    BadHeader{"Row13DTypeTwice", withTensor(R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"), "tensor 'a': dtype stands twice"},
    BadHeader{"ShapeTwice", withTensor(R"({"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]})"), "tensor 'a': shape stands twice"},
    BadHeader{"OffsetsTwice", withTensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"data_offsets":[0,8]})"), "data_offsets stands twice"},
    BadHeader{"Row14TooDeep", nested(130), "nested deeper than 127 levels"},
    BadHeader{"Row15WithoutDType", withTensor(R"({"shape":[2],"data_offsets":[0,8]})"), "tensor 'a': dtype is missing"},
    BadHeader{"Row15WithoutShape", withTensor(R"({"dtype":"F32","data_offsets":[0,8]})"), "tensor 'a': shape is missing"},
    BadHeader{"Row15WithoutOffsets", withTensor(R"({"dtype":"F32","shape":[2]})"), "tensor 'a': data_offsets is missing"},
    BadHeader{"Row16UnknownDType", withPlace("F128", "[2]", "[0,8]", 8), "dtype 'F128' is none of BOOL, F4"},
    BadHeader{"Row16LowerCase", withPlace("f32", "[2]", "[0,8]", 8), "dtype 'f32' is none of"},
    BadHeader{"DTypeOfTorchAlone", withPlace("C128", "[1]", "[0,16]", 16), "dtype 'C128' is none of"},
    BadHeader{"Row17ArrayTooShort", withTensor(R"(["F32",[2]])"), "a list that ends too early"},
    BadHeader{"Row17ArrayTooLong", withTensor(R"(["F32",[2],[0,8],1])"), "where nothing is due"},
    BadHeader{"Row18DTypeAsOtherObject", withTensor(R"({"dtype":{"F32":1},"shape":[2],"data_offsets":[0,8]})"), "dtype must be a name, and it is the number 1"},
    BadHeader{"Row18DTypeOfTwoNames", withTensor(R"({"dtype":{"F32":null,"F16":null},"shape":[2],"data_offsets":[0,8]})"), "a dtype with two names"},
    BadHeader{"Row18DTypeOfNoName", withTensor(R"({"dtype":{},"shape":[2],"data_offsets":[0,8]})"), "a dtype without a name"},
    BadHeader{"Row19ShapeOfFractions", withPlace("F32", "[2.0]", "[0,8]", 8), "shape must be a list of whole numbers, and holds the number 2.0"},
    BadHeader{"Row19ShapeWithExponent", withPlace("F32", "[2e0]", "[0,8]", 8), "holds the number 2e0"},
    BadHeader{"Row19NegativeShape", withPlace("F32", "[-2]", "[0,8]", 8), "holds the negative number -2"},
    BadHeader{"NegativeZero", withPlace("F32", "[-0]", "[0,0]", 0), "shape must be a list of whole numbers"},
    BadHeader{"Row19ShapeOfText", withPlace("F32", R"(["2"])", "[0,8]", 8), "shape must be a list of whole numbers, and holds text"},
    BadHeader{"Row19ShapeBeyond64Bits", withPlace("F32", "[18446744073709551616]", "[0,8]", 8), "holds the number 18446744073709551616"},
    BadHeader{"Row19NotANumber", withPlace("F32", "[NaN]", "[0,8]", 8), "header: no JSON at byte"},
    BadHeader{"ShapeAsNumber", withPlace("F32", "2", "[0,8]", 8), "shape must be a list of whole numbers, and holds the number 2"},
    BadHeader{"Row20OneOffset", withPlace("F32", "[2]", "[0]", 8), "data_offsets must be two numbers, and there are 1"},
    BadHeader{"Row20ThreeOffsets", withPlace("F32", "[2]", "[0,8,8]", 8), "data_offsets must be two numbers, and there are more"},
    BadHeader{"Row20NegativeOffset", withPlace("F32", "[2]", "[-8,0]", 8), "data_offsets must be two whole numbers, and hold the negative number -8"},
    BadHeader{"Row20OffsetsOfText", withPlace("F32", "[2]", R"(["0","8"])", 8), "data_offsets must be two whole numbers, and hold text"},
    BadHeader{"TensorAsNumber", withTensor("1", 0), "tensor 'a': a tensor must be an object, and it is the number 1"},
    BadHeader{"Row33LoneSurrogate", file(R"({"\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1), "header: no JSON at byte"},
    BadHeader{"NotUtf8", file("{\"\xff\":1}"), "header: not UTF-8"},
    BadHeader{"Row36TrailingComma", file(fmt::format(R"({{"a":{},}})", kTwoFloats), 8), "header: no JSON at byte"}),
    [](const auto& row) { return row.param.name; });

std::string declared(std::uint64_t length, std::string_view rest)
{
    std::string out(8, '\0');
    patch(out, 0, length, 8);
    return out.append(rest);
}

INSTANTIATE_TEST_SUITE_P(Places, SafetensorsHeaderRefused, ::testing::Values(
    BadHeader{"Row12TensorTwiceInTwoPlaces", withRanges({{"a", 0, 4}, {"a", 4, 8}}, 8), "tensor 'a': its bytes are 4 to 8, and the tensor before it ends at 0"},
    BadHeader{"Row21Overlap", withRanges({{"a", 0, 8}, {"b", 4, 12}}, 12), "tensor 'b': its bytes are 4 to 12, and the tensor before it ends at 8"},
    BadHeader{"Row21Hole", withRanges({{"a", 0, 8}, {"b", 12, 16}}, 16), "tensor 'b': its bytes are 12 to 16, and the tensor before it ends at 8"},
    BadHeader{"Row21BeginsLate", withRanges({{"a", 8, 12}}, 12), "tensor 'a': its bytes are 8 to 12, and the tensor before it ends at 0"},
    BadHeader{"Row22OneByteTooMany", withTensor(kTwoFloats, 9), "1 B after the last tensor: 9 B of data, 8 described"},
    BadHeader{"Row22OneByteTooFew", withTensor(kTwoFloats, 7), "1 B missing: 7 B of data, 8 described; tensor 'a' is the first that is incomplete"},
    BadHeader{"Row1DataOfNoTensor", file("{}", 1), "1 B after the last tensor: 1 B of data, 0 described"},
    BadHeader{"Row23Reversed", withRanges({{"a", 0, 8}, {"b", 8, 0}}, 8), "tensor 'b': its bytes are 8 to 0"},
    BadHeader{"Row27EmptyInside", withRanges({{"a", 0, 8}, {"e", 4, 4}}, 8), "tensor 'e': its bytes are 4 to 4, and the tensor before it ends at 8"},
    BadHeader{"Row29OddFourBits", withPlace("F4", "[3]", "[0,2]", 2), "tensor 'a': F4 [3] takes 12 bits, which is no whole byte"},
    BadHeader{"Row30OddSixBits", withPlace("F6_E2M3", "[1]", "[0,1]", 1), "tensor 'a': F6_E2M3 [1] takes 6 bits"},
    BadHeader{"Row31HugeBeforeZero", withPlace("F32", "[18446744073709551615,18446744073709551615,0]", "[0,0]", 0), "is larger than 2^64 bits"},
    BadHeader{"BitsBeyond64Bits", withPlace("F32", "[4611686018427387904]", "[0,0]", 0), "is larger than 2^64 bits"},
    BadHeader{"SizeOfOtherShape", withPlace("F32", "[3]", "[0,8]", 8), "tensor 'a': F32 [3] takes 12 B, and its offsets hold 8"},
    BadHeader{"SizeOfOtherType", withPlace("F16", "[2]", "[0,8]", 8), "tensor 'a': F16 [2] takes 4 B, and its offsets hold 8"},
    BadHeader{"Row34OneTooLarge", declared(100'000'001, "{}"), "header too large: 100,000,001 B declared, at most 100,000,000 allowed"},
    BadHeader{"Row34LargestInATinyFile", declared(100'000'000, "{}"), "header length: 100,000,000 B declared, 2 left"},
    BadHeader{"Row34AllOnes", declared(~std::uint64_t{0}, "{}"), "header too large: 18,446,744,073,709,551,615 B declared"},
    BadHeader{"Row35OnlyTheLength", declared(5, ""), "header length: 5 B declared, 0 left"},
    BadHeader{"Row35SevenBytes", std::string(7, '\0'), "header too small: 7 B"},
    BadHeader{"Empty", "", "header too small: 0 B"}),
    [](const auto& row) { return row.param.name; });

TEST(SafetensorsHeader, FailsAtEveryPrefix)
{
    const std::string whole = withRanges({{"a", 0, 3}, {"b", 3, 8}}, 8);
    EXPECT_EQ(shownHeader(whole), "a U8 [3] 0-3; b U8 [5] 3-8");
    for (std::size_t size = 0; size < whole.size(); ++size)
        EXPECT_THAT(shownHeader(std::string_view(whole).substr(0, size)), ::testing::StartsWith("Corrupt: ")) << size;
}

TEST(SafetensorsHeader, TellsWhereTheDataBegins)
{
    const std::string bytes = withTensor(kTwoFloats);
    const auto source = memory(bytes);
    const auto header = readSafetensorsHeader(*source);
    ASSERT_TRUE(header.ok());
    EXPECT_EQ(header->dataOffset, bytes.size() - 8);
    EXPECT_EQ(textAt(*source, header->dataOffset + header->entries[0].begin, 3), "\1\2\3");
}

std::string asString(const std::vector<std::byte>& bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(SafetensorsWriter, PlacesTensorsInTheReferencesOrder)
{
    // formats/safetensors.md §4.1, its example
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, dtype] : std::initializer_list<std::pair<const char*, DType>>{
             {"zz", DType::U8}, {"bool", DType::Bool}, {"w", DType::F32}, {"aa", DType::U8}, {"i8", DType::I8}, {"e", DType::F8E4M3}, {"h", DType::F16}, {"b", DType::BF16},
             {"c", DType::C64}, {"d", DType::F64}, {"i", DType::I64}})
        entries.push_back({name, dtype, {2}, 0, 0});
    ASSERT_TRUE(placeInReferenceOrder(entries).ok());
    std::string order;
    std::uint64_t at = 0;
    for (const SafetensorsEntry& entry : entries) {
        order += entry.name + " ";
        EXPECT_EQ(entry.begin, at);
        at = entry.end;
    }
    EXPECT_EQ(order, "i d c w b h e i8 aa zz bool ");
    EXPECT_EQ(at, 2u * (8 + 8 + 8 + 4 + 2 + 2 + 1 + 1 + 1 + 1 + 1));
}

TEST(SafetensorsWriter, WritesTheHeaderOfTheReference)
{
    const auto bytes = safetensorsHeaderBytes({{"a\"\\\n\x01/\xc3\xa9", DType::F32, {2, 1}, 0, 8}, {"s", DType::U8, {}, 8, 9}}, {{"z", "1"}, {"format", "pt"}});
    ASSERT_TRUE(bytes.ok());
    const std::string text = asString(*bytes);
    EXPECT_EQ(text.size() % 8, 0u);
    std::string json = text.substr(8);
    EXPECT_EQ(text.substr(0, 8), file(json).substr(0, 8)); // the length counts its padding
    json.erase(json.find_last_not_of(' ') + 1);
    EXPECT_EQ(json, "{\"__metadata__\":{\"format\":\"pt\",\"z\":\"1\"},\"a\\\"\\\\\\n\\u0001/\xc3\xa9\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
                    "\"s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[8,9]}}");
    EXPECT_EQ(shownHeader(text + std::string(9, 'x')), "a\"\\\\n\\x01/\xc3\xa9 F32 [2, 1] 0-8; s U8 [] 8-9; metadata format=pt; metadata z=1");
    EXPECT_EQ(asString(*safetensorsHeaderBytes({}, {})), file("{}      "));
}

TEST(SafetensorsWriter, RefusesWhatTheFormatCannotHold)
{
    const auto refusal = [](std::vector<SafetensorsEntry> entries) {
        const Status placed = placeInReferenceOrder(entries);
        if (!placed)
            return codeName(placed.error().code()) + ": " + placed.error().text();
        const auto bytes = safetensorsHeaderBytes(entries, {});
        return bytes ? "fine"s : codeName(bytes.error().code()) + ": " + bytes.error().text();
    };
    EXPECT_EQ(refusal({{"a", DType::F32, {2}, 0, 0}}), "fine");
    EXPECT_THAT(refusal({{"a\xff", DType::F32, {2}, 0, 0}}), HasSubstr("Refused: safetensors cannot hold the name"));
    EXPECT_THAT(refusal({{"__metadata__", DType::F32, {2}, 0, 0}}), HasSubstr("Refused: safetensors cannot hold the name"));
    EXPECT_THAT(refusal({{"a", DType::F4, {3}, 0, 0}}), HasSubstr("F4 [3] takes 12 bits"));
    EXPECT_THAT(refusal({{"a", DType::U8, {~std::uint64_t{0}}, 0, 0}}), HasSubstr("larger than 2^64 bits"));
}

} // namespace
} // namespace shardlens::test
