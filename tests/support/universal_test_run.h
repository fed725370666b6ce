#pragma once

#include "tests/support/zero_test_run.h"

#include <string>

namespace shardlens::test {

// A universal checkpoint made of a run: root/latest_universal and root/<tag>/zero/<parameter>/{fp32,exp_avg,exp_avg_sq[,step]}.pt beside the run's model files.
// Of ZeRO-3 bare vectors with garbage behind them, and the step in optimizer_state.pt; of other stages dictionaries, and step.pt with a number.
void writeUniversal(const ZeroTestRun& run, const std::string& root, const std::string& tag);

// One file of it: `{param: tensor}` with more members, or the bare tensor as a vector of `bareCount` elements.
void writeUniversalEntry(const std::string& path, const std::vector<float>& values, const std::vector<std::uint64_t>& shape, std::vector<std::pair<std::string, Py>> more = {});
void writeBareEntry(const std::string& path, const std::vector<float>& values);

} // namespace shardlens::test
