#pragma once

#include "core/format/open_options.h"
#include "ui/models/runner.h"

#include <QMainWindow>

#include <functional>
#include <optional>
#include <vector>

class QAction;
class QPushButton;
class QSplitter;
class QStackedWidget;
class QToolButton;

namespace shardlens::ui {

class CommandPalette;
class Inspector;
class JobQueue;
class JobStrip;
class JobsPage;
class Page;
class PlacesPanel;
class Rail;
class SettingsPage;
class StatusLine;
class TabStrip;
class Workspace;

// The frame (design.md §2): menu, tool row, rail, places, the pages of the current tab, inspector, jobs strip, status line.
class MainWindow : public QMainWindow {
    Q_OBJECT
public:
    // The queue outlives the window.
    explicit MainWindow(JobQueue* queue, QWidget* parent = nullptr);

    // Opens a path in a tab, or goes to the tab that has it. Page: one of the page table, empty for the overview. Options: nothing for those that it has.
    void openPath(const QString& path, const QString& page = {}, const std::optional<OpenOptions>& options = std::nullopt);
    void openSample();
    [[nodiscard]] Workspace* currentWorkspace() const;
    void showPage(const QString& id); // also "jobs" and "settings"
    // As a drop does: a strategy is used for the MindSpore run that is shown, any other path is opened.
    void takeDropped(const QStringList& paths);

protected:
    void closeEvent(QCloseEvent* event) override;
    void dragEnterEvent(QDragEnterEvent* event) override;
    void dropEvent(QDropEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;

private:
    void buildToolRow();
    void buildBody();
    void buildMenus();
    QAction* addCommand(QMenu* menu, const QString& text, const QKeySequence& keys, std::function<void()> action);
    void buildPageKeys(QMenu* menu);
    void chooseFolder();
    void chooseFile();
    void chooseStrategy();
    void closeTab(int index);
    void currentTabChanged();
    void refresh();
    void copySelection(bool withPlace);
    void escape();
    void cycleRegion(int step);
    void changeTextSize(int step);
    void restoreLayout();
    void saveLayout();
    [[nodiscard]] QWidget* centre() const;

    JobQueue* m_queue;
    std::vector<QAction*> m_commands;
    QToolButton* m_back = nullptr;
    QToolButton* m_forward = nullptr;
    TabStrip* m_tabs = nullptr;
    CommandPalette* m_palette = nullptr;
    QPushButton* m_convert = nullptr;
    Rail* m_rail = nullptr;
    QSplitter* m_splitter = nullptr;
    PlacesPanel* m_places = nullptr;
    QStackedWidget* m_stack = nullptr;
    Inspector* m_inspector = nullptr;
    StatusLine* m_status = nullptr;
    JobStrip* m_strip = nullptr;
    JobsPage* m_jobs = nullptr;
    SettingsPage* m_settings = nullptr;
    QWidget* m_start = nullptr;
    std::vector<Workspace*> m_workspaces; // by tab
    QString m_globalPage;                 // "jobs", "settings" or empty
    Runner m_dropped;                     // looks at what was dropped
};

} // namespace shardlens::ui
