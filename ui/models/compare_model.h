#pragma once

#include "core/analysis/diff.h"

#include <QAbstractTableModel>
#include <QString>

#include <array>
#include <memory>
#include <optional>
#include <vector>

namespace shardlens::ui {

// One line of a comparison: a tensor, or an argument that differs.
struct CompareRow {
    std::size_t group = 0; // a DiffState, or kArgumentGroup
    QString name;
    QString a; // "F32 [4, 8]", or the argument's value
    QString b;
    QString first; // index of the first value that differs
    QString tip;
    std::optional<TensorId> tensor; // of A
    std::uint64_t differing = 0;
    std::uint64_t compared = 0;
    double maxAbsolute = 0;
    double maxRelative = 0;
    std::optional<double> cosine;
};

constexpr std::size_t kArgumentGroup = kDiffStates;
constexpr std::size_t kCompareGroups = kDiffStates + 1;

// What was found, as rows for people. Immutable once made; made on a worker.
struct CompareResult {
    CheckpointPtr a;
    CheckpointPtr b;
    std::vector<CompareRow> rows; // what differs in the model's order, then arguments, then what is equal
    std::array<std::uint64_t, kCompareGroups> counts{};
    std::optional<RenameSuggestion> suggestion;
    bool sharesNames = true;
    std::uint64_t bytesRead = 0;

    [[nodiscard]] static std::shared_ptr<const CompareResult> of(CheckpointPtr a, CheckpointPtr b, const DiffReport& report);
    [[nodiscard]] std::uint64_t countOf(DiffState state) const { return counts[static_cast<std::size_t>(state)]; }
    [[nodiscard]] bool isEqual() const; // every tensor
};

// "values differ", "only in A" … of a group.
[[nodiscard]] QString compareGroupText(std::size_t group);

// A CompareResult for views: filtered by text and by group, sorted by a column.
class CompareModel : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Name, What, InA, InB, Differing, MaxAbsolute, MaxRelative, Cosine, First, ColumnCount };

    explicit CompareModel(QObject* parent = nullptr) : QAbstractTableModel(parent) {}

    void setResult(std::shared_ptr<const CompareResult> result);
    // A case folded part of the name or of an argument's value. Without a group: everything but what is equal.
    void setFilter(const QString& text, std::optional<std::size_t> group);
    [[nodiscard]] const CompareRow* rowAt(int row) const; // nullptr past the end
    [[nodiscard]] const std::shared_ptr<const CompareResult>& result() const { return m_result; }

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
    void sort(int column, Qt::SortOrder order) override;

private:
    void rebuild();
    void sortRows();

    std::shared_ptr<const CompareResult> m_result;
    std::vector<std::uint32_t> m_rows; // that show, as places in the result
    QString m_text;
    std::optional<std::size_t> m_group;
    int m_sortColumn = -1; // none: the result's order
    Qt::SortOrder m_sortOrder = Qt::AscendingOrder;
};

} // namespace shardlens::ui
