#include "core/encoding/container_check.h"

#include "core/format/format.h"
#include "core/io/checksum.h"
#include "tests/core/analysis/analysis_fixture.h"
#include "tests/support/mindspore_test_run.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// torch.save of {"first": arange(4.), "second": arange(3.) + 10}.
std::string sumsFile()
{
    std::ifstream file(SHARDLENS_SOURCE_DIR "/tests/core/analysis/files/sums.pt", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class ContainerCheckTest : public AnalysisTest {
protected:
    CheckpointPtr opened(const std::string& bytes)
    {
        std::ofstream(path("model.pt"), std::ios::binary) << bytes;
        JobContext job;
        auto checkpoint = openCheckpoint(path("model.pt"), {}, job);
        EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().text();
        return checkpoint ? checkpoint.take() : nullptr;
    }
    static std::vector<std::string> harmIn(const CheckpointPtr& checkpoint, std::uint64_t partBytes = ContainerCheck::kPartBytes)
    {
        JobContext job;
        const auto check = ContainerCheck::prepare(*checkpoint, job, partBytes);
        EXPECT_TRUE(check.ok());
        InlineExecutor executor;
        const auto findings = check->run(*checkpoint, executor, job);
        EXPECT_TRUE(findings.ok());
        EXPECT_EQ(job.progress().bytesRead.load(), check->totalBytes());
        std::vector<std::string> out;
        for (const Finding& finding : *findings)
            out.push_back(finding.code + ": " + finding.text);
        return out;
    }
    // The first place of a value's bytes.
    static std::size_t placeOf(const std::string& bytes, float value)
    {
        return bytes.find(std::string(reinterpret_cast<const char*>(&value), sizeof value));
    }
};

TEST_F(ContainerCheckTest, FindsNothingInAWholeArchive)
{
    EXPECT_THAT(harmIn(opened(sumsFile())), IsEmpty());
    EXPECT_THAT(harmIn(opened(sumsFile()), 5), IsEmpty()); // summed in many parts
}

TEST_F(ContainerCheckTest, NamesTheMemberAndTheTensorsOnIt)
{
    std::string bytes = sumsFile();
    bytes[placeOf(bytes, 11)] ^= 1;
    const CheckpointPtr checkpoint = opened(bytes);
    for (const std::uint64_t part : {ContainerCheck::kPartBytes, std::uint64_t{7}})
        EXPECT_THAT(harmIn(checkpoint, part), ElementsAre(AllOf(StartsWith("checksum: model.pt: data/1 (second): the checksum (CRC-32) of its bytes is "),
                                                               EndsWith(" was written with them: they have changed since."))));
    const VerifyReport report = verified(checkpoint);
    EXPECT_EQ(report.worst(), Severity::Warning);
    ASSERT_EQ(report.findings.size(), 1u);
    EXPECT_EQ(checkpoint->fullName(report.findings[0].tensor), "second");
}

TEST_F(ContainerCheckTest, ReadsNothingWhenQuick)
{
    std::string bytes = sumsFile();
    bytes[placeOf(bytes, 11)] ^= 1;
    EXPECT_THAT(verified(opened(bytes), {.quick = true}).findings, IsEmpty());
}

TEST_F(ContainerCheckTest, SeesHarmInMembersThatHoldNoTensor)
{
    std::string bytes = sumsFile();
    const std::size_t name = bytes.find("byteorder");
    bytes[bytes.find("little", name)] = 'L';
    EXPECT_THAT(harmIn(opened(bytes)), ElementsAre(StartsWith("checksum: model.pt: byteorder: ")));
}

TEST_F(ContainerCheckTest, ListsEveryHarmedMember)
{
    std::string bytes = sumsFile();
    for (const float value : {1.0F, 11.0F})
        bytes[placeOf(bytes, value)] ^= 1;
    EXPECT_THAT(harmIn(opened(bytes)), ElementsAre(HasSubstr("data/0 (first)"), HasSubstr("data/1 (second)")));
}

TEST_F(ContainerCheckTest, SaysWhereTheWriterLeftChecksumsOut)
{
    JobContext job;
    const auto checkpoint = openCheckpoint(SHARDLENS_SOURCE_DIR "/tests/core/analysis/files/without_checksums.pt", {}, job);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().text();
    EXPECT_THAT(harmIn(*checkpoint), ElementsAre("no-checksums: without_checksums.pt was written without checksums, so bytes that changed cannot be noticed."));
    writeRun();
    EXPECT_THAT(harmIn(openRun()), ElementsAre(HasSubstr("and 3 other files were written without checksums")));
}

// MindSpore's trailer: a CRC-32 of all records.
TEST_F(ContainerCheckTest, ComparesTheTrailerOfAMindSporeFile)
{
    const std::string records = ckptRecord("first", "Float32", {3}, "0123456789ab") + ckptRecord("second", "Int8", {2}, "xy");
    const std::uint32_t crc = crc32Of(std::as_bytes(std::span(records)));
    EXPECT_THAT(harmIn(opened(records + crcTrailerText(crc)), 16), ElementsAre(AllOf(StartsWith("checksum-good"), HasSubstr("CRC-32"))));
    EXPECT_THAT(harmIn(opened(records)), IsEmpty());
    std::string harmed = records + crcTrailerText(crc);
    harmed[records.size() - 1] = 'z';
    EXPECT_THAT(harmIn(opened(harmed), 16), ElementsAre(AllOf(StartsWith("checksum: model.pt"), HasSubstr("first, second"), HasSubstr("CRC"))));
    EXPECT_THAT(harmIn(opened(records + crcTrailerText(crc ^ 1))), ElementsAre(StartsWith("checksum: model.pt")));
}

// As MindSpore 2.10 wrote it: {"w": 0 … 5 as float32 [2, 3], "a": 0 … 3 as int8}.
TEST_F(ContainerCheckTest, ComparesTheChecksumAmongTheMetadataOfAMindSporeSafetensorsFile)
{
    std::string header = R"({"__metadata__":{"crc_num":"1155866947","format":"ms"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"a":{"dtype":"I8","shape":[4],"data_offsets":[24,28]}})";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(header.size());
    bytes += header;
    for (const float value : {0.f, 1.f, 2.f, 3.f, 4.f, 5.f})
        bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    bytes += std::string("\0\1\2\3", 4);
    const auto opened = [&](const std::string& content) {
        std::ofstream(path("model.safetensors"), std::ios::binary) << content;
        JobContext job;
        auto checkpoint = openCheckpoint(path("model.safetensors"), {}, job);
        EXPECT_TRUE(checkpoint.ok());
        return checkpoint.take();
    };
    EXPECT_THAT(harmIn(opened(bytes), 4), ElementsAre(StartsWith("checksum-good")));
    bytes.back() = 9;
    EXPECT_THAT(harmIn(opened(bytes), 4), ElementsAre(AllOf(StartsWith("checksum: model.safetensors"), HasSubstr("crc_num"))));
}

TEST_F(ContainerCheckTest, StopsWhenAsked)
{
    const CheckpointPtr checkpoint = opened(sumsFile());
    JobContext going;
    const auto check = ContainerCheck::prepare(*checkpoint, going);
    ASSERT_TRUE(check.ok());
    std::stop_source stop;
    stop.request_stop();
    JobContext stopped(stop.get_token());
    InlineExecutor executor;
    const auto findings = check->run(*checkpoint, executor, stopped);
    ASSERT_FALSE(findings.ok());
    EXPECT_EQ(findings.error().code(), ErrorCode::Cancelled);
}

} // namespace
} // namespace shardlens::test
