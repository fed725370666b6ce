#include "ui/jobs/jobs_page.h"

#include "ui/jobs/job_detail.h"
#include "ui/jobs/job_list.h"
#include "ui/jobs/parts.h"
#include "ui/widgets/text_label.h"

#include <QHBoxLayout>
#include <QPushButton>
#include <QVBoxLayout>

namespace shardlens::ui {
namespace {

constexpr int kListWidth = 320;

} // namespace

JobsPage::JobsPage(JobQueue* queue, QWidget* parent) : Page(nullptr, parent), m_queue(queue)
{
    auto* columns = new QHBoxLayout(this);
    columns->setContentsMargins(0, 0, 0, 0);
    columns->setSpacing(0);
    columns->addWidget(makeSide());
    m_detail = new JobDetail(queue);
    columns->addWidget(m_detail, 1);
    connect(m_list, &JobList::selectionMoved, m_detail, &JobDetail::setJob);
    connect(m_detail, &JobDetail::openRequested, this, &JobsPage::openRequested);
    connect(queue, &JobQueue::changed, this, &JobsPage::showPaused);
    connect(queue, &JobQueue::jobWanted, this, &JobsPage::showJob);
    m_detail->setJob(m_list->selected());
    showPaused();
}

QWidget* JobsPage::makeSide()
{
    const Theme& theme = Theme::current();
    auto* side = new Ground(Token::Raised, Ground::Edge::Right);
    side->setFixedWidth(theme.px(kListWidth));
    connect(&theme, &Theme::changed, side, [side] { side->setFixedWidth(Theme::current().px(kListWidth)); });
    auto* rows = new QVBoxLayout(side);
    rows->setContentsMargins(0, theme.px(10), 1, 0);
    rows->setSpacing(theme.px(4));
    auto* head = new QHBoxLayout;
    head->setContentsMargins(theme.px(16), 0, theme.px(16), 0);
    head->addWidget(new TextLabel(tr("Jobs"), TextStyle::Page, Token::Text), 1);
    m_pause = new QPushButton;
    connect(m_pause, &QPushButton::clicked, this, [this] { m_queue->setPaused(!m_queue->isPaused()); });
    connect(&theme, &Theme::changed, this, &JobsPage::showPaused);
    head->addWidget(m_pause);
    rows->addLayout(head);
    m_list = new JobList(m_queue);
    rows->addWidget(m_list, 1);
    return side;
}

void JobsPage::showPaused()
{
    const bool paused = m_queue->isPaused();
    m_pause->setText(paused ? tr("Go on") : tr("Pause queue"));
    m_pause->setToolTip(paused ? tr("Start the waiting jobs again.") : tr("What runs goes on; nothing new starts."));
    m_pause->setIcon(Theme::current().icon(paused ? QStringLiteral("jobs") : QStringLiteral("pause"), Token::Text));
}

QString JobsPage::copyText(bool) const
{
    const Job* job = m_list->selected();
    return job != nullptr ? job->commandLine() : QString();
}

void JobsPage::showJob(Job* job)
{
    m_list->select(job);
}

} // namespace shardlens::ui
