#pragma once

#include <QAbstractButton>

namespace shardlens::ui {

class Document;

// Says that a page shows one rank only; a press shows all of them again. Hidden while no rank is kept. The document outlives it.
class RankChip : public QAbstractButton {
    Q_OBJECT
public:
    explicit RankChip(Document* document, QWidget* parent = nullptr);
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override { return sizeHint(); }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void follow();

    Document* m_document;
};

} // namespace shardlens::ui
