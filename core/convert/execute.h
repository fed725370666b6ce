#pragma once

#include "core/base/result.h"
#include "core/convert/plan.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"

#include <string>
#include <vector>

namespace shardlens {

// Phases of a running conversion, in order: the values of Progress::phase.
enum class ConvertPhase : std::uint32_t { Open, Plan, Copy, Flush, Verify, Publish, Done };
[[nodiscard]] const char* nameOf(ConvertPhase phase);

// What threads spent in each stage, in nanoseconds, all threads together.
struct StageTimes {
    std::uint64_t readNs = 0;
    std::uint64_t computeNs = 0; // all that is no file: casts, quantization, comparing
    std::uint64_t writeNs = 0;
};

struct ConvertReport {
    std::string target;
    std::vector<std::string> files;     // names and sizes are those of the plan
    std::vector<PlanLine> lines;        // the plan's, and what the run added (overflow counts …)
    std::uint64_t bytesRead = 0;
    std::uint64_t bytesWritten = 0;
    double seconds = 0;
    StageTimes stages;
    std::uint64_t peakResidentBytes = 0; // VmHWM of this process
    bool verified = false;
};

// Writes the plan into a hidden, locked sibling of the target, flushes, checks that no source file changed, verifies if asked, and renames.
// On any failure or cancel the hidden folder is removed and the target's name is as it was. Progress counts output bytes (twice with verify).
// Buffers keep to the plan's limit where the executor has at most plan.request.threads threads.
[[nodiscard]] Result<ConvertReport> executePlan(const Plan& plan, Executor& executor, JobContext& job);

} // namespace shardlens
