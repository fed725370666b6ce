#pragma once

#include "ui/models/writer_uses.h"

#include <QAbstractTableModel>

namespace shardlens::ui {

// Who wrote what as a table, by file or by rank; sorted and filtered here, because rows are few enough to be ordered at once (files, not tensors).
class WriterRows : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Rank, Name, Holds, Size, Chunks, Tensors, Weights, Optimizer, Other, Rest, ColumnCount };

    using QAbstractTableModel::QAbstractTableModel;
    // nullptr: nothing.
    void show(WriterUsesPtr uses, bool byRank);
    // Words that the name, "rank 3" or what it holds has; each must be there.
    void setFilter(const QString& text);
    // Only this rank's rows.
    void keepRank(std::optional<std::uint32_t> rank);
    [[nodiscard]] bool isByRank() const { return m_byRank; }
    [[nodiscard]] const WriterUse& useAt(int row) const;
    // Its place in WriterUses::byFile or byRank.
    [[nodiscard]] std::size_t useNumber(int row) const { return m_rows[static_cast<std::size_t>(row)]; }
    // −1: hidden, or no such file or rank. `use` is a place in WriterUses::byFile or byRank.
    [[nodiscard]] int rowOfUse(std::size_t use) const;
    [[nodiscard]] std::size_t all() const;
    // Sum of the rows that show, as one line.
    [[nodiscard]] QString sumText() const;

    void sort(int column, Qt::SortOrder order) override;
    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    [[nodiscard]] const std::vector<WriterUse>& uses() const { return m_byRank ? m_uses->byRank : m_uses->byFile; }
    void arrange();
    [[nodiscard]] bool shows(const WriterUse& use) const;

    WriterUsesPtr m_uses;
    bool m_byRank = false;
    QStringList m_words;
    std::optional<std::uint32_t> m_kept;
    int m_sortColumn = -1; // −1: as the checkpoint has them
    Qt::SortOrder m_order = Qt::AscendingOrder;
    std::vector<std::size_t> m_rows; // of uses()
};

} // namespace shardlens::ui
