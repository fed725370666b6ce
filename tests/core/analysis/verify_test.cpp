#include "core/analysis/verify.h"

#include "tests/core/analysis/analysis_fixture.h"

#include <gmock/gmock.h>

#include <filesystem>

namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const std::vector<std::uint8_t> kNan{0x00, 0x00, 0xC0, 0x7F};  // float32
const std::vector<std::uint8_t> kHalfInf{0x80, 0x7F};          // bfloat16
const std::vector<std::uint8_t> kHalfThousand{0x7A, 0x44};     // bfloat16

const Finding* findingOf(const VerifyReport& report, const std::string& code)
{
    for (const Finding& finding : report.findings)
        if (finding.code == code)
            return &finding;
    return nullptr;
}

class VerifyTest : public AnalysisTest {};

TEST_F(VerifyTest, FindsNothingWhereNothingIsWrong)
{
    writeRun();
    const CheckpointPtr run = openRun();
    const VerifyReport report = verified(run);
    EXPECT_THAT(findingsOf(run), IsEmpty());
    EXPECT_EQ(report.worst(), Severity::Info);
    EXPECT_EQ(report.tensorsChecked, 10u); // 2 parameters: master, two moments, step, module copy
    EXPECT_GE(report.bytesRead, 39u * (3 * 4 + 2));
}

TEST_F(VerifyTest, FindsAModuleCopyOfAnotherStep)
{
    writeRun();
    overwrite("embed/module", 12, kHalfThousand);
    const CheckpointPtr run = openRun();
    EXPECT_THAT(findingsOf(run), ElementsAre("warning stale-module-copy embed/module"));
    const VerifyReport report = verified(run);
    EXPECT_THAT(findingOf(report, "stale-module-copy")->text, HasSubstr("1 of 35 values differ, first at element 12"));
}

TEST_F(VerifyTest, CountsWhatIsStaleByTheRoundedMaster)
{
    writeRun();
    // 1.00390625 lies halfway between two bfloat16: the even one below, 1.0, is right and its neighbour is not.
    overwrite("embed", 0, {0x00, 0x80, 0x80, 0x3F});
    overwrite("embed/module", 0, {0x80, 0x3F});
    EXPECT_THAT(findingsOf(openRun()), IsEmpty());
    overwrite("embed/module", 0, {0x81, 0x3F});
    EXPECT_THAT(findingsOf(openRun()), ElementsAre("warning stale-module-copy embed/module"));
}

TEST_F(VerifyTest, TakesOneNanForAnother)
{
    writeRun();
    overwrite("embed", 3, kNan);
    overwrite("embed/module", 3, {0xFF, 0xFF}); // a NaN of other bits
    EXPECT_THAT(findingsOf(openRun()), ElementsAre("warning non-finite embed", "warning non-finite embed/module"));
}

TEST_F(VerifyTest, FindsNonFiniteValuesWithTheirPlace)
{
    writeRun();
    overwrite("bias/exp_avg", 2, kNan);
    overwrite("bias/exp_avg", 3, {0x00, 0x00, 0x80, 0xFF}); // −inf
    const CheckpointPtr run = openRun();
    EXPECT_THAT(findingsOf(run), ElementsAre("warning non-finite bias/exp_avg"));
    EXPECT_THAT(findingOf(verified(run), "non-finite")->text, HasSubstr("2 non-finite values (NaN or Inf), first at element 2"));
}

TEST_F(VerifyTest, FindsInfinityInHalves)
{
    writeRun();
    overwrite("bias/module", 1, kHalfInf);
    EXPECT_THAT(findingsOf(openRun()), UnorderedElementsAre("warning non-finite bias/module", "warning stale-module-copy bias/module"));
}

TEST_F(VerifyTest, FindsAHoleWithItsRankAndFile)
{
    writeRun();
    const std::string name = "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt";
    std::filesystem::remove(path("run/step3/" + name));
    const CheckpointPtr run = openRun();
    for (const bool quick : {false, true}) {
        const VerifyReport report = verified(run, {quick});
        EXPECT_EQ(report.worst(), Severity::Error);
        EXPECT_EQ(report.findings.front().severity, Severity::Error); // worst first
        const Finding* hole = findingOf(report, "hole");
        ASSERT_NE(hole, nullptr);
        EXPECT_EQ(hole->rank, 1u);
        EXPECT_EQ(run->file(hole->file).name, name);
        EXPECT_EQ(run->fullName(hole->tensor), "embed");
        EXPECT_THAT(hole->text, AllOf(HasSubstr("rank 1 should hold them"), HasSubstr("is not in the folder.")));
    }
}

TEST_F(VerifyTest, ChecksTheOthersWhereOneHasAHole)
{
    writeRun();
    std::filesystem::remove(path("run/step3/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"));
    overwrite("bias/module", 1, kHalfInf);
    EXPECT_THAT(findingsOf(openRun()), Contains("warning non-finite bias/module"));
}

TEST_F(VerifyTest, ReadsNoPayloadWhenQuick)
{
    writeRun();
    const CheckpointPtr run = openRun();
    overwrite("embed", 3, kNan);
    for (const File& file : run->files())
        std::filesystem::remove(file.path); // whoever reads now fails
    const VerifyReport quick = verified(run, {true});
    EXPECT_EQ(quick.bytesRead, 0u);
    EXPECT_EQ(quick.tensorsChecked, 10u);
    EXPECT_THAT(findingsOf(run, {true}), IsEmpty());
    EXPECT_THAT(findingsOf(run), Contains("error unreadable embed"));
}

TEST_F(VerifyTest, SaysThatAFileChangedAndGoesOn)
{
    writeRun();
    const CheckpointPtr run = openRun();
    const std::string file = path("run/step3/mp_rank_00_model_states.pt");
    std::filesystem::resize_file(file, std::filesystem::file_size(file) + 1);
    const VerifyReport report = verified(run);
    EXPECT_THAT(findingsOf(run), Contains("error unreadable embed/module"));
    EXPECT_THAT(findingOf(report, "unreadable")->text, HasSubstr("changed since it was opened"));
    EXPECT_GE(report.bytesRead, 39u * 3 * 4); // the masters and moments lie elsewhere
}

TEST_F(VerifyTest, StopsWhenAsked)
{
    writeRun();
    std::stop_source stop;
    stop.request_stop();
    JobContext job(stop.get_token());
    InlineExecutor executor;
    const auto report = verifyCheckpoint(openRun(), {}, executor, job);
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().code(), ErrorCode::Cancelled);
}

TEST_F(VerifyTest, GivesTheSameFindingsOnManyThreads)
{
    writeRun();
    overwrite("embed", 3, kNan);
    overwrite("bias/module", 1, kHalfInf);
    const CheckpointPtr run = openRun();
    const auto executor = makeThreadedExecutor(4);
    JobContext job;
    const auto report = verifyCheckpoint(run, {}, *executor, job);
    ASSERT_TRUE(report.ok());
    const VerifyReport inOrder = verified(run);
    ASSERT_EQ(report->findings.size(), inOrder.findings.size());
    for (std::size_t i = 0; i < inOrder.findings.size(); ++i)
        EXPECT_EQ(report->findings[i].text, inOrder.findings[i].text);
    EXPECT_EQ(report->bytesRead, inOrder.bytesRead);
}

class VerifyReplicasTest : public VerifyTest {
protected:
    // Elements 0 to 3 at offset 0 and elements 2 to 5 at offset 4 of the payload.
    CheckpointPtr overlapping(const std::string& payload) const
    {
        return made(payload, [](CheckpointBuilder& builder, FileId file) {
            const TensorId tensor = builder.addTensor({builder.parameter("w"), builder.role(RoleKind::Weight, "weight"), DType::U8, Combine::Replicas, true, {6}});
            ASSERT_TRUE(builder.addPiece(tensor, FlatRange{0, 4}, {builder.streamOf(file), 0, builder.holder({}), {}}));
            ASSERT_TRUE(builder.addPiece(tensor, FlatRange{2, 6}, {builder.streamOf(file), 4, builder.holder({}), {}}));
        });
    }
};

TEST_F(VerifyReplicasTest, ThatAgreeAreFine)
{
    EXPECT_THAT(findingsOf(overlapping("abcdcdef")), IsEmpty());
}

TEST_F(VerifyReplicasTest, ThatDifferAreFoundAtTheirFirstElement)
{
    const CheckpointPtr checkpoint = overlapping("abcdcXef");
    EXPECT_THAT(findingsOf(checkpoint), ElementsAre("warning replicas-differ w"));
    EXPECT_THAT(verified(checkpoint).findings.front().text, HasSubstr("first at element 3"));
    EXPECT_THAT(findingsOf(checkpoint, {true}), IsEmpty());
}

// Four copies of "ab", the second from its second element on only: each is compared with the first, and whichever differs is found.
TEST_F(VerifyReplicasTest, AmongSeveralAreEachFound)
{
    const auto copies = [&](const std::string& payload) {
        return made(payload, [](CheckpointBuilder& builder, FileId file) {
            const TensorId tensor = builder.addTensor({builder.parameter("w"), builder.role(RoleKind::Weight, "weight"), DType::U8, Combine::Replicas, true, {2}});
            for (const auto& [region, offset] : {std::pair{FlatRange{0, 2}, 0u}, {FlatRange{1, 2}, 2u}, {FlatRange{0, 2}, 3u}, {FlatRange{0, 2}, 5u}})
                ASSERT_TRUE(builder.addPiece(tensor, region, {builder.streamOf(file), offset, builder.holder({}), {}}));
        });
    };
    EXPECT_THAT(findingsOf(copies("abbabab")), IsEmpty());
    for (const char* one : {"abXabab", "abbXbab", "abbaXab", "abbabXb", "abbabaX"})
        EXPECT_THAT(findingsOf(copies(one)), ElementsAre("warning replicas-differ w")) << one;
}

// So many rows that copies are compared by boxes: the first column is held twice, the other once.
TEST_F(VerifyReplicasTest, OfMillionsOfRowsAreFoundToo)
{
    const std::uint64_t rows = 1'500'000;
    const auto columns = [&](const std::string& payload) {
        return made(payload, [&](CheckpointBuilder& builder, FileId file) {
            const TensorId tensor = builder.addTensor({builder.parameter("w"), builder.role(RoleKind::Weight, "weight"), DType::U8, Combine::Replicas, true, {rows, 2}});
            for (const auto& [column, offset] : {std::pair{0u, std::uint64_t{0}}, {0u, rows}, {1u, 2 * rows}})
                ASSERT_TRUE(builder.addPiece(tensor, BoxView(Box{{0, column}, {rows, 1}}), {builder.streamOf(file), offset, builder.holder({}), {}}));
        });
    };
    std::string payload(3 * rows, 'a');
    EXPECT_THAT(findingsOf(columns(payload)), IsEmpty());
    payload[rows + 1'234'567] = 'X';
    const CheckpointPtr checkpoint = columns(payload);
    EXPECT_THAT(findingsOf(checkpoint), ElementsAre("warning replicas-differ w"));
    EXPECT_THAT(verified(checkpoint).findings.front().text, HasSubstr("first at element 2,469,134"));
}

TEST_F(VerifyTest, ExpectsMasksToHoldInfinity)
{
    const CheckpointPtr checkpoint = made(std::string("\0\0\x80\xFF", 4), [](CheckpointBuilder& builder, FileId file) {
        for (const auto& [name, kind] : {std::pair{"mask", RoleKind::Buffer}, {"weight", RoleKind::Weight}}) {
            const TensorId tensor = builder.addTensor({builder.parameter(name), builder.role(kind, name), DType::F32, Combine::Exclusive, true, {1}});
            ASSERT_TRUE(builder.addWhole(tensor, {builder.streamOf(file), 0, builder.holder({}), {}}));
        }
    });
    EXPECT_THAT(findingsOf(checkpoint), ElementsAre("warning non-finite weight", "info non-finite mask"));
}

TEST_F(VerifyTest, KeepsWhatWasFoundAtOpening)
{
    const CheckpointPtr checkpoint = made("", [](CheckpointBuilder& builder, FileId) {
        builder.addFinding({Severity::Info, "small", "A remark.", kNoTensor, kNoFile, std::nullopt});
        builder.addFinding({Severity::Warning, "large", "A warning.", kNoTensor, kNoFile, std::nullopt});
    });
    EXPECT_THAT(findingsOf(checkpoint, {true}), ElementsAre("warning large", "info small"));
}

} // namespace
} // namespace shardlens::test
