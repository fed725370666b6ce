#include "ui/pages/atlas_page.h"

#include "ui/models/atlas_table.h"
#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/theme/theme.h"
#include "ui/widgets/atlas_view.h"
#include "ui/widgets/page_bar.h"
#include "ui/widgets/rank_chip.h"

#include <QComboBox>
#include <QFileDialog>
#include <QGuiApplication>
#include <QHeaderView>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QScrollBar>
#include <QSettings>
#include <QShortcut>
#include <QStackedWidget>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr double kExportFactor = 2;

constexpr const char* kRowsSetting = "atlas/rows";

// What the settings keep of a grouping.
QString keyOf(const AtlasGrouping& grouping)
{
    switch (grouping.rows) {
    case AtlasRows::RankFile: return QStringLiteral("rank");
    case AtlasRows::File: return QStringLiteral("file");
    case AtlasRows::Layer: return QStringLiteral("layer");
    case AtlasRows::Axis: break;
    }
    return QLatin1String(nameOf(grouping.axis));
}

QString titleOf(const AtlasGrouping& grouping)
{
    switch (grouping.rows) {
    case AtlasRows::RankFile: return AtlasPage::tr("rank, file");
    case AtlasRows::File: return AtlasPage::tr("file");
    case AtlasRows::Layer: return AtlasPage::tr("layer");
    case AtlasRows::Axis: break;
    }
    return AtlasPage::tr("%1 (%2)", "tensor rank, tp").arg(axisTitle(grouping.axis), QLatin1String(nameOf(grouping.axis)));
}

QString tipOf(const AtlasGrouping& grouping)
{
    switch (grouping.rows) {
    case AtlasRows::RankFile: return AtlasPage::tr("A lane for each file, in the order of the ranks");
    case AtlasRows::File: return AtlasPage::tr("A lane for each file, by name");
    case AtlasRows::Layer: return AtlasPage::tr("Under each layer the files that hold a part of it, and where in them it lies");
    case AtlasRows::Axis: break;
    }
    return AtlasPage::tr("Under each %1 the files that hold its pieces; what every one holds alike comes last")
        .arg(axisTitle(grouping.axis));
}

struct Built {
    AtlasModelPtr model;
    AtlasPalettePtr palette;
};

} // namespace

AtlasPage::AtlasPage(Document* document, QWidget* parent)
    : Page(document, parent), m_bar(new PageBar(tr("Atlas"), this)), m_stack(new QStackedWidget(this)), m_view(new AtlasView(this)), m_table(new QTableView(this)),
      m_tableModel(new AtlasTable(this))
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(m_bar);
    column->addWidget(m_stack, 1);
    buildBar();
    m_stack->addWidget(m_view);
    m_stack->addWidget(m_table);
    m_table->setModel(m_tableModel);
    m_table->setAccessibleName(tr("Atlas as a table"));
    m_table->setFrameShape(QFrame::NoFrame);
    m_table->setShowGrid(false);
    m_table->setAlternatingRowColors(true);
    m_table->setSelectionBehavior(QAbstractItemView::SelectRows);
    m_table->setSelectionMode(QAbstractItemView::SingleSelection);
    m_table->setWordWrap(false);
    m_table->verticalHeader()->hide();
    m_table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_table->verticalHeader()->setMinimumSectionSize(1); // the style's least is larger than a row
    m_table->verticalHeader()->setDefaultSectionSize(Theme::current().px(24));
    m_table->horizontalHeader()->setStretchLastSection(true);
    auto* back = new QShortcut(Qt::Key_T, m_table);
    back->setContext(Qt::WidgetShortcut);
    connect(back, &QShortcut::activated, this, &AtlasPage::toggleTable);
    setFocusProxy(m_view);
    connectView();
    connect(document, &Document::stateChanged, this, &AtlasPage::rebuild);
    connect(document, &Document::selectionChanged, this, &AtlasPage::showSelection);
    connect(document, &Document::keptRankChanged, this, [this] {
        m_builtFor.reset();
        rebuild();
    });
}

AtlasPage::~AtlasPage() = default;

QString AtlasPage::question() const
{
    return tr("What lies where, and what is odd?");
}

void AtlasPage::buildBar()
{
    m_bar->addToHead(new RankChip(document(), m_bar));
    const auto combo = [this](const QString& label, const QStringList& items) {
        auto* box = new QComboBox(this);
        box->addItems(items);
        m_bar->addControl(label, box);
        return box;
    };
    m_rows = combo(tr("Rows"), {});
    m_rows->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    m_across = combo(tr("Across"), {tr("offset in file"), tr("parameter order")});
    m_colour = combo(tr("Colour"), {tr("rank"), tr("parameter"), tr("dtype"), tr("state"), tr("file"), tr("finding")});
    m_colour->setCurrentIndex(static_cast<int>(AtlasColour::Parameter));
    m_colour->setToolTip(tr("Keys 1 to 6"));
    m_bar->addControlStretch();
    m_matches = new QLabel(this);
    m_search = new QLineEdit(this);
    m_search->setPlaceholderText(tr("Find a parameter"));
    m_search->setAccessibleName(tr("Find a parameter"));
    m_search->setClearButtonEnabled(true);
    m_search->addAction(Theme::current().icon(QStringLiteral("search"), Token::Text3), QLineEdit::LeadingPosition);
    m_search->setMinimumWidth(Theme::current().px(140));
    m_bar->addControl({}, m_matches);
    m_bar->addControl({}, m_search);
    connect(m_bar->addIconButton(QStringLiteral("fit"), tr("Fit everything (F)")), &QToolButton::clicked, this, [this] { m_view->fitAll(); });
    connect(m_bar->addIconButton(QStringLiteral("box"), tr("Fit the selection (Shift+F)")), &QToolButton::clicked, this, [this] { m_view->fitSelection(); });
    connect(m_bar->addIconButton(QStringLiteral("export"), tr("Save the picture (Ctrl+S)")), &QToolButton::clicked, this, &AtlasPage::askForExport);
    connect(m_rows, &QComboBox::activated, this, [this](int index) {
        QSettings().setValue(QLatin1String(kRowsSetting), keyOf(m_groupings[static_cast<std::size_t>(index)]));
        changeOptions();
    });
    connect(m_across, &QComboBox::activated, this, &AtlasPage::changeOptions);
    connect(m_colour, &QComboBox::activated, this, &AtlasPage::setColour);
    connect(m_search, &QLineEdit::textChanged, m_view, [this](const QString& text) { m_view->setSearch(text); });
    connect(m_search, &QLineEdit::returnPressed, this, [this] { m_view->goToMatch(!(QGuiApplication::keyboardModifiers() & Qt::ShiftModifier)); });
}

void AtlasPage::connectView()
{
    connect(m_view, &AtlasView::selectionRequested, this, [this](const Selection& selection) { document()->select(selection); });
    connect(m_view, &AtlasView::tensorActivated, this, [this] { emit document()->pageRequested(QStringLiteral("tensor")); });
    connect(m_view, &AtlasView::colourRequested, this, &AtlasPage::setColour);
    connect(m_view, &AtlasView::tableRequested, this, &AtlasPage::toggleTable);
    connect(m_view, &AtlasView::matchesChanged, this, &AtlasPage::showMatches);
    connect(m_view, &AtlasView::foldingToggled, this, [this] {
        m_options.fold = !m_options.fold;
        m_builtFor.reset();
        rebuild();
    });
    connect(m_view, &AtlasView::groupToggled, this, &AtlasPage::toggleGroups);
    connect(m_view, &AtlasView::groupsToggled, this, [this] { toggleGroups({}); });
    connect(m_table, &QTableView::clicked, this, [this](const QModelIndex& index) {
        const PieceId piece = m_tableModel->pieceAt(index.row());
        document()->select({m_model->tensorOf(piece), piece, m_model->rankOf(piece), std::nullopt});
    });
    connect(m_table, &QTableView::activated, this, [this] { emit document()->pageRequested(QStringLiteral("tensor")); });
}

void AtlasPage::activate()
{
    m_active = true;
    rebuild();
    m_view->setFocus();
}

// What this checkpoint has; the one that was chosen last, on whatever page, where it has that.
void AtlasPage::listGroupings()
{
    if (m_groupedFor == document()->checkpoint())
        return;
    m_groupedFor = document()->checkpoint();
    m_groupings = groupingsOf(*m_groupedFor);
    const QString wanted = QSettings().value(QLatin1String(kRowsSetting)).toString();
    m_rows->clear();
    for (const AtlasGrouping& grouping : m_groupings) {
        m_rows->addItem(titleOf(grouping), keyOf(grouping));
        m_rows->setItemData(m_rows->count() - 1, tipOf(grouping), Qt::ToolTipRole);
    }
    m_rows->setCurrentIndex(std::max(0, m_rows->findData(wanted)));
    takeOptions();
}

void AtlasPage::takeOptions()
{
    const AtlasGrouping& grouping = m_groupings[static_cast<std::size_t>(m_rows->currentIndex())];
    if (m_options.rows != grouping.rows || m_options.axis != grouping.axis)
        m_options.closed.clear();
    m_options.rows = grouping.rows;
    m_options.axis = grouping.axis;
    m_options.across = static_cast<AtlasAcross>(m_across->currentIndex());
    m_rows->setToolTip(tipOf(grouping));
}

void AtlasPage::changeOptions()
{
    if (m_groupings.empty())
        return;
    takeOptions();
    m_builtFor.reset();
    rebuild();
}

void AtlasPage::choose(const QString& what)
{
    if (!document()->checkpoint())
        return;
    listGroupings();
    const int row = m_rows->findData(what);
    if (row < 0)
        return;
    m_rows->setCurrentIndex(row);
    QSettings().setValue(QLatin1String(kRowsSetting), what);
    changeOptions();
}

void AtlasPage::toggleGroups(const QString& title)
{
    if (!m_model || m_model->groups().empty())
        return;
    const auto& groups = m_model->groups();
    const bool anyOpen = std::any_of(groups.begin(), groups.end(), [](const AtlasGroup& group) { return !group.isClosed; });
    if (!title.isEmpty()) {
        if (m_options.closed.erase(title) == 0)
            m_options.closed.insert(title);
    } else {
        m_options.closed.clear();
        for (const AtlasGroup& group : groups)
            if (anyOpen)
                m_options.closed.insert(group.title);
    }
    m_builtFor.reset();
    rebuild();
}

// Off the window's thread: the old picture stays until the new one is there.
void AtlasPage::rebuild()
{
    const CheckpointPtr checkpoint = document()->checkpoint();
    if (!m_active || m_builtFor == checkpoint)
        return;
    m_builtFor = checkpoint;
    m_paletteRun.cancel();
    if (!checkpoint) {
        m_run.cancel();
        m_model.reset();
        m_tableModel->setModel(nullptr);
        m_view->setModel(nullptr, nullptr);
        return;
    }
    listGroupings();
    m_options.rank = document()->keptRank();
    const auto colour = static_cast<AtlasColour>(m_colour->currentIndex());
    m_run.start(
        [checkpoint, options = m_options, colour](std::stop_token stop) {
            Built out{AtlasModel::build(checkpoint, options, std::move(stop)), nullptr};
            if (out.model)
                out.palette = AtlasPalette::build(*out.model, colour, ParameterClasses::builtIn());
            return out;
        },
        [this](Built built) {
            if (!built.model)
                return;
            m_model = built.model;
            m_tableModel->setModel(built.model);
            m_view->setModel(built.model, built.palette);
            m_view->setSearch(m_search->text());
            showSelection();
            showFacts();
        });
}

void AtlasPage::setColour(int colour)
{
    m_colour->setCurrentIndex(colour);
    if (!m_model)
        return;
    m_paletteRun.start([model = m_model, colour](std::stop_token) { return AtlasPalette::build(*model, static_cast<AtlasColour>(colour), ParameterClasses::builtIn()); },
                       [this](AtlasPalettePtr palette) { m_view->setPalette(std::move(palette)); });
}

void AtlasPage::showFacts()
{
    const Checkpoint& checkpoint = m_model->checkpoint();
    const QString tensors = counted(checkpoint.tensors().size(), tr("1 tensor"), tr("%1 tensors"));
    const QString pieces = counted(checkpoint.pieces().size(), tr("1 piece"), tr("%1 pieces"));
    const QString files = counted(checkpoint.files().size(), tr("1 file to scale"), tr("%1 files to scale"));
    QString facts = tr("%1, %2, %3").arg(tensors, pieces, files);
    std::size_t standing = 0; // in closed groups too
    for (const AtlasGroup& group : m_model->groups())
        standing += group.allLanes;
    const bool isGrouped = !m_model->groups().empty();
    const auto folded = m_model->laneFiles() - (isGrouped ? standing : m_model->lanes().size());
    if (folded > 0 && isGrouped)
        facts = tr("%1, %2").arg(facts,
                                 counted(folded, tr("1 lane looks like another (U unfolds)"), tr("%1 lanes look like others (U unfolds)")));
    else if (folded > 0)
        facts = tr("%1, %2").arg(facts, counted(folded, tr("1 of them looks like another (U unfolds)"), tr("%1 of them look like others (U unfolds)")));
    m_bar->setFacts(facts);
}

void AtlasPage::showSelection()
{
    const Selection& selection = document()->selection();
    m_view->setSelection(selection);
    if (m_model && selection.piece && m_stack->currentWidget() == m_table)
        if (const int row = m_tableModel->rowOf(*selection.piece); row >= 0)
            m_table->selectRow(row);
}

void AtlasPage::showMatches()
{
    const AtlasView::Matches matches = m_view->matches();
    if (m_search->text().isEmpty())
        m_matches->clear();
    else if (matches.current > 0)
        m_matches->setText(tr("%1 of %2").arg(matches.current).arg(matches.count));
    else
        m_matches->setText(matches.count == 0 ? tr("none") : tr("%1").arg(matches.count));
}

void AtlasPage::toggleTable()
{
    const bool toTable = m_stack->currentWidget() == m_view;
    m_stack->setCurrentWidget(toTable ? static_cast<QWidget*>(m_table) : m_view);
    showSelection();
    m_stack->currentWidget()->setFocus();
}

void AtlasPage::focusFilter()
{
    m_search->setFocus(Qt::ShortcutFocusReason);
    m_search->selectAll();
}

bool AtlasPage::clearFilter()
{
    if (m_search->text().isEmpty() && !document()->keptRank())
        return false;
    if (m_search->text().isEmpty())
        document()->keepRank(std::nullopt);
    m_search->clear();
    m_view->setFocus();
    return true;
}

QString AtlasPage::copyText(bool withPlace) const
{
    const Selection& selection = document()->selection();
    if (!m_model || !selection.piece)
        return {};
    return pieceCopyText(m_model->checkpoint(), *selection.piece, withPlace);
}

bool AtlasPage::undoView()
{
    return m_view->undoView();
}

QString AtlasPage::exportPicture(const QString& path, double factor) const
{
    const QImage image = m_view->exportImage(factor);
    if (image.isNull())
        return tr("There is no picture to save.");
    return image.save(path, "PNG") ? QString() : tr("%1 was not written: is the folder there, and may you write to it?").arg(path);
}

void AtlasPage::askForExport()
{
    if (!m_model)
        return;
    const QString name = printableText(m_model->checkpoint().title()) + QStringLiteral("-atlas.png");
    const QString path = QFileDialog::getSaveFileName(this, tr("Save the picture"), name, tr("PNG picture (*.png)"));
    if (path.isEmpty())
        return;
    if (const QString problem = exportPicture(path, kExportFactor); !problem.isEmpty())
        m_bar->setFacts(problem);
}

} // namespace shardlens::ui
