#include "ui/frame/recent.h"

#include <QSettings>

namespace shardlens::ui {
namespace {
constexpr int kMostRecent = 12;
}

QStringList Recent::paths()
{
    return QSettings().value(QStringLiteral("recent")).toStringList();
}

void Recent::add(const QString& path)
{
    QStringList list = paths();
    list.removeAll(path);
    list.prepend(path);
    while (list.size() > kMostRecent)
        list.removeLast();
    QSettings().setValue(QStringLiteral("recent"), list);
}

QStringList Recent::pinned()
{
    return QSettings().value(QStringLiteral("pinned")).toStringList();
}

void Recent::setPinned(const QString& path, bool on)
{
    QStringList list = pinned();
    list.removeAll(path);
    if (on)
        list.prepend(path);
    QSettings().setValue(QStringLiteral("pinned"), list);
}

} // namespace shardlens::ui
