#include "ui/jobs/job.h"

#include "core/base/text.h"
#include "ui/jobs/job_texts.h"

#include <QFileInfo>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr int kTickMs = 100;

Job::State stateOf(JobOutcome outcome)
{
    switch (outcome) {
    case JobOutcome::Done: return Job::State::Done;
    case JobOutcome::Failed: return Job::State::Failed;
    case JobOutcome::Cancelled: return Job::State::Cancelled;
    case JobOutcome::Refused: return Job::State::Refused;
    }
    return Job::State::Failed;
}

} // namespace

Job::Job(JobSpec spec, QObject* parent) : QObject(parent), m_spec(std::move(spec))
{
    m_ticker.setInterval(kTickMs);
    m_ticker.setTimerType(Qt::PreciseTimer);
    connect(&m_ticker, &QTimer::timeout, this, &Job::addTicks);
}

Job::Job(JobSpec spec, JobReport report, QDateTime ended, QObject* parent) : Job(std::move(spec), parent)
{
    m_state = stateOf(report.outcome);
    m_report = std::move(report);
    m_endedAt = std::move(ended);
    m_peakResident = m_report.peakResidentBytes;
}

QString Job::targetName() const
{
    return QFileInfo(QString::fromStdString(m_spec.request.target)).fileName();
}

QString Job::commandLine() const
{
    return QString::fromStdString(commandLineOf(m_spec.request));
}

double Job::share() const
{
    if (m_state == State::Done)
        return 1;
    if (m_progress.total == 0)
        return 0;
    return std::min(1.0, static_cast<double>(m_progress.done) / static_cast<double>(m_progress.total));
}

double Job::elapsedSeconds() const
{
    if (isOver())
        return m_report.seconds;
    return m_clock.isValid() ? static_cast<double>(m_clock.nsecsElapsed()) * 1e-9 : 0;
}

std::uint64_t Job::writtenOf(std::size_t file) const
{
    const std::uint64_t size = m_spec.files[file].sizeBytes;
    if (m_state == State::Done)
        return size;
    std::uint64_t before = 0;
    for (std::size_t i = 0; i < file; ++i)
        before += m_spec.files[i].sizeBytes;
    const std::uint64_t written = m_progress.bytesWritten;
    return written <= before ? 0 : std::min(size, written - before);
}

void Job::start(const QString& program)
{
    m_process = std::make_unique<JobProcess>();
    connect(m_process.get(), &JobProcess::said, this, &Job::take);
    connect(m_process.get(), &JobProcess::grumbled, this, &Job::addLog);
    connect(m_process.get(), &JobProcess::ended, this, &Job::finish);
    m_clock.start();
    m_ticker.start();
    setState(State::Running);
    m_process->start(program, QByteArray::fromStdString(requestToJson(m_spec.request)));
}

void Job::cancel()
{
    if (m_state == State::Waiting) {
        m_report.outcome = JobOutcome::Cancelled;
        m_report.error = JobTexts::cancelledBeforeStart();
        m_endedAt = QDateTime::currentDateTime();
        setState(State::Cancelled);
    } else if (m_state == State::Running) {
        setState(State::Cancelling);
        m_process->askToStop();
    } else if (m_state == State::Cancelling) {
        m_killed = true;
        m_process->kill();
    }
}

void Job::take(const JobEvent& event)
{
    if (const auto* started = std::get_if<JobStarted>(&event)) {
        addLog(JobTexts::startedBy(started->program, started->version));
    } else if (const auto* progress = std::get_if<JobProgress>(&event)) {
        m_progress = *progress;
        m_peakResident = std::max(m_peakResident, progress->residentBytes);
        m_rate.report(elapsedSeconds(), *progress);
    } else if (const auto* line = std::get_if<JobLogLine>(&event)) {
        addLog(line->text);
    } else if (const auto* change = std::get_if<JobReportLine>(&event)) {
        addLog(change->topic + QStringLiteral(": ") + change->text);
    } else if (const auto* report = std::get_if<JobReport>(&event)) {
        m_heard = *report;
    }
}

void Job::addLog(const QString& text)
{
    if (m_log.size() == kMostLogLines)
        m_log.erase(m_log.begin());
    m_log.push_back({QDateTime::currentDateTime(), text});
    emit logged();
}

void Job::addTicks()
{
    m_rate.tick(elapsedSeconds());
    emit progressed();
}

void Job::finish(const JobEnd& end)
{
    m_ticker.stop();
    m_report = m_heard && end.started ? *m_heard : reportOf(end);
    if (m_report.seconds <= 0)
        m_report.seconds = static_cast<double>(m_clock.nsecsElapsed()) * 1e-9;
    m_report.peakResidentBytes = std::max(m_report.peakResidentBytes, m_peakResident);
    m_peakResident = m_report.peakResidentBytes;
    if (m_report.outcome == JobOutcome::Done && m_spec.files.empty())
        for (const JobReportFile& file : m_report.files)
            m_spec.files.push_back({file.name, file.sizeBytes, {}});
    m_endedAt = QDateTime::currentDateTime();
    // It is the process that is calling.
    m_process.release()->deleteLater();
    setState(stateOf(m_report.outcome));
}

JobReport Job::reportOf(const JobEnd& end) const
{
    JobReport report;
    report.outcome = m_killed ? JobOutcome::Cancelled : JobOutcome::Failed;
    report.error = sentenceOf(end);
    report.target = QString::fromStdString(m_spec.request.target);
    report.bytesRead = m_progress.bytesRead;
    report.bytesWritten = m_progress.bytesWritten;
    return report;
}

QString Job::sentenceOf(const JobEnd& end) const
{
    if (!end.started)
        return JobTexts::didNotStart(end.problem);
    const bool targetThere = !m_spec.request.overwrite && QFileInfo::exists(QString::fromStdString(m_spec.request.target));
    const QString target = targetThere ? JobTexts::targetThereAllTheSame() : JobTexts::targetNotCreated();
    if (m_killed)
        return JobTexts::endedByUser(end.signal) + QLatin1Char(' ') + target;
    if (end.signal != 0)
        return JobTexts::endedBySignal(end.signal, m_peakResident, m_spec.request.memoryLimit) + QLatin1Char(' ') + target;
    return JobTexts::endedWithoutReport(end.exitCode, end.problem) + QLatin1Char(' ') + target;
}

void Job::setState(State state)
{
    m_state = state;
    emit stateChanged();
}

} // namespace shardlens::ui
