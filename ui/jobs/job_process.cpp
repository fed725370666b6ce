#include "ui/jobs/job_process.h"

#include "core/base/text.h"
#include "ui/jobs/job_program.h"

#include <csignal>
#include <sys/prctl.h>
#include <unistd.h>

namespace shardlens::ui {
namespace {

constexpr int kTidyMs = 5000;

} // namespace

JobProcess::JobProcess(QObject* parent) : QObject(parent)
{
    // A window that is killed takes its jobs along: nobody could see or stop them.
    m_process.setChildProcessModifier([] {
        ::setsid(); // Ctrl+C in the terminal of the window is for the window
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    });
    connect(&m_process, &QProcess::readyReadStandardOutput, this, &JobProcess::readOutput);
    connect(&m_process, &QProcess::readyReadStandardError, this, &JobProcess::readErrors);
    connect(&m_process, &QProcess::finished, this, &JobProcess::finish);
    connect(&m_process, &QProcess::errorOccurred, this, [this](QProcess::ProcessError error) {
        if (error == QProcess::FailedToStart)
            failToStart();
    });
}

JobProcess::~JobProcess()
{
    m_process.disconnect(this);
    if (m_process.state() == QProcess::NotRunning)
        return;
    m_process.terminate(); // it removes what it has begun to write
    if (m_process.waitForFinished(kTidyMs))
        return;
    m_process.kill();
    m_process.waitForFinished(kTidyMs);
}

void JobProcess::start(const QString& program, const QByteArray& document)
{
    m_process.setProcessEnvironment(jobEnvironment());
    m_process.start(program, {QStringLiteral("run"), QStringLiteral("-"), QStringLiteral("--progress"), QStringLiteral("json")});
    m_process.write(document);
    m_process.closeWriteChannel();
}

void JobProcess::askToStop()
{
    m_process.terminate();
}

void JobProcess::kill()
{
    m_process.kill();
}

void JobProcess::take(const QByteArray& line)
{
    if (line.trimmed().isEmpty())
        return;
    if (const auto event = parseJobEvent(line))
        emit said(*event);
    else
        emit grumbled(QString::fromStdString(printable(line.left(400).toStdString())));
}

void JobProcess::readOutput()
{
    for (const QByteArray& line : m_output.feed(m_process.readAllStandardOutput()))
        take(line);
}

void JobProcess::readErrors()
{
    for (const QByteArray& line : m_errors.feed(m_process.readAllStandardError())) {
        if (line.trimmed().isEmpty())
            continue;
        m_lastError = QString::fromStdString(printable(line.left(400).toStdString()));
        emit grumbled(m_lastError);
    }
}

void JobProcess::finish(int exitCode, QProcess::ExitStatus status)
{
    readOutput();
    readErrors();
    take(m_output.takeRest());
    JobEnd end;
    end.signal = status == QProcess::CrashExit ? exitCode : 0;
    end.exitCode = status == QProcess::CrashExit ? 0 : exitCode;
    end.problem = m_lastError;
    emit ended(end);
}

void JobProcess::failToStart()
{
    JobEnd end;
    end.started = false;
    end.problem = m_process.errorString();
    emit ended(end);
}

} // namespace shardlens::ui
