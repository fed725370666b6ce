#include "ui/pages/convert_whole_options.h"

#include "core/base/text.h"
#include "ui/jobs/job_texts.h"
#include "ui/widgets/text_label.h"

#include <QCheckBox>
#include <QComboBox>
#include <QSignalBlocker>
#include <QSpinBox>

#include <algorithm>
#include <tuple>

namespace shardlens::ui {
namespace {

constexpr int kMostRanks = 65'536; // what the engine cuts a run for
constexpr std::uint32_t kLastStage = 3;
constexpr qsizetype kMostSuggested = 8;
constexpr std::uint64_t kMostDivided = 65'536;

QString stageName(const TargetLayout& layout)
{
    QString title = QString::fromStdString(layout.title);
    return title.startsWith(QLatin1String("DeepSpeed ")) ? title.mid(10) : title;
}

// What another stage changes in the files and in training.
QString stageReason(const QString& now, const QString& then, std::optional<std::uint32_t> chosen)
{
    if (!chosen)
        return now.isEmpty() ? QString() : ConvertWholeOptions::tr("because the source is %1").arg(now);
    const bool wasThree = now == QLatin1String("ZeRO-3");
    if (now == then)
        return ConvertWholeOptions::tr("as the source");
    if (*chosen == kLastStage)
        return ConvertWholeOptions::tr("%1 now; parameters are divided too: a model file for every rank, and no module copies").arg(now);
    if (wasThree)
        return ConvertWholeOptions::tr("%1 now; one model file for all ranks, with module copies made from the masters").arg(now);
    return *chosen == 1 ? ConvertWholeOptions::tr("%1 now; in training, gradients are whole on every rank").arg(now)
                        : ConvertWholeOptions::tr("%1 now; in training, gradients are divided too").arg(now);
}

std::uint64_t countIn(const Checkpoint& checkpoint, std::string_view fact)
{
    for (const auto& [name, value] : checkpoint.facts())
        if (name == fact)
            return QString::fromStdString(value).toULongLong();
    return 0;
}

// "8 heads divide by 1, 2, 4, 8": where the checkpoint says what is divided; the plan decides, whatever is said here.
QString sizesThatFit(const Checkpoint& checkpoint, Axis axis)
{
    const bool mustDivide =
        axis != Axis::Dp && (axis != Axis::Pp || checkpoint.formatId() == "megatron"); // DeepSpeed's stages may differ by a layer
    const std::uint64_t count = mustDivide ? countIn(checkpoint, axis == Axis::Tp   ? "attention heads"
                                                                 : axis == Axis::Pp ? "layers"
                                                                                    : "experts")
                                           : 0;
    if (count < 2 || count > kMostDivided) // a number of a file, which may be anything
        return {};
    QStringList divisors;
    for (std::uint64_t i = 1; i <= count && divisors.size() < kMostSuggested; ++i)
        if (count % i == 0)
            divisors << QString::number(i);
    const QString all = divisors.join(QStringLiteral(", "));
    return axis == Axis::Tp   ? ConvertWholeOptions::tr("%1 attention heads divide by %2").arg(count).arg(all)
           : axis == Axis::Pp ? ConvertWholeOptions::tr("%1 layers divide by %2").arg(count).arg(all)
                              : ConvertWholeOptions::tr("%1 experts divide by %2").arg(count).arg(all);
}

// The axes that the goal can cut the source along.
bool hasAxis(const JobDraft& draft, const Checkpoint& source, Axis axis)
{
    if (makesSharded(draft))
        return hasStages(draft) && (axis == Axis::Tp || axis == Axis::Pp);
    if (!makesRun(draft))
        return false;
    if (!makesLayout(draft))
        return axis == Axis::Dp || (axis != Axis::Ep && isModelParallel(source));
    return axis == Axis::Tp || (axis != Axis::Dp && draft.format == "megatron");
}

// How many ranks the source has along it; 0: it does not say. A framework that takes any source divides only its own as it is.
std::uint32_t sourceSize(const JobDraft& draft, const StepFacts& facts, Axis axis)
{
    const Topology& topology = facts.checkpoint->topology();
    if (makesSharded(draft))
        return facts.checkpoint->formatId() == draft.format ? std::max(1u, topology.sizeOf(axis)) : 1;
    if (isModelParallel(*facts.checkpoint))
        return topology.axes.empty() ? 0 : topology.sizeOf(axis);
    return facts.outlook && facts.outlook->run.before ? facts.outlook->run.before->ranks : 0;
}

template <typename Draft> // const or not
auto& sizeIn(Draft& draft, Axis axis)
{
    return axis == Axis::Tp ? draft.tp : axis == Axis::Pp ? draft.pp : axis == Axis::Ep ? draft.ep : draft.dp;
}

} // namespace

ConvertWholeOptions::ConvertWholeOptions(OptionGrid& grid, QObject* parent) : QObject(parent)
{
    m_contents = grid.add(tr("Contents"), new TextLabel(tr("Everything, as it is"), TextStyle::Body, Token::Text));
    for (const auto& [axis, label, name] : {std::tuple{Axis::Tp, tr("Tensor parallel"), tr("Tensor-parallel ranks")},
                                            {Axis::Pp, tr("Pipeline stages"), tr("Pipeline stages")},
                                            {Axis::Ep, tr("Expert parallel"), tr("Expert-parallel ranks")},
                                            {Axis::Dp, tr("Data parallel"), tr("Data-parallel ranks")}}) {
        auto* size = new QSpinBox;
        size->setRange(1, kMostRanks);
        size->setAccessibleName(name);
        connect(size, &QSpinBox::valueChanged, this, &ConvertWholeOptions::edited);
        m_axes.push_back({axis, grid.add(label, size), size});
    }
    m_zeroStage = new QComboBox;
    m_zeroStage->addItem(tr("As the source"));
    for (std::uint32_t stage = 1; stage <= kLastStage; ++stage)
        m_zeroStage->addItem(QStringLiteral("ZeRO-%1").arg(stage), stage);
    m_stage = grid.add(tr("ZeRO stage"), m_zeroStage);
    m_keep = new QCheckBox(tr("Keep them"));
    m_keep->setAccessibleName(tr("Keep objects of unknown classes"));
    m_objects = grid.add(tr("Unknown objects"), m_keep);
    connect(m_zeroStage, &QComboBox::currentIndexChanged, this, &ConvertWholeOptions::edited);
    connect(m_keep, &QCheckBox::toggled, this, &ConvertWholeOptions::edited);
}

void ConvertWholeOptions::addResult(OptionGrid& grid)
{
    m_size = new TextLabel({}, TextStyle::Body, Token::Text);
    m_result = grid.add(tr("Result"), m_size);
}

void ConvertWholeOptions::load(const JobDraft& draft, const StepFacts& facts)
{
    const QSignalBlocker quiet(this);
    const bool isLayout = makesLayout(draft);
    for (const OptionRow* row : {&m_contents, &m_result})
        row->setVisible(takesAll(draft));
    m_stage.setVisible(makesRun(draft) && !isLayout);
    m_objects.setVisible(takesWhole(draft) && !isLayout && !makesFrameworkFiles(draft));
    loadAxes(draft, facts);
    if (!isLayout)
        loadStage(draft, facts);
    loadResult(facts);
    loadObjects(draft, facts);
}

// How many ranks the source has on each axis, and sizes that its own counts divide by.
void ConvertWholeOptions::loadAxes(const JobDraft& draft, const StepFacts& facts)
{
    const bool isParallel = facts.checkpoint && isModelParallel(*facts.checkpoint);
    const bool known = facts.checkpoint && facts.outlook && (isParallel || makesSharded(draft) || facts.outlook->run.before);
    for (AxisSize& axis : m_axes) {
        axis.isShown = facts.checkpoint ? hasAxis(draft, *facts.checkpoint, axis.axis) : makesRun(draft) && axis.axis == Axis::Dp;
        axis.row.setVisible(axis.isShown);
        if (axis.axis == Axis::Dp)
            axis.row.label->setText(isParallel ? tr("Data parallel") : tr("Ranks"));
        const std::optional<std::uint32_t> chosen = sizeIn(draft, axis.axis);
        axis.source = known ? sourceSize(draft, facts, axis.axis) : 0;
        const bool isUnsaid = known && axis.source == 0;
        axis.size->setSpecialValueText(isUnsaid ? tr("as the source") : QString());
        axis.size->setMinimum(isUnsaid ? 0 : 1);
        axis.size->setValue(static_cast<int>(chosen.value_or(isUnsaid ? 0 : std::max(1u, axis.source))));
        axis.size->setEnabled(known);
        axis.row.setReason(known ? reasonOf(draft, axis, chosen, facts) : QString());
    }
}

QString ConvertWholeOptions::reasonOf(const JobDraft& draft, const AxisSize& axis, std::optional<std::uint32_t> chosen, const StepFacts& facts)
{
    if (makesSharded(draft) && facts.checkpoint->formatId() != draft.format)
        return axis.axis == Axis::Tp ? tr("ranks that share each layer") : tr("ranks that hold some of the layers each");
    const QString source = QString::fromStdString(groupedText(axis.source));
    if (!isModelParallel(*facts.checkpoint) && !makesSharded(draft))
        return !chosen || *chosen == axis.source
                   ? tr("data parallel, as many as the source has")
                   : tr("data parallel; the source has %1, and every rank gets a share of its own").arg(source);
    if (axis.source == 0)
        return tr("a universal checkpoint does not say how many there were");
    const QString now = chosen ? tr("the source has %1").arg(source) : tr("as the source");
    const QString fits = sizesThatFit(*facts.checkpoint, axis.axis);
    return fits.isEmpty() ? now : tr("%1; %2", "what the source has, what fits").arg(now, fits);
}

void ConvertWholeOptions::loadStage(const JobDraft& draft, const StepFacts& facts)
{
    const bool known = facts.outlook && facts.outlook->run.before;
    const QString now = known ? stageName(*facts.outlook->run.before) : QString();
    m_zeroStage->setItemText(0, now.isEmpty() ? tr("As the source") : tr("As the source: %1").arg(now));
    m_zeroStage->setCurrentIndex(draft.zeroStage ? std::max(0, m_zeroStage->findData(*draft.zeroStage)) : 0);
    m_zeroStage->setEnabled(known || (facts.outlook && facts.checkpoint && isModelParallel(*facts.checkpoint)));
    const Outlook* run = facts.run.get();
    const QString asked = draft.zeroStage ? QStringLiteral("ZeRO-%1").arg(*draft.zeroStage) : now;
    m_stage.setReason(stageReason(now, run != nullptr && run->after ? stageName(*run->after) : asked, draft.zeroStage));
}

void ConvertWholeOptions::loadResult(const StepFacts& facts)
{
    const Outlook* run = facts.run.get();
    const bool refused = run != nullptr && !run->refusal.isEmpty();
    m_contents.setReason(run == nullptr || run->dropped.isEmpty()
                             ? tr("an engine resumes from all of it: precision, names and file sizes are not chosen here")
                             : tr("without %1: the plan says why", "Optimizer state").arg(run->dropped.join(QStringLiteral(", "))));
    m_size->setText(run == nullptr ? tr("being worked out")
                    : refused      ? tr("cannot be written")
                              : tr("%1, %2", "files, size").arg(JobTexts::files(run->files), QString::fromStdString(sizeText(run->bytes))));
    m_result.setReason(!facts.rulesProblem.isEmpty() ? tr("the rules above cannot be used")
                       : refused                     ? run->refusal
                       : run != nullptr              ? changeText(*run)
                                                     : QString(),
                       refused);
}

void ConvertWholeOptions::loadObjects(const JobDraft& draft, const StepFacts& facts)
{
    const Outlook* source = !facts.outlook        ? nullptr
                            : makesRun(draft)     ? &facts.outlook->run
                            : facts.outlook->tree ? &*facts.outlook->tree
                                                  : nullptr;
    const bool lost = source != nullptr && !makesRun(draft) && !source->refusal.isEmpty(); // a tree may be refused for what it would lose
    const bool some = source != nullptr && (lost || !source->leftOut.isEmpty());
    m_keep->setChecked(draft.keepObjects);
    m_keep->setEnabled(some || draft.keepObjects); // what a job file asks for can be taken back
    if (source == nullptr || (!source->refusal.isEmpty() && !lost))
        m_objects.setReason({});
    else if (draft.keepObjects && some)
        m_objects.setReason(tr("written as they are: loading the files in Python runs code of their classes, as it does with the source"));
    else if (lost)
        m_objects.setReason(source->refusal, true);
    else
        m_objects.setReason(some ? tr("left out, because their classes are on no list of known ones: %1").arg(source->leftOut)
                                 : tr("nothing to choose: every object of the source is written again"));
}

void ConvertWholeOptions::take(JobDraft& draft) const
{
    if (takesWhole(draft) && !makesFrameworkFiles(draft))
        draft.keepObjects = m_keep->isChecked();
    for (const AxisSize& axis : m_axes) {
        if (!axis.isShown || !axis.size->isEnabled())
            continue;
        const auto size = static_cast<std::uint32_t>(axis.size->value());
        sizeIn(draft, axis.axis) = size == axis.source ? std::nullopt : std::optional(size); // 0: as a source that does not say
    }
    if (!makesRun(draft) || makesLayout(draft) || !m_zeroStage->isEnabled())
        return;
    const QVariant stage = m_zeroStage->currentData();
    draft.zeroStage = stage.isValid() ? std::optional(stage.toUInt()) : std::nullopt;
}

QString ConvertWholeOptions::summary(const JobDraft& draft, const StepFacts& facts)
{
    if (!facts.checkpoint)
        return {};
    if (makesSharded(draft) && hasWriters(draft))
        return QString::fromStdString(plural(draft.writers, "writer", "writers"));
    if (isModelParallel(*facts.checkpoint) || makesSharded(draft)) {
        QStringList sizes;
        for (const Axis axis : {Axis::Tp, Axis::Pp, Axis::Ep, Axis::Dp}) {
            const std::uint32_t ranks = sizeIn(draft, axis).value_or(sourceSize(draft, facts, axis));
            const bool tells = axis == Axis::Tp || axis == Axis::Pp ? ranks > 0 : ranks > 1;
            if (hasAxis(draft, *facts.checkpoint, axis) && (tells || sizeIn(draft, axis)))
                sizes << QStringLiteral("%1 %2").arg(QLatin1String(nameOf(axis))).arg(ranks);
        }
        if (!makesLayout(draft) && !makesSharded(draft) && draft.zeroStage)
            sizes << QStringLiteral("ZeRO-%1").arg(*draft.zeroStage);
        return sizes.isEmpty() ? tr("As the source") : sizes.join(QStringLiteral(", "));
    }
    const std::optional<TargetLayout> now = facts.outlook ? facts.outlook->run.before : std::nullopt;
    const std::uint32_t ranks = draft.dp.value_or(now ? now->ranks : 0);
    const QString stage = draft.zeroStage ? QStringLiteral("ZeRO-%1").arg(*draft.zeroStage) : now ? stageName(*now) : QString();
    if (ranks == 0 || stage.isEmpty())
        return {};
    const QString count = ranks == 1 ? tr("1 rank") : tr("%1 ranks").arg(QString::fromStdString(groupedText(ranks)));
    return tr("%1, %2", "ranks, stage").arg(count, stage);
}

QString ConvertWholeOptions::obstacle(const JobDraft& draft, const StepFacts& facts)
{
    if (takesAll(draft))
        return facts.run ? facts.run->refusal : QString();
    if (keepsTree(draft) && !draft.keepObjects && facts.outlook && facts.outlook->tree)
        return facts.outlook->tree->refusal;
    return {};
}

} // namespace shardlens::ui
