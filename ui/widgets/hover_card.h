#pragma once

#include <QColor>
#include <QString>
#include <QWidget>

#include <utility>
#include <vector>

namespace shardlens::ui {

// What a hover card says: a colour, a title, a word at the right, rows of label and value.
struct HoverCardContent {
    QColor colour; // invalid: no swatch
    QString title;
    QString aside;
    std::vector<std::pair<QString, QString>> rows;

    bool operator==(const HoverCardContent&) const = default;
};

// A card beside the cursor, never under it, inside its parent. Takes no mouse and no focus; the same text must be elsewhere too (status line).
class HoverCard : public QWidget {
    Q_OBJECT
public:
    explicit HoverCard(QWidget* parent);

    // Shows `content` 18 px off `cursor`, inside `allowed` (both in the parent's coordinates).
    void showAt(const HoverCardContent& content, QPoint cursor, const QRect& allowed);
    [[nodiscard]] const HoverCardContent& content() const { return m_content; }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    [[nodiscard]] QSize wantedSize() const;

    HoverCardContent m_content;
};

} // namespace shardlens::ui
