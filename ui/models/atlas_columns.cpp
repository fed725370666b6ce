#include "ui/models/atlas_columns.h"

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr double kWide = 2;      // columns from which a piece has edges of its own
constexpr double kEdged = 3;     // columns from which a right edge is drawn
constexpr double kDust = 1e-6; // of a column: rounding, not bytes
constexpr float kLeastShare = 0.02F; // of a column beside a wide piece; less would only make the edges of wide pieces ragged

void addShare(AtlasColumn& column, std::uint16_t klass, float share)
{
    for (std::size_t i = 0; i < column.count; ++i)
        if (column.shares[i].klass == klass) {
            column.shares[i].share += share;
            return;
        }
    if (column.count < AtlasColumn::kMost) {
        column.shares[column.count++] = {klass, share};
        return;
    }
    const auto less = [](const AtlasColumn::Share& a, const AtlasColumn::Share& b) { return a.share < b.share; };
    auto smallest = std::min_element(column.shares.begin(), column.shares.end(), less);
    if (smallest->share < share)
        *smallest = {klass, share};
}

class Filler {
public:
    Filler(std::span<AtlasColumn> columns) : m_columns(columns), m_end(static_cast<double>(columns.size())) {}

    void add(double from, double to, std::uint16_t klass)
    {
        if (to - from >= kWide)
            addWide(from, to, klass);
        else
            addNarrow(std::max(from, 0.0), std::min(to, m_end), klass);
    }

private:
    void addWide(double from, double to, std::uint16_t klass)
    {
        const auto first = static_cast<std::size_t>(std::clamp(std::round(from), 0.0, m_end));
        const auto last = static_cast<std::size_t>(std::clamp(std::round(to), 0.0, m_end));
        for (std::size_t i = first; i < last; ++i)
            m_columns[i].solid = klass;
        if (last > first && to <= m_end && to - from >= kEdged)
            m_columns[last - 1].lastOfPiece = true;
    }

    void addNarrow(double from, double to, std::uint16_t klass)
    {
        if (to <= from)
            return;
        const auto first = static_cast<std::size_t>(from);
        const auto last = std::min(static_cast<std::size_t>(to), m_columns.size() - 1);
        for (std::size_t i = first; i <= last; ++i) {
            const double low = std::max(from, static_cast<double>(i));
            const double high = std::min(to, static_cast<double>(i + 1));
            if (high - low > kDust)
                addShare(m_columns[i], klass, static_cast<float>(high - low));
        }
    }

    std::span<AtlasColumn> m_columns;
    double m_end;
};

// Decides between the piece that fills a column and the small ones in it.
void settle(AtlasColumn& column)
{
    if (column.count == 0)
        return;
    float small = 0;
    for (std::size_t i = 0; i < column.count; ++i)
        small += column.shares[i].share;
    if (column.solid != AtlasColumn::kNone) {
        if (small < kLeastShare) {
            column.count = 0;
            return;
        }
        addShare(column, column.solid, std::max(0.0F, 1.0F - small));
        column.lastOfPiece = false;
        column.solid = AtlasColumn::kNone;
    }
    std::sort(column.shares.begin(), column.shares.begin() + column.count,
              [](const AtlasColumn::Share& a, const AtlasColumn::Share& b) { return a.klass < b.klass; });
    float sum = 0;
    for (std::size_t i = 0; i < column.count; ++i)
        sum += column.shares[i].share;
    for (std::size_t i = 0; i < column.count; ++i)
        column.shares[i].share /= sum; // a column that holds a byte is painted whole
}

} // namespace

void fillColumns(const AtlasLane& lane, const AtlasPalette& palette, const AtlasColumnRequest& request, std::span<AtlasColumn> out)
{
    std::fill(out.begin(), out.end(), AtlasColumn{});
    if (out.empty() || request.unitsPerColumn <= 0)
        return;
    Filler filler(out);
    const double scale = 1 / request.unitsPerColumn;
    const double lastUnit = request.firstUnit + request.unitsPerColumn * static_cast<double>(out.size());
    const std::size_t first = lane.firstEndingAfter(static_cast<std::uint64_t>(std::max(0.0, request.firstUnit)));
    for (std::size_t i = first; i < lane.size() && static_cast<double>(lane.starts[i]) < lastUnit; ++i) {
        const PieceId piece = lane.pieces[i];
        std::uint16_t klass = palette.classOf(piece);
        if (!request.dimmedPieces.empty() && request.dimmedPieces[indexOf(piece)] != 0)
            klass |= AtlasColumn::kDimmed;
        const double from = (static_cast<double>(lane.starts[i]) - request.firstUnit) * scale;
        filler.add(from, from + static_cast<double>(lane.lengths[i]) * scale, klass);
    }
    for (AtlasColumn& column : out)
        settle(column);
}

} // namespace shardlens::ui
