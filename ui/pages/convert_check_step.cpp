#include "ui/pages/convert_check_step.h"

#include "ui/jobs/job_texts.h"
#include "ui/jobs/parts.h"
#include "ui/models/atlas_text.h"
#include "ui/models/safety_check.h"
#include "ui/widgets/text_label.h"

#include <QHBoxLayout>
#include <QLocale>
#include <QPushButton>
#include <QVBoxLayout>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr std::size_t kMostFindings = 12;
constexpr std::size_t kMostNames = 6;

QString counted(std::size_t count)
{
    return QLocale().toString(static_cast<qulonglong>(count));
}

QString listed(const std::vector<std::string>& names)
{
    QStringList shown;
    for (std::size_t i = 0; i < std::min(names.size(), kMostNames); ++i)
        shown.push_back(QString::fromStdString(names[i]));
    const QString text = shown.join(QStringLiteral(", "));
    return names.size() > kMostNames ? ConvertCheckStep::tr("%1 and %2 more").arg(text, counted(names.size() - kMostNames)) : text;
}

std::size_t countOf(const Checkpoint& checkpoint, Severity severity)
{
    return static_cast<std::size_t>(
        std::count_if(checkpoint.findings().begin(), checkpoint.findings().end(), [severity](const Finding& one) { return one.severity == severity; }));
}

} // namespace

ConvertCheckStep::ConvertCheckStep(QWidget* parent) : ConvertStep(tr("Is the source whole?"), tr("Nothing is read but headers."), parent), m_place(new QVBoxLayout)
{
    body()->addLayout(m_place);
    auto* buttons = new QHBoxLayout;
    auto* again = new QPushButton(tr("Check again"));
    connect(again, &QPushButton::clicked, this, &ConvertCheckStep::checkAgain);
    m_moduleOnly = new QPushButton(tr("Module copy only"));
    connect(m_moduleOnly, &QPushButton::clicked, this, [this] {
        JobDraft next = draft();
        next.select = Select::Module;
        change(next);
    });
    buttons->addWidget(again);
    buttons->addWidget(m_moduleOnly);
    buttons->addStretch();
    body()->addLayout(buttons);
    body()->addStretch();
}

void ConvertCheckStep::addLine(Verdict verdict, const QString& sentence)
{
    const Theme& theme = Theme::current();
    auto* row = new QHBoxLayout;
    row->setSpacing(theme.px(12));
    const char* icon = verdict == Verdict::Good ? "check" : verdict == Verdict::Bad ? "warn" : verdict == Verdict::Note ? "info" : "clock";
    const Token tone = verdict == Verdict::Good ? Token::Ok : verdict == Verdict::Bad ? Token::Error : verdict == Verdict::Note ? Token::Info : Token::Text3;
    row->addWidget(new ToneIcon(QString::fromLatin1(icon), tone, 18), 0, Qt::AlignTop);
    auto* text = new TextLabel(sentence, TextStyle::Body, verdict == Verdict::Pending ? Token::Text3 : Token::Text);
    text->setWordWrap(true);
    text->setTextInteractionFlags(Qt::TextSelectableByMouse);
    row->addWidget(text, 1);
    static_cast<QVBoxLayout*>(m_lines->layout())->addLayout(row);
}

void ConvertCheckStep::load(const JobDraft& draft, const StepFacts& facts)
{
    keep(draft);
    delete m_lines;
    m_lines = new QWidget;
    auto* rows = new QVBoxLayout(m_lines);
    rows->setContentsMargins(0, 0, 0, 0);
    rows->setSpacing(Theme::current().px(10));
    m_place->addWidget(m_lines);
    if (!facts.checkpoint || !facts.source) {
        addLine(Verdict::Pending, tr("Looking for a source of every value."));
        m_moduleOnly->hide();
        return;
    }
    addCompleteness(draft, *facts.source);
    if (makesLayout(draft))
        addLayout(facts.outlook.get());
    else if (makesRun(draft))
        addRun(facts.outlook.get(), isModelParallel(*facts.checkpoint));
    addFiles(*facts.checkpoint, *facts.source);
    addPickles(*facts.source, facts.scan.get());
    addLeftOut(draft, facts);
    addFindings(*facts.checkpoint);
    const bool moduleHelps = !facts.source->completeFor(draft.select) && facts.source->completeFor(Select::Module);
    m_moduleOnly->setVisible((!takesWhole(draft) || (makesMindSpore(draft) && !draft.sourceIsMindSpore)) && draft.select != Select::Module && moduleHelps);
}

void ConvertCheckStep::addCompleteness(const JobDraft& draft, const SourceFacts& source)
{
    const auto incomplete = [this](const ContentFacts& content, const QString& what, Verdict verdict) {
        addLine(verdict, tr("%1: %2 of %3 tensors lack values, the first is %4.")
                             .arg(what, counted(content.incomplete), counted(content.tensors), QString::fromStdString(content.firstIncomplete)));
    };
    const bool states = source.optimizer.tensors > 0;
    if (source.weights.incomplete == 0 && source.optimizer.incomplete == 0) {
        addLine(Verdict::Good, states ? tr("Every value of %1 weights and %2 optimizer states has a source.")
                                            .arg(counted(source.weights.tensors), counted(source.optimizer.tensors))
                                      : tr("Every value of %1 tensors has a source.").arg(counted(source.weights.tensors)));
        return;
    }
    if (source.weights.incomplete > 0)
        incomplete(source.weights, tr("Weights"), contentsOf(draft) == Select::Module ? Verdict::Note : Verdict::Bad);
    else
        addLine(Verdict::Good, tr("Every value of %1 weights has a source.").arg(counted(source.weights.tensors)));
    const bool wanted = contentsOf(draft) == Select::Optimizer || contentsOf(draft) == Select::All;
    if (source.optimizer.incomplete > 0)
        incomplete(source.optimizer, tr("Optimizer"), wanted ? Verdict::Bad : Verdict::Note);
    if (source.completeFor(Select::Module) && source.weights.incomplete > 0)
        addLine(Verdict::Good, tr("The module copy is whole: %1 tensors.").arg(counted(source.module.tensors)));
}

// What the plan would refuse is said here already.
void ConvertCheckStep::addRun(const SourceOutlook* outlook, bool mayChange)
{
    if (outlook == nullptr)
        addLine(Verdict::Pending, tr("Looking whether training can go on from this checkpoint."));
    else if (!outlook->run.refusal.isEmpty())
        addLine(mayChange ? Verdict::Note : Verdict::Bad,
                (mayChange ? tr("It cannot be written again as it is: %1", "reason")
                           : tr("Training cannot go on from this checkpoint: %1", "reason"))
                    .arg(outlook->run.refusal));
    else
        addLine(Verdict::Good, (outlook->run.degreesBefore.isEmpty() ? tr("Training can go on: %1, with optimizer states and counters.")
                                                                     : tr("It can be merged and split anew: %1."))
                                   .arg(layoutText(*outlook->run.before, outlook->run.degreesBefore)));
}

void ConvertCheckStep::addLayout(const SourceOutlook* outlook)
{
    if (outlook == nullptr)
        addLine(Verdict::Pending, tr("Looking whether this checkpoint can be cut anew."));
    else if (!outlook->run.refusal.isEmpty())
        addLine(Verdict::Bad, tr("This checkpoint cannot be cut anew: %1", "reason").arg(outlook->run.refusal));
    else
        addLine(Verdict::Good,
                tr("It can be merged and split anew: %1.").arg(layoutText(*outlook->run.before, outlook->run.degreesBefore)));
}

void ConvertCheckStep::addFiles(const Checkpoint& checkpoint, const SourceFacts& source)
{
    const std::size_t total = checkpoint.files().size();
    const std::size_t sound = total - std::min(total, source.missingFiles.size() + source.changedFiles.size());
    const QString sentence = tr("%1 of %2 have the size and time that they were opened with.").arg(counted(sound), JobTexts::files(total));
    addLine(sound == total ? Verdict::Good : Verdict::Bad, sentence);
    if (!source.missingFiles.empty())
        addLine(Verdict::Bad, tr("Missing or not readable: %1.").arg(listed(source.missingFiles)));
    if (!source.changedFiles.empty())
        addLine(Verdict::Bad, tr("Changed since they were opened: %1. Check again.").arg(listed(source.changedFiles)));
}

void ConvertCheckStep::addPickles(const SourceFacts& source, const ScanReport* scan)
{
    const bool isClean = scan == nullptr || scan->verdict() == shardlens::Verdict::Safe;
    if (source.pickleFiles == 0 && isClean) {
        addLine(Verdict::Good, tr("These files hold no pickles, so no code."));
        return;
    }
    if (scan != nullptr)
        addVerdict(*scan);
    if (source.pickleFiles > 0)
        addLine(Verdict::Good, tr("%1 with pickles were read as data; nothing in them was executed.").arg(JobTexts::files(source.pickleFiles)));
}

// The converter's own list, where it takes the source as a whole.
void ConvertCheckStep::addLeftOut(const JobDraft& draft, const StepFacts& facts)
{
    if (!facts.outlook || !takesWhole(draft) || makesFrameworkFiles(draft) || draft.keepObjects)
        return;
    const QString classes = makesRun(draft) ? facts.outlook->run.leftOut : facts.outlook->tree ? facts.outlook->tree->leftOut : QString();
    if (!classes.isEmpty())
        addLine(Verdict::Note, tr("Objects of classes on no list of known ones are left out unless they are kept: %1.").arg(classes));
}

void ConvertCheckStep::addVerdict(const ScanReport& scan)
{
    if (scan.verdict() == shardlens::Verdict::Safe) {
        addLine(Verdict::Good, tr("No file holds code that runs on loading: %1.").arg(SafetyWords::amount(scan)));
        return;
    }
    const ScanFinding& worst = scan.findings.front();
    const QString what = tr("%1 %2: %3. The Safety page shows where.")
                             .arg(SafetyWords::sentence(scan), printableText(scan.files[worst.file].name), printableText(worst.finding.what));
    addLine(scan.verdict() == shardlens::Verdict::Unknown ? Verdict::Note : Verdict::Bad, what);
}

void ConvertCheckStep::addFindings(const Checkpoint& checkpoint)
{
    if (lacksStrategy(checkpoint))
        addLine(Verdict::Note, tr("No strategy says how these rank folders divide their tensors: each rank's are taken apart, as rank_0/… and so on. Choose the strategy on the overview to convert one model."));
    std::size_t shown = 0;
    for (const Severity severity : {Severity::Error, Severity::Warning}) {
        for (const Finding& finding : checkpoint.findings()) {
            if (finding.severity != severity || shown == kMostFindings)
                continue;
            ++shown;
            addLine(severity == Severity::Error ? Verdict::Bad : Verdict::Note, QString::fromStdString(finding.text));
        }
    }
    const std::size_t all = countOf(checkpoint, Severity::Error) + countOf(checkpoint, Severity::Warning);
    if (all > shown)
        addLine(Verdict::Note, tr("%1 more findings are on the overview.").arg(counted(all - shown)));
}

QString ConvertCheckStep::summary(const JobDraft& draft, const StepFacts& facts) const
{
    if (!facts.checkpoint || !facts.source)
        return {};
    if (!facts.source->completeFor(contentsOf(draft)))
        return tr("Not whole");
    const bool mayChange = isModelParallel(*facts.checkpoint) && !makesLayout(draft);
    if (makesRun(draft) && facts.outlook && !facts.outlook->run.refusal.isEmpty() && !mayChange)
        return makesLayout(draft) ? tr("Cannot be cut anew") : tr("Cannot be continued");
    const std::size_t warnings = countOf(*facts.checkpoint, Severity::Warning);
    if (warnings == 0)
        return tr("Complete");
    return warnings == 1 ? tr("Complete, 1 warning") : tr("Complete, %1 warnings").arg(counted(warnings));
}

QString ConvertCheckStep::obstacle(const JobDraft& draft, const StepFacts& facts) const
{
    if (!facts.source)
        return tr("The source is still being checked.");
    if (facts.source->of(contentsOf(draft)).incomplete > 0)
        return tr("Values of what would be written have no source.");
    const bool mayChange = facts.checkpoint && isModelParallel(*facts.checkpoint) && !makesLayout(draft);
    return makesRun(draft) && facts.outlook && !mayChange ? facts.outlook->run.refusal : QString();
}

} // namespace shardlens::ui
