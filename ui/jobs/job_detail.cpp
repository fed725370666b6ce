#include "ui/jobs/job_detail.h"

#include "ui/jobs/change_lines.h"
#include "ui/jobs/job_log.h"
#include "ui/jobs/job_texts.h"
#include "ui/jobs/parts.h"
#include "ui/jobs/stage_rates.h"
#include "ui/widgets/card.h"
#include "ui/widgets/file_progress.h"
#include "ui/widgets/link.h"
#include "ui/widgets/text_label.h"
#include "ui/widgets/throughput_plot.h"

#include <QClipboard>
#include <QDesktopServices>
#include <QFileInfo>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QUrl>
#include <QVBoxLayout>

namespace shardlens::ui {
namespace {

constexpr std::size_t kLogLeastRows = 4;
constexpr std::size_t kLogMostRows = 40;
constexpr int kFilesMostRows = 9; // more scroll inside the card

FileProgress::Stage stageOf(const Job& job)
{
    if (job.state() == Job::State::Waiting)
        return FileProgress::Stage::Waiting;
    if (job.isOver())
        return FileProgress::Stage::Over;
    return job.progress().phase.compare(QLatin1String("verify"), Qt::CaseInsensitive) == 0 ? FileProgress::Stage::Checking : FileProgress::Stage::Writing;
}

void copyText(const QString& text)
{
    QGuiApplication::clipboard()->setText(text);
}

} // namespace

JobDetail::JobDetail(JobQueue* queue, QWidget* parent) : QScrollArea(parent), m_queue(queue), m_content(new Ground(Token::Surface))
{
    setWidgetResizable(true);
    setFrameShape(QFrame::NoFrame);
    setFocusPolicy(Qt::NoFocus);
    m_layout = new QVBoxLayout(m_content);
    m_empty = new TextLabel(tr("No jobs yet. Open a checkpoint and choose Convert."), TextStyle::Body, Token::Text3);
    m_layout->addWidget(m_empty);
    m_layout->addWidget(makeHead());
    m_bar = new ShareBar(20);
    m_layout->addWidget(m_bar);
    m_layout->addWidget(makeFigures());
    m_layout->addWidget(makeReport());
    m_layout->addWidget(makeThroughput());
    m_layout->addWidget(makeFiles());
    m_layout->addWidget(makeLog(), 1);
    m_layout->addStretch();
    setWidget(m_content);
    connect(queue, &JobQueue::progressed, this, [this](Job* job) {
        if (job == m_job)
            showProgress();
    });
    connect(queue, &JobQueue::removed, this, [this](Job* job) {
        if (job == m_job)
            setJob(nullptr);
    });
    connect(&Theme::current(), &Theme::changed, this, &JobDetail::applyTheme);
    applyTheme();
    setJob(nullptr);
}

QPushButton* JobDetail::addButton(QBoxLayout* layout, const QString& text, void (JobDetail::*pressed)())
{
    auto* button = new QPushButton(text);
    connect(button, &QPushButton::clicked, this, pressed);
    layout->addWidget(button);
    return button;
}

QWidget* JobDetail::makeHead()
{
    auto* head = new QWidget;
    auto* columns = new QHBoxLayout(head);
    columns->setContentsMargins(0, 0, 0, 0);
    auto* words = new QVBoxLayout;
    words->setSpacing(2);
    m_title = new TextLabel({}, TextStyle::Figure, Token::Text);
    m_title->setElide(Qt::ElideRight);
    m_paths = new TextLabel({}, TextStyle::Caption, Token::Text3);
    m_paths->setElide(Qt::ElideMiddle);
    words->addWidget(m_title);
    words->addWidget(m_paths);
    columns->addLayout(words, 1);
    m_copy = addButton(columns, tr("Copy command line"), &JobDetail::copyCommandLine);
    m_repeat = addButton(columns, tr("Run again"), &JobDetail::repeat);
    m_folder = addButton(columns, tr("Show folder"), &JobDetail::showFolder);
    m_open = addButton(columns, tr("Open result"), &JobDetail::openResult);
    m_cancel = addButton(columns, tr("Cancel"), &JobDetail::cancel);
    for (QPushButton* button : {m_copy, m_repeat, m_folder, m_open, m_cancel})
        columns->setAlignment(button, Qt::AlignTop);
    return head;
}

QWidget* JobDetail::makeFigures()
{
    auto* figures = new QWidget;
    auto* columns = new QHBoxLayout(figures);
    columns->setContentsMargins(0, 0, 0, 0);
    for (Figure& figure : m_figures) {
        auto* column = new QVBoxLayout;
        column->setSpacing(0);
        figure.value = new TextLabel({}, TextStyle::Title, Token::Text);
        figure.note = new TextLabel({}, TextStyle::Caption, Token::Text3);
        for (TextLabel* label : {figure.value, figure.note}) {
            label->setElide(Qt::ElideRight);
            column->addWidget(label);
        }
        columns->addLayout(column, 1);
    }
    return figures;
}

QWidget* JobDetail::makeThroughput()
{
    m_throughputCard = new Card(tr("Throughput"));
    m_throughputCard->head()->addWidget(new ThroughputLegend);
    m_plot = new ThroughputPlot;
    m_throughputCard->body()->addWidget(m_plot);
    m_throughputCard->body()->addWidget(m_stages = new StageRates);
    return m_throughputCard;
}

QWidget* JobDetail::makeFiles()
{
    m_filesCard = new Card(tr("Files"));
    m_files = new FileProgress;
    auto* scroll = new QScrollArea;
    scroll->setWidgetResizable(true);
    scroll->setFrameShape(QFrame::NoFrame);
    scroll->setWidget(m_files);
    scroll->viewport()->setAutoFillBackground(false);
    m_files->setAutoFillBackground(false);
    m_filesCard->body()->addWidget(scroll);
    return m_filesCard;
}

QWidget* JobDetail::makeLog()
{
    m_logCard = new Card(tr("Log"));
    m_log = new JobLog;
    auto* copy = new Link(tr("Copy"));
    copy->setAccessibleName(tr("Copy the log"));
    connect(copy, &Link::clicked, this, [this] { copyText(m_log->asText()); });
    m_logCard->head()->addWidget(copy);
    m_logCard->body()->addWidget(m_log, 1);
    m_logCard->body()->addStretch(0);
    return m_logCard;
}

QWidget* JobDetail::makeReport()
{
    m_reportCard = new Card(tr("Report"));
    auto* copy = new Link(tr("Copy as text"));
    copy->setAccessibleName(tr("Copy the report as text"));
    connect(copy, &Link::clicked, this, [this] {
        if (m_job)
            copyText(m_outcome->text() + QLatin1Char('\n') + ChangeLines::asText(m_job->report().lines));
    });
    m_reportCard->head()->addWidget(copy);
    auto* first = new QHBoxLayout;
    m_outcomeIcon = new ToneIcon(QStringLiteral("check"), Token::Ok);
    m_outcome = new TextLabel({}, TextStyle::Body, Token::Text);
    m_outcome->setWordWrap(true);
    m_outcome->setTextInteractionFlags(Qt::TextSelectableByMouse);
    first->addWidget(m_outcomeIcon, 0, Qt::AlignTop);
    first->addWidget(m_outcome, 1);
    m_reportCard->body()->addLayout(first);
    m_lines = new ChangeLines;
    m_reportCard->body()->addWidget(m_lines);
    return m_reportCard;
}

void JobDetail::applyTheme()
{
    const Theme& theme = Theme::current();
    const int side = theme.px(24);
    m_layout->setContentsMargins(side, theme.px(12), side, theme.px(16));
    m_layout->setSpacing(theme.px(12));
    m_log->setMinimumHeight(theme.px(96));
}

void JobDetail::setJob(Job* job)
{
    if (m_job)
        m_job->disconnect(this);
    m_job = job;
    if (job != nullptr) {
        connect(job, &Job::stateChanged, this, &JobDetail::showState);
        connect(job, &Job::logged, this, &JobDetail::fitLog);
    }
    m_log->setJob(job);
    showState();
}

void JobDetail::showState()
{
    for (QWidget* child : m_content->findChildren<QWidget*>(Qt::FindDirectChildrenOnly))
        child->setVisible((child == m_empty) == m_job.isNull());
    if (m_job.isNull())
        return;
    const Job::State state = m_job->state();
    m_title->setText(m_job->title());
    m_paths->setText(tr("%1   →   %2").arg(QString::fromStdString(m_job->request().source), QString::fromStdString(m_job->request().target)));
    m_cancel->setVisible(!m_job->isOver());
    m_cancel->setText(state == Job::State::Cancelling ? tr("End at once") : tr("Cancel"));
    m_open->setVisible(state == Job::State::Done);
    m_folder->setVisible(state == Job::State::Done);
    m_repeat->setVisible(m_job->isOver() && state != Job::State::Done);
    m_throughputCard->setVisible(m_job->isActive() || !m_job->rate().samples().empty());
    m_logCard->setVisible(m_job->isActive() || !m_job->log().empty());
    m_files->setFiles(m_job->files());
    m_filesCard->setVisible(!m_job->files().empty());
    const int rows = static_cast<int>(std::min<std::size_t>(m_job->files().size(), kFilesMostRows));
    m_files->parentWidget()->parentWidget()->setFixedHeight(m_files->sizeHint().height() * rows / std::max(1, static_cast<int>(m_job->files().size())));
    m_filesCard->setHint(tr("they fill in the order in which they are written; colour = rank that the bytes come from"));
    const QString outcome = JobTexts::outcome(*m_job);
    m_reportCard->setVisible(!outcome.isEmpty());
    m_outcome->setText(outcome);
    const bool bad = state == Job::State::Failed || state == Job::State::Refused;
    m_outcomeIcon->setIcon(state == Job::State::Done ? QStringLiteral("check") : bad ? QStringLiteral("warn") : QStringLiteral("info"),
                           state == Job::State::Done ? Token::Ok : bad ? Token::Error : Token::Info);
    m_lines->setLines(m_job->report().lines);
    m_lines->setVisible(!m_job->report().lines.empty());
    fitLog();
    showProgress();
}

void JobDetail::showProgress()
{
    const bool bad = m_job->state() == Job::State::Failed || m_job->state() == Job::State::Refused;
    m_bar->setVisible(!bad && m_job->state() != Job::State::Waiting);
    m_bar->setShare(m_job->share(), JobTexts::percent(m_job->share()));
    m_files->setProgress(m_job->progress().bytesWritten, stageOf(*m_job), m_job->state() == Job::State::Done);
    m_plot->show(m_job->rate().samples(), m_job->isActive());
    const JobReport& report = m_job->report();
    m_stages->setSpan(m_job->isActive() ? m_job->rate().stages() : StageSpan{report.stages, report.bytesRead, report.bytesWritten});
    m_throughputCard->setHint(tr("%1 over the last 60 s, one value each 100 ms").arg(m_plot->unit()));
    showFigures();
}

// As tall as its lines, within what the page has left.
void JobDetail::fitLog()
{
    if (!m_job)
        return;
    const int rows = static_cast<int>(std::clamp<std::size_t>(m_job->log().size(), kLogLeastRows, kLogMostRows));
    m_log->setMaximumHeight(rows * m_log->sizeHintForRow(0) + Theme::current().px(8));
}

void JobDetail::setFigure(std::size_t index, const QString& value, const QString& note)
{
    m_figures[index].value->setText(value);
    m_figures[index].note->setText(note);
}

void JobDetail::showFigures()
{
    m_figures[0].value->parentWidget()->setVisible(m_job->state() != Job::State::Waiting);
    if (m_job->isActive())
        showRunningFigures();
    else
        showEndFigures();
}

void JobDetail::showRunningFigures()
{
    const JobProgress& progress = m_job->progress();
    const JobRate& rate = m_job->rate();
    std::uint64_t planned = 0;
    for (const JobFile& file : m_job->files())
        planned += file.sizeBytes;
    const std::uint64_t written = planned > 0 ? std::min(planned, progress.bytesWritten) : progress.bytesWritten;
    setFigure(0, JobTexts::phaseWord(progress.phase), JobTexts::phaseNote(progress.phase, m_job->request().verify));
    setFigure(1, planned > 0 ? JobTexts::sizeOf(written, planned) : JobTexts::size(written), tr("written"));
    setFigure(2, JobTexts::rate(rate.now()), tr("now, %1 on average").arg(JobTexts::rate(rate.average())));
    setFigure(3, JobTexts::timeLeft(rate), JobTexts::timeLeftNote(rate));
    setFigure(4, JobTexts::size(progress.residentBytes), tr("memory, of %1 allowed").arg(JobTexts::size(m_job->request().memoryLimit)));
}

void JobDetail::showEndFigures()
{
    const JobReport& report = m_job->report();
    const QString taken = JobTexts::duration(report.seconds);
    setFigure(0, m_job->state() == Job::State::Done ? tr("Done") : m_job->state() == Job::State::Cancelled ? tr("Cancelled") : tr("Failed"),
              m_job->endedAt().toLocalTime().toString(QStringLiteral("yyyy-MM-dd HH:mm")));
    setFigure(1, JobTexts::size(report.bytesWritten), tr("written"));
    setFigure(2, JobTexts::size(report.bytesRead), tr("read"));
    setFigure(3, taken, report.seconds >= 1 ? tr("%1 on average").arg(JobTexts::rate(static_cast<double>(report.bytesWritten) / report.seconds)) : tr("from start to end"));
    setFigure(4, JobTexts::size(report.peakResidentBytes), tr("peak memory, of %1 allowed").arg(JobTexts::size(m_job->request().memoryLimit)));
}

void JobDetail::copyCommandLine()
{
    if (m_job)
        copyText(m_job->commandLine());
}

void JobDetail::cancel()
{
    if (m_job)
        m_queue->cancel(m_job);
}

void JobDetail::openResult()
{
    if (!m_job)
        return;
    const ConvertRequest& request = m_job->request();
    OpenOptions options;
    if (request.strategy && !request.rank) // a single rank is not the run that the strategy is of
        options.sourceStrategy.emplace(*request.strategy);
    emit openRequested(QString::fromStdString(request.target), options);
}

void JobDetail::showFolder()
{
    if (!m_job)
        return;
    const QFileInfo target(QString::fromStdString(m_job->request().target));
    QDesktopServices::openUrl(QUrl::fromLocalFile(target.isDir() ? target.absoluteFilePath() : target.absolutePath()));
}

void JobDetail::repeat()
{
    if (m_job)
        m_queue->repeat(m_job);
}

} // namespace shardlens::ui
