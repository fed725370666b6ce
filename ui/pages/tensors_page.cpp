#include "ui/pages/tensors_page.h"

#include "core/base/text.h"
#include "ui/models/document.h"
#include "ui/pages/tensors/tensor_delegate.h"
#include "ui/pages/tensors/tensor_rows.h"
#include "ui/theme/theme.h"
#include "ui/widgets/link.h"
#include "ui/widgets/page_bar.h"
#include "ui/widgets/rank_chip.h"
#include "ui/widgets/rank_legend.h"
#include "ui/widgets/search_field.h"
#include "ui/widgets/segments.h"
#include "ui/widgets/text_label.h"

#include <QComboBox>
#include <QElapsedTimer>
#include <QFileDialog>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QKeyEvent>
#include <QPainter>
#include <QSaveFile>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

#include <set>

namespace shardlens::ui {
namespace {

constexpr std::size_t kMostUndo = 50;
constexpr std::uint32_t kMostRanks = 4096; // in the list
constexpr std::size_t kRowsOpenAtFirst = 400; // a larger model starts with its layers closed

QComboBox* combo(QWidget* parent, const QString& name)
{
    auto* box = new QComboBox(parent);
    box->setAccessibleName(name);
    box->addItem(QObject::tr("any"));
    box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    return box;
}

} // namespace

TensorsPage::TensorsPage(Document* document, QWidget* parent) : Page(document, parent)
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    buildTop();
    column->addWidget(m_bar);
    buildTable();
    column->addWidget(m_table, 1);
    buildFoot();
    connect(document, &Document::selectionChanged, this, &TensorsPage::followSelection);
    connect(document, &Document::keptRankChanged, this, &TensorsPage::followRank);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        m_table->verticalHeader()->setDefaultSectionSize(Theme::current().px(24));
        m_table->viewport()->update();
    });
    fillChoices();
    followRank();
    m_indexRun.start([checkpoint = document->checkpoint()](std::stop_token stop) { return TensorIndex::build(checkpoint, stop); },
                     [this](std::shared_ptr<const TensorIndex> index) {
                         m_index = std::move(index);
                         const Checkpoint& checkpoint = *m_index->checkpoint();
                         m_bar->setFacts(tr("%1 in %2 names, %3")
                                             .arg(QString::fromStdString(groupedText(checkpoint.tensors().size())), QString::fromStdString(groupedText(checkpoint.parameters().size())),
                                                  QString::fromStdString(sizeText(m_index->totalBytes()))));
                         runQueryNow();
                     });
}

void TensorsPage::buildTop()
{
    m_bar = new PageBar(tr("Tensors"), this);
    m_mode = new Segments({tr("Tree"), tr("Flat"), tr("By state")}, m_bar);
    m_bar->addToHead(new RankChip(document(), m_bar));
    m_bar->addToHead(m_mode);
    connect(m_bar->addIconButton(QStringLiteral("export"), tr("Save the table as CSV (Ctrl+S)")), &QToolButton::clicked, this, &TensorsPage::exportCsv);
    m_filter = new SearchField(tr("Filter names"), m_bar);
    m_filter->setRegexToggle(true);
    m_filter->setMinimumWidth(Theme::current().px(220));
    m_filter->setMaximumWidth(Theme::current().px(320));
    m_filter->installEventFilter(this);
    m_dtype = combo(m_bar, tr("dtype"));
    m_state = combo(m_bar, tr("state"));
    m_rank = combo(m_bar, tr("rank"));
    m_count = new TextLabel({}, TextStyle::Caption, Token::Text2, m_bar);
    m_bar->addControl({}, m_filter);
    m_bar->addControl(tr("dtype"), m_dtype);
    m_bar->addControl(tr("state"), m_state);
    m_bar->addControl(tr("rank"), m_rank);
    m_bar->addControlStretch();
    m_bar->addControl({}, m_count);
    connect(m_filter, &QLineEdit::textChanged, this, &TensorsPage::queryChanged);
    connect(m_filter, &SearchField::regexChanged, this, &TensorsPage::queryChanged);
    connect(m_mode, &Segments::currentChanged, this, &TensorsPage::queryChanged);
    for (QComboBox* box : {m_dtype, m_state})
        connect(box, &QComboBox::currentIndexChanged, this, &TensorsPage::queryChanged);
    connect(m_rank, &QComboBox::currentIndexChanged, this, &TensorsPage::rankChosen);
}

void TensorsPage::buildTable()
{
    const Theme& theme = Theme::current();
    m_rows = new TensorRows(this);
    m_table = new QTableView(this);
    m_table->setModel(m_rows);
    m_table->setItemDelegate(new TensorDelegate(m_table));
    m_table->setFrameShape(QFrame::NoFrame);
    m_table->setShowGrid(false);
    m_table->setAlternatingRowColors(true);
    m_table->setWordWrap(false);
    m_table->setTabKeyNavigation(false);
    m_table->setSelectionBehavior(QAbstractItemView::SelectRows);
    m_table->setSelectionMode(QAbstractItemView::ExtendedSelection);
    m_table->setEditTriggers(QAbstractItemView::NoEditTriggers);
    m_table->setHorizontalScrollMode(QAbstractItemView::ScrollPerPixel);
    m_table->verticalHeader()->hide();
    m_table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_table->verticalHeader()->setMinimumSectionSize(1); // the style's least is larger than a row
    m_table->verticalHeader()->setDefaultSectionSize(theme.px(24));
    QHeaderView* header = m_table->horizontalHeader();
    header->setHighlightSections(false);
    header->setSectionsClickable(true);
    header->setSortIndicatorShown(true);
    header->setSortIndicator(-1, Qt::AscendingOrder);
    header->setSectionResizeMode(QHeaderView::Interactive);
    header->setStretchLastSection(true);
    const int widths[] = {400, 100, 130, 90, 70};
    for (int i = 0; i < 5; ++i)
        header->resizeSection(i, theme.px(widths[i]));
    m_table->setAccessibleName(tr("Tensors"));
    m_table->installEventFilter(this);
    connect(m_table, &QTableView::clicked, this, &TensorsPage::clicked);
    connect(m_table, &QTableView::doubleClicked, this, [this] { emit this->document()->pageRequested(QStringLiteral("tensor")); });
    connect(m_table->selectionModel(), &QItemSelectionModel::currentRowChanged, this, &TensorsPage::currentChanged);
    connect(m_table->selectionModel(), &QItemSelectionModel::selectionChanged, this, &TensorsPage::showFoot);
    connect(header, &QHeaderView::sortIndicatorChanged, this, [this](int, Qt::SortOrder) { queryChanged(); });
}

void TensorsPage::buildFoot()
{
    const Theme& theme = Theme::current();
    auto* foot = new QWidget(this);
    auto* grid = new QHBoxLayout(foot);
    grid->setContentsMargins(theme.px(16), theme.px(8), theme.px(16), theme.px(8));
    m_hidden = new TextLabel({}, TextStyle::Caption, Token::Text2, foot);
    m_clear = new Link(tr("Clear (Esc)"), foot);
    connect(m_clear, &Link::clicked, this, [this] { clearFilter(); });
    m_sum = new TextLabel({}, TextStyle::Caption, Token::Text2, foot);
    m_legend = new RankLegend(document()->checkpoint()->topology().worldSize(), foot);
    grid->addWidget(m_hidden);
    grid->addWidget(m_clear);
    grid->addWidget(m_sum);
    grid->addStretch(1);
    grid->addWidget(m_legend);
    layout()->addWidget(foot);
    m_clear->hide();
}

void TensorsPage::fillChoices()
{
    const Checkpoint& checkpoint = *document()->checkpoint();
    std::set<std::string> dtypes;
    for (const Tensor& tensor : checkpoint.tensors())
        dtypes.emplace(nameOf(tensor.dtype));
    for (const std::string& name : dtypes)
        m_dtype->addItem(QString::fromStdString(name));
    for (const Role& role : checkpoint.roles())
        m_state->addItem(QString::fromStdString(printable(role.name)));
    std::uint32_t world = checkpoint.topology().worldSize();
    if (checkpoint.topology().axes.empty())
        for (const File& file : checkpoint.files())
            world = std::max(world, file.rank ? std::min(*file.rank, kMostRanks - 1) + 1 : 1);
    for (std::uint32_t rank = 0; rank < world && rank < kMostRanks && world > 1; ++rank)
        m_rank->addItem(QString::number(rank));
}

void TensorsPage::queryChanged()
{
    if (m_quiet)
        return;
    RowQuery query;
    query.mode = static_cast<RowQuery::Mode>(m_mode->current());
    query.text = m_filter->text().toStdString();
    query.isRegex = m_filter->isRegex();
    query.dtype = m_dtype->currentIndex() <= 0 ? std::string{} : m_dtype->currentText().toStdString();
    query.state = m_state->currentIndex() <= 0 ? std::string{} : document()->checkpoint()->roles()[static_cast<std::size_t>(m_state->currentIndex() - 1)].name;
    query.rank = document()->keptRank() ? std::int64_t{*document()->keptRank()} : -1;
    const int column = m_table->horizontalHeader()->sortIndicatorSection();
    query.order = column == TensorRows::Name ? RowQuery::Order::Name
                  : column == TensorRows::OnDisk ? RowQuery::Order::Bytes
                  : column == TensorRows::Pieces ? RowQuery::Order::Pieces : RowQuery::Order::Model;
    query.descending = m_table->horizontalHeader()->sortIndicatorOrder() == Qt::DescendingOrder && query.order != RowQuery::Order::Model;
    if (m_index) { // before that nobody has chosen anything here
        m_undo.push_back(m_query);
        if (m_undo.size() > kMostUndo)
            m_undo.erase(m_undo.begin());
    }
    m_query = query;
    runQueryNow();
}

void TensorsPage::rankChosen()
{
    if (!m_quiet)
        document()->keepRank(m_rank->currentIndex() <= 0 ? std::nullopt : std::optional(static_cast<std::uint32_t>(m_rank->currentIndex() - 1)));
}

// The rank is the document's: another page may have chosen it.
void TensorsPage::followRank()
{
    const bool wasQuiet = m_quiet;
    const auto kept = document()->keptRank();
    m_quiet = true;
    m_rank->setCurrentIndex(kept && *kept < kMostRanks ? static_cast<int>(*kept) + 1 : 0);
    m_quiet = wasQuiet;
    queryChanged();
}

void TensorsPage::runQueryNow()
{
    if (!m_index)
        return;
    struct Answer {
        RowResult result;
        double elapsedMs;
    };
    m_queryRun.start(
        [index = m_index, query = m_query](std::stop_token) {
            QElapsedTimer timer;
            timer.start();
            RowResult result = runQuery(*index, query);
            return Answer{std::move(result), static_cast<double>(timer.nsecsElapsed()) / 1e6};
        },
        [this, query = m_query](Answer answer) { deliver(query, std::move(answer.result), answer.elapsedMs); });
}

void TensorsPage::deliver(const RowQuery& query, RowResult result, double elapsedMs)
{
    m_filter->setInvalid(!result.ok, QString::fromStdString(result.problem));
    if (!result.ok)
        return; // the last good rows stay
    m_result = std::move(result);
    const bool isFirst = m_rows->index() == nullptr;
    m_quiet = true;
    m_rows->setRows(m_index, query.mode, m_result.rows);
    if (isFirst && m_result.rows.size() > kRowsOpenAtFirst)
        m_rows->collapseTo(2);
    m_quiet = false;
    m_count->setText(query.filters() ? tr("%1 of %2 names, %3 ms").arg(QString::fromStdString(groupedText(m_result.leaves)), QString::fromStdString(groupedText(m_result.allLeaves)),
                                                                       QString::number(elapsedMs, 'f', 1))
                                     : QString());
    followSelection(document()->selection());
    showFoot();
}

void TensorsPage::followSelection(const Selection& selection)
{
    if (m_quiet || !selection.tensor || m_rows->index() == nullptr)
        return;
    const ParameterId parameter = document()->checkpoint()->tensor(*selection.tensor).parameter;
    const QModelIndex current = m_table->currentIndex();
    if (current.isValid() && !m_rows->members(current.row()).empty() && document()->checkpoint()->tensor(m_rows->members(current.row()).front()).parameter == parameter)
        return;
    m_quiet = true;
    if (const int row = m_rows->reveal(parameter); row >= 0) {
        m_table->setCurrentIndex(m_rows->index(row, 0));
        m_table->scrollTo(m_rows->index(row, 0), QAbstractItemView::PositionAtCenter);
    }
    m_quiet = false;
}

void TensorsPage::currentChanged()
{
    const QModelIndex current = m_table->currentIndex();
    if (m_quiet || !current.isValid())
        return;
    const TensorIndex::Node& node = m_rows->node(current.row());
    if (node.tensor != kNoTensor)
        document()->selectTensor(node.tensor);
}

void TensorsPage::clicked(const QModelIndex& index)
{
    if (index.column() != TensorRows::Name || !index.data(TensorRows::IsGroupRole).toBool())
        return;
    const int row = index.row();
    m_rows->setExpanded(row, !m_rows->isExpanded(row));
    m_table->setCurrentIndex(m_rows->index(row, 0));
}

bool TensorsPage::keyPressed(QKeyEvent* event)
{
    const QModelIndex current = m_table->currentIndex();
    if (!current.isValid())
        return false;
    const int row = current.row();
    const bool isGroup = m_rows->members(row).empty();
    const auto stayAt = [this](int place) { m_table->setCurrentIndex(m_rows->index(place, 0)); };
    switch (event->key()) {
    case Qt::Key_Left:
        if (isGroup && m_rows->isExpanded(row)) {
            m_rows->setExpanded(row, false);
            stayAt(row);
        } else if (const int parent = m_rows->parentRow(row); parent >= 0) {
            stayAt(parent);
        }
        return true;
    case Qt::Key_Right:
        if (isGroup && !m_rows->isExpanded(row)) {
            m_rows->setExpanded(row, true);
            stayAt(row);
        } else if (row + 1 < m_rows->rowCount()) {
            stayAt(row + 1);
        }
        return true;
    case Qt::Key_Asterisk:
        if (isGroup) {
            m_rows->expandBelow(row);
            stayAt(row);
        }
        return true;
    case Qt::Key_Return:
    case Qt::Key_Enter:
        if (isGroup)
            clicked(current.siblingAtColumn(TensorRows::Name));
        else
            emit document()->pageRequested(event->modifiers() & Qt::ShiftModifier ? QStringLiteral("atlas") : QStringLiteral("tensor"));
        return true;
    default: return false;
    }
}

bool TensorsPage::eventFilter(QObject* watched, QEvent* event)
{
    if (event->type() == QEvent::KeyPress) {
        auto* key = static_cast<QKeyEvent*>(event);
        if (watched == m_table && key->matches(QKeySequence::Save)) {
            exportCsv();
            return true;
        }
        if (watched == m_table && keyPressed(key))
            return true;
        if (watched == m_filter && (key->key() == Qt::Key_Down || key->key() == Qt::Key_Return)) {
            m_table->setFocus();
            if (!m_table->currentIndex().isValid() && m_rows->rowCount() > 0)
                m_table->setCurrentIndex(m_rows->index(0, 0));
            return true;
        }
    }
    return Page::eventFilter(watched, event);
}

void TensorsPage::showFoot()
{
    const std::uint64_t hidden = m_result.allLeaves - m_result.leaves;
    m_hidden->setText(hidden == 0 ? QString() : tr("%n name(s) are hidden by the filter.", nullptr, static_cast<int>(hidden)));
    m_clear->setVisible(hidden > 0);
    std::set<std::uint32_t> nodes;
    for (const QModelIndex& index : m_table->selectionModel()->selectedRows())
        nodes.insert(index.data(TensorRows::NodeRole).toUInt());
    std::uint64_t bytes = 0;
    std::uint64_t elements = 0;
    int leaves = 0;
    for (const QModelIndex& index : m_table->selectionModel()->selectedRows()) {
        const TensorIndex::Node& node = m_rows->node(index.row());
        if (node.tensor == kNoTensor || m_rows->members(index.row()).empty())
            continue;
        ++leaves;
        bytes += node.bytes;
        elements += elementCount(document()->checkpoint()->tensor(node.tensor).shape).value_or(0);
    }
    m_sum->setText(leaves == 0 ? QString()
                               : tr("%n selected: %1 values, %2.", nullptr, leaves).arg(QString::fromStdString(groupedText(elements)), QString::fromStdString(sizeText(bytes))));
}

void TensorsPage::activate()
{
    if (!m_table->hasFocus() && !m_filter->hasFocus())
        m_table->setFocus(Qt::OtherFocusReason);
}

void TensorsPage::focusFilter()
{
    m_filter->setFocus(Qt::ShortcutFocusReason);
    m_filter->selectAll();
}

bool TensorsPage::clearFilter()
{
    if (!m_query.filters())
        return false;
    RowQuery query;
    query.mode = m_query.mode;
    query.order = m_query.order;
    query.descending = m_query.descending;
    m_undo.push_back(m_query);
    setQuery(query);
    return true;
}

bool TensorsPage::undoView()
{
    if (m_undo.empty())
        return false;
    const RowQuery before = m_undo.back();
    m_undo.pop_back();
    setQuery(before);
    return true;
}

// Puts a query into the controls without starting one for each of them.
void TensorsPage::setQuery(const RowQuery& query)
{
    m_quiet = true;
    m_query = query;
    m_mode->setCurrent(static_cast<int>(query.mode));
    m_filter->setText(QString::fromStdString(query.text));
    m_filter->setRegex(query.isRegex);
    m_dtype->setCurrentIndex(std::max(0, m_dtype->findText(query.dtype.empty() ? tr("any") : QString::fromStdString(query.dtype))));
    m_state->setCurrentIndex(std::max(0, m_state->findText(query.state.empty() ? tr("any") : QString::fromStdString(query.state))));
    document()->keepRank(query.rank < 0 ? std::nullopt : std::optional(static_cast<std::uint32_t>(query.rank)));
    m_quiet = false;
    runQueryNow();
}

QString TensorsPage::copyText(bool withPlace) const
{
    QStringList lines;
    for (const QModelIndex& index : m_table->selectionModel()->selectedRows()) {
        const TensorIndex::Node& node = m_rows->node(index.row());
        if (node.tensor == kNoTensor)
            continue;
        const Checkpoint& checkpoint = *document()->checkpoint();
        QString line = QString::fromStdString(checkpoint.parameterOf(node.tensor));
        if (withPlace)
            line += QStringLiteral("\t%1\t%2\t%3 B").arg(QString::fromStdString(node.storedAs), QString::fromStdString(shapeText(checkpoint.tensor(node.tensor).shape))).arg(node.bytes);
        lines << line;
    }
    return lines.join(QLatin1Char('\n'));
}

void TensorsPage::exportCsv()
{
    const QString path = QFileDialog::getSaveFileName(this, tr("Save the table"), QStringLiteral("tensors.csv"), tr("Comma-separated values (*.csv)"));
    if (path.isEmpty())
        return;
    QSaveFile file(path);
    const QByteArray bytes = m_rows->csv().toUtf8();
    const bool saved = file.open(QIODevice::WriteOnly) && file.write(bytes) == bytes.size() && file.commit();
    m_sum->setText(saved ? tr("Saved %1.").arg(path) : tr("%1 cannot be written: %2.").arg(path, file.errorString()));
}

void TensorsPage::paintEvent(QPaintEvent*)
{
    QPainter(this).fillRect(rect(), Theme::current().colour(Token::Surface));
}

} // namespace shardlens::ui
