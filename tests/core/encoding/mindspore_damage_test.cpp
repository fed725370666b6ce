// Files that are cut, changed or made to harm.
#include "core/base/text.h"
#include "core/encoding/mindspore_ckpt.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/mindspore_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdint>
#include <random>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kOne = ckptTensor({}, "Int8", "x");
constexpr std::size_t kEndsOfFour[] = {38, 63, 86, 113};

TEST(MindSporeDamage, RefusesWhatIsNoWeightsFile)
{
    EXPECT_EQ(shownCkpt(""), "Corrupt: empty file");
    EXPECT_EQ(shownCkpt("PK\x03\x04 and so on"), "Corrupt: record 1 at offset 0: not a MindSpore value (byte 0x50)");
    EXPECT_EQ(shownCkpt(fromHex("0801121a0a084d61744d756c5f77120e0800120408020801120408020801"
                                "1a2d0a01771228" "0a0408020802120d080008ffffffffffffffffff011a0022002800300238ffffffffffffffffff01")),
              "Corrupt: this is a strategy file for 1 parameter, not weights: --source-strategy gives it to a run, and `shardlens strategy show` says what is in it");
    EXPECT_EQ(shownCkpt(pbBytes(1, pbBytes(1, "group") + pbBytes(2, pbNumber(1, 0) + pbNumber(1, 300)))), "Corrupt: this is a map of communication groups, not weights");
}

TEST(MindSporeDamage, NamesTheCipherOfAnEncryptedFile)
{
    const std::string iv = "000102030405060708090a0b0c0d0e0f";
    EXPECT_EQ(shownCkpt(fromHex("d85e3a7f3f2ff5e5faed1dd4c6feeae6c67883b43e00000010000000" + iv + "26000000"
                                "7b17728838ea43f464f73bca9be57aa76edc40fe7d53a8b5ab5b4e36f1ddbc31a90c547852f8")),
              "Unsupported: encrypted with AES-GCM: a key is needed, and encrypted files are not read here; save it without enc_key in MindSpore");
    EXPECT_EQ(shownCkpt(fromHex("d95e3a7f4800000010000000" + iv + "30000000"
                                "3cce9eb4fb1b333038d5f57fd459dfc360e6a50cda4640160a0f34c70a5ef601d4968e5f59f40a8480dcaae6335dad39")),
              "Unsupported: encrypted with AES-CBC: a key is needed, and encrypted files are not read here; save it without enc_key in MindSpore");
    EXPECT_EQ(shownCkpt(fromHex("da5e3a7f4800000010000000" + iv + "30000000"
                                "958feaf0522dc757d0114f70f2c75a40f8df31bd472fa35c64636cc629f54c0a1639e793de39eeea31513af676508448")),
              "Unsupported: encrypted with SM4-CBC: a key is needed, and encrypted files are not read here; save it without enc_key in MindSpore");
    EXPECT_EQ(shownCkpt(fromHex("d85e3a7f4800000010000000" + iv + "30000000")), "Unsupported: encrypted with AES: a key is needed, and encrypted files are not read here; save it without enc_key in MindSpore"); // before 1.7
}

TEST(MindSporeDamage, SaysWhatIsMissingWhereverAFileIsCut)
{
    const std::string whole = ckptOfFour();
    const std::string names[] = {"w", "b", "step", "note"};
    const std::string shown = shownCkpt(whole);
    for (std::size_t kept = 1; kept < whole.size(); ++kept) {
        const std::string seen = shownCkpt(whole.substr(0, kept));
        std::size_t complete = 0;
        while (complete < 4 && kEndsOfFour[complete] <= kept)
            ++complete;
        if (complete > 0 && kEndsOfFour[complete - 1] == kept) {
            EXPECT_EQ(seen, shown.substr(0, seen.size())) << kept; // between two records: a whole file of fewer
            continue;
        }
        EXPECT_EQ(seen.starts_with("Corrupt: truncated: "), complete == 0) << kept;
        EXPECT_THAT(seen, HasSubstr("truncated: ")) << kept;
        EXPECT_THAT(seen, HasSubstr(plural(complete, "complete parameter", "complete parameters") + " before it")) << kept;
        const std::size_t begin = complete == 0 ? 0 : kEndsOfFour[complete - 1];
        if (kept >= begin + 4 + names[complete].size()) { // its name is there
            EXPECT_THAT(seen, HasSubstr(complete == 0 ? "parameter '" + names[complete] + "'" : "lost " + names[complete])) << kept;
            EXPECT_THAT(seen, HasSubstr("needs " + plural(kEndsOfFour[complete] - kept, "more byte", "more bytes") + ";")) << kept;
        }
    }
}

TEST(MindSporeDamage, LosesTheWholeParameterWhoseLastRecordIsCut)
{
    const std::string records = ckptRecord("a", kOne) + ckptRecord("w", ckptTensor({4}, "Int8", "12")) + ckptRecord("w", ckptTensor({4}, "Int8", "34"));
    EXPECT_EQ(shownCkpt(records.substr(0, records.size() - 1)),
              "a: Int8 I8 [] 78\nlost w (mindspore-truncated): truncated: it needs 1 more byte; 1 complete parameter before it\n");
    const std::size_t last = ckptRecord("w", ckptTensor({4}, "Int8", "34")).size();
    EXPECT_EQ(shownCkpt(records.substr(0, records.size() - last)), "a: Int8 I8 [] 78\nlost w (mindspore-parameter): shape [4] of Int8 needs 4 B, has 2\n");
}

TEST(MindSporeDamage, StopsAtWhatIsNoRecord)
{
    EXPECT_EQ(shownCkpt(ckptRecord("a", kOne) + ckptRecord("b", kOne) + "\x1a\x02??" + ckptRecord("c", kOne)),
              "a: Int8 I8 [] 78\nb: Int8 I8 [] 78\n"
              "error (mindspore-no-value): record 3 at offset 32: not a MindSpore value (byte 0x1a); the last one before it is 'b'\n");
    EXPECT_EQ(shownCkpt(ckptRecord("a", kOne) + "\x0a" + std::string(12, '\xff')),
              "a: Int8 I8 [] 78\nerror (mindspore-no-value): record 2 at offset 16: not a MindSpore value (a number of more than 64 bits)\n");
    EXPECT_THAT(shownCkpt(ckptRecord("a", kOne) + "\x0a" + pbVarint(UINT64_MAX) + "\x0a\x01w"), HasSubstr("lost w (mindspore-truncated): truncated: it needs 18,446,744,073,709,551,612 more bytes"));
}

TEST(MindSporeDamage, TakesNoGarbageForATrailer)
{
    EXPECT_THAT(shownCkpt(ckptRecord("a", kOne) + "xxc"), HasSubstr("error (mindspore-no-value): record 2 at offset 16"));
    EXPECT_THAT(shownCkpt(ckptRecord("a", kOne) + "crc" + std::string(40, 'x')), HasSubstr("error (mindspore-no-value): record 2 at offset 16"));
}

TEST(MindSporeDamage, LosesAParameterThatBreaksTheRules)
{
    const std::string good = ckptRecord("good", kOne);
    struct Broken {
        std::string record;
        const char* problem;
    };
    const std::string twice = pbBytes(1, "x") + pbBytes(2, kOne) + pbBytes(3, pbBytes(1, kOne));
    for (const Broken& broken : {
             Broken{ckptRecord("x", ckptTensor({3}, "Float32", "12345678")), "shape [3] of Float32 needs 12 B, has 8"},
             Broken{ckptRecord("x", ckptTensor({-1, 4}, "Int8", "1234")), "dims [-1, 4] are no shape"},
             Broken{ckptRecord("x", ckptTensor({INT64_MAX, 3}, "Int8", "1234")), "are more than can be counted"},
             Broken{ckptRecord("x", ckptTensor({INT64_MAX}, "Float64", "1234")), "are more than can be counted"},
             Broken{ckptRecord("x", ckptTensor(std::vector<std::int64_t>(65, 1), "Int8", "1")), "more than 64 dimensions"},
             Broken{ckptRecord("x", pbBytes(1, std::string(641, '\1'))), "more than 64 dimensions"},
             Broken{ckptRecord("x", pbBytes(1, "\x80") + pbBytes(2, "Int8")), "its packed dims end inside a number"},
             Broken{ckptRecord("x", pbBytes(3, "1")), "its record names no type"},
             Broken{ckptRecord("x", pbBytes(2, std::string(257, 't'))), "a type name of 257 B"},
             Broken{pbBytes(1, pbBytes(1, "x")), "its record holds no tensor"},
             Broken{pbBytes(1, twice), "its record holds a tensor and a hash table"},
             Broken{pbBytes(1, pbBytes(2, kOne)), "its record has no name"},
             Broken{ckptRecord("x", "\x1a\x05xy"), "field 3 claims 5 B, more than what it is in,"},
             Broken{ckptRecord("x", "\x0b\x0c"), "no field (key 11)"},
             Broken{ckptRecord("x", "\x02\x01z"), "no field (key 2)"},
             Broken{ckptRecord("x", "\x08"), "a field without an end"},
             Broken{ckptRecord("x", "\x08" + std::string(10, '\xff')), "a number of more than 64 bits"},
             Broken{ckptRecord("x", kOne + std::string(10'000, '\x20')), "its record has more than 4,096 fields"},
             Broken{ckptRecord(std::string(70'000, 'n'), kOne), "its name is 70,000 B long"},
             Broken{ckptRecord("x", ckptTensor({2}, "Int8", "12")) + ckptRecord("x", ckptTensor({2}, "Int8", "34")),
                    "shape [2] of Int8 needs 2 B, has 4: two tensors with the same name stored back to back?"},
             Broken{ckptRecord("x", ckptTensor({2}, "Int8", "1")) + ckptRecord("x", ckptTensor({1, 2}, "Int8", "2")), "its records do not agree: Int8 [2] and Int8 [1, 2]"},
             Broken{ckptRecord("x", ckptTensor({2}, "Int16", "1")) + ckptRecord("x", ckptTensor({2}, "Int16", "234")), "one of its 2 records ends inside a value of 2 B"},
             Broken{ckptMapRecord("x", {ckptTensor({1}, "what", "1"), kOne, kOne}), "a hash table of type 'what', which is not known"},
             Broken{ckptMapRecord("x", {kOne, kOne, kOne}), "a hash table without rows"},
         }) {
        const std::string seen = shownCkpt(good + broken.record + good.substr(0, 4) + "h" + good.substr(5)); // and reading goes on behind it
        EXPECT_THAT(seen, StartsWith("good: Int8 I8 [] 78\nhood: Int8 I8 [] 78\nlost ")) << broken.problem;
        EXPECT_THAT(seen, HasSubstr(broken.problem));
        EXPECT_THAT(shownCkpt(broken.record), StartsWith("Corrupt: parameter '")) << broken.problem;
    }
}

TEST(MindSporeDamage, GivesASentenceForAnyBitThatIsFlipped)
{
    const std::string whole = ckptOfFour() + ckptTrailer(ckptOfFour());
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
        std::string harmed = whole;
        harmed[bit / 8] = static_cast<char>(harmed[bit / 8] ^ (1 << bit % 8));
        const auto source = memory(harmed);
        const auto file = mindspore::readCkpt(*source);
        if (!file) {
            EXPECT_NE(file.error().text(), "") << bit;
            continue;
        }
        JobContext job;
        const bool isSaid = !file->lost.empty() || !file->notes.empty();
        EXPECT_TRUE(isSaid || (file->storedCrc && !mindspore::crcProblem(*file, *mindspore::contentCrc(*source, file->contentEnd, job)).empty())) << bit;
        for (const mindspore::CkptEntry& entry : file->entries)
            for (const mindspore::CkptPiece& piece : entry.pieces)
                EXPECT_LE(piece.offset + piece.length, harmed.size());
    }
}

TEST(MindSporeDamage, SurvivesAnyBytesBehindARecordsKey)
{
    std::mt19937 random(20260);
    for (int round = 0; round < 5'000; ++round) {
        std::string bytes = ckptOfFour() + ckptMapOfEmb();
        for (unsigned i = 0; i < 1 + random() % 6; ++i)
            bytes[random() % bytes.size()] = static_cast<char>(random() % 3 == 0 ? 0xff : random() % 256);
        bytes.resize(random() % (bytes.size() + 1));
        EXPECT_NE(shownCkpt(bytes), "");
    }
}

TEST(MindSporeDamage, LimitsTheNotesOfOneKind)
{
    std::string file;
    for (int i = 0; i < 50; ++i)
        file += ckptRecord(fmt::format("p{}.__param_key__{}", i, i), kOne);
    EXPECT_THAT(shownCkpt(file), HasSubstr("info (mindspore-host-cache): 30 more like that\n"));
}

} // namespace
} // namespace shardlens::test
