#pragma once

#include "core/analysis/argument_diff.h"
#include "core/analysis/rename.h"
#include "core/base/result.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"
#include "core/layout/selection.h"
#include "core/model/checkpoint.h"
#include "core/numeric/difference.h"

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

enum class DiffState : std::uint8_t {
    Equal,
    Values,     // beyond the tolerance
    Dtype,      // the values are equal, the dtypes are not
    Shape,      // no values were compared
    OnlyInA,
    OnlyInB,
    Unreadable, // one side has a hole, its file cannot be read, or its kind of tensor is not read; `a` and `b` may be empty
};
constexpr std::size_t kDiffStates = 7;
[[nodiscard]] const char* nameOf(DiffState state); // "only-a"

struct DiffOptions {
    SelectionOptions selection;      // of both
    std::vector<RenameRule> renames; // of names of A, to what they are called in B
    Tolerance tolerance;
    bool ignoreDtype = false; // values alone decide
};

struct TensorDiff {
    std::string name; // in A; in B where only B has it
    std::string nameInB;
    DiffState state = DiffState::Equal;
    std::optional<TensorId> a;
    std::optional<TensorId> b;
    std::optional<ValueDifference> values; // where they were compared
    std::string problem;                   // Unreadable: a sentence
};

struct DiffReport {
    std::vector<TensorDiff> tensors; // A's order, then what only B has in its own
    std::vector<ArgumentDiff> arguments;
    std::optional<RenameSuggestion> suggestion; // where the two share no name
    std::array<std::uint64_t, kDiffStates> counts{};
    std::uint64_t bytesRead = 0;

    [[nodiscard]] std::uint64_t countOf(DiffState state) const { return counts[static_cast<std::size_t>(state)]; }
    [[nodiscard]] bool sharesNames() const { return countOf(DiffState::OnlyInA) + countOf(DiffState::OnlyInB) < tensors.size(); }
    // Every tensor is Equal. Arguments do not count: two runs of the same model may be called differently.
    [[nodiscard]] bool isEqual() const { return countOf(DiffState::Equal) == tensors.size(); }
};

// Compares what both hold under the same names, whatever files it lies in. Refused where rules give two tensors of A the same name, or nothing is selected.
// Streams both, large tensors on several threads; progress counts bytes of both.
[[nodiscard]] Result<DiffReport> diffCheckpoints(const CheckpointPtr& a, const CheckpointPtr& b, const DiffOptions& options, Executor& executor, JobContext& job);

} // namespace shardlens
