#include "ui/jobs/job_texts.h"

#include "core/base/text.h"
#include "ui/jobs/job.h"

#include <array>
#include <csignal>
#include <filesystem>

namespace shardlens::ui {
namespace {

struct Phase {
    const char* id;
    const char* word;
    const char* noun; // as in "then check, publish"
};

constexpr std::array<Phase, 7> kPhases{{
    {"open", QT_TRANSLATE_NOOP("JobTexts", "Opening"), nullptr},
    {"plan", QT_TRANSLATE_NOOP("JobTexts", "Planning"), nullptr},
    {"copy", QT_TRANSLATE_NOOP("JobTexts", "Copying"), QT_TRANSLATE_NOOP("JobTexts", "copy")},
    {"flush", QT_TRANSLATE_NOOP("JobTexts", "Flushing"), QT_TRANSLATE_NOOP("JobTexts", "flush")},
    {"verify", QT_TRANSLATE_NOOP("JobTexts", "Checking"), QT_TRANSLATE_NOOP("JobTexts", "check")},
    {"publish", QT_TRANSLATE_NOOP("JobTexts", "Publishing"), QT_TRANSLATE_NOOP("JobTexts", "publish")},
    {"done", QT_TRANSLATE_NOOP("JobTexts", "Done"), nullptr},
}};

int phaseIndex(const QString& phase)
{
    for (std::size_t i = 0; i < kPhases.size(); ++i)
        if (phase.compare(QLatin1String(kPhases[i].id), Qt::CaseInsensitive) == 0)
            return static_cast<int>(i);
    return -1;
}

bool isFault(int signal)
{
    return signal == SIGSEGV || signal == SIGABRT || signal == SIGBUS || signal == SIGILL || signal == SIGFPE;
}

// "run on 6 ranks, ZeRO-2": what is not as in the source.
QString runTitle(const QString& source, const ConvertRequest& request)
{
    QString title = source.isEmpty() ? QStringLiteral("deepspeed") : source;
    QStringList sizes; // of a run of tensor or pipeline ranks
    for (const auto& [name, size] : {std::pair{"tp", request.tp}, {"pp", request.pp}})
        if (size)
            sizes << QStringLiteral("%1 %2").arg(QLatin1String(name)).arg(*size);
    if (!sizes.isEmpty() && request.dp)
        sizes << QStringLiteral("dp %1").arg(*request.dp);
    if (!request.dp && !request.zeroStage && sizes.isEmpty())
        return source.isEmpty() ? title : JobTexts::tr("%1 to %2", "source, format").arg(source, QStringLiteral("deepspeed"));
    if (!sizes.isEmpty())
        title = JobTexts::tr("%1 on %2", "source, sizes of the axes").arg(title, sizes.join(QStringLiteral(", ")));
    else if (request.dp)
        title = *request.dp == 1 ? JobTexts::tr("%1 on 1 rank").arg(title)
                                 : JobTexts::tr("%1 on %2 ranks").arg(title, QString::fromStdString(groupedText(*request.dp)));
    return request.zeroStage ? JobTexts::tr("%1, ZeRO-%2").arg(title).arg(*request.zeroStage) : title;
}

} // namespace

QString JobTexts::titleOf(const ConvertRequest& request, const QString& formatId)
{
    const QString what = request.dtype ? QString::fromUtf8(nameOf(*request.dtype).data(), static_cast<qsizetype>(nameOf(*request.dtype).size())) : QString();
    const QString form = what.isEmpty() ? formatId : tr("%1 %2", "dtype, format").arg(what, formatId);
    const QString source = QString::fromStdString(printable(std::filesystem::path(request.source).lexically_normal().filename().string()));
    if (request.to == "deepspeed")
        return runTitle(source, request);
    QString title = source.isEmpty() ? form : tr("%1 to %2", "source, format").arg(source, form);
    switch (chosen(request)) {
    case Select::Weights: return title;
    case Select::Module: return tr("%1, module copy").arg(title);
    case Select::Optimizer: return tr("%1, optimizer").arg(title);
    case Select::All: return tr("%1, everything").arg(title);
    }
    return title;
}

QString JobTexts::startedBy(const QString& program, const QString& version)
{
    return tr("Started: %1 %2.").arg(program, version);
}

QString JobTexts::didNotStart(const QString& problem)
{
    return tr("The program shardlens did not start: %1. Nothing was written.").arg(problem);
}

QString JobTexts::endedBySignal(int signal, std::uint64_t peakBytes, std::uint64_t allowedBytes)
{
    if (signal == SIGKILL)
        return tr("The job ended by signal %1, probably out of memory (peak %2 of %3 allowed).").arg(signal).arg(size(peakBytes), size(allowedBytes));
    if (isFault(signal))
        return tr("The job ended by signal %1, a fault of the program (peak memory %2).").arg(signal).arg(size(peakBytes));
    return tr("The job ended by signal %1 (peak memory %2).").arg(signal).arg(size(peakBytes));
}

QString JobTexts::endedByUser(int signal)
{
    return tr("Ended at once, with signal %1.").arg(signal);
}

QString JobTexts::endedWithoutReport(int exitCode, const QString& problem)
{
    if (problem.isEmpty())
        return tr("The job ended with exit code %1 and without a report.").arg(exitCode);
    return tr("The job ended with exit code %1 and without a report. It said last: %2").arg(exitCode).arg(problem);
}

QString JobTexts::targetNotCreated()
{
    return tr("The target was not created.");
}

QString JobTexts::targetThereAllTheSame()
{
    return tr("The target's name exists all the same: verify it before you use it.");
}

QString JobTexts::cancelledBeforeStart()
{
    return tr("Cancelled before it started. Nothing was written.");
}

QString JobTexts::phaseWord(const QString& phase)
{
    if (phase.isEmpty())
        return tr("Starting");
    const int index = phaseIndex(phase);
    return index < 0 ? phase : tr(kPhases[static_cast<std::size_t>(index)].word);
}

QString JobTexts::phaseNote(const QString& phase, bool verify)
{
    QStringList rest;
    for (int i = phaseIndex(phase) + 1; i < static_cast<int>(kPhases.size()); ++i) {
        const Phase& later = kPhases[static_cast<std::size_t>(i)];
        if (later.noun != nullptr && (verify || QLatin1String(later.id) != QLatin1String("verify")))
            rest.push_back(tr(later.noun));
    }
    return rest.isEmpty() ? tr("the last step") : tr("then %1").arg(rest.join(tr(", ")));
}

QString JobTexts::timeLeft(const JobRate& rate)
{
    const auto seconds = rate.timeLeft();
    return seconds ? QString::fromStdString(durationText(roundedTimeLeft(*seconds))) : QStringLiteral("–");
}

QString JobTexts::timeLeftNote(const JobRate& rate)
{
    if (!rate.timeLeft())
        return tr("left, known after 2 s");
    return rate.slower() ? tr("left; the disk became slower") : tr("left");
}

QString JobTexts::listNote(const Job& job)
{
    const QString name = job.targetName();
    switch (job.state()) {
    case Job::State::Waiting:
    case Job::State::Running: return name;
    case Job::State::Cancelling: return tr("%1, cancelling").arg(name);
    case Job::State::Done: return job.report().verified ? tr("%1, verified").arg(name) : name;
    case Job::State::Cancelled: return tr("%1, cancelled").arg(name);
    case Job::State::Failed:
    case Job::State::Refused: return job.report().error;
    }
    return name;
}

QString JobTexts::listValue(const Job& job, bool isNext)
{
    if (job.isActive())
        return percent(job.share());
    if (job.state() == Job::State::Waiting)
        return isNext ? tr("next") : tr("waits");
    return duration(job.report().seconds);
}

QString JobTexts::outcome(const Job& job)
{
    const JobReport& report = job.report();
    switch (job.state()) {
    case Job::State::Waiting: return tr("Waits for the jobs before it.");
    case Job::State::Running: return {};
    case Job::State::Cancelling: return tr("Cancelling: the job tidies up. Press again to end it at once.");
    case Job::State::Done:
        if (report.seconds < 1)
            return report.verified ? tr("Done at once and verified: read back and compared with the source.") : tr("Done at once. Not verified: the result was not read back.");
        return report.verified ? tr("Done in %1 and verified: read back and compared with the source.").arg(duration(report.seconds))
                               : tr("Done in %1. Not verified: the result was not read back.").arg(duration(report.seconds));
    case Job::State::Cancelled:
        return report.error.isEmpty() ? tr("Cancelled after %1. Nothing was left at the target.").arg(size(report.bytesWritten)) : report.error;
    case Job::State::Failed:
    case Job::State::Refused: return report.error.isEmpty() ? tr("The job failed and did not say why.") : report.error;
    }
    return {};
}

QString JobTexts::duration(double seconds)
{
    return seconds < 1 ? tr("at once") : QString::fromStdString(durationText(seconds));
}

QString JobTexts::percent(double share)
{
    if (share <= 0)
        return tr("0 %");
    if (share >= 1)
        return tr("100 %");
    const int whole = std::clamp(static_cast<int>(share * 100), 1, 99);
    return tr("%1 %").arg(whole);
}

QString JobTexts::size(std::uint64_t bytes)
{
    return QString::fromStdString(sizeText(bytes));
}

QString JobTexts::rate(double bytesPerSecond)
{
    return QString::fromStdString(rateText(bytesPerSecond));
}

QString JobTexts::files(std::size_t count)
{
    return count == 1 ? tr("1 file") : tr("%n files", nullptr, static_cast<int>(count));
}

QString JobTexts::ranks(std::size_t count)
{
    return count == 1 ? tr("1 rank") : tr("%n ranks", nullptr, static_cast<int>(count));
}

QString JobTexts::sizeOf(std::uint64_t part, std::uint64_t whole)
{
    const QString first = size(part);
    const QString second = size(whole);
    const QString unit = second.section(QLatin1Char(' '), 1);
    if (first.section(QLatin1Char(' '), 1) == unit)
        return tr("%1 of %2").arg(first.section(QLatin1Char(' '), 0, 0), second);
    return tr("%1 of %2").arg(first, second);
}

} // namespace shardlens::ui
