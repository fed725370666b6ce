#include "core/encoding/mindspore_ckpt.h"

#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/mindspore_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <stop_token>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kFourShown = "w: Float32 F32 [2, 2] 0000803f000000400000404000008040\n"
                                   "b: BFloat16 BF16 [2] 803f0040\n"
                                   "step: Int32 I32 [] 07000000\n"
                                   "note: text 'hi'\n";

std::string floats(std::size_t count)
{
    std::string out;
    for (std::size_t i = 0; i < count; ++i)
        out += "\0\0\x80\x3f"s;
    return out;
}

TEST(MindSporeCkpt, ReadsTheVectorsOfTheReference)
{
    EXPECT_EQ(ckptOfFour().size(), 113u);
    EXPECT_EQ(shownCkpt(ckptOfFour()), kFourShown);
}

TEST(MindSporeCkpt, ReadsAScalarOfOldFilesAsOneOfNewFiles)
{
    EXPECT_EQ(shownCkpt(fromHex("0a 17 0a 04 73 74 65 70 12 0f 08 00 12 05 49 6e 74 33 32 1a 04 07 00 00 00")), "step: Int32 I32 [] 07000000\n");
}

TEST(MindSporeCkpt, SaysThatABfloat16IsStoredWide)
{
    EXPECT_EQ(shownCkpt(fromHex("0a 1b 0a 01 62 12 16 08 02 12 08 42 46 6c 6f 61 74 31 36 1a 08 00 00 80 3f 00 00 00 40")),
              "b: BFloat16 BF16 [2] wide 0000803f00000040\n");
    EXPECT_EQ(shownCkpt(ckptRecord("s", ckptTensor({}, "BFloat16", "\0\0\x80\x3f"s))), "s: BFloat16 BF16 [] wide 0000803f\n");
    EXPECT_THAT(shownCkpt(ckptRecord("b", ckptTensor({2}, "BFloat16", "123456"))), HasSubstr("shape [2] of BFloat16 needs 4 B, has 6"));
}

TEST(MindSporeCkpt, ReadsAHashTableAsItsThreeTensors)
{
    EXPECT_EQ(ckptMapOfEmb().size(), 84u);
    EXPECT_EQ(shownCkpt(ckptMapOfEmb()), "emb.keys (tag emb): map int32 I32 [2] 0500000009000000\n"
                                         "emb.values (tag emb): map float32 F32 [2, 2] 0000803f000000400000404000008040\n"
                                         "emb.status (tag emb): map int32 I32 [2] 0100000001000000\n");
}

TEST(MindSporeCkpt, AppendsTheSlicesOfAHashTable)
{
    const std::string first = ckptMapRecord("e", {ckptTensor({1}, "int64", "aaaaaaaa"), ckptTensor({1, 2}, "float16", "bbcc"), ckptTensor({1}, "int32", "dddd")});
    const std::string second =
        ckptMapRecord("e", {ckptTensor({2}, "int64", "eeeeeeeeffffffff"), ckptTensor({2, 2}, "float16", "gghhiijj"), ckptTensor({2}, "int32", "kkkkllll")});
    EXPECT_EQ(shownCkpt(first + second), "e.keys (tag e): map int64 I64 [3] 616161616161616165656565656565656666666666666666\n"
                                         "e.values (tag e): map float16 F16 [3, 2] 626263636767686869696a6a\n"
                                         "e.status (tag e): map int32 I32 [3] 646464646b6b6b6b6c6c6c6c\n");
    const std::string other = ckptMapRecord("e", {ckptTensor({1}, "int32", "aaaa"), ckptTensor({1, 2}, "float16", "bbcc"), ckptTensor({1}, "int32", "dddd")});
    EXPECT_EQ(shownCkpt(first + other), "Corrupt: parameter 'e': its records do not agree: int64 [1] and int32 [1]");
}

TEST(MindSporeCkpt, TakesTheLastOfAHashTableThatGrows)
{
    const std::string keys = ckptTensor({1}, "Int32", "aaaa");
    const std::string values = ckptTensor({1, 1}, "Float32", "bbbb");
    const std::string status = ckptTensor({1}, "Int32", "cccc");
    EXPECT_EQ(shownCkpt(ckptMapRecord("e", {keys}) + ckptMapRecord("e", {keys, values}) + ckptMapRecord("e", {keys, values, status})),
              "e.keys (tag e): map Int32 I32 [1] 61616161\n"
              "e.values (tag e): map Float32 F32 [1, 1] 62626262\n"
              "e.status (tag e): map Int32 I32 [1] 63636363\n");
    for (const std::string& bad : {ckptMapRecord("e", {keys, values}), ckptMapRecord("e", {keys}) + ckptMapRecord("e", {keys, values, status}),
                                   ckptMapRecord("e", {keys, values, status}) + ckptMapRecord("e", {keys}), ckptMapRecord("e", {keys, values, status, status})})
        EXPECT_THAT(shownCkpt(bad), HasSubstr("and 3 are needed"));
    EXPECT_THAT(shownCkpt(ckptMapRecord("e", {keys, ckptTensor({2, 1}, "Float32", "bbbbcccc"), status})), HasSubstr("its values are 2 rows, its keys 1"));
}

TEST(MindSporeCkpt, JoinsNeighboursOfOneTag)
{
    const std::string a = ckptRecord("w", ckptTensor({3, 2}, "Int16", "aabb"));
    const std::string b = ckptRecord("w", ckptTensor({3, 2}, "Int16", ""));
    const std::string c = ckptRecord("w", ckptTensor({3, 2}, "Int16", "ccddeeff"));
    EXPECT_EQ(shownCkpt(a + b + c), "w: Int16 I16 [3, 2] 616162626363646465656666\n");
    EXPECT_EQ(shownCkpt(a + c + ckptRecord("v", ckptTensor({}, "Int8", "x"))), "w: Int16 I16 [3, 2] 616162626363646465656666\nv: Int8 I8 [] 78\n");
}

TEST(MindSporeCkpt, ReadsEveryType)
{
    struct Known {
        const char* name;
        const char* dtype;
        std::size_t bytes;
    };
    for (const Known& known : {Known{"Bool", "BOOL", 1}, {"Int8", "I8", 1}, {"UInt8", "U8", 1}, {"Int16", "I16", 2}, {"UInt16", "U16", 2}, {"Float16", "F16", 2},
                               {"Int32", "I32", 4}, {"UInt32", "U32", 4}, {"Float32", "F32", 4}, {"Int64", "I64", 8}, {"UInt64", "U64", 8}, {"Float64", "F64", 8},
                               {"BFloat16", "BF16", 2}, {"Int4", "I8", 1}, {"Uint8", "U8", 1}, {"Uint16", "U16", 2}, {"Uint32", "U32", 4}, {"Uint64", "U64", 8},
                               {"Complex64", "C64", 8}, {"Complex128", "C128", 16}, {"Float8E4M3FN", "F8_E4M3", 1}, {"Float8E5M2", "F8_E5M2", 1}})
        EXPECT_THAT(shownCkpt(ckptRecord("a", ckptTensor({3}, known.name, std::string(3 * known.bytes, 'x')))), StartsWith(fmt::format("a: {} {} [3] 78", known.name, known.dtype)));
}

TEST(MindSporeCkpt, KeepsWhatItDoesNotKnowAsBytes)
{
    EXPECT_EQ(shownCkpt(ckptRecord("random_op", ckptTensor({}, "random_op", "abc"))), "random_op: opaque random_op U8 [3] 616263\n");
    EXPECT_EQ(shownCkpt(ckptRecord("h", ckptTensor({2}, "HiFloat8", "ab"))),
              "h: opaque HiFloat8 U8 [2] 6162\n"
              "warning (mindspore-type): 'h' is of type 'HiFloat8', which is not known: 2 B that stay as they are\n");
    EXPECT_EQ(shownCkpt(ckptRecord("s", ckptTensor({0}, "str", "abcd"))),
              "s: opaque str U8 [4] 61626364\n"
              "warning (mindspore-string): 's' is a string of 4 B that is not read: it is too long or no text\n");
    EXPECT_THAT(shownCkpt(ckptRecord("s", ckptTensor({0}, "str", "abc"))), HasSubstr("opaque str"));
    EXPECT_THAT(shownCkpt(ckptRecord("s", ckptTensor({0}, "str", "\0\xd8\0\0"s))), HasSubstr("opaque str")); // half a surrogate pair
}

TEST(MindSporeCkpt, ReadsStrings)
{
    EXPECT_EQ(shownCkpt(ckptRecord("s", ckptTensor({0}, "str", "\0\0\0\0"s))), "s: text ''\n");
    EXPECT_EQ(shownCkpt(ckptRecord("s", ckptTensor({0}, "str", ""))), "s: text ''\n");
    EXPECT_EQ(shownCkpt(ckptRecord("s", ckptTensor({0}, "str", "h\0\0\0\xe9\0\0\0\x0d\x54\0\0\0\xf6\x01\0\0\0\0\0\0\0\0\0"s))), "s: text 'h\xc3\xa9\xe5\x90\x8d\xf0\x9f\x98\x80'\n");
    EXPECT_EQ(shownCkpt(ckptRecord("s", ckptTensor({0}, "str", "h\0\0\0"s)) + ckptRecord("s", ckptTensor({0}, "str", "i\0\0\0"s))), "s: text 'hi'\n");
}

TEST(MindSporeCkpt, TellsTheEmptyVectorFromTheScalar)
{
    EXPECT_EQ(shownCkpt(ckptRecord("e", ckptTensor({0}, "Float32", ""))), "e: Float32 F32 [0] \n");
    EXPECT_EQ(shownCkpt(ckptRecord("e", ckptTensor({3, 0}, "Float32", ""))), "e: Float32 F32 [3, 0] \n");
    EXPECT_EQ(shownCkpt(ckptRecord("e", ckptTensor({0}, "Float32", floats(1)))), "e: Float32 F32 [] 0000803f\n");
    EXPECT_EQ(shownCkpt(ckptRecord("e", pbNumber(1, 0) + pbBytes(2, "Float32"))), "e: Float32 F32 [0] \n"); // no content at all
    EXPECT_THAT(shownCkpt(ckptRecord("e", ckptTensor({}, "Float32", ""))), HasSubstr("shape [] of Float32 needs 4 B, has 0"));
    EXPECT_THAT(shownCkpt(ckptRecord("e", ckptTensor({0}, "Float32", floats(2)))), HasSubstr("shape [] of Float32 needs 4 B, has 8"));
}

TEST(MindSporeCkpt, FollowsTheWireRules)
{
    const std::string content = pbBytes(3, "abcd");
    const std::string type = pbBytes(2, "Int8");
    const std::string packed = pbBytes(1, pbVarint(2) + pbVarint(2));
    const std::string unknown = pbNumber(9, 300) + pbBytes(10, "zz") + pbVarint(11 << 3 | 1) + "12345678" + pbVarint(12 << 3 | 5) + "1234";
    const std::string shown = "a: Int8 I8 [2, 2] 61626364\n";
    EXPECT_EQ(shownCkpt(ckptRecord("a", packed + type + content)), shown);
    EXPECT_EQ(shownCkpt(ckptRecord("a", pbNumber(1, 2) + pbBytes(1, pbVarint(2)) + type + content)), shown);
    EXPECT_EQ(shownCkpt(pbBytes(1, pbBytes(2, content + type + pbNumber(1, 2) + unknown + pbNumber(1, 2)) + unknown + pbBytes(1, "a"))), shown);
    EXPECT_EQ(shownCkpt(pbBytes(1, pbBytes(1, "no") + pbBytes(2, pbBytes(2, "Float64") + pbBytes(3, "x") + type + content + packed) + pbBytes(1, "a"))), shown);
    EXPECT_EQ(shownCkpt(pbBytes(1, pbBytes(1, "a") + pbBytes(2, packed + pbBytes(3, "old")) + pbBytes(2, type + content))), shown); // merged
    EXPECT_EQ(shownCkpt(ckptRecord("a", "\x08\x82\x80\x80\x80\x80\x80\x80\x80\x80\x00"s + pbNumber(1, 2) + type + content)), shown); // a 2 in ten bytes
}

TEST(MindSporeCkpt, TakesOffTheSuffixOfAHostCache)
{
    const std::string one = ckptTensor({}, "Int8", "x");
    EXPECT_EQ(shownCkpt(ckptRecord("a.b.__param_key__12", one)), "a.b (tag a.b.__param_key__12): Int8 I8 [] 78\n"
                                                                 "info (mindspore-host-cache): 'a.b' is stored as 'a.b.__param_key__12', a parameter with a host cache\n");
    EXPECT_EQ(shownCkpt(ckptRecord("a.__param_key__x", one)), "a.__param_key__x: Int8 I8 [] 78\n");
}

TEST(MindSporeCkpt, ShowsOddNames)
{
    const std::string one = ckptTensor({}, "Int8", "x");
    EXPECT_EQ(shownCkpt(ckptRecord("a\xff", one)), "a\\xff (tag a\\xff): Int8 I8 [] 78\nwarning (mindspore-name): the name of 'a\\xff' is no UTF-8\n");
    EXPECT_EQ(shownCkpt(ckptRecord("", one)), "'': Int8 I8 [] 78\nwarning (mindspore-name): a parameter without a name\n");
    EXPECT_EQ(shownCkpt(ckptRecord("-dash-", one) + ckptRecord("\xe5\x90\x8d", one)), "-dash-: Int8 I8 [] 78\n\xe5\x90\x8d: Int8 I8 [] 78\n");
}

TEST(MindSporeCkpt, KeepsTheLastOfARepeatedName)
{
    const std::string other = ckptRecord("b", ckptTensor({}, "Int8", "z"));
    EXPECT_EQ(shownCkpt(ckptRecord("a", ckptTensor({}, "Int8", "x")) + other + ckptRecord("a", ckptTensor({2}, "Int8", "yy"))),
              "a: Int8 I8 [2] 7979\nb: Int8 I8 [] 7a\n"
              "warning (mindspore-repeated-name): 'a' stands twice: Int8 [] at offset 15, then Int8 [2] at offset 49; the last counts\n");
    // the last counts, even where it is worth nothing
    EXPECT_EQ(shownCkpt(ckptRecord("a", ckptTensor({}, "Int8", "x")) + other + ckptRecord("a", ckptTensor({2}, "Int8", "y"))),
              "b: Int8 I8 [] 7a\nlost a (mindspore-parameter): shape [2] of Int8 needs 2 B, has 1\n"
              "warning (mindspore-repeated-name): 'a' stands twice: Int8 [] at offset 15, then one that cannot be read; the last counts\n");
    EXPECT_THAT(shownCkpt(ckptRecord("a", ckptTensor({2}, "Int8", "y")) + other + ckptRecord("a", ckptTensor({}, "Int8", "x"))), StartsWith("b: Int8 I8 [] 7a\na: Int8 I8 [] 78\nwarning"));
}

TEST(MindSporeCkpt, ReadsTheCrcTrailer)
{
    const std::string content = ckptOfFour();
    const std::string trailer = fromHex("63 72 63 5f 6e 75 6d 00 00 00 00 00 00 01 67 35 6c");
    EXPECT_EQ(ckptTrailer(content), trailer);
    EXPECT_EQ(shownCkpt(content + trailer), kFourShown);
    const auto source = memory(content + trailer);
    const auto file = mindspore::readCkpt(*source);
    ASSERT_TRUE(file);
    EXPECT_EQ(file->contentEnd, 113u);
    EXPECT_EQ(file->storedCrc, 0x0167356cu);
    EXPECT_EQ(file->records, 4u);
    JobContext job;
    const auto sum = mindspore::contentCrc(*source, file->contentEnd, job);
    ASSERT_TRUE(sum);
    EXPECT_EQ(*sum, 0x0167356cu);
    EXPECT_EQ(mindspore::crcProblem(*file, *sum), "");
    EXPECT_EQ(mindspore::crcProblem(*file, 5), "CRC mismatch: the CRC-32 of its bytes is 00000005, and 0167356c was written with them: they have changed since");
    EXPECT_EQ(job.progress().bytesRead.load(), 113u);
    EXPECT_FALSE(mindspore::readCkpt(*memory(content))->storedCrc.has_value());
}

TEST(MindSporeCkpt, KnowsFilesWhoseCrcWritersGetWrong)
{
    const std::string content = ckptMapOfEmb();
    const auto file = mindspore::readCkpt(*memory(content + ckptTrailer("other")));
    ASSERT_TRUE(file);
    EXPECT_THAT(mindspore::crcProblem(*file, 1), HasSubstr("known for files with map, huge or offloaded parameters"));
}

TEST(MindSporeCkpt, NamesADamagedTrailer)
{
    const std::string content = ckptOfFour();
    const std::string trailer = ckptTrailer(content);
    EXPECT_EQ(shownCkpt(content + trailer + ckptTrailer(content + trailer)),
              kFourShown + "warning (mindspore-crc-trailer): damaged or doubled CRC trailer: 17 B behind the last parameter\n"s);
    for (std::size_t cut = 1; cut < trailer.size(); ++cut)
        EXPECT_EQ(shownCkpt(content + trailer.substr(0, cut)),
                  kFourShown + fmt::format("warning (mindspore-crc-trailer): damaged or doubled CRC trailer: {} B behind the last parameter\n", cut));
    std::string wrong = trailer;
    wrong[2] ^= 4;
    EXPECT_THAT(shownCkpt(content + wrong), HasSubstr("damaged or doubled CRC trailer: 17 B"));
    wrong = trailer;
    wrong[7] = 1;
    const auto file = mindspore::readCkpt(*memory(content + wrong));
    ASSERT_TRUE(file);
    EXPECT_THAT(mindspore::crcProblem(*file, 1), HasSubstr("more than 32 bits"));
}

TEST(MindSporeCkpt, StopsWhenAsked)
{
    std::stop_source stop;
    stop.request_stop();
    JobContext job(stop.get_token());
    const auto source = memory(ckptOfFour());
    EXPECT_EQ(mindspore::readCkpt(*source, &job).error().code(), ErrorCode::Cancelled);
    EXPECT_EQ(mindspore::contentCrc(*source, 113, job).error().code(), ErrorCode::Cancelled);
}

// A file of which nothing but heads is there: what is read of a payload is zero, and counted.
class SparseSource final : public ByteSource {
public:
    SparseSource(std::string head, std::uint64_t payload, std::uint64_t records)
        : m_head(std::move(head)), m_name(m_head.find("....")), m_payload(payload), m_records(records)
    {
    }
    [[nodiscard]] std::uint64_t size() const override { return m_records * (m_head.size() + m_payload); }
    Status readAt(std::uint64_t offset, std::span<std::byte> out) const override
    {
        ++reads;
        bytes += out.size();
        const std::uint64_t row = m_head.size() + m_payload;
        for (std::size_t i = 0; i < out.size(); ++i) {
            const std::uint64_t at = (offset + i) % row;
            const bool isNumber = at >= m_name && at < m_name + 4; // the name counts the records
            const std::uint64_t digit = (offset + i) / row >> (4 * ((at - m_name) & 3)) & 15;
            out[i] = at >= m_head.size() ? std::byte{0} : isNumber ? static_cast<std::byte>('a' + digit) : static_cast<std::byte>(m_head[at]);
        }
        return {};
    }
    mutable std::uint64_t reads = 0;
    mutable std::uint64_t bytes = 0;

private:
    std::string m_head;
    std::uint64_t m_name;
    std::uint64_t m_payload;
    std::uint64_t m_records;
};

std::string headOf(std::uint64_t payload)
{
    const std::string padded = "\x08" + pbVarint(payload) + pbBytes(2, "Int8") + "\x1a" + pbVarint(payload);
    const std::string value = pbBytes(1, "....") + "\x12" + pbVarint(padded.size() + payload) + padded;
    return "\x0a" + pbVarint(value.size() + payload) + value;
}

TEST(MindSporeCkpt, LeapsOverPayload)
{
    const std::string head = headOf(40'000'000);
    const SparseSource source(head, 40'000'000, 200); // 8 GB
    const auto file = mindspore::readCkpt(source);
    ASSERT_TRUE(file) << file.error().text();
    EXPECT_EQ(file->records, 200u);
    EXPECT_LE(source.reads, 210u);
    EXPECT_LE(source.bytes, 1'000'000u);
}

TEST(MindSporeCkpt, ReadsAheadAmongSmallRecords)
{
    std::string file;
    for (std::size_t i = 0; i < 20'000; ++i)
        file += ckptRecord(fmt::format("layer.{}", i), ckptTensor({1}, "Float32", floats(1)));
    class Counting final : public ByteSource {
    public:
        explicit Counting(std::string bytes) : m_bytes(std::move(bytes)) {}
        [[nodiscard]] std::uint64_t size() const override { return m_bytes.size(); }
        Status readAt(std::uint64_t offset, std::span<std::byte> out) const override
        {
            ++reads;
            std::copy_n(reinterpret_cast<const std::byte*>(m_bytes.data()) + offset, out.size(), out.data());
            return {};
        }
        mutable std::uint64_t reads = 0;

    private:
        std::string m_bytes;
    };
    const Counting source(file);
    const auto read = mindspore::readCkpt(source);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->entries.size(), 20'000u);
    EXPECT_EQ(read->entries[19'999].name, "layer.19999");
    EXPECT_LE(source.reads, 12u);
}

} // namespace
} // namespace shardlens::test
