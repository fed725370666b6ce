#pragma once

#include "ui/models/pipeline_plan.h"
#include "ui/pages/page.h"

#include <vector>

class QLabel;
class QPushButton;
class QStackedWidget;
class QTableView;
class QVBoxLayout;

namespace shardlens::ui {

class Card;
class PageBar;
class PipelineControls;
class StageRows;
class StageStrip;
class TextLabel;

// How would DeepSpeed cut these layers into stages, and how even is that? Boundaries can be moved; nothing is written but exports.
class PipelinePage : public Page {
    Q_OBJECT
public:
    explicit PipelinePage(Document* document, QWidget* parent = nullptr);
    ~PipelinePage() override;

    [[nodiscard]] QString id() const override { return QStringLiteral("pipeline"); }
    [[nodiscard]] QString question() const override;
    // The table as text; with place, the command line.
    [[nodiscard]] QString copyText(bool withPlace) const override;
    bool undoView() override;

    [[nodiscard]] PipelinePlan* plan() const { return m_plan; }
    [[nodiscard]] StageStrip* strip() const { return m_strip; }
    [[nodiscard]] PipelineControls* controls() const { return m_controls; }
    [[nodiscard]] QTableView* table() const { return m_table; }
    [[nodiscard]] QPushButton* resetButton() const { return m_reset; }
    // What the page says instead of stages; empty where it shows them.
    [[nodiscard]] QString message() const;
    // "1.05 ×", "42.5 M" …: the figures from left to right.
    [[nodiscard]] QStringList figures() const;
    // Writes what shows: .json, .csv or .png by the name. A sentence where that failed.
    [[nodiscard]] QString exportTo(const QString& path) const;

private:
    struct Figure {
        TextLabel* number;
        TextLabel* unit;
        TextLabel* note;
    };

    void buildHead();
    QWidget* buildBody();
    void buildFigures(QVBoxLayout* column);
    void buildTable(QVBoxLayout* column);
    void adoptDocument();
    void follow();
    void showFigures();
    void showTable();
    void showNotes();
    void askForExport(const QString& ending, const QString& filter);
    void chooseLayer(std::size_t layer);
    void markSelection();
    [[nodiscard]] PartitionPreview shown() const;

    PageBar* m_bar;
    PipelinePlan* m_plan;
    PipelineControls* m_controls;
    QStackedWidget* m_stack;
    QLabel* m_message;
    QPushButton* m_reset;
    QPushButton* m_copy;
    QPushButton* m_export;
    QWidget* m_body = nullptr;
    QWidget* m_inside = nullptr; // what a picture shows
    std::vector<Figure> m_figures;
    StageStrip* m_strip = nullptr;
    Card* m_stripCard = nullptr;
    TextLabel* m_widthHint = nullptr;
    TextLabel* m_where = nullptr;
    TextLabel* m_notes = nullptr;
    QTableView* m_table = nullptr;
    StageRows* m_rows;
};

} // namespace shardlens::ui
