#pragma once

#include "ui/models/atlas_columns.h"
#include "ui/theme/theme.h"

#include <QColor>
#include <QImage>
#include <QRect>

#include <vector>

namespace shardlens::ui {

// The colour that the theme gives an ink.
[[nodiscard]] QColor colourOf(const AtlasInk& ink, const Theme& theme);
// `colour` at `share` over `ground`, opaque.
[[nodiscard]] QColor mixed(const QColor& colour, const QColor& ground, double share);

// Colours of a palette's classes under a theme, full and dimmed (design.md: others at 25 %).
class AtlasColours {
public:
    AtlasColours() = default;
    AtlasColours(const AtlasPalette& palette, const Theme& theme);

    // `klass` may carry AtlasColumn::kDimmed.
    [[nodiscard]] QRgb rgb(std::uint16_t klass) const
    {
        const auto index = static_cast<std::size_t>(klass & ~AtlasColumn::kDimmed);
        return (klass & AtlasColumn::kDimmed) != 0 ? m_dimmed[index] : m_full[index];
    }
    [[nodiscard]] QColor colour(std::uint16_t klass) const { return QColor::fromRgb(rgb(klass)); }

private:
    std::vector<QRgb> m_full;
    std::vector<QRgb> m_dimmed;
};

// Paints columns into rows [top, top + height) of an ARGB32_Premultiplied image, from pixel `left` on. `edge` is the opacity of the last column of a wide piece.
void paintColumns(QImage& image, QPoint corner, int height, std::span<const AtlasColumn> columns, const AtlasColours& colours, double edge);

} // namespace shardlens::ui
