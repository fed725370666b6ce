#include "ui/frame/piece_table.h"

#include "core/base/text.h"
#include "ui/models/document.h"
#include "ui/theme/theme.h"

#include <QHeaderView>
#include <QScrollBar>

namespace shardlens::ui {
namespace {

constexpr int kMostRows = 300;
constexpr int kShownRows = 12;

QPixmap swatch(const QColor& colour)
{
    const int size = Theme::current().px(10);
    QPixmap out(size, size);
    out.fill(colour);
    return out;
}

} // namespace

PieceTable::PieceTable(Document* document, ParameterId parameter, QWidget* parent) : QTableWidget(0, 4, parent), m_document(document)
{
    const Theme& theme = Theme::current();
    setHorizontalHeaderLabels({tr("state"), tr("rank"), tr("offset"), tr("bytes")});
    verticalHeader()->hide();
    verticalHeader()->setMinimumSectionSize(1); // the style's least is larger than a row
    verticalHeader()->setDefaultSectionSize(theme.px(22));
    verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    setShowGrid(false);
    setFrameShape(QFrame::NoFrame);
    setEditTriggers(QAbstractItemView::NoEditTriggers);
    setSelectionBehavior(QAbstractItemView::SelectRows);
    setSelectionMode(QAbstractItemView::SingleSelection);
    setTabKeyNavigation(false);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setFont(theme.font(TextStyle::Caption));
    horizontalHeader()->setFont(theme.font(TextStyle::Caption));
    horizontalHeader()->setHighlightSections(false);
    horizontalHeader()->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
    setAccessibleName(tr("Where it lies"));
    fill(parameter);
    horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
    horizontalHeader()->setSectionResizeMode(0, QHeaderView::Stretch);
    for (const int column : {2, 3})
        horizontalHeaderItem(column)->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
    setFixedHeight(horizontalHeader()->sizeHint().height() + std::min(rowCount(), kShownRows) * theme.px(22) + 2);
    connect(this, &QTableWidget::itemSelectionChanged, this, [this] {
        const QTableWidgetItem* first = currentRow() >= 0 ? item(currentRow(), 0) : nullptr;
        if (first == nullptr || m_document.isNull())
            return;
        Selection selection = m_document->selection();
        selection.piece = idAt<PieceId>(first->data(Qt::UserRole).toUInt());
        // The table goes away with the selection that it was built for; select when this event is done.
        QMetaObject::invokeMethod(m_document, [document = m_document, selection] { document->select(selection); }, Qt::QueuedConnection);
    });
}

void PieceTable::fill(ParameterId parameter)
{
    const Checkpoint& checkpoint = *m_document->checkpoint();
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
        if (checkpoint.tensors()[i].parameter != parameter)
            continue;
        const TensorId tensor = idAt<TensorId>(i);
        for (std::size_t row = checkpoint.pieces().firstOf(tensor); row < checkpoint.pieces().lastOf(tensor); ++row) {
            ++m_total;
            if (rowCount() < kMostRows)
                addPiece(checkpoint.pieces().at(idAt<PieceId>(row)), tensor);
        }
    }
}

void PieceTable::addPiece(const Piece& piece, TensorId tensor)
{
    const Theme& theme = Theme::current();
    const Checkpoint& checkpoint = *m_document->checkpoint();
    const Stream& stream = checkpoint.stream(piece.source.stream);
    const int row = rowCount();
    insertRow(row);
    const QString state = QString::fromStdString(checkpoint.roleOf(tensor).name);
    const QString place = stream.file == kNoFile ? QString() : QString::fromStdString(printable(checkpoint.file(stream.file).name));
    const QString tip = QStringLiteral("%1\n%2\n%3").arg(state, QString::fromStdString(regionText(piece.region)), place);
    const auto put = [&](int column, const QString& text, Qt::Alignment alignment) {
        auto* cell = new QTableWidgetItem(text);
        cell->setTextAlignment(alignment | Qt::AlignVCenter);
        cell->setToolTip(tip);
        setItem(row, column, cell);
        return cell;
    };
    put(0, state, Qt::AlignLeft)->setData(Qt::UserRole, static_cast<uint>(indexOf(piece.id)));
    const auto rank = checkpoint.rankOfPiece(piece);
    QTableWidgetItem* rankCell = put(1, rank ? QString::number(*rank) : QStringLiteral("–"), Qt::AlignLeft);
    if (rank)
        rankCell->setIcon(swatch(theme.categorical(static_cast<int>(*rank))));
    const bool missing = stream.kind == Stream::Kind::Missing;
    const std::uint64_t bytes = volumeOf(piece.region) * info(checkpoint.tensor(tensor).dtype).bytesPerBlock;
    put(2, missing ? tr("missing") : QString::fromStdString(groupedText(piece.source.offset)), Qt::AlignRight);
    put(3, QString::fromStdString(groupedText(bytes)), Qt::AlignRight);
    if (missing)
        for (int column = 0; column < 4; ++column)
            item(row, column)->setForeground(theme.colour(Token::Error));
    if (m_document->selection().piece == piece.id) {
        const QSignalBlocker quiet(this);
        selectRow(row);
    }
}

QSize PieceTable::sizeHint() const
{
    return {Theme::current().px(280), height()};
}

} // namespace shardlens::ui
