#pragma once

#include "ui/models/rule_book.h"

#include <QAbstractTableModel>
#include <QWidget>

class QTableView;

namespace shardlens::ui {

class NameDelegate;
class TextLabel;

// The tensors that one rule divides, and what a rank holds of each.
class RuleMatches : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Name, Whole, Part, ColumnCount };

    using QAbstractTableModel::QAbstractTableModel;
    void show(RuleBookPtr book, const ShardRule* rule);
    [[nodiscard]] TensorId tensorAt(int row) const { return m_tensors[static_cast<std::size_t>(row)]; }

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

private:
    [[nodiscard]] QString partText(TensorId tensor) const;

    RuleBookPtr m_book;
    const ShardRule* m_rule = nullptr; // of the book
    std::vector<TensorId> m_tensors;
};

// Rule preview: the rule that divides a tensor, in words, and every tensor that it matches (design.md §5).
class RuleView : public QWidget {
    Q_OBJECT
public:
    explicit RuleView(QWidget* parent = nullptr);
    // nullptr: still being read.
    void show(RuleBookPtr book, std::optional<TensorId> tensor);
    [[nodiscard]] QTableView* table() const { return m_table; }
    // "Cut along …", "Rule … of …", "It matches 12 tensors."
    [[nodiscard]] QStringList texts() const;

signals:
    void tensorChosen(shardlens::TensorId tensor);

private:
    TextLabel* m_division;
    TextLabel* m_rule;
    TextLabel* m_matches;
    QTableView* m_table;
    RuleMatches* m_model;
    NameDelegate* m_names;
};

} // namespace shardlens::ui
