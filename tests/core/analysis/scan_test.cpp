#include "core/analysis/pickle_listing.h"
#include "core/analysis/scan.h"
#include "tests/core/analysis/analysis_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string sample(const std::string& name)
{
    return SHARDLENS_SOURCE_DIR "/tests/core/analysis/files/" + name;
}

ScanReport scannedPath(const std::string& path)
{
    JobContext job;
    auto report = scanPath(path, job);
    EXPECT_TRUE(report.ok()) << (report.ok() ? "" : report.error().text());
    return report.ok() ? report.take() : ScanReport{};
}

// "5 G5 @2 archive/data.pkl", worst first.
std::vector<std::string> linesOf(const ScanReport& report, int least = 3)
{
    std::vector<std::string> out;
    for (const ScanFinding& one : report.findings)
        if (one.finding.level >= least)
            out.push_back(fmt::format("{} {} @{} {}", one.finding.level, one.finding.code, one.finding.offset, one.member));
    return out;
}

struct SampleCase {
    const char* file;
    Verdict verdict;
    std::vector<std::string> lines;
};

class ScanSamples : public ::testing::TestWithParam<SampleCase> {};

TEST_P(ScanSamples, AreJudged)
{
    const ScanReport report = scannedPath(sample(GetParam().file));
    EXPECT_STREQ(nameOf(report.verdict()), nameOf(GetParam().verdict));
    EXPECT_EQ(linesOf(report), GetParam().lines);
}

INSTANTIATE_TEST_SUITE_P(Scan, ScanSamples, ::testing::Values(
    SampleCase{"state_dict_legacy.pt", Verdict::Safe, {}},
    SampleCase{"object_numbers.npy", Verdict::Safe, {}},
    SampleCase{"partial_of_optimizer.pt", Verdict::Unknown, {"3 G3 @42 archive/data.pkl", "3 C3 @72 archive/data.pkl"}},
    SampleCase{"numbers_like_a_pickle.pt", Verdict::Safe, {}},
    SampleCase{"numbers_like_a_pickle_legacy.pt", Verdict::Safe, {}},
    SampleCase{"without_checksums.pt", Verdict::Safe, {}},
    SampleCase{"embedded_bytes.pt", Verdict::Safe, {}},
    SampleCase{"pickle_as_tensor.pt", Verdict::Suspicious, {"4 G5 @17 pickle_as_tensor/data/0", "4 C6 @45 pickle_as_tensor/data/0"}},
    SampleCase{"pickle_in_storage.pt", Verdict::Dangerous, {"5 G5 @17 model/data/0", "5 C6 @45 model/data/0"}},
    SampleCase{"first_format.tar", Verdict::Safe, {}},
    SampleCase{"first_format_hostile.tar", Verdict::Dangerous, {"5 G5 @2 pickle", "5 C6 @46 pickle"}},
    SampleCase{"arrays.npz", Verdict::Dangerous, {"5 G5 @145 a.npy", "5 C6 @173 a.npy"}},
    SampleCase{"object_array.npy", Verdict::Dangerous, {"5 G5 @145 ", "5 C6 @173 "}},
    SampleCase{"second_pickle.pkl", Verdict::Dangerous, {"5 G5 @18 ", "5 C6 @59 "}},
    SampleCase{"third_pickle_of_legacy.bin", Verdict::Dangerous, {"5 G5 @139 ", "5 C6 @180 "}},
    SampleCase{"nested_torch_load.pkl", Verdict::Dangerous, {"5 G5 @2 [bytes at 502] model/data.pkl", "5 C6 @43 [bytes at 502] model/data.pkl"}},
    SampleCase{"encryption_flag.pt", Verdict::Dangerous,
               {"5 G5 @2 model/data.pkl", "5 C6 @43 model/data.pkl", "4 A4 @0 model/data.pkl", "4 A4 @109 model/byteorder", "4 A4 @198 model/version"}},
    SampleCase{"wrong_crc.pt", Verdict::Dangerous, {"5 G5 @2 model/data.pkl", "5 C6 @43 model/data.pkl", "4 A6 @0 model/data.pkl"}},
    SampleCase{"other_local_name.pt", Verdict::Dangerous, {"5 G5 @2 model/data.pkl", "5 C6 @43 model/data.pkl", "4 A3 @0 model/data.pkl"}},
    SampleCase{"record_twice.pt", Verdict::Dangerous, {"5 G5 @2 model/data.pkl", "5 C6 @43 model/data.pkl", "4 A2 @198 "}},
    SampleCase{"pickle_without_extension.pt", Verdict::Dangerous, {"5 G5 @2 model/extra/notes", "5 C6 @43 model/extra/notes"}},
    SampleCase{"zip_without_end.pt", Verdict::Suspicious, {"4 A5 @0 "}},
    SampleCase{"zip_entry_outside.pt", Verdict::Suspicious, {"4 A3 @80 ", "4 A5 @0 model/data.pkl"}}),
    [](const auto& row) {
        std::string name = row.param.file;
        std::ranges::replace_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
        return name;
    });

class ScanTest : public AnalysisTest {
protected:
    void write(const std::string& name, const std::string& bytes) const
    {
        const std::filesystem::path file = m_folder.path() / name;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary) << bytes;
    }
    [[nodiscard]] static std::string bytesOf(const std::string& path)
    {
        std::ifstream in(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    [[nodiscard]] std::vector<std::string> linesOfFile(const std::string& bytes) const
    {
        write("file.bin", bytes);
        return linesOf(scannedPath(path("file.bin")));
    }
    static inline const std::string kEvil = "cposix\nsystem\n(S'x'\ntR."; // level 5 at 0 and 20
};

TEST_F(ScanTest, LooksAtEveryFileOfAFolderWhateverItsName)
{
    write("a/plain", "\x80\x02N.");
    write("a/.metadata", kEvil);
    write("notes.txt", "hello");
    write("empty.pt", "");
    const ScanReport report = scannedPath(m_folder.path().string());
    std::vector<std::string> names;
    for (const ScannedFile& file : report.files)
        names.push_back(fmt::format("{} {} {}", file.name, file.level, file.kind));
    EXPECT_THAT(names, ElementsAre("a/.metadata 5 pickle", "a/plain 0 pickle", "empty.pt 0 no pickle: an empty file", "notes.txt 0 no pickle: no format that is known"));
    EXPECT_EQ(report.findings.front().file, 0u);
    EXPECT_EQ(report.verdict(), Verdict::Dangerous);
}

TEST_F(ScanTest, JudgesTheFilesThatAListNames)
{
    write("set/good.pt", "\x80\x02N.");
    write("set/below/evil.pt", kEvil);
    write("set/beside.pt", kEvil); // no list names it
    write("set/list.json", R"({"type": "Megatron", "version": 2, "checkpoints": ["good.pt", "gone.pt", "good.pt"]})");
    write("set/moved.json", R"({"type": "Megatron", "version": 9, "base_dir": "below", "checkpoints": {"tp": ["evil.pt"]}})");
    write("set/index.json", R"({"weight_map": {"a": "good.pt", "b": "below/evil.pt"}})");
    const auto files = [&](const std::string& name) {
        std::vector<std::string> out;
        const ScanReport report = scannedPath(path(name));
        for (const ScannedFile& file : report.files)
            out.push_back(fmt::format("{} {}", file.name, file.level));
        return out;
    };
    EXPECT_THAT(files("set/list.json"), ElementsAre("list.json 0", "good.pt 0"));
    EXPECT_THAT(files("set/moved.json"), ElementsAre("moved.json 0", "below/evil.pt 5"));
    EXPECT_THAT(files("set/index.json"), ElementsAre("index.json 0", "good.pt 0", "below/evil.pt 5"));
    write("run/latest", "step");
    write("run/step/mp_rank_00_model_states.pt", kEvil);
    EXPECT_THAT(files("run/latest"), ElementsAre("latest 0", "step/mp_rank_00_model_states.pt 5"));
}

TEST_F(ScanTest, SaysWhatAFileWithoutPicklesIs)
{
    const std::pair<std::string, const char*> files[] = {{"\x89PNG\r\n", "a PNG picture"}, {"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"},
                                                         {std::string(512, '\0'), "zeros"}, {"<!DOCTYPE html>", "an HTML page"}};
    for (const auto& [bytes, what] : files) {
        EXPECT_TRUE(linesOfFile(bytes).empty()) << what;
        EXPECT_THAT(scannedPath(path("file.bin")).files.front().kind, HasSubstr(what));
    }
}

// A pickle that something compressed is not looked into, and nobody may take it for looked at.
TEST_F(ScanTest, SaysWhatIsCompressedAndNotLookedInto)
{
    const std::string zlib = "\x78\x9c\x4b\x4c\x4a\x06\x00\x02\x4d\x01\x27"s; // "abc"
    for (const auto& [name, bytes] : {std::pair{"a.joblib", zlib}, std::pair{"a.gz", "\x1f\x8b\x08\0\0\0\0\0"s}, std::pair{"a.bz2", "BZh91AY&SY"s},
                                      std::pair{"a.xz", "\xFD" "7zXZ\0\0"s}, std::pair{"a.zst", "\x28\xB5\x2F\xFD..."s}}) {
        write(name, bytes);
        const ScanReport report = scannedPath(path(name));
        EXPECT_EQ(report.verdict(), Verdict::Unknown) << name;
        EXPECT_THAT(linesOf(report), ElementsAre("3 A10 @0 "));
        EXPECT_FALSE(report.files[0].scanned);
    }
    write("text.txt", "x^2 is a square");
    EXPECT_EQ(scannedPath(path("text.txt")).verdict(), Verdict::Safe);
}

TEST_F(ScanTest, LooksIntoTheFilesOfATar)
{
    std::ifstream inside(sample("pickle_in_storage.pt"), std::ios::binary);
    const std::string file{std::istreambuf_iterator<char>(inside), std::istreambuf_iterator<char>()};
    std::string header(512, '\0');
    header.replace(0, 10, "weights.pt");
    const std::string length = fmt::format("{:011o}", file.size());
    header.replace(124, length.size(), length);
    header.replace(257, 5, "ustar");
    write("model.nemo", header + file + std::string((512 - file.size() % 512) % 512, '\0') + std::string(1024, '\0'));
    const ScanReport report = scannedPath(path("model.nemo"));
    EXPECT_EQ(report.verdict(), Verdict::Dangerous);
    EXPECT_THAT(linesOf(report), Contains(HasSubstr("weights.pt")));
}

TEST_F(ScanTest, SaysWhichFoldersWereNotLookedInto)
{
    std::filesystem::create_directories(path("elsewhere"));
    std::filesystem::create_directories(path("run/closed"));
    write("run/safe.txt", "text");
    std::filesystem::create_directory_symlink(path("elsewhere"), path("run/linked"));
    std::filesystem::permissions(path("run/closed"), std::filesystem::perms::none);
    const ScanReport report = scannedPath(path("run"));
    std::filesystem::permissions(path("run/closed"), std::filesystem::perms::owner_all);
    if (::geteuid() == 0) // who may look everywhere
        EXPECT_THAT(linesOf(report), ElementsAre("3 A11 @0 "));
    else
        EXPECT_THAT(linesOf(report), ElementsAre("4 A5 @0 ", "3 A11 @0 "));
}

// Found by fuzzing: no byte of it is needed, and reading none there failed the whole scan.
TEST_F(ScanTest, AnEmptyRecordBehindTheEndIsAFinding)
{
    const std::string bytes = bytesOf(SHARDLENS_SOURCE_DIR "/tests/fuzz/corpus/scan/empty_record_behind_the_end");
    ASSERT_EQ(bytes.size(), 665u);
    EXPECT_THAT(linesOfFile(bytes), Contains("4 A5 @0 model/+ersion"));
}

TEST_F(ScanTest, TakesNoSafetensorsHeaderForAPickle)
{
    std::string header = "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    header.resize(640, ' '); // the length of the header is 80 02 00 …
    EXPECT_TRUE(linesOfFile("\x80\x02\0\0\0\0\0\0"s + header + "x").empty());
    EXPECT_THAT(scannedPath(path("file.bin")).files.front().kind, HasSubstr("safetensors"));
}

TEST_F(ScanTest, ReadsTextPicklesOnlyWhereTheyAreOnes)
{
    EXPECT_TRUE(linesOfFile("class M:\n  pass\n").empty());
    EXPECT_TRUE(linesOfFile("I5\nno pickle").empty());
    EXPECT_THAT(linesOfFile(kEvil), ElementsAre("5 G5 @0 ", "5 C6 @21 "));
    EXPECT_THAT(linesOfFile("cos\nsystem\nand then nothing"), ElementsAre("5 G5 @0 ", testing::StartsWith("4 P")));
}

TEST_F(ScanTest, SaysThatADeclaredPickleIsBroken)
{
    EXPECT_THAT(linesOfFile("\x80\x02N"), ElementsAre("4 P6 @3 "));
    EXPECT_THAT(linesOfFile("\x80\xc8N."), ElementsAre("4 P10 @0 "));
    EXPECT_THAT(linesOfFile("7z\xBC\xAF\x27\x1C...."), ElementsAre("4 A7 @0 "));
}

TEST_F(ScanTest, ReadsPicklesLongerThanItsWindow)
{
    const std::string text(300'000, 'x');
    const std::string bytes = "\x80\x02X\xe0\x93\x04\0"s + text + "cm\nf\n\x86.";
    EXPECT_THAT(linesOfFile(bytes + bytes), ElementsAre("3 G3 @300007 ", fmt::format("3 G3 @{} ", bytes.size() + 300'007)));
    EXPECT_EQ(scannedPath(path("file.bin")).streams.size(), 2u);
}

TEST_F(ScanTest, LooksBehindTheLastStorageOfALegacyFile)
{
    const std::string honest = bytesOf(sample("state_dict_legacy.pt"));
    EXPECT_TRUE(linesOfFile(honest).empty());
    EXPECT_THAT(linesOfFile(honest + kEvil), ElementsAre(fmt::format("5 G5 @{} ", honest.size()), fmt::format("5 C6 @{} ", honest.size() + 21)));
    EXPECT_THAT(linesOfFile(honest.substr(0, 60)), ElementsAre(testing::StartsWith("4 P6"), testing::StartsWith("4 P6")));
}

TEST_F(ScanTest, ReadsBothFilesOfAPolyglot)
{
    const std::string zip = bytesOf(sample("pickle_without_extension.pt"));
    EXPECT_THAT(linesOfFile("\x80\x02N." + zip), ElementsAre("5 G5 @2 model/extra/notes", "5 C6 @43 model/extra/notes", "4 A8 @4 "));
    const std::string legacy = bytesOf(sample("state_dict_legacy.pt"));
    EXPECT_THAT(linesOfFile(legacy + zip), testing::Contains(fmt::format("4 A8 @{} ", legacy.size())));
}

TEST_F(ScanTest, TakesArchivesOneBehindAnotherForItems)
{
    const std::string one = bytesOf(sample("numbers_like_a_pickle.pt"));
    EXPECT_TRUE(linesOfFile(one + one + one).empty());
    const ScanReport report = scannedPath(path("file.bin"));
    ASSERT_EQ(report.streams.size(), 3u);
    EXPECT_EQ(report.streams[1].member, fmt::format("[item at {}] numbers_like_a_pickle/data.pkl", one.size()));
    const auto bytes = bytesOfStream(report, report.streams[1]);
    ASSERT_TRUE(bytes.ok());
    EXPECT_EQ(std::string(reinterpret_cast<const char*>((*bytes)->data()), 2), "\x80\x02");
    EXPECT_THAT(linesOfFile("x" + one + one), testing::Contains(testing::StartsWith("4 A8")));
}

// A save that broke off: what is whole is scanned item by item, and the rest is no second archive of a polyglot.
TEST_F(ScanTest, SaysWhereARowOfArchivesIsCutOff)
{
    const std::string one = bytesOf(sample("numbers_like_a_pickle.pt"));
    EXPECT_THAT(linesOfFile(one + one + one.substr(0, 200)), testing::Contains(fmt::format("4 A5 @{} ", 2 * one.size())));
    const ScanReport report = scannedPath(path("file.bin"));
    EXPECT_FALSE(report.files.front().scanned);
    ASSERT_GE(report.streams.size(), 2u);
    EXPECT_EQ(report.streams[1].member, fmt::format("[item at {}] numbers_like_a_pickle/data.pkl", one.size()));
    for (const ScanFinding& found : report.findings)
        EXPECT_NE(found.finding.code, "A8");
    EXPECT_THAT(linesOfFile(one + one.substr(0, 200)), testing::Contains(fmt::format("4 A5 @{} ", one.size())));
    for (const std::size_t count : {std::size_t{1}, std::size_t{4}, std::size_t{20}})
        EXPECT_THAT(linesOfFile(one + one + one.substr(0, count)), testing::Contains(fmt::format("4 A5 @{} ", 2 * one.size()))) << count;
    const std::string evil = bytesOf(sample("pickle_without_extension.pt"));
    const std::string far = one.substr(0, 64) + std::string(3'000'000, 'x'); // the last whole one ends far from the end
    EXPECT_THAT(linesOfFile(one + evil + far), testing::Contains(testing::StartsWith("5 ")));
    EXPECT_THAT(linesOfFile(one + evil + far), testing::Contains(fmt::format("4 A5 @{} ", one.size() + evil.size())));
    EXPECT_THAT(linesOfFile(one + evil + one.substr(0, 200)), testing::Contains(testing::StartsWith("5 ")));
    EXPECT_THAT(linesOfFile("x" + one + one.substr(0, 200)), testing::Contains(testing::StartsWith("4 A8")));
}

TEST_F(ScanTest, NamesThePythonFileBesideTheCheckpoint)
{
    write("model.pt", "\x80\x02" "ctrain\nArgs\n.");
    write("train.py", "pass\n");
    const ScanReport report = scannedPath(path("model.pt"));
    ASSERT_EQ(report.findings.size(), 1u);
    EXPECT_THAT(report.findings[0].finding.what, HasSubstr("Python would import train.py from this folder"));
}

TEST_F(ScanTest, StopsNestingAtThree)
{
    std::string bytes = "\x80\x04N.";
    for (int i = 0; i < 5; ++i)
        bytes = "\x80\x04" "ctorch.storage\n_load_from_bytes\nC" + std::string(1, static_cast<char>(bytes.size())) + bytes + "\x85R.";
    EXPECT_THAT(linesOfFile(bytes), ElementsAre("4 A9 @80 [bytes at 197] [bytes at 158] [bytes at 119]"));
}

TEST_F(ScanTest, FailsWhereNothingCanBeRead)
{
    JobContext job;
    EXPECT_EQ(scanPath(path("missing"), job).error().code(), ErrorCode::NotFound);
    std::stop_source source;
    source.request_stop();
    JobContext stopped(source.get_token());
    EXPECT_EQ(scanPath(sample("second_pickle.pkl"), stopped).error().code(), ErrorCode::Cancelled);
}

TEST_F(ScanTest, EveryPrefixOfAnArchiveIsJudgedWithoutHarm)
{
    const std::string whole = bytesOf(sample("record_twice.pt"));
    for (std::size_t length = 0; length < whole.size(); length += 7) {
        write("cut.pt", whole.substr(0, length));
        EXPECT_NE(scannedPath(path("cut.pt")).verdict(), length < 4 ? Verdict::Dangerous : Verdict::Safe) << length;
    }
}

TEST_F(ScanTest, ListsTheOpcodesOfAStream)
{
    const ScanReport report = scannedPath(sample("wrong_crc.pt"));
    ASSERT_EQ(report.streams.size(), 1u);
    const auto listing = PickleListing::of(report, report.streams[0]);
    ASSERT_TRUE(listing.ok());
    const PickleListing::Line line = listing->line(listing->lineAt(43));
    EXPECT_EQ(line.opcode, "REDUCE");
    EXPECT_EQ(line.offset, 43u);
    EXPECT_EQ(listing->line(listing->lineAt(2)).argument, "os.system");
    EXPECT_EQ(listing->line(listing->lines() - 1).opcode, "STOP");
}

TEST_F(ScanTest, ListsAMemberThatWasCompressed)
{
    const ScanReport report = scannedPath(sample("arrays.npz"));
    ASSERT_EQ(report.streams.size(), 1u);
    const auto listing = PickleListing::of(report, report.streams[0]);
    ASSERT_TRUE(listing.ok());
    EXPECT_EQ(listing->line(listing->lineAt(173)).opcode, "REDUCE");
}

} // namespace
} // namespace shardlens::test
