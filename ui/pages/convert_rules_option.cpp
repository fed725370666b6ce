#include "ui/pages/convert_rules_option.h"

#include "core/format/format.h"
#include "core/layout/rule_library.h"
#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"

#include <QComboBox>
#include <QFileDialog>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QPushButton>
#include <QSignalBlocker>

#include <algorithm>

namespace shardlens::ui {
namespace {

std::string rulesFact(const Checkpoint& checkpoint)
{
    for (const auto& [name, value] : checkpoint.facts())
        if (name == "rules")
            return value;
    return {};
}

// The goal makes tensor-parallel ranks, or the source has them, and its format takes rules.
bool needsRules(const JobDraft& draft, const Checkpoint& source)
{
    const Format* format = formatById(source.formatId());
    const bool hasRanks = source.topology().sizeOf(Axis::Tp) > 1;
    return format != nullptr && format->hasRules && (hasRanks || (isModelParallel(source) && makesRun(draft)));
}

// Titles by id: the user's own take the place of built-in ones.
std::vector<std::pair<QString, QString>> knownRules()
{
    std::vector<std::pair<QString, QString>> out;
    const auto add = [&out](const RuleSet& rules) {
        const QString id = printableText(rules.id);
        if (std::none_of(out.begin(), out.end(), [&](const auto& known) { return known.first == id; }))
            out.emplace_back(id, printableText(rules.title));
    };
    for (const RuleFile& file : rulesIn(userRulesFolder()))
        if (file.rules)
            add(*file.rules);
    for (const RuleSet& rules : builtInRules())
        add(rules);
    return out;
}

} // namespace

ConvertRulesOption::ConvertRulesOption(OptionGrid& grid, QObject* parent) : QObject(parent), m_rules(new QComboBox)
{
    auto* both = new QWidget;
    auto* row = new QHBoxLayout(both);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(Theme::current().px(8));
    m_rules->setAccessibleName(tr("Rules for tensor-parallel ranks"));
    m_rules->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    m_rules->setMinimumContentsLength(12);
    row->addWidget(m_rules, 1);
    auto* file = new QPushButton(tr("File…"));
    file->setAutoDefault(true);
    file->setAccessibleName(tr("Choose a rule file"));
    file->setToolTip(tr("A JSON file that says which parameters are cut, and how (shardlens rules --help)"));
    row->addWidget(file);
    m_row = grid.add(tr("Rules"), both);
    both->setAccessibleName(QString());
    list(std::nullopt);
    connect(file, &QPushButton::clicked, this, &ConvertRulesOption::askForFile);
    connect(m_rules, &QComboBox::currentIndexChanged, this, &ConvertRulesOption::edited);
}

void ConvertRulesOption::list(const std::optional<std::string>& chosen)
{
    if (m_rules->count() == 0) {
        m_rules->addItem(tr("As found"));
        m_rules->setItemData(0, tr("What the run itself says, else the rules that know most of its names"), Qt::ToolTipRole);
        for (const auto& [id, title] : knownRules()) {
            m_rules->addItem(id, id);
            m_rules->setItemData(m_rules->count() - 1, title, Qt::ToolTipRole);
        }
    }
    const QString wanted = chosen ? QString::fromStdString(*chosen) : QString();
    if (chosen && m_rules->findData(wanted) < 0) {
        m_rules->addItem(QFileInfo(wanted).fileName(), wanted);
        m_rules->setItemData(m_rules->count() - 1, wanted, Qt::ToolTipRole);
    }
    m_rules->setCurrentIndex(chosen ? m_rules->findData(wanted) : 0);
}

void ConvertRulesOption::load(const JobDraft& draft, const StepFacts& facts)
{
    const QSignalBlocker quiet(this);
    m_isShown = facts.checkpoint && (needsRules(draft, *facts.checkpoint) || draft.rules);
    m_row.setVisible(m_isShown);
    if (!m_isShown)
        return;
    list(draft.rules);
    m_row.setReason(reasonOf(draft, facts), !facts.rulesProblem.isEmpty());
}

QString ConvertRulesOption::reasonOf(const JobDraft& draft, const StepFacts& facts) const
{
    if (facts.isReading)
        return tr("the source is being read by them");
    if (!facts.rulesProblem.isEmpty())
        return facts.rulesProblem;
    const QString title = m_rules->currentData(Qt::ToolTipRole).toString();
    if (draft.rules)
        return title.isEmpty() ? tr("the source was read by them") : tr("%1; the source was read by them", "title or path").arg(title);
    const QString help = tr("which parameters tensor-parallel ranks cut, and how; a file of yours can name others");
    const std::string found = rulesFact(*facts.checkpoint);
    return found.empty() ? help : tr("%1: %2", "id of the rules, what they say").arg(printableText(found), help);
}

void ConvertRulesOption::take(JobDraft& draft) const
{
    if (!m_isShown)
        return;
    const QVariant chosen = m_rules->currentData();
    draft.rules = chosen.isValid() ? std::optional(chosen.toString().toStdString()) : std::nullopt;
}

void ConvertRulesOption::chooseFile(const QString& path)
{
    list(path.toStdString()); // signals, where it is another one
}

void ConvertRulesOption::askForFile()
{
    const QString path = QFileDialog::getOpenFileName(m_rules, tr("Choose a rule file"), QString(), tr("Rule files (*.json)"));
    if (!path.isEmpty())
        chooseFile(path);
}

} // namespace shardlens::ui
