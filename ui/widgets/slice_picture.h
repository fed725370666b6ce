#pragma once

#include "ui/models/device_map.h"
#include "ui/widgets/tensor_picture_layout.h"

#include <QWidget>

#include <optional>

namespace shardlens::ui {

// The index space of one tensor to scale, with the slices that devices hold of it. Arrow keys go through the slices; a click or Enter chooses one.
class SlicePicture : public QWidget {
    Q_OBJECT
public:
    explicit SlicePicture(QWidget* parent = nullptr);

    void show(DeviceMapPtr map); // nullptr: nothing
    void highlight(std::optional<std::uint32_t> slice);
    [[nodiscard]] std::optional<std::uint32_t> highlighted() const { return m_highlighted; }
    [[nodiscard]] std::optional<std::uint32_t> sliceAt(QPointF at) const;
    [[nodiscard]] QRectF rectOf(std::uint32_t slice) const; // of its first box that shows; empty where none does
    // "[16, 12], cut into 4 slices, each on 2 ranks"
    [[nodiscard]] QString caption() const;
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

signals:
    void pointed(std::uint32_t slice); // under the pointer, or the one that has the keyboard
    void pointedNowhere();
    void chosen(std::uint32_t slice);

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
    void rebuild();
    void updateLayout();
    void setFocused(std::uint32_t slice);
    void describe();
    [[nodiscard]] std::uint64_t tileOf(std::uint32_t slice) const;
    void paintSlice(QPainter& painter, const PictureBox& box) const;
    void paintLabel(QPainter& painter, const PictureBox& box) const;

    DeviceMapPtr m_map;
    PictureBoxes m_boxes; // PictureBox::piece is the number of a slice
    PictureLayout m_layout;
    std::uint64_t m_tile = 0; // the one that shows where there are too many
    std::optional<std::uint32_t> m_highlighted;
    std::optional<std::uint32_t> m_hovered;
    std::uint32_t m_focused = 0;
};

} // namespace shardlens::ui
