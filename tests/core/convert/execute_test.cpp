#include "tests/core/convert/convert_fixture.h"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

namespace shardlens::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ExecuteTest : public ConvertTest {
protected:
    CheckpointPtr model()
    {
        return tiny({{"embed.weight", DType::F32, {40, 30}}, {"norm.bias", DType::BF16, {3}}, {"steps", DType::I64, {}}, {"mask", DType::Bool, {7}}, {"empty", DType::F32, {0, 4}}},
                    {{"head.weight", "embed.weight"}});
    }
};

TEST_F(ExecuteTest, WritesASafetensorsFileByteForByte)
{
    const auto source = tiny({{"attn.0", DType::F32, {1, 2, 3}, bytesOfFloats({0, 1, 2, 3, 4, 5})}, {"b", DType::U8, {3}, {std::byte{7}, std::byte{8}, std::byte{9}}}});
    ASSERT_EQ(convert(source, request("model.safetensors")), "");
    std::string header = R"({"__metadata__":{"format":"pt"},"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]},)"
                         R"("b":{"dtype":"U8","shape":[3],"data_offsets":[24,27]}})";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    std::string wanted{static_cast<char>(header.size()), 0, 0, 0, 0, 0, 0, 0};
    wanted += header;
    for (const float value : {0.f, 1.f, 2.f, 3.f, 4.f, 5.f})
        wanted.append(reinterpret_cast<const char*>(&value), sizeof value);
    wanted += "\x07\x08\x09";
    EXPECT_EQ(readText(path("model.safetensors")), wanted);
    EXPECT_THAT(names(), ElementsAre("data.bin", "model.safetensors"));
}

TEST_F(ExecuteTest, WritesWhatIsReadBack)
{
    const CheckpointPtr source = model();
    const std::vector<std::string> wanted = contentsOf(source);
    EXPECT_EQ(wanted.size(), 6u);
    for (const char* target : {"folder-st", "folder-torch", "model.safetensors", "model.pt"}) {
        const bool torch = std::string(target) == "folder-torch" || std::string(target) == "model.pt";
        ConvertRequest wish = request(target, torch ? "torch" : "safetensors");
        wish.verify = true;
        ASSERT_EQ(convert(source, wish), "") << target;
        EXPECT_TRUE(m_report.verified);
        EXPECT_EQ(contentsOf(path(target)), wanted) << target;
    }
}

TEST_F(ExecuteTest, WritesShardsThatAreOneModel)
{
    const CheckpointPtr source = model();
    for (const char* to : {"safetensors", "torch"}) {
        ConvertRequest wish = request(std::string("out-") + to, to);
        wish.maxShardBytes = 1000; // less than the largest tensor
        wish.verify = true;
        ASSERT_EQ(convert(source, wish), "");
        EXPECT_EQ(contentsOf(path(std::string("out-") + to)), contentsOf(source));
        EXPECT_EQ(m_report.files.size(), std::string(to) == "torch" ? 3u : 4u);
    }
}

TEST_F(ExecuteTest, ConsolidatesARunElementByElement)
{
    const ZeroTestRun run = writeRun(1000);
    ConvertRequest wish = request("model.safetensors");
    wish.verify = true;
    ASSERT_EQ(convert(openRun(), wish), "");
    std::vector<TinyTensor> wanted;
    for (std::size_t i = 0; i < run.parameters.size(); ++i) {
        std::vector<float> values(run.parameters[i].count());
        for (std::size_t at = 0; at < values.size(); ++at)
            values[at] = run.valueAt(i, 0, at);
        wanted.push_back({run.parameters[i].name, DType::F32, run.parameters[i].shape, bytesOfFloats(values)});
    }
    EXPECT_EQ(contentsOf(path("model.safetensors")), contentsOf(tiny(wanted)));
}

TEST_F(ExecuteTest, GivesTheSameBytesWithAnyNumberOfThreadsAndAnyMemory)
{
    writeRun(5000);
    const CheckpointPtr run = openRun();
    ASSERT_EQ(convert(run, request("one.safetensors")), "");
    for (const std::uint32_t threads : {1u, 2u, 7u}) {
        ConvertRequest wish = request("many.safetensors");
        wish.threads = threads;
        wish.memoryLimit = threads * kSmallMemory;
        const auto made = plan(run, wish);
        ASSERT_TRUE(made.ok()) << made.error().text();
        JobContext job;
        const auto executor = makeThreadedExecutor(threads);
        const auto report = executePlan(*made, *executor, job);
        ASSERT_TRUE(report.ok()) << report.error().text();
        EXPECT_EQ(job.progress().done.load(), job.progress().total.load());
        EXPECT_TRUE(readText(path("many.safetensors")) == readText(path("one.safetensors")));
        fs::remove(path("many.safetensors"));
    }
}

TEST_F(ExecuteTest, SaysWhichValuesOverflow)
{
    const float infinity = std::numeric_limits<float>::infinity();
    const auto source = tiny({{"large", DType::F32, {4}, bytesOfFloats({1e30f, -70000.f, infinity, 1.f})}, {"small", DType::F32, {1}, bytesOfFloats({65504.f})}});
    ConvertRequest wish = request("out");
    wish.dtype = DType::F16;
    wish.verify = true;
    ASSERT_EQ(convert(source, wish), "");
    std::vector<std::string> warnings;
    for (const PlanLine& line : m_report.lines)
        if (line.kind == PlanLine::Kind::Warning)
            warnings.push_back(line.topic + ": " + line.text);
    EXPECT_THAT(warnings, ElementsAre("Overflow: overflow in the cast to F16: 2 values are beyond its range, finite in the source, in large (2)."));
}

// A run that is resumed may be cast (masters to module copies) without anybody having asked for a dtype.
TEST_F(ExecuteTest, SaysWhichValuesOverflowInACastThatNobodyAskedFor)
{
    ConvertRequest wish = request("out");
    wish.dtype = DType::F16;
    auto made = plan(tiny({{"large", DType::F32, {2}, bytesOfFloats({1e30f, 1.f})}}), wish);
    ASSERT_TRUE(made);
    made->request.dtype.reset();
    InlineExecutor executor;
    JobContext job;
    const auto report = executePlan(*made, executor, job);
    ASSERT_TRUE(report) << report.error().text();
    ASSERT_FALSE(report->lines.empty());
    EXPECT_EQ(report->lines.back().text, "overflow in the cast to F16: 1 value is beyond its range, finite in the source, in large (1).");
}

TEST_F(ExecuteTest, ReplacesACheckpointWhereItIsToldTo)
{
    const CheckpointPtr source = model();
    ASSERT_EQ(convert(source, request("out")), "");
    std::ofstream(path("out/config.json")) << "{}";
    ConvertRequest wish = request("out", "torch");
    wish.overwrite = true;
    EXPECT_THAT(planLinesOf(source, wish), Contains(HasSubstr("what is there now is deleted")));
    ASSERT_EQ(convert(source, wish), "");
    EXPECT_EQ(contentsOf(path("out")), contentsOf(source));
    EXPECT_FALSE(fs::exists(path("out/config.json")));
    EXPECT_THAT(names(), ElementsAre("data.bin", "out"));
    wish = request("out.pt", "torch");
    wish.overwrite = true; // nothing there yet
    ASSERT_EQ(convert(source, wish), "");
    EXPECT_EQ(contentsOf(path("out.pt")), contentsOf(source));
}

TEST_F(ExecuteTest, CountsWhatItReadsAndWrites)
{
    const CheckpointPtr source = model();
    ConvertRequest wish = request("out");
    ASSERT_EQ(convert(source, wish), "");
    EXPECT_EQ(m_report.bytesRead, 4800u + 4800u + 6u + 8u + 7u);
    EXPECT_EQ(m_report.bytesWritten, fs::file_size(path("out/model.safetensors")));
    EXPECT_GT(m_report.peakResidentBytes, 1u << 20);
    EXPECT_EQ(m_report.target, path("out"));
}

TEST_F(ExecuteTest, FindsADamagedResultBeforeItGetsItsName)
{
    const CheckpointPtr source = tiny({{"w", DType::F32, {700, 700}}});
    ConvertRequest wish = request("model.safetensors");
    wish.verify = true;
    wish.memoryLimit = kSmallMemory;
    const auto made = plan(source, wish);
    ASSERT_TRUE(made.ok());
    JobContext job;
    std::size_t steps = 0;
    ScriptedExecutor executor([&](std::size_t) {
        if (++steps != 3) // the first block was written, the last was not
            return;
        std::fstream file(path(names().front() + "/content/model.safetensors"), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(1000);
        file.put('\x7f');
    });
    const auto report = executePlan(*made, executor, job);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code(), ErrorCode::Corrupt) << report.error().text();
    EXPECT_THAT(report.error().text(), AllOf(HasSubstr("comparing the result with the source: w: byte "), HasSubstr(" in the source and 0x7f in the result")));
    EXPECT_THAT(names(), ElementsAre("data.bin"));
}

} // namespace
} // namespace shardlens::test
