#include "core/model/run_sweep.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

namespace shardlens {
namespace {

// Lists holes in ascending order, each cut where the missing file that should have held it changes. One pass over the missing runs serves all holes.
class HoleList {
public:
    HoleList(Coverage& out, std::vector<HeldRun> missing, std::size_t limit) : m_out(out), m_missing(std::move(missing)), m_limit(limit) {}

    void add(FlatRange range)
    {
        if (range.empty())
            return;
        m_out.missingCells += range.size();
        std::uint64_t at = range.begin;
        while (m_next < m_missing.size() && m_missing[m_next].range.end <= at)
            ++m_next;
        for (std::size_t i = m_next; i < m_missing.size() && m_missing[i].range.begin < range.end; ++i) {
            const FlatRange common = intersect(m_missing[i].range, FlatRange{at, range.end});
            if (common.empty())
                continue;
            append({at, common.begin}, std::nullopt);
            append(common, m_missing[i].piece);
            at = common.end;
        }
        append({at, range.end}, std::nullopt);
    }

private:
    void append(FlatRange range, std::optional<PieceId> expected)
    {
        if (!range.empty() && m_out.holes.size() < m_limit)
            m_out.holes.push_back({range, expected});
    }

    Coverage& m_out;
    std::vector<HeldRun> m_missing; // ascending by begin
    std::size_t m_next = 0;     // the first that may reach beyond the last hole
    std::size_t m_limit;
};

} // namespace

void sweepRuns(std::vector<HeldRun> runs, std::uint64_t cells, std::size_t limit, Coverage& out)
{
    std::sort(runs.begin(), runs.end(), [](const HeldRun& a, const HeldRun& b) { // missing ones last among equals
        return a.range.begin != b.range.begin ? a.range.begin < b.range.begin : a.missing < b.missing;
    });
    std::vector<HeldRun> missing;
    std::copy_if(runs.begin(), runs.end(), std::back_inserter(missing), [](const HeldRun& run) { return run.missing; });
    HoleList holes(out, std::move(missing), limit);
    std::uint64_t covered = 0;
    std::optional<HeldRun> widest; // the present run that reaches furthest so far
    for (const HeldRun& run : runs) {
        if (run.missing)
            continue;
        if (run.range.begin > covered)
            holes.add({covered, run.range.begin});
        else if (widest && run.range.begin < widest->range.end && run.piece != widest->piece) {
            ++out.overlappingPairs;
            if (out.overlaps.size() < limit)
                out.overlaps.push_back({widest->piece, run.piece, intersect(widest->range, run.range)});
        }
        if (run.range.end > covered) {
            covered = run.range.end;
            widest = run;
        }
    }
    holes.add({covered, cells});
}

} // namespace shardlens
