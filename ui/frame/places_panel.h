#pragma once

#include "ui/models/runner.h"

#include <QWidget>

#include <memory>
#include <map>
#include <vector>

class QTreeWidget;
class QTreeWidgetItem;

namespace shardlens::ui {

class SearchField;

// Pinned, recent, and the folders around what is open. Folders are listed and looked at on a worker; badges appear when they are known.
class PlacesPanel : public QWidget {
    Q_OBJECT
public:
    explicit PlacesPanel(QWidget* parent = nullptr);
    // Shows the folder tree around a path, and marks it.
    void setCurrentPath(const QString& path);
    void refresh();

signals:
    void openRequested(const QString& path);
    void hinted(const QString& text); // for the status line

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void addPath(QTreeWidgetItem* group, const QString& path);
    void expand(QTreeWidgetItem* item);
    void recognise(QTreeWidgetItem* item);
    void applyFilter(const QString& text);
    void showMenu(const QPoint& at);
    [[nodiscard]] QTreeWidgetItem* makeGroup(const QString& title);

    SearchField* m_filter;
    QTreeWidget* m_tree;
    QTreeWidgetItem* m_pinned = nullptr;
    QTreeWidgetItem* m_recent = nullptr;
    QTreeWidgetItem* m_folders = nullptr;
    QString m_current;
    std::vector<std::unique_ptr<Runner>> m_runners;
};

} // namespace shardlens::ui
