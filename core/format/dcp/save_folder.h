#pragma once

#include "core/encoding/dcp_metadata.h"
#include "core/format/format.h"
#include "core/format/opened_file.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens::dcp {

// One directory of torch.distributed.checkpoint: `.metadata`, or a `__N.metadata` of every rank, with data files beside (formats/pytorch.md §9.1).
struct SaveFolder {
    std::string path;
    std::string prefix;                      // before its files' names: "optimizer_0/"; empty where it is what was opened
    std::vector<std::string> metadataFiles;  // `.metadata` alone, or one a rank in rank order
    std::vector<std::uint32_t> ranksWithout; // ranks with data files and without the metadata that the others have
    std::vector<DirectoryEntry> dataFiles;   // all *.distcp of the folder
    bool isInterrupted = false;              // a `.metadata.tmp` lies there as well
    std::string tag;                         // its name in a trainer's root: "step-1200"; empty where it is what was opened
    std::vector<std::string> others;         // other saves of that root, the latest first
};

// Whether a folder or a file is such a directory, part of one, or a folder of accelerate's with a model and an optimizer in directories (§1.2).
[[nodiscard]] Match matchSave(const Candidate& candidate);
// The directories: one, accelerate's model and optimizer, or of a trainer's root with one for every step the latest, or the one called `tag`. Refused: no
// metadata, a save that was interrupted, no such tag.
[[nodiscard]] Result<std::vector<SaveFolder>> findSaves(const Candidate& candidate, const std::optional<std::string>& tag);

// Metadata files as rows of a checkpoint, and what they say together.
struct SaveMetadata {
    DcpMetadata content;
    std::vector<OpenedFile> files;
};
[[nodiscard]] Result<SaveMetadata> readMetadata(const SaveFolder& save, JobContext& job);

} // namespace shardlens::dcp
