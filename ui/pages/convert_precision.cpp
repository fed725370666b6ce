#include "ui/pages/convert_precision.h"

#include "core/base/text.h"
#include "core/job/executor.h"
#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/depth_plot.h"
#include "ui/widgets/link.h"
#include "ui/widgets/text_label.h"

#include <QFileDialog>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QPushButton>
#include <QSaveFile>
#include <QVBoxLayout>

#include <algorithm>
#include <unordered_map>

namespace shardlens::ui {
namespace {

constexpr std::size_t kMostRows = 8;
constexpr double kPoor = 15;  // dB: below it a loss of quality is to be expected (formats/quantization.md §9)
constexpr double kExact = 60; // where points without any error are drawn

QString text(const std::string& utf8)
{
    return QString::fromStdString(utf8);
}

QString noiseText(const TensorPrecision& one)
{
    const auto noise = one.signalToNoise();
    return noise ? ConvertPrecision::tr("%1 dB").arg(*noise, 0, 'f', 1) : ConvertPrecision::tr("exact");
}

// In the plan's order: quantized weights as they come in the model, then casts.
std::vector<TensorPrecision> inModelOrder(const Plan& plan, const std::vector<TensorPrecision>& tensors)
{
    std::unordered_map<std::string, std::size_t> place;
    for (std::size_t i = 0; i < plan.lossy.size(); ++i)
        place.emplace(plan.lossy[i].name, i);
    std::vector<TensorPrecision> out = tensors;
    std::sort(out.begin(), out.end(), [&](const TensorPrecision& a, const TensorPrecision& b) { return place.at(a.name) < place.at(b.name); });
    return out;
}

} // namespace

ConvertPrecision::ConvertPrecision(QWidget* parent) : Card(tr("What it loses"), {}, parent), m_table(new QWidget)
{
    const Theme& theme = Theme::current();
    head()->addWidget(m_exact = new Link(tr("Measure every value")));
    head()->addWidget(m_export = new Link(tr("Export as CSV…")));
    connect(m_exact, &Link::clicked, this, &ConvertPrecision::measureAll);
    connect(m_export, &Link::clicked, this, &ConvertPrecision::exportCsv);
    body()->addWidget(m_state = new TextLabel({}, TextStyle::Body, Token::Text2));
    m_state->setWordWrap(true);
    auto* advice = new QHBoxLayout;
    advice->setSpacing(theme.px(12));
    advice->addWidget(m_advice = new TextLabel({}, TextStyle::Strong, Token::Text), 1);
    m_advice->setWordWrap(true);
    advice->addWidget(m_keep = new QPushButton(tr("Keep them")));
    m_keep->setAutoDefault(true);
    body()->addLayout(advice);
    connect(m_keep, &QPushButton::clicked, this, [this] { emit keepAsked(m_pattern); });
    body()->addWidget(m_plot = new DepthPlot(tr("signal to noise, dB")));
    connect(m_plot, &DepthPlot::chosen, this, [this](std::size_t point) { emit tensorChosen(text(m_plotted[point])); });
    m_rows = new QGridLayout(m_table);
    m_rows->setContentsMargins(0, 0, 0, 0);
    m_rows->setHorizontalSpacing(theme.px(16));
    m_rows->setVerticalSpacing(theme.px(4));
    m_rows->setColumnStretch(0, 1);
    body()->addWidget(m_table);
    hide();
}

void ConvertPrecision::setPlan(const std::shared_ptr<const Plan>& plan)
{
    if (plan == m_plan && plan != nullptr)
        return;
    m_plan = plan;
    m_runner.cancel();
    m_tensors.clear();
    const bool loses = plan && !plan->lossy.empty();
    setVisible(loses);
    if (loses)
        measure(false);
}

void ConvertPrecision::measureAll()
{
    if (m_plan)
        measure(true);
}

void ConvertPrecision::measure(bool exact)
{
    m_state->setText(exact ? tr("Reading every value.") : tr("Reading a sample."));
    m_state->setInk(Token::Text2);
    m_exact->setVisible(!exact);
    m_export->setVisible(!m_tensors.empty());
    for (QWidget* part : {static_cast<QWidget*>(m_advice), static_cast<QWidget*>(m_keep), static_cast<QWidget*>(m_plot), m_table})
        part->setVisible(!m_tensors.empty() && (part != m_keep || !m_pattern.isEmpty()));
    m_runner.start(
        [plan = m_plan, exact](const std::stop_token& stop) {
            JobContext job(stop);
            const auto executor = makeThreadedExecutor(availableThreads());
            return measurePrecision(plan->lossy, {.exact = exact}, *executor, job);
        },
        [this, exact](Result<std::vector<TensorPrecision>> found) { showResult(std::move(found), exact); });
}

void ConvertPrecision::showResult(Result<std::vector<TensorPrecision>> found, bool exact)
{
    if (!found) {
        m_state->setText(tr("It could not be measured: %1").arg(text(found.error().sentence())));
        return;
    }
    m_tensors = found.take();
    const bool all = exact || std::all_of(m_tensors.begin(), m_tensors.end(), [](const TensorPrecision& one) { return one.isExact(); });
    m_exact->setVisible(!all);
    m_export->setVisible(true);
    const TensorPrecision& worst = m_tensors.front();
    const QString measured = all ? tr("Every value was measured.") : tr("A sample was measured.");
    m_state->setText(worst.problem.empty() ? tr("%1 The worst of %2 tensors is %3 with %4: %5.", "measured, how many, name, dB, what that means")
                                                 .arg(measured, numberText(m_tensors.size()), printableText(worst.name), noiseText(worst), text(gradeOf(worst.signalToNoise())))
                                           : tr("This would be refused: %1").arg(text(worst.problem)));
    m_state->setInk(worst.problem.empty() ? Token::Text2 : Token::Error);
    const PrecisionAdvice advice = adviseOn(m_tensors);
    m_advice->setText(text(advice.text));
    m_pattern = text(advice.pattern);
    m_advice->setVisible(!advice.text.empty());
    m_keep->setVisible(!m_pattern.isEmpty());
    m_keep->setText(advice.keep.size() == 1 ? tr("Keep it") : tr("Keep them"));
    showPlot();
    m_plot->setVisible(m_tensors.size() > 1);
    showTable();
    m_table->setVisible(true);
}

void ConvertPrecision::showPlot()
{
    std::vector<DepthPoint> points;
    m_plotted.clear();
    for (const TensorPrecision& one : inModelOrder(*m_plan, m_tensors)) {
        const double height = std::clamp(one.problem.empty() ? one.signalToNoise().value_or(kExact) : 0.0, 0.0, kExact);
        points.push_back({height, height < kPoor, tr("%1\n%2: %3", "name, scheme, what it loses").arg(printableText(one.name), text(one.scheme), one.problem.empty() ? noiseText(one) : text(one.problem))});
        m_plotted.push_back(one.name);
    }
    m_plot->setPoints(std::move(points));
}

void ConvertPrecision::showTable()
{
    while (QLayoutItem* item = m_rows->takeAt(0)) {
        delete item->widget();
        delete item;
    }
    const auto add = [this](int row, int column, const QString& words, Token ink, bool number) {
        auto* label = new TextLabel(words, row == 0 ? TextStyle::Caption : column == 0 ? TextStyle::Mono : TextStyle::Body, ink);
        if (column == 0)
            label->setElide(Qt::ElideMiddle);
        m_rows->addWidget(label, row, column, number ? Qt::AlignRight | Qt::AlignVCenter : column == 0 ? Qt::Alignment() : Qt::AlignLeft | Qt::AlignVCenter);
    };
    const QStringList titles{tr("Worst tensors"), tr("to"), tr("signal to noise"), tr("cosine"), tr("largest error"), tr("range"), tr("outliers"), tr("overflow")};
    for (int column = 0; column < titles.size(); ++column)
        add(0, column, titles[column], Token::Text3, column > 1 && column != 5);
    for (std::size_t i = 0; i < std::min(m_tensors.size(), kMostRows); ++i) {
        const TensorPrecision& one = m_tensors[i];
        const int row = static_cast<int>(i) + 1;
        const Token ink = one.problem.empty() ? Token::Text : Token::Error;
        add(row, 0, printableText(one.name), ink, false);
        add(row, 1, text(one.scheme), Token::Text2, false);
        add(row, 2, one.problem.empty() ? noiseText(one) : tr("not finite"), ink, true);
        add(row, 3, one.cosine() ? QString::number(*one.cosine(), 'f', 5) : QString(), Token::Text2, true);
        add(row, 4, QString::number(one.largestError, 'g', 3), Token::Text2, true);
        add(row, 5, tr("%1 … %2", "least, greatest").arg(QString::number(one.least, 'g', 3), QString::number(one.greatest, 'g', 3)), Token::Text2, false);
        add(row, 6, numberText(one.outliers), Token::Text2, true);
        add(row, 7, numberText(one.overflow), one.overflow == 0 ? Token::Text2 : Token::Error, true);
    }
}

QString ConvertPrecision::csv() const
{
    return m_tensors.empty() ? QString() : text(precisionCsv(m_tensors));
}

void ConvertPrecision::exportCsv()
{
    const QString path = QFileDialog::getSaveFileName(this, tr("Export as CSV"), QStringLiteral("precision.csv"), tr("Tables (*.csv)"));
    if (path.isEmpty())
        return;
    QSaveFile file(path);
    const QByteArray bytes = csv().toUtf8();
    const bool written = file.open(QIODevice::WriteOnly) && file.write(bytes) == bytes.size() && file.commit();
    m_state->setText(written ? tr("Written: %1").arg(path) : tr("%1 could not be written: %2.", "path, reason").arg(path, file.errorString()));
}

} // namespace shardlens::ui
