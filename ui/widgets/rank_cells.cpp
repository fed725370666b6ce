#include "ui/widgets/rank_cells.h"

#include "ui/theme/theme.h"

#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>

#include <cmath>

namespace shardlens::ui {

RankCells::RankCells(QWidget* parent) : QWidget(parent)
{
    setFocusPolicy(Qt::StrongFocus);
    setMouseTracking(true);
}

void RankCells::cellsChanged()
{
    m_hovered.reset();
    m_focused = m_focused < cells() ? m_focused : 0;
    describe();
}

void RankCells::setKept(std::optional<std::uint32_t> rank)
{
    m_kept = rank;
    if (rank && *rank < cells())
        m_focused = *rank;
    describe();
    update();
}

void RankCells::setFocused(std::uint32_t rank)
{
    if (rank >= cells())
        return;
    m_focused = rank;
    describe();
    update();
    emit pointed(rank);
}

void RankCells::paintRings(QPainter& painter, double radius) const
{
    const Theme& theme = Theme::current();
    painter.setBrush(Qt::NoBrush);
    const auto ring = [&](std::uint32_t rank, Token colour, double out, double width) {
        painter.setPen(QPen(theme.colour(colour), width));
        painter.drawRoundedRect(cellOf(rank).adjusted(-out, -out, out, out), radius, radius);
    };
    if (m_kept && *m_kept < cells()) {
        ring(*m_kept, Token::Halo, 1, 5);
        ring(*m_kept, Token::Selection, 1, 2);
    }
    if (hasFocus() && m_focused < cells())
        ring(m_focused, Token::Accent, 2.5, 2);
}

void RankCells::mouseMoveEvent(QMouseEvent* event)
{
    const auto rank = rankAt(event->position());
    if (rank == m_hovered)
        return;
    m_hovered = rank;
    update();
    if (rank)
        emit pointed(*rank);
    else
        emit pointedNowhere();
}

void RankCells::leaveEvent(QEvent*)
{
    m_hovered.reset();
    update();
    emit pointedNowhere();
}

void RankCells::mousePressEvent(QMouseEvent* event)
{
    const auto rank = rankAt(event->position());
    if (!rank || event->button() != Qt::LeftButton)
        return;
    setFocused(*rank);
    emit chosen(*rank);
}

// The nearest cell in the direction of an arrow: one straight ahead before one aside.
std::optional<std::uint32_t> RankCells::neighbour(int key) const
{
    const QRectF cell = cellOf(m_focused);
    const bool isAcross = key == Qt::Key_Left || key == Qt::Key_Right;
    const bool isBack = key == Qt::Key_Left || key == Qt::Key_Up;
    std::optional<std::uint32_t> best;
    double least = 0;
    for (std::uint32_t rank = 0; rank < cells(); ++rank) {
        const QPointF way = cellOf(rank).center() - cell.center();
        const double ahead = (isAcross ? way.x() : way.y()) * (isBack ? -1 : 1);
        const double aside = std::abs(isAcross ? way.y() : way.x());
        if (ahead < 1 || (isAcross && aside > cell.height() / 2))
            continue;
        const double cost = ahead + 2 * aside;
        if (!best || cost < least) {
            best = rank;
            least = cost;
        }
    }
    return best;
}

void RankCells::keyPressEvent(QKeyEvent* event)
{
    if (cells() == 0)
        return QWidget::keyPressEvent(event);
    switch (event->key()) {
    case Qt::Key_Left:
    case Qt::Key_Right:
    case Qt::Key_Up:
    case Qt::Key_Down:
        if (const auto next = neighbour(event->key()))
            setFocused(*next);
        return;
    case Qt::Key_Home: setFocused(0); return;
    case Qt::Key_End: setFocused(cells() - 1); return;
    case Qt::Key_Return:
    case Qt::Key_Enter:
    case Qt::Key_Space: emit chosen(m_focused); return;
    default: QWidget::keyPressEvent(event);
    }
}

void RankCells::focusInEvent(QFocusEvent* event)
{
    update();
    if (cells() > 0 && event->reason() != Qt::MouseFocusReason)
        emit pointed(m_focused);
    QWidget::focusInEvent(event);
}

void RankCells::focusOutEvent(QFocusEvent* event)
{
    update();
    QWidget::focusOutEvent(event);
}

} // namespace shardlens::ui
