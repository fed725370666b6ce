#pragma once

#include <QWidget>

namespace shardlens::ui {

// The line under the header while something is read: what, and a way to stop it.
class LoadingBar : public QWidget {
    Q_OBJECT
public:
    explicit LoadingBar(const QString& text, QWidget* parent = nullptr);

signals:
    void cancelled();

protected:
    void paintEvent(QPaintEvent* event) override;
};

} // namespace shardlens::ui
