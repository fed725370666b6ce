#include "ui/jobs/job_queue.h"

#include "ui/jobs/job_program.h"
#include "ui/jobs/job_texts.h"

#include <QTimer>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr const char* kProgramKey = "jobs/program";

} // namespace

JobQueue::JobQueue(QSettings* settings, QObject* parent) : QObject(parent), m_settings(settings), m_history(settings)
{
    for (auto& job : m_history.load())
        adopt(std::move(job));
}

JobQueue::~JobQueue()
{
    for (const auto& job : m_jobs)
        job->disconnect(this);
}

Job* JobQueue::adopt(std::unique_ptr<Job> job)
{
    Job* raw = job.get();
    connect(raw, &Job::stateChanged, this, [this, raw] { jobChanged(raw); });
    connect(raw, &Job::progressed, this, [this, raw] { emit progressed(raw); });
    m_jobs.push_back(std::move(job));
    return raw;
}

Job* JobQueue::submit(JobSpec spec)
{
    Job* job = adopt(std::make_unique<Job>(std::move(spec)));
    const auto firstOver = std::find_if(m_jobs.begin(), m_jobs.end() - 1, [](const auto& other) { return other->isOver(); });
    std::rotate(firstOver, m_jobs.end() - 1, m_jobs.end());
    emit changed();
    startNext();
    return job;
}

void JobQueue::cancel(Job* job)
{
    job->cancel();
}

Job* JobQueue::repeat(Job* job)
{
    return submit(job->spec());
}

std::vector<std::unique_ptr<Job>>::iterator JobQueue::at(const Job* job)
{
    return std::find_if(m_jobs.begin(), m_jobs.end(), [job](const auto& other) { return other.get() == job; });
}

void JobQueue::remove(Job* job)
{
    const auto place = at(job);
    if (place == m_jobs.end() || !job->isOver())
        return;
    emit removed(job);
    (*place)->disconnect(this);
    place->release()->deleteLater(); // it may be the sender of what led here
    m_jobs.erase(place);
    saveHistory();
    emit changed();
}

void JobQueue::clearFinished()
{
    for (Job* job : finished())
        remove(job);
}

void JobQueue::moveWaiting(Job* job, std::size_t place)
{
    std::vector<Job*> order = waiting();
    const auto from = std::find(order.begin(), order.end(), job);
    if (from == order.end())
        return;
    Job* before = place < order.size() ? order[place] : nullptr;
    if (before == job)
        return;
    std::unique_ptr<Job> held = std::move(*at(job));
    m_jobs.erase(std::find(m_jobs.begin(), m_jobs.end(), nullptr));
    const auto to = before != nullptr ? at(before)
                                      : std::find_if(m_jobs.begin(), m_jobs.end(), [](const auto& other) { return other->isOver(); });
    m_jobs.insert(to, std::move(held));
    emit changed();
}

void JobQueue::setPaused(bool paused)
{
    if (m_paused == paused)
        return;
    m_paused = paused;
    emit changed();
    startNext();
}

void JobQueue::setParallel(int jobs)
{
    m_parallel = std::max(1, jobs);
    startNext();
}

void JobQueue::startNext()
{
    while (!m_paused && running().size() < static_cast<std::size_t>(m_parallel)) {
        const std::vector<Job*> queue = waiting();
        if (queue.empty())
            return;
        const QString configured = m_settings != nullptr ? m_settings->value(QLatin1String(kProgramKey)).toString() : QString();
        const QString program = m_program.isEmpty() ? findJobProgram(configured) : m_program;
        queue.front()->start(program.isEmpty() ? QStringLiteral("shardlens") : program);
    }
}

void JobQueue::jobChanged(Job* job)
{
    if (job->isOver()) {
        const auto place = at(job);
        const auto firstOver =
            std::find_if(m_jobs.begin(), m_jobs.end(), [job](const auto& other) { return other->isOver() && other.get() != job; });
        if (place < firstOver)
            std::rotate(place, place + 1, firstOver);
        saveHistory();
        emit finishedOne(job);
        // Not from inside the signal of the job that has just ended.
        QTimer::singleShot(0, this, &JobQueue::startNext);
    }
    emit changed();
    if (job->isOver() && running().empty())
        emit idle();
}

void JobQueue::saveHistory()
{
    std::vector<const Job*> over;
    for (const auto& job : m_jobs)
        if (job->isOver())
            over.push_back(job.get());
    m_history.save(over);
}

std::vector<Job*> JobQueue::running() const
{
    std::vector<Job*> out;
    for (const auto& job : m_jobs)
        if (job->isActive())
            out.push_back(job.get());
    return out;
}

std::vector<Job*> JobQueue::waiting() const
{
    std::vector<Job*> out;
    for (const auto& job : m_jobs)
        if (job->state() == Job::State::Waiting)
            out.push_back(job.get());
    return out;
}

std::vector<Job*> JobQueue::finished() const
{
    std::vector<Job*> out;
    for (const auto& job : m_jobs)
        if (job->isOver())
            out.push_back(job.get());
    return out;
}

int JobQueue::badge() const
{
    return static_cast<int>(std::count_if(m_jobs.begin(), m_jobs.end(), [](const auto& job) { return !job->isOver(); }));
}

Job* JobQueue::current() const
{
    const auto active = std::find_if(m_jobs.begin(), m_jobs.end(), [](const auto& job) { return job->isActive(); });
    return active == m_jobs.end() ? nullptr : active->get();
}

std::optional<double> JobQueue::measuredRate(const QString& disk) const
{
    for (const auto& job : m_jobs) {
        const JobReport& report = job->report();
        if (job->state() == Job::State::Done && job->spec().disk == disk && report.bytesWritten >= kWorthMeasuring && report.seconds > 0)
            return static_cast<double>(report.bytesWritten) / report.seconds;
    }
    return std::nullopt;
}

QString JobQueue::quitQuestion() const
{
    const int open = badge();
    if (open == 0)
        return {};
    const Job* job = current();
    if (job == nullptr)
        return open == 1 ? tr("1 job waits. Quitting forgets it.") : tr("%n jobs wait. Quitting forgets them.", nullptr, open);
    return tr("The job \"%1\" runs (%2). Quitting cancels it; nothing is left at its target.").arg(job->title(), JobTexts::percent(job->share()));
}

void JobQueue::cancelAll()
{
    for (Job* job : waiting())
        job->cancel();
    for (Job* job : running())
        if (job->state() == Job::State::Running)
            job->cancel();
}

} // namespace shardlens::ui
