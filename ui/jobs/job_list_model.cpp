#include "ui/jobs/job_list_model.h"

#include "ui/jobs/job_texts.h"
#include "ui/theme/theme.h"

#include <QMimeData>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr const char* kMime = "application/x-shardlens-waiting-job";

struct Mark {
    const char* icon;
    Token tone;
};

Mark markOf(const Job& job)
{
    const auto& lines = job.report().lines;
    switch (job.state()) {
    case Job::State::Waiting: return {"clock", Token::Text3};
    case Job::State::Running:
    case Job::State::Cancelling: return {"convert", Token::Accent};
    case Job::State::Done:
        if (std::any_of(lines.begin(), lines.end(), [](const JobReportLine& line) { return line.kind == JobReportLine::Kind::Warning; }))
            return {"warn", Token::Warn};
        return {"check", Token::Ok};
    case Job::State::Cancelled: return {"close", Token::Text3};
    case Job::State::Failed:
    case Job::State::Refused: return {"close", Token::Error};
    }
    return {"close", Token::Text3};
}

} // namespace

JobListModel::JobListModel(JobQueue* queue, QObject* parent) : QAbstractListModel(parent), m_queue(queue)
{
    connect(queue, &JobQueue::changed, this, &JobListModel::refresh);
    connect(queue, &JobQueue::progressed, this, &JobListModel::update);
    connect(queue, &JobQueue::removed, this, [this](Job* job) { // its row must not outlive it
        const QModelIndex gone = indexOf(job);
        if (!gone.isValid())
            return;
        beginRemoveRows({}, gone.row(), gone.row());
        m_rows.erase(m_rows.begin() + gone.row());
        endRemoveRows();
    });
    refresh();
}

void JobListModel::refresh()
{
    std::vector<Row> rows;
    const auto section = [&rows](const QString& heading, const std::vector<Job*>& jobs) {
        if (jobs.empty())
            return;
        rows.push_back({heading, nullptr});
        for (Job* job : jobs)
            rows.push_back({{}, job});
    };
    section(tr("Running"), m_queue->running());
    section(tr("Waiting"), m_queue->waiting());
    section(tr("Finished"), m_queue->finished());
    beginResetModel();
    m_rows = std::move(rows);
    endResetModel();
}

void JobListModel::update(Job* job)
{
    if (const QModelIndex index = indexOf(job); index.isValid())
        emit dataChanged(index, index);
}

Job* JobListModel::jobAt(const QModelIndex& index) const
{
    return index.isValid() && checkIndex(index) ? m_rows[static_cast<std::size_t>(index.row())].job : nullptr;
}

QModelIndex JobListModel::indexOf(const Job* job) const
{
    const auto row = std::find_if(m_rows.begin(), m_rows.end(), [job](const Row& other) { return job != nullptr && other.job == job; });
    return row == m_rows.end() ? QModelIndex() : index(static_cast<int>(row - m_rows.begin()));
}

int JobListModel::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(m_rows.size());
}

QVariant JobListModel::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const Row& row = m_rows[static_cast<std::size_t>(index.row())];
    if (role == KindRole)
        return static_cast<int>(row.job == nullptr ? Kind::Heading : Kind::Job);
    if (row.job == nullptr)
        return role == Qt::DisplayRole ? QVariant(row.heading) : QVariant();
    return jobData(row, role);
}

QVariant JobListModel::jobData(const Row& row, int role) const
{
    const Job& job = *row.job;
    const std::vector<Job*> waiting = m_queue->waiting();
    const bool next = !waiting.empty() && waiting.front() == row.job;
    switch (role) {
    case Qt::DisplayRole: return job.title();
    case Qt::ToolTipRole: return QString::fromStdString(job.request().target).toHtmlEscaped();
    case Qt::AccessibleTextRole: return tr("%1, %2, %3").arg(job.title(), JobTexts::listNote(job), JobTexts::listValue(job, next));
    case NoteRole: return JobTexts::listNote(job);
    case ValueRole: return JobTexts::listValue(job, next);
    case ShareRole: return job.isActive() ? job.share() : -1.0;
    case IconRole: return QString::fromLatin1(markOf(job).icon);
    case ToneRole: return static_cast<int>(markOf(job).tone);
    default: return {};
    }
}

Qt::ItemFlags JobListModel::flags(const QModelIndex& index) const
{
    if (!index.isValid())
        return Qt::ItemIsDropEnabled;
    const Job* job = jobAt(index);
    if (job == nullptr)
        return Qt::NoItemFlags;
    const Qt::ItemFlags plain = Qt::ItemIsEnabled | Qt::ItemIsSelectable;
    return job->state() == Job::State::Waiting ? plain | Qt::ItemIsDragEnabled : plain;
}

QStringList JobListModel::mimeTypes() const
{
    return {QLatin1String(kMime)};
}

QMimeData* JobListModel::mimeData(const QModelIndexList& indexes) const
{
    const auto waiting = m_queue->waiting();
    for (const QModelIndex& index : indexes) {
        const auto place = std::find(waiting.begin(), waiting.end(), jobAt(index));
        if (place == waiting.end())
            continue;
        auto* data = new QMimeData;
        data->setData(QLatin1String(kMime), QByteArray::number(static_cast<int>(place - waiting.begin())));
        return data;
    }
    return nullptr;
}

bool JobListModel::dropMimeData(const QMimeData* data, Qt::DropAction, int row, int, const QModelIndex& parent)
{
    bool fine = false;
    const auto from = static_cast<std::size_t>(std::max(0, data->data(QLatin1String(kMime)).toInt(&fine)));
    const auto waiting = m_queue->waiting();
    if (!fine || from >= waiting.size())
        return false;
    const int before = row >= 0 ? row : parent.isValid() ? parent.row() : rowCount();
    std::size_t place = 0;
    for (int i = 0; i < std::min(before, rowCount()); ++i)
        if (const Job* job = m_rows[static_cast<std::size_t>(i)].job; job != nullptr && job->state() == Job::State::Waiting)
            ++place;
    m_queue->moveWaiting(waiting[from], place);
    return false; // the queue has moved it: the view must not remove the row
}

} // namespace shardlens::ui
