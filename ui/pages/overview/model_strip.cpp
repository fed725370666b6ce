#include "ui/pages/overview/model_strip.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/atlas_raster.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kModules = 20;
constexpr int kClasses = 26;
constexpr int kRanks = 18;
constexpr int kGap = 2;
constexpr double kEdge = 0.5; // opacity of the last column of a wide piece

bool isMissing(const Checkpoint& checkpoint, PieceId piece)
{
    return checkpoint.stream(checkpoint.pieces().at(piece).source.stream).kind == Stream::Kind::Missing;
}

bool valuesAreSame(const Checkpoint& checkpoint, PieceId a, PieceId b)
{
    return regionText(checkpoint.pieces().at(a).region) == regionText(checkpoint.pieces().at(b).region);
}

} // namespace

ModelStrip::ModelStrip(QWidget* parent) : QWidget(parent)
{
    setAccessibleName(tr("The model, to scale"));
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

void ModelStrip::show(std::shared_ptr<const OverviewSummary> summary)
{
    m_summary = std::move(summary);
    update();
}

QSize ModelStrip::sizeHint() const
{
    const Theme& theme = Theme::current();
    return {theme.px(320), theme.px(kModules + kClasses + kRanks + 2 * kGap)};
}

QSize ModelStrip::minimumSizeHint() const
{
    return {Theme::current().px(240), sizeHint().height()};
}

AtlasScale ModelStrip::scale() const
{
    return {0, static_cast<double>(std::max<std::uint64_t>(m_summary->model->length(), 1)) / std::max(1, width())};
}

void ModelStrip::paintEvent(QPaintEvent*)
{
    if (!m_summary)
        return;
    QPainter painter(this);
    paintModules(painter);
    paintClasses(painter);
    paintRanks(painter);
}

void ModelStrip::paintModules(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    painter.setFont(theme.font(TextStyle::Caption));
    const QFontMetrics metrics = painter.fontMetrics();
    const AtlasScale across = scale();
    double painted = -1;
    for (const ModuleStretch& module : m_summary->modules) {
        const double left = across.toPixel(static_cast<double>(module.begin));
        const double right = across.toPixel(static_cast<double>(module.end));
        if (right < painted + 0.5) // thousands of modules: what shares a pixel is painted once
            continue;
        painted = right;
        const QRectF room(left, 0, std::max(0.5, right - left - (right - left > 3 ? 1 : 0)), theme.px(kModules));
        painter.fillRect(room, theme.colour(module.odd ? Token::TierAlt : Token::Tier));
        if (metrics.horizontalAdvance(module.label) + theme.px(4) > room.width())
            continue;
        painter.setPen(theme.colour(Token::Text2));
        painter.drawText(room, Qt::AlignCenter, module.label);
    }
}

void ModelStrip::paintClasses(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    const double ratio = devicePixelRatioF();
    const int columns = static_cast<int>(std::ceil(width() * ratio));
    const int height = static_cast<int>(theme.px(kClasses) * ratio);
    QImage image(columns, height, QImage::Format_ARGB32_Premultiplied);
    image.fill(theme.colour(Token::Track));
    std::vector<AtlasColumn> all(static_cast<std::size_t>(columns));
    std::vector<AtlasColumn> ofLane(all.size());
    const AtlasColumnRequest request{0, static_cast<double>(m_summary->model->length()) / std::max(1, columns), {}};
    for (const std::size_t lane : lanes()) {
        std::fill(ofLane.begin(), ofLane.end(), AtlasColumn{});
        fillColumns(m_summary->model->lanes()[lane], *m_summary->classes, request, ofLane);
        for (std::size_t i = 0; i < all.size(); ++i)
            if (all[i].empty())
                all[i] = ofLane[i];
    }
    paintColumns(image, {0, 0}, height, all, AtlasColours(*m_summary->classes, theme), kEdge);
    painter.drawImage(QRectF(0, theme.px(kModules + kGap), width(), theme.px(kClasses)), image);
}

// The most precise copy first.
std::vector<std::size_t> ModelStrip::lanes() const
{
    std::vector<std::size_t> out = m_summary->weightLanes;
    out.insert(out.end(), m_summary->copyLanes.begin(), m_summary->copyLanes.end());
    return out;
}

// The lane that holds a unit; where the file of the first one is missing, another that has it.
std::optional<ModelStrip::Found> ModelStrip::foundIn(const std::vector<std::size_t>& order, std::uint64_t unit) const
{
    const Checkpoint& checkpoint = m_summary->model->checkpoint();
    std::optional<Found> missing;
    for (const std::size_t index : order) {
        const AtlasLane& lane = m_summary->model->lanes()[index];
        const auto at = lane.pieceAt(unit);
        if (!at)
            continue;
        const Found found = shared({index, lane.pieces[*at]}, lane.lengths[*at], order, unit);
        if (!isMissing(checkpoint, found.piece))
            return found;
        missing = missing ? missing : found;
    }
    return missing;
}

// Columns of a tensor that lie on several ranks: no stretch of its rows is one rank's, so each has room by its values, in the order of the lanes.
ModelStrip::Found ModelStrip::shared(const Found& first, std::uint64_t hull, const std::vector<std::size_t>& order, std::uint64_t unit) const
{
    const AtlasModel& model = *m_summary->model;
    const auto valuesOf = [&](PieceId piece) { return volumeOf(model.checkpoint().pieces().at(piece).region); };
    if (valuesOf(first.piece) >= hull)
        return first;
    std::vector<Found> sharers;
    std::uint64_t begin = unit;
    std::uint64_t end = unit + 1;
    std::uint64_t total = 0;
    for (const std::size_t index : order) {
        const AtlasLane& lane = model.lanes()[index];
        const auto at = lane.pieceAt(unit);
        if (!at || model.tensorOf(lane.pieces[*at]) != model.tensorOf(first.piece))
            continue;
        const PieceId piece = lane.pieces[*at];
        const auto same = std::find_if(sharers.begin(), sharers.end(), [&](const Found& one) { return valuesAreSame(model.checkpoint(), one.piece, piece); });
        if (same != sharers.end()) { // a replica: where the first one's file is missing, this one counts
            if (isMissing(model.checkpoint(), same->piece))
                *same = {index, piece};
            continue;
        }
        sharers.push_back({index, piece});
        begin = std::min(begin, lane.starts[*at]);
        end = std::max(end, lane.endOf(*at));
        total += valuesOf(lane.pieces[*at]);
    }
    const double wanted = static_cast<double>(unit - begin) / static_cast<double>(end - begin) * static_cast<double>(total);
    double behind = 0;
    for (const Found& one : sharers) {
        behind += static_cast<double>(valuesOf(one.piece));
        if (wanted < behind)
            return one;
    }
    return first;
}

std::optional<ModelStrip::Found> ModelStrip::foundAt(double unit) const
{
    const auto at = static_cast<std::uint64_t>(std::max(0.0, unit));
    const auto weight = foundIn(m_summary->weightLanes, at);
    return weight ? weight : foundIn(m_summary->copyLanes, at);
}

std::vector<ModelStrip::Holding> ModelStrip::holdingsOf(int columns) const
{
    const Checkpoint& checkpoint = m_summary->model->checkpoint();
    std::vector<Holding> out(static_cast<std::size_t>(columns));
    const double perColumn = static_cast<double>(m_summary->model->length()) / std::max(1, columns);
    for (std::size_t i = 0; i < out.size(); ++i)
        if (const auto found = foundAt((static_cast<double>(i) + 0.5) * perColumn))
            out[i] = {true, isMissing(checkpoint, found->piece), m_summary->model->lanes()[found->lane].rank};
    return out;
}

void ModelStrip::paintRanks(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    painter.setFont(theme.font(TextStyle::Caption));
    const std::vector<Holding> holdings = holdingsOf(width());
    const int top = theme.px(kModules + kClasses + 2 * kGap);
    for (std::size_t i = 0; i < holdings.size();) {
        std::size_t end = i + 1;
        while (end < holdings.size() && holdings[end] == holdings[i])
            ++end;
        paintHolding(painter, QRect(static_cast<int>(i), top, static_cast<int>(end - i) - (end - i > 3 ? 1 : 0), theme.px(kRanks)), holdings[i]);
        i = end;
    }
}

void ModelStrip::paintHolding(QPainter& painter, const QRect& room, const Holding& holding) const
{
    const Theme& theme = Theme::current();
    const bool hole = holding.missing || !holding.any;
    const QColor ground = hole ? theme.colour(Token::ErrorWeak) : holding.rank ? theme.categorical(static_cast<int>(*holding.rank)) : theme.colour(Token::Hatch);
    painter.fillRect(room, ground);
    if (hole) {
        painter.setPen(theme.colour(Token::Hole));
        painter.drawRect(room.adjusted(0, 0, -1, -1));
    }
    const QString rank = holding.rank ? tr("rank %1").arg(*holding.rank) : m_summary->byRank ? tr("any rank") : QString();
    const QString label = !holding.any ? tr("nobody") : holding.missing ? tr("%1 is missing").arg(rank) : rank;
    if (painter.fontMetrics().horizontalAdvance(label) + theme.px(8) > room.width())
        return;
    painter.setPen(hole ? theme.colour(Token::Error) : Theme::inkOn(ground));
    painter.drawText(room, Qt::AlignCenter, label);
}

std::optional<PieceId> ModelStrip::pieceAt(int x) const
{
    if (!m_summary)
        return std::nullopt;
    const auto found = foundAt(scale().toUnit(x + 0.5));
    return found ? std::optional(found->piece) : std::nullopt;
}

void ModelStrip::mousePressEvent(QMouseEvent* event)
{
    if (const auto piece = pieceAt(event->pos().x()))
        emit pieceChosen(*piece);
}

bool ModelStrip::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip)
        return QWidget::event(event);
    const auto* help = static_cast<QHelpEvent*>(event);
    if (const auto piece = pieceAt(help->pos().x()))
        QToolTip::showText(help->globalPos(), pieceSentence(m_summary->model->checkpoint(), *piece), this);
    else
        QToolTip::hideText();
    return true;
}

} // namespace shardlens::ui
