#include "ui/pages/compare/count_chip.h"

#include "ui/models/atlas_text.h"

#include <QPainter>

namespace shardlens::ui {
namespace {

constexpr int kChipHeight = 28; // design pixels
constexpr int kChipPadding = 10;

} // namespace

CountChip::CountChip(const QString& label, Token ink, QWidget* parent) : QAbstractButton(parent), m_ink(ink)
{
    setText(label);
    setCheckable(true);
    setFocusPolicy(Qt::TabFocus);
    setAttribute(Qt::WA_Hover);
    setCount(0);
    connect(&Theme::current(), &Theme::changed, this, [this] { updateGeometry(); });
}

void CountChip::setCount(std::uint64_t count)
{
    m_count = count;
    setAccessibleName(tr("%1: %2. Show only these").arg(text(), numberText(count)));
    setToolTip(accessibleName());
    updateGeometry();
    update();
}

QSize CountChip::sizeHint() const
{
    const Theme& theme = Theme::current();
    const int number = QFontMetrics(theme.font(TextStyle::Strong)).horizontalAdvance(numberText(m_count));
    const int words = QFontMetrics(theme.font(TextStyle::Body)).horizontalAdvance(text());
    return {number + words + theme.px(2 * kChipPadding + 6), theme.px(kChipHeight)};
}

void CountChip::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const bool isOn = isChecked();
    painter.setPen(QPen(theme.colour(hasFocus() || isOn ? Token::Accent : Token::Border), hasFocus() ? 2 : 1));
    painter.setBrush(theme.colour(isOn ? Token::AccentWeak : underMouse() ? Token::Sunken : Token::Surface));
    painter.drawRoundedRect(QRectF(rect()).adjusted(1, 1, -1, -1), theme.px(4), theme.px(4));
    const QRect inside = rect().adjusted(theme.px(kChipPadding), 0, -theme.px(kChipPadding), 0);
    painter.setFont(theme.font(TextStyle::Strong));
    painter.setPen(theme.colour(m_count > 0 ? m_ink : Token::Text3));
    const QString number = numberText(m_count);
    painter.drawText(inside, Qt::AlignLeft | Qt::AlignVCenter, number);
    const int used = painter.fontMetrics().horizontalAdvance(number) + theme.px(6);
    painter.setFont(theme.font(TextStyle::Body));
    painter.setPen(theme.colour(m_count > 0 ? Token::Text2 : Token::Text3));
    painter.drawText(inside.adjusted(used, 0, 0, 0), Qt::AlignLeft | Qt::AlignVCenter, text());
}

} // namespace shardlens::ui
