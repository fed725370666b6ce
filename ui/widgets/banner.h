#pragma once

#include <QFrame>

#include <functional>

class QHBoxLayout;
class QLabel;

namespace shardlens::ui {

// One line in a page's flow: what happened, what follows from it, what to do (design.md §9). Grows to a second line where the text is long.
class Banner : public QFrame {
    Q_OBJECT
public:
    enum class Kind { Ok, Info, Warning, Error };

    Banner(Kind kind, const QString& strong, const QString& rest, QWidget* parent = nullptr);
    void addLink(const QString& text, std::function<void()> action);
    void setDismissible(bool on);

signals:
    void dismissed();

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    Kind m_kind;
    QLabel* m_text;
    QHBoxLayout* m_links;
};

} // namespace shardlens::ui
