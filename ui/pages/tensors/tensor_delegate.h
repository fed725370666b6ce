#pragma once

#include <QStyledItemDelegate>

namespace shardlens::ui {

// Paints a row of the tensor table: indentation guides and disclosure in the first column, the strip of ranks in the last.
class TensorDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    using QStyledItemDelegate::QStyledItemDelegate;

    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
    // The part of a name cell that opens and closes a group.
    [[nodiscard]] static QRect disclosure(const QRect& cell, int depth);

private:
    void paintName(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const;
    void paintStrip(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const;
};

} // namespace shardlens::ui
