#pragma once

#include <QTabBar>

namespace shardlens::ui {

// One tab a checkpoint: name strong, tag muted; middle click closes.
class TabStrip : public QTabBar {
    Q_OBJECT
public:
    explicit TabStrip(QWidget* parent = nullptr);
    int addCheckpoint(const QString& name, const QString& tag);
    void setTexts(int index, const QString& name, const QString& tag);

protected:
    [[nodiscard]] QSize tabSizeHint(int index) const override;
    [[nodiscard]] QSize minimumTabSizeHint(int index) const override;
    void paintEvent(QPaintEvent* event) override;
    void mouseReleaseEvent(QMouseEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void leaveEvent(QEvent* event) override;

private:
    [[nodiscard]] QRect closeRect(int index) const;
    void paintTab(QPainter& painter, int index) const;

    QPoint m_pointer{-1, -1};
};

} // namespace shardlens::ui
