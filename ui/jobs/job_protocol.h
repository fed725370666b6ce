#pragma once

#include <QByteArray>
#include <QString>

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

namespace shardlens::ui {

// What `shardlens run --progress json` says on standard output, a line of JSON each.
struct JobStarted {
    QString program;
    QString version;
};

// What the threads of a job have spent in each stage, in nanoseconds, all together.
struct JobStages {
    std::uint64_t readNs = 0;
    std::uint64_t computeNs = 0;
    std::uint64_t writeNs = 0;

    [[nodiscard]] std::uint64_t all() const { return readNs + computeNs + writeNs; }
};

struct JobProgress {
    QString phase; // "copy", "verify" … (nameOf(ConvertPhase)); empty where the line does not say
    std::uint64_t done = 0;
    std::uint64_t total = 0; // 0: not known yet
    std::uint64_t bytesRead = 0;
    std::uint64_t bytesWritten = 0;
    std::uint64_t residentBytes = 0;
    JobStages stages{};
};

struct JobLogLine {
    QString text;
};

enum class JobOutcome { Done, Failed, Cancelled, Refused };

// A line of what changes: before the work starts, and all of them again in the report.
struct JobReportLine {
    enum class Kind { Kept, Info, Dropped, Cast, Duplicated, Warning };
    Kind kind = Kind::Info;
    QString topic;
    QString text;
};

struct JobReportFile {
    QString name; // relative to the target
    std::uint64_t sizeBytes = 0; // 0: not said
};

struct JobReport {
    JobOutcome outcome = JobOutcome::Failed;
    QString error; // a sentence; empty when done
    QString target;
    std::vector<JobReportFile> files;
    std::vector<JobReportLine> lines;
    std::uint64_t bytesRead = 0;
    std::uint64_t bytesWritten = 0;
    double seconds = 0;
    JobStages stages{};
    std::uint64_t peakResidentBytes = 0;
    bool verified = false;
};

using JobEvent = std::variant<JobStarted, JobProgress, JobLogLine, JobReportLine, JobReport>;

// One line without its line break. Nothing for what is no event that this version knows; unknown members are passed over, and a member of
// the wrong type counts as absent.
[[nodiscard]] std::optional<JobEvent> parseJobEvent(const QByteArray& line);

// The report as the history keeps it; parseJobEvent() reads it back.
[[nodiscard]] QByteArray jobReportToJson(const JobReport& report);

// Cuts a byte stream into lines. A line longer than the limit is dropped, so that a child gone wild cannot fill the memory.
class LineSplitter {
public:
    static constexpr qsizetype kLongestLine = 4 << 20;

    // The lines that `bytes` completes, without their breaks.
    [[nodiscard]] std::vector<QByteArray> feed(const QByteArray& bytes);
    // What is left at the end of the stream: a last line without a break, or nothing.
    [[nodiscard]] QByteArray takeRest();

private:
    QByteArray m_rest;
    bool m_skipping = false;
};

} // namespace shardlens::ui
