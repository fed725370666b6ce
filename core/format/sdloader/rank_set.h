#pragma once

#include "core/format/format.h"
#include "core/format/rank_file.h"
#include "core/format/sdloader/list_file.h"
#include "core/layout/rule_set.h"
#include "core/model/piece_import.h"

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace shardlens::sdloader {

// A list and its files, one a tensor-parallel rank, as they were read.
struct RankSet {
    RankSet(const Candidate& candidate, std::string inFolder) : folder(std::move(inFolder)), builder(candidate.path, folder) {}

    struct Rank {
        std::string name;                 // as the list has it
        FileId id = kNoFile;
        RankFileContent content;          // empty where the file is missing or cannot be read
        pickle::Value module;             // the state dict of it
    };

    std::string folder;
    std::string listName;
    FactoryList list;
    CheckpointBuilder builder;
    std::vector<Rank> ranks;
    std::deque<PieceImport> imports;      // of the ranks that were read
    RuleSet rules;
    Facts facts;                          // version
    bool anyRule = false;                 // a name of the model matched a rule
};

// What is done to the files of a set before they are joined.
using PrepareRanks = std::function<Status(RankSet& set)>;

// Reads the files of the candidate's list; the builder then holds the logical model. Refused: an inference set.
[[nodiscard]] Result<std::unique_ptr<RankSet>> readRankSet(const Candidate& candidate, ListFile file, const OpenOptions& options, JobContext& job, const PrepareRanks& prepare = {});

} // namespace shardlens::sdloader
