#pragma once

#include "ui/theme/theme.h"

#include <QIconEngine>

namespace shardlens::ui {

// A line icon of resources/icons, drawn in a token's colour of the theme that is on when it is painted.
class TintedIcon final : public QIconEngine {
public:
    TintedIcon(QString name, Token tint) : m_name(std::move(name)), m_tint(tint) {}

    void paint(QPainter* painter, const QRect& rect, QIcon::Mode mode, QIcon::State state) override;
    QPixmap pixmap(const QSize& size, QIcon::Mode mode, QIcon::State state) override;
    QPixmap scaledPixmap(const QSize& size, QIcon::Mode mode, QIcon::State state, qreal scale) override;
    [[nodiscard]] QIconEngine* clone() const override { return new TintedIcon(m_name, m_tint); }

private:
    [[nodiscard]] QColor colourFor(QIcon::Mode mode) const;

    QString m_name;
    Token m_tint;
};

} // namespace shardlens::ui
