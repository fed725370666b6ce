#pragma once

#include <QFrame>

class QHBoxLayout;
class QLabel;
class QVBoxLayout;

namespace shardlens::ui {

// A framed part of a page with a title, a hint beside it and room for links at its right.
class Card : public QFrame {
    Q_OBJECT
public:
    explicit Card(const QString& title = {}, const QString& hint = {}, QWidget* parent = nullptr);
    [[nodiscard]] QVBoxLayout* body() const { return m_body; }
    [[nodiscard]] QHBoxLayout* head() const { return m_head; } // nullptr without a title
    void setHint(const QString& hint);

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    QHBoxLayout* m_head = nullptr;
    QVBoxLayout* m_body;
    QLabel* m_hint = nullptr;
};

} // namespace shardlens::ui
