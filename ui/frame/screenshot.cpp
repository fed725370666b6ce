#include "ui/frame/screenshot.h"

#include "ui/frame/main_window.h"
#include "ui/frame/workspace.h"
#include "ui/models/document.h"
#include "ui/models/safety_check.h"

#include <QApplication>
#include <QPixmap>
#include <QTimer>

namespace shardlens::ui {
namespace {

constexpr int kPollMs = 50;
constexpr int kSettleMs = 900; // hover cards, workers and layouts are done by then

} // namespace

void saveWhenReady(MainWindow* window, const QString& page, const QString& file)
{
    auto* poll = new QTimer(window);
    QObject::connect(poll, &QTimer::timeout, window, [=] {
        Workspace* workspace = window->currentWorkspace();
        const bool scans = workspace != nullptr && page == QLatin1String("safety") && workspace->canScan();
        const bool opening = workspace != nullptr && workspace->document()->state() == Document::State::Opening;
        if (opening || (scans && workspace->document()->safety()->isRunning()))
            return;
        poll->stop();
        const bool failed = workspace != nullptr && !scans && workspace->document()->state() == Document::State::Failed;
        const bool missed = workspace != nullptr && !workspace->missedName().isEmpty();
        if (workspace != nullptr && !failed && !page.isEmpty())
            window->showPage(page);
        QTimer::singleShot(kSettleMs, window, [=] {
            if (failed)
                qCritical("error: %s", qPrintable(workspace->document()->errorText()));
            const bool saved = window->grab().save(file);
            if (!saved)
                qCritical("error: %s was not written.", qPrintable(file));
            QApplication::exit(saved && !failed && !missed ? 0 : 1);
        });
    });
    poll->start(kPollMs);
}

} // namespace shardlens::ui
