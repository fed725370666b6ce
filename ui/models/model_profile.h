#pragma once

#include "core/job/job_context.h"
#include "core/model/checkpoint.h"
#include "core/numeric/statistics.h"

#include <QString>

#include <atomic>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace shardlens::ui {

// Statistics of one tensor on the way through a model.
struct ProfileRow {
    TensorId tensor{};
    std::string name;
    std::size_t kind = 0;   // of ModelProfile::kinds
    ValueStatistics values; // without bins; of the sample or of all values
    bool isExact = false;
    QString problem;        // a sentence: it could not be read

    [[nodiscard]] double largest() const; // |x|, of finite values
    [[nodiscard]] std::uint64_t nonFinite() const { return values.values - values.finite(); }
    [[nodiscard]] double zeroShare() const;
};

// What a tensor can be unlike the others in.
enum class ProfileFigure : std::uint8_t { Deviation, Largest, Zeros, NonFinite };

// A tensor that is unlike the others of its kind.
struct OddTensor {
    std::size_t row = 0; // of ModelProfile::rows
    QString why;         // "deviation 0.31, 6.2 times the median of its kind"
    double weight = 0;   // how far off it is: the largest first
};

// The values of one state of a model ("fp32 master", "exp_avg") over its depth: which layer is odd?
struct ModelProfile {
    CheckpointPtr checkpoint;
    RoleId role{};
    bool isExact = false;            // every value was read
    std::vector<ProfileRow> rows;    // embeddings, layers by number, heads; floating-point tensors that have values, without parts of quantized weights
    std::vector<std::string> kinds;  // "layers.*.mlp.up_proj.weight": a name with * in place of its first number
    bool isComparable = false;       // a kind has enough tensors for one to be unlike the others
    std::vector<OddTensor> odd;      // the most notable first
    std::vector<std::uint8_t> oddIn; // by row: a bit for each ProfileFigure

    [[nodiscard]] bool isOddIn(std::size_t row, ProfileFigure figure) const { return (oddIn[row] >> static_cast<int>(figure) & 1) != 0; }

    using JobSlot = std::atomic<std::shared_ptr<JobContext>>;
    // A sample of each tensor, or every value; a worker's work. The slot, which may be nullptr, lets others look at the progress (bytes). nullptr: stopped.
    [[nodiscard]] static std::shared_ptr<const ModelProfile> build(const CheckpointPtr& checkpoint, RoleId role, bool exact, const std::shared_ptr<JobSlot>& slot, const std::stop_token& stop);
    // Codes, scales and other parts of quantized weights, which are left out.
    [[nodiscard]] static std::uint64_t quantizedCodes(const Checkpoint& checkpoint, RoleId role);
    // Bytes that reading every value takes.
    [[nodiscard]] static std::uint64_t bytesOf(const Checkpoint& checkpoint, RoleId role);
};
using ModelProfilePtr = std::shared_ptr<const ModelProfile>;

// The name with * in place of the first of its parts that is a number.
[[nodiscard]] std::string kindOfName(std::string_view name);

} // namespace shardlens::ui
