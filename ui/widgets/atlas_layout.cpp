#include "ui/widgets/atlas_layout.h"

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

// Design pixels, from the mock picture (make_mocks.py, atlas).
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
constexpr double kGroupHeader = 26;
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

AtlasLayout::AtlasLayout(const Request& request)
    : m_scrollY(request.scrollY),
      m_factor(request.factor),
      m_count(request.lanes),
      m_groups(request.groups),
      m_groupHeight(std::round(kGroupHeader * request.factor))
{
    const double f = request.factor;
    const double width = request.size.width();
    m_plotLeft = request.headerColumn * f;
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
        const double headers = m_groupHeight * static_cast<double>(m_groups.size());
        const double each = std::max(0.0, m_lanes.height() - headers - 1) / f / static_cast<double>(m_count);
        height = std::clamp(each - kWideGap, kShortest, m_count <= kFew ? kTallestOfFew : kTallest);
        if (height < kStatesFrom)
            height = std::clamp(each * 0.75, kShortest, kStatesFrom);
    }
    m_laneHeight = std::floor(std::max(height, 4.0) * f); // never more than the room that was shared out
    m_gap = std::round(gapFor(height) * f);
    m_contentHeight = static_cast<double>(m_count) * pitch() + m_groupHeight * static_cast<double>(m_groups.size());
}

bool AtlasLayout::hasStates() const
{
    return m_laneHeight >= kStatesFrom * m_factor;
}

bool AtlasLayout::hasModules() const
{
    return m_laneHeight >= kModulesFrom * m_factor;
}

double AtlasLayout::topOf(std::size_t lane) const
{
    const auto headers = std::upper_bound(m_groups.begin(), m_groups.end(), lane) - m_groups.begin();
    return static_cast<double>(lane) * pitch() + static_cast<double>(headers) * m_groupHeight;
}

std::size_t AtlasLayout::firstRowEndingAfter(double y) const
{
    std::size_t first = 0;
    for (std::size_t last = m_count; first < last;) {
        const std::size_t middle = first + (last - first) / 2;
        if (topOf(middle) + pitch() > y)
            last = middle;
        else
            first = middle + 1;
    }
    return first;
}

QRectF AtlasLayout::row(std::size_t lane) const
{
    return {0, m_lanes.top() - m_scrollY + topOf(lane), m_lanes.width(), pitch()};
}

QRectF AtlasLayout::groupHeader(std::size_t group) const
{
    const double top = static_cast<double>(m_groups[group]) * pitch() + static_cast<double>(group) * m_groupHeight;
    return {0, m_lanes.top() - m_scrollY + top, m_lanes.width(), m_groupHeight};
}

std::pair<std::size_t, std::size_t> AtlasLayout::visibleGroups() const
{
    const auto firstBelow = [this](double y) { // the first header whose lower edge lies below y
        std::size_t first = 0;
        for (std::size_t last = m_groups.size(); first < last;) {
            const std::size_t middle = first + (last - first) / 2;
            if (groupHeader(middle).bottom() > y)
                last = middle;
            else
                first = middle + 1;
        }
        return first;
    };
    const std::size_t first = firstBelow(m_lanes.top());
    std::size_t last = firstBelow(m_lanes.bottom());
    if (last < m_groups.size() && groupHeader(last).top() < m_lanes.bottom())
        ++last;
    return {first, last};
}

std::optional<std::size_t> AtlasLayout::groupAt(double y) const
{
    const auto [first, last] = visibleGroups();
    for (std::size_t group = first; group < last; ++group)
        if (y >= m_lanes.top() && y < m_lanes.bottom() && y >= groupHeader(group).top() && y < groupHeader(group).bottom())
            return group;
    return std::nullopt;
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
    const double at = y - m_lanes.top() + m_scrollY;
    const std::size_t lane = firstRowEndingAfter(at);
    return at < 0 || lane >= m_count || topOf(lane) > at ? std::nullopt : std::optional(lane);
}

std::pair<std::size_t, std::size_t> AtlasLayout::visible() const
{
    const std::size_t first = firstRowEndingAfter(m_scrollY);
    std::size_t last = firstRowEndingAfter(m_scrollY + m_lanes.height());
    if (last < m_count && topOf(last) < m_scrollY + m_lanes.height())
        ++last;
    return {first, std::max(first, last)};
}

} // namespace shardlens::ui
