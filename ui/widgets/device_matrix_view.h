#pragma once

#include "ui/models/device_map.h"

#include <QWidget>

#include <optional>

namespace shardlens::ui {

// The colours of a slice: the same for all devices that hold it, and in the picture of the tensor.
[[nodiscard]] QColor sliceColour(std::uint32_t slice);
// Tells slices of one colour apart, up to 48 of them: a dot for the second round of colours, a stripe for the third, a cross for the fourth.
void paintSliceMark(QPainter& painter, const QRectF& rect, std::uint32_t slice, const QColor& ink);
// Of what is not pointed at, while something is.
[[nodiscard]] QColor fadedSlice(std::uint32_t slice);

// The device matrix of a MindSpore run as a grid of devices, each in the colour of the slice of one tensor that it holds, as large as lets all of them show.
// One device has the focus; the pointer or the arrow keys show it, a click or Enter chooses it.
class DeviceMatrixView : public QWidget {
    Q_OBJECT
public:
    explicit DeviceMatrixView(QWidget* parent = nullptr);

    void show(DeviceMapPtr map); // nullptr: nothing
    void setKept(std::optional<std::uint32_t> rank); // the rank that every page is narrowed to
    // Devices of other slices fade.
    void highlight(std::optional<std::uint32_t> slice);
    [[nodiscard]] std::optional<std::uint32_t> highlighted() const { return m_highlighted; }
    [[nodiscard]] std::uint32_t focused() const { return m_focused; }
    void setFocused(std::uint32_t rank);
    [[nodiscard]] const DeviceMapPtr& map() const { return m_map; }
    [[nodiscard]] QRectF cellOf(std::uint32_t rank) const;
    [[nodiscard]] std::optional<std::uint32_t> rankAt(QPointF at) const;
    // What a tooltip over a device says; empty where there is none.
    [[nodiscard]] QString tipAt(QPointF at) const;

    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

signals:
    void pointed(std::uint32_t rank); // under the pointer, or the one that has the keyboard
    void pointedNowhere();
    void chosen(std::uint32_t rank);

protected:
    bool event(QEvent* event) override;
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
        double gap = 0;
        double caption = 0; // height above a block's cells
        std::uint32_t perLine = 1;
        QSizeF block;       // with the distance to the next
        double height = 0;
    };

    [[nodiscard]] bool hasDevices() const { return m_map && !m_map->devices.empty(); }
    void place();
    [[nodiscard]] Measures measure() const;
    [[nodiscard]] Measures measureAs(QSize cell, int width) const;
    [[nodiscard]] QPointF blockAt(std::uint32_t block) const;
    [[nodiscard]] std::optional<std::uint32_t> neighbour(int key) const;
    void paintCell(QPainter& painter, std::uint32_t rank) const;
    void paintRing(QPainter& painter, const QRectF& cell, bool isKept) const;
    void describe();

    DeviceMapPtr m_map;
    Measures m_measures;
    std::optional<std::uint32_t> m_kept;
    std::optional<std::uint32_t> m_hovered;
    std::optional<std::uint32_t> m_highlighted;
    std::uint32_t m_focused = 0;
};

} // namespace shardlens::ui
