#include "ui/widgets/file_progress.h"

#include "core/base/text.h"
#include "ui/jobs/job_texts.h"
#include "ui/theme/theme.h"

#include <QHelpEvent>
#include <QPainter>
#include <QPaintEvent>
#include <QToolTip>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr int kRow = 26;
constexpr int kBar = 16;
constexpr int kStateRoom = 96;
constexpr double kSeam = 0.8; // between stretches of different ranks

// Names of a run's files differ in the middle, which is the first to go where room is short.
QString shownName(const JobFile& file)
{
    const QString name = file.name.section(QLatin1Char('/'), -1);
    return file.rank ? FileProgress::tr("rank %1: %2", "rank, file").arg(*file.rank).arg(name) : name;
}

} // namespace

FileProgress::FileProgress(QWidget* parent) : QWidget(parent)
{
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    setAccessibleName(tr("Files"));
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

void FileProgress::setFiles(const std::vector<JobFile>& files)
{
    m_files = files;
    m_before.clear();
    m_largest = 0;
    std::uint64_t sum = 0;
    for (const JobFile& file : m_files) {
        m_before.push_back(sum);
        sum += file.sizeBytes;
        m_largest = std::max(m_largest, file.sizeBytes);
    }
    updateGeometry();
    update();
}

void FileProgress::setProgress(std::uint64_t bytesWritten, Stage stage, bool complete)
{
    if (bytesWritten == m_written && stage == m_stage && complete == m_complete)
        return;
    m_written = bytesWritten;
    m_stage = stage;
    m_complete = complete;
    update();
}

QSize FileProgress::sizeHint() const
{
    return {Theme::current().px(400), rowHeight() * static_cast<int>(std::min<std::size_t>(m_files.size(), 1 << 20))};
}

int FileProgress::rowHeight() const
{
    return Theme::current().px(kRow);
}

std::uint64_t FileProgress::writtenOf(std::size_t row) const
{
    const std::uint64_t size = m_files[row].sizeBytes;
    if (m_complete || m_stage == Stage::Checking)
        return size;
    return m_written <= m_before[row] ? 0 : std::min(size, m_written - m_before[row]);
}

QString FileProgress::stateText(std::size_t row) const
{
    const JobFile& file = m_files[row];
    const std::uint64_t written = writtenOf(row);
    if (m_complete)
        return tr("written");
    if (written == 0)
        return {};
    if (written == file.sizeBytes)
        return m_stage == Stage::Checking ? tr("checking") : tr("written");
    return JobTexts::percent(static_cast<double>(written) / static_cast<double>(file.sizeBytes));
}

void FileProgress::paintEvent(QPaintEvent* event)
{
    QPainter painter(this);
    const int height = rowHeight();
    const auto first = static_cast<std::size_t>(std::max(0, event->rect().top() / height));
    const auto last = std::min(m_files.size(), static_cast<std::size_t>(event->rect().bottom() / height) + 1);
    for (std::size_t row = first; row < last; ++row)
        paintRow(painter, row, QRect(0, static_cast<int>(row) * height, width(), height));
}

void FileProgress::paintRow(QPainter& painter, std::size_t row, const QRect& where) const
{
    const Theme& theme = Theme::current();
    const int nameRoom = std::min(theme.px(304), where.width() / 3);
    const int stateRoom = theme.px(kStateRoom);
    painter.setFont(theme.font(TextStyle::Mono));
    painter.setPen(theme.colour(Token::Text));
    painter.drawText(where.adjusted(0, 0, -(where.width() - nameRoom), 0), Qt::AlignVCenter,
                     painter.fontMetrics().elidedText(shownName(m_files[row]), Qt::ElideMiddle, nameRoom));
    const int barHeight = theme.px(kBar);
    const QRectF room(nameRoom + theme.px(12), where.top() + (where.height() - barHeight) / 2, where.width() - nameRoom - theme.px(24) - stateRoom, barHeight);
    paintBar(painter, row, room);
    const QString state = stateText(row);
    const int left = where.right() - stateRoom;
    const bool whole = state == tr("written");
    if (whole)
        theme.icon(QStringLiteral("check"), Token::Ok).paint(&painter, QRect(left, where.top() + (where.height() - theme.px(14)) / 2, theme.px(14), theme.px(14)));
    painter.setFont(theme.font(TextStyle::Body));
    painter.setPen(theme.colour(Token::Text2));
    painter.drawText(QRect(left + theme.px(20), where.top(), stateRoom - theme.px(20), where.height()), Qt::AlignVCenter, state);
}

void FileProgress::paintBar(QPainter& painter, std::size_t row, const QRectF& room) const
{
    const Theme& theme = Theme::current();
    const JobFile& file = m_files[row];
    painter.setRenderHint(QPainter::Antialiasing);
    if (file.sizeBytes == 0 || m_largest == 0) { // the history does not keep sizes
        painter.fillRect(room, theme.colour(m_complete ? Token::TierAlt : Token::Track));
        return;
    }
    const double scale = room.width() / static_cast<double>(m_largest);
    const auto bar = [&](std::uint64_t begin, std::uint64_t end, const QColor& colour, double seam) {
        const double width = static_cast<double>(end - begin) * scale;
        painter.fillRect(QRectF(room.left() + static_cast<double>(begin) * scale, room.top(), std::max(width - std::min(seam, width / 4), 0.1), room.height()), colour);
    };
    const double whole = std::max(3.0, static_cast<double>(file.sizeBytes) * scale);
    painter.fillRect(QRectF(room.left(), room.top(), whole, room.height()), theme.colour(Token::Track));
    const std::uint64_t written = writtenOf(row);
    if (written > 0)
        bar(0, written, theme.colour(Token::TierAlt), 0);
    for (const FileStretch& stretch : file.stretches)
        if (stretch.rank && stretch.begin < written)
            bar(stretch.begin, std::min(stretch.end, written), theme.categorical(static_cast<int>(*stretch.rank % 12)), kSeam);
}

bool FileProgress::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip)
        return QWidget::event(event);
    const auto* help = static_cast<QHelpEvent*>(event);
    const auto row = static_cast<std::size_t>(std::max(0, help->pos().y() / rowHeight()));
    if (row < m_files.size()) {
        const JobFile& file = m_files[row];
        const QString size = file.sizeBytes == 0 ? QString() : QStringLiteral("\n") + QString::fromStdString(exactSizeText(file.sizeBytes));
        QToolTip::showText(help->globalPos(), (file.name + size).toHtmlEscaped().replace(QLatin1Char('\n'), QStringLiteral("<br>")), this);
    }
    return true;
}

} // namespace shardlens::ui
