#pragma once

#include "core/format/open_options.h"
#include "ui/jobs/job_queue.h"
#include "ui/pages/page.h"

class QPushButton;

namespace shardlens::ui {

class JobDetail;
class JobList;

// The page of all jobs: the list at the left, the chosen job at the right. Belongs to the window, not to a tab: document() is nullptr.
class JobsPage : public Page {
    Q_OBJECT
public:
    // The queue outlives the page.
    explicit JobsPage(JobQueue* queue, QWidget* parent = nullptr);

    [[nodiscard]] QString id() const override { return QStringLiteral("jobs"); }
    [[nodiscard]] QString question() const override { return tr("What is running, and what came of it?"); }
    [[nodiscard]] QString copyText(bool withPlace) const override; // the command line of the chosen job
    void showJob(Job* job);

signals:
    // "Open result": a checkpoint to open in a tab.
    void openRequested(const QString& path, const shardlens::OpenOptions& options);

private:
    QWidget* makeSide();
    void showPaused();

    JobQueue* m_queue;
    JobList* m_list;
    JobDetail* m_detail;
    QPushButton* m_pause;
};

} // namespace shardlens::ui
