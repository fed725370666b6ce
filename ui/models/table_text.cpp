#include "ui/models/table_text.h"

#include <QAbstractItemModel>
#include <QStringList>

#include <numeric>

namespace shardlens::ui {

QString tableText(const QAbstractItemModel& table)
{
    QList<int> columns(table.columnCount());
    std::iota(columns.begin(), columns.end(), 0);
    return tableText(table, columns);
}

QString tableText(const QAbstractItemModel& table, const QList<int>& columns)
{
    QStringList lines;
    for (int row = -1; row < table.rowCount(); ++row) {
        QStringList cells;
        for (const int column : columns)
            cells << (row < 0 ? table.headerData(column, Qt::Horizontal) : table.index(row, column).data()).toString();
        lines << cells.join(QLatin1Char('\t'));
    }
    return lines.join(QLatin1Char('\n'));
}

} // namespace shardlens::ui
