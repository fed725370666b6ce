#include "ui/frame/places_delegate.h"

#include "ui/theme/theme.h"

#include <QApplication>
#include <QPainter>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kGroup = 28;
constexpr int kLine = 24;
constexpr int kTwoLines = 40;
constexpr int kIcon = 16;

} // namespace

QSize PlacesDelegate::sizeHint(const QStyleOptionViewItem&, const QModelIndex& index) const
{
    const Theme& theme = Theme::current();
    const bool isGroup = index.data(PathRole).toString().isEmpty();
    const bool hasNote = !index.data(NoteRole).toString().isEmpty();
    return {theme.px(80), theme.px(isGroup ? kGroup : hasNote ? kTwoLines : kLine)};
}

void PlacesDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const
{
    const Theme& theme = Theme::current();
    QStyleOptionViewItem row(option);
    initStyleOption(&row, index);
    if (index.data(PathRole).toString().isEmpty()) {
        painter->setFont(theme.font(TextStyle::Caption));
        painter->setPen(theme.colour(Token::Text3));
        painter->drawText(row.rect.adjusted(theme.px(2), theme.px(6), 0, 0), Qt::AlignVCenter, row.text);
        return;
    }
    QApplication::style()->drawPrimitive(QStyle::PE_PanelItemViewItem, &row, painter, row.widget);
    const QString note = index.data(NoteRole).toString();
    const int icon = theme.px(kIcon);
    const QRect inside = row.rect.adjusted(theme.px(4), 0, -theme.px(4), 0);
    const int lineHeight = note.isEmpty() ? inside.height() : inside.height() / 2;
    row.icon.paint(painter, QRect(inside.left(), inside.top() + (note.isEmpty() ? (inside.height() - icon) / 2 : theme.px(4)), icon, icon));
    const QRect text = inside.adjusted(icon + theme.px(8), 0, 0, 0);
    painter->setFont(theme.font(TextStyle::Body));
    painter->setPen(theme.colour(Token::Text));
    const QRect first(text.left(), text.top() + (note.isEmpty() ? 0 : theme.px(2)), text.width(), lineHeight);
    painter->drawText(first, Qt::AlignVCenter, painter->fontMetrics().elidedText(row.text, Qt::ElideMiddle, text.width()));
    if (note.isEmpty())
        return;
    painter->setFont(theme.font(TextStyle::Caption));
    painter->setPen(theme.colour(Token::Text3));
    painter->drawText(QRect(text.left(), first.bottom() - theme.px(1), text.width(), lineHeight - theme.px(2)), Qt::AlignVCenter,
                      painter->fontMetrics().elidedText(note, Qt::ElideMiddle, text.width()));
}

} // namespace shardlens::ui
