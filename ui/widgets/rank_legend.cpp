#include "ui/widgets/rank_legend.h"

#include "ui/theme/theme.h"

#include <QPainter>

namespace shardlens::ui {
namespace {
constexpr std::uint32_t kMostShown = 8;
}

RankLegend::RankLegend(std::uint32_t ranks, QWidget* parent) : QWidget(parent), m_ranks(ranks)
{
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
    setAccessibleName(tr("Colours of the ranks"));
    setVisible(ranks > 1);
}

QStringList RankLegend::labels() const
{
    QStringList out;
    for (std::uint32_t rank = 0; rank < m_ranks && rank < kMostShown; ++rank)
        out << tr("rank %1").arg(rank);
    if (m_ranks > kMostShown)
        out << tr("and %n more", nullptr, static_cast<int>(m_ranks - kMostShown));
    return out;
}

QSize RankLegend::sizeHint() const
{
    const Theme& theme = Theme::current();
    const QFontMetrics metrics(theme.font(TextStyle::Caption));
    int width = 0;
    for (const QString& label : labels())
        width += metrics.horizontalAdvance(label) + theme.px(30);
    return {width, theme.px(18)};
}

void RankLegend::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text2));
    int x = 0;
    const QStringList all = labels();
    for (int i = 0; i < static_cast<int>(all.size()); ++i) {
        if (static_cast<std::uint32_t>(i) < kMostShown) {
            painter.fillRect(QRect(x, (height() - theme.px(10)) / 2, theme.px(10), theme.px(10)), theme.categorical(i));
            x += theme.px(15);
        }
        painter.drawText(QRect(x, 0, width() - x, height()), Qt::AlignLeft | Qt::AlignVCenter, all[i]);
        x += painter.fontMetrics().horizontalAdvance(all[i]) + theme.px(14);
    }
}

} // namespace shardlens::ui
