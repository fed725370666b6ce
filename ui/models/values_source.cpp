#include "ui/models/values_source.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <QRegularExpression>
#include <QStringList>

#include <algorithm>

namespace shardlens::ui {
namespace {

std::uint64_t countOf(ShapeView shape)
{
    return elementCount(shape).value_or(0);
}

} // namespace

Result<ValuesGrid> ValuesGrid::of(const Tensor& tensor)
{
    const DTypeInfo& type = info(tensor.dtype);
    if (type.valuesPerBlock != 1)
        return Error{ErrorCode::Unsupported, fmt::format("{} packs {} values into {} bytes, they are not shown one by one", type.name, type.valuesPerBlock, type.bytesPerBlock)};
    ValuesGrid out{tensor.shape, tensor.dtype, {}};
    if (tensor.shape.size() > 2)
        out.leading.assign(tensor.shape.size() - 2, 0);
    return out;
}

std::uint64_t ValuesGrid::rows() const
{
    const std::uint64_t count = countOf(shape);
    return isVector() ? (count + kVectorColumns - 1) / kVectorColumns : count == 0 ? 0 : shape[shape.size() - 2];
}

std::uint64_t ValuesGrid::columns() const
{
    return isVector() ? std::min(kVectorColumns, std::max<std::uint64_t>(countOf(shape), 1)) : shape.back();
}

std::optional<std::uint64_t> ValuesGrid::elementAt(std::uint64_t row, std::uint64_t column) const
{
    std::uint64_t at = 0;
    for (std::size_t axis = 0; axis < leading.size(); ++axis)
        at = at * shape[axis] + leading[axis];
    at = at * (isVector() ? 0 : shape[shape.size() - 2]) + row;
    at = at * columns() + column;
    return at < countOf(shape) ? std::optional(at) : std::nullopt;
}

Result<ValuesGrid::Place> ValuesGrid::parseIndex(const QString& text) const
{
    static const QRegularExpression separators(QStringLiteral("[\\s,\\[\\]:]+"));
    Shape index;
    for (const QString& part : text.split(separators, Qt::SkipEmptyParts)) {
        bool isNumber = false;
        index.push_back(part.toULongLong(&isNumber));
        if (!isNumber)
            return Error{ErrorCode::Refused, fmt::format("\"{}\" is no number", printable(part.toStdString()))};
    }
    if (index.size() == 1 && shape.size() != 1) { // a place in row-major order
        std::uint64_t at = index[0];
        if (at >= countOf(shape))
            return Error{ErrorCode::Refused, fmt::format("element {} asked for, 0 to {} are there", groupedText(at), groupedText(std::max<std::uint64_t>(countOf(shape), 1) - 1))};
        index.assign(shape.size(), 0);
        for (std::size_t axis = shape.size(); axis-- > 0; at /= shape[axis])
            index[axis] = at % shape[axis];
    }
    if (index.size() != shape.size())
        return Error{ErrorCode::Refused, fmt::format("{} numbers given, {} axes", index.size(), shape.size())};
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
        if (index[axis] >= shape[axis])
            return Error{ErrorCode::Refused, fmt::format("axis {}: {} asked for, {} is its length", axis, groupedText(index[axis]), groupedText(shape[axis]))};
    if (isVector()) {
        const std::uint64_t at = index.empty() ? 0 : index[0];
        return Place{{}, at / kVectorColumns, at % kVectorColumns};
    }
    return Place{Shape(index.begin(), index.end() - 2), index[index.size() - 2], index.back()};
}

bool ValuesBox::contains(const ValuesBox& other) const
{
    return other.row >= row && other.row + other.rows <= row + rows && other.column >= column && other.column + other.columns <= column + columns;
}

const std::byte* ValuesBlock::at(std::uint64_t row, std::uint64_t column) const
{
    const std::uint64_t cell = (row - box.row) * box.columns + (column - box.column);
    return bytes.data() + cell * info(dtype).bytesPerBlock;
}

Result<std::shared_ptr<const ValuesSource>> ValuesSource::open(std::shared_ptr<const StreamSet> streams, TensorId tensor)
{
    SHARDLENS_ASSIGN(TensorReader reader, TensorReader::open(*streams, tensor));
    return std::shared_ptr<const ValuesSource>(new ValuesSource(std::move(streams), std::move(reader)));
}

Result<ValuesBlock> ValuesSource::read(const ValuesGrid& grid, const ValuesBox& box, const std::stop_token& stop) const
{
    if (box.columns != 0 && box.rows > kMostValues / box.columns)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} × {} values asked for, at most {} at once", groupedText(box.rows), groupedText(box.columns), groupedText(kMostValues))};
    const std::uint64_t cell = info(grid.dtype).bytesPerBlock;
    ValuesBlock out{box, grid.dtype, grid.leading, std::vector<std::byte>(box.rows * box.columns * cell)};
    for (std::uint64_t row = 0; row < box.rows; ++row) {
        if (stop.stop_requested())
            return Error{ErrorCode::Cancelled, "stopped"};
        const auto first = grid.elementAt(box.row + row, box.column);
        if (!first)
            continue;
        std::uint64_t count = box.columns;
        while (count > 0 && !grid.elementAt(box.row + row, box.column + count - 1)) // the last row of a vector is short
            --count;
        SHARDLENS_TRY(m_reader.readAt(*first * cell, std::span(out.bytes).subspan(row * box.columns * cell, count * cell)));
    }
    return out;
}

} // namespace shardlens::ui
