#include "ui/widgets/atlas_raster.h"

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr double kDimmed = 0.25;
constexpr int kStackFrom = 8; // rows: below that the majority takes the column

std::uint16_t majorityOf(const AtlasColumn& column)
{
    const auto* most = std::max_element(column.shares.begin(), column.shares.begin() + column.count,
                                        [](const AtlasColumn::Share& a, const AtlasColumn::Share& b) { return a.share < b.share; });
    return most->klass;
}

void paintStack(QImage& image, QPoint at, int height, const AtlasColumn& column, const AtlasColours& colours)
{
    double filled = 0;
    int row = 0;
    for (std::size_t i = 0; i < column.count; ++i) {
        filled += static_cast<double>(column.shares[i].share);
        const int until = i + 1 == column.count ? height : std::min(height, static_cast<int>(std::lround(filled * height)));
        const QRgb colour = colours.rgb(column.shares[i].klass);
        for (; row < until; ++row)
            reinterpret_cast<QRgb*>(image.scanLine(at.y() + row))[at.x()] = colour;
    }
}

} // namespace

QColor colourOf(const AtlasInk& ink, const Theme& theme)
{
    switch (ink.kind) {
    case AtlasInk::Kind::Slot: return theme.categorical(ink.slot);
    case AtlasInk::Kind::State: return theme.stateColour(ink.state);
    case AtlasInk::Kind::Neutral: return theme.colour(Token::Hatch);
    case AtlasInk::Kind::Severity:
        switch (ink.severity) {
        case Severity::Info: return theme.colour(Token::Info);
        case Severity::Warning: return theme.colour(Token::Warn);
        case Severity::Error: return theme.colour(Token::Error);
        }
    }
    return theme.colour(Token::Hatch);
}

QColor mixed(const QColor& colour, const QColor& ground, double share)
{
    const auto part = [share](int a, int b) { return static_cast<int>(std::lround(a * share + b * (1 - share))); };
    return {part(colour.red(), ground.red()), part(colour.green(), ground.green()), part(colour.blue(), ground.blue())};
}

AtlasColours::AtlasColours(const AtlasPalette& palette, const Theme& theme)
{
    const QColor ground = theme.colour(Token::Surface);
    for (const AtlasClass& one : palette.classes()) {
        const QColor colour = colourOf(one.ink, theme);
        m_full.push_back(colour.rgb());
        m_dimmed.push_back(mixed(colour, ground, kDimmed).rgb());
    }
}

void paintColumns(QImage& image, QPoint corner, int height, std::span<const AtlasColumn> columns, const AtlasColours& colours, double edge)
{
    const int top = std::max(corner.y(), 0);
    const int bottom = std::min(corner.y() + height, image.height());
    const auto width = std::min(columns.size(), static_cast<std::size_t>(std::max(0, image.width() - corner.x())));
    if (top >= bottom)
        return;
    std::vector<QRgb> line(width, 0);
    std::vector<std::size_t> stacked;
    for (std::size_t i = 0; i < width; ++i) {
        const AtlasColumn& column = columns[i];
        if (column.empty())
            continue;
        if (column.count > 1 && height >= kStackFrom)
            stacked.push_back(i);
        const QRgb colour = colours.rgb(column.count > 0 ? majorityOf(column) : column.solid);
        line[i] = column.lastOfPiece ? qPremultiply(qRgba(qRed(colour), qGreen(colour), qBlue(colour), static_cast<int>(edge * 255))) : colour;
    }
    for (int row = top; row < bottom; ++row)
        std::copy(line.begin(), line.end(), reinterpret_cast<QRgb*>(image.scanLine(row)) + corner.x());
    if (top == corner.y()) // a tier cut by the upper edge keeps its majority colours
        for (const std::size_t i : stacked)
            paintStack(image, {corner.x() + static_cast<int>(i), top}, bottom - top, columns[i], colours);
}

} // namespace shardlens::ui
