#include "ui/pages/topology/rank_legend_bar.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"

#include <QPainter>

#include <algorithm>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kSwatch = 12;
constexpr int kAfterSwatch = 6;
constexpr int kAfterText = 16;

} // namespace

RankLegendBar::RankLegendBar(QWidget* parent) : QWidget(parent)
{
    setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
    setAccessibleName(tr("What the colours mean"));
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

void RankLegendBar::show(RankUsesPtr uses, RankColour colour)
{
    m_uses = std::move(uses);
    m_colour = colour;
    QStringList texts;
    for (const Entry& entry : entries())
        texts << entry.text;
    setAccessibleDescription(texts.join(QStringLiteral(", ")));
    updateGeometry();
    update();
}

std::vector<RankLegendBar::Entry> RankLegendBar::entries() const
{
    std::vector<Entry> out;
    if (!m_uses || m_uses->ranks.empty())
        return out;
    const auto first = [this](auto wanted) { // a rank that has what is wanted
        const auto found = std::find_if(m_uses->ranks.begin(), m_uses->ranks.end(), wanted);
        return found == m_uses->ranks.end() ? std::nullopt : std::optional(static_cast<std::uint32_t>(found - m_uses->ranks.begin()));
    };
    const auto add = [&](std::optional<std::uint32_t> rank, RankColour colour, const QString& text) {
        if (!rank)
            return;
        const RankInk ink = rankInk(*m_uses, *rank, colour);
        out.push_back({ink.ground, colour == RankColour::State ? ink.ink : ink.ground, colour == RankColour::State && ink.isAbsent, text});
    };
    if (m_colour == RankColour::Bytes) {
        add(first([this](const RankUse& use) { return use.total == m_uses->least; }), RankColour::Bytes,
            m_uses->least == m_uses->most ? tr("%1 each").arg(bytesText(m_uses->least)) : bytesText(m_uses->least));
        if (m_uses->least != m_uses->most)
            add(m_uses->heaviest, RankColour::Bytes, bytesText(m_uses->most));
        return out;
    }
    for (const RankUse::State state : {RankUse::State::Complete, RankUse::State::Differs, RankUse::State::Missing}) {
        const auto count = static_cast<std::uint64_t>(
            std::count_if(m_uses->ranks.begin(), m_uses->ranks.end(), [state](const RankUse& use) { return use.state == state; }));
        add(first([state](const RankUse& use) { return use.state == state; }), RankColour::State,
            tr("%1: %2", "state, ranks").arg(stateName(state), numberText(count)));
    }
    return out;
}

QSize RankLegendBar::sizeHint() const
{
    const Theme& theme = Theme::current();
    const QFontMetrics metrics(theme.font(TextStyle::Caption));
    int width = 0;
    for (const Entry& entry : entries())
        width += theme.px(kSwatch + kAfterSwatch + kAfterText) + metrics.horizontalAdvance(entry.text);
    return {width, std::max(metrics.height(), theme.px(kSwatch)) + theme.px(4)};
}

void RankLegendBar::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setFont(theme.font(TextStyle::Caption));
    double x = 0;
    const double side = theme.px(kSwatch);
    for (const Entry& entry : entries()) {
        painter.setPen(QPen(entry.edge, 1, entry.isDashed ? Qt::DashLine : Qt::SolidLine));
        painter.setBrush(entry.fill);
        painter.drawRect(QRectF(x + 0.5, (height() - side) / 2, side - 1, side - 1));
        x += side + theme.px(kAfterSwatch);
        painter.setPen(theme.colour(Token::Text2));
        const double wide = painter.fontMetrics().horizontalAdvance(entry.text);
        painter.drawText(QRectF(x, 0, wide + 2, height()), Qt::AlignLeft | Qt::AlignVCenter, entry.text);
        x += wide + theme.px(kAfterText);
    }
}

} // namespace shardlens::ui
