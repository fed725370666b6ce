#pragma once

#include "ui/theme/theme.h"

#include <QLabel>

namespace shardlens::ui {

// A label whose font and colour follow the theme. With an elide mode it gives way and shows the whole text as its tooltip.
class TextLabel : public QLabel {
    Q_OBJECT
public:
    TextLabel(const QString& text, TextStyle style, Token ink, QWidget* parent = nullptr);
    void setElide(Qt::TextElideMode mode);
    void setInk(Token ink);
    [[nodiscard]] QSize minimumSizeHint() const override;

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void follow();

    TextStyle m_style;
    Token m_ink;
    Qt::TextElideMode m_elide = Qt::ElideNone;
};

} // namespace shardlens::ui
