#pragma once

#include "ui/jobs/job.h"
#include "ui/jobs/job_history.h"

#include <QObject>
#include <QSettings>

#include <memory>
#include <optional>
#include <vector>

namespace shardlens::ui {

// All jobs of the window: runs them one at a time (settable), each in a child process of `shardlens`; keeps the finished ones in the settings.
// Owns its jobs: a Job is valid until removed() names it. Destroying the queue stops the children that still run.
class JobQueue : public QObject {
    Q_OBJECT
public:
    // `settings` outlives the queue; nullptr: no history. Setting "jobs/program": where `shardlens` is if it is found nowhere else.
    explicit JobQueue(QSettings* settings = nullptr, QObject* parent = nullptr);
    ~JobQueue() override;

    // For tests and odd installations; findJobProgram() otherwise.
    void setProgram(const QString& program) { m_program = program; }

    Job* submit(JobSpec spec);
    // Cancels what runs or waits.
    void cancel(Job* job);
    // The same job once more, at the end of the queue.
    Job* repeat(Job* job);
    // Forgets a job that is over.
    void remove(Job* job);
    void clearFinished();
    // Places a waiting job before the waiting one that is `place`-th now; past the end: last.
    void moveWaiting(Job* job, std::size_t place);

    // While paused, what runs goes on and nothing starts.
    void setPaused(bool paused);
    [[nodiscard]] bool isPaused() const { return m_paused; }
    void setParallel(int jobs); // at least 1
    [[nodiscard]] int parallel() const { return m_parallel; }

    [[nodiscard]] std::vector<Job*> running() const;
    [[nodiscard]] std::vector<Job*> waiting() const;
    [[nodiscard]] std::vector<Job*> finished() const; // newest first
    [[nodiscard]] int badge() const;                  // running and waiting
    // The one that the strip shows; nullptr if none runs.
    [[nodiscard]] Job* current() const;
    static constexpr std::uint64_t kWorthMeasuring = 64ull << 20; // bytes; smaller jobs say nothing about a disk
    // Bytes a second of the latest jobs that wrote to that disk; nothing if there were none.
    [[nodiscard]] std::optional<double> measuredRate(const QString& disk) const;

    // Asks the window to bring the jobs page to the front with this job.
    void showJob(Job* job) { emit jobWanted(job); }

    // What to ask before the window goes; empty: nothing runs or waits.
    [[nodiscard]] QString quitQuestion() const;
    void cancelAll();

signals:
    // Jobs came, went, moved or changed their state.
    void changed();
    // A running job's figures: at most 10 times a second and job.
    void progressed(shardlens::ui::Job* job);
    void finishedOne(shardlens::ui::Job* job);
    // Somebody wants to see this job.
    void jobWanted(shardlens::ui::Job* job);
    // Before the job is destroyed.
    void removed(shardlens::ui::Job* job);
    // Nothing runs any more.
    void idle();

private:
    Job* adopt(std::unique_ptr<Job> job);
    void startNext();
    void jobChanged(Job* job);
    void saveHistory();
    [[nodiscard]] std::vector<std::unique_ptr<Job>>::iterator at(const Job* job);

    QSettings* m_settings;
    JobHistory m_history;
    QString m_program;
    std::vector<std::unique_ptr<Job>> m_jobs; // running and waiting in order, then finished, newest first
    bool m_paused = false;
    int m_parallel = 1;
};

} // namespace shardlens::ui
