#include "ui/widgets/values_view.h"

#include "ui/theme/theme.h"
#include "ui/widgets/values_delegate.h"

#include <QAction>
#include <QApplication>
#include <QButtonGroup>
#include <QClipboard>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QScrollBar>
#include <QSpinBox>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>
#include <limits>

namespace shardlens::ui {
namespace {

constexpr int kMarginRows = 64; // read beyond what shows
constexpr int kMarginColumns = 16;
constexpr int kReadDelayMs = 15; // scrolling asks for the last place only
constexpr int kMapCell = 6;      // pixels
constexpr int kCellWidth = 92;
constexpr int kRow = 24;

QString sentence(const Error& error)
{
    return QString::fromStdString(error.sentence());
}

} // namespace

ValuesView::ValuesView(QWidget* parent) : QWidget(parent), m_model(new ValuesModel(this)), m_table(new QTableView(this))
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    m_controls = new QHBoxLayout;
    column->addLayout(m_controls);
    buildControls();
    m_message = new QLabel(this);
    m_message->setWordWrap(true);
    m_message->setTextFormat(Qt::PlainText);
    m_message->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_message->hide();
    column->addWidget(m_message);
    m_table->setModel(m_model);
    m_table->setItemDelegate(new ValuesDelegate(m_table));
    m_table->setShowGrid(false);
    m_table->setFrameShape(QFrame::NoFrame);
    m_table->setWordWrap(false);
    m_table->setHorizontalScrollMode(QAbstractItemView::ScrollPerPixel);
    m_table->setSelectionMode(QAbstractItemView::ContiguousSelection);
    m_table->setAccessibleName(tr("Values"));
    m_table->horizontalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_table->verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    m_table->installEventFilter(this);
    column->addWidget(m_table, 1);
    m_readTimer.setSingleShot(true);
    m_readTimer.setInterval(kReadDelayMs);
    connect(&m_readTimer, &QTimer::timeout, this, &ValuesView::readVisible);
    connect(m_table->verticalScrollBar(), &QScrollBar::valueChanged, this, &ValuesView::scheduleRead);
    connect(m_table->horizontalScrollBar(), &QScrollBar::valueChanged, this, &ValuesView::scheduleRead);
    connect(&Theme::current(), &Theme::changed, this, &ValuesView::applyMetrics);
    applyMetrics();
}

ValuesView::~ValuesView() = default;

void ValuesView::buildControls()
{
    const auto segment = [this](const QString& text) {
        auto* button = new QToolButton(this);
        button->setText(text);
        button->setCheckable(true);
        button->setToolButtonStyle(Qt::ToolButtonTextOnly);
        m_controls->addWidget(button);
        return button;
    };
    m_numbers = segment(tr("Numbers"));
    m_mapButton = segment(tr("Map"));
    auto* group = new QButtonGroup(this);
    group->addButton(m_numbers);
    group->addButton(m_mapButton);
    m_numbers->setChecked(true);
    connect(m_mapButton, &QToolButton::toggled, this, &ValuesView::setMap);
    m_index = new QLineEdit(this);
    m_index->setPlaceholderText(tr("Index, such as 12, 7 (Ctrl+G)"));
    m_index->setAccessibleName(tr("Go to an index"));
    m_controls->addWidget(m_index);
    connect(m_index, &QLineEdit::returnPressed, this, [this] { goTo(m_index->text()); });
    auto* jump = new QAction(tr("Go to an index"), this);
    jump->setShortcut(QKeySequence(Qt::CTRL | Qt::Key_G));
    jump->setShortcutContext(Qt::WidgetWithChildrenShortcut);
    connect(jump, &QAction::triggered, this, &ValuesView::focusIndexField);
    addAction(jump);
    m_note = new QLabel(this);
    m_note->setTextFormat(Qt::PlainText);
    m_controls->addStretch(1);
    m_controls->addWidget(m_note);
    auto* copy = new QToolButton(this);
    copy->setText(tr("Copy"));
    copy->setToolTip(tr("Copies the selected values"));
    copy->setPopupMode(QToolButton::InstantPopup);
    auto* menu = new QMenu(copy);
    menu->addAction(tr("As text"), this, [this] { copySelection(ValuesCopyFormat::Text); });
    menu->addAction(tr("As CSV"), this, [this] { copySelection(ValuesCopyFormat::Csv); });
    menu->addAction(tr("As NumPy"), this, [this] { copySelection(ValuesCopyFormat::NumPy); });
    copy->setMenu(menu);
    m_controls->addWidget(copy);
}

void ValuesView::applyMetrics()
{
    const Theme& theme = Theme::current();
    m_controls->setContentsMargins(theme.px(16), theme.px(8), theme.px(16), theme.px(8));
    m_controls->setSpacing(theme.px(8));
    m_message->setContentsMargins(theme.px(16), 0, theme.px(16), theme.px(8));
    m_index->setFixedWidth(theme.px(220));
    m_table->setFont(theme.font(TextStyle::Mono));
    m_table->horizontalHeader()->setMinimumSectionSize(kMapCell);
    m_table->verticalHeader()->setMinimumSectionSize(kMapCell);
    m_table->horizontalHeader()->setDefaultSectionSize(m_map ? kMapCell : theme.px(kCellWidth));
    m_table->verticalHeader()->setDefaultSectionSize(m_map ? kMapCell : theme.px(kRow));
    m_table->horizontalHeader()->setVisible(!m_map);
    m_table->verticalHeader()->setVisible(!m_map);
    scheduleRead();
}

void ValuesView::setMap(bool map)
{
    if (m_map == map)
        return;
    const QModelIndex corner = m_table->indexAt({1, 1});
    m_map = map;
    (map ? m_mapButton : m_numbers)->setChecked(true);
    static_cast<ValuesDelegate*>(m_table->itemDelegate())->setMap(map);
    applyMetrics();
    if (corner.isValid())
        m_table->scrollTo(m_model->index(corner.row(), corner.column()), QAbstractItemView::PositionAtTop);
}

void ValuesView::say(const QString& text, bool isError)
{
    QPalette palette = m_message->palette();
    palette.setColor(QPalette::WindowText, Theme::current().colour(isError ? Token::Error : Token::Text2));
    m_message->setPalette(palette);
    m_message->setText(text);
    m_message->setVisible(!text.isEmpty());
}

QString ValuesView::message() const
{
    return m_message->text();
}

void ValuesView::setTensor(std::shared_ptr<const StreamSet> streams, TensorId tensor)
{
    m_openRun.cancel();
    m_readRun.cancel();
    m_copyRun.cancel();
    m_source.reset();
    m_streams = std::move(streams);
    m_tensor = tensor;
    say({}, false);
    if (!m_streams) {
        m_model->setGrid(std::nullopt);
    } else if (auto grid = ValuesGrid::of(m_streams->checkpoint().tensor(tensor))) {
        m_model->setGrid(grid.take());
    } else {
        m_model->setGrid(std::nullopt);
        say(sentence(grid.error()), true);
    }
    buildLeadingAxes();
    updateNote();
    if (isVisible())
        openSource();
}

void ValuesView::buildLeadingAxes()
{
    for (QWidget* widget : m_axisWidgets)
        widget->deleteLater();
    m_axisWidgets.clear();
    m_axes.clear();
    if (!m_model->grid())
        return;
    int at = 3; // behind the segments and the index field
    for (std::size_t axis = 0; axis < m_model->grid()->leading.size(); ++axis) {
        auto* label = new QLabel(tr("axis %1").arg(axis), this);
        auto* box = new QSpinBox(this);
        box->setRange(0, static_cast<int>(std::min<std::uint64_t>(m_model->grid()->shape[axis], std::numeric_limits<int>::max()) - 1));
        box->setAccessibleName(tr("Index on axis %1").arg(axis));
        label->setBuddy(box);
        m_controls->insertWidget(at++, label);
        m_controls->insertWidget(at++, box);
        m_axisWidgets.insert(m_axisWidgets.end(), {label, box});
        m_axes.push_back(box);
        connect(box, &QSpinBox::valueChanged, this, [this] {
            Shape leading;
            for (const QSpinBox* one : m_axes)
                leading.push_back(static_cast<std::uint64_t>(one->value()));
            m_model->setLeading(std::move(leading));
            scheduleRead();
        });
    }
}

void ValuesView::openSource()
{
    if (!m_streams || !m_model->grid() || m_source || m_openRun.isRunning())
        return;
    m_openRun.start([streams = m_streams, tensor = m_tensor](std::stop_token) { return ValuesSource::open(streams, tensor); },
                    [this](Result<std::shared_ptr<const ValuesSource>> opened) {
                        if (!opened) {
                            say(sentence(opened.error()), true);
                            return;
                        }
                        m_source = opened.take();
                        readVisible();
                    });
}

void ValuesView::scheduleRead()
{
    m_readTimer.start();
}

ValuesBox ValuesView::visibleBox(int margin) const
{
    const int rows = m_model->rowCount();
    const int columns = m_model->columnCount();
    const int firstRow = std::max(0, m_table->rowAt(0));
    const int firstColumn = std::max(0, m_table->columnAt(0));
    const int lastRow = m_table->rowAt(m_table->viewport()->height() - 1);
    const int lastColumn = m_table->columnAt(m_table->viewport()->width() - 1);
    const int moreColumns = margin > 0 ? kMarginColumns : 0;
    const int top = std::max(0, firstRow - margin);
    const int left = std::max(0, firstColumn - moreColumns);
    const int bottom = std::min(rows, (lastRow < 0 ? rows : lastRow + 1) + margin);
    const int right = std::min(columns, (lastColumn < 0 ? columns : lastColumn + 1) + moreColumns);
    return m_model->boxOf(top, left, std::max(0, bottom - top), std::max(0, right - left));
}

void ValuesView::readVisible()
{
    if (!m_source || !m_model->grid() || m_model->rowCount() == 0 || !isVisible())
        return;
    if (m_model->block() && m_model->block()->box.contains(visibleBox(0)))
        return;
    m_readRun.start([source = m_source, grid = *m_model->grid(), box = visibleBox(kMarginRows)](std::stop_token stop) { return source->read(grid, box, stop); },
                    [this](Result<ValuesBlock> block) {
                        if (!block) {
                            say(sentence(block.error()), true);
                            return;
                        }
                        m_model->setBlock(block.take());
                        updateNote();
                        emit blockShown();
                    });
}

void ValuesView::updateNote()
{
    if (!m_model->grid()) {
        m_note->clear();
        return;
    }
    m_note->setText(m_model->fullColour() > 0 ? tr("full colour at ± %1").arg(QString::number(m_model->fullColour(), 'g', 3)) : QString());
}

void ValuesView::focusIndexField()
{
    m_index->setFocus(Qt::ShortcutFocusReason);
    m_index->selectAll();
}

bool ValuesView::goTo(const QString& index)
{
    if (!m_model->grid())
        return false;
    const auto place = m_model->grid()->parseIndex(index);
    if (!place) {
        say(sentence(place.error()), true);
        return false;
    }
    say({}, false);
    for (std::size_t axis = 0; axis < m_axes.size(); ++axis)
        m_axes[axis]->setValue(static_cast<int>(place->leading[axis]));
    const QModelIndex cell = m_model->moveWindow(place->row, place->column);
    m_table->setCurrentIndex(cell);
    m_table->scrollTo(cell, QAbstractItemView::PositionAtCenter);
    m_table->setFocus();
    scheduleRead();
    return cell.isValid();
}

void ValuesView::copySelection(ValuesCopyFormat format)
{
    const QItemSelection selection = m_table->selectionModel()->selection();
    if (!m_source || selection.isEmpty()) {
        say(tr("Nothing is selected."), false);
        return;
    }
    const QItemSelectionRange range = selection.first();
    const ValuesBox box = m_model->boxOf(range.top(), range.left(), range.height(), range.width());
    m_copyRun.start(
        [source = m_source, grid = *m_model->grid(), box, format](std::stop_token stop) -> Result<QString> {
            SHARDLENS_ASSIGN(const ValuesBlock block, source->read(grid, box, stop));
            return copyText(grid, block, format);
        },
        [this](Result<QString> text) {
            if (text)
                QApplication::clipboard()->setText(text.take());
            else
                say(sentence(text.error()), true);
        });
}

void ValuesView::showEvent(QShowEvent* event)
{
    QWidget::showEvent(event);
    openSource();
    scheduleRead();
}

void ValuesView::resizeEvent(QResizeEvent* event)
{
    QWidget::resizeEvent(event);
    scheduleRead();
}

bool ValuesView::eventFilter(QObject* watched, QEvent* event)
{
    if (watched == m_table && event->type() == QEvent::KeyPress && static_cast<QKeyEvent*>(event)->matches(QKeySequence::Copy)) {
        copySelection(ValuesCopyFormat::Text);
        return true;
    }
    return QWidget::eventFilter(watched, event);
}

} // namespace shardlens::ui
