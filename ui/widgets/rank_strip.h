#pragma once

#include <QRect>

#include <cstdint>
#include <utility>
#include <vector>

class QPainter;

namespace shardlens::ui {

// A bar cut in proportion to the bytes that ranks hold, in their colours; every rank that holds something is at least 3 px wide. Beyond 64 ranks
// it becomes 64 bins, each a small stacked column of the largest.
void paintRankStrip(QPainter& painter, const QRect& room, const std::vector<std::pair<std::uint32_t, std::uint64_t>>& ranks);

} // namespace shardlens::ui
