#pragma once

#include "ui/jobs/job_queue.h"

#include <QAbstractButton>

namespace shardlens::ui {

// One line about the job that runs, for the foot of the other pages: name, bar, rate, time left. Hides itself while nothing runs;
// a click asks for the jobs page. The window hides it where that page shows: setWanted(false).
class JobStrip : public QAbstractButton {
    Q_OBJECT
public:
    // The queue outlives the strip.
    explicit JobStrip(JobQueue* queue, QWidget* parent = nullptr);

    void setWanted(bool wanted);
    [[nodiscard]] QSize sizeHint() const override;

signals:
    void opened(shardlens::ui::Job* job);

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void refresh();

    JobQueue* m_queue;
    bool m_wanted = true;
};

} // namespace shardlens::ui
