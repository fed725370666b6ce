#include "ui/widgets/segments.h"

#include "ui/theme/theme.h"

#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>

namespace shardlens::ui {

Segments::Segments(QStringList labels, QWidget* parent) : QWidget(parent), m_labels(std::move(labels))
{
    setFocusPolicy(Qt::StrongFocus);
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
    setAccessibleName(m_labels.join(QStringLiteral(", ")));
}

int Segments::widthOf(int index) const
{
    return QFontMetrics(Theme::current().font(TextStyle::Body)).horizontalAdvance(m_labels[index]) + Theme::current().px(24);
}

QSize Segments::sizeHint() const
{
    int width = 1;
    for (int i = 0; i < static_cast<int>(m_labels.size()); ++i)
        width += widthOf(i);
    return {width, Theme::current().px(28)};
}

void Segments::setCurrent(int index)
{
    if (index < 0 || index >= static_cast<int>(m_labels.size()) || index == m_current)
        return;
    m_current = index;
    update();
    emit currentChanged(index);
}

void Segments::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    QPainterPath outline;
    outline.addRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), theme.px(4), theme.px(4));
    painter.fillPath(outline, theme.colour(Token::Surface));
    painter.setClipPath(outline);
    int x = 0;
    for (int i = 0; i < static_cast<int>(m_labels.size()); ++i) {
        const QRect part(x, 0, widthOf(i), height());
        if (i == m_current)
            painter.fillRect(part, theme.colour(Token::AccentWeak));
        painter.setPen(theme.colour(i == m_current ? Token::Accent : Token::Text));
        painter.setFont(theme.font(i == m_current ? TextStyle::Strong : TextStyle::Body));
        painter.drawText(part, Qt::AlignCenter, m_labels[i]);
        x += part.width();
        if (i + 1 < static_cast<int>(m_labels.size())) {
            painter.setPen(theme.colour(Token::Border));
            painter.drawLine(x, 0, x, height());
        }
    }
    painter.setClipping(false);
    painter.setPen(QPen(theme.colour(hasFocus() ? Token::Accent : Token::Border), hasFocus() ? 2 : 1));
    painter.drawPath(outline);
}

void Segments::mousePressEvent(QMouseEvent* event)
{
    int x = 0;
    for (int i = 0; i < static_cast<int>(m_labels.size()); ++i) {
        if (event->position().x() >= x && event->position().x() < x + widthOf(i))
            setCurrent(i);
        x += widthOf(i);
    }
}

void Segments::keyPressEvent(QKeyEvent* event)
{
    if (event->key() == Qt::Key_Left || event->key() == Qt::Key_Right)
        setCurrent(m_current + (event->key() == Qt::Key_Left ? -1 : 1));
    else
        QWidget::keyPressEvent(event);
}

} // namespace shardlens::ui
