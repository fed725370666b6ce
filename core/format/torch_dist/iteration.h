#pragma once

#include "core/format/format.h"
#include "core/format/iteration_root.h"

#include <optional>
#include <string>
#include <vector>

namespace shardlens::torch_dist {

constexpr const char* kIndexFile = ".metadata";
constexpr const char* kBackendFile = "metadata.json";
constexpr const char* kCommonFile = "common.pt";
constexpr const char* kIntegrityFile = "integrity.json";
constexpr const char* kBackend = "torch_dist";

// The folder of one iteration (formats/megatron.md §6.1).
struct Iteration {
    std::string path;
    std::string root; // with the tracker; the iteration's own folder where that was opened
    std::string name; // "iter_0000003"
    std::vector<DirectoryEntry> entries;
    std::vector<std::string> others;     // other iterations of the root
    std::optional<std::string> backend;  // what metadata.json names; nothing: there is none, or it names none

    [[nodiscard]] const DirectoryEntry* entry(std::string_view file) const;
};

// Whether a folder is such an iteration or a root of them, or a file one of its parts. Reads metadata.json, which is what tells the formats apart (§2.2).
[[nodiscard]] Match matchIteration(const Candidate& candidate);
// The iteration that a candidate means. Refused: no index, another backend.
[[nodiscard]] Result<Iteration> resolveIteration(const Candidate& candidate, const OpenOptions& options);

} // namespace shardlens::torch_dist
