#include "ui/pages/topology_page.h"

#include "ui/models/atlas_model.h"
#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/models/table_text.h"
#include "ui/pages/topology/rank_legend_bar.h"
#include "ui/pages/topology/rank_rows.h"
#include "ui/theme/theme.h"
#include "ui/widgets/card.h"
#include "ui/widgets/link.h"
#include "ui/widgets/page_bar.h"
#include "ui/widgets/rank_bars.h"
#include "ui/widgets/rank_chip.h"
#include "ui/widgets/rank_grid_view.h"
#include "ui/widgets/segments.h"
#include "ui/widgets/text_label.h"

#include <QComboBox>
#include <QHeaderView>
#include <QLabel>
#include <QScrollArea>
#include <QShortcut>
#include <QStackedWidget>
#include <QTableView>
#include <QVBoxLayout>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kMargin = 16;
constexpr int kGap = 12;
constexpr int kRow = 24;
constexpr std::size_t kFilesSaid = 3;
constexpr double kAlike = 0.005; // of the most: ranks that differ less are called even

QString sizesOf(const Topology& topology)
{
    QStringList parts;
    for (const Topology::Size& axis : topology.axes)
        parts << QStringLiteral("%1 %2").arg(QString::fromLatin1(shardlens::nameOf(axis.axis))).arg(axis.size);
    return parts.join(QStringLiteral(" × "));
}

} // namespace

TopologyPage::TopologyPage(Document* document, QWidget* parent)
    : Page(document, parent), m_bar(new PageBar(tr("Topology"), this)), m_stack(new QStackedWidget(this)), m_message(new QLabel(this)),
      m_rows(new RankRows(this))
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(m_bar);
    column->addWidget(m_stack, 1);
    buildBar();
    m_message->setAlignment(Qt::AlignCenter);
    m_message->setWordWrap(true);
    m_message->setMargin(Theme::current().px(24));
    m_stack->addWidget(m_message);
    m_stack->addWidget(buildBody());
    buildTable();
    m_stack->addWidget(m_table);
    setFocusProxy(m_grid);
    connect(document, &Document::stateChanged, this, &TopologyPage::adoptDocument);
    connect(document, &Document::findingsChanged, this, &TopologyPage::adoptDocument);
    connect(document, &Document::keptRankChanged, this, &TopologyPage::followKept);
    adoptDocument();
}

TopologyPage::~TopologyPage() = default;

QString TopologyPage::question() const
{
    return tr("Which rank is which, what does it hold, and how even is that?");
}

void TopologyPage::buildBar()
{
    m_bar->addToHead(new RankChip(document(), m_bar));
    m_view = new Segments({tr("Grid"), tr("Table")}, m_bar);
    m_view->setAccessibleName(tr("Grid or table (T)"));
    m_bar->addToHead(m_view);
    connect(m_view, &Segments::currentChanged, this, &TopologyPage::showView);
    auto* other = new QShortcut(Qt::Key_T, this);
    other->setContext(Qt::WidgetWithChildrenShortcut);
    connect(other, &QShortcut::activated, this, [this] {
        m_view->setCurrent(1 - m_view->current());
        showView();
    });
    m_colour = new QComboBox(m_bar);
    m_colour->setAccessibleName(tr("Colour"));
    m_colour->addItems({tr("bytes held"), tr("state")});
    m_colour->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    m_bar->addControl(tr("Colour"), m_colour);
    m_legend = new RankLegendBar(m_bar);
    m_bar->addControl({}, m_legend);
    m_bar->addControlStretch();
    connect(m_colour, &QComboBox::currentIndexChanged, this, &TopologyPage::setColour);
}

QWidget* TopologyPage::buildBody()
{
    const Theme& theme = Theme::current();
    m_body = new QScrollArea(this);
    m_body->setWidgetResizable(true);
    m_body->setFrameShape(QFrame::NoFrame);
    m_body->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_body->viewport()->setAutoFillBackground(false);
    auto* inside = new QWidget;
    inside->setAutoFillBackground(false);
    auto* column = new QVBoxLayout(inside);
    column->setContentsMargins(theme.px(kMargin), theme.px(kGap), theme.px(kMargin), theme.px(kGap));
    column->setSpacing(theme.px(kGap));
    m_gridCard = new Card(tr("Ranks"), tr("a click shows only that rank on every page"));
    m_grid = new RankGridView;
    m_gridCard->body()->addWidget(m_grid);
    column->addWidget(m_gridCard);
    buildDetails(column);
    auto* bars = new Card(tr("Bytes per rank"), tr("replicas count for every rank that holds them"));
    m_balance = new TextLabel({}, TextStyle::Body, Token::Text2);
    m_balance->setWordWrap(true);
    bars->body()->addWidget(m_balance);
    m_bars = new RankBars;
    bars->body()->addWidget(m_bars);
    column->addWidget(bars);
    column->addStretch(1);
    m_body->setWidget(inside);
    inside->setAutoFillBackground(false); // the scroll area turns it on
    connect(m_grid, &RankGridView::pointed, this, &TopologyPage::point);
    connect(m_grid, &RankGridView::pointedNowhere, this, [this] { point(std::nullopt); });
    connect(m_grid, &RankGridView::chosen, this, &TopologyPage::choose);
    connect(m_bars, &RankBars::pointed, this, &TopologyPage::point);
    connect(m_bars, &RankBars::pointedNowhere, this, [this] { point(std::nullopt); });
    connect(m_bars, &RankBars::chosen, this, &TopologyPage::choose);
    return m_body;
}

// One rank in words: the one under the pointer, else the one that has the keyboard. Its room is kept, so that nothing jumps.
void TopologyPage::buildDetails(QVBoxLayout* column)
{
    auto* card = new Card;
    card->setAccessibleName(tr("The rank that is pointed at"));
    auto* head = new QHBoxLayout;
    head->setSpacing(Theme::current().px(kGap));
    m_who = new TextLabel({}, TextStyle::Strong, Token::Text);
    m_where = new TextLabel({}, TextStyle::Body, Token::Text2);
    m_odd = new TextLabel({}, TextStyle::Body, Token::Warn);
    m_odd->setElide(Qt::ElideRight);
    head->addWidget(m_who);
    head->addWidget(m_where);
    head->addWidget(m_odd, 1);
    card->body()->setSpacing(Theme::current().px(2));
    card->body()->addLayout(head);
    m_holds = new TextLabel({}, TextStyle::Body, Token::Text);
    m_files = new TextLabel({}, TextStyle::Caption, Token::Text2);
    for (TextLabel* label : {m_holds, m_files}) {
        label->setElide(Qt::ElideRight);
        card->body()->addWidget(label);
    }
    column->addWidget(card);
}

void TopologyPage::buildTable()
{
    m_table = new QTableView(this);
    m_table->setModel(m_rows);
    m_table->setAccessibleName(tr("Ranks as a table"));
    m_table->setFrameShape(QFrame::NoFrame);
    m_table->setShowGrid(false);
    m_table->setAlternatingRowColors(true);
    m_table->setWordWrap(false);
    m_table->setTabKeyNavigation(false);
    m_table->setSelectionBehavior(QAbstractItemView::SelectRows);
    m_table->setSelectionMode(QAbstractItemView::SingleSelection);
    m_table->setTextElideMode(Qt::ElideMiddle);
    m_table->verticalHeader()->hide();
    m_table->verticalHeader()->setMinimumSectionSize(1); // the style's least is larger than a row
    m_table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_table->verticalHeader()->setDefaultSectionSize(Theme::current().px(kRow));
    m_table->horizontalHeader()->setHighlightSections(false);
    m_table->horizontalHeader()->setStretchLastSection(true);
    connect(m_table, &QTableView::clicked, this, [this](const QModelIndex& index) { choose(static_cast<std::uint32_t>(index.row())); });
    connect(m_table, &QTableView::activated, this, [this](const QModelIndex& index) {
        if (document()->keptRank() != static_cast<std::uint32_t>(index.row()))
            choose(static_cast<std::uint32_t>(index.row()));
    });
    connect(&Theme::current(), &Theme::changed, this, [this] {
        m_table->verticalHeader()->setDefaultSectionSize(Theme::current().px(kRow));
        m_table->resizeColumnsToContents();
    });
}

void TopologyPage::activate()
{
    if (m_stack->currentWidget() == m_body)
        m_grid->setFocus();
}

void TopologyPage::adoptDocument()
{
    const CheckpointPtr checkpoint = document()->checkpoint();
    if (!checkpoint) {
        m_run.cancel();
        return;
    }
    if (!m_uses)
        m_message->setText(tr("Counting what each rank holds…"));
    m_run.start([checkpoint, findings = document()->findings()](const std::stop_token& stop) { return RankUses::build(checkpoint, findings, stop); },
                [this](RankUsesPtr uses) {
                    if (uses)
                        deliver(std::move(uses));
                });
}

void TopologyPage::showAxes()
{
    for (Link* axis : m_axes)
        axis->deleteLater();
    m_axes.clear();
    for (const Topology::Size& size : document()->checkpoint()->topology().axes) {
        if (size.size < 2 || size.axis == Axis::Rank)
            continue;
        const QString key = QLatin1String(nameOf(size.axis));
        auto* axis = new Link(tr("Atlas by %1", "an axis").arg(key));
        axis->setToolTip(tr("What each %1 holds, side by side").arg(axisTitle(size.axis)));
        connect(axis, &Link::clicked, this, [this, key] { emit document()->choiceRequested(QStringLiteral("atlas"), key); });
        m_gridCard->head()->addWidget(axis);
        m_axes.push_back(axis);
    }
}

void TopologyPage::deliver(RankUsesPtr uses)
{
    showAxes();
    const Checkpoint& checkpoint = *document()->checkpoint();
    m_uses = std::move(uses);
    const bool isShown = !m_uses->ranks.empty();
    m_message->setText(messageFor(*m_uses));
    m_colour->setEnabled(isShown);
    m_view->setEnabled(isShown);
    m_grid->show(isShown ? m_uses : nullptr);
    m_bars->show(isShown ? m_uses : nullptr);
    m_rows->show(document()->checkpoint(), isShown ? m_uses : nullptr);
    m_table->resizeColumnsToContents();
    if (isShown) {
        const QString all = bytesText(checkpoint.totalFileBytes());
        const QString ranks = counted(m_uses->ranks.size(), tr("1 rank"), tr("%1 ranks"));
        m_bar->setFacts(m_uses->kind == RankUses::Kind::Grid ? tr("%1: %2, %3 in files", "axes, ranks, size").arg(sizesOf(m_uses->topology), ranks, all)
                                                             : tr("%1, %2 in files; this format does not say how they are arranged").arg(ranks, all));
        showBalance();
        setColour();
        followKept();
    } else {
        m_bar->setFacts({});
    }
    showView();
}

QString TopologyPage::messageFor(const RankUses& uses) const
{
    switch (uses.kind) {
    case RankUses::Kind::NoRanks:
        return tr("%1 is one model without ranks: nothing in its files says that several processes wrote it, so there is no topology to show.")
            .arg(printableText(document()->checkpoint()->formatTitle()));
    case RankUses::Kind::TooMany: return tr("This run has more ranks than the %1 that a grid can show.").arg(numberText(kMostGridRanks));
    case RankUses::Kind::Grid:
    case RankUses::Kind::RowOfRanks: break;
    }
    return {};
}

void TopologyPage::showBalance()
{
    if (m_uses->most == 0) {
        m_balance->setText(tr("No rank holds a value."));
        return;
    }
    if (m_uses->ranks.size() == 1) {
        m_balance->setText(tr("One rank holds everything: %1.").arg(bytesText(m_uses->most)));
        return;
    }
    if (m_uses->most == m_uses->least) {
        m_balance->setText(tr("Even: every rank holds %1.").arg(bytesText(m_uses->most)));
        return;
    }
    if (static_cast<double>(m_uses->most - m_uses->least) < kAlike * static_cast<double>(m_uses->most)) {
        m_balance->setText(tr("Nearly even: every rank holds between %1 and %2 B.").arg(numberText(m_uses->least), numberText(m_uses->most)));
        return;
    }
    const QString ratio = timesText(static_cast<double>(m_uses->most) / m_uses->mean);
    const QString more = bytesText(m_uses->most - static_cast<std::uint64_t>(m_uses->mean));
    QString text = m_uses->heaviestCount == 1 ? tr("Rank %1 holds most: %2 the mean, %3 more.").arg(m_uses->heaviest).arg(ratio, more)
                                              : tr("Rank %1 and %2 more hold most: %3 the mean, %4 more.")
                                                    .arg(m_uses->heaviest)
                                                    .arg(numberText(m_uses->heaviestCount - 1), ratio, more);
    if (m_uses->largest != kNoTensor)
        text += QLatin1Char(' ') + tr("The largest tensor there is %1, %2.")
                                       .arg(printableText(document()->checkpoint()->fullName(m_uses->largest)), bytesText(m_uses->largestBytes));
    m_balance->setText(text);
}

void TopologyPage::setColour()
{
    const auto colour = static_cast<RankColour>(m_colour->currentIndex());
    m_grid->setColour(colour);
    m_bars->setColour(colour);
    m_legend->show(m_uses && !m_uses->ranks.empty() ? m_uses : nullptr, colour);
}

void TopologyPage::showView()
{
    const bool isShown = m_uses && !m_uses->ranks.empty();
    QWidget* shown = !isShown ? static_cast<QWidget*>(m_message) : m_view->current() == 0 ? static_cast<QWidget*>(m_body) : m_table;
    const bool hadFocus = m_stack->isAncestorOf(focusWidget());
    m_stack->setCurrentWidget(shown);
    if (hadFocus && isShown)
        (shown == m_body ? static_cast<QWidget*>(m_grid) : m_table)->setFocus();
}

void TopologyPage::followKept()
{
    if (!m_uses || m_uses->ranks.empty())
        return;
    const auto kept = document()->keptRank();
    m_grid->setKept(kept);
    if (kept)
        m_table->selectRow(static_cast<int>(*kept));
    else
        m_table->clearSelection();
    point(std::nullopt);
}

void TopologyPage::point(std::optional<std::uint32_t> rank)
{
    if (!m_uses || m_uses->ranks.empty())
        return;
    m_bars->mark(document()->keptRank(), rank);
    showDetails(rank.value_or(m_grid->focused()));
}

void TopologyPage::showDetails(std::uint32_t rank)
{
    const Checkpoint& checkpoint = *document()->checkpoint();
    const RankUse& use = m_uses->ranks[rank];
    m_who->setText(tr("Rank %1").arg(rank));
    m_where->setText(m_uses->placeOf(rank));
    m_holds->setText(tr("Holds %1, %2 the mean: %3", "bytes, factor, by state")
                         .arg(bytesText(use.total), timesText(m_uses->shareOf(rank)), statesText(checkpoint, use)));
    m_files->setText(tr("%1, %2: %3", "files, size, names")
                         .arg(counted(use.files.size(), tr("1 file"), tr("%1 files")), bytesText(use.fileBytes), filesText(checkpoint, use, kFilesSaid)));
    const auto& findings = document()->findings();
    const bool isOdd = use.state != RankUse::State::Complete;
    m_odd->setInk(use.state == RankUse::State::Missing ? Token::Error : isOdd ? Token::Warn : Token::Ok);
    m_odd->setText(!isOdd                                                          ? stateName(use.state)
                   : use.findings.empty() || use.findings[0] >= findings.size() ? stateName(use.state)
                                                                                 : printableText(findings[use.findings[0]].text));
}

// A second click shows all ranks again.
void TopologyPage::choose(std::uint32_t rank)
{
    const bool isKept = document()->keptRank() == rank;
    document()->keepRank(isKept ? std::nullopt : std::optional(rank));
    document()->select(isKept ? Selection{} : Selection{std::nullopt, std::nullopt, rank, std::nullopt});
}

bool TopologyPage::clearFilter()
{
    if (!document()->keptRank())
        return false;
    document()->keepRank(std::nullopt);
    return true;
}

QString TopologyPage::copyText(bool withPlace) const
{
    if (!m_uses || m_uses->ranks.empty())
        return {};
    return withPlace ? document()->path() + QLatin1Char('\n') + tableText(*m_rows) : tableText(*m_rows);
}

QString TopologyPage::message() const
{
    return m_stack->currentWidget() == m_message ? m_message->text() : QString();
}

QStringList TopologyPage::details() const
{
    return {m_who->text(), m_where->text(), m_odd->text(), m_holds->text(), m_files->text()};
}

QString TopologyPage::balance() const
{
    return m_balance->text();
}

} // namespace shardlens::ui
