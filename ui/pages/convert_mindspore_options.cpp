#include "ui/pages/convert_mindspore_options.h"

#include "core/layout/mindspore_strategy.h"
#include "ui/models/atlas_text.h"
#include "ui/widgets/text_label.h"

#include <QComboBox>
#include <QFileDialog>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QLineEdit>
#include <QPushButton>
#include <QSignalBlocker>
#include <QSpinBox>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr int kLastRank = mindspore::kMostStrategyRanks - 1;
constexpr int kAllRanks = -1;

QString strategyText(const mindspore::Strategy& strategy)
{
    using Text = ConvertMindSporeOptions;
    return Text::tr("%1 in %2, %3", "ranks, stages, parameters")
        .arg(counted(strategy.worldSize(), Text::tr("1 rank"), Text::tr("%1 ranks")), counted(strategy.stageCount(), Text::tr("1 stage"), Text::tr("%1 stages")),
             counted(strategy.parameterCount(), Text::tr("1 parameter"), Text::tr("%1 parameters")));
}

} // namespace

ConvertMindSporeOptions::ConvertMindSporeOptions(OptionGrid& grid, QObject* parent)
    : QObject(parent), m_strategy(new QComboBox), m_container(new QComboBox), m_prefix(new QLineEdit), m_rank(new QSpinBox), m_size(new TextLabel({}, TextStyle::Body, Token::Text))
{
    m_strategyRow = grid.add(tr("Strategy"), makeStrategy());
    m_strategyRow.control->setAccessibleName(QString());
    m_container->addItem(QString());
    for (const char* container : {"ckpt", "safetensors"})
        m_container->addItem(QLatin1String(container), QLatin1String(container));
    m_containerRow = grid.add(tr("Files"), m_container);
    m_prefixRow = grid.add(tr("Names begin with"), m_prefix);
    m_rank->setRange(kAllRanks, kLastRank);
    m_rank->setSpecialValueText(tr("all ranks"));
    m_rankRow = grid.add(tr("Only rank"), m_rank);
    m_result = grid.add(tr("Result"), m_size);
    connect(m_container, &QComboBox::currentIndexChanged, this, &ConvertMindSporeOptions::edited);
    connect(m_prefix, &QLineEdit::textChanged, this, &ConvertMindSporeOptions::edited);
    connect(m_rank, &QSpinBox::valueChanged, this, &ConvertMindSporeOptions::edited);
    list(std::nullopt);
    connect(m_strategy, &QComboBox::currentIndexChanged, this, &ConvertMindSporeOptions::edited);
}

QWidget* ConvertMindSporeOptions::makeStrategy()
{
    auto* all = new QWidget;
    auto* row = new QHBoxLayout(all);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(Theme::current().px(8));
    m_strategy->setAccessibleName(tr("Strategy of the target"));
    m_strategy->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    m_strategy->setMinimumContentsLength(9);
    row->addWidget(m_strategy, 1);
    auto* file = new QPushButton(tr("File…"));
    file->setAccessibleName(tr("Choose a strategy file"));
    auto* folder = new QPushButton(tr("Folder…"));
    folder->setAccessibleName(tr("Choose the folder of the stages' strategy files"));
    for (QPushButton* button : {file, folder}) {
        button->setAutoDefault(true);
        row->addWidget(button);
    }
    connect(file, &QPushButton::clicked, this, [this] { askForStrategy(false); });
    connect(folder, &QPushButton::clicked, this, [this] { askForStrategy(true); });
    return all;
}

void ConvertMindSporeOptions::list(const std::optional<std::string>& chosen)
{
    if (m_strategy->count() == 0)
        m_strategy->addItem(tr("None: one file"));
    const QString wanted = chosen ? QString::fromStdString(*chosen) : QString();
    if (chosen && m_strategy->findData(wanted) < 0) {
        m_strategy->addItem(QFileInfo(wanted).fileName(), wanted);
        m_strategy->setItemData(m_strategy->count() - 1, wanted, Qt::ToolTipRole);
    }
    m_strategy->setCurrentIndex(chosen ? m_strategy->findData(wanted) : 0);
}

void ConvertMindSporeOptions::load(const JobDraft& draft, const StepFacts& facts)
{
    const QSignalBlocker quiet(this);
    const bool isShown = makesMindSpore(draft);
    for (const OptionRow* row : {&m_strategyRow, &m_containerRow, &m_result})
        row->setVisible(isShown);
    for (const OptionRow* row : {&m_prefixRow, &m_rankRow})
        row->setVisible(isShown && draft.strategy);
    if (!isShown)
        return;
    list(draft.strategy);
    const StrategyReading& target = facts.targetStrategy;
    const QString text = !draft.strategy             ? tr("every tensor whole, as one device would save it")
                         : !target.problem.isEmpty() ? target.problem
                         : !target.strategy          ? tr("the strategy is being read")
                                                     : strategyText(*target.strategy);
    m_strategyRow.setReason(text, draft.strategy && !target.problem.isEmpty());
    m_container->setItemText(0, draft.sourceIsMindSpore ? tr("As the source: %1").arg(QString::fromStdString(draft.sourceContainer)) : tr("As MindSpore saves: ckpt"));
    m_container->setCurrentIndex(draft.container ? std::max(0, m_container->findData(QString::fromStdString(*draft.container))) : 0);
    m_containerRow.setReason(containerOf(draft) == "ckpt" ? tr("MindSpore's own files: load_checkpoint reads them") : tr("read by load_checkpoint with format=\"safetensors\"; tensors only"));
    if (const QString prefix = QString::fromStdString(draft.prefix.value_or("")); m_prefix->text() != prefix)
        m_prefix->setText(prefix);
    m_prefix->setPlaceholderText(draft.sourceIsMindSpore ? tr("as the source's files") : QStringLiteral("model_rank_"));
    const auto fileOf = [&](int rank) { return QStringLiteral("rank_%1/%2%1.%3").arg(QString::number(rank), printableText(*draft.prefix), QString::fromStdString(containerOf(draft))); };
    m_prefixRow.setReason(draft.prefix ? tr("%1, %2 …", "names of files").arg(fileOf(0), fileOf(1)) : tr("then comes the number of the rank"));
    loadRank(draft, facts);
    const Outlook* run = facts.run.get();
    m_size->setText(run != nullptr && run->refusal.isEmpty() ? tr("%1 in %2").arg(bytesText(run->bytes), counted(run->files, tr("1 file"), tr("%1 files"))) : QString());
    const bool isRefused = run != nullptr && !run->refusal.isEmpty() && target.problem.isEmpty(); // else the strategy's own row says it
    m_result.setReason(isRefused ? run->refusal : run != nullptr && run->refusal.isEmpty() ? changeText(*run) : QString(), isRefused);
}

void ConvertMindSporeOptions::loadRank(const JobDraft& draft, const StepFacts& facts)
{
    const auto& strategy = facts.targetStrategy.strategy;
    m_rank->setMaximum(strategy ? static_cast<int>(strategy->worldSize() - 1) : kLastRank);
    m_rank->setValue(draft.rank ? static_cast<int>(*draft.rank) : kAllRanks);
    m_rankRow.setReason(draft.rank ? tr("only its file is written, as transform_checkpoint_by_rank does") : tr("a folder rank_N for each"));
}

void ConvertMindSporeOptions::take(JobDraft& draft) const
{
    if (!makesMindSpore(draft))
        return;
    const QVariant strategy = m_strategy->currentData();
    draft.strategy = strategy.isValid() ? std::optional(strategy.toString().toStdString()) : std::nullopt;
    const QVariant container = m_container->currentData();
    draft.container = container.isValid() ? std::optional(container.toString().toStdString()) : std::nullopt;
    draft.prefix = m_prefix->text().isEmpty() ? std::nullopt : std::optional(m_prefix->text().toStdString());
    draft.rank = m_rank->value() == kAllRanks || !draft.strategy ? std::nullopt : std::optional(static_cast<std::uint32_t>(m_rank->value()));
}

QString ConvertMindSporeOptions::summary(const JobDraft& draft, const StepFacts& facts)
{
    if (!draft.strategy)
        return tr("Whole model, %1").arg(QString::fromStdString(containerOf(draft)));
    const QString ranks = draft.rank                       ? tr("Rank %1").arg(*draft.rank)
                          : facts.targetStrategy.strategy ? counted(facts.targetStrategy.strategy->worldSize(), tr("1 rank"), tr("%1 ranks"))
                                                          : QFileInfo(QString::fromStdString(*draft.strategy)).fileName();
    return tr("%1, %2", "ranks, container").arg(ranks, QString::fromStdString(containerOf(draft)));
}

QString ConvertMindSporeOptions::obstacle(const JobDraft& draft, const StepFacts& facts)
{
    if (draft.strategy && !facts.targetStrategy.problem.isEmpty())
        return facts.targetStrategy.problem;
    return facts.run ? facts.run->refusal : tr("The result is being worked out.");
}

void ConvertMindSporeOptions::chooseStrategy(const QString& path)
{
    list(path.toStdString()); // signals, where it is another one
}

void ConvertMindSporeOptions::askForStrategy(bool isFolder)
{
    const QString known = m_strategy->currentData().toString();
    const QString from = known.isEmpty() ? QString() : QFileInfo(known).absolutePath();
    const QString path = isFolder ? QFileDialog::getExistingDirectory(m_strategy, tr("Choose the folder of the stages' strategy files"), from)
                                  : QFileDialog::getOpenFileName(m_strategy, tr("Choose a strategy file"), from, tr("Strategies (*.ckpt *.json);;All files (*)"));
    if (!path.isEmpty())
        chooseStrategy(path);
}

} // namespace shardlens::ui
