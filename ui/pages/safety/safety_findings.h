#pragma once

#include "core/analysis/scan.h"

#include <QAbstractTableModel>
#include <QString>

#include <memory>
#include <optional>
#include <vector>

namespace shardlens::ui {

// What a scan found in one file, worst first: the level in a word, what it is, where. Shows an immutable report.
class SafetyFindings : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Level, What, Member, Offset, Code, ColumnCount };

    using QAbstractTableModel::QAbstractTableModel;
    // The findings of a file in which `filter` is found; without `all`, those that are harmless are left out where there are others.
    void show(std::shared_ptr<const ScanReport> report, std::optional<std::size_t> file, const QString& filter, bool all);
    [[nodiscard]] const ScanFinding& findingAt(int row) const { return m_report->findings[m_rows[static_cast<std::size_t>(row)]]; }
    [[nodiscard]] bool hasMembers() const; // rows differ in their member of an archive
    [[nodiscard]] static bool isNotable(int level); // more than harmless

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    [[nodiscard]] QString textAt(const ScanFinding& finding, int column) const;

    std::shared_ptr<const ScanReport> m_report;
    std::vector<std::size_t> m_rows;
};

// "dangerous", "unknown code": the word of one finding.
[[nodiscard]] QString levelWord(int level);

} // namespace shardlens::ui
