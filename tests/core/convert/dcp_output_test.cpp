// `--to dcp`: directories that torch.distributed.checkpoint loads (formats/pytorch.md §9.10). tests/interop asks torch itself.
#include "core/analysis/verify.h"
#include "core/base/text.h"
#include "core/encoding/dcp_metadata.h"
#include "core/io/byte_source.h"
#include "tests/core/convert/convert_fixture.h"
#include "tests/support/dcp_test_save.h"
#include "tests/support/torch_test_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstring>
#include <filesystem>
#include <numeric>

namespace shardlens::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

class DcpOutput : public ConvertTest {
protected:
    static CheckpointPtr opened(const std::string& path)
    {
        JobContext job;
        auto checkpoint = openCheckpoint(path, {}, job);
        EXPECT_TRUE(checkpoint.ok()) << (checkpoint ? "" : checkpoint.error().text());
        return checkpoint ? checkpoint.take() : nullptr;
    }
    [[nodiscard]] ConvertRequest toDcp(const std::string& target, std::uint32_t writers = 1, std::optional<Select> select = {}) const
    {
        ConvertRequest out = request(target, "dcp");
        out.dp = writers;
        out.select = select;
        return out;
    }
    CheckpointPtr model()
    {
        return tiny({{"a", DType::F32, {5, 3}}, {"b", DType::BF16, {3}}, {"scalar", DType::F64, {}}, {"empty", DType::F32, {0, 4}}, {"ids", DType::I64, {2, 2}}}, {{"tied", "a"}});
    }
    // "a.b F32 [5, 3]: [0, 0]+[2, 3] in __0_0.distcp" of every key, sorted; objects "x object in …".
    std::vector<std::string> written(const std::string& name) const
    {
        JobContext job;
        const auto source = FileSource::open(path(name + "/.metadata"));
        EXPECT_TRUE(source.ok());
        auto bytes = readBytes(**source, 0, (*source)->size(), 1 << 30);
        const auto metadata = DcpMetadata::parse(std::make_shared<const std::vector<std::byte>>(bytes.take()), job);
        EXPECT_TRUE(metadata.ok()) << metadata.error().text();
        std::vector<std::string> out;
        for (const DcpEntry& entry : metadata->entries) {
            if (entry.kind == DcpEntry::Kind::Bytes) {
                out.push_back(fmt::format("{} object in {}", entry.key, metadata->files.at(entry.item.file)));
                continue;
            }
            std::string line = fmt::format("{} {}:", entry.key, nameOf(entry.dtype));
            for (std::size_t chunk = entry.firstChunk; chunk < entry.firstChunk + entry.chunkCount; ++chunk)
                line += fmt::format(" [{}]+[{}] in {}", fmt::join(metadata->chunks.offset(chunk), ","), fmt::join(metadata->chunks.extent(chunk), ","), metadata->files.at(metadata->chunks.item(chunk).file));
            out.push_back(line);
        }
        EXPECT_THAT(metadata->remarks, IsEmpty());
        std::sort(out.begin(), out.end());
        return out;
    }
    // "warning: text" of what verify finds.
    static std::vector<std::string> verified(const std::string& path)
    {
        JobContext job;
        InlineExecutor executor;
        const auto report = verifyCheckpoint(opened(path), {}, executor, job);
        EXPECT_TRUE(report.ok());
        std::vector<std::string> out;
        for (const Finding& finding : report->findings)
            out.push_back(finding.code + ": " + finding.text);
        return out;
    }
};

TEST_F(DcpOutput, HoldsTheSameTensorsWithAnyNumberOfWriters)
{
    const CheckpointPtr source = model();
    const std::vector<std::string> before = contentsOf(source);
    for (const std::uint32_t writers : {1u, 2u, 3u, 8u}) {
        const std::string name = fmt::format("out{}", writers);
        ConvertRequest wanted = toDcp(name, writers);
        wanted.verify = true;
        ASSERT_EQ(convert(source, wanted), "");
        EXPECT_TRUE(m_report.verified);
        EXPECT_EQ(contentsOf(path(name)), before);
        EXPECT_THAT(verified(path(name)), IsEmpty());
        EXPECT_EQ(std::distance(fs::directory_iterator(path(name)), fs::directory_iterator()), writers + 1);
    }
}

TEST_F(DcpOutput, RowsAreDealtToTheWriters)
{
    ASSERT_EQ(convert(model(), toDcp("out", 3)), "");
    EXPECT_THAT(written("out"), ElementsAre("a F32: [0,0]+[2,3] in __0_0.distcp [2,0]+[2,3] in __1_0.distcp [4,0]+[1,3] in __2_0.distcp",
                                            "b BF16: [0]+[1] in __0_0.distcp [1]+[1] in __1_0.distcp [2]+[1] in __2_0.distcp", StartsWith("empty F32: [0,0]+[0,4] in "),
                                            "ids I64: [0,0]+[1,2] in __0_0.distcp [1,0]+[1,2] in __1_0.distcp", StartsWith("scalar F64: []+[] in "), StartsWith("tied F32: [0,0]+[2,3] in __0_0.distcp")));
}

TEST_F(DcpOutput, MoreWritersThanRowsLeaveEmptyFiles)
{
    ASSERT_EQ(convert(tiny({{"w", DType::F32, {2, 2}}}), toDcp("out", 5)), "");
    EXPECT_EQ(fs::file_size(path("out/__4_0.distcp")), 0u);
    EXPECT_THAT(written("out"), ElementsAre("w F32: [0,0]+[1,2] in __0_0.distcp [1,0]+[1,2] in __1_0.distcp"));
    EXPECT_THAT(verified(path("out")), IsEmpty());
    EXPECT_THAT(opened(path("out"))->findings(), IsEmpty());
}

TEST_F(DcpOutput, ThePlanSaysWhatIsWritten)
{
    const std::vector<std::string> lines = planLinesOf(model(), toDcp("out", 2));
    EXPECT_THAT(lines, Contains(StartsWith("file __0_0.distcp: ")));
    EXPECT_THAT(lines, Contains(StartsWith("file __1_0.distcp: ")));
    EXPECT_THAT(lines, Contains(StartsWith("file .metadata: 0 tensors")));
    EXPECT_THAT(lines, Contains(StartsWith("kept Weights: 6 tensors")));
    EXPECT_THAT(lines, Contains("duplicated Tied names: a and tied were tied; dcp knows no ties, so the values are written twice (60 B)."));
}

TEST_F(DcpOutput, CastsAreWritten)
{
    ConvertRequest wanted = toDcp("out", 2);
    wanted.dtype = DType::F16;
    wanted.verify = true;
    ASSERT_EQ(convert(tiny({{"a", DType::F32, {3}, bytesOfFloats({1, 2.5f, 1e9f})}, {"i", DType::I64, {1}}}), wanted), "");
    EXPECT_THAT(written("out"), ElementsAre(StartsWith("a F16: [0]+[2]"), StartsWith("i I64:")));
    std::vector<std::string> said;
    for (const PlanLine& line : m_report.lines)
        said.push_back(line.text);
    EXPECT_THAT(said, Contains(HasSubstr("F32 to F16")));
    EXPECT_THAT(said, Contains(HasSubstr("overflow")));
}

TEST_F(DcpOutput, EveryDTypeThatTorchHasIsWritten)
{
    std::vector<TinyTensor> tensors;
    for (const DTypeInfo& one : allDTypes())
        if (!one.torchName.empty() && one.kind != DTypeKind::Quantized)
            tensors.push_back({std::string(one.name), one.dtype, {4, 2}});
    ASSERT_GT(tensors.size(), 15u);
    const CheckpointPtr source = tiny(tensors);
    std::vector<std::string> wanted;
    for (const std::string& line : contentsOf(source))
        if (!line.starts_with("F4 ")) // two values a byte: chunks of it are not read back
            wanted.push_back(line);
    ConvertRequest asked = toDcp("out", 2);
    asked.exclude = {"^F4$"};
    ASSERT_EQ(convert(source, asked), "");
    EXPECT_EQ(contentsOf(path("out")), wanted);
}

TEST_F(DcpOutput, ATrainingRunNestsAsTorchDoes)
{
    writeRun();
    ASSERT_EQ(convert(openRun(), toDcp("out", 1, Select::All)), "");
    const std::vector<std::string> keys = written("out");
    EXPECT_THAT(keys, Contains(StartsWith("model.embed.weight F32:")));
    EXPECT_THAT(keys, Contains(StartsWith("optimizer.state.embed.weight.exp_avg F32:")));
    EXPECT_EQ(contentsOf(path("out")), contentsOf(openRun())); // the weights
    const CheckpointPtr result = opened(path("out"));
    std::vector<std::string> names;
    for (std::size_t i = 0; i < result->tensors().size(); ++i)
        names.push_back(result->fullName(idAt<TensorId>(i)));
    EXPECT_THAT(names, AllOf(Contains("embed.weight"), Contains("embed.weight/exp_avg"), Contains("norm.bias/exp_avg_sq")));
    ASSERT_EQ(convert(openRun(), toDcp("moments", 3, Select::Optimizer)), "");
    EXPECT_THAT(written("moments"), Each(StartsWith("optimizer.state.")));
    ConvertRequest back = request("moments.safetensors");
    back.select = Select::Optimizer;
    ASSERT_EQ(convert(opened(path("moments")), back), "");
}

TEST_F(DcpOutput, ATiedModuleCopyKeepsItsName)
{
    JobContext job;
    const auto sample = openCheckpoint(SHARDLENS_SOURCE_DIR "/resources/sample", {}, job);
    ASSERT_TRUE(sample.ok()) << sample.error().text();
    ConvertRequest wanted = toDcp("out", 1, Select::All);
    wanted.verify = true;
    ASSERT_EQ(convert(*sample, wanted), "");
    EXPECT_THAT(written("out"), AllOf(Contains(StartsWith("module.embed.weight ")), Contains(StartsWith("module.head.weight "))));
}

// ---- refusals ----

TEST_F(DcpOutput, OptionsThatMeanNothingAreRefused)
{
    const auto refused = [&](const std::function<void(ConvertRequest&)>& change) {
        ConvertRequest wanted = toDcp("out");
        change(wanted);
        return convert(model(), wanted);
    };
    EXPECT_THAT(refused([](ConvertRequest& one) { one.maxShardBytes = 1000; }), HasSubstr("--max-shard-size means nothing for dcp: --dp says how many files there are"));
    EXPECT_THAT(refused([](ConvertRequest& one) { one.tp = 2; }), HasSubstr("--tp means nothing for dcp: --dp is the number of its writers"));
    EXPECT_THAT(refused([](ConvertRequest& one) { one.pp = 2; }), HasSubstr("--pp means nothing for dcp"));
    EXPECT_THAT(refused([](ConvertRequest& one) { one.rank = 0; }), HasSubstr("--rank means nothing for dcp"));
    EXPECT_THAT(refused([](ConvertRequest& one) { one.zeroStage = 1; }), HasSubstr("--zero-stage means nothing for dcp"));
    EXPECT_THAT(refused([](ConvertRequest& one) { one.target += ".pt"; }), HasSubstr("the target's name says torch, and --to says dcp"));
    EXPECT_THAT(refused([](ConvertRequest& one) { one.target += ".safetensors"; }), HasSubstr("the target's name says safetensors, and --to says dcp"));
    EXPECT_THAT(refused([](ConvertRequest& one) { one.keepObjects = true; }), HasSubstr("--keep-objects"));
    EXPECT_THAT(names(), ElementsAre("data.bin"));
}

TEST_F(DcpOutput, WhatTorchCannotNameIsRefused)
{
    EXPECT_THAT(convert(tiny({{"q", DType::F6E2M3, {4}}}), toDcp("out")), HasSubstr("q is F6_E2M3, which dcp cannot hold"));
}

TEST_F(DcpOutput, ACancelAtAnyMomentLeavesNothing)
{
    const CheckpointPtr source = tiny({{"a", DType::F32, {400, 1000}}, {"b", DType::F32, {1000}}});
    ConvertRequest wanted = toDcp("out", 3);
    wanted.memoryLimit = kSmallMemory;
    wanted.verify = true;
    const auto made = plan(source, wanted);
    ASSERT_TRUE(made.ok()) << made.error().text();
    std::size_t steps = 0;
    {
        JobContext job;
        ScriptedExecutor executor([&](std::size_t) { ++steps; });
        ASSERT_TRUE(executePlan(*made, executor, job).ok());
        fs::remove_all(path("out"));
    }
    ASSERT_GT(steps, 5u);
    for (std::size_t stopAt = 0; stopAt < steps; ++stopAt) {
        std::stop_source stop;
        JobContext job(stop.get_token());
        std::size_t step = 0;
        ScriptedExecutor executor([&](std::size_t) {
            if (step++ == stopAt)
                stop.request_stop();
        });
        const auto report = executePlan(*made, executor, job);
        ASSERT_FALSE(report.ok()) << stopAt;
        EXPECT_EQ(report.error().code(), ErrorCode::Cancelled);
        EXPECT_THAT(names(), ElementsAre("data.bin")) << stopAt;
    }
}

// ---- checksums ----

TEST_F(DcpOutput, ABitThatFlipsIsFoundByKeyAndPlace)
{
    ASSERT_EQ(convert(model(), toDcp("out", 2)), "");
    const std::string file = path("out/__1_0.distcp");
    const std::string sound = readText(file);
    std::string needle; // rows 3 and 4 of a count up byte by byte from 36
    for (int i = 36; i < 44; ++i)
        needle += static_cast<char>(i);
    const std::size_t place = sound.find(needle);
    ASSERT_NE(place, std::string::npos);
    std::string harmed = sound;
    harmed[place] ^= 1;
    writeBytesTo(file, harmed);
    EXPECT_THAT(verified(path("out")), Contains(AllOf(HasSubstr("checksum: __1_0.distcp: item of a at 0: data/0 (a): the checksum (CRC-32)"), HasSubstr("they have changed since"))));

    // What was read is summed too where a conversion is verified: the result has checksums of its own, and nothing could tell later.
    const auto harmSaid = [&](const char* target, bool verify, const char* include) {
        JobContext job;
        const auto source = openCheckpoint(path("out"), {}, job);
        ConvertRequest wanted = request(target);
        wanted.verify = verify;
        wanted.include = {include};
        EXPECT_EQ(convert(*source, wanted), "");
        return std::any_of(m_report.lines.begin(), m_report.lines.end(), [](const PlanLine& line) { return line.topic == "Source is damaged" && line.text.find("(a): the checksum") != std::string::npos; });
    };
    EXPECT_TRUE(harmSaid("one", true, "."));
    EXPECT_FALSE(harmSaid("two", false, "."));
    EXPECT_FALSE(harmSaid("three", true, "^b$")) << "the harmed tensor has no part in it";
}

// The beginnings of items are compared with those that were parsed; what is behind them is not read on opening.
TEST_F(DcpOutput, AnyByteOfAnItemThatIsHarmedIsFound)
{
    const std::string name = path("many");
    DcpTestSave save;
    save.addFloats({{std::string("w")}}, {3, 2}, 1, {{{0, 0}, {1, 2}}, {{1, 0}, {1, 2}}, {{2, 0}, {1, 2}}});
    save.write(name);
    const std::string sound = readText(name + "/__0_0.distcp");
    const std::size_t length = sound.size() / 3;
    EXPECT_THAT(verified(name), IsEmpty());
    const auto harmIsSeen = [&](std::size_t at) {
        std::string harmed = sound;
        harmed[at] = static_cast<char>(harmed[at] ^ 0x15);
        writeBytesTo(name + "/__0_0.distcp", harmed);
        return !verified(name).empty();
    };
    const auto expectSeen = [&](std::size_t begin, std::size_t count) {
        for (std::size_t at = begin; at < begin + count; ++at)
            EXPECT_TRUE(harmIsSeen(at)) << at - length;
    };
    const std::size_t pickle = length + 64;
    ASSERT_EQ(sound.substr(pickle, 2), "\x80\x02");
    expectSeen(pickle, sound.find('.', sound.find("OrderedDict", pickle)) - pickle);
    expectSeen(sound.find(bytesOfFloatsLe({3, 4})), 8);
    const std::size_t directory = sound.find("PK\x01\x02", length);
    ASSERT_LT(directory, 2 * length);
    expectSeen(directory, 4);
    expectSeen(directory + 16, 14); // checksum, sizes and the length of the name
    expectSeen(2 * length - 22, 4);
    expectSeen(2 * length - 10, 8); // where the directory lies
    const std::size_t end = 2 * length - 22; // the end record of the middle item
    ASSERT_EQ(sound.substr(end, 4), std::string("PK\x05\x06"));
    std::string harmed = sound;
    harmed[end] = 'X';
    writeBytesTo(name + "/__0_0.distcp", harmed);
    EXPECT_THAT(verified(name), ElementsAre(AllOf(HasSubstr(fmt::format("item of w at {}", groupedText(length))), HasSubstr("(w)"), HasSubstr("it is no archive any more"))));
}

TEST_F(DcpOutput, ItemsWithGapsBetweenThemAreCheckedToo)
{
    DcpTestSave save;
    save.gap = 100;
    save.addFloats({{std::string("w")}}, {2, 2}, 1, {{{0, 0}, {1, 2}}, {{1, 0}, {1, 2}}});
    save.write(path("gaps"));
    EXPECT_THAT(verified(path("gaps")), IsEmpty());
    const std::string file = path("gaps/__0_0.distcp");
    std::string bytes = readText(file);
    bytes[bytes.find(bytesOfFloatsLe({1, 2}))] ^= 1;
    writeBytesTo(file, bytes);
    EXPECT_THAT(verified(path("gaps")), ElementsAre(HasSubstr("item of w at 0: data/0 (w)")));
}

// ---- whole trees ----

struct TreeSource {
    std::vector<TestStorage> storages;

    Py floats(const Counts& shape, float first, const Counts& strides = {})
    {
        const std::uint64_t count = std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>());
        storages.push_back({count * 4, [first](std::uint64_t offset, std::span<std::byte> out) {
                                for (std::size_t i = 0; i + 4 <= out.size(); i += 4) {
                                    const float value = first + static_cast<float>((offset + i) / 4);
                                    std::memcpy(out.data() + i, &value, 4);
                                }
                            }});
        return {Py::Tensor{"FloatStorage", storages.size() - 1, count, 0, shape, strides}};
    }
};

class DcpTrees : public DcpOutput {
protected:
    // A torch file with everything that a tree can have.
    CheckpointPtr torchTree()
    {
        TreeSource made;
        const Py w = made.floats({5, 2}, 10);
        const Py turned = made.floats({2, 3}, 50, {1, 2});
        const Py pair{Py::Tuple{{{std::int64_t{1}}, made.floats({2}, 70)}}};
        const Py half{Py::Tensor{"FloatStorage", 0, 10, 4, {3, 2}, {}}}; // rows 2 to 4 of w
        writeTorchFile(path("tree.pt"),
                       pyDict({{"model", pyDict({{"w", w}, {"turned", turned}, {"half", half}})},
                               {"optimizer", pyDict({{"param_groups", {std::vector<Py>{pyDict({{"lr", {0.5}}, {"betas", {Py::Tuple{{{0.9}, {0.95}}}}}})}}}})},
                               {"pair", pair},
                               {"history", {std::vector<Py>{{std::int64_t{1}}, {std::int64_t{2}}}}},
                               {"mixed", {std::vector<Py>{{std::string("x")}, made.floats({2}, 80)}}},
                               {"nothing", pyDict({})},
                               {"epoch", {std::int64_t{3}}}}),
                       made.storages);
        return opened(path("tree.pt"));
    }
};

TEST_F(DcpTrees, ATorchFileBecomesADirectoryAndBack)
{
    const CheckpointPtr source = torchTree();
    ConvertRequest there = toDcp("dcp", 2, Select::All);
    there.verify = true;
    ASSERT_EQ(convert(source, there), "");
    EXPECT_THAT(written("dcp"), ElementsAre(StartsWith("epoch object"), StartsWith("history object"), StartsWith("mixed.0 object"), StartsWith("mixed.1 F32: [0]+[1]"), StartsWith("model.half F32: [0,0]+[2,2]"),
                                            StartsWith("model.turned F32: [0,0]+[2,3]"), StartsWith("model.w F32: [0,0]+[3,2] in __0_0.distcp [3,0]+[2,2] in __1_0.distcp"),
                                            StartsWith("optimizer.param_groups.0.betas object"), StartsWith("optimizer.param_groups.0.lr object"), StartsWith("pair object")));
    EXPECT_EQ(contentsOf(path("dcp")), contentsOf(source));
    EXPECT_THAT(verified(path("dcp")), IsEmpty());
    ConvertRequest back = request("back.pt", "torch");
    back.select = Select::All;
    back.verify = true;
    ASSERT_EQ(convert(opened(path("dcp")), back), "");
    EXPECT_EQ(contentsOf(path("back.pt")), contentsOf(source));
    ASSERT_EQ(convert(opened(path("back.pt")), toDcp("again", 2, Select::All)), "");
    EXPECT_EQ(contentsOf(path("again")), contentsOf(source));
    ASSERT_EQ(convert(opened(path("dcp")), toDcp("other", 5, Select::All)), ""); // a directory of a directory
    EXPECT_EQ(contentsOf(path("other")), contentsOf(source));
}

TEST_F(DcpTrees, WhatHoldsNothingAndWhatIsSharedIsSaid)
{
    const std::vector<std::string> lines = planLinesOf(torchTree(), toDcp("dcp", 2, Select::All));
    EXPECT_THAT(lines, Contains("dropped Empty dictionaries: 1 empty dictionary in the tree: a DCP directory has no place for what holds nothing."));
    EXPECT_THAT(lines, Contains(AllOf(StartsWith("info Shared storages: One tensor shares the storage of another one"), HasSubstr("written more than once"))));
}

TEST_F(DcpTrees, TheSavesOwnMetadataAreNoValuesThatAreDropped)
{
    ASSERT_EQ(convert(torchTree(), toDcp("dcp", 1, Select::All)), "");
    const std::vector<std::string> lines = planLinesOf(opened(path("dcp")), request("out.safetensors"));
    EXPECT_THAT(lines, Contains(AllOf(HasSubstr("Other values"), HasSubstr("epoch"))));
    EXPECT_THAT(lines, Not(Contains(HasSubstr("(metadata)"))));
}

TEST_F(DcpTrees, KeysThatComeOutAlikeAreRefused)
{
    TreeSource made;
    writeTorchFile(path("dots.pt"), pyDict({{"a.b", made.floats({2}, 1)}, {"a", pyDict({{"b", made.floats({2}, 5)}})}}), made.storages);
    EXPECT_THAT(convert(opened(path("dots.pt")), toDcp("out", 1, Select::All)), HasSubstr("two values of the tree come out under the key a.b"));
}

TEST_F(DcpTrees, WhatIsNoDictionaryIsRefused)
{
    TreeSource made;
    writeTorchFile(path("bare.pt"), made.floats({2}, 1), made.storages);
    EXPECT_THAT(convert(opened(path("bare.pt")), toDcp("out", 1, Select::All)), HasSubstr("the source's tree is no dictionary"));
}

TEST_F(DcpTrees, CastsAndPatternsAreRefusedWithAWholeTree)
{
    ConvertRequest wanted = toDcp("out", 1, Select::All);
    wanted.dtype = DType::F16;
    EXPECT_THAT(convert(torchTree(), wanted), HasSubstr("--dtype cannot be used with --select all to dcp"));
    wanted = toDcp("out", 1, Select::All);
    wanted.include = {"w"};
    EXPECT_THAT(convert(torchTree(), wanted), HasSubstr("--include and --exclude cannot be used with --select all to dcp"));
}

// Lists that hold one another: on every way to them they look the same, and nothing is walked without end.
TEST_F(DcpTrees, ListsThatShareWithoutEndEndSoon)
{
    for (const std::string& leaf : {std::string("K\1"), std::string("}")}) {
        std::string opcodes = leaf + "q";
        opcodes += '\0';
        opcodes += '0';
        for (char i = 0; i < 40; ++i)
            opcodes += std::string("(h") + i + "h" + i + "lq" + static_cast<char>(i + 1) + "0";
        TreeSource made;
        writeTorchFile(path("shared.pt"), pyDict({{"w", made.floats({2}, 1)}, {"x", {Py::Opcodes{opcodes + "h" + static_cast<char>(40)}}}}), made.storages);
        const std::string said = convert(opened(path("shared.pt")), toDcp(leaf == "}" ? "refused" : "out", 1, Select::All));
        if (leaf == "}") {
            EXPECT_THAT(said, HasSubstr("values are met, counted once for every way to them"));
        } else {
            EXPECT_EQ(said, ""); // one object
        }
    }
}

TEST_F(DcpTrees, ADirectoryOfBigEndianTensorsIsWrittenAnewAndOneOfObjectsRefused)
{
    ItemForm big;
    big.isBigEndian = true;
    DcpTestSave save;
    save.addFloats({{std::string("w")}}, {2, 2}, 1, {{{0, 0}, {2, 2}}}, big);
    save.write(path("big"));
    ASSERT_EQ(convert(opened(path("big")), toDcp("out", 1, Select::All)), "");
    EXPECT_EQ(contentsOf(path("out")), contentsOf(path("big")));
    DcpTestEntry& entry = save.addObject({{std::string("pair")}}, {Py::None{}});
    std::string values = bytesOfFloatsLe({1, 2});
    std::reverse(values.begin(), values.begin() + 4);
    std::reverse(values.begin() + 4, values.end());
    entry.chunks[0].item = objectItem({Py::Tuple{{{std::int64_t{1}}, {Py::Tensor{"FloatStorage", 0, 2, 0, {2}, {}}}}}}, {values}, true);
    save.write(path("object"));
    ConvertRequest torch = request("out.pt", "torch");
    torch.select = Select::All;
    for (const ConvertRequest& wanted : {toDcp("again", 1, Select::All), torch})
        EXPECT_THAT(convert(opened(path("object")), wanted), HasSubstr("pair is an object with big-endian storages"));
    ConvertRequest weights = request("weights.safetensors");
    EXPECT_EQ(convert(opened(path("object")), weights), "");
}

// ---- paths that contradict each other ----

struct BadPaths {
    const char* name;
    std::vector<std::vector<Py>> paths;
    const char* says;
};

class DcpBadPaths : public DcpTrees, public ::testing::WithParamInterface<BadPaths> {};

TEST_P(DcpBadPaths, AreRefusedByTheTree)
{
    DcpTestSave save;
    Py::Dict described;
    Py::Dict paths;
    std::vector<PyItem> storage;
    std::string data;
    for (std::size_t i = 0; i < GetParam().paths.size(); ++i) {
        const std::string key = "k" + std::to_string(i);
        const std::string item = floatItem({2}, {1, 2});
        described.items.emplace_back(Py{key}, dcpTensor("float32", {2}, {dcpChunk({0}, {2})}));
        paths.items.emplace_back(Py{key}, dcpPath(GetParam().paths[i]));
        storage.emplace_back(dcpIndex(key, Counts{0}, 0), dcpPlace("__0_0.distcp", static_cast<std::int64_t>(data.size()), static_cast<std::int64_t>(item.size())));
        data += item;
    }
    writeBytesTo(path("bad/__0_0.distcp"), data);
    writeBytesTo(path("bad/.metadata"), pickled(dcpMetadata({std::move(described)}, {std::move(paths)}, std::move(storage))));
    ConvertRequest wanted = request("out.pt", "torch");
    wanted.select = Select::All;
    EXPECT_THAT(convert(opened(path("bad")), wanted), HasSubstr(GetParam().says));
}

const Py kA{std::string("a")};
const Py kB{std::string("b")};
const Py kZero{std::int64_t{0}};
const Py kFar{std::int64_t{1'000'000}};

INSTANTIATE_TEST_SUITE_P(Paths, DcpBadPaths, ::testing::Values(
    BadPaths{"Twice", {{kA, kB}, {kA, kB}}, "two values have the path of k1"},
    BadPaths{"ElementTwice", {{kA, kZero}, {kA, kZero}}, "two values have the path of k1"},
    BadPaths{"ValueAndDictionary", {{kA}, {kA, kB}}, "a is a value and a dictionary at once"},
    BadPaths{"ElementAndDictionary", {{kA, kZero}, {kA, kZero, kB}}, "element 0 of a list is a value and a branch at once"},
    BadPaths{"ListAndDictionary", {{kA, kZero}, {kA, kB}}, "uses one place as a dictionary and as a list"},
    BadPaths{"KeyOfAList", {{kA, kZero, kB}, {kA, kB, kB}}, "a list with an element called b"},
    BadPaths{"FarIndex", {{kA, {std::int64_t{1} << 30}}}, "or an index beyond"},
    BadPaths{"ManyElementsThatAreNotThere", {{kA, kFar}, {kB, kFar}}, "lists of the saved state lack more than"},
    BadPaths{"NumbersAtTheRoot", {{kZero}}, "uses one place as a dictionary and as a list"}),
    [](const auto& row) { return row.param.name; });

} // namespace
} // namespace shardlens::test
