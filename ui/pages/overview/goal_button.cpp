#include "ui/pages/overview/goal_button.h"

#include "ui/theme/theme.h"

#include <QPainter>

namespace shardlens::ui {

GoalButton::GoalButton(const QString& icon, const QString& title, QWidget* parent) : QAbstractButton(parent), m_icon(icon)
{
    setText(title);
    setAccessibleName(title);
    setFocusPolicy(Qt::StrongFocus);
    setAttribute(Qt::WA_Hover);
    setCursor(Qt::PointingHandCursor);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

void GoalButton::setNote(const QString& note)
{
    m_note = note;
    setAccessibleDescription(note);
    update();
}

QSize GoalButton::sizeHint() const
{
    return {Theme::current().px(260), Theme::current().px(44)};
}

QSize GoalButton::minimumSizeHint() const
{
    return {Theme::current().px(180), Theme::current().px(44)};
}

void GoalButton::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const bool lit = underMouse() || hasFocus();
    painter.setPen(QPen(theme.colour(lit ? Token::Accent : Token::Border), hasFocus() ? 2 : 1));
    painter.setBrush(theme.colour(isDown() ? Token::AccentWeak : Token::Raised));
    painter.drawRoundedRect(QRectF(rect()).adjusted(1, 1, -1, -1), theme.px(4), theme.px(4));
    const int icon = theme.px(18);
    theme.icon(m_icon, Token::Accent).paint(&painter, QRect(theme.px(12), (height() - icon) / 2, icon, icon));
    const int chevron = theme.px(16);
    theme.icon(QStringLiteral("right"), Token::Text3).paint(&painter, QRect(width() - theme.px(10) - chevron, (height() - chevron) / 2, chevron, chevron));
    const int left = theme.px(42);
    const int room = width() - left - theme.px(32);
    painter.setFont(theme.font(TextStyle::Body));
    painter.setPen(theme.colour(Token::Text));
    const int middle = height() / 2;
    painter.drawText(QRect(left, 0, room, middle + theme.px(1)), Qt::AlignBottom, painter.fontMetrics().elidedText(text(), Qt::ElideRight, room));
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text3));
    painter.drawText(QRect(left, middle + theme.px(1), room, middle - theme.px(3)), Qt::AlignTop, painter.fontMetrics().elidedText(m_note, Qt::ElideRight, room));
}

} // namespace shardlens::ui
