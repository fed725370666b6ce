#pragma once

#include "core/layout/mindspore_strategy.h"

#include <QAbstractTableModel>

#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

namespace shardlens::ui {

// The source ranks whose files MindSpore's own transform opens for each target rank. A value from a worker.
struct NeededList {
    struct Line {
        QString ranks; // "1, 5 and 7", the first of them where there are many
        std::uint64_t count = 0;
    };
    std::vector<Line> lines; // by target rank, at most kMost
    QString refusal;         // a sentence; `lines` is empty then

    static constexpr std::uint64_t kMost = 4096;
};
// nullptr: the whole model on one device.
[[nodiscard]] NeededList neededRanks(const std::shared_ptr<const mindspore::Strategy>& source, const std::shared_ptr<const mindspore::Strategy>& target, const std::stop_token& stop);

class NeededRows : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Target, Source, Count, ColumnCount };

    using QAbstractTableModel::QAbstractTableModel;

    void show(NeededList list);
    [[nodiscard]] const NeededList& list() const { return m_list; }

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

private:
    NeededList m_list;
};

} // namespace shardlens::ui
