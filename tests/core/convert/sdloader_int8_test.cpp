#include "tests/core/convert/convert_fixture.h"

#include "core/encoding/value_reader.h"
#include "tests/support/rank_test_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <tuple>

namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using Values = std::map<std::string, std::vector<float>>; // of matrices, by name

// MegatronSDLoader's INT8 and back, of the values of one file (formats/deepspeed.md §17), written once more and plainly.
std::vector<float> throughInt8(const std::vector<float>& values, std::size_t groups)
{
    const std::size_t chunk = values.size() / groups;
    std::vector<float> out;
    for (std::size_t begin = 0; begin < values.size(); begin += chunk) {
        const std::size_t end = std::min(begin + chunk, values.size());
        float peak = 0;
        for (std::size_t i = begin; i < end; ++i)
            peak = std::max(peak, std::fabs(values[i]));
        const float scale = (1 / (2 * peak + 1e-5f)) * 256;
        for (std::size_t i = begin; i < end; ++i)
            out.push_back(std::clamp(std::nearbyint(values[i] * scale), -128.0f, 127.0f) * (1 / scale));
    }
    return out;
}

struct Way {
    const char* name;
    int files;           // of the source
    std::uint32_t ranks; // of the target
    const char* version;
    std::uint64_t groups;
};

class SdloaderInt8Test : public ConvertTest, public testing::WithParamInterface<Way> {
protected:
    // Two layers of the four kinds of weights, of each file: hidden size 8, two files' heads and MLP halves.
    void writeSource(int files, const std::string& version, float odd = 0)
    {
        std::mt19937 random(5);
        std::normal_distribution<float> normal(0, 0.1f);
        std::string names;
        for (int file = 0; file < files; ++file) {
            std::vector<TestTensor> tensors;
            for (int layer = 0; layer < 2; ++layer)
                for (const auto& [kind, rows, columns] : kKinds) {
                    TestTensor tensor{fmt::format("layers.{}.{}", layer, kind), {rows, columns}, std::vector<float>(rows * columns)};
                    std::generate(tensor.values.begin(), tensor.values.end(), [&] { return normal(random); });
                    if (odd != 0 && layer == 1)
                        tensor.values[3] = odd;
                    m_source[file][tensor.name] = tensor.values;
                    tensors.push_back(std::move(tensor));
                }
            tensors.push_back({"norm.weight", {2}, {1, 2}});
            const std::string name = fmt::format("mp_rank_{:02d}_model_states.pt", file);
            writeRankFile(path("run/" + name), "module", tensors, {{"mp_world_size", Py{std::int64_t{files}}}});
            names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", name);
        }
        std::ofstream(path("run/list.json")) << fmt::format(R"({{"type": "Megatron", "version": {}, "checkpoints": [{}]}})", version, names);
    }

    [[nodiscard]] CheckpointPtr opened(const std::string& name, bool dequantize = false) const
    {
        JobContext job;
        auto out = openCheckpoint(path(name), {.dequantize = dequantize}, job);
        EXPECT_TRUE(out) << out.error().text();
        return out ? out.take() : nullptr;
    }

    [[nodiscard]] static Values valuesOf(const CheckpointPtr& checkpoint)
    {
        Values out;
        const ValueReader reader(checkpoint);
        for (std::size_t i = 0; i < checkpoint->tensors().size(); ++i) {
            const auto id = idAt<TensorId>(i);
            std::vector<float> values(elementCount(checkpoint->tensor(id).shape).value());
            CastCounts lost;
            const auto read = reader.readAt(id, DType::F32, 0, std::as_writable_bytes(std::span(values)), lost);
            EXPECT_TRUE(read) << read.error().text();
            out[checkpoint->parameterOf(id)] = std::move(values);
        }
        return out;
    }

    [[nodiscard]] ConvertRequest int8(const std::string& target, std::uint32_t ranks, std::uint64_t groups) const
    {
        ConvertRequest out = request(target, "sdloader");
        out.tp = ranks;
        out.quantize.scheme = "sdloader-int8";
        out.quantize.groups = groups;
        out.verify = true;
        return out;
    }

    struct Kind {
        const char* name;
        std::uint64_t rows;
        std::uint64_t columns;
    };
    static constexpr std::array<Kind, 4> kKinds{
        {{"attention.query_key_value.weight", 24, 8}, {"attention.dense.weight", 8, 8}, {"mlp.dense_h_to_4h.weight", 16, 8}, {"mlp.dense_4h_to_h.weight", 8, 16}}};

    std::map<int, Values> m_source; // by file
};

TEST_P(SdloaderInt8Test, ComesBackByFilesAndGroups)
{
    const Way& way = GetParam();
    writeSource(way.files, way.version);
    ConvertRequest wish = int8("int8", way.ranks, way.groups);
    wish.quantize.mlpExtraGrouping = false;
    ASSERT_EQ(convert(opened("run"), wish), "");

    // what is expected: each file through the arithmetic alone, and then joined as the loader joins
    const Values plain = valuesOf(opened("run"));
    for (auto& [file, tensors] : m_source)
        for (auto& [name, values] : tensors)
            values = throughInt8(values, way.groups);
    for (int file = 0; file < way.files; ++file) {
        std::vector<TestTensor> tensors;
        for (int layer = 0; layer < 2; ++layer)
            for (const auto& [kind, rows, columns] : kKinds)
                tensors.push_back({fmt::format("layers.{}.{}", layer, kind), {rows, columns}, m_source[file].at(fmt::format("layers.{}.{}", layer, kind))});
        tensors.push_back({"norm.weight", {2}, {1, 2}});
        writeRankFile(path(fmt::format("run/mp_rank_{:02d}_model_states.pt", file)), "module", tensors);
    }
    const Values wanted = valuesOf(opened("run"));
    const Values found = valuesOf(opened("int8", true));
    ASSERT_EQ(found.size(), wanted.size());
    for (const auto& [name, values] : wanted) {
        EXPECT_EQ(found.at(name), values) << name;
        if (name.ends_with("norm.weight"))
            continue;
        EXPECT_NE(values, plain.at(name)) << "nothing was quantized";
    }
}

INSTANTIATE_TEST_SUITE_P(All, SdloaderInt8Test,
                         testing::Values(Way{"EachFileByItself", 2, 2, "2", 4}, Way{"Joined", 2, 1, "2", 4}, Way{"JoinedWithAShortLastRun", 2, 1, "1", 5}, Way{"Cut", 2, 4, "2", 4},
                                         Way{"CutWithWholeScales", 2, 4, "2", 3}, Way{"CutInThirds", 1, 2, "0", 4}, Way{"CutTwice", 1, 4, "2", 8}),
                         [](const auto& row) { return std::string(row.param.name); });

using SdloaderInt8 = SdloaderInt8Test;

TEST_F(SdloaderInt8, ExtraGroupsAreFoundAgain)
{
    writeSource(2, "2");
    ASSERT_EQ(convert(opened("run"), int8("int8", 1, 4)), "");
    const Values found = valuesOf(opened("int8", true));
    const std::string name = "layers.1.mlp.dense_h_to_4h.weight"; // 1 · 16 · 2 / 8 = 4: it looks like an MLP's
    std::vector<float> wanted = throughInt8(m_source[0].at(name), 8);
    const std::vector<float> second = throughInt8(m_source[1].at(name), 8);
    wanted.insert(wanted.end(), second.begin(), second.end());
    EXPECT_EQ(found.at(name), wanted);
}

TEST_F(SdloaderInt8, SetsAreSaidToBeQuantizedAndKeptTogether)
{
    writeSource(2, "2");
    ASSERT_EQ(convert(opened("run"), int8("int8", 2, 4)), "");
    const CheckpointPtr stored = opened("int8");
    EXPECT_THAT(stored->facts(), Contains(std::pair<std::string, std::string>("quantized as", "sdloader-int8 (8 weights)")));
    // in other formats the codes would mean nothing
    EXPECT_THAT(planLinesOf(stored, request("out")), ElementsAre(AllOf(HasSubstr("a weight in codes whose scales lie beside the model"), HasSubstr("--dequantize writes values"))));
    ConvertRequest again = request("again", "sdloader");
    ASSERT_EQ(convert(stored, again), "");
    EXPECT_EQ(valuesOf(opened("again", true)), valuesOf(opened("int8", true)));
    again.target = path("joined");
    again.tp = 1;
    EXPECT_THAT(planLinesOf(stored, again), ElementsAre(AllOf(HasSubstr("--tp 1"), HasSubstr("scales of quantized rank files are for 2 ranks"))));
    EXPECT_THAT(planLinesOf(stored, int8("more", 2, 4)), ElementsAre(HasSubstr("quantized already")));
    ConvertRequest values = request("values", "sdloader");
    values.open.dequantize = true;
    EXPECT_THAT(planLinesOf(opened("int8", true), values), ElementsAre(HasSubstr("convert to safetensors or torch")));
    // and from the values it may go on
    values = request("values");
    values.open.dequantize = true;
    ASSERT_EQ(convert(opened("int8", true), values), "");
    EXPECT_EQ(valuesOf(opened("values")), valuesOf(opened("int8", true)));
    JobContext job;
    const auto plain = openCheckpoint(path("run"), {.dequantize = true}, job);
    ASSERT_FALSE(plain);
    EXPECT_THAT(plain.error().text(), HasSubstr("none are stored here"));
}

TEST_F(SdloaderInt8, ScalesThatAreNotThereAreSaid)
{
    writeSource(1, "2");
    ASSERT_EQ(convert(opened("run"), int8("int8", 2, 4)), "");
    std::filesystem::remove(path("int8/mp_rank_01_model_states.pt"));
    JobContext job;
    const auto missing = openCheckpoint(path("int8"), {.dequantize = true}, job);
    ASSERT_FALSE(missing);
    EXPECT_THAT(missing.error().text(), AllOf(HasSubstr("attention.query_key_value.weight"), HasSubstr("some of its scales lie on rank 1, whose file cannot be read")));
    // a set of another tool: the scales alone do not say which values are theirs
    const Py codes{Py::Tensor{"CharStorage", 0, 4, 0, {2, 2}, {2, 1}}};
    const Py scales{Py::Tensor{"FloatStorage", 1, 4, 0, {1, 4, 1}, {4, 1, 1}}};
    const auto zeros = [](std::uint64_t, std::span<std::byte> bytes) { std::fill(bytes.begin(), bytes.end(), std::byte{0}); };
    std::filesystem::create_directory(path("other"));
    writeTorchFile(path("other/a.pt"), pyDict({{"module", pyDict({{"attention.dense.weight", codes}})}, {"quantization_scales", scales}}), {{4, zeros}, {16, zeros}});
    std::ofstream(path("other/list.json")) << R"({"type": "Megatron", "version": 2, "checkpoints": ["a.pt"]})";
    const auto other = openCheckpoint(path("other"), {.dequantize = true}, job);
    ASSERT_FALSE(other);
    EXPECT_THAT(other.error().text(), AllOf(HasSubstr("a.pt"), HasSubstr("quantization_layout")));
}

TEST_F(SdloaderInt8, ScalesAreMadeWithProgressAndMayBeCancelled)
{
    writeSource(2, "2");
    const auto made = plan(opened("run"), int8("int8", 1, 4));
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_GT(made->bytesToPrepare(), 0u);
    InlineExecutor executor;
    JobContext whole;
    ASSERT_TRUE(executePlan(*made, executor, whole));
    EXPECT_EQ(whole.progress().done.load(), whole.progress().total.load());
    const auto second = plan(opened("run"), int8("other", 1, 4));
    ASSERT_TRUE(second);
    std::uint64_t said = 0;
    const PrepareWatch watch{{}, [&said](std::uint64_t bytes) { said += bytes; }};
    for (const auto& computation : second->prepared)
        ASSERT_TRUE(computation->prepareAll(watch));
    EXPECT_EQ(said, second->bytesToPrepare());
    // 2 layers of 4 weights of 2 files, which are read for the codes and for the scales
    std::uint64_t values = 0;
    for (const auto& [kind, rows, columns] : kKinds)
        values += 2 * rows * columns * 2;
    EXPECT_EQ(said, values * sizeof(float));
    EXPECT_EQ(second->bytesToRead, 2 * values * sizeof(float) + 2 * sizeof(float)); // the norm
}

TEST_F(SdloaderInt8, MakingScalesMayBeCancelled)
{
    writeSource(2, "2");
    const auto made = plan(opened("run"), int8("int8", 1, 4));
    ASSERT_TRUE(made);
    std::stop_source stop;
    JobContext job(stop.get_token());
    std::size_t parts = 0; // the first parts of work are the preparations
    ScriptedExecutor executor([&](std::size_t) {
        if (++parts == 3)
            stop.request_stop();
    });
    const auto report = executePlan(*made, executor, job);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code(), ErrorCode::Cancelled);
    EXPECT_EQ(job.progress().bytesWritten.load(), 0u);
    EXPECT_THAT(names(), ElementsAre("run"));
    // within one weight, too
    std::stop_source within;
    bool cancelled = false;
    const auto second = plan(opened("run"), int8("int8", 1, 4));
    const PrepareWatch watch{within.get_token(), [&within](std::uint64_t) { within.request_stop(); }};
    for (const auto& computation : second->prepared)
        if (const Status status = computation->prepareAll(watch); !status)
            cancelled = status.error().code() == ErrorCode::Cancelled;
    EXPECT_TRUE(cancelled);
}

// Rules of one's own may join by segments: what is computed must follow them.
TEST_F(SdloaderInt8, FollowsTheRulesThatJoinAndCut)
{
    writeSource(2, "2");
    JobContext job;
    for (const auto& [name, pattern, change] : {std::tuple{"gated", "mlp\\.dense_h_to_4h", R"({"segments": 2, "names": ["gate", "up"]})"}, std::tuple{"rows", "attention\\.dense", R"({"dim": 0})"}}) {
        SCOPED_TRACE(name);
        nlohmann::json rules = nlohmann::json::parse(readText(SHARDLENS_SOURCE_DIR "/resources/rules/deepspeed-megatron.json"));
        rules["id"] = name;
        for (nlohmann::json& rule : rules["rules"])
            if (rule["pattern"].get<std::string>().starts_with(pattern))
                rule.update(nlohmann::json::parse(change));
        OpenOptions options;
        options.rules = path(fmt::format("{}.json", name));
        std::ofstream(*options.rules) << rules;
        const auto source = openCheckpoint(path("run"), options, job);
        ASSERT_TRUE(source) << source.error().text();
        for (const std::uint32_t ranks : {1u, 2u, 4u}) {
            const std::string target = fmt::format("{}-{}", name, ranks);
            ConvertRequest wish = int8(target, ranks, 4);
            wish.open = options;
            wish.quantize.mlpExtraGrouping = false;
            ASSERT_EQ(convert(*source, wish), "");
            OpenOptions back = options;
            back.dequantize = true;
            const auto values = openCheckpoint(path(target), back, job);
            ASSERT_TRUE(values) << values.error().text();
            const Values found = valuesOf(*values);
            for (const auto& [tensor, wanted] : valuesOf(*source))
                for (std::size_t i = 0; i < wanted.size(); ++i)
                    ASSERT_NEAR(found.at(tensor)[i], wanted[i], 0.01) << tensor << " " << i << " of " << ranks;
        }
        // and by other rules than those that it was cut by
        const auto other = openCheckpoint(path(fmt::format("{}-4", name)), {.dequantize = true}, job);
        ASSERT_FALSE(other);
        EXPECT_THAT(other.error().text(), HasSubstr(fmt::format("it was made by the rules {}, and it is opened by deepspeed-megatron", name)));
    }
}

TEST_F(SdloaderInt8, ChangedScalesAreNoticedByVerifying)
{
    writeSource(2, "2");
    ASSERT_EQ(convert(opened("run"), int8("int8", 2, 4)), "");
    // the first scale of rank 0, as its file has it
    const std::string file = path("int8/mp_rank_00_model_states.pt");
    const std::vector<float> first(m_source[0].at("layers.0.attention.query_key_value.weight").begin(), m_source[0].at("layers.0.attention.query_key_value.weight").begin() + 48);
    float peak = 0;
    for (const float value : first)
        peak = std::max(peak, std::fabs(value));
    const float scale = 1 / ((1 / (2 * peak + 1e-5f)) * 256);
    std::string bytes = readText(file);
    const std::size_t at = bytes.find(std::string(reinterpret_cast<const char*>(&scale), sizeof(scale)));
    ASSERT_NE(at, std::string::npos);
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    std::ofstream(file, std::ios::binary) << bytes;
    ConvertRequest wish = request("values");
    wish.open.dequantize = true;
    wish.verify = true;
    ASSERT_EQ(convert(opened("int8", true), wish), "");
    EXPECT_TRUE(std::any_of(m_report.lines.begin(), m_report.lines.end(), [](const PlanLine& line) { return line.topic == "Source is damaged"; }));
}

TEST_F(SdloaderInt8, NonFiniteValuesAreNamed)
{
    writeSource(2, "2", HUGE_VALF);
    EXPECT_THAT(convert(opened("run"), int8("int8", 1, 4)), AllOf(HasSubstr("layers.1."), HasSubstr("Inf at [0, 3]")));
    EXPECT_THAT(names(), ElementsAre("run"));
}

} // namespace
} // namespace shardlens::test
