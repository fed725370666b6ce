#include "core/model/topology.h"

#include <fmt/format.h>

namespace shardlens {
namespace {

const char* longNameOf(Axis axis)
{
    switch (axis) {
    case Axis::Dp: return "data parallel";
    case Axis::Tp: return "tensor parallel";
    case Axis::Pp: return "pipeline parallel";
    case Axis::Ep: return "expert parallel";
    case Axis::Sp: return "sequence parallel";
    case Axis::Replica: return "replicas";
    case Axis::Rank: break; // text() counts them
    }
    return "";
}

std::optional<std::uint32_t> coordinateOf(const Holder& holder, Axis axis)
{
    for (const Holder::Coordinate& coordinate : holder.coordinates)
        if (coordinate.axis == axis)
            return coordinate.index;
    return std::nullopt;
}

} // namespace

const char* nameOf(Axis axis)
{
    switch (axis) {
    case Axis::Dp: return "dp";
    case Axis::Tp: return "tp";
    case Axis::Pp: return "pp";
    case Axis::Ep: return "ep";
    case Axis::Sp: return "sp";
    case Axis::Replica: return "replica";
    case Axis::Rank: return "rank";
    }
    return "";
}

std::uint32_t Topology::worldSize() const
{
    std::uint32_t out = 1;
    for (const Size& axis : axes)
        out *= axis.size;
    return out;
}

std::uint32_t Topology::sizeOf(Axis axis) const
{
    for (const Size& known : axes)
        if (known.axis == axis)
            return known.size;
    return 1;
}

std::optional<std::uint32_t> Topology::rankOf(const Holder& holder) const
{
    std::uint32_t rank = 0;
    for (const Size& known : axes) {
        const auto at = coordinateOf(holder, known.axis);
        if (!at && known.size > 1)
            return std::nullopt;
        rank = rank * known.size + at.value_or(0);
    }
    return rank;
}

std::vector<std::uint32_t> Topology::ranksOf(const Holder& holder) const
{
    std::vector<std::uint32_t> ranks{0};
    for (const Size& known : axes) {
        const auto at = coordinateOf(holder, known.axis);
        std::vector<std::uint32_t> next;
        for (const std::uint32_t rank : ranks)
            for (std::uint32_t i = at.value_or(0); i < (at ? *at + 1 : known.size); ++i)
                next.push_back(rank * known.size + i);
        ranks = std::move(next);
    }
    return ranks;
}

std::string Topology::text() const
{
    std::string out;
    for (const Size& axis : axes)
        out += axis.axis == Axis::Rank ? fmt::format("{}{} ranks{}", out.empty() ? "" : ", ", axis.size, out.empty() ? "" : " each")
                                       : fmt::format("{}{} {}", out.empty() ? "" : ", ", longNameOf(axis.axis), axis.size);
    return out;
}

std::string Topology::textOf(const Holder& holder) const
{
    std::string out;
    for (const Size& known : axes) {
        const auto at = coordinateOf(holder, known.axis);
        out += fmt::format("{}{} {}", out.empty() ? "" : ", ", nameOf(known.axis), at ? std::to_string(*at) : "any");
    }
    return out;
}

} // namespace shardlens
