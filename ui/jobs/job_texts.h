#pragma once

#include "core/convert/request.h"

#include <QCoreApplication>
#include <QString>

#include <cstdint>

namespace shardlens::ui {

class Job;
class JobRate;

// What is said about jobs: sentences and words, without the widgets that show them.
class JobTexts {
    Q_DECLARE_TR_FUNCTIONS(JobTexts)
public:
    // "F32 safetensors", "Optimizer, torch": what is made.
    static QString titleOf(const ConvertRequest& request, const QString& formatId);

    // How a job without a report of its own ended.
    static QString startedBy(const QString& program, const QString& version);
    static QString didNotStart(const QString& problem);
    static QString endedBySignal(int signal, std::uint64_t peakBytes, std::uint64_t allowedBytes);
    static QString endedByUser(int signal);
    static QString endedWithoutReport(int exitCode, const QString& problem);
    static QString targetNotCreated();
    static QString targetThereAllTheSame();
    static QString cancelledBeforeStart();

    // Of a running job: "Copying"; "then check, publish"; an unknown phase is shown as it is called.
    static QString phaseWord(const QString& phase);
    static QString phaseNote(const QString& phase, bool verify);
    static QString timeLeft(const JobRate& rate);     // "16 s", "about 4 min"; an en dash where it is not known
    static QString timeLeftNote(const JobRate& rate); // "left", "left; the disk became slower"

    // Second line and value of a job in the list.
    static QString listNote(const Job& job);
    static QString listValue(const Job& job, bool isNext);
    // The whole outcome as a sentence or two: for the head of the report.
    static QString outcome(const Job& job);
    static QString duration(double seconds); // "at once" below one second

    static QString percent(double share); // "61 %", never 0 % for something and never 100 % for less than all
    static QString size(std::uint64_t bytes);
    static QString rate(double bytesPerSecond);
    // "1 file", "5 files": English has its plurals here, other languages in their translations.
    static QString files(std::size_t count);
    static QString ranks(std::size_t count);
    // "53.6 of 87.9 GiB"
    static QString sizeOf(std::uint64_t part, std::uint64_t whole);
};

} // namespace shardlens::ui
