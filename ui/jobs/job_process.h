#pragma once

#include "ui/jobs/job_protocol.h"

#include <QObject>
#include <QProcess>

namespace shardlens::ui {

// How a child process ended.
struct JobEnd {
    bool started = true;   // false: `problem` says why not
    int signal = 0;        // 0: it ended by itself, with `exitCode`
    int exitCode = 0;
    QString problem;       // of starting, in the system's words; else the last line of standard error
};

// One child `shardlens run - --progress json`. The job document goes to its standard input; what it says comes back as events.
// Destroying it asks a child that still runs to stop, waits a few seconds and kills it then.
class JobProcess : public QObject {
    Q_OBJECT
public:
    explicit JobProcess(QObject* parent = nullptr);
    ~JobProcess() override;

    void start(const QString& program, const QByteArray& document);
    // SIGTERM: the child tidies up and reports.
    void askToStop();
    void kill();

signals:
    void said(const shardlens::ui::JobEvent& event);
    // A line that is no event: of standard error, or garbage on standard output.
    void grumbled(const QString& line);
    // Once, last.
    void ended(const shardlens::ui::JobEnd& end);

private:
    void readOutput();
    void readErrors();
    void take(const QByteArray& line);
    void finish(int exitCode, QProcess::ExitStatus status);
    void failToStart();

    QProcess m_process;
    LineSplitter m_output;
    LineSplitter m_errors;
    QString m_lastError;
};

} // namespace shardlens::ui
