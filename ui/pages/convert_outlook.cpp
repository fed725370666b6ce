#include "ui/pages/convert_outlook.h"

#include "core/base/text.h"
#include "core/convert/plan.h"
#include "core/format/format.h"
#include "core/job/job_context.h"
#include "ui/pages/convert_draft.h"

#include <QCoreApplication>

#include <limits>

namespace shardlens::ui {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max() / 2; // how much memory the job may have is asked elsewhere

} // namespace

QString layoutText(const TargetLayout& layout)
{
    const QString ranks =
        layout.ranks == 1 ? QCoreApplication::translate("ConvertPage", "1 rank")
                          : QCoreApplication::translate("ConvertPage", "%1 ranks").arg(QString::fromStdString(groupedText(layout.ranks)));
    return QCoreApplication::translate("ConvertPage", "%1 on %2", "stage, ranks").arg(QString::fromStdString(layout.title), ranks);
}

QString changeText(const TargetLayout& before, const TargetLayout& after)
{
    return before == after
               ? QCoreApplication::translate("ConvertPage", "%1, as before", "layout").arg(layoutText(before))
               : QCoreApplication::translate("ConvertPage", "%1 becomes %2", "layouts").arg(layoutText(before), layoutText(after));
}

Outlook runOutlook(const CheckpointPtr& source, const TargetOptions& options, const std::stop_token& stop)
{
    ConvertRequest request;
    request.source = source->path();
    request.target = "run"; // a name for the plan, which looks at no place
    request.to = isLayoutFormat(source->formatId()) ? source->formatId() : "deepspeed";
    request.tp = options.tp;
    request.pp = options.pp;
    request.ep = options.ep;
    request.dp = options.dp;
    request.zeroStage = options.zeroStage;
    request.keepObjects = options.keepObjects;
    request.memoryLimit = kNoLimit;
    JobContext job(stop);
    const auto plan = planContents(source, request, job);
    Outlook out;
    if (!plan) {
        out.refusal = QString::fromStdString(plan.error().sentence());
        return out;
    }
    out.bytes = plan->bytesToWrite;
    out.files = plan->files.size();
    out.before = plan->layoutBefore;
    out.after = plan->layoutAfter;
    out.leftOut = QString::fromStdString(plan->leftOut);
    return out;
}

std::optional<Outlook> treeOutlook(const CheckpointPtr& source, const std::stop_token& stop)
{
    const Format* format = formatById(source->formatId());
    if (format == nullptr || format->keepTree == nullptr)
        return std::nullopt;
    JobContext job(stop);
    const auto tree = format->keepTree(source, {}, job);
    if (tree && !*tree)
        return std::nullopt;
    Outlook out;
    if (!tree)
        out.refusal = QString::fromStdString(tree.error().sentence());
    else
        out.leftOut = QString::fromStdString((*tree)->leftOut);
    return out;
}

SourceOutlook outlookOf(const CheckpointPtr& source, const std::stop_token& stop)
{
    return {runOutlook(source, {}, stop), treeOutlook(source, stop)};
}

} // namespace shardlens::ui
