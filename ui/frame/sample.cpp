#include "ui/frame/sample.h"

#include <QCoreApplication>
#include <QDir>
#include <QFileInfo>

namespace shardlens::ui {

QString samplePath()
{
    const QString beside = QCoreApplication::applicationDirPath();
    for (const QString& candidate : {beside + QStringLiteral("/../share/shardlens/sample"), beside + QStringLiteral("/../../../resources/sample")})
        if (QFileInfo::exists(candidate + QStringLiteral("/latest")))
            return QDir::cleanPath(candidate);
    return {};
}

} // namespace shardlens::ui
