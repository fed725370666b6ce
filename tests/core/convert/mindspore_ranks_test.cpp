#include "core/encoding/tensor_reader.h"
#include "core/io/checksum.h"
#include "tests/core/convert/convert_fixture.h"
#include "tests/support/mindspore_test_run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <stop_token>

// MindSpore's ranks into those of another strategy and back, against slices that are found element by element.
namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

MindSporeLayout layout(std::vector<std::uint64_t> devices, std::vector<std::vector<std::uint32_t>> map, std::int32_t shardSize = 0)
{
    return {std::move(devices), std::move(map), shardSize};
}

// Names that no strategy lists come first: so the order of a rank's entries is that of the model.
MindSporeTestRun model()
{
    MindSporeTestRun run;
    run.tensors = {{"global_step", "Int32", 4, {}, {}},
                   {"table", "Float16", 2, {3, 5}, {}},
                   {"up", "Float32", 4, {48, 24}, {{0, layout({1}, {{}, {}})}}},
                   {"down", "BFloat16", 2, {24, 48}, {{0, layout({1}, {{}, {}})}}},
                   {"bias", "Float64", 8, {48}, {{0, layout({1}, {{}})}}},
                   {"ids", "Int8", 1, {24, 24, 2}, {{0, layout({1}, {{}, {}, {}})}}},
                   {"moment1.up", "Float32", 4, {48, 24}, {{0, layout({1}, {{}, {}})}}}};
    run.tensors[5].shape = {24, 24, 24};
    run.texts = {{"note", "made by a test"}};
    return run;
}

class MindSporeRanks : public ConvertTest {
protected:
    CheckpointPtr opened(const std::string& name, const std::string& strategy = {})
    {
        JobContext job;
        OpenOptions options;
        if (!strategy.empty())
            options.sourceStrategy = path(strategy);
        auto out = openCheckpoint(path(name), options, job);
        EXPECT_TRUE(out.ok()) << (out ? "" : out.error().text());
        return out ? out.take() : nullptr;
    }
    ConvertRequest wanted(const std::string& from, const std::string& strategy, const std::string& to, const std::string& targetStrategy = {})
    {
        ConvertRequest out = request(to, "mindspore");
        out.source = path(from);
        if (!strategy.empty())
            out.open.sourceStrategy = path(strategy);
        if (!targetStrategy.empty())
            out.strategy = path(targetStrategy);
        out.verify = true;
        return out;
    }
    std::string converted(const ConvertRequest& job)
    {
        JobContext context;
        const auto source = openCheckpoint(job.source, job.open, context);
        return source ? convert(*source, job) : source.error().text();
    }
    // Every tensor of a checkpoint is as the run made it.
    void expectWhole(const CheckpointPtr& checkpoint, const MindSporeTestRun& run)
    {
        ASSERT_NE(checkpoint, nullptr);
        const StreamSet streams(checkpoint);
        ASSERT_EQ(checkpoint->tensors().size(), run.tensors.size());
        for (std::size_t i = 0; i < checkpoint->tensors().size(); ++i) {
            const TensorId id = idAt<TensorId>(i);
            const auto expected = std::find_if(run.tensors.begin(), run.tensors.end(), [&](const MindSporeTensor& one) { return one.name == checkpoint->fullName(id); });
            ASSERT_NE(expected, run.tensors.end()) << checkpoint->fullName(id);
            EXPECT_EQ(checkpoint->tensor(id).shape, expected->shape) << expected->name;
            const std::string values = MindSporeTestRun::valuesOf(*expected);
            std::string read(values.size(), '\0');
            const auto reader = TensorReader::open(streams, id);
            ASSERT_TRUE(reader.ok()) << reader.error().text();
            ASSERT_TRUE(reader->readAt(0, std::as_writable_bytes(std::span(read)))) << expected->name;
            EXPECT_TRUE(read == values) << expected->name;
        }
    }
    // Every rank's file is byte for byte what the run writes, whatever it is called.
    void expectFiles(const std::string& folder, const MindSporeTestRun& run)
    {
        for (std::uint64_t rank = 0; rank < run.world(); ++rank) {
            const std::string inside = path(fmt::format("{}/rank_{}", folder, rank));
            ASSERT_TRUE(std::filesystem::is_directory(inside)) << inside;
            std::vector<std::string> files;
            for (const auto& entry : std::filesystem::directory_iterator(inside))
                files.push_back(entry.path());
            ASSERT_EQ(files.size(), 1u) << inside;
            EXPECT_TRUE(readText(files.front()) == run.fileOf(rank)) << files.front();
        }
    }
};

TEST_F(MindSporeRanks, RandomStrategiesGiveTheSlicesOfTheDefinitionAndTheSameBytesBack)
{
    constexpr std::array<std::uint64_t, 7> kDevices{1, 2, 3, 4, 6, 8, 12};
    std::mt19937 random(4711);
    for (int round = 0; round < 40; ++round) {
        SCOPED_TRACE(round);
        MindSporeTestRun from = model();
        MindSporeTestRun to = model();
        const bool isStaged = round % 3 == 0;
        from.shuffle(random, isStaged ? static_cast<std::uint32_t>(1 + random() % 3) : 1u, kDevices[random() % kDevices.size()]);
        to.shuffle(random, isStaged ? static_cast<std::uint32_t>(1 + random() % 3) : 1u, kDevices[random() % kDevices.size()]);
        from.write(path("a"));
        from.writeStrategy(path("a.ckpt"));
        to.writeStrategy(path("b.ckpt"));
        expectWhole(opened("a", "a.ckpt"), from);
        ASSERT_EQ(converted(wanted("a", "a.ckpt", "b", "b.ckpt")), "");
        expectWhole(opened("b", "b.ckpt"), to);
        ASSERT_EQ(converted(wanted("b", "b.ckpt", "c", "a.ckpt")), "");
        expectWhole(opened("c", "a.ckpt"), from);
        if (from.stages == 1 && to.stages == 1) {
            expectFiles("b", to);
            expectFiles("c", from);
        }
        for (const char* done : {"a", "b", "c"})
            std::filesystem::remove_all(path(done));
    }
}

class MindSporeFourToTwo : public MindSporeRanks {
protected:
    MindSporeFourToTwo()
    {
        for (MindSporeTensor& tensor : m_from.tensors)
            if (tensor.name == "up" || tensor.name == "moment1.up")
                tensor.layouts = {{0, layout({2, 2}, {{0}, {}}, -1)}};
            else if (tensor.name == "down")
                tensor.layouts = {{0, layout({2, 2}, {{}, {0}})}};
            else if (!tensor.layouts.empty())
                tensor.layouts.begin()->second.devices = {4};
        m_from.devices = 4;
        for (MindSporeTensor& tensor : m_to.tensors)
            if (tensor.name == "down")
                tensor.layouts = {{0, layout({2}, {{0}, {}})}};
            else if (!tensor.layouts.empty())
                tensor.layouts.begin()->second.devices = {2};
        m_to.devices = 2;
        m_from.write(path("four"));
        m_from.writeStrategy(path("four.ckpt"));
        m_to.writeStrategy(path("two.ckpt"));
    }

    MindSporeTestRun m_from = model();
    MindSporeTestRun m_to = model();
};

TEST_F(MindSporeFourToTwo, TheWholeModelIsOneFileAndTextsGoWithIt)
{
    ASSERT_EQ(converted(wanted("four", "four.ckpt", "whole")), "");
    EXPECT_TRUE(std::filesystem::exists(path("whole/net.ckpt")));
    expectWhole(opened("whole"), m_from);
    EXPECT_THAT(readText(path("whole/net.ckpt")), HasSubstr(ckptText("note", "made by a test")));
    ASSERT_EQ(converted(wanted("four", "four.ckpt", "alone.ckpt")), "");
    EXPECT_EQ(readText(path("alone.ckpt")), readText(path("whole/net.ckpt")));
}

TEST_F(MindSporeFourToTwo, AWholeModelBecomesRanks)
{
    MindSporeTestRun whole = model();
    whole.write(path("whole"), "net_", "-2_40.ckpt");
    ASSERT_EQ(converted(wanted("whole", "", "two", "two.ckpt")), "");
    expectFiles("two", m_to);
    EXPECT_TRUE(std::filesystem::exists(path("two/rank_1/net_1.ckpt")));
}

TEST_F(MindSporeFourToTwo, OneRankAlone)
{
    ConvertRequest job = wanted("four", "four.ckpt", "one", "two.ckpt");
    job.rank = 1;
    ASSERT_EQ(converted(job), "");
    EXPECT_FALSE(std::filesystem::exists(path("one/rank_0")));
    EXPECT_TRUE(readText(path("one/rank_1/net_rank_1.ckpt")) == m_to.fileOf(1));
    job.target = path("rank1.ckpt");
    ASSERT_EQ(converted(job), "");
    EXPECT_TRUE(readText(path("rank1.ckpt")) == m_to.fileOf(1));
    job.target = path("reads");
    EXPECT_THAT(planLinesOf(opened("four", "four.ckpt"), job), Contains(AllOf(HasSubstr("info Reads: Of 4 files of the source"), HasSubstr("rank_3/net_rank_3.ckpt"))));
    job.rank = 2;
    job.target = path("other");
    EXPECT_THAT(converted(job), HasSubstr("ranks 0 to 1"));
}

TEST_F(MindSporeFourToTwo, SafetensorsAndBack)
{
    ConvertRequest job = wanted("four", "four.ckpt", "st", "two.ckpt");
    job.outputFormat = "safetensors";
    job.prefix = "llama_rank_";
    EXPECT_THAT(planLinesOf(opened("four", "four.ckpt"), job), Contains(AllOf(HasSubstr("dropped"), HasSubstr("note"))));
    ASSERT_EQ(converted(job), "");
    EXPECT_TRUE(std::filesystem::exists(path("st/rank_1/llama_rank_1.safetensors")));
    expectWhole(opened("st", "two.ckpt"), m_to);
    job = wanted("st", "two.ckpt", "back", "four.ckpt");
    job.outputFormat = "ckpt";
    ASSERT_EQ(converted(job), "");
    expectWhole(opened("back", "four.ckpt"), m_from);
    EXPECT_TRUE(std::filesystem::exists(path("back/rank_3/llama_rank_3.ckpt")));
}

TEST_F(MindSporeFourToTwo, RanksWithoutStrategiesChangeTheContainerAlone)
{
    ConvertRequest job = wanted("four", "", "st");
    EXPECT_THAT(converted(job), AllOf(HasSubstr("4 rank folders"), HasSubstr("--source-strategy")));
    job.outputFormat = "safetensors";
    ASSERT_EQ(converted(job), "");
    EXPECT_EQ(opened("st")->tensors().size(), 4 * m_from.tensors.size());
    expectWhole(opened("st", "four.ckpt"), m_from);
    job = wanted("four", "", "two", "two.ckpt");
    EXPECT_THAT(converted(job), HasSubstr("--source-strategy"));
}

TEST_F(MindSporeFourToTwo, FilesThatLieElsewhere)
{
    std::filesystem::rename(path("four/rank_2"), path("elsewhere"));
    ConvertRequest job = wanted("four", "four.ckpt", "two", "two.ckpt");
    EXPECT_THAT(converted(job), HasSubstr("Rank 2"));
    EXPECT_FALSE(std::filesystem::exists(path("two")));
    job.open.rankFiles[1'000'000'000] = path("elsewhere/net_rank_2.ckpt");
    EXPECT_THAT(converted(job), HasSubstr("at most 65,536 ranks"));
    job.open.rankFiles.clear();
    job.open.rankFiles[2] = path("elsewhere/net_rank_2.ckpt");
    ASSERT_EQ(converted(job), "");
    expectFiles("two", m_to);
}

TEST_F(MindSporeFourToTwo, OtherFormatsBecomeRanksAndRanksOtherFormats)
{
    ConvertRequest job = wanted("four", "four.ckpt", "model.safetensors");
    job.to = "safetensors";
    ASSERT_EQ(converted(job), "");
    expectWhole(opened("model.safetensors"), m_from);
    job = wanted("model.safetensors", "", "two", "two.ckpt");
    ASSERT_EQ(converted(job), "");
    expectWhole(opened("two", "two.ckpt"), m_to);
    EXPECT_TRUE(std::filesystem::exists(path("two/rank_1/model_rank_1.ckpt")));
}

TEST_F(MindSporeFourToTwo, WhatDoesNotDivideIsNamed)
{
    MindSporeTestRun odd = m_to;
    for (MindSporeTensor& tensor : odd.tensors)
        if (!tensor.layouts.empty())
            tensor.layouts = {{0, layout({5}, std::vector<std::vector<std::uint32_t>>(tensor.shape.size()))}};
    odd.tensors[3].layouts.begin()->second.map[1] = {0}; // 48 columns over 5
    odd.devices = 5;
    odd.writeStrategy(path("five.ckpt"));
    EXPECT_THAT(converted(wanted("four", "four.ckpt", "five", "five.ckpt")), AllOf(HasSubstr("down"), HasSubstr("48"), HasSubstr("divi")));
    EXPECT_FALSE(std::filesystem::exists(path("five")));
}

TEST_F(MindSporeFourToTwo, AStrategyOfOtherTensorsIsRefused)
{
    MindSporeTestRun other = m_to;
    for (MindSporeTensor& tensor : other.tensors)
        tensor.name = "other." + tensor.name;
    other.writeStrategy(path("other.ckpt"));
    EXPECT_THAT(converted(wanted("four", "four.ckpt", "out", "other.ckpt")), HasSubstr("no tensor of the source is in the strategy"));
}

TEST_F(MindSporeFourToTwo, WhatOneStrategyLacksIsCopiedAsItIs)
{
    MindSporeTestRun less = m_to;
    std::erase_if(less.tensors, [](const MindSporeTensor& tensor) { return tensor.name == "up"; });
    less.writeStrategy(path("less.ckpt"));
    const ConvertRequest job = wanted("four", "four.ckpt", "out", "less.ckpt");
    EXPECT_THAT(planLinesOf(opened("four", "four.ckpt"), job), Contains(AllOf(HasSubstr("warning"), HasSubstr("up"))));
    ASSERT_EQ(converted(job), "");
    JobContext context;
    const auto rank = openCheckpoint(path("out/rank_1"), {}, context);
    ASSERT_TRUE(rank.ok());
    const auto& tensors = (*rank)->tensors();
    const auto up = std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& one) { return (*rank)->parameters()[indexOf(one.parameter)] == "up"; });
    ASSERT_NE(up, tensors.end());
    EXPECT_EQ(up->shape, (Shape{12, 24})); // rank 1's own slice
}

TEST_F(MindSporeFourToTwo, WhatNoStrategyListsIsTakenForCopiesThatAreCompared)
{
    const CheckpointPtr source = opened("four", "four.ckpt");
    ASSERT_NE(source, nullptr);
    std::size_t compared = 0;
    for (const Tensor& tensor : source->tensors()) {
        const std::string& name = source->parameters()[indexOf(tensor.parameter)];
        EXPECT_EQ(tensor.unprovenCopies, name == "global_step" || name == "table") << name;
        EXPECT_FALSE(tensor.quantizedPart) << name;
        compared += tensor.unprovenCopies ? 1 : 0;
    }
    EXPECT_EQ(compared, 2u);
}

TEST_F(MindSporeFourToTwo, AStrategyThatCutsTheSameNamesOtherwiseIsNoticedByCopiesThatDiffer)
{
    MindSporeTestRun wrong = m_from; // rows of up over the other axis: the same shapes
    for (MindSporeTensor& tensor : wrong.tensors)
        if (tensor.name == "down")
            tensor.layouts = {{0, layout({2, 2}, {{}, {1}})}};
    wrong.writeStrategy(path("wrong.ckpt"));
    ConvertRequest job = wanted("four", "wrong.ckpt", "out.safetensors");
    job.to = "safetensors";
    job.verify = false;
    EXPECT_THAT(planLinesOf(opened("four", "wrong.ckpt"), job), Contains(AllOf(HasSubstr("Copies differ"), HasSubstr("down"), HasSubstr("strategy"))));
    EXPECT_THAT(planLinesOf(opened("four", "four.ckpt"), wanted("four", "four.ckpt", "out")), Not(Contains(HasSubstr("Copies differ"))));
}

TEST_F(MindSporeFourToTwo, PlansSayWhatIsConvertedAndThatRanksLackAStrategy)
{
    ConvertRequest job = wanted("four", "", "out.safetensors");
    job.to = "safetensors";
    EXPECT_THAT(planLinesOf(opened("four"), job), Contains(AllOf(HasSubstr("warning Source"), HasSubstr("--source-strategy"))));
    m_from.write(path("four"), "net_rank_", "-1_1.ckpt");
    m_from.write(path("four"), "net_rank_", "-2_1.ckpt");
    EXPECT_THAT(planLinesOf(opened("four", "four.ckpt"), wanted("four", "four.ckpt", "out")), Contains(AllOf(HasSubstr("info Save"), HasSubstr("epoch 2, step 1"), HasSubstr("1_1"))));
}

TEST_F(MindSporeFourToTwo, AStrategyMeansMindSpore)
{
    ConvertRequest job = wanted("four", "four.ckpt", "model.safetensors");
    job.to = "safetensors";
    ASSERT_EQ(converted(job), "");
    job = wanted("model.safetensors", "", "two", "two.ckpt");
    job.to.reset();
    ASSERT_EQ(converted(job), "");
    expectWhole(opened("two", "two.ckpt"), m_to);
}

TEST_F(MindSporeFourToTwo, OptionsThatMeanNothingAreRefused)
{
    ConvertRequest job = wanted("four", "four.ckpt", "out", "two.ckpt");
    job.tp = 2;
    EXPECT_THAT(converted(job), AllOf(HasSubstr("--tp"), HasSubstr("--strategy")));
    job = wanted("four", "four.ckpt", "out.ckpt", "two.ckpt");
    EXPECT_THAT(converted(job), HasSubstr("--rank writes one of them"));
    job = wanted("four", "four.ckpt", "out");
    job.rank = 0;
    EXPECT_THAT(converted(job), HasSubstr("without --strategy"));
    job = wanted("four", "four.ckpt", "out", "two.ckpt");
    job.prefix = "../x";
    EXPECT_THAT(converted(job), HasSubstr("--prefix"));
    job = wanted("four", "four.ckpt", "out.safetensors");
    job.to = "safetensors";
    job.strategy = path("two.ckpt");
    EXPECT_THAT(converted(job), HasSubstr("--strategy is for --to mindspore"));
    job = wanted("four", "four.ckpt", "out", "four/rank_0/net_rank_0.ckpt");
    EXPECT_THAT(converted(job), AllOf(HasSubstr("the target's strategy"), HasSubstr("weights")));
    job = wanted("four", "four.ckpt", "out.ckpt");
    job.outputFormat = "safetensors";
    EXPECT_THAT(converted(job), HasSubstr("--output-format"));
    EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(MindSporeFourToTwo, TypesThatOnlyMindSporeHasAreKept)
{
    writeBytes(path("int4/rank_0/net_0.ckpt"), ckptRecord("q", "Int4", {2, 3}, "abcdef") + ckptRecord("random_op", "random_op", {}, "state") + ckptRecord("w", "Float32", {1}, "0123"));
    ASSERT_EQ(converted(wanted("int4", "", "again")), "");
    EXPECT_EQ(readText(path("again/net.ckpt")), ckptRecord("q", "Int4", {2, 3}, "abcdef") + ckptRecord("w", "Float32", {1}, "0123") + ckptRecord("random_op", "random_op", {}, "state"));
}

TEST_F(MindSporeFourToTwo, AFileWhoseChecksumDoesNotAgreeStopsTheJob)
{
    const std::string records = m_from.fileOf(1);
    const std::uint32_t crc = crc32Of(std::as_bytes(std::span(records)));
    writeBytes(path("four/rank_1/net_rank_1.ckpt"), records + crcTrailerText(crc));
    ASSERT_EQ(converted(wanted("four", "four.ckpt", "two", "two.ckpt")), "");
    std::string harmed = records + crcTrailerText(crc);
    harmed[records.size() / 2] = static_cast<char>(harmed[records.size() / 2] ^ 1);
    writeBytes(path("four/rank_1/net_rank_1.ckpt"), harmed);
    EXPECT_THAT(converted(wanted("four", "four.ckpt", "out", "two.ckpt")), AllOf(HasSubstr("rank_1/net_rank_1.ckpt"), HasSubstr("CRC")));
    EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(MindSporeFourToTwo, WhatTheTargetLeavesWithoutTensorsIsRefused)
{
    MindSporeTestRun staged = m_to;
    staged.stages = 2;
    staged.tensors.push_back({"absent", "Float32", 4, {2}, {{1, layout({2}, {{}})}}});
    staged.tensors.erase(staged.tensors.begin(), staged.tensors.begin() + 2); // what no strategy lists would go to every rank
    MindSporeTestRun whole = model();
    whole.tensors.erase(whole.tensors.begin(), whole.tensors.begin() + 2);
    whole.texts.clear();
    whole.write(path("whole"));
    staged.writeStrategy(path("staged.ckpt"));
    EXPECT_THAT(converted(wanted("whole", "", "out", "staged.ckpt")), AllOf(HasSubstr("rank 2 would hold nothing"), HasSubstr("stage 1")));
    EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(MindSporeFourToTwo, OfParametersOfSeveralStagesTheLowestCounts)
{
    MindSporeTestRun two;
    two.stages = 2;
    two.devices = 2;
    two.tensors = {{"w", "Int8", 1, {4, 2}, {{0, layout({2}, {{0}, {}})}, {1, layout({2}, {{}, {0}})}}}};
    two.write(path("staged"));
    two.writeStrategy(path("staged.ckpt"));
    for (const char* rank : {"2", "3"}) // other values in the later stage
        writeBytes(path(fmt::format("staged/rank_{}/net_rank_{}.ckpt", rank, rank)), ckptRecord("w", "Int8", {4, 1}, "????"));
    expectWhole(opened("staged", "staged.ckpt"), two);
}

TEST_F(MindSporeFourToTwo, Int4SurvivesSafetensors)
{
    for (const char* rank : {"0", "1"})
        writeBytes(path(fmt::format("int4/rank_{}/q_{}.ckpt", rank, rank)), ckptRecord("q", "Int4", {2, 3}, "abcdef"));
    ConvertRequest job = wanted("int4", "", "st");
    job.outputFormat = "safetensors";
    ASSERT_EQ(converted(job), "");
    job = wanted("st", "", "back");
    job.outputFormat = "ckpt";
    ASSERT_EQ(converted(job), "");
    EXPECT_EQ(readText(path("back/rank_1/q_1.ckpt")), ckptRecord("q", "Int4", {2, 3}, "abcdef"));
}

// The map parameter of formats/mindspore.md §7.1.
TEST_F(MindSporeFourToTwo, HashTablesAreRefused)
{
    constexpr std::string_view kHex = "0a520a03656d621a4b0a1308021205696e7433321a0805000000090000000a1f080208021207666c6f617433321a100000803f0000004000004040000080400a1308021205696e7433321a080100000001000000";
    std::string record;
    for (std::size_t i = 0; i < kHex.size(); i += 2)
        record += static_cast<char>(std::stoi(std::string(kHex.substr(i, 2)), nullptr, 16));
    writeBytes(path("map.ckpt"), record);
    EXPECT_THAT(converted(wanted("map.ckpt", "", "out")), AllOf(HasSubstr("emb"), HasSubstr("hash table")));
    EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(MindSporeFourToTwo, ACancelLeavesNothing)
{
    std::stop_source stop;
    JobContext job(stop.get_token());
    const auto source = openCheckpoint(path("four"), wanted("four", "four.ckpt", "x").open, job);
    ASSERT_TRUE(source.ok());
    const auto made = plan(*source, wanted("four", "four.ckpt", "out", "two.ckpt"));
    ASSERT_TRUE(made.ok()) << made.error().text();
    ScriptedExecutor executor([&](std::size_t index) {
        if (index == 1)
            stop.request_stop();
    });
    const auto done = executePlan(*made, executor, job);
    ASSERT_FALSE(done.ok());
    EXPECT_EQ(done.error().code(), ErrorCode::Cancelled);
    EXPECT_THAT(names(), Not(Contains(HasSubstr("out"))));
}

} // namespace
} // namespace shardlens::test
