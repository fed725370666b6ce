#include "ui/widgets/balance_plot.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/plot_style.h"

#include <QAccessible>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QVBoxLayout>

#include <qcustomplot.h>

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr int kBalanceHoverMs = 120;
constexpr double kRoomAboveBars = 1.08;
constexpr double kBarShare = 0.82;      // of its slot
constexpr qsizetype kLongestLabel = 24; // letters of a file's short name
constexpr double kLeastBarPixels = 2;
// Design pixels.
constexpr int kLeastSlot = 5;
constexpr int kWidestBarSlot = 120;

// Sizes in binary units at round steps of them.
class ByteTicker : public QCPAxisTicker {
protected:
    double getTickStep(const QCPRange& range) override
    {
        const double exact = std::max(1.0, range.size() / 4);
        const double unit = std::pow(1024, std::floor(std::log(exact) / std::log(1024)));
        const double power = std::pow(10, std::floor(std::log10(exact / unit)));
        for (const double step : {1.0, 2.0, 5.0, 10.0})
            if (exact <= step * power * unit)
                return step * power * unit;
        return 10 * power * unit;
    }
    int getSubTickCount(double) override { return 0; }
    QString getTickLabel(double tick, const QLocale&, QChar, int) override
    {
        return tick <= 0 ? QStringLiteral("0") : bytesText(static_cast<std::uint64_t>(std::llround(tick)));
    }
};

} // namespace

BalancePlot::BalancePlot(QWidget* parent)
    : QWidget(parent), m_plot(new QCustomPlot(this)), m_largest(new QCPBars(m_plot->xAxis, m_plot->yAxis)), m_smallest(new QCPBars(m_plot->xAxis, m_plot->yAxis)),
      m_marked(new QCPBars(m_plot->xAxis, m_plot->yAxis)), m_meanText(new QCPItemText(m_plot)), m_mean(new QCPItemStraightLine(m_plot)), m_card(new HoverCard(this))
{
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(2, 2, 2, 2); // the ring of the focus
    layout->addWidget(m_plot);
    setMouseTracking(true);
    setFocusPolicy(Qt::StrongFocus);
    m_plot->setAttribute(Qt::WA_TransparentForMouseEvents);
    m_plot->setMinimumSize(64, 64); // the plot cannot paint on nothing
    for (QCPBars* bars : {m_largest, m_smallest, m_marked})
        bars->setAntialiased(false);
    m_plot->xAxis->grid()->setVisible(false);
    m_plot->yAxis->setTicker(QSharedPointer<ByteTicker>::create());
    m_meanText->setPositionAlignment(Qt::AlignRight | Qt::AlignBottom);
    m_meanText->position->setTypeX(QCPItemPosition::ptAxisRectRatio);
    m_meanText->position->setTypeY(QCPItemPosition::ptPlotCoords);
    setAccessibleName(tr("Bytes by file"));
    m_hoverTimer.setSingleShot(true);
    m_hoverTimer.setInterval(kBalanceHoverMs);
    connect(&m_hoverTimer, &QTimer::timeout, this, [this] {
        if (const HoverCardContent content = cardAt(m_cursor); content.title.isEmpty())
            m_card->hide();
        else
            m_card->showAt(content, m_cursor, rect().adjusted(4, 4, -4, -4));
    });
    connect(&Theme::current(), &Theme::changed, this, &BalancePlot::applyTheme);
    applyTheme();
}

QSize BalancePlot::sizeHint() const
{
    return {Theme::current().px(640), Theme::current().px(200)};
}

QSize BalancePlot::minimumSizeHint() const
{
    return {Theme::current().px(240), Theme::current().px(120)};
}

void BalancePlot::applyTheme()
{
    const Theme& theme = Theme::current();
    stylePlot(*m_plot);
    for (QCPBars* bars : {m_largest, m_smallest, m_marked})
        bars->setPen(Qt::NoPen);
    m_largest->setBrush(theme.sequential(3));
    m_smallest->setBrush(theme.sequential(5));
    m_marked->setBrush(theme.colour(Token::Accent));
    m_mean->setPen(QPen(theme.colour(Token::Text), 1, Qt::DashLine));
    m_meanText->setFont(theme.font(TextStyle::Caption));
    m_meanText->setColor(theme.colour(Token::Text));
    m_meanText->setBrush(theme.colour(Token::Surface));
    m_meanText->setPadding(QMargins(3, 0, 3, 0));
    updateGeometry();
    place();
}

void BalancePlot::show(WriterUsesPtr uses, bool byRank)
{
    m_uses = std::move(uses);
    m_byRank = byRank;
    m_balance = m_uses ? WriterBalance::of(*m_uses, byRank) : WriterBalance{};
    m_current.reset();
    m_labels.clear();
    if (m_uses && !byRank) {
        QStringList names;
        for (const WriterBalance::Bar& bar : m_balance.bars)
            names << m_uses->nameOf(m_uses->byFile[bar.use], false);
        m_labels = names.size() == 1 ? names : numbersOfNames(names);
    }
    setAccessibleName(byRank ? tr("Bytes by rank") : tr("Bytes by file"));
    m_card->hide();
    place();
    announce();
}

const WriterUse& BalancePlot::useOf(std::size_t bar) const
{
    return (m_byRank ? m_uses->byRank : m_uses->byFile)[m_balance.bars[bar].use];
}

QString BalancePlot::shortLabel(std::size_t bar) const
{
    if (m_byRank)
        return QString::number(*useOf(bar).rank);
    const QString& label = m_labels[static_cast<qsizetype>(bar)];
    return label.size() > kLongestLabel ? QString::number(bar + 1) : label;
}

std::size_t BalancePlot::groupOf(std::size_t bar) const
{
    return m_groups.empty() ? 0 : bar / m_groups.front().count;
}

// Of a bar: what holds a byte is never invisible.
double BalancePlot::leastHeight() const
{
    return m_plot->yAxis->range().upper * kLeastBarPixels / std::max(1, m_plot->axisRect()->height());
}

// As many bars as have room, each of equally many writers; the last may have fewer.
void BalancePlot::place()
{
    m_groups.clear();
    const std::size_t count = m_balance.bars.size();
    const int room = std::max(1, m_plot->axisRect()->width());
    const auto most = static_cast<std::size_t>(std::max(1, room / Theme::current().px(kLeastSlot)));
    const std::size_t each = std::max<std::size_t>(1, (count + most - 1) / most);
    QVector<double> keys;
    QVector<double> largest;
    QVector<double> smallest;
    double top = 1;
    for (std::size_t first = 0; first < count; first += each) {
        Group group{first, std::min(each, count - first), first, first};
        for (std::size_t bar = first; bar < first + group.count; ++bar) {
            group.largest = m_balance.bars[bar].bytes > m_balance.bars[group.largest].bytes ? bar : group.largest;
            group.smallest = m_balance.bars[bar].bytes < m_balance.bars[group.smallest].bytes ? bar : group.smallest;
        }
        keys << static_cast<double>(m_groups.size());
        largest << static_cast<double>(m_balance.bars[group.largest].bytes);
        smallest << static_cast<double>(m_balance.bars[group.smallest].bytes);
        top = std::max(top, largest.back());
        m_groups.push_back(group);
    }
    // Few bars keep to the left at a width that still looks like a bar.
    const double slotCount = std::max(static_cast<double>(m_groups.size()), static_cast<double>(room) / Theme::current().px(kWidestBarSlot));
    m_plot->xAxis->setRange(-0.5, slotCount - 0.5);
    // The mean's name stands above its line, however close that is to the top.
    const double share = (QFontMetricsF(Theme::current().font(TextStyle::Caption)).height() + 4) / std::max(1, m_plot->axisRect()->height());
    m_plot->yAxis->setRange(0, std::max(top * kRoomAboveBars, count > 1 ? m_balance.mean / std::max(0.2, 1 - share) : 0));
    for (QVector<double>* heights : {&largest, &smallest})
        for (double& height : *heights)
            height = std::max(height, leastHeight());
    m_largest->setData(keys, largest, true);
    m_smallest->setData(keys, smallest, true);
    const bool isDense = room / slotCount < 4;
    for (QCPBars* bars : {m_largest, m_smallest, m_marked})
        bars->setWidth(isDense ? 1 : kBarShare);
    const bool hasMean = count > 1;
    m_mean->setVisible(hasMean);
    m_meanText->setVisible(hasMean);
    m_mean->point1->setCoords(0, m_balance.mean);
    m_mean->point2->setCoords(1, m_balance.mean);
    m_meanText->position->setCoords(1, m_balance.mean);
    m_meanText->setText(tr("mean %1").arg(bytesText(static_cast<std::uint64_t>(std::llround(m_balance.mean)))));
    placeAxis();
    markCurrent();
}

// Labels below as many bars as have room for them.
void BalancePlot::placeAxis()
{
    auto ticker = QSharedPointer<QCPAxisTickerText>::create();
    const QFontMetricsF metrics(Theme::current().font(TextStyle::Caption));
    const double slot = m_plot->axisRect()->width() / std::max(1.0, m_plot->xAxis->range().size());
    double widest = 0;
    for (const Group& group : m_groups)
        widest = std::max(widest, metrics.horizontalAdvance(shortLabel(group.first)));
    const auto every = static_cast<std::size_t>(std::max(1.0, std::ceil((widest + Theme::current().px(8)) / std::max(slot, 1.0))));
    for (std::size_t i = 0; i < m_groups.size(); i += every)
        ticker->addTick(static_cast<double>(i), shortLabel(m_groups[i].first));
    m_plot->xAxis->setTicker(ticker);
    const std::size_t each = m_groups.empty() ? 1 : m_groups.front().count;
    const QString what = m_byRank ? tr("rank") : tr("file");
    m_plot->xAxis->setLabel(each == 1 ? what
                                      : tr("%1; each bar: %2 of them, as high as the largest, dark up to the smallest", "what the bars are, how many share one").arg(what, numberText(each)));
}

void BalancePlot::markCurrent()
{
    QVector<double> keys;
    QVector<double> heights;
    for (std::size_t bar = 0; m_current && bar < m_balance.bars.size(); ++bar)
        if (m_balance.bars[bar].use == *m_current) {
            keys << static_cast<double>(groupOf(bar));
            heights << std::max(static_cast<double>(m_balance.bars[bar].bytes), leastHeight());
        }
    m_marked->setData(keys, heights, true);
    m_plot->replot(QCustomPlot::rpQueuedReplot);
}

void BalancePlot::announce()
{
    QString text = m_uses ? m_balance.sentence(*m_uses, m_byRank) : QString();
    for (std::size_t bar = 0; m_current && bar < m_balance.bars.size(); ++bar)
        if (m_balance.bars[bar].use == *m_current)
            text = sentenceOf(bar);
    setAccessibleDescription(text);
    QAccessibleEvent event(this, QAccessible::DescriptionChanged);
    QAccessible::updateAccessibility(&event);
}

void BalancePlot::setCurrent(std::optional<std::size_t> use)
{
    m_current = use;
    announce();
    markCurrent();
}

// "rank 3: 48,492 B, 31 % more than the mean"
QString BalancePlot::sentenceOf(std::size_t bar) const
{
    const WriterBalance::Bar& at = m_balance.bars[bar];
    const QString text = tr("%1: %2 B", "who, bytes").arg(m_uses->nameOf(useOf(bar), m_byRank), numberText(at.bytes));
    return m_balance.bars.size() > 1 ? tr("%1, %2", "who and bytes, compared").arg(text, m_balance.shareText(at.bytes)) : text;
}

std::optional<std::size_t> BalancePlot::groupAt(QPointF point) const
{
    const QRect plot = m_plot->axisRect()->rect().translated(m_plot->pos());
    if (!plot.contains(point.toPoint()))
        return std::nullopt;
    const double key = std::floor(m_plot->xAxis->pixelToCoord(point.x() - m_plot->x()) + 0.5);
    return key < 0 || key >= static_cast<double>(m_groups.size()) ? std::nullopt : std::optional(static_cast<std::size_t>(key));
}

HoverCardContent BalancePlot::cardOf(std::size_t index) const
{
    const Group& group = m_groups[index];
    const Theme& theme = Theme::current();
    HoverCardContent card;
    const auto size = [this](std::size_t bar) { return tr("%1 B, %2").arg(numberText(m_balance.bars[bar].bytes), m_balance.shareText(m_balance.bars[bar].bytes)); };
    if (group.count > 1) {
        card.colour = theme.sequential(3);
        card.title = tr("%1 to %2", "the first and the last of a bar").arg(m_uses->nameOf(useOf(group.first), m_byRank), m_uses->nameOf(useOf(group.first + group.count - 1), m_byRank));
        card.rows = {{tr("Largest"), tr("%1: %2").arg(m_uses->nameOf(useOf(group.largest), m_byRank), size(group.largest))},
                     {tr("Smallest"), tr("%1: %2").arg(m_uses->nameOf(useOf(group.smallest), m_byRank), size(group.smallest))}};
        return card;
    }
    const WriterUse& use = useOf(group.first);
    card.colour = use.rank ? theme.categorical(static_cast<int>(*use.rank)) : theme.sequential(5);
    card.title = m_uses->nameOf(use, m_byRank);
    card.aside = !m_byRank && use.rank ? tr("rank %1").arg(*use.rank) : m_byRank ? counted(use.files.size(), tr("1 file"), tr("%1 files")) : QString();
    card.rows.emplace_back(tr("On disk"), size(group.first));
    const std::pair<QString, WriterUse::Kind> kinds[] = {{tr("Weights"), WriterUse::Weights}, {tr("Optimizer"), WriterUse::Optimizer}, {tr("Other"), WriterUse::Other}};
    for (const auto& [label, kind] : kinds)
        if (use.valueBytes[kind] > 0)
            card.rows.emplace_back(label, tr("%1 B").arg(numberText(use.valueBytes[kind])));
    card.rows.emplace_back(tr("Chunks"), tr("%1 of %2", "chunks, tensors").arg(numberText(use.chunks), counted(use.tensors, tr("1 tensor"), tr("%1 tensors"))));
    return card;
}

HoverCardContent BalancePlot::cardAt(QPointF point) const
{
    const auto group = m_uses ? groupAt(point) : std::nullopt;
    return group ? cardOf(*group) : HoverCardContent{};
}

void BalancePlot::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    painter.fillRect(rect(), Theme::current().colour(Token::Surface));
    if (!hasFocus())
        return;
    painter.setPen(QPen(Theme::current().colour(Token::Accent), 1));
    painter.drawRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5));
}

void BalancePlot::resizeEvent(QResizeEvent* event)
{
    QWidget::resizeEvent(event);
    m_plot->replot(QCustomPlot::rpImmediateRefresh); // the room of the axes is known after it
    place();
}

void BalancePlot::mouseMoveEvent(QMouseEvent* event)
{
    m_cursor = event->position().toPoint();
    const auto group = m_uses ? groupAt(event->position()) : std::nullopt;
    setCursor(group ? Qt::PointingHandCursor : Qt::ArrowCursor);
    emit hoverTextChanged(group ? sentenceOf(m_groups[*group].largest) : QString());
    if (!group)
        m_card->hide();
    else if (m_card->isVisible())
        m_card->showAt(cardOf(*group), m_cursor, rect().adjusted(4, 4, -4, -4));
    else
        m_hoverTimer.start();
}

void BalancePlot::leaveEvent(QEvent*)
{
    m_hoverTimer.stop();
    m_card->hide();
    emit hoverTextChanged({});
}

void BalancePlot::mousePressEvent(QMouseEvent* event)
{
    const auto group = m_uses && event->button() == Qt::LeftButton ? groupAt(event->position()) : std::nullopt;
    if (group)
        moveTo(static_cast<std::ptrdiff_t>(m_groups[*group].largest));
}

// The bar becomes current and is chosen: the table and the other pages follow.
void BalancePlot::moveTo(std::ptrdiff_t bar)
{
    const auto last = static_cast<std::ptrdiff_t>(m_balance.bars.size()) - 1;
    if (last < 0)
        return;
    const std::size_t use = m_balance.bars[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(bar, 0, last))].use;
    setCurrent(use);
    emit hoverTextChanged(accessibleDescription());
    emit chosen(use);
}

void BalancePlot::keyPressEvent(QKeyEvent* event)
{
    std::ptrdiff_t at = -1;
    for (std::size_t bar = 0; m_current && bar < m_balance.bars.size(); ++bar)
        if (m_balance.bars[bar].use == *m_current)
            at = static_cast<std::ptrdiff_t>(bar);
    switch (event->key()) {
    case Qt::Key_Right:
    case Qt::Key_Down: return moveTo(at + 1);
    case Qt::Key_Left:
    case Qt::Key_Up: return moveTo(at < 0 ? static_cast<std::ptrdiff_t>(m_balance.bars.size()) - 1 : at - 1);
    case Qt::Key_Home: return moveTo(0);
    case Qt::Key_End: return moveTo(static_cast<std::ptrdiff_t>(m_balance.bars.size()) - 1);
    default: QWidget::keyPressEvent(event);
    }
}

void BalancePlot::focusInEvent(QFocusEvent* event)
{
    update();
    QWidget::focusInEvent(event);
}

void BalancePlot::focusOutEvent(QFocusEvent* event)
{
    update();
    QWidget::focusOutEvent(event);
}

} // namespace shardlens::ui
