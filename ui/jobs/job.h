#pragma once

#include "core/convert/request.h"
#include "ui/jobs/job_process.h"
#include "ui/jobs/job_rate.h"

#include <QDateTime>
#include <QElapsedTimer>
#include <QObject>
#include <QTimer>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace shardlens::ui {

// A stretch of an output file and the rank that its bytes come from; none: headers, and what no rank can be named for.
struct FileStretch {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::optional<std::uint32_t> rank;
};

struct JobFile {
    QString name;
    std::uint64_t sizeBytes = 0; // 0: not known
    std::vector<FileStretch> stretches; // ascending
    std::optional<std::uint32_t> rank = std::nullopt; // whose file it is, in a run
};

// What the window hands to the queue.
struct JobSpec {
    ConvertRequest request;
    QString title;  // "F32 safetensors"
    QString disk;   // where the target's disk is mounted; empty: not known
    std::vector<JobFile> files; // in the order in which they are written
};

struct JobLogEntry {
    QDateTime when;
    QString text;
};

// One conversion: waiting, running in a child process, or over. Lives in the window's thread.
class Job : public QObject {
    Q_OBJECT
public:
    enum class State { Waiting, Running, Cancelling, Done, Failed, Cancelled, Refused };

    explicit Job(JobSpec spec, QObject* parent = nullptr);
    // A job that is over, as the history kept it.
    Job(JobSpec spec, JobReport report, QDateTime ended, QObject* parent = nullptr);

    [[nodiscard]] const JobSpec& spec() const { return m_spec; }
    [[nodiscard]] const ConvertRequest& request() const { return m_spec.request; }
    [[nodiscard]] const QString& title() const { return m_spec.title; }
    [[nodiscard]] QString targetName() const; // last part of the target's path
    [[nodiscard]] QString commandLine() const;
    [[nodiscard]] const std::vector<JobFile>& files() const { return m_spec.files; }

    [[nodiscard]] State state() const { return m_state; }
    [[nodiscard]] bool isActive() const { return m_state == State::Running || m_state == State::Cancelling; }
    [[nodiscard]] bool isOver() const { return !isActive() && m_state != State::Waiting; }

    [[nodiscard]] const JobProgress& progress() const { return m_progress; }
    [[nodiscard]] double share() const; // 0 … 1
    [[nodiscard]] const JobRate& rate() const { return m_rate; }
    [[nodiscard]] double elapsedSeconds() const;
    [[nodiscard]] std::uint64_t peakResidentBytes() const { return m_peakResident; }
    // Bytes of `file` that are written by now; files are written one after the other.
    [[nodiscard]] std::uint64_t writtenOf(std::size_t file) const;
    [[nodiscard]] const std::vector<JobLogEntry>& log() const { return m_log; } // the latest kMostLogLines
    // Of a job that is over. One that the window made up where the child left none.
    [[nodiscard]] const JobReport& report() const { return m_report; }
    [[nodiscard]] const QDateTime& endedAt() const { return m_endedAt; }

    static constexpr std::size_t kMostLogLines = 2000;

    // For the queue.
    void start(const QString& program);
    // Waiting: it will not start. Running: SIGTERM; asked again, SIGKILL.
    void cancel();

signals:
    void stateChanged();
    void progressed(); // at most 10 times a second
    void logged();

private:
    void take(const JobEvent& event);
    void addLog(const QString& text);
    void addTicks();
    void finish(const JobEnd& end);
    void setState(State state);
    [[nodiscard]] JobReport reportOf(const JobEnd& end) const;
    [[nodiscard]] QString sentenceOf(const JobEnd& end) const;

    JobSpec m_spec;
    State m_state = State::Waiting;
    std::unique_ptr<JobProcess> m_process;
    QElapsedTimer m_clock;
    QTimer m_ticker;
    JobProgress m_progress;
    JobRate m_rate;
    std::uint64_t m_peakResident = 0;
    std::vector<JobLogEntry> m_log;
    std::optional<JobReport> m_heard; // from the child
    JobReport m_report;
    QDateTime m_endedAt;
    bool m_killed = false;
};

} // namespace shardlens::ui
