#include "ui/pages/convert_page.h"

#include "core/layout/selection.h"
#include "ui/jobs/job_queue.h"
#include "ui/jobs/job_texts.h"
#include "ui/jobs/parts.h"
#include "ui/models/document.h"
#include "ui/models/safety_check.h"
#include "ui/pages/convert_check_step.h"
#include "ui/pages/convert_goal_step.h"
#include "ui/pages/convert_job_file.h"
#include "ui/pages/convert_options_step.h"
#include "ui/pages/convert_plan_step.h"
#include "ui/pages/convert_step_list.h"
#include "ui/theme/theme.h"
#include "ui/widgets/banner.h"
#include "ui/widgets/text_label.h"

#include <QClipboard>
#include <QFileDialog>
#include <QFileInfo>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QLineEdit>
#include <QPushButton>
#include <QResizeEvent>
#include <QSettings>
#include <QStackedWidget>
#include <QVBoxLayout>

#include <tuple>

namespace shardlens::ui {
namespace {

TargetOptions targetOptionsOf(const JobDraft& draft)
{
    TargetOptions out;
    out.open = draft.open;
    out.open.rules = draft.rules;
    if (makesMindSpore(draft)) {
        out.select = contentsOf(draft);
        out.strategy = draft.strategy;
        out.prefix = draft.prefix;
        out.container = draft.container;
        out.rank = draft.rank;
        return out;
    }
    if (makesSharded(draft)) {
        const ConvertRequest asked = requestOf(draft);
        out.tp = asked.tp;
        out.pp = asked.pp;
        out.dp = asked.dp;
        return out;
    }
    out.tp = draft.tp;
    out.pp = draft.pp;
    if (makesLayout(draft)) {
        out.ep = draft.ep;
        return out;
    }
    out.dp = draft.dp;
    out.zeroStage = draft.zeroStage;
    out.keepObjects = draft.keepObjects;
    return out;
}

// The format whose files the draft makes of the source as a whole; empty: its run, or tensors that are picked.
std::string filesAsked(const JobDraft& draft)
{
    return makesFrameworkFiles(draft) ? draft.format : std::string();
}

constexpr int kNextWidth = 104;
constexpr int kOneRow = 1060; // design pixels: a narrower page puts the buttons below the target
constexpr int kReplanMs = 200; // after the last key stroke

QStringList stepNames()
{
    return {ConvertPage::tr("Goal"), ConvertPage::tr("Source check"), ConvertPage::tr("Options"), ConvertPage::tr("Plan"), ConvertPage::tr("Run")};
}

} // namespace

ConvertPage::ConvertPage(Document* document, JobQueue* queue, QWidget* parent) : Page(document, parent), m_queue(queue), m_facts(new ConvertFacts(this))
{
    auto* columns = new QHBoxLayout(this);
    columns->setContentsMargins(0, 0, 0, 0);
    columns->setSpacing(0);
    m_list = new ConvertStepList(stepNames());
    columns->addWidget(m_list);
    auto* rows = new QVBoxLayout;
    rows->setSpacing(0);
    m_stack = new QStackedWidget;
    auto* check = new ConvertCheckStep;
    m_goal = new ConvertGoalStep;
    m_options = new ConvertOptionsStep;
    m_plan = new ConvertPlanStep;
    m_steps = {m_goal, check, m_options, m_plan};
    for (ConvertStep* step : m_steps) {
        m_stack->addWidget(step);
        connect(step, &ConvertStep::edited, this, &ConvertPage::take);
    }
    rows->addWidget(m_stack, 1);
    m_bannerPlace = new QVBoxLayout;
    rows->addLayout(m_bannerPlace);
    rows->addWidget(makeFooter());
    columns->addLayout(rows, 1);
    m_replanSoon.setSingleShot(true);
    m_replanSoon.setInterval(kReplanMs);
    connect(&m_replanSoon, &QTimer::timeout, this, &ConvertPage::replan);
    connect(m_goal, &ConvertGoalStep::openJobFile, this, &ConvertPage::chooseJobFile);
    connect(check, &ConvertCheckStep::checkAgain, document, &Document::load);
    connect(m_list, &ConvertStepList::chosen, this, [this](int index) { goTo(static_cast<Step>(index)); });
    connect(m_plan, &ConvertPlanStep::tensorChosen, this, &ConvertPage::openTensor);
    connect(&m_planner, &ConvertPlanner::planned, this, [this](const std::shared_ptr<const PlannedJob>& job) {
        m_plan->showPlan(job, m_queue->measuredRate(job->disk));
        showAll();
    });
    connect(m_facts, &ConvertFacts::known, this, &ConvertPage::adoptFacts);
    connect(document, &Document::stateChanged, this, &ConvertPage::adoptDocument);
    connect(document->safety(), &SafetyCheck::changed, this, [this, check] {
        m_facts->setScan(this->document()->safety()->report());
        check->load(m_draft, facts());
    });
    connect(queue, &JobQueue::changed, this, &ConvertPage::showSteps);
    adoptDocument();
}

QWidget* ConvertPage::makeFooter()
{
    const Theme& theme = Theme::current();
    auto* footer = new Ground(Token::Surface, Ground::Edge::Top);
    auto* column = new QVBoxLayout(footer);
    column->setContentsMargins(theme.px(32), theme.px(16), theme.px(32), theme.px(16));
    column->setSpacing(theme.px(8));
    m_why = new TextLabel({}, TextStyle::Body, Token::Error);
    m_why->setWordWrap(true);
    m_why->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_why->hide();
    column->addWidget(m_why);
    m_footer = new QBoxLayout(QBoxLayout::LeftToRight);
    column->addLayout(m_footer);
    m_footer->setSpacing(theme.px(24));
    auto* row = new QHBoxLayout;
    m_footer->addLayout(row, 1);
    row->setSpacing(theme.px(8));
    row->addWidget(new TextLabel(tr("To"), TextStyle::Body, Token::Text3));
    m_target = new QLineEdit;
    m_target->setFont(theme.font(TextStyle::Mono));
    m_target->setAccessibleName(tr("To: the folder or file that will be made"));
    connect(m_target, &QLineEdit::textEdited, this, &ConvertPage::setTarget);
    row->addWidget(m_target, 1);
    const auto add = [&](const QString& label, void (ConvertPage::*pressed)()) {
        auto* button = new QPushButton(label);
        button->setAutoDefault(true); // Enter presses it, as Space does
        connect(button, &QPushButton::clicked, this, pressed);
        row->addWidget(button);
        return button;
    };
    m_choose = add(tr("Choose…"), &ConvertPage::chooseTarget);
    row = new QHBoxLayout;
    row->setSpacing(theme.px(8));
    m_footer->addLayout(row);
    row->addStretch(1);
    m_save = add(tr("Save job file…"), &ConvertPage::saveJobFile);
    m_copy = add(tr("Copy command line"), &ConvertPage::copyCommandLine);
    m_back = add(tr("Back"), &ConvertPage::back);
    m_next = add(tr("Next"), &ConvertPage::next);
    m_next->setProperty("primary", true);
    return footer;
}

// A checkpoint that was opened anew is checked anew; what was chosen stays.
void ConvertPage::adoptDocument()
{
    const CheckpointPtr checkpoint = document()->checkpoint();
    m_planner.cancel();
    m_plan->showPlan(nullptr, std::nullopt);
    m_facts->lookAt(checkpoint, document()->options());
    m_facts->setScan(document()->safety()->report());
    if (checkpoint) {
        m_draft.source = checkpoint->path();
        m_draft.open = document()->options();
        m_draft.sourceIsMindSpore = checkpoint->formatId() == "mindspore";
        const auto& files = checkpoint->files();
        m_draft.sourceContainer = m_draft.sourceIsMindSpore && !files.empty() && files.front().container.find("safetensors") != std::string::npos ? "safetensors" : "ckpt";
        m_facts->lookAtRun(targetOptionsOf(m_draft), filesAsked(m_draft));
        if (m_draft.tag != checkpoint->subtitle())
            m_draft.tag.reset(); // `latest` names another one now
        if (!m_draft.targetChosen)
            propose();
        const QString subtitle = QString::fromStdString(checkpoint->subtitle());
        const QString title = QString::fromStdString(checkpoint->title());
        m_list->setSubject(subtitle.isEmpty() ? title : tr("%1, %2", "title, tag").arg(title, subtitle));
    }
    loadSteps();
    showAll();
    if (m_step == Plan)
        replan();
}

void ConvertPage::adoptFacts()
{
    const bool wasTree = keepsTree(m_draft);
    if (m_step == Plan && !m_plan->planned() && !m_planner.isRunning())
        replan(); // the source has been read by other rules
    if (facts().outlook)
        m_draft.sourceIsTree = facts().outlook->tree.has_value();
    if (keepsTree(m_draft) != wasTree) {
        propose();
        changed();
    }
    loadSteps();
    showAll();
}

// The target follows the other choices; what the user has chosen keeps its name, with the ending that the goal wants.
void ConvertPage::propose()
{
    m_draft.target = m_draft.targetChosen ? withEnding(m_draft.target, m_draft) : proposedTarget(m_draft, *facts().checkpoint);
}

void ConvertPage::loadSteps(const QObject* besides)
{
    for (ConvertStep* step : m_steps)
        if (step != besides)
            step->load(m_draft, facts());
}

// What the settings say now, unless the user has chosen otherwise on this page.
void ConvertPage::adoptSettings()
{
    const QSettings settings;
    const auto memory = std::uint64_t{settings.value(QStringLiteral("jobs/memoryMiB"), 256).toUInt()} << 20;
    const auto threads = static_cast<std::uint32_t>(settings.value(QStringLiteral("jobs/threads"), 0).toUInt());
    if (m_draft.memoryLimit == m_settingMemory)
        m_draft.memoryLimit = memory;
    if (m_draft.threads == m_settingThreads)
        m_draft.threads = threads;
    m_settingMemory = memory;
    m_settingThreads = threads;
}

void ConvertPage::activate()
{
    const JobDraft before = m_draft;
    adoptSettings();
    if (m_draft != before) {
        loadSteps();
        changed();
    }
    if (m_step == Plan) // the target's disk may have changed
        replan();
}

// From a step: it shows already what it says.
void ConvertPage::take(const JobDraft& draft)
{
    const JobDraft before = m_draft;
    m_draft = draft;
    const auto naming = [](const JobDraft& of) { return std::tuple(of.format, makesOneFile(of), of.writers, of.dp, of.zeroStage, of.tp, of.pp, of.ep, of.rank, containerOf(of), makesCodes(of) ? of.scheme : std::string()); };
    if (facts().checkpoint && naming(draft) != naming(before))
        propose();
    if (draft.rules != before.rules)
        m_facts->readBy(draft.rules);
    const auto cutting = [](const JobDraft& of) { return std::tuple(makesLayout(of), filesAsked(of), makesSharded(of) ? of.writers : 0, of.dp, of.zeroStage, of.tp, of.pp, of.ep, of.keepObjects); };
    const auto files = [](const JobDraft& of) { return std::tuple(of.strategy, of.prefix, of.container, of.rank, contentsOf(of)); };
    const bool cutAnew = cutting(draft) != cutting(before) || draft.rules != before.rules || (makesMindSpore(draft) && files(draft) != files(before));
    m_facts->lookAtStrategy(draft.strategy);
    if (cutAnew)
        m_facts->lookAtRun(targetOptionsOf(draft), filesAsked(draft));
    loadSteps(cutAnew ? nullptr : sender());
    changed();
}

// The page of a tensor of the open checkpoint; the wizard stays as it is.
void ConvertPage::openTensor(const QString& name)
{
    const Checkpoint& checkpoint = *document()->checkpoint();
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (checkpoint.fullName(idAt<TensorId>(i)) == name.toStdString()) {
            document()->selectTensor(idAt<TensorId>(i));
            emit document()->pageRequested(QStringLiteral("tensor"));
            return;
        }
}

void ConvertPage::setGoal(const QString& format)
{
    take(withGoal(m_draft, format.toStdString()));
    goTo(Check);
}

void ConvertPage::setTarget(const QString& target)
{
    m_draft.target = target;
    m_draft.targetChosen = !target.isEmpty();
    if (!takesWhole(m_draft) && hasShards(m_draft))
        m_draft.oneFile = namesFile(target);
    if (makesMindSpore(m_draft) && namesFile(target)) // its ending says what it is
        if (const std::string said = target.endsWith(QLatin1String(".ckpt")) ? "ckpt" : "safetensors"; said != containerOf(m_draft))
            m_draft.container = said;
    loadSteps();
    changed();
}

void ConvertPage::changed()
{
    m_planner.cancel();
    m_plan->showPlan(nullptr, std::nullopt);
    if (m_step == Plan)
        m_replanSoon.start();
    showAll();
}

void ConvertPage::replan()
{
    m_replanSoon.stop();
    if (!facts().checkpoint || facts().isReading || !facts().rulesProblem.isEmpty() || m_draft.target.isEmpty())
        return;
    m_planner.start(facts().checkpoint, requestOf(m_draft));
}

void ConvertPage::goTo(Step step)
{
    if (step == Run) {
        if (m_job)
            m_queue->showJob(m_job);
        return;
    }
    m_step = step;
    m_stack->setCurrentIndex(step);
    if (step == Plan && !m_plan->planned())
        replan();
    showAll();
}

QString ConvertPage::obstacle() const
{
    if (!facts().checkpoint)
        return tr("The checkpoint is not open.");
    if (facts().isReading)
        return tr("The source is being read by the rules that were chosen.");
    if (!facts().rulesProblem.isEmpty())
        return facts().rulesProblem;
    if (m_draft.target.isEmpty())
        return tr("A target is needed.");
    if (const QString problem = problemOfTarget(m_draft); !problem.isEmpty())
        return problem;
    if (m_step == Plan) {
        const auto& planned = m_plan->planned();
        return !planned ? tr("The plan is being made.") : planned->refusal;
    }
    return m_steps[m_step]->obstacle(m_draft, facts());
}

void ConvertPage::showAll()
{
    showSteps();
    showFooter();
}

void ConvertPage::showSteps()
{
    for (int i = 0; i < Run; ++i) {
        const auto state = i == m_step ? ConvertStepItem::State::Current : i < m_step ? ConvertStepItem::State::Done : ConvertStepItem::State::Ahead;
        m_list->showStep(i, state, m_steps[static_cast<std::size_t>(i)]->summary(m_draft, facts()), facts().checkpoint != nullptr);
    }
    const QString running = !m_job ? QString() : m_job->isActive() ? JobTexts::percent(m_job->share()) : JobTexts::outcome(*m_job);
    m_list->showStep(Run, m_job && m_job->isOver() ? ConvertStepItem::State::Done : ConvertStepItem::State::Ahead, running, !m_job.isNull());
}

void ConvertPage::showFooter()
{
    if (m_target->text() != m_draft.target)
        m_target->setText(m_draft.target);
    const QString why = obstacle();
    const bool open = facts().checkpoint != nullptr;
    if (!why.isEmpty() && m_next->hasFocus())
        setFocus(); // a disabled button would hand the keyboard to the tab above
    m_next->setText(m_step == Plan ? tr("Start") : tr("Next"));
    m_next->setEnabled(why.isEmpty());
    m_next->setToolTip(why.toHtmlEscaped());
    const bool isPlanning = m_step == Plan && !m_plan->planned() && !m_draft.target.isEmpty() && problemOfTarget(m_draft).isEmpty();
    if (open && !isPlanning) { // while the plan is made nothing moves
        m_why->setText(why);
        m_why->setVisible(!why.isEmpty());
    }
    m_back->setEnabled(m_step != Goal);
    m_save->setEnabled(open && !m_draft.target.isEmpty());
    m_copy->setEnabled(open && !m_draft.target.isEmpty());
}

void ConvertPage::resizeEvent(QResizeEvent* event)
{
    const bool narrow = event->size().width() < Theme::current().px(kOneRow);
    m_footer->setDirection(narrow ? QBoxLayout::TopToBottom : QBoxLayout::LeftToRight);
    m_next->setMinimumWidth(narrow ? 0 : Theme::current().px(kNextWidth));
    Page::resizeEvent(event);
}

void ConvertPage::next()
{
    if (!obstacle().isEmpty())
        return;
    if (m_step == Plan)
        start();
    else
        goTo(static_cast<Step>(m_step + 1));
}

void ConvertPage::back()
{
    if (m_step != Goal)
        goTo(static_cast<Step>(m_step - 1));
}

void ConvertPage::start()
{
    const std::shared_ptr<const PlannedJob> planned = m_plan->planned();
    if (!planned || !planned->canStart())
        return;
    JobSpec spec;
    spec.request = planned->request;
    spec.title = JobTexts::titleOf(planned->request, QString::fromStdString(planned->plan->formatId));
    spec.disk = planned->disk;
    if (planned->picture)
        spec.files = planned->picture->jobFiles();
    m_job = m_queue->submit(std::move(spec));
    m_plan->showPlan(nullptr, std::nullopt); // the target's name is taken from now on
    showAll();
    emit jobStarted(m_job);
    m_queue->showJob(m_job);
}

Job* ConvertPage::job() const
{
    return m_job;
}

void ConvertPage::chooseTarget()
{
    const QString target = QFileDialog::getSaveFileName(this, makesOneFile(m_draft) ? tr("The file that will be made") : tr("The folder that will be made"), m_draft.target, QString(), nullptr,
                                                        QFileDialog::DontConfirmOverwrite);
    if (!target.isEmpty())
        setTarget(target);
}

void ConvertPage::chooseJobFile()
{
    const QString path = QFileDialog::getOpenFileName(this, tr("Open job file"), QFileInfo(m_draft.target).absolutePath(), tr("Job documents (*.json)"));
    if (!path.isEmpty())
        openJobFile(path);
}

void ConvertPage::openJobFile(const QString& path)
{
    const auto request = readJobFile(path);
    const auto draft = !request              ? Result<JobDraft>(request.error())
                       : !facts().checkpoint ? Result<JobDraft>(Error{ErrorCode::NotFound, "no checkpoint is open"})
                                             : draftOf(*request, m_draft, *facts().checkpoint);
    if (!draft) {
        say(false, tr("The job file was not taken over."), QString::fromStdString(draft.error().sentence()));
        return;
    }
    m_draft = *draft;
    m_facts->readBy(draft->rules);
    m_facts->lookAtStrategy(draft->strategy);
    m_facts->lookAtRun(targetOptionsOf(*draft), filesAsked(*draft));
    loadSteps();
    changed();
    const QString asked = QFileInfo(QString::fromStdString(request->source)).canonicalFilePath();
    if (asked == QFileInfo(QString::fromStdString(m_draft.source)).canonicalFilePath())
        say(true, tr("The choices of the job file were taken over."), {});
    else
        say(true, tr("The choices of the job file were taken over."),
            tr("It is about %1; the source here stays %2.").arg(QString::fromStdString(request->source), QString::fromStdString(m_draft.source)));
}

void ConvertPage::saveJobFile()
{
    const QString path = QFileDialog::getSaveFileName(this, tr("Save job file"), m_draft.target + QStringLiteral(".job.json"), tr("Job documents (*.json)"));
    if (path.isEmpty())
        return;
    if (const QString problem = writeJobFile(path, requestOf(m_draft)); !problem.isEmpty())
        say(false, tr("The job file was not saved."), tr("%1: %2.", "path, reason").arg(path, problem));
    else
        say(true, tr("Job file saved."), tr("Run it with: shardlens run %1").arg(path));
}

void ConvertPage::say(bool good, const QString& what, const QString& rest)
{
    delete m_banner;
    m_banner = new Banner(good ? Banner::Kind::Ok : Banner::Kind::Error, what, rest);
    m_banner->setDismissible(true);
    connect(m_banner, &Banner::dismissed, m_banner, &QObject::deleteLater);
    m_bannerPlace->addWidget(m_banner);
}

void ConvertPage::copyCommandLine()
{
    QGuiApplication::clipboard()->setText(copyText(false));
}

QString ConvertPage::copyText(bool) const
{
    return facts().checkpoint ? QString::fromStdString(commandLineOf(requestOf(m_draft))) : QString();
}

} // namespace shardlens::ui
