#pragma once

#include "tests/support/torch_test_file.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::test {

// A directory of torch.distributed.checkpoint with float32 tensors, written after formats/pytorch.md §9.2 and §9.4.
struct DcpTestFolder {
    struct Chunk {
        std::vector<std::uint64_t> offset;
        std::vector<std::uint64_t> extent;
        std::vector<float> values; // row-major
        std::size_t writer = 0;    // "__0_0.distcp"
    };
    struct Tensor {
        std::string key;
        std::vector<std::uint64_t> shape;
        std::vector<Chunk> chunks;
    };
    struct Object {
        std::string key;
        Py value;
    };
    std::vector<Tensor> tensors;
    std::vector<Object> objects; // in the first file
    std::vector<std::pair<std::string, std::vector<std::uint64_t>>> flattened; // mcore_data: shapes before (formats/megatron.md §6.5)

    // Makes the folder. Data files that nothing lies in are not written.
    void write(const std::string& folder) const;
};

} // namespace shardlens::test
