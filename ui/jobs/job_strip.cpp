#include "ui/jobs/job_strip.h"

#include "ui/jobs/job_texts.h"
#include "ui/jobs/parts.h"

#include <QPainter>

namespace shardlens::ui {
namespace {

constexpr int kHeight = 32;
constexpr int kBarWidth = 240;

} // namespace

JobStrip::JobStrip(JobQueue* queue, QWidget* parent) : QAbstractButton(parent), m_queue(queue)
{
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    setFocusPolicy(Qt::TabFocus);
    setCursor(Qt::PointingHandCursor);
    setToolTip(tr("Show the jobs (Alt+J)"));
    connect(queue, &JobQueue::changed, this, &JobStrip::refresh);
    connect(queue, &JobQueue::progressed, this, &JobStrip::refresh);
    connect(this, &QAbstractButton::clicked, this, [this] { emit opened(m_queue->current()); });
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
    refresh();
}

void JobStrip::setWanted(bool wanted)
{
    m_wanted = wanted;
    refresh();
}

QSize JobStrip::sizeHint() const
{
    return {Theme::current().px(400), Theme::current().px(kHeight)};
}

void JobStrip::refresh()
{
    const Job* job = m_queue->current();
    setVisible(m_wanted && job != nullptr);
    if (job == nullptr)
        return;
    setAccessibleName(tr("%1, %2").arg(job->title(), JobTexts::percent(job->share())));
    update();
}

void JobStrip::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.fillRect(rect(), theme.colour(underMouse() ? Token::Raised : Token::Surface));
    painter.fillRect(0, 0, width(), 1, theme.colour(Token::Border));
    const Job* job = m_queue->current();
    if (job == nullptr)
        return;
    int x = theme.px(16);
    const int icon = theme.px(16);
    theme.icon(QStringLiteral("convert"), Token::Accent).paint(&painter, QRect(x, (height() - icon) / 2, icon, icon));
    x += theme.px(26);
    const auto words = [&](const QString& text, TextStyle style, Token tone, int most) {
        painter.setFont(theme.font(style));
        painter.setPen(theme.colour(tone));
        const int room = std::min(most, painter.fontMetrics().horizontalAdvance(text) + 1);
        painter.drawText(QRect(x, 0, room, height()), Qt::AlignVCenter, painter.fontMetrics().elidedText(text, Qt::ElideRight, room));
        x += room + theme.px(12);
    };
    words(job->title(), TextStyle::Strong, Token::Text, width() / 4);
    words(job->targetName(), TextStyle::Caption, Token::Text3, width() / 5);
    const int barHeight = theme.px(6);
    const int barWidth = std::min(theme.px(kBarWidth), width() / 4);
    paintShare(painter, QRectF(x, (height() - barHeight) / 2.0, barWidth, barHeight), job->share(), barHeight / 2.0);
    x += barWidth + theme.px(12);
    words(JobTexts::percent(job->share()), TextStyle::Body, Token::Text, theme.px(60));
    words(JobTexts::rate(job->rate().now()), TextStyle::Body, Token::Text2, theme.px(120));
    if (job->state() == Job::State::Cancelling)
        words(tr("cancelling"), TextStyle::Body, Token::Text2, theme.px(160));
    else if (job->rate().timeLeft())
        words(tr("%1 left").arg(JobTexts::timeLeft(job->rate())), TextStyle::Body, Token::Text2, theme.px(200));
    const int waiting = static_cast<int>(m_queue->waiting().size());
    if (waiting > 0)
        words(waiting == 1 ? tr("1 waits") : tr("%n wait", nullptr, waiting), TextStyle::Body, Token::Text3, theme.px(120));
    if (hasFocus()) {
        painter.setPen(QPen(theme.colour(Token::Accent), 2));
        painter.drawRect(rect().adjusted(1, 1, -1, -1));
    }
}

} // namespace shardlens::ui
