#include "ui/frame/tab_strip.h"

#include "ui/theme/theme.h"

#include <QMouseEvent>
#include <QPainter>

namespace shardlens::ui {

TabStrip::TabStrip(QWidget* parent) : QTabBar(parent)
{
    setDrawBase(false);
    setExpanding(false);
    setUsesScrollButtons(true);
    setMovable(true);
    setElideMode(Qt::ElideRight);
    setMouseTracking(true);
    setFocusPolicy(Qt::TabFocus);
    setAccessibleName(tr("Open checkpoints"));
}

int TabStrip::addCheckpoint(const QString& name, const QString& tag)
{
    const int index = addTab(name);
    setTexts(index, name, tag);
    return index;
}

void TabStrip::setTexts(int index, const QString& name, const QString& tag)
{
    setTabText(index, name);
    setTabData(index, tag);
    setTabToolTip(index, tag.isEmpty() ? name : QStringLiteral("%1, %2").arg(name, tag));
    update();
}

QSize TabStrip::tabSizeHint(int) const
{
    return {Theme::current().px(240), Theme::current().px(44)};
}

QSize TabStrip::minimumTabSizeHint(int) const
{
    return {Theme::current().px(120), Theme::current().px(44)};
}

QRect TabStrip::closeRect(int index) const
{
    const QRect tab = tabRect(index);
    const int size = Theme::current().px(24);
    return {tab.right() - size - Theme::current().px(6), tab.center().y() - size / 2, size, size};
}

void TabStrip::paintTab(QPainter& painter, int index) const
{
    const Theme& theme = Theme::current();
    const QRect tab = tabRect(index);
    const bool isCurrent = index == currentIndex();
    if (isCurrent) {
        painter.fillRect(tab, theme.colour(Token::Surface));
        painter.fillRect(QRect(tab.left(), tab.top(), tab.width(), 2), theme.colour(Token::Accent));
        painter.setPen(theme.colour(Token::Border));
        painter.drawLine(tab.topLeft(), tab.bottomLeft());
        painter.drawLine(tab.topRight(), tab.bottomRight());
    }
    const int icon = theme.px(16);
    const QRect iconRect(tab.left() + theme.px(12), tab.center().y() - icon / 2, icon, icon);
    theme.icon(QStringLiteral("folder"), Token::Text2).paint(&painter, iconRect);
    const QRect close = closeRect(index);
    QRect room(iconRect.right() + theme.px(8), tab.top(), close.left() - iconRect.right() - theme.px(12), tab.height());
    painter.setFont(theme.font(isCurrent ? TextStyle::Strong : TextStyle::Body));
    painter.setPen(theme.colour(isCurrent ? Token::Text : Token::Text2));
    const QString name = painter.fontMetrics().elidedText(tabText(index), Qt::ElideMiddle, room.width());
    painter.drawText(room, Qt::AlignLeft | Qt::AlignVCenter, name);
    room.setLeft(room.left() + painter.fontMetrics().horizontalAdvance(name) + theme.px(8));
    painter.setFont(theme.font(TextStyle::Body));
    painter.setPen(theme.colour(Token::Text3));
    if (room.width() > theme.px(24))
        painter.drawText(room, Qt::AlignLeft | Qt::AlignVCenter, painter.fontMetrics().elidedText(tabData(index).toString(), Qt::ElideMiddle, room.width()));
    if (close.contains(m_pointer))
        painter.fillRect(close, theme.colour(Token::Sunken));
    const int cross = theme.px(14);
    theme.icon(QStringLiteral("close"), isCurrent ? Token::Text : Token::Text3).paint(&painter, QRect(close.center() - QPoint(cross / 2 - 1, cross / 2 - 1), QSize(cross, cross)));
}

void TabStrip::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    for (int i = 0; i < count(); ++i)
        paintTab(painter, i);
    if (hasFocus() && currentIndex() >= 0) {
        painter.setPen(QPen(Theme::current().colour(Token::Accent), 2));
        painter.drawRect(tabRect(currentIndex()).adjusted(2, 4, -2, -3));
    }
}

void TabStrip::mouseReleaseEvent(QMouseEvent* event)
{
    const int index = tabAt(event->pos());
    const bool closes = event->button() == Qt::MiddleButton || (event->button() == Qt::LeftButton && index >= 0 && closeRect(index).contains(event->pos()));
    QTabBar::mouseReleaseEvent(event);
    if (index >= 0 && closes)
        emit tabCloseRequested(index);
}

void TabStrip::mouseMoveEvent(QMouseEvent* event)
{
    m_pointer = event->pos();
    update();
    QTabBar::mouseMoveEvent(event);
}

void TabStrip::leaveEvent(QEvent* event)
{
    m_pointer = {-1, -1};
    update();
    QTabBar::leaveEvent(event);
}

} // namespace shardlens::ui
