#include "core/layout/division.h"

#include "core/base/text.h"

#include <fmt/format.h>

namespace shardlens {

Result<Division> divideEvenly(std::size_t dim, const std::vector<std::uint64_t>& segments, std::uint32_t ranks)
{
    Division out{Division::Kind::Split, dim, {}};
    for (std::size_t i = 0; i < segments.size(); ++i) {
        if (ranks == 0 || segments[i] % ranks != 0)
            return Error{ErrorCode::Refused, fmt::format("{} along dimension {}{} cannot be cut into {} equal parts", plural(segments[i], "element", "elements"), dim,
                                                         segments.size() == 1 ? std::string() : fmt::format(" (segment {} of {})", i + 1, segments.size()), ranks)};
        out.widths.emplace_back(ranks, segments[i] / ranks);
    }
    return out;
}

Shape partShape(const Division& division, ShapeView whole, std::uint32_t rank)
{
    Shape out(whole.begin(), whole.end());
    if (division.kind != Division::Kind::Split)
        return out;
    out[division.dim] = 0;
    for (const auto& segment : division.widths)
        out[division.dim] += segment[rank];
    return out;
}

std::vector<Slab> slabsOf(const Division& division, ShapeView whole, std::uint32_t rank)
{
    if (division.kind != Division::Kind::Split)
        return {wholeSlab(whole)};
    std::vector<Slab> out;
    std::uint64_t inPart = 0;
    std::uint64_t segmentBegin = 0;
    for (const auto& segment : division.widths) {
        std::uint64_t before = segmentBegin;
        for (std::uint32_t other = 0; other < rank; ++other)
            before += segment[other];
        Slab slab = wholeSlab(whole);
        slab.from.offset[division.dim] = inPart;
        slab.to.offset[division.dim] = before;
        slab.from.extent[division.dim] = slab.to.extent[division.dim] = segment[rank];
        inPart += segment[rank];
        if (segment[rank] != 0)
            out.push_back(std::move(slab));
        for (const std::uint64_t width : segment)
            segmentBegin += width;
    }
    return out;
}

std::vector<Slab> slabsInto(const Division& division, ShapeView whole, std::uint32_t rank)
{
    std::vector<Slab> out = slabsOf(division, whole, rank);
    for (Slab& slab : out)
        std::swap(slab.from, slab.to);
    return out;
}

} // namespace shardlens
