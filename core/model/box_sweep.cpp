#include "core/model/box_sweep.h"

#include "core/model/run_sweep.h"

#include <algorithm>

namespace shardlens {
namespace {

constexpr std::uint64_t kMostSteps = 1u << 24; // boxes that are open in a band, all bands together: a grid of a million chunks takes 3 million

// The box behind its first axis is the same, and this one's rows begin where the other's end.
bool goesOn(const Box& above, const Box& below)
{
    return std::equal(above.offset.begin() + 1, above.offset.end(), below.offset.begin() + 1, below.offset.end()) &&
           std::equal(above.extent.begin() + 1, above.extent.end(), below.extent.begin() + 1, below.extent.end()) && above.offset[0] + above.extent[0] == below.offset[0];
}

Box withRows(FlatRange rows, const Box& columns)
{
    Box out{{rows.begin}, {rows.size()}};
    out.offset.insert(out.offset.end(), columns.offset.begin(), columns.offset.end());
    out.extent.insert(out.extent.end(), columns.extent.begin(), columns.extent.end());
    return out;
}

bool isSameFault(const Hole& a, const Hole& b)
{
    return a.expected == b.expected;
}

bool isSameFault(const Overlap& a, const Overlap& b)
{
    return a.first == b.first && a.second == b.second;
}

// Appends what a band has; where the band before has the same in the same columns, that grows instead. How many were appended.
template <typename Fault>
std::size_t append(const std::vector<Fault>& band, FlatRange rows, std::size_t limit, std::vector<Fault>& out)
{
    std::vector<Fault> found = band;
    for (Fault& one : found)
        one.region = withRows(rows, std::get<Box>(one.region));
    const auto tail = out.end() - static_cast<std::ptrdiff_t>(std::min(found.size(), out.size()));
    const bool isLonger = !found.empty() && out.size() >= found.size() && std::equal(tail, out.end(), found.begin(), [](const Fault& above, const Fault& below) {
        return isSameFault(above, below) && goesOn(std::get<Box>(above.region), std::get<Box>(below.region));
    });
    if (isLonger) {
        for (auto one = tail; one != out.end(); ++one)
            std::get<Box>(one->region).extent[0] += rows.size();
        return 0;
    }
    const std::size_t before = out.size();
    for (Fault& one : found)
        if (out.size() < limit)
            out.push_back(std::move(one));
    return out.size() - before;
}

} // namespace

void addBoxes(const RegionView& region, PieceId piece, bool missing, ShapeView units, std::deque<Box>& made, std::vector<BoxPart>& out)
{
    if (volumeOf(region) == 0)
        return;
    if (const auto* box = std::get_if<BoxView>(&region))
        out.push_back({*box, piece, missing});
    else
        forEachBox(std::get<FlatRange>(region), units, [&](const Box& box) { out.push_back({made.emplace_back(box), piece, missing}); });
}

BoxPart withoutAxes(const BoxPart& part, std::size_t axes)
{
    return {{part.box.offset.subspan(axes), part.box.extent.subspan(axes)}, part.piece, part.missing};
}

std::vector<std::uint64_t> bordersOf(std::span<const BoxPart> boxes, std::uint64_t extent)
{
    std::vector<std::uint64_t> out{0, extent};
    for (const BoxPart& one : boxes)
        out.insert(out.end(), {one.box.offset[0], one.box.offset[0] + one.box.extent[0]});
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

bool BoxSweep::sweep(std::span<const BoxPart> boxes, ShapeView units, Coverage& out)
{
    m_steps += boxes.size() + 1;
    if (m_steps > kMostSteps)
        return false;
    if (units.size() == 1) {
        sweepLine(boxes, units[0], out);
        return true;
    }
    std::vector<BoxPart> sorted(boxes.begin(), boxes.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](const BoxPart& a, const BoxPart& b) { return a.box.offset[0] < b.box.offset[0]; });
    const std::vector<std::uint64_t> borders = bordersOf(sorted, units[0]);
    std::vector<BoxPart> open;
    std::vector<BoxPart> columns;
    auto next = sorted.begin();
    for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
        const FlatRange rows{borders[i], borders[i + 1]};
        std::erase_if(open, [&](const BoxPart& one) { return one.box.offset[0] + one.box.extent[0] <= rows.begin; });
        for (; next != sorted.end() && next->box.offset[0] == rows.begin; ++next)
            open.push_back(*next);
        columns.clear();
        for (const BoxPart& one : open)
            columns.push_back(withoutAxes(one, 1));
        Coverage band;
        if (!sweep(columns, units.subspan(1), band))
            return false;
        addBand(band, rows, out);
    }
    return true;
}

void BoxSweep::sweepLine(std::span<const BoxPart> boxes, std::uint64_t cells, Coverage& out) const
{
    std::vector<HeldRun> runs;
    runs.reserve(boxes.size());
    for (const BoxPart& one : boxes)
        runs.push_back({{one.box.offset[0], one.box.offset[0] + one.box.extent[0]}, one.piece, one.missing});
    sweepRuns(std::move(runs), cells, m_limit, out);
    const auto asBox = [](Region& region) {
        const FlatRange range = std::get<FlatRange>(region);
        region = Box{{range.begin}, {range.size()}};
    };
    for (Hole& hole : out.holes)
        asBox(hole.region);
    for (Overlap& overlap : out.overlaps)
        asBox(overlap.region);
}

void BoxSweep::addBand(const Coverage& band, FlatRange rows, Coverage& out) const
{
    out.missingCells += band.missingCells * rows.size();
    append(band.holes, rows, m_limit, out.holes);
    out.overlappingPairs += band.overlappingPairs - band.overlaps.size() + append(band.overlaps, rows, m_limit, out.overlaps);
}

} // namespace shardlens
