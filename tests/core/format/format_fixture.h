#pragma once

#include "core/format/format.h"
#include "tests/support/torch_test_file.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::test {

[[nodiscard]] Result<CheckpointPtr> openPath(const std::string& path, const OpenOptions& options = {});
// kNoTensor, and a failure, where there is none.
[[nodiscard]] TensorId tensorNamed(const Checkpoint& checkpoint, const std::string& fullName);
[[nodiscard]] std::vector<std::string> fullNamesOf(const Checkpoint& checkpoint);
// "code: text" of every finding.
[[nodiscard]] std::vector<std::string> findingsOf(const Checkpoint& checkpoint);
// All values of an F32 tensor.
[[nodiscard]] std::vector<float> floatsOf(const CheckpointPtr& checkpoint, const std::string& fullName);

// A safetensors file of F32 tensors; the values of a tensor count up from `first`.
struct FloatTensor {
    std::string name;
    std::vector<std::uint64_t> shape;
    float first = 0;
};
void writeSafetensors(const std::string& path, const std::vector<FloatTensor>& tensors, const std::string& metadata = {});
void writeText(const std::string& path, const std::string& text);

// A dense F32 tensor in a pickle: storage `storage` of `count` elements.
[[nodiscard]] Py floatTensor(std::size_t storage, std::uint64_t count, const std::vector<std::uint64_t>& shape, std::uint64_t offset = 0, const std::vector<std::uint64_t>& strides = {});
// A storage of floats that count up from `first`.
[[nodiscard]] TestStorage floatStorage(std::uint64_t count, float first);

} // namespace shardlens::test
