#pragma once

#include <QWidget>

namespace shardlens::ui {

// A switch between a few views of one thing. Arrow keys move it.
class Segments : public QWidget {
    Q_OBJECT
public:
    explicit Segments(QStringList labels, QWidget* parent = nullptr);
    [[nodiscard]] int current() const { return m_current; }
    void setCurrent(int index);
    [[nodiscard]] QSize sizeHint() const override;

signals:
    void currentChanged(int index);

protected:
    void paintEvent(QPaintEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;

private:
    [[nodiscard]] int widthOf(int index) const;

    QStringList m_labels;
    int m_current = 0;
};

} // namespace shardlens::ui
