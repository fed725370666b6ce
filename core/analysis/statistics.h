#pragma once

#include "core/base/result.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"
#include "core/layout/selection.h"
#include "core/model/checkpoint.h"
#include "core/numeric/statistics.h"

#include <string>
#include <vector>

namespace shardlens {

constexpr std::size_t kHistogramBins = 64; // at most

struct TensorStatistics {
    std::string name;
    TensorId tensor{};
    ValueStatistics values; // without the fine bins
    std::vector<HistogramBin> histogram;
};

// In the order of `selection`. Streams every tensor once, large ones on several threads; aliases repeat the result of their tensor.
// The result does not depend on the number of threads. Progress counts bytes.
[[nodiscard]] Result<std::vector<TensorStatistics>> statisticsOf(const CheckpointPtr& checkpoint, const std::vector<SelectedTensor>& selection,
                                                                 Executor& executor, JobContext& job);

// Of blocks spread evenly over the tensor, about `bytes` of them; all of a tensor that is no larger. For a first look.
[[nodiscard]] Result<TensorStatistics> sampledStatistics(const CheckpointPtr& checkpoint, TensorId tensor, std::uint64_t bytes, JobContext& job);

} // namespace shardlens
