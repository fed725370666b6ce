#include "ui/models/values_model.h"

#include "core/numeric/cast.h"
#include "ui/models/atlas_text.h"

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr double kFullAt = 0.99; // of the values of the first block

} // namespace

void ValuesModel::setGrid(std::optional<ValuesGrid> grid)
{
    beginResetModel();
    m_grid = std::move(grid);
    m_block.reset();
    m_firstRow = 0;
    m_firstColumn = 0;
    m_fullColour = 0;
    endResetModel();
}

void ValuesModel::setLeading(Shape leading)
{
    if (!m_grid || m_grid->leading == leading)
        return;
    m_grid->leading = std::move(leading);
    m_block.reset();
    if (rowCount() > 0 && columnCount() > 0)
        emit dataChanged(index(0, 0), index(rowCount() - 1, columnCount() - 1));
}

void ValuesModel::setBlock(ValuesBlock block)
{
    if (!m_grid || block.leading != m_grid->leading || block.dtype != m_grid->dtype)
        return;
    m_block = std::move(block);
    if (m_fullColour == 0)
        scaleColours();
    if (rowCount() > 0 && columnCount() > 0)
        emit dataChanged(index(0, 0), index(rowCount() - 1, columnCount() - 1));
}

void ValuesModel::scaleColours()
{
    std::vector<double> sizes;
    for (std::uint64_t row = 0; row < m_block->box.rows; ++row)
        for (std::uint64_t column = 0; column < m_block->box.columns; ++column) {
            if (!m_grid->elementAt(m_block->box.row + row, m_block->box.column + column))
                continue;
            const double value = std::abs(toDouble(m_block->dtype, m_block->at(m_block->box.row + row, m_block->box.column + column)));
            if (std::isfinite(value) && value > 0)
                sizes.push_back(value);
        }
    if (sizes.empty())
        return;
    const auto at = sizes.begin() + static_cast<std::ptrdiff_t>(static_cast<double>(sizes.size() - 1) * kFullAt);
    std::nth_element(sizes.begin(), at, sizes.end());
    m_fullColour = *at;
}

QModelIndex ValuesModel::moveWindow(std::uint64_t row, std::uint64_t column)
{
    if (!m_grid || row >= m_grid->rows() || column >= m_grid->columns())
        return {};
    const auto wanted = [](std::uint64_t at, std::uint64_t first, std::uint64_t all, std::uint64_t most) {
        if (at >= first && at - first < std::min(all, most))
            return first;
        return std::min(at - std::min(at, most / 2), all - std::min(all, most));
    };
    const std::uint64_t firstRow = wanted(row, m_firstRow, m_grid->rows(), kMostRows);
    const std::uint64_t firstColumn = wanted(column, m_firstColumn, m_grid->columns(), kMostColumns);
    if (firstRow != m_firstRow || firstColumn != m_firstColumn) {
        beginResetModel();
        m_firstRow = firstRow;
        m_firstColumn = firstColumn;
        m_block.reset();
        endResetModel();
    }
    return index(static_cast<int>(row - m_firstRow), static_cast<int>(column - m_firstColumn));
}

ValuesBox ValuesModel::boxOf(int row, int column, int rows, int columns) const
{
    return {m_firstRow + static_cast<std::uint64_t>(row), m_firstColumn + static_cast<std::uint64_t>(column), static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns)};
}

int ValuesModel::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() || !m_grid ? 0 : static_cast<int>(std::min<std::uint64_t>(m_grid->rows() - m_firstRow, kMostRows));
}

int ValuesModel::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() || !m_grid || m_grid->rows() == 0 ? 0 : static_cast<int>(std::min<std::uint64_t>(m_grid->columns() - m_firstColumn, kMostColumns));
}

const std::byte* ValuesModel::bytesAt(const QModelIndex& index) const
{
    const std::uint64_t row = m_firstRow + static_cast<std::uint64_t>(index.row());
    const std::uint64_t column = m_firstColumn + static_cast<std::uint64_t>(index.column());
    if (!m_block || !m_block->box.contains(row, column) || !m_grid->elementAt(row, column))
        return nullptr;
    return m_block->at(row, column);
}

ValuesModel::Kind ValuesModel::kindOf(const QModelIndex& index) const
{
    if (!m_grid->elementAt(m_firstRow + static_cast<std::uint64_t>(index.row()), m_firstColumn + static_cast<std::uint64_t>(index.column())))
        return Kind::Outside;
    const std::byte* at = bytesAt(index);
    if (at == nullptr)
        return Kind::Unread;
    const double value = toDouble(m_grid->dtype, at);
    if (std::isnan(value))
        return Kind::NotANumber;
    if (std::isinf(value))
        return value > 0 ? Kind::PositiveInfinity : Kind::NegativeInfinity;
    return Kind::Finite;
}

QVariant ValuesModel::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    switch (role) {
    case Qt::DisplayRole: {
        const std::byte* at = bytesAt(index);
        return at == nullptr ? QString() : valueText(m_grid->dtype, at);
    }
    case Qt::ToolTipRole: {
        const std::byte* at = bytesAt(index);
        const auto element = m_grid->elementAt(m_firstRow + static_cast<std::uint64_t>(index.row()), m_firstColumn + static_cast<std::uint64_t>(index.column()));
        return at == nullptr || !element ? QVariant() : tr("%1 at element %2").arg(exactValueText(m_grid->dtype, at), numberText(*element));
    }
    case Qt::TextAlignmentRole: return int(Qt::AlignRight | Qt::AlignVCenter);
    case ValueRole: {
        const std::byte* at = bytesAt(index);
        return at == nullptr ? QVariant() : QVariant(toDouble(m_grid->dtype, at));
    }
    case KindRole: return static_cast<int>(kindOf(index));
    default: return {};
    }
}

QVariant ValuesModel::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (role == Qt::TextAlignmentRole)
        return int(Qt::AlignRight | Qt::AlignVCenter);
    if (role != Qt::DisplayRole || !m_grid || section < 0 || section >= (orientation == Qt::Horizontal ? columnCount() : rowCount()))
        return {};
    if (orientation == Qt::Horizontal)
        return (m_grid->isVector() ? QStringLiteral("+") : QString()) + numberText(m_firstColumn + static_cast<std::uint64_t>(section));
    const std::uint64_t row = m_firstRow + static_cast<std::uint64_t>(section);
    return numberText(m_grid->isVector() ? row * m_grid->columns() : row);
}

} // namespace shardlens::ui
