#pragma once

#include "ui/models/overview_summary.h"
#include "ui/widgets/atlas_scale.h"

#include <QWidget>

namespace shardlens::ui {

// The model to scale: modules, classes of parameters, and which rank holds the most precise copy. Width counts values.
class ModelStrip : public QWidget {
    Q_OBJECT
public:
    explicit ModelStrip(QWidget* parent = nullptr);
    void show(std::shared_ptr<const OverviewSummary> summary);

    // Who holds what lies in the middle of a column.
    struct Holding {
        bool any = false;
        bool missing = false; // its file is not there
        std::optional<std::uint32_t> rank;
        auto operator<=>(const Holding&) const = default;
    };
    [[nodiscard]] std::vector<Holding> holdingsOf(int columns) const;

    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

signals:
    void pieceChosen(shardlens::PieceId piece);

protected:
    void paintEvent(QPaintEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    bool event(QEvent* event) override;

private:
    struct Found {
        std::size_t lane = 0; // of the summary's model
        PieceId piece{};
    };
    [[nodiscard]] std::optional<Found> foundIn(const std::vector<std::size_t>& order, std::uint64_t unit) const;
    [[nodiscard]] Found shared(const Found& first, std::uint64_t hull, const std::vector<std::size_t>& order, std::uint64_t unit) const;
    [[nodiscard]] std::optional<Found> foundAt(double unit) const;
    [[nodiscard]] std::vector<std::size_t> lanes() const;
    void paintHolding(QPainter& painter, const QRect& room, const Holding& holding) const;
    [[nodiscard]] AtlasScale scale() const;
    void paintModules(QPainter& painter) const;
    void paintClasses(QPainter& painter) const;
    void paintRanks(QPainter& painter) const;
    [[nodiscard]] std::optional<PieceId> pieceAt(int x) const;

    std::shared_ptr<const OverviewSummary> m_summary;
};

} // namespace shardlens::ui
