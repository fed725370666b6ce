#include "ui/widgets/link.h"

#include "ui/theme/theme.h"

#include <QPainter>

namespace shardlens::ui {

Link::Link(const QString& text, QWidget* parent) : QAbstractButton(parent)
{
    setText(text);
    setCursor(Qt::PointingHandCursor);
    setFocusPolicy(Qt::StrongFocus);
    setAttribute(Qt::WA_Hover);
    setAccessibleName(text);
}

QSize Link::sizeHint() const
{
    const QFontMetrics metrics(Theme::current().font(TextStyle::Body));
    return {metrics.horizontalAdvance(text()) + 2, std::max(metrics.height() + 2, Theme::current().px(20))};
}

void Link::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    QFont font = theme.font(TextStyle::Body);
    font.setUnderline(underMouse() && isEnabled());
    painter.setFont(font);
    painter.setPen(theme.colour(isEnabled() ? Token::Accent : Token::Text3));
    painter.drawText(rect(), Qt::AlignLeft | Qt::AlignVCenter, text());
    if (hasFocus()) {
        painter.setPen(QPen(theme.colour(Token::Accent), 1, Qt::DotLine));
        painter.drawRect(rect().adjusted(0, 0, -1, -1));
    }
}

} // namespace shardlens::ui
