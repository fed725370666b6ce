#pragma once

#include "core/format/deepspeed/run.h"

#include <map>
#include <optional>
#include <string>

namespace shardlens::deepspeed {

// States with a meaning of their own among the files of a parameter (formats/deepspeed.md §14.1).
inline constexpr const char* kUniversalMaster = "fp32";
inline constexpr const char* kUniversalStep = "step";
inline constexpr const char* kUniversalOptimizer = "zero/optimizer_state.pt";

// The files of zero/: parameter → state → name relative to the tag's folder. A parameter's name is its folder's, with the slashes that it may hold.
using UniversalStates = std::map<std::string, std::string, std::less<>>;
using UniversalListing = std::map<std::string, UniversalStates, std::less<>>;
// LimitExceeded: more folders than any model has parameters.
[[nodiscard]] Result<UniversalListing> listUniversal(const std::string& tagFolder);

// What one file holds.
struct UniversalEntry {
    RankFile file;                     // kept: values point into it
    std::optional<TorchTensor> tensor; // of `param`, or bare
    pickle::Value scalar;              // a step: a number, or a tensor without axes
    bool isBare = false;               // a tensor alone: the shape of its parameter is lost
    std::optional<std::uint64_t> experts; // AutoEP: on dim 0, of all expert-parallel ranks together
    bool isVocabulary = false;         // rows beyond the vocabulary's own are left out
};
// A file that cannot be opened or is no entry is a finding, and has neither tensor nor scalar.
[[nodiscard]] UniversalEntry readUniversalEntry(Run& run, const std::string& parameter, const std::string& state, const std::string& fileName);

} // namespace shardlens::deepspeed
