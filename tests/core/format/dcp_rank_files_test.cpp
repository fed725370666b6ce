// Files that ranks wrote by torch.save, with ShardedTensor or DTensor inside (formats/pytorch.md §5).
#include "core/model/coverage.h"
#include "tests/core/format/dcp_fixture.h"

#include <fmt/format.h>

#include <filesystem>
#include <numeric>

namespace shardlens::test {
namespace {

Py pyText(const std::string& text)
{
    return {text};
}

Py integers(const Counts& numbers, bool isTuple = true)
{
    std::vector<Py> out;
    for (const std::uint64_t number : numbers)
        out.push_back({static_cast<std::int64_t>(number)});
    return isTuple ? Py{Py::Tuple{out}} : Py{out};
}

Py objectOf(const std::string& module, const std::string& type, std::vector<std::pair<std::string, Py>> attributes, bool hasSlots = false)
{
    const Py state = pyDict(std::move(attributes));
    return {Py::Object{{"torch.distributed." + module, type}, {}, {hasSlots ? Py{Py::Tuple{{{Py::None{}}, state}}} : state}}};
}

Py wrapped(const std::string& module, const std::string& type, const Counts& shape, const Py& state)
{
    const Py::Global self{"torch.distributed." + module, type};
    const Py arguments{Py::Tuple{{{self}, {Py::Global{"torch", "float32"}}, pySize(shape), integers(Counts(shape.size(), 1)), {std::int64_t{0}}, {Py::None{}}, {Py::None{}}, {false}}}};
    return {Py::Call{{"torch._tensor", "_rebuild_from_type_v2"}, {{Py::Global{"torch._utils", "_rebuild_wrapper_subclass"}}, {self}, arguments, state}}};
}

// Files of ranks in the making: their storages are numbered as they come.
struct RankFileMaker {
    std::vector<std::pair<std::string, Py>> items;
    std::vector<TestStorage> storages;

    Py tensor(const Counts& shape, float first)
    {
        const std::uint64_t count = std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>());
        storages.push_back(floatStorage(count, first));
        return floatTensor(storages.size() - 1, count, shape);
    }
    void add(const std::string& key, Py value) { items.emplace_back(key, std::move(value)); }
    void write(const std::string& path) const
    {
        std::filesystem::create_directories(std::filesystem::path(path).parent_path());
        writeTorchFile(path, pyDict(items, true), storages);
    }
};

struct ShardAt {
    Counts offset;
    Counts extent;
    std::uint32_t rank;
};

Py shardMetadata(const ShardAt& at)
{
    const Py device = objectOf("remote_device", "_remote_device", {{"_worker_name", {Py::None{}}}, {"_rank", {static_cast<std::int64_t>(at.rank)}}, {"_device", pyText("cpu")}});
    return objectOf("_shard.metadata", "ShardMetadata", {{"shard_offsets", integers(at.offset, false)}, {"shard_sizes", integers(at.extent, false)}, {"placement", device}}, true);
}

// The ShardedTensor of one rank; its values count up in the whole.
Py shardedTensor(RankFileMaker& file, const Counts& shape, const std::vector<ShardAt>& all, std::uint32_t rank, std::int64_t world, std::uint64_t rowCells)
{
    std::vector<Py> local;
    std::vector<Py> metadata;
    for (const ShardAt& one : all) {
        metadata.push_back(shardMetadata(one));
        if (one.rank == rank)
            local.push_back(objectOf("_shard.sharded_tensor.shard", "Shard", {{"tensor", file.tensor(one.extent, static_cast<float>(one.offset[0] * rowCells))}, {"metadata", shardMetadata(one)}}, true));
    }
    const Py whole = objectOf("_shard.sharded_tensor.metadata", "ShardedTensorMetadata", {{"shards_metadata", {metadata}}, {"size", pySize(shape)}});
    const Py group = objectOf("_shard.sharded_tensor.api", "ProcessGroupState", {{"global_rank", {static_cast<std::int64_t>(rank)}}, {"global_world_size", {world}}});
    return wrapped("_shard.sharded_tensor.api", "ShardedTensor", shape, {Py::Tuple{{{local}, whole, group, {Py::None{}}, {false}}}});
}

Py placement(const std::string& type, std::vector<std::pair<std::string, Py>> attributes = {})
{
    return objectOf("tensor.placement_types", type, std::move(attributes));
}

Py shardOf(std::int64_t dim)
{
    return placement("Shard", {{"dim", {dim}}});
}

// A mesh as PyTorch 2.13 pickles it.
Py newMesh(const Counts& shape, const Counts& coordinate)
{
    std::vector<Py> axes;
    std::uint64_t stride = std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>());
    const std::uint64_t world = stride;
    for (const std::uint64_t size : shape) {
        stride /= size;
        axes.push_back(objectOf("_mesh_layout", "_FlatLayout", {{"shape", integers({size})}, {"stride", integers({stride})}}));
    }
    Counts ranks(world);
    std::iota(ranks.begin(), ranks.end(), std::uint64_t{0});
    return objectOf("device_mesh", "DeviceMesh", {{"_layout", objectOf("_mesh_layout", "_MeshLayout", {{"axes", {Py::Tuple{axes}}}})}, {"_flatten_rank_map", integers(ranks)}, {"_coordinate_on_dim", integers(coordinate)}});
}

Py dtensor(const Counts& shape, const Py& local, const Py& mesh, const std::vector<Py>& placements, std::vector<std::pair<std::string, Py>> more = {})
{
    std::vector<std::pair<std::string, Py>> attributes{{"mesh", mesh}, {"placements", {Py::Tuple{placements}}}};
    for (auto& one : more)
        attributes.push_back(std::move(one));
    const Py spec = objectOf("tensor._dtensor_spec", "DTensorSpec", attributes);
    return wrapped("tensor", "DTensor", shape, {Py::Tuple{{{Py::None{}}, pyDict({{"_local_tensor", local}, {"_spec", spec}})}}});
}

class DcpRankFiles : public DcpFormat {
protected:
    std::string fileOf(std::uint32_t rank) const { return m_folder.file(fmt::format("run/pytorch_model_fsdp_0_rank{}.bin", rank)); }
    std::string folder() const { return m_folder.file("run"); }
    // w [5, 2] in shards of 2, 2 and 1 rows, and b on each of three ranks.
    void threeShardedRanks()
    {
        const std::vector<ShardAt> all{{{0, 0}, {2, 2}, 0}, {{2, 0}, {2, 2}, 1}, {{4, 0}, {1, 2}, 2}};
        for (const std::uint32_t rank : {0u, 1u, 2u}) {
            RankFileMaker file;
            file.add("w", shardedTensor(file, {5, 2}, all, rank, 3, 2));
            file.add("b", file.tensor({3}, 50));
            file.write(fileOf(rank));
        }
    }
    // w on a mesh of two, its rows cut; `placements` and `more` as a test wants them.
    void twoDTensors(const std::vector<Py>& placements, const Counts& localShape = {2, 2}, std::vector<std::pair<std::string, Py>> more = {})
    {
        for (const std::uint32_t rank : {0u, 1u}) {
            RankFileMaker file;
            const Py local = file.tensor(localShape, static_cast<float>(4 * rank));
            file.add("w", dtensor({4, 2}, local, newMesh({2}, {rank}), placements, more));
            file.write(fileOf(rank));
        }
    }
    std::string said()
    {
        const auto checkpoint = openPath(folder());
        return checkpoint ? testing::PrintToString(findingsOf(**checkpoint)) : checkpoint.error().text();
    }
};

TEST_F(DcpRankFiles, ShardedTensorsAreOne)
{
    threeShardedRanks();
    const CheckpointPtr checkpoint = openedPath(folder());
    EXPECT_THAT(floatsOf(checkpoint, "w"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
    EXPECT_THAT(floatsOf(checkpoint, "b"), ElementsAre(50, 51, 52));
    EXPECT_EQ(checkpoint->tensor(tensorNamed(*checkpoint, "b")).combine, Combine::Replicas);
    EXPECT_THAT(findingsOf(*checkpoint), IsEmpty());
    EXPECT_THAT(floatsOf(openedPath(fileOf(1)), "w"), testing::SizeIs(10)); // one of them opens all
}

TEST_F(DcpRankFiles, ALostRankIsNamedWithItsRows)
{
    threeShardedRanks();
    std::filesystem::remove(fileOf(2)); // the last: the files say how many ranks there were
    const CheckpointPtr checkpoint = openedPath(folder());
    EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(HasSubstr("pytorch_model_fsdp_0_rank2.bin is not in the folder: the file of rank 2 of 3")));
    const Coverage coverage = coverageOf(*checkpoint, tensorNamed(*checkpoint, "w"));
    ASSERT_EQ(coverage.holes.size(), 1u);
    EXPECT_THAT(holeText(*checkpoint, tensorNamed(*checkpoint, "w"), coverage.holes[0]), HasSubstr("rank 2 should hold them; pytorch_model_fsdp_0_rank2.bin is not in the folder"));
    EXPECT_THAT(floatsOf(checkpoint, "b"), ElementsAre(50, 51, 52));
}

TEST_F(DcpRankFiles, AShardOutsideItsTensorLosesThatTensorAlone)
{
    for (const ShardAt& bad : {ShardAt{{4, 0}, {2, 2}, 2}, ShardAt{{1ull << 62, 1ull << 62}, {1, 2}, 2}, ShardAt{{4}, {1}, 2}}) {
        const std::vector<ShardAt> all{{{0, 0}, {2, 2}, 0}, {{2, 0}, {2, 2}, 1}, bad};
        for (const std::uint32_t rank : {0u, 1u, 2u}) {
            RankFileMaker file;
            file.add("w", shardedTensor(file, {5, 2}, all, rank, 3, 0));
            file.add("b", file.tensor({3}, 50));
            file.write(fileOf(rank));
        }
        const CheckpointPtr checkpoint = openedPath(folder());
        ASSERT_NE(checkpoint, nullptr);
        EXPECT_THAT(findingsOf(*checkpoint), ElementsAre(AllOf(HasSubstr("w in pytorch_model_fsdp_0_rank2.bin cannot be read"), testing::AnyOf(HasSubstr("leaves the tensor [5, 2]"), HasSubstr("another number of dimensions")))));
        EXPECT_THAT(floatsOf(checkpoint, "b"), ElementsAre(50, 51, 52));
    }
}

TEST_F(DcpRankFiles, APlaceOfALostRankOutsideTheTensorIsNoReasonToRefuseAll)
{
    const std::vector<ShardAt> all{{{0, 0}, {2, 2}, 0}, {{9, 9}, {2, 2}, 1}};
    RankFileMaker file;
    file.add("w", shardedTensor(file, {4, 2}, all, 0, 2, 2));
    file.add("b", file.tensor({3}, 50));
    file.write(fileOf(0));
    EXPECT_THAT(floatsOf(openedPath(folder()), "b"), ElementsAre(50, 51, 52));
}

TEST_F(DcpRankFiles, MoreBytesThanCanBeCountedAreLost)
{
    RankFileMaker file;
    file.add("w", shardedTensor(file, {1ull << 62, 1ull << 62}, {{{0, 0}, {1, 1}, 0}}, 0, 1, 0));
    file.add("b", file.tensor({3}, 50));
    file.write(fileOf(0));
    EXPECT_THAT(said(), HasSubstr("more bytes than can be counted"));
    EXPECT_THAT(floatsOf(openedPath(folder()), "b"), ElementsAre(50, 51, 52));
}

TEST_F(DcpRankFiles, DTensorsAreOne)
{
    twoDTensors({shardOf(0)});
    EXPECT_THAT(floatsOf(openedPath(folder()), "w"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
    EXPECT_THAT(said(), HasSubstr("{}"));
    std::filesystem::remove(fileOf(0));
    EXPECT_THAT(said(), HasSubstr("pytorch_model_fsdp_0_rank0.bin is not in the folder: the file of rank 0 of 2"));
    const CheckpointPtr checkpoint = openedPath(folder());
    EXPECT_EQ(coverageOf(*checkpoint, tensorNamed(*checkpoint, "w")).missingCells, 4u);
}

TEST_F(DcpRankFiles, ReplicatedDTensorsAreReplicas)
{
    twoDTensors({placement("Replicate")}, {4, 2});
    const CheckpointPtr checkpoint = openedPath(folder());
    EXPECT_EQ(checkpoint->tensor(tensorNamed(*checkpoint, "w")).combine, Combine::Replicas);
    EXPECT_THAT(floatsOf(checkpoint, "w"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7)); // the first rank's
}

TEST_F(DcpRankFiles, WhatCannotBePutTogetherIsSaid)
{
    twoDTensors({placement("Partial", {{"reduce_op", pyText("sum")}})}, {4, 2});
    EXPECT_THAT(said(), HasSubstr("its placement is Partial: each rank holds a summand"));
    twoDTensors({placement("_Partial")}, {4, 2});
    EXPECT_THAT(said(), HasSubstr("its placement is Partial"));
    twoDTensors({placement("MyOwn")});
    EXPECT_THAT(said(), HasSubstr("a placement of class MyOwn is not known"));
    twoDTensors({shardOf(0), shardOf(1)});
    EXPECT_THAT(said(), HasSubstr("2 placements on a device mesh of 1 dimensions"));
    twoDTensors({shardOf(7)});
    EXPECT_THAT(said(), HasSubstr("a placement cuts dimension 7 of a tensor of 2"));
    twoDTensors({shardOf(-1)});
    EXPECT_THAT(said(), HasSubstr("a placement of class Shard is not known"));
    twoDTensors({shardOf(1)});
    EXPECT_THAT(said(), HasSubstr("it holds F32 [2, 2], and its place in the whole is F32 [4, 1]"));
}

TEST_F(DcpRankFiles, StridedShardsAreCutFromRightToLeft) // FSDP2 over tensor parallelism
{
    const std::vector<Py> placements{placement("_StridedShard", {{"dim", {std::int64_t{0}}}, {"split_factor", {std::int64_t{2}}}}), shardOf(0)};
    for (std::uint32_t rank = 0; rank < 4; ++rank) {
        const std::uint64_t dp = rank / 2;
        const std::uint64_t tp = rank % 2;
        RankFileMaker file;
        file.add("w", dtensor({16}, file.tensor({4}, static_cast<float>(8 * tp + 4 * dp)), newMesh({2, 2}, {dp, tp}), placements));
        file.write(fileOf(rank));
    }
    EXPECT_THAT(floatsOf(openedPath(folder()), "w"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

TEST_F(DcpRankFiles, AnOrderThatIsStatedCounts)
{
    const auto entry = [](const Counts& meshDims) { return Py{Py::Object{{"torch.distributed.tensor._dtensor_spec", "ShardOrderEntry"}, {{std::int64_t{0}}, integers(meshDims)}, {}}}; };
    for (std::uint32_t rank = 0; rank < 4; ++rank) {
        RankFileMaker file;
        const Counts coordinate{rank / 2, rank % 2};
        file.add("w", dtensor({8}, file.tensor({2}, static_cast<float>(4 * coordinate[1] + 2 * coordinate[0])), newMesh({2, 2}, coordinate), {shardOf(0), shardOf(0)}, {{"shard_order", {Py::Tuple{{entry({1, 0})}}}}}));
        file.write(fileOf(rank));
    }
    EXPECT_THAT(floatsOf(openedPath(folder()), "w"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST_F(DcpRankFiles, AnOldMeshIsATensorOfRanks)
{
    for (const std::uint32_t rank : {0u, 1u}) {
        RankFileMaker file;
        const Py local = file.tensor({2, 2}, static_cast<float>(4 * rank));
        const Py mesh = objectOf("_tensor.device_mesh", "DeviceMesh", {{"device_type", pyText("cuda")}, {"mesh", file.tensor({2}, 0)}, {"_coordinate_on_dim", {Py::None{}}}});
        file.add("w", dtensor({4, 2}, local, mesh, {shardOf(0)}));
        file.write(fileOf(rank));
    }
    const CheckpointPtr checkpoint = openedPath(folder());
    EXPECT_THAT(floatsOf(checkpoint, "w"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
    EXPECT_THAT(describedNames(*checkpoint), ElementsAre("w weight")); // the mesh's tensor is none of the model's
}

TEST_F(DcpRankFiles, AMeshThatIsNoneIsSaid)
{
    const std::vector<std::pair<Py, const char*>> meshes{
        {{Py::None{}}, "the device mesh is of a kind that is not known"},
        {objectOf("device_mesh", "DeviceMesh", {{"_layout", objectOf("_mesh_layout", "_MeshLayout", {})}}), "the device mesh has no axes that are known"},
        {newMesh({2}, {5}), "the file's place lies outside its device mesh"},
        {objectOf("device_mesh", "DeviceMesh", {{"_layout", objectOf("_mesh_layout", "_MeshLayout", {{"axes", {Py::Tuple{{objectOf("_mesh_layout", "_FlatLayout", {{"shape", integers({2})}, {"stride", integers({0})}})}}}}})}}),
         "does not say where this rank stands in it"},
        {objectOf("device_mesh", "DeviceMesh", {{"_layout", objectOf("_mesh_layout", "_MeshLayout", {{"axes", {Py::Tuple{{objectOf("_mesh_layout", "_FlatLayout", {{"shape", integers({})}, {"stride", integers({1})}})}}}}})}}),
         "cannot be read"}};
    for (const auto& [mesh, says] : meshes) {
        for (const std::uint32_t rank : {0u, 1u}) {
            RankFileMaker file;
            file.add("w", dtensor({4, 2}, file.tensor({2, 2}, 0), mesh, {shardOf(0)}));
            file.write(fileOf(rank));
        }
        EXPECT_THAT(said(), HasSubstr(says));
    }
}

TEST_F(DcpRankFiles, FragmentsOfAFlatParameterAreSaidAndItsFlatFormIsRead) // LOCAL_STATE_DICT with use_orig_params=True
{
    const std::vector<ShardAt> all{{{0}, {5}, 0}, {{5}, {5}, 1}};
    for (const std::uint32_t rank : {0u, 1u}) {
        RankFileMaker file;
        file.add("_flat_param", shardedTensor(file, {10}, all, rank, 2, 1));
        file.add("a", file.tensor({rank == 0 ? 5u : 1u}, 0));
        file.add("b", file.tensor({rank == 0 ? 0u : 4u}, 0));
        file.write(fileOf(rank));
    }
    const CheckpointPtr checkpoint = openedPath(folder());
    EXPECT_THAT(floatsOf(checkpoint, "_flat_param"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
    EXPECT_THAT(findingsOf(*checkpoint), UnorderedElementsAre(HasSubstr("a is in pieces: each rank's file holds a fragment"), HasSubstr("b is in pieces")));
}

TEST_F(DcpRankFiles, ModelAndOptimizerOfAccelerate)
{
    threeShardedRanks();
    for (const std::uint32_t rank : {0u, 1u, 2u}) {
        RankFileMaker file;
        const std::vector<ShardAt> all{{{0, 0}, {2, 2}, 0}, {{2, 0}, {2, 2}, 1}, {{4, 0}, {1, 2}, 2}};
        file.add("state", pyDict({{"w", pyDict({{"exp_avg", shardedTensor(file, {5, 2}, all, rank, 3, 2)}})}}));
        file.write(m_folder.file(fmt::format("run/optimizer_0_rank{}.bin", rank)));
    }
    const CheckpointPtr checkpoint = openedPath(folder());
    EXPECT_THAT(describedNames(*checkpoint), ElementsAre("b weight", "w weight", "w/exp_avg optimizer"));
    EXPECT_THAT(floatsOf(checkpoint, "w/exp_avg"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

TEST_F(DcpRankFiles, FilesWithPlainTensorsAloneDoNotBelongTogether)
{
    for (const std::uint32_t rank : {0u, 1u}) {
        RankFileMaker file;
        file.add("w", file.tensor({2}, 0));
        file.write(fileOf(rank));
    }
    EXPECT_THAT(said(), HasSubstr("2 files (pytorch_model_fsdp_0_rank0.bin … pytorch_model_fsdp_0_rank1.bin), and nothing in them says how they belong together"));
}

TEST_F(DcpRankFiles, FilesOfDifferentSavesAreSaid)
{
    threeShardedRanks();
    RankFileMaker file;
    file.add("w", shardedTensor(file, {6, 2}, {{{4, 0}, {1, 2}, 2}}, 2, 3, 2));
    file.add("b", file.tensor({3}, 50));
    file.write(fileOf(2));
    EXPECT_THAT(said(), HasSubstr("is F32 [6, 2], and F32 [5, 2] in another rank's file: files of different saves"));
}

TEST_F(DcpRankFiles, EveryPrefixOfAFileIsRefusedOrReadWithASentence)
{
    threeShardedRanks();
    const std::uint64_t size = std::filesystem::file_size(fileOf(1));
    for (std::uint64_t length = 0; length < size; length += 37) {
        threeShardedRanks();
        std::filesystem::resize_file(fileOf(1), length);
        const auto checkpoint = openPath(folder());
        if (!checkpoint) {
            EXPECT_THAT(checkpoint.error().text(), HasSubstr("rank1.bin")) << length;
        }
    }
}

} // namespace
} // namespace shardlens::test
