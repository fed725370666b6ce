#pragma once

#include <QStringList>

namespace shardlens::ui {

// Paths that were opened lately and paths that were pinned, newest first; kept in the settings.
class Recent {
public:
    [[nodiscard]] static QStringList paths();
    static void add(const QString& path);
    [[nodiscard]] static QStringList pinned();
    static void setPinned(const QString& path, bool on);
};

} // namespace shardlens::ui
