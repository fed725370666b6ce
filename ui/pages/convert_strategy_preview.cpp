#include "ui/pages/convert_strategy_preview.h"

#include "ui/models/atlas_text.h"
#include "ui/widgets/card.h"
#include "ui/widgets/device_matrix_view.h"
#include "ui/widgets/slice_picture.h"
#include "ui/widgets/text_label.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QResizeEvent>
#include <QSignalBlocker>
#include <QTableView>
#include <QVBoxLayout>

#include <algorithm>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kGap = 12;
constexpr int kRow = 24;
constexpr int kRowsShown = 6;
constexpr int kMatrixHigh = 140;
constexpr int kPictureHigh = 170;
constexpr int kSideBySide = 560;
constexpr std::size_t kMostParameters = 5'000; // in the list

} // namespace

ConvertStrategyPreview::ConvertStrategyPreview(QWidget* parent)
    : QWidget(parent), m_parameters(new QComboBox), m_pair(new QBoxLayout(QBoxLayout::LeftToRight)), m_rows(new NeededRows(this))
{
    const Theme& theme = Theme::current();
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, theme.px(kGap));
    column->setSpacing(theme.px(kGap));
    auto* head = new QHBoxLayout;
    head->setSpacing(theme.px(8));
    head->addWidget(new TextLabel(tr("Who holds what, before and after, of"), TextStyle::Strong, Token::Text));
    m_parameters->setAccessibleName(tr("The parameter whose layouts are shown"));
    m_parameters->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    m_parameters->setMinimumContentsLength(20);
    head->addWidget(m_parameters, 1);
    column->addLayout(head);
    m_source = makeSide(tr("Source"));
    m_target = makeSide(tr("Target"));
    m_pair->setSpacing(theme.px(kGap));
    m_pair->addWidget(m_source.card, 1);
    m_pair->addWidget(m_target.card, 1);
    column->addLayout(m_pair);
    makeNeeded();
    column->addWidget(m_neededCard);
    connectSide(m_source);
    connectSide(m_target);
    connect(m_parameters, &QComboBox::currentIndexChanged, this, &ConvertStrategyPreview::showParameter);
}

ConvertStrategyPreview::Side ConvertStrategyPreview::makeSide(const QString& title)
{
    const Theme& theme = Theme::current();
    Side side;
    side.card = new Card(title, QStringLiteral(" "));
    side.cut = new TextLabel({}, TextStyle::Body, Token::Text2);
    side.cut->setWordWrap(true);
    side.matrix = new DeviceMatrixView;
    side.matrix->setAccessibleName(tr("%1: device matrix", "source or target").arg(title));
    side.matrix->setFixedHeight(theme.px(kMatrixHigh));
    side.picture = new SlicePicture;
    side.picture->setAccessibleName(tr("%1: tensor", "source or target").arg(title));
    side.picture->setFixedHeight(theme.px(kPictureHigh));
    side.pointed = new TextLabel({}, TextStyle::Caption, Token::Text2);
    side.pointed->setElide(Qt::ElideRight);
    side.card->body()->setSpacing(theme.px(8));
    side.card->body()->addWidget(side.cut);
    side.card->body()->addWidget(side.matrix);
    side.card->body()->addWidget(side.picture);
    side.card->body()->addWidget(side.pointed);
    side.card->body()->addStretch(1);
    return side;
}

void ConvertStrategyPreview::connectSide(Side& side)
{
    connect(side.matrix, &DeviceMatrixView::pointed, this, [this, &side](std::uint32_t rank) { point(side, rank); });
    connect(side.matrix, &DeviceMatrixView::pointedNowhere, this, [this, &side] { point(side, std::nullopt); });
    connect(side.picture, &SlicePicture::pointed, this, [this, &side](std::uint32_t slice) { pointSlice(side, slice); });
    connect(side.picture, &SlicePicture::pointedNowhere, this, [this, &side] { pointSlice(side, std::nullopt); });
}

void ConvertStrategyPreview::makeNeeded()
{
    const Theme& theme = Theme::current();
    m_neededCard = new Card(tr("Source ranks that each target rank needs"), tr("as rank_list_for_transform lists them"));
    m_neededNote = new TextLabel({}, TextStyle::Body, Token::Text2);
    m_neededNote->setWordWrap(true);
    m_needed = new QTableView;
    m_needed->setModel(m_rows);
    m_needed->setAccessibleName(tr("Source ranks that each target rank needs"));
    m_needed->setFrameShape(QFrame::NoFrame);
    m_needed->setShowGrid(false);
    m_needed->setAlternatingRowColors(true);
    m_needed->setWordWrap(false);
    m_needed->setTabKeyNavigation(false);
    m_needed->setSelectionBehavior(QAbstractItemView::SelectRows);
    m_needed->setSelectionMode(QAbstractItemView::SingleSelection);
    m_needed->verticalHeader()->hide();
    m_needed->verticalHeader()->setMinimumSectionSize(1); // the style's least is larger than a row
    m_needed->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_needed->verticalHeader()->setDefaultSectionSize(theme.px(kRow));
    m_needed->horizontalHeader()->setHighlightSections(false);
    m_needed->horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
    m_needed->horizontalHeader()->setStretchLastSection(false);
    m_neededCard->body()->addWidget(m_neededNote);
    m_neededCard->body()->addWidget(m_needed);
}

void ConvertStrategyPreview::load(const JobDraft& draft, const StepFacts& facts)
{
    const bool hasTarget = draft.strategy ? facts.targetStrategy.strategy != nullptr : draft.sourceIsMindSpore; // else both are one model
    const bool hasSource = facts.checkpoint && (facts.sourceStrategy.strategy != nullptr || strategyPathOf(*facts.checkpoint).isEmpty());
    const bool isShown = makesMindSpore(draft) && hasSource && hasTarget;
    setVisible(isShown);
    if (!isShown)
        return;
    const auto target = draft.strategy ? facts.targetStrategy.strategy : nullptr;
    const bool isSame = m_isKnown && m_checkpoint == facts.checkpoint && m_sourceStrategy == facts.sourceStrategy.strategy && m_targetStrategy == target;
    if (isSame)
        return;
    m_isKnown = true;
    m_checkpoint = facts.checkpoint;
    m_sourceStrategy = facts.sourceStrategy.strategy;
    m_targetStrategy = target;
    m_source.card->setVisible(draft.sourceIsMindSpore);
    listParameters();
    askNeeded(draft.sourceIsMindSpore);
}

// What a strategy lists, in the model's order; first chosen is what the target cuts.
void ConvertStrategyPreview::listParameters()
{
    const QString before = m_parameters->currentText();
    const QSignalBlocker quiet(m_parameters);
    m_parameters->clear();
    const auto isListed = [](const auto& strategy, const std::string& name) { return strategy && strategy->findLowest(name) != nullptr; };
    for (std::size_t i = 0; i < m_checkpoint->tensors().size() && static_cast<std::size_t>(m_parameters->count()) < kMostParameters; ++i) {
        const std::string name = m_checkpoint->fullName(idAt<TensorId>(i));
        if (isListed(m_sourceStrategy, name) || isListed(m_targetStrategy, name))
            m_parameters->addItem(printableText(name), static_cast<uint>(i));
    }
    for (std::size_t i = 0; m_parameters->count() == 0 && i < std::min<std::size_t>(m_checkpoint->tensors().size(), kMostParameters); ++i)
        m_parameters->addItem(printableText(m_checkpoint->fullName(idAt<TensorId>(i))), static_cast<uint>(i));
    m_parameters->setCurrentIndex(std::max(0, m_parameters->findText(before)));
    showParameter();
}

void ConvertStrategyPreview::showParameter()
{
    const QVariant chosen = m_parameters->currentData();
    if (!chosen.isValid() || !m_checkpoint)
        return;
    const auto tensor = idAt<TensorId>(chosen.toUInt());
    const std::string name = m_checkpoint->fullName(tensor);
    const Shape& shape = m_checkpoint->tensor(tensor).shape;
    show(m_source, m_sourceStrategy ? deviceMapOf(*m_sourceStrategy, m_checkpoint, tensor) : deviceMapOf(nullptr, name, shape));
    show(m_target, deviceMapOf(m_targetStrategy.get(), name, shape));
}

void ConvertStrategyPreview::show(Side& side, DeviceMapPtr map)
{
    side.map = std::move(map);
    side.matrix->show(side.map);
    side.picture->show(side.map);
    side.card->setHint(side.map ? side.map->grid.text() : QString());
    const bool isProblem = side.map && !side.map->problem.isEmpty();
    side.cut->setInk(isProblem ? Token::Error : Token::Text2);
    side.cut->setText(!side.map              ? tr("more devices than a picture can show")
                      : isProblem            ? side.map->problem
                      : side.map->isListed   ? side.map->cut
                      : side.map->devices.size() > 1 ? tr("not cut: in no strategy, every rank holds all of it")
                                                     : tr("whole, in one file"));
    point(side, std::nullopt);
}

void ConvertStrategyPreview::point(Side& side, std::optional<std::uint32_t> rank)
{
    const auto slice = rank && side.map ? side.map->devices[*rank].slice : std::nullopt;
    side.matrix->highlight(slice);
    side.picture->highlight(slice);
    if (!rank || !side.map)
        return side.pointed->setText(tr("Point at a device or a slice."));
    QString text = side.map->sentenceOf(*rank);
    const auto& lines = m_rows->list().lines;
    if (&side == &m_target && *rank < lines.size())
        text = tr("%1 · MindSpore opens source ranks %2", "what it holds").arg(text, lines[*rank].ranks);
    side.pointed->setText(text);
}

void ConvertStrategyPreview::pointSlice(Side& side, std::optional<std::uint32_t> slice)
{
    if (!slice || !side.map)
        return point(side, std::nullopt);
    side.matrix->highlight(slice);
    side.picture->highlight(slice);
    side.pointed->setText(side.map->sliceText(*slice));
}

void ConvertStrategyPreview::askNeeded(bool isMindSpore)
{
    m_run.cancel();
    m_neededCard->setVisible(isMindSpore);
    m_rows->show({});
    m_needed->hide();
    m_neededNote->setText(tr("Looking which source ranks each target rank needs."));
    if (!isMindSpore)
        return;
    m_run.start([source = m_sourceStrategy, target = m_targetStrategy](const std::stop_token& stop) { return neededRanks(source, target, stop); },
                [this](NeededList list) {
                    const std::uint64_t targets = m_targetStrategy ? m_targetStrategy->worldSize() : 1;
                    QString note = tr("MindSpore opens all of these files for a target rank. Shardlens reads only the bytes that the rank needs, wherever they lie.");
                    if (!list.refusal.isEmpty())
                        note = tr("MindSpore's own transform would refuse this: %1", "reason").arg(list.refusal);
                    else if (targets > list.lines.size())
                        note += QLatin1Char(' ') + tr("The first %1 of %2 target ranks are listed.").arg(numberText(list.lines.size()), numberText(targets));
                    m_neededNote->setText(note);
                    m_needed->setVisible(!list.lines.empty());
                    const int rows = std::min(static_cast<int>(list.lines.size()), kRowsShown) + 1; // and the header
                    m_needed->setFixedHeight(Theme::current().px(kRow) * rows + Theme::current().px(8));
                    m_rows->show(std::move(list));
                });
}

QString ConvertStrategyPreview::neededText() const
{
    return m_neededNote->text();
}

void ConvertStrategyPreview::resizeEvent(QResizeEvent* event)
{
    m_pair->setDirection(event->size().width() >= Theme::current().px(kSideBySide) ? QBoxLayout::LeftToRight : QBoxLayout::TopToBottom);
    QWidget::resizeEvent(event);
}

} // namespace shardlens::ui
