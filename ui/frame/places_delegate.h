#pragma once

#include <QStyledItemDelegate>

namespace shardlens::ui {

// Rows of the places: groups, folders of one line, and checkpoints of two, the second saying what they are or where they lie.
class PlacesDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    enum Role { PathRole = Qt::UserRole, ListedRole, NoteRole }; // NoteRole: the second line; empty or absent: one line

    using QStyledItemDelegate::QStyledItemDelegate;
    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
    [[nodiscard]] QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override;
};

} // namespace shardlens::ui
