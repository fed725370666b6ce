#include "core/format/colossalai/colossalai_format.h"

#include "core/base/text.h"
#include "core/format/colossalai/dist_model.h"
#include "core/format/colossalai/file_names.h"
#include "core/layout/rule_library.h"

namespace shardlens::colossalai {
namespace {

std::string folderOf(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
}

} // namespace

Match probe(const Candidate& candidate)
{
    if (candidate.isFolder)
        return hasDistMeta(candidate) ? Match::ByContent : Match::No;
    return metaDistId(candidate.name()) ? Match::ByContent : Match::No;
}

Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions&, JobContext& job)
{
    Candidate folder = candidate;
    if (!candidate.isFolder) {
        SHARDLENS_ASSIGN(folder, lookAt(folderOf(candidate.path)));
    }
    CheckpointBuilder builder(candidate.path, folder.path);
    builder.setFormat("colossalai", "ColossalAI distributed");
    builder.setTitle(candidate.name(), "");
    SHARDLENS_ASSIGN([[maybe_unused]] const ModelOrder order, readDistModel(builder, folder, "", builtInRules("colossalai"), job));
    return std::move(builder).finish();
}

} // namespace shardlens::colossalai
