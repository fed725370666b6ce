#include "ui/pages/convert_quantize_option.h"

#include "core/base/regex.h"
#include "core/base/text.h"
#include "ui/jobs/job_program.h"
#include "ui/pages/convert_goal_step.h"
#include "ui/theme/theme.h"
#include "ui/widgets/text_label.h"

#include <QCheckBox>
#include <QComboBox>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QLineEdit>
#include <QPushButton>
#include <QSignalBlocker>
#include <QVBoxLayout>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr int kColumns = 2;

QString text(std::string_view utf8)
{
    return QString::fromUtf8(utf8.data(), static_cast<qsizetype>(utf8.size()));
}

QString problemOfPattern(const QString& pattern)
{
    if (pattern.isEmpty())
        return {};
    const auto compiled = Regex::compile(pattern.toStdString());
    return compiled ? QString() : QString::fromStdString(compiled.error().sentence());
}

} // namespace

bool isQuantized(const Checkpoint& source)
{
    return std::any_of(source.tensors().begin(), source.tensors().end(), [](const Tensor& tensor) { return tensor.quantizedPart; });
}

ConvertQuantizeOption::ConvertQuantizeOption(OptionGrid& grid, QObject* parent) : QObject(parent), m_panel(new QWidget)
{
    m_values = new QCheckBox(tr("Take the values"));
    m_valuesRow = grid.add(tr("Quantized source"), m_values);
    connect(m_values, &QCheckBox::toggled, this, &ConvertQuantizeOption::edited);
    makeCards(grid);
    makeDevices(grid);
    connect(&m_probe, &DeviceProbe::found, this, &ConvertQuantizeOption::showDevices);
}

void ConvertQuantizeOption::makeCards(OptionGrid& grid)
{
    const Theme& theme = Theme::current();
    auto* rows = new QVBoxLayout(m_panel);
    rows->setContentsMargins(0, theme.px(8), 0, theme.px(8));
    rows->setSpacing(theme.px(8));
    m_heading = new TextLabel(tr("Quantize the weights of Linear layers"), TextStyle::Strong, Token::Text);
    rows->addWidget(m_heading);
    auto* places = new QGridLayout;
    places->setSpacing(theme.px(8));
    rows->addLayout(places);
    m_cards.push_back(new GoalCard({}, tr("As they are"), tr("No weight is quantized.")));
    for (const QuantScheme* scheme : offeredSchemes())
        m_cards.push_back(new GoalCard(std::string(scheme->name), text(scheme->title), tr("%1: %2", "scheme's name, what it is for").arg(text(scheme->name), text(scheme->purpose))));
    places->addWidget(m_cards.front(), 0, 0, 1, kColumns);
    for (std::size_t i = 1; i < m_cards.size(); ++i)
        places->addWidget(m_cards[i], 1 + static_cast<int>(i - 1) / kColumns, static_cast<int>(i - 1) % kColumns);
    for (int column = 0; column < kColumns; ++column)
        places->setColumnStretch(column, 1);
    m_allSchemes = new QCheckBox(tr("All %1 schemes").arg(offeredSchemes().size()));
    rows->addWidget(m_allSchemes);
    connect(m_allSchemes, &QCheckBox::toggled, this, &ConvertQuantizeOption::showSizes);
    for (GoalCard* card : m_cards)
        connect(card, &QAbstractButton::toggled, this, [this](bool on) {
            if (on)
                emit edited();
        });
    grid.addWide(m_panel);
}

void ConvertQuantizeOption::makeDevices(OptionGrid& grid)
{
    m_exclude = new QLineEdit;
    m_exclude->setPlaceholderText(tr("nothing more"));
    m_exclude->setFont(Theme::current().font(TextStyle::Mono));
    m_excludeRow = grid.add(tr("Leave as they are"), m_exclude);
    connect(m_exclude, &QLineEdit::textChanged, this, &ConvertQuantizeOption::edited);
    auto* both = new QWidget;
    auto* row = new QHBoxLayout(both);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(Theme::current().px(8));
    m_devices = new QComboBox;
    m_devices->setAccessibleName(tr("Compute on"));
    m_devices->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    m_devices->setMinimumContentsLength(12);
    m_devices->addItem(tr("Whatever there is"), QStringLiteral("auto"));
    m_devices->addItem(tr("CPU"), QStringLiteral("cpu"));
    row->addWidget(m_devices, 1);
    m_refresh = new QPushButton(tr("Refresh"));
    m_refresh->setAutoDefault(true);
    m_refresh->setToolTip(tr("Asks again which devices there are, and how much memory is free"));
    row->addWidget(m_refresh);
    m_devicesRow = grid.add(tr("Compute on"), both);
    both->setAccessibleName(QString());
    connect(m_devices, &QComboBox::currentIndexChanged, this, &ConvertQuantizeOption::edited);
    connect(m_refresh, &QPushButton::clicked, this, &ConvertQuantizeOption::askDevices);
}

GoalCard* ConvertQuantizeOption::card(const QString& scheme) const
{
    const auto at = std::find_if(m_cards.begin(), m_cards.end(), [&](const GoalCard* one) { return one->format() == scheme.toStdString(); });
    return at == m_cards.end() ? nullptr : *at;
}

void ConvertQuantizeOption::askDevices()
{
    m_asked = true;
    m_devicesRow.setReason(tr("looking for devices"));
    const QString program = findJobProgram();
    m_probe.start(program.isEmpty() ? QStringLiteral("shardlens") : program);
}

void ConvertQuantizeOption::showDevices(const DeviceReport& report)
{
    const QSignalBlocker quiet(m_devices);
    const QString chosen = m_devices->currentData().toString();
    while (m_devices->count() > 2)
        m_devices->removeItem(2);
    for (const DeviceRow& device : report.devices) {
        const QString memory = tr("%1, %2 free", "device, memory").arg(device.name, QString::fromStdString(sizeText(device.freeBytes)));
        if (device.id == QLatin1String("cpu"))
            m_devices->setItemText(1, memory);
        else
            m_devices->addItem(tr("%1: %2", "cuda:0, what it is").arg(device.id, memory), device.id);
    }
    if (m_devices->findData(chosen) < 0)
        m_devices->addItem(tr("%1, which is not there").arg(chosen), chosen); // of a job file
    m_devices->setCurrentIndex(m_devices->findData(chosen));
    const QString reason = !report.problem.isEmpty() ? report.problem : report.remark.isEmpty() ? tr("devices do the arithmetic; files are read and written by the CPU") : report.remark;
    m_devicesRow.setReason(reason, !report.problem.isEmpty());
}

void ConvertQuantizeOption::load(const JobDraft& draft, const StepFacts& facts)
{
    const QSignalBlocker quiet(this);
    m_isShown = facts.checkpoint && canQuantize(draft);
    loadRows(draft, facts);
    if (!m_isShown)
        return;
    loadCards(draft, facts);
    m_exclude->setText(draft.quantizeExclude);
    m_values->setChecked(draft.dequantize);
    const int device = m_devices->findData(QString::fromStdString(draft.device));
    if (device < 0) {
        m_devices->addItem(QString::fromStdString(draft.device), QString::fromStdString(draft.device));
        m_devices->setCurrentIndex(m_devices->count() - 1);
    } else {
        m_devices->setCurrentIndex(device);
    }
    if (!draft.scheme.empty() && !m_asked)
        askDevices();
    lookAt(draft, facts);
}

void ConvertQuantizeOption::loadRows(const JobDraft& draft, const StepFacts& facts)
{
    const bool stored = m_isShown && isQuantized(*facts.checkpoint);
    m_valuesRow.setVisible(stored);
    m_valuesRow.setReason(draft.dequantize ? tr("codes and scales become floating-point values again, with what they have lost") : tr("codes and scales are copied as they are stored"));
    m_panel->setVisible(m_isShown && (!stored || draft.dequantize));
    m_excludeRow.setVisible(m_isShown && !draft.scheme.empty());
    const QString problem = problemOfPattern(draft.quantizeExclude);
    m_excludeRow.setReason(problem.isEmpty() ? tr("A regular expression, searched in the names; embeddings, norms, heads and routers stay as they are anyway.") : problem, !problem.isEmpty());
    m_devicesRow.setVisible(m_isShown && !draft.scheme.empty());
}

void ConvertQuantizeOption::loadCards(const JobDraft& draft, const StepFacts&)
{
    for (GoalCard* card : m_cards) {
        const QSignalBlocker silent(card);
        card->setChecked(card->format() == draft.scheme);
    }
    showSizes();
}

// Sizes are those of the names and shapes: found on a worker, once for each contents and dtype.
void ConvertQuantizeOption::lookAt(const JobDraft& draft, const StepFacts& facts)
{
    if (facts.checkpoint == m_lookedAt && draft.dtype == m_lookedDType && draft.select == m_lookedSelect)
        return;
    m_lookedAt = facts.checkpoint;
    m_lookedDType = draft.dtype;
    m_lookedSelect = draft.select;
    m_outlooks.clear();
    m_look.start([source = facts.checkpoint, select = draft.select, dtype = draft.dtype](const std::stop_token& stop) { return schemeOutlooks(*source, select, dtype, stop); },
                 [this](std::vector<SchemeOutlook> found) {
                     m_outlooks = std::move(found);
                     showSizes();
                 });
}

void ConvertQuantizeOption::showSizes()
{
    for (std::size_t i = 0; i < m_cards.size(); ++i) {
        GoalCard* const card = m_cards[i];
        card->setVisible(i <= firstSchemes() || m_allSchemes->isChecked() || card->isChecked());
        if (m_outlooks.empty())
            continue;
        if (i == 0) {
            card->setSize(QString::fromStdString(sizeText(m_outlooks.front().before)));
            continue;
        }
        const SchemeOutlook& outlook = m_outlooks[i - 1];
        card->setSize(outlook.refusal.isEmpty() ? QString::fromStdString(sizeText(outlook.after)) : QString());
        card->setToolTip(outlook.refusal.toHtmlEscaped());
        const QString purpose = tr("%1: %2", "scheme's name, what it is for").arg(text(outlook.scheme->name), text(outlook.scheme->purpose));
        card->setSentence(outlook.refusal.isEmpty() ? purpose : tr("%1 Not of all weights here: some have to be left as they are.").arg(purpose));
    }
}

void ConvertQuantizeOption::take(JobDraft& draft) const
{
    if (!m_isShown)
        return;
    draft.dequantize = m_values->isChecked() && !m_values->isHidden();
    const bool quantized = !draft.scheme.empty();
    for (const GoalCard* card : m_cards)
        if (card->isChecked())
            draft.scheme = card->format();
    if (!quantized) // the rows below did not show
        return;
    draft.quantizeExclude = m_exclude->text();
    draft.device = draft.scheme.empty() ? "auto" : m_devices->currentData().toString().toStdString();
}

} // namespace shardlens::ui
