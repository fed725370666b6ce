#pragma once

#include <QString>

class QGridLayout;
class QVBoxLayout;
class QWidget;

namespace shardlens::ui {

class TextLabel;

// A row of the options. The widgets belong to the page that the grid lies in.
struct OptionRow {
    TextLabel* label = nullptr;
    QWidget* control = nullptr;
    TextLabel* reason = nullptr;

    void setVisible(bool visible) const;
    void setReason(const QString& text, bool isProblem = false) const;
};

// Label, control, and the reason beside it, one row below the other.
class OptionGrid {
public:
    explicit OptionGrid(QVBoxLayout* place);
    // The label becomes the control's accessible name where it has none.
    OptionRow add(const QString& label, QWidget* control);
    // Across all columns.
    void addWide(QWidget* widget);
    // A rule, and what the rows below it have in common.
    void addHeading(const QString& text);

private:
    QGridLayout* m_grid;
};

} // namespace shardlens::ui
