#pragma once

#include <QWidget>

#include <cstdint>

namespace shardlens::ui {

// A row of swatches: rank 0, rank 1 … ; beyond twelve the first eleven and how many more there are.
class RankLegend : public QWidget {
    Q_OBJECT
public:
    explicit RankLegend(std::uint32_t ranks, QWidget* parent = nullptr);
    [[nodiscard]] QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    [[nodiscard]] QStringList labels() const;

    std::uint32_t m_ranks;
};

} // namespace shardlens::ui
