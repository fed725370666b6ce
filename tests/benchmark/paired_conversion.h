#pragma once

#include "tests/benchmark/benchmark_options.h"
#include "tests/benchmark/measured_process.h"

#include <string>
#include <vector>

namespace shardlens::benchmark {

// A conversion that is measured beside `cp -r REFERENCE … && sync`, in pairs that take turns in being first.
struct PairedConversion {
    std::string source;
    std::string target;    // removed after every run
    std::string reference; // what is copied: an output of the same conversion, which is made; or the source itself, which stays
    std::vector<std::string> options; // "--to", "safetensors" …
    double goal = 1.3;                // of the median ratio
};

// Runs it once into `target`; the answer in JSON is in the output.
[[nodiscard]] Measured convertOnce(const Options& options, const PairedConversion& what, const std::string& target);
// The peak resident size that such a run says it had.
[[nodiscard]] double peakMiBOf(const Measured& run);
// Makes the reference (which also warms the source), runs options.pairs pairs and prints them with their median. False where a run failed.
[[nodiscard]] bool reportPairs(const Options& options, const PairedConversion& what);

} // namespace shardlens::benchmark
