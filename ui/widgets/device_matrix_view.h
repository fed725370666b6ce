#pragma once

#include "ui/models/device_map.h"
#include "ui/widgets/rank_cells.h"

#include <optional>

namespace shardlens::ui {

// The colours of a slice: the same for all devices that hold it, and in the picture of the tensor.
[[nodiscard]] QColor sliceColour(std::uint32_t slice);
// Tells slices of one colour apart, up to 48 of them: a dot for the second round of colours, a stripe for the third, a cross for the fourth.
void paintSliceMark(QPainter& painter, const QRectF& rect, std::uint32_t slice, const QColor& ink);
// Of what is not pointed at, while something is.
[[nodiscard]] QColor fadedSlice(std::uint32_t slice);

// The device matrix of a MindSpore run as a grid of devices, each in the colour of the slice of one tensor that it holds, as large as lets all of them show.
class DeviceMatrixView : public RankCells {
    Q_OBJECT
public:
    explicit DeviceMatrixView(QWidget* parent = nullptr);

    void show(DeviceMapPtr map); // nullptr: nothing
    // Devices of other slices fade.
    void highlight(std::optional<std::uint32_t> slice);
    [[nodiscard]] std::optional<std::uint32_t> highlighted() const { return m_highlighted; }
    [[nodiscard]] const DeviceMapPtr& map() const { return m_map; }
    [[nodiscard]] QRectF cellOf(std::uint32_t rank) const override;
    [[nodiscard]] std::optional<std::uint32_t> rankAt(QPointF at) const override;
    // What a tooltip over a device says; empty where there is none.
    [[nodiscard]] QString tipAt(QPointF at) const;

    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

protected:
    bool event(QEvent* event) override;
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void focusInEvent(QFocusEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;
    [[nodiscard]] std::uint32_t cells() const override { return m_map ? static_cast<std::uint32_t>(m_map->devices.size()) : 0; }
    void describe() override;

private:
    struct Measures {
        QSizeF cell;
        double gap = 0;
        double caption = 0; // height above a block's cells
        std::uint32_t perLine = 1;
        QSizeF block;       // with the distance to the next
        double height = 0;
    };

    [[nodiscard]] bool hasDevices() const { return cells() > 0; }
    void place();
    [[nodiscard]] Measures measure() const;
    [[nodiscard]] Measures measureAs(QSize cell, int width) const;
    [[nodiscard]] QPointF blockAt(std::uint32_t block) const;
    void paintCell(QPainter& painter, std::uint32_t rank) const;

    DeviceMapPtr m_map;
    Measures m_measures;
    std::optional<std::uint32_t> m_highlighted;
};

} // namespace shardlens::ui
