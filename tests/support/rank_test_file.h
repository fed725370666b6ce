#pragma once

#include "tests/support/torch_test_file.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::test {

// A float32 tensor with its values in row-major order.
struct TestTensor {
    std::string name;
    std::vector<std::uint64_t> shape;
    std::vector<float> values;
};

// A torch file as a rank writes it: a dictionary with the model under `key` (empty: the tensors are the dictionary's own) and `extras` beside it.
// Folders on the way are made.
void writeRankFile(const std::string& path, const std::string& key, const std::vector<TestTensor>& tensors, std::vector<std::pair<std::string, Py>> extras = {});

} // namespace shardlens::test
