#include "ui/pages/overview/state_fill.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"

#include <QPainter>

#include <array>

namespace shardlens::ui {
namespace {

constexpr std::array kTextures{Qt::NoBrush, Qt::BDiagPattern, Qt::Dense5Pattern, Qt::HorPattern, Qt::FDiagPattern, Qt::VerPattern};

} // namespace

void fillState(QPainter& painter, const QRectF& room, const Checkpoint& checkpoint, const OverviewSummary& summary, std::size_t state)
{
    const Theme& theme = Theme::current();
    const auto colourAt = [&](std::size_t index) { return theme.stateColour(printableText(checkpoint.roles()[indexOf(summary.states[index].role)].name)); };
    const QColor colour = colourAt(state);
    painter.fillRect(room, colour);
    const auto isBefore = [&](std::size_t i) { // the largest of a colour is plain
        const std::uint64_t bytes = summary.states[i].storedBytes;
        const std::uint64_t own = summary.states[state].storedBytes;
        return i != state && (bytes > own || (bytes == own && i < state)) && colourAt(i) == colour;
    };
    std::size_t before = 0;
    for (std::size_t i = 0; i < summary.states.size(); ++i)
        before += isBefore(i) ? 1 : 0;
    if (before > 0)
        painter.fillRect(room, QBrush(Theme::inkOn(colour), kTextures[1 + (before - 1) % (kTextures.size() - 1)]));
}

} // namespace shardlens::ui
