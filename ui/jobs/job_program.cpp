#include "ui/jobs/job_program.h"

#include <QCoreApplication>
#include <QFileInfo>
#include <QSettings>
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

QProcessEnvironment jobEnvironment()
{
    const QString name = QStringLiteral("SHARDLENS_TORCH_MODULE"); // core/compute/torch_loader.h
    QProcessEnvironment out = QProcessEnvironment::systemEnvironment();
    if (const QString module = QSettings().value(QLatin1String(kTorchModuleSetting)).toString(); !module.isEmpty() && !out.contains(name))
        out.insert(name, module);
    return out;
}

} // namespace shardlens::ui
