#pragma once

#include <QStyledItemDelegate>

namespace shardlens::ui {

// Paints rows of StageRows: the stage with a swatch of its colour, its share of the heaviest as a bar with the mean as a line.
class StageDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    using QStyledItemDelegate::QStyledItemDelegate;

    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;

private:
    void paintStage(QPainter* painter, const QStyleOptionViewItem& option, int row) const;
    void paintShare(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const;
};

} // namespace shardlens::ui
