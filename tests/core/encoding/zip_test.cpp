#include "core/encoding/zip.h"

#include "core/encoding/torch_file.h"
#include "core/io/checksum.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/zip_maker.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <functional>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kMemberLimit = 1u << 20;

std::string asText(const Result<std::vector<std::byte>>& bytes)
{
    if (!bytes)
        return codeName(bytes.error().code()) + ": " + bytes.error().text();
    return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

// "name: text", a line a member; the error of opening alone where that fails.
std::vector<std::string> contentsOf(std::string_view bytes)
{
    const auto source = memory(bytes);
    const auto archive = ZipArchive::open(*source);
    if (!archive)
        return {codeName(archive.error().code()) + ": " + archive.error().text()};
    std::vector<std::string> out;
    for (const ZipMember& member : archive->members())
        out.push_back(member.name + ": " + asText(archive->read(member, kMemberLimit)));
    return out;
}

std::vector<std::string> notesOf(std::string_view bytes)
{
    const auto source = memory(bytes);
    const auto archive = ZipArchive::open(*source);
    std::vector<std::string> out;
    if (archive)
        for (const ZipNote& note : archive->notes())
            out.push_back(note.code + ": " + note.text);
    return out;
}

const std::vector<MadeMember> kTwo{{.name = "a/data.pkl", .data = "hello"}, {.name = "a/data/0", .data = "0123456789", .padding = 7}};

TEST(ZipArchive, ReadsStoredMembersWhereTheyLie)
{
    const MadeZip made = makeZip(kTwo);
    const auto source = memory(made.bytes);
    const auto archive = ZipArchive::open(*source);
    ASSERT_TRUE(archive.ok()) << archive.error().text();
    ASSERT_EQ(archive->members().size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
        const ZipMember& member = archive->members()[i];
        EXPECT_EQ(member.headerOffset, made.headers[i]);
        const auto offset = archive->dataOffset(member);
        ASSERT_TRUE(offset.ok());
        EXPECT_EQ(*offset, made.data[i]);
        EXPECT_EQ(textAt(*source, *offset, member.storedBytes), kTwo[i].data);
    }
    EXPECT_THAT(contentsOf(made.bytes), ElementsAre("a/data.pkl: hello", "a/data/0: 0123456789"));
    EXPECT_THAT(archive->notes(), IsEmpty());
}

TEST(ZipArchive, ReadsDeflatedMembers)
{
    // by zlib at level 9: "shard lens, " a hundred times
    const std::string packed = fromHex("2bce482c4a51c849cd2bd651281e658fb247d9a3ec41cc0600");
    const MadeZip made = makeZip({{.name = "a", .data = deflatedAsIs("plain"), .method = 8, .sizeBytes = 5},
                                  {.name = "b", .data = packed, .method = 8, .sizeBytes = 1200},
                                  {.name = "c", .data = "\x03\0"s, .method = 8, .sizeBytes = 0}});
    const auto lines = contentsOf(made.bytes);
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_EQ(lines[0], "a: plain");
    EXPECT_EQ(lines[1].size(), 3 + 1200u);
    EXPECT_THAT(lines[1], ::testing::EndsWith("shard lens, shard lens, "));
    EXPECT_EQ(lines[2], "c: ");
}

TEST(ZipArchive, ReadsTheNumbersOfZip64)
{
    std::vector<MadeMember> wide = kTwo;
    for (MadeMember& member : wide)
        member.wide = true;
    const MadeZip made = makeZip(wide, {.zip64 = true});
    EXPECT_THAT(contentsOf(made.bytes), ElementsAre("a/data.pkl: hello", "a/data/0: 0123456789"));
    EXPECT_THAT(notesOf(made.bytes), IsEmpty());
    wide[0].wide = false; // only some rows need them
    EXPECT_THAT(contentsOf(makeZip(wide).bytes), ElementsAre("a/data.pkl: hello", "a/data/0: 0123456789"));
}

TEST(ZipArchive, CountsOffsetsFromWhereTheArchiveBegins)
{
    for (const bool zip64 : {false, true}) {
        const MadeZip made = makeZip(kTwo, {.before = "#!/bin/sh", .zip64 = zip64});
        EXPECT_THAT(contentsOf(made.bytes), ElementsAre("a/data.pkl: hello", "a/data/0: 0123456789"));
        EXPECT_THAT(notesOf(made.bytes), ElementsAre("leading-bytes: 9 B before the archive's start"));
    }
}

TEST(ZipArchive, NotesWhatIsOdd)
{
    EXPECT_THAT(notesOf(makeZip(kTwo, {.comment = "made by hand"}).bytes), IsEmpty());
    EXPECT_THAT(notesOf(makeZip(kTwo, {.after = "tail"}).bytes), ElementsAre("trailing-bytes: 4 B after the archive's end"));
    MadeZip made = makeZip(kTwo);
    patch(made.bytes, made.end + 10, 3, 2);
    EXPECT_THAT(notesOf(made.bytes), ElementsAre("wrong-count: the directory has 2 members, its end record says 3"));
    EXPECT_THAT(notesOf(makeZip({kTwo[0], kTwo[0]}).bytes), ElementsAre("duplicate-member: two members are named a/data.pkl; the first counts"));
}

TEST(ZipArchive, FindsByNameThenWithoutRegardToCase)
{
    const MadeZip made = makeZip({{.name = "A/DATA.PKL", .data = "upper"}, {.name = "a/data.pkl", .data = "lower"}, {.name = "a/Version", .data = "3"}});
    const auto source = memory(made.bytes);
    const auto archive = ZipArchive::open(*source);
    ASSERT_TRUE(archive.ok());
    EXPECT_EQ(archive->find("a/data.pkl"), &archive->members()[1]);
    EXPECT_EQ(archive->find("a/version"), &archive->members()[2]);
    EXPECT_EQ(archive->find("a/vers"), nullptr);
    EXPECT_EQ(archive->find(""), nullptr);
}

TEST(ZipArchive, RefusesMoreThanItIsAllowed)
{
    const MadeZip made = makeZip({kTwo[0], {.name = "d", .data = deflatedAsIs("plain"), .method = 8, .sizeBytes = 5}});
    const auto source = memory(made.bytes);
    const auto archive = ZipArchive::open(*source);
    ASSERT_TRUE(archive.ok());
    EXPECT_THAT(asText(archive->read(archive->members()[0], 4)), HasSubstr("LimitExceeded"));
    EXPECT_THAT(asText(archive->read(archive->members()[1], 4)), HasSubstr("LimitExceeded"));
    EXPECT_EQ(asText(archive->read(archive->members()[0], 5)), "hello");
}

TEST(ZipArchive, OfNothingIsFine)
{
    EXPECT_THAT(contentsOf(makeZip({}).bytes), IsEmpty());
    EXPECT_THAT(notesOf(makeZip({}).bytes), IsEmpty());
}

struct Damage {
    const char* name;
    std::function<void(MadeZip& made)> harm;
    const char* says; // of the whole archive, or of its first member
};

class ZipRefuses : public ::testing::TestWithParam<Damage> {};

TEST_P(ZipRefuses, DamageWithItsPlace)
{
    MadeZip made = makeZip(kTwo);
    GetParam().harm(made);
    const auto lines = contentsOf(made.bytes);
    ASSERT_FALSE(lines.empty());
    EXPECT_THAT(lines[0], HasSubstr(GetParam().says));
}

// Places in a row: 8 flags, 10 method, 20 stored, 24 size, 28 name, 42 offset; in the end record: 12 size, 16 offset.
INSTANTIATE_TEST_SUITE_P(Zip, ZipRefuses, ::testing::Values(
    Damage{"Empty", [](MadeZip& made) { made.bytes.clear(); }, "Corrupt: truncated archive: 0 B"},
    Damage{"TenBytes", [](MadeZip& made) { made.bytes.resize(10); }, "Corrupt: truncated archive: 10 B"},
    Damage{"NoEndRecord", [](MadeZip& made) { made.bytes.resize(made.end); }, "Corrupt: truncated archive: it begins as a zip and has no central directory"},
    Damage{"DirectoryLongerThanTheFile", [](MadeZip& made) { patch(made.bytes, made.end + 12, 0x7FFFFFFF, 4); }, "Corrupt: central directory: 2,147,483,647 B declared"},
    Damage{"DirectoryBehindItsEnd", [](MadeZip& made) { patch(made.bytes, made.end + 16, made.rows[0] + 1, 4); }, "declared, it can begin at"},
    Damage{"Zip64NumbersWithoutZip64", [](MadeZip& made) { patch(made.bytes, made.end + 12, ~0ull, 8); }, "Corrupt: central directory: 4,294,967,295 B declared"},
    Damage{"RowThatIsNone", [](MadeZip& made) { made.bytes[made.rows[1]] = '?'; }, "B after row 1 are no row"},
    Damage{"RowWithALongName", [](MadeZip& made) { patch(made.bytes, made.rows[1] + 28, 0xFFFF, 2); }, "Corrupt: central directory: row 1 needs"},
    Damage{"HeaderPastTheEnd", [](MadeZip& made) { patch(made.bytes, made.rows[0] + 42, 100'000, 4); }, "Corrupt: a/data.pkl: its header lies at 100,000, and the file ends at"},
    Damage{"HeaderCutByTheEnd", [](MadeZip& made) { patch(made.bytes, made.rows[0] + 42, made.bytes.size() - 4, 4); }, "a/data.pkl: Corrupt: a/data.pkl: 30 B at offset"},
    Damage{"HeaderThatIsNone", [](MadeZip& made) { patch(made.bytes, made.rows[0] + 42, 1, 4); }, "a/data.pkl: Corrupt: a/data.pkl: no local header at 1"},
    Damage{"DataPastTheEnd", [](MadeZip& made) { patch(made.bytes, made.rows[0] + 20, 0x0001000000010000, 8); patch(made.bytes, made.rows[0] + 24, 65'536, 4); }, "Corrupt: a/data.pkl needs 65,536 B at 40, and the file ends at"},
    Damage{"SizeUnlikeStored", [](MadeZip& made) { patch(made.bytes, made.rows[0] + 24, 6, 4); }, "Corrupt: a/data.pkl is stored with 5 B and says 6 B"},
    Damage{"OtherMethod", [](MadeZip& made) { patch(made.bytes, made.rows[0] + 10, 12, 2); }, "Unsupported: a/data.pkl is compressed by method 12"},
    Damage{"Encrypted", [](MadeZip& made) { patch(made.bytes, made.rows[0] + 8, 1, 2); }, "Unsupported: a/data.pkl is encrypted"},
    Damage{"NoDeflate", [](MadeZip& made) { patch(made.bytes, made.rows[0] + 10, 8, 2); }, "Corrupt: a/data.pkl does not decompress to its 5 B"},
    Damage{"Bomb", [](MadeZip& made) { patch(made.bytes, made.rows[0] + 10, 8, 2); patch(made.bytes, made.rows[0] + 24, 900'000, 4); }, "LimitExceeded: a/data.pkl says 900,000 B from 5 compressed"}),
    [](const auto& row) { return row.param.name; });

TEST(ZipArchive, RefusesAZip64EndThatIsNone)
{
    MadeZip made = makeZip(kTwo, {.zip64 = true});
    made.bytes[made.end - 76] = '?';
    EXPECT_THAT(contentsOf(made.bytes), ElementsAre("Corrupt: the ZIP64 end record is not where it should be"));
    made = makeZip(kTwo, {.zip64 = true});
    patch(made.bytes, made.end - 76 + 40, ~0ull, 8);
    EXPECT_THAT(contentsOf(made.bytes), ElementsAre(HasSubstr("18,446,744,073,709,551,615 B declared")));
    made = makeZip(kTwo, {.zip64 = true});
    patch(made.bytes, made.end - 76 + 48, ~0ull, 8);
    EXPECT_THAT(contentsOf(made.bytes), ElementsAre(HasSubstr("offset 18,446,744,073,709,551,615 declared")));
    made = makeZip(kTwo, {.zip64 = true});
    patch(made.bytes, made.end - 76 + 32, ~0ull, 8); // members: costs nothing
    EXPECT_THAT(notesOf(made.bytes), ElementsAre(HasSubstr("wrong-count")));
}

TEST(ZipArchive, SurvivesEveryByteChangedOneAtATime)
{
    std::vector<MadeMember> members = kTwo;
    members.push_back({.name = "d", .data = deflatedAsIs("plain"), .method = 8, .sizeBytes = 5, .wide = true});
    const MadeZip made = makeZip(members, {.zip64 = true});
    std::size_t refused = 0;
    for (std::size_t at = 0; at < made.bytes.size(); ++at)
        for (const char value : {'\0', '\x7f', '\xff'}) {
            std::string bytes = made.bytes;
            bytes[at] = value;
            for (const std::string& line : contentsOf(bytes))
                refused += line.find("Corrupt: ") != std::string::npos ? 1 : 0;
        }
    EXPECT_GT(refused, 50u);
}

TEST(ZipArchive, ReadsTheSmallestFileOfTorch)
{
    // formats/pytorch.md §12.1, with the numbers that it gives
    const auto source = memory(smallestTorchFile());
    ASSERT_EQ(source->size(), 729u);
    const auto archive = ZipArchive::open(*source);
    ASSERT_TRUE(archive.ok()) << archive.error().text();
    std::vector<std::string> lines;
    for (const ZipMember& member : archive->members()) {
        const auto bytes = archive->read(member, kMemberLimit);
        ASSERT_TRUE(bytes.ok());
        EXPECT_EQ(crc32Of(*bytes), member.crc32) << member.name;
        lines.push_back(fmt::format("{} {} B, header {}, data {}, crc {:x}", member.name, member.sizeBytes, member.headerOffset, *archive->dataOffset(member), member.crc32));
    }
    EXPECT_THAT(lines, ElementsAre("m/data.pkl 166 B, header 0, data 64, crc 8ff9a486", "m/data/0 24 B, header 246, data 320, crc 91e79017",
                                   "m/version 2 B, header 360, data 448, crc 55679ed1"));
    EXPECT_THAT(archive->notes(), IsEmpty());
}

class RealTorchFile : public ::testing::TestWithParam<const char*> {};

TEST_P(RealTorchFile, IsRefusedWhenCutAnywhere)
{
    const std::string bytes = readFile(std::string(SHARDLENS_SOURCE_DIR "/resources/sample/global_step3/") + GetParam());
    ASSERT_GT(bytes.size(), 5'000u);
    JobContext job;
    ASSERT_TRUE(TorchFile::open(memory(bytes), job).ok());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto opened = TorchFile::open(memory(std::string_view(bytes).substr(0, size)), job);
        ASSERT_FALSE(opened.ok()) << size;
        EXPECT_TRUE(opened.error().code() == ErrorCode::Corrupt) << size << ": " << opened.error().text();
        EXPECT_FALSE(opened.error().message().empty());
    }
}

INSTANTIATE_TEST_SUITE_P(Sample, RealTorchFile, ::testing::Values("mp_rank_00_model_states.pt", "zero_pp_rank_1_mp_rank_00_optim_states.pt"),
                         [](const auto& row) { return row.param[0] == 'm' ? "ModelStates" : "OptimizerStates"; });

// A directory of `count` rows without names, and the end record of ZIP64.
std::string directoryOf(std::uint64_t count)
{
    std::string row(46, '\0');
    patch(row, 0, 0x02014B50, 4);
    std::string out;
    for (std::uint64_t i = 0; i < count; ++i)
        out += row;
    std::string end(56 + 20 + 22, '\0');
    patch(end, 0, 0x06064B50, 4);
    patch(end, 32, count, 8);
    patch(end, 40, out.size(), 8);
    patch(end, 56, 0x07064B50, 4);
    patch(end, 76, 0x06054B50, 4);
    return out + end;
}

TEST(ZipArchive, RefusesMoreThanAMillionMembers)
{
    EXPECT_THAT(contentsOf(directoryOf(1'000'001)), ElementsAre("LimitExceeded: more than 1,000,000 members"));
}

TEST(ZipArchive, StopsWhenAsked)
{
    std::stop_source stop;
    stop.request_stop();
    const JobContext job(stop.get_token());
    const auto source = memory(directoryOf(2));
    EXPECT_TRUE(ZipArchive::open(*source).ok());
    const auto archive = ZipArchive::open(*source, &job);
    ASSERT_FALSE(archive.ok());
    EXPECT_EQ(archive.error().code(), ErrorCode::Cancelled);
}

} // namespace
} // namespace shardlens::test
