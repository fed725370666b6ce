#pragma once

#include "ui/models/rank_grid.h"
#include "ui/models/rank_uses.h"
#include "ui/widgets/rank_cells.h"

#include <optional>
#include <vector>

namespace shardlens::ui {

enum class RankColour : std::uint8_t { Bytes, State };

// The colours of a rank's cell, the same in the grid and in the bars.
struct RankInk {
    QColor ground;
    QColor ink;
    bool isAbsent = false; // drawn dashed: a file of it is not there
};
[[nodiscard]] RankInk rankInk(const RankUses& uses, std::uint32_t rank, RankColour colour);
// "complete", "differs", "file missing".
[[nodiscard]] QString stateName(RankUse::State state);

// The ranks of a run as a grid of cells (design.md §6): as large as lets all of them show, at least 16 × 16.
class RankGridView : public RankCells {
    Q_OBJECT
public:
    explicit RankGridView(QWidget* parent = nullptr);

    void show(RankUsesPtr uses);
    void setColour(RankColour colour);
    [[nodiscard]] const RankGrid& grid() const { return m_grid; }
    [[nodiscard]] QRectF cellOf(std::uint32_t rank) const override;
    [[nodiscard]] std::optional<std::uint32_t> rankAt(QPointF at) const override;

    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;
    [[nodiscard]] bool hasHeightForWidth() const override { return true; }
    [[nodiscard]] int heightForWidth(int width) const override;

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    [[nodiscard]] std::uint32_t cells() const override { return m_uses ? static_cast<std::uint32_t>(m_uses->ranks.size()) : 0; }
    void describe() override;

private:
    struct Measures {
        QSizeF cell;
        double rowNames = 0;    // width at the left of a block
        double columnNames = 0; // height above its cells
        double caption = 0;     // height above those
        std::uint32_t perLine = 1;
        QSizeF block;
        double height = 0;
    };

    void place();
    [[nodiscard]] Measures measure(int width) const;
    [[nodiscard]] Measures measureAs(QSize cell, int width) const;
    [[nodiscard]] QPointF blockAt(std::uint32_t block) const;
    void paintNames(QPainter& painter, std::uint32_t block) const;
    void paintCell(QPainter& painter, std::uint32_t rank) const;
    void paintTexts(QPainter& painter, std::uint32_t rank, const QRectF& cell, const RankInk& ink) const;

    RankUsesPtr m_uses;
    RankGrid m_grid;
    RankColour m_colour = RankColour::Bytes;
    Measures m_measures;
};

} // namespace shardlens::ui
