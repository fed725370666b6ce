#pragma once

#include <QWidget>

#include <cstdint>
#include <optional>

namespace shardlens::ui {

// What pictures of ranks as cells have in common: one cell has the focus; the pointer or the arrow keys show a rank, a click or Enter chooses it.
class RankCells : public QWidget {
    Q_OBJECT
public:
    [[nodiscard]] std::uint32_t focused() const { return m_focused; }
    void setFocused(std::uint32_t rank);
    // The rank that every page is narrowed to.
    void setKept(std::optional<std::uint32_t> rank);
    [[nodiscard]] virtual QRectF cellOf(std::uint32_t rank) const = 0;
    [[nodiscard]] virtual std::optional<std::uint32_t> rankAt(QPointF at) const = 0;

signals:
    void pointed(std::uint32_t rank); // under the pointer, or the one that has the keyboard
    void pointedNowhere();
    void chosen(std::uint32_t rank);

protected:
    explicit RankCells(QWidget* parent);

    [[nodiscard]] virtual std::uint32_t cells() const = 0;
    virtual void describe() = 0; // for who hears the page
    [[nodiscard]] bool isHovered(std::uint32_t rank) const { return m_hovered == rank; }
    [[nodiscard]] bool isKept(std::uint32_t rank) const { return m_kept == rank; }
    // Other cells are shown from now on.
    void cellsChanged();
    // The outlines of the rank that is kept and of the one that has the keyboard.
    void paintRings(QPainter& painter, double radius) const;

    void mouseMoveEvent(QMouseEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void leaveEvent(QEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void focusInEvent(QFocusEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;

private:
    [[nodiscard]] std::optional<std::uint32_t> neighbour(int key) const;

    std::optional<std::uint32_t> m_kept;
    std::optional<std::uint32_t> m_hovered;
    std::uint32_t m_focused = 0;
};

} // namespace shardlens::ui
