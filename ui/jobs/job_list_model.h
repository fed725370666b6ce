#pragma once

#include "ui/jobs/job_queue.h"

#include <QAbstractListModel>

#include <vector>

namespace shardlens::ui {

// The jobs as the list shows them: headings (Running, Waiting, Finished) with their jobs below. Waiting jobs can be dragged among themselves.
class JobListModel : public QAbstractListModel {
    Q_OBJECT
public:
    enum Role {
        KindRole = Qt::UserRole, // Kind
        NoteRole,
        ValueRole,
        ShareRole, // 0 … 1 of a running job, else −1
        IconRole,  // name in the theme
        ToneRole,  // its Token
    };
    enum class Kind { Heading, Job };

    // The queue outlives the model.
    explicit JobListModel(JobQueue* queue, QObject* parent = nullptr);

    [[nodiscard]] Job* jobAt(const QModelIndex& index) const; // nullptr for a heading
    [[nodiscard]] QModelIndex indexOf(const Job* job) const;

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] Qt::ItemFlags flags(const QModelIndex& index) const override;
    [[nodiscard]] Qt::DropActions supportedDropActions() const override { return Qt::MoveAction; }
    [[nodiscard]] QStringList mimeTypes() const override;
    [[nodiscard]] QMimeData* mimeData(const QModelIndexList& indexes) const override;
    bool dropMimeData(const QMimeData* data, Qt::DropAction action, int row, int column, const QModelIndex& parent) override;

private:
    struct Row {
        QString heading;
        Job* job = nullptr;
    };

    void refresh();
    void update(Job* job);
    [[nodiscard]] QVariant jobData(const Row& row, int role) const;

    JobQueue* m_queue;
    std::vector<Row> m_rows;
};

} // namespace shardlens::ui
