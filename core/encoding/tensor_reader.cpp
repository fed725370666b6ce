#include "core/encoding/tensor_reader.h"

#include "core/base/text.h"
#include "core/encoding/affine_read.h"
#include "core/model/coverage.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens {
namespace {

// The sentence fragment for a tensor that cannot be read whole.
Error holeError(const Checkpoint& checkpoint, TensorId tensor, const Hole& hole)
{
    std::string text = fmt::format("{}: {} of {} {}", printable(checkpoint.fullName(tensor)), regionText(viewOf(hole.region)),
                                   shapeText(checkpoint.tensor(tensor).shape), std::holds_alternative<FlatRange>(hole.region) ? "are missing" : "is missing");
    if (!hole.expected)
        return {ErrorCode::Refused, text + ", and no file in this checkpoint holds them"};
    const Piece piece = checkpoint.pieces().at(*hole.expected);
    const Stream& stream = checkpoint.stream(piece.source.stream);
    if (const auto rank = checkpoint.rankOfPiece(piece))
        text += fmt::format("; rank {} should hold them", *rank);
    if (stream.file != kNoFile) {
        const File& file = checkpoint.file(stream.file);
        text += fmt::format("; {} {}", printable(file.name), file.state == File::State::Missing ? "is not in the folder" : "cannot be read");
    }
    return {ErrorCode::Refused, std::move(text)};
}

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
        return holeError(checkpoint, tensor, coverage.holes.front());
    }
    return reader;
}

Status TensorReader::readAt(std::uint64_t offset, std::span<std::byte> out) const
{
    if (offset % m_cellBytes != 0 || out.size() % m_cellBytes != 0 || offset > m_sizeBytes || out.size() > m_sizeBytes - offset)
        return Error{ErrorCode::Refused, fmt::format("bytes {} to {} of {}, in steps of {}", offset, offset + out.size(), m_sizeBytes, m_cellBytes)};
    const Checkpoint& checkpoint = m_streams->checkpoint();
    const FlatRange wanted{offset / m_cellBytes, (offset + out.size()) / m_cellBytes};
    auto segment = std::upper_bound(m_segments.begin(), m_segments.end(), wanted.begin,
                                    [](std::uint64_t cell, const Segment& one) { return cell < one.cells.end; });
    for (; segment != m_segments.end() && segment->cells.begin < wanted.end; ++segment) {
        const FlatRange part = intersect(segment->cells, wanted);
        const Piece piece = checkpoint.pieces().at(segment->piece);
        SHARDLENS_ASSIGN(const auto source, m_streams->source(piece.source.stream));
        const AddressMap from = piece.addresses(m_units, m_cellBytes);
        const AddressMap to = AddressMap::dense(part, m_units, (part.begin - wanted.begin) * m_cellBytes, m_cellBytes);
        const AffineTarget target{out, m_cellBytes, checkpoint.tensor(m_tensor).dtype, piece.source.flags};
        Status status;
        forEachCopy(piece.region, from, part, to, m_units, [&](const AffineCopy& copy) {
            if (status)
                status = readAffine(*source, copy, target);
        });
        if (!status) {
            const FileId file = checkpoint.stream(piece.source.stream).file;
            const std::string place = file == kNoFile ? std::string{} : printable(checkpoint.file(file).name);
            return status.takeError().within(printable(checkpoint.fullName(m_tensor))).within(place);
        }
    }
    return {};
}

} // namespace shardlens
