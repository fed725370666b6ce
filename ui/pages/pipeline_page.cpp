#include "ui/pages/pipeline_page.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/models/stage_rows.h"
#include "ui/pages/pipeline/pipeline_controls.h"
#include "ui/pages/pipeline/stage_delegate.h"
#include "ui/theme/theme.h"
#include "ui/widgets/card.h"
#include "ui/widgets/page_bar.h"
#include "ui/widgets/stage_strip.h"
#include "ui/widgets/text_label.h"

#include <QApplication>
#include <QClipboard>
#include <QFileDialog>
#include <QGridLayout>
#include <QHeaderView>
#include <QLabel>
#include <QMenu>
#include <QPainter>
#include <QPushButton>
#include <QSaveFile>
#include <QScrollArea>
#include <QSpinBox>
#include <QStackedWidget>
#include <QTableView>
#include <QVBoxLayout>

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kMargin = 16;
constexpr int kGap = 12;
constexpr int kRow = 26;
constexpr int kFewestRows = 3; // of the table that always have room
constexpr int kMostRows = 12;  // of which it asks for room
constexpr double kPictureFactor = 2;

QString imbalanceText(double imbalance)
{
    return QStringLiteral("%1 ×").arg(QString::number(imbalance, 'f', imbalance < 10 ? 2 : 0));
}

QString countShort(std::uint64_t count)
{
    return QString::fromStdString(countText(count));
}

QString writeText(const QString& path, const std::string& text)
{
    QSaveFile file(path);
    if (file.open(QIODevice::WriteOnly) && file.write(text.data(), static_cast<qint64>(text.size())) == static_cast<qint64>(text.size()) &&
        file.commit())
        return {};
    return PipelinePage::tr("%1 was not written: %2.").arg(path, file.errorString());
}

} // namespace

PipelinePage::PipelinePage(Document* document, QWidget* parent)
    : Page(document, parent),
      m_bar(new PageBar(tr("Pipeline"), this)),
      m_plan(new PipelinePlan(this)),
      m_controls(new PipelineControls(this)),
      m_stack(new QStackedWidget(this)),
      m_message(new QLabel(this)),
      m_reset(new QPushButton(tr("Reset to DeepSpeed's"), this)),
      m_copy(new QPushButton(tr("Copy command line"), this)),
      m_export(new QPushButton(tr("Export"), this)),
      m_rows(new StageRows(this))
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(m_bar);
    column->addWidget(m_controls);
    column->addWidget(m_stack, 1);
    buildHead();
    m_message->setAlignment(Qt::AlignCenter);
    m_message->setWordWrap(true);
    m_message->setMargin(Theme::current().px(24));
    m_body = buildBody();
    m_stack->addWidget(m_message);
    m_stack->addWidget(m_body);
    connect(m_controls, &PipelineControls::asked, this, [this] { m_plan->ask(m_controls->question()); });
    connect(m_plan, &PipelinePlan::changed, this, &PipelinePage::follow);
    connect(document, &Document::stateChanged, this, &PipelinePage::adoptDocument);
    connect(document, &Document::selectionChanged, this, &PipelinePage::markSelection);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        if (m_plan->state() == PipelinePlan::State::Ready)
            showTable(); // its widths and height are those of the text
    });
    adoptDocument();
}

PipelinePage::~PipelinePage() = default;

QString PipelinePage::question() const
{
    return tr("How would DeepSpeed cut these layers into stages, and how even is that?");
}

void PipelinePage::buildHead()
{
    m_reset->setToolTip(tr("Puts every boundary back where DeepSpeed cuts"));
    m_copy->setToolTip(tr("The same preview on the command line (Ctrl+Shift+C)"));
    auto* menu = new QMenu(m_export);
    menu->addAction(tr("JSON…"), this, [this] { askForExport(QStringLiteral("json"), tr("JSON (*.json)")); });
    menu->addAction(tr("CSV…"), this, [this] { askForExport(QStringLiteral("csv"), tr("Comma-separated values (*.csv)")); });
    menu->addAction(tr("Picture…"), this, [this] { askForExport(QStringLiteral("png"), tr("PNG picture (*.png)")); });
    m_export->setMenu(menu);
    for (QPushButton* button : {m_reset, m_copy, m_export})
        m_bar->addToHead(button);
    connect(m_reset, &QPushButton::clicked, m_plan, &PipelinePlan::reset);
    connect(m_copy, &QPushButton::clicked, this, [this] { QApplication::clipboard()->setText(copyText(true)); });
}

QWidget* PipelinePage::buildBody()
{
    const Theme& theme = Theme::current();
    auto* scroll = new QScrollArea(this);
    scroll->setWidgetResizable(true);
    scroll->setFrameShape(QFrame::NoFrame);
    scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    scroll->viewport()->setAutoFillBackground(false);
    m_inside = new QWidget;
    m_inside->setAutoFillBackground(false);
    auto* column = new QVBoxLayout(m_inside);
    column->setContentsMargins(theme.px(kMargin), theme.px(kGap), theme.px(kMargin), theme.px(kGap));
    column->setSpacing(theme.px(kGap));
    buildFigures(column);
    auto* card = m_stripCard = new Card(tr("Layers, cut into stages"), tr("width = trainable parameters"));
    m_widthHint = new TextLabel({}, TextStyle::Caption, Token::Text2);
    card->head()->addWidget(m_widthHint);
    m_strip = new StageStrip(m_plan);
    card->body()->addWidget(m_strip);
    m_where = new TextLabel({}, TextStyle::Caption, Token::Text2);
    m_where->setElide(Qt::ElideRight);
    card->body()->addWidget(m_where);
    column->addWidget(card);
    buildTable(column);
    m_notes = new TextLabel({}, TextStyle::Caption, Token::Text3);
    m_notes->setWordWrap(true);
    m_notes->setTextInteractionFlags(Qt::TextSelectableByMouse);
    column->addWidget(m_notes);
    column->addStretch(1);
    scroll->setWidget(m_inside);
    connect(m_strip, &StageStrip::boundaryChosen, this, [this](std::size_t boundary) {
        m_where->setText(m_strip->boundarySentence());
        if (boundary > 0)
            m_table->selectRow(static_cast<int>(boundary));
    });
    connect(m_strip, &StageStrip::layerChosen, this, &PipelinePage::chooseLayer);
    return scroll;
}

void PipelinePage::buildFigures(QVBoxLayout* column)
{
    const Theme& theme = Theme::current();
    auto* row = new QHBoxLayout;
    row->setSpacing(theme.px(kGap));
    for (int i = 0; i < 4; ++i) {
        auto* card = new Card;
        const Figure figure{new TextLabel({}, TextStyle::Figure, Token::Text), new TextLabel({}, TextStyle::Body, Token::Text2),
                            new TextLabel({}, TextStyle::Caption, Token::Text3)};
        auto* line = new QHBoxLayout;
        line->setSpacing(theme.px(8));
        line->addWidget(figure.number);
        figure.unit->setElide(Qt::ElideRight);
        line->addWidget(figure.unit, 1, Qt::AlignBottom);
        figure.note->setElide(Qt::ElideRight);
        card->body()->setSpacing(0);
        card->body()->addLayout(line);
        card->body()->addWidget(figure.note);
        row->addWidget(card, 1);
        m_figures.push_back(figure);
    }
    column->addLayout(row);
}

void PipelinePage::buildTable(QVBoxLayout* column)
{
    const Theme& theme = Theme::current();
    auto* card = new Card(tr("What each stage holds"), tr("the line is the mean"));
    m_table = new QTableView;
    m_table->setModel(m_rows);
    m_table->setItemDelegate(new StageDelegate(m_table));
    m_table->setAccessibleName(tr("Stages"));
    m_table->setFrameShape(QFrame::NoFrame);
    m_table->setShowGrid(false);
    m_table->setWordWrap(false);
    m_table->setSelectionBehavior(QAbstractItemView::SelectRows);
    m_table->setSelectionMode(QAbstractItemView::SingleSelection);
    m_table->setTabKeyNavigation(false);
    m_table->setHorizontalScrollMode(QAbstractItemView::ScrollPerPixel);
    m_table->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_table->verticalHeader()->hide();
    m_table->verticalHeader()->setMinimumSectionSize(theme.px(18));
    m_table->verticalHeader()->setDefaultSectionSize(theme.px(kRow));
    m_table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_table->horizontalHeader()->setHighlightSections(false);
    m_table->horizontalHeader()->setSectionsClickable(false);
    m_table->horizontalHeader()->setSectionResizeMode(StageRows::Share, QHeaderView::Stretch);
    card->body()->addWidget(m_table);
    column->addWidget(card);
    connect(m_table->selectionModel(), &QItemSelectionModel::currentRowChanged, this, [this](const QModelIndex& now) {
        if (now.isValid() && m_table->hasFocus())
            m_strip->chooseBoundary(static_cast<std::size_t>(now.row()));
    });
}

void PipelinePage::adoptDocument()
{
    if (document()->checkpoint())
        m_plan->open(document()->checkpoint());
}

void PipelinePage::follow()
{
    const PipelinePlan::State state = m_plan->state();
    const bool isReady = state == PipelinePlan::State::Ready;
    m_controls->show(m_plan->question(), {state != PipelinePlan::State::Reading && !m_plan->hasLayers(), m_plan->placesNames()});
    m_stack->setCurrentWidget(isReady ? m_body : static_cast<QWidget*>(m_message));
    m_message->setText(m_plan->message().isEmpty() ? tr("Reading the layers…") : m_plan->message());
    m_reset->setEnabled(m_plan->isMoved());
    m_copy->setEnabled(isReady);
    m_export->setEnabled(isReady);
    if (!isReady) {
        m_rows->clear();
        m_bar->setFacts({});
        return;
    }
    const PartitionPreview& preview = m_plan->preview();
    std::uint64_t sum = 0;
    for (const std::uint64_t weight : preview.weights)
        sum += weight;
    m_bar->setFacts(tr("%1, %2 trainable parameters", "layers, count")
                        .arg(counted(preview.weights.size(), tr("1 layer"), tr("%1 layers")), countShort(sum)));
    m_bar->setToolTip(tr("%1 trainable parameters").arg(numberText(sum)));
    m_widthHint->setText(m_plan->isMoved() ? tr("▾ where DeepSpeed cuts") : QString());
    m_stripCard->setHint(preview.partition.countsMatches ? tr("width = 1 where the class name matches")
                                                         : tr("width = trainable parameters"));
    m_where->setText(m_strip->boundarySentence());
    showFigures();
    showTable();
    showNotes();
    markSelection();
}

void PipelinePage::showFigures()
{
    const Partition& partition = m_plan->preview().partition;
    const PartitionBalance now = balanceOf(partition.stages);
    const PartitionBalance original = balanceOf(m_plan->original().stages);
    const auto exact = [&](std::uint64_t number) {
        return partition.countsMatches ? counted(number, tr("1 matches"), tr("%1 match")) : tr("%1 parameters").arg(numberText(number));
    };
    const auto set = [this](std::size_t i, const QString& number, const QString& unit, const QString& note) {
        m_figures[i].number->setText(number);
        m_figures[i].unit->setText(unit);
        m_figures[i].note->setText(note);
    };
    set(0, imbalanceText(now.imbalance), tr("the mean"), tr("1.00 × is even"));
    set(1, countShort(now.most), tr("heaviest"), tr("stage %1: %2").arg(numberText(now.heaviest), exact(now.most)));
    set(2, countShort(now.least), tr("lightest"),
        tr("mean %1").arg(partition.countsMatches ? QString::number(now.mean, 'f', 2)
                                                  : numberText(static_cast<std::uint64_t>(std::llround(now.mean)))));
    const double saved = original.most == 0 ? 0 : 1 - static_cast<double>(now.most) / static_cast<double>(original.most);
    const QString percent = QString::fromStdString(percentText(std::abs(saved)));
    const QString change = !m_plan->isMoved()         ? tr("these boundaries")
                           : now.most < original.most ? tr("yours: heaviest %1 lighter").arg(percent)
                           : now.most > original.most ? tr("yours: heaviest %1 heavier").arg(percent)
                                                      : tr("yours: heaviest the same");
    set(3, imbalanceText(original.imbalance), tr("DeepSpeed's"), change);
}

void PipelinePage::showTable()
{
    m_rows->show(m_plan->preview(), m_plan->original().stages);
    for (int column = 0; column < StageRows::ColumnCount; ++column) {
        const auto one = static_cast<StageRows::Column>(column);
        const bool isShown = m_rows->has(one) && (one != StageRows::Change || m_plan->isMoved());
        m_table->setColumnHidden(column, !isShown);
    }
    const Theme& theme = Theme::current();
    const QFontMetrics metrics(theme.font(TextStyle::Body));
    const auto widthOf = [&](StageRows::Column column, const QString& least) {
        int out = metrics.horizontalAdvance(least);
        for (int row = 0; row < std::min(m_rows->rowCount(), 200); ++row)
            out = std::max(out, metrics.horizontalAdvance(m_rows->index(row, column).data().toString()));
        return std::max(out, metrics.horizontalAdvance(m_rows->headerData(column, Qt::Horizontal).toString())) + theme.px(24);
    };
    m_table->setColumnWidth(StageRows::Stage, widthOf(StageRows::Stage, {}) + theme.px(16));
    m_table->setColumnWidth(StageRows::Layers, widthOf(StageRows::Layers, QStringLiteral("00 to 00")));
    m_table->setColumnWidth(StageRows::Weight, widthOf(StageRows::Weight, QStringLiteral("000 M")));
    m_table->setColumnWidth(StageRows::Parameters, widthOf(StageRows::Parameters, QStringLiteral("000 M")));
    m_table->setColumnWidth(StageRows::Bytes, widthOf(StageRows::Bytes, QStringLiteral("000 MiB")));
    m_table->setColumnWidth(StageRows::Ranks, widthOf(StageRows::Ranks, QStringLiteral("00 to 00")));
    m_table->setColumnWidth(StageRows::Change, widthOf(StageRows::Change, QStringLiteral("−000,000")));
    const int header = m_table->horizontalHeader()->sizeHint().height();
    const int rows = std::clamp(m_rows->rowCount(), kFewestRows, kMostRows);
    m_table->setFixedHeight(header + rows * theme.px(kRow) + 2);
}

void PipelinePage::showNotes()
{
    QStringList notes;
    if (const auto& layers = m_plan->preview().layers)
        for (const std::string& note : layers->notes)
            notes << printableText(note);
    m_notes->setText(notes.join(QLatin1Char(' ')));
    m_notes->setVisible(!notes.isEmpty());
}

// The first tensor of a layer becomes the selection, so that the inspector and the other pages show it.
void PipelinePage::chooseLayer(std::size_t layer)
{
    const auto& layers = m_plan->preview().layers;
    const CheckpointPtr& checkpoint = document()->checkpoint();
    if (!layers || !checkpoint || layers->layers[layer].parameters.empty())
        return;
    const std::string& name = layers->layers[layer].parameters.front();
    std::optional<ParameterId> parameter;
    for (const Alias& alias : checkpoint->aliases())
        if (alias.name == name)
            parameter = alias.parameter;
    for (std::size_t i = 0; i < checkpoint->tensors().size(); ++i) {
        const TensorId id = idAt<TensorId>(i);
        const bool isIt = parameter ? checkpoint->tensor(id).parameter == *parameter : checkpoint->parameterOf(id) == name;
        if (isIt && checkpoint->roleOf(id).kind != RoleKind::OptimizerState) {
            document()->selectTensor(id);
            return;
        }
    }
}

void PipelinePage::markSelection()
{
    std::optional<std::size_t> marked;
    const Selection& selection = document()->selection();
    if (m_plan->state() == PipelinePlan::State::Ready && m_plan->preview().layers && document()->checkpoint() && selection.tensor) {
        const std::string& name = document()->checkpoint()->parameterOf(*selection.tensor);
        const std::vector<PipelineLayer>& layers = m_plan->preview().layers->layers;
        for (std::size_t i = 0; i < layers.size() && !marked; ++i)
            if (std::find(layers[i].parameters.begin(), layers[i].parameters.end(), name) != layers[i].parameters.end())
                marked = i;
    }
    m_strip->markLayer(marked);
}

PartitionPreview PipelinePage::shown() const
{
    PartitionPreview out = m_plan->preview();
    if (m_plan->isMoved())
        out.method = "given";
    return out;
}

QString PipelinePage::message() const
{
    return m_stack->currentWidget() == m_message ? m_message->text() : QString();
}

QStringList PipelinePage::figures() const
{
    QStringList out;
    for (const Figure& figure : m_figures)
        out << figure.number->text();
    return out;
}

QString PipelinePage::copyText(bool withPlace) const
{
    if (m_plan->state() != PipelinePlan::State::Ready)
        return {};
    return withPlace ? m_plan->commandLine(document()->path()) : m_rows->text();
}

bool PipelinePage::undoView()
{
    return m_plan->undo();
}

QString PipelinePage::exportTo(const QString& path) const
{
    if (m_plan->state() != PipelinePlan::State::Ready)
        return tr("There is nothing to save.");
    if (path.endsWith(QStringLiteral(".json"), Qt::CaseInsensitive))
        return writeText(path, partitionJson(shown()));
    if (path.endsWith(QStringLiteral(".csv"), Qt::CaseInsensitive))
        return writeText(path, partitionCsv(shown()));
    QPixmap picture(m_inside->size() * kPictureFactor);
    picture.setDevicePixelRatio(kPictureFactor);
    picture.fill(Theme::current().colour(Token::Window));
    m_inside->render(&picture, {}, {}, QWidget::DrawChildren);
    return picture.save(path, "PNG") ? QString() : tr("%1 was not written: is the folder there, and may you write to it?").arg(path);
}

void PipelinePage::askForExport(const QString& ending, const QString& filter)
{
    const QString name = QStringLiteral("%1-pipeline.%2").arg(printableText(document()->checkpoint()->title()), ending);
    QString path = QFileDialog::getSaveFileName(this, tr("Save the stages"), name, filter);
    if (path.isEmpty())
        return;
    if (!path.endsWith(QLatin1Char('.') + ending, Qt::CaseInsensitive))
        path += QLatin1Char('.') + ending;
    if (const QString problem = exportTo(path); !problem.isEmpty())
        m_bar->setFacts(problem);
}

} // namespace shardlens::ui
