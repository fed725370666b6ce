#include "ui/pages/overview/place_bars.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/pages/overview/state_fill.h"
#include "ui/theme/theme.h"

#include <QHelpEvent>
#include <QKeyEvent>
#include <QMenu>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr std::size_t kMostBars = 24;
constexpr std::size_t kRoomyBars = 6;
constexpr std::size_t kMostListed = 40; // ranks of one column in its menu
// Design pixels.
constexpr int kRoomyRow = 32;
constexpr int kTightRow = 18;
constexpr int kHistogram = 132;
constexpr int kColumn = 6;
constexpr int kAxis = 18;
constexpr int kSizeRoom = 84;

} // namespace

PlaceBars::PlaceBars(QWidget* parent) : QWidget(parent)
{
    setFocusPolicy(Qt::StrongFocus);
    setAccessibleName(tr("Bytes by rank"));
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Minimum);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

QString PlaceBars::labelOf(const Checkpoint& checkpoint, const PlaceUse& use)
{
    return use.rank ? tr("rank %1").arg(*use.rank) : printableText(checkpoint.file(use.file).name);
}

void PlaceBars::show(const CheckpointPtr& checkpoint, std::shared_ptr<const OverviewSummary> summary)
{
    m_checkpoint = checkpoint;
    m_summary = std::move(summary);
    m_focused = 0;
    setAccessibleName(m_summary && !m_summary->byRank ? tr("Bytes by file") : tr("Bytes by rank"));
    updateGeometry();
    update();
}

bool PlaceBars::isHistogram() const
{
    return m_summary->places.size() > kMostBars;
}

int PlaceBars::rowHeight() const
{
    return Theme::current().px(m_summary->places.size() <= kRoomyBars ? kRoomyRow : kTightRow);
}

QSize PlaceBars::sizeHint() const
{
    const Theme& theme = Theme::current();
    if (!m_summary)
        return {theme.px(320), theme.px(kHistogram)};
    return {theme.px(320), isHistogram() ? theme.px(kHistogram + kAxis) : static_cast<int>(m_summary->places.size()) * rowHeight()};
}

QSize PlaceBars::minimumSizeHint() const
{
    return {Theme::current().px(240), sizeHint().height()};
}

std::uint64_t PlaceBars::largest() const
{
    std::uint64_t most = 1;
    for (const PlaceUse& use : m_summary->places)
        most = std::max(most, use.total);
    return most;
}

void PlaceBars::paintEvent(QPaintEvent*)
{
    if (!m_summary)
        return;
    QPainter painter(this);
    if (isHistogram())
        paintHistogram(painter);
    else
        paintRows(painter);
}

void PlaceBars::paintRows(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    painter.setFont(theme.font(TextStyle::Body));
    const QFontMetrics metrics = painter.fontMetrics();
    int labelRoom = 0;
    for (const PlaceUse& use : m_summary->places)
        labelRoom = std::max(labelRoom, metrics.horizontalAdvance(labelOf(*m_checkpoint, use)));
    labelRoom = std::min(labelRoom, width() / 3) + theme.px(12);
    const int room = std::max(1, width() - labelRoom - theme.px(kSizeRoom));
    const int row = rowHeight();
    const int bar = std::min(theme.px(20), row - theme.px(4));
    const double most = static_cast<double>(largest());
    for (std::size_t i = 0; i < m_summary->places.size(); ++i) {
        const PlaceUse& use = m_summary->places[i];
        const int top = static_cast<int>(i) * row;
        if (hasFocus() && i == m_focused) {
            painter.setPen(QPen(theme.colour(Token::Accent), 2));
            painter.drawRoundedRect(QRect(1, top + 1, width() - 2, row - 2), theme.px(3), theme.px(3));
        }
        painter.setPen(theme.colour(Token::Text2));
        painter.drawText(QRect(theme.px(4), top, labelRoom - theme.px(8), row), Qt::AlignVCenter, metrics.elidedText(labelOf(*m_checkpoint, use), Qt::ElideMiddle, labelRoom - theme.px(10)));
        double x = labelRoom;
        for (std::size_t state = 0; state < use.bytes.size(); ++state) {
            if (use.bytes[state] == 0)
                continue;
            const double wide = room * static_cast<double>(use.bytes[state]) / most;
            fillState(painter, QRectF(x, top + (row - bar) / 2.0, std::max(1.0, wide - 1), bar), *m_checkpoint, *m_summary, state);
            x += wide;
        }
        if (use.missing)
            paintMissing(painter, QRectF(x + 1, top + (row - bar) / 2.0, std::max<double>(theme.px(70), room * 0.2), bar));
        painter.setPen(theme.colour(use.missing && use.total == 0 ? Token::Error : Token::Text));
        painter.drawText(QRect(width() - theme.px(kSizeRoom), top, theme.px(kSizeRoom - 4), row), Qt::AlignRight | Qt::AlignVCenter,
                         use.missing && use.total == 0 ? tr("missing") : bytesText(use.total));
    }
}

// What should be there: nobody knows how much.
void PlaceBars::paintMissing(QPainter& painter, const QRectF& room) const
{
    const Theme& theme = Theme::current();
    painter.fillRect(room, theme.colour(Token::ErrorWeak));
    painter.setPen(QPen(theme.colour(Token::Hole), 1, Qt::DashLine));
    painter.setBrush(Qt::NoBrush);
    painter.drawRect(room.adjusted(0.5, 0.5, -0.5, -0.5));
}

int PlaceBars::binCount() const
{
    const int columns = std::max(1, width() / std::max(1, Theme::current().px(kColumn)));
    return std::min(columns, static_cast<int>(m_summary->places.size()));
}

std::pair<std::size_t, std::size_t> PlaceBars::binRange(int bin) const
{
    const auto bins = static_cast<std::size_t>(binCount());
    const std::size_t count = m_summary->places.size();
    return {count * static_cast<std::size_t>(bin) / bins, count * static_cast<std::size_t>(bin + 1) / bins};
}

// A column is as high as the largest of its ranks, and cut like that one.
void PlaceBars::paintHistogram(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    const double most = static_cast<double>(largest());
    const int base = theme.px(kHistogram);
    const double column = static_cast<double>(width()) / binCount();
    for (int bin = 0; bin < binCount(); ++bin) {
        const auto [first, last] = binRange(bin);
        const auto at = std::max_element(m_summary->places.begin() + static_cast<std::ptrdiff_t>(first), m_summary->places.begin() + static_cast<std::ptrdiff_t>(last),
                                         [](const PlaceUse& a, const PlaceUse& b) { return a.total < b.total; });
        double y = base;
        for (std::size_t state = 0; state < at->bytes.size(); ++state) {
            const double high = base * static_cast<double>(at->bytes[state]) / most;
            fillState(painter, QRectF(bin * column, y - high, std::max(1.0, column - 1), high), *m_checkpoint, *m_summary, state);
            y -= high;
        }
        if (hasFocus() && m_focused >= first && m_focused < last)
            painter.fillRect(QRectF(bin * column, base, column, theme.px(3)), theme.colour(Token::Accent));
    }
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text3));
    const QRect axis(0, base + theme.px(3), width(), theme.px(kAxis - 3));
    painter.drawText(axis, Qt::AlignLeft | Qt::AlignVCenter, labelOf(*m_checkpoint, m_summary->places.front()));
    painter.drawText(axis, Qt::AlignRight | Qt::AlignVCenter, labelOf(*m_checkpoint, m_summary->places.back()));
}

std::optional<std::size_t> PlaceBars::placeAt(QPoint at) const
{
    if (!m_summary || m_summary->places.empty())
        return std::nullopt;
    if (isHistogram()) {
        const int bin = std::clamp(at.x() * binCount() / std::max(1, width()), 0, binCount() - 1);
        return binRange(bin).first;
    }
    const int row = at.y() / std::max(1, rowHeight());
    if (at.y() < 0 || row >= static_cast<int>(m_summary->places.size()))
        return std::nullopt;
    return static_cast<std::size_t>(row);
}

void PlaceBars::mousePressEvent(QMouseEvent* event)
{
    const auto place = placeAt(event->pos());
    if (!place)
        return;
    m_focused = *place;
    update();
    if (isHistogram())
        chooseFromBin(std::clamp(event->pos().x() * binCount() / std::max(1, width()), 0, binCount() - 1), event->globalPosition().toPoint());
    else
        emit chosen(*place);
}

void PlaceBars::chooseFromBin(int bin, QPoint global)
{
    const auto [first, last] = binRange(bin);
    if (last - first == 1) {
        emit chosen(first);
        return;
    }
    QMenu menu(this);
    for (std::size_t place = first; place < std::min(last, first + kMostListed); ++place) {
        const QString text = QStringLiteral("%1   %2").arg(labelOf(*m_checkpoint, m_summary->places[place]), bytesText(m_summary->places[place].total));
        connect(menu.addAction(text), &QAction::triggered, this, [this, place] { emit chosen(place); });
    }
    if (last - first > kMostListed)
        menu.addAction(tr("%1 more").arg(numberText(last - first - kMostListed)))->setEnabled(false);
    menu.exec(global);
}

void PlaceBars::keyPressEvent(QKeyEvent* event)
{
    const std::size_t count = m_summary ? m_summary->places.size() : 0;
    const bool back = event->key() == Qt::Key_Up || event->key() == Qt::Key_Left;
    const bool on = event->key() == Qt::Key_Down || event->key() == Qt::Key_Right;
    if (count == 0)
        return QWidget::keyPressEvent(event);
    if (back && m_focused > 0)
        --m_focused;
    else if (on && m_focused + 1 < count)
        ++m_focused;
    else if (event->key() == Qt::Key_Return || event->key() == Qt::Key_Enter || event->key() == Qt::Key_Space)
        emit chosen(m_focused);
    else
        return QWidget::keyPressEvent(event);
    setAccessibleDescription(tipOf(m_focused));
    update();
}

void PlaceBars::focusInEvent(QFocusEvent* event)
{
    update();
    QWidget::focusInEvent(event);
}

void PlaceBars::focusOutEvent(QFocusEvent* event)
{
    update();
    QWidget::focusOutEvent(event);
}

QString PlaceBars::tipOf(std::size_t place) const
{
    const PlaceUse& use = m_summary->places[place];
    QStringList lines{QStringLiteral("%1: %2 B").arg(labelOf(*m_checkpoint, use), numberText(use.total))};
    if (use.missing)
        lines << tr("A file of this rank is missing or cannot be read.");
    for (std::size_t state = 0; state < use.bytes.size(); ++state)
        if (use.bytes[state] > 0)
            lines << QStringLiteral("%1, %2: %3").arg(printableText(m_checkpoint->roles()[indexOf(m_summary->states[state].role)].name),
                                                      QString::fromLatin1(shardlens::nameOf(m_summary->states[state].dtype)), bytesText(use.bytes[state]));
    return lines.join(QLatin1Char('\n'));
}

bool PlaceBars::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip)
        return QWidget::event(event);
    const auto* help = static_cast<QHelpEvent*>(event);
    if (const auto place = placeAt(help->pos()))
        QToolTip::showText(help->globalPos(), tipOf(*place), this);
    else
        QToolTip::hideText();
    return true;
}

} // namespace shardlens::ui
