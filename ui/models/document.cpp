#include "ui/models/document.h"

#include "core/format/format.h"
#include "ui/models/safety_check.h"

#include <QCoreApplication>
#include <QThreadPool>

#include <new>

namespace shardlens::ui {
namespace {

// A file that needs more memory than there is must not end the window.
Result<CheckpointPtr> openSafely(const std::string& path, JobContext& job)
{
    try {
        return openCheckpoint(path, {}, job);
    } catch (const std::bad_alloc&) {
        return Error{ErrorCode::LimitExceeded, "out of memory"}.within(path);
    }
}

} // namespace

Document::Document(QString path, QObject* parent) : QObject(parent), m_path(std::move(path)), m_safety(new SafetyCheck(m_path, this)) {}

Document::~Document()
{
    m_stop.request_stop();
}

const std::vector<Finding>& Document::findings() const
{
    static const std::vector<Finding> kNone;
    if (m_verified)
        return m_verified->findings; // it repeats the checkpoint's own
    return m_checkpoint ? m_checkpoint->findings() : kNone;
}

void Document::setVerified(std::shared_ptr<const VerifyReport> report)
{
    m_verified = std::move(report);
    emit findingsChanged();
}

void Document::select(const Selection& selection)
{
    if (selection == m_selection)
        return;
    m_selection = selection;
    emit selectionChanged(m_selection);
}

void Document::keepRank(std::optional<std::uint32_t> rank)
{
    if (rank == m_keptRank)
        return;
    m_keptRank = rank;
    emit keptRankChanged();
}

void Document::load()
{
    m_stop.request_stop();
    m_stop = std::stop_source{};
    const std::uint64_t generation = ++m_generation;
    m_state = State::Opening;
    m_error.clear();
    m_safety->reset();
    emit stateChanged();
    QPointer<Document> self(this);
    // A read that hangs keeps only this thread: the window drops its result.
    QThreadPool::globalInstance()->start([self, generation, stop = m_stop.get_token(), path = m_path.toStdString()] {
        JobContext job(stop);
        auto opened = std::make_shared<Result<CheckpointPtr>>(openSafely(path, job));
        QMetaObject::invokeMethod(
            QCoreApplication::instance(),
            [self, generation, opened] {
                if (!self.isNull())
                    self->deliver(generation, std::move(*opened));
            },
            Qt::QueuedConnection);
    });
}

void Document::cancelLoad()
{
    if (m_state != State::Opening)
        return;
    m_stop.request_stop();
    ++m_generation;
    m_state = State::Failed;
    m_error = tr("Cancelled.");
    emit stateChanged();
}

void Document::deliver(std::uint64_t generation, Result<CheckpointPtr> opened)
{
    if (generation != m_generation)
        return;
    if (!opened) {
        m_state = State::Failed;
        m_error = QString::fromStdString(opened.error().sentence());
    } else {
        m_checkpoint = opened.take();
        m_verified = nullptr;
        m_streams = std::make_shared<const StreamSet>(m_checkpoint);
        m_selection = {};
        m_keptRank.reset();
        m_state = State::Open;
        m_safety->start();
    }
    emit stateChanged();
}

} // namespace shardlens::ui
