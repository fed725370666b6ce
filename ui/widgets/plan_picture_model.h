#pragma once

#include "core/convert/plan.h"
#include "ui/jobs/job.h"

#include <QString>

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

namespace shardlens::ui {

// A stretch of a file in the picture of a plan.
struct PlanStretch {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::optional<std::uint32_t> rank; // that holds the bytes now; none: neutral
    bool carried = true;               // false: these bytes of the source do not go into the target
    QString label;                     // "fp32 master"
};

struct PlanLane {
    QString title; // of the file, for the tooltip
    std::optional<std::uint32_t> rank; // whose file it is
    std::uint64_t bytes = 0;
    std::vector<PlanStretch> stretches; // ascending
};

// A run of bytes that is contiguous on both sides, or several with gaps below a pixel between them.
struct PlanBand {
    std::size_t from = 0; // lane
    std::uint64_t fromBegin = 0;
    std::uint64_t fromEnd = 0;
    std::size_t to = 0;
    std::uint64_t toBegin = 0;
    std::uint64_t toEnd = 0;
    std::optional<std::uint32_t> rank;
};

// What moves from where to where, to scale (design.md §4, "Before and after"). Immutable; building is O(n log n) in pieces, for a worker.
struct PlanPictureModel {
    static constexpr std::size_t kMostBands = 2000;

    std::vector<PlanLane> before; // source files, those without a rank first, then by rank
    std::vector<PlanLane> after;  // files of the target, in order
    std::vector<PlanBand> bands;
    bool bandsAreSums = false; // too many runs: one band for each pair of files, as thick as its bytes
    std::uint64_t beforeBytes = 0;
    std::uint64_t afterBytes = 0;
    std::size_t ranks = 0; // that the source's files name
    std::size_t afterRanks = 0; // of the result; 0: it has none

    // nullptr where a stop was requested.
    [[nodiscard]] static std::shared_ptr<const PlanPictureModel> build(const Plan& plan, std::stop_token stop = {});
    // The target's files for the queue.
    [[nodiscard]] std::vector<JobFile> jobFiles() const;
};

using PlanPictureModelPtr = std::shared_ptr<const PlanPictureModel>;

} // namespace shardlens::ui
