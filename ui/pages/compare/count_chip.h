#pragma once

#include "ui/theme/theme.h"

#include <QAbstractButton>

namespace shardlens::ui {

// A number with what it counts, as a switch: pressed, only that shows.
class CountChip : public QAbstractButton {
    Q_OBJECT
public:
    CountChip(const QString& label, Token ink, QWidget* parent = nullptr);
    void setCount(std::uint64_t count);
    [[nodiscard]] std::uint64_t count() const { return m_count; }
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override { return sizeHint(); }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    Token m_ink; // of a number above 0
    std::uint64_t m_count = 0;
};

} // namespace shardlens::ui
