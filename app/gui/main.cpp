#include "core/io/open_files.h"
#include "ui/frame/english_plurals.h"
#include "ui/frame/main_window.h"
#include "ui/frame/page_table.h"
#include "ui/frame/screenshot.h"
#include "ui/frame/workspace.h"
#include "ui/jobs/job_queue.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QCommandLineParser>
#include <QFileInfo>
#include <QRegularExpression>
#include <QSettings>
#include <QTimer>

#include <cstdio>
#include <optional>

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

// In the order of the rail, with the pages at its foot.
QStringList pageIds()
{
    QStringList out;
    for (const ui::PageEntry& entry : ui::pageTable())
        out << QString::fromLatin1(entry.id);
    return out << QStringLiteral("jobs") << QStringLiteral("settings");
}

struct Options {
    QCommandLineParser parser;
    QCommandLineOption page{QStringLiteral("page"), QCoreApplication::tr("The page to show: %1.").arg(pageIds().join(QStringLiteral(", "))), QStringLiteral("id")};
    QCommandLineOption theme{QStringLiteral("theme"), QCoreApplication::tr("light, dark, contrast or system."), QStringLiteral("name")};
    QCommandLineOption size{QStringLiteral("size"), QCoreApplication::tr("Size of the window, as 1440x900."), QStringLiteral("size")};
    QCommandLineOption select{QStringLiteral("select"), QCoreApplication::tr("A tensor to select."), QStringLiteral("name")};
    QCommandLineOption strategy{QStringLiteral("source-strategy"), QCoreApplication::tr("The strategy of a MindSpore run: a file, or the folder of its stages' files."), QStringLiteral("path")};
    QCommandLineOption picture{QStringLiteral("screenshot"), QCoreApplication::tr("Saves a picture of the window once the checkpoint shows, and ends."), QStringLiteral("file")};

    Options()
    {
        parser.setApplicationDescription(QCoreApplication::tr("See, check and reshard the checkpoints of distributed training runs."));
        parser.addHelpOption();
        parser.addVersionOption();
        parser.addPositionalArgument(QStringLiteral("path"), QCoreApplication::tr("A checkpoint folder or file to open."), QStringLiteral("[path…]"));
        parser.addOptions({page, theme, size, select, strategy, picture});
    }

    // What is wrong with the values, as a sentence; empty if nothing is.
    [[nodiscard]] QString problem() const
    {
        static const QStringList kPages = pageIds();
        static const QStringList kThemes{"light", "dark", "contrast", "system"};
        if (parser.isSet(page) && !kPages.contains(parser.value(page)))
            return QCoreApplication::tr("--page %1: one of %2 is needed.").arg(parser.value(page), kPages.join(QStringLiteral(", ")));
        if (parser.isSet(theme) && !kThemes.contains(parser.value(theme)))
            return QCoreApplication::tr("--theme %1: one of %2 is needed.").arg(parser.value(theme), kThemes.join(QStringLiteral(", ")));
        static const QRegularExpression kSize(QStringLiteral("^[1-9][0-9]{2,4}x[1-9][0-9]{2,4}$"));
        if (parser.isSet(size) && !kSize.match(parser.value(size)).hasMatch())
            return QCoreApplication::tr("--size %1: a width and a height as in 1440x900 are needed.").arg(parser.value(size));
        return {};
    }
};

// Help, version and mistakes need no display: they are answered before one is asked for. Nothing: go on.
std::optional<int> answerWithoutDisplay(int argc, char** argv)
{
    int count = 1; // only the name: the parser gets the rest itself
    const QCoreApplication core(count, argv);
    QCoreApplication::setApplicationName(QStringLiteral("shardlens-gui"));
    QCoreApplication::setApplicationVersion(QStringLiteral(SHARDLENS_VERSION));
    QStringList words;
    for (int i = 0; i < argc; ++i)
        words << QString::fromLocal8Bit(argv[i]);
    Options options;
    if (!options.parser.parse(words)) // Qt's own, such as -platform, are not ours to judge
        return std::nullopt;
    if (options.parser.isSet(QStringLiteral("help"))) {
        std::fputs(qPrintable(options.parser.helpText()), stdout);
        return 0;
    }
    if (options.parser.isSet(QStringLiteral("version"))) {
        std::printf("shardlens-gui %s\n", SHARDLENS_VERSION);
        return 0;
    }
    const QString problem = options.problem();
    if (problem.isEmpty())
        return std::nullopt;
    std::fprintf(stderr, "error: %s\n", qPrintable(problem));
    return 2;
}

// Two paths on the page that compares are its two sides; else every path has a tab, and the last is shown.
void openPaths(ui::MainWindow& window, const Options& options)
{
    const QString page = options.parser.value(options.page);
    const QStringList paths = options.parser.positionalArguments();
    if (paths.isEmpty() && !page.isEmpty())
        window.showPage(page);
    std::optional<OpenOptions> open;
    if (options.parser.isSet(options.strategy))
        open.emplace().sourceStrategy = QFileInfo(options.parser.value(options.strategy)).absoluteFilePath().toStdString();
    const bool compares = page == QLatin1String("compare") && paths.size() == 2;
    for (const QString& path : compares ? paths.mid(0, 1) : paths) {
        window.openPath(path, page, open);
        if (options.parser.isSet(options.select))
            window.currentWorkspace()->selectNamed(options.parser.value(options.select));
    }
    if (compares)
        window.currentWorkspace()->chooseOnPage(page, QFileInfo(paths[1]).absoluteFilePath());
}

} // namespace

int main(int argc, char** argv)
{
    allowManyOpenFiles();
    if (const auto code = answerWithoutDisplay(argc, argv))
        return *code;
    QApplication app(argc, argv);
    QApplication::setApplicationName(QStringLiteral("shardlens"));
    QApplication::setOrganizationName(QStringLiteral("shardlens"));
    QApplication::setApplicationDisplayName(QStringLiteral("Shardlens"));
    QApplication::setDesktopFileName(QStringLiteral("shardlens"));

    ui::EnglishPlurals plurals;
    QApplication::installTranslator(&plurals);

    Options options;
    options.parser.process(app);

    ui::Theme look;
    QSettings settings;
    look.setTextPercent(settings.value(QStringLiteral("textPercent"), 100).toInt());
    look.setMode(modeByName(options.parser.isSet(options.theme) ? options.parser.value(options.theme) : settings.value(QStringLiteral("theme")).toString()));
    ui::JobQueue queue(&settings);
    ui::MainWindow window(&queue);
    if (const QStringList parts = options.parser.value(options.size).split(QLatin1Char('x')); parts.size() == 2)
        window.resize(parts[0].toInt(), parts[1].toInt());
    window.show();
    // Nothing is read from a disk before the first frame is there.
    QTimer::singleShot(0, &window, [&] {
        openPaths(window, options);
        if (options.parser.isSet(options.picture))
            ui::saveWhenReady(&window, options.parser.value(options.page), options.parser.value(options.picture));
    });
    return QApplication::exec();
}
