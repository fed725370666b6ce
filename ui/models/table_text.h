#pragma once

#include <QList>
#include <QString>

class QAbstractItemModel;

namespace shardlens::ui {

// A table as it goes to the clipboard: a line of headings, then one a row, tabs between cells.
[[nodiscard]] QString tableText(const QAbstractItemModel& table);
// The same of some columns, in the order given.
[[nodiscard]] QString tableText(const QAbstractItemModel& table, const QList<int>& columns);

} // namespace shardlens::ui
