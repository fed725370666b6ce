#pragma once

#include <string>
#include <vector>

namespace shardlens::benchmark {

struct Measured {
    double seconds = 0; // from before the start to after the end
    double cpuSeconds = 0; // user + system
    double peakMiB = 0;    // resident
    int exitCode = -1;
    std::string output; // standard output, where it was asked for
};

// Runs a program to its end. Standard output is kept or thrown away; standard error is the caller's.
[[nodiscard]] Measured measure(const std::vector<std::string>& command, bool keepOutput = false);

[[nodiscard]] double medianOf(std::vector<double> values); // 0 for none

} // namespace shardlens::benchmark
