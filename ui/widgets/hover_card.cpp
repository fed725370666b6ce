#include "ui/widgets/hover_card.h"

#include "ui/theme/theme.h"

#include <QFontMetrics>
#include <QPainter>

#include <algorithm>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kOffset = 18;
constexpr int kPadding = 14;
constexpr int kShadow = 6;
constexpr int kLabelWidth = 56;
constexpr int kRow = 22;
constexpr int kTitleRow = 26;
constexpr int kWidest = 520;
constexpr int kNarrowest = 240;

} // namespace

HoverCard::HoverCard(QWidget* parent) : QWidget(parent)
{
    setAttribute(Qt::WA_TransparentForMouseEvents);
    setAttribute(Qt::WA_NoSystemBackground);
    setFocusPolicy(Qt::NoFocus);
    hide();
}

QSize HoverCard::wantedSize() const
{
    const Theme& theme = Theme::current();
    const QFontMetrics strong(theme.font(TextStyle::Strong));
    const QFontMetrics caption(theme.font(TextStyle::Caption));
    int width = strong.horizontalAdvance(m_content.title) + theme.px(18 + 16) + caption.horizontalAdvance(m_content.aside);
    int labels = theme.px(kLabelWidth);
    for (const auto& [label, value] : m_content.rows)
        labels = std::max(labels, caption.horizontalAdvance(label) + theme.px(10));
    for (const auto& [label, value] : m_content.rows)
        width = std::max(width, labels + caption.horizontalAdvance(value));
    width = std::clamp(width + 4, theme.px(kNarrowest), theme.px(kWidest)); // 4: rounding of text widths
    const int rows = static_cast<int>(m_content.rows.size());
    return {width + theme.px(2 * kPadding + kShadow), theme.px(kTitleRow + kRow * rows + 2 * kPadding - 8 + kShadow)};
}

void HoverCard::showAt(const HoverCardContent& content, QPoint cursor, const QRect& allowed)
{
    m_content = content;
    const int off = Theme::current().px(kOffset);
    const QSize size = wantedSize();
    int x = cursor.x() + off;
    if (x + size.width() > allowed.right())
        x = std::max(allowed.left(), cursor.x() - off - size.width());
    int y = cursor.y() + off;
    if (y + size.height() > allowed.bottom())
        y = std::max(allowed.top(), cursor.y() - off - size.height());
    setGeometry(QRect(QPoint(x, y), size));
    show();
    raise();
    update();
}

void HoverCard::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const int shadow = theme.px(kShadow);
    const QRectF card = QRectF(rect()).adjusted(0.5, 0.5, -shadow - 0.5, -shadow - 0.5);
    painter.setPen(Qt::NoPen);
    for (int i = 1; i <= 3; ++i) { // three steps stand for a blur
        QColor dark = theme.colour(Token::Shadow);
        dark.setAlphaF(theme.isDark() ? 0.22F : 0.06F);
        painter.setBrush(dark);
        painter.drawRoundedRect(card.adjusted(i, i, shadow * i / 3.0, shadow * i / 3.0), theme.px(6), theme.px(6));
    }
    painter.setBrush(theme.colour(Token::Surface));
    painter.setPen(theme.colour(Token::BorderStrong));
    painter.drawRoundedRect(card, theme.px(6), theme.px(6));
    const int padding = theme.px(kPadding);
    QRectF line(card.left() + padding, card.top() + theme.px(9), card.width() - 2 * padding, theme.px(20));
    const QFontMetrics caption(theme.font(TextStyle::Caption));
    const int aside = caption.horizontalAdvance(m_content.aside);
    QRectF title = line.adjusted(0, 0, -aside - theme.px(12), 0);
    if (m_content.colour.isValid()) {
        painter.fillRect(QRectF(line.left(), line.center().y() - theme.px(5), theme.px(10), theme.px(10)), m_content.colour);
        title.setLeft(title.left() + theme.px(18));
    }
    painter.setFont(theme.font(TextStyle::Strong));
    painter.setPen(theme.colour(Token::Text));
    painter.drawText(title, Qt::AlignVCenter | Qt::TextSingleLine, painter.fontMetrics().elidedText(m_content.title, Qt::ElideMiddle, static_cast<int>(title.width())));
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text2));
    painter.drawText(line, Qt::AlignVCenter | Qt::AlignRight | Qt::TextSingleLine, m_content.aside);
    int labels = theme.px(kLabelWidth);
    for (const auto& [label, value] : m_content.rows)
        labels = std::max(labels, caption.horizontalAdvance(label) + theme.px(10));
    line.translate(0, theme.px(kTitleRow - 1));
    for (const auto& [label, value] : m_content.rows) {
        painter.setPen(theme.colour(Token::Text3));
        painter.drawText(line, Qt::AlignVCenter | Qt::TextSingleLine, label);
        painter.setPen(theme.colour(Token::Text));
        const QRectF room = line.adjusted(labels, 0, 0, 0);
        painter.drawText(room, Qt::AlignVCenter | Qt::TextSingleLine, caption.elidedText(value, Qt::ElideMiddle, static_cast<int>(room.width())));
        line.translate(0, theme.px(kRow));
    }
}

} // namespace shardlens::ui
