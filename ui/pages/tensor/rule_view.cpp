#include "ui/pages/tensor/rule_view.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/name_delegate.h"
#include "ui/widgets/text_label.h"

#include <QHeaderView>
#include <QTableView>
#include <QVBoxLayout>

#include <algorithm>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kMargin = 16;
constexpr int kRow = 24;
constexpr int kShapeWidth = 150;
constexpr int kMostNames = 1024; // that are shortened around what differs

QString shapeOf(ShapeView shape)
{
    return QString::fromStdString(shapeText(shape));
}

QString whyNoRule(const RuleBook& book)
{
    if (book.id().empty())
        return RuleView::tr("No rule is needed: this checkpoint was not joined from tensor-parallel ranks. The sentence above is what its pieces say.");
    if (book.rules() != nullptr)
        return RuleView::tr("No rule of %1 names this tensor.").arg(printableText(book.id()));
    return RuleView::tr("Its rules (%1) came with the checkpoint or with --rules and are no file that is known here. The sentence above is what its pieces say.")
        .arg(printableText(book.id()));
}

} // namespace

void RuleMatches::show(RuleBookPtr book, const ShardRule* rule)
{
    if (book == m_book && rule == m_rule)
        return;
    beginResetModel();
    m_book = std::move(book);
    m_rule = rule;
    m_tensors = m_book && rule != nullptr ? m_book->tensorsOf(rule) : std::vector<TensorId>{};
    endResetModel();
}

int RuleMatches::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(m_tensors.size());
}

int RuleMatches::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : ColumnCount;
}

QString RuleMatches::partText(TensorId tensor) const
{
    const Shape& whole = m_book->checkpoint()->tensor(tensor).shape;
    const auto division = m_book->divisionFor(*m_rule, tensor);
    if (!division)
        return printableText(division.error().text());
    const QString first = shapeOf(partShape(*division, whole, 0));
    const QString last = shapeOf(partShape(*division, whole, m_book->ranks() - 1));
    return first == last ? first : tr("%1 to %2").arg(first, last);
}

QVariant RuleMatches::data(const QModelIndex& index, int role) const
{
    if (!index.isValid() || index.row() >= rowCount())
        return {};
    const TensorId tensor = tensorAt(index.row());
    switch (role) {
    case Qt::DisplayRole:
    case Qt::ToolTipRole:
        return index.column() == Name    ? printableText(m_book->checkpoint()->parameterOf(tensor))
               : index.column() == Whole ? shapeOf(m_book->checkpoint()->tensor(tensor).shape)
                                         : partText(tensor);
    case Qt::FontRole: return Theme::current().font(TextStyle::Mono);
    case Qt::ForegroundRole: return Theme::current().colour(index.column() == Name ? Token::Text : Token::Text2);
    default: return {};
    }
}

QVariant RuleMatches::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal)
        return {};
    if (role == Qt::TextAlignmentRole)
        return QVariant::fromValue(Qt::AlignVCenter | Qt::AlignLeft);
    if (role != Qt::DisplayRole)
        return {};
    return section == Name ? tr("tensor") : section == Whole ? tr("whole") : tr("each rank holds");
}

RuleView::RuleView(QWidget* parent)
    : QWidget(parent), m_division(new TextLabel({}, TextStyle::Title, Token::Text, this)), m_rule(new TextLabel({}, TextStyle::Body, Token::Text2, this)),
      m_matches(new TextLabel({}, TextStyle::Body, Token::Text2, this)), m_table(new QTableView(this)), m_model(new RuleMatches(this)),
      m_names(new NameDelegate(this))
{
    const Theme& theme = Theme::current();
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    auto* head = new QVBoxLayout;
    head->setContentsMargins(theme.px(kMargin), theme.px(kMargin), theme.px(kMargin), theme.px(kMargin));
    head->setSpacing(theme.px(6));
    for (TextLabel* label : {m_division, m_rule, m_matches}) {
        label->setWordWrap(true);
        label->setTextInteractionFlags(Qt::TextSelectableByMouse);
        head->addWidget(label);
    }
    column->addLayout(head);
    column->addWidget(m_table, 1);
    m_table->setModel(m_model);
    m_table->setItemDelegateForColumn(RuleMatches::Name, m_names);
    m_table->setAccessibleName(tr("Tensors that the rule matches"));
    m_table->setFrameShape(QFrame::NoFrame);
    m_table->setShowGrid(false);
    m_table->setAlternatingRowColors(true);
    m_table->setWordWrap(false);
    m_table->setTabKeyNavigation(false);
    m_table->setSelectionBehavior(QAbstractItemView::SelectRows);
    m_table->setSelectionMode(QAbstractItemView::SingleSelection);
    m_table->verticalHeader()->hide();
    m_table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_table->verticalHeader()->setMinimumSectionSize(1); // the style's least is larger than a row
    m_table->verticalHeader()->setDefaultSectionSize(theme.px(kRow));
    m_table->horizontalHeader()->setHighlightSections(false);
    m_table->horizontalHeader()->setSectionResizeMode(RuleMatches::Name, QHeaderView::Stretch);
    for (const int shape : {RuleMatches::Whole, RuleMatches::Part})
        m_table->setColumnWidth(shape, theme.px(kShapeWidth));
    setFocusProxy(m_table);
    const auto choose = [this](const QModelIndex& index) { emit tensorChosen(m_model->tensorAt(index.row())); };
    connect(m_table, &QTableView::clicked, this, choose);
    connect(m_table, &QTableView::activated, this, choose);
}

void RuleView::show(RuleBookPtr book, std::optional<TensorId> tensor)
{
    const ShardRule* rule = book && tensor ? book->ruleOf(book->checkpoint()->tensor(*tensor).parameter) : nullptr;
    m_division->setText(book && tensor ? book->divisionSentence(*tensor) : tr("Reading the rules…"));
    m_rule->setText(!book || !tensor ? QString() : rule != nullptr ? book->ruleSentence(*tensor) : whyNoRule(*book));
    m_model->show(book, rule);
    const int rows = m_model->rowCount();
    const QString matches = counted(static_cast<std::uint64_t>(rows), tr("It divides this tensor only; split like so:"),
                                    tr("It divides these %1 tensors; split like so:"));
    m_matches->setText(rule == nullptr ? QString() : matches);
    m_matches->setVisible(rule != nullptr);
    m_table->setVisible(rule != nullptr);
    QStringList names;
    for (int row = 0; row < std::min(rows, kMostNames); ++row)
        names << m_model->index(row, RuleMatches::Name).data().toString();
    m_names->setNames(names);
    for (int row = 0; tensor && row < rows; ++row)
        if (book->checkpoint()->tensor(m_model->tensorAt(row)).parameter == book->checkpoint()->tensor(*tensor).parameter) {
            m_table->selectRow(row);
            break;
        }
}

QStringList RuleView::texts() const
{
    return {m_division->text(), m_rule->text(), m_matches->text()};
}

} // namespace shardlens::ui
