// Directories of torch.distributed.checkpoint as one model (formats/pytorch.md §9): which names come out, what is missing, and what does not fit.
#include "core/model/coverage.h"
#include "tests/core/format/dcp_fixture.h"

#include <fmt/format.h>

#include <filesystem>

namespace shardlens::test {
namespace {

// ---- names and branches (conformance/README.md, "Trees") ----

struct TreeCase {
    const char* name;
    std::vector<std::vector<Py>> paths; // of tensors
    std::vector<std::string> names;     // that come out, sorted
};

class DcpNames : public DcpFormat, public testing::WithParamInterface<TreeCase> {};

TEST_P(DcpNames, AreThoseOfTheTree)
{
    DcpTestSave save;
    for (std::size_t i = 0; i < GetParam().paths.size(); ++i)
        save.addWhole(GetParam().paths[i], {2}, static_cast<float>(10 * i));
    const CheckpointPtr checkpoint = opened(save);
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(describedNames(*checkpoint), testing::ElementsAreArray(GetParam().names));
    EXPECT_THAT(findingsOf(*checkpoint), IsEmpty());
}

std::vector<Py> stepsOf(std::initializer_list<const char*> steps)
{
    std::vector<Py> out;
    for (const std::string step : steps)
        out.push_back(step.starts_with('#') ? Py{static_cast<std::int64_t>(std::stoi(step.substr(1)))} : Py{step});
    return out;
}

INSTANTIATE_TEST_SUITE_P(Trees, DcpNames, testing::Values(
    TreeCase{"ModelAlone", {stepsOf({"model", "a.w"}), stepsOf({"model", "b"})}, {"a.w weight", "b weight"}},
    TreeCase{"ModelAndOptimizer", {stepsOf({"model", "w"}), stepsOf({"optimizer", "state", "w", "exp_avg"})}, {"w weight", "w/exp_avg optimizer"}},
    TreeCase{"OtherNamesOfBranches", {stepsOf({"state_dict", "w"}), stepsOf({"optim", "state", "w", "exp_avg"})}, {"w weight", "w/exp_avg optimizer"}},
    TreeCase{"NestedModel", {stepsOf({"model", "a", "#0", "w"}), stepsOf({"optimizer", "state", "w", "x"})}, {"a.0.w weight", "w/x optimizer"}},
    TreeCase{"FlattenedOptimizer", {stepsOf({"model", "a.b.w"}), stepsOf({"optimizer", "state.a.b.w.exp_avg"})}, {"a.b.w weight", "a.b.w/exp_avg optimizer"}},
    TreeCase{"ListOfOneOptimizer", {stepsOf({"state_dict", "w"}), stepsOf({"optimizer_states", "#0", "state", "#0", "exp_avg"})}, {"0/exp_avg optimizer", "w weight"}},
    TreeCase{"ListOfTwoOptimizers",
             {stepsOf({"state_dict", "w"}), stepsOf({"optimizer_states", "#0", "state", "0", "exp_avg"}), stepsOf({"optimizer_states", "#1", "state", "0", "exp_avg"})},
             {"0.0/exp_avg optimizer", "1.0/exp_avg optimizer", "w weight"}},
    TreeCase{"StatesInsideStates", {stepsOf({"model", "w"}), stepsOf({"optimizer", "state", "w", "left", "#1", "q"})}, {"w weight", "w/left.1.q optimizer"}},
    TreeCase{"NumberedParameters", {stepsOf({"model", "w"}), stepsOf({"optimizer", "state", "3", "exp_avg"})}, {"3/exp_avg optimizer", "w weight"}},
    TreeCase{"TensorsElsewhereBesideAnOptimizer", {stepsOf({"model", "w"}), stepsOf({"optimizer", "state", "w", "x"}), stepsOf({"rng"}), stepsOf({"loader", "at"})},
             {"loader.at other", "rng other", "w weight", "w/x optimizer"}},
    TreeCase{"TensorsElsewhereWithoutOne", {stepsOf({"model", "w"}), stepsOf({"rng"})}, {"model.w weight", "rng weight"}},
    TreeCase{"NoBranches", {stepsOf({"layers.0.w"}), stepsOf({"norm"})}, {"layers.0.w weight", "norm weight"}},
    TreeCase{"AModelThatIsATensor", {stepsOf({"model"}), stepsOf({"w"})}, {"model weight", "w weight"}},
    TreeCase{"TwoModels", {stepsOf({"model", "w"}), stepsOf({"state_dict", "v"}), stepsOf({"optimizer", "state", "w", "x"})}, {"model.w weight", "state_dict.v weight", "w/x optimizer"}},
    TreeCase{"TensorsOfTheOptimizerItself", {stepsOf({"model", "w"}), stepsOf({"optimizer", "state", "w", "x"}), stepsOf({"optimizer", "scale"})}, {"optimizer.scale other", "w weight", "w/x optimizer"}}),
    [](const auto& row) { return row.param.name; });

// PyTorch's recipe for an application keeps all under one key: nothing tells weights from states but their names.
TEST_F(DcpFormat, StatesBelowAnotherKeyAreSaidToCountAsWeights)
{
    DcpTestSave save;
    save.addWhole(stepsOf({"app", "model", "w"}), {2}, 1);
    save.addWhole(stepsOf({"app", "optim", "state", "w", "exp_avg"}), {2}, 5);
    save.addWhole(stepsOf({"app", "optim", "state", "w", "exp_avg_sq"}), {2}, 9);
    const CheckpointPtr checkpoint = opened(save);
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(describedNames(*checkpoint), ElementsAre("app.model.w weight", "app.optim.state.w.exp_avg weight", "app.optim.state.w.exp_avg_sq weight"));
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(AllOf(HasSubstr("nested-optimizer"), HasSubstr("2 of the weights are named like states"), HasSubstr("app.optim.state.w.exp_avg"))));
}

TEST_F(DcpFormat, PlainNumbersOfAnOptimizerAreTensorsAndOthersAreNot)
{
    DcpTestSave save;
    save.addWhole(stepsOf({"model", "w"}), {2}, 1);
    save.addWhole(stepsOf({"optimizer", "state", "w", "exp_avg"}), {2}, 5);
    save.addObject(stepsOf({"optimizer", "state", "w", "step"}), {std::int64_t{7}});
    save.addObject(stepsOf({"optimizer", "state", "w", "decay"}), {0.5});
    save.addObject(stepsOf({"optimizer", "state", "w", "name"}), {std::string("adam")});
    save.addObject(stepsOf({"optimizer", "param_groups", "#0", "lr"}), {0.25});
    save.addObject(stepsOf({"epoch"}), {std::int64_t{3}});
    const CheckpointPtr checkpoint = opened(save);
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(describedNames(*checkpoint), ElementsAre("w weight", "w/decay optimizer", "w/exp_avg optimizer", "w/step optimizer"));
    const TensorId step = tensorNamed(*checkpoint, "w/step");
    EXPECT_EQ(checkpoint->tensor(step).dtype, DType::I64);
    EXPECT_EQ(checkpoint->tensor(step).shape, Shape{});
    EXPECT_EQ(checkpoint->tensor(tensorNamed(*checkpoint, "w/decay")).dtype, DType::F64);
}

TEST_F(DcpFormat, WithoutPathsKeysAreNames) // PyTorch 1.13
{
    DcpTestSave save;
    save.hasPaths = false;
    save.addWhole(stepsOf({"model", "w"}), {2}, 1);
    save.addWhole(stepsOf({"optimizer", "state", "w", "x"}), {2}, 2);
    EXPECT_THAT(describedNames(*opened(save)), ElementsAre("model.w weight", "optimizer.state.w.x weight"));
}

TEST_F(DcpFormat, TensorsInsideAnObjectAreItsOwn)
{
    DcpTestSave save;
    save.addWhole(stepsOf({"w"}), {2}, 1);
    DcpTestEntry& entry = save.addObject(stepsOf({"pair"}), {Py::None{}});
    entry.chunks[0].item = objectItem({Py::Tuple{{{std::int64_t{1}}, floatTensor(0, 6, {2, 2}, 2, {1, 2})}}}, {bytesOfFloatsLe({0, 1, 2, 3, 4, 5})});
    const CheckpointPtr checkpoint = opened(save);
    EXPECT_THAT(describedNames(*checkpoint), ElementsAre("pair.1 weight", "w weight"));
    EXPECT_THAT(floatsOf(checkpoint, "pair.1"), ElementsAre(2, 4, 3, 5));
}

TEST_F(DcpFormat, AnObjectThatCannotBeReadIsAWarning)
{
    DcpTestSave save;
    save.addWhole(stepsOf({"w"}), {2}, 1);
    save.addObject(stepsOf({"x"}), {std::int64_t{1}}).chunks[0].item = std::string(50, 'x');
    save.addObject(stepsOf({"y"}), {std::int64_t{1}}).chunks[0].isStored = false;
    save.addObject(stepsOf({"z"}), {std::int64_t{1}}).chunks[0].place = std::pair(std::int64_t{0}, std::int64_t{1'000'000});
    const CheckpointPtr checkpoint = opened(save);
    EXPECT_THAT(floatsOf(checkpoint, "w"), ElementsAre(1, 2));
    EXPECT_THAT(findingsOf(*checkpoint), UnorderedElementsAre(HasSubstr("x is an object of its own and cannot be read: __0_0.distcp"), HasSubstr("y is an object of its own and cannot be read: nothing says where it lies"),
                                                              AllOf(HasSubstr("z is an object of its own"), HasSubstr("1,000,000 B at offset 0, and the file ends at"))));
}

TEST_F(DcpFormat, AnObjectWithoutEndIsAWarning) // lists that hold one another, with a tensor at their end
{
    DcpTestSave save;
    save.addWhole(stepsOf({"w"}), {2}, 1);
    std::string opcodes = "ctorch._utils\n_rebuild_tensor_v2\n)Rq";
    opcodes += '\0';
    opcodes += '0';
    for (char i = 0; i < 40; ++i)
        opcodes += std::string("(h") + i + "h" + i + "lq" + static_cast<char>(i + 1) + "0";
    save.addObject(stepsOf({"x"}), {Py::Opcodes{opcodes + "h" + static_cast<char>(40)}});
    const auto checkpoint = openPath(folderOf(save));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().text();
    EXPECT_THAT(floatsOf(*checkpoint, "w"), ElementsAre(1, 2));
    EXPECT_THAT(findingsOf(**checkpoint), ElementsAre(HasSubstr("x is an object of its own")));
}

// ---- chunks ----

DcpTestSave twoWriters()
{
    DcpTestSave save;
    save.files = {"__0_0.distcp", "__1_0.distcp"};
    save.addFloats(stepsOf({"model", "w"}), {5, 3}, 10, {{{0, 0}, {3, 3}, 0}, {{3, 0}, {2, 3}, 1}});
    save.addWhole(stepsOf({"model", "b"}), {2}, 90);
    return save;
}

TEST_F(DcpFormat, ChunksAreOneTensor)
{
    for (const bool hasHints : {true, false}) {
        DcpTestSave save = twoWriters();
        save.hasHints = hasHints;
        const CheckpointPtr checkpoint = opened(save);
        EXPECT_THAT(floatsOf(checkpoint, "w"), ElementsAre(10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24));
        EXPECT_THAT(floatsOf(checkpoint, "b"), ElementsAre(90, 91));
        EXPECT_EQ(checkpoint->tensor(tensorNamed(*checkpoint, "w")).combine, Combine::Exclusive);
        EXPECT_THAT(findingsOf(*checkpoint), IsEmpty());
    }
}

TEST_F(DcpFormat, ItemsOfEveryFormAreRead)
{
    ItemForm old;
    old.isOld = true;
    ItemForm big;
    big.isBigEndian = true;
    ItemForm deflated;
    deflated.isDeflated = true;
    for (const ItemForm& form : {ItemForm{}, old, big, deflated}) {
        DcpTestSave save;
        save.gap = 5;
        save.addFloats(stepsOf({"w"}), {4, 2}, 1, {{{0, 1}, {4, 1}, 0}, {{0, 0}, {4, 1}, 0}}, form);
        EXPECT_THAT(floatsOf(opened(save), "w"), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
    }
}

TEST_F(DcpFormat, ATransposedItemIsReadByItsStrides)
{
    DcpTestSave save = twoWriters();
    ItemForm form;
    form.strides = {1, 3};
    save.entry("model.w").chunks[0].item = floatItem({3, 3}, {10, 13, 16, 11, 14, 17, 12, 15, 18}, form);
    EXPECT_THAT(floatsOf(opened(save), "w"), ElementsAre(10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24));
}

TEST_F(DcpFormat, ATensorWithoutDimensionsAndAnEmptyOne)
{
    DcpTestSave save;
    save.addWhole(stepsOf({"scale"}), {}, 7);
    save.addWhole(stepsOf({"none"}), {0, 3}, 0);
    const CheckpointPtr checkpoint = opened(save);
    EXPECT_THAT(floatsOf(checkpoint, "scale"), ElementsAre(7));
    EXPECT_THAT(floatsOf(checkpoint, "none"), IsEmpty());
    EXPECT_THAT(findingsOf(*checkpoint), IsEmpty());
}

TEST_F(DcpFormat, EmptyChunksOfRanksWithoutRowsAreNoFinding) // 3 rows on 5 ranks: two share the empty chunk at the end
{
    DcpTestSave save;
    save.addFloats(stepsOf({"w"}), {3, 2}, 1, {{{0, 0}, {1, 2}}, {{1, 0}, {1, 2}}, {{2, 0}, {1, 2}}, {{3, 0}, {0, 2}}, {{3, 0}, {0, 2}}});
    save.entry("w").chunks[4].isStored = false;
    const CheckpointPtr checkpoint = opened(save);
    EXPECT_THAT(floatsOf(checkpoint, "w"), ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_THAT(findingsOf(*checkpoint), IsEmpty());
}

std::string firstHole(const CheckpointPtr& checkpoint, const std::string& name)
{
    const TensorId id = tensorNamed(*checkpoint, name);
    const Coverage coverage = coverageOf(*checkpoint, id);
    return coverage.holes.empty() ? "complete" : holeText(*checkpoint, id, coverage.holes.front());
}

TEST_F(DcpFormat, AHoleHasItsPlace)
{
    DcpTestSave save = twoWriters();
    save.entry("model.w").chunks.pop_back();
    EXPECT_THAT(firstHole(opened(save), "w"), HasSubstr("elements 9 to 14 of [5, 3]"));
    save = twoWriters();
    save.entry("model.w").chunks[1].isStored = false;
    const CheckpointPtr checkpoint = opened(save);
    EXPECT_THAT(firstHole(checkpoint, "w"), HasSubstr("elements 9 to 14 of [5, 3]"));
    EXPECT_THAT(findingsOf(*checkpoint), Contains("chunk-without-data: A chunk of w has no place in storage_data: offset [3, 0] size [2, 3]."));
}

TEST_F(DcpFormat, ALostFileIsNamedWithItsRank)
{
    const std::string folder = folderOf(twoWriters());
    std::filesystem::remove(folder + "/__1_0.distcp");
    const CheckpointPtr checkpoint = openedPath(folder);
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre("missing-file: __1_0.distcp is not in the folder; 1 chunk of tensors lies in it."));
    EXPECT_THAT(firstHole(checkpoint, "w"), AllOf(HasSubstr("elements 9 to 14 of [5, 3]"), HasSubstr("__1_0.distcp")));
    EXPECT_EQ(checkpoint->findings()[0].rank, 1u);
    EXPECT_THAT(floatsOf(checkpoint, "b"), ElementsAre(90, 91));
}

struct Harm {
    const char* name;
    std::function<void(DcpTestSave&)> harm;
    const char* says;
};

class DcpHarm : public DcpFormat, public testing::WithParamInterface<Harm> {};

TEST_P(DcpHarm, IsFoundAndTheRestIsRead)
{
    DcpTestSave save = twoWriters();
    GetParam().harm(save);
    const CheckpointPtr checkpoint = opened(save);
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_THAT(findingsOf(*checkpoint), Contains(AllOf(AnyOf(HasSubstr("of w"), HasSubstr("truncated-file: ")), HasSubstr(GetParam().says))));
    EXPECT_THAT(floatsOf(checkpoint, "b"), ElementsAre(90, 91));
    EXPECT_NE(firstHole(checkpoint, "w") == "complete", std::string_view(GetParam().name).find("Hole") != std::string_view::npos);
}

INSTANTIATE_TEST_SUITE_P(Harms, DcpHarm, testing::Values(
    Harm{"OutsideHole", [](DcpTestSave& save) { save.entry("model.w").chunks[1].offset = {4, 0}; }, "leaves the tensor [5, 3]: offset [4, 0] size [2, 3] in __1_0.distcp at byte 0"},
    Harm{"FarOutsideHole", [](DcpTestSave& save) { save.entry("model.w").chunks[1].offset = {1ull << 62, 1ull << 62}; }, "leaves the tensor"},
    Harm{"PastTheEndHole", [](DcpTestSave& save) { save.entry("model.w").chunks[1].place = std::pair<std::int64_t, std::int64_t>(0, 5000); }, "__1_0.distcp is cut off: the metadata place items up to byte 5,000, and it ends at 1,259"},
    Harm{"FarPastTheEndHole", [](DcpTestSave& save) { save.entry("model.w").chunks[1].place = std::pair<std::int64_t, std::int64_t>(INT64_MAX, INT64_MAX); }, "__1_0.distcp is cut off: the metadata place items up to byte 18,446,744,073,709,551,614, and it ends at"},
    Harm{"CutHole", [](DcpTestSave& save) { DcpTestChunk& chunk = save.entry("model.w").chunks[1]; chunk.place = std::pair<std::int64_t, std::int64_t>(0, static_cast<std::int64_t>(chunk.item.size()) - 10); }, "truncated"},
    Harm{"NoArchiveHole", [](DcpTestSave& save) { save.entry("model.w").chunks[1].item = std::string(600, 'x'); }, "there is no torch.save archive"},
    Harm{"AnotherShapeHole", [](DcpTestSave& save) { save.entry("model.w").chunks[1].item = floatItem({3, 2}, std::vector<float>(6, 1)); }, "the item is F32 [3, 2], and the metadata say F32 [2, 3]"},
    Harm{"AnotherDTypeHole", [](DcpTestSave& save) { save.entry("model.w").chunks[1].item = tensorItem("IntStorage", 4, {2, 3}, std::string(24, '\1')); }, "the item is I32 [2, 3], and the metadata say F32 [2, 3]"},
    Harm{"AnObjectHole", [](DcpTestSave& save) { save.entry("model.w").chunks[1].item = objectItem({std::int64_t{1}}); }, "is no tensor"},
    Harm{"ExchangedItemsHole", [](DcpTestSave& save) { auto& chunks = save.entry("model.w").chunks; std::swap(chunks[0].item, chunks[1].item); }, "the item is F32 [2, 3], and the metadata say F32 [3, 3]"},
    Harm{"Overlapping", [](DcpTestSave& save) { save.entry("model.w").chunks.push_back({{2, 0}, {2, 3}, 0, floatItem({2, 3}, {16, 17, 18, 19, 20, 21})}); },
         "overlap without being the same: offset [0, 0] size [3, 3] in __0_0.distcp at byte 0, and offset [2, 0] size [2, 3] in __0_0.distcp"}),
    [](const auto& row) { return row.param.name; });

TEST_F(DcpFormat, ManyHarmedChunksAreFewFindings)
{
    DcpTestSave save;
    std::vector<DcpTestSave::Cut> cuts;
    for (std::uint64_t row = 0; row < 100; ++row)
        cuts.push_back({{row}, {1}});
    save.addFloats(stepsOf({"w"}), {100}, 0, cuts);
    for (DcpTestChunk& chunk : save.entry("w").chunks)
        chunk.isStored = false;
    EXPECT_THAT(findingsOf(*opened(save)), AllOf(testing::SizeIs(10), Contains(HasSubstr("w has 92 more such chunks")))); // and the file, which nothing names now
}

TEST_F(DcpFormat, EqualCopiesAreReplicas)
{
    DcpTestSave save = twoWriters();
    auto& chunks = save.entry("model.w").chunks;
    DcpTestChunk copy = chunks[0];
    copy.file = 1;
    chunks.push_back(copy); // storage_data has one place for both: the last
    const CheckpointPtr checkpoint = opened(save);
    EXPECT_THAT(findingsOf(*checkpoint), Not(Contains(HasSubstr("chunk-overlap"))));
    EXPECT_EQ(checkpoint->tensor(tensorNamed(*checkpoint, "w")).combine, Combine::Replicas);
    EXPECT_EQ(firstHole(checkpoint, "w"), "complete");
}

TEST_F(DcpFormat, AnEntryThatIsNotReadIsLostByItsName)
{
    DcpTestSave save = twoWriters();
    save.entry("model.b").dtype = "float9_x";
    const CheckpointPtr checkpoint = opened(save);
    ASSERT_EQ(checkpoint->lostTensors().size(), 1u);
    EXPECT_EQ(checkpoint->lostTensors()[0].name, "b");
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(HasSubstr("the dtype float9_x is not known")));
}

TEST_F(DcpFormat, TransformedItemsAreSaidToBeNotRead)
{
    const DcpTestSave save = twoWriters();
    const std::string folder = folderOf(save);
    const auto length = static_cast<std::int64_t>(save.entries[1].chunks[0].item.size());
    writeBytesTo(folder + "/.metadata", pickled(dcpMetadata(pyDict({{"b", dcpTensor("float32", {2}, {dcpChunk({0}, {2})})}}), {Py::None{}},
                                                            {{dcpIndex("b", Counts{0}, 0), dcpPlace("__0_0.distcp", 0, length, {{std::string("stream.rot13/1")}})}})));
    EXPECT_THAT(findingsOf(*openedPath(folder)), Contains(HasSubstr("it was transformed by stream.rot13/1, which is not undone")));
}

TEST_F(DcpFormat, AFileOutsideTheFolderIsNotOpened)
{
    writeBytesTo(m_folder.file("secret.distcp"), floatItem({2}, {1, 2}));
    DcpTestSave save;
    save.addWhole(stepsOf({"w"}), {2}, 1);
    const std::string folder = folderOf(save);
    save.files = {"../secret.distcp"};
    writeBytesTo(folder + "/.metadata", pickled(save.metadata()));
    const auto checkpoint = openPath(folder);
    ASSERT_FALSE(checkpoint.ok());
    EXPECT_EQ(checkpoint.error().code(), ErrorCode::Refused);
    EXPECT_THAT(checkpoint.error().text(), AllOf(HasSubstr(".metadata"), HasSubstr("outside the checkpoint's folder")));
}

TEST_F(DcpFormat, TensorsInASafetensorsBlob) // FileSystemWriter(serialization_format=SAFETENSORS)
{
    DcpTestSave save = twoWriters();
    const std::string json = R"({"model.b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
    std::string blob(8, '\0');
    blob[0] = static_cast<char>(json.size());
    save.entry("model.b").chunks[0].item = blob + json + bytesOfFloatsLe({90, 91});
    save.entry("model.b").chunks[0].place = std::pair(static_cast<std::int64_t>(save.entry("model.w").chunks[0].item.size()), std::int64_t{8}); // torch says numel × size
    const CheckpointPtr checkpoint = opened(save);
    EXPECT_THAT(floatsOf(checkpoint, "b"), ElementsAre(90, 91));
    EXPECT_THAT(findingsOf(*checkpoint), IsEmpty());
}

} // namespace
} // namespace shardlens::test
