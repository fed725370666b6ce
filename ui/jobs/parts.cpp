#include "ui/jobs/parts.h"

#include <QPainter>

#include <algorithm>

namespace shardlens::ui {
namespace {

Theme& theme()
{
    return Theme::current();
}

} // namespace

Ground::Ground(Token fill, Edge edge, QWidget* parent) : QWidget(parent), m_fill(fill), m_edge(edge)
{
    connect(&theme(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

void Ground::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    painter.fillRect(rect(), theme().colour(m_fill));
    const QColor line = theme().colour(Token::Border);
    switch (m_edge) {
    case Edge::None: break;
    case Edge::Top: painter.fillRect(0, 0, width(), 1, line); break;
    case Edge::Right: painter.fillRect(width() - 1, 0, 1, height(), line); break;
    case Edge::Bottom: painter.fillRect(0, height() - 1, width(), 1, line); break;
    }
}

void paintShare(QPainter& painter, const QRectF& where, double share, double radius)
{
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(Qt::NoPen);
    painter.setBrush(theme().colour(Token::Track));
    painter.drawRoundedRect(where, radius, radius);
    if (share <= 0)
        return;
    QRectF part = where;
    part.setWidth(std::clamp(where.width() * share, std::min(2 * radius, where.width()), where.width()));
    painter.setBrush(theme().colour(Token::Accent));
    painter.drawRoundedRect(part, radius, radius);
    if (share < 1 && radius < where.height() / 2) // a straight edge where it grows
        painter.drawRect(QRectF(part.right() - radius, part.top(), radius, part.height()));
}

ShareBar::ShareBar(int designHeight, QWidget* parent) : QWidget(parent), m_height(designHeight)
{
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    connect(&theme(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

void ShareBar::setShare(double share, const QString& text)
{
    if (share == m_share && text == m_text)
        return;
    m_share = share;
    m_text = text;
    setAccessibleName(text);
    update();
}

QSize ShareBar::sizeHint() const
{
    return {theme().px(120), theme().px(m_height)};
}

void ShareBar::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    const QRectF where = rect();
    paintShare(painter, where, m_share, std::min(where.height() / 2, static_cast<double>(theme().px(4))));
    QFont font = theme().font(TextStyle::Caption);
    font.setWeight(QFont::DemiBold);
    const QFontMetricsF metrics(font);
    const double room = where.width() * m_share - theme().px(16);
    const double needs = metrics.horizontalAdvance(m_text);
    if (m_text.isEmpty() || metrics.height() > where.height())
        return;
    painter.setFont(font);
    const bool inside = needs <= room;
    painter.setPen(theme().colour(inside ? Token::AccentText : Token::Text));
    const double filled = where.width() * m_share;
    if (inside)
        painter.drawText(QRectF(0, 0, filled - theme().px(8), where.height()), Qt::AlignRight | Qt::AlignVCenter, m_text);
    else
        painter.drawText(QRectF(filled + theme().px(8), 0, needs + 2, where.height()), Qt::AlignLeft | Qt::AlignVCenter, m_text);
}

ToneIcon::ToneIcon(QString name, Token tone, int designSize, QWidget* parent)
    : QWidget(parent), m_name(std::move(name)), m_tone(tone), m_size(designSize)
{
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
    connect(&theme(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

void ToneIcon::setIcon(const QString& name, Token tone)
{
    m_name = name;
    m_tone = tone;
    update();
}

QSize ToneIcon::sizeHint() const
{
    return {theme().px(m_size), theme().px(m_size)};
}

void ToneIcon::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    theme().icon(m_name, m_tone).paint(&painter, rect());
}

} // namespace shardlens::ui
