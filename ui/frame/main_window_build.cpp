// How the window is put together; what it does is in main_window.cpp.
#include "ui/frame/main_window.h"

#include "ui/frame/command_palette.h"
#include "ui/frame/inspector.h"
#include "ui/frame/page_table.h"
#include "ui/frame/places_panel.h"
#include "ui/frame/rail.h"
#include "ui/frame/recent.h"
#include "ui/frame/status_line.h"
#include "ui/frame/tab_strip.h"
#include "ui/frame/workspace.h"
#include "ui/jobs/job_queue.h"
#include "ui/jobs/job_strip.h"
#include "ui/jobs/jobs_page.h"
#include "ui/models/document.h"
#include "ui/pages/settings_page.h"
#include "ui/pages/start_page.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QHBoxLayout>
#include <QLabel>
#include <QMenuBar>
#include <QPainter>
#include <QPushButton>
#include <QSettings>
#include <QSplitter>
#include <QStackedWidget>
#include <QToolButton>
#include <QVBoxLayout>

namespace shardlens::ui {
namespace {

// Runs `fit` now and whenever the theme changes, as long as `widget` lives.
template <typename Fit>
void atEveryScale(QWidget* widget, Fit fit)
{
    fit();
    QObject::connect(&Theme::current(), &Theme::changed, widget, fit);
}

QToolButton* iconButton(const QString& icon, const QString& tip, QWidget* parent)
{
    auto* button = new QToolButton(parent);
    button->setIcon(Theme::current().icon(icon));
    atEveryScale(button, [button] {
        const Theme& now = Theme::current();
        button->setIconSize({now.px(18), now.px(18)});
        button->setFixedSize(now.px(30), now.px(30));
    });
    button->setToolTip(tip);
    button->setAccessibleName(tip);
    button->setAutoRaise(true);
    button->setProperty("flat", true);
    return button;
}

// The tool row's ground and lower line.
class ToolRow : public QWidget {
public:
    using QWidget::QWidget;

protected:
    void paintEvent(QPaintEvent*) override
    {
        QPainter painter(this);
        painter.fillRect(rect(), Theme::current().colour(Token::Window));
        painter.setPen(Theme::current().colour(Token::Border));
        painter.drawLine(0, height() - 1, width(), height() - 1);
    }
};

} // namespace

void MainWindow::buildToolRow()
{
    const Theme& theme = Theme::current();
    auto* row = new ToolRow(this);
    atEveryScale(row, [row] { row->setFixedHeight(Theme::current().px(44)); });
    auto* layout = new QHBoxLayout(row);
    layout->setContentsMargins(theme.px(8), 0, theme.px(12), 0);
    layout->setSpacing(theme.px(4));
    m_back = iconButton(QStringLiteral("back"), tr("Back (Alt+Left)"), row);
    m_forward = iconButton(QStringLiteral("forward"), tr("Forward (Alt+Right)"), row);
    connect(m_back, &QToolButton::clicked, this, [this] {
        if (currentWorkspace() != nullptr)
            currentWorkspace()->goBack();
    });
    connect(m_forward, &QToolButton::clicked, this, [this] {
        if (currentWorkspace() != nullptr)
            currentWorkspace()->goForward();
    });
    layout->addWidget(m_back);
    layout->addWidget(m_forward);
    m_tabs = new TabStrip(row);
    connect(m_tabs, &QTabBar::currentChanged, this, &MainWindow::currentTabChanged);
    connect(m_tabs, &QTabBar::tabBarClicked, this, [this] {
        m_globalPage.clear(); // from jobs or settings back to the checkpoint
        QMetaObject::invokeMethod(this, &MainWindow::currentTabChanged, Qt::QueuedConnection);
    });
    connect(m_tabs, &QTabBar::tabCloseRequested, this, &MainWindow::closeTab);
    connect(m_tabs, &QTabBar::tabMoved, this, [this](int from, int to) {
        std::swap(m_workspaces[static_cast<std::size_t>(from)], m_workspaces[static_cast<std::size_t>(to)]);
    });
    layout->addWidget(m_tabs, 0, Qt::AlignBottom);
    auto* plus = iconButton(QStringLiteral("plus"), tr("Open a checkpoint (Ctrl+O)"), row);
    connect(plus, &QToolButton::clicked, this, &MainWindow::chooseFolder);
    layout->addWidget(plus);
    layout->addStretch(1);
    m_palette = new CommandPalette(row);
    m_palette->setMinimumWidth(theme.px(200));
    atEveryScale(m_palette, [palette = m_palette] { palette->setMaximumWidth(Theme::current().px(404)); });
    connect(m_palette, &CommandPalette::tensorChosen, this, [this](bool openPage) {
        if (openPage)
            showPage(QStringLiteral("tensor"));
    });
    layout->addWidget(m_palette, 1000); // as wide as it may be before the stretch gets anything
    layout->addSpacing(theme.px(8));
    m_convert = new QPushButton(theme.icon(QStringLiteral("convert"), Token::AccentText), tr("Convert…"), row);
    m_convert->setProperty("primary", true);
    m_convert->setToolTip(tr("Turn this checkpoint into another format (Ctrl+Return)"));
    connect(m_convert, &QPushButton::clicked, this, [this] { showPage(QStringLiteral("convert")); });
    layout->addWidget(m_convert);
    centralWidget()->layout()->addWidget(row);
}

void MainWindow::buildBody()
{
    const Theme& theme = Theme::current();
    auto* body = new QHBoxLayout;
    body->setContentsMargins(0, 0, 0, 0);
    body->setSpacing(0);
    m_rail = new Rail(this);
    connect(m_rail, &Rail::chosen, this, &MainWindow::showPage);
    body->addWidget(m_rail);

    m_splitter = new QSplitter(Qt::Horizontal, this);
    m_splitter->setHandleWidth(1);
    m_places = new PlacesPanel(m_splitter);
    connect(m_places, &PlacesPanel::openRequested, this, [this](const QString& path) { openPath(path); });
    auto* middle = new QWidget(m_splitter);
    auto* column = new QVBoxLayout(middle);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    m_stack = new QStackedWidget(middle);
    column->addWidget(m_stack, 1);
    m_strip = new JobStrip(m_queue, middle);
    connect(m_strip, &JobStrip::opened, this, [this](Job* job) {
        showPage(QStringLiteral("jobs"));
        m_jobs->showJob(job);
    });
    column->addWidget(m_strip);
    m_inspector = new Inspector(m_splitter);
    m_splitter->addWidget(m_places);
    m_splitter->addWidget(middle);
    m_splitter->addWidget(m_inspector);
    m_splitter->setStretchFactor(0, 0);
    m_splitter->setStretchFactor(1, 1);
    m_splitter->setStretchFactor(2, 0);
    m_places->setMinimumWidth(theme.px(180));
    m_inspector->setMinimumWidth(theme.px(280));
    m_inspector->setMaximumWidth(theme.px(560));
    m_places->setMaximumWidth(theme.px(400));
    body->addWidget(m_splitter, 1);
    static_cast<QVBoxLayout*>(centralWidget()->layout())->addLayout(body, 1);

    auto* start = new StartPage(m_stack);
    connect(start, &StartPage::openRequested, this, &MainWindow::chooseFolder);
    connect(start, &StartPage::sampleRequested, this, &MainWindow::openSample);
    connect(start, &StartPage::pathRequested, this, [this](const QString& path) { openPath(path); });
    m_start = start;
    m_stack->addWidget(m_start);
    m_jobs = new JobsPage(m_queue, m_stack);
    connect(m_queue, &JobQueue::jobWanted, this, [this] { showPage(QStringLiteral("jobs")); });
    connect(m_jobs, &JobsPage::openRequested, this, [this](const QString& path, const OpenOptions& options) { openPath(path, {}, options == OpenOptions{} ? std::nullopt : std::optional(options)); });
    m_stack->addWidget(m_jobs);
    m_settings = new SettingsPage(m_stack);
    m_stack->addWidget(m_settings);
    m_status = new StatusLine(this);
    connect(m_places, &PlacesPanel::hinted, m_status, &StatusLine::showHint);
    centralWidget()->layout()->addWidget(m_status);
    connect(m_queue, &JobQueue::changed, this, [this] { m_rail->setBadge(m_queue->badge()); });
}

QAction* MainWindow::addCommand(QMenu* menu, const QString& text, const QKeySequence& keys, std::function<void()> action)
{
    QAction* command = menu->addAction(text);
    command->setShortcut(keys);
    command->setShortcutContext(Qt::WindowShortcut);
    connect(command, &QAction::triggered, this, [action = std::move(action)] { action(); });
    m_commands.push_back(command);
    return command;
}

void MainWindow::buildPageKeys(QMenu* menu)
{
    for (const PageEntry& entry : pageTable()) {
        const QString id = QString::fromLatin1(entry.id);
        const QKeySequence keys = entry.inRail ? QKeySequence(Qt::ALT | entry.key) : QKeySequence(Qt::CTRL | Qt::Key_Return);
        addCommand(menu, titleOf(entry), keys, [this, id] { showPage(id); });
    }
    menu->addSeparator();
    addCommand(menu, tr("Jobs"), QKeySequence(Qt::ALT | Qt::Key_J), [this] { showPage(QStringLiteral("jobs")); });
    addCommand(menu, tr("Settings"), QKeySequence(Qt::CTRL | Qt::Key_Comma), [this] { showPage(QStringLiteral("settings")); });
}

void MainWindow::buildMenus()
{
    QMenu* file = menuBar()->addMenu(tr("&File"));
    addCommand(file, tr("Open folder…"), QKeySequence::Open, [this] { chooseFolder(); });
    addCommand(file, tr("Open file…"), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_O), [this] { chooseFile(); });
    addCommand(file, tr("Open the sample"), {}, [this] { openSample(); });
    addCommand(file, tr("Choose the MindSpore strategy…"), {}, [this] { chooseStrategy(); });
    file->addSeparator();
    addCommand(file, tr("Reload"), QKeySequence(Qt::Key_F5), [this] {
        if (currentWorkspace() != nullptr)
            currentWorkspace()->document()->load();
    });
    addCommand(file, tr("Close tab"), QKeySequence::Close, [this] { closeTab(m_tabs->currentIndex()); });
    addCommand(file, tr("Quit"), QKeySequence::Quit, [this] { close(); });

    QMenu* edit = menuBar()->addMenu(tr("&Edit"));
    addCommand(edit, tr("Copy"), QKeySequence::Copy, [this] { copySelection(false); });
    addCommand(edit, tr("Copy with place"), QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_C), [this] { copySelection(true); });
    addCommand(edit, tr("Undo view"), QKeySequence::Undo, [this] {
        if (currentWorkspace() != nullptr && currentWorkspace()->currentPage() != nullptr)
            currentWorkspace()->currentPage()->undoView();
    });
    addCommand(edit, tr("Filter this page"), QKeySequence::Find, [this] {
        if (currentWorkspace() != nullptr && currentWorkspace()->currentPage() != nullptr)
            currentWorkspace()->currentPage()->focusFilter();
    });
    addCommand(edit, tr("Clear the filter, then the selection"), QKeySequence(Qt::Key_Escape), [this] { escape(); });

    QMenu* view = menuBar()->addMenu(tr("&View"));
    addCommand(view, tr("Places"), QKeySequence(Qt::CTRL | Qt::Key_B), [this] {
        m_places->setVisible(!m_places->isVisible());
        QSettings().setValue(QStringLiteral("placesShown"), m_places->isVisible());
    });
    addCommand(view, tr("Inspector"), QKeySequence(Qt::CTRL | Qt::Key_I), [this] {
        m_inspector->setVisible(!m_inspector->isVisible());
        QSettings().setValue(QStringLiteral("inspectorShown"), m_inspector->isVisible());
    });
    view->addSeparator();
    addCommand(view, tr("Larger text"), QKeySequence::ZoomIn, [this] { changeTextSize(10); });
    addCommand(view, tr("Smaller text"), QKeySequence::ZoomOut, [this] { changeTextSize(-10); });
    addCommand(view, tr("Normal text"), QKeySequence(Qt::CTRL | Qt::Key_0), [this] { changeTextSize(0); });
    addCommand(view, tr("Full screen"), QKeySequence(Qt::Key_F11), [this] { setWindowState(windowState() ^ Qt::WindowFullScreen); });

    QMenu* go = menuBar()->addMenu(tr("&Go"));
    addCommand(go, tr("Search"), QKeySequence(Qt::CTRL | Qt::Key_K), [this] { m_palette->start(); });
    addCommand(go, tr("Back"), QKeySequence(Qt::ALT | Qt::Key_Left), [this] { m_back->click(); });
    addCommand(go, tr("Forward"), QKeySequence(Qt::ALT | Qt::Key_Right), [this] { m_forward->click(); });
    addCommand(go, tr("Next region"), QKeySequence(Qt::Key_F6), [this] { cycleRegion(1); });
    addCommand(go, tr("Previous region"), QKeySequence(Qt::SHIFT | Qt::Key_F6), [this] { cycleRegion(-1); });
    addCommand(go, tr("Next tab"), QKeySequence(Qt::CTRL | Qt::Key_Tab), [this] {
        if (m_tabs->count() > 0)
            m_tabs->setCurrentIndex((m_tabs->currentIndex() + 1) % m_tabs->count());
    });

    buildPageKeys(menuBar()->addMenu(tr("&Checkpoint")));
    QMenu* help = menuBar()->addMenu(tr("&Help"));
    addCommand(help, tr("What this page answers"), QKeySequence(Qt::Key_F1), [this] {
        if (currentWorkspace() != nullptr && currentWorkspace()->currentPage() != nullptr)
            m_status->showHint(currentWorkspace()->currentPage()->question());
    });
    m_palette->setActions(m_commands);
    connect(help->addAction(tr("About Shardlens")), &QAction::triggered, this, [this] {
        m_status->showHint(tr("Shardlens %1: see, check and reshard the checkpoints of distributed training. Apache-2.0; this window links QCustomPlot and is GPL-3.0-or-later.")
                               .arg(QStringLiteral(SHARDLENS_VERSION)));
    });
}

} // namespace shardlens::ui
