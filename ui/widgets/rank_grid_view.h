#pragma once

#include "ui/models/rank_grid.h"
#include "ui/models/rank_uses.h"

#include <QWidget>

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

// The ranks of a run as a grid of cells (design.md §6): as large as lets all of them show, at least 16 × 16. One cell has the focus; the pointer or the
// arrow keys show a rank, a click or Enter chooses it.
class RankGridView : public QWidget {
    Q_OBJECT
public:
    explicit RankGridView(QWidget* parent = nullptr);

    void show(RankUsesPtr uses);
    void setColour(RankColour colour);
    // The rank that everything is narrowed to.
    void setKept(std::optional<std::uint32_t> rank);
    [[nodiscard]] std::uint32_t focused() const { return m_focused; }
    void setFocused(std::uint32_t rank);
    [[nodiscard]] const RankGrid& grid() const { return m_grid; }
    [[nodiscard]] QRectF cellOf(std::uint32_t rank) const;
    [[nodiscard]] std::optional<std::uint32_t> rankAt(QPointF at) const;

    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;
    [[nodiscard]] bool hasHeightForWidth() const override { return true; }
    [[nodiscard]] int heightForWidth(int width) const override;

signals:
    // Under the pointer, or the one that has the keyboard.
    void pointed(std::uint32_t rank);
    void pointedNowhere();
    void chosen(std::uint32_t rank);

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void leaveEvent(QEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void focusInEvent(QFocusEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;

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
    [[nodiscard]] std::optional<std::uint32_t> neighbour(int key) const;
    void paintNames(QPainter& painter, std::uint32_t block) const;
    void paintCell(QPainter& painter, std::uint32_t rank) const;
    void paintTexts(QPainter& painter, std::uint32_t rank, const QRectF& cell, const RankInk& ink) const;
    void paintRing(QPainter& painter, const QRectF& cell, bool isKept) const;
    void describe();

    RankUsesPtr m_uses;
    RankGrid m_grid;
    RankColour m_colour = RankColour::Bytes;
    Measures m_measures;
    std::optional<std::uint32_t> m_kept;
    std::optional<std::uint32_t> m_hovered;
    std::uint32_t m_focused = 0;
};

} // namespace shardlens::ui
