#include "ui/widgets/rank_chip.h"

#include "ui/models/document.h"
#include "ui/theme/theme.h"

#include <QPainter>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kHigh = 26;
constexpr int kSide = 10;
constexpr int kCross = 9;

} // namespace

RankChip::RankChip(Document* document, QWidget* parent) : QAbstractButton(parent), m_document(document)
{
    setFocusPolicy(Qt::StrongFocus);
    setAttribute(Qt::WA_Hover);
    setCursor(Qt::PointingHandCursor);
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
    connect(this, &QAbstractButton::clicked, document, [document] { document->keepRank(std::nullopt); });
    connect(document, &Document::keptRankChanged, this, &RankChip::follow);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
    follow();
}

void RankChip::follow()
{
    const auto rank = m_document->keptRank();
    if (rank) {
        setText(tr("only rank %1").arg(*rank));
        setToolTip(tr("This page shows what rank %1 holds. Click to show all ranks.").arg(*rank));
        setAccessibleName(tr("Only rank %1 is shown: show all ranks").arg(*rank));
        updateGeometry();
        update();
    }
    setVisible(rank.has_value());
}

QSize RankChip::sizeHint() const
{
    const Theme& theme = Theme::current();
    const QFontMetrics metrics(theme.font(TextStyle::Body));
    return {metrics.horizontalAdvance(text()) + theme.px(2 * kSide + 8 + kCross), std::max(theme.px(kHigh), metrics.height() + theme.px(6))};
}

void RankChip::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const bool strong = hasFocus() || underMouse();
    painter.setPen(QPen(theme.colour(strong ? Token::Accent : Token::AccentLine), hasFocus() ? 2 : 1));
    painter.setBrush(theme.colour(Token::AccentWeak));
    painter.drawRoundedRect(QRectF(rect()).adjusted(1, 1, -1, -1), theme.px(4), theme.px(4));
    painter.setFont(theme.font(TextStyle::Body));
    painter.setPen(theme.colour(Token::Text));
    painter.drawText(rect().adjusted(theme.px(kSide), 0, -theme.px(kSide + kCross), 0), Qt::AlignLeft | Qt::AlignVCenter, text());
    const double side = theme.px(kCross) / 2.0;
    const QPointF middle(width() - theme.px(kSide) - side, height() / 2.0);
    painter.setPen(QPen(theme.colour(Token::Text2), 1.5, Qt::SolidLine, Qt::RoundCap));
    painter.drawLine(middle + QPointF(-side, -side), middle + QPointF(side, side));
    painter.drawLine(middle + QPointF(-side, side), middle + QPointF(side, -side));
}

} // namespace shardlens::ui
