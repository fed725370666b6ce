#include "core/analysis/diff.h"

#include "core/io/byte_source.h"
#include "tests/core/analysis/analysis_fixture.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fmt/format.h>
#include <fstream>

namespace shardlens::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A tensor of a made checkpoint: its values are the bytes of its part of the payload.
struct MadeTensor {
    std::string name;
    DType dtype = DType::U8;
    Shape shape;
    std::string bytes;
};

class DiffTest : public AnalysisTest {
protected:
    // Each in a folder of its own: what made() writes is called the same.
    CheckpointPtr checkpoint(const std::string& folder, const std::vector<MadeTensor>& tensors, const std::vector<MetaNode>& arguments = {}) const
    {
        std::filesystem::create_directories(path(folder));
        const std::string file = path(folder) + "/data.bin";
        std::string payload;
        for (const MadeTensor& one : tensors)
            payload += one.bytes;
        std::ofstream(file, std::ios::binary) << payload;
        const auto stamp = stampOf(file);
        CheckpointBuilder builder(path(folder), path(folder));
        File row;
        row.path = file;
        row.name = "data.bin";
        row.size = stamp->sizeBytes;
        row.modifiedNs = stamp->modifiedNs;
        const FileId id = builder.addFile(row);
        std::uint64_t at = 0;
        for (const MadeTensor& one : tensors) {
            const TensorId tensor = builder.addTensor({builder.parameter(one.name), builder.role(RoleKind::Weight, "weight"), one.dtype, Combine::Exclusive, true, one.shape});
            EXPECT_TRUE(builder.addWhole(tensor, {builder.streamOf(id), at, builder.holder({}), {}}).ok());
            at += one.bytes.size();
        }
        if (!arguments.empty())
            builder.addMetadata({id, {MetaNode::Kind::Dict, {}, {}, {}, arguments}});
        return std::move(builder).finish();
    }

    static Result<DiffReport> diff(const CheckpointPtr& a, const CheckpointPtr& b, const DiffOptions& options = {}, std::size_t threads = 2)
    {
        const auto executor = makeThreadedExecutor(threads);
        JobContext job;
        auto out = diffCheckpoints(a, b, options, *executor, job);
        EXPECT_TRUE(!out.ok() || job.progress().done.load() == job.progress().total.load() || out->countOf(DiffState::Unreadable) > 0);
        return out;
    }

    // "values w 2 of 4", one line a tensor.
    static std::vector<std::string> lines(const Result<DiffReport>& report)
    {
        if (!report)
            return {"error: " + report.error().text()};
        std::vector<std::string> out;
        for (const TensorDiff& one : report->tensors) {
            out.push_back(fmt::format("{} {}", nameOf(one.state), one.name));
            if (one.nameInB != one.name)
                out.back() += " " + one.nameInB;
            if (one.values)
                out.back() += fmt::format(" {} of {}", one.values->differing, one.values->values);
        }
        return out;
    }

    static DiffOptions ignoringDtype()
    {
        DiffOptions out;
        out.ignoreDtype = true;
        return out;
    }

    static DiffOptions within(Tolerance tolerance)
    {
        DiffOptions out;
        out.tolerance = tolerance;
        return out;
    }

    static DiffOptions renaming(const std::vector<std::string>& rules)
    {
        DiffOptions out;
        for (const std::string& text : rules)
            out.renames.push_back(RenameRule::parse(text).take());
        return out;
    }
};

TEST_F(DiffTest, SaysOfEachTensorWhatIsDifferent)
{
    const CheckpointPtr a = checkpoint("a", {{"same", DType::U8, {2}, "ab"}, {"mine", DType::U8, {1}, "m"}, {"shape", DType::U8, {4}, "wxyz"}, {"dtype", DType::U8, {2}, "\1\2"},
                                             {"values", DType::U8, {2, 2}, "abcd"}});
    const CheckpointPtr b = checkpoint("b", {{"values", DType::U8, {2, 2}, "abxx"}, {"dtype", DType::I8, {2}, "\1\2"}, {"shape", DType::U8, {2, 2}, "wxyz"}, {"yours", DType::U8, {1}, "y"},
                                             {"same", DType::U8, {2}, "ab"}});
    const auto report = diff(a, b);
    EXPECT_THAT(lines(report), ElementsAre("equal same 0 of 2", "only-a mine", "shape shape", "dtype dtype 0 of 2", "values values 2 of 4", "only-b yours"));
    EXPECT_EQ(report->tensors[4].values->first, 2u);
    EXPECT_FALSE(report->isEqual());
    EXPECT_TRUE(report->sharesNames());
    EXPECT_EQ(report->bytesRead, 2u * (2 + 2 + 4));
}

TEST_F(DiffTest, ACheckpointIsEqualToItselfWhateverTheLayout)
{
    writeRun();
    ZeroTestRun other;
    other.world = 5;
    other.parameters = {{"embed", {7, 5}}, {"bias", {4}}};
    other.write(path("other"), "step3");
    JobContext job;
    const auto opened = openCheckpoint(path("other"), {}, job);
    ASSERT_TRUE(opened.ok());
    DiffOptions everything;
    everything.selection.select = Select::All;
    const auto report = diff(openRun(), *opened, everything);
    ASSERT_TRUE(report.ok());
    EXPECT_TRUE(report->isEqual()) << ::testing::PrintToString(lines(report));
    EXPECT_GT(report->tensors.size(), 6u);
}

// What one side holds and cannot be read is never passed over.
TEST_F(DiffTest, TensorsThatCannotBeReadAreNotEqual)
{
    const auto withLost = [&](const std::string& folder) {
        CheckpointBuilder builder(path(folder), path(folder));
        builder.addLost({"q", RoleKind::Weight, "q cannot be read: a tensor quantized per channel."}, "unsupported-tensor", kNoFile);
        return std::move(builder).finish();
    };
    EXPECT_THAT(lines(diff(withLost("a"), withLost("b"))), ElementsAre(HasSubstr("unreadable q")));
    const auto plain = checkpoint("c", {{"q", DType::U8, {2}, "ab"}});
    for (const auto& report : {diff(withLost("a"), plain), diff(plain, withLost("b"))}) {
        ASSERT_TRUE(report.ok());
        EXPECT_THAT(lines(report), ElementsAre(HasSubstr("unreadable q")));
        EXPECT_FALSE(report->isEqual());
        EXPECT_EQ(report->tensors[0].problem, "q cannot be read: a tensor quantized per channel.");
    }
}

TEST_F(DiffTest, CodesOfQuantizedTensorsAreNoValues)
{
    const auto one = checkpoint("a", {{"q", DType::QI8, {2}, "ab"}});
    EXPECT_THAT(lines(diff(one, one)), ElementsAre(HasSubstr("unreadable q")));
}

TEST_F(DiffTest, NothingSelectedIsNoEquality)
{
    const auto one = checkpoint("a", {{"w", DType::U8, {2}, "ab"}});
    DiffOptions options;
    options.selection.include.push_back(Regex::compile("typo").take());
    EXPECT_THAT(lines(diff(one, one, options)), ElementsAre(HasSubstr("error: nothing is selected")));
}

TEST_F(DiffTest, DtypesMayDifferWhereThatIsAsked)
{
    const CheckpointPtr a = checkpoint("a", {{"w", DType::U8, {2}, "\1\2"}});
    const CheckpointPtr b = checkpoint("b", {{"w", DType::I16, {2}, std::string("\1\0\2\0", 4)}});
    EXPECT_FALSE(diff(a, b)->isEqual());
    EXPECT_TRUE(diff(a, b, ignoringDtype())->isEqual());
}

TEST_F(DiffTest, KeepsToTheTolerance)
{
    const CheckpointPtr a = checkpoint("a", {{"w", DType::U8, {3}, "\1\2\3"}});
    const CheckpointPtr b = checkpoint("b", {{"w", DType::U8, {3}, "\2\2\3"}});
    EXPECT_FALSE(diff(a, b)->isEqual());
    EXPECT_TRUE(diff(a, b, within({1, 0}))->isEqual());
    EXPECT_TRUE(diff(a, b, within({0, 0.5}))->isEqual());
    EXPECT_FALSE(diff(a, b, within({0.5, 0.4}))->isEqual());
}

TEST_F(DiffTest, RulesBringNamesTogether)
{
    const CheckpointPtr a = checkpoint("a", {{"module.w", DType::U8, {1}, "w"}, {"module.v", DType::U8, {1}, "v"}});
    const CheckpointPtr b = checkpoint("b", {{"w", DType::U8, {1}, "w"}, {"v", DType::U8, {1}, "x"}});
    const auto apart = diff(a, b);
    EXPECT_FALSE(apart->sharesNames());
    ASSERT_TRUE(apart->suggestion);
    EXPECT_EQ(apart->suggestion->rule, "^module\\.=");
    EXPECT_EQ(apart->suggestion->matches, 2u);
    EXPECT_THAT(lines(diff(a, b, renaming({apart->suggestion->rule}))), ElementsAre("equal module.w w 0 of 1", "values module.v v 1 of 1"));
    EXPECT_THAT(lines(diff(a, b, renaming({"^module\\..*=w"}))), ElementsAre(HasSubstr("make both module.w and module.v into w")));
}

TEST_F(DiffTest, WhatCannotBeReadIsSaidAndTheRestIsCompared)
{
    writeRun();
    const CheckpointPtr whole = openRun();
    std::filesystem::copy(path("run"), path("broken"), std::filesystem::copy_options::recursive);
    std::filesystem::remove(m_folder.path() / "broken/step3/bf16_zero_pp_rank_2_mp_rank_00_optim_states.pt");
    JobContext job;
    const auto broken = openCheckpoint(path("broken"), {}, job);
    ASSERT_TRUE(broken.ok());
    const auto report = diff(whole, *broken);
    ASSERT_TRUE(report.ok());
    EXPECT_GT(report->countOf(DiffState::Unreadable), 0u);
    EXPECT_EQ(report->countOf(DiffState::Unreadable) + report->countOf(DiffState::Equal), report->tensors.size());
    for (const TensorDiff& one : report->tensors)
        if (one.state == DiffState::Unreadable) {
            EXPECT_THAT(one.problem, HasSubstr("rank 2"));
            EXPECT_THAT(one.problem, HasSubstr("broken"));
        }
}

TEST_F(DiffTest, LargeTensorsInPartsHaveTheRightFirstPlace)
{
    std::string bytes(40u << 20, '\7');
    const CheckpointPtr a = checkpoint("a", {{"w", DType::U8, {bytes.size()}, bytes}});
    bytes[bytes.size() - 3] = '\4';
    bytes[(33u << 20) + 17] = '\5';
    const CheckpointPtr b = checkpoint("b", {{"w", DType::U8, {bytes.size()}, bytes}});
    for (const std::size_t threads : {1u, 4u}) {
        const auto report = diff(a, b, {}, threads);
        ASSERT_TRUE(report.ok());
        EXPECT_EQ(report->tensors[0].values->differing, 2u);
        EXPECT_EQ(report->tensors[0].values->first, (33u << 20) + 17);
        EXPECT_EQ(report->tensors[0].values->maxAbsolute, 3);
    }
}

TEST_F(DiffTest, StopsWhenAsked)
{
    const CheckpointPtr a = checkpoint("a", {{"w", DType::U8, {2}, "ab"}});
    std::stop_source stop;
    stop.request_stop();
    JobContext job(stop.get_token());
    InlineExecutor executor;
    const auto report = diffCheckpoints(a, a, {}, executor, job);
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().code(), ErrorCode::Cancelled);
}

MetaNode leaf(std::string key, std::string value)
{
    return {MetaNode::Kind::Integer, std::move(key), std::move(value), "int", {}};
}

MetaNode dict(std::string key, std::vector<MetaNode> children)
{
    return {MetaNode::Kind::Dict, std::move(key), "", "dict", std::move(children)};
}

TEST_F(DiffTest, TellsArgumentsThatDiffer)
{
    MetaNode sizes{MetaNode::Kind::List, "sizes", "2 items", "list", {leaf("0", "4"), leaf("1", "8")}};
    MetaNode otherSizes{MetaNode::Kind::List, "sizes", "2 items", "list", {leaf("0", "4"), leaf("1", "9")}};
    const MetaNode tensors{MetaNode::Kind::Summary, "module", "15 tensors", "tensor", {}};
    const CheckpointPtr a = checkpoint("a", {{"w", DType::U8, {1}, "w"}},
                                       {leaf("step", "3"), dict("config", {leaf("lr", "1"), leaf("same", "5"), dict("old", {leaf("x", "1"), leaf("y", "2")})}), sizes, tensors});
    const CheckpointPtr b = checkpoint("b", {{"w", DType::U8, {1}, "w"}}, {leaf("step", "4"), dict("config", {leaf("same", "5"), leaf("lr", "2"), leaf("new", "7")}), otherSizes});
    const auto report = diff(a, b);
    ASSERT_TRUE(report.ok());
    std::vector<std::string> found;
    for (const ArgumentDiff& one : report->arguments)
        found.push_back(fmt::format("{}: {} | {}", one.place, one.a.value_or("-"), one.b.value_or("-")));
    EXPECT_THAT(found, ElementsAre("step: 3 | 4", "config/lr: 1 | 2", "config/old:  | -", "config/new: - | 7", "sizes: [4, 8] | [4, 9]"));
    EXPECT_TRUE(report->isEqual()) << "arguments do not count";
}

} // namespace
} // namespace shardlens::test
