#include "ui/models/device_grid.h"

#include <QCoreApplication>
#include <QStringList>

#include <algorithm>

namespace shardlens::ui {
namespace {

struct DeviceGridText {
    Q_DECLARE_TR_FUNCTIONS(DeviceGrid)
};

// A row of its own is folded so that the block is no wider than it is high, from 16 on.
std::uint32_t foldOf(std::uint32_t columns, bool isOnlyRow)
{
    std::uint32_t fold = isOnlyRow ? 16 : DeviceGrid::kLongest;
    while (isOnlyRow && fold < DeviceGrid::kLongest && columns > fold * fold)
        fold *= 2;
    return std::min(columns, fold);
}

} // namespace

DeviceGrid::Stage DeviceGrid::stageOf(const Shape& matrix)
{
    Stage out;
    std::uint32_t stride = 1;
    for (std::size_t i = matrix.size(); i-- > 0;) {
        const auto size = static_cast<std::uint32_t>(matrix[i]);
        if (size > 1)
            out.axes.insert(out.axes.begin(), {static_cast<std::uint32_t>(matrix.size() - 1 - i), size, stride});
        stride *= size;
    }
    const std::size_t axes = out.axes.size();
    out.columns = axes > 0 ? out.axes[axes - 1].size : 1;
    out.rows = axes > 1 ? out.axes[axes - 2].size : 1;
    out.panels = stride / out.columns / out.rows;
    out.fold = foldOf(out.columns, axes < 2);
    out.linesPerRow = (out.columns + out.fold - 1) / out.fold;
    out.rowsPerBlock = std::min(out.rows, std::max(1u, kLongest / out.linesPerRow));
    out.rowBlocks = (out.rows + out.rowsPerBlock - 1) / out.rowsPerBlock;
    return out;
}

DeviceGrid::DeviceGrid(const std::vector<Shape>& matrices)
{
    for (const Shape& matrix : matrices) {
        Stage stage = stageOf(matrix);
        stage.firstBlock = m_blocks;
        m_blocks += stage.panels * stage.rowBlocks;
        m_rows = std::max(m_rows, stage.rowsPerBlock * stage.linesPerRow);
        m_columns = std::max(m_columns, stage.fold);
        m_devices = stage.panels * stage.rows * stage.columns;
        m_stages.push_back(std::move(stage));
    }
}

DeviceGrid::Place DeviceGrid::placeOf(std::uint32_t rank) const
{
    const Stage& stage = m_stages[rank / m_devices];
    const std::uint32_t local = rank % m_devices;
    const std::uint32_t column = local % stage.columns;
    const std::uint32_t row = local / stage.columns % stage.rows;
    const std::uint32_t panel = local / stage.columns / stage.rows;
    return {stage.firstBlock + panel * stage.rowBlocks + row / stage.rowsPerBlock, row % stage.rowsPerBlock * stage.linesPerRow + column / stage.fold,
            column % stage.fold};
}

std::size_t DeviceGrid::stageOfBlock(std::uint32_t block) const
{
    const auto after = std::upper_bound(m_stages.begin(), m_stages.end(), block, [](std::uint32_t wanted, const Stage& stage) { return wanted < stage.firstBlock; });
    return static_cast<std::size_t>(after - m_stages.begin()) - 1;
}

std::optional<std::uint32_t> DeviceGrid::rankAt(Place place) const
{
    if (place.block >= m_blocks)
        return std::nullopt;
    const std::size_t number = stageOfBlock(place.block);
    const Stage& stage = m_stages[number];
    const std::uint32_t panel = (place.block - stage.firstBlock) / stage.rowBlocks;
    const std::uint32_t row = (place.block - stage.firstBlock) % stage.rowBlocks * stage.rowsPerBlock + place.row / stage.linesPerRow;
    const std::uint32_t column = place.row % stage.linesPerRow * stage.fold + place.column;
    if (place.column >= stage.fold || place.row >= stage.rowsPerBlock * stage.linesPerRow || row >= stage.rows || column >= stage.columns)
        return std::nullopt;
    return static_cast<std::uint32_t>(number) * m_devices + (panel * stage.rows + row) * stage.columns + column;
}

QString DeviceGrid::blockName(std::uint32_t block) const
{
    if (m_blocks < 2)
        return {};
    const std::size_t number = stageOfBlock(block);
    const Stage& stage = m_stages[number];
    QStringList parts;
    if (m_stages.size() > 1)
        parts << DeviceGridText::tr("stage %1").arg(number);
    const std::uint32_t panel = (block - stage.firstBlock) / stage.rowBlocks;
    const std::uint32_t first = panel * stage.rows * stage.columns;
    for (std::size_t i = 0; i + 2 < stage.axes.size(); ++i)
        parts << DeviceGridText::tr("axis %1: %2").arg(stage.axes[i].number).arg(first / stage.axes[i].stride % stage.axes[i].size);
    if (stage.rowBlocks > 1)
        parts << DeviceGridText::tr("axis %1 from %2")
                     .arg(stage.axes[stage.axes.size() - 2].number)
                     .arg((block - stage.firstBlock) % stage.rowBlocks * stage.rowsPerBlock);
    return parts.join(QStringLiteral(", "));
}

QString DeviceGrid::text() const
{
    if (m_stages.empty())
        return {};
    const std::vector<Axis>& axes = m_stages.front().axes;
    if (axes.empty())
        return DeviceGridText::tr("one device");
    QStringList sizes;
    for (const Axis& axis : axes)
        sizes << QString::number(axis.size);
    const QString size = sizes.join(QStringLiteral(" × "));
    if (axes.size() == 1)
        return DeviceGridText::tr("%1 devices along axis %2").arg(size).arg(axes[0].number);
    return DeviceGridText::tr("%1: axis %2 down, axis %3 across", "sizes of the device matrix").arg(size).arg(axes[axes.size() - 2].number).arg(axes.back().number);
}

QString DeviceGrid::coordinates(std::uint32_t rank) const
{
    QStringList parts;
    if (m_stages.size() > 1)
        parts << DeviceGridText::tr("stage %1").arg(rank / m_devices);
    for (const Axis& axis : m_stages[rank / m_devices].axes)
        parts << DeviceGridText::tr("axis %1: %2").arg(axis.number).arg(rank % m_devices / axis.stride % axis.size);
    return parts.join(QStringLiteral(", "));
}

} // namespace shardlens::ui
