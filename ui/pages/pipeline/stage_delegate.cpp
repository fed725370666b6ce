#include "ui/pages/pipeline/stage_delegate.h"

#include "ui/models/stage_rows.h"
#include "ui/theme/theme.h"

#include <QPainter>

#include <algorithm>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kPad = 8;
constexpr int kSwatch = 12;
constexpr int kBar = 12;

} // namespace

void StageDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const
{
    const Theme& theme = Theme::current();
    QStyleOptionViewItem styled = option;
    initStyleOption(&styled, index);
    const bool isSelected = styled.state.testFlag(QStyle::State_Selected);
    painter->save();
    painter->fillRect(styled.rect, theme.colour(isSelected ? Token::AccentWeak : Token::Surface));
    painter->setPen(theme.colour(Token::Border));
    painter->drawLine(styled.rect.topLeft(), styled.rect.topRight());
    painter->setFont(theme.font(TextStyle::Body));
    painter->setPen(theme.colour(Token::Text));
    if (index.column() == StageRows::Stage) {
        paintStage(painter, styled, index.row());
    } else if (index.column() == StageRows::Share) {
        paintShare(painter, styled, index);
    } else {
        const QRect room = styled.rect.adjusted(theme.px(kPad), 0, -theme.px(kPad), 0);
        painter->drawText(room, static_cast<int>(styled.displayAlignment | Qt::TextSingleLine),
                          painter->fontMetrics().elidedText(styled.text, Qt::ElideRight, room.width()));
    }
    painter->restore();
}

void StageDelegate::paintStage(QPainter* painter, const QStyleOptionViewItem& option, int row) const
{
    const Theme& theme = Theme::current();
    const int swatch = theme.px(kSwatch);
    const QRect box(option.rect.left() + theme.px(kPad), option.rect.top() + (option.rect.height() - swatch) / 2, swatch, swatch);
    painter->fillRect(box, theme.categorical(row % 12));
    painter->drawText(option.rect.adjusted(theme.px(kPad) * 2 + swatch, 0, 0, 0), Qt::AlignLeft | Qt::AlignVCenter, option.text);
}

void StageDelegate::paintShare(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const
{
    const Theme& theme = Theme::current();
    const int textRoom = painter->fontMetrics().horizontalAdvance(QStringLiteral("99.9999 %")) + theme.px(kPad);
    const QRect room = option.rect.adjusted(theme.px(kPad), 0, -theme.px(kPad) - textRoom, 0);
    const QRectF track(room.left(), room.top() + (room.height() - theme.px(kBar)) / 2.0, std::max(1, room.width()), theme.px(kBar));
    const double share = index.data(StageRows::ShareRole).toDouble();
    painter->fillRect(track, theme.colour(Token::Track));
    if (share > 0)
        painter->fillRect(QRectF(track.left(), track.top(), std::max(2.0, track.width() * share), track.height()),
                          theme.categorical(index.row() % 12));
    const double mean = track.left() + track.width() * index.data(StageRows::MeanRole).toDouble();
    painter->fillRect(QRectF(mean - 1.5, option.rect.top() + 1, 3, option.rect.height() - 1),
                      theme.colour(Token::Halo)); // one line through all rows
    painter->fillRect(QRectF(mean - 0.5, option.rect.top(), 1, option.rect.height()), theme.colour(Token::Selection));
    painter->drawText(QRect(room.right() + theme.px(kPad), option.rect.top(), textRoom, option.rect.height()),
                      Qt::AlignLeft | Qt::AlignVCenter, option.text);
}

} // namespace shardlens::ui
