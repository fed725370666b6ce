#include "ui/pages/overview/file_table.h"

#include "ui/models/atlas_text.h"
#include "ui/models/rank_uses.h"
#include "ui/theme/theme.h"
#include "ui/widgets/name_delegate.h"

#include <QHeaderView>
#include <QPixmap>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr int kMostRows = 8; // that show without scrolling

QPixmap swatch(const QColor& colour)
{
    const int side = Theme::current().px(10);
    QPixmap out(side, side);
    out.fill(colour);
    return out;
}

QString stateText(const File& file)
{
    switch (file.state) {
    case File::State::Missing: return FileModel::tr("missing");
    case File::State::Unreadable: return FileModel::tr("cannot be read");
    case File::State::Read: break;
    }
    return {};
}

} // namespace

void FileModel::show(const CheckpointPtr& checkpoint, std::optional<std::uint32_t> rank)
{
    beginResetModel();
    m_checkpoint = checkpoint;
    m_files.clear();
    const std::vector<bool> shown = rank ? RankCover(*checkpoint, *rank).files() : std::vector<bool>(checkpoint->files().size(), true);
    for (std::size_t i = 0; i < shown.size(); ++i)
        if (shown[i])
            m_files.push_back(idAt<FileId>(i));
    endResetModel();
}

int FileModel::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() || !m_checkpoint ? 0 : static_cast<int>(m_files.size());
}

int FileModel::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : ColumnCount;
}

QString FileModel::textAt(const File& file, int column) const
{
    switch (column) {
    case Name: return printableText(file.name);
    case Rank: return file.rank ? QString::number(*file.rank) : QString();
    case Holds: return file.state == File::State::Read ? printableText(file.holds.empty() ? file.container : file.holds) : stateText(file);
    case Size: return file.state == File::State::Missing ? QString() : bytesText(file.size);
    default: return {};
    }
}

QVariant FileModel::data(const QModelIndex& index, int role) const
{
    if (!index.isValid() || index.row() >= rowCount())
        return {};
    const Theme& theme = Theme::current();
    const File& file = m_checkpoint->file(fileAt(index.row()));
    switch (role) {
    case Qt::DisplayRole: return textAt(file, index.column());
    case Qt::ToolTipRole: return QStringLiteral("%1\n%2\n%3 B").arg(printableText(file.name), printableText(file.container), numberText(file.size));
    case Qt::FontRole: return theme.font(index.column() == Name ? TextStyle::Mono : TextStyle::Body);
    case Qt::ForegroundRole: return theme.colour(file.state != File::State::Read ? Token::Error : index.column() == Name ? Token::Text : Token::Text2);
    case Qt::TextAlignmentRole: return QVariant::fromValue(Qt::AlignVCenter | (index.column() == Size ? Qt::AlignRight : Qt::AlignLeft));
    case Qt::DecorationRole: return index.column() == Rank && file.rank ? QVariant(swatch(theme.categorical(static_cast<int>(*file.rank)))) : QVariant();
    default: return {};
    }
}

QVariant FileModel::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal)
        return {};
    if (role == Qt::TextAlignmentRole)
        return QVariant::fromValue(Qt::AlignVCenter | (section == Size ? Qt::AlignRight : Qt::AlignLeft));
    if (role != Qt::DisplayRole)
        return {};
    switch (section) {
    case Name: return tr("name");
    case Rank: return tr("rank");
    case Holds: return tr("holds");
    case Size: return tr("size");
    default: return {};
    }
}

FileTable::FileTable(QWidget* parent) : QTableView(parent), m_model(new FileModel(this)), m_names(new NameDelegate(this))
{
    setModel(m_model);
    setItemDelegateForColumn(FileModel::Name, m_names);
    setAccessibleName(tr("Files"));
    setFrameShape(QFrame::NoFrame);
    setShowGrid(false);
    setWordWrap(false);
    setTextElideMode(Qt::ElideMiddle);
    setSelectionBehavior(SelectRows);
    setSelectionMode(SingleSelection);
    setTabKeyNavigation(false);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    verticalHeader()->hide();
    verticalHeader()->setSectionResizeMode(QHeaderView::Fixed);
    horizontalHeader()->setHighlightSections(false);
    horizontalHeader()->setSectionResizeMode(QHeaderView::Interactive);
    horizontalHeader()->setSectionResizeMode(FileModel::Name, QHeaderView::Stretch);
    const auto choose = [this](const QModelIndex& index) { emit fileChosen(m_model->fileAt(index.row())); };
    connect(this, &QTableView::clicked, this, choose);
    connect(this, &QTableView::activated, this, choose);
    connect(&Theme::current(), &Theme::changed, this, &FileTable::follow);
    follow();
}

void FileTable::follow()
{
    const Theme& theme = Theme::current();
    verticalHeader()->setMinimumSectionSize(1); // the style's least is larger than a row
    verticalHeader()->setDefaultSectionSize(theme.px(24));
    const QFontMetrics metrics(theme.font(TextStyle::Body));
    setColumnWidth(FileModel::Rank, metrics.horizontalAdvance(QStringLiteral("10,000")) + theme.px(24));
    setColumnWidth(FileModel::Holds, metrics.horizontalAdvance(QStringLiteral("fp32 masters, optimizer states")) + theme.px(16));
    setColumnWidth(FileModel::Size, metrics.horizontalAdvance(QStringLiteral("1,023 MiB")) + theme.px(20));
    updateGeometry();
}

void FileTable::show(const CheckpointPtr& checkpoint, std::optional<std::uint32_t> rank)
{
    m_model->show(checkpoint, rank);
    QStringList names;
    for (int row = 0; row < m_model->rowCount(); ++row)
        names << printableText(checkpoint->file(m_model->fileAt(row)).name);
    m_names->setNames(names);
    // A format without ranks needs no column for them.
    const auto& files = checkpoint->files();
    setColumnHidden(FileModel::Rank, std::none_of(files.begin(), files.end(), [](const File& file) { return file.rank.has_value(); }));
    setFixedHeight(sizeHint().height());
}

QSize FileTable::sizeHint() const
{
    const int rows = std::clamp(m_model->rowCount(), 1, kMostRows);
    return {Theme::current().px(420), horizontalHeader()->sizeHint().height() + rows * verticalHeader()->defaultSectionSize() + 2};
}

} // namespace shardlens::ui
