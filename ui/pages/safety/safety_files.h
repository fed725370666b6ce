#pragma once

#include "core/analysis/scan.h"

#include <QAbstractTableModel>

#include <memory>
#include <vector>

namespace shardlens::ui {

// The files of a scan with a verdict each, worst first. Shows an immutable report.
class SafetyFiles : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { File, Verdict, ColumnCount };

    using QAbstractTableModel::QAbstractTableModel;
    void show(std::shared_ptr<const ScanReport> report);
    // Index into ScanReport::files.
    [[nodiscard]] std::size_t fileAt(int row) const { return m_rows[static_cast<std::size_t>(row)]; }

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    std::shared_ptr<const ScanReport> m_report;
    std::vector<std::size_t> m_rows;
};

} // namespace shardlens::ui
