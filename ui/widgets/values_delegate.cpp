#include "ui/widgets/values_delegate.h"

#include "ui/models/values_model.h"
#include "ui/theme/theme.h"
#include "ui/widgets/atlas_painter.h"

#include <QPainter>

#include <algorithm>

namespace shardlens::ui {
namespace {

bool isOdd(ValuesModel::Kind kind)
{
    return kind == ValuesModel::Kind::NotANumber || kind == ValuesModel::Kind::PositiveInfinity || kind == ValuesModel::Kind::NegativeInfinity;
}

} // namespace

void ValuesDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const
{
    const Theme& theme = Theme::current();
    const auto kind = static_cast<ValuesModel::Kind>(index.data(ValuesModel::KindRole).toInt());
    const auto* model = qobject_cast<const ValuesModel*>(index.model());
    const QRectF cell(option.rect);
    QColor ground = theme.colour(Token::Surface);
    if (kind == ValuesModel::Kind::Unread)
        ground = theme.colour(Token::Track);
    if (kind == ValuesModel::Kind::Outside)
        ground = theme.colour(Token::Sunken);
    if (kind == ValuesModel::Kind::Finite && model != nullptr && model->fullColour() > 0)
        ground = theme.diverging(std::clamp(index.data(ValuesModel::ValueRole).toDouble() / model->fullColour(), -1.0, 1.0));
    if (isOdd(kind))
        ground = theme.colour(Token::ErrorWeak);
    painter->fillRect(cell, ground);
    if (isOdd(kind)) {
        paintHatch(*painter, cell, theme.colour(Token::Hole), m_map ? 3 : theme.px(6));
        painter->setPen(QPen(theme.colour(Token::Hole), 1));
        painter->setBrush(Qt::NoBrush);
        painter->drawRect(cell.adjusted(0.5, 0.5, -1.5, -1.5));
    }
    if (!m_map && kind != ValuesModel::Kind::Outside) {
        const QRectF room = cell.adjusted(theme.px(4), 0, -theme.px(6), 0);
        const QString text = isOdd(kind) ? QStringLiteral("! ") + index.data().toString() : index.data().toString();
        painter->setFont(option.font);
        const double width = painter->fontMetrics().horizontalAdvance(text);
        if (isOdd(kind)) // the words stand on a plain ground, not on the hatch
            painter->fillRect(QRectF(room.right() - width - 2, cell.top() + 2, width + 4, cell.height() - 4), ground);
        painter->setPen(isOdd(kind) ? theme.colour(Token::Error) : Theme::inkOn(ground));
        painter->drawText(room, Qt::AlignRight | Qt::AlignVCenter | Qt::TextSingleLine, text);
    }
    if (option.state & QStyle::State_Selected) {
        painter->setPen(QPen(theme.colour(Token::Selection), 1));
        painter->setBrush(Qt::NoBrush);
        painter->drawRect(cell.adjusted(0.5, 0.5, -1.5, -1.5));
    }
}

} // namespace shardlens::ui
