#pragma once

#include <QStyledItemDelegate>

namespace shardlens::ui {

// A cell of ValuesModel in the diverging colour of its value. What is not finite is hatched, framed and named: never by colour alone.
class ValuesDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    using QStyledItemDelegate::QStyledItemDelegate;
    void setMap(bool map) { m_map = map; }

    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;

private:
    bool m_map = false;
};

} // namespace shardlens::ui
