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

constexpr std::uint64_t kMeanValues = 1u << 14; // at a time: three buffers of a thread stay in its cache

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

std::string scatteredText(const Checkpoint& checkpoint, TensorId tensor)
{
    return fmt::format("{}: its pieces are scattered over more places than can be gone through", printable(checkpoint.fullName(tensor)));
}

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
    return text + fmt::format("; {} is there and does not hold them", printable(file.name));
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
    const Shape units = unitShape(owner.shape, owner.dtype);
    for (const std::vector<PieceId>& pieces : summandsOf(checkpoint, tensor)) {
        reader.m_summands.push_back(bandsOf(checkpoint, pieces, units));
        if (reader.m_summands.back().complete)
            continue;
        const Coverage coverage = coverageOf(checkpoint, tensor, 1);
        if (coverage.scattered || coverage.holes.empty())
            return Error{ErrorCode::LimitExceeded, scatteredText(checkpoint, tensor)};
        return Error{ErrorCode::Refused, holeText(checkpoint, tensor, coverage.holes.front())};
    }
    if (reader.m_summands.size() > 1 && !canCast(owner.dtype, DType::F64))
        return Error{ErrorCode::Unsupported, fmt::format("{}: no mean is made of {} values", printable(checkpoint.fullName(tensor)), nameOf(owner.dtype))};
    return reader;
}

void TensorReader::forEachPiece(const std::function<void(PieceId piece, std::uint64_t cells)>& visit) const
{
    for (const PieceBands& bands : m_summands)
        for (const PieceBands::Part& part : bands.parts)
            visit(part.piece, part.cells);
}

Status TensorReader::readAt(std::uint64_t offset, std::span<std::byte> out) const
{
    if (offset % m_cellBytes != 0 || out.size() % m_cellBytes != 0 || offset > m_sizeBytes || out.size() > m_sizeBytes - offset)
        return Error{ErrorCode::Refused, fmt::format("bytes {} to {} of {}, in steps of {}", offset, offset + out.size(), m_sizeBytes, m_cellBytes)};
    const FlatRange wanted{offset / m_cellBytes, (offset + out.size()) / m_cellBytes};
    return m_summands.size() == 1 ? readSummand(m_summands.front(), wanted, out) : readMean(wanted, out);
}

// Each piece is read for all rows at once, the last first: where several hold a cell, the first has the last word.
Status TensorReader::readSummand(const PieceBands& bands, FlatRange wanted, std::span<std::byte> out) const
{
    auto band = std::upper_bound(bands.bands.begin(), bands.bands.end(), wanted.begin, [](std::uint64_t cell, const PieceBands::Band& one) { return cell < one.cells.end; });
    for (; band != bands.bands.end() && band->cells.begin < wanted.end; ++band) {
        const FlatRange cells = intersect(band->cells, wanted);
        const std::span<std::byte> target = out.subspan((cells.begin - wanted.begin) * m_cellBytes, cells.size() * m_cellBytes);
        const std::span<const PieceBands::Part> parts = bands.of(*band);
        for (auto part = parts.rbegin(); part != parts.rend(); ++part)
            SHARDLENS_TRY(readPiece(*m_streams, m_tensor, part->piece, cells, target));
    }
    return {};
}

Status TensorReader::readMean(FlatRange wanted, std::span<std::byte> out) const
{
    const DType dtype = m_streams->checkpoint().tensor(m_tensor).dtype;
    for (std::uint64_t at = wanted.begin; at < wanted.end; at += kMeanValues) {
        const FlatRange part{at, std::min(wanted.end, at + kMeanValues)};
        const std::span<std::byte> target = out.subspan((at - wanted.begin) * m_cellBytes, part.size() * m_cellBytes);
        const auto read = [&](std::size_t index, std::span<std::byte> into) { return readSummand(m_summands[index], part, into); };
        SHARDLENS_TRY(dtype == DType::F64 ? meanOf<double>(dtype, DType::F64, m_summands.size(), target, read)
                                          : meanOf<float>(dtype, DType::F32, m_summands.size(), target, read));
    }
    return {};
}

} // namespace shardlens
