#include "ui/pages/tensor_page.h"

#include "core/base/text.h"
#include "ui/models/atlas_pieces.h"
#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/models/tensor_bands.h"
#include "ui/pages/tensor/bytes_view.h"
#include "ui/pages/tensor/fault_list.h"
#include "ui/pages/tensor/rule_view.h"
#include "ui/pages/tensor/statistics_view.h"
#include "ui/theme/theme.h"
#include "ui/widgets/link.h"
#include "ui/widgets/name_delegate.h"
#include "ui/widgets/page_bar.h"
#include "ui/widgets/segments.h"
#include "ui/widgets/tensor_picture.h"
#include "ui/widgets/text_label.h"
#include "ui/widgets/values_view.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QKeyEvent>
#include <QLabel>
#include <QSignalBlocker>
#include <QSpinBox>
#include <QSplitter>
#include <QStackedWidget>
#include <QTableView>
#include <QVBoxLayout>

#include <algorithm>
#include <limits>

namespace shardlens::ui {
namespace {

constexpr int kBoxWidth = 190; // design pixels
constexpr int kFileWidth = 90;
constexpr int kMargin = 16;
constexpr int kMostNames = 1024; // of files that are shortened around what differs
constexpr int kMostHeads = 65'536;
constexpr std::size_t kMostAxes = 8; // that one can choose among
constexpr int kHalf = 10'000; // as a share: the splitter scales what it is given

bool hasTensor(const Document& document)
{
    const auto tensor = document.selection().tensor;
    return document.checkpoint() && tensor && indexOf(*tensor) < document.checkpoint()->tensors().size();
}

} // namespace

TensorPage::TensorPage(Document* document, QWidget* parent)
    : Page(document, parent),
      m_bar(new PageBar(tr("Tensor"), this)),
      m_segments(new Segments({tr("Picture"), tr("Values"), tr("Statistics"), tr("Bytes"), tr("Rule")}, this)),
      m_states(new QComboBox(this)),
      m_copyLabel(new QLabel(tr("Copy"), this)),
      m_copy(new QSpinBox(this)),
      m_axesLabel(new QLabel(tr("Axes"), this)),
      m_axes(new QComboBox(this)),
      m_headsLabel(new QLabel(tr("Heads"), this)),
      m_heads(new QSpinBox(this)),
      m_note(new QLabel(this)),
      m_tileRow(new QWidget(this)),
      m_stack(new QStackedWidget(this)),
      m_split(new QSplitter(this)),
      m_picture(new TensorPicture(this)),
      m_faults(new FaultList(this)),
      m_pieces(new QTableView(this)),
      m_piecesModel(new TensorPieces(this)),
      m_values(new ValuesView(this)),
      m_statistics(new StatisticsView(this)),
      m_bytes(new BytesView(this)),
      m_rule(new RuleView(this)),
      m_empty(new QLabel(tr("Choose a tensor: Ctrl+K"), this))
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(m_bar);
    buildDivision();
    column->addWidget(m_divisionRow);
    column->addWidget(m_stack, 1);
    m_bar->addToHead(m_segments);
    m_bar->addControl(tr("State"), m_states);
    m_states->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    m_bar->addControl({}, m_copyLabel);
    m_bar->addControl({}, m_copy);
    m_copy->setAccessibleName(tr("Which of the equal copies"));
    m_bar->addControl({}, m_axesLabel);
    m_bar->addControl({}, m_axes);
    m_axes->setAccessibleName(tr("Axes of the picture"));
    m_axes->setToolTip(tr("Which axis goes down and which across; the others become tiles"));
    m_axes->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    m_tileRow->setLayout(new QHBoxLayout);
    m_tileRow->layout()->setContentsMargins(0, 0, 0, 0);
    m_bar->addControl({}, m_headsLabel);
    m_bar->addControl({}, m_heads);
    m_heads->setAccessibleName(tr("Attention heads of the model"));
    m_heads->setRange(0, kMostHeads);
    m_heads->setSpecialValueText(tr("not known"));
    m_heads->setToolTip(tr("The checkpoint does not say how many attention heads the model has; the picture follows what you say here"));
    m_bar->addControl({}, m_tileRow);
    m_bar->addControlStretch();
    m_bar->addControl({}, m_note);
    buildBody();
    connectParts();
    showTensor();
}

QString TensorPage::question() const
{
    return tr("How is this tensor cut, and what is in it?");
}

void TensorPage::buildBody()
{
    m_empty->setAlignment(Qt::AlignCenter);
    m_pieces->setModel(m_piecesModel);
    m_names = new NameDelegate(this);
    m_pieces->setItemDelegateForColumn(TensorPieces::FileName, m_names);
    m_pieces->setAccessibleName(tr("Pieces of the tensor"));
    m_pieces->setFrameShape(QFrame::NoFrame);
    m_pieces->setShowGrid(false);
    m_pieces->setAlternatingRowColors(true);
    m_pieces->setWordWrap(false);
    m_pieces->setSelectionBehavior(QAbstractItemView::SelectRows);
    m_pieces->setSelectionMode(QAbstractItemView::SingleSelection);
    m_pieces->verticalHeader()->hide();
    m_pieces->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_pieces->verticalHeader()->setMinimumSectionSize(1); // the style's least is larger than a row
    m_pieces->verticalHeader()->setDefaultSectionSize(Theme::current().px(24));
    m_pieces->horizontalHeader()->setStretchLastSection(true);
    auto* lists = new QWidget(m_split);
    auto* listColumn = new QVBoxLayout(lists);
    listColumn->setContentsMargins(0, 0, 0, 0);
    listColumn->setSpacing(0);
    listColumn->addWidget(m_faults);
    listColumn->addWidget(m_pieces, 1);
    m_split->addWidget(m_picture);
    m_split->addWidget(lists);
    m_split->setStretchFactor(0, 1);
    m_split->setStretchFactor(1, 1);
    m_split->setSizes({kHalf, kHalf});
    m_split->setChildrenCollapsible(true);
    for (const View view : {View::Picture, View::Values, View::Statistics, View::Bytes, View::Rule})
        m_stack->addWidget(bodyOf(view));
    m_stack->addWidget(m_empty);
}

void TensorPage::buildDivision()
{
    const Theme& theme = Theme::current();
    m_divisionRow = new QWidget(this);
    auto* row = new QHBoxLayout(m_divisionRow);
    row->setContentsMargins(theme.px(kMargin), theme.px(6), theme.px(kMargin), theme.px(6));
    row->setSpacing(theme.px(12));
    m_division = new TextLabel({}, TextStyle::Body, Token::Text2, m_divisionRow);
    m_division->setWordWrap(true);
    row->addWidget(m_division, 1);
    m_toRule = new Link(tr("Rule preview"), m_divisionRow);
    m_toRule->setToolTip(tr("Every tensor that the same rule divides (R)"));
    row->addWidget(m_toRule, 0, Qt::AlignTop);
    connect(m_toRule, &Link::clicked, this, [this] { setView(View::Rule); });
}

// The rules are matched with all names once a checkpoint, off the window's thread; until then the pieces alone speak.
void TensorPage::readRules()
{
    m_rules = nullptr;
    const QSignalBlocker quiet(m_heads);
    m_heads->setValue(0);
    m_rulesRun.start([checkpoint = m_checkpoint](const std::stop_token& stop) { return RuleBook::build(checkpoint, stop); },
                     [this](RuleBookPtr book) {
                         m_rules = std::move(book);
                         showDivision();
                     });
}

void TensorPage::showDivision()
{
    m_divisionRow->setVisible(m_tensor && m_segments->current() != static_cast<int>(View::Rule));
    if (!m_tensor) {
        m_rule->show(nullptr, std::nullopt);
        showBands();
        return;
    }
    const bool hasRule = m_rules && m_rules->ruleOf(m_checkpoint->tensor(*m_tensor).parameter) != nullptr;
    QString text = m_rules ? m_rules->divisionSentence(*m_tensor) : cutSentence(*m_checkpoint, *m_tensor);
    if (hasRule)
        text += QLatin1Char(' ') + m_rules->ruleSentence(*m_tensor);
    m_division->setText(text);
    m_toRule->setVisible(hasRule);
    m_rule->show(m_rules, m_tensor);
    showBands();
}

// The number of heads holds for all tensors of the checkpoint.
void TensorPage::showBands()
{
    std::optional<TensorBands> bands;
    if (m_tensor && m_rules && m_rules->rules() != nullptr)
        bands = bandsOf(*m_rules, *m_tensor, static_cast<std::uint64_t>(m_heads->value()));
    const bool asks = bands && bands->isByHeads && !bands->saysHeads && m_segments->current() == static_cast<int>(View::Picture);
    m_headsLabel->setVisible(asks);
    m_heads->setVisible(asks);
    m_picture->setBands(std::move(bands));
}

QString TensorPage::division() const
{
    return m_tensor ? m_division->text() : QString();
}

void TensorPage::connectParts()
{
    connect(m_rule, &RuleView::tensorChosen, this, [this](TensorId tensor) { document()->selectTensor(tensor); });
    connect(m_segments, &Segments::currentChanged, this, [this](int index) { setView(static_cast<View>(index)); });
    connect(m_states, &QComboBox::activated, this, [this](int index) { document()->selectTensor(idAt<TensorId>(m_states->itemData(index).toUInt())); });
    connect(m_copy, &QSpinBox::valueChanged, this, [this](int value) { m_picture->setCopy(static_cast<std::uint32_t>(value - 1)); });
    connect(m_heads, &QSpinBox::valueChanged, this, &TensorPage::showBands);
    connect(m_picture, &TensorPicture::pieceClicked, this, &TensorPage::selectPiece);
    connect(m_picture, &TensorPicture::faultClicked, this, &TensorPage::selectFault);
    connect(m_faults, &FaultList::chosen, this, &TensorPage::selectFault);
    connect(m_axes, &QComboBox::activated, this, [this](int index) {
        const QPoint chosen = m_axes->itemData(index).toPoint();
        m_picture->setAxes({static_cast<std::size_t>(chosen.x()), static_cast<std::size_t>(chosen.y())});
        buildTileAxes();
        m_tileRow->setVisible(!m_tileAxes.empty());
        showBands();
    });
    connect(m_bytes, &BytesView::pieceChosen, this, &TensorPage::selectPiece);
    connect(m_picture, &TensorPicture::pieceActivated, this, [this] { emit document()->pageRequested(QStringLiteral("atlas")); });
    connect(m_pieces, &QTableView::clicked, this, [this](const QModelIndex& index) { selectPiece(m_piecesModel->pieceAt(index.row())); });
    connect(m_pieces, &QTableView::activated, this, [this](const QModelIndex& index) {
        selectPiece(m_piecesModel->pieceAt(index.row()));
        emit document()->pageRequested(QStringLiteral("atlas"));
    });
    connect(document(), &Document::selectionChanged, this, &TensorPage::showTensor);
    connect(document(), &Document::stateChanged, this, [this] {
        m_tensor.reset();
        showTensor();
    });
}

void TensorPage::activate()
{
    showTensor();
    (m_stack->currentWidget() == m_split ? static_cast<QWidget*>(m_picture) : m_stack->currentWidget())->setFocus();
}

void TensorPage::showTensor()
{
    if (!hasTensor(*document())) {
        m_tensor.reset();
        m_checkpoint.reset();
        m_bar->setFacts({});
        m_picture->clear();
        m_faults->show(nullptr, {}, {});
        m_piecesModel->setTensor(nullptr, {});
        m_values->setTensor(nullptr, {});
        m_statistics->setTensor(nullptr, {});
        m_bytes->setTensor(nullptr, {});
        m_segments->setEnabled(false);
        m_stack->setCurrentWidget(m_empty);
        showControls();
        showDivision();
        return;
    }
    const TensorId tensor = *document()->selection().tensor;
    if (m_checkpoint != document()->checkpoint() || m_tensor != tensor) {
        const bool isNew = m_checkpoint != document()->checkpoint();
        m_checkpoint = document()->checkpoint();
        m_tensor = tensor;
        if (isNew)
            readRules();
        m_segments->setEnabled(true);
        m_bar->setFacts(printableText(m_checkpoint->parameterOf(tensor)));
        m_picture->setTensor(m_checkpoint, tensor);
        m_faults->show(m_checkpoint, tensor, m_picture->faults());
        m_piecesModel->setTensor(m_checkpoint, tensor);
        QStringList names;
        for (int row = 0; row < std::min(m_piecesModel->rowCount(), kMostNames); ++row)
            names << m_piecesModel->index(row, TensorPieces::FileName).data().toString();
        m_names->setNames(names);
        m_pieces->resizeColumnsToContents();
        m_pieces->setColumnWidth(TensorPieces::Box, std::min(m_pieces->columnWidth(TensorPieces::Box), Theme::current().px(kBoxWidth))); // the tooltip has the rest
        m_pieces->setColumnWidth(TensorPieces::FileName, Theme::current().px(kFileWidth)); // at least; the last column takes what is left
        m_values->setTensor(document()->streams(), tensor);
        m_statistics->setTensor(m_checkpoint, tensor);
        m_bytes->setTensor(document()->streams(), tensor);
        showDivision();
        fillStates();
        fillAxes();
        buildTileAxes();
        showControls();
        setView(static_cast<View>(m_segments->current()));
    }
    const auto piece = document()->selection().piece;
    const int row = piece ? m_piecesModel->rowOf(*piece) : -1;
    m_picture->setSelectedPiece(row >= 0 ? piece : std::nullopt);
    if (row >= 0) {
        m_pieces->selectRow(row);
        m_bytes->showPiece(*piece);
    } else {
        m_pieces->clearSelection();
    }
}

// The states of the parameter: a weight, its module copy, what the optimizer keeps.
void TensorPage::fillStates()
{
    m_states->clear();
    const ParameterId parameter = m_checkpoint->tensor(*m_tensor).parameter;
    for (std::size_t i = 0; i < m_checkpoint->tensors().size(); ++i) {
        if (m_checkpoint->tensors()[i].parameter != parameter)
            continue;
        const auto tensor = idAt<TensorId>(i);
        const std::string_view type = nameOf(m_checkpoint->tensor(tensor).dtype);
        m_states->addItem(tr("%1, %2").arg(printableText(m_checkpoint->roleOf(tensor).name), printableText(type)), static_cast<uint>(i));
        if (tensor == *m_tensor)
            m_states->setCurrentIndex(m_states->count() - 1);
    }
}

void TensorPage::showControls()
{
    const bool copies = m_picture->copies() > 1;
    m_copyLabel->setVisible(copies);
    m_copy->setVisible(copies);
    m_copy->setRange(1, static_cast<int>(std::min<std::uint32_t>(m_picture->copies(), 1'000'000)));
    m_copy->setSuffix(tr(" of %1").arg(m_picture->copies()));
    m_copy->setValue(1);
    m_tileRow->setVisible(!m_tileAxes.empty());
    m_axesLabel->setVisible(m_tensor && m_axes->count() > 1);
    m_axes->setVisible(m_tensor && m_axes->count() > 1);
    m_states->setEnabled(m_tensor && m_states->count() > 1);
    if (!m_tensor) {
        m_states->clear();
        m_note->clear();
        return;
    }
    m_note->setText(tr("%1 · %2 · %3")
                        .arg(printableText(nameOf(m_checkpoint->tensor(*m_tensor).dtype)), QString::fromStdString(shapeText(m_checkpoint->tensor(*m_tensor).shape)),
                             bytesText(m_checkpoint->bytesOf(*m_tensor))));
}

// Every two axes of a tensor of more than two.
void TensorPage::fillAxes()
{
    m_axes->clear();
    const PictureBoxes& boxes = m_picture->boxes();
    const auto rank = static_cast<int>(std::min<std::size_t>(boxes.rank, kMostAxes));
    for (int row = 0; row < rank && rank > 2; ++row)
        for (int column = row + 1; column < rank; ++column) {
            m_axes->addItem(tr("%1 down, %2 across", "axes").arg(row).arg(column), QPoint(row, column));
            if (boxes.axes == PictureAxes{static_cast<std::size_t>(row), static_cast<std::size_t>(column)})
                m_axes->setCurrentIndex(m_axes->count() - 1);
        }
}

// A spin box for each folded axis where there are too many tiles to show at once.
void TensorPage::buildTileAxes()
{
    for (QSpinBox* box : m_tileAxes)
        box->deleteLater();
    m_tileAxes.clear();
    const PictureBoxes& boxes = m_picture->boxes();
    if (boxes.tiles <= PictureLayout::kMostTiles)
        return;
    for (std::size_t i = 0; i < boxes.folded.size(); ++i) {
        auto* box = new QSpinBox(m_tileRow);
        box->setRange(0, static_cast<int>(std::min<std::uint64_t>(boxes.foldedExtents[i], std::numeric_limits<int>::max()) - 1));
        box->setPrefix(tr("axis %1: ").arg(boxes.folded[i]));
        box->setAccessibleName(tr("Index on axis %1").arg(boxes.folded[i]));
        m_tileRow->layout()->addWidget(box);
        m_tileAxes.push_back(box);
        connect(box, &QSpinBox::valueChanged, this, [this] { m_picture->setTile(chosenTile()); });
    }
}

std::uint64_t TensorPage::chosenTile() const
{
    std::uint64_t tile = 0;
    for (std::size_t axis = 0; axis < m_tileAxes.size(); ++axis)
        tile = tile * m_picture->boxes().foldedExtents[axis] + static_cast<std::uint64_t>(m_tileAxes[axis]->value());
    return tile;
}

// The same fault in the list and in the picture, which turns to the tile that shows it.
void TensorPage::selectFault(std::size_t fault)
{
    const TensorFault& chosen = m_picture->faults().list[fault];
    const Tensor& tensor = m_checkpoint->tensor(*m_tensor);
    const auto* flat = std::get_if<FlatRange>(&chosen.region);
    const Shape place = flat != nullptr ? indexAt(flat->begin, unitShape(tensor.shape, tensor.dtype)) : std::get<Box>(chosen.region).offset;
    for (std::size_t i = 0; i < m_tileAxes.size(); ++i)
        m_tileAxes[i]->setValue(static_cast<int>(std::min<std::uint64_t>(place[m_picture->boxes().folded[i]], std::numeric_limits<int>::max())));
    m_picture->setSelectedFault(fault);
    m_faults->setCurrent(fault);
}

void TensorPage::setView(View view)
{
    m_segments->setCurrent(static_cast<int>(view));
    if (m_tensor)
        m_stack->setCurrentWidget(bodyOf(view));
    m_divisionRow->setVisible(m_tensor && view != View::Rule); // which says the same
    showBands();
}

QWidget* TensorPage::bodyOf(View view) const
{
    switch (view) {
    case View::Picture: return m_split;
    case View::Values: return m_values;
    case View::Statistics: return m_statistics;
    case View::Bytes: return m_bytes;
    case View::Rule: return m_rule;
    }
    return m_split;
}

void TensorPage::selectPiece(PieceId piece)
{
    m_picture->setSelectedFault(std::nullopt);
    m_faults->setCurrent(std::nullopt);
    const Piece at = m_checkpoint->pieces().at(piece);
    Selection selection{m_tensor, piece, m_checkpoint->rankOfPiece(at), std::nullopt};
    if (const FileId file = m_checkpoint->stream(at.source.stream).file; file != kNoFile)
        selection.file = file;
    document()->select(selection);
}

void TensorPage::focusFilter()
{
    if (!m_tensor)
        return;
    if (m_stack->currentWidget() == m_bytes) {
        m_bytes->focusOffsetField();
        return;
    }
    setView(View::Values);
    m_values->focusIndexField();
}

QString TensorPage::copyText(bool withPlace) const
{
    const auto piece = document()->selection().piece;
    if (m_checkpoint && m_picture->selectedFault() && m_stack->currentWidget() == m_split) {
        const QString sentence = faultSentence(*m_checkpoint, *m_tensor, m_picture->faults().list[*m_picture->selectedFault()]);
        return withPlace ? QString::fromStdString(m_checkpoint->fullName(*m_tensor)) + QLatin1Char('\n') + m_faults->text() : sentence;
    }
    return m_checkpoint && piece && m_piecesModel->rowOf(*piece) >= 0 ? pieceCopyText(*m_checkpoint, *piece, withPlace) : QString();
}

void TensorPage::keyPressEvent(QKeyEvent* event)
{
    if (event->key() == Qt::Key_V && event->modifiers() == Qt::NoModifier && m_tensor)
        setView(View::Values);
    else if (event->key() == Qt::Key_B && event->modifiers() == Qt::NoModifier && m_tensor)
        setView(View::Bytes);
    else if (event->key() == Qt::Key_R && event->modifiers() == Qt::NoModifier && m_tensor)
        setView(View::Rule);
    else if (event->key() == Qt::Key_S && event->modifiers() == Qt::NoModifier && m_tensor)
        setView(View::Statistics);
    else
        Page::keyPressEvent(event);
}

} // namespace shardlens::ui
