#include "core/encoding/tensor_reader.h"

#include "core/base/text.h"
#include "core/encoding/affine_read.h"
#include "core/model/coverage.h"
#include "core/numeric/cast.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace shardlens {
namespace {

struct Run {
    FlatRange cells;
    PieceId piece;
};

constexpr std::ptrdiff_t kManySegments = 8;
constexpr std::uint64_t kMeanValues = 1u << 14; // at a time: three buffers of a thread stay in its cache

std::vector<Run> presentRuns(const Checkpoint& checkpoint, std::span<const PieceId> ids, ShapeView units)
{
    std::vector<Run> runs;
    runs.reserve(ids.size());
    for (const PieceId id : ids) {
        const Piece piece = checkpoint.pieces().at(id);
        if (checkpoint.stream(piece.source.stream).kind == Stream::Kind::Missing)
            continue;
        if (const auto* flat = std::get_if<FlatRange>(&piece.region)) {
            if (!flat->empty())
                runs.push_back({*flat, piece.id});
        } else {
            forEachRun(std::get<BoxView>(piece.region), units, [&](FlatRange cells) { runs.push_back({cells, piece.id}); });
        }
    }
    std::stable_sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.cells.begin < b.cells.begin; });
    return runs;
}

// sum += values, both of Number.
template <typename Number>
void addValues(std::span<Number> sum, const std::byte* values)
{
    for (std::size_t i = 0; i < sum.size(); ++i) {
        Number value;
        std::memcpy(&value, values + i * sizeof(Number), sizeof(Number)); // castValues wrote them
        sum[i] += value;
    }
}

// The mean of `summands` rows of values; read(i, out) reads those of row i.
template <typename Number, typename Read>
Status meanOf(DType dtype, DType wide, std::size_t summands, std::span<std::byte> out, Read&& read)
{
    const std::size_t count = out.size() / info(dtype).bytesPerBlock;
    std::vector<Number> sum(count);
    std::vector<std::byte> widened(count * sizeof(Number));
    for (std::size_t i = 0; i < summands; ++i) {
        SHARDLENS_TRY(read(i, out));
        castValues(dtype, out.data(), wide, widened.data(), count);
        addValues(std::span(sum), widened.data());
    }
    for (Number& one : sum)
        one /= static_cast<Number>(summands);
    castValues(wide, reinterpret_cast<const std::byte*>(sum.data()), dtype, out.data(), count);
    return {};
}

} // namespace

std::string holeText(const Checkpoint& checkpoint, TensorId tensor, const Hole& hole)
{
    const Shape& shape = checkpoint.tensor(tensor).shape;
    const RegionView region = viewOf(hole.region);
    std::string text = fmt::format("{}: {} of {} {} missing", printable(checkpoint.fullName(tensor)), regionText(region), shapeText(shape),
                                   volumeOf(region) == 1 ? "is" : "are");
    if (!hole.expected)
        return text + ", and no file of this checkpoint holds them";
    const Piece piece = checkpoint.pieces().at(*hole.expected);
    const Stream& stream = checkpoint.stream(piece.source.stream);
    if (const auto rank = checkpoint.rankOfPiece(piece))
        text += fmt::format("; rank {} should hold them", *rank);
    if (stream.file == kNoFile)
        return text;
    const File& file = checkpoint.file(stream.file);
    switch (file.state) {
    case File::State::Missing: return text + fmt::format("; {} is not in the folder", printable(file.name));
    case File::State::Unreadable: return text + fmt::format("; {} cannot be read", printable(file.name));
    case File::State::Read: break;
    }
    return text + fmt::format("; {} describes it and does not store it", printable(file.name));
}

Status readPiece(const StreamSet& streams, TensorId tensor, PieceId id, FlatRange part, std::span<std::byte> out)
{
    const Checkpoint& checkpoint = streams.checkpoint();
    const Tensor& owner = checkpoint.tensor(tensor);
    const std::uint64_t cell = info(owner.dtype).bytesPerBlock;
    const Shape units = unitShape(owner.shape, owner.dtype);
    const Piece piece = checkpoint.pieces().at(id);
    SHARDLENS_ASSIGN(const auto source, streams.source(piece.source.stream));
    const AddressMap from = piece.addresses(units, cell);
    const AddressMap to = AddressMap::dense(part, units, 0, cell);
    const AffineTarget target{out, cell, owner.dtype, piece.source.flags};
    Status status;
    forEachCopy(piece.region, from, part, to, units, [&](const AffineCopy& copy) {
        if (status)
            status = readAffine(*source, copy, target);
    });
    if (status)
        return {};
    const FileId file = checkpoint.stream(piece.source.stream).file;
    Error error = status.takeError().within(printable(checkpoint.fullName(tensor)));
    return file == kNoFile ? error : std::move(error).within(printable(checkpoint.file(file).name));
}

Result<TensorReader> TensorReader::open(const StreamSet& streams, TensorId tensor)
{
    const Checkpoint& checkpoint = streams.checkpoint();
    const Tensor& owner = checkpoint.tensor(tensor);
    TensorReader reader(streams, tensor);
    reader.m_cellBytes = info(owner.dtype).bytesPerBlock;
    reader.m_sizeBytes = checkpoint.bytesOf(tensor);
    reader.m_units = unitShape(owner.shape, owner.dtype);
    for (const std::vector<PieceId>& pieces : summandsOf(checkpoint, tensor))
        SHARDLENS_TRY(reader.addSegments(pieces));
    if (reader.m_ends.size() > 1 && !canCast(owner.dtype, DType::F64))
        return Error{ErrorCode::Unsupported, fmt::format("{}: no mean is made of {} values", printable(checkpoint.fullName(tensor)), nameOf(owner.dtype))};
    return reader;
}

Status TensorReader::addSegments(std::span<const PieceId> pieces)
{
    const Checkpoint& checkpoint = m_streams->checkpoint();
    const std::size_t first = m_segments.size();
    std::uint64_t covered = 0;
    std::uint64_t held = 0;
    for (const Run& run : presentRuns(checkpoint, pieces, m_units)) {
        held += run.cells.size();
        if (run.cells.begin > covered)
            break;
        if (run.cells.end <= covered)
            continue;
        const bool continues = m_segments.size() > first && m_segments.back().piece == run.piece;
        if (continues)
            m_segments.back().cells.end = run.cells.end;
        else
            m_segments.push_back({{covered, run.cells.end}, run.piece});
        covered = run.cells.end;
    }
    m_ends.push_back(m_segments.size());
    m_overlaps = m_overlaps || held != covered;
    if (covered >= m_sizeBytes / m_cellBytes)
        return {};
    return Error{ErrorCode::Refused, holeText(checkpoint, m_tensor, coverageOf(checkpoint, m_tensor, 1).holes.front())};
}

std::span<const TensorReader::Segment> TensorReader::summand(std::size_t index) const
{
    const std::size_t first = index == 0 ? 0 : m_ends[index - 1];
    return std::span(m_segments).subspan(first, m_ends[index] - first);
}

Status TensorReader::readAt(std::uint64_t offset, std::span<std::byte> out) const
{
    if (offset % m_cellBytes != 0 || out.size() % m_cellBytes != 0 || offset > m_sizeBytes || out.size() > m_sizeBytes - offset)
        return Error{ErrorCode::Refused, fmt::format("bytes {} to {} of {}, in steps of {}", offset, offset + out.size(), m_sizeBytes, m_cellBytes)};
    const FlatRange wanted{offset / m_cellBytes, (offset + out.size()) / m_cellBytes};
    return m_ends.size() == 1 ? readSummand(0, wanted, out) : readMean(wanted, out);
}

Status TensorReader::readSummand(std::size_t index, FlatRange wanted, std::span<std::byte> out) const
{
    const std::span<const Segment> segments = summand(index);
    const auto first = std::upper_bound(segments.begin(), segments.end(), wanted.begin, [](std::uint64_t cell, const Segment& one) { return cell < one.cells.end; });
    const auto last = std::lower_bound(first, segments.end(), wanted.end, [](const Segment& one, std::uint64_t cell) { return one.cells.begin < cell; });
    if (!m_overlaps && last - first >= kManySegments)
        return readPieces({first, last}, wanted, out);
    for (auto segment = first; segment != last; ++segment) {
        const FlatRange part = intersect(segment->cells, wanted);
        const std::span<std::byte> target = out.subspan((part.begin - wanted.begin) * m_cellBytes, part.size() * m_cellBytes);
        SHARDLENS_TRY(readPiece(*m_streams, m_tensor, segment->piece, part, target));
    }
    return {};
}

// Pieces that take turns (columns side by side): each is read once, instead of a row at a time.
Status TensorReader::readPieces(std::span<const Segment> segments, FlatRange wanted, std::span<std::byte> out) const
{
    std::vector<PieceId> pieces;
    for (const Segment& segment : segments)
        pieces.push_back(segment.piece);
    std::sort(pieces.begin(), pieces.end());
    pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
    for (const PieceId piece : pieces)
        SHARDLENS_TRY(readPiece(*m_streams, m_tensor, piece, wanted, out));
    return {};
}

Status TensorReader::readMean(FlatRange wanted, std::span<std::byte> out) const
{
    const DType dtype = m_streams->checkpoint().tensor(m_tensor).dtype;
    for (std::uint64_t at = wanted.begin; at < wanted.end; at += kMeanValues) {
        const FlatRange part{at, std::min(wanted.end, at + kMeanValues)};
        const std::span<std::byte> target = out.subspan((at - wanted.begin) * m_cellBytes, part.size() * m_cellBytes);
        const auto read = [&](std::size_t index, std::span<std::byte> into) { return readSummand(index, part, into); };
        SHARDLENS_TRY(dtype == DType::F64 ? meanOf<double>(dtype, DType::F64, m_ends.size(), target, read)
                                          : meanOf<float>(dtype, DType::F32, m_ends.size(), target, read));
    }
    return {};
}

} // namespace shardlens
