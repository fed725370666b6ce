#include "ui/models/writer_uses.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"

#include <QCoreApplication>
#include <QRegularExpression>
#include <QSet>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace shardlens::ui {
namespace {

struct WriterText {
    Q_DECLARE_TR_FUNCTIONS(WriterUses)
};

constexpr std::size_t kPollPieces = 1u << 18;
constexpr std::uint32_t kNoTensorYet = std::numeric_limits<std::uint32_t>::max();

WriterUse::Kind kindOf(RoleKind role)
{
    switch (role) {
    case RoleKind::Weight:
    case RoleKind::Module:
    case RoleKind::Buffer: return WriterUse::Weights;
    case RoleKind::OptimizerState: return WriterUse::Optimizer;
    case RoleKind::Other: break;
    }
    return WriterUse::Other;
}

// Rows by rank, with the tensors of each counted once however many files they lie in.
class RankRowMaker {
public:
    explicit RankRowMaker(const WriterUses& uses) : m_files(uses.byFile) {}

    std::vector<WriterUse> rows()
    {
        for (std::size_t i = 0; i < m_files.size(); ++i) {
            const WriterUse& file = m_files[i];
            WriterUse& row = m_rows[orderOf(file.rank)];
            row.isLeftOver = row.files.empty() ? file.isLeftOver : row.isLeftOver && file.isLeftOver;
            row.rank = file.rank;
            row.files.push_back(idAt<FileId>(i));
            row.sizeBytes += file.sizeBytes;
            row.chunks += file.chunks;
            row.missingFiles += file.missingFiles;
            for (std::size_t kind = 0; kind < WriterUse::KindCount; ++kind)
                row.valueBytes[kind] += file.valueBytes[kind];
        }
        std::vector<WriterUse> out;
        for (auto& [rank, row] : m_rows)
            out.push_back(std::move(row));
        return out;
    }

    // Nobody's is last.
    static std::uint64_t orderOf(std::optional<std::uint32_t> rank) { return rank ? *rank : std::numeric_limits<std::uint64_t>::max(); }

private:
    const std::vector<WriterUse>& m_files;
    std::map<std::uint64_t, WriterUse> m_rows;
};

} // namespace

std::shared_ptr<const WriterUses> WriterUses::build(const CheckpointPtr& checkpoint, const std::stop_token& stop)
{
    auto out = std::make_shared<WriterUses>();
    out->checkpoint = checkpoint;
    out->byFile.resize(checkpoint->files().size());
    bool hasRanks = false;
    for (std::size_t i = 0; i < out->byFile.size(); ++i) {
        const File& file = checkpoint->files()[i];
        WriterUse& use = out->byFile[i];
        use.rank = file.rank;
        use.files = {idAt<FileId>(i)};
        use.sizeBytes = file.state == File::State::Missing ? 0 : file.size;
        use.missingFiles = file.state == File::State::Read ? 0 : 1;
        hasRanks = hasRanks || file.rank;
    }
    for (const Finding& finding : checkpoint->findings())
        if (finding.code == "leftover-file" && indexOf(finding.file) < out->byFile.size())
            out->byFile[indexOf(finding.file)].isLeftOver = true;
    if (hasRanks)
        out->byRank = RankRowMaker(*out).rows();
    std::vector<std::size_t> rowOfFile(out->byFile.size());
    for (std::size_t row = 0; row < out->byRank.size(); ++row)
        for (const FileId file : out->byRank[row].files)
            rowOfFile[indexOf(file)] = row;
    std::vector<std::uint32_t> lastOfFile(out->byFile.size(), kNoTensorYet); // pieces come tensor by tensor
    std::vector<std::uint32_t> lastOfRank(out->byRank.size(), kNoTensorYet);
    std::size_t seen = 0;
    for (std::uint32_t tensor = 0; tensor < checkpoint->tensors().size(); ++tensor) {
        const TensorId id{tensor};
        const std::uint64_t cellBytes = info(checkpoint->tensor(id).dtype).bytesPerBlock;
        const WriterUse::Kind kind = kindOf(checkpoint->roleOf(id).kind);
        for (std::size_t piece = checkpoint->pieces().firstOf(id); piece < checkpoint->pieces().lastOf(id); ++piece) {
            if (++seen % kPollPieces == 0 && stop.stop_requested())
                return nullptr;
            const Piece at = checkpoint->pieces().at(idAt<PieceId>(piece));
            const Stream& from = checkpoint->stream(at.source.stream);
            if (from.file == kNoFile)
                continue;
            const std::uint64_t bytes = from.kind == Stream::Kind::Missing ? 0 : volumeOf(at.region) * cellBytes;
            const auto count = [&](WriterUse& use, std::uint32_t& last) {
                ++use.chunks;
                use.tensors += last == tensor ? 0 : 1;
                use.valueBytes[kind] += bytes;
                last = tensor;
            };
            count(out->byFile[indexOf(from.file)], lastOfFile[indexOf(from.file)]);
            if (hasRanks)
                count(out->byRank[rowOfFile[indexOf(from.file)]], lastOfRank[rowOfFile[indexOf(from.file)]]);
        }
    }
    return stop.stop_requested() ? nullptr : out;
}

QString WriterUses::nameOf(const WriterUse& use, bool byRank) const
{
    if (byRank)
        return use.rank ? WriterText::tr("rank %1").arg(*use.rank) : WriterText::tr("no rank");
    return printableText(checkpoint->file(use.files.front()).name);
}

WriterBalance WriterBalance::of(const WriterUses& uses, bool byRank)
{
    const std::vector<WriterUse>& all = byRank ? uses.byRank : uses.byFile;
    WriterBalance out;
    double sum = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        out.missing += all[i].missingFiles;
        if (!all[i].isWriter() || (byRank && !all[i].rank))
            continue;
        out.bars.push_back({i, all[i].sizeBytes});
        sum += static_cast<double>(all[i].sizeBytes);
    }
    const auto less = [](const Bar& a, const Bar& b) { return a.bytes < b.bytes; };
    if (out.bars.empty())
        return out;
    out.mean = sum / static_cast<double>(out.bars.size());
    out.largest = static_cast<std::size_t>(std::max_element(out.bars.begin(), out.bars.end(), less) - out.bars.begin());
    out.smallest = static_cast<std::size_t>(std::min_element(out.bars.begin(), out.bars.end(), less) - out.bars.begin());
    return out;
}

QString WriterBalance::shareText(std::uint64_t bytes) const
{
    if (mean <= 0)
        return WriterText::tr("as much as the mean");
    const double share = static_cast<double>(bytes) / mean - 1;
    const double percent = std::abs(share) * 100;
    if (percent < 0.05)
        return WriterText::tr("as much as the mean");
    if (share >= 1)
        return WriterText::tr("%1 times the mean").arg(share + 1, 0, 'f', 1);
    const QString number = QString::number(percent, 'f', percent < 9.95 ? 1 : 0);
    return share > 0 ? WriterText::tr("%1 % more than the mean").arg(number) : WriterText::tr("%1 % less than the mean").arg(number);
}

QString WriterBalance::sentence(const WriterUses& uses, bool byRank) const
{
    const std::vector<WriterUse>& all = byRank ? uses.byRank : uses.byFile;
    QString text;
    if (bars.empty())
        text = WriterText::tr("No file that is there holds values.");
    else if (bars.size() == 1)
        text = byRank ? WriterText::tr("%1 wrote everything, %2.").arg(uses.nameOf(all[bars.front().use], byRank), bytesText(bars.front().bytes))
                      : WriterText::tr("One file holds everything, %1: %2.").arg(bytesText(bars.front().bytes), uses.nameOf(all[bars.front().use], byRank));
    else if (bars[largest].bytes == bars[smallest].bytes)
        text = byRank ? WriterText::tr("All %1 ranks wrote the same, %2 each.").arg(numberText(bars.size()), bytesText(bars.front().bytes))
                      : WriterText::tr("All %1 files are of the same size, %2 each.").arg(numberText(bars.size()), bytesText(bars.front().bytes));
    else {
        const auto part = [&](std::size_t bar) {
            const QString name = uses.nameOf(all[bars[bar].use], byRank);
            const QString pattern = byRank ? WriterText::tr("%1 wrote %2 (%3)", "who, how much compared, bytes") : WriterText::tr("%1 holds %2 (%3)", "file, how much compared, bytes");
            return pattern.arg(name, shareText(bars[bar].bytes), bytesText(bars[bar].bytes));
        };
        text = WriterText::tr("%1; %2.", "the largest, the smallest").arg(part(largest), part(smallest));
    }
    if (byRank && !text.isEmpty()) // a file's name stays as it is
        text.replace(0, 1, text.left(1).toUpper());
    if (missing > 0)
        text += QLatin1Char(' ') + counted(missing, WriterText::tr("1 file is missing and not counted."), WriterText::tr("%1 files are missing and not counted."));
    return text;
}

QStringList numbersOfNames(const QStringList& names)
{
    static const QRegularExpression kNumber(QStringLiteral("[0-9]+"));
    std::vector<QStringList> numbers;
    for (const QString& name : names) {
        QStringList found;
        for (auto it = kNumber.globalMatch(name); it.hasNext();)
            found << it.next().captured();
        numbers.push_back(std::move(found));
    }
    const bool isOneShape = !names.isEmpty() && std::all_of(numbers.begin(), numbers.end(), [&](const QStringList& one) { return one.size() == numbers.front().size(); });
    QStringList out;
    QSet<QString> seen;
    for (std::size_t i = 0; i < numbers.size() && isOneShape; ++i) {
        QStringList telling;
        for (qsizetype at = 0; at < numbers[i].size(); ++at)
            if (std::any_of(numbers.begin(), numbers.end(), [&](const QStringList& one) { return one[at] != numbers.front()[at]; }))
                telling << numbers[i][at];
        out << telling.join(QLatin1Char('_'));
        seen.insert(out.back());
    }
    if (seen.size() == names.size() && !seen.contains(QString()))
        return out;
    out.clear();
    for (qsizetype i = 0; i < names.size(); ++i)
        out << QString::number(i + 1);
    return out;
}

} // namespace shardlens::ui
