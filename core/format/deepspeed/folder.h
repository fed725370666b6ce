#pragma once

#include "core/format/deepspeed/names.h"
#include "core/format/format.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace shardlens::deepspeed {

// An expert of a mixture-of-experts run, numbered over the whole model.
struct ExpertNumber {
    std::optional<std::uint32_t> layer; // number of its module; nothing in files of 0.5.x, which hold the expert of every layer
    std::uint32_t expert = 0;

    auto operator<=>(const ExpertNumber&) const = default;
};

// A tag folder: the files of one model-parallel rank by data-parallel rank, and what the names say of the others.
struct TagFolder {
    std::uint32_t mpRank = 0;
    std::set<std::uint32_t> mpRanks; // of all files
    std::map<std::uint32_t, std::map<std::uint32_t, std::string>> layers; // files of pipeline layers: by number, by tensor-parallel rank (0 without a model axis)
    bool hasModelAxis = false;       // their names say the tensor-parallel rank
    std::optional<std::uint32_t> stageDegree; // model files are named by stage and tensor-parallel rank (module-pipe_XX): how many of the latter
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

// What the names of a model-parallel rank's files say of it: "mp_rank_03", or "module-pipe_01-model_01".
[[nodiscard]] std::string modelRankName(const TagFolder& folder, std::uint32_t mpRank);

// Whether names in a listing are those of a tag folder.
[[nodiscard]] bool looksLikeTagFolder(const std::vector<DirectoryEntry>& entries);
// Whether a tag folder is a universal checkpoint: zero/ is there, and no optimizer file of a rank is.
[[nodiscard]] bool looksUniversal(const std::vector<DirectoryEntry>& entries);
// Whether a folder is a root: `latest` that names a folder here, or sub-folders that look like tags.
[[nodiscard]] bool looksLikeRoot(const Candidate& candidate);

// Which tag folder a candidate means (root with `latest` or --tag, tag folder, the file `latest` itself), and what lies in it.
// Refused: `latest` that names no folder (the choices are listed), several tags without `latest`, layouts that are not read yet (by name).
// The files are those of `mpRank`.
[[nodiscard]] Result<TagFolder> resolve(const Candidate& candidate, const OpenOptions& options, std::uint32_t mpRank = 0);

} // namespace shardlens::deepspeed
