#include "ui/pages/devices_page.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/models/table_text.h"
#include "ui/pages/devices/device_rows.h"
#include "ui/theme/theme.h"
#include "ui/widgets/card.h"
#include "ui/widgets/device_matrix_view.h"
#include "ui/widgets/page_bar.h"
#include "ui/widgets/rank_chip.h"
#include "ui/widgets/segments.h"
#include "ui/widgets/slice_picture.h"
#include "ui/widgets/text_label.h"

#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QResizeEvent>
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
constexpr int kSideBySide = 700; // narrower pages put the pictures below each other
constexpr std::size_t kColours = 12; // of slices
constexpr std::size_t kMarked = 48;  // that a mark tells apart

} // namespace

DevicesPage::DevicesPage(Document* document, QWidget* parent)
    : Page(document, parent), m_bar(new PageBar(tr("Device matrix"), this)), m_stack(new QStackedWidget(this)), m_rows(new DeviceRows(this))
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(m_bar);
    column->addWidget(m_stack, 1);
    buildBar();
    m_stack->addWidget(buildMessage());
    m_stack->addWidget(buildBody());
    buildTable();
    m_stack->addWidget(m_table);
    setFocusProxy(m_matrix);
    connect(document, &Document::stateChanged, this, &DevicesPage::adoptDocument);
    connect(document, &Document::selectionChanged, this, &DevicesPage::showTensor);
    connect(document, &Document::keptRankChanged, this, &DevicesPage::followKept);
    adoptDocument();
}

DevicesPage::~DevicesPage() = default;

QString DevicesPage::question() const
{
    return tr("Which device holds which slice of this tensor?");
}

void DevicesPage::buildBar()
{
    m_bar->addToHead(new RankChip(document(), m_bar));
    m_view = new Segments({tr("Picture"), tr("Table")}, m_bar);
    m_view->setAccessibleName(tr("Picture or table (T)"));
    m_bar->addToHead(m_view);
    connect(m_view, &Segments::currentChanged, this, &DevicesPage::showView);
    auto* other = new QShortcut(Qt::Key_T, this);
    other->setContext(Qt::WidgetWithChildrenShortcut);
    connect(other, &QShortcut::activated, this, [this] {
        m_view->setCurrent(1 - m_view->current());
        showView();
    });
    m_cut = new TextLabel({}, TextStyle::Body, Token::Text, m_bar);
    m_cut->setElide(Qt::ElideRight);
    m_cut->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_bar->addControl(tr("Cut"), m_cut);
    m_bar->addControlStretch();
    m_facts = new TextLabel({}, TextStyle::Body, Token::Text2, m_bar);
    m_bar->addControl({}, m_facts);
}

QWidget* DevicesPage::buildMessage()
{
    const Theme& theme = Theme::current();
    m_messagePage = new QWidget(this);
    auto* column = new QVBoxLayout(m_messagePage);
    column->setContentsMargins(theme.px(24), theme.px(24), theme.px(24), theme.px(24));
    column->setSpacing(theme.px(kGap));
    m_message = new QLabel(m_messagePage);
    m_message->setAlignment(Qt::AlignCenter);
    m_message->setWordWrap(true);
    m_message->setTextFormat(Qt::PlainText);
    m_choose = new QPushButton(tr("Choose strategy file…"), m_messagePage);
    m_chooseFolder = new QPushButton(tr("Folder of stage files…"), m_messagePage);
    auto* row = new QHBoxLayout;
    row->setSpacing(theme.px(8));
    row->addStretch(1);
    for (QPushButton* button : {m_choose, m_chooseFolder}) {
        button->setAutoDefault(true); // Enter presses it
        row->addWidget(button);
        connect(button, &QPushButton::clicked, this, [this, button] { emit document()->strategyWanted(button == m_chooseFolder); });
    }
    row->addStretch(1);
    column->addStretch(1);
    column->addWidget(m_message);
    column->addLayout(row);
    column->addStretch(1);
    return m_messagePage;
}

QWidget* DevicesPage::buildBody()
{
    const Theme& theme = Theme::current();
    m_body = new QScrollArea(this);
    m_body->setWidgetResizable(true);
    m_body->setFrameShape(QFrame::NoFrame);
    m_body->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_body->viewport()->setAutoFillBackground(false);
    auto* inside = new QWidget;
    auto* column = new QVBoxLayout(inside);
    column->setContentsMargins(theme.px(kMargin), theme.px(kGap), theme.px(kMargin), theme.px(kGap));
    column->setSpacing(theme.px(kGap));
    m_pair = new QBoxLayout(QBoxLayout::LeftToRight);
    m_pair->setSpacing(theme.px(kGap));
    m_matrixCard = new Card(tr("Devices"), QString());
    m_matrix = new DeviceMatrixView;
    m_matrixCard->body()->addWidget(m_matrix, 1);
    m_tensorCard = new Card(tr("Tensor"), QString());
    m_picture = new SlicePicture;
    m_tensorCard->body()->addWidget(m_picture, 1);
    m_pair->addWidget(m_matrixCard, 1);
    m_pair->addWidget(m_tensorCard, 1);
    column->addLayout(m_pair, 1);
    column->addWidget(buildDetails());
    m_body->setWidget(inside);
    inside->setAutoFillBackground(false); // the scroll area turns it on
    connect(m_matrix, &DeviceMatrixView::pointed, this, &DevicesPage::point);
    connect(m_matrix, &DeviceMatrixView::pointedNowhere, this, [this] { point(std::nullopt); });
    connect(m_matrix, &DeviceMatrixView::chosen, this, &DevicesPage::choose);
    connect(m_picture, &SlicePicture::pointed, this, &DevicesPage::pointSlice);
    connect(m_picture, &SlicePicture::pointedNowhere, this, [this] { pointSlice(std::nullopt); });
    connect(m_picture, &SlicePicture::chosen, this, [this](std::uint32_t slice) { choose(m_map->slices[slice].ranks.front()); });
    return m_body;
}

// One device in words. Its room is kept, so that nothing jumps.
QWidget* DevicesPage::buildDetails()
{
    const Theme& theme = Theme::current();
    auto* one = new Card;
    one->setAccessibleName(tr("The device that is pointed at"));
    one->body()->setSpacing(theme.px(2));
    m_who = new TextLabel({}, TextStyle::Strong, Token::Text);
    m_place = new TextLabel({}, TextStyle::Body, Token::Text2);
    m_where = new TextLabel({}, TextStyle::Caption, Token::Text2);
    for (TextLabel* label : {m_who, m_place, m_where}) {
        label->setElide(Qt::ElideRight);
        one->body()->addWidget(label);
    }
    return one;
}

void DevicesPage::buildTable()
{
    m_table = new QTableView(this);
    m_table->setModel(m_rows);
    m_table->setAccessibleName(tr("Devices as a table"));
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
    m_table->horizontalHeader()->setHighlightSections(false);
    m_table->horizontalHeader()->setStretchLastSection(true);
    const auto fitRows = [this] { m_table->verticalHeader()->setDefaultSectionSize(Theme::current().px(kRow)); };
    fitRows();
    connect(&Theme::current(), &Theme::changed, this, fitRows);
    connect(m_table, &QTableView::clicked, this, [this](const QModelIndex& index) { choose(static_cast<std::uint32_t>(index.row())); });
    connect(m_table, &QTableView::activated, this, [this](const QModelIndex& index) {
        if (document()->keptRank() != static_cast<std::uint32_t>(index.row()))
            choose(static_cast<std::uint32_t>(index.row()));
    });
}

void DevicesPage::activate()
{
    showTensor();
    QWidget* shown = m_stack->currentWidget();
    (shown == m_body ? static_cast<QWidget*>(m_matrix) : shown == m_table ? static_cast<QWidget*>(m_table) : m_choose)->setFocus();
}

// The strategy is read once a checkpoint, off the window's thread.
void DevicesPage::adoptDocument()
{
    const CheckpointPtr checkpoint = document()->checkpoint();
    if (checkpoint == m_checkpoint)
        return;
    m_read.cancel();
    m_checkpoint = checkpoint;
    m_strategy.reset();
    m_tensor.reset();
    const QString path = checkpoint ? strategyPathOf(*checkpoint) : QString();
    if (!path.isEmpty())
        m_read.start([path](const std::stop_token&) { return readStrategyAt(path); },
                     [this](StrategyReading reading) {
                         m_strategy = std::move(reading);
                         showTensor();
                     });
    showTensor();
}

void DevicesPage::say(const QString& text, bool asksForStrategy)
{
    m_map = nullptr;
    m_tensor.reset();
    m_message->setText(text);
    m_choose->setVisible(asksForStrategy);
    m_chooseFolder->setVisible(asksForStrategy);
    m_matrix->show(nullptr);
    m_picture->show(nullptr);
    m_rows->show(nullptr);
    m_cut->setText({});
    m_facts->setText({});
    m_bar->setFacts({});
    m_view->setEnabled(false);
    showView();
}

void DevicesPage::showTensor()
{
    if (!m_checkpoint)
        return say({});
    if (lacksStrategy(*m_checkpoint))
        return say(tr("No strategy says how these ranks divide their tensors. With the strategy of the run they become one model, and this page shows who holds which slice."), true);
    if (strategyPathOf(*m_checkpoint).isEmpty())
        return say(tr("%1 is one model that no devices divide, so there is no device matrix to show.").arg(printableText(m_checkpoint->title())));
    if (!m_strategy)
        return say(tr("Reading the strategy…"));
    if (!m_strategy->strategy)
        return say(m_strategy->problem, true);
    const auto tensor = document()->selection().tensor;
    if (!tensor || indexOf(*tensor) >= m_checkpoint->tensors().size())
        return say(tr("Choose a tensor: Ctrl+K"));
    if (m_tensor == tensor)
        return;
    m_map = deviceMapOf(*m_strategy->strategy, m_checkpoint, *tensor);
    if (!m_map)
        return say(tr("This run has more devices than the %1 that a picture can show.").arg(numberText(kMostDevices)));
    m_tensor = tensor;
    showMap();
}

void DevicesPage::showMap()
{
    const Tensor& tensor = m_checkpoint->tensor(*m_tensor);
    m_bar->setFacts(m_map->parameter);
    m_facts->setText(tr("%1 · %2 · %3").arg(printableText(nameOf(tensor.dtype)), QString::fromStdString(shapeText(tensor.shape)), bytesText(m_checkpoint->bytesOf(*m_tensor))));
    m_cut->setText(!m_map->problem.isEmpty() ? m_map->problem
                   : m_map->isListed         ? m_map->cut
                                             : tr("not cut: it is in no strategy, and every rank holds all of it"));
    m_cut->setInk(m_map->problem.isEmpty() ? Token::Text : Token::Error);
    bool hasElsewhere = false;
    for (std::uint32_t rank = 0; rank < m_map->devices.size() && !hasElsewhere; ++rank)
        hasElsewhere = m_map->isStoredElsewhere(rank);
    m_matrixCard->setHint(hasElsewhere ? tr("%1; pale: stored by another rank", "sizes of the device matrix").arg(m_map->grid.text()) : m_map->grid.text());
    m_tensorCard->setHint(m_map->slices.size() <= kColours   ? tr("devices of one colour hold the same slice")
                          : m_map->slices.size() <= kMarked ? tr("colours repeat with a dot, a stripe or a cross; equal ones hold the same slice")
                                                            : tr("colours repeat: point at a device to see who holds the same"));
    m_matrix->show(m_map);
    m_picture->show(m_map);
    m_rows->show(m_map);
    m_table->resizeColumnsToContents();
    m_view->setEnabled(true);
    showView();
    followKept();
}

void DevicesPage::showView()
{
    QWidget* shown = !m_map ? m_messagePage : m_view->current() == 0 ? static_cast<QWidget*>(m_body) : m_table;
    const bool hadFocus = m_stack->isAncestorOf(focusWidget());
    m_stack->setCurrentWidget(shown);
    if (hadFocus && m_map)
        (shown == m_body ? static_cast<QWidget*>(m_matrix) : m_table)->setFocus();
}

void DevicesPage::followKept()
{
    if (!m_map)
        return;
    const auto kept = document()->keptRank();
    m_matrix->setKept(kept);
    if (kept && static_cast<int>(*kept) < m_rows->rowCount())
        m_table->selectRow(static_cast<int>(*kept));
    else
        m_table->clearSelection();
    point(std::nullopt);
}

// One device in words: the one under the pointer, else the one that has the keyboard.
void DevicesPage::point(std::optional<std::uint32_t> rank)
{
    if (!m_map)
        return;
    const std::uint32_t shown = rank.value_or(m_matrix->focused());
    const auto slice = rank ? m_map->devices[shown].slice : std::nullopt;
    m_matrix->highlight(slice);
    m_picture->highlight(slice);
    m_who->setText(m_map->sentenceOf(shown));
    m_place->setText(m_map->grid.coordinates(shown));
    m_where->setText(m_map->placeOf(shown));
    const auto held = m_map->devices[shown].slice;
    m_where->setInk(m_map->devices[shown].isMissing || (held && !m_map->slices[*held].isHeld) ? Token::Error : Token::Text2);
}

void DevicesPage::pointSlice(std::optional<std::uint32_t> slice)
{
    if (!m_map)
        return;
    if (!slice)
        return point(std::nullopt);
    m_matrix->highlight(slice);
    m_picture->highlight(slice);
    m_who->setText(m_map->sliceText(*slice));
    m_place->setText({});
    m_where->setText(m_map->placeOf(m_map->slices[*slice].ranks.front()));
}

// A second click shows all ranks again. The tensor stays chosen.
void DevicesPage::choose(std::uint32_t rank)
{
    const bool isKept = document()->keptRank() == rank;
    document()->keepRank(isKept ? std::nullopt : std::optional(rank));
    const auto& pieces = m_map->devices[rank].pieces;
    document()->select({m_tensor, isKept || pieces.empty() ? std::nullopt : std::optional(pieces.front()), isKept ? std::nullopt : std::optional(rank), std::nullopt});
}

bool DevicesPage::clearFilter()
{
    if (!document()->keptRank())
        return false;
    document()->keepRank(std::nullopt);
    return true;
}

QString DevicesPage::copyText(bool withPlace) const
{
    if (!m_map)
        return {};
    return withPlace ? document()->path() + QLatin1Char('\n') + tableText(*m_rows) : tableText(*m_rows);
}

QString DevicesPage::message() const
{
    return m_map ? QString() : m_message->text();
}

QString DevicesPage::cut() const
{
    return m_cut->text();
}

QStringList DevicesPage::details() const
{
    return {m_who->text(), m_place->text(), m_where->text()};
}

void DevicesPage::resizeEvent(QResizeEvent* event)
{
    m_pair->setDirection(event->size().width() >= Theme::current().px(kSideBySide) ? QBoxLayout::LeftToRight : QBoxLayout::TopToBottom);
    Page::resizeEvent(event);
}

} // namespace shardlens::ui
