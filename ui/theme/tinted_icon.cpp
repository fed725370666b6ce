#include "ui/theme/tinted_icon.h"

#include <QPainter>
#include <QPixmapCache>
#include <QSvgRenderer>

namespace shardlens::ui {

QColor TintedIcon::colourFor(QIcon::Mode mode) const
{
    QColor colour = Theme::current().colour(m_tint);
    if (mode == QIcon::Disabled)
        colour.setAlphaF(0.4f);
    return colour;
}

void TintedIcon::paint(QPainter* painter, const QRect& rect, QIcon::Mode mode, QIcon::State state)
{
    const qreal scale = painter->device() != nullptr ? painter->device()->devicePixelRatioF() : 1.0;
    painter->drawPixmap(rect, scaledPixmap(rect.size() * scale, mode, state, scale));
}

QPixmap TintedIcon::pixmap(const QSize& size, QIcon::Mode mode, QIcon::State state)
{
    return scaledPixmap(size, mode, state, 1.0);
}

QPixmap TintedIcon::scaledPixmap(const QSize& size, QIcon::Mode mode, QIcon::State, qreal scale)
{
    const QColor colour = colourFor(mode);
    const QString key = QStringLiteral("shardlens:%1:%2x%3:%4").arg(m_name).arg(size.width()).arg(size.height()).arg(colour.name(QColor::HexArgb));
    QPixmap out;
    if (QPixmapCache::find(key, &out)) {
        out.setDevicePixelRatio(scale);
        return out;
    }
    QImage image(size, QImage::Format_ARGB32_Premultiplied);
    image.fill(Qt::transparent);
    QSvgRenderer renderer(QStringLiteral(":/icons/%1.svg").arg(m_name));
    QPainter painter(&image);
    renderer.render(&painter, QRectF(QPointF(0, 0), QSizeF(size)));
    painter.setCompositionMode(QPainter::CompositionMode_SourceIn);
    painter.fillRect(image.rect(), colour);
    painter.end();
    out = QPixmap::fromImage(image);
    QPixmapCache::insert(key, out);
    out.setDevicePixelRatio(scale);
    return out;
}

} // namespace shardlens::ui
