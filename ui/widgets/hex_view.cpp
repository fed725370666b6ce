#include "ui/widgets/hex_view.h"

#include "ui/models/values_source.h"
#include "ui/theme/theme.h"

#include <QKeyEvent>
#include <QPainter>
#include <QScrollBar>

#include <algorithm>
#include <array>
#include <limits>

namespace shardlens::ui {
namespace {

constexpr std::uint64_t kRowBytes = 16;
constexpr std::uint64_t kMarginRows = 64;       // read above and below what shows
constexpr std::uint64_t kLongestValue = 16;     // bytes: complex128
constexpr int kReadDelayMs = 15;
constexpr int kHexMargin = 16; // design pixels
constexpr int kHexGap = 20;

QString hexByte(std::byte value)
{
    return QStringLiteral("%1").arg(static_cast<unsigned>(value), 2, 16, QLatin1Char('0')).toUpper();
}

bool hasSingleValues(DType dtype)
{
    return info(dtype).valuesPerBlock == 1;
}

} // namespace

QString hexOffset(std::uint64_t offset)
{
    QString digits = QStringLiteral("%1").arg(offset, 8, 16, QLatin1Char('0')).toUpper();
    while (digits.size() % 4 != 0)
        digits.prepend(QLatin1Char('0'));
    for (auto at = digits.size() - 4; at > 0; at -= 4)
        digits.insert(at, QLatin1Char(' '));
    return QStringLiteral("0x") + digits;
}

HexView::HexView(QWidget* parent) : QAbstractScrollArea(parent)
{
    setFrameShape(QFrame::NoFrame);
    setFocusPolicy(Qt::StrongFocus);
    setAccessibleName(tr("Bytes"));
    m_delay.setSingleShot(true);
    m_delay.setInterval(kReadDelayMs);
    connect(&m_delay, &QTimer::timeout, this, &HexView::readVisible);
    connect(&Theme::current(), &Theme::changed, this, &HexView::applyTheme);
    applyTheme();
}

void HexView::applyTheme()
{
    setFont(Theme::current().font(TextStyle::Mono));
    placeBars();
    viewport()->update();
}

int HexView::rowHeight() const
{
    return std::max(fontMetrics().height() + Theme::current().px(4), 1);
}

std::uint64_t HexView::visibleRows() const
{
    return static_cast<std::uint64_t>(std::max(viewport()->height() / rowHeight(), 1));
}

std::uint64_t HexView::rows() const
{
    return m_place.size / kRowBytes + (m_place.size % kRowBytes != 0 ? 1 : 0);
}

void HexView::setPlace(HexPlace place)
{
    m_run.cancel();
    m_place = std::move(place);
    m_block = {};
    m_problem.clear();
    placeBars();
    goTo(m_place.begin);
    scheduleRead();
    viewport()->update();
}

void HexView::placeBars()
{
    const std::uint64_t last = rows() > visibleRows() ? rows() - visibleRows() : 0;
    m_rowsPerStep = last / std::numeric_limits<int>::max() + 1;
    verticalScrollBar()->setRange(0, static_cast<int>((last + m_rowsPerStep - 1) / m_rowsPerStep));
    verticalScrollBar()->setPageStep(static_cast<int>(std::max<std::uint64_t>(visibleRows() / m_rowsPerStep, 1)));
}

bool HexView::goTo(std::uint64_t offset)
{
    if (offset >= m_place.size)
        return false;
    verticalScrollBar()->setValue(static_cast<int>(offset / kRowBytes / m_rowsPerStep));
    return true;
}

std::uint64_t HexView::firstOffset() const
{
    return static_cast<std::uint64_t>(verticalScrollBar()->value()) * m_rowsPerStep * kRowBytes;
}

bool HexView::isKnown(std::uint64_t begin, std::uint64_t end) const
{
    return begin >= m_block.begin && end <= m_block.begin + m_block.bytes.size();
}

const std::byte* HexView::at(std::uint64_t offset) const
{
    return m_block.bytes.data() + (offset - m_block.begin);
}

void HexView::scheduleRead()
{
    if (m_place.streams && m_problem.isEmpty())
        m_delay.start();
}

void HexView::readVisible()
{
    const std::uint64_t first = firstOffset();
    const std::uint64_t needed = std::min(m_place.size, first + (visibleRows() + 1) * kRowBytes);
    if (!m_place.streams || isKnown(first, needed))
        return;
    const std::uint64_t margin = kMarginRows * kRowBytes;
    const std::uint64_t begin = first > margin ? first - margin : 0;
    const std::uint64_t end = std::min(m_place.size, needed + margin + kLongestValue);
    m_run.start(
        [place = m_place, begin, end](const std::stop_token&) -> Result<Block> {
            SHARDLENS_ASSIGN(const auto source, place.streams->source(place.stream));
            Block block{begin, std::vector<std::byte>(end - begin)};
            SHARDLENS_TRY(source->readAt(begin, block.bytes));
            return block;
        },
        [this](Result<Block> block) {
            if (block)
                m_block = block.take();
            else
                m_problem = QString::fromStdString(block.error().sentence());
            viewport()->update();
            emit blockShown();
        });
}

// The values that begin in the row.
QString HexView::valuesText(std::uint64_t row) const
{
    const std::uint64_t cell = info(m_place.dtype).bytesPerBlock;
    if (!m_place.isDense || !hasSingleValues(m_place.dtype))
        return {};
    const std::uint64_t rowBegin = std::max(row * kRowBytes, m_place.begin);
    const std::uint64_t rowEnd = std::min((row + 1) * kRowBytes, m_place.end);
    QStringList out;
    for (std::uint64_t offset = m_place.begin + (rowBegin - m_place.begin + cell - 1) / cell * cell; offset < rowEnd; offset += cell) {
        if (offset + cell > m_place.end || !isKnown(offset, offset + cell))
            break;
        std::array<std::byte, kLongestValue> value{};
        std::copy_n(at(offset), cell, value.begin());
        if (m_place.isBigEndian) {
            const std::uint64_t part = cell / (info(m_place.dtype).kind == DTypeKind::Complex ? 2 : 1);
            for (std::uint64_t from = 0; from < cell; from += part)
                std::reverse(value.begin() + static_cast<std::ptrdiff_t>(from), value.begin() + static_cast<std::ptrdiff_t>(from + part));
        }
        out << valueText(m_place.dtype, value.data());
    }
    return out.join(QStringLiteral("  "));
}

QStringList HexView::rowTexts() const
{
    QStringList out;
    const std::uint64_t first = firstOffset() / kRowBytes;
    for (std::uint64_t row = first; row < std::min(rows(), first + visibleRows()); ++row) {
        const std::uint64_t begin = row * kRowBytes;
        const std::uint64_t end = std::min(begin + kRowBytes, m_place.size);
        if (!isKnown(begin, end))
            break;
        QStringList bytes;
        for (std::uint64_t offset = begin; offset < end; ++offset)
            bytes << hexByte(*at(offset));
        out << QStringLiteral("%1  %2  %3").arg(hexOffset(begin), bytes.join(QLatin1Char(' ')), valuesText(row)).trimmed();
    }
    return out;
}

void HexView::paintRow(QPainter& painter, std::uint64_t row, int y) const
{
    const Theme& theme = Theme::current();
    const int digit = painter.fontMetrics().horizontalAdvance(QLatin1Char('0'));
    const std::uint64_t begin = row * kRowBytes;
    const std::uint64_t end = std::min(begin + kRowBytes, m_place.size);
    const int height = rowHeight();
    int x = theme.px(kHexMargin) - horizontalScrollBar()->value();
    const QString offset = hexOffset(begin);
    painter.setPen(theme.colour(Token::Text3));
    painter.drawText(QRect(x, y, digit * static_cast<int>(offset.size()) + 2, height), Qt::AlignVCenter, offset);
    x += digit * static_cast<int>(hexOffset(m_place.size).size()) + theme.px(kHexGap);
    if (!isKnown(begin, end)) {
        painter.fillRect(QRect(x, y + height / 4, digit * 47, height / 2), theme.colour(Token::Track));
        return;
    }
    for (std::uint64_t at16 = begin; at16 < end; ++at16) {
        const bool isInside = at16 >= m_place.begin && at16 < m_place.end;
        painter.setPen(theme.colour(isInside ? Token::Text : Token::Text3));
        painter.drawText(QRect(x, y, digit * 2 + 2, height), Qt::AlignVCenter, hexByte(*at(at16)));
        x += digit * (at16 % kRowBytes == 7 ? 4 : 3);
    }
    const int values = theme.px(kHexMargin) + digit * (static_cast<int>(hexOffset(m_place.size).size()) + 49) + 2 * theme.px(kHexGap) - horizontalScrollBar()->value();
    painter.setPen(theme.colour(Token::Accent));
    painter.drawText(QRect(values, y, std::max(viewport()->width() - values, 0), height), Qt::AlignVCenter, valuesText(row));
}

void HexView::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(viewport());
    painter.fillRect(viewport()->rect(), theme.colour(Token::Surface));
    painter.setFont(font());
    if (!m_problem.isEmpty()) {
        painter.setPen(theme.colour(Token::Text2));
        painter.drawText(viewport()->rect().adjusted(theme.px(kHexMargin), 0, -theme.px(kHexMargin), 0), Qt::AlignCenter | Qt::TextWordWrap, m_problem);
        return;
    }
    const std::uint64_t first = firstOffset() / kRowBytes;
    for (std::uint64_t i = 0; i <= visibleRows() && first + i < rows(); ++i) {
        const int y = static_cast<int>(i) * rowHeight();
        const std::uint64_t begin = (first + i) * kRowBytes;
        if (begin < m_place.end && begin + kRowBytes > m_place.begin)
            painter.fillRect(QRect(0, y, viewport()->width(), rowHeight()), theme.colour(i % 2 == 0 ? Token::Surface : Token::Raised));
        else
            painter.fillRect(QRect(0, y, viewport()->width(), rowHeight()), theme.colour(Token::Sunken));
        paintRow(painter, first + i, y);
    }
}

void HexView::resizeEvent(QResizeEvent* event)
{
    const std::uint64_t top = firstOffset();
    placeBars();
    goTo(top);
    scheduleRead();
    QAbstractScrollArea::resizeEvent(event);
}

void HexView::scrollContentsBy(int, int)
{
    scheduleRead();
    viewport()->update();
}

void HexView::keyPressEvent(QKeyEvent* event)
{
    if (event->key() == Qt::Key_Home)
        goTo(m_place.begin);
    else if (event->key() == Qt::Key_End && m_place.end > m_place.begin)
        goTo(m_place.end - 1);
    else
        QAbstractScrollArea::keyPressEvent(event);
}

} // namespace shardlens::ui
