#include "ui/widgets/text_label.h"

#include <QPainter>

namespace shardlens::ui {

TextLabel::TextLabel(const QString& text, TextStyle style, Token ink, QWidget* parent) : QLabel(text, parent), m_style(style), m_ink(ink)
{
    setTextFormat(Qt::PlainText);
    follow();
    connect(&Theme::current(), &Theme::changed, this, &TextLabel::follow);
}

void TextLabel::setElide(Qt::TextElideMode mode)
{
    m_elide = mode;
    update();
}

void TextLabel::setInk(Token ink)
{
    m_ink = ink;
    follow();
}

QSize TextLabel::minimumSizeHint() const
{
    QSize out = QLabel::minimumSizeHint();
    if (m_elide != Qt::ElideNone)
        out.setWidth(Theme::current().px(40));
    return out;
}

void TextLabel::follow()
{
    setFont(Theme::current().font(m_style));
    QPalette palette = this->palette();
    palette.setColor(QPalette::WindowText, Theme::current().colour(m_ink));
    setPalette(palette);
}

void TextLabel::paintEvent(QPaintEvent* event)
{
    if (m_elide == Qt::ElideNone) {
        QLabel::paintEvent(event);
        return;
    }
    QPainter painter(this);
    painter.setFont(font());
    painter.setPen(palette().color(QPalette::WindowText));
    const QString shown = fontMetrics().elidedText(text(), m_elide, width());
    setToolTip(shown == text() ? QString() : text());
    painter.drawText(contentsRect(), static_cast<int>(alignment() | Qt::TextSingleLine), shown);
}

} // namespace shardlens::ui
