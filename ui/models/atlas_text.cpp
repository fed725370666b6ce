#include "ui/models/atlas_text.h"

#include "core/base/text.h"
#include "ui/models/atlas_classes.h"

#include <QStringList>

#include <algorithm>
#include <map>

namespace shardlens::ui {
namespace {

constexpr std::size_t kMostOthers = 3; // pieces that "also on" names

bool isWhole(const RegionView& region, ShapeView units)
{
    std::uint64_t all = 1;
    for (const std::uint64_t extent : units)
        all *= extent;
    return volumeOf(region) == all;
}

QString rangeWords(const QString& one, const QString& many, std::uint64_t first, std::uint64_t last)
{
    return first == last ? Atlas::tr("%1 %2").arg(one, numberText(first)) : Atlas::tr("%1 %2 to %3").arg(many, numberText(first), numberText(last));
}

QString axisWords(const BoxView& box, std::size_t axis)
{
    const std::uint64_t first = box.offset[axis];
    const std::uint64_t last = first + box.extent[axis] - 1;
    const std::size_t rank = box.extent.size();
    if (axis + 1 == rank && rank == 1)
        return rangeWords(Atlas::tr("element"), Atlas::tr("elements"), first, last);
    if (axis + 1 == rank)
        return rangeWords(Atlas::tr("column"), Atlas::tr("columns"), first, last);
    if (axis + 2 == rank)
        return rangeWords(Atlas::tr("row"), Atlas::tr("rows"), first, last);
    return rangeWords(Atlas::tr("axis %1 at").arg(axis), Atlas::tr("axis %1 at").arg(axis), first, last);
}

QString boxWords(const BoxView& box, ShapeView units)
{
    QStringList parts;
    for (std::size_t axis = 0; axis < box.extent.size(); ++axis)
        if (box.extent[axis] != units[axis])
            parts << axisWords(box, axis);
    return parts.join(Atlas::tr(", "));
}

QString flatWords(FlatRange range, ShapeView units)
{
    if (units.size() != 2)
        return rangeWords(Atlas::tr("element"), Atlas::tr("elements"), range.begin, range.end - 1);
    const std::uint64_t columns = units[1];
    const std::uint64_t firstRow = range.begin / columns;
    const std::uint64_t firstColumn = range.begin % columns;
    const std::uint64_t lastRow = (range.end - 1) / columns;
    const std::uint64_t lastColumn = (range.end - 1) % columns;
    if (firstColumn == 0 && lastColumn + 1 == columns)
        return rangeWords(Atlas::tr("row"), Atlas::tr("rows"), firstRow, lastRow);
    if (firstRow == lastRow)
        return Atlas::tr("row %1, %2").arg(numberText(firstRow), rangeWords(Atlas::tr("column"), Atlas::tr("columns"), firstColumn, lastColumn));
    const QString from = firstColumn == 0 ? Atlas::tr("row %1").arg(numberText(firstRow))
                                          : Atlas::tr("row %1 from column %2").arg(numberText(firstRow), numberText(firstColumn));
    const QString to = lastColumn + 1 == columns ? Atlas::tr("row %1").arg(numberText(lastRow))
                                                 : Atlas::tr("row %1, column %2").arg(numberText(lastRow), numberText(lastColumn));
    return Atlas::tr("%1, to %2").arg(from, to);
}

std::uint64_t firstCellOf(const RegionView& region, ShapeView units)
{
    if (const auto* flat = std::get_if<FlatRange>(&region))
        return flat->begin;
    const auto& box = std::get<BoxView>(region);
    const Shape strides = rowMajorStrides(units);
    std::uint64_t at = 0;
    for (std::size_t axis = 0; axis < box.offset.size(); ++axis)
        at += box.offset[axis] * strides[axis];
    return at;
}

QString rankText(const Checkpoint& checkpoint, const Piece& piece)
{
    const auto rank = checkpoint.rankOfPiece(piece);
    return rank ? Atlas::tr("rank %1").arg(*rank) : QString();
}

// Who else holds parts of the same tensor, and where those lie from here.
QString othersOf(const Checkpoint& checkpoint, TensorId tensor, const Piece& piece, ShapeView units)
{
    QStringList parts;
    std::size_t count = 0;
    const std::uint64_t here = firstCellOf(piece.region, units);
    for (std::size_t row = checkpoint.pieces().firstOf(tensor); row < checkpoint.pieces().lastOf(tensor); ++row) {
        const Piece other = checkpoint.pieces().at(idAt<PieceId>(row));
        if (other.id == piece.id || volumeOf(other.region) == 0)
            continue;
        if (++count > kMostOthers)
            continue;
        const QString who = rankText(checkpoint, other);
        const std::uint64_t there = firstCellOf(other.region, units);
        const bool rows = units.size() >= 2;
        const QString what = there == here && volumeOf(other.region) == volumeOf(piece.region) ? Atlas::tr("the same part")
                             : there < here ? (rows ? Atlas::tr("the rows before that") : Atlas::tr("the elements before that"))
                             : there > here ? (rows ? Atlas::tr("the rows after that") : Atlas::tr("the elements after that"))
                                            : Atlas::tr("a part of it");
        parts << (who.isEmpty() ? what : Atlas::tr("%1: %2").arg(who, what));
    }
    if (count > kMostOthers)
        parts << Atlas::tr("%1 more").arg(count - kMostOthers);
    return parts.join(Atlas::tr(", "));
}

} // namespace

QString printableText(std::string_view text)
{
    return QString::fromStdString(printable(text));
}

QString bytesText(std::uint64_t bytes)
{
    return QString::fromStdString(sizeText(bytes));
}

QString numberText(std::uint64_t number)
{
    return QString::fromStdString(groupedText(number));
}

QString counted(std::uint64_t count, const QString& one, const QString& many)
{
    return count == 1 ? one : many.arg(numberText(count));
}

QString regionWords(const RegionView& region, ShapeView units)
{
    if (volumeOf(region) == 0)
        return Atlas::tr("nothing");
    if (isWhole(region, units))
        return Atlas::tr("all of it");
    if (const auto* flat = std::get_if<FlatRange>(&region))
        return flatWords(*flat, units);
    return boxWords(std::get<BoxView>(region), units);
}

QString shortName(const std::string& parameter)
{
    for (const std::string_view wrapper : {"model.", "module.", "transformer."})
        if (parameter.size() > wrapper.size() && std::string_view(parameter).starts_with(wrapper))
            return printableText(std::string_view(parameter).substr(wrapper.size()));
    return printableText(parameter);
}

QStringList labelCandidates(const std::string& parameter)
{
    const std::vector<std::string_view> parts = nameParts(parameter);
    QStringList out{shortName(parameter)};
    std::size_t last = parts.size() - 1;
    if (last > 0 && (parts[last] == "weight" || parts[last] == "bias"))
        --last;
    const auto number = std::find_if(parts.begin(), parts.end(), isNumber);
    if (number != parts.end() && number != parts.begin())
        out << printableText(*(number - 1)) + QLatin1Char('.') + printableText(*number) + QLatin1Char(' ') + printableText(parts[last]);
    out << printableText(parts[last]);
    return out;
}

PieceFacts factsOf(const Checkpoint& checkpoint, PieceId id)
{
    const Piece piece = checkpoint.pieces().at(id);
    const TensorId tensor = checkpoint.pieces().tensorOf(id);
    const Tensor& owner = checkpoint.tensor(tensor);
    const Shape units = unitShape(owner.shape, owner.dtype);
    const Stream& from = checkpoint.stream(piece.source.stream);
    const std::uint64_t bytes = volumeOf(piece.region) * info(owner.dtype).bytesPerBlock;
    PieceFacts out;
    out.name = shortName(checkpoint.parameterOf(tensor));
    out.state = printableText(checkpoint.roleOf(tensor).name);
    out.box = regionWords(piece.region, units);
    out.size = bytesText(bytes);
    out.rank = rankText(checkpoint, piece);
    out.file = from.file == kNoFile ? Atlas::tr("in no file") : printableText(checkpoint.file(from.file).name);
    switch (from.kind) {
    case Stream::Kind::File: out.bytes = Atlas::tr("%1 at %2").arg(numberText(bytes), numberText(piece.source.offset)); break;
    case Stream::Kind::Deflated: out.bytes = Atlas::tr("%1 in a compressed member at %2").arg(numberText(bytes), numberText(from.offset)); break;
    case Stream::Kind::Inline: out.bytes = Atlas::tr("%1, a value inside the pickle").arg(numberText(bytes)); break;
    case Stream::Kind::Missing: out.bytes = Atlas::tr("%1 are missing").arg(numberText(bytes)); break;
    case Stream::Kind::Computed: out.bytes = Atlas::tr("%1, computed").arg(numberText(bytes)); break;
    }
    return out;
}

QString alsoOnText(const Checkpoint& checkpoint, PieceId id)
{
    const TensorId tensor = checkpoint.pieces().tensorOf(id);
    const Tensor& owner = checkpoint.tensor(tensor);
    return othersOf(checkpoint, tensor, checkpoint.pieces().at(id), unitShape(owner.shape, owner.dtype));
}

QString pieceSentence(const Checkpoint& checkpoint, PieceId id)
{
    const PieceFacts facts = factsOf(checkpoint, id);
    const Piece piece = checkpoint.pieces().at(id);
    const QString text = Atlas::tr("%1, %2, %3 at offset %4").arg(facts.state, facts.name, facts.size, numberText(piece.source.offset));
    return facts.rank.isEmpty() ? text : Atlas::tr("%1, %2").arg(facts.rank, text);
}

QString pieceCopyText(const Checkpoint& checkpoint, PieceId id, bool withPlace)
{
    const TensorId tensor = checkpoint.pieces().tensorOf(id);
    const QString name = QString::fromStdString(checkpoint.fullName(tensor));
    if (!withPlace)
        return name;
    const Piece piece = checkpoint.pieces().at(id);
    const Stream& from = checkpoint.stream(piece.source.stream);
    const std::uint64_t bytes = volumeOf(piece.region) * info(checkpoint.tensor(tensor).dtype).bytesPerBlock;
    const QString path = from.file == kNoFile ? QString() : QString::fromStdString(checkpoint.file(from.file).path);
    return QStringLiteral("%1\t%2\t%3\t%4\t%5")
        .arg(name, QString::fromStdString(regionText(piece.region)), path)
        .arg(piece.source.offset)
        .arg(bytes);
}

} // namespace shardlens::ui
