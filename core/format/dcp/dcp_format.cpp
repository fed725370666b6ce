#include "core/format/dcp/dcp_format.h"

#include "core/base/text.h"
#include "core/format/dcp/hf_shards.h"
#include "core/format/dcp/rank_files.h"
#include "core/format/dcp/state_reader.h"
#include "core/format/nested_states.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::dcp {

Match probe(const Candidate& candidate)
{
    return std::max({matchSave(candidate), matchShardFiles(candidate), matchRankFiles(candidate)});
}

Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    if (options.tag && matchSave(candidate) == Match::No)
        return Error{ErrorCode::Refused, fmt::format("a tag ('{}') is asked for, and there are no saves of several steps here", printable(*options.tag))};
    if (matchSave(candidate) == Match::No)
        return matchShardFiles(candidate) != Match::No ? openShardFiles(candidate, job) : openRankFiles(candidate, job);
    SHARDLENS_ASSIGN(const std::vector<SaveFolder> saves, findSaves(candidate, options.tag));
    const bool isFolder = saves.size() > 1 || !saves.front().prefix.empty();
    CheckpointBuilder builder(candidate.path, isFolder ? candidate.path : saves.front().path);
    builder.setFormat("dcp", "PyTorch DCP");
    builder.setTitle(candidate.name(), saves.front().tag);
    if (!saves.front().others.empty())
        builder.addFact("also here", fmt::format("{}", fmt::join(saves.front().others, ", ")));
    StateReader reader(builder);
    for (const SaveFolder& save : saves)
        SHARDLENS_TRY(reader.read(save, job));
    reader.finish();
    sayNestedStates(builder);
    return std::move(builder).finish();
}

} // namespace shardlens::dcp
