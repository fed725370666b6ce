#include "ui/pages/model_page.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/theme/theme.h"
#include "ui/widgets/card.h"
#include "ui/widgets/depth_plot.h"
#include "ui/widgets/link.h"
#include "ui/widgets/page_bar.h"
#include "ui/widgets/text_label.h"

#include <QComboBox>
#include <QGridLayout>
#include <QLabel>
#include <QPainter>
#include <QResizeEvent>
#include <QScrollArea>
#include <QSignalBlocker>
#include <QStackedWidget>
#include <QVBoxLayout>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr int kModelPollMs = 200;
constexpr std::size_t kMostOdd = 8; // listed; all are marked in the plots
// Design pixels.
constexpr int kTwoColumns = 760;
constexpr int kPlotHeight = 170;

QString text(const std::string& utf8)
{
    return QString::fromStdString(utf8);
}

double figureOf(const ProfileRow& row, ModelPage::Figure figure)
{
    switch (figure) {
    case ModelPage::Deviation: return row.values.deviation();
    case ModelPage::Largest: return row.largest();
    case ModelPage::Mean: return row.values.mean;
    case ModelPage::Zeros: return 100 * row.zeroShare();
    case ModelPage::NonFinite: return static_cast<double>(row.nonFinite());
    case ModelPage::FigureCount: break;
    }
    return 0;
}

// A mean is next to zero: how many times the others' it is says nothing.
bool isMarked(const ModelProfile& profile, std::size_t row, ModelPage::Figure figure)
{
    switch (figure) {
    case ModelPage::Deviation: return profile.isOddIn(row, ProfileFigure::Deviation);
    case ModelPage::Largest: return profile.isOddIn(row, ProfileFigure::Largest);
    case ModelPage::Zeros: return profile.isOddIn(row, ProfileFigure::Zeros);
    case ModelPage::NonFinite: return profile.isOddIn(row, ProfileFigure::NonFinite);
    case ModelPage::Mean:
    case ModelPage::FigureCount: break;
    }
    return false;
}

} // namespace

ModelPage::ModelPage(Document* document, QWidget* parent) : Page(document, parent), m_stack(new QStackedWidget(this)), m_empty(new QLabel(this))
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    buildBar();
    column->addWidget(m_bar);
    column->addWidget(m_stack, 1);
    m_empty->setAlignment(Qt::AlignCenter);
    m_empty->setWordWrap(true);
    m_stack->addWidget(m_empty);
    m_stack->addWidget(buildBody());
    setFocusProxy(m_plots[Deviation]);
    m_poll.setInterval(kModelPollMs);
    connect(&m_poll, &QTimer::timeout, this, &ModelPage::showStatus);
    connect(document, &Document::stateChanged, this, &ModelPage::rebuild);
    connect(&Theme::current(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

ModelPage::~ModelPage() = default;

QString ModelPage::question() const
{
    return tr("Which layer is odd?");
}

void ModelPage::buildBar()
{
    m_bar = new PageBar(tr("Values over the depth of the model"), this);
    m_roles = new QComboBox(m_bar);
    m_roles->setAccessibleName(tr("State"));
    m_kinds = new QComboBox(m_bar);
    m_kinds->setAccessibleName(tr("Tensors"));
    m_kinds->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    m_kinds->setMinimumContentsLength(34);
    m_status = new TextLabel({}, TextStyle::Caption, Token::Text2, m_bar);
    m_status->setElide(Qt::ElideRight);
    m_action = new Link({}, m_bar);
    m_bar->addControl(tr("State"), m_roles);
    m_bar->addControl(tr("Tensors"), m_kinds);
    m_bar->addControlStretch();
    m_bar->addControl({}, m_status);
    m_bar->addControl({}, m_action);
    connect(m_roles, &QComboBox::currentIndexChanged, this, [this] {
        forget();
        look(false);
    });
    connect(m_kinds, &QComboBox::currentIndexChanged, this, &ModelPage::showPlots);
    connect(m_action, &Link::clicked, this, [this] { m_run.isRunning() ? cancel() : look(true); });
}

QWidget* ModelPage::buildBody()
{
    const Theme& theme = Theme::current();
    auto* scroll = new QScrollArea(m_stack);
    scroll->setWidgetResizable(true);
    scroll->setFrameShape(QFrame::NoFrame);
    scroll->setFocusPolicy(Qt::NoFocus);
    auto* body = new QWidget;
    auto* rows = new QVBoxLayout(body);
    rows->setContentsMargins(theme.px(16), theme.px(12), theme.px(16), theme.px(16));
    rows->setSpacing(theme.px(12));
    m_oddCard = new Card(tr("Unlike the others of their kind"));
    m_oddRows = new QVBoxLayout;
    m_oddRows->setSpacing(theme.px(4));
    m_oddCard->body()->addLayout(m_oddRows);
    m_oddCard->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum); // a line, where nothing is odd
    rows->addWidget(m_oddCard);
    m_grid = new QGridLayout;
    m_grid->setSpacing(theme.px(12));
    rows->addLayout(m_grid);
    rows->addStretch();
    const std::array<std::pair<QString, QString>, FigureCount> titles{{{tr("Standard deviation"), tr("deviation")},
                                                                       {tr("Largest value"), tr("largest |x|")},
                                                                       {tr("Mean"), tr("mean")},
                                                                       {tr("Zeros"), tr("% of values")},
                                                                       {tr("Not finite"), tr("values")}}};
    for (std::size_t i = 0; i < FigureCount; ++i) {
        m_cards[i] = new Card(titles[i].first, tr("first layer at the left"));
        m_plots[i] = new DepthPlot(titles[i].second);
        m_plots[i]->setAccessibleName(tr("%1 by layer").arg(titles[i].first));
        m_plots[i]->setMinimumHeight(theme.px(kPlotHeight));
        m_cards[i]->body()->addWidget(m_plots[i]);
        connect(m_plots[i], &DepthPlot::chosen, this, [this](std::size_t point) { openTensor(m_shown[point]); });
    }
    placePlots();
    scroll->setWidget(body);
    return scroll;
}

void ModelPage::placePlots()
{
    const int columns = width() >= Theme::current().px(kTwoColumns) ? 2 : 1;
    if (columns == m_columns || m_grid == nullptr)
        return;
    m_columns = columns;
    for (Card* card : m_cards)
        m_grid->removeWidget(card);
    for (int i = 0; i < FigureCount; ++i)
        m_grid->addWidget(m_cards[static_cast<std::size_t>(i)], i / columns, i % columns, 1, i + 1 == FigureCount ? columns : 1);
    for (int column = 0; column < 2; ++column)
        m_grid->setColumnStretch(column, column < columns ? 1 : 0);
}

void ModelPage::resizeEvent(QResizeEvent* event)
{
    Page::resizeEvent(event);
    placePlots();
}

void ModelPage::activate()
{
    m_active = true;
    rebuild();
}

void ModelPage::rebuild()
{
    const CheckpointPtr checkpoint = document()->checkpoint();
    if (!m_active || m_builtFor == checkpoint)
        return;
    m_builtFor = checkpoint;
    forget();
    cancel();
    loadRoles();
    look(false);
}

// States that have floating-point values, with the weights first.
void ModelPage::loadRoles()
{
    const QSignalBlocker quiet(m_roles);
    m_roles->clear();
    if (!m_builtFor)
        return;
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < m_builtFor->roles().size(); ++i)
        if (ModelProfile::bytesOf(*m_builtFor, idAt<RoleId>(i)) > 0)
            order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) { return m_builtFor->roles()[a].kind < m_builtFor->roles()[b].kind; });
    for (const std::size_t i : order)
        m_roles->addItem(text(m_builtFor->roles()[i].name), static_cast<qulonglong>(i));
}

// What shows is of no profile any more.
void ModelPage::forget()
{
    m_profile.reset();
    m_shown.clear();
    for (DepthPlot* plot : m_plots)
        plot->setPoints({});
    clearOdd();
    m_oddCard->setHint({});
}

void ModelPage::look(bool exact)
{
    m_run.cancel();
    const bool isThere = m_builtFor && m_roles->count() > 0;
    m_stack->setCurrentIndex(isThere ? 1 : 0);
    m_empty->setText(m_builtFor ? tr("No tensor here has floating-point values.") : tr("Nothing is open: Ctrl+O"));
    if (!isThere) {
        showAction();
        return;
    }
    m_job = std::make_shared<ModelProfile::JobSlot>();
    m_run.start(
        [checkpoint = m_builtFor, role = idAt<RoleId>(m_roles->currentData().toULongLong()), exact, slot = m_job](const std::stop_token& stop) {
            return ModelProfile::build(checkpoint, role, exact, slot, stop);
        },
        [this](ModelProfilePtr profile) {
            if (profile)
                adopt(std::move(profile));
        });
    m_poll.start();
    showStatus();
    showAction();
}

void ModelPage::adopt(ModelProfilePtr profile)
{
    m_poll.stop();
    m_profile = std::move(profile);
    showKinds();
    showPlots();
    showOdd();
    showStatus();
    showAction();
}

void ModelPage::cancel()
{
    m_run.cancel();
    m_poll.stop();
    showStatus();
    showAction();
}

void ModelPage::showStatus()
{
    const std::shared_ptr<JobContext> job = m_run.isRunning() && m_job ? m_job->load() : nullptr;
    const std::uint64_t total = job ? job->progress().total.load(std::memory_order_relaxed) : 0;
    const QString share = total == 0 ? QString() : text(percentText(static_cast<double>(job->progress().done.load(std::memory_order_relaxed)) / static_cast<double>(total)));
    if (m_run.isRunning()) {
        m_status->setText(m_profile ? tr("of a sample; reading all: %1").arg(share) : tr("reading a sample: %1").arg(share));
        return;
    }
    if (!m_profile) {
        m_status->setText(m_builtFor && m_roles->count() > 0 ? tr("cancelled") : QString());
        return;
    }
    const auto unread = std::count_if(m_profile->rows.begin(), m_profile->rows.end(), [](const ProfileRow& row) { return !row.problem.isEmpty(); });
    QString basis = m_profile->isExact ? tr("of every value") : tr("of a sample of each tensor");
    if (const std::uint64_t parts = ModelProfile::quantizedCodes(*m_builtFor, m_profile->role); parts > 0)
        basis = tr("%1; without %2 of quantized weights", "basis, tensors").arg(basis, text(plural(parts, "tensor", "tensors")));
    m_status->setText(unread == 0 ? basis : tr("%1; %2 could not be read", "basis, tensors").arg(basis, text(plural(static_cast<std::uint64_t>(unread), "tensor", "tensors"))));
}

void ModelPage::showAction()
{
    const bool canRead = m_builtFor && m_roles->count() > 0 && (!m_profile || !m_profile->isExact);
    m_action->setVisible(m_run.isRunning() || canRead);
    if (canRead)
        m_action->setText(tr("Read every value (%1)").arg(bytesText(ModelProfile::bytesOf(*m_builtFor, idAt<RoleId>(m_roles->currentData().toULongLong())))));
    if (m_run.isRunning())
        m_action->setText(tr("Cancel"));
    m_action->updateGeometry();
}

void ModelPage::showKinds()
{
    const QSignalBlocker quiet(m_kinds);
    const QString chosen = m_kinds->currentData().toString();
    m_kinds->clear();
    m_kinds->addItem(tr("All %1").arg(numberText(m_profile->rows.size())), QString());
    std::vector<std::size_t> counts(m_profile->kinds.size(), 0);
    for (const ProfileRow& row : m_profile->rows)
        ++counts[row.kind];
    for (std::size_t i = 0; i < counts.size(); ++i)
        if (counts[i] > 1)
            m_kinds->addItem(tr("%1 (%2)", "names, how many").arg(printableText(m_profile->kinds[i]), numberText(counts[i])), text(m_profile->kinds[i]));
    m_kinds->setCurrentIndex(std::max(0, m_kinds->findData(chosen)));
}

void ModelPage::showPlots()
{
    if (!m_profile)
        return;
    const std::string kind = m_kinds->currentData().toString().toStdString();
    m_shown.clear();
    bool anyNonFinite = false;
    for (std::size_t i = 0; i < m_profile->rows.size(); ++i) {
        const ProfileRow& row = m_profile->rows[i];
        if (!row.problem.isEmpty() || (!kind.empty() && m_profile->kinds[row.kind] != kind))
            continue;
        m_shown.push_back(i);
        anyNonFinite = anyNonFinite || row.nonFinite() > 0;
    }
    for (std::size_t figure = 0; figure < FigureCount; ++figure) {
        std::vector<DepthPoint> points;
        for (const std::size_t i : m_shown) {
            const ProfileRow& row = m_profile->rows[i];
            const double height = figureOf(row, static_cast<Figure>(figure));
            points.push_back({height, isMarked(*m_profile, i, static_cast<Figure>(figure)), tr("%1\n%2", "name, figure").arg(printableText(row.name), QString::number(height, 'g', 4))});
        }
        m_plots[figure]->setPoints(std::move(points));
    }
    m_cards[NonFinite]->setVisible(anyNonFinite);
}

void ModelPage::clearOdd()
{
    while (QLayoutItem* item = m_oddRows->takeAt(0)) {
        delete item->widget();
        delete item;
    }
}

void ModelPage::showOdd()
{
    clearOdd();
    const std::size_t shown = std::min(m_profile->odd.size(), kMostOdd);
    for (std::size_t i = 0; i < shown; ++i) {
        const OddTensor& odd = m_profile->odd[i];
        auto* line = new QWidget;
        auto* columns = new QHBoxLayout(line);
        columns->setContentsMargins(0, 0, 0, 0);
        columns->setSpacing(Theme::current().px(12));
        auto* open = new Link(printableText(m_profile->rows[odd.row].name));
        connect(open, &Link::clicked, this, [this, row = odd.row] { openTensor(row); });
        auto* why = new TextLabel(odd.why, TextStyle::Body, Token::Text2);
        why->setElide(Qt::ElideRight);
        columns->addWidget(open);
        columns->addWidget(why, 1);
        m_oddRows->addWidget(line);
    }
    const QString basis = m_profile->isExact ? tr("of every value") : tr("of a sample; reading every value may find more");
    m_oddCard->setHint(m_profile->odd.empty() && !m_profile->isComparable ? tr("too few layers to tell: those of a kind are compared where there are four")
                       : m_profile->odd.empty() ? tr("none: the tensors of each kind are alike (%1)").arg(basis)
                       : m_profile->odd.size() > shown ? tr("%1 of %2, the furthest first (%3)").arg(shown).arg(m_profile->odd.size()).arg(basis)
                                                       : tr("the furthest first (%1)").arg(basis));
}

void ModelPage::openTensor(std::size_t row)
{
    document()->selectTensor(m_profile->rows[row].tensor);
    emit document()->pageRequested(QStringLiteral("tensor"));
}

QString ModelPage::status() const
{
    return m_status->text();
}

QString ModelPage::copyText(bool withPlace) const
{
    if (!m_profile)
        return {};
    QStringList lines;
    if (withPlace)
        lines << document()->path();
    for (const OddTensor& odd : m_profile->odd)
        lines << printableText(m_profile->rows[odd.row].name) + QLatin1Char('\t') + odd.why;
    return lines.join(QLatin1Char('\n'));
}

void ModelPage::paintEvent(QPaintEvent*)
{
    QPainter(this).fillRect(rect(), Theme::current().colour(Token::Surface));
}

} // namespace shardlens::ui
