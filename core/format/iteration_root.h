#pragma once

#include "core/format/format.h"

#include <string>
#include <string_view>
#include <vector>

namespace shardlens {

// Roots of Megatron's runs (formats/megatron.md §2.1): a tracker file, and a folder an iteration, whatever format the iterations have.
constexpr const char* kTrackerFile = "latest_checkpointed_iteration.txt";

// "iter_0000003", "release".
[[nodiscard]] bool isIterationName(std::string_view name);
[[nodiscard]] std::string iterationFolderName(std::uint64_t iteration); // "iter_0000003"
// What the tracker of a root says whose newest iteration is that folder: "3", "release".
[[nodiscard]] std::string trackerText(std::string_view iteration);
// The folder that the tracker means. Corrupt: neither a number nor "release".
[[nodiscard]] Result<std::string> trackedFolder(const Candidate& root);
// Which of a root's iterations is meant: the tag, what the tracker says, or the only one there is.
[[nodiscard]] Result<std::string> chooseIteration(const Candidate& root, const OpenOptions& options, const std::vector<std::string>& iterations);

} // namespace shardlens
