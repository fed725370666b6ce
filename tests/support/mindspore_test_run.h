#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::test {

// How a tensor lies over the devices of a stage (formats/mindspore.md §3.2): axes of each dimension counted from the right of the device matrix.
struct MindSporeLayout {
    std::vector<std::uint64_t> devices;
    std::vector<std::vector<std::uint32_t>> map;
    std::int32_t shardSize = 0; // of the optimizer: 0 none, -1 all ranks that repeat the slice
};

struct MindSporeTensor {
    std::string name;
    std::string type = "Float32";
    std::uint64_t cell = 4; // bytes of a value
    std::vector<std::uint64_t> shape;
    std::map<std::uint32_t, MindSporeLayout> layouts; // by stage; none: on every rank as it is, and in no strategy
};

// A run as MindSpore's ranks write it, with its strategy. Slices are found by asking of every element whether a rank holds it, as the definition says.
struct MindSporeTestRun {
    std::vector<MindSporeTensor> tensors;
    std::uint32_t stages = 1;
    std::uint64_t devices = 1; // of a stage
    std::vector<std::pair<std::string, std::string>> texts; // in every file, ASCII

    [[nodiscard]] std::uint64_t world() const { return stages * devices; }
    // The values of a whole tensor.
    [[nodiscard]] static std::string valuesOf(const MindSporeTensor& tensor);
    // Numbers of the elements of a tensor that a rank holds, ascending: its slice in row-major order.
    [[nodiscard]] static std::vector<std::uint64_t> elementsOf(const MindSporeLayout& layout, const std::vector<std::uint64_t>& shape, std::uint64_t localRank);
    [[nodiscard]] static std::vector<std::uint64_t> sliceShape(const MindSporeLayout& layout, std::vector<std::uint64_t> shape);
    [[nodiscard]] std::string fileOf(std::uint64_t rank) const; // bytes
    [[nodiscard]] std::string strategyBytes() const;            // protobuf, merged where there are several stages

    // root/rank_N/<stem>N<ending>.
    void write(const std::string& root, const std::string& stem = "net_rank_", const std::string& ending = ".ckpt") const;
    void writeStrategy(const std::string& path) const;
    // Other layouts of the same tensors. Their dimensions must be multiples of 24.
    void shuffle(std::mt19937& random, std::uint32_t stageCount, std::uint64_t deviceCount);
};

// A record of a .ckpt file (§2.2).
[[nodiscard]] std::string ckptRecord(const std::string& name, const std::string& type, const std::vector<std::uint64_t>& shape, const std::string& content);
[[nodiscard]] std::string ckptText(const std::string& name, const std::string& ascii);
[[nodiscard]] std::string crcTrailerText(std::uint32_t crc);
void writeBytes(const std::string& path, const std::string& bytes); // folders on the way are made

} // namespace shardlens::test
