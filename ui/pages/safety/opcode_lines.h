#pragma once

#include "core/analysis/pickle_listing.h"

#include <QAbstractTableModel>

#include <memory>

namespace shardlens::ui {

// The opcodes of a pickle, a line made when it is shown: a million of them cost their offsets only.
class OpcodeLines : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Offset, Opcode, Argument, ColumnCount };

    using QAbstractTableModel::QAbstractTableModel;
    // nullptr: empty.
    void show(std::shared_ptr<const PickleListing> listing);
    // The line that a finding is about; −1 for none.
    void mark(int row);
    [[nodiscard]] int marked() const { return m_marked; }
    [[nodiscard]] const std::shared_ptr<const PickleListing>& listing() const { return m_listing; }

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    std::shared_ptr<const PickleListing> m_listing;
    int m_marked = -1;
};

} // namespace shardlens::ui
