#include "ui/jobs/job_log.h"

#include "ui/theme/theme.h"

#include <QPainter>
#include <QScrollBar>

namespace shardlens::ui {

void JobLogModel::setJob(Job* job)
{
    beginResetModel();
    if (m_job)
        m_job->disconnect(this);
    m_job = job;
    m_rows = job != nullptr ? static_cast<int>(job->log().size()) : 0;
    if (job != nullptr)
        connect(job, &Job::logged, this, &JobLogModel::grow);
    endResetModel();
}

void JobLogModel::grow()
{
    const int rows = static_cast<int>(m_job->log().size());
    if (rows > m_rows) {
        beginInsertRows({}, m_rows, rows - 1);
        m_rows = rows;
        endInsertRows();
    } else {
        emit dataChanged(index(0), index(m_rows - 1)); // full: the oldest line went
    }
}

int JobLogModel::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() || m_job.isNull() ? 0 : m_rows;
}

QVariant JobLogModel::data(const QModelIndex& index, int role) const
{
    if (m_job.isNull() || !checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const JobLogEntry& entry = m_job->log()[static_cast<std::size_t>(index.row())];
    switch (role) {
    case Qt::DisplayRole: return entry.text;
    case Qt::ToolTipRole: return entry.text.toHtmlEscaped();
    case WhenRole: return entry.when.toString(QStringLiteral("HH:mm:ss.zzz"));
    default: return {};
    }
}

void JobLogDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const
{
    const Theme& theme = Theme::current();
    painter->save();
    if ((option.state & QStyle::State_Selected) != 0)
        painter->fillRect(option.rect, theme.colour(Token::AccentWeak));
    painter->setFont(theme.font(TextStyle::Mono));
    painter->setPen(theme.colour(Token::Text3));
    const QString when = index.data(JobLogModel::WhenRole).toString();
    painter->drawText(option.rect, Qt::AlignVCenter, when);
    const int left = painter->fontMetrics().horizontalAdvance(when) + theme.px(24);
    painter->setFont(theme.font(TextStyle::Body));
    painter->setPen(theme.colour(Token::Text2));
    const QRect room = option.rect.adjusted(left, 0, 0, 0);
    painter->drawText(room, Qt::AlignVCenter, painter->fontMetrics().elidedText(index.data().toString(), Qt::ElideRight, room.width()));
    painter->restore();
}

QSize JobLogDelegate::sizeHint(const QStyleOptionViewItem&, const QModelIndex&) const
{
    return {Theme::current().px(200), Theme::current().px(23)};
}

JobLog::JobLog(QWidget* parent) : QListView(parent), m_model(new JobLogModel(this))
{
    setModel(m_model);
    setItemDelegate(new JobLogDelegate(this));
    setAccessibleName(tr("Log"));
    setFrameShape(QFrame::NoFrame);
    setSelectionMode(QAbstractItemView::ExtendedSelection);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
    setUniformItemSizes(true);
    viewport()->setAutoFillBackground(false);
    connect(verticalScrollBar(), &QScrollBar::valueChanged, this, [this](int value) { m_atEnd = value == verticalScrollBar()->maximum(); });
    connect(verticalScrollBar(), &QScrollBar::rangeChanged, this, [this](int, int maximum) {
        if (m_atEnd)
            verticalScrollBar()->setValue(maximum);
    });
    connect(&Theme::current(), &Theme::changed, this, [this] { scheduleDelayedItemsLayout(); });
}

void JobLog::setJob(Job* job)
{
    m_atEnd = true;
    m_model->setJob(job);
    scrollToBottom();
}

QString JobLog::asText() const
{
    QString text;
    for (int row = 0; row < m_model->rowCount(); ++row) {
        const QModelIndex index = m_model->index(row);
        text += index.data(JobLogModel::WhenRole).toString() + QLatin1Char(' ') + index.data().toString() + QLatin1Char('\n');
    }
    return text;
}

} // namespace shardlens::ui
