#include "ui/models/writer_rows.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"

#include <algorithm>
#include <array>

namespace shardlens::ui {
namespace {

QString bytesOrNothing(std::uint64_t bytes)
{
    return bytes == 0 ? QString() : bytesText(bytes);
}

// What a file holds in its reader's words; of several what they are.
QString holdsText(const Checkpoint& checkpoint, const WriterUse& use)
{
    const File& first = checkpoint.file(use.files.front());
    if (use.files.size() > 1) {
        const QString files = WriterRows::tr("%1 files").arg(numberText(use.files.size()));
        return use.missingFiles == 0 ? files : WriterRows::tr("%1, %2 missing").arg(files, numberText(use.missingFiles));
    }
    switch (first.state) {
    case File::State::Missing: return WriterRows::tr("missing");
    case File::State::Unreadable: return WriterRows::tr("cannot be read");
    case File::State::Read: break;
    }
    return printableText(first.holds.empty() ? first.container : first.holds);
}

struct WriterColumn {
    const char* title;
    const char* tip;
    bool isNumber;
    QString (*text)(const WriterUses& uses, const WriterUse& use);
    std::uint64_t (*key)(const WriterUse& use); // nullptr: by text
};

QString fileNames(const WriterUses& uses, const WriterUse& use)
{
    const QString first = printableText(uses.checkpoint->file(use.files.front()).name);
    return use.files.size() == 1 ? first : WriterRows::tr("%1 and %2 more", "file name").arg(first, numberText(use.files.size() - 1));
}

const std::array<WriterColumn, WriterRows::ColumnCount> kWriterColumns{{
    {QT_TRANSLATE_NOOP("WriterRows", "rank"), QT_TRANSLATE_NOOP("WriterRows", "Who wrote it, where the name or the content says"), true,
     [](const WriterUses&, const WriterUse& use) { return use.rank ? QString::number(*use.rank) : QString(); },
     [](const WriterUse& use) { return use.rank ? std::uint64_t{*use.rank} : ~std::uint64_t{0}; }},
    {QT_TRANSLATE_NOOP("WriterRows", "file"), QT_TRANSLATE_NOOP("WriterRows", "Name below the checkpoint's folder"), false, fileNames, nullptr},
    {QT_TRANSLATE_NOOP("WriterRows", "holds"), QT_TRANSLATE_NOOP("WriterRows", "What it is"), false,
     [](const WriterUses& uses, const WriterUse& use) { return holdsText(*uses.checkpoint, use); }, nullptr},
    {QT_TRANSLATE_NOOP("WriterRows", "size"), QT_TRANSLATE_NOOP("WriterRows", "Bytes on the disk"), true,
     [](const WriterUses&, const WriterUse& use) { return use.missingFiles == use.files.size() && use.sizeBytes == 0 ? QString() : bytesText(use.sizeBytes); },
     [](const WriterUse& use) { return use.sizeBytes; }},
    {QT_TRANSLATE_NOOP("WriterRows", "chunks"), QT_TRANSLATE_NOOP("WriterRows", "Pieces of tensors in it, or that should be"), true,
     [](const WriterUses&, const WriterUse& use) { return numberText(use.chunks); }, [](const WriterUse& use) { return use.chunks; }},
    {QT_TRANSLATE_NOOP("WriterRows", "tensors"), QT_TRANSLATE_NOOP("WriterRows", "Tensors that have a piece in it"), true,
     [](const WriterUses&, const WriterUse& use) { return numberText(use.tensors); }, [](const WriterUse& use) { return use.tensors; }},
    {QT_TRANSLATE_NOOP("WriterRows", "weights"), QT_TRANSLATE_NOOP("WriterRows", "Bytes of parameters, their module copies and buffers"), true,
     [](const WriterUses&, const WriterUse& use) { return bytesOrNothing(use.valueBytes[WriterUse::Weights]); }, [](const WriterUse& use) { return use.valueBytes[WriterUse::Weights]; }},
    {QT_TRANSLATE_NOOP("WriterRows", "optimizer"), QT_TRANSLATE_NOOP("WriterRows", "Bytes of optimizer states"), true,
     [](const WriterUses&, const WriterUse& use) { return bytesOrNothing(use.valueBytes[WriterUse::Optimizer]); }, [](const WriterUse& use) { return use.valueBytes[WriterUse::Optimizer]; }},
    {QT_TRANSLATE_NOOP("WriterRows", "other"), QT_TRANSLATE_NOOP("WriterRows", "Bytes of tensors of neither model nor optimizer: random states, counters"), true,
     [](const WriterUses&, const WriterUse& use) { return bytesOrNothing(use.valueBytes[WriterUse::Other]); }, [](const WriterUse& use) { return use.valueBytes[WriterUse::Other]; }},
    {QT_TRANSLATE_NOOP("WriterRows", "no values"), QT_TRANSLATE_NOOP("WriterRows", "Bytes that are no values of the checkpoint: headers, pickles, padding, all of a file that is left over"), true,
     [](const WriterUses&, const WriterUse& use) { return bytesOrNothing(use.restBytes()); }, [](const WriterUse& use) { return use.restBytes(); }},
}};

} // namespace

void WriterRows::show(WriterUsesPtr uses, bool byRank)
{
    beginResetModel();
    m_uses = std::move(uses);
    m_byRank = byRank;
    arrange();
    endResetModel();
}

void WriterRows::setFilter(const QString& text)
{
    beginResetModel();
    m_words = text.simplified().split(QLatin1Char(' '), Qt::SkipEmptyParts);
    arrange();
    endResetModel();
}

void WriterRows::keepRank(std::optional<std::uint32_t> rank)
{
    beginResetModel();
    m_kept = rank;
    arrange();
    endResetModel();
}

bool WriterRows::shows(const WriterUse& use) const
{
    if (m_kept && use.rank != m_kept)
        return false;
    QString text = holdsText(*m_uses->checkpoint, use);
    if (use.rank)
        text += QLatin1Char('\n') + tr("rank %1").arg(*use.rank);
    const auto found = [&](const QString& word) {
        return text.contains(word, Qt::CaseInsensitive) ||
               std::any_of(use.files.begin(), use.files.end(), [&](FileId file) { return printableText(m_uses->checkpoint->file(file).name).contains(word, Qt::CaseInsensitive); });
    };
    return std::all_of(m_words.begin(), m_words.end(), found);
}

void WriterRows::arrange()
{
    m_rows.clear();
    if (!m_uses)
        return;
    for (std::size_t i = 0; i < uses().size(); ++i)
        if (shows(uses()[i]))
            m_rows.push_back(i);
    if (m_sortColumn < 0)
        return;
    const WriterColumn& column = kWriterColumns[static_cast<std::size_t>(m_sortColumn)];
    std::vector<QString> texts;
    if (column.key == nullptr)
        for (const WriterUse& use : uses())
            texts.push_back(column.text(*m_uses, use));
    std::stable_sort(m_rows.begin(), m_rows.end(), [&](std::size_t a, std::size_t b) {
        if (m_order == Qt::DescendingOrder)
            std::swap(a, b);
        return column.key != nullptr ? column.key(uses()[a]) < column.key(uses()[b]) : texts[a] < texts[b];
    });
}

void WriterRows::sort(int column, Qt::SortOrder order)
{
    m_sortColumn = column < ColumnCount ? column : -1;
    m_order = order;
    emit layoutAboutToBeChanged();
    const QModelIndexList before = persistentIndexList();
    std::vector<std::size_t> useOf;
    for (const QModelIndex& index : before)
        useOf.push_back(m_rows[static_cast<std::size_t>(index.row())]);
    arrange();
    QModelIndexList after;
    for (qsizetype i = 0; i < before.size(); ++i)
        after << index(rowOfUse(useOf[static_cast<std::size_t>(i)]), before[i].column());
    changePersistentIndexList(before, after);
    emit layoutChanged();
}

const WriterUse& WriterRows::useAt(int row) const
{
    return uses()[m_rows[static_cast<std::size_t>(row)]];
}

int WriterRows::rowOfUse(std::size_t use) const
{
    const auto at = std::find(m_rows.begin(), m_rows.end(), use);
    return at == m_rows.end() ? -1 : static_cast<int>(at - m_rows.begin());
}

std::size_t WriterRows::all() const
{
    return m_uses ? uses().size() : 0;
}

QString WriterRows::sumText() const
{
    std::uint64_t bytes = 0;
    std::uint64_t chunks = 0;
    for (const std::size_t row : m_rows) {
        bytes += uses()[row].sizeBytes;
        chunks += uses()[row].chunks;
    }
    const QString rows = m_byRank ? counted(m_rows.size(), tr("1 rank"), tr("%1 ranks")) : counted(m_rows.size(), tr("1 file"), tr("%1 files"));
    return tr("%1, %2, %3", "rows, bytes, chunks").arg(rows, bytesText(bytes), counted(chunks, tr("1 chunk"), tr("%1 chunks")));
}

int WriterRows::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(m_rows.size());
}

int WriterRows::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(ColumnCount);
}

QVariant WriterRows::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const Theme& theme = Theme::current();
    const WriterUse& use = useAt(index.row());
    const WriterColumn& column = kWriterColumns[static_cast<std::size_t>(index.column())];
    const bool isBad = use.missingFiles > 0 && (index.column() == Name || index.column() == Holds);
    switch (role) {
    case Qt::DisplayRole: return m_byRank && index.column() == Rank && !use.rank ? tr("none") : column.text(*m_uses, use);
    case Qt::ToolTipRole:
        return tr("%1: %2 B on the disk, %3 B of values").arg(fileNames(*m_uses, use), numberText(use.sizeBytes), numberText(use.values())).toHtmlEscaped();
    case Qt::FontRole: return theme.font(index.column() == Name ? TextStyle::Mono : TextStyle::Body);
    case Qt::TextAlignmentRole: return QVariant::fromValue(Qt::AlignVCenter | (column.isNumber && index.column() != Rank ? Qt::AlignRight : Qt::AlignLeft));
    case Qt::ForegroundRole:
        return theme.colour(isBad                                                    ? Token::Error
                            : use.isLeftOver                                         ? Token::Text3
                            : index.column() == Name || index.column() == Size ? Token::Text
                                                                                     : Token::Text2);
    case Qt::DecorationRole: return index.column() == Rank && use.rank ? QVariant(theme.categorical(static_cast<int>(*use.rank))) : QVariant();
    default: return {};
    }
}

QVariant WriterRows::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal || section < 0 || section >= ColumnCount)
        return {};
    const WriterColumn& column = kWriterColumns[static_cast<std::size_t>(section)];
    switch (role) {
    case Qt::DisplayRole: return m_byRank && section == Name ? tr("files") : tr(column.title);
    case Qt::ToolTipRole: return tr(column.tip);
    case Qt::TextAlignmentRole: return QVariant::fromValue(Qt::AlignVCenter | (column.isNumber && section != Rank ? Qt::AlignRight : Qt::AlignLeft));
    default: return {};
    }
}

} // namespace shardlens::ui
