#include "ui/widgets/tensor_picture.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"

#include <QAccessible>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>

#include <algorithm>
#include <set>

namespace shardlens::ui {
namespace {

constexpr int kHoverDelayMs = 120;
// Design pixels.
constexpr double kMargin = 16;
constexpr double kSideLabels = 128;
constexpr double kTitles = 48;
constexpr double kAxis = 46; // two lines
constexpr double kLegendLine = 18;
constexpr double kTileGap = 6;

} // namespace

TensorPicture::TensorPicture(QWidget* parent) : QWidget(parent), m_card(new HoverCard(this))
{
    setMouseTracking(true);
    setFocusPolicy(Qt::StrongFocus);
    setAccessibleName(tr("Tensor picture: which rank holds which part"));
    m_hoverTimer.setSingleShot(true);
    m_hoverTimer.setInterval(kHoverDelayMs);
    connect(&m_hoverTimer, &QTimer::timeout, this, &TensorPicture::showCard);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        updateLayout();
    });
}

void TensorPicture::setTensor(CheckpointPtr checkpoint, TensorId tensor)
{
    m_checkpoint = std::move(checkpoint);
    m_tensor = tensor;
    m_request = {};
    m_selected.reset();
    m_bands.reset();
    rebuild();
}

void TensorPicture::setBands(std::optional<TensorBands> bands)
{
    m_bands = std::move(bands);
    m_band.reset();
    announce();
    updateLayout();
}

void TensorPicture::setCompact(bool compact)
{
    m_compact = compact;
    setFocusPolicy(compact ? Qt::NoFocus : Qt::StrongFocus);
    updateGeometry();
    updateLayout();
}

void TensorPicture::setCopy(std::uint32_t copy)
{
    m_request.copy = copy;
    rebuild();
}

void TensorPicture::setTile(std::uint64_t tile)
{
    m_request.tile = tile;
    rebuild();
}

void TensorPicture::setSelectedPiece(std::optional<PieceId> piece)
{
    m_selected = piece;
    announce();
    update();
}

void TensorPicture::rebuild()
{
    m_card->hide();
    m_boxes = m_checkpoint ? pictureBoxesOf(*m_checkpoint, m_tensor, m_request) : PictureBoxes{};
    announce();
    updateLayout();
}

void TensorPicture::announce()
{
    const QString text = m_checkpoint && m_selected ? pieceSentence(*m_checkpoint, *m_selected) : caption();
    setAccessibleDescription(text);
    QAccessibleEvent event(this, QAccessible::DescriptionChanged);
    QAccessible::updateAccessibility(&event);
}

QRectF TensorPicture::pictureRoom() const
{
    const Theme& theme = Theme::current();
    if (m_compact)
        return QRectF(rect()).adjusted(1, 1, -1, -1);
    const double margin = theme.px(kMargin);
    const bool vector = m_boxes.rows == 1 && m_boxes.tiles <= 1;
    const double left = vector ? margin : theme.px(kSideLabels) + margin;
    const double below = theme.px(kAxis) + (m_bands ? theme.px(4) + legendLines() * theme.px(kLegendLine) : 0);
    return QRectF(rect()).adjusted(left, theme.px(kTitles) + margin, -margin, -below - margin);
}

void TensorPicture::updateLayout()
{
    const auto only = m_boxes.tiles > PictureLayout::kMostTiles ? std::optional(m_request.tile) : std::nullopt;
    for (int round = 0; round < (m_bands ? 2 : 1); ++round) // what the legend says depends on how large the bands are
        m_layout = PictureLayout(m_boxes, pictureRoom(), only, m_compact ? 2 : Theme::current().px(kTileGap));
    update();
}

QSize TensorPicture::sizeHint() const
{
    const Theme& theme = Theme::current();
    return m_compact ? QSize(theme.px(84), theme.px(172)) : QSize(theme.px(520), theme.px(560));
}

QSize TensorPicture::minimumSizeHint() const
{
    const Theme& theme = Theme::current();
    return m_compact ? QSize(theme.px(48), theme.px(48)) : QSize(theme.px(280), theme.px(200));
}

QString TensorPicture::caption() const
{
    if (!m_checkpoint)
        return {};
    std::set<PieceId> pieces;
    std::set<std::uint32_t> ranks;
    for (const PictureBox& box : m_boxes.boxes)
        if (box.piece) {
            pieces.insert(*box.piece);
            if (const auto rank = m_checkpoint->rankOfPiece(m_checkpoint->pieces().at(*box.piece)))
                ranks.insert(*rank);
        }
    const QString shape = QString::fromStdString(shapeText(m_checkpoint->tensor(m_tensor).shape));
    QString text = pieces.size() <= 1 ? tr("%1, in one piece").arg(shape)
                                      : tr("%1, cut into %2 pieces").arg(shape, numberText(pieces.size()));
    if (ranks.size() > 1)
        text += tr(" on %1 ranks").arg(ranks.size());
    if (m_boxes.copies > 1)
        text += tr(", × %1").arg(m_boxes.copies);
    return text;
}

TensorPicture::BandAxis TensorPicture::bandAxis() const
{
    if (!m_bands || m_bands->bands.empty() || m_compact)
        return BandAxis::None;
    const std::size_t axes = m_checkpoint->tensor(m_tensor).shape.size();
    return m_bands->dim + 1 == axes ? BandAxis::Columns : m_bands->dim + 2 == axes ? BandAxis::Rows : BandAxis::None;
}

double TensorPicture::leastBand() const
{
    const QRectF tile = m_layout.tileRect(m_layout.firstTile());
    const double perCell = bandAxis() == BandAxis::Rows ? tile.height() / static_cast<double>(m_boxes.rows)
                                                        : tile.width() / static_cast<double>(m_boxes.columns);
    std::uint64_t least = m_bands->bands.front().end - m_bands->bands.front().begin;
    for (const TensorBand& band : m_bands->bands)
        least = std::min(least, band.end - band.begin);
    return perCell * static_cast<double>(least);
}

const TensorBand* TensorPicture::bandAt(QPointF point) const
{
    const BandAxis axis = bandAxis();
    const auto cell = m_layout.cellAt(point);
    return axis == BandAxis::None || !cell ? nullptr : m_bands->at(axis == BandAxis::Rows ? cell->row : cell->column);
}

// "query, head 3 of 8, rows 96 to 127"
QString TensorPicture::bandText(const TensorBand* band) const
{
    if (band == nullptr)
        return {};
    const QString cells = m_boxes.rows > 1 && bandAxis() == BandAxis::Rows ? tr("rows %1 to %2")
                          : m_boxes.rows > 1                               ? tr("columns %1 to %2")
                                                                           : tr("elements %1 to %2");
    return tr("%1, %2", "part, its cells").arg(m_bands->textOf(*band), cells.arg(numberText(band->begin), numberText(band->end - 1)));
}

QColor TensorPicture::colourOf(PieceId piece) const
{
    const auto rank = m_checkpoint->rankOfPiece(m_checkpoint->pieces().at(piece));
    return rank ? Theme::current().categorical(static_cast<int>(*rank)) : Theme::current().colour(Token::TierAlt);
}

QString TensorPicture::rankText(PieceId piece) const
{
    const auto rank = m_checkpoint->rankOfPiece(m_checkpoint->pieces().at(piece));
    if (rank)
        return tr("rank %1").arg(*rank);
    const QString file = factsOf(*m_checkpoint, piece).file;
    return m_checkpoint->topology().axes.empty() ? file.mid(file.lastIndexOf(QLatin1Char('/')) + 1) : tr("any rank");
}

std::optional<PieceId> TensorPicture::pieceAt(QPointF point) const
{
    const auto cell = m_layout.cellAt(point);
    if (!cell)
        return std::nullopt;
    for (const PictureBox& box : m_boxes.boxes)
        if (box.tile == cell->tile && cell->row >= box.row && cell->row - box.row < box.rows && cell->column >= box.column && cell->column - box.column < box.columns)
            return box.piece;
    return std::nullopt;
}

HoverCardContent TensorPicture::cardAt(QPointF point) const
{
    const auto cell = m_layout.cellAt(point);
    if (!m_checkpoint || !cell)
        return {};
    const QString place = m_boxes.rows > 1 ? tr("row %1, column %2").arg(numberText(cell->row), numberText(cell->column)) : tr("element %1").arg(numberText(cell->column));
    const auto piece = pieceAt(point);
    if (!piece)
        return {Theme::current().colour(Token::Hole), tr("Nobody holds this part"), place, {}};
    const PieceFacts facts = factsOf(*m_checkpoint, *piece);
    HoverCardContent card{colourOf(*piece), rankText(*piece), place, {{tr("Box"), facts.box}, {tr("File"), facts.file}, {tr("Bytes"), facts.bytes}}};
    if (const QString part = bandText(bandAt(point)); !part.isEmpty())
        card.rows.insert(card.rows.begin(), {tr("Part"), part});
    if (m_boxes.copies > 1)
        card.rows.emplace_back(tr("Copies"), tr("the same part lies on %1 ranks").arg(m_boxes.copies));
    return card;
}

void TensorPicture::showCard()
{
    const HoverCardContent content = cardAt(m_cursor);
    if (content.title.isEmpty() || m_compact)
        return m_card->hide();
    m_card->showAt(content, m_cursor, rect().adjusted(4, 4, -4, -4));
}

void TensorPicture::resizeEvent(QResizeEvent*)
{
    updateLayout();
}

void TensorPicture::mouseMoveEvent(QMouseEvent* event)
{
    m_cursor = event->position().toPoint();
    const auto piece = m_checkpoint ? pieceAt(event->position()) : std::nullopt;
    setCursor(piece ? Qt::PointingHandCursor : Qt::ArrowCursor);
    const QString part = piece ? bandText(bandAt(event->position())) : QString();
    const QString sentence = piece ? pieceSentence(*m_checkpoint, *piece) : QString();
    emit hoverTextChanged(part.isEmpty() ? sentence : tr("%1 · %2", "part, piece").arg(part, sentence));
    if (m_card->isVisible())
        showCard();
    else
        m_hoverTimer.start();
}

void TensorPicture::leaveEvent(QEvent*)
{
    m_hoverTimer.stop();
    m_card->hide();
    emit hoverTextChanged({});
}

void TensorPicture::mousePressEvent(QMouseEvent* event)
{
    if (event->button() != Qt::LeftButton || !m_checkpoint)
        return QWidget::mousePressEvent(event);
    if (const auto piece = pieceAt(event->position()))
        emit pieceClicked(*piece);
}

void TensorPicture::mouseDoubleClickEvent(QMouseEvent* event)
{
    if (const auto piece = m_checkpoint ? pieceAt(event->position()) : std::nullopt)
        emit pieceActivated(*piece);
}

// The next piece in the order of their first boxes.
void TensorPicture::step(int by)
{
    std::vector<PieceId> order;
    for (const PictureBox& box : m_boxes.boxes)
        if (box.piece && (order.empty() || std::find(order.begin(), order.end(), *box.piece) == order.end()))
            order.push_back(*box.piece);
    if (order.empty())
        return;
    const auto at = m_selected ? std::find(order.begin(), order.end(), *m_selected) : order.end();
    const auto index = at == order.end() ? (by > 0 ? 0 : static_cast<std::ptrdiff_t>(order.size()) - 1) : at - order.begin() + by;
    if (index >= 0 && index < static_cast<std::ptrdiff_t>(order.size()))
        emit pieceClicked(order[static_cast<std::size_t>(index)]);
}

// Through the parts, in the order of the rows: what the pointer says, for the keyboard.
void TensorPicture::stepBand(int by)
{
    if (bandAxis() == BandAxis::None)
        return;
    const auto last = static_cast<std::ptrdiff_t>(m_bands->bands.size()) - 1;
    const std::ptrdiff_t next = m_band ? static_cast<std::ptrdiff_t>(*m_band) + by : by > 0 ? 0 : last;
    m_band = static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(next, 0, last));
    const QString text = bandText(&m_bands->bands[*m_band]);
    setAccessibleDescription(text);
    QAccessibleEvent event(this, QAccessible::DescriptionChanged);
    QAccessible::updateAccessibility(&event);
    emit hoverTextChanged(text);
    updateLayout(); // the legend says it, and may need another line
}

void TensorPicture::keyPressEvent(QKeyEvent* event)
{
    switch (event->key()) {
    case Qt::Key_Down:
    case Qt::Key_Right: step(1); return;
    case Qt::Key_Up:
    case Qt::Key_Left: step(-1); return;
    case Qt::Key_BracketRight: stepBand(1); return;
    case Qt::Key_BracketLeft: stepBand(-1); return;
    case Qt::Key_Return:
    case Qt::Key_Enter:
        if (m_selected)
            emit pieceActivated(*m_selected);
        return;
    default: QWidget::keyPressEvent(event);
    }
}

} // namespace shardlens::ui
