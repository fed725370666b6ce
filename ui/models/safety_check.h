#pragma once

#include "core/analysis/scan.h"
#include "ui/models/runner.h"
#include "ui/theme/theme.h"

#include <QObject>
#include <QString>
#include <QTimer>

#include <memory>

namespace shardlens::ui {

// The scan of a document's files (what `shardlens scan` does), in the background and once: overview, convert and safety page show the same report.
class SafetyCheck : public QObject {
    Q_OBJECT
public:
    explicit SafetyCheck(QString path, QObject* parent = nullptr);

    // Does nothing where it runs or is done.
    void start();
    // Forgets what was found, for files that may have changed.
    void reset();
    void cancel();

    [[nodiscard]] bool isRunning() const { return m_runner.isRunning(); }
    [[nodiscard]] const std::shared_ptr<const ScanReport>& report() const { return m_report; } // nullptr until it is done
    [[nodiscard]] const QString& errorText() const { return m_error; }                         // a sentence; empty without one
    // "Reading pickles: 12.5 % of 3.11 GiB"; empty where it does not run.
    [[nodiscard]] QString progressText() const;

signals:
    void changed();    // report, error or running
    void progressed(); // five times a second while it runs

private:
    QString m_path;
    std::shared_ptr<const ScanReport> m_report;
    QString m_error;
    std::shared_ptr<JobContext> m_job;
    QTimer m_poll;
    Runner m_runner;
};

// How verdicts are shown: the same words, icons and colours everywhere.
struct SafetyWords {
    static QString word(int level);               // "known classes only"
    static QString sentence(const ScanReport& report);
    static QString amount(const ScanReport& report); // "5 pickles in 6 files"
    static QString icon(int level);
    static Token tone(int level);
};

} // namespace shardlens::ui
