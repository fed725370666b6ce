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
constexpr double kGridLabels = 64;
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
    m_faults = m_checkpoint ? faultsOf(*m_checkpoint, m_tensor) : TensorFaults{};
    if (m_checkpoint)
        m_request.axes = bestAxesOf(*m_checkpoint, m_tensor);
    m_selected.reset();
    m_fault.reset();
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

void TensorPicture::setAxes(PictureAxes axes)
{
    m_request.axes = axes;
    m_request.tile = 0;
    rebuild();
}

void TensorPicture::setSelectedFault(std::optional<std::size_t> fault)
{
    m_fault = fault && *fault < m_faults.list.size() ? fault : std::nullopt;
    announce();
    update();
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
    m_boxes = m_checkpoint ? pictureBoxesOf(*m_checkpoint, m_tensor, m_faults, m_request) : PictureBoxes{};
    readPieces();
    m_caption = captionText();
    announce();
    updateLayout();
}

void TensorPicture::readPieces()
{
    m_order.clear();
    m_files.clear();
    if (!m_checkpoint)
        return;
    std::vector<bool> seen(m_checkpoint->pieces().countOf(m_tensor));
    const std::size_t first = m_checkpoint->pieces().firstOf(m_tensor);
    for (const PictureBox& box : m_boxes.boxes)
        if (box.piece && !seen[indexOf(*box.piece) - first]) {
            seen[indexOf(*box.piece) - first] = true;
            m_order.push_back(*box.piece);
        }
    for (std::size_t row = first; row < m_checkpoint->pieces().lastOf(m_tensor); ++row)
        m_files.try_emplace(m_checkpoint->stream(m_checkpoint->pieces().at(idAt<PieceId>(row)).source.stream).file);
    std::uint32_t number = 0;
    for (auto& [file, slot] : m_files)
        slot = number++;
}

void TensorPicture::announce()
{
    QString text = m_checkpoint && m_fault      ? faultSentence(*m_checkpoint, m_tensor, m_faults.list[*m_fault])
                   : m_checkpoint && m_selected ? pieceSentence(*m_checkpoint, *m_selected)
                                                : m_caption;
    if (m_checkpoint && !m_fault && !m_selected && !m_faults.list.empty())
        text += tr("; %1: step through them with N", "faults").arg(m_faults.sentence());
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
    const double left = vector ? margin : theme.px(m_boxes.isGrid ? kGridLabels : kSideLabels) + margin;
    const double below = theme.px(kAxis) + (m_bands ? theme.px(4) + legendLines() * theme.px(kLegendLine) : 0);
    return QRectF(rect()).adjusted(left, theme.px(kTitles) + margin, -margin, -below - margin);
}

void TensorPicture::updateLayout()
{
    const auto only = m_boxes.tiles > PictureLayout::kMostTiles ? std::optional(m_request.tile) : std::nullopt;
    for (int round = 0; round < (m_bands ? 2 : 1); ++round) // what the legend says depends on how large the bands are
        m_layout = PictureLayout(m_boxes, pictureRoom(), only, m_compact ? 2 : Theme::current().px(kTileGap));
    m_still = {};
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

QString TensorPicture::captionText() const
{
    if (!m_checkpoint)
        return {};
    std::set<std::uint32_t> ranks;
    for (const PieceId piece : m_order)
        if (const auto rank = m_checkpoint->rankOfPiece(m_checkpoint->pieces().at(piece)))
            ranks.insert(*rank);
    const QString shape = QString::fromStdString(shapeText(m_checkpoint->tensor(m_tensor).shape));
    QString text = m_order.size() <= 1 ? tr("%1, in one piece").arg(shape) : tr("%1, cut into %2 pieces").arg(shape, numberText(m_order.size()));
    if (ranks.size() > 1)
        text += tr(" on %1 ranks").arg(ranks.size());
    else if (m_order.size() > 1 && m_files.size() > 1)
        text += tr(" in %1 files").arg(m_files.size());
    if (m_boxes.copies > 1)
        text += tr(", × %1").arg(m_boxes.copies);
    return text;
}

QString TensorPicture::axesWords() const
{
    if (m_boxes.rank <= 2)
        return {};
    const auto last = [](std::uint64_t extent) { return numberText(extent == 0 ? 0 : extent - 1); };
    QStringList folded;
    for (std::size_t i = 0; i < m_boxes.folded.size(); ++i)
        folded << (m_layout.tiles() > 1 || m_boxes.tiles <= 1 ? QString::number(m_boxes.folded[i])
                                                              : tr("axis %1 at %2").arg(m_boxes.folded[i]).arg(numberText(m_boxes.placeOf(m_layout.firstTile(), 0, 0)[m_boxes.folded[i]])));
    const QString plane = tr("down: axis %1, 0 to %2; across: axis %3, 0 to %4")
                              .arg(QString::number(m_boxes.axes.row), last(m_boxes.rows), QString::number(m_boxes.axes.column), last(m_boxes.columns));
    if (m_boxes.tiles <= 1)
        return plane;
    if (m_layout.tiles() <= 1)
        return tr("%1; shown: %2", "axes, the place on the others").arg(plane, folded.join(QStringLiteral(", ")));
    return m_boxes.folded.size() == 1 ? tr("each tile: one index of axis %1; %2", "axis, the others").arg(folded.front(), plane)
                                      : tr("each tile: one index of axes %1; %2", "axes, the others").arg(folded.join(QStringLiteral(", ")), plane);
}

TensorPicture::BandAxis TensorPicture::bandAxis() const
{
    if (!m_bands || m_bands->bands.empty() || m_compact)
        return BandAxis::None;
    if (m_boxes.rank != m_checkpoint->tensor(m_tensor).shape.size())
        return BandAxis::None; // blocks in one row
    return m_bands->dim == m_boxes.axes.column ? BandAxis::Columns : m_boxes.rank >= 2 && m_bands->dim == m_boxes.axes.row ? BandAxis::Rows : BandAxis::None;
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

// Which of the colours: by rank, and by file where no rank is known.
std::uint32_t TensorPicture::slotOf(PieceId id) const
{
    const Piece piece = m_checkpoint->pieces().at(id);
    const auto rank = m_checkpoint->rankOfPiece(piece);
    return rank ? *rank : m_files.at(m_checkpoint->stream(piece.source.stream).file);
}

QColor TensorPicture::colourOf(PieceId piece) const
{
    const bool isKnown = m_files.size() > 1 || m_checkpoint->rankOfPiece(m_checkpoint->pieces().at(piece));
    return isKnown ? Theme::current().categorical(static_cast<int>(slotOf(piece))) : Theme::current().colour(Token::TierAlt);
}

QString TensorPicture::fileText(PieceId piece) const
{
    const FileId file = m_checkpoint->stream(m_checkpoint->pieces().at(piece).source.stream).file;
    if (file == kNoFile)
        return {};
    const QString name = printableText(m_checkpoint->file(file).name);
    return name.mid(name.lastIndexOf(QLatin1Char('/')) + 1);
}

QString TensorPicture::rankText(PieceId piece) const
{
    if (const auto rank = m_checkpoint->rankOfPiece(m_checkpoint->pieces().at(piece)))
        return tr("rank %1").arg(*rank);
    return m_checkpoint->topology().axes.empty() ? fileText(piece) : tr("any rank");
}

std::optional<PieceId> TensorPicture::pieceAt(QPointF point) const
{
    const auto cell = m_layout.cellAt(point);
    if (!cell)
        return std::nullopt;
    for (const PictureBox& box : m_boxes.boxes)
        if (box.piece && holds(box, *cell))
            return box.piece;
    return std::nullopt;
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
    const auto fault = m_checkpoint ? faultAt(event->position()) : std::nullopt;
    setCursor(piece || fault ? Qt::PointingHandCursor : Qt::ArrowCursor);
    const QString part = piece ? bandText(bandAt(event->position())) : QString();
    const QString sentence = fault ? faultSentence(*m_checkpoint, m_tensor, m_faults.list[*fault]) : piece ? pieceSentence(*m_checkpoint, *piece) : QString();
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
    const auto fault = faultAt(event->position());
    if (const auto piece = pieceAt(event->position()))
        emit pieceClicked(*piece);
    if (fault)
        emit faultClicked(*fault);
}

void TensorPicture::mouseDoubleClickEvent(QMouseEvent* event)
{
    if (const auto piece = m_checkpoint ? pieceAt(event->position()) : std::nullopt)
        emit pieceActivated(*piece);
}

// The next piece in the order of their first boxes.
void TensorPicture::step(int by)
{
    if (m_order.empty())
        return;
    const auto at = m_selected ? std::find(m_order.begin(), m_order.end(), *m_selected) : m_order.end();
    const auto index = at == m_order.end() ? (by > 0 ? 0 : static_cast<std::ptrdiff_t>(m_order.size()) - 1) : at - m_order.begin() + by;
    if (index >= 0 && index < static_cast<std::ptrdiff_t>(m_order.size()))
        emit pieceClicked(m_order[static_cast<std::size_t>(index)]);
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
    case Qt::Key_N: stepFault(event->modifiers() & Qt::ShiftModifier ? -1 : 1); return;
    case Qt::Key_Return:
    case Qt::Key_Enter:
        if (m_selected)
            emit pieceActivated(*m_selected);
        return;
    default: QWidget::keyPressEvent(event);
    }
}

} // namespace shardlens::ui
