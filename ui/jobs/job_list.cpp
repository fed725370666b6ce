#include "ui/jobs/job_list.h"

#include "ui/jobs/parts.h"

#include <QKeyEvent>
#include <QPainter>

#include <algorithm>

namespace shardlens::ui {
namespace {

bool isHeading(const QModelIndex& index)
{
    return index.data(JobListModel::KindRole).toInt() == static_cast<int>(JobListModel::Kind::Heading);
}

} // namespace

void JobListDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const
{
    const Theme& theme = Theme::current();
    painter->save();
    painter->setRenderHint(QPainter::Antialiasing);
    if (isHeading(index)) {
        QFont font = theme.font(TextStyle::Tiny);
        font.setWeight(QFont::DemiBold);
        font.setCapitalization(QFont::AllUppercase);
        painter->setFont(font);
        painter->setPen(theme.colour(Token::Text3));
        painter->drawText(option.rect.adjusted(theme.px(16), 0, 0, -theme.px(6)), Qt::AlignBottom | Qt::AlignLeft, index.data().toString());
    } else {
        const QRect where = option.rect.adjusted(theme.px(8), theme.px(2), -theme.px(8), -theme.px(2));
        if ((option.state & QStyle::State_Selected) != 0) {
            painter->setPen(Qt::NoPen);
            painter->setBrush(theme.colour(Token::AccentWeak));
            painter->drawRoundedRect(where, theme.px(4), theme.px(4));
            painter->fillRect(QRect(where.left(), where.top(), theme.px(3), where.height()), theme.colour(Token::Accent));
        }
        if ((option.state & QStyle::State_HasFocus) != 0) {
            painter->setPen(QPen(theme.colour(Token::Accent), 2));
            painter->setBrush(Qt::NoBrush);
            painter->drawRoundedRect(QRectF(where).adjusted(1, 1, -1, -1), theme.px(4), theme.px(4));
        }
        paintJob(*painter, where, index);
    }
    painter->restore();
}

void JobListDelegate::paintJob(QPainter& painter, const QRect& where, const QModelIndex& index)
{
    const Theme& theme = Theme::current();
    const QIcon icon = theme.icon(index.data(JobListModel::IconRole).toString(), static_cast<Token>(index.data(JobListModel::ToneRole).toInt()));
    icon.paint(&painter, QRect(where.left() + theme.px(12), where.top() + theme.px(8), theme.px(16), theme.px(16)));
    const int left = where.left() + theme.px(38);
    const int right = where.right() - theme.px(12);
    painter.setFont(theme.font(TextStyle::Body));
    const QString value = index.data(JobListModel::ValueRole).toString();
    const int valueRoom = painter.fontMetrics().horizontalAdvance(value);
    const int line = painter.fontMetrics().height();
    const QRect first(left, where.top() + theme.px(6), right - left, line);
    painter.setPen(theme.colour(Token::Text2));
    painter.drawText(first, Qt::AlignRight | Qt::AlignVCenter, value);
    painter.setPen(theme.colour(Token::Text));
    const int room = right - left - valueRoom - theme.px(8);
    painter.drawText(first, Qt::AlignLeft | Qt::AlignVCenter, painter.fontMetrics().elidedText(index.data().toString(), Qt::ElideRight, room));
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text3));
    const QRect second(left, first.bottom() + theme.px(2), right - left, painter.fontMetrics().height());
    painter.drawText(second, Qt::AlignLeft | Qt::AlignVCenter, painter.fontMetrics().elidedText(index.data(JobListModel::NoteRole).toString(), Qt::ElideRight, second.width()));
    const double share = index.data(JobListModel::ShareRole).toDouble();
    if (share >= 0)
        paintShare(painter, QRectF(left, where.bottom() - theme.px(12), right - left, theme.px(4)), share, theme.px(2));
}

QSize JobListDelegate::sizeHint(const QStyleOptionViewItem&, const QModelIndex& index) const
{
    const Theme& theme = Theme::current();
    if (isHeading(index))
        return {theme.px(120), theme.px(32)};
    const bool running = index.data(JobListModel::ShareRole).toDouble() >= 0;
    return {theme.px(200), theme.px(running ? 64 : 54)};
}

JobList::JobList(JobQueue* queue, QWidget* parent) : QListView(parent), m_queue(queue), m_model(new JobListModel(queue, this))
{
    setModel(m_model);
    setItemDelegate(new JobListDelegate(this));
    setAccessibleName(tr("Jobs"));
    setFrameShape(QFrame::NoFrame);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
    setDragDropMode(QAbstractItemView::InternalMove);
    setDefaultDropAction(Qt::MoveAction);
    viewport()->setAutoFillBackground(false); // the page's ground shows
    connect(m_model, &QAbstractItemModel::modelReset, this, &JobList::restore);
    connect(queue, &JobQueue::removed, this, [this](Job* job) {
        if (m_selected == job)
            m_selected = nullptr;
    });
    connect(&Theme::current(), &Theme::changed, this, [this] { scheduleDelayedItemsLayout(); });
    restore();
}

void JobList::select(Job* job)
{
    m_selected = job;
    restore();
}

void JobList::restore()
{
    m_restoring = true;
    QModelIndex index = m_model->indexOf(m_selected);
    for (int row = 0; !index.isValid() && row < m_model->rowCount(); ++row)
        if (m_model->jobAt(m_model->index(row)) != nullptr)
            index = m_model->index(row);
    setCurrentIndex(index);
    m_restoring = false;
    Job* job = m_model->jobAt(index);
    m_selected = job;
    emit selectionMoved(job);
}

void JobList::currentChanged(const QModelIndex& current, const QModelIndex& previous)
{
    QListView::currentChanged(current, previous);
    if (m_restoring)
        return;
    if (Job* job = m_model->jobAt(current)) {
        m_selected = job;
        emit selectionMoved(job);
    }
}

void JobList::move(int by)
{
    const std::vector<Job*> waiting = m_queue->waiting();
    const auto at = std::find(waiting.begin(), waiting.end(), m_selected);
    if (at == waiting.end())
        return;
    const auto place = at - waiting.begin();
    if (by < 0 && place > 0)
        m_queue->moveWaiting(m_selected, static_cast<std::size_t>(place - 1));
    else if (by > 0 && static_cast<std::size_t>(place) + 1 < waiting.size())
        m_queue->moveWaiting(m_selected, static_cast<std::size_t>(place + 2));
}

void JobList::keyPressEvent(QKeyEvent* event)
{
    const bool alt = event->modifiers() == Qt::AltModifier;
    if (alt && event->key() == Qt::Key_Up) {
        move(-1);
    } else if (alt && event->key() == Qt::Key_Down) {
        move(+1);
    } else if (event->key() == Qt::Key_Delete && m_selected != nullptr) {
        if (m_selected->isOver())
            m_queue->remove(m_selected);
        else
            m_queue->cancel(m_selected);
    } else {
        QListView::keyPressEvent(event);
    }
}

} // namespace shardlens::ui
