#include "ui/models/document.h"

#include "core/format/format.h"
#include "ui/models/atlas_text.h"
#include "ui/models/device_map.h"
#include "ui/models/safety_check.h"

#include <QCoreApplication>
#include <QFileInfo>
#include <QThreadPool>

#include <new>
#include <utility>

namespace shardlens::ui {
namespace {

// A file that needs more memory than there is must not end the window.
Result<CheckpointPtr> openSafely(const std::string& path, const OpenOptions& options, JobContext& job)
{
    try {
        return openCheckpoint(path, options, job);
    } catch (const std::bad_alloc&) {
        return Error{ErrorCode::LimitExceeded, "out of memory"}.within(path);
    }
}

// A strategy is no checkpoint, and somebody who opens one wants something.
QString failureText(const std::string& path, const Error& error)
{
    const QString sentence = QString::fromStdString(error.sentence());
    const QString name = QString::fromStdString(path);
    if (!looksLikeStrategyAt(name))
        return sentence;
    const QString what = QFileInfo(name).isDir() ? Document::tr("%1 holds strategy files, not weights.").arg(printableText(path)) : sentence;
    return Document::tr("%1 Open the folder with the run's rank_N folders; dropped onto it, a strategy says how its ranks divide the tensors.", "what it is").arg(what);
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
    m_isReopening = false;
    m_state = State::Opening;
    m_error.clear();
    m_safety->reset();
    emit stateChanged();
    start(m_options);
}

void Document::reopenWith(const OpenOptions& options)
{
    if (m_state != State::Open) { // there is nothing to keep
        m_options = options;
        return load();
    }
    m_isReopening = true;
    emit reopeningChanged();
    start(options);
}

void Document::start(const OpenOptions& options)
{
    m_stop.request_stop();
    m_stop = std::stop_source{};
    const std::uint64_t generation = ++m_generation;
    QPointer<Document> self(this);
    // A read that hangs keeps only this thread: the window drops its result.
    QThreadPool::globalInstance()->start([self, generation, options, stop = m_stop.get_token(), path = m_path.toStdString()] {
        JobContext job(stop);
        auto opened = openSafely(path, options, job);
        const QString problem = opened ? QString() : failureText(path, opened.error());
        QMetaObject::invokeMethod(
            QCoreApplication::instance(),
            [self, generation, options, problem, checkpoint = opened ? opened.take() : nullptr] {
                if (!self.isNull())
                    self->deliver(generation, options, checkpoint, problem);
            },
            Qt::QueuedConnection);
    });
}

void Document::cancelLoad()
{
    if (m_isReopening) {
        m_stop.request_stop();
        ++m_generation;
        m_isReopening = false;
        emit reopeningChanged();
        return;
    }
    if (m_state != State::Opening)
        return;
    m_stop.request_stop();
    ++m_generation;
    m_state = State::Failed;
    m_error = tr("Cancelled.");
    emit stateChanged();
}

void Document::deliver(std::uint64_t generation, const OpenOptions& options, const CheckpointPtr& checkpoint, const QString& problem)
{
    if (generation != m_generation)
        return;
    const bool wasReopening = std::exchange(m_isReopening, false);
    if (wasReopening)
        emit reopeningChanged();
    if (!checkpoint && wasReopening) {
        emit reopenRefused(problem);
        return;
    }
    if (!checkpoint) {
        m_state = State::Failed;
        m_error = problem;
    } else {
        m_options = options;
        adopt(checkpoint);
    }
    emit stateChanged();
}

void Document::adopt(const CheckpointPtr& checkpoint)
{
    m_checkpoint = checkpoint;
    m_verified = nullptr;
    m_streams = std::make_shared<const StreamSet>(m_checkpoint);
    m_selection = {};
    m_keptRank.reset();
    m_state = State::Open;
    m_safety->start();
}

} // namespace shardlens::ui
