#include "core/encoding/tensor_reader.h"

#include "core/base/text.h"
#include "core/encoding/affine_read.h"
#include "core/model/coverage.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens {
namespace {

struct Run {
    FlatRange cells;
    PieceId piece;
};

std::vector<Run> presentRuns(const Checkpoint& checkpoint, TensorId tensor, ShapeView units)
{
    const PieceStore& pieces = checkpoint.pieces();
    std::vector<Run> runs;
    runs.reserve(pieces.countOf(tensor));
    for (std::size_t row = pieces.firstOf(tensor); row < pieces.lastOf(tensor); ++row) {
        const Piece piece = pieces.at(idAt<PieceId>(row));
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
    const std::uint64_t cells = reader.m_sizeBytes / reader.m_cellBytes;
    std::uint64_t covered = 0;
    for (const Run& run : presentRuns(checkpoint, tensor, reader.m_units)) {
        if (run.cells.begin > covered)
            break;
        if (run.cells.end <= covered)
            continue;
        const bool continues = !reader.m_segments.empty() && reader.m_segments.back().piece == run.piece;
        if (continues)
            reader.m_segments.back().cells.end = run.cells.end;
        else
            reader.m_segments.push_back({{covered, run.cells.end}, run.piece});
        covered = run.cells.end;
    }
    if (covered < cells) {
        const Coverage coverage = coverageOf(checkpoint, tensor, 1);
        return Error{ErrorCode::Refused, holeText(checkpoint, tensor, coverage.holes.front())};
    }
    return reader;
}

Status TensorReader::readAt(std::uint64_t offset, std::span<std::byte> out) const
{
    if (offset % m_cellBytes != 0 || out.size() % m_cellBytes != 0 || offset > m_sizeBytes || out.size() > m_sizeBytes - offset)
        return Error{ErrorCode::Refused, fmt::format("bytes {} to {} of {}, in steps of {}", offset, offset + out.size(), m_sizeBytes, m_cellBytes)};
    const FlatRange wanted{offset / m_cellBytes, (offset + out.size()) / m_cellBytes};
    auto segment = std::upper_bound(m_segments.begin(), m_segments.end(), wanted.begin,
                                    [](std::uint64_t cell, const Segment& one) { return cell < one.cells.end; });
    for (; segment != m_segments.end() && segment->cells.begin < wanted.end; ++segment) {
        const FlatRange part = intersect(segment->cells, wanted);
        const std::span<std::byte> target = out.subspan((part.begin - wanted.begin) * m_cellBytes, part.size() * m_cellBytes);
        SHARDLENS_TRY(readPiece(*m_streams, m_tensor, segment->piece, part, target));
    }
    return {};
}

} // namespace shardlens
