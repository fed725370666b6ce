#pragma once

#include "core/analysis/verify.h"
#include "ui/models/overview_summary.h"
#include "ui/models/runner.h"
#include "ui/pages/page.h"

#include <QSet>

#include <memory>
#include <vector>

class QBoxLayout;
class QGridLayout;
class QVBoxLayout;

namespace shardlens::ui {

class Banner;
class Card;
class FileTable;
class GoalButton;
class ModelStrip;
class PlaceBars;
class StateTable;
class TextLabel;
class SafetyLine;
class ValueCheck;

// What is this, and is it whole? (design.md §3, Overview; mock a)
class OverviewPage : public Page {
    Q_OBJECT
public:
    explicit OverviewPage(Document* document, QWidget* parent = nullptr);

    [[nodiscard]] QString id() const override { return QStringLiteral("overview"); }
    [[nodiscard]] QString question() const override { return tr("What is this, and is it whole?"); }
    [[nodiscard]] QString copyText(bool withPlace) const override;
    bool clearFilter() override;
    // nullptr until the worker has delivered.
    [[nodiscard]] const std::shared_ptr<const OverviewSummary>& summary() const { return m_summary; }
    [[nodiscard]] ValueCheck* valueCheck() const { return m_check; }
    [[nodiscard]] SafetyLine* safetyLine() const { return m_safety; }

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;

private:
    struct Figure {
        QWidget* card;
        TextLabel* number;
        TextLabel* unit;
        TextLabel* note;
    };
    void build(QVBoxLayout* column);
    QBoxLayout* buildHead();
    QGridLayout* buildFigures();
    void arrangeFigures(int columns);
    QBoxLayout* buildBytes();
    QBoxLayout* buildFoot();
    void adoptDocument();
    void showFiles();
    void deliver(std::shared_ptr<const OverviewSummary> summary);
    void showBanners();
    void addFinding(const Finding& finding, std::size_t index);
    [[nodiscard]] QString wholeText() const;
    void addVerdict();
    void addBanner(Banner* banner);
    void showFigures();
    void showBytes();
    void showGoals();
    [[nodiscard]] QString sentence() const;
    void choosePlace(std::size_t place);
    void chooseFile(FileId file);
    void openFolder() const;

    TextLabel* m_title;
    TextLabel* m_subtitle;
    TextLabel* m_sentence;
    QVBoxLayout* m_banners;
    std::vector<Figure> m_figures;
    QGridLayout* m_figureGrid;
    QBoxLayout* m_bytesRow;
    QBoxLayout* m_footRow;
    Card* m_stateCard;
    StateTable* m_states;
    Card* m_placeCard;
    PlaceBars* m_places;
    TextLabel* m_ratio;
    ModelStrip* m_strip;
    FileTable* m_files;
    GoalButton* m_toSafetensors;
    GoalButton* m_toTorch;
    GoalButton* m_toRun;
    GoalButton* m_toLayout;
    GoalButton* m_toStrategy;
    ValueCheck* m_check;
    SafetyLine* m_safety;
    bool m_allFindings = false;
    QSet<qulonglong> m_dismissed; // indices of findings
    Runner m_runner;
    std::shared_ptr<const OverviewSummary> m_summary;
};

} // namespace shardlens::ui
