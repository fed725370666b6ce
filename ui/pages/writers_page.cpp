#include "ui/pages/writers_page.h"

#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/models/table_text.h"
#include "ui/models/writer_rows.h"
#include "ui/theme/theme.h"
#include "ui/widgets/balance_plot.h"
#include "ui/widgets/name_delegate.h"
#include "ui/widgets/page_bar.h"
#include "ui/widgets/rank_chip.h"
#include "ui/widgets/search_field.h"
#include "ui/widgets/segments.h"
#include "ui/widgets/text_label.h"

#include <QClipboard>
#include <QGuiApplication>
#include <QHeaderView>
#include <QLabel>
#include <QPainter>
#include <QShortcut>
#include <QSplitter>
#include <QStackedWidget>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>
#include <array>

namespace shardlens::ui {
namespace {

constexpr int kMostNamesCompared = 20'000; // that are shortened around what differs
// Design pixels.
constexpr int kPlotHeight = 230;
constexpr int kTableHeight = 400;
constexpr std::array<int, WriterRows::ColumnCount> kWriterWidths{60, 150, 132, 76, 62, 62, 76, 80, 66, 80};

} // namespace

WritersPage::WritersPage(Document* document, QWidget* parent)
    : Page(document, parent), m_stack(new QStackedWidget(this)), m_empty(new QLabel(tr("Nothing is open: Ctrl+O"), this)), m_split(new QSplitter(Qt::Vertical, this)), m_rows(new WriterRows(this))
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    buildBar();
    column->addWidget(m_bar);
    column->addWidget(m_stack, 1);
    m_empty->setAlignment(Qt::AlignCenter);
    m_empty->setWordWrap(true);
    buildTable();
    m_split->addWidget(buildBalance());
    m_split->addWidget(m_table);
    m_split->setStretchFactor(1, 1);
    m_split->setSizes({Theme::current().px(kPlotHeight), Theme::current().px(kTableHeight)});
    m_stack->addWidget(m_split);
    m_stack->addWidget(m_empty);
    connect(document, &Document::stateChanged, this, &WritersPage::rebuild);
    connect(document, &Document::selectionChanged, this, &WritersPage::followSelection);
    connect(document, &Document::keptRankChanged, this, &WritersPage::followRank);
    connect(&Theme::current(), &Theme::changed, this, &WritersPage::followTheme);
    followTheme();
}

WritersPage::~WritersPage() = default;

QString WritersPage::question() const
{
    return tr("Who wrote what, and is it shared out evenly?");
}

void WritersPage::buildBar()
{
    m_bar = new PageBar(tr("Who wrote what"), this);
    m_mode = new Segments({tr("By file"), tr("By rank")}, m_bar);
    m_mode->setAccessibleName(tr("Rows by file or by rank"));
    m_bar->addToHead(new RankChip(document(), m_bar));
    m_bar->addToHead(m_mode);
    connect(m_bar->addIconButton(QStringLiteral("copy"), tr("Copy the table as text (Ctrl+C)")), &QToolButton::clicked, this, [this] { QGuiApplication::clipboard()->setText(copyText(false)); });
    m_filter = new SearchField(tr("Filter files and ranks"), m_bar);
    m_filter->setMinimumWidth(Theme::current().px(220));
    m_filter->setMaximumWidth(Theme::current().px(320));
    m_count = new TextLabel({}, TextStyle::Caption, Token::Text2, m_bar);
    m_bar->addControl({}, m_filter);
    m_bar->addControlStretch();
    m_bar->addControl({}, m_count);
    connect(m_mode, &Segments::currentChanged, this, &WritersPage::show);
    connect(m_filter, &QLineEdit::textChanged, this, &WritersPage::applyFilter);
}

QWidget* WritersPage::buildBalance()
{
    const Theme& theme = Theme::current();
    auto* balance = new QWidget(m_split);
    auto* column = new QVBoxLayout(balance);
    column->setContentsMargins(theme.px(16), theme.px(10), theme.px(16), theme.px(4));
    column->setSpacing(theme.px(4));
    m_sentence = new TextLabel({}, TextStyle::Strong, Token::Text, balance);
    m_sentence->setWordWrap(true);
    m_sentence->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_hint = new TextLabel({}, TextStyle::Caption, Token::Text3, balance);
    m_hint->setElide(Qt::ElideRight);
    m_plot = new BalancePlot(balance);
    column->addWidget(m_sentence);
    column->addWidget(m_hint);
    column->addWidget(m_plot, 1);
    connect(m_plot, &BalancePlot::chosen, this, &WritersPage::chooseUse);
    return balance;
}

void WritersPage::buildTable()
{
    m_table = new QTableView(m_split);
    m_names = new NameDelegate(this);
    m_table->setModel(m_rows);
    m_table->setItemDelegateForColumn(WriterRows::Name, m_names);
    m_table->setAccessibleName(tr("Who wrote what"));
    m_table->setFrameShape(QFrame::NoFrame);
    m_table->setShowGrid(false);
    m_table->setAlternatingRowColors(true);
    m_table->setWordWrap(false);
    m_table->setTabKeyNavigation(false);
    m_table->setTextElideMode(Qt::ElideMiddle);
    m_table->setSelectionBehavior(QAbstractItemView::SelectRows);
    m_table->setSelectionMode(QAbstractItemView::SingleSelection);
    m_table->setHorizontalScrollMode(QAbstractItemView::ScrollPerPixel);
    m_table->verticalHeader()->hide();
    m_table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_table->verticalHeader()->setMinimumSectionSize(1); // the style's least is larger than a row
    QHeaderView* header = m_table->horizontalHeader();
    header->setHighlightSections(false);
    header->setSortIndicator(-1, Qt::AscendingOrder);
    header->setSortIndicatorClearable(true); // a third click: as the checkpoint has them
    m_table->setSortingEnabled(true);
    m_table->installEventFilter(this);
    connect(header, &QHeaderView::sortIndicatorChanged, this, [this] { showCount(); });
    connect(m_table->selectionModel(), &QItemSelectionModel::currentRowChanged, this, [this](const QModelIndex& now) {
        if (!m_quiet && now.isValid() && m_uses)
            chooseUse(m_rows->useNumber(now.row()));
    });
    connect(m_table, &QTableView::activated, this, &WritersPage::openAtlas);
    auto* copy = new QShortcut(QKeySequence::Copy, m_table);
    copy->setContext(Qt::WidgetShortcut);
    connect(copy, &QShortcut::activated, this, [this] { QGuiApplication::clipboard()->setText(copyText(false)); });
}

void WritersPage::activate()
{
    m_active = true;
    rebuild();
    m_table->setFocus();
}

void WritersPage::choose(const QString& what)
{
    m_mode->setCurrent(what == QLatin1String("rank") ? 1 : 0);
    show();
}

void WritersPage::rebuild()
{
    const CheckpointPtr checkpoint = document()->checkpoint();
    if (!m_active || m_builtFor == checkpoint)
        return;
    m_builtFor = checkpoint;
    m_uses = nullptr;
    m_run.cancel();
    show();
    if (!checkpoint)
        return;
    m_run.start([checkpoint](const std::stop_token& stop) { return WriterUses::build(checkpoint, stop); },
                [this](WriterUsesPtr uses) {
                    m_uses = std::move(uses);
                    show();
                });
}

bool WritersPage::isByRank() const
{
    return m_mode->current() == 1 && m_uses && !m_uses->byRank.empty();
}

void WritersPage::show()
{
    const bool hasRanks = m_uses && !m_uses->byRank.empty();
    m_mode->setEnabled(hasRanks);
    m_mode->setToolTip(m_uses && !hasRanks ? tr("This format does not say which rank wrote a file") : QString());
    if (m_uses && !hasRanks)
        m_mode->setCurrent(0);
    m_quiet = true;
    m_rows->show(m_uses, isByRank());
    m_quiet = false;
    m_plot->show(m_uses, isByRank());
    m_table->setColumnHidden(WriterRows::Rank, m_uses && !hasRanks);
    fitColumns();
    m_stack->setCurrentWidget(document()->checkpoint() ? static_cast<QWidget*>(m_split) : m_empty);
    m_sentence->setText(m_uses ? m_plot->balance().sentence(*m_uses, isByRank()) : QString());
    m_hint->setText(!m_uses       ? QString()
                    : isByRank() ? tr("Bytes on the disk of the files that a rank wrote; files without values are left out. Arrow keys go from bar to bar.")
                                 : tr("Bytes on the disk of every file that holds values. Arrow keys go from bar to bar."));
    m_bar->setFacts(m_uses ? tr("%1 on the disk", "bytes").arg(bytesText(m_uses->checkpoint->totalFileBytes())) : QString());
    followRank();
    followSelection();
}

void WritersPage::showCount()
{
    if (!m_uses) {
        m_count->setText({});
        return;
    }
    QStringList names;
    for (int row = 0; row < std::min(m_rows->rowCount(), kMostNamesCompared); ++row)
        names << m_rows->index(row, WriterRows::Name).data().toString();
    m_names->setNames(names);
    const auto hidden = m_rows->all() - static_cast<std::size_t>(m_rows->rowCount());
    m_count->setText(hidden == 0 ? m_rows->sumText() : tr("%1; %2 hidden by the filter (Esc clears)").arg(m_rows->sumText(), numberText(hidden)));
}

void WritersPage::applyFilter()
{
    m_quiet = true;
    m_rows->setFilter(m_filter->text());
    m_quiet = false;
    showCount();
    followSelection();
}

void WritersPage::followRank()
{
    m_quiet = true;
    m_rows->keepRank(document()->keptRank());
    m_quiet = false;
    showCount();
    followSelection();
}

void WritersPage::followSelection()
{
    if (!m_uses)
        return;
    const Selection& selection = document()->selection();
    std::optional<std::size_t> use;
    if (!isByRank() && selection.file && indexOf(*selection.file) < m_uses->byFile.size())
        use = indexOf(*selection.file);
    for (std::size_t i = 0; isByRank() && selection.rank && i < m_uses->byRank.size(); ++i)
        if (m_uses->byRank[i].rank == selection.rank)
            use = i;
    m_plot->setCurrent(use);
    const int row = use ? m_rows->rowOfUse(*use) : -1;
    m_quiet = true;
    if (row >= 0 && m_table->currentIndex().row() != row)
        m_table->setCurrentIndex(m_rows->index(row, WriterRows::Name));
    else if (row < 0)
        m_table->setCurrentIndex({});
    m_quiet = false;
}

void WritersPage::followTheme()
{
    const Theme& theme = Theme::current();
    m_table->verticalHeader()->setDefaultSectionSize(theme.px(24));
    for (int column = 0; column < WriterRows::ColumnCount; ++column)
        m_table->setColumnWidth(column, theme.px(kWriterWidths[static_cast<std::size_t>(column)]));
    fitColumns();
    update();
}

// Names and what files hold take what the numbers leave.
void WritersPage::fitColumns()
{
    int others = 0;
    for (int column = 0; column < WriterRows::ColumnCount; ++column)
        if (column != WriterRows::Name && column != WriterRows::Holds && !m_table->isColumnHidden(column))
            others += m_table->columnWidth(column);
    const int room = m_table->width() - others - Theme::current().px(14); // the scroll bar
    const int least = Theme::current().px(kWriterWidths[WriterRows::Name] + kWriterWidths[WriterRows::Holds]);
    const int holds = Theme::current().px(kWriterWidths[WriterRows::Holds]) + std::max(0, room - least) / 3;
    m_table->setColumnWidth(WriterRows::Holds, holds);
    m_table->setColumnWidth(WriterRows::Name, std::max(Theme::current().px(kWriterWidths[WriterRows::Name]), room - holds));
}

bool WritersPage::eventFilter(QObject* watched, QEvent* event)
{
    if (watched == m_table && event->type() == QEvent::Resize)
        fitColumns();
    return Page::eventFilter(watched, event);
}

// The file, and who wrote it, on all pages.
void WritersPage::chooseUse(std::size_t use)
{
    const WriterUse& chosen = (isByRank() ? m_uses->byRank : m_uses->byFile)[use];
    Selection selection{std::nullopt, std::nullopt, chosen.rank, std::nullopt};
    if (chosen.files.size() == 1)
        selection.file = chosen.files.front();
    document()->select(selection);
    followSelection(); // also where it was selected before
}

void WritersPage::openAtlas()
{
    if (!document()->selection().isEmpty())
        emit document()->pageRequested(QStringLiteral("atlas"));
}

void WritersPage::focusFilter()
{
    m_filter->setFocus(Qt::ShortcutFocusReason);
    m_filter->selectAll();
}

bool WritersPage::clearFilter()
{
    if (!m_filter->text().isEmpty()) {
        m_filter->clear();
        return true;
    }
    if (!document()->keptRank())
        return false;
    document()->keepRank(std::nullopt);
    return true;
}

QString WritersPage::copyText(bool withPlace) const
{
    if (!m_uses)
        return {};
    return withPlace ? document()->path() + QLatin1Char('\n') + tableText(*m_rows) : tableText(*m_rows);
}

QString WritersPage::sentence() const
{
    return m_sentence->text();
}

QString WritersPage::count() const
{
    return m_count->text();
}

void WritersPage::paintEvent(QPaintEvent*)
{
    QPainter(this).fillRect(rect(), Theme::current().colour(Token::Surface));
}

} // namespace shardlens::ui
