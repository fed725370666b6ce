#pragma once

#include "ui/pages/tensors/tensor_index.h"

#include <QAbstractTableModel>

#include <vector>

namespace shardlens::ui {

// The visible rows of the tensor table over an immutable index: a list of node numbers and which groups are closed. Does no I/O.
class TensorRows : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Name, StoredAs, ShapeColumn, OnDisk, Pieces, Strip, ColumnCount };
    enum Role { DepthRole = Qt::UserRole, IsGroupRole, IsExpandedRole, NodeRole };

    explicit TensorRows(QObject* parent = nullptr) : QAbstractTableModel(parent) {}

    // Replaces what is shown in one reset. `mode` says which view of the index the rows count in.
    void setRows(std::shared_ptr<const TensorIndex> index, RowQuery::Mode mode, std::vector<std::uint32_t> rows);
    [[nodiscard]] const std::shared_ptr<const TensorIndex>& index() const { return m_index; }
    [[nodiscard]] const TensorIndex::Node& node(int row) const;
    [[nodiscard]] const std::vector<TensorId>& members(int row) const;
    [[nodiscard]] bool isExpanded(int row) const;
    void setExpanded(int row, bool on);
    void expandBelow(int row);
    void collapseTo(int depth); // groups of that depth and deeper are closed
    // The visible row of a parameter, opening the groups above it; −1 if the filter hides it.
    int reveal(ParameterId parameter);
    [[nodiscard]] int parentRow(int row) const;

    using QAbstractTableModel::index;
    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
    // All rows that the filter leaves, as comma-separated values in the C locale.
    [[nodiscard]] QString csv() const;

private:
    [[nodiscard]] const TensorIndex::View& view() const;
    void showVisible();

    std::shared_ptr<const TensorIndex> m_index;
    RowQuery::Mode m_mode = RowQuery::Mode::Tree;
    std::vector<std::uint32_t> m_all;     // every row of the query, groups open
    std::vector<std::uint32_t> m_visible; // those that closed groups leave
    std::vector<bool> m_closed;           // by node
};

} // namespace shardlens::ui
