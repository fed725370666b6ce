#pragma once

#include <QLayout>

#include <vector>

namespace shardlens::ui {

// Widgets side by side, and on the next line where there is no room left: a row of controls that large text or a narrow window does not cut.
class FlowLayout : public QLayout {
    Q_OBJECT
public:
    explicit FlowLayout(QWidget* parent = nullptr) : QLayout(parent) {}
    ~FlowLayout() override;

    void addItem(QLayoutItem* item) override;
    [[nodiscard]] int count() const override { return static_cast<int>(m_items.size()); }
    [[nodiscard]] QLayoutItem* itemAt(int index) const override;
    QLayoutItem* takeAt(int index) override;
    [[nodiscard]] Qt::Orientations expandingDirections() const override { return {}; }
    [[nodiscard]] bool hasHeightForWidth() const override { return true; }
    [[nodiscard]] int heightForWidth(int width) const override;
    [[nodiscard]] QSize sizeHint() const override { return minimumSize(); }
    [[nodiscard]] QSize minimumSize() const override;
    void setGeometry(const QRect& rect) override;

private:
    // Places the items where asked for; the height that they take.
    int arrange(const QRect& rect, bool place) const;

    std::vector<QLayoutItem*> m_items; // owned, as QLayout's items are
};

} // namespace shardlens::ui
