#include "core/encoding/mindspore_writer.h"

#include "core/model/dtype.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/mindspore_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <random>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using mindspore::CkptLayout;
using mindspore::CkptOutput;
using mindspore::layOutCkpt;
using mindspore::outputTensor;
using mindspore::outputText;
using ::testing::HasSubstr;

CkptOutput tensorOut(std::string name, DType dtype, Shape shape)
{
    auto out = outputTensor(std::move(name), dtype, std::move(shape));
    EXPECT_TRUE(out);
    return out.take();
}

std::string written(const std::vector<CkptOutput>& outputs, const std::vector<std::string>& values, std::uint64_t pieceBytes = mindspore::kCkptPieceBytes)
{
    const auto layout = layOutCkpt(outputs, pieceBytes);
    if (!layout)
        return codeName(layout.error().code()) + ": " + layout.error().text();
    return filledLayout(*layout, [&](std::size_t i) { return values[i]; });
}

TEST(MindSporeWriter, WritesTheVectorsOfTheReference)
{
    const std::vector<CkptOutput> four = {tensorOut("w", DType::F32, {2, 2}), tensorOut("b", DType::BF16, {2}), tensorOut("step", DType::I32, {}), outputText("note", "hi")};
    const std::string written4 = written(four, {fromHex("0000803f000000400000404000008040"), fromHex("803f0040"), fromHex("07000000"), ""});
    EXPECT_EQ(written4, ckptOfFour());
}

TEST(MindSporeWriter, TilesTheFileWithLiteralsAndRuns)
{
    const auto layout = layOutCkpt({outputText("a", "x"), outputText("b", "y"), tensorOut("w", DType::I16, {5}), tensorOut("e", DType::F32, {0, 4}), tensorOut("v", DType::I8, {})}, 4);
    ASSERT_TRUE(layout);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> parts;
    for (const auto& literal : layout->literals)
        parts.emplace_back(literal.offset, literal.bytes.size());
    EXPECT_EQ(parts.size(), 4u); // texts and the first head together; the empty tensor's record with its neighbour's head
    for (const auto& run : layout->runs)
        parts.emplace_back(run.offset, run.length);
    std::sort(parts.begin(), parts.end());
    std::uint64_t at = 0;
    for (const auto& [offset, length] : parts) {
        EXPECT_EQ(offset, at);
        at += length;
    }
    EXPECT_EQ(at, layout->sizeBytes);
    ASSERT_EQ(layout->runs.size(), 4u);
    EXPECT_EQ(layout->runs[2].entry, 2u);
    EXPECT_EQ(layout->runs[2].firstByte, 8u);
    EXPECT_EQ(layout->runs[2].length, 2u);
}

TEST(MindSporeWriter, CutsLongTensorsIntoRecordsOfHalfAGibibyte)
{
    const auto layout = layOutCkpt({tensorOut("w", DType::F32, {300'000'000})});
    ASSERT_TRUE(layout);
    ASSERT_EQ(layout->runs.size(), 3u);
    EXPECT_EQ(layout->runs[0].length, 536'870'912u);
    EXPECT_EQ(layout->runs[1].length, 536'870'912u);
    EXPECT_EQ(layout->runs[2].firstByte, 1'073'741'824u);
    EXPECT_EQ(layout->runs[2].length, 126'258'176u);
    EXPECT_EQ(layOutCkpt({tensorOut("w", DType::I8, {536'870'912})})->runs.size(), 1u);
}

TEST(MindSporeWriter, WritesRecordsThatTheReaderJoins)
{
    EXPECT_EQ(written({tensorOut("w", DType::I16, {5})}, {"aabbccddee"}, 4),
              ckptRecord("w", ckptTensor({5}, "Int16", "aabb")) + ckptRecord("w", ckptTensor({5}, "Int16", "ccdd")) + ckptRecord("w", ckptTensor({5}, "Int16", "ee")));
    EXPECT_EQ(written({tensorOut("e", DType::F32, {2, 0})}, {""}), ckptRecord("e", ckptTensor({2, 0}, "Float32", "")));
    EXPECT_EQ(written({outputText("s", "")}, {""}), ckptRecord("s", ckptTensor({0}, "str", "\0\0\0\0"s)));
    EXPECT_EQ(written({outputText("s", "\xc3\xa9\xf0\x9f\x98\x80")}, {""}, 4),
              ckptRecord("s", ckptTensor({0}, "str", "\xe9\0\0\0"s)) + ckptRecord("s", ckptTensor({0}, "str", "\0\xf6\x01\0"s)));
}

TEST(MindSporeWriter, RefusesTypesThatTheFormatHasNoNameFor)
{
    std::vector<std::string> refused;
    for (const DTypeInfo& known : allDTypes())
        if (const auto out = outputTensor("w", known.dtype, {4}); !out) {
            EXPECT_EQ(out.error().code(), ErrorCode::Refused);
            EXPECT_THAT(out.error().text(), HasSubstr(fmt::format("'w' is {}: ", known.name)));
            refused.emplace_back(known.name);
        }
    EXPECT_THAT(refused, ::testing::ElementsAre("F4", "F6_E2M3", "F6_E3M2", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64", "C32", "C128", "QI8", "QU8", "QI32"));
}

TEST(MindSporeWriter, RefusesWhatCannotBeReadAgain)
{
    EXPECT_EQ(written({outputText("a", "x"), outputText("a", "y")}, {}), "Refused: two entries are named 'a'");
    EXPECT_EQ(written({outputText("", "x")}, {}), "Refused: a .ckpt file cannot hold the name ''");
    EXPECT_THAT(written({outputText("a\xff", "x")}, {}), HasSubstr("cannot hold the name"));
    EXPECT_EQ(written({outputText("a", "\xff")}, {}), "Refused: the text of 'a' is no UTF-8");
    EXPECT_EQ(outputTensor("w", DType::F64, {UINT64_MAX / 2}).error().code(), ErrorCode::Refused);
    EXPECT_EQ(outputTensor("w", DType::I8, {UINT64_MAX}).error().code(), ErrorCode::Refused);
    EXPECT_THAT(written({tensorOut("w", DType::I8, {0, UINT64_MAX})}, {""}), HasSubstr("larger than a .ckpt file can say"));
    EXPECT_THAT(written({tensorOut("w", DType::I8, {INT64_MAX})}, {""}), HasSubstr("more than 1,000,000 records"));
    EXPECT_THAT(written({{"w", "", {}, 0, std::nullopt}}, {""}), HasSubstr("'w' has no type"));
}

TEST(MindSporeWriter, WritesAgainWhatWasRead)
{
    const std::string file = ckptRecord("random_op", ckptTensor({}, "random_op", "abc")) + ckptRecord("q", ckptTensor({2}, "Int4", "ab")) + ckptRecord("n", ckptTensor({2}, "New", "ab")) +
        ckptRecord("s", ckptTensor({0}, "str", "abcd")) + ckptRecord("t", ckptTensor({0}, "str", "h\0\0\0"s)) + ckptRecord("w", ckptTensor({2, 1}, "Float16", "abcd"));
    const auto read = mindspore::readCkpt(*memory(file));
    ASSERT_TRUE(read);
    std::vector<CkptOutput> outputs;
    std::vector<std::string> values;
    for (const mindspore::CkptEntry& entry : read->entries) {
        auto output = mindspore::outputOf(entry);
        ASSERT_TRUE(output);
        outputs.push_back(output.take());
        values.push_back(ckptValues(file, entry));
    }
    EXPECT_EQ(written(outputs, values), file);

    const auto map = mindspore::readCkpt(*memory(ckptMapOfEmb()));
    ASSERT_TRUE(map);
    EXPECT_EQ(mindspore::outputOf(map->entries[0]).error().text(), "'emb.keys' is a part of a hash table, which is not written");
    const auto wide = mindspore::readCkpt(*memory(ckptRecord("b", ckptTensor({2}, "BFloat16", "12345678"))));
    ASSERT_TRUE(wide);
    EXPECT_EQ(mindspore::outputOf(wide->entries[0])->sizeBytes, 4u);
}

// Random entries, written and read.
class RandomEntries {
public:
    explicit RandomEntries(unsigned seed) : m_random(seed)
    {
        const std::size_t count = m_random() % 12;
        for (std::size_t i = 0; i < count; ++i)
            add(fmt::format("{}{}", "p.-\xc3\xa9"s.substr(0, m_random() % 4 == 0 ? 5 : 1), i));
    }

    std::vector<CkptOutput> outputs;
    std::vector<std::string> values;

    // The records with their fields in another order, and some that nobody knows.
    std::string shuffled()
    {
        std::string file;
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            std::vector<std::string> fields = {pbBytes(2, outputs[i].typeName), pbBytes(3, values[i]), pbNumber(7, m_random())};
            std::string dims;
            for (const std::uint64_t dim : outputs[i].shape)
                dims += m_random() % 2 == 0 ? pbNumber(1, dim) : pbBytes(1, pbVarint(dim));
            fields.push_back(dims);
            std::shuffle(fields.begin(), fields.end(), m_random);
            std::vector<std::string> record = {pbBytes(1, outputs[i].name), pbBytes(2, fields[0] + fields[1] + fields[2] + fields[3]), pbBytes(20, std::string(m_random() % 300, 'u'))};
            std::shuffle(record.begin(), record.end(), m_random);
            file += pbBytes(1, record[0] + record[1] + record[2]);
        }
        return file;
    }

private:
    void add(std::string name)
    {
        constexpr DType kTypes[] = {DType::Bool, DType::I8, DType::U16, DType::BF16, DType::F32, DType::I64};
        if (m_random() % 6 == 0) {
            const std::string text = std::string(m_random() % 9, 'x') + (m_random() % 2 == 0 ? "\xe5\x90\x8d" : "");
            outputs.push_back(outputText(std::move(name), text));
            std::string stored;
            for (const char c : text.substr(0, text.find('\xe5')))
                stored += c + "\0\0\0"s;
            values.push_back(stored + (text.find('\xe5') != std::string::npos ? "\x0d\x54\0\0"s : stored.empty() ? "\0\0\0\0"s : ""s));
            return;
        }
        Shape shape;
        for (unsigned rank = m_random() % 4; rank > 0; --rank)
            shape.push_back(m_random() % 10 == 0 ? 0 : 1 + m_random() % 9);
        outputs.push_back(tensorOut(std::move(name), kTypes[m_random() % 6], shape));
        std::string bytes(outputs.back().sizeBytes, '\0');
        for (char& byte : bytes)
            byte = static_cast<char>(m_random() % 256);
        values.push_back(bytes);
    }

    std::mt19937 m_random;
};

void expectSame(const RandomEntries& expected, const std::string& file, const std::string& what)
{
    const auto read = mindspore::readCkpt(*memory(file));
    ASSERT_TRUE(read) << what << read.error().text();
    EXPECT_TRUE(read->lost.empty() && read->notes.empty()) << what;
    ASSERT_EQ(read->entries.size(), expected.outputs.size()) << what;
    for (std::size_t i = 0; i < read->entries.size(); ++i) {
        const mindspore::CkptEntry& entry = read->entries[i];
        const CkptOutput& output = expected.outputs[i];
        EXPECT_EQ(entry.name, output.name) << what;
        EXPECT_EQ(entry.typeName, output.typeName) << what;
        EXPECT_EQ(ckptValues(file, entry), expected.values[i]) << what;
        if (output.text)
            EXPECT_EQ(entry.text, *output.text) << what;
        else
            EXPECT_EQ(entry.shape, output.shape) << what;
    }
}

TEST(MindSporeWriter, IsReadBackWhateverTheEntries)
{
    for (unsigned seed = 0; seed < 400; ++seed) {
        RandomEntries entries(seed);
        if (entries.outputs.empty())
            continue;
        expectSame(entries, written(entries.outputs, entries.values), fmt::format("seed {}", seed));
        expectSame(entries, written(entries.outputs, entries.values, 8), fmt::format("seed {}, pieces of 8", seed));
        expectSame(entries, entries.shuffled(), fmt::format("seed {}, shuffled", seed));
    }
}

} // namespace
} // namespace shardlens::test
