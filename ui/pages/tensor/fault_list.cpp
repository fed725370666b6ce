#include "ui/pages/tensor/fault_list.h"

#include "ui/models/table_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/link.h"
#include "ui/widgets/text_label.h"

#include <QClipboard>
#include <QGuiApplication>
#include <QHeaderView>
#include <QPainter>
#include <QTableView>
#include <QVBoxLayout>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr int kMostFaultRows = 6; // that show without scrolling
constexpr int kWidestWhere = 220; // design pixels; the tooltip has the rest

} // namespace

FaultList::FaultList(QWidget* parent)
    : QWidget(parent),
      m_rows(new TensorFaultRows(this)),
      m_sentence(new TextLabel({}, TextStyle::Strong, Token::Error, this)),
      m_copy(new Link(tr("Copy"), this)),
      m_table(new QTableView(this)),
      m_detail(new TextLabel({}, TextStyle::Caption, Token::Text2, this))
{
    const Theme& theme = Theme::current();
    auto* head = new QHBoxLayout;
    head->setContentsMargins(theme.px(12), theme.px(8), theme.px(12), theme.px(4));
    m_sentence->setElide(Qt::ElideRight);
    head->addWidget(m_sentence, 1);
    head->addWidget(m_copy);
    m_copy->setToolTip(tr("Copies the list as text: offsets, sizes and places"));
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(theme.px(3), 0, 0, 0);
    column->setSpacing(0);
    column->addLayout(head);
    column->addWidget(m_table);
    m_detail->setWordWrap(true);
    m_detail->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_detail->setContentsMargins(theme.px(12), theme.px(4), theme.px(12), theme.px(8));
    column->addWidget(m_detail);
    m_table->setModel(m_rows);
    m_table->setAccessibleName(tr("Holes of the tensor and parts held twice"));
    m_table->setFrameShape(QFrame::NoFrame);
    m_table->setShowGrid(false);
    m_table->setAlternatingRowColors(true);
    m_table->setWordWrap(false);
    m_table->setTabKeyNavigation(false);
    m_table->setSelectionBehavior(QAbstractItemView::SelectRows);
    m_table->setSelectionMode(QAbstractItemView::SingleSelection);
    m_table->setHorizontalScrollMode(QAbstractItemView::ScrollPerPixel);
    m_table->verticalHeader()->hide();
    m_table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_table->verticalHeader()->setMinimumSectionSize(1);
    m_table->horizontalHeader()->setStretchLastSection(true);
    connect(m_copy, &Link::clicked, this, [this] { QGuiApplication::clipboard()->setText(text()); });
    connect(m_table->selectionModel(), &QItemSelectionModel::currentRowChanged, this, [this](const QModelIndex& now) {
        showDetail();
        if (!m_quiet && now.isValid())
            emit chosen(static_cast<std::size_t>(now.row()));
    });
    connect(&Theme::current(), &Theme::changed, this, &FaultList::follow);
    follow();
    hide();
}

void FaultList::follow()
{
    m_table->verticalHeader()->setDefaultSectionSize(Theme::current().px(24));
    fit();
}

void FaultList::fit()
{
    const int rows = std::clamp(m_rows->rowCount(), 1, kMostFaultRows);
    m_table->setFixedHeight(rows * Theme::current().px(24) + m_table->horizontalHeader()->sizeHint().height() + Theme::current().px(12));
}

void FaultList::showDetail()
{
    m_detail->setText(m_rows->rowCount() == 0 ? QString() : m_rows->sentenceAt(static_cast<int>(current().value_or(0))));
}

void FaultList::show(const CheckpointPtr& checkpoint, TensorId tensor, const TensorFaults& faults)
{
    m_quiet = true;
    m_rows->show(checkpoint, tensor, faults);
    m_quiet = false;
    m_sentence->setText(faults.sentence());
    m_table->resizeColumnsToContents();
    m_table->setColumnWidth(TensorFaultRows::Places, std::min(m_table->columnWidth(TensorFaultRows::Places), Theme::current().px(kWidestWhere)));
    m_table->setColumnWidth(TensorFaultRows::Where, std::min(m_table->columnWidth(TensorFaultRows::Where), Theme::current().px(kWidestWhere)));
    fit();
    showDetail();
    setVisible(m_rows->rowCount() > 0);
}

void FaultList::setCurrent(std::optional<std::size_t> fault)
{
    m_quiet = true;
    if (fault)
        m_table->setCurrentIndex(m_rows->index(static_cast<int>(*fault), 0));
    else
        m_table->setCurrentIndex({});
    m_quiet = false;
}

std::optional<std::size_t> FaultList::current() const
{
    const QModelIndex at = m_table->currentIndex();
    return at.isValid() ? std::optional(static_cast<std::size_t>(at.row())) : std::nullopt;
}

QString FaultList::text() const
{
    return tableText(*m_rows);
}

QString FaultList::sentence() const
{
    return m_sentence->text();
}

void FaultList::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.fillRect(rect(), theme.colour(Token::Surface));
    painter.fillRect(QRect(0, 0, theme.px(3), height()), theme.colour(Token::Error));
    painter.fillRect(QRect(0, height() - 1, width(), 1), theme.colour(Token::Border));
}

} // namespace shardlens::ui
