#pragma once

#include <QWidget>

class QVBoxLayout;

namespace shardlens::ui {

// Before anything is open: how to begin (design.md §3, Start).
class StartPage : public QWidget {
    Q_OBJECT
public:
    explicit StartPage(QWidget* parent = nullptr);

signals:
    void openRequested();
    void sampleRequested();
    void pathRequested(const QString& path);

protected:
    void paintEvent(QPaintEvent* event) override;
    void showEvent(QShowEvent* event) override;

private:
    void fillRecent();

    QVBoxLayout* m_recent;
};

} // namespace shardlens::ui
