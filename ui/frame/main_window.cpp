#include "ui/frame/main_window.h"

#include "ui/frame/command_palette.h"
#include "ui/frame/inspector.h"
#include "ui/frame/places_panel.h"
#include "ui/frame/rail.h"
#include "ui/frame/recent.h"
#include "ui/frame/sample.h"
#include "ui/frame/status_line.h"
#include "ui/frame/tab_strip.h"
#include "ui/frame/workspace.h"
#include "ui/jobs/job_queue.h"
#include "ui/jobs/job_strip.h"
#include "ui/jobs/jobs_page.h"
#include "ui/models/device_map.h"
#include "ui/models/document.h"
#include "ui/pages/page.h"
#include "ui/pages/settings_page.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QClipboard>
#include <QCloseEvent>
#include <QDir>
#include <QDragEnterEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QMenuBar>
#include <QMessageBox>
#include <QMimeData>
#include <QPointer>
#include <QPushButton>
#include <QSettings>
#include <QSplitter>
#include <QStackedWidget>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>
#include <iterator>

namespace shardlens::ui {
namespace {

constexpr int kNarrow = 1200;     // below it the inspector gives way
constexpr int kWideForPlaces = 1600;

QString nameOf(const QString& path)
{
    const QString name = QDir(path).dirName();
    return name.isEmpty() ? path : name;
}

} // namespace

MainWindow::MainWindow(JobQueue* queue, QWidget* parent) : QMainWindow(parent), m_queue(queue)
{
    const Theme& theme = Theme::current();
    setWindowTitle(QStringLiteral("Shardlens"));
    setWindowIcon(QIcon(QStringLiteral(":/icons/shardlens.svg")));
    setAcceptDrops(true);
    setMinimumSize(theme.px(960), theme.px(600));
    resize(theme.px(1440), theme.px(900));
    auto* central = new QWidget(this);
    auto* column = new QVBoxLayout(central);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    setCentralWidget(central);
    buildToolRow();
    buildBody();
    buildMenus();
    restoreLayout();
    refresh();
    m_start->setFocus();
}

Workspace* MainWindow::currentWorkspace() const
{
    const int index = m_tabs->currentIndex();
    return index < 0 || index >= static_cast<int>(m_workspaces.size()) ? nullptr : m_workspaces[static_cast<std::size_t>(index)];
}

void MainWindow::openPath(const QString& path, const QString& page, const std::optional<OpenOptions>& options)
{
    const QString clean = QDir::cleanPath(QFileInfo(path).absoluteFilePath());
    for (std::size_t i = 0; i < m_workspaces.size(); ++i)
        if (m_workspaces[i]->document()->path() == clean) {
            m_globalPage.clear();
            m_tabs->setCurrentIndex(static_cast<int>(i));
            currentTabChanged();
            if (!page.isEmpty())
                m_workspaces[i]->showPage(page);
            if (options && *options != m_workspaces[i]->document()->options())
                m_workspaces[i]->document()->reopenWith(*options);
            return;
        }
    auto* document = new Document(clean);
    auto* workspace = new Workspace(document, m_queue, m_stack);
    if (!page.isEmpty())
        workspace->showPage(page);
    connect(workspace, &Workspace::pageChanged, this, &MainWindow::refresh);
    connect(workspace, &Workspace::openRequested, this, [this](const QString& other) { openPath(other); });
    connect(document, &Document::selectionChanged, this, &MainWindow::refresh);
    connect(document, &Document::findingsChanged, this, &MainWindow::refresh);
    connect(document, &Document::stateChanged, this, [this, workspace, document] {
        const auto at = std::find(m_workspaces.begin(), m_workspaces.end(), workspace);
        if (at != m_workspaces.end() && document->checkpoint()) {
            m_tabs->setTexts(static_cast<int>(at - m_workspaces.begin()), QString::fromStdString(document->checkpoint()->title()),
                             QString::fromStdString(document->checkpoint()->subtitle()));
            Recent::add(document->path());
        }
        if (workspace == currentWorkspace())
            m_palette->setDocument(document);
        refresh();
    });
    m_stack->addWidget(workspace);
    m_workspaces.push_back(workspace);
    m_globalPage.clear();
    const int index = m_tabs->addCheckpoint(nameOf(clean), {});
    m_tabs->setCurrentIndex(index);
    currentTabChanged();
    if (width() < Theme::current().px(kWideForPlaces) && !QSettings().value(QStringLiteral("placesShown")).toBool())
        m_places->hide();
    document->reopenWith(options.value_or(OpenOptions{}));
}

void MainWindow::openSample()
{
    const QString path = samplePath();
    if (path.isEmpty())
        m_status->showHint(tr("The sample is not installed beside this program."));
    else
        openPath(path);
}

void MainWindow::chooseFolder()
{
    const QString path = QFileDialog::getExistingDirectory(this, tr("Open a checkpoint folder"));
    if (!path.isEmpty())
        openPath(path);
}

void MainWindow::chooseFile()
{
    const QString path = QFileDialog::getOpenFileName(this, tr("Open a checkpoint file"), {}, tr("Checkpoints (*.safetensors *.pt *.pth *.bin *.ckpt *.json);;All files (*)"));
    if (!path.isEmpty())
        openPath(path);
}

void MainWindow::chooseStrategy()
{
    Workspace* workspace = currentWorkspace();
    if (workspace != nullptr && workspace->document()->checkpoint() && isMindSporeRun(*workspace->document()->checkpoint()))
        emit workspace->document()->strategyWanted(false);
    else
        m_status->showHint(tr("A strategy is for a MindSpore run: open the folder with its rank_N folders first."));
}

void MainWindow::closeTab(int index)
{
    if (index < 0 || index >= static_cast<int>(m_workspaces.size()))
        return;
    Workspace* workspace = m_workspaces[static_cast<std::size_t>(index)];
    m_workspaces.erase(m_workspaces.begin() + index);
    m_inspector->setDocument(nullptr);
    m_palette->setDocument(nullptr);
    m_stack->removeWidget(workspace);
    workspace->deleteLater();
    {
        const QSignalBlocker quiet(m_tabs);
        m_tabs->removeTab(index);
    }
    currentTabChanged();
}

void MainWindow::currentTabChanged()
{
    m_globalPage.clear();
    Workspace* workspace = currentWorkspace();
    Document* document = workspace == nullptr ? nullptr : workspace->document();
    m_inspector->setDocument(document);
    m_palette->setDocument(document);
    m_places->setCurrentPath(document == nullptr ? QString() : document->path());
    refresh();
}

QWidget* MainWindow::centre() const
{
    if (m_globalPage == QLatin1String("jobs"))
        return m_jobs;
    if (m_globalPage == QLatin1String("settings"))
        return m_settings;
    return currentWorkspace() != nullptr ? static_cast<QWidget*>(currentWorkspace()) : m_start;
}

void MainWindow::showPage(const QString& id)
{
    if (id == QLatin1String("jobs") || id == QLatin1String("settings")) {
        m_globalPage = id;
        if (id == QLatin1String("jobs"))
            m_jobs->activate();
        refresh();
        centre()->setFocus();
        return;
    }
    m_globalPage.clear();
    if (currentWorkspace() != nullptr)
        currentWorkspace()->showPage(id);
    refresh();
}

void MainWindow::refresh()
{
    Workspace* workspace = currentWorkspace();
    const bool isOpen = workspace != nullptr && workspace->document()->checkpoint();
    m_stack->setCurrentWidget(centre());
    m_tabs->setVisible(m_tabs->count() > 0);
    m_rail->setPagesEnabled(isOpen);
    m_rail->showPagesOf(isOpen ? workspace->document()->checkpoint().get() : nullptr);
    const bool canScan = workspace != nullptr && workspace->canScan();
    m_rail->setPageEnabled(QStringLiteral("safety"), canScan);
    const bool showsPage = isOpen || (canScan && workspace->currentPageId() == QLatin1String("safety"));
    m_rail->setCurrent(!m_globalPage.isEmpty() ? m_globalPage : showsPage ? workspace->currentPageId() : QString());
    m_back->setEnabled(workspace != nullptr && workspace->canGoBack());
    m_forward->setEnabled(workspace != nullptr && workspace->canGoForward());
    m_convert->setEnabled(isOpen);
    m_status->show(workspace == nullptr ? nullptr : workspace->document());
    m_strip->setWanted(m_globalPage != QLatin1String("jobs"));
    // The inspector follows the pages that have something to select.
    const QString page = workspace == nullptr ? QString() : workspace->currentPageId();
    const bool helps = isOpen && m_globalPage.isEmpty() && page != QLatin1String("convert") && (page != QLatin1String("overview") || !workspace->document()->selection().isEmpty());
    m_inspector->setVisible(helps && QSettings().value(QStringLiteral("inspectorShown"), true).toBool() && width() >= Theme::current().px(kNarrow) - 1);
}

void MainWindow::copySelection(bool withPlace)
{
    Workspace* workspace = currentWorkspace();
    if (workspace == nullptr || !workspace->document()->checkpoint())
        return;
    QString text = workspace->currentPage() == nullptr ? QString() : workspace->currentPage()->copyText(withPlace);
    const Selection& selection = workspace->document()->selection();
    const Checkpoint& checkpoint = *workspace->document()->checkpoint();
    if (text.isEmpty() && selection.tensor)
        text = QString::fromStdString(checkpoint.fullName(*selection.tensor));
    if (text.isEmpty() && selection.file)
        text = QString::fromStdString(withPlace ? checkpoint.file(*selection.file).path : checkpoint.file(*selection.file).name);
    if (!text.isEmpty())
        QApplication::clipboard()->setText(text);
}

void MainWindow::escape()
{
    Workspace* workspace = currentWorkspace();
    if (workspace == nullptr)
        return;
    const bool cleared = workspace->currentPage() != nullptr && workspace->currentPage()->clearFilter();
    if (!cleared)
        workspace->document()->select({});
}

void MainWindow::cycleRegion(int step)
{
    // rail → page → inspector → status, skipping what is hidden
    std::vector<QWidget*> regions{m_rail, m_places, m_stack->currentWidget(), m_inspector};
    int at = 0;
    for (int i = 0; i < static_cast<int>(regions.size()); ++i)
        if (QApplication::focusWidget() != nullptr && (regions[static_cast<std::size_t>(i)]->isAncestorOf(QApplication::focusWidget())))
            at = i;
    const int count = static_cast<int>(regions.size());
    for (int tries = 0; tries < count; ++tries) {
        at = (at + step + count) % count;
        QWidget* region = regions[static_cast<std::size_t>(at)];
        if (!region->isVisible())
            continue;
        for (QWidget* child : region->findChildren<QWidget*>())
            if (child->isVisible() && child->isEnabled() && (child->focusPolicy() & Qt::TabFocus)) {
                child->setFocus(Qt::TabFocusReason);
                return;
            }
    }
}

void MainWindow::changeTextSize(int step)
{
    Theme& theme = Theme::current();
    const int percent = step == 0 ? 100 : theme.textPercent() + step;
    theme.setTextPercent(percent);
    QSettings().setValue(QStringLiteral("textPercent"), theme.textPercent());
}

void MainWindow::restoreLayout()
{
    const QSettings settings;
    if (settings.contains(QStringLiteral("geometry")))
        restoreGeometry(settings.value(QStringLiteral("geometry")).toByteArray());
    m_places->setVisible(settings.value(QStringLiteral("placesShown"), true).toBool());
    const Theme& theme = Theme::current();
    m_splitter->setSizes({theme.px(232), width() - theme.px(232 + 344 + 72), theme.px(344)});
    if (settings.contains(QStringLiteral("splitter")))
        m_splitter->restoreState(settings.value(QStringLiteral("splitter")).toByteArray());
}

void MainWindow::saveLayout()
{
    QSettings settings;
    settings.setValue(QStringLiteral("geometry"), saveGeometry());
    settings.setValue(QStringLiteral("splitter"), m_splitter->saveState());
}

void MainWindow::closeEvent(QCloseEvent* event)
{
    const QString question = m_queue->quitQuestion();
    if (!question.isEmpty() && QMessageBox::question(this, tr("Quit"), question) != QMessageBox::Yes) {
        event->ignore();
        return;
    }
    saveLayout();
    m_queue->cancelAll();
    QMainWindow::closeEvent(event);
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event)
{
    if (event->mimeData()->hasUrls())
        event->acceptProposedAction();
}

void MainWindow::dropEvent(QDropEvent* event)
{
    QStringList paths;
    for (const QUrl& url : event->mimeData()->urls())
        if (url.isLocalFile())
            paths << url.toLocalFile();
    takeDropped(paths);
    event->acceptProposedAction();
}

void MainWindow::takeDropped(const QStringList& paths)
{
    const QPointer<Workspace> workspace = currentWorkspace();
    if (workspace.isNull() || !workspace->document()->checkpoint() || !isMindSporeRun(*workspace->document()->checkpoint())) {
        for (const QString& path : paths)
            openPath(path);
        return;
    }
    m_dropped.start(
        [paths](const std::stop_token&) {
            QStringList strategies;
            std::copy_if(paths.begin(), paths.end(), std::back_inserter(strategies), looksLikeStrategyAt);
            return strategies;
        },
        [this, workspace, paths](const QStringList& strategies) {
            if (!workspace.isNull() && !strategies.isEmpty())
                workspace->useStrategy(strategies.first());
            for (const QString& path : paths)
                if (!strategies.contains(path))
                    openPath(path);
        });
}

void MainWindow::resizeEvent(QResizeEvent* event)
{
    QMainWindow::resizeEvent(event);
    if (m_stack != nullptr && m_inspector != nullptr)
        refresh();
}

} // namespace shardlens::ui
