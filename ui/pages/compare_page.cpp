#include "ui/pages/compare_page.h"

#include "core/base/text.h"
#include "ui/frame/recent.h"
#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/pages/compare/count_chip.h"
#include "ui/theme/theme.h"
#include "ui/widgets/banner.h"
#include "ui/widgets/flow_layout.h"
#include "ui/widgets/page_bar.h"
#include "ui/widgets/search_field.h"
#include "ui/widgets/text_label.h"

#include <QCheckBox>
#include <QComboBox>
#include <QDir>
#include <QDragEnterEvent>
#include <QFileDialog>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QMimeData>
#include <QPushButton>
#include <QScrollBar>
#include <QStackedWidget>
#include <QTableView>
#include <QVBoxLayout>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kRowHeight = 24;
constexpr int kPathWidth = 420;
constexpr int kLeastPathWidth = 120;
constexpr int kFilterWidth = 220;
constexpr int kRenameWidth = 220;
constexpr int kToleranceWidth = 72;
constexpr int kLeastName = 90;
constexpr std::array<int, CompareModel::ColumnCount> kColumnWidths{190, 100, 120, 120, 105, 105, 110, 80, 75};

constexpr std::array kSelects{Select::Weights, Select::Module, Select::Optimizer, Select::All};

// Groups in the order of the chips, with the ink of a number above 0.
struct Chip {
    std::size_t group;
    Token ink;
};
constexpr std::array<Chip, kCompareGroups> kChips{{{static_cast<std::size_t>(DiffState::Equal), Token::Ok},
                                                   {static_cast<std::size_t>(DiffState::Values), Token::Warn},
                                                   {static_cast<std::size_t>(DiffState::Shape), Token::Warn},
                                                   {static_cast<std::size_t>(DiffState::Dtype), Token::Warn},
                                                   {static_cast<std::size_t>(DiffState::OnlyInA), Token::Warn},
                                                   {static_cast<std::size_t>(DiffState::OnlyInB), Token::Warn},
                                                   {static_cast<std::size_t>(DiffState::Unreadable), Token::Error},
                                                   {kArgumentGroup, Token::Text}}};

double toleranceOf(const QLineEdit* field)
{
    bool isNumber = false;
    const double value = field->text().trimmed().toDouble(&isNumber);
    return isNumber && value >= 0 ? value : 0;
}

} // namespace

ComparePage::ComparePage(Document* document, QWidget* parent)
    : Page(document, parent), m_bar(new PageBar(tr("Compare"), this)), m_other(new QLineEdit(this)), m_choose(new QPushButton(this)), m_choices(new QMenu(this)), m_start(new QPushButton(tr("Compare"), this)),
      m_progress(new TextLabel({}, TextStyle::Caption, Token::Text2, this)), m_options(new QWidget(this)), m_select(new QComboBox(this)), m_renames(new QLineEdit(this)),
      m_absolute(new QLineEdit(this)), m_relative(new QLineEdit(this)), m_ignoreDtype(new QCheckBox(tr("Dtypes may differ"), this)), m_stack(new QStackedWidget(this)),
      m_message(new QLabel(this)), m_result(new QWidget(this)), m_resultColumn(new QVBoxLayout(m_result)), m_filter(new SearchField(tr("Filter names and arguments"), this)),
      m_table(new QTableView(this)), m_model(new CompareModel(this))
{
    setAcceptDrops(true);
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(m_bar);
    column->addWidget(m_options);
    column->addWidget(m_stack, 1);
    buildBar();
    buildOptions();
    buildResult();
    m_message->setAlignment(Qt::AlignCenter);
    m_message->setWordWrap(true);
    m_stack->addWidget(m_message);
    m_stack->addWidget(m_result);
    connect(&m_run, &CompareRun::progressed, this, &ComparePage::showProgress);
    connect(&m_run, &CompareRun::finished, this, &ComparePage::showResult);
    connect(&m_run, &CompareRun::failed, this, &ComparePage::showFailure);
    connect(&Theme::current(), &Theme::changed, this, &ComparePage::applyTheme);
    applyTheme();
    showIdle();
}

QString ComparePage::question() const
{
    return tr("Is it the same model?");
}

void ComparePage::buildBar()
{
    m_other->setPlaceholderText(tr("Another checkpoint: a folder or a file"));
    m_other->setClearButtonEnabled(true);
    m_bar->addControl(tr("With"), m_other);
    m_choose->setText(tr("Choose…"));
    m_choose->setToolTip(tr("A folder, a file, or a checkpoint that was opened lately"));
    m_choose->setAccessibleName(tr("Choose what to compare with"));
    connect(m_choose, &QPushButton::clicked, this, [this] {
        fillChoices();
        m_choices->popup(m_choose->mapToGlobal(QPoint(0, m_choose->height())));
    });
    m_bar->addControl({}, m_choose);
    m_start->setDefault(true);
    m_bar->addControl({}, m_start);
    m_progress->setElide(Qt::ElideRight);
    m_progress->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Preferred);
    m_bar->addControl({}, m_progress);
    m_start->setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
    connect(m_start, &QPushButton::clicked, this, [this] { isRunning() ? cancel() : start(); });
    connect(m_other, &QLineEdit::returnPressed, this, &ComparePage::start);
    connect(m_other, &QLineEdit::textChanged, this, [this] { m_start->setEnabled(isRunning() || !m_other->text().trimmed().isEmpty()); });
}

void ComparePage::buildOptions()
{
    auto* flow = new FlowLayout(m_options);
    const auto add = [&](const QString& label, QWidget* field) {
        auto* pair = new QWidget(m_options); // a label never stands on another line than its field
        auto* row = new QHBoxLayout(pair);
        row->setContentsMargins(0, 0, 0, 0);
        auto* words = new TextLabel(label, TextStyle::Body, Token::Text2, pair);
        words->setBuddy(field);
        field->setAccessibleName(label);
        row->addWidget(words);
        row->addWidget(field);
        flow->addWidget(pair);
    };
    for (const QString& text : {tr("Weights"), tr("Module copy"), tr("Optimizer"), tr("Everything")})
        m_select->addItem(text);
    add(tr("Contents"), m_select);
    m_renames->setPlaceholderText(QStringLiteral("^module\\.="));
    m_renames->setToolTip(tr("Names of A are changed before they are looked for in B: FROM=TO, where FROM is a regular expression. Several rules are parted by semicolons."));
    add(tr("Rename"), m_renames);
    m_absolute->setPlaceholderText(QStringLiteral("0"));
    m_absolute->setToolTip(tr("Values no further apart than this are equal."));
    add(tr("Tolerance"), m_absolute);
    m_relative->setPlaceholderText(QStringLiteral("0"));
    m_relative->setToolTip(tr("Values no further apart than this times the larger magnitude are equal as well."));
    add(tr("relative"), m_relative);
    m_relative->setAccessibleName(tr("Relative tolerance"));
    m_ignoreDtype->setToolTip(tr("A tensor of another dtype is equal where its values are."));
    flow->addWidget(m_ignoreDtype);
    for (QLineEdit* field : {m_renames, m_absolute, m_relative})
        connect(field, &QLineEdit::returnPressed, this, &ComparePage::start);
}

void ComparePage::buildResult()
{
    m_resultColumn->setContentsMargins(0, 0, 0, 0);
    m_resultColumn->setSpacing(0);
    auto* counterRow = new QWidget(m_result);
    auto* counters = new FlowLayout(counterRow);
    counters->setContentsMargins(Theme::current().px(16), Theme::current().px(8), Theme::current().px(16), Theme::current().px(8));
    counters->setSpacing(Theme::current().px(8));
    for (const Chip& one : kChips) {
        const QString label = one.group == kArgumentGroup ? tr("arguments differ") : compareGroupText(one.group);
        auto* chip = new CountChip(label, one.ink, m_result);
        m_chips[one.group] = chip;
        counters->addWidget(chip);
        connect(chip, &CountChip::toggled, this, [this, chip](bool on) {
            for (CountChip* other : m_chips)
                if (on && other != chip)
                    other->setChecked(false);
            applyFilter();
        });
    }
    counters->addWidget(m_filter);
    connect(m_filter, &QLineEdit::textChanged, this, &ComparePage::applyFilter);
    m_resultColumn->addWidget(counterRow);
    m_table->setModel(m_model);
    m_table->setAccessibleName(tr("What differs"));
    m_table->setFrameShape(QFrame::NoFrame);
    m_table->setShowGrid(false);
    m_table->setAlternatingRowColors(true);
    m_table->setWordWrap(false);
    m_table->setTextElideMode(Qt::ElideMiddle);
    m_table->setSelectionBehavior(QAbstractItemView::SelectRows);
    m_table->setSelectionMode(QAbstractItemView::SingleSelection);
    m_table->verticalHeader()->hide();
    m_table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_table->verticalHeader()->setMinimumSectionSize(1); // the style's least is larger than a row
    m_table->horizontalHeader()->setStretchLastSection(true);
    m_table->horizontalHeader()->setHighlightSections(false);
    m_table->horizontalHeader()->setSortIndicator(-1, Qt::DescendingOrder); // the model's order
    m_table->setSortingEnabled(true);
    connect(m_table->selectionModel(), &QItemSelectionModel::currentRowChanged, this, &ComparePage::selectRow);
    connect(m_table, &QTableView::activated, this, [this](const QModelIndex& index) {
        if (const CompareRow* row = m_model->rowAt(index.row()); row != nullptr && row->tensor)
            emit document()->pageRequested(QStringLiteral("tensor"));
    });
    m_resultColumn->addWidget(m_table, 1);
}

void ComparePage::applyTheme()
{
    const Theme& theme = Theme::current();
    m_options->layout()->setContentsMargins(theme.px(16), theme.px(8), theme.px(16), theme.px(4));
    m_options->layout()->setSpacing(theme.px(8));
    m_other->setMinimumWidth(theme.px(kLeastPathWidth));
    m_other->setMaximumWidth(theme.px(kPathWidth));
    m_filter->setFixedWidth(theme.px(kFilterWidth));
    m_renames->setFixedWidth(theme.px(kRenameWidth));
    m_absolute->setFixedWidth(theme.px(kToleranceWidth));
    m_relative->setFixedWidth(theme.px(kToleranceWidth));
    m_table->verticalHeader()->setDefaultSectionSize(theme.px(kRowHeight));
    for (int i = 0; i < CompareModel::ColumnCount; ++i)
        m_table->setColumnWidth(i, theme.px(kColumnWidths[static_cast<std::size_t>(i)]));
    fitColumns();
    m_message->setFont(theme.font(TextStyle::Body));
    QPalette palette = m_message->palette();
    palette.setColor(QPalette::WindowText, theme.colour(Token::Text2));
    m_message->setPalette(palette);
}

// The name gives way so that the last column is not cut.
void ComparePage::fitColumns()
{
    const Theme& theme = Theme::current();
    int others = 0;
    for (std::size_t i = 1; i < kColumnWidths.size(); ++i)
        others += theme.px(kColumnWidths[i]);
    const int room = width() - others - m_table->verticalScrollBar()->sizeHint().width();
    m_table->setColumnWidth(CompareModel::Name, std::clamp(room, theme.px(kLeastName), theme.px(kColumnWidths[CompareModel::Name])));
}

void ComparePage::resizeEvent(QResizeEvent* event)
{
    fitColumns();
    Page::resizeEvent(event);
}

void ComparePage::fillChoices()
{
    m_choices->clear();
    m_choices->addAction(tr("Folder…"), this, [this] { browse(true); });
    m_choices->addAction(tr("File…"), this, [this] { browse(false); });
    bool isFirst = true;
    for (const QString& path : Recent::pinned() + Recent::paths()) {
        if (path == document()->path())
            continue;
        if (std::exchange(isFirst, false))
            m_choices->addSeparator();
        m_choices->addAction(path, this, [this, path] { choose(path); });
    }
}

void ComparePage::browse(bool folder)
{
    const QString path = folder ? QFileDialog::getExistingDirectory(this, tr("Compare with a checkpoint folder"))
                                : QFileDialog::getOpenFileName(this, tr("Compare with a checkpoint file"));
    if (!path.isEmpty())
        choose(path);
}

void ComparePage::activate()
{
    if (m_stack->currentWidget() == m_result)
        m_table->setFocus();
    else
        m_other->setFocus();
}

void ComparePage::choose(const QString& what)
{
    m_other->setText(what);
    start();
}

CompareRequest ComparePage::request() const
{
    CompareRequest out;
    out.path = m_other->text().trimmed();
    out.select = kSelects[static_cast<std::size_t>(std::max(m_select->currentIndex(), 0))];
    out.renames = m_renames->text();
    out.tolerance = {toleranceOf(m_absolute), toleranceOf(m_relative)};
    out.ignoreDtype = m_ignoreDtype->isChecked();
    return out;
}

void ComparePage::start()
{
    if (!document()->checkpoint() || m_other->text().trimmed().isEmpty())
        return;
    m_start->setText(tr("Cancel"));
    m_run.start(document()->checkpoint(), request());
}

void ComparePage::cancel()
{
    m_run.cancel();
    showIdle();
}

void ComparePage::showIdle()
{
    m_start->setText(tr("Compare"));
    m_start->setEnabled(!m_other->text().trimmed().isEmpty());
    m_progress->setText({});
    if (m_model->result())
        return;
    m_message->setText(tr("Drop another checkpoint here, or choose one above: any format and any number of ranks.\nTensors are compared value by value, arguments and settings beside them."));
    m_stack->setCurrentWidget(m_message);
}

void ComparePage::showProgress(std::uint64_t done, std::uint64_t total)
{
    m_progress->setText(total == 0 ? tr("Opening it")
                                   : tr("%1 of %2").arg(QString::fromStdString(percentText(static_cast<double>(done) / static_cast<double>(total))), bytesText(total)));
    if (m_model->result())
        return;
    m_message->setText(tr("Comparing…"));
    m_stack->setCurrentWidget(m_message);
}

void ComparePage::setBanner(Banner* banner)
{
    if (m_banner != nullptr)
        m_banner->deleteLater();
    m_banner = banner;
    if (banner != nullptr)
        m_resultColumn->insertWidget(0, banner);
}

void ComparePage::showResult(const std::shared_ptr<const CompareResult>& result)
{
    m_model->setResult(result);
    showIdle();
    Recent::add(m_other->text().trimmed());
    for (std::size_t group = 0; group < kCompareGroups; ++group)
        m_chips[group]->setCount(result->counts[group]);
    for (const DiffState rare : {DiffState::Shape, DiffState::Dtype, DiffState::Unreadable})
        chip(static_cast<std::size_t>(rare))->setVisible(result->countOf(rare) > 0 || chip(static_cast<std::size_t>(rare))->isChecked());
    const QString b = QDir(QString::fromStdString(result->b->path())).dirName();
    m_bar->setFacts(tr("A: %1, %2 · B: %3, %4 · %5 read")
                        .arg(QDir(document()->path()).dirName(), printableText(result->a->formatTitle()), b, printableText(result->b->formatTitle()), bytesText(result->bytesRead)));
    if (!result->sharesNames) {
        auto* banner = new Banner(Banner::Kind::Warning, tr("The two share no name."),
                                  result->suggestion ? tr("With the rule %1 they share %2.").arg(QString::fromStdString(result->suggestion->rule), numberText(result->suggestion->matches))
                                                     : tr("A rename rule can bring names together."),
                                  m_result);
        if (result->suggestion)
            banner->addLink(tr("Compare with this rule"), [this, rule = QString::fromStdString(result->suggestion->rule)] {
                m_renames->setText(m_renames->text().trimmed().isEmpty() ? rule : m_renames->text() + QStringLiteral("; ") + rule);
                start();
            });
        setBanner(banner);
    } else if (result->isEqual()) {
        setBanner(new Banner(Banner::Kind::Ok, tr("The same model."),
                             result->counts[kArgumentGroup] == 0 ? tr("All tensors are equal, and so are the arguments.") : tr("All tensors are equal. What differs are arguments: see below."), m_result));
    } else {
        setBanner(nullptr);
    }
    m_stack->setCurrentWidget(m_result);
}

void ComparePage::showFailure(const QString& sentence)
{
    m_model->setResult(nullptr);
    showIdle();
    m_bar->setFacts({});
    m_message->setText(sentence);
    m_stack->setCurrentWidget(m_message);
}

QString ComparePage::message() const
{
    return m_stack->currentWidget() == m_message ? m_message->text() : QString();
}

void ComparePage::applyFilter()
{
    std::optional<std::size_t> group;
    for (std::size_t i = 0; i < m_chips.size(); ++i)
        if (m_chips[i]->isChecked())
            group = i;
    m_model->setFilter(m_filter->text().trimmed(), group);
}

void ComparePage::selectRow()
{
    const CompareRow* row = m_model->rowAt(m_table->currentIndex().row());
    if (row != nullptr && row->tensor && document()->checkpoint() == m_model->result()->a)
        document()->selectTensor(*row->tensor);
}

void ComparePage::focusFilter()
{
    m_filter->setFocus(Qt::ShortcutFocusReason);
    m_filter->selectAll();
}

bool ComparePage::clearFilter()
{
    bool cleared = !m_filter->text().isEmpty();
    for (CountChip* chip : m_chips)
        if (chip->isChecked()) {
            chip->setChecked(false);
            cleared = true;
        }
    m_filter->clear();
    return cleared;
}

QString ComparePage::copyText(bool withPlace) const
{
    const QModelIndex at = m_table->currentIndex();
    const CompareRow* row = m_model->rowAt(at.row());
    if (row == nullptr)
        return {};
    if (!withPlace)
        return row->name;
    QStringList cells;
    for (int column = 0; column < CompareModel::ColumnCount; ++column)
        cells << m_model->index(at.row(), column).data().toString();
    return cells.join(QLatin1Char('\t'));
}

void ComparePage::dragEnterEvent(QDragEnterEvent* event)
{
    if (event->mimeData()->hasUrls())
        event->acceptProposedAction();
}

void ComparePage::dropEvent(QDropEvent* event)
{
    for (const QUrl& url : event->mimeData()->urls())
        if (url.isLocalFile()) {
            event->acceptProposedAction();
            choose(url.toLocalFile());
            return;
        }
}

} // namespace shardlens::ui
