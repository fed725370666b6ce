#include "ui/pages/overview/value_check.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/link.h"
#include "ui/widgets/text_label.h"

#include <QCoreApplication>
#include <QHBoxLayout>
#include <QPointer>

namespace shardlens::ui {
namespace {

constexpr int kPollMs = 200;

} // namespace

ValueCheck::ValueCheck(QWidget* parent) : QWidget(parent), m_text(new TextLabel({}, TextStyle::Caption, Token::Text2, this)), m_action(new Link({}, this))
{
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(Theme::current().px(12));
    row->addWidget(m_action);
    m_text->setElide(Qt::ElideRight);
    row->addWidget(m_text, 1);
    connect(m_action, &Link::clicked, this, [this] { isRunning() ? cancel() : start(); });
    m_poll.setInterval(kPollMs);
    connect(&m_poll, &QTimer::timeout, this, &ValueCheck::showProgress);
}

void ValueCheck::show(const CheckpointPtr& checkpoint, std::uint64_t bytes)
{
    m_runner.cancel();
    m_poll.stop();
    m_checkpoint = checkpoint;
    m_bytes = bytes;
    showIdle();
}

void ValueCheck::showIdle()
{
    m_action->setText(tr("Check the values"));
    m_action->setToolTip(tr("Are they finite, do replicas agree, is the module's copy the rounded master? (shardlens verify)"));
    m_action->updateGeometry();
    m_text->setText(tr("%1 to read. So far only names, shapes and places were looked at.").arg(bytesText(m_bytes)));
}

void ValueCheck::start()
{
    if (!m_checkpoint)
        return;
    m_action->setText(tr("Cancel"));
    m_action->setToolTip({});
    m_action->updateGeometry();
    m_job = nullptr;
    // The context is made by the worker, which alone knows the stop token; the window only looks at its counters.
    m_runner.start(
        [checkpoint = m_checkpoint, this, self = QPointer<ValueCheck>(this)](const std::stop_token& stop) {
            auto job = std::make_shared<JobContext>(stop);
            QMetaObject::invokeMethod(
                qApp,
                [this, self, job] {
                    if (!self.isNull())
                        m_job = job;
                },
                Qt::QueuedConnection);
            const auto executor = makeThreadedExecutor(availableThreads());
            return std::make_shared<Result<VerifyReport>>(verifyCheckpoint(checkpoint, {}, *executor, *job));
        },
        [this](const std::shared_ptr<Result<VerifyReport>>& report) { finish(*report); });
    m_poll.start();
    showProgress();
}

void ValueCheck::cancel()
{
    m_runner.cancel();
    m_poll.stop();
    showIdle();
}

void ValueCheck::showProgress()
{
    const std::uint64_t done = m_job ? m_job->progress().done.load(std::memory_order_relaxed) : 0;
    const std::uint64_t total = m_job ? m_job->progress().total.load(std::memory_order_relaxed) : 0;
    m_text->setText(total == 0 ? tr("Checking the values")
                               : tr("Checking the values: %1 of %2").arg(QString::fromStdString(percentText(static_cast<double>(done) / static_cast<double>(total))), bytesText(total)));
}

void ValueCheck::finish(const Result<VerifyReport>& report)
{
    m_poll.stop();
    showIdle();
    if (!report) {
        m_text->setText(QString::fromStdString(report.error().sentence()));
        return;
    }
    m_action->setText(tr("Check again"));
    m_action->updateGeometry();
    m_text->setText(report->worst() == Severity::Info ? tr("Values checked, %1 read: finite, and copies agree.").arg(bytesText(report->bytesRead))
                                                      : tr("Values checked, %1 read: see above.").arg(bytesText(report->bytesRead)));
    emit done(std::make_shared<const VerifyReport>(*report));
}

} // namespace shardlens::ui
