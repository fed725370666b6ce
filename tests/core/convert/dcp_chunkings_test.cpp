// Random tilings of random tensors over random writers, read, written with others, and read again; holes and overlaps put into them are found.
#include "core/analysis/verify.h"
#include "tests/core/convert/convert_fixture.h"
#include "tests/support/dcp_test_save.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <numeric>
#include <random>
#include <set>

namespace shardlens::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Random = std::mt19937;

struct TestBox {
    Counts offset;
    Counts extent;
};

std::uint64_t volumeOfBox(const TestBox& box)
{
    return std::accumulate(box.extent.begin(), box.extent.end(), std::uint64_t{1}, std::multiplies<>());
}

// Disjoint boxes that fill the whole, by cutting what is there again and again at any place; empty ones may come out.
std::vector<TestBox> randomTiling(const Counts& shape, Random& random)
{
    std::vector<TestBox> out{{Counts(shape.size(), 0), shape}};
    for (std::size_t cuts = shape.empty() ? 0 : random() % 6; cuts > 0; --cuts) {
        const std::size_t which = random() % out.size();
        const std::size_t axis = random() % shape.size();
        TestBox first = out[which];
        TestBox second = first;
        const std::uint64_t at = random() % (first.extent[axis] + 1);
        first.extent[axis] = at;
        second.offset[axis] += at;
        second.extent[axis] -= at;
        out[which] = first;
        if (volumeOfBox(second) > 0 || volumeOfBox(first) > 0)
            out.push_back(second);
    }
    return out;
}

// Several tensors, their chunks in any order over some writers.
DcpTestSave randomSave(Random& random)
{
    DcpTestSave save;
    save.files.clear();
    const std::size_t writers = 1 + random() % 4;
    for (std::size_t writer = 0; writer < writers; ++writer)
        save.files.push_back(fmt::format("__{}_{}.distcp", writer, random() % 2));
    save.gap = random() % 3 == 0 ? random() % 50 : 0;
    save.hasHints = random() % 2 == 0;
    const std::size_t tensors = 1 + random() % 4;
    for (std::size_t i = 0; i < tensors; ++i) {
        Counts shape(random() % 4);
        for (std::uint64_t& extent : shape)
            extent = random() % 7 == 0 ? 0 : 1 + random() % 6;
        std::vector<DcpTestSave::Cut> cuts;
        std::set<Counts> offsets;
        for (const TestBox& box : randomTiling(shape, random))
            if (volumeOfBox(box) > 0 || offsets.insert(box.offset).second)
                cuts.push_back({box.offset, box.extent, random() % writers});
        // an empty box where another one begins would be a second place for one key
        std::set<Counts> full;
        for (const auto& cut : cuts)
            if (volumeOfBox({cut.offset, cut.extent}) > 0)
                full.insert(cut.offset);
        std::erase_if(cuts, [&](const DcpTestSave::Cut& cut) { return volumeOfBox({cut.offset, cut.extent}) == 0 && full.contains(cut.offset); });
        std::shuffle(cuts.begin(), cuts.end(), random);
        ItemForm form;
        form.isOld = random() % 2 == 0;
        form.isBigEndian = random() % 5 == 0;
        form.isDeflated = random() % 5 == 0;
        const std::string name = "t" + std::to_string(i);
        const std::vector<Py> path = random() % 2 == 0 ? std::vector<Py>{{name}} : std::vector<Py>{{std::string("part")}, {static_cast<std::int64_t>(i)}};
        save.addFloats(path, shape, static_cast<float>(100 * i), cuts, form);
    }
    std::shuffle(save.entries.begin(), save.entries.end(), random);
    return save;
}

class DcpChunkings : public ConvertTest {
protected:
    CheckpointPtr written(const DcpTestSave& save, const std::string& name)
    {
        save.write(path(name));
        return opened(name);
    }
    CheckpointPtr opened(const std::string& name) const
    {
        JobContext job;
        auto checkpoint = openCheckpoint(path(name), {}, job);
        EXPECT_TRUE(checkpoint.ok()) << (checkpoint ? "" : checkpoint.error().text());
        return checkpoint ? checkpoint.take() : nullptr;
    }
    static std::vector<std::string> verified(const CheckpointPtr& checkpoint)
    {
        JobContext job;
        InlineExecutor executor;
        const auto report = verifyCheckpoint(checkpoint, {}, executor, job);
        EXPECT_TRUE(report.ok());
        std::vector<std::string> out;
        for (const Finding& finding : report->findings)
            out.push_back(fmt::format("{}: {}", finding.severity == Severity::Error ? "error" : "note", finding.text));
        return out;
    }
    // What the values of a save must be, without any reader: names, shapes and values as the writer of the test made them.
    static std::vector<std::string> expectedOf(const DcpTestSave& save)
    {
        std::vector<std::string> out;
        for (const DcpTestEntry& entry : save.entries)
            out.push_back(entry.key());
        std::sort(out.begin(), out.end());
        return out;
    }
    ConvertRequest to(const std::string& target, const std::string& format, std::optional<std::uint32_t> writers = {}) const
    {
        ConvertRequest out = request(target, format);
        out.source = path("source");
        out.dp = writers;
        out.verify = true;
        return out;
    }
};

TEST_F(DcpChunkings, AnyTilingBecomesAnyOther)
{
    Random random(4711);
    for (int round = 0; round < 60; ++round) {
        SCOPED_TRACE(round);
        std::filesystem::remove_all(path("source"));
        std::filesystem::remove_all(path("dcp"));
        std::filesystem::remove_all(path("again"));
        std::filesystem::remove(path("flat.safetensors"));
        const DcpTestSave save = randomSave(random);
        const CheckpointPtr source = written(save, "source");
        ASSERT_NE(source, nullptr);
        EXPECT_THAT(verified(source), IsEmpty());
        const std::vector<std::string> contents = contentsOf(source);
        std::vector<std::string> names;
        for (const std::string& line : contents)
            names.push_back(line.substr(0, line.find(' ')));
        EXPECT_EQ(names, expectedOf(save));
        ASSERT_EQ(convert(source, to("dcp", "dcp", 1 + random() % 6)), "");
        EXPECT_EQ(contentsOf(path("dcp")), contents);
        ASSERT_EQ(convert(source, to("flat.safetensors", "safetensors")), "");
        EXPECT_EQ(contentsOf(path("flat.safetensors")), contents);
        ASSERT_EQ(convert(opened("flat.safetensors"), to("again", "dcp", 1 + random() % 6)), "");
        EXPECT_EQ(contentsOf(path("again")), contents);
    }
}

// Values against the test's own: chunks of a tensor that counts up.
TEST_F(DcpChunkings, TheValuesAreThoseThatWereCut)
{
    Random random(99);
    for (int round = 0; round < 60; ++round) {
        std::filesystem::remove_all(path("source"));
        std::filesystem::remove_all(path("whole"));
        const DcpTestSave save = randomSave(random);
        const CheckpointPtr source = written(save, "source");
        DcpTestSave whole; // the same in one chunk each: no join is needed
        for (const DcpTestEntry& entry : save.entries) {
            const std::string key = entry.key();
            const auto number = static_cast<float>(key.back() - '0');
            whole.addWhole(entry.path, entry.shape, 100 * number);
        }
        EXPECT_EQ(contentsOf(source), contentsOf(written(whole, "whole"))) << round;
    }
}

TEST_F(DcpChunkings, AHoleIsFoundAndRefusedByName)
{
    Random random(5);
    int holes = 0;
    for (int round = 0; round < 80; ++round) {
        std::filesystem::remove_all(path("source"));
        DcpTestSave save = randomSave(random);
        DcpTestEntry& entry = save.entries[random() % save.entries.size()];
        if (entry.chunks.empty())
            continue;
        const std::size_t which = random() % entry.chunks.size();
        if (volumeOfBox({entry.chunks[which].offset, entry.chunks[which].extent}) == 0)
            continue;
        ++holes;
        const std::string key = entry.key();
        switch (random() % 3) {
        case 0: entry.chunks[which].isStored = false; break;
        case 1: entry.chunks[which].isListed = entry.chunks[which].isStored = false; break;
        default: entry.chunks[which].item = std::string(entry.chunks[which].item.size(), 'x'); break;
        }
        const CheckpointPtr source = written(save, "source");
        ASSERT_NE(source, nullptr);
        EXPECT_THAT(verified(source), Contains(::testing::AllOf(::testing::StartsWith("error"), HasSubstr(key)))) << round;
        EXPECT_THAT(convert(source, to("out", "dcp", 2)), ::testing::AllOf(::testing::StartsWith("error: "), HasSubstr(key))) << round;
        EXPECT_THAT(names(), ::testing::ElementsAre("source"));
    }
    EXPECT_GT(holes, 20);
}

TEST_F(DcpChunkings, AnOverlapIsFoundAndRefusedByName)
{
    Random random(6);
    int overlaps = 0;
    for (int round = 0; round < 120; ++round) {
        std::filesystem::remove_all(path("source"));
        DcpTestSave save = randomSave(random);
        DcpTestEntry& entry = save.entries[random() % save.entries.size()];
        if (entry.shape.empty() || entry.chunks.empty())
            continue;
        // a box of one row more than some chunk has, along the first axis
        const DcpTestChunk& chunk = entry.chunks[random() % entry.chunks.size()];
        TestBox box{chunk.offset, chunk.extent};
        if (volumeOfBox(box) == 0 || box.offset[0] == 0)
            continue;
        --box.offset[0];
        ++box.extent[0];
        ++overlaps;
        const std::string key = entry.key();
        entry.chunks.push_back({box.offset, box.extent, chunk.file, floatItem(box.extent, std::vector<float>(volumeOfBox(box), -1))});
        const bool isTaken = std::any_of(entry.chunks.begin(), entry.chunks.end() - 1, [&](const DcpTestChunk& one) { return one.offset == box.offset; });
        if (isTaken) // two places for one key: another harm
            continue;
        const CheckpointPtr source = written(save, "source");
        ASSERT_NE(source, nullptr);
        EXPECT_THAT(verified(source), Contains(::testing::AllOf(::testing::StartsWith("error"), HasSubstr(key), HasSubstr("overlap")))) << round;
        EXPECT_THAT(convert(source, to("out", "dcp", 2)), ::testing::AllOf(::testing::StartsWith("error: "), HasSubstr(key))) << round;
    }
    EXPECT_GT(overlaps, 15);
}

} // namespace
} // namespace shardlens::test
