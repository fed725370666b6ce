#pragma once

#include <QWidget>

#include <utility>
#include <vector>

class QHBoxLayout;
class QLabel;
class QToolButton;

namespace shardlens::ui {

// The two rows on top of a page: title, one line of facts and actions; below it the controls (design.md §2). Scales with the theme.
class PageBar : public QWidget {
    Q_OBJECT
public:
    explicit PageBar(const QString& title, QWidget* parent = nullptr);

    void setFacts(const QString& facts);
    // At the right of the title, in order.
    void addToHead(QWidget* widget);
    // A button with an icon of the theme; `tip` names the action and its key.
    QToolButton* addIconButton(const QString& icon, const QString& tip);
    // In the controls' row, left to right, with a label before it where `label` is not empty.
    void addControl(const QString& label, QWidget* widget);
    void addControlStretch();

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void applyTheme();

    QLabel* m_title;
    QLabel* m_facts;
    QHBoxLayout* m_head;
    QHBoxLayout* m_controls;
    QWidget* m_controlRow;
    std::vector<std::pair<QToolButton*, QString>> m_icons;
    std::vector<QLabel*> m_labels;
};

} // namespace shardlens::ui
