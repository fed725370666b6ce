#pragma once

#include "tests/support/torch_test_file.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace shardlens::test {

// A dist id's box of a tensor.
struct DistTestBox {
    std::uint32_t dist = 0;
    std::vector<std::uint64_t> offsets;
    std::vector<std::uint64_t> lengths;
    float added = 0; // to every value of this copy
};

// An F32 tensor whose values count up from `first` in row-major order.
struct DistTestTensor {
    std::string name;
    std::vector<std::uint64_t> shape;
    float first = 0;
    std::vector<DistTestBox> boxes;
};

// The equal slices along a dimension that `tp` ranks of a pipeline stage hold.
[[nodiscard]] DistTestTensor slicedTensor(std::string name, std::vector<std::uint64_t> shape, float first, std::size_t dim, std::uint32_t tp, std::uint32_t stage = 0);
// A copy on each rank of a stage.
[[nodiscard]] DistTestTensor copiedTensor(std::string name, std::vector<std::uint64_t> shape, float first, std::uint32_t tp, std::uint32_t stage = 0);

// A distributed model checkpoint of ColossalAI (dialect D2, sharded), as the original writes it.
struct DistTestRun {
    std::uint32_t count = 1; // dist ids
    std::vector<DistTestTensor> tensors;
    std::map<std::string, float> buffers; // [3] each, in every file, without metadata
    bool safetensors = false;
    std::string filePath; // put before names in "file"

    void write(const std::string& folder) const;
    [[nodiscard]] std::string metaName(std::uint32_t dist) const;
    [[nodiscard]] std::string shardName(std::uint32_t dist) const;
    [[nodiscard]] std::string metaText(std::uint32_t dist) const;
};

// A safetensors file of F32 tensors with those values, in their order.
struct ValuesTensor {
    std::string name;
    std::vector<std::uint64_t> shape;
    std::vector<float> values;
};
void writeValues(const std::string& path, const std::vector<ValuesTensor>& tensors);
// The same as torch.save writes a state dict.
void writeTorchValues(const std::string& path, const std::vector<ValuesTensor>& tensors);
[[nodiscard]] TestStorage valuesStorage(std::vector<float> values);

} // namespace shardlens::test
