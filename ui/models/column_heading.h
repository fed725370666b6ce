#pragma once

#include <QObject>
#include <QVariant>

#include <cstddef>

namespace shardlens::ui {

// What headerData() answers for a table whose columns are an array of rows with a `title` and an `alignment`.
template <class Columns> QVariant columnHeading(const Columns& columns, int section, Qt::Orientation orientation, int role)
{
    if (orientation != Qt::Horizontal || section < 0 || static_cast<std::size_t>(section) >= columns.size())
        return {};
    const auto& column = columns[static_cast<std::size_t>(section)];
    if (role == Qt::DisplayRole)
        return QObject::tr(column.title);
    if (role == Qt::TextAlignmentRole)
        return QVariant::fromValue(column.alignment | Qt::AlignVCenter);
    return {};
}

} // namespace shardlens::ui
