#include "ui/pages/compare/compare_run.h"

#include "core/format/format.h"
#include "ui/models/atlas_text.h"

#include <QRegularExpression>

namespace shardlens::ui {
namespace {

constexpr int kComparePollMs = 100;

Result<DiffOptions> optionsOf(const CompareRequest& request)
{
    DiffOptions out;
    out.selection.select = request.select;
    out.tolerance = request.tolerance;
    out.ignoreDtype = request.ignoreDtype;
    static const QRegularExpression kBetweenRules(QStringLiteral("[\\n;]"));
    for (const QString& text : request.renames.split(kBetweenRules, Qt::SkipEmptyParts)) {
        if (text.trimmed().isEmpty())
            continue;
        SHARDLENS_ASSIGN(RenameRule rule, RenameRule::parse(text.trimmed().toStdString()));
        out.renames.push_back(std::move(rule));
    }
    return out;
}

Result<std::shared_ptr<const CompareResult>> compared(const CheckpointPtr& a, const CompareRequest& request, JobContext& job)
{
    SHARDLENS_ASSIGN(const DiffOptions options, optionsOf(request));
    SHARDLENS_ASSIGN(const CheckpointPtr b, openCheckpoint(request.path.toStdString(), {}, job));
    const auto executor = makeThreadedExecutor(availableThreads());
    SHARDLENS_ASSIGN(const DiffReport report, diffCheckpoints(a, b, options, *executor, job));
    return CompareResult::of(a, b, report);
}

} // namespace

CompareRun::CompareRun(QObject* parent) : QObject(parent)
{
    m_poll.setInterval(kComparePollMs);
    connect(&m_poll, &QTimer::timeout, this, &CompareRun::showProgress);
}

void CompareRun::start(const CheckpointPtr& a, const CompareRequest& request)
{
    auto slot = std::make_shared<JobSlot>();
    m_job = slot;
    m_runner.start(
        [a, request, slot](const std::stop_token& stop) {
            const auto job = std::make_shared<JobContext>(stop);
            slot->store(job);
            return compared(a, request, *job);
        },
        [this](Result<std::shared_ptr<const CompareResult>> result) {
            m_poll.stop();
            if (result)
                emit finished(*result);
            else
                emit failed(QString::fromStdString(result.error().sentence()));
        });
    m_poll.start();
    showProgress();
}

void CompareRun::cancel()
{
    m_runner.cancel();
    m_poll.stop();
}

void CompareRun::showProgress()
{
    const std::shared_ptr<JobContext> job = m_job->load();
    emit progressed(job ? job->progress().done.load(std::memory_order_relaxed) : 0, job ? job->progress().total.load(std::memory_order_relaxed) : 0);
}

} // namespace shardlens::ui
