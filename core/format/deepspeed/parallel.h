#pragma once

#include "core/format/deepspeed/deepspeed_format.h"
#include "core/format/rank_file.h"
#include "core/layout/rule_set.h"
#include "core/model/piece_import.h"

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace shardlens::deepspeed {

// A model-parallel rank: one stage and one tensor-parallel rank, read as a run of its own.
struct ParallelRank {
    std::uint32_t pipe = 0;
    std::uint32_t model = 0;
    OpenedRun opened;           // opened.run is empty where its model file is missing or cannot be read
    FileId missing = kNoFile;   // the row of that file
    CheckpointPtr checkpoint;   // of the run
    PieceImport* import = nullptr;
};

// A file of a pipeline layer, of one tensor-parallel rank (formats/deepspeed.md §11.3).
struct LayerFile {
    std::uint32_t index = 0;
    std::uint32_t model = 0;
    std::string name;
    FileId id = kNoFile;
    RankFileContent content;    // empty where it is missing or cannot be read
    PieceImport* import = nullptr;
    std::string prefix;         // of its names in the model: "3.", "tied_modules.embed."
};

// A run of several model-parallel ranks; `builder` then holds the model.
struct ParallelRun {
    ParallelRun(const Candidate& candidate, TagFolder tagFolder) : folder(std::move(tagFolder)), builder(candidate.path, folder.path) {}

    TagFolder folder;           // as of model-parallel rank 0
    CheckpointBuilder builder;
    bool isUniversal = false;   // one run, of whole tensors, stands for all model-parallel ranks
    std::uint32_t pp = 1;
    std::uint32_t tp = 1;
    std::uint32_t dp = 1;
    std::vector<ParallelRank> ranks;  // mp rank = pipe * tp + model
    std::deque<LayerFile> layers;     // by number, then tensor-parallel rank
    std::deque<PieceImport> imports;
    RuleSet rules;
    Facts facts;

    [[nodiscard]] const Run* firstRun() const;
};

// Whether a tag folder holds more than model-parallel rank 0, or layers of a pipeline.
[[nodiscard]] bool isParallel(const TagFolder& folder);
// Opens every model-parallel rank and layer file and joins them: tensor-parallel parts by the rules that the run itself has (universal_checkpoint_info),
// else by --rules or the built-in family that knows its names.
[[nodiscard]] Result<std::unique_ptr<ParallelRun>> readParallelRun(const Candidate& candidate, const OpenOptions& options, JobContext& job);

// The rules that universal_checkpoint_info holds (§14.2, §14.4). Refused: patterns that do not compile, sub-parameters of an unknown kind.
[[nodiscard]] Result<RuleSet> rulesOfUniversalInfo(pickle::Value info);

// Names the files of tied layers (§11.3): which file a tied key has is stored nowhere.
Status nameLayers(ParallelRun& run, JobContext& job);

} // namespace shardlens::deepspeed
