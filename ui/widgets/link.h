#pragma once

#include <QAbstractButton>

namespace shardlens::ui {

// A verb that does something, as a link: accent colour, underlined under the pointer, reachable by Tab.
class Link : public QAbstractButton {
    Q_OBJECT
public:
    explicit Link(const QString& text, QWidget* parent = nullptr);
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override { return sizeHint(); }

protected:
    void paintEvent(QPaintEvent* event) override;
};

} // namespace shardlens::ui
