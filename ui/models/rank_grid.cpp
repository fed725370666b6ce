#include "ui/models/rank_grid.h"

#include <QCoreApplication>
#include <QStringList>

#include <algorithm>
#include <array>

namespace shardlens::ui {
namespace {

constexpr std::uint32_t kMostColumns = 32; // of one block: more are blocks themselves
constexpr std::uint32_t kMostRows = 64;

} // namespace

QString coordinateText(Axis axis, std::uint32_t index)
{
    return axis == Axis::Pp ? QCoreApplication::translate("RankGrid", "stage %1").arg(index)
                            : QStringLiteral("%1 %2").arg(QString::fromLatin1(shardlens::nameOf(axis))).arg(index);
}

RankGrid::RankGrid(const Topology& topology)
{
    std::vector<Line> lines; // of more than one index, slowest first
    std::uint32_t stride = 1;
    for (std::size_t i = topology.axes.size(); i-- > 0;) {
        if (topology.axes[i].size > 1)
            lines.insert(lines.begin(), Line{topology.axes[i].axis, topology.axes[i].size, stride});
        stride *= std::max(topology.axes[i].size, 1u);
    }
    const auto take = [&lines](Line& into, auto order, std::uint32_t most) {
        for (const Axis axis : order) {
            const auto found = std::find_if(lines.begin(), lines.end(), [&](const Line& line) { return line.axis == axis && line.size <= most; });
            if (found == lines.end())
                continue;
            into = *found;
            lines.erase(found);
            return;
        }
    };
    if (lines.size() > 1) {
        take(m_columns, std::array{Axis::Tp, Axis::Ep, Axis::Sp, Axis::Dp, Axis::Rank, Axis::Replica}, kMostColumns);
        take(m_rows, std::array{Axis::Pp, Axis::Dp, Axis::Replica, Axis::Ep, Axis::Sp, Axis::Rank}, kMostRows);
    }
    m_over = std::move(lines);
    for (const Line& line : m_over)
        m_blocks *= line.size;
}

std::uint32_t RankGrid::rankAt(Place place) const
{
    std::uint32_t rank = place.row * m_rows.stride + place.column * m_columns.stride;
    std::uint32_t block = place.block;
    for (std::size_t i = m_over.size(); i-- > 0;) {
        rank += block % m_over[i].size * m_over[i].stride;
        block /= m_over[i].size;
    }
    return rank;
}

RankGrid::Place RankGrid::placeOf(std::uint32_t rank) const
{
    const auto at = [rank](const Line& line) { return rank / line.stride % line.size; };
    Place place{0, at(m_rows), at(m_columns)};
    for (const Line& line : m_over)
        place.block = place.block * line.size + at(line);
    return place;
}

QString RankGrid::rowName(std::uint32_t row) const
{
    return m_rows.axis ? coordinateText(*m_rows.axis, row) : QString();
}

QString RankGrid::columnName(std::uint32_t column) const
{
    return m_columns.axis ? coordinateText(*m_columns.axis, column) : QString();
}

QString RankGrid::blockName(std::uint32_t block) const
{
    if (!m_rows.axis && !m_columns.axis)
        return {};
    QStringList parts;
    for (std::size_t i = m_over.size(); i-- > 0;) {
        parts.prepend(coordinateText(*m_over[i].axis, block % m_over[i].size));
        block /= m_over[i].size;
    }
    return parts.join(QStringLiteral(", "));
}

} // namespace shardlens::ui
