#include "ui/pages/convert_outlook.h"

#include "core/base/text.h"
#include "core/format/format.h"
#include "core/job/job_context.h"
#include "ui/pages/convert_draft.h"

#include <QCoreApplication>

#include <algorithm>
#include <limits>
#include <set>

namespace shardlens::ui {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max() / 2; // how much memory the job may have is asked elsewhere

Outlook outlookFor(const CheckpointPtr& source, ConvertRequest request, const std::stop_token& stop)
{
    request.memoryLimit = kNoLimit;
    JobContext job(stop);
    const auto plan = planContents(source, request, job);
    if (plan)
        return outlookOf(*plan);
    Outlook out;
    out.refusal = QString::fromStdString(plan.error().sentence());
    return out;
}

} // namespace

bool isModelParallel(const Checkpoint& checkpoint)
{
    if (isLayoutFormat(checkpoint.formatId()))
        return true;
    if (checkpoint.formatId() != "deepspeed" && checkpoint.formatId() != "universal")
        return false; // others have goals of their own, if any
    const auto& axes = checkpoint.topology().axes;
    if (std::any_of(axes.begin(), axes.end(), [](const Topology::Size& size) { return size.axis == Axis::Tp || size.axis == Axis::Pp; }))
        return true;
    // A universal checkpoint says no sizes: there are as many model files as there were ranks.
    const auto isModelFile = [](const File& file) { return file.name.find("mp_rank_") == file.name.find_last_of('/') + 1; };
    return checkpoint.formatId() == "universal" && std::count_if(checkpoint.files().begin(), checkpoint.files().end(), isModelFile) > 1;
}

QString degreesText(const Topology& source, const ConvertRequest& request)
{
    const auto asked = [&request](Axis axis) {
        return axis == Axis::Dp   ? request.dp
               : axis == Axis::Tp ? request.tp
               : axis == Axis::Pp ? request.pp
               : axis == Axis::Ep ? request.ep
                                  : std::nullopt;
    };
    QStringList sizes;
    bool divides = false;
    std::set<Axis> said;
    const auto say = [&](Axis axis, std::uint32_t size) {
        sizes << QStringLiteral("%1 %2").arg(QLatin1String(nameOf(axis))).arg(size);
        said.insert(axis);
    };
    for (const Topology::Size& axis : source.axes) {
        say(axis.axis, asked(axis.axis).value_or(axis.size));
        divides = divides || axis.axis == Axis::Tp || axis.axis == Axis::Pp;
    }
    for (const Axis axis : {Axis::Pp, Axis::Dp, Axis::Tp, Axis::Ep})
        if (asked(axis) && !said.contains(axis))
            say(axis, *asked(axis));
    return divides ? sizes.join(QStringLiteral(", ")) : QString();
}

QString layoutText(const TargetLayout& layout, const QString& degrees)
{
    const QString ranks =
        layout.ranks == 1 ? QCoreApplication::translate("ConvertPage", "1 rank")
                          : QCoreApplication::translate("ConvertPage", "%1 ranks").arg(QString::fromStdString(groupedText(layout.ranks)));
    const QString text =
        QCoreApplication::translate("ConvertPage", "%1 on %2", "stage, ranks").arg(QString::fromStdString(layout.title), ranks);
    return degrees.isEmpty() ? text : QCoreApplication::translate("ConvertPage", "%1 (%2)", "layout, sizes of its axes").arg(text, degrees);
}

QString changeText(const Outlook& run)
{
    if (!run.before || !run.after)
        return {};
    const QString before = layoutText(*run.before, run.degreesBefore);
    return run.before == run.after && run.degreesBefore == run.degreesAfter
               ? QCoreApplication::translate("ConvertPage", "%1, as before", "layout").arg(before)
               : QCoreApplication::translate("ConvertPage", "%1 becomes %2", "layouts")
                     .arg(before, layoutText(*run.after, run.degreesAfter));
}

Outlook outlookOf(const Plan& plan)
{
    Outlook out;
    out.bytes = plan.bytesToWrite;
    out.files = plan.files.size();
    out.before = plan.layoutBefore;
    out.after = plan.layoutAfter;
    out.degreesBefore = degreesText(plan.source->topology());
    out.degreesAfter = degreesText(plan.source->topology(), plan.request);
    for (const PlanLine& line : plan.lines)
        if (line.kind == PlanLine::Kind::Dropped)
            out.dropped << QString::fromStdString(line.topic);
    out.leftOut = QString::fromStdString(plan.leftOut);
    return out;
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
    request.open = options.open;
    request.zeroStage = options.zeroStage;
    request.keepObjects = options.keepObjects;
    return outlookFor(source, request, stop);
}

Outlook filesOutlook(const CheckpointPtr& source, const std::string& format, const TargetOptions& options, const std::stop_token& stop)
{
    ConvertRequest request;
    request.source = source->path();
    request.target = "run"; // a name for the plan, which looks at no place
    request.to = format;
    request.open = options.open;
    if (format == "mindspore") // the others take what there is
        request.select = options.select;
    request.tp = options.tp;
    request.pp = options.pp;
    request.dp = options.dp;
    request.strategy = options.strategy;
    request.prefix = options.prefix;
    request.outputFormat = options.container;
    request.rank = options.rank;
    return outlookFor(source, request, stop);
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

SourceOutlook outlookOf(const CheckpointPtr& source, const OpenOptions& open, const std::stop_token& stop)
{
    TargetOptions asOpened;
    asOpened.open = open;
    return {runOutlook(source, asOpened, stop), treeOutlook(source, stop)};
}

} // namespace shardlens::ui
