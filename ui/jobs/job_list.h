#pragma once

#include "ui/jobs/job_list_model.h"

#include <QListView>
#include <QStyledItemDelegate>

namespace shardlens::ui {

// Paints a row of JobListModel: heading, or icon, title, note and value, with a bar below while it runs.
class JobListDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    using QStyledItemDelegate::QStyledItemDelegate;
    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
    [[nodiscard]] QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override;

private:
    static void paintJob(QPainter& painter, const QRect& where, const QModelIndex& index);
};

// The list at the left of the jobs page. Keeps its selection by job. Delete cancels or forgets, Alt+Up and Alt+Down move a waiting job.
class JobList : public QListView {
    Q_OBJECT
public:
    explicit JobList(JobQueue* queue, QWidget* parent = nullptr);

    [[nodiscard]] Job* selected() const { return m_selected; }
    void select(Job* job);

signals:
    void selectionMoved(shardlens::ui::Job* job); // nullptr: the list is empty

protected:
    void keyPressEvent(QKeyEvent* event) override;
    void currentChanged(const QModelIndex& current, const QModelIndex& previous) override;

private:
    void restore();
    void move(int by);

    JobQueue* m_queue;
    JobListModel* m_model;
    Job* m_selected = nullptr;
    bool m_restoring = false;
};

} // namespace shardlens::ui
