#pragma once

#include "ui/models/overview_summary.h"
#include "ui/widgets/atlas_scale.h"

#include <QWidget>

namespace shardlens::ui {

// The model to scale: modules, classes of parameters, and which rank holds the most precise copy. Width counts parameters.
class ModelStrip : public QWidget {
    Q_OBJECT
public:
    explicit ModelStrip(QWidget* parent = nullptr);
    void show(std::shared_ptr<const OverviewSummary> summary);
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

signals:
    void pieceChosen(shardlens::PieceId piece);

protected:
    void paintEvent(QPaintEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    bool event(QEvent* event) override;

private:
    [[nodiscard]] AtlasScale scale() const;
    void paintModules(QPainter& painter) const;
    void paintClasses(QPainter& painter) const;
    void paintRanks(QPainter& painter) const;
    [[nodiscard]] std::vector<std::size_t> ranksOfColumns(int columns) const;
    [[nodiscard]] std::optional<PieceId> pieceAt(int x) const;

    std::shared_ptr<const OverviewSummary> m_summary;
};

} // namespace shardlens::ui
