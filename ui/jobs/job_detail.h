#pragma once

#include "core/format/open_options.h"
#include "ui/jobs/job_queue.h"
#include "ui/theme/theme.h"

#include <QPointer>
#include <QPushButton>
#include <QScrollArea>

#include <array>

class QBoxLayout;
class QVBoxLayout;

namespace shardlens::ui {

class Card;
class ChangeLines;
class FileProgress;
class JobLog;
class ShareBar;
class StageRates;
class TextLabel;
class ThroughputPlot;
class ToneIcon;

// Everything about one job: what it does, how far it is, how fast, what it said and what came of it.
class JobDetail : public QScrollArea {
    Q_OBJECT
public:
    explicit JobDetail(JobQueue* queue, QWidget* parent = nullptr);

    void setJob(Job* job); // nullptr: "No jobs yet"
    [[nodiscard]] Job* job() const { return m_job; }

signals:
    void openRequested(const QString& path, const shardlens::OpenOptions& options);

private:
    struct Figure {
        TextLabel* value;
        TextLabel* note;
    };

    QWidget* makeHead();
    QWidget* makeFigures();
    QWidget* makeThroughput();
    QWidget* makeFiles();
    QWidget* makeLog();
    QWidget* makeReport();
    QPushButton* addButton(QBoxLayout* layout, const QString& text, void (JobDetail::*pressed)());
    void applyTheme();
    void showState();
    void showFigures();
    void showRunningFigures();
    void showEndFigures();
    void showProgress();
    void fitLog();
    void setFigure(std::size_t index, const QString& value, const QString& note);

    void copyCommandLine();
    void cancel();
    void openResult();
    void showFolder();
    void repeat();

    JobQueue* m_queue;
    QPointer<Job> m_job;
    QWidget* m_content;
    QVBoxLayout* m_layout;
    QWidget* m_empty;
    TextLabel* m_title;
    TextLabel* m_paths;
    QPushButton* m_copy;
    QPushButton* m_cancel;
    QPushButton* m_open;
    QPushButton* m_folder;
    QPushButton* m_repeat;
    ShareBar* m_bar;
    std::array<Figure, 5> m_figures{};
    Card* m_throughputCard;
    ThroughputPlot* m_plot;
    StageRates* m_stages;
    Card* m_filesCard;
    FileProgress* m_files;
    Card* m_logCard;
    JobLog* m_log;
    Card* m_reportCard;
    TextLabel* m_outcome;
    ToneIcon* m_outcomeIcon;
    ChangeLines* m_lines;
};

} // namespace shardlens::ui
