#pragma once

#include "ui/models/rank_uses.h"
#include "ui/widgets/rank_grid_view.h"

#include <QWidget>

namespace shardlens::ui {

// What the colours of the cells mean: a scale from the least to the most bytes, or the states.
class RankLegendBar : public QWidget {
    Q_OBJECT
public:
    explicit RankLegendBar(QWidget* parent = nullptr);
    void show(RankUsesPtr uses, RankColour colour);
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override { return {0, sizeHint().height()}; }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    struct Entry {
        QColor fill;
        QColor edge;
        bool isDashed;
        QString text;
    };
    [[nodiscard]] std::vector<Entry> entries() const;

    RankUsesPtr m_uses;
    RankColour m_colour = RankColour::Bytes;
};

} // namespace shardlens::ui
