#pragma once

#include "ui/models/overview_summary.h"

#include <QWidget>

namespace shardlens::ui {

// What the bytes are: one bar cut by state, and the same as a table below it.
class StateTable : public QWidget {
    Q_OBJECT
public:
    explicit StateTable(QWidget* parent = nullptr);
    void show(const CheckpointPtr& checkpoint, std::shared_ptr<const OverviewSummary> summary);
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

protected:
    void paintEvent(QPaintEvent* event) override;
    bool event(QEvent* event) override;

private:
    [[nodiscard]] QString nameOf(std::size_t state) const;
    [[nodiscard]] std::uint64_t total() const;
    void paintBar(QPainter& painter, std::uint64_t all) const;
    void paintRow(QPainter& painter, std::size_t state, std::uint64_t all, int top) const;

    CheckpointPtr m_checkpoint;
    std::shared_ptr<const OverviewSummary> m_summary;
};

} // namespace shardlens::ui
