#include "ui/pages/metadata_page.h"

#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/models/metadata_model.h"
#include "ui/theme/theme.h"
#include "ui/widgets/page_bar.h"

#include <QApplication>
#include <QCheckBox>
#include <QClipboard>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QShortcut>
#include <QStackedWidget>
#include <QTreeView>
#include <QVBoxLayout>

#include <array>

namespace shardlens::ui {
namespace {

constexpr int kExpandBelow = 400; // rows: a tree no longer than this opens whole
constexpr std::array<int, MetadataModel::ColumnCount> kWidths{320, 320, 200, 160};

} // namespace

MetadataPage::MetadataPage(Document* document, QWidget* parent)
    : Page(document, parent), m_bar(new PageBar(tr("Metadata"), this)), m_filter(new QLineEdit(this)), m_onlyDiffering(new QCheckBox(tr("Only what differs between files"), this)),
      m_count(new QLabel(this)), m_stack(new QStackedWidget(this)), m_view(new QTreeView(this)),
      m_empty(new QLabel(tr("These files hold nothing besides tensors."), this)), m_model(new MetadataModel(this))
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(m_bar);
    column->addWidget(m_stack, 1);
    m_filter->setPlaceholderText(tr("Filter keys, values and types"));
    m_filter->setAccessibleName(tr("Filter keys, values and types"));
    m_filter->setClearButtonEnabled(true);
    m_filter->addAction(Theme::current().icon(QStringLiteral("search"), Token::Text3), QLineEdit::LeadingPosition);
    m_filter->setMinimumWidth(Theme::current().px(320));
    m_bar->addControl({}, m_filter);
    m_bar->addControl({}, m_onlyDiffering);
    m_bar->addControlStretch();
    m_bar->addControl({}, m_count);
    m_empty->setAlignment(Qt::AlignCenter);
    m_view->setModel(m_model);
    m_view->setUniformRowHeights(true);
    m_view->setFrameShape(QFrame::NoFrame);
    m_view->setAlternatingRowColors(true);
    m_view->setAccessibleName(tr("Metadata"));
    m_view->header()->setStretchLastSection(true);
    for (int i = 0; i < MetadataModel::ColumnCount; ++i)
        m_view->setColumnWidth(i, Theme::current().px(kWidths[static_cast<std::size_t>(i)]));
    m_stack->addWidget(m_view);
    m_stack->addWidget(m_empty);
    auto* copy = new QShortcut(QKeySequence::Copy, m_view);
    copy->setContext(Qt::WidgetShortcut);
    connect(copy, &QShortcut::activated, this, [this] { QApplication::clipboard()->setText(copyText(false)); });
    connect(m_filter, &QLineEdit::textChanged, this, &MetadataPage::applyFilter);
    connect(m_onlyDiffering, &QCheckBox::toggled, this, &MetadataPage::applyFilter);
    connect(document, &Document::stateChanged, this, &MetadataPage::rebuild);
}

MetadataPage::~MetadataPage() = default;

QString MetadataPage::question() const
{
    return tr("What else is in the files?");
}

void MetadataPage::activate()
{
    m_active = true;
    rebuild();
    m_view->setFocus();
}

void MetadataPage::rebuild()
{
    const CheckpointPtr checkpoint = document()->checkpoint();
    if (!m_active || m_builtFor == checkpoint)
        return;
    m_builtFor = checkpoint;
    if (!checkpoint) {
        m_run.cancel();
        m_model->setTree(nullptr);
        return;
    }
    m_run.start([checkpoint](std::stop_token stop) { return MetadataTree::build(checkpoint, std::move(stop)); },
                [this](MetadataTreePtr tree) {
                    if (!tree)
                        return;
                    m_model->setTree(std::move(tree));
                    m_stack->setCurrentWidget(m_model->tree()->nodes.empty() ? static_cast<QWidget*>(m_empty) : m_view);
                    expandShort();
                    showFacts();
                });
}

void MetadataPage::expandShort()
{
    if (m_model->matches() <= kExpandBelow)
        m_view->expandAll();
    else
        m_view->expandToDepth(0);
}

void MetadataPage::showFacts()
{
    const MetadataTree& tree = *m_model->tree();
    QString facts = counted(tree.nodes.size(), tr("1 entry, read as data: nothing was executed"), tr("%1 entries, read as data: nothing was executed"));
    if (tree.differing > 0)
        facts = tr("%1; %2").arg(facts, counted(tree.differing, tr("1 differs between files"), tr("%1 differ between files")));
    if (tree.truncated)
        facts = tr("%1; the rest is left out").arg(facts);
    m_bar->setFacts(facts);
    m_onlyDiffering->setEnabled(tree.differing > 0);
}

void MetadataPage::applyFilter()
{
    m_model->setFilter(m_filter->text().trimmed(), m_onlyDiffering->isChecked());
    m_count->setText(m_model->isFiltered() ? counted(m_model->matches(), tr("1 found"), tr("%1 found")) : QString());
    if (m_model->tree())
        expandShort();
}

void MetadataPage::focusFilter()
{
    m_filter->setFocus(Qt::ShortcutFocusReason);
    m_filter->selectAll();
}

bool MetadataPage::clearFilter()
{
    if (!m_model->isFiltered())
        return false;
    m_onlyDiffering->setChecked(false);
    m_filter->clear();
    return true;
}

QString MetadataPage::copyText(bool withPlace) const
{
    return m_model->copyText(m_view->currentIndex(), withPlace);
}

} // namespace shardlens::ui
