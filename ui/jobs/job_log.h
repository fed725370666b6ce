#pragma once

#include "ui/jobs/job.h"

#include <QAbstractListModel>
#include <QListView>
#include <QPointer>
#include <QStyledItemDelegate>

namespace shardlens::ui {

// The log of one job, newest last.
class JobLogModel : public QAbstractListModel {
    Q_OBJECT
public:
    enum Role { WhenRole = Qt::UserRole };

    using QAbstractListModel::QAbstractListModel;
    void setJob(Job* job);
    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;

private:
    void grow();

    QPointer<Job> m_job;
    int m_rows = 0;
};

class JobLogDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    using QStyledItemDelegate::QStyledItemDelegate;
    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
    [[nodiscard]] QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override;
};

// Shows the log and stays at its end while it is there.
class JobLog : public QListView {
    Q_OBJECT
public:
    explicit JobLog(QWidget* parent = nullptr);
    void setJob(Job* job);
    [[nodiscard]] QString asText() const;

private:
    JobLogModel* m_model;
    bool m_atEnd = true;
};

} // namespace shardlens::ui
