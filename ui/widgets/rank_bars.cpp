#include "ui/widgets/rank_bars.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"

#include <QMouseEvent>
#include <QPainter>

#include <algorithm>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kHigh = 132;
constexpr int kAxisLeft = 76;
constexpr int kAxisBelow = 24;
constexpr int kAbove = 10;
constexpr int kLeastBar = 3;
constexpr int kWidestBar = 150;
constexpr int kLabelEvery = 92;

} // namespace

RankBars::RankBars(QWidget* parent) : QWidget(parent)
{
    setMouseTracking(true);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    setAccessibleName(tr("Bytes of every rank"));
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

void RankBars::show(RankUsesPtr uses)
{
    m_uses = std::move(uses);
    m_pointed.reset();
    update();
}

void RankBars::setColour(RankColour colour)
{
    m_colour = colour;
    update();
}

void RankBars::mark(std::optional<std::uint32_t> kept, std::optional<std::uint32_t> pointed)
{
    m_kept = kept;
    m_pointed = pointed;
    update();
}

QSize RankBars::sizeHint() const
{
    return {Theme::current().px(480), Theme::current().px(kHigh)};
}

QSize RankBars::minimumSizeHint() const
{
    return {Theme::current().px(200), Theme::current().px(kHigh)};
}

QRectF RankBars::plot() const
{
    const Theme& theme = Theme::current();
    return QRectF(rect()).adjusted(theme.px(kAxisLeft), theme.px(kAbove), -1, -theme.px(kAxisBelow));
}

std::uint32_t RankBars::bars() const
{
    const auto most = static_cast<std::uint32_t>(std::max(1.0, plot().width() / Theme::current().px(kLeastBar)));
    return std::min(most, static_cast<std::uint32_t>(m_uses->ranks.size()));
}

std::pair<std::uint32_t, std::uint32_t> RankBars::ranksOf(std::uint32_t bar) const
{
    const std::uint64_t count = m_uses->ranks.size();
    return {static_cast<std::uint32_t>(count * bar / bars()), static_cast<std::uint32_t>(count * (bar + 1) / bars())};
}

std::uint32_t RankBars::largestOf(std::uint32_t bar) const
{
    const auto [first, last] = ranksOf(bar);
    std::uint32_t best = first;
    for (std::uint32_t rank = first; rank < last; ++rank)
        if (m_uses->ranks[rank].total > m_uses->ranks[best].total)
            best = rank;
    return best;
}

void RankBars::paintEvent(QPaintEvent*)
{
    if (!m_uses || m_uses->ranks.empty() || m_uses->most == 0)
        return;
    const Theme& theme = Theme::current();
    QPainter painter(this);
    const QRectF room = plot();
    const double slot = std::min<double>(room.width() / bars(), theme.px(kWidestBar));
    const double gap = slot >= 8 ? theme.px(3) : slot >= 4 ? 1 : 0;
    for (std::uint32_t bar = 0; bar < bars(); ++bar) {
        const std::uint32_t rank = largestOf(bar);
        const auto [first, last] = ranksOf(bar);
        const RankInk ink = rankInk(*m_uses, rank, m_colour);
        const double high = room.height() * static_cast<double>(m_uses->ranks[rank].total) / static_cast<double>(m_uses->most);
        const QRectF box(room.left() + bar * slot, room.bottom() - high, std::max(1.0, slot - gap), high);
        painter.fillRect(box, m_colour == RankColour::State ? ink.ink : ink.ground);
        const auto isIn = [first = first, last = last](std::optional<std::uint32_t> one) { return one && *one >= first && *one < last; };
        if (isIn(m_kept) || isIn(m_pointed))
            painter.fillRect(QRectF(box.left(), room.bottom() + 2, std::max(3.0, box.width()), theme.px(3)),
                             theme.colour(isIn(m_kept) ? Token::Selection : Token::Accent));
    }
    paintAxis(painter);
}

void RankBars::paintAxis(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    const QRectF room = plot();
    painter.setPen(theme.colour(Token::BorderStrong));
    painter.drawLine(room.bottomLeft(), room.bottomRight());
    painter.setFont(theme.font(TextStyle::Caption));
    const double line = painter.fontMetrics().height();
    const auto label = [&](double y, const QString& text, Token ink) {
        painter.setPen(theme.colour(ink));
        painter.drawText(QRectF(0, y - line / 2, room.left() - theme.px(8), line), Qt::AlignRight | Qt::AlignVCenter, text);
    };
    label(room.top(), bytesText(m_uses->most), Token::Text2);
    label(room.bottom(), QStringLiteral("0"), Token::Text2);
    const double mean = room.bottom() - room.height() * m_uses->mean / static_cast<double>(m_uses->most);
    if (mean - room.top() > 1) {
        painter.setPen(QPen(theme.colour(Token::Text), 1, Qt::DashLine));
        painter.drawLine(QPointF(room.left(), mean), QPointF(room.right(), mean));
        if (mean - room.top() > line && room.bottom() - mean > line)
            label(mean, tr("mean"), Token::Text3);
    }
    painter.setPen(theme.colour(Token::Text3));
    const double slot = std::min<double>(room.width() / bars(), theme.px(kWidestBar));
    double free = room.left();
    for (std::uint32_t bar = 0; bar < bars(); ++bar) {
        const QString text = tr("rank %1").arg(ranksOf(bar).first);
        const double x = room.left() + bar * slot;
        if (x < free || x + painter.fontMetrics().horizontalAdvance(text) > room.right() + 1)
            continue;
        painter.drawText(QPointF(x, height() - theme.px(5)), text);
        free = x + std::max<double>(theme.px(kLabelEvery), painter.fontMetrics().horizontalAdvance(text) + theme.px(12));
    }
}

std::optional<std::uint32_t> RankBars::rankAt(QPointF at) const
{
    if (!m_uses || m_uses->ranks.empty())
        return std::nullopt;
    const QRectF room = plot();
    const double slot = std::min<double>(room.width() / bars(), Theme::current().px(kWidestBar));
    const double bar = (at.x() - room.left()) / slot;
    if (bar < 0 || bar >= bars())
        return std::nullopt;
    return largestOf(static_cast<std::uint32_t>(bar));
}

void RankBars::mouseMoveEvent(QMouseEvent* event)
{
    if (const auto rank = rankAt(event->position()))
        emit pointed(*rank);
    else
        emit pointedNowhere();
}

void RankBars::mousePressEvent(QMouseEvent* event)
{
    if (const auto rank = rankAt(event->position()); rank && event->button() == Qt::LeftButton)
        emit chosen(*rank);
}

void RankBars::leaveEvent(QEvent*)
{
    emit pointedNowhere();
}

} // namespace shardlens::ui
