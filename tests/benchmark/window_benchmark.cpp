// What the window takes, on the offscreen platform: prints a report, judges nothing (DESIGN.md §6). ctest runs it with --quick to see that it works.

#include "tests/ui/atlas_sample.h"
#include "ui/frame/main_window.h"
#include "ui/frame/workspace.h"
#include "ui/jobs/job_queue.h"
#include "ui/models/document.h"
#include "ui/pages/overview_page.h"
#include "ui/pages/tensors/tensor_index.h"
#include "ui/pages/tensors/tensor_rows.h"
#include "ui/theme/theme.h"
#include "ui/widgets/atlas_view.h"

#include <fmt/format.h>

#include <QApplication>
#include <QElapsedTimer>
#include <QHeaderView>
#include <QPixmap>
#include <QTableView>
#include <QTemporaryDir>
#include <QThread>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

using namespace shardlens;
using namespace shardlens::ui;

namespace {

constexpr qint64 kPatienceMs = 60'000;

double milliseconds(const std::function<void()>& work)
{
    QElapsedTimer clock;
    clock.start();
    work();
    return static_cast<double>(clock.nsecsElapsed()) / 1e6;
}

// The median and the slowest of `rounds`.
void report(const char* what, const char* goal, int rounds, const std::function<void(int)>& work)
{
    std::vector<double> times;
    for (int round = 0; round < rounds; ++round)
        times.push_back(milliseconds([&] { work(round); }));
    std::sort(times.begin(), times.end());
    fmt::print("  {:<58}{:>8.2f} ms  slowest {:>8.2f} ms  goal {}\n", what, times[times.size() / 2], times.back(), goal);
}

bool waitFor(const std::function<bool()>& done)
{
    QElapsedTimer clock;
    clock.start();
    while (!done()) {
        if (clock.elapsed() > kPatienceMs)
            return false;
        QCoreApplication::processEvents(QEventLoop::AllEvents, 1);
    }
    return true;
}

bool reportWindow()
{
    JobQueue queue;
    std::unique_ptr<MainWindow> window;
    report("window: made, shown and painted", "500 ms", 1, [&](int) {
        window = std::make_unique<MainWindow>(&queue);
        window->resize(1440, 900);
        window->show();
        QCoreApplication::processEvents();
        (void)window->grab();
    });
    bool works = true;
    report("sample: opened, summed up and painted", "1000 ms", 1, [&](int) {
        window->openPath(QStringLiteral(SHARDLENS_SAMPLE));
        works = waitFor([&] {
            const auto* page = dynamic_cast<const OverviewPage*>(window->currentWorkspace()->currentPage());
            return page != nullptr && page->summary() != nullptr;
        });
        (void)window->grab();
    });
    return works;
}

void reportFilter(std::size_t pieces)
{
    const auto index = TensorIndex::build(shardlens::test::makeCrowdedSample(pieces, 8), {});
    TensorRows rows;
    QTableView table;
    table.setModel(&rows);
    table.verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    table.resize(1000, 700);
    table.show();
    const char* typed[] = {"l", "la", "lay", "layers.7", "layers.77", "proj", "weight", "7"};
    RowQuery query;
    RowResult result;
    QPixmap picture(table.viewport()->size());
    report(fmt::format("filter keystroke, {} tensors: search, rows and paint", index->byName().leaves.size()).c_str(), "16 ms", 24, [&](int round) {
        query.text = typed[static_cast<std::size_t>(round) % std::size(typed)];
        rows.setRows(index, query.mode, runQuery(*index, query).rows);
        table.viewport()->render(&picture);
    });
    report("  of that: search (on a worker)", "", 24, [&](int round) {
        query.text = typed[static_cast<std::size_t>(round) % std::size(typed)];
        result = runQuery(*index, query);
    });
    report("  of that: rows", "", 24, [&](int) { rows.setRows(index, query.mode, result.rows); });
    report("  of that: paint", "", 24, [&](int) { table.viewport()->render(&picture); });
}

void reportAtlas(const CheckpointPtr& checkpoint, AtlasRows rows, const char* name)
{
    const std::size_t pieces = checkpoint->pieces().size();
    AtlasModelPtr model;
    AtlasOptions options;
    options.rows = rows;
    options.axis = Axis::Dp;
    report(fmt::format("atlas of {} pieces{}: model built", pieces, name).c_str(), "on a worker", 3,
           [&](int) { model = AtlasModel::build(checkpoint, options); });
    const AtlasPalettePtr palette = AtlasPalette::build(*model, AtlasColour::Parameter, ParameterClasses::builtIn());
    AtlasView view;
    view.resize(1440, 800);
    view.setModel(model, palette);
    view.show();
    QCoreApplication::processEvents();
    QPixmap picture(view.size());
    report(fmt::format("atlas of {} pieces{}: painted", pieces, name).c_str(), "16 ms", 30, [&](int round) {
        view.resize(1440 - round % 2, 800); // nothing kept from the last picture fits
        view.render(&picture);
    });
}

} // namespace

int main(int argc, char** argv)
{
    if (!qEnvironmentVariableIsSet("QT_QPA_PLATFORM"))
        qputenv("QT_QPA_PLATFORM", "offscreen");
    const QTemporaryDir home;
    qputenv("XDG_CONFIG_HOME", home.path().toUtf8());
    QElapsedTimer start;
    start.start();
    QApplication application(argc, argv);
    QApplication::setApplicationName(QStringLiteral("shardlens-benchmark"));
    QApplication::setOrganizationName(QStringLiteral("shardlens-benchmark"));
    Theme theme;
    const bool quick = application.arguments().contains(QStringLiteral("--quick"));
    const std::size_t size = quick ? 2'000 : 100'000;
    fmt::print("window, {} platform\n  {:<58}{:>8.2f} ms\n", QGuiApplication::platformName().toStdString(), "Qt and theme", static_cast<double>(start.nsecsElapsed()) / 1e6);
    const bool works = reportWindow();
    reportFilter(size);
    const CheckpointPtr crowded = shardlens::test::makeCrowdedSample(size, 8);
    reportAtlas(crowded, AtlasRows::RankFile, "");
    reportAtlas(crowded, AtlasRows::Axis, ", by data rank");
    reportAtlas(crowded, AtlasRows::Layer, ", by layer");
    return works ? 0 : 1;
}
