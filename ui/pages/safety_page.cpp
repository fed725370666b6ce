#include "ui/pages/safety_page.h"

#include "core/analysis/pickle_listing.h"
#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/models/safety_check.h"
#include "ui/pages/safety/opcode_lines.h"
#include "ui/pages/safety/safety_files.h"
#include "ui/pages/safety/safety_findings.h"
#include "ui/widgets/banner.h"
#include "ui/widgets/link.h"
#include "ui/widgets/name_delegate.h"
#include "ui/widgets/page_bar.h"
#include "ui/widgets/text_label.h"

#include <QApplication>
#include <QCheckBox>
#include <QClipboard>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QSplitter>
#include <QStackedWidget>
#include <QTableView>
#include <QVBoxLayout>

namespace shardlens::ui {
namespace {

using Listing = std::shared_ptr<const PickleListing>;

QTableView* tableOf(QAbstractItemModel* model, const QString& name, QWidget* parent)
{
    auto* table = new QTableView(parent);
    table->setModel(model);
    table->setAccessibleName(name);
    table->setFrameShape(QFrame::NoFrame);
    table->setShowGrid(false);
    table->setWordWrap(false);
    table->setSelectionBehavior(QAbstractItemView::SelectRows);
    table->setSelectionMode(QAbstractItemView::SingleSelection);
    table->setTabKeyNavigation(false);
    table->setHorizontalScrollMode(QAbstractItemView::ScrollPerPixel);
    table->verticalHeader()->hide();
    table->verticalHeader()->setMinimumSectionSize(Theme::current().px(18));
    table->verticalHeader()->setDefaultSectionSize(Theme::current().px(24));
    table->horizontalHeader()->setMinimumHeight(Theme::current().px(28));
    table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    table->horizontalHeader()->setHighlightSections(false);
    return table;
}

std::shared_ptr<Result<Listing>> listingOf(const ScanReport& report, const ScanStream& stream, const std::stop_token& stop)
{
    const JobContext job(stop);
    auto listing = PickleListing::of(report, stream, &job);
    if (!listing)
        return std::make_shared<Result<Listing>>(listing.takeError());
    return std::make_shared<Result<Listing>>(std::make_shared<const PickleListing>(listing.take()));
}

Banner::Kind bannerKindOf(Verdict verdict)
{
    switch (verdict) {
    case Verdict::Safe: return Banner::Kind::Ok;
    case Verdict::Unknown: case Verdict::Suspicious: return Banner::Kind::Warning;
    case Verdict::Dangerous: return Banner::Kind::Error;
    }
    return Banner::Kind::Info;
}

QString lineOf(const ScanReport& report, const ScanFinding& finding)
{
    const QString member = finding.member.empty() ? QString() : QStringLiteral(" ") + printableText(finding.member);
    return QStringLiteral("%1 %2 %3 (%4%5 @%6)")
        .arg(finding.finding.level)
        .arg(QString::fromLatin1(finding.finding.code), printableText(finding.finding.what), printableText(report.files[finding.file].name), member)
        .arg(finding.finding.offset);
}

} // namespace

SafetyPage::SafetyPage(Document* document, QWidget* parent)
    : Page(document, parent), m_bar(new PageBar(tr("Safety"), this)), m_filter(new QLineEdit(this)), m_all(new QCheckBox(tr("Harmless findings too"), this)),
      m_stack(new QStackedWidget(this)), m_message(new QLabel(this)), m_action(new Link({}, this)), m_fileModel(new SafetyFiles(this)),
      m_findingModel(new SafetyFindings(this)), m_opcodeModel(new OpcodeLines(this)), m_check(document->safety())
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(m_bar);
    column->addWidget(m_stack, 1);
    m_bar->setFacts(tr("Shardlens reads these files as data. Nothing in them was executed."));
    m_filter->setPlaceholderText(tr("Filter findings"));
    m_filter->setAccessibleName(tr("Filter findings"));
    m_filter->setClearButtonEnabled(true);
    m_filter->addAction(Theme::current().icon(QStringLiteral("search"), Token::Text3), QLineEdit::LeadingPosition);
    m_filter->setMinimumWidth(Theme::current().px(280));
    m_bar->addControl({}, m_filter);
    m_bar->addControl({}, m_all);
    m_bar->addControlStretch();
    auto* copy = new Link(tr("Copy report"), this);
    m_bar->addControl({}, copy);
    connect(copy, &Link::clicked, this, [this] { QApplication::clipboard()->setText(copyText(true)); });
    m_body = buildBody();
    m_wait = new QWidget(this);
    auto* wait = new QVBoxLayout(m_wait);
    wait->addStretch(1);
    wait->addWidget(m_message, 0, Qt::AlignHCenter);
    wait->addWidget(m_action, 0, Qt::AlignHCenter);
    wait->addStretch(2);
    m_stack->addWidget(m_wait);
    m_stack->addWidget(m_body);
    connect(m_filter, &QLineEdit::textChanged, this, &SafetyPage::showFile);
    connect(m_all, &QCheckBox::clicked, this, [this](bool on) {
        m_wantsHarmless = on;
        showFile();
    });
    connect(m_action, &Link::clicked, this, [this] { m_check->isRunning() ? m_check->cancel() : m_check->start(); });
    connect(m_check, &SafetyCheck::changed, this, &SafetyPage::follow);
    connect(m_check, &SafetyCheck::progressed, this, [this] { m_message->setText(m_check->progressText()); });
    follow();
}

SafetyPage::~SafetyPage() = default;

QWidget* SafetyPage::buildBody()
{
    const Theme& theme = Theme::current();
    auto* body = new QWidget(this);
    auto* column = new QVBoxLayout(body);
    column->setContentsMargins(theme.px(16), theme.px(12), theme.px(16), theme.px(12));
    column->setSpacing(theme.px(12));
    m_verdict = new QVBoxLayout;
    column->addLayout(m_verdict);
    auto* across = new QSplitter(Qt::Horizontal, body);
    across->setChildrenCollapsible(false);
    m_files = tableOf(m_fileModel, tr("Files"), across);
    m_files->horizontalHeader()->setSectionResizeMode(SafetyFiles::File, QHeaderView::Stretch);
    m_files->horizontalHeader()->setSectionResizeMode(SafetyFiles::Verdict, QHeaderView::ResizeToContents); // a verdict is never cut
    m_names = new NameDelegate(this);
    m_files->setItemDelegateForColumn(SafetyFiles::File, m_names);
    auto* down = new QSplitter(Qt::Vertical, across);
    down->setChildrenCollapsible(false);
    m_findings = tableOf(m_findingModel, tr("Findings"), down);
    m_findings->horizontalHeader()->setSectionResizeMode(SafetyFindings::What, QHeaderView::Stretch);
    for (const auto& [section, width] : {std::pair(SafetyFindings::Level, 76), std::pair(SafetyFindings::Member, 84), std::pair(SafetyFindings::Offset, 72),
                                         std::pair(SafetyFindings::Code, 48)})
        m_findings->setColumnWidth(section, theme.px(width));
    down->addWidget(m_findings);
    down->addWidget(buildListing());
    down->setSizes({theme.px(220), theme.px(360)});
    across->addWidget(m_files);
    across->addWidget(down);
    across->setSizes({theme.px(340), theme.px(620)}); // as shares
    across->setStretchFactor(0, 1);
    across->setStretchFactor(1, 2);
    column->addWidget(across, 1);
    connect(m_files->selectionModel(), &QItemSelectionModel::currentRowChanged, this, &SafetyPage::showFile);
    connect(m_findings->selectionModel(), &QItemSelectionModel::currentRowChanged, this, &SafetyPage::showFinding);
    return body;
}

QWidget* SafetyPage::buildListing()
{
    const Theme& theme = Theme::current();
    auto* box = new QWidget(this);
    auto* column = new QVBoxLayout(box);
    column->setContentsMargins(0, theme.px(8), 0, 0);
    column->setSpacing(theme.px(4));
    m_what = new TextLabel({}, TextStyle::Strong, Token::Text, box);
    m_what->setWordWrap(true);
    m_what->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_where = new TextLabel({}, TextStyle::Caption, Token::Text3, box);
    m_where->setElide(Qt::ElideMiddle);
    m_goTo = new QLineEdit(box);
    m_goTo->setPlaceholderText(tr("Go to offset"));
    m_goTo->setAccessibleName(tr("Go to offset"));
    m_goTo->setFixedWidth(theme.px(140));
    auto* row = new QHBoxLayout;
    row->addWidget(m_where, 1);
    row->addWidget(m_goTo);
    column->addWidget(m_what);
    column->addLayout(row);
    m_opcodes = tableOf(m_opcodeModel, tr("Opcodes"), box);
    m_opcodes->verticalHeader()->setDefaultSectionSize(theme.px(20));
    m_opcodes->horizontalHeader()->setStretchLastSection(true);
    m_opcodes->setColumnWidth(OpcodeLines::Offset, theme.px(110));
    m_opcodes->setColumnWidth(OpcodeLines::Opcode, theme.px(170));
    column->addWidget(m_opcodes, 1);
    connect(m_goTo, &QLineEdit::returnPressed, this, &SafetyPage::goTo);
    return box;
}

QString SafetyPage::question() const
{
    return tr("May these files be loaded elsewhere?");
}

void SafetyPage::activate()
{
    m_check->start();
    m_files->setFocus();
}

void SafetyPage::focusFilter()
{
    m_filter->setFocus(Qt::ShortcutFocusReason);
    m_filter->selectAll();
}

bool SafetyPage::clearFilter()
{
    if (m_filter->text().isEmpty())
        return false;
    m_filter->clear();
    return true;
}

void SafetyPage::follow()
{
    if (m_check->report()) {
        if (m_shown != m_check->report())
            showReport();
        return;
    }
    m_shown = nullptr;
    m_stack->setCurrentWidget(m_wait);
    m_message->setText(m_check->isRunning() ? m_check->progressText() : m_check->errorText().isEmpty() ? tr("Not scanned yet.") : m_check->errorText());
    m_action->setText(m_check->isRunning() ? tr("Cancel") : tr("Scan"));
    m_action->updateGeometry();
}

void SafetyPage::showReport()
{
    m_shown = m_check->report();
    m_listed.reset();
    while (QLayoutItem* old = m_verdict->takeAt(0)) {
        delete old->widget();
        delete old;
    }
    const QString sentence = SafetyWords::sentence(*m_shown);
    const qsizetype end = sentence.indexOf(QStringLiteral(". "));
    const QString rest = end < 0 ? QString() : sentence.mid(end + 2) + QLatin1Char(' ');
    const QString amount = SafetyWords::amount(*m_shown) + QLatin1Char('.');
    m_verdict->addWidget(new Banner(bannerKindOf(m_shown->verdict()), end < 0 ? sentence : sentence.left(end + 1), rest + amount, this));
    m_fileModel->show(m_shown);
    QStringList names;
    for (int row = 0; row < m_fileModel->rowCount(); ++row)
        names << m_fileModel->index(row, SafetyFiles::File).data().toString();
    m_names->setNames(names);
    m_stack->setCurrentWidget(m_body);
    if (m_fileModel->rowCount() > 0)
        m_files->setCurrentIndex(m_fileModel->index(0, 0));
    showFile();
}

std::optional<std::size_t> SafetyPage::currentFile() const
{
    const QModelIndex current = m_files->currentIndex();
    return m_shown && current.isValid() ? std::optional(m_fileModel->fileAt(current.row())) : std::nullopt;
}

void SafetyPage::showFile()
{
    // Where there is nothing but harmless findings they are what is listed, and the box says so.
    const auto file = currentFile();
    const bool onlyHarmless = file && !SafetyFindings::isNotable(m_shown->files[*file].level);
    m_all->setEnabled(!onlyHarmless);
    m_all->setChecked(onlyHarmless || m_wantsHarmless);
    m_findingModel->show(m_shown, file, m_filter->text().trimmed(), m_all->isChecked());
    m_findings->setColumnHidden(SafetyFindings::Member, !m_findingModel->hasMembers());
    if (m_findingModel->rowCount() > 0)
        m_findings->setCurrentIndex(m_findingModel->index(0, 0));
    else
        showFinding();
}

void SafetyPage::showFinding()
{
    const QModelIndex current = m_findings->currentIndex();
    const auto file = currentFile();
    if (!current.isValid()) {
        m_run.cancel();
        m_listed.reset();
        m_opcodeModel->show(nullptr);
        const bool hasPickle = file && m_shown->files[*file].streams > 0;
        m_what->setText(!file ? QString() : hasPickle ? tr("Nothing was found in it.") : tr("It holds no pickle."));
        m_where->setText(file ? printableText(m_shown->files[*file].kind) : QString());
        return;
    }
    const ScanFinding& finding = m_findingModel->findingAt(current.row());
    QString what = printableText(finding.finding.what);
    what[0] = what[0].toUpper();
    m_what->setText(what + QLatin1Char('.'));
    const QString member = finding.member.empty() ? printableText(m_shown->files[finding.file].name) : printableText(finding.member);
    m_where->setText(tr("%1 at offset %2, level %3").arg(member, numberText(finding.finding.offset)).arg(finding.finding.level));
    list(finding);
}

void SafetyPage::list(const ScanFinding& finding)
{
    const std::uint64_t offset = finding.finding.offset;
    if (finding.stream == kNoStream) {
        m_run.cancel();
        m_listed.reset();
        m_opcodeModel->show(nullptr);
        return;
    }
    if (m_listed == finding.stream && !m_run.isRunning()) {
        markAt(offset);
        return;
    }
    m_listed = finding.stream;
    m_opcodeModel->show(nullptr);
    m_run.start([report = m_shown, stream = finding.stream](const std::stop_token& stop) { return listingOf(*report, report->streams[stream], stop); },
                [this, offset](const std::shared_ptr<Result<Listing>>& listing) {
                    if (!*listing) {
                        m_where->setText(QString::fromStdString(listing->error().sentence()));
                        return;
                    }
                    m_opcodeModel->show(listing->take());
                    markAt(offset);
                });
}

void SafetyPage::markAt(std::uint64_t offset)
{
    if (!m_opcodeModel->listing() || m_opcodeModel->rowCount() == 0)
        return;
    const int row = static_cast<int>(m_opcodeModel->listing()->lineAt(offset));
    m_opcodeModel->mark(row);
    m_opcodes->setCurrentIndex(m_opcodeModel->index(row, 0));
    m_opcodes->scrollTo(m_opcodeModel->index(row, 0), QAbstractItemView::PositionAtCenter);
}

void SafetyPage::goTo()
{
    bool isNumber = false;
    const QString text = m_goTo->text().remove(QLatin1Char(',')).trimmed();
    const qulonglong offset = text.toULongLong(&isNumber, 0);
    if (!isNumber || !m_opcodeModel->listing() || m_opcodeModel->rowCount() == 0)
        return;
    const int row = static_cast<int>(m_opcodeModel->listing()->lineAt(offset));
    m_opcodes->setCurrentIndex(m_opcodeModel->index(row, 0));
    m_opcodes->scrollTo(m_opcodeModel->index(row, 0), QAbstractItemView::PositionAtCenter);
}

QString SafetyPage::copyText(bool withPlace) const
{
    if (!m_shown)
        return {};
    QStringList lines;
    if (withPlace)
        lines << printableText(m_shown->path) << SafetyWords::sentence(*m_shown);
    for (const ScanFinding& finding : m_shown->findings)
        if (withPlace ? finding.finding.level >= 3 : finding.file == currentFile())
            lines << lineOf(*m_shown, finding);
    return lines.join(QLatin1Char('\n'));
}

} // namespace shardlens::ui
