#pragma once

#include "core/model/checkpoint.h"

#include <QWidget>

#include <vector>

class QAbstractButton;

namespace shardlens::ui {

// The pages of a tab, icon over label; jobs and settings at the foot (design.md §2).
class Rail : public QWidget {
    Q_OBJECT
public:
    explicit Rail(QWidget* parent = nullptr);
    void setCurrent(const QString& id);
    // Pages of a tab can only be chosen while there is one.
    void setPagesEnabled(bool on);
    void setPageEnabled(const QString& id, bool on);
    // Pages that only some checkpoints have (PageEntry::concerns); nullptr: nothing is open.
    void showPagesOf(const Checkpoint* checkpoint);
    void setBadge(int count); // of running and waiting jobs

signals:
    void chosen(const QString& id);

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;

private:
    class Item;
    void fit();
    std::vector<Item*> m_items;
};

} // namespace shardlens::ui
