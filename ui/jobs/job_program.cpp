#include "ui/jobs/job_program.h"

#include <QCoreApplication>
#include <QFileInfo>
#include <QStandardPaths>

namespace shardlens::ui {

QString findJobProgram(const QString& configured)
{
    const QString name = QStringLiteral("shardlens");
    const QString beside = QStandardPaths::findExecutable(name, {QCoreApplication::applicationDirPath()});
    if (!beside.isEmpty())
        return beside;
    if (const QString onPath = QStandardPaths::findExecutable(name); !onPath.isEmpty())
        return onPath;
    return !configured.isEmpty() && QFileInfo(configured).isExecutable() ? configured : QString();
}

} // namespace shardlens::ui
