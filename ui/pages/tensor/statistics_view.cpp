#include "ui/pages/tensor/statistics_view.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/widgets/histogram_plot.h"
#include "ui/widgets/link.h"
#include "ui/widgets/text_label.h"

#include <QCheckBox>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QPainter>
#include <QVBoxLayout>

namespace shardlens::ui {
namespace {

constexpr std::uint64_t kSampleBytes = 256u << 10;
constexpr int kStatisticsPollMs = 100;
constexpr int kFigureDigits = 6;

QString figureText(const ValueStatistics& values, double number)
{
    if (values.finite() == 0)
        return QStringLiteral("–");
    return QString::number(number, 'g', kFigureDigits).replace(QLatin1Char('-'), QChar(0x2212));
}

} // namespace

StatisticsView::StatisticsView(QWidget* parent)
    : QWidget(parent), m_title(new TextLabel(tr("Values"), TextStyle::Title, Token::Text, this)), m_status(new TextLabel({}, TextStyle::Body, Token::Text2, this)),
      m_action(new Link({}, this)), m_logarithmic(new QCheckBox(tr("Logarithmic counts (Y)"), this)), m_plot(new HistogramPlot(this)), m_figures(new QWidget(this))
{
    const Theme& theme = Theme::current();
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(theme.px(16), theme.px(12), theme.px(16), theme.px(16));
    column->setSpacing(theme.px(12));
    auto* head = new QHBoxLayout;
    head->setSpacing(theme.px(12));
    head->addWidget(m_title);
    head->addWidget(m_status);
    head->addWidget(m_action);
    head->addStretch(1);
    head->addWidget(m_logarithmic);
    column->addLayout(head);
    auto* body = new QHBoxLayout;
    body->setSpacing(theme.px(24));
    body->addWidget(m_plot, 1);
    body->addWidget(m_figures, 0, Qt::AlignTop);
    column->addLayout(body, 1);
    buildFigures();
    connect(m_logarithmic, &QCheckBox::toggled, m_plot, &HistogramPlot::setLogarithmic);
    connect(m_action, &Link::clicked, this, [this] {
        if (isRunning()) {
            cancel();
        } else {
            m_isCancelled = false;
            readAll();
        }
    });
    m_poll.setInterval(kStatisticsPollMs);
    connect(&m_poll, &QTimer::timeout, this, &StatisticsView::showProgress);
    setTensor(nullptr, {});
}

void StatisticsView::buildFigures()
{
    const std::array<QString, FigureCount> labels{tr("Values"), tr("Minimum"), tr("Maximum"), tr("Mean"), tr("Standard deviation"), tr("Zeros"), tr("NaN"), tr("+Inf"), tr("−Inf")};
    auto* grid = new QGridLayout(m_figures);
    grid->setContentsMargins(0, 0, 0, 0);
    grid->setHorizontalSpacing(Theme::current().px(24));
    grid->setVerticalSpacing(Theme::current().px(8));
    for (int i = 0; i < FigureCount; ++i) {
        const auto at = static_cast<std::size_t>(i);
        grid->addWidget(new TextLabel(labels[at], TextStyle::Body, Token::Text2, m_figures), i, 0);
        m_numbers[at] = new TextLabel({}, TextStyle::Body, Token::Text, m_figures);
        m_numbers[at]->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
        m_numbers[at]->setTextInteractionFlags(Qt::TextSelectableByMouse);
        m_numbers[at]->setAccessibleName(labels[at]);
        grid->addWidget(m_numbers[at], i, 1);
    }
}

void StatisticsView::setTensor(CheckpointPtr checkpoint, TensorId tensor)
{
    m_run.cancel();
    m_poll.stop();
    m_checkpoint = std::move(checkpoint);
    m_tensor = tensor;
    m_isExact = m_isSampled = m_isCancelled = false;
    m_plot->show({});
    for (TextLabel* number : m_numbers)
        number->setText(QStringLiteral("–"));
    m_status->setText({});
    showAction();
    if (isVisible())
        begin();
}

void StatisticsView::begin()
{
    if (!m_checkpoint || isRunning() || m_isExact || m_isCancelled)
        return;
    m_isSampled ? readAll() : sample();
}

void StatisticsView::sample()
{
    m_run.start(
        [checkpoint = m_checkpoint, tensor = m_tensor](const std::stop_token& stop) {
            JobContext job(stop);
            return sampledStatistics(checkpoint, tensor, kSampleBytes, job);
        },
        [this](const Result<TensorStatistics>& found) {
            if (!found)
                return fail(found.error());
            m_isSampled = true;
            m_isExact = found->values.values == elementCount(m_checkpoint->tensor(m_tensor).shape).value_or(0);
            showFound(*found);
            m_status->setText(m_isExact ? tr("exact") : tr("of %1 sampled values").arg(numberText(found->values.values)));
            showAction();
            if (!m_isExact)
                readAll();
        });
    showAction();
}

void StatisticsView::readAll()
{
    auto slot = std::make_shared<JobSlot>();
    m_job = slot;
    m_run.start(
        [checkpoint = m_checkpoint, tensor = m_tensor, slot](const std::stop_token& stop) {
            const auto job = std::make_shared<JobContext>(stop);
            slot->store(job);
            const auto executor = makeThreadedExecutor(availableThreads());
            return statisticsOf(checkpoint, {SelectedTensor{checkpoint->fullName(tensor), tensor}}, *executor, *job);
        },
        [this](const Result<std::vector<TensorStatistics>>& found) {
            m_poll.stop();
            if (!found)
                return fail(found.error());
            m_isExact = true;
            showFound(found->front());
            m_status->setText(tr("exact"));
            showAction();
        });
    m_poll.start();
    showAction();
}

void StatisticsView::cancel()
{
    m_run.cancel();
    m_poll.stop();
    m_isCancelled = true;
    showAction();
}

void StatisticsView::fail(const Error& error)
{
    m_isCancelled = true; // it would fail again
    m_status->setText(QString::fromStdString(error.sentence()));
    showAction();
}

void StatisticsView::showFound(const TensorStatistics& found)
{
    const ValueStatistics& values = found.values;
    m_plot->show(found.histogram);
    m_numbers[Values]->setText(numberText(values.values));
    m_numbers[Min]->setText(figureText(values, values.min));
    m_numbers[Max]->setText(figureText(values, values.max));
    m_numbers[Mean]->setText(figureText(values, values.mean));
    m_numbers[Deviation]->setText(figureText(values, values.deviation()));
    m_numbers[Zeros]->setText(numberText(values.zeros));
    m_numbers[Nans]->setText(numberText(values.nans));
    m_numbers[PositiveInf]->setText(numberText(values.positiveInfinities));
    m_numbers[NegativeInf]->setText(numberText(values.negativeInfinities));
    for (const Figure figure : {Nans, PositiveInf, NegativeInf})
        m_numbers[static_cast<std::size_t>(figure)]->setInk(m_numbers[static_cast<std::size_t>(figure)]->text() == QLatin1String("0") ? Token::Text : Token::Error);
}

void StatisticsView::showProgress()
{
    const std::shared_ptr<JobContext> job = m_job->load();
    const std::uint64_t total = job ? job->progress().total.load(std::memory_order_relaxed) : 0;
    if (total == 0)
        return;
    const double share = static_cast<double>(job->progress().done.load(std::memory_order_relaxed)) / static_cast<double>(total);
    m_status->setText(tr("of a sample; reading all of it: %1 of %2").arg(QString::fromStdString(percentText(share)), bytesText(total)));
}

void StatisticsView::showAction()
{
    const bool isOffered = m_checkpoint && (isRunning() || !m_isExact);
    m_action->setVisible(isOffered);
    if (!isOffered)
        return;
    m_action->setText(isRunning() ? tr("Cancel") : tr("Read all of it (%1)").arg(bytesText(m_checkpoint->bytesOf(m_tensor))));
    m_action->updateGeometry();
}

QString StatisticsView::status() const
{
    return m_status->text();
}

void StatisticsView::showEvent(QShowEvent* event)
{
    QWidget::showEvent(event);
    begin();
}

void StatisticsView::hideEvent(QHideEvent* event)
{
    m_run.cancel();
    m_poll.stop();
    showAction();
    QWidget::hideEvent(event);
}

void StatisticsView::keyPressEvent(QKeyEvent* event)
{
    if (event->key() == Qt::Key_Y && event->modifiers() == Qt::NoModifier)
        m_logarithmic->toggle();
    else
        QWidget::keyPressEvent(event);
}

} // namespace shardlens::ui
