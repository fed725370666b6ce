#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/atlas_painter.h"
#include "ui/widgets/tensor_picture.h"

#include <QPainter>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr double kHatchGap = 6;       // design pixels
constexpr double kStripeGap = 10;     // of the second place of an overlap
constexpr double kLeastFault = 3;     // pixels: what holds a byte, or should, is never invisible
constexpr std::size_t kMostFaultLabels = 256;

QRectF atLeast(const QRectF& rect, double least)
{
    const double dx = std::max(0.0, least - rect.width()) / 2;
    const double dy = std::max(0.0, least - rect.height()) / 2;
    return rect.adjusted(-dx, -dy, dx, dy);
}

} // namespace

std::optional<std::size_t> TensorPicture::faultAt(QPointF point) const
{
    const auto cell = m_layout.cellAt(point);
    if (!cell || m_faults.list.empty())
        return std::nullopt;
    for (const auto* boxes : {&m_boxes.overlaps, &m_boxes.boxes})
        for (const PictureBox& box : *boxes)
            if (box.fault && holds(box, *cell))
                return box.fault;
    return std::nullopt;
}

HoverCardContent TensorPicture::faultCard(std::size_t index, const QString& place) const
{
    const TensorFault& fault = m_faults.list[index];
    TensorFaultRows rows;
    TensorFaults one;
    one.list.push_back(fault);
    rows.show(m_checkpoint, m_tensor, one);
    HoverCardContent card;
    card.aside = place;
    card.colour = Theme::current().colour(Token::Hole);
    card.title = fault.kind == TensorFault::Kind::Hole      ? tr("Nobody holds this part")
                 : fault.kind == TensorFault::Kind::Missing ? tr("The file of this part is missing")
                                                            : tr("Two places hold this part");
    if (fault.kind == TensorFault::Kind::Overlap)
        card.colour = colourOf(*fault.first);
    for (const auto column : {TensorFaultRows::Where, TensorFaultRows::Offset, TensorFaultRows::Size, TensorFaultRows::Values})
        card.rows.emplace_back(rows.headerData(column, Qt::Horizontal, Qt::DisplayRole).toString(), rows.index(0, column).data().toString());
    if (fault.first)
        card.rows.emplace_back(fault.second ? tr("First") : tr("Should be in"), placeWords(*m_checkpoint, *fault.first));
    if (fault.second)
        card.rows.emplace_back(tr("Second"), placeWords(*m_checkpoint, *fault.second));
    return card;
}

HoverCardContent TensorPicture::cardAt(QPointF point) const
{
    const auto cell = m_layout.cellAt(point);
    if (!m_checkpoint || !cell)
        return {};
    const Tensor& tensor = m_checkpoint->tensor(m_tensor);
    const Shape one(m_boxes.rank, 1);
    const QString place = m_boxes.rank > 2   ? regionWords(BoxView(m_boxes.placeOf(cell->tile, cell->row, cell->column), one), unitShape(tensor.shape, tensor.dtype))
                          : m_boxes.rows > 1 ? tr("row %1, column %2").arg(numberText(cell->row), numberText(cell->column))
                                             : tr("element %1").arg(numberText(cell->column));
    if (const auto fault = faultAt(point))
        return faultCard(*fault, place);
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

void TensorPicture::stepFault(int by)
{
    const std::size_t count = m_faults.list.size();
    if (count == 0)
        return;
    const std::size_t next = !m_fault ? (by > 0 ? 0 : count - 1) : (*m_fault + count + static_cast<std::size_t>(by)) % count;
    setSelectedFault(next);
    emit hoverTextChanged(faultSentence(*m_checkpoint, m_tensor, m_faults.list[next]));
    emit faultClicked(next);
}

// Last: a hole is never covered by the least pixel of a neighbour.
void TensorPicture::paintHoles(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    for (const PictureBox& box : m_boxes.boxes) {
        if (!m_layout.shows(box.tile) || (box.piece && !box.missing))
            continue;
        const QRectF rect = atLeast(m_layout.rectOf(box), kLeastFault);
        painter.fillRect(rect, theme.colour(Token::ErrorWeak));
        paintHatch(painter, rect, theme.colour(Token::Hole), theme.px(kHatchGap));
        painter.setPen(theme.colour(Token::Hole));
        painter.setBrush(Qt::NoBrush);
        painter.drawRect(rect.adjusted(0.5, 0.5, -0.5, -0.5));
    }
}

// Stripes of both places; in one colour they are black or white, so that they show.
void TensorPicture::paintOverlaps(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    for (const PictureBox& box : m_boxes.overlaps) {
        if (!m_layout.shows(box.tile))
            continue;
        const TensorFault& fault = m_faults.list[*box.fault];
        const QRectF rect = atLeast(m_layout.rectOf(box), kLeastFault);
        const QColor first = colourOf(*fault.first);
        const QColor second = colourOf(*fault.second);
        painter.fillRect(rect, first);
        painter.save();
        painter.setClipRect(rect, Qt::IntersectClip);
        painter.setRenderHint(QPainter::Antialiasing);
        painter.setPen(QPen(second == first ? Theme::inkOn(first) : second, theme.px(kStripeGap) * (second == first ? 0.2 : 0.36)));
        for (double x = rect.left() - rect.height(); x < rect.right(); x += theme.px(kStripeGap))
            painter.drawLine(QPointF(x, rect.bottom()), QPointF(x + rect.height(), rect.top()));
        painter.restore();
        painter.setPen(QPen(theme.colour(Token::Selection), 1, Qt::DashLine));
        painter.setBrush(Qt::NoBrush);
        painter.drawRect(rect.adjusted(0.5, 0.5, -0.5, -0.5));
    }
}

// What it is and where, each line only where it fits; on a ground of its own, so that no hatch runs through it.
void TensorPicture::paintFaultLabels(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    const Tensor& tensor = m_checkpoint->tensor(m_tensor);
    const Shape units = unitShape(tensor.shape, tensor.dtype);
    painter.setFont(theme.font(TextStyle::Caption));
    const QFontMetrics metrics = painter.fontMetrics();
    std::vector<bool> done(m_faults.list.size());
    std::size_t painted = 0;
    for (const auto* boxes : {&m_boxes.overlaps, &m_boxes.boxes})
        for (const PictureBox& box : *boxes) {
            if (!box.fault || !m_layout.shows(box.tile) || painted >= kMostFaultLabels || (m_boxes.rank <= 2 && done[*box.fault]))
                continue;
            const TensorFault& fault = m_faults.list[*box.fault];
            const QRectF rect = m_layout.rectOf(box).adjusted(2, 2, -2, -2);
            const QString word = faultWord(fault.kind);
            if (rect.height() < metrics.height() || rect.width() < metrics.horizontalAdvance(word) + theme.px(8))
                continue;
            QStringList lines{word};
            const auto add = [&](const QString& line) {
                if (metrics.horizontalAdvance(line) + theme.px(8) <= rect.width() && metrics.height() * static_cast<int>(lines.size() + 1) <= rect.height())
                    lines << line;
            };
            add(regionWords(viewOf(fault.region), units));
            if (const QString first = fault.second ? rankText(*fault.first) : QString(); !first.isEmpty())
                add(first == rankText(*fault.second) ? tr("both of %1", "two pieces of one rank or file").arg(first) : tr("%1 and %2", "two ranks or files").arg(first, rankText(*fault.second)));
            const QString text = lines.join(QLatin1Char('\n'));
            const QRectF room = painter.boundingRect(rect, Qt::AlignCenter, text).adjusted(-theme.px(4), -1, theme.px(4), 1);
            const bool isTwice = fault.kind == TensorFault::Kind::Overlap;
            painter.fillRect(room & rect, theme.colour(isTwice ? Token::Surface : Token::ErrorWeak));
            painter.setPen(theme.colour(isTwice ? Token::Text : Token::Error));
            painter.drawText(rect, Qt::AlignCenter, text);
            done[*box.fault] = true;
            ++painted;
        }
}

} // namespace shardlens::ui
