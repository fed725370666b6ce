#include "tests/core/format/format_fixture.h"
#include "tests/support/colossalai_test_run.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace shardlens::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;
using testing::UnorderedElementsAre;

Py integer(std::int64_t value)
{
    return Py{value};
}

Py numbers(const std::vector<std::int64_t>& values)
{
    std::vector<Py> out;
    for (const std::int64_t value : values)
        out.push_back(integer(value));
    return Py{std::move(out)};
}

struct TestParameter {
    std::string name;
    std::vector<std::uint64_t> shape;
};

std::uint64_t cellsOf(const std::vector<std::uint64_t>& shape)
{
    std::uint64_t out = 1;
    for (const std::uint64_t extent : shape)
        out *= extent;
    return out;
}

// A training folder: modeling/ by an index, optimizer/ with one shard whose states of parameter i begin at 100 · i.
class TrainingFolder : public testing::Test {
protected:
    void writeModel(const std::vector<TestParameter>& parameters, const std::string& stages = {})
    {
        std::filesystem::create_directories(m_folder.file("modeling"));
        std::string map;
        std::vector<ValuesTensor> held;
        for (const TestParameter& one : parameters) {
            map += (map.empty() ? "\"" : ",\"") + one.name + "\":\"pytorch_model" + stages + "-00001.bin\"";
            held.push_back({one.name, one.shape, std::vector<float>(cellsOf(one.shape), 1)});
        }
        writeText(m_folder.file("modeling/pytorch_model.bin.index.json"), "{\"metadata\":{\"total_size\":0.5},\"weight_map\":{" + map + "}}");
        writeTorchValues(m_folder.file("modeling/pytorch_model" + stages + "-00001.bin"), held);
    }

    void writeOptimizer(const std::vector<std::vector<std::uint64_t>>& shapes, const std::vector<std::vector<std::int64_t>>& groups, bool hasGroupFile = true)
    {
        std::filesystem::create_directories(m_folder.file("optimizer"));
        Py::Dict root;
        std::vector<TestStorage> storages;
        std::string map;
        for (std::size_t i = 0; i < shapes.size(); ++i) {
            const std::uint64_t count = cellsOf(shapes[i]);
            root.items.emplace_back(integer(static_cast<std::int64_t>(i)), pyDict({{"step", integer(9)}, {"exp_avg", floatTensor(i, count, shapes[i])}}));
            storages.push_back(floatStorage(count, 100 * static_cast<float>(i)));
            map += (map.empty() ? "\"" : ",\"") + std::to_string(i) + "\":\"pytorch_optim-00001.bin\"";
        }
        writeTorchFile(m_folder.file("optimizer/pytorch_optim-00001.bin"), Py{std::move(root)}, storages);
        writeText(m_folder.file("optimizer/pytorch_optim.bin.index.json"), "{\"metadata\":{\"total_size\":0.5,\"param_groups\":\"pytorch_optim_group.bin\"},\"weight_map\":{" + map + "}}");
        std::vector<Py> list;
        for (const auto& params : groups)
            list.push_back(pyDict({{"lr", Py{0.5}}, {"params", numbers(params)}}));
        if (hasGroupFile)
            writeTorchFile(m_folder.file("optimizer/pytorch_optim_group.bin"), Py{std::move(list)}, {});
    }

    CheckpointPtr open(const std::string& name = {})
    {
        auto opened = openPath(name.empty() ? m_folder.path().string() : m_folder.file(name));
        EXPECT_TRUE(opened.ok()) << opened.error().text();
        return opened ? opened.take() : nullptr;
    }

    TemporaryFolder m_folder;
    const std::vector<TestParameter> m_parameters{{"embed.weight", {6, 2}}, {"layers.0.up.weight", {3, 2}}, {"layers.0.norm.weight", {2}}, {"head.weight", {6, 2}}};
};

TEST_F(TrainingFolder, StatesGetTheNamesOfTheModelBesideThem)
{
    writeModel(m_parameters);
    writeOptimizer({{6, 2}, {3, 2}, {2}, {6, 2}}, {{0, 1, 2, 3}});
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(checkpoint->formatId(), "colossalai");
    EXPECT_THAT(fullNamesOf(*checkpoint), IsSupersetOf({"embed.weight/exp_avg", "head.weight/exp_avg", "layers.0.norm.weight/step"}));
    EXPECT_EQ(floatsOf(checkpoint, "layers.0.norm.weight/exp_avg"), (std::vector<float>{200, 201}));
    const TensorId step = tensorNamed(*checkpoint, "head.weight/step");
    EXPECT_EQ(checkpoint->tensor(step).dtype, DType::I64);
    EXPECT_THAT(findingsOf(*checkpoint), Not(Contains(HasSubstr("missing"))));
}

// Nothing marks a buffer: what has another shape than the next state is passed over (formats/colossalai.md §6.1).
TEST_F(TrainingFolder, BuffersAmongTheNamesArePassedOver)
{
    writeModel({{"embed.weight", {6, 2}}, {"layers.0.seen", {5}}, {"layers.0.up.weight", {3, 2}}, {"layers.0.norm.weight", {2}}, {"head.weight", {6, 2}}});
    writeOptimizer({{6, 2}, {3, 2}, {2}, {6, 2}}, {{0, 1, 2, 3}});
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(floatsOf(checkpoint, "head.weight/exp_avg")[0], 300);
}

TEST_F(TrainingFolder, TwoGroupsAreDecayAndNoDecay)
{
    writeModel(m_parameters);
    writeOptimizer({{6, 2}, {3, 2}, {6, 2}, {2}}, {{0, 1, 2}, {3}});
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(floatsOf(checkpoint, "head.weight/exp_avg")[0], 200);
    EXPECT_EQ(floatsOf(checkpoint, "layers.0.norm.weight/exp_avg")[0], 300);
}

TEST_F(TrainingFolder, AnAmbiguousAssignmentKeepsNumbers)
{
    writeModel({{"a.weight", {2, 2}}, {"b.weight", {2, 2}}, {"c.weight", {2, 2}}});
    writeOptimizer({{2, 2}, {2, 2}}, {{0, 1}});
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(fullNamesOf(*checkpoint), Contains("0/exp_avg"));
    EXPECT_THAT(findingsOf(*checkpoint), Contains(HasSubstr("several assignments fit")));
}

TEST_F(TrainingFolder, AModelSortedByNameTellsNoOrder)
{
    std::filesystem::create_directories(m_folder.file("modeling"));
    writeValues(m_folder.file("modeling/model.safetensors"), {{"a.weight", {3, 2}, std::vector<float>(6, 1)}, {"b.weight", {2}, {1, 2}}});
    writeOptimizer({{2}, {3, 2}}, {{0, 1}});
    const auto checkpoint = open();
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(fullNamesOf(*checkpoint), IsSupersetOf({"0/exp_avg", "1/exp_avg"}));
    EXPECT_THAT(findingsOf(*checkpoint), Contains(HasSubstr("sorted by name")));
}

TEST_F(TrainingFolder, StatesOfOneRanksPartAreIncomplete)
{
    writeModel(m_parameters);
    writeOptimizer({{3, 2}, {3, 1}, {2}, {3, 2}}, {{0, 1, 2, 3}});
    EXPECT_THAT(findingsOf(*open()), Contains(HasSubstr("Optimizer state incomplete")));
}

TEST_F(TrainingFolder, TheOptimizerAloneIsOneWithNumbers)
{
    writeOptimizer({{6, 2}, {2}}, {{0, 1}});
    const auto checkpoint = open("optimizer");
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(fullNamesOf(*checkpoint), UnorderedElementsAre("0/step", "0/exp_avg", "1/step", "1/exp_avg"));
}

TEST_F(TrainingFolder, MissingGroupsAreAWarningAndMissingShardsALoss)
{
    writeModel(m_parameters);
    writeOptimizer({{6, 2}, {3, 2}, {2}, {6, 2}}, {{0, 1, 2, 3}}, false);
    const auto withoutGroups = open();
    ASSERT_NE(withoutGroups, nullptr);
    EXPECT_THAT(findingsOf(*withoutGroups), Contains(HasSubstr("pytorch_optim_group.bin is not in the folder")));
    EXPECT_THAT(fullNamesOf(*withoutGroups), Contains("head.weight/exp_avg"));
    std::filesystem::remove(m_folder.file("optimizer/pytorch_optim-00001.bin"));
    const auto withoutStates = open();
    ASSERT_NE(withoutStates, nullptr);
    ASSERT_EQ(withoutStates->lostTensors().size(), 1u);
    EXPECT_EQ(withoutStates->lostTensors()[0].role, RoleKind::OptimizerState);
    EXPECT_THAT(withoutStates->lostTensors()[0].problem, HasSubstr("states of 4 parameters are lost"));
}

TEST_F(TrainingFolder, AnIndexOfNamesIsNoOptimizers)
{
    writeModel(m_parameters);
    writeOptimizer({{2}}, {{0}});
    writeText(m_folder.file("optimizer/pytorch_optim.bin.index.json"), R"({"weight_map":{"embed.weight":"pytorch_optim-00001.bin"}})");
    EXPECT_THAT(findingsOf(*open()), Contains(HasSubstr("is not an optimizer index")));
    const auto alone = openPath(m_folder.file("optimizer"));
    EXPECT_FALSE(alone.ok());
}

TEST_F(TrainingFolder, TheLastOfSeveralSavesIsRead)
{
    writeModel(m_parameters);
    for (const char* save : {"epoch-0_step-90", "epoch-1_step-10", "epoch-0_step-200"}) {
        std::filesystem::create_directories(m_folder.file(std::string("run/") + save));
        std::filesystem::copy(m_folder.file("modeling"), m_folder.file(std::string("run/") + save + "/modeling"));
    }
    const auto checkpoint = open("run");
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(checkpoint->subtitle(), "epoch-1_step-10");
    OpenOptions options;
    options.tag = "epoch-0_step-90";
    const auto other = openPath(m_folder.file("run"), options);
    ASSERT_TRUE(other.ok()) << other.error().text();
    EXPECT_EQ((*other)->subtitle(), "epoch-0_step-90");
    options.tag = "epoch-7_step-1";
    EXPECT_FALSE(openPath(m_folder.file("run"), options).ok());
}

TEST_F(TrainingFolder, AnInterruptedPipelineSaveIsMergedAndSaidSo)
{
    std::filesystem::create_directories(m_folder.file("m/tmp_index_files"));
    writeTorchValues(m_folder.file("m/pytorch_model-stage-00001-shard-00001.bin"), {{"a.weight", {2}, {1, 2}}});
    writeTorchValues(m_folder.file("m/pytorch_model-stage-00002-shard-00001.bin"), {{"b.weight", {2}, {3, 4}}});
    writeText(m_folder.file("m/tmp_index_files/pytorch_model.bin.index-stage-00001.json"), R"({"metadata":{"total_size":1},"weight_map":{"a.weight":"pytorch_model-stage-00001-shard-00001.bin"}})");
    const auto checkpoint = open("m");
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(checkpoint->parameters(), ElementsAre("a.weight"));
    EXPECT_THAT(findingsOf(*checkpoint), Contains(HasSubstr("1 of 2 pipeline stages have one")));
    writeText(m_folder.file("m/tmp_index_files/pytorch_model.bin.index-stage-00002.json"), R"({"metadata":{"total_size":1},"weight_map":{"b.weight":"pytorch_model-stage-00002-shard-00001.bin"}})");
    EXPECT_THAT(open("m")->parameters(), ElementsAre("a.weight", "b.weight"));
}

TEST_F(TrainingFolder, StagesOfAnIndexComeInTheirOrder)
{
    std::filesystem::create_directories(m_folder.file("m"));
    writeTorchValues(m_folder.file("m/pytorch_model.foo-stage-00001-shard-00001.bin"), {{"a.weight", {2}, {1, 2}}});
    writeTorchValues(m_folder.file("m/pytorch_model.foo-stage-00002-shard-00001.bin"), {{"b.weight", {2}, {3, 4}}});
    writeText(m_folder.file("m/pytorch_model.bin.index.foo.json"),
              R"({"metadata":{"total_size":1},"weight_map":{"b.weight":"pytorch_model.foo-stage-00002-shard-00001.bin","a.weight":"pytorch_model.foo-stage-00001-shard-00001.bin"}})");
    writeText(m_folder.file("m/pytorch_model.foo-stage-00002-shard-00009.bin"), "left over");
    const auto checkpoint = open("m");
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(checkpoint->parameters(), ElementsAre("a.weight", "b.weight"));
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(HasSubstr("stale file")));
}

// The MoE plugin writes dense parameters from every expert-parallel rank; the index keeps one of the files (§4.4).
TEST_F(TrainingFolder, CopiesOfExpertParallelRanksAreReplicas)
{
    std::filesystem::create_directories(m_folder.file("m"));
    writeTorchValues(m_folder.file("m/pytorch_model-stage-00001-00001-shard-00001.bin"), {{"a.weight", {2}, {1, 2}}, {"experts.0.w1.weight", {2}, {3, 4}}});
    writeTorchValues(m_folder.file("m/pytorch_model-stage-00001-00002-shard-00001.bin"), {{"a.weight", {2}, {1, 9}}, {"experts.1.w1.weight", {2}, {5, 6}}});
    writeText(m_folder.file("m/pytorch_model.bin.index.json"),
              R"({"metadata":{"total_size":1},"weight_map":{"a.weight":"pytorch_model-stage-00001-00001-shard-00001.bin",)"
              R"("experts.0.w1.weight":"pytorch_model-stage-00001-00001-shard-00001.bin","experts.1.w1.weight":"pytorch_model-stage-00001-00002-shard-00001.bin"}})");
    const auto checkpoint = open("m");
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(checkpoint->parameters(), ElementsAre("a.weight", "experts.0.w1.weight", "experts.1.w1.weight"));
    EXPECT_EQ(floatsOf(checkpoint, "a.weight"), (std::vector<float>{1, 2}));
    EXPECT_EQ(checkpoint->pieces().countOf(tensorNamed(*checkpoint, "a.weight")), 2u);
}

TEST_F(TrainingFolder, AVocabularyOfOneRankIsALossOfData)
{
    writeModel({{"embed_tokens.weight", {64, 2}}});
    writeText(m_folder.file("modeling/config.json"), R"({"vocab_size": 100})"); // padded to 128 for two ranks
    EXPECT_THAT(findingsOf(*open("modeling")), Contains(HasSubstr("only one tensor-parallel part survived")));
    writeText(m_folder.file("modeling/config.json"), R"({"vocab_size": 60})");
    EXPECT_THAT(findingsOf(*open("modeling")), Contains(HasSubstr("padded vocabulary of tensor parallel 1")));
    writeText(m_folder.file("modeling/config.json"), R"({"vocab_size": 64})");
    EXPECT_THAT(findingsOf(*open("modeling")), Not(Contains(HasSubstr("vocabulary"))));
}

// What the async writer makes (§7): a step is a pickle, and the file says which keys are.
class FlattenedOptimizer : public testing::Test {
protected:
    CheckpointPtr open(const std::string& keys, const std::string& pickle)
    {
        const std::string header = "{\"__metadata__\": {\"format\": \"pt\", \"non_tensor_keys\": \"" + keys + "\"}, \"state.0.exp_avg\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8]}, "
                                   "\"state.1.step\": {\"dtype\": \"U8\", \"shape\": [" + std::to_string(pickle.size()) + "], \"data_offsets\": [8, " + std::to_string(8 + pickle.size()) + "]}}";
        const std::uint64_t length = header.size();
        std::ofstream out(m_folder.file("states.safetensors"), std::ios::binary);
        out.write(reinterpret_cast<const char*>(&length), sizeof length);
        const float values[2] = {5, 6};
        out << header;
        out.write(reinterpret_cast<const char*>(values), sizeof values);
        out << pickle;
        out.close();
        auto opened = openPath(m_folder.file("states.safetensors"));
        EXPECT_TRUE(opened.ok()) << opened.error().text();
        return opened ? opened.take() : nullptr;
    }

    TemporaryFolder m_folder;
};

TEST_F(FlattenedOptimizer, NumbersAreUnpickled)
{
    const auto checkpoint = open(R"([\"state.1.step\"])", std::string("\x80\x04K\x07.", 5));
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(checkpoint->formatId(), "colossalai");
    EXPECT_EQ(floatsOf(checkpoint, "0/exp_avg"), (std::vector<float>{5, 6}));
    const TensorId step = tensorNamed(*checkpoint, "1/step");
    EXPECT_EQ(checkpoint->tensor(step).dtype, DType::I64);
    std::int64_t value = 0;
    ASSERT_EQ(checkpoint->inlineBytes().size(), sizeof value);
    std::memcpy(&value, checkpoint->inlineBytes().data(), sizeof value);
    EXPECT_EQ(value, 7);
}

TEST_F(FlattenedOptimizer, ACallInAPickleIsRefusedAndStaysBytes)
{
    const auto checkpoint = open(R"([\"state.1.step\"])", "cos\nsystem\n(S'true'\ntR.");
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(checkpoint->tensor(tensorNamed(*checkpoint, "1/step")).dtype, DType::U8);
    EXPECT_THAT(findingsOf(*checkpoint), Contains(HasSubstr("only plain values are read")));
}

TEST_F(FlattenedOptimizer, AListThatIsNoneIsSaidSo)
{
    const auto checkpoint = open("7", std::string("\x80\x04K\x07.", 5));
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(findingsOf(*checkpoint), Contains(HasSubstr("is no list of texts")));
}

} // namespace
} // namespace shardlens::test
