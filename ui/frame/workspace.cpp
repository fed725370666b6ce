#include "ui/frame/workspace.h"

#include "core/base/text.h"
#include "ui/frame/loading_bar.h"
#include "ui/frame/page_table.h"
#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/theme/theme.h"
#include "ui/widgets/banner.h"

#include <QApplication>
#include <QDateTime>
#include <QDir>
#include <QFileDialog>
#include <QFileInfo>
#include <QPainter>
#include <QPointer>
#include <QStackedWidget>
#include <QTimer>
#include <QVBoxLayout>

#include <algorithm>
#include <optional>
#include <utility>

namespace shardlens::ui {
namespace {

constexpr int kLoadingDelayMs = 150;  // nothing moves before that
constexpr qint64 kStillWritingMs = 10'000;
constexpr int kMaxPlaces = 100;

// By its full name, else the first of a parameter that is called so.
std::optional<TensorId> tensorNamed(const Checkpoint& checkpoint, const QString& name)
{
    std::optional<TensorId> out;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
        if (QString::fromStdString(checkpoint.fullName(idAt<TensorId>(i))) == name)
            return idAt<TensorId>(i);
        if (!out && QString::fromStdString(checkpoint.parameterOf(idAt<TensorId>(i))) == name)
            out = idAt<TensorId>(i);
    }
    return out;
}

} // namespace

Workspace::Workspace(Document* document, JobQueue* queue, QWidget* parent)
    : QWidget(parent), m_document(document), m_queue(queue), m_column(new QVBoxLayout(this)), m_stack(new QStackedWidget(this)), m_empty(new QWidget(this)), m_loadingDelay(new QTimer(this)), m_writing(new QTimer(this))
{
    document->setParent(this);
    m_column->setContentsMargins(0, 0, 0, 0);
    m_column->setSpacing(0);
    m_column->addWidget(m_stack, 1);
    m_stack->addWidget(m_empty);
    m_pageId = QStringLiteral("overview");
    m_loadingDelay->setSingleShot(true);
    m_writing->setSingleShot(true);
    m_loadingDelay->setInterval(kLoadingDelayMs);
    connect(m_loadingDelay, &QTimer::timeout, this, &Workspace::showLoading);
    connect(document, &Document::stateChanged, this, &Workspace::followState);
    connect(document, &Document::selectionChanged, this, [this] { remember(); });
    connect(document, &Document::pageRequested, this, &Workspace::showPage);
    connect(document, &Document::choiceRequested, this, &Workspace::chooseOnPage);
    connect(document, &Document::convertRequested, this, [this](const QString& format) {
        showPage(QStringLiteral("convert"));
        if (Page* page = currentPage())
            page->choose(format);
    });
    connect(document, &Document::strategyWanted, this, &Workspace::askForStrategy);
    connect(document, &Document::reopenRefused, this, &Workspace::showRefusal);
    connect(document, &Document::reopeningChanged, this, [this] {
        hideLoading();
        if (m_document->isReopening())
            m_loadingDelay->start();
    });
    followState();
}

Page* Workspace::currentPage() const
{
    return qobject_cast<Page*>(m_stack->currentWidget());
}

void Workspace::setBanner(Banner* banner)
{
    if (m_banner != nullptr)
        m_banner->deleteLater();
    m_banner = banner;
    if (banner != nullptr)
        m_column->insertWidget(m_loading != nullptr ? 1 : 0, banner);
}

void Workspace::hideLoading()
{
    m_loadingDelay->stop();
    if (m_loading != nullptr) {
        m_loading->deleteLater();
        m_loading = nullptr;
    }
}

void Workspace::followState()
{
    hideLoading();
    switch (m_document->state()) {
    case Document::State::Opening: m_loadingDelay->start(); return;
    case Document::State::Failed:
        showFailure();
        if (m_pageId == QLatin1String("safety"))
            showScan();
        return;
    case Document::State::Open: break;
    }
    setBanner(nullptr);
    // Pages show one immutable checkpoint: after a reload they are made anew.
    for (const auto& [id, page] : m_pages)
        page->deleteLater();
    m_pages.clear();
    lookForWriting();
    showPage(m_pageId);
    takeWishes();
}

void Workspace::showLoading()
{
    auto* bar = new LoadingBar(tr("Reading %1").arg(QDir(m_document->path()).dirName()), this);
    connect(bar, &LoadingBar::cancelled, m_document, &Document::cancelLoad);
    m_loading = bar;
    m_column->insertWidget(0, bar);
}

void Workspace::showFailure()
{
    auto* banner = new Banner(Banner::Kind::Error, tr("This cannot be opened."), m_document->errorText(), this);
    const QString parent = QFileInfo(m_document->path()).absolutePath();
    if (canScan())
        banner->addLink(tr("What would loading it do?"), [this] { showScan(); });
    banner->addLink(tr("Try again"), [this] { m_document->load(); });
    if (m_document->options().sourceStrategy)
        banner->addLink(tr("Open without the strategy"), [this] {
            OpenOptions options = m_document->options();
            options.sourceStrategy.reset();
            m_document->reopenWith(options);
        });
    banner->addLink(tr("Open its parent"), [this, parent] { emit openRequested(parent); });
    setBanner(banner);
}

void Workspace::useStrategy(const QString& path)
{
    OpenOptions options = m_document->options();
    options.sourceStrategy = path.toStdString();
    m_document->reopenWith(options);
}

void Workspace::askForStrategy(bool isFolder)
{
    const QString from = QFileInfo(m_document->path()).absolutePath();
    const QString path = isFolder ? QFileDialog::getExistingDirectory(this, tr("Choose the folder of the stages' strategy files"), from)
                                  : QFileDialog::getOpenFileName(this, tr("Choose the strategy file"), from, tr("Strategies (*.ckpt *.json);;All files (*)"));
    if (!path.isEmpty())
        useStrategy(path);
}

void Workspace::showRefusal(const QString& why)
{
    auto* banner = new Banner(Banner::Kind::Error, tr("The strategy is not used."), why, this);
    banner->addLink(tr("Choose another…"), [this] { askForStrategy(false); });
    banner->setDismissible(true);
    connect(banner, &Banner::dismissed, this, [this] { setBanner(nullptr); });
    setBanner(banner);
}

bool Workspace::canScan() const
{
    return m_document->state() == Document::State::Open || (m_document->state() == Document::State::Failed && QFileInfo::exists(m_document->path()));
}

void Workspace::showScan()
{
    if (!canScan())
        return;
    m_pageId = QStringLiteral("safety");
    Page* page = pageFor(QStringLiteral("safety"));
    m_stack->setCurrentWidget(page);
    page->activate();
    emit pageChanged(m_pageId);
}

void Workspace::selectNamed(const QString& name)
{
    m_wantedName = name;
    if (m_document->state() == Document::State::Open)
        takeWishes();
}

void Workspace::chooseOnPage(const QString& id, const QString& what)
{
    m_wantedChoice = {id, what};
    m_pageId = id;
    if (m_document->state() == Document::State::Open)
        takeWishes();
}

void Workspace::takeWishes()
{
    const auto [page, choice] = std::exchange(m_wantedChoice, {});
    if (!page.isEmpty()) {
        showPage(page);
        if (Page* shown = currentPage())
            shown->choose(choice);
    }
    const QString name = std::exchange(m_wantedName, {});
    if (name.isEmpty())
        return;
    const Checkpoint& checkpoint = *m_document->checkpoint();
    if (const auto tensor = tensorNamed(checkpoint, name)) {
        m_document->selectTensor(*tensor);
        return;
    }
    m_missedName = tr("%1: none of the %2 has this name.").arg(name, counted(checkpoint.tensors().size(), tr("1 tensor"), tr("%1 tensors")));
    qCritical("error: %s", qPrintable(m_missedName));
    auto* banner = new Banner(Banner::Kind::Warning, tr("There is nothing to select."), m_missedName, this);
    banner->addLink(tr("Show tensors"), [this] { showPage(QStringLiteral("tensors")); });
    banner->setDismissible(true);
    connect(banner, &Banner::dismissed, this, [this] { setBanner(nullptr); });
    setBanner(banner);
}

void Workspace::lookForWriting()
{
    m_writing->stop();
    const qint64 now = QDateTime::currentMSecsSinceEpoch();
    const auto& files = m_document->checkpoint()->files();
    qint64 last = 0;
    const auto fresh = std::count_if(files.begin(), files.end(), [&](const File& file) {
        const qint64 age = now - file.modifiedNs / 1'000'000;
        if (file.state != File::State::Read || age >= kStillWritingMs)
            return false;
        last = std::max(last, std::min(kStillWritingMs, kStillWritingMs - age));
        return true;
    });
    if (fresh == 0)
        return;
    auto* banner = new Banner(Banner::Kind::Info, tr("Still being written."), tr("%n file(s) changed in the last 10 s.", nullptr, static_cast<int>(fresh)), this);
    banner->addLink(tr("Reload"), [this] { m_document->load(); });
    banner->setDismissible(true);
    connect(banner, &Banner::dismissed, this, [this] { setBanner(nullptr); });
    setBanner(banner);
    m_writing->disconnect(this);
    connect(m_writing, &QTimer::timeout, this, [this, shown = QPointer<Banner>(banner)] { // by then it is no longer true
        if (m_banner == shown)
            setBanner(nullptr);
    });
    m_writing->start(static_cast<int>(last));
}

Page* Workspace::pageFor(const QString& id)
{
    if (const auto known = m_pages.find(id); known != m_pages.end())
        return known->second;
    for (const PageEntry& entry : pageTable())
        if (id == QLatin1String(entry.id)) {
            Page* page = entry.create(m_document, m_queue);
            m_pages.emplace(id, page);
            m_stack->addWidget(page);
            return page;
        }
    return nullptr;
}

void Workspace::showPage(const QString& id)
{
    m_pageId = id;
    if (m_document->state() == Document::State::Failed && id == QLatin1String("safety"))
        showScan();
    if (m_document->state() != Document::State::Open)
        return;
    Page* page = pageFor(id);
    if (page == nullptr)
        return;
    m_stack->setCurrentWidget(page);
    page->activate();
    if (!page->isAncestorOf(QApplication::focusWidget()))
        page->setFocus(); // keys work on the page, not on the tab above it
    remember();
    emit pageChanged(id);
}

void Workspace::remember()
{
    if (m_moving || m_document->state() != Document::State::Open)
        return;
    const Place here{m_pageId, m_document->selection()};
    if (m_place >= 0 && m_places[static_cast<std::size_t>(m_place)].page == here.page) {
        m_places[static_cast<std::size_t>(m_place)].selection = here.selection; // moving about on one page is one place
        return;
    }
    m_places.resize(static_cast<std::size_t>(m_place + 1));
    m_places.push_back(here);
    if (m_places.size() > kMaxPlaces)
        m_places.erase(m_places.begin());
    m_place = static_cast<int>(m_places.size()) - 1;
}

void Workspace::goTo(int place)
{
    if (place < 0 || place >= static_cast<int>(m_places.size()))
        return;
    m_moving = true;
    m_place = place;
    const Place there = m_places[static_cast<std::size_t>(place)];
    m_document->select(there.selection);
    showPage(there.page);
    m_moving = false;
}

void Workspace::paintEvent(QPaintEvent*)
{
    QPainter(this).fillRect(rect(), Theme::current().colour(Token::Window));
}

} // namespace shardlens::ui
