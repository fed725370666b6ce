#include "ui/pages/overview/state_table.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/pages/overview/state_fill.h"
#include "ui/theme/theme.h"

#include <QHelpEvent>
#include <QPainter>
#include <QToolTip>

#include <algorithm>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kBar = 24;
constexpr int kRow = 26;
constexpr int kGap = 10;
constexpr double kLeastShare = 0.001; // smaller ones are only said to be small
constexpr int kLeast = 2; // nothing that takes a byte is invisible

} // namespace

StateTable::StateTable(QWidget* parent) : QWidget(parent)
{
    setAccessibleName(tr("Bytes by state"));
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Minimum);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

void StateTable::show(const CheckpointPtr& checkpoint, std::shared_ptr<const OverviewSummary> summary)
{
    m_checkpoint = checkpoint;
    m_summary = std::move(summary);
    QStringList lines;
    for (std::size_t i = 0; m_summary && i < m_summary->states.size(); ++i)
        lines << QStringLiteral("%1, %2").arg(nameOf(i), bytesText(m_summary->states[i].storedBytes));
    setAccessibleDescription(lines.join(QStringLiteral("; ")));
    updateGeometry();
    update();
}

QString StateTable::nameOf(std::size_t state) const
{
    const StateUse& use = m_summary->states[state];
    const QString name = printableText(m_checkpoint->roles()[indexOf(use.role)].name);
    return use.quantized ? tr("%1 (quantized)", "codes and scales").arg(name) : name;
}

std::uint64_t StateTable::total() const
{
    std::uint64_t all = 0;
    for (const StateUse& use : m_summary->states)
        all += use.storedBytes;
    return all;
}

QSize StateTable::sizeHint() const
{
    const Theme& theme = Theme::current();
    const int rows = m_summary ? static_cast<int>(m_summary->states.size()) : 0;
    return {theme.px(320), theme.px(kBar + kGap) + rows * theme.px(kRow)};
}

QSize StateTable::minimumSizeHint() const
{
    return {Theme::current().px(240), sizeHint().height()};
}

void StateTable::paintEvent(QPaintEvent*)
{
    if (!m_summary)
        return;
    QPainter painter(this);
    const std::uint64_t all = total();
    paintBar(painter, all);
    const Theme& theme = Theme::current();
    for (std::size_t i = 0; i < m_summary->states.size(); ++i)
        paintRow(painter, i, all, theme.px(kBar + kGap) + static_cast<int>(i) * theme.px(kRow));
}

void StateTable::paintBar(QPainter& painter, std::uint64_t all) const
{
    const Theme& theme = Theme::current();
    painter.fillRect(QRect(0, 0, width(), theme.px(kBar)), theme.colour(Token::Track));
    double x = 0;
    for (std::size_t i = 0; i < m_summary->states.size(); ++i) {
        const std::uint64_t bytes = m_summary->states[i].storedBytes;
        if (bytes == 0)
            continue;
        const double share = static_cast<double>(bytes) / static_cast<double>(std::max<std::uint64_t>(all, 1)) * width();
        const double wide = std::max<double>(share - 1, kLeast);
        fillState(painter, QRectF(std::min(x, static_cast<double>(width() - kLeast)), 0, wide, theme.px(kBar)), *m_checkpoint, *m_summary, i);
        x += share;
    }
}

void StateTable::paintRow(QPainter& painter, std::size_t state, std::uint64_t all, int top) const
{
    const Theme& theme = Theme::current();
    const StateUse& use = m_summary->states[state];
    const int row = theme.px(kRow);
    if (state > 0) {
        painter.setPen(theme.colour(Token::Border));
        painter.drawLine(0, top, width(), top);
    }
    const int swatch = theme.px(12);
    fillState(painter, QRect(0, top + (row - swatch) / 2, swatch, swatch), *m_checkpoint, *m_summary, state);
    painter.setFont(theme.font(TextStyle::Body));
    const QFontMetrics metrics = painter.fontMetrics();
    const double share = all == 0 ? 0 : static_cast<double>(use.storedBytes) / static_cast<double>(all);
    const QString percent = share > 0 && share < kLeastShare ? QStringLiteral("< 0.1 %") : QString::fromStdString(percentText(share));
    const QString size = bytesText(use.storedBytes);
    const int percentRoom = metrics.horizontalAdvance(QStringLiteral("< 0.1 %00"));
    const int sizeRoom = metrics.horizontalAdvance(QStringLiteral("1,023 MiB0"));
    const int dtypeRoom = metrics.horizontalAdvance(QStringLiteral("F8_E4M3 "));
    const int countRoom = metrics.horizontalAdvance(QStringLiteral("10,000 tensors"));
    int right = width();
    const auto column = [&](const QString& text, int room, Token ink, Qt::Alignment alignment) {
        painter.setPen(theme.colour(ink));
        painter.drawText(QRect(right - room, top, room, row), static_cast<int>(alignment | Qt::AlignVCenter), text);
        right -= room;
    };
    column(percent, percentRoom, Token::Text3, Qt::AlignRight);
    column(size, sizeRoom, Token::Text, Qt::AlignRight);
    if (width() > theme.px(380))
        column(counted(use.tensors, tr("1 tensor"), tr("%1 tensors")), countRoom, Token::Text3, Qt::AlignRight);
    column(QString::fromLatin1(shardlens::nameOf(use.dtype)), dtypeRoom, Token::Text2, Qt::AlignLeft);
    painter.setPen(theme.colour(Token::Text));
    const int left = swatch + theme.px(10);
    painter.drawText(QRect(left, top, right - left, row), Qt::AlignVCenter, metrics.elidedText(nameOf(state), Qt::ElideRight, right - left - theme.px(4)));
}

bool StateTable::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip || !m_summary)
        return QWidget::event(event);
    const auto* help = static_cast<QHelpEvent*>(event);
    const int at = (help->pos().y() - Theme::current().px(kBar + kGap)) / std::max(1, Theme::current().px(kRow));
    if (help->pos().y() < Theme::current().px(kBar + kGap) || at >= static_cast<int>(m_summary->states.size())) {
        QToolTip::hideText();
        return true;
    }
    const StateUse& use = m_summary->states[static_cast<std::size_t>(at)];
    const QString replicas = use.storedBytes > use.bytes ? tr(" Values that several ranks hold count each time.") : QString();
    QToolTip::showText(help->globalPos(), tr("%1: %2 B in the files.%3").arg(nameOf(static_cast<std::size_t>(at)), numberText(use.storedBytes), replicas), this);
    return true;
}

} // namespace shardlens::ui
