#pragma once

#include "ui/models/rank_uses.h"
#include "ui/widgets/rank_grid_view.h"

#include <QWidget>

namespace shardlens::ui {

// Bytes of every rank as bars from 0 to the most, with the mean as a line. More ranks than pixels share bars as high as the largest of them.
class RankBars : public QWidget {
    Q_OBJECT
public:
    explicit RankBars(QWidget* parent = nullptr);
    void show(RankUsesPtr uses);
    void setColour(RankColour colour);
    // The ranks that are marked below: the kept one, and the one that is pointed at.
    void mark(std::optional<std::uint32_t> kept, std::optional<std::uint32_t> pointed);
    [[nodiscard]] std::optional<std::uint32_t> rankAt(QPointF at) const; // the largest of a bar's ranks

    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

signals:
    void pointed(std::uint32_t rank);
    void pointedNowhere();
    void chosen(std::uint32_t rank);

protected:
    void paintEvent(QPaintEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void leaveEvent(QEvent* event) override;

private:
    [[nodiscard]] QRectF plot() const;
    [[nodiscard]] std::uint32_t bars() const;
    [[nodiscard]] std::pair<std::uint32_t, std::uint32_t> ranksOf(std::uint32_t bar) const; // half-open
    [[nodiscard]] std::uint32_t largestOf(std::uint32_t bar) const;
    void paintAxis(QPainter& painter) const;

    RankUsesPtr m_uses;
    RankColour m_colour = RankColour::Bytes;
    std::optional<std::uint32_t> m_kept;
    std::optional<std::uint32_t> m_pointed;
};

} // namespace shardlens::ui
