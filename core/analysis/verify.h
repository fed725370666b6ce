#pragma once

#include "core/base/result.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"
#include "core/model/checkpoint.h"

#include <vector>

namespace shardlens {

struct VerifyOptions {
    bool quick = false; // geometry only: no payload byte is read
};

struct VerifyReport {
    std::vector<Finding> findings; // the checkpoint's own and what the check found, worst first
    std::uint64_t tensorsChecked = 0;
    std::uint64_t bytesRead = 0;

    [[nodiscard]] Severity worst() const; // Info where there is nothing
};

// Is every element there (union of regions), do overlapping pieces hold equal bytes, are parameters finite, is a module copy the rounded master
// ("stale-module-copy"), are the bytes of archives those that their checksums were made of ("checksum")? A tensor that cannot be read is a finding, not a failure.
[[nodiscard]] Result<VerifyReport> verifyCheckpoint(const CheckpointPtr& checkpoint, const VerifyOptions& options, Executor& executor, JobContext& job);

} // namespace shardlens
