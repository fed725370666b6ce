#include "core/encoding/affine_read.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace shardlens {
namespace {

constexpr std::uint64_t kLargestSpan = 1u << 20; // of source bytes read at once for scattered cells
constexpr std::uint64_t kSparseFactor = 8;       // a span may hold this many times the bytes that are wanted

// The copy from one dimension on; `source` and `target` are advanced by the loops outside it.
struct Walk {
    const ByteSource& file;
    const AffineTarget& out;
    std::span<const AffineCopy::Dim> dims;
};

std::uint64_t extentOf(std::span<const AffineCopy::Dim> dims, std::uint64_t cell)
{
    std::uint64_t last = 0;
    for (const AffineCopy::Dim& dim : dims)
        last += (dim.count - 1) * static_cast<std::uint64_t>(dim.sourceStride);
    return last + cell;
}

std::uint64_t wantedBytes(std::span<const AffineCopy::Dim> dims, std::uint64_t cell)
{
    std::uint64_t bytes = cell;
    for (const AffineCopy::Dim& dim : dims)
        bytes *= dim.count;
    return bytes;
}

bool isRun(std::span<const AffineCopy::Dim> dims, std::uint64_t cell)
{
    const auto step = static_cast<std::int64_t>(cell);
    return dims.empty() || (dims.size() == 1 && dims[0].sourceStride == step && dims[0].targetStride == step);
}

void place(const Walk& walk, std::span<const AffineCopy::Dim> dims, const std::byte* from, std::int64_t target)
{
    const std::uint64_t cell = walk.out.cellBytes;
    if (isRun(dims, cell)) {
        const std::span<std::byte> to = walk.out.bytes.subspan(static_cast<std::size_t>(target), wantedBytes(dims, cell));
        std::memcpy(to.data(), from, to.size());
        if (!walk.out.flags.plain())
            makePlain(to, walk.out.dtype, walk.out.flags);
        return;
    }
    for (std::uint64_t i = 0; i < dims[0].count; ++i)
        place(walk, dims.subspan(1), from + static_cast<std::int64_t>(i) * dims[0].sourceStride, target + static_cast<std::int64_t>(i) * dims[0].targetStride);
}

Status walkFrom(const Walk& walk, std::span<const AffineCopy::Dim> dims, std::int64_t source, std::int64_t target)
{
    const std::uint64_t cell = walk.out.cellBytes;
    if (isRun(dims, cell)) {
        const std::span<std::byte> to = walk.out.bytes.subspan(static_cast<std::size_t>(target), wantedBytes(dims, cell));
        SHARDLENS_TRY(walk.file.readAt(static_cast<std::uint64_t>(source), to));
        if (!walk.out.flags.plain())
            makePlain(to, walk.out.dtype, walk.out.flags);
        return {};
    }
    const std::uint64_t extent = extentOf(dims, cell);
    if (extent <= kLargestSpan && extent / kSparseFactor <= wantedBytes(dims, cell)) {
        thread_local std::vector<std::byte> span;
        span.resize(std::max<std::size_t>(span.size(), extent));
        SHARDLENS_TRY(walk.file.readAt(static_cast<std::uint64_t>(source), std::span(span).first(extent)));
        place(walk, dims, span.data(), target);
        return {};
    }
    for (std::uint64_t i = 0; i < dims[0].count; ++i)
        SHARDLENS_TRY(walkFrom(walk, dims.subspan(1), source + static_cast<std::int64_t>(i) * dims[0].sourceStride,
                               target + static_cast<std::int64_t>(i) * dims[0].targetStride));
    return {};
}

// Bytes of what is swapped and negated as one number.
std::size_t numberBytes(DType dtype)
{
    const DTypeInfo& known = info(dtype);
    if (known.valuesPerBlock != 1)
        return 1;
    return known.kind == DTypeKind::Complex ? known.bytesPerBlock / 2u : known.bytesPerBlock;
}

void flipSign(std::byte* number, std::size_t bytes)
{
    number[bytes - 1] ^= std::byte{0x80}; // little-endian: the sign is in the last byte
}

} // namespace

void makePlain(std::span<std::byte> values, DType dtype, const SourceFlags& flags)
{
    const std::size_t bytes = numberBytes(dtype);
    if (flags.bigEndian && bytes > 1)
        for (std::size_t at = 0; at + bytes <= values.size(); at += bytes)
            std::reverse(values.begin() + static_cast<std::ptrdiff_t>(at), values.begin() + static_cast<std::ptrdiff_t>(at + bytes));
    if (flags.negate && info(dtype).kind != DTypeKind::Integer)
        for (std::size_t at = 0; at + bytes <= values.size(); at += bytes)
            flipSign(values.data() + at, bytes);
    if (flags.conjugate && info(dtype).kind == DTypeKind::Complex)
        for (std::size_t at = 0; at + 2 * bytes <= values.size(); at += 2 * bytes)
            flipSign(values.data() + at + bytes, bytes);
}

Status readAffine(const ByteSource& source, const AffineCopy& copy, const AffineTarget& target)
{
    // The loops may be nested in any order. With the longest steps through the source outside, what the inner ones want lies close together: a transposed
    // matrix is read in stretches of its stored rows, not cell by cell.
    const auto longer = [](const AffineCopy::Dim& a, const AffineCopy::Dim& b) { return a.sourceStride > b.sourceStride; };
    if (std::is_sorted(copy.dims.begin(), copy.dims.end(), longer))
        return walkFrom({source, target, copy.dims}, copy.dims, copy.source, copy.target);
    std::vector<AffineCopy::Dim> dims = copy.dims;
    std::stable_sort(dims.begin(), dims.end(), longer);
    return walkFrom({source, target, dims}, dims, copy.source, copy.target);
}

} // namespace shardlens
