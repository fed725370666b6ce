#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/device_matrix_view.h"
#include "ui/widgets/tensor_picture.h"

#include <QPainter>
#include <QPainterPath>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

namespace shardlens::ui {
namespace {

constexpr double kOverhang = 4;         // pixels that a cut goes beyond the picture
constexpr double kGapFrom = 4;          // pixels of the least chunk: from here on neighbours are parted by a hairline
constexpr double kStrongFrom = 12;      // and from here on by a line
// Design pixels of the legend.
constexpr int kSwatch = 11;
constexpr int kSwatchGap = 16;
constexpr int kLegendRow = 18;
constexpr int kLegendLeft = 16;

constexpr double kLinesFrom = 6;        // pixels of a band
constexpr std::size_t kMostCuts = 4096; // beyond that the colours alone show the cuts

// The largest box of every piece in a tile: where its label goes.
std::map<PieceId, const PictureBox*> largestBoxes(const PictureBoxes& boxes, const PictureLayout& layout)
{
    std::map<PieceId, const PictureBox*> out;
    for (const PictureBox& box : boxes.boxes) {
        if (!box.piece || !layout.shows(box.tile))
            continue;
        const PictureBox*& best = out[*box.piece];
        if (best == nullptr || box.rows * box.columns > best->rows * best->columns)
            best = &box;
    }
    return out;
}

QColor blended(const QColor& ink, const QColor& ground, double share)
{
    const auto mix = [share](int a, int b) { return static_cast<int>(std::lround(a * share + b * (1 - share))); };
    return QColor(mix(ink.red(), ground.red()), mix(ink.green(), ground.green()), mix(ink.blue(), ground.blue()));
}

// Of a part's tint, the first strongest: 100, 62, 34 % for three. What is no part of its own has the middle one.
double shareOf(std::optional<std::uint32_t> part, qsizetype parts)
{
    constexpr std::array kOfThree{1.0, 0.62, 0.34};
    if (!part)
        return kOfThree[1];
    if (parts <= static_cast<qsizetype>(kOfThree.size()))
        return kOfThree[*part];
    return 1.0 - 0.74 * static_cast<double>(*part) / static_cast<double>(parts - 1);
}

// Broken behind the comma nearest to the middle where one line is too short, so that no line is a lone number.
QString inTwoLines(const QString& text, const QFontMetrics& metrics, double width)
{
    if (metrics.horizontalAdvance(text) <= width)
        return text;
    const qsizetype middle = text.size() / 2;
    const qsizetype before = text.lastIndexOf(QStringLiteral(", "), middle);
    const qsizetype after = text.indexOf(QStringLiteral(", "), middle);
    const qsizetype at = before < 0 || (after >= 0 && after - middle < middle - before) ? after : before;
    return at < 0 ? text : text.left(at + 1) + QLatin1Char('\n') + text.mid(at + 2);
}

} // namespace

void TensorPicture::paintEvent(QPaintEvent*)
{
    const double ratio = devicePixelRatioF();
    if (m_still.isNull() || m_still.devicePixelRatio() != ratio || m_still.deviceIndependentSize().toSize() != size()) {
        m_still = QPixmap(size() * ratio);
        m_still.setDevicePixelRatio(ratio);
        m_still.fill(m_compact ? QColor(Qt::transparent) : Theme::current().colour(Token::Surface));
        QPainter still(&m_still);
        still.setFont(font());
        if (m_checkpoint)
            paintStill(still);
    }
    QPainter painter(this);
    painter.drawPixmap(0, 0, m_still);
    if (m_checkpoint)
        paintSelection(painter);
    if (hasFocus()) {
        painter.setPen(Theme::current().colour(Token::Accent));
        painter.setBrush(Qt::NoBrush);
        painter.drawRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5));
    }
}

void TensorPicture::paintStill(QPainter& painter) const
{
    paintBoxes(painter);
    if (showsBands())
        paintBands(painter);
    paintCuts(painter);
    paintBoxLabels(painter);
    paintHoles(painter);
    paintOverlaps(painter);
    if (m_compact)
        return;
    paintFaultLabels(painter);
    paintTileNumbers(painter);
    if (m_boxes.isGrid)
        paintGridLabels(painter);
    else
        paintSideLabels(painter);
    paintAxes(painter);
    paintLegend(painter);
}

void TensorPicture::paintBoxes(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    for (std::uint64_t tile = m_layout.firstTile(); tile < m_layout.firstTile() + m_layout.tiles(); ++tile)
        painter.fillRect(m_layout.tileRect(tile), theme.colour(Token::Track));
    std::map<PieceId, QColor> colours; // of a few ranks or files, asked for once a piece
    for (const PictureBox& box : m_boxes.boxes) {
        if (!box.piece || box.missing || !m_layout.shows(box.tile))
            continue;
        const QRectF rect = m_layout.rectOf(box);
        const auto [at, isNew] = colours.try_emplace(*box.piece);
        if (isNew)
            at->second = colourOf(*box.piece);
        painter.fillRect(rect, at->second);
        if (!m_compact)
            paintSliceMark(painter, rect, slotOf(*box.piece), Theme::inkOn(at->second));
    }
}

// The part of a box that a band covers is tinted in the colour of the box's rank (design.md §5); a thin line parts the bands, their labels are in them.
void TensorPicture::paintBands(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    const bool isRows = bandAxis() == BandAxis::Rows;
    const QColor surface = theme.colour(Token::Surface);
    const bool hasLines = leastBand() >= kLinesFrom;
    painter.setFont(theme.font(TextStyle::Tiny));
    const auto metrics = painter.fontMetrics();
    for (const PictureBox& box : m_boxes.boxes) {
        if (!box.piece || box.missing || !m_layout.shows(box.tile))
            continue;
        const std::uint64_t first = isRows ? box.row : box.column;
        const std::uint64_t last = first + (isRows ? box.rows : box.columns);
        for (const TensorBand* band = m_bands->at(first); band != nullptr && band->begin < last; band = m_bands->at(band->end)) {
            PictureBox part = box;
            const std::uint64_t from = std::max(first, band->begin);
            const std::uint64_t count = std::min(last, band->end) - from;
            (isRows ? part.row : part.column) = from;
            (isRows ? part.rows : part.columns) = count;
            const QRectF rect = m_layout.rectOf(part);
            const QColor ink = blended(colourOf(*box.piece), surface, shareOf(band->part, m_bands->parts.size()));
            painter.fillRect(rect, ink);
            if (hasLines && from == band->begin && from > 0)
                painter.fillRect(
                    isRows ? QRectF(rect.left(), rect.top(), rect.width(), 1) : QRectF(rect.left(), rect.top(), 1, rect.height()), surface);
            const QRectF words =
                isRows ? rect.adjusted(6, 0, -4, 0) : QRectF(rect.left() + 3, rect.top() + 1, rect.width() - 4, metrics.height());
            const QString label = m_bands->labelOf(*band);
            if (words.height() < metrics.height() - 2 || words.width() < metrics.horizontalAdvance(label))
                continue;
            painter.setPen(Theme::inkOn(ink));
            painter.drawText(words, Qt::AlignVCenter | Qt::AlignLeft | Qt::TextSingleLine, label);
        }
    }
}

double TensorPicture::swatchesWidth() const
{
    const Theme& theme = Theme::current();
    const QFontMetricsF metrics(theme.font(TextStyle::Caption));
    double width = 0;
    for (const QString& part : m_bands->parts)
        width += theme.px(kSwatch + 5) + metrics.horizontalAdvance(part) + theme.px(kSwatchGap);
    return width;
}

int TensorPicture::legendLines() const
{
    const Theme& theme = Theme::current();
    const double needed = swatchesWidth() + QFontMetricsF(theme.font(TextStyle::Caption)).horizontalAdvance(legendNote());
    return needed <= width() - theme.px(kLegendLeft) - theme.px(8) ? 1 : 2;
}

// What the tints mean, and where the number of heads comes from.
void TensorPicture::paintLegend(QPainter& painter) const
{
    if (!m_bands)
        return;
    const Theme& theme = Theme::current();
    const bool isBar = m_boxes.rows == 1 && m_boxes.tiles <= 1;
    const int lines = legendLines();
    const double height = theme.px(kLegendRow);
    double top = isBar ? m_layout.tileRect(m_layout.firstTile()).bottom() + theme.px(44) : this->height() - lines * height - theme.px(12);
    const double right = width() - theme.px(8);
    double x = theme.px(kLegendLeft);
    painter.setFont(theme.font(TextStyle::Caption));
    const auto metrics = painter.fontMetrics();
    for (qsizetype i = 0; showsBands() && i < m_bands->parts.size(); ++i) {
        const QString& part = m_bands->parts[i];
        const double side = theme.px(kSwatch);
        painter.fillRect(QRectF(x, top + (height - side) / 2, side, side),
                         blended(theme.colour(Token::Text), theme.colour(Token::Surface),
                                 shareOf(static_cast<std::uint32_t>(i), m_bands->parts.size())));
        x += theme.px(kSwatch + 5);
        painter.setPen(theme.colour(Token::Text2));
        painter.drawText(QRectF(x, top, right - x, height), Qt::AlignVCenter | Qt::TextSingleLine, part);
        x += metrics.horizontalAdvance(part) + theme.px(kSwatchGap);
    }
    if (lines > 1 && x > theme.px(kLegendLeft)) {
        x = theme.px(kLegendLeft);
        top += height;
    }
    painter.setPen(theme.colour(m_bands->problem.isEmpty() ? Token::Text2 : Token::Warn));
    painter.drawText(QRectF(x, top, right - x, height), Qt::AlignVCenter | Qt::TextSingleLine,
                     metrics.elidedText(legendNote(), Qt::ElideRight, static_cast<int>(right - x)));
}

QString TensorPicture::legendNote() const
{
    if (m_band && bandAxis() != BandAxis::None)
        return bandText(&m_bands->bands[*m_band]);
    if (!m_bands->problem.isEmpty())
        return m_bands->problem;
    if (bandAxis() == BandAxis::None)
        return tr("its parts follow each other along dimension %1, which this picture does not show").arg(m_bands->dim);
    if (!showsBands())
        return tr("%1 parts are finer than a pixel here: point at one, or step through them with [ and ]")
            .arg(numberText(m_bands->bands.size()));
    return m_bands->headsText();
}

// Borders between pieces that are not borders of the tensor: lines, or where chunks are small a gap, so that colours stay what one sees.
void TensorPicture::paintCuts(QPainter& painter) const
{
    double least = kStrongFrom;
    for (const PictureBox& box : m_boxes.boxes)
        if (m_boxes.isGrid && m_layout.shows(box.tile))
            least = std::min({least, m_layout.rectOf(box).width(), m_layout.rectOf(box).height()});
    if (least < kGapFrom || (!m_boxes.isGrid && m_boxes.boxes.size() > kMostCuts))
        return;
    painter.setPen(QPen(Theme::current().colour(least < kStrongFrom ? Token::Surface : Token::Selection), 1));
    std::map<PieceId, std::vector<const PictureBox*>> byPiece; // a flat piece has few boxes in a tile
    const auto sameAbove = [&](const PictureBox& box) { // the part of its upper edge that another box of the same piece covers
        std::pair<std::uint64_t, std::uint64_t> covered{0, 0};
        for (const PictureBox* other : byPiece[*box.piece])
            if (other->tile == box.tile && other->row + other->rows == box.row)
                covered = {other->column, other->column + other->columns};
        return covered;
    };
    for (const PictureBox& box : m_boxes.boxes) {
        if (!box.piece || !m_layout.shows(box.tile))
            continue;
        const QRectF tile = m_layout.tileRect(box.tile);
        const QRectF rect = m_layout.rectOf(box);
        const auto covered = sameAbove(box);
        const double perColumn = tile.width() / static_cast<double>(std::max<std::uint64_t>(m_boxes.columns, 1));
        const double y = std::round(rect.top()) + 0.5;
        if (box.row > 0 && (covered.first > box.column || covered.second < box.column + box.columns)) {
            const double overhang = m_boxes.isGrid || m_layout.tiles() > 1 ? 0 : kOverhang; // a grid has marks of its own
            double left = box.column == 0 ? rect.left() - overhang : rect.left();
            double right = box.column + box.columns == m_boxes.columns ? rect.right() + overhang : rect.right();
            if (covered.second > covered.first && covered.first <= box.column)
                left = tile.left() + perColumn * static_cast<double>(covered.second);
            else if (covered.second > covered.first)
                right = tile.left() + perColumn * static_cast<double>(covered.first);
            painter.drawLine(QPointF(left, y), QPointF(right, y));
        }
        if (box.column > 0) {
            const double x = std::round(rect.left()) + 0.5;
            painter.drawLine(QPointF(x, rect.top()), QPointF(x, rect.bottom()));
        }
        byPiece[*box.piece].push_back(&box);
    }
}

void TensorPicture::paintBoxLabels(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    painter.setFont(theme.font(TextStyle::Caption));
    const QFontMetrics metrics = painter.fontMetrics();
    const bool hasBands = showsBands(); // with labels of their own: those of the ranks are beside the picture
    if (hasBands && bandAxis() == BandAxis::Rows)
        return;
    const double least = metrics.horizontalAdvance(QStringLiteral("0"));
    const QFontMetricsF tiny(theme.font(TextStyle::Tiny));
    const bool areMany = m_boxes.isGrid || m_boxes.rows == 1; // a number alone says enough where all have one
    for (const auto& [piece, box] : largestBoxes(m_boxes, m_layout)) {
        QRectF rect = m_layout.rectOf(*box).adjusted(3, 0, -3, 0);
        if (const QRectF chip = tileChip(box->tile, tiny); chip.intersects(rect))
            rect.setLeft(chip.right() + 3);
        if (box->missing || rect.height() < metrics.height() || rect.width() < least)
            continue; // most, where there are thousands
        const auto fits = [&](const QString& text) { return metrics.horizontalAdvance(text) <= rect.width(); };
        const auto rank = m_checkpoint->rankOfPiece(m_checkpoint->pieces().at(piece));
        QString text = rankText(piece);
        if (!fits(text) && rank && areMany)
            text = QString::number(*rank);
        if (!fits(text))
            continue;
        painter.setPen(Theme::inkOn(colourOf(piece)));
        if (const QString badge = tr("%1, × %2").arg(text).arg(box->copies); box->copies > 1 && fits(badge))
            text = badge;
        QStringList lines{text};
        const auto add = [&](const QString& line) {
            if (!line.isEmpty() && fits(line) && metrics.height() * static_cast<int>(lines.size() + 1) <= rect.height())
                lines << line;
        };
        if (m_boxes.isGrid && !m_compact) {
            add(rank ? fileText(piece) : QString());
            add(factsOf(*m_checkpoint, piece).box);
        }
        if (hasBands) // below the labels of the bands, where most of the word lies on the first of them
            painter.drawText(rect.adjusted(0, 0, 0, -3), Qt::AlignLeft | Qt::AlignBottom | Qt::TextSingleLine, text);
        else
            painter.drawText(labelRoom(rect, lines, metrics), Qt::AlignCenter, lines.join(QLatin1Char('\n')));
    }
}

// In the middle, or where a part that is held twice covers that, the top; one line where no more is free.
QRectF TensorPicture::labelRoom(const QRectF& rect, QStringList& lines, const QFontMetrics& metrics) const
{
    const QSizeF size(rect.width(), metrics.height() * static_cast<double>(lines.size()));
    const QRectF middle(QPointF(rect.left(), rect.center().y() - size.height() / 2), size);
    double free = rect.height();
    for (const PictureBox& box : m_boxes.overlaps)
        if (const QRectF hatched = m_layout.rectOf(box); m_layout.shows(box.tile) && hatched.intersects(middle))
            free = std::min(free, std::max(0.0, hatched.top() - rect.top()));
    if (free >= rect.height())
        return middle;
    while (!lines.isEmpty() && metrics.height() * static_cast<double>(lines.size()) > free)
        lines.removeLast();
    return {rect.left(), rect.top(), rect.width(), metrics.height() * static_cast<double>(lines.size())};
}

// The index of a tile along the folded axes, in its corner; empty where none is written.
QRectF TensorPicture::tileChip(std::uint64_t tile, const QFontMetricsF& metrics) const
{
    const QRectF all = m_layout.tileRect(tile);
    if (m_layout.tiles() <= 1 || m_compact || all.height() < Theme::current().px(28))
        return {};
    const QRectF chip(all.topLeft(), QSizeF(metrics.horizontalAdvance(tileText(tile)) + 6, metrics.height()));
    return chip.width() > all.width() ? QRectF() : chip;
}

QString TensorPicture::tileText(std::uint64_t tile) const
{
    const Shape place = m_boxes.placeOf(tile, 0, 0);
    QStringList at;
    for (const std::size_t axis : m_boxes.folded)
        at << QString::number(place[axis]);
    return at.join(QLatin1Char(','));
}

void TensorPicture::paintTileNumbers(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    painter.setFont(theme.font(TextStyle::Tiny));
    const QFontMetricsF metrics(painter.font());
    for (std::uint64_t tile = m_layout.firstTile(); tile < m_layout.firstTile() + m_layout.tiles(); ++tile) {
        const QRectF chip = tileChip(tile, metrics);
        if (chip.isEmpty())
            continue;
        painter.fillRect(chip, theme.colour(Token::Surface));
        painter.setPen(theme.colour(Token::Text2));
        painter.drawText(chip, Qt::AlignCenter, tileText(tile));
    }
}

// Where the rows of chunks begin, left of the picture; where its columns begin is said below it.
void TensorPicture::paintGridLabels(QPainter& painter) const
{
    if (m_layout.tiles() != 1)
        return;
    const Theme& theme = Theme::current();
    const QRectF tile = m_layout.tileRect(m_layout.firstTile());
    std::set<std::uint64_t> rows;
    for (const PictureBox& box : m_boxes.boxes)
        if (m_layout.shows(box.tile))
            rows.insert(box.row);
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text3));
    const double line = painter.fontMetrics().height();
    double free = tile.top() - line;
    for (const std::uint64_t row : rows) {
        const double y = tile.top() + tile.height() * static_cast<double>(row) / static_cast<double>(m_boxes.rows);
        if (y < free || y + line > tile.bottom() + line / 2)
            continue;
        painter.drawText(QRectF(4, y - 1, tile.left() - theme.px(8) - 4, line), Qt::AlignRight | Qt::AlignTop | Qt::TextSingleLine,
                         m_boxes.rank > 2 ? numberText(row) : tr("row %1").arg(numberText(row)));
        painter.drawLine(QPointF(tile.left() - theme.px(5), y + 0.5), QPointF(tile.left() - 1, y + 0.5));
        free = y + line + theme.px(2);
    }
}

// The columns where chunks begin, from the left as many as have room before `last`.
void TensorPicture::paintGridColumns(QPainter& painter, const QRectF& below, double last) const
{
    const QRectF tile = m_layout.tileRect(m_layout.firstTile());
    std::set<std::uint64_t> columns;
    for (const PictureBox& box : m_boxes.boxes)
        if (m_layout.shows(box.tile))
            columns.insert(box.column);
    double free = below.left();
    for (const std::uint64_t column : columns) {
        const double x = tile.left() + tile.width() * static_cast<double>(column) / static_cast<double>(m_boxes.columns);
        const QString text = numberText(column);
        const double wide = painter.fontMetrics().horizontalAdvance(text);
        if (x < free || x + wide > last)
            continue;
        painter.drawText(QRectF(x, below.top(), wide + 2, below.height()), Qt::AlignVCenter | Qt::TextSingleLine, text);
        painter.drawLine(QPointF(x + 0.5, tile.bottom() + 1), QPointF(x + 0.5, below.top()));
        free = x + wide + Theme::current().px(10);
    }
}

// Left of the picture: who holds which rows, where the pieces follow each other downwards.
void TensorPicture::paintSideLabels(QPainter& painter) const
{
    if (m_layout.tiles() != 1 || m_boxes.rows <= 1)
        return;
    const Theme& theme = Theme::current();
    const QRectF tile = m_layout.tileRect(m_layout.firstTile());
    struct Span {
        double top;
        double bottom;
    };
    std::map<PieceId, Span> spans;
    std::vector<PieceId> order;
    for (const PictureBox& box : m_boxes.boxes) {
        if (!box.piece || !m_layout.shows(box.tile))
            continue;
        const QRectF rect = m_layout.rectOf(box);
        const auto [at, isNew] = spans.try_emplace(*box.piece, Span{rect.top(), rect.bottom()});
        at->second = {std::min(at->second.top, rect.top()), std::max(at->second.bottom, rect.bottom())};
        if (isNew)
            order.push_back(*box.piece);
    }
    std::stable_sort(order.begin(), order.end(),
                     [&spans](PieceId a, PieceId b) { return spans[a].top < spans[b].top; }); // segments of the ranks alternate
    const double right = tile.left() - theme.px(10);
    double free = tile.top(); // below what is written
    for (const PieceId piece : order) {
        const Span span = spans[piece];
        const double top = std::max(span.top, free);
        if (span.bottom - top < (span.bottom - span.top) / 2) // side by side: the labels inside must do
            continue;
        painter.fillRect(QRectF(right, top, theme.px(4), std::max(2.0, span.bottom - top - 1)), colourOf(piece));
        const PieceFacts facts = factsOf(*m_checkpoint, piece);
        double y = top;
        const auto line = [&](TextStyle style, Token token, const QString& text) {
            if (y + theme.px(15) > span.bottom + theme.px(2))
                return;
            const double room = right - theme.px(8) - 4;
            painter.setFont(theme.font(style));
            painter.setPen(theme.colour(token));
            painter.drawText(QRectF(4, y, room, theme.px(17)), Qt::AlignRight | Qt::AlignVCenter | Qt::TextSingleLine,
                             painter.fontMetrics().elidedText(text, Qt::ElideRight, static_cast<int>(room)));
            y += theme.px(17);
        };
        line(TextStyle::Strong, Token::Text, rankText(piece));
        line(TextStyle::Caption, Token::Text3, facts.size);
        painter.setFont(theme.font(TextStyle::Caption));
        const QRectF rest(4, y, right - theme.px(8) - 4, span.bottom - y);
        const QString where = inTwoLines(facts.box, painter.fontMetrics(), rest.width());
        const QRectF needed = painter.boundingRect(rest, Qt::AlignRight | Qt::TextWordWrap, where);
        if (needed.height() <= rest.height() + 1)
            painter.drawText(rest, Qt::AlignRight | Qt::TextWordWrap, where);
        free = span.bottom;
    }
}

void TensorPicture::paintAxes(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    const QRectF first = m_layout.tileRect(m_layout.firstTile());
    QRectF all = first;
    for (std::uint64_t tile = m_layout.firstTile(); tile < m_layout.firstTile() + m_layout.tiles(); ++tile)
        all |= m_layout.tileRect(tile);
    painter.setFont(theme.font(TextStyle::Strong));
    painter.setPen(theme.colour(Token::Text));
    const double right = width() - theme.px(8);
    painter.drawText(QRectF(all.left(), all.top() - theme.px(44), right - all.left(), theme.px(20)), Qt::AlignVCenter, tr("As stored"));
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text3));
    painter.drawText(QRectF(all.left(), all.top() - theme.px(24), right - all.left(), theme.px(18)), Qt::AlignVCenter, caption());
    const QString last = m_boxes.rows > 1 ? tr("column %1").arg(numberText(m_boxes.columns - 1)) : tr("element %1").arg(numberText(m_boxes.columns - 1));
    const double needed = painter.fontMetrics().horizontalAdvance(last);
    QRectF below(all.left(), all.bottom() + theme.px(6), right - all.left(), theme.px(18));
    if (m_layout.tiles() == 1 && first.width() >= needed + theme.px(20)) {
        if (m_boxes.isGrid)
            paintGridColumns(painter, below, all.right() - needed - theme.px(10));
        else
            painter.drawText(below, Qt::AlignVCenter, QStringLiteral("0"));
        painter.drawText(QRectF(all.left(), below.top(), all.width(), below.height()), Qt::AlignVCenter | Qt::AlignRight, last);
    } else if (m_layout.tiles() == 1) {
        painter.drawText(below, Qt::AlignVCenter, last);
    } else {
        below.setLeft(theme.px(8));
        painter.drawText(below, Qt::AlignVCenter, painter.fontMetrics().elidedText(axesWords(), Qt::ElideRight, static_cast<int>(below.width())));
        below.setLeft(all.left());
    }
    // A line of its own, which starts left of the picture where it is long.
    const QString note = m_boxes.rank > 2 && m_layout.tiles() == 1 ? tr("%1; %2", "axes, scale").arg(axesWords(), m_layout.note()) : m_layout.note();
    const double wide = painter.fontMetrics().horizontalAdvance(note) + 1;
    below.translate(0, theme.px(18));
    below.setLeft(std::max<double>(theme.px(8), std::min(all.left(), right - wide)));
    painter.drawText(below, Qt::AlignVCenter, painter.fontMetrics().elidedText(note, Qt::ElideRight, static_cast<int>(std::ceil(below.width()))));
}

void TensorPicture::paintSelection(QPainter& painter) const
{
    if (m_band && bandAxis() != BandAxis::None) {
        const TensorBand& band = m_bands->bands[*m_band];
        const bool isRows = bandAxis() == BandAxis::Rows;
        PictureBox all{m_layout.firstTile(), 0, 0, m_boxes.rows, m_boxes.columns, {}, false, 1, {}};
        (isRows ? all.row : all.column) = band.begin;
        (isRows ? all.rows : all.columns) = band.end - band.begin;
        painter.setBrush(Qt::NoBrush);
        painter.setPen(QPen(Theme::current().colour(Token::Selection), 2));
        painter.drawRect(m_layout.rectOf(all));
    }
    if (!m_selected && !m_fault)
        return;
    const Theme& theme = Theme::current();
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setBrush(Qt::NoBrush);
    QPainterPath path;
    const auto add = [&](const PictureBox& box) {
        QPainterPath one;
        one.addRect(m_layout.rectOf(box).adjusted(-1, -1, 1, 1));
        path = path.united(one);
    };
    for (const auto* boxes : {&m_boxes.boxes, &m_boxes.overlaps})
        for (const PictureBox& box : *boxes)
            if (m_layout.shows(box.tile) && (m_fault ? box.fault == m_fault : !box.fault && box.piece == m_selected))
                add(box);
    painter.setPen(QPen(theme.colour(Token::Halo), 4));
    painter.drawPath(path);
    painter.setPen(QPen(theme.colour(Token::Selection), 2));
    painter.drawPath(path);
    painter.setRenderHint(QPainter::Antialiasing, false);
}

} // namespace shardlens::ui
