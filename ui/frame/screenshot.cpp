#include "ui/frame/screenshot.h"

#include "ui/frame/main_window.h"
#include "ui/frame/workspace.h"
#include "ui/models/document.h"

#include <QApplication>
#include <QPixmap>
#include <QTimer>

namespace shardlens::ui {
namespace {

constexpr int kPollMs = 50;
constexpr int kSettleMs = 900; // hover cards, workers and layouts are done by then

void selectTensor(Document* document, const QString& name)
{
    const Checkpoint& checkpoint = *document->checkpoint();
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (QString::fromStdString(checkpoint.fullName(idAt<TensorId>(i))) == name) {
            document->selectTensor(idAt<TensorId>(i));
            return;
        }
}

} // namespace

void saveWhenReady(MainWindow* window, const QString& tensor, const QString& page, const QString& file)
{
    auto* poll = new QTimer(window);
    QObject::connect(poll, &QTimer::timeout, window, [=] {
        Workspace* workspace = window->currentWorkspace();
        const bool waiting = workspace != nullptr && workspace->document()->state() == Document::State::Opening;
        if (waiting)
            return;
        poll->stop();
        const bool failed = workspace != nullptr && workspace->document()->state() == Document::State::Failed;
        if (workspace != nullptr && !failed) {
            if (!tensor.isEmpty())
                selectTensor(workspace->document(), tensor);
            if (!page.isEmpty())
                window->showPage(page);
        }
        QTimer::singleShot(kSettleMs, window, [=] {
            if (failed)
                qCritical("error: %s", qPrintable(workspace->document()->errorText()));
            const bool saved = window->grab().save(file);
            if (!saved)
                qCritical("error: %s was not written.", qPrintable(file));
            QApplication::exit(saved && !failed ? 0 : 1);
        });
    });
    poll->start(kPollMs);
}

} // namespace shardlens::ui
