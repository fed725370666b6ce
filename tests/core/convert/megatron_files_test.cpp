#include "core/encoding/torch_file.h"
#include "core/io/byte_source.h"
#include "tests/core/convert/convert_fixture.h"
#include "tests/support/rank_test_file.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

namespace shardlens {
namespace {

using test::Py;
using test::pyDict;
using test::TestTensor;
using testing::HasSubstr;

// Files of Megatron-LM's ranks, and what is in those that are made of them.
class MegatronFilesTest : public test::ConvertTest {
protected:
    using Arguments = std::vector<std::pair<std::string, Py>>;

    static TestTensor counted(std::string name, std::vector<std::uint64_t> shape)
    {
        TestTensor out{std::move(name), std::move(shape), {}};
        std::uint64_t count = 1;
        for (const std::uint64_t extent : out.shape)
            count *= extent;
        for (std::uint64_t i = 0; i < count; ++i)
            out.values.push_back(static_cast<float>(out.name.size() * 1000 + i));
        return out;
    }

    void writeSource(const std::vector<TestTensor>& tensors, Arguments arguments) const
    {
        arguments.emplace_back("tensor_model_parallel_size", Py{std::int64_t{1}});
        test::writeRankFile(path("run/iter_0000007/mp_rank_00/model_optim_rng.pt"), "model", tensors,
                            {{"args", pyDict(std::move(arguments))}, {"checkpoint_version", Py{3.0}}, {"iteration", Py{std::int64_t{7}}}});
        std::ofstream(path("run/latest_checkpointed_iteration.txt")) << "7";
    }

    // Empty, or why not.
    std::string cut(std::uint32_t tp, std::uint32_t ep = 1)
    {
        JobContext job;
        const auto source = openCheckpoint(path("run"), {}, job);
        if (!source)
            return source.error().text();
        std::filesystem::remove_all(path("made"));
        ConvertRequest wanted = request("made", "megatron");
        wanted.tp = tp;
        wanted.ep = ep;
        return convert(*source, wanted);
    }

    std::shared_ptr<const TorchFile> file(const std::string& of, const std::string& rank = "mp_rank_00") const
    {
        JobContext job;
        const auto source = FileSource::open(path(of + "/iter_0000007/" + rank + "/model_optim_rng.pt"));
        EXPECT_TRUE(source.ok()) << source.error().text();
        auto torch = source ? TorchFile::open(*source, job) : Result<TorchFile>(source.error());
        EXPECT_TRUE(torch.ok()) << torch.error().text();
        return torch ? std::make_shared<const TorchFile>(torch.take()) : nullptr;
    }

    static std::vector<std::string> keysOf(pickle::Value dict)
    {
        std::vector<std::string> out;
        for (std::size_t i = 0; i < dict.size(); ++i)
            out.emplace_back(dict.keyAt(i).asText().value_or(""));
        return out;
    }
};

// Transformer Engine registers weight0, bias0, weight1, bias1: the file's own order is that of its optimizer, and must come back.
TEST_F(MegatronFilesTest, BiasesOfGroupedExpertsStayBesideTheirWeights)
{
    std::vector<TestTensor> tensors{counted("embedding.word_embeddings.weight", {4, 2}), counted("decoder.layers.0.mlp.router.weight", {12, 2})};
    for (const char* matrix : {"linear_fc1", "linear_fc2"})
        for (int expert = 0; expert < 12; ++expert)
            for (const char* kind : {".weight", ".bias"})
                tensors.push_back(counted("decoder.layers.0.mlp.experts." + std::string(matrix) + kind + std::to_string(expert),
                                          kind == std::string(".weight") ? std::vector<std::uint64_t>{2, 2} : std::vector<std::uint64_t>{2}));
    tensors.push_back(counted("decoder.final_layernorm.weight", {2}));
    writeSource(tensors, {{"num_layers", Py{std::int64_t{1}}}, {"num_experts", Py{std::int64_t{12}}}});
    ASSERT_EQ(cut(1), "");
    EXPECT_EQ(keysOf(file("made")->root().find("model")), keysOf(file("run")->root().find("model")));
    ASSERT_EQ(cut(1, 2), "");
    const auto second = keysOf(file("made", "mp_rank_00_001")->root().find("model"));
    ASSERT_GT(second.size(), 5u);
    EXPECT_THAT(std::vector(second.begin() + 2, second.begin() + 5),
                testing::ElementsAre(HasSubstr("linear_fc1.weight0"), HasSubstr("linear_fc1.bias0"), HasSubstr("linear_fc1.weight1")));
}

TEST_F(MegatronFilesTest, AVocabularyIsNotFilledUpWithoutEnd)
{
    const std::vector<TestTensor> tensors{counted("embedding.word_embeddings.weight", {16, 2}), counted("decoder.final_layernorm.weight", {2})};
    writeSource(tensors, {{"vocab_size", Py{std::int64_t{10}}}, {"make_vocab_size_divisible_by", Py{std::int64_t{100'000'000'000}}}});
    EXPECT_THAT(cut(1), HasSubstr("embedding.word_embeddings.weight: 16 rows of a vocabulary would become 100,000,000,000 to be a multiple of 100,000,000,000 x tensor "
                                  "parallel 1, and at most 65,536 are added"));
    writeSource(tensors, {{"vocab_size", Py{std::int64_t{10}}}, {"make_vocab_size_divisible_by", Py{std::int64_t{1000}}}});
    EXPECT_EQ(cut(2), "");
}

// Which class reads experts is decided by the names that they have in the target.
TEST_F(MegatronFilesTest, ArgumentsNameTheClassThatReadsTheExperts)
{
    const auto flagsOf = [&](const char* tensor, const std::vector<std::uint64_t>& shape, Arguments arguments) {
        arguments.emplace_back("num_layers", Py{std::int64_t{1}});
        arguments.emplace_back("num_experts", Py{std::int64_t{2}});
        arguments.emplace_back("bf16", Py{true});
        std::filesystem::remove_all(path("run"));
        writeSource({counted("decoder.layers.0.mlp.router.weight", {2, 2}), counted(std::string("decoder.layers.0.mlp.experts.") + tensor, shape)}, std::move(arguments));
        EXPECT_EQ(cut(1), "");
        const auto made = file("made");
        const pickle::Value args = made->root().find("args");
        std::string out;
        for (const char* name : {"moe_grouped_gemm", "moe_use_legacy_grouped_gemm", "bf16"}) {
            const pickle::Value value = args.find(name);
            out += !value ? "-" : value.isNone() ? "None" : value.asBool().value_or(false) ? "true" : "false";
            out += ' ';
        }
        return out;
    };
    const std::pair<std::string, Py> grouped{"moe_grouped_gemm", Py{true}};
    EXPECT_EQ(flagsOf("weight2", {4, 2}, {grouped, {"moe_use_legacy_grouped_gemm", Py{true}}}), "false false true ");
    EXPECT_EQ(flagsOf("weight2", {4, 2}, {grouped}), "false - true ");
    EXPECT_EQ(flagsOf("linear_fc2.weight", {2, 2, 2}, {grouped, {"moe_use_legacy_grouped_gemm", Py{false}}}), "true false true ");
    EXPECT_EQ(flagsOf("linear_fc2.weight0", {2, 2}, {grouped}), "true - true ");
    EXPECT_EQ(flagsOf("local_experts.0.linear_fc2.weight", {2, 2}, {{"moe_grouped_gemm", Py{false}}}), "false - true ");
}

TEST_F(MegatronFilesTest, ExtraStatesOfEveryChunkAreKept)
{
    Py::Dict root;
    std::vector<test::TestStorage> storages;
    const std::vector<float> values{1, 2};
    for (const char* chunk : {"model0", "model1"}) {
        storages.push_back({values.size() * sizeof(float), [values](std::uint64_t offset, std::span<std::byte> out) {
                                std::copy_n(std::as_bytes(std::span(values)).begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
                            }});
        const std::string module = std::string("decoder.layers.0.") + (chunk == std::string("model0") ? "input_layernorm" : "pre_mlp_layernorm");
        root.items.emplace_back(Py{std::string(chunk)},
                                pyDict({{module + ".weight", Py{Py::Tensor{"FloatStorage", storages.size() - 1, 2, 0, {2}, {}}}}, {module + "._extra_state", Py{}}}, true));
    }
    root.items.emplace_back(Py{std::string("args")}, pyDict({{"num_layers", Py{std::int64_t{2}}}, {"tensor_model_parallel_size", Py{std::int64_t{1}}}}));
    root.items.emplace_back(Py{std::string("checkpoint_version")}, Py{3.0});
    std::filesystem::create_directories(path("run/iter_0000007/mp_rank_00"));
    test::writeTorchFile(path("run/iter_0000007/mp_rank_00/model_optim_rng.pt"), Py{root}, storages);
    std::ofstream(path("run/latest_checkpointed_iteration.txt")) << "7";
    ASSERT_EQ(cut(1), "");
    const auto keys = keysOf(file("made")->root().find("model"));
    EXPECT_THAT(keys, testing::IsSupersetOf({"decoder.layers.0.input_layernorm._extra_state", "decoder.layers.1.pre_mlp_layernorm._extra_state"}));
}

} // namespace
} // namespace shardlens
