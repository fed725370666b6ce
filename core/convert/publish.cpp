#include "core/convert/publish.h"

#include "core/base/text.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>

namespace shardlens {
namespace {

Status checkSizes(const Plan& plan, const StagedOutput& staged)
{
    for (const PlannedFile& file : plan.files) {
        SHARDLENS_ASSIGN(const FileStamp stamp, stampOf(staged.contentFolder() + "/" + file.name));
        if (stamp.sizeBytes != file.sizeBytes)
            return Error{ErrorCode::Io, fmt::format("{} B were written, and the file has {} B", groupedText(file.sizeBytes), groupedText(stamp.sizeBytes))}.within(
                printable(file.name));
    }
    return {};
}

Status checkUnchanged(const File& file)
{
    const auto now = stampOf(file.path);
    if (!now)
        return Error{ErrorCode::Io, fmt::format("it is gone: {}", now.error().message())};
    if (now->sizeBytes != file.size)
        return Error{ErrorCode::Io, fmt::format("changed since the plan: {} B then, {} B now", groupedText(file.size), groupedText(now->sizeBytes))};
    if (now->modifiedNs != file.modifiedNs)
        return Error{ErrorCode::Io, "changed since the plan: it was written again"};
    if (file.inode != 0 && now->inode != file.inode)
        return Error{ErrorCode::Io, "changed since the plan: another file has its name"};
    return {};
}

} // namespace

Status checkSourceUnchanged(const Checkpoint& source)
{
    for (const File& file : source.files()) {
        if (file.state != File::State::Read)
            continue;
        if (Status same = checkUnchanged(file); !same)
            return same.takeError().within(printable(file.name)).within("the source");
    }
    return {};
}

Status publishResult(const Plan& plan, StagedOutput& staged, JobContext& job)
{
    SHARDLENS_TRY(checkSizes(plan, staged));
    SHARDLENS_TRY(checkSourceUnchanged(*plan.source));
    SHARDLENS_TRY(checkTarget(*plan.source, plan.request));
    SHARDLENS_TRY(job.poll());
    Status status = staged.publish(plan.request.overwrite ? StagedOutput::Existing::Replace : StagedOutput::Existing::Refuse);
    if (!status)
        return status.takeError().within("target " + printable(plan.request.target));
    return status;
}

} // namespace shardlens
