#include "ui/widgets/atlas_layout.h"

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

// Design pixels, from the mock picture (make_mocks.py, atlas).
constexpr double kHeaderColumn = 128;
constexpr double kRightMargin = 20;
constexpr double kMinimapTop = 11;
constexpr double kMinimapHeight = 34;
constexpr double kRulerHeight = 26;
constexpr double kStateTier = 16;
constexpr double kModuleTier = 14;
constexpr double kTierGap = 2;
constexpr double kTallest = 68;
constexpr double kTallestOfFew = 120;
constexpr std::size_t kFew = 3; // lanes that may be taller, so that a single file does not leave the page empty
constexpr double kShortest = 12;
constexpr double kStatesFrom = 48;
constexpr double kModulesFrom = 28;
constexpr double kWideGap = 16;
constexpr double kLensHeight = 150;
constexpr double kHintsHeight = 36;
constexpr double kLensNeeds = 3.2 * (kTallest + kWideGap); // room for lanes that the lens must leave

double gapFor(double laneHeight)
{
    return laneHeight >= kStatesFrom ? kWideGap : std::clamp(laneHeight / 3, 2.0, kWideGap);
}

} // namespace

AtlasLayout::AtlasLayout(const Request& request) : m_scrollY(request.scrollY), m_factor(request.factor), m_count(request.lanes)
{
    const double f = request.factor;
    const double width = request.size.width();
    m_plotLeft = kHeaderColumn * f;
    m_plotWidth = std::max(1.0, width - m_plotLeft - kRightMargin * f);
    m_minimap = QRectF(m_plotLeft, kMinimapTop * f, m_plotWidth, kMinimapHeight * f);
    m_ruler = QRectF(0, m_minimap.bottom() + 8 * f, width, kRulerHeight * f);
    double bottom = request.size.height();
    if (request.hints) {
        m_hints = QRectF(0, bottom - kHintsHeight * f, width, kHintsHeight * f);
        bottom = m_hints.top();
    }
    const double top = m_ruler.bottom() + 4 * f;
    if (request.lens && bottom - top - request.legendHeight - kLensHeight * f >= kLensNeeds * f) {
        m_lens = QRectF(0, bottom - kLensHeight * f, width, kLensHeight * f);
        bottom = m_lens.top();
    }
    m_legend = QRectF(0, bottom - request.legendHeight, width, request.legendHeight);
    m_lanes = QRectF(0, top, width, std::max(0.0, m_legend.top() - top));
    double height = request.laneHeight;
    if (height <= 0 && m_count > 0) {
        const double each = (m_lanes.height() - 1) / f / static_cast<double>(m_count);
        height = std::clamp(each - kWideGap, kShortest, m_count <= kFew ? kTallestOfFew : kTallest);
        if (height < kStatesFrom)
            height = std::clamp(each * 0.75, kShortest, kStatesFrom);
    }
    m_laneHeight = std::floor(std::max(height, 4.0) * f); // never more than the room that was shared out
    m_gap = std::round(gapFor(height) * f);
    m_contentHeight = static_cast<double>(m_count) * pitch();
}

bool AtlasLayout::hasStates() const
{
    return m_laneHeight >= kStatesFrom * m_factor;
}

bool AtlasLayout::hasModules() const
{
    return m_laneHeight >= kModulesFrom * m_factor;
}

QRectF AtlasLayout::row(std::size_t lane) const
{
    return {0, m_lanes.top() - m_scrollY + static_cast<double>(lane) * pitch(), m_lanes.width(), pitch()};
}

QRectF AtlasLayout::lane(std::size_t lane) const
{
    const QRectF all = row(lane);
    return {m_plotLeft, std::round(all.top() + m_gap / 2), m_plotWidth, m_laneHeight};
}

QRectF AtlasLayout::stateTier(std::size_t lane) const
{
    if (!hasStates())
        return {};
    const QRectF whole = this->lane(lane);
    return {whole.left(), whole.top(), whole.width(), std::round(kStateTier * m_factor)};
}

QRectF AtlasLayout::moduleTier(std::size_t lane) const
{
    if (!hasModules())
        return {};
    const QRectF whole = this->lane(lane);
    const double skipped = hasStates() ? std::round(kStateTier * m_factor) + kTierGap * m_factor : 0;
    return {whole.left(), whole.top() + skipped, whole.width(), std::round(kModuleTier * m_factor)};
}

QRectF AtlasLayout::pieceTier(std::size_t lane) const
{
    const QRectF whole = this->lane(lane);
    const QRectF modules = moduleTier(lane);
    const double top = modules.isEmpty() ? whole.top() : std::round(modules.bottom() + kTierGap * m_factor);
    return {whole.left(), top, whole.width(), std::max(1.0, whole.bottom() - top)};
}

std::optional<std::size_t> AtlasLayout::laneAt(double y) const
{
    if (y < m_lanes.top() || y >= m_lanes.bottom())
        return std::nullopt;
    const double row = (y - m_lanes.top() + m_scrollY) / pitch();
    if (row < 0 || row >= static_cast<double>(m_count))
        return std::nullopt;
    return static_cast<std::size_t>(row);
}

std::pair<std::size_t, std::size_t> AtlasLayout::visible() const
{
    const double first = std::floor(m_scrollY / pitch());
    const double last = std::ceil((m_scrollY + m_lanes.height()) / pitch());
    const auto count = static_cast<double>(m_count);
    return {static_cast<std::size_t>(std::clamp(first, 0.0, count)), static_cast<std::size_t>(std::clamp(last, 0.0, count))};
}

} // namespace shardlens::ui
