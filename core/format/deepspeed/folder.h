#pragma once

#include "core/format/deepspeed/names.h"
#include "core/format/format.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shardlens::deepspeed {

// An expert of a mixture-of-experts run, numbered over the whole model.
struct ExpertNumber {
    std::optional<std::uint32_t> layer; // number of its module; nothing in files of 0.5.x, which hold the expert of every layer
    std::uint32_t expert = 0;

    auto operator<=>(const ExpertNumber&) const = default;
};

// A tag folder: its files by data-parallel rank. One model-parallel rank; more is refused when it is read (tensor and pipeline parallel follow).
struct TagFolder {
    std::string path;
    std::string root;     // the folder with `latest`; the tag folder itself where it was opened directly
    std::string tag;
    std::vector<std::string> otherTags; // of the root, where it was opened
    std::string model;    // name of mp_rank_00_model_states.pt, empty if not there
    std::map<std::uint32_t, std::string> stage3Models; // by dp rank
    std::map<std::uint32_t, std::string> optimizers;   // by dp rank, of the chosen prefix
    std::string optimizerPrefix;
    std::map<ExpertNumber, std::string> experts;         // layer_L_expert_E_… of mixture-of-experts runs
    std::map<std::uint32_t, std::string> moeOptimizers;  // expp_rank_R_…, by expert-parallel rank: written without ZeRO
    bool isUniversal = false;                            // zero/ holds a tensor a file (formats/deepspeed.md §14)
    std::vector<std::string> otherModels;                // of such a folder: model files of the further model-parallel ranks
    std::vector<Finding> findings; // two saves overlaid, …
};

// Whether names in a listing are those of a tag folder.
[[nodiscard]] bool looksLikeTagFolder(const std::vector<DirectoryEntry>& entries);
// Whether a tag folder is a universal checkpoint: zero/ is there, and no optimizer file of a rank is.
[[nodiscard]] bool looksUniversal(const std::vector<DirectoryEntry>& entries);
// Whether a folder is a root: `latest` that names a folder here, or sub-folders that look like tags.
[[nodiscard]] bool looksLikeRoot(const Candidate& candidate);

// Which tag folder a candidate means (root with `latest` or --tag, tag folder, the file `latest` itself), and what lies in it.
// Refused: `latest` that names no folder (the choices are listed), several tags without `latest`, layouts that are not read yet (by name).
[[nodiscard]] Result<TagFolder> resolve(const Candidate& candidate, const OpenOptions& options);

} // namespace shardlens::deepspeed
