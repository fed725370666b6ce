#pragma once

#include "ui/models/rank_uses.h"
#include "ui/models/runner.h"
#include "ui/pages/page.h"

#include <optional>
#include <vector>

class QComboBox;
class QLabel;
class QScrollArea;
class QStackedWidget;
class QTableView;
class QVBoxLayout;

namespace shardlens::ui {

class Card;
class Link;
class PageBar;
class RankBars;
class RankGridView;
class RankLegendBar;
class RankRows;
class Segments;
class TextLabel;

// Which rank is which, what does it hold, and how even is that? A click on a rank narrows every page to it.
class TopologyPage : public Page {
    Q_OBJECT
public:
    explicit TopologyPage(Document* document, QWidget* parent = nullptr);
    ~TopologyPage() override;

    [[nodiscard]] QString id() const override { return QStringLiteral("topology"); }
    [[nodiscard]] QString question() const override;
    void activate() override;
    bool clearFilter() override;
    // The table as text.
    [[nodiscard]] QString copyText(bool withPlace) const override;

    [[nodiscard]] bool isReady() const { return m_uses != nullptr; }
    [[nodiscard]] const RankUsesPtr& uses() const { return m_uses; }
    [[nodiscard]] RankGridView* grid() const { return m_grid; }
    [[nodiscard]] RankBars* bars() const { return m_bars; }
    [[nodiscard]] QTableView* table() const { return m_table; }
    [[nodiscard]] QComboBox* colour() const { return m_colour; }
    [[nodiscard]] Segments* view() const { return m_view; }
    // What the page says instead of ranks; empty where it shows them.
    [[nodiscard]] QString message() const;
    // The lines about one rank, from top to bottom.
    [[nodiscard]] QStringList details() const;
    [[nodiscard]] QString balance() const;

private:
    void buildBar();
    QWidget* buildBody();
    void buildDetails(QVBoxLayout* column);
    void buildTable();
    void adoptDocument();
    void deliver(RankUsesPtr uses);
    void showBalance();
    void showAxes();
    void setColour();
    void showView();
    void followKept();
    void point(std::optional<std::uint32_t> rank);
    void showDetails(std::uint32_t rank);
    void choose(std::uint32_t rank);
    [[nodiscard]] QString messageFor(const RankUses& uses) const;

    PageBar* m_bar;
    QStackedWidget* m_stack;
    QLabel* m_message;
    Segments* m_view = nullptr;
    QComboBox* m_colour = nullptr;
    RankLegendBar* m_legend = nullptr;
    QScrollArea* m_body = nullptr;
    RankGridView* m_grid = nullptr;
    Card* m_gridCard = nullptr;
    RankBars* m_bars = nullptr;
    TextLabel* m_balance = nullptr;
    TextLabel* m_who = nullptr;
    TextLabel* m_where = nullptr;
    TextLabel* m_holds = nullptr;
    TextLabel* m_files = nullptr;
    TextLabel* m_odd = nullptr;
    QTableView* m_table = nullptr;
    RankRows* m_rows;

    std::vector<Link*> m_axes; // one for each axis that the atlas can be grouped by
    RankUsesPtr m_uses;
    Runner m_run;
};

} // namespace shardlens::ui
