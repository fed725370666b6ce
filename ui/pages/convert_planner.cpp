#include "ui/pages/convert_planner.h"

#include "core/base/text.h"
#include "core/format/format.h"
#include "core/io/disk_space.h"

#include <QDir>
#include <QFileInfo>
#include <QStorageInfo>

namespace shardlens::ui {
namespace {

QString text(const std::string& utf8)
{
    return QString::fromStdString(utf8);
}

// The nearest folder above the target that is there.
QString standingFolder(const QString& target)
{
    QString folder = QFileInfo(target).absolutePath();
    while (!QFileInfo(folder).isDir() && folder != QLatin1String("/"))
        folder = QFileInfo(folder).absolutePath();
    return folder;
}

void lookAtDisk(PlannedJob& job)
{
    const QString folder = standingFolder(text(job.request.target));
    if (const auto bytes = freeBytesAt(folder.toStdString()))
        job.freeBytes = *bytes;
    job.disk = QStorageInfo(folder).rootPath();
}

// A name beside the target that nothing has: to show what the plan would be while the target's own name is refused.
std::string freeSibling(const std::string& target)
{
    const QFileInfo info(text(target));
    const QString suffix = info.suffix().isEmpty() ? QString() : QLatin1Char('.') + info.suffix();
    for (int i = 0;; ++i) {
        const QString name = info.absolutePath() + QStringLiteral("/.shardlens-plan-%1%2").arg(i).arg(suffix);
        if (!QFileInfo::exists(name))
            return name.toStdString();
    }
}

QString existsSentence(const QString& target)
{
    const QFileInfo info(target);
    if (!info.isDir())
        return ConvertPlanner::tr("This file exists. Choose another name, or tick Replace it.");
    return QDir(target).isEmpty() ? ConvertPlanner::tr("This folder exists. Choose another name, or tick Replace it.")
                                  : ConvertPlanner::tr("This folder exists and is not empty. Choose another name, or tick Replace it.");
}

void keepPlan(PlannedJob& job, Plan plan, const std::stop_token& stop)
{
    plan.request.target = job.request.target;
    job.picture = PlanPictureModel::build(plan, stop);
    job.plan = std::make_shared<const Plan>(std::move(plan));
}

void checkRoom(PlannedJob& job)
{
    if (!job.plan || !job.refusal.isEmpty() || !job.freeBytes || *job.freeBytes >= job.plan->bytesToWrite)
        return;
    job.refusal = ConvertPlanner::tr("Needs %1, %2 are free on %3. Choose another disk or a smaller format.")
                      .arg(text(sizeText(job.plan->bytesToWrite)), text(sizeText(*job.freeBytes)), job.disk);
}

} // namespace

PlannedJob planJob(const CheckpointPtr& opened, const ConvertRequest& request, const std::stop_token& stop)
{
    PlannedJob job;
    job.request = request;
    lookAtDisk(job);
    JobContext context(stop);
    const Result<CheckpointPtr> view = request.open.dequantize ? dequantized(opened, request.open, context) : Result<CheckpointPtr>(opened);
    if (!view) {
        job.refusal = text(view.error().sentence());
        return job;
    }
    const CheckpointPtr& source = *view;
    auto plan = planConversion(source, request, context);
    if (plan) {
        keepPlan(job, plan.take(), stop);
        checkRoom(job);
        return job;
    }
    job.refusal = text(plan.error().sentence());
    if (checkTarget(*source, request))
        return job;
    ConvertRequest replacing = request;
    replacing.overwrite = true;
    job.targetExists = !request.overwrite && checkTarget(*source, replacing).ok();
    if (job.targetExists)
        job.refusal = existsSentence(text(request.target));
    ConvertRequest beside = request;
    beside.target = freeSibling(request.target);
    if (auto same = planConversion(source, beside, context))
        keepPlan(job, same.take(), stop);
    return job;
}

void ConvertPlanner::start(CheckpointPtr source, const ConvertRequest& request)
{
    m_runner.start([source = std::move(source), request](std::stop_token stop) { return std::make_shared<const PlannedJob>(planJob(source, request, stop)); },
                   [this](const std::shared_ptr<const PlannedJob>& job) { emit planned(job); });
}

} // namespace shardlens::ui
