#pragma once

#include "ui/widgets/atlas_layout.h"
#include "ui/widgets/atlas_raster.h"
#include "ui/widgets/atlas_scale.h"

#include <QFontMetricsF>
#include <QPainter>
#include <QStringList>

#include <optional>
#include <vector>

namespace shardlens::ui {

// All that decides what a frame of the atlas looks like. A value that the view keeps and changes.
struct AtlasScene {
    AtlasModelPtr model;       // never null while painted
    AtlasPalettePtr palette;
    AtlasColours colours;
    AtlasLayout layout;
    AtlasScale scale;
    std::vector<std::uint8_t> dimmed; // by PieceId; empty: none
    std::vector<AtlasPlace> selected; // every place of the selected parameter, lane by lane
    std::optional<AtlasPlace> focus;  // the selected piece
    std::optional<std::uint32_t> selectedRank;
    std::optional<std::size_t> legendKept; // the entry that is alone in the light
    QStringList hints;
    QString status;

    [[nodiscard]] bool bytes() const { return model->options().across == AtlasAcross::OffsetInFile; }
};

// What the lens looks at.
struct AtlasLens {
    std::uint32_t lane = 0;
    double centreUnit = 0;
    double magnification = 32;
    bool frozen = false;
};

// Paints a scene. Owns nothing; lives for one frame.
class AtlasPainter {
public:
    AtlasPainter(const AtlasScene& scene, double pixelRatio);

    // Everything but the selection and what follows the mouse.
    void paintFrame(QPainter& painter) const;
    // Outlines, triangles and minimap ticks of the selection.
    void paintSelection(QPainter& painter) const;
    void paintLens(QPainter& painter, const AtlasLens& lens) const;
    // What the mouse can do at the left, what it points at on the right.
    void paintHints(QPainter& painter) const;

    // Rectangles of the legend's entries in the legend's rows, and the height that they need in `width`.
    [[nodiscard]] static std::vector<QRectF> legendRects(const AtlasPalette& palette, double left, double top, double width);
    [[nodiscard]] static double legendHeight(const AtlasPalette& palette, double width);
    // Where a place is in the piece tier, at least `least` pixels wide; not clipped.
    [[nodiscard]] QRectF rectOf(AtlasPlace place, double least) const;

private:
    void paintMinimap(QPainter& painter) const;
    void paintRuler(QPainter& painter) const;
    void paintRows(QPainter& painter) const;
    void paintGroups(QPainter& painter) const;
    void paintHeader(QPainter& painter, std::size_t lane) const;
    void paintStates(QPainter& painter, std::size_t lane) const;
    void paintModules(QPainter& painter, std::size_t lane) const;
    void paintPieces(QPainter& painter) const;
    void paintPieceLabels(QPainter& painter, std::size_t lane) const;
    void paintMarks(QPainter& painter, std::size_t lane) const;
    void paintMark(QPainter& painter, const AtlasLane& lane, const AtlasMark& mark, const QRectF& rect) const;
    void paintLegend(QPainter& painter) const;
    void paintMinimapTicks(QPainter& painter) const;
    void paintLensPieces(QPainter& painter, const AtlasLane& lane, const AtlasScale& scale, const QRectF& tier) const;
    void paintLensRuler(QPainter& painter, const AtlasScale& scale, double top) const;
    [[nodiscard]] QString belowAPixel() const;
    [[nodiscard]] QRectF spanRect(const AtlasScale& scale, const AtlasSpan& span, const QRectF& tier, double least) const;
    [[nodiscard]] QRectF clipped(const QRectF& rect) const;

    const AtlasScene& m_scene;
    const Theme& m_theme;
    double m_pixelRatio;
    double m_left;  // of the plot
    double m_right;
};

// Grey lines at 45°, `gap` pixels apart.
void paintHatch(QPainter& painter, const QRectF& rect, const QColor& colour, double gap);

} // namespace shardlens::ui
