#include "ui/models/atlas_text.h"
#include "ui/widgets/atlas_view.h"

#include <QApplication>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QScrollBar>
#include <QWheelEvent>

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr double kWheelFactor = 1.25; // a notch
constexpr double kNotch = 120;
constexpr double kKeyPan = 0.15;      // of the width
constexpr double kColumnZoom = 8;
constexpr double kZoomedShare = 0.6;
constexpr double kLeastBox = 4; // pixels of a drag that means something
constexpr double kLaneHeights[2] = {4, 160};

} // namespace

void AtlasView::zoomAt(double factor, double pixel)
{
    if (!m_scene.model)
        return;
    remember(true);
    m_flight.stop();
    setScale(m_scene.scale.zoomed(factor, std::clamp(pixel, 0.0, m_scene.layout.plotWidth())));
}

void AtlasView::pan(double pixels)
{
    if (!m_scene.model)
        return;
    remember(true);
    m_flight.stop();
    setScale({m_scene.scale.firstUnit + pixels * m_scene.scale.unitsPerPixel, m_scene.scale.unitsPerPixel});
}

void AtlasView::changeLaneHeight(double factor)
{
    remember(true);
    const double now = m_scene.layout.laneHeight() / m_scene.layout.factor();
    m_laneHeight = std::clamp(now * factor, kLaneHeights[0], kLaneHeights[1]);
    updateLayout();
}

void AtlasView::wheelEvent(QWheelEvent* event)
{
    const bool smooth = !event->pixelDelta().isNull();
    const QPoint delta = smooth ? event->pixelDelta() * 2 : event->angleDelta();
    const double turns = (std::abs(delta.y()) >= std::abs(delta.x()) ? delta.y() : delta.x()) / kNotch;
    event->accept();
    if (event->modifiers() & Qt::ControlModifier)
        changeLaneHeight(std::pow(kWheelFactor, turns));
    else if (event->modifiers() & Qt::ShiftModifier || std::abs(delta.x()) > std::abs(delta.y()))
        pan(-turns * m_scene.layout.plotWidth() * kKeyPan / 2);
    else if (event->position().x() < m_scene.layout.plotLeft()) // over the headers the wheel scrolls
        verticalScrollBar()->setValue(verticalScrollBar()->value() - static_cast<int>(turns * m_scene.layout.pitch()));
    else
        zoomAt(std::pow(kWheelFactor, turns), plotX(event->position()));
}

bool AtlasView::viewportEvent(QEvent* event)
{
    if (event->type() == QEvent::Leave) {
        m_hoverTimer.stop();
        m_card->hide();
    }
    return QAbstractScrollArea::viewportEvent(event);
}

void AtlasView::hover(QPoint at)
{
    if (!m_scene.model)
        return;
    const AtlasHit hit = hitAt(m_scene, at);
    m_cursor = at;
    const bool pointing = hit.kind == AtlasHit::Kind::Piece || hit.kind == AtlasHit::Kind::Column || hit.kind == AtlasHit::Kind::Legend ||
                          hit.kind == AtlasHit::Kind::Group;
    viewport()->setCursor(pointing ? Qt::PointingHandCursor : hit.kind == AtlasHit::Kind::Minimap ? Qt::SizeHorCursor : Qt::ArrowCursor);
    if (const auto place = hit.place(); place && !m_lensFrozen) {
        m_lens.lane = place->lane;
        m_lens.centreUnit = hit.unit;
        if (!m_scene.layout.lens().isEmpty())
            viewport()->update(m_scene.layout.lens().toAlignedRect());
    }
    const QString status = statusFor(m_scene, hit);
    announce(!status.isEmpty() ? status : m_selection.piece && m_scene.focus ? pieceSentence(m_scene.model->checkpoint(), *m_selection.piece) : QString());
    const bool same = hit.kind == m_hover.kind && hit.lane == m_hover.lane && hit.index == m_hover.index;
    m_hover = hit;
    if (same && m_card->isVisible()) {
        showCard();
        return;
    }
    m_card->hide();
    m_hoverTimer.start();
}

void AtlasView::showCard()
{
    if (!m_scene.model || m_drag != Drag::None)
        return;
    const HoverCardContent content = cardFor(m_scene, m_hover);
    if (content.title.isEmpty()) {
        m_card->hide();
        return;
    }
    const QRectF legend = m_scene.layout.legend();
    const QRect allowed(4, 4, viewport()->width() - 8, static_cast<int>(legend.top()) - 8); // never over the legend
    m_card->showAt(content, m_cursor, allowed);
}

void AtlasView::mousePressEvent(QMouseEvent* event)
{
    if (event->button() != Qt::LeftButton || !m_scene.model)
        return QAbstractScrollArea::mousePressEvent(event);
    m_hoverTimer.stop();
    m_card->hide();
    m_flight.stop();
    m_dragFrom = m_dragAt = event->position();
    m_dragScale = m_scene.scale;
    m_dragScroll = verticalScrollBar()->value();
    const AtlasHit hit = hitAt(m_scene, event->position());
    if (hit.kind == AtlasHit::Kind::Minimap) {
        remember(false);
        m_drag = Drag::Minimap;
        panMinimap(event->position().x());
    } else if (event->modifiers() & Qt::ShiftModifier) {
        m_drag = Drag::ZoomBox;
    } else if (event->modifiers() & Qt::ControlModifier) {
        m_drag = Drag::Range;
    } else {
        m_drag = Drag::Undecided;
    }
}

void AtlasView::mouseMoveEvent(QMouseEvent* event)
{
    if (m_drag == Drag::None)
        hover(event->position().toPoint());
    else
        dragTo(event->position());
}

void AtlasView::panMinimap(double x)
{
    const AtlasScale whole = AtlasScale::fit(m_scene.model->length(), m_scene.layout.plotWidth(), m_scene.bytes());
    const double centre = whole.toUnit(x - m_scene.layout.plotLeft());
    setScale({centre - m_scene.scale.unitsPerPixel * m_scene.layout.plotWidth() / 2, m_scene.scale.unitsPerPixel});
}

void AtlasView::dragTo(QPointF at)
{
    m_dragAt = at;
    const QPointF moved = at - m_dragFrom;
    if (m_drag == Drag::Undecided && moved.manhattanLength() >= QApplication::startDragDistance()) {
        remember(false);
        m_drag = Drag::Pan;
        viewport()->setCursor(Qt::ClosedHandCursor);
    }
    if (m_drag == Drag::Pan) {
        setScale({m_dragScale.firstUnit - moved.x() * m_dragScale.unitsPerPixel, m_dragScale.unitsPerPixel});
        verticalScrollBar()->setValue(m_dragScroll - static_cast<int>(moved.y()));
    }
    if (m_drag == Drag::Minimap)
        panMinimap(at.x());
    if (m_drag == Drag::Range) {
        const double from = std::max(0.0, m_scene.scale.toUnit(plotX({std::min(at.x(), m_dragFrom.x()), 0})));
        const double to = std::max(0.0, m_scene.scale.toUnit(plotX({std::max(at.x(), m_dragFrom.x()), 0})));
        const auto begin = static_cast<std::uint64_t>(from);
        const auto end = static_cast<std::uint64_t>(to);
        const QString size = m_scene.bytes() ? bytesText(end - begin) : numberText(end - begin);
        announce(tr("%1 from %2 to %3").arg(size, numberText(begin), numberText(end)));
    }
    viewport()->update();
}

void AtlasView::mouseReleaseEvent(QMouseEvent* event)
{
    if (event->button() != Qt::LeftButton || m_drag == Drag::None)
        return QAbstractScrollArea::mouseReleaseEvent(event);
    finishDrag(event->position());
}

void AtlasView::finishDrag(QPointF at)
{
    const Drag drag = m_drag;
    m_drag = Drag::None;
    viewport()->setCursor(Qt::ArrowCursor);
    const double width = std::abs(at.x() - m_dragFrom.x());
    if (drag == Drag::Undecided)
        clickAt(at, hitAt(m_scene, at));
    if (drag == Drag::ZoomBox && width >= kLeastBox) {
        remember(false);
        const double from = m_scene.scale.toUnit(plotX({std::min(at.x(), m_dragFrom.x()), 0}));
        const double to = m_scene.scale.toUnit(plotX({std::max(at.x(), m_dragFrom.x()), 0}));
        flyTo(AtlasScale::showing(from, to, m_scene.layout.plotWidth(), 1));
    }
    viewport()->update();
}

void AtlasView::clickAt(QPointF at, const AtlasHit& hit)
{
    switch (hit.kind) {
    case AtlasHit::Kind::Piece: selectPlace(*hit.place()); return;
    case AtlasHit::Kind::Column: zoomAt(kColumnZoom, plotX(at)); return;
    case AtlasHit::Kind::Legend: keepOnly(hit.index); return;
    case AtlasHit::Kind::Group: emit groupToggled(m_scene.model->groups()[hit.index].title); return;
    case AtlasHit::Kind::Lens:
        m_lensFrozen = !m_lensFrozen;
        viewport()->update();
        return;
    case AtlasHit::Kind::LaneHeader: {
        const AtlasLane& lane = m_scene.model->lanes()[hit.lane];
        Selection selection;
        selection.rank = lane.rank;
        if (lane.file != kNoFile)
            selection.file = lane.file;
        emit selectionRequested(selection);
        return;
    }
    case AtlasHit::Kind::Mark: {
        const AtlasLane& lane = m_scene.model->lanes()[hit.lane];
        Selection selection;
        selection.rank = lane.rank;
        if (lane.file != kNoFile)
            selection.file = lane.file;
        if (lane.marks[hit.index].tensor != kNoTensor)
            selection.tensor = lane.marks[hit.index].tensor;
        emit selectionRequested(selection);
        return;
    }
    case AtlasHit::Kind::Nothing:
    case AtlasHit::Kind::Minimap: return;
    }
}

void AtlasView::mouseDoubleClickEvent(QMouseEvent* event)
{
    if (event->button() != Qt::LeftButton || !m_scene.model)
        return;
    const AtlasHit hit = hitAt(m_scene, event->position());
    if (!hit.place())
        return;
    const AtlasLane& lane = m_scene.model->lanes()[hit.lane];
    remember(false);
    flyTo(AtlasScale::showing(static_cast<double>(lane.starts[hit.index]), static_cast<double>(lane.endOf(hit.index)), m_scene.layout.plotWidth(), kZoomedShare));
}

void AtlasView::keepOnly(std::size_t legendEntry)
{
    remember(false);
    if (m_scene.legendKept == legendEntry)
        m_scene.legendKept.reset();
    else
        m_scene.legendKept = legendEntry;
    updateDimming();
    redraw();
}

void AtlasView::selectPlace(AtlasPlace place)
{
    const AtlasLane& lane = m_scene.model->lanes()[place.lane];
    const PieceId piece = lane.pieces[place.index];
    Selection selection{m_scene.model->tensorOf(piece), piece, m_scene.model->rankOf(piece), std::nullopt};
    if (lane.file != kNoFile)
        selection.file = lane.file;
    emit selectionRequested(selection);
}

void AtlasView::stepOccurrence(bool forward)
{
    const auto& places = m_scene.selected;
    if (places.empty())
        return;
    auto at = m_scene.focus ? std::find(places.begin(), places.end(), *m_scene.focus) : places.end();
    AtlasPlace next = forward ? places.front() : places.back();
    if (at != places.end() && forward && at + 1 != places.end())
        next = *(at + 1);
    if (at != places.end() && !forward && at != places.begin())
        next = *(at - 1);
    selectPlace(next);
    showPlace(next, true);
}

void AtlasView::stepPiece(bool forward)
{
    if (!m_scene.focus && m_scene.selected.empty())
        return;
    AtlasPlace next = m_scene.focus.value_or(m_scene.selected.empty() ? AtlasPlace{} : m_scene.selected.front());
    const std::size_t count = m_scene.model->lanes()[next.lane].size();
    if (forward ? next.index + 1 >= count : next.index == 0)
        return;
    next.index += forward ? 1 : static_cast<std::uint32_t>(-1);
    selectPlace(next);
    showPlace(next, false);
}

void AtlasView::stepLane(bool down)
{
    if (!m_scene.focus)
        return;
    const AtlasLane& from = m_scene.model->lanes()[m_scene.focus->lane];
    const std::uint64_t at = from.starts[m_scene.focus->index] + from.lengths[m_scene.focus->index] / 2;
    for (std::uint32_t lane = m_scene.focus->lane; down ? ++lane < m_scene.model->lanes().size() : lane-- > 0;) {
        const AtlasLane& candidate = m_scene.model->lanes()[lane];
        if (candidate.pieces.empty())
            continue;
        const std::size_t index = candidate.pieceAt(at).value_or(std::min(candidate.firstEndingAfter(at), candidate.size() - 1));
        const AtlasPlace next{lane, static_cast<std::uint32_t>(index)};
        selectPlace(next);
        showPlace(next, false);
        return;
    }
}

bool AtlasView::movementKey(const QKeyEvent& event)
{
    const bool panning = !m_scene.focus || event.modifiers() & Qt::ShiftModifier;
    const double width = m_scene.layout.plotWidth();
    switch (event.key()) {
    case Qt::Key_Left:
    case Qt::Key_Right:
        if (panning)
            pan((event.key() == Qt::Key_Left ? -kKeyPan : kKeyPan) * width);
        else
            stepPiece(event.key() == Qt::Key_Right);
        return true;
    case Qt::Key_Up:
    case Qt::Key_Down:
        if (panning)
            verticalScrollBar()->triggerAction(event.key() == Qt::Key_Up ? QAbstractSlider::SliderSingleStepSub : QAbstractSlider::SliderSingleStepAdd);
        else
            stepLane(event.key() == Qt::Key_Down);
        return true;
    case Qt::Key_Home: pan(-1e18); return true;
    case Qt::Key_End: pan(static_cast<double>(m_scene.model->length()) / m_scene.scale.unitsPerPixel); return true;
    case Qt::Key_PageUp: verticalScrollBar()->triggerAction(QAbstractSlider::SliderPageStepSub); return true;
    case Qt::Key_PageDown: verticalScrollBar()->triggerAction(QAbstractSlider::SliderPageStepAdd); return true;
    case Qt::Key_Plus:
    case Qt::Key_Equal: zoomAt(kWheelFactor, width / 2); return true;
    case Qt::Key_Minus: zoomAt(1 / kWheelFactor, width / 2); return true;
    default: return false;
    }
}

bool AtlasView::pictureKey(const QKeyEvent& event)
{
    const bool shifted = event.modifiers() & Qt::ShiftModifier;
    switch (event.key()) {
    case Qt::Key_F: shifted ? fitSelection() : fitAll(); return true;
    case Qt::Key_N: stepOccurrence(!shifted); return true;
    case Qt::Key_BracketRight: stepPiece(true); return true;
    case Qt::Key_BracketLeft: stepPiece(false); return true;
    case Qt::Key_P:
        if (m_selection.rank)
            emit selectionRequested({std::nullopt, std::nullopt, m_selection.rank, std::nullopt});
        return true;
    case Qt::Key_L: setLensShown(!m_lensShown); return true;
    case Qt::Key_U: emit foldingToggled(); return true;
    case Qt::Key_G:
        if (event.modifiers() & Qt::ShiftModifier && m_scene.focus)
            emit groupToggled(m_scene.model->lanes()[m_scene.focus->lane].group);
        else
            emit groupsToggled();
        return true;
    case Qt::Key_T: emit tableRequested(); return true;
    case Qt::Key_Return:
    case Qt::Key_Enter:
        if (m_selection.tensor)
            emit tensorActivated();
        return true;
    default: break;
    }
    if (event.key() >= Qt::Key_1 && event.key() <= Qt::Key_6) {
        emit colourRequested(event.key() - Qt::Key_1);
        return true;
    }
    return false;
}

void AtlasView::keyPressEvent(QKeyEvent* event)
{
    const bool plain = (event->modifiers() & ~(Qt::ShiftModifier | Qt::KeypadModifier)) == Qt::NoModifier;
    if (m_scene.model && plain && (movementKey(*event) || pictureKey(*event))) {
        event->accept();
        return;
    }
    QAbstractScrollArea::keyPressEvent(event);
}

} // namespace shardlens::ui
