#pragma once

#include "core/convert/execute.h"
#include "core/job/job_context.h"

#include <chrono>
#include <cstdint>
#include <string>

namespace shardlens::cli {

enum class ProgressStyle : std::uint8_t {
    Auto, // a bar, where remarks go to a terminal
    Json, // events on standard output
    None,
};

// What a job's counters said at one moment.
struct ProgressSample {
    std::uint64_t done = 0;
    std::uint64_t total = 0;
    std::uint64_t bytesRead = 0;
    std::uint64_t bytesWritten = 0;
    StageTimes stages{};
    std::uint32_t phase = 0; // a ConvertPhase
    std::string label{};     // what is said instead of the phase; empty: the phase

    [[nodiscard]] static ProgressSample of(const Progress& progress);
};

// Bytes a second over the last few seconds.
class RateMeter {
public:
    void add(std::chrono::steady_clock::time_point when, std::uint64_t done);
    // 0 until two samples lie apart.
    [[nodiscard]] double bytesPerSecond() const { return m_rate; }

private:
    std::chrono::steady_clock::time_point m_last{};
    std::uint64_t m_lastDone = 0;
    bool m_started = false;
    double m_rate = 0;
};

// "copy    [=========>          ]  45.2 %  482 MiB of 1.07 GiB  812 MB/s  1 s left", at most `columns` wide: what fits, the most useful first.
[[nodiscard]] std::string progressText(const ProgressSample& sample, double bytesPerSecond, std::size_t columns);

} // namespace shardlens::cli
