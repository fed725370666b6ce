#include "ui/pages/tensor/bytes_view.h"

#include "ui/models/atlas_text.h"
#include "ui/widgets/hex_view.h"
#include "ui/widgets/text_label.h"

#include <QHBoxLayout>
#include <QLineEdit>
#include <QSpinBox>
#include <QVBoxLayout>

#include <algorithm>
#include <limits>

namespace shardlens::ui {
namespace {

constexpr int kOffsetWidth = 160; // design pixels

std::uint64_t sizeOfStream(const Checkpoint& checkpoint, const Stream& stream)
{
    return stream.kind == Stream::Kind::File ? checkpoint.file(stream.file).size : stream.sizeBytes;
}

// Values of a box lie one after another where it covers a whole number of rows in its file: strides say otherwise.
HexPlace placeOf(const std::shared_ptr<const StreamSet>& streams, TensorId tensor, const Piece& piece)
{
    const Checkpoint& checkpoint = streams->checkpoint();
    const Stream& stream = checkpoint.stream(piece.source.stream);
    HexPlace out;
    out.dtype = checkpoint.tensor(tensor).dtype;
    out.isDense = piece.source.strides.empty();
    out.isBigEndian = piece.source.flags.bigEndian;
    if (stream.kind == Stream::Kind::Missing)
        return out;
    out.streams = streams;
    out.stream = piece.source.stream;
    out.size = sizeOfStream(checkpoint, stream);
    out.begin = std::min(piece.source.offset, out.size);
    out.end = out.begin + std::min(piece.spanBytes(info(out.dtype).bytesPerBlock), out.size - out.begin);
    return out;
}

} // namespace

BytesView::BytesView(QWidget* parent)
    : QWidget(parent), m_number(new QSpinBox(this)), m_place(new TextLabel({}, TextStyle::Body, Token::Text2, this)), m_offset(new QLineEdit(this)), m_hex(new HexView(this))
{
    const Theme& theme = Theme::current();
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    auto* row = new QHBoxLayout;
    row->setContentsMargins(theme.px(16), theme.px(8), theme.px(16), theme.px(8));
    row->setSpacing(theme.px(12));
    m_number->setPrefix(tr("piece "));
    m_number->setAccessibleName(tr("Which piece of the tensor"));
    row->addWidget(m_number);
    m_place->setElide(Qt::ElideMiddle);
    row->addWidget(m_place, 1);
    m_offset->setPlaceholderText(tr("Go to offset"));
    m_offset->setAccessibleName(tr("Go to offset"));
    m_offset->setToolTip(tr("Of the file, decimal or 0x…; Home and End go to the ends of the piece."));
    m_offset->setFixedWidth(theme.px(kOffsetWidth));
    row->addWidget(m_offset);
    column->addLayout(row);
    column->addWidget(m_hex, 1);
    connect(m_number, &QSpinBox::valueChanged, this, [this](int number) {
        if (!m_streams)
            return;
        showPiece(idAt<PieceId>(m_streams->checkpoint().pieces().firstOf(m_tensor) + static_cast<std::size_t>(number - 1)));
        emit pieceChosen(*m_piece);
    });
    connect(m_offset, &QLineEdit::returnPressed, this, [this] {
        if (goTo(m_offset->text()))
            m_hex->setFocus();
    });
}

void BytesView::setTensor(std::shared_ptr<const StreamSet> streams, TensorId tensor)
{
    m_streams = std::move(streams);
    m_tensor = tensor;
    m_piece.reset();
    const std::size_t count = m_streams ? m_streams->checkpoint().pieces().countOf(tensor) : 0;
    const QSignalBlocker quiet(m_number);
    m_number->setRange(1, static_cast<int>(std::clamp<std::size_t>(count, 1, std::numeric_limits<int>::max())));
    m_number->setSuffix(tr(" of %1").arg(numberText(count)));
    m_number->setEnabled(count > 1);
    if (count > 0) {
        showPiece(idAt<PieceId>(m_streams->checkpoint().pieces().firstOf(tensor)));
        return;
    }
    m_place->setText(m_streams ? tr("No file holds a part of this tensor.") : QString());
    m_hex->setPlace({});
}

void BytesView::showPiece(PieceId piece)
{
    if (!m_streams || m_piece == piece)
        return;
    m_piece = piece;
    const QSignalBlocker quiet(m_number);
    m_number->setValue(static_cast<int>(indexOf(piece) - m_streams->checkpoint().pieces().firstOf(m_tensor)) + 1);
    showPlace();
}

void BytesView::showPlace()
{
    const Checkpoint& checkpoint = m_streams->checkpoint();
    const Piece piece = checkpoint.pieces().at(*m_piece);
    const Stream& stream = checkpoint.stream(piece.source.stream);
    const HexPlace place = placeOf(m_streams, m_tensor, piece);
    const QString file = stream.file == kNoFile ? tr("kept in the metadata") : printableText(checkpoint.file(stream.file).name);
    m_hex->setPlace(place);
    if (!place.streams) {
        m_place->setText(tr("%1 is not there: these bytes are missing.").arg(file));
        return;
    }
    const QString bytes = tr("%1: bytes %2 to %3 (%4)").arg(file, numberText(place.begin), numberText(place.end), bytesText(place.end - place.begin));
    if (stream.kind == Stream::Kind::Deflated)
        m_place->setText(tr("%1, counted in the decoded member").arg(bytes));
    else if (!place.isDense)
        m_place->setText(tr("%1, where values of other pieces lie between").arg(bytes));
    else
        m_place->setText(bytes);
}

bool BytesView::goTo(const QString& offset)
{
    bool isNumber = false;
    QString digits = offset.trimmed().remove(QLatin1Char(',')).remove(QLatin1Char(' '));
    const bool isHex = digits.startsWith(QLatin1String("0x"), Qt::CaseInsensitive);
    const std::uint64_t at = isHex ? digits.mid(2).toULongLong(&isNumber, 16) : digits.toULongLong(&isNumber, 10);
    if (isNumber && m_hex->goTo(at))
        return true;
    if (m_streams)
        m_place->setText(isNumber ? tr("Offset %1 is past the end of the file.").arg(numberText(at)) : tr("“%1” is no offset: a number such as 4096 or 0x1000 is needed.").arg(offset));
    return false;
}

void BytesView::focusOffsetField()
{
    m_offset->setFocus(Qt::ShortcutFocusReason);
    m_offset->selectAll();
}

QString BytesView::placeText() const
{
    return m_place->text();
}

} // namespace shardlens::ui
