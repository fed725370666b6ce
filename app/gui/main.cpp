#include "core/io/open_files.h"
#include "ui/frame/english_plurals.h"
#include "ui/frame/main_window.h"
#include "ui/frame/screenshot.h"
#include "ui/jobs/job_queue.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QCommandLineParser>
#include <QSettings>
#include <QTimer>

using namespace shardlens;

namespace {

ui::Theme::Mode modeByName(const QString& name)
{
    if (name == QLatin1String("light"))
        return ui::Theme::Mode::Light;
    if (name == QLatin1String("dark"))
        return ui::Theme::Mode::Dark;
    return name == QLatin1String("contrast") ? ui::Theme::Mode::HighContrast : ui::Theme::Mode::System;
}

} // namespace

int main(int argc, char** argv)
{
    allowManyOpenFiles();
    QApplication app(argc, argv);
    QApplication::setApplicationName(QStringLiteral("shardlens"));
    QApplication::setOrganizationName(QStringLiteral("shardlens"));
    QApplication::setApplicationDisplayName(QStringLiteral("Shardlens"));
    QApplication::setDesktopFileName(QStringLiteral("shardlens"));

    ui::EnglishPlurals plurals;
    QApplication::installTranslator(&plurals);

    QCommandLineParser options;
    options.setApplicationDescription(QApplication::tr("See, check and reshard the checkpoints of distributed training runs."));
    options.addHelpOption();
    options.addPositionalArgument(QStringLiteral("path"), QApplication::tr("A checkpoint folder or file to open."), QStringLiteral("[path…]"));
    const QCommandLineOption page(QStringLiteral("page"), QApplication::tr("The page to show: overview, tensors, atlas, tensor, metadata, convert, jobs, settings."), QStringLiteral("id"));
    const QCommandLineOption theme(QStringLiteral("theme"), QApplication::tr("light, dark, contrast or system."), QStringLiteral("name"));
    const QCommandLineOption size(QStringLiteral("size"), QApplication::tr("Size of the window, as 1440x900."), QStringLiteral("size"));
    const QCommandLineOption select(QStringLiteral("select"), QApplication::tr("A tensor to select."), QStringLiteral("name"));
    const QCommandLineOption picture(QStringLiteral("screenshot"), QApplication::tr("Saves a picture of the window once the checkpoint shows, and ends."), QStringLiteral("file"));
    options.addOptions({page, theme, size, select, picture});
    options.process(app);

    ui::Theme look;
    QSettings settings;
    look.setTextPercent(settings.value(QStringLiteral("textPercent"), 100).toInt());
    look.setMode(modeByName(options.isSet(theme) ? options.value(theme) : settings.value(QStringLiteral("theme")).toString()));
    ui::JobQueue queue(&settings);
    ui::MainWindow window(&queue);
    if (const QStringList parts = options.value(size).split(QLatin1Char('x')); parts.size() == 2)
        window.resize(parts[0].toInt(), parts[1].toInt());
    window.show();
    // Nothing is read from a disk before the first frame is there.
    QTimer::singleShot(0, &window, [&] {
        for (const QString& path : options.positionalArguments())
            window.openPath(path, options.value(page));
        if (options.positionalArguments().isEmpty() && options.isSet(page))
            window.showPage(options.value(page));
        if (options.isSet(picture))
            ui::saveWhenReady(&window, options.value(select), options.value(page), options.value(picture));
    });
    return QApplication::exec();
}
