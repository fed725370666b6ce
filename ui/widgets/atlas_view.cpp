#include "ui/widgets/atlas_view.h"

#include "ui/models/atlas_text.h"

#include <QAccessible>
#include <QPaintEvent>
#include <QPainter>
#include <QScrollBar>

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr int kHoverDelayMs = 120;
constexpr int kFlightMs = 120;
constexpr int kCoalesceMs = 400;       // wheel turns in this time are one step of the history
constexpr std::size_t kMostHistory = 64;
constexpr double kFitShare = 0.6;      // of the width that a piece takes after zooming to it
constexpr double kTitleMargins = 36;   // design pixels beside the titles of the lanes
constexpr double kWidestHeader = 216;
constexpr std::size_t kMostTitles = 4096; // that are measured

// As wide as the lanes' titles need, within limits: a name that is cut in its middle tells no file from another.
double headerColumnFor(const AtlasModel& model)
{
    const QFontMetricsF metrics(Theme::current().font(TextStyle::Strong));
    const double factor = Theme::current().px(100) / 100.0;
    double widest = 0;
    const std::size_t count = std::min(model.lanes().size(), kMostTitles);
    for (std::size_t i = 0; i < count; ++i)
        widest = std::max(widest, metrics.horizontalAdvance(model.lanes()[i].title));
    return std::clamp(std::ceil(widest / factor) + kTitleMargins, AtlasLayout::kHeaderColumn, kWidestHeader);
}

} // namespace

AtlasView::AtlasView(QWidget* parent) : QAbstractScrollArea(parent), m_card(new HoverCard(viewport()))
{
    setFrameShape(QFrame::NoFrame);
    setFocusPolicy(Qt::StrongFocus);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setVerticalScrollBarPolicy(Qt::ScrollBarAsNeeded);
    viewport()->setMouseTracking(true);
    setAccessibleName(tr("Atlas: where every tensor lies in the files"));
    m_hoverTimer.setSingleShot(true);
    m_hoverTimer.setInterval(kHoverDelayMs);
    connect(&m_hoverTimer, &QTimer::timeout, this, &AtlasView::showCard);
    m_flight.setDuration(kFlightMs);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        if (m_scene.palette)
            m_scene.colours = AtlasColours(*m_scene.palette, Theme::current());
        updateLayout();
    });
}

AtlasView::~AtlasView() = default;

void AtlasView::setModel(AtlasModelPtr model, AtlasPalettePtr palette)
{
    const double headerColumn = model ? headerColumnFor(*model) : m_headerColumn;
    const bool sameSpace = headerColumn == m_headerColumn && m_scene.model && model && m_scene.model->length() == model->length() &&
                           m_scene.model->options().across == model->options().across;
    m_flight.stop();
    m_headerColumn = headerColumn;
    m_scene.hints = {tr("Click selects"), tr("Wheel zooms at the cursor"), tr("Drag pans"), tr("Shift-drag zooms into a box"),
                     tr("F fits"),        tr("N next occurrence")};
    if (model && !model->groups().empty())
        m_scene.hints << tr("G closes the groups");
    m_scene.model = std::move(model);
    m_lens.lane = 0;
    m_hover = {};
    m_scene.status.clear();
    m_card->hide();
    setPalette(std::move(palette));
    updateSelectedPlaces();
    updateLayout();
    if (m_scene.model && !sameSpace) {
        m_scene.scale = AtlasScale::fit(m_scene.model->length(), m_scene.layout.plotWidth(), m_scene.bytes());
        m_history.clear();
        centreLens();
    }
    redraw();
}

void AtlasView::centreLens()
{
    const auto& lanes = m_scene.model->lanes();
    const auto first = std::find_if(lanes.begin(), lanes.end(), [](const AtlasLane& lane) { return !lane.pieces.empty(); });
    if (first == lanes.end() || m_scene.focus)
        return;
    m_lens.lane = static_cast<std::uint32_t>(first - lanes.begin());
    const std::size_t middle = first->size() / 2;
    m_lens.centreUnit = static_cast<double>(first->starts[middle]) + static_cast<double>(first->lengths[middle]) / 2;
}

void AtlasView::setPalette(AtlasPalettePtr palette)
{
    m_scene.palette = std::move(palette);
    m_scene.legendKept.reset();
    m_scene.colours = m_scene.palette ? AtlasColours(*m_scene.palette, Theme::current()) : AtlasColours();
    updateDimming();
    updateLayout();
}

void AtlasView::setSelection(const Selection& selection)
{
    m_selection = selection;
    updateSelectedPlaces();
    emit matchesChanged();
    redraw();
}

void AtlasView::updateSelectedPlaces()
{
    m_scene.selected.clear();
    m_scene.focus.reset();
    m_scene.selectedRank = m_selection.tensor ? std::nullopt : m_selection.rank;
    if (!m_scene.model)
        return;
    const Checkpoint& checkpoint = m_scene.model->checkpoint();
    if (m_selection.tensor && indexOf(*m_selection.tensor) < checkpoint.tensors().size())
        m_scene.selected = m_scene.model->placesOf(checkpoint.tensor(*m_selection.tensor).parameter);
    if (m_selection.piece && indexOf(*m_selection.piece) < checkpoint.pieces().size()) {
        m_scene.focus = m_scene.model->placeOf(*m_selection.piece);
        announce(pieceSentence(checkpoint, *m_selection.piece));
    }
    const AtlasPlace at = m_scene.focus ? *m_scene.focus : m_scene.selected.empty() ? AtlasPlace{} : m_scene.selected.front();
    if (at.lane != kNowhere && !m_lensFrozen) {
        const AtlasLane& lane = m_scene.model->lanes()[at.lane];
        m_lens.lane = at.lane;
        m_lens.centreUnit = static_cast<double>(lane.starts[at.index]) + static_cast<double>(lane.lengths[at.index]) / 2;
    }
}

void AtlasView::announce(const QString& text)
{
    if (m_scene.status == text)
        return;
    m_scene.status = text;
    setAccessibleDescription(text);
    QAccessibleEvent event(this, QAccessible::DescriptionChanged);
    QAccessible::updateAccessibility(&event);
    viewport()->update(m_scene.layout.hints().toAlignedRect());
}

void AtlasView::setSearch(const QString& text)
{
    m_search = text;
    updateDimming();
    emit matchesChanged();
    redraw();
}

void AtlasView::updateDimming()
{
    m_matching.clear();
    m_scene.dimmed.clear();
    if (!m_scene.model || !m_scene.palette)
        return;
    const Checkpoint& checkpoint = m_scene.model->checkpoint();
    const bool searching = !m_search.isEmpty();
    std::vector<bool> matching(checkpoint.parameters().size(), !searching);
    for (std::size_t i = 0; searching && i < checkpoint.parameters().size(); ++i)
        if (QString::fromStdString(checkpoint.parameters()[i]).contains(m_search, Qt::CaseInsensitive)) {
            matching[i] = true;
            m_matching.push_back(static_cast<std::uint32_t>(i));
        }
    if (!searching && !m_scene.legendKept)
        return;
    std::vector<bool> kept(m_scene.palette->classes().size(), !m_scene.legendKept);
    if (m_scene.legendKept)
        for (const std::uint16_t klass : m_scene.palette->legend()[*m_scene.legendKept].classes)
            kept[klass] = true;
    m_scene.dimmed.resize(checkpoint.pieces().size());
    for (std::size_t row = 0; row < m_scene.dimmed.size(); ++row) {
        const auto piece = idAt<PieceId>(row);
        m_scene.dimmed[row] = !matching[indexOf(m_scene.model->parameterOf(piece))] || !kept[m_scene.palette->classOf(piece)];
    }
}

AtlasView::Matches AtlasView::matches() const
{
    Matches out{m_matching.size(), 0};
    if (!m_scene.model || !m_selection.tensor)
        return out;
    const auto parameter = static_cast<std::uint32_t>(indexOf(m_scene.model->checkpoint().tensor(*m_selection.tensor).parameter));
    const auto at = std::lower_bound(m_matching.begin(), m_matching.end(), parameter);
    if (at != m_matching.end() && *at == parameter)
        out.current = static_cast<std::size_t>(at - m_matching.begin()) + 1;
    return out;
}

void AtlasView::goToMatch(bool forward)
{
    if (m_matching.empty())
        return;
    const std::size_t count = m_matching.size();
    const std::size_t current = matches().current;
    std::size_t next = current == 0 ? (forward ? 0 : count - 1) : (current - 1 + (forward ? 1 : count - 1)) % count;
    for (std::size_t tried = 0; tried < count; ++tried, next = (next + (forward ? 1 : count - 1)) % count) {
        const auto places = m_scene.model->placesOf(idAt<ParameterId>(m_matching[next]));
        if (places.empty()) // in a group that is closed
            continue;
        selectPlace(places.front());
        showPlace(places.front(), true);
        return;
    }
}

void AtlasView::setLensShown(bool shown)
{
    m_lensShown = shown;
    updateLayout();
}

void AtlasView::updateLayout()
{
    const double factor = Theme::current().px(100) / 100.0;
    const QSizeF size = viewport()->size();
    const double legend = m_scene.palette ? AtlasPainter::legendHeight(*m_scene.palette, size.width()) : 26 * factor;
    const std::size_t lanes = m_scene.model ? m_scene.model->lanes().size() : 0;
    AtlasLayout::Request request{size, factor, lanes, m_laneHeight, 0, legend, m_lensShown, true, m_headerColumn, {}};
    if (m_scene.model)
        for (const AtlasGroup& group : m_scene.model->groups())
            request.groups.push_back(group.firstLane);
    m_scene.layout = AtlasLayout(request);
    const int hidden = static_cast<int>(std::ceil(m_scene.layout.contentHeight() - m_scene.layout.lanes().height()));
    verticalScrollBar()->setRange(0, std::max(0, hidden));
    verticalScrollBar()->setPageStep(static_cast<int>(m_scene.layout.lanes().height()));
    verticalScrollBar()->setSingleStep(static_cast<int>(m_scene.layout.pitch()));
    request.scrollY = verticalScrollBar()->value();
    m_scene.layout = AtlasLayout(request);
    if (m_scene.model)
        m_scene.scale = m_scene.scale.limited(m_scene.model->length(), m_scene.layout.plotWidth(), m_scene.bytes());
    redraw();
}

void AtlasView::redraw()
{
    m_frameDirty = true;
    viewport()->update();
}

void AtlasView::setScale(AtlasScale scale)
{
    if (!m_scene.model)
        return;
    scale = scale.limited(m_scene.model->length(), m_scene.layout.plotWidth(), m_scene.bytes());
    if (scale == m_scene.scale)
        return;
    m_scene.scale = scale;
    m_card->hide();
    redraw();
}

void AtlasView::flyTo(AtlasScale scale)
{
    m_flight.stop();
    scale = scale.limited(m_scene.model->length(), m_scene.layout.plotWidth(), m_scene.bytes());
    if (!isVisible() || scale == m_scene.scale) {
        setScale(scale);
        return;
    }
    const AtlasScale from = m_scene.scale;
    const double half = m_scene.layout.plotWidth() / 2;
    m_flight.disconnect();
    m_flight.setStartValue(0.0);
    m_flight.setEndValue(1.0);
    connect(&m_flight, &QVariantAnimation::valueChanged, this, [this, from, scale, half](const QVariant& value) {
        const double t = value.toDouble();
        if (t >= 1)
            return setScale(scale);
        const double perPixel = from.unitsPerPixel * std::pow(scale.unitsPerPixel / from.unitsPerPixel, t);
        const double centre = from.toUnit(half) + (scale.toUnit(half) - from.toUnit(half)) * t;
        setScale({centre - perPixel * half, perPixel});
    });
    m_flight.start();
}

void AtlasView::remember(bool coalesce)
{
    if (coalesce && m_sinceRemembered.isValid() && m_sinceRemembered.elapsed() < kCoalesceMs) {
        m_sinceRemembered.restart();
        return;
    }
    m_history.push_back({m_scene.scale, verticalScrollBar()->value(), m_laneHeight, m_scene.legendKept});
    if (m_history.size() > kMostHistory)
        m_history.erase(m_history.begin());
    if (coalesce)
        m_sinceRemembered.restart();
}

bool AtlasView::undoView()
{
    if (m_history.empty() || !m_scene.model)
        return false;
    const ViewState state = m_history.back();
    m_history.pop_back();
    m_flight.stop();
    m_laneHeight = state.laneHeight;
    m_scene.legendKept = state.legendKept;
    updateDimming();
    updateLayout();
    verticalScrollBar()->setValue(state.scrollY);
    setScale(state.scale);
    m_sinceRemembered.invalidate();
    return true;
}

void AtlasView::fitAll()
{
    if (!m_scene.model)
        return;
    remember(false);
    m_laneHeight = 0;
    updateLayout();
    flyTo(AtlasScale::fit(m_scene.model->length(), m_scene.layout.plotWidth(), m_scene.bytes()));
}

void AtlasView::fitSelection()
{
    if (m_scene.selected.empty())
        return;
    const AtlasPlace place = m_scene.focus.value_or(m_scene.selected.front());
    const AtlasLane& lane = m_scene.model->lanes()[place.lane];
    remember(false);
    flyTo(AtlasScale::showing(static_cast<double>(lane.starts[place.index]), static_cast<double>(lane.endOf(place.index)), m_scene.layout.plotWidth(), kFitShare));
}

void AtlasView::showPlace(AtlasPlace place, bool fly)
{
    const QRectF row = m_scene.layout.row(place.lane);
    const QRectF area = m_scene.layout.lanes();
    if (row.top() < area.top())
        verticalScrollBar()->setValue(verticalScrollBar()->value() + static_cast<int>(std::floor(row.top() - area.top())));
    else if (row.bottom() > area.bottom())
        verticalScrollBar()->setValue(verticalScrollBar()->value() + static_cast<int>(std::ceil(row.bottom() - area.bottom())));
    const AtlasLane& lane = m_scene.model->lanes()[place.lane];
    const double from = m_scene.scale.toPixel(static_cast<double>(lane.starts[place.index]));
    const double to = m_scene.scale.toPixel(static_cast<double>(lane.endOf(place.index)));
    const double width = m_scene.layout.plotWidth();
    if (from >= 0 && to <= width)
        return;
    remember(true);
    AtlasScale scale = m_scene.scale;
    if (to - from > width)
        scale = AtlasScale::showing(static_cast<double>(lane.starts[place.index]), static_cast<double>(lane.endOf(place.index)), width, 1);
    else
        scale.firstUnit += ((from + to) / 2 - width / 2) * scale.unitsPerPixel;
    if (fly)
        flyTo(scale);
    else
        setScale(scale);
}

AtlasLens AtlasView::lens() const
{
    AtlasLens out = m_lens;
    out.frozen = m_lensFrozen;
    return out;
}

void AtlasView::paintEvent(QPaintEvent*)
{
    QPainter painter(viewport());
    if (!m_scene.model || !m_scene.palette) {
        painter.fillRect(viewport()->rect(), Theme::current().colour(Token::Window));
        return;
    }
    const double ratio = devicePixelRatioF();
    const AtlasPainter atlas(m_scene, ratio);
    if (m_frameDirty || m_frame.size() != viewport()->size() * ratio) {
        m_frame = QImage(viewport()->size() * ratio, QImage::Format_RGB32);
        m_frame.setDevicePixelRatio(ratio);
        QPainter frame(&m_frame);
        atlas.paintFrame(frame);
        m_frameDirty = false;
    }
    painter.drawImage(QPointF(0, 0), m_frame);
    atlas.paintSelection(painter);
    atlas.paintLens(painter, lens());
    atlas.paintHints(painter);
    paintDrag(painter);
    if (hasFocus()) {
        painter.setPen(QPen(Theme::current().colour(Token::Accent), 1));
        painter.drawRect(QRectF(viewport()->rect()).adjusted(0.5, 0.5, -0.5, -0.5));
    }
}

void AtlasView::paintDrag(QPainter& painter) const
{
    if (m_drag != Drag::ZoomBox && m_drag != Drag::Range)
        return;
    QColor fill = Theme::current().colour(Token::Accent);
    painter.setPen(QPen(fill, 1));
    fill.setAlphaF(0.15F);
    painter.setBrush(fill);
    painter.drawRect(QRectF(m_dragFrom, m_dragAt).normalized().intersected(m_scene.layout.lanes()));
}

void AtlasView::resizeEvent(QResizeEvent*)
{
    const bool fits = m_scene.model && m_scene.scale.firstUnit == 0 && !m_frame.isNull() &&
                      std::abs(m_scene.scale.unitsPerPixel * m_scene.layout.plotWidth() / roundedLength(m_scene.model->length(), m_scene.bytes()) - 1) < 1e-6;
    updateLayout();
    if (m_scene.model && (fits || m_frame.isNull())) // what showed everything goes on showing everything
        setScale(AtlasScale::fit(m_scene.model->length(), m_scene.layout.plotWidth(), m_scene.bytes()));
}

void AtlasView::scrollContentsBy(int, int)
{
    updateLayout();
}

void AtlasView::changeEvent(QEvent* event)
{
    QAbstractScrollArea::changeEvent(event);
    if (event->type() == QEvent::FontChange || event->type() == QEvent::LanguageChange)
        updateLayout();
}

QImage AtlasView::exportImage(double factor)
{
    if (!m_scene.model)
        return {};
    const Theme& theme = Theme::current();
    const QSize size = viewport()->size();
    const int footer = theme.px(28);
    QImage image(QSize(static_cast<int>(size.width() * factor), static_cast<int>((size.height() + footer) * factor)), QImage::Format_RGB32);
    image.setDevicePixelRatio(factor);
    QPainter painter(&image);
    painter.fillRect(QRect(QPoint(0, 0), QSize(size.width(), size.height() + footer)), theme.colour(Token::Surface));
    const AtlasPainter atlas(m_scene, factor);
    atlas.paintFrame(painter);
    atlas.paintSelection(painter);
    atlas.paintLens(painter, lens());
    painter.fillRect(QRectF(0, m_scene.layout.hints().top(), size.width(), m_scene.layout.hints().height() + footer), theme.colour(Token::Surface));
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text2));
    painter.drawText(QRect(theme.px(16), size.height(), size.width() - theme.px(32), footer), Qt::AlignVCenter, printableText(m_scene.model->checkpoint().path()));
    return image;
}

} // namespace shardlens::ui
