#pragma once

#include "ui/models/atlas_palette.h"
#include "ui/models/runner.h"
#include "ui/pages/page.h"

#include <QString>

class QComboBox;
class QLabel;
class QLineEdit;
class QStackedWidget;
class QTableView;

namespace shardlens::ui {

class AtlasTable;
class AtlasView;
class PageBar;
struct Selection;

// What lies where, and what is odd (design.md §4): controls, the picture and its table twin.
class AtlasPage : public Page {
    Q_OBJECT
public:
    explicit AtlasPage(Document* document, QWidget* parent = nullptr);
    ~AtlasPage() override;

    [[nodiscard]] QString id() const override { return QStringLiteral("atlas"); }
    [[nodiscard]] QString question() const override;
    void activate() override;
    void focusFilter() override;
    bool clearFilter() override;
    [[nodiscard]] QString copyText(bool withPlace) const override;
    bool undoView() override;
    void choose(const QString& what) override; // rows: "rank", "file", "tp", …, "layer"

    [[nodiscard]] AtlasView* view() const { return m_view; }
    [[nodiscard]] QTableView* table() const { return m_table; }
    // Writes what shows as a PNG; an empty text, or why not as a sentence.
    [[nodiscard]] QString exportPicture(const QString& path, double factor) const;

private:
    void buildBar();
    void connectView();
    void listGroupings();
    void takeOptions(); // as the controls say
    void changeOptions();
    void toggleGroups(const QString& title); // empty: all
    void rebuild();
    void setColour(int colour);
    void showSelection();
    void showMatches();
    void showFacts();
    void toggleTable();
    void askForExport();

    PageBar* m_bar;
    QComboBox* m_rows;
    QComboBox* m_across;
    QComboBox* m_colour;
    QLineEdit* m_search;
    QLabel* m_matches;
    QStackedWidget* m_stack;
    AtlasView* m_view;
    QTableView* m_table;
    AtlasTable* m_tableModel;
    AtlasModelPtr m_model;
    AtlasOptions m_options;
    std::vector<AtlasGrouping> m_groupings; // of the rows' items
    CheckpointPtr m_groupedFor;
    CheckpointPtr m_builtFor;
    bool m_active = false;
    Runner m_run;
    Runner m_paletteRun;
};

} // namespace shardlens::ui
