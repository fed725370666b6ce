#include "ui/widgets/rank_strip.h"

#include "ui/theme/theme.h"

#include <QPainter>

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr std::size_t kMostRanks = 64;
constexpr int kLeast = 3; // pixels: nothing that holds a byte is invisible

std::vector<int> widthsOf(const std::vector<std::pair<std::uint32_t, std::uint64_t>>& ranks, int room)
{
    double total = 0;
    for (const auto& [rank, bytes] : ranks)
        total += static_cast<double>(bytes);
    std::vector<int> widths;
    int used = 0;
    for (const auto& [rank, bytes] : ranks) {
        widths.push_back(std::max(kLeast, static_cast<int>(std::floor(room * static_cast<double>(bytes) / std::max(total, 1.0)))));
        used += widths.back();
    }
    // What rounding left or slivers took goes to or comes from the widest.
    const auto widest = std::max_element(widths.begin(), widths.end());
    *widest = std::max(kLeast, *widest + room - used);
    return widths;
}

} // namespace

void paintRankStrip(QPainter& painter, const QRect& room, const std::vector<std::pair<std::uint32_t, std::uint64_t>>& ranks)
{
    const Theme& theme = Theme::current();
    if (ranks.empty()) {
        painter.fillRect(room, theme.colour(Token::Track));
        return;
    }
    if (ranks.size() > kMostRanks) {
        const int bins = static_cast<int>(kMostRanks);
        const double perBin = static_cast<double>(ranks.size()) / bins;
        for (int bin = 0; bin < bins; ++bin) {
            const auto rank = ranks[static_cast<std::size_t>(bin * perBin)].first;
            const int left = room.left() + room.width() * bin / bins;
            const int right = room.left() + room.width() * (bin + 1) / bins;
            painter.fillRect(QRect(left, room.top(), std::max(1, right - left - 1), room.height()), theme.categorical(static_cast<int>(rank)));
        }
        return;
    }
    const std::vector<int> widths = widthsOf(ranks, room.width());
    int x = room.left();
    for (std::size_t i = 0; i < ranks.size(); ++i) {
        const int gap = widths[i] > kLeast + 1 && i + 1 < ranks.size() ? 1 : 0;
        const bool sliver = widths[i] <= kLeast && ranks.size() > 1;
        painter.fillRect(QRect(x, room.top() - (sliver ? 2 : 0), widths[i] - gap, room.height() + (sliver ? 4 : 0)), theme.categorical(static_cast<int>(ranks[i].first)));
        x += widths[i];
    }
}

} // namespace shardlens::ui
