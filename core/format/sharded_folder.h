#pragma once

#include "core/encoding/hf_index.h"
#include "core/format/format.h"
#include "core/model/checkpoint_builder.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace shardlens {

// Which files of a folder are the model: what the index says, else one file, else a complete -00001-of-0000N set (formats/safetensors.md §5).
struct ShardSet {
    std::string folder;
    std::vector<std::string> files;      // that exist, natural order
    std::vector<std::string> missing;    // that the index or the numbering names
    std::vector<std::string> leftOver;   // of the same kind, and not part of the model
    std::string indexName;               // empty without an index
    std::optional<HfIndex> index;
};

// `extension` with its dot. Refused: several files and nothing that says which belong together; an index that is at fault.
[[nodiscard]] Result<ShardSet> findShards(const Candidate& candidate, std::string_view extension);
// Whether a folder holds files of the kind, or an index of it.
[[nodiscard]] Match matchShards(const Candidate& folder, std::string_view extension);
// The folder that an index file stands in, where the candidate is one ("model.safetensors.index.json").
[[nodiscard]] bool isIndexFile(const Candidate& candidate, std::string_view extension);

// Holds what is found in the files against the index, and says the rest: missing files (Error), left-over files, names in no file or the wrong one (Error),
// tensors that the index does not know (Warning; not part of the model).
class IndexCheck {
public:
    IndexCheck(CheckpointBuilder& builder, const ShardSet& shards);

    // Whether a tensor of a file is part of the model. Call once for each.
    bool accepts(const std::string& name, const std::string& file, FileId id);
    // Findings about names that never came. Adds rows for missing and left-over files.
    void finish();

private:
    void find(Severity severity, const char* code, std::string text, FileId file = kNoFile);

    CheckpointBuilder& m_builder;
    const ShardSet& m_shards;
    std::map<std::string, std::string, std::less<>> m_fileOf;
    std::set<std::string> m_seen;                             // with an index
    std::map<std::string, std::string, std::less<>> m_firstFile; // of each name, without one
};

} // namespace shardlens
