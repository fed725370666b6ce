#pragma once

#include "core/base/result.h"
#include "core/format/colossalai/file_names.h"
#include "core/format/format.h"

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::colossalai {

// Which file of a folder holds what, for a model (family B) or an optimizer (family D).
struct ShardIndex {
    IndexFile kind;
    std::string name; // of the index; of a merged one the folder of the stages' indexes
    std::vector<std::pair<std::string, std::string>> map; // tensor or parameter id → file, stage by stage (formats/colossalai.md §4.4)
    std::optional<std::string> groups;                    // metadata.param_groups
    bool isMerged = false;                                // an interrupted save: made of the stages' indexes
    bool isDoubtful = false;                              // there is an index, and stages' indexes of a save that did not finish
    std::vector<std::uint32_t> indexedStages;             // of a merged one
    std::set<std::uint32_t> fileStages;                   // that files of the folder name

    [[nodiscard]] std::set<std::string> files() const;
    [[nodiscard]] bool isSortedByName() const; // as no module lists its parameters: the order of the model is lost
    // Files of the same kind that the index does not name.
    [[nodiscard]] std::vector<std::string> leftOver(const Candidate& folder) const;
};

// Names of the indexes of that kind.
[[nodiscard]] std::vector<std::string> indexesIn(const Candidate& folder, FileKind kind);
[[nodiscard]] bool hasStageIndexes(const Candidate& folder);
// The index of a folder: `name` where one was chosen, else the only one, else what is left of an interrupted save. Nothing where there is none.
// Refused: several; an index that is at fault.
[[nodiscard]] Result<std::optional<ShardIndex>> findIndex(const Candidate& folder, FileKind kind, const std::string& name = {});

} // namespace shardlens::colossalai
