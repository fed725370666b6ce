#pragma once

#include "ui/models/device_map.h"

#include <QAbstractTableModel>

namespace shardlens::ui {

// The device matrix's table twin: a row a rank, with its place, the slice that it holds, who else has it, and where it lies.
class DeviceRows : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Rank, Place, Slice, SameAs, Bytes, File, ColumnCount };

    using QAbstractTableModel::QAbstractTableModel;

    void show(DeviceMapPtr map); // nullptr: no rows

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

private:
    [[nodiscard]] QString cellText(std::uint32_t rank, int column) const;
    [[nodiscard]] QString sameAs(std::uint32_t rank) const;

    DeviceMapPtr m_map;
};

} // namespace shardlens::ui
