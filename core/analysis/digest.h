#pragma once

#include "core/base/result.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"
#include "core/layout/selection.h"
#include "core/model/checkpoint.h"

#include <string>
#include <vector>

namespace shardlens {

struct TensorDigest {
    std::string name;
    DType dtype;
    Shape shape;
    std::string sha256; // of the little-endian values in row-major order, hexadecimal
};

// In the order of `selection`. Streams every tensor once; aliases repeat the result of their tensor. Progress counts bytes.
[[nodiscard]] Result<std::vector<TensorDigest>> digestTensors(const CheckpointPtr& checkpoint, const std::vector<SelectedTensor>& selection,
                                                              Executor& executor, JobContext& job);

} // namespace shardlens
