#include "ui/models/safety_check.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"

#include <QCoreApplication>
#include <QPointer>

#include <new>

namespace shardlens::ui {
namespace {

constexpr int kSafetyPollMs = 200;

Result<ScanReport> scanSafely(const std::string& path, JobContext& job)
{
    try {
        return scanPath(path, job);
    } catch (const std::bad_alloc&) {
        return Error{ErrorCode::LimitExceeded, "out of memory"}.within(path);
    }
}

} // namespace

SafetyCheck::SafetyCheck(QString path, QObject* parent) : QObject(parent), m_path(std::move(path))
{
    m_poll.setInterval(kSafetyPollMs);
    connect(&m_poll, &QTimer::timeout, this, &SafetyCheck::progressed);
}

void SafetyCheck::start()
{
    if (isRunning() || m_report)
        return;
    m_error.clear();
    m_job = nullptr;
    // The context is made by the worker, which alone knows the stop token; the window only looks at its counters.
    m_runner.start(
        [path = m_path.toStdString(), this, self = QPointer<SafetyCheck>(this)](const std::stop_token& stop) {
            auto job = std::make_shared<JobContext>(stop);
            QMetaObject::invokeMethod(
                qApp,
                [this, self, job] {
                    if (!self.isNull())
                        m_job = job;
                },
                Qt::QueuedConnection);
            return std::make_shared<Result<ScanReport>>(scanSafely(path, *job));
        },
        [this](const std::shared_ptr<Result<ScanReport>>& report) {
            m_poll.stop();
            if (*report)
                m_report = std::make_shared<const ScanReport>(report->take());
            else
                m_error = QString::fromStdString(report->error().sentence());
            emit changed();
        });
    m_poll.start();
    emit changed();
}

void SafetyCheck::reset()
{
    m_runner.cancel();
    m_poll.stop();
    m_report = nullptr;
    m_error.clear();
    emit changed();
}

void SafetyCheck::cancel()
{
    if (!isRunning())
        return;
    m_runner.cancel();
    m_poll.stop();
    m_error = tr("The scan was cancelled.");
    emit changed();
}

QString SafetyCheck::progressText() const
{
    if (!isRunning())
        return {};
    const std::uint64_t done = m_job ? m_job->progress().done.load(std::memory_order_relaxed) : 0;
    const std::uint64_t total = m_job ? m_job->progress().total.load(std::memory_order_relaxed) : 0;
    if (total == 0)
        return tr("Looking for pickles");
    const std::string share = percentText(static_cast<double>(done) / static_cast<double>(total));
    return tr("Looking for pickles: %1 of %2").arg(QString::fromStdString(share), bytesText(total));
}

QString SafetyWords::word(int level)
{
    switch (level) {
    case 0: return SafetyCheck::tr("data only");
    case 1: case 2: return SafetyCheck::tr("known classes only");
    case 3: return SafetyCheck::tr("unknown code");
    case 4: return SafetyCheck::tr("suspicious");
    default: return SafetyCheck::tr("runs code on loading");
    }
}

QString SafetyWords::sentence(const ScanReport& report)
{
    if (report.streams.empty() && report.level() == 0)
        return SafetyCheck::tr("These files hold no code: there is no pickle in them.");
    switch (report.verdict()) {
    case Verdict::Safe:
        return report.level() == 0 ? SafetyCheck::tr("Data only. Loading these files with Python imports nothing.")
                                   : SafetyCheck::tr("Known classes only. Loading these files with Python imports nothing but classes known to be inert.");
    case Verdict::Unknown: return SafetyCheck::tr("Unknown code. Loading these files with Python runs code of packages that are on no list.");
    case Verdict::Suspicious: return SafetyCheck::tr("Suspicious. These files hold what no honest writer makes, or could not be scanned in full.");
    case Verdict::Dangerous: return SafetyCheck::tr("Dangerous. Loading these files with Python can run programs, reach files or the network.");
    }
    return {};
}

QString SafetyWords::amount(const ScanReport& report)
{
    return SafetyCheck::tr("%1 in %2").arg(counted(report.streams.size(), SafetyCheck::tr("1 pickle"), SafetyCheck::tr("%1 pickles")),
                                           counted(report.files.size(), SafetyCheck::tr("1 file"), SafetyCheck::tr("%1 files")));
}

QString SafetyWords::icon(int level)
{
    return level >= 4 ? QStringLiteral("warn") : level == 3 ? QStringLiteral("info") : QStringLiteral("check");
}

Token SafetyWords::tone(int level)
{
    return level >= 5 ? Token::Error : level >= 3 ? Token::Warn : Token::Ok;
}

} // namespace shardlens::ui
