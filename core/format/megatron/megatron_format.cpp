#include "core/format/megatron/megatron_format.h"

#include "core/format/megatron/rank_set.h"

namespace shardlens::megatron {

Match probe(const Candidate& candidate)
{
    if (!candidate.isFolder)
        return candidate.name() == kTrackerFile ? Match::ByName : Match::No;
    return looksLikeIteration(candidate) || looksLikeRoot(candidate) ? Match::ByContent : Match::No;
}

Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    if (!candidate.isFolder) {
        const std::size_t slash = candidate.path.find_last_of('/');
        SHARDLENS_ASSIGN(const Candidate parent, lookAt(slash == std::string::npos ? "." : slash == 0 ? "/" : candidate.path.substr(0, slash)));
        return open(parent, options, job);
    }
    SHARDLENS_ASSIGN(auto set, readRankSet(candidate, options, job));
    return std::move(set->builder).finish();
}

} // namespace shardlens::megatron
