#include "ui/widgets/plan_picture.h"

#include "core/base/text.h"
#include "ui/jobs/job_texts.h"
#include "ui/theme/theme.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>
#include <QToolTip>

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr int kHeight = 286;
constexpr int kSide = 16;
constexpr int kNoteRow = 36; // holds "Before" and "After"
constexpr int kLabelRow = 18;
constexpr int kBar = 40;
constexpr int kMostGap = 5;
constexpr double kBandOpacity = 0.42;
constexpr double kFadedOpacity = 0.08;
constexpr double kDroppedOpacity = 0.25;
constexpr double kThinnestBand = 0.5;
constexpr double kStub = 16;
// A target that would take less of the width than this is drawn larger, and the picture says so.
constexpr double kLeastShare = 0.34;

QString sizeWords(std::uint64_t bytes)
{
    return QString::fromStdString(sizeText(bytes));
}

QColor colourOf(const std::optional<std::uint32_t>& rank)
{
    const Theme& theme = Theme::current();
    return rank ? theme.categorical(static_cast<int>(*rank % 12)) : theme.colour(Token::TierAlt);
}

QPainterPath bandPath(double top, double bottom, std::pair<double, double> from, std::pair<double, double> to)
{
    const double middle = (top + bottom) / 2;
    QPainterPath path;
    path.moveTo(from.first, top);
    path.cubicTo(from.first, middle, to.first, middle, to.first, bottom);
    path.lineTo(to.second, bottom);
    path.cubicTo(to.second, middle, from.second, middle, from.second, top);
    path.closeSubpath();
    return path;
}

} // namespace

PlanPicture::PlanPicture(QWidget* parent) : QWidget(parent)
{
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    setMouseTracking(true);
    setAccessibleName(tr("Before and after"));
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        place();
    });
}

QSize PlanPicture::sizeHint() const
{
    return {Theme::current().px(640), Theme::current().px(kHeight)};
}

void PlanPicture::setModel(PlanPictureModelPtr model)
{
    m_model = std::move(model);
    m_hover.reset();
    setAccessibleDescription(description());
    place();
}

QString PlanPicture::description() const
{
    if (!m_model)
        return {};
    return tr("%1 in %2 now, %3 in %4 then.")
        .arg(sizeWords(m_model->beforeBytes), JobTexts::files(m_model->before.size()), sizeWords(m_model->afterBytes),
             JobTexts::files(m_model->after.size()));
}

double PlanPicture::gapOf(std::size_t lanes) const
{
    const double room = width() - 2.0 * Theme::current().px(kSide);
    return lanes < 2 ? 0 : std::min<double>(Theme::current().px(kMostGap), room * 0.15 / static_cast<double>(lanes - 1));
}

void PlanPicture::placeRow(Row& row, const std::vector<PlanLane>& lanes, double scale) const
{
    const double gap = gapOf(lanes.size());
    double at = Theme::current().px(kSide);
    row.scale = scale;
    row.lefts.clear();
    for (const PlanLane& lane : lanes) {
        row.lefts.push_back(at);
        at += static_cast<double>(lane.bytes) * scale + gap;
    }
}

void PlanPicture::place()
{
    if (m_model) {
        const Theme& theme = Theme::current();
        const double room = std::max(40.0, width() - 2.0 * theme.px(kSide));
        const auto fit = [&](const std::vector<PlanLane>& lanes, std::uint64_t bytes) {
            const double gaps = gapOf(lanes.size()) * static_cast<double>(lanes.empty() ? 0 : lanes.size() - 1);
            return (room - gaps) / static_cast<double>(std::max<std::uint64_t>(1, bytes));
        };
        const double before = fit(m_model->before, m_model->beforeBytes);
        const double after = fit(m_model->after, m_model->afterBytes);
        const double scale = std::min(before, after);
        // `after / scale` times the target's width would fill the room.
        m_zoom = after / scale > 1 / kLeastShare ? static_cast<int>(std::floor(after / scale)) : 1;
        placeRow(m_before, m_model->before, scale);
        placeRow(m_after, m_model->after, scale * m_zoom);
        m_before.top = theme.px(kNoteRow) + theme.px(kLabelRow);
        m_after.top = height() - theme.px(kNoteRow) - theme.px(kLabelRow) - theme.px(kBar);
    }
    update();
}

void PlanPicture::resizeEvent(QResizeEvent*)
{
    place();
}

void PlanPicture::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(QPen(theme.colour(Token::Border), 1));
    painter.setBrush(theme.colour(Token::Surface));
    painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), theme.px(6), theme.px(6));
    paintNotes(painter);
    if (!m_model)
        return;
    paintStubs(painter);
    paintBands(painter);
    paintLanes(painter, true);
    paintLanes(painter, false);
    paintLaneLabels(painter, true);
    paintLaneLabels(painter, false);
}

void PlanPicture::paintNotes(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    const int side = theme.px(kSide);
    const auto note = [&](const QRect& row, const QString& title, const QString& facts, const QString& remark,
                          const QString& shorter = {}) {
        painter.setFont(theme.font(TextStyle::Strong));
        painter.setPen(theme.colour(Token::Text));
        painter.drawText(row, Qt::AlignVCenter, title);
        int left = row.left() + painter.fontMetrics().horizontalAdvance(title) + theme.px(12);
        painter.setFont(theme.font(TextStyle::Body));
        painter.setPen(theme.colour(Token::Text3));
        painter.drawText(QRect(left, row.top(), row.right() - left, row.height()), Qt::AlignVCenter, facts);
        left += painter.fontMetrics().horizontalAdvance(facts) + theme.px(24);
        painter.setFont(theme.font(TextStyle::Caption));
        const QRect room(left, row.top(), row.right() - left, row.height());
        const QString said = painter.fontMetrics().horizontalAdvance(remark) > room.width() && !shorter.isEmpty() ? shorter : remark;
        painter.drawText(room, static_cast<int>(Qt::AlignVCenter | Qt::AlignRight),
                         painter.fontMetrics().elidedText(said, Qt::ElideRight, room.width()));
    };
    const QRect top(side, 0, width() - 2 * side, theme.px(kNoteRow));
    const QRect bottom(side, height() - theme.px(kNoteRow), width() - 2 * side, theme.px(kNoteRow));
    if (!m_model) {
        note(top, tr("Before"), {}, {});
        note(bottom, tr("After"), {}, {});
        return;
    }
    const QString ranks = m_model->ranks > 0 ? JobTexts::ranks(m_model->ranks) : JobTexts::files(m_model->before.size());
    note(top, tr("Before"), tr("%1, %2", "ranks, size").arg(ranks, sizeWords(m_model->beforeBytes)),
         m_model->ranks > 0 ? tr("files end to end, to scale; colour = rank that holds the bytes now; pale = not carried over")
                            : tr("files end to end, to scale; pale = not carried over"),
         m_model->ranks > 0 ? tr("to scale; colour = rank now; pale = not carried over") : tr("to scale; pale = not carried over"));
    QString remark = m_zoom > 1 ? tr("drawn %1 × as wide as above").arg(m_zoom) : tr("the same scale as above");
    if (m_model->bandsAreSums)
        remark += tr("; one band for each pair of files, as thick as its bytes");
    const QString made = m_model->afterRanks > 0 ? JobTexts::ranks(m_model->afterRanks) : JobTexts::files(m_model->after.size());
    note(bottom, tr("After"), tr("%1, %2", "ranks or files, size").arg(made, sizeWords(m_model->afterBytes)), remark);
}

void PlanPicture::paintBands(QPainter& painter) const
{
    const double bar = Theme::current().px(kBar);
    const double top = m_before.top + bar;
    painter.setPen(Qt::NoPen);
    for (const PlanBand& band : m_model->bands) {
        const double fromLeft = m_before.lefts[band.from];
        const double toLeft = m_after.lefts[band.to];
        std::pair from{fromLeft + static_cast<double>(band.fromBegin) * m_before.scale, fromLeft + static_cast<double>(band.fromEnd) * m_before.scale};
        std::pair to{toLeft + static_cast<double>(band.toBegin) * m_after.scale, toLeft + static_cast<double>(band.toEnd) * m_after.scale};
        from.second = std::max(from.second, from.first + kThinnestBand);
        to.second = std::max(to.second, to.first + kThinnestBand);
        const bool lit = !m_hover || (m_hover->before ? m_hover->lane == band.from : m_hover->lane == band.to);
        QColor colour = band.rank ? colourOf(band.rank) : Theme::current().colour(Token::Hatch);
        colour.setAlphaF(static_cast<float>(lit ? kBandOpacity : kFadedOpacity));
        painter.setBrush(colour);
        painter.drawPath(bandPath(top, m_after.top, from, to));
    }
}

void PlanPicture::paintStubs(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    const double top = m_before.top + theme.px(kBar);
    for (std::size_t i = 0; i < m_model->before.size(); ++i)
        for (const PlanStretch& stretch : m_model->before[i].stretches) {
            const double left = m_before.lefts[i] + static_cast<double>(stretch.begin) * m_before.scale;
            const double width = static_cast<double>(stretch.end - stretch.begin) * m_before.scale;
            if (stretch.carried || width < 2)
                continue;
            QLinearGradient fade(0, top, 0, top + theme.px(kStub));
            QColor grey = theme.colour(Token::Hatch);
            grey.setAlphaF(0.35F);
            fade.setColorAt(0, grey);
            grey.setAlphaF(0);
            fade.setColorAt(1, grey);
            painter.fillRect(QRectF(left, top, width - 1, theme.px(kStub)), fade);
        }
}

void PlanPicture::paintLanes(QPainter& painter, bool before) const
{
    const std::vector<PlanLane>& lanes = before ? m_model->before : m_model->after;
    const Row& row = before ? m_before : m_after;
    for (std::size_t i = 0; i < lanes.size(); ++i) {
        const QRectF where(row.lefts[i], row.top, std::max(1.0, static_cast<double>(lanes[i].bytes) * row.scale), Theme::current().px(kBar));
        paintLane(painter, lanes[i], where, row.scale);
    }
}

void PlanPicture::paintLane(QPainter& painter, const PlanLane& lane, const QRectF& where, double scale) const
{
    const Theme& theme = Theme::current();
    painter.fillRect(where, theme.colour(Token::TierAlt));
    painter.setFont(theme.font(TextStyle::Caption));
    double painted = where.left() - 1; // stretches below a pixel that would not show are passed over
    for (const PlanStretch& stretch : lane.stretches) {
        const double left = where.left() + static_cast<double>(stretch.begin) * scale;
        const double right = where.left() + static_cast<double>(stretch.end) * scale;
        if (right <= painted + 0.25)
            continue;
        painted = right;
        QRectF part(left, where.top(), right - left, where.height());
        if (part.width() > 3)
            part.setWidth(part.width() - 1);
        QColor colour = colourOf(stretch.rank);
        if (!stretch.carried) {
            painter.fillRect(part, theme.colour(Token::Surface));
            colour.setAlphaF(static_cast<float>(kDroppedOpacity));
        }
        painter.fillRect(part, colour);
        const QFontMetricsF metrics = painter.fontMetrics();
        if (stretch.label.isEmpty() || metrics.horizontalAdvance(stretch.label) + theme.px(8) > part.width())
            continue;
        painter.setPen(stretch.carried ? Theme::inkOn(colour) : theme.colour(Token::Text));
        painter.drawText(part, Qt::AlignCenter, stretch.label);
    }
}

void PlanPicture::paintLaneLabels(QPainter& painter, bool before) const
{
    const Theme& theme = Theme::current();
    const std::vector<PlanLane>& lanes = before ? m_model->before : m_model->after;
    const Row& row = before ? m_before : m_after;
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text));
    const double top = before ? row.top - theme.px(kLabelRow) : row.top + theme.px(kBar);
    double free = 0;
    for (std::size_t first = 0; first < lanes.size();) {
        std::size_t last = first; // lanes of one rank share a label
        while (lanes[first].rank && last + 1 < lanes.size() && lanes[last + 1].rank == lanes[first].rank)
            ++last;
        const double left = row.lefts[first];
        const double right = row.lefts[last] + static_cast<double>(lanes[last].bytes) * row.scale;
        const QString label = lanes[first].rank ? tr("rank %1").arg(*lanes[first].rank) : lanes[first].title;
        const double needs = painter.fontMetrics().horizontalAdvance(label);
        const double middle = (left + right) / 2;
        const double start = std::max(middle - needs / 2, static_cast<double>(theme.px(kSide)));
        const bool alone = lanes.size() == 1;
        if ((needs <= right - left + gapOf(lanes.size()) || alone) && start >= free) {
            painter.drawText(QRectF(start, top, needs + 2, theme.px(kLabelRow)), Qt::AlignVCenter, label);
            free = start + needs + theme.px(6);
        }
        first = last + 1;
    }
}

std::optional<PlanPicture::Hit> PlanPicture::hitAt(const QPointF& at) const
{
    if (!m_model)
        return std::nullopt;
    const double bar = Theme::current().px(kBar);
    for (const bool before : {true, false}) {
        const Row& row = before ? m_before : m_after;
        const std::vector<PlanLane>& lanes = before ? m_model->before : m_model->after;
        if (lanes.empty() || at.y() < row.top - Theme::current().px(kLabelRow) || at.y() > row.top + bar + Theme::current().px(kLabelRow))
            continue;
        const auto next = std::upper_bound(row.lefts.begin(), row.lefts.end(), at.x());
        if (next == row.lefts.begin())
            continue;
        const auto lane = static_cast<std::size_t>(next - row.lefts.begin() - 1);
        if (at.x() <= row.lefts[lane] + std::max(2.0, static_cast<double>(lanes[lane].bytes) * row.scale))
            return Hit{before, lane};
    }
    return std::nullopt;
}

QString PlanPicture::tipOf(const Hit& hit) const
{
    const PlanLane& lane = hit.before ? m_model->before[hit.lane] : m_model->after[hit.lane];
    QStringList lines{lane.title, QString::fromStdString(exactSizeText(lane.bytes))};
    if (lane.rank)
        lines.push_back(tr("rank %1").arg(*lane.rank));
    std::uint64_t dropped = 0;
    for (const PlanStretch& stretch : lane.stretches)
        dropped += stretch.carried ? 0 : stretch.end - stretch.begin;
    if (dropped > 0)
        lines.push_back(tr("%1 are not carried over").arg(sizeWords(dropped)));
    for (QString& line : lines)
        line = line.toHtmlEscaped();
    return lines.join(QStringLiteral("<br>"));
}

void PlanPicture::mouseMoveEvent(QMouseEvent* event)
{
    const auto hit = hitAt(event->position());
    if (hit == m_hover)
        return;
    m_hover = hit;
    update();
}

void PlanPicture::leaveEvent(QEvent*)
{
    m_hover.reset();
    update();
}

bool PlanPicture::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip)
        return QWidget::event(event);
    const auto* help = static_cast<QHelpEvent*>(event);
    if (const auto hit = hitAt(help->pos()))
        QToolTip::showText(help->globalPos(), tipOf(*hit), this);
    else
        QToolTip::hideText();
    return true;
}

} // namespace shardlens::ui
