#pragma once

#include "ui/models/selection.h"
#include "ui/widgets/atlas_hit.h"
#include "ui/widgets/atlas_painter.h"
#include "ui/widgets/hover_card.h"

#include <QAbstractScrollArea>
#include <QElapsedTimer>
#include <QTimer>
#include <QVariantAnimation>

#include <optional>
#include <vector>

namespace shardlens::ui {

// The atlas (design.md §4): every file as a lane to scale, with zoom, hover, selection, minimap, legend and lens.
// It shows what it is given and asks for changes by signals; nothing of it outlives a call but the shared model.
class AtlasView : public QAbstractScrollArea {
    Q_OBJECT
public:
    explicit AtlasView(QWidget* parent = nullptr);
    ~AtlasView() override;

    // A new model resets zoom unless it has the same unit and length. Both not null, or both null for an empty view.
    void setModel(AtlasModelPtr model, AtlasPalettePtr palette);
    void setPalette(AtlasPalettePtr palette);
    void setSelection(const Selection& selection);
    // Dims every parameter that does not contain `text` (case folded); empty: none.
    void setSearch(const QString& text);
    // Of the parameters that match: how many, and which (from 1) is selected; 0: none of them.
    struct Matches {
        std::size_t count = 0;
        std::size_t current = 0;
    };
    [[nodiscard]] Matches matches() const;
    // Selects the next (or previous) parameter that matches and flies there.
    void goToMatch(bool forward);

    [[nodiscard]] const AtlasScene& scene() const { return m_scene; }
    [[nodiscard]] bool isLensShown() const { return m_lensShown; }
    [[nodiscard]] const HoverCard& card() const { return *m_card; }
    void setLensShown(bool shown);
    void fitAll();
    void fitSelection();
    void showPlace(AtlasPlace place, bool fly);
    // Undoes the last zoom, pan or legend click.
    bool undoView();
    // What shows, `factor` times as large, with the path below.
    [[nodiscard]] QImage exportImage(double factor);
    // The text of the focus piece, for the status line and screen readers.
    [[nodiscard]] const QString& statusText() const { return m_scene.status; }

signals:
    void selectionRequested(const shardlens::ui::Selection& selection);
    void tensorActivated();
    void colourRequested(int colour); // AtlasColour
    void foldingToggled();
    void groupToggled(const QString& title);
    void groupsToggled(); // all of them
    void tableRequested();
    void matchesChanged();

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void scrollContentsBy(int dx, int dy) override;
    void changeEvent(QEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void mouseReleaseEvent(QMouseEvent* event) override;
    void mouseDoubleClickEvent(QMouseEvent* event) override;
    void wheelEvent(QWheelEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    bool viewportEvent(QEvent* event) override;

private:
    enum class Drag { None, Undecided, Pan, ZoomBox, Range, Minimap };
    struct ViewState {
        AtlasScale scale;
        int scrollY = 0;
        double laneHeight = 0;
        std::optional<std::size_t> legendKept;
    };

    void updateLayout();
    void redraw();
    void setScale(AtlasScale scale);
    void flyTo(AtlasScale scale);
    void remember(bool coalesce);
    void updateDimming();
    void updateSelectedPlaces();
    void centreLens();
    void announce(const QString& text);
    void hover(QPoint at);
    void showCard();
    void clickAt(QPointF at, const AtlasHit& hit);
    void keepOnly(std::size_t legendEntry);
    void dragTo(QPointF at);
    void finishDrag(QPointF at);
    void panMinimap(double x);
    void selectPlace(AtlasPlace place);
    void stepOccurrence(bool forward);
    void stepPiece(bool forward);
    void stepLane(bool down);
    void pan(double pixels);
    void zoomAt(double factor, double pixel);
    void changeLaneHeight(double factor);
    bool pictureKey(const QKeyEvent& event);
    bool movementKey(const QKeyEvent& event);
    void paintDrag(QPainter& painter) const;
    [[nodiscard]] AtlasLens lens() const;
    [[nodiscard]] double plotX(QPointF at) const { return at.x() - m_scene.layout.plotLeft(); }

    AtlasScene m_scene;
    Selection m_selection;
    QString m_search;
    std::vector<std::uint32_t> m_matching; // parameters, ascending
    QImage m_frame;
    bool m_frameDirty = true;
    bool m_lensShown = true;
    bool m_lensFrozen = false;
    AtlasLens m_lens;
    double m_headerColumn = AtlasLayout::kHeaderColumn;
    double m_laneHeight = 0; // design pixels; 0: automatic
    HoverCard* m_card;
    QTimer m_hoverTimer;
    QPoint m_cursor;
    AtlasHit m_hover;
    Drag m_drag = Drag::None;
    QPointF m_dragFrom;
    QPointF m_dragAt;
    AtlasScale m_dragScale;
    int m_dragScroll = 0;
    std::vector<ViewState> m_history;
    QElapsedTimer m_sinceRemembered;
    QVariantAnimation m_flight;
};

} // namespace shardlens::ui
