#include "ui/pages/overview_page.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/models/device_map.h"
#include "ui/models/document.h"
#include "ui/pages/convert_draft.h"
#include "ui/pages/convert_outlook.h"
#include "ui/pages/overview/file_table.h"
#include "ui/pages/overview/goal_button.h"
#include "ui/pages/overview/model_strip.h"
#include "ui/pages/overview/place_bars.h"
#include "ui/pages/overview/safety_line.h"
#include "ui/pages/overview/state_table.h"
#include "ui/pages/overview/value_check.h"
#include "ui/theme/theme.h"
#include "ui/widgets/banner.h"
#include "ui/widgets/card.h"
#include "ui/widgets/link.h"
#include "ui/widgets/rank_chip.h"
#include "ui/widgets/text_label.h"

#include <QBoxLayout>
#include <QDesktopServices>
#include <QFrame>
#include <QGridLayout>
#include <QPainter>
#include <QPushButton>
#include <QResizeEvent>
#include <QScrollArea>
#include <QUrl>

#include <algorithm>
#include <numeric>
#include <set>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kMargin = 24;
constexpr int kGap = 12;
constexpr int kFiveFigures = 1100;
constexpr int kSideBySide = 860; // narrower pages put cards below each other
constexpr std::size_t kMostBanners = 3;
constexpr std::size_t kFigures = 5;

Banner::Kind kindOf(Severity severity)
{
    switch (severity) {
    case Severity::Error: return Banner::Kind::Error;
    case Severity::Warning: return Banner::Kind::Warning;
    case Severity::Info: break;
    }
    return Banner::Kind::Info;
}

// The first sentence is what happened; the rest follows from it.
std::pair<QString, QString> split(const std::string& text)
{
    const QString whole = printableText(text);
    const qsizetype end = whole.indexOf(QStringLiteral(". "));
    return end < 0 ? std::make_pair(whole, QString()) : std::make_pair(whole.left(end + 1), whole.mid(end + 2));
}

QString containersOf(const Checkpoint& checkpoint)
{
    std::set<std::string> kinds;
    for (const File& file : checkpoint.files())
        if (!file.container.empty())
            kinds.insert(file.container);
    QStringList out;
    for (const std::string& kind : kinds)
        out << printableText(kind);
    return out.join(QStringLiteral(", "));
}

// One axis in words; several by their short names, for which the figure has room.
QString axesText(const Topology& topology)
{
    if (topology.axes.size() < 2) // plain ranks are counted by the figure already
        return topology.axes.empty() || topology.axes.front().axis == Axis::Rank ? QString() : printableText(topology.text());
    QStringList sizes;
    for (const Topology::Size& axis : topology.axes)
        sizes << QStringLiteral("%1 %2").arg(QLatin1String(nameOf(axis.axis))).arg(axis.size);
    return sizes.join(QStringLiteral(" × "));
}

} // namespace

OverviewPage::OverviewPage(Document* document, QWidget* parent) : Page(document, parent)
{
    auto* outer = new QVBoxLayout(this);
    outer->setContentsMargins(0, 0, 0, 0);
    auto* scroll = new QScrollArea(this);
    scroll->setWidgetResizable(true);
    scroll->setFrameShape(QFrame::NoFrame);
    scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    scroll->viewport()->setAutoFillBackground(false);
    auto* inside = new QWidget;
    inside->setAutoFillBackground(false);
    auto* column = new QVBoxLayout(inside);
    build(column);
    scroll->setWidget(inside);
    outer->addWidget(scroll);
    connect(document, &Document::stateChanged, this, &OverviewPage::adoptDocument);
    connect(document, &Document::keptRankChanged, this, &OverviewPage::showFiles);
    adoptDocument();
}

void OverviewPage::build(QVBoxLayout* column)
{
    const Theme& theme = Theme::current();
    column->setContentsMargins(theme.px(kMargin), theme.px(16), theme.px(kMargin), theme.px(kMargin));
    column->setSpacing(theme.px(kGap));
    column->addLayout(buildHead());
    m_banners = new QVBoxLayout;
    m_banners->setSpacing(theme.px(4));
    column->addLayout(m_banners);
    m_check = new ValueCheck;
    m_check->hide();
    connect(m_check, &ValueCheck::done, this, [this](const std::shared_ptr<const VerifyReport>& report) {
        m_dismissed.clear();
        document()->setVerified(report);
        showBanners();
    });
    column->addWidget(m_check);
    m_safety = new SafetyLine(document()->safety());
    connect(m_safety, &SafetyLine::opened, this, [this] { emit document()->pageRequested(QStringLiteral("safety")); });
    column->addWidget(m_safety);
    column->addLayout(buildFigures());
    m_bytesRow = buildBytes();
    column->addLayout(m_bytesRow);
    auto* scaleCard = new Card(tr("The model, to scale"), tr("width = values; the lower band says which rank holds the most precise copy"));
    m_strip = new ModelStrip;
    scaleCard->body()->addWidget(m_strip);
    connect(m_strip, &ModelStrip::pieceChosen, this, [this](PieceId piece) {
        const Checkpoint& checkpoint = *document()->checkpoint();
        document()->select({checkpoint.pieces().tensorOf(piece), piece, checkpoint.rankOfPiece(checkpoint.pieces().at(piece)), std::nullopt});
    });
    column->addWidget(scaleCard);
    m_footRow = buildFoot();
    column->addLayout(m_footRow);
    column->addStretch(1);
}

QBoxLayout* OverviewPage::buildHead()
{
    const Theme& theme = Theme::current();
    m_title = new TextLabel({}, TextStyle::Figure, Token::Text);
    m_subtitle = new TextLabel({}, TextStyle::Body, Token::Text3);
    m_sentence = new TextLabel({}, TextStyle::Body, Token::Text2);
    m_sentence->setWordWrap(true);
    m_sentence->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_title->setElide(Qt::ElideMiddle);
    auto* names = new QHBoxLayout;
    names->setSpacing(theme.px(12));
    names->addWidget(m_title);
    names->addWidget(m_subtitle, 0, Qt::AlignBottom);
    names->addStretch(1);
    auto* atlas = new QPushButton(theme.icon(QStringLiteral("atlas")), tr("Show in atlas"));
    atlas->setToolTip(tr("Every byte of every file (Alt+3)"));
    connect(atlas, &QPushButton::clicked, this, [this] { emit document()->pageRequested(QStringLiteral("atlas")); });
    names->addWidget(atlas);
    auto* head = new QVBoxLayout;
    head->setSpacing(theme.px(4));
    head->addLayout(names);
    head->addWidget(m_sentence);
    return head;
}

QGridLayout* OverviewPage::buildFigures()
{
    const Theme& theme = Theme::current();
    m_figureGrid = new QGridLayout;
    m_figureGrid->setSpacing(theme.px(kGap));
    for (std::size_t i = 0; i < kFigures; ++i) {
        auto* card = new Card;
        Figure figure{card, new TextLabel({}, TextStyle::Figure, Token::Text), new TextLabel({}, TextStyle::Body, Token::Text2),
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
        m_figures.push_back(figure);
    }
    arrangeFigures(static_cast<int>(kFigures));
    return m_figureGrid;
}

void OverviewPage::arrangeFigures(int columns)
{
    for (int i = 0; i < static_cast<int>(m_figures.size()); ++i) {
        m_figureGrid->addWidget(m_figures[static_cast<std::size_t>(i)].card, i / columns, i % columns);
        m_figureGrid->setColumnStretch(i, i < columns ? 1 : 0);
    }
}

QBoxLayout* OverviewPage::buildBytes()
{
    const Theme& theme = Theme::current();
    auto* row = new QBoxLayout(QBoxLayout::LeftToRight);
    row->setSpacing(theme.px(kGap));
    m_stateCard = new Card(tr("What the bytes are"), QString());
    m_states = new StateTable;
    m_stateCard->body()->addWidget(m_states);
    m_stateCard->body()->addStretch(1);
    m_placeCard = new Card(tr("Who holds them"), QString());
    m_places = new PlaceBars;
    m_placeCard->body()->addWidget(m_places);
    m_ratio = new TextLabel({}, TextStyle::Caption, Token::Text3);
    m_placeCard->body()->addWidget(m_ratio);
    m_placeCard->body()->addStretch(1);
    connect(m_places, &PlaceBars::chosen, this, &OverviewPage::choosePlace);
    row->addWidget(m_stateCard, 1);
    row->addWidget(m_placeCard, 1);
    return row;
}

QBoxLayout* OverviewPage::buildFoot()
{
    const Theme& theme = Theme::current();
    auto* row = new QBoxLayout(QBoxLayout::LeftToRight);
    row->setSpacing(theme.px(kGap));
    auto* files = new Card(tr("Files"), QString());
    auto* folder = new Link(tr("Open folder"));
    connect(folder, &Link::clicked, this, &OverviewPage::openFolder);
    auto* writers = new Link(tr("Who wrote what"));
    writers->setToolTip(tr("By file and by rank, and how evenly the bytes are shared out (Alt+W)"));
    connect(writers, &Link::clicked, this, [this] { emit document()->pageRequested(QStringLiteral("writers")); });
    files->head()->addWidget(new RankChip(document()));
    files->head()->addWidget(writers);
    files->head()->addWidget(folder);
    m_files = new FileTable;
    files->body()->addWidget(m_files);
    files->body()->addStretch(1);
    connect(m_files, &FileTable::fileChosen, this, &OverviewPage::chooseFile);
    auto* goals = new Card(tr("What would you like to do?"), QString());
    m_toSafetensors = new GoalButton(QStringLiteral("export"), tr("One model for inference"));
    m_toTorch = new GoalButton(QStringLiteral("file"), tr("One torch file"));
    m_toRun = new GoalButton(QStringLiteral("convert"), tr("Continue on other ranks"));
    m_toLayout = new GoalButton(QStringLiteral("topology"), tr("Other parallel layout"));
    m_toLayout->setNote(tr("merged and split for other ranks"));
    m_toLayout->hide();
    m_toRun->hide(); // until the source is known to be a run
    auto* look = new GoalButton(QStringLiteral("tensors"), tr("Look at the tensors"));
    look->setNote(tr("names, shapes, values, and who holds which part"));
    connect(m_toSafetensors, &GoalButton::clicked, this, [this] { emit document()->convertRequested(QStringLiteral("safetensors")); });
    connect(m_toTorch, &GoalButton::clicked, this, [this] { emit document()->convertRequested(QStringLiteral("torch")); });
    connect(m_toRun, &GoalButton::clicked, this, [this] { emit document()->convertRequested(QStringLiteral("deepspeed")); });
    connect(look, &GoalButton::clicked, this, [this] { emit document()->pageRequested(QStringLiteral("tensors")); });
    connect(m_toLayout, &GoalButton::clicked, this, [this] {
        const std::string& own = document()->checkpoint()->formatId();
        emit document()->convertRequested(isLayoutFormat(own) || hasStages(own) ? QString::fromStdString(own) : QStringLiteral("deepspeed"));
    });
    m_toStrategy = new GoalButton(QStringLiteral("devices"), tr("Other MindSpore strategy"));
    m_toStrategy->setNote(tr("cut for other ranks, or the whole model in one file"));
    m_toStrategy->hide();
    connect(m_toStrategy, &GoalButton::clicked, this, [this] { emit document()->convertRequested(QStringLiteral("mindspore")); });
    for (GoalButton* button : {m_toSafetensors, m_toTorch, m_toRun, m_toLayout, m_toStrategy, look})
        goals->body()->addWidget(button);
    goals->body()->addStretch(1);
    row->addWidget(files, 62);
    row->addWidget(goals, 38);
    return row;
}

void OverviewPage::adoptDocument()
{
    const CheckpointPtr& checkpoint = document()->checkpoint();
    m_summary = nullptr;
    m_runner.cancel();
    if (!checkpoint)
        return;
    const QString title = printableText(checkpoint->title());
    m_title->setText(title.isEmpty() ? document()->path() : title);
    m_subtitle->setText(printableText(checkpoint->subtitle()));
    m_sentence->setText(sentence());
    showFiles();
    showBanners();
    showFigures();
    m_runner.start([checkpoint](const std::stop_token& stop) { return summarise(checkpoint, stop); },
                   [this](std::shared_ptr<const OverviewSummary> summary) { deliver(std::move(summary)); });
}

void OverviewPage::showFiles()
{
    if (document()->checkpoint())
        m_files->show(document()->checkpoint(), document()->keptRank());
}

bool OverviewPage::clearFilter()
{
    if (!document()->keptRank())
        return false;
    document()->keepRank(std::nullopt);
    return true;
}

void OverviewPage::deliver(std::shared_ptr<const OverviewSummary> summary)
{
    m_summary = std::move(summary);
    if (!m_summary)
        return;
    const CheckpointPtr& checkpoint = document()->checkpoint();
    m_states->show(checkpoint, m_summary);
    m_places->show(checkpoint, m_summary);
    m_strip->show(m_summary);
    showBanners();
    std::uint64_t values = 0;
    for (const StateUse& use : m_summary->states)
        values += use.bytes;
    m_check->show(checkpoint, values);
    m_check->setVisible(values > 0);
    showFigures();
    showBytes();
    showGoals();
}

QString OverviewPage::sentence() const
{
    const Checkpoint& checkpoint = *document()->checkpoint();
    QStringList parts{printableText(checkpoint.formatTitle())};
    if (const std::uint32_t ranks = checkpoint.topology().worldSize(); ranks > 1)
        parts << printableText(checkpoint.topology().text());
    for (const auto& [name, value] : checkpoint.facts())
        if (!name.starts_with("group "))
            parts << QStringLiteral("%1 %2").arg(printableText(name), printableText(value));
    for (const Alias& alias : checkpoint.aliases()) {
        parts << (checkpoint.aliases().size() == 1
                      ? tr("%1 is tied to %2").arg(printableText(alias.name), printableText(checkpoint.parameters()[indexOf(alias.parameter)]))
                      : tr("%1 tied names").arg(numberText(checkpoint.aliases().size())));
        break;
    }
    return parts.join(QStringLiteral("  ·  "));
}

void OverviewPage::addBanner(Banner* banner)
{
    m_banners->addWidget(banner);
}

// "14 parameters, 27 optimizer states and 2 others".
QString OverviewPage::wholeText() const
{
    QStringList parts;
    if (m_summary->parameters > 0)
        parts << counted(m_summary->parameters, tr("1 parameter"), tr("%1 parameters"));
    if (m_summary->optimizerStates > 0)
        parts << counted(m_summary->optimizerStates, tr("1 optimizer state"), tr("%1 optimizer states"));
    if (m_summary->others > 0)
        parts << (parts.isEmpty() ? counted(m_summary->others, tr("1 tensor"), tr("%1 tensors"))
                                  : counted(m_summary->others, tr("1 other tensor"), tr("%1 other tensors")));
    if (parts.isEmpty())
        return counted(0, QString(), tr("%1 tensors"));
    const QString last = parts.takeLast();
    return parts.isEmpty() ? last : tr("%1 and %2", "a list and its last part").arg(parts.join(QStringLiteral(", ")), last);
}

void OverviewPage::addVerdict()
{
    if (!m_summary)
        return;
    if (m_summary->complete()) {
        auto* banner = new Banner(Banner::Kind::Ok, tr("Complete."), tr("Every value of %1 has a source.").arg(wholeText()));
        banner->addLink(tr("Details"), [this] { emit document()->pageRequested(QStringLiteral("tensors")); });
        addBanner(banner);
        return;
    }
    const TensorId first = m_summary->firstIncomplete;
    auto* banner = new Banner(Banner::Kind::Error, tr("Incomplete."),
                              tr("%1 of %2 have values that no readable file holds, first %3.")
                                  .arg(numberText(m_summary->incompleteTensors), counted(document()->checkpoint()->tensors().size(), tr("1 tensor"), tr("%1 tensors")),
                                       printableText(document()->checkpoint()->fullName(first))));
    banner->addLink(tr("Show tensor"), [this, first] {
        document()->selectTensor(first);
        emit document()->pageRequested(QStringLiteral("tensor"));
    });
    addBanner(banner);
}

void OverviewPage::addFinding(const Finding& finding, std::size_t index)
{
    auto [strong, rest] = split(finding.text);
    const bool asksForStrategy = finding.code == kNoStrategy;
    if (asksForStrategy) // the rest is advice for a shell
        rest = tr("With the strategy of the run they become one model; dropping it onto the window does the same.");
    auto* banner = new Banner(kindOf(finding.severity), strong, rest);
    if (asksForStrategy) {
        banner->addLink(tr("Choose strategy file…"), [this] { emit document()->strategyWanted(false); });
        banner->addLink(tr("Folder of stage files…"), [this] { emit document()->strategyWanted(true); });
    } else if (finding.tensor != kNoTensor)
        banner->addLink(tr("Show tensor"), [this, tensor = finding.tensor] {
            document()->selectTensor(tensor);
            emit document()->pageRequested(QStringLiteral("tensor"));
        });
    else if (finding.rank)
        banner->addLink(tr("Show rank %1").arg(*finding.rank), [this, rank = *finding.rank] {
            document()->select({std::nullopt, std::nullopt, rank, std::nullopt});
            emit document()->pageRequested(QStringLiteral("atlas"));
        });
    else if (finding.file != kNoFile)
        banner->addLink(tr("Show file"), [this, file = finding.file] { chooseFile(file); });
    banner->setDismissible(finding.severity != Severity::Error);
    connect(banner, &Banner::dismissed, this, [this, index] {
        m_dismissed.insert(index);
        showBanners();
    });
    addBanner(banner);
}

void OverviewPage::showBanners()
{
    while (QLayoutItem* item = m_banners->takeAt(0)) {
        if (item->widget() != nullptr)
            item->widget()->deleteLater();
        delete item;
    }
    addVerdict();
    const std::vector<Finding>& findings = document()->findings();
    std::vector<std::size_t> order(findings.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::erase_if(order, [this](std::size_t index) { return m_dismissed.contains(index); });
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return findings[a].severity > findings[b].severity; });
    const std::size_t shown = m_allFindings ? order.size() : std::min(order.size(), kMostBanners);
    for (std::size_t i = 0; i < shown; ++i)
        addFinding(findings[order[i]], order[i]);
    if (shown == order.size())
        return;
    auto* more = new Link(tr("%1 more").arg(numberText(order.size() - shown)));
    connect(more, &Link::clicked, this, [this] {
        m_allFindings = true;
        showBanners();
    });
    m_banners->addWidget(more, 0, Qt::AlignLeft);
}

void OverviewPage::showFigures()
{
    const Checkpoint& checkpoint = *document()->checkpoint();
    const auto set = [this](std::size_t index, const QString& number, const QString& unit, const QString& note) {
        m_figures[index].number->setText(number);
        m_figures[index].unit->setText(unit);
        m_figures[index].note->setText(note);
    };
    const auto count = [](std::size_t number) { return static_cast<int>(std::min<std::size_t>(number, 2)); }; // enough to choose the plural form
    const QString values = m_summary ? QString::fromStdString(countText(m_summary->parameterValues)) : QStringLiteral("…");
    set(0, values, m_summary && m_summary->parameterValues == 1 ? tr("value") : tr("values"),
        !m_summary ? QString()
        : m_summary->hasCodes ? tr("%1, codes and scales too", "values").arg(numberText(m_summary->parameterValues))
                   : tr("%1 in %2").arg(numberText(m_summary->parameterValues), counted(m_summary->parameters, tr("1 parameter"), tr("%1 parameters"))));
    set(1, bytesText(checkpoint.totalFileBytes()), tr("on disk"), tr("%1 B").arg(numberText(checkpoint.totalFileBytes())));
    set(2, numberText(checkpoint.tensors().size()), tr("tensor(s)", nullptr, count(checkpoint.tensors().size())), counted(checkpoint.pieces().size(), tr("1 piece"), tr("%1 pieces")));
    const std::uint32_t ranks = checkpoint.topology().worldSize();
    std::set<std::uint32_t> writers;
    for (const File& file : checkpoint.files())
        if (file.rank)
            writers.insert(*file.rank);
    if (checkpoint.topology().axes.empty() && !writers.empty()) // no layout of ranks, but files that say who wrote them
        set(3, numberText(writers.size()), tr("writer(s)", nullptr, count(writers.size())), tr("ranks that wrote files"));
    else if (checkpoint.topology().axes.empty())
        set(3, QStringLiteral("–"), tr("ranks"), tr("this format has none"));
    else
        set(3, numberText(ranks), tr("rank(s)", nullptr, count(ranks)), axesText(checkpoint.topology()));
    const auto read = static_cast<std::size_t>(std::count_if(checkpoint.files().begin(), checkpoint.files().end(), [](const File& file) { return file.state == File::State::Read; }));
    const std::size_t files = checkpoint.files().size();
    set(4, numberText(read), read == files ? tr("file(s)", nullptr, count(files)) : tr("of %1 files").arg(numberText(files)), containersOf(checkpoint));
}

void OverviewPage::showBytes()
{
    const Checkpoint& checkpoint = *document()->checkpoint();
    std::uint64_t all = 0;
    std::uint64_t optimizer = 0;
    for (const StateUse& use : m_summary->states) {
        all += use.storedBytes;
        if (checkpoint.roles()[indexOf(use.role)].kind == RoleKind::OptimizerState)
            optimizer += use.storedBytes;
    }
    m_stateCard->setHint(optimizer == 0 ? tr("no optimizer states") : tr("%1 only needed to train on").arg(QString::fromStdString(percentText(static_cast<double>(optimizer) / static_cast<double>(std::max<std::uint64_t>(all, 1))))));
    m_placeCard->setHint(m_summary->byRank ? counted(m_summary->places.size(), tr("1 rank"), tr("%1 ranks")) : counted(m_summary->places.size(), tr("1 file"), tr("%1 files")));
    const auto [least, most] = std::minmax_element(m_summary->places.begin(), m_summary->places.end(), [](const PlaceUse& a, const PlaceUse& b) { return a.total < b.total; });
    m_ratio->setVisible(m_summary->places.size() > 1);
    if (m_summary->places.size() > 1 && least->total > 0)
        m_ratio->setText(tr("Largest to smallest: %1 : 1").arg(static_cast<double>(most->total) / static_cast<double>(least->total), 0, 'f', 2));
    else if (m_summary->places.size() > 1)
        m_ratio->setText(tr("%1 holds no values").arg(PlaceBars::labelOf(checkpoint, *least)));
}

void OverviewPage::showGoals()
{
    const Checkpoint& checkpoint = *document()->checkpoint();
    std::uint64_t bytes = 0;
    for (const StateUse& use : m_summary->states)
        if (const RoleKind kind = checkpoint.roles()[indexOf(use.role)].kind; kind == RoleKind::Weight || kind == RoleKind::Buffer)
            bytes += use.bytes;
    m_toSafetensors->setNote(tr("safetensors, %1").arg(bytesText(bytes)));
    m_toTorch->setNote(tr("for torch.load, %1").arg(bytesText(bytes)));
    for (GoalButton* button : {m_toSafetensors, m_toTorch})
        button->setEnabled(bytes > 0);
    const auto& roles = checkpoint.roles();
    const bool trains = std::any_of(roles.begin(), roles.end(), [](const Role& role) { return role.kind == RoleKind::OptimizerState; });
    const bool isRun = checkpoint.formatId() == "deepspeed" || checkpoint.formatId() == "universal";
    m_toRun->setVisible(isRun && trains && !isModelParallel(checkpoint));
    m_toLayout->setVisible(isModelParallel(checkpoint) || hasStages(checkpoint.formatId()));
    m_toStrategy->setVisible(checkpoint.formatId() == "mindspore" && !lacksStrategy(checkpoint));
    m_toRun->setNote(tr("or at another ZeRO stage, with the optimizer"));
}

void OverviewPage::choosePlace(std::size_t place)
{
    const PlaceUse& use = m_summary->places[place];
    if (use.rank)
        document()->select({std::nullopt, std::nullopt, use.rank, std::nullopt});
    else
        chooseFile(use.file);
}

void OverviewPage::chooseFile(FileId file)
{
    document()->select({std::nullopt, std::nullopt, document()->checkpoint()->file(file).rank, file});
}

void OverviewPage::openFolder() const
{
    QDesktopServices::openUrl(QUrl::fromLocalFile(QString::fromStdString(document()->checkpoint()->folder())));
}

QString OverviewPage::copyText(bool withPlace) const
{
    if (!document()->checkpoint() || !document()->selection().isEmpty())
        return {};
    const QString text = QStringLiteral("%1 %2: %3").arg(m_title->text(), m_subtitle->text(), m_sentence->text());
    return withPlace ? document()->path() + QLatin1Char('\n') + text : text;
}

void OverviewPage::paintEvent(QPaintEvent*)
{
    QPainter(this).fillRect(rect(), Theme::current().colour(Token::Window));
}

void OverviewPage::resizeEvent(QResizeEvent* event)
{
    const auto direction = event->size().width() >= Theme::current().px(kSideBySide) ? QBoxLayout::LeftToRight : QBoxLayout::TopToBottom;
    arrangeFigures(event->size().width() >= Theme::current().px(kFiveFigures) ? static_cast<int>(kFigures) : 3);
    m_bytesRow->setDirection(direction);
    m_footRow->setDirection(direction);
    Page::resizeEvent(event);
}

} // namespace shardlens::ui
