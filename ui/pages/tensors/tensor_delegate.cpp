#include "ui/pages/tensors/tensor_delegate.h"

#include "ui/pages/tensors/tensor_rows.h"
#include "ui/theme/theme.h"
#include "ui/widgets/rank_strip.h"

#include <QApplication>
#include <QPainter>
#include <QPainterPath>

namespace shardlens::ui {
namespace {

int indentOf(int depth)
{
    return Theme::current().px(8 + 16 * depth);
}

void paintGround(QPainter* painter, const QStyleOptionViewItem& option, bool isFirst)
{
    const Theme& theme = Theme::current();
    const bool selected = option.state & QStyle::State_Selected;
    painter->fillRect(option.rect, theme.colour(selected ? Token::AccentWeak : (option.features & QStyleOptionViewItem::Alternate) ? Token::Raised : Token::Surface));
    if (selected && isFirst)
        painter->fillRect(QRect(option.rect.left(), option.rect.top(), theme.px(3), option.rect.height()), theme.colour(Token::Accent));
}

} // namespace

QRect TensorDelegate::disclosure(const QRect& cell, int depth)
{
    const Theme& theme = Theme::current();
    return {cell.left() + indentOf(depth), cell.top(), theme.px(18), cell.height()};
}

void TensorDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const
{
    const Theme& theme = Theme::current();
    QStyleOptionViewItem styled = option;
    initStyleOption(&styled, index);
    painter->save();
    paintGround(painter, styled, index.column() == TensorRows::Name);
    if (index.column() == TensorRows::Name) {
        paintName(painter, styled, index);
    } else if (index.column() == TensorRows::Strip) {
        paintStrip(painter, styled, index);
    } else {
        const bool mono = index.column() == TensorRows::ShapeColumn;
        painter->setFont(theme.font(mono ? TextStyle::Mono : TextStyle::Body));
        painter->setPen(theme.colour(index.data(TensorRows::IsGroupRole).toBool() ? Token::Text2 : Token::Text));
        const QRect room = styled.rect.adjusted(theme.px(6), 0, -theme.px(10), 0);
        painter->drawText(room, static_cast<int>(styled.displayAlignment | Qt::TextSingleLine), painter->fontMetrics().elidedText(styled.text, Qt::ElideRight, room.width()));
    }
    painter->restore();
}

void TensorDelegate::paintName(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const
{
    const Theme& theme = Theme::current();
    const int depth = index.data(TensorRows::DepthRole).toInt();
    const bool isGroup = index.data(TensorRows::IsGroupRole).toBool();
    painter->setPen(theme.colour(Token::Border));
    for (int level = 0; level < depth; ++level) {
        const int x = option.rect.left() + indentOf(level) + theme.px(8);
        painter->drawLine(x, option.rect.top(), x, option.rect.bottom());
    }
    const QRect arrow = disclosure(option.rect, depth);
    if (isGroup)
        theme.icon(index.data(TensorRows::IsExpandedRole).toBool() ? QStringLiteral("down") : QStringLiteral("right"))
            .paint(painter, QRect(arrow.left(), arrow.center().y() - theme.px(8) + 1, theme.px(16), theme.px(16)));
    QRect room = option.rect;
    room.setLeft(arrow.right() + theme.px(2));
    painter->setFont(theme.font(isGroup ? TextStyle::Strong : TextStyle::Body));
    painter->setPen(theme.colour(Token::Text));
    const QString shown = painter->fontMetrics().elidedText(option.text, Qt::ElideMiddle, room.width() - theme.px(6));
    painter->drawText(room, Qt::AlignLeft | Qt::AlignVCenter | Qt::TextSingleLine, shown);
    if (!isGroup)
        return;
    room.setLeft(room.left() + painter->fontMetrics().horizontalAdvance(shown) + theme.px(8));
    const auto* model = qobject_cast<const TensorRows*>(index.model());
    painter->setFont(theme.font(TextStyle::Caption));
    painter->setPen(theme.colour(Token::Text3));
    if (model != nullptr && room.width() > theme.px(30))
        painter->drawText(room, Qt::AlignLeft | Qt::AlignVCenter, QString::number(model->node(index.row()).names));
}

void TensorDelegate::paintStrip(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const
{
    const auto* model = qobject_cast<const TensorRows*>(index.model());
    if (model == nullptr)
        return;
    const Theme& theme = Theme::current();
    const int height = theme.px(11);
    const QRect room(option.rect.left() + theme.px(6), option.rect.center().y() - height / 2, option.rect.width() - theme.px(24), height);
    paintRankStrip(*painter, room, model->node(index.row()).ranks);
}

} // namespace shardlens::ui
