#include "ui/widgets/plot_style.h"

#include "ui/theme/theme.h"

#include <qcustomplot.h>

namespace shardlens::ui {

void stylePlot(QCustomPlot& plot)
{
    const Theme& theme = Theme::current();
    plot.setBackground(theme.colour(Token::Surface));
    const QPen hairline(theme.colour(Token::Border), 1);
    for (QCPAxis* axis : {plot.xAxis, plot.yAxis}) {
        axis->setBasePen(hairline);
        axis->setTickPen(Qt::NoPen);
        axis->setSubTickPen(Qt::NoPen);
        axis->setTickLabelFont(theme.font(TextStyle::Caption));
        axis->setTickLabelColor(theme.colour(Token::Text3));
        axis->setLabelFont(theme.font(TextStyle::Caption));
        axis->setLabelColor(theme.colour(Token::Text3));
        axis->grid()->setPen(hairline);
        axis->grid()->setZeroLinePen(hairline);
    }
}

} // namespace shardlens::ui
