#include "core/encoding/affine_read.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace shardlens {
namespace {

constexpr std::uint64_t kLargestSpan = 1u << 20; // of source bytes read at once for scattered cells
constexpr std::uint64_t kSparseFactor = 8;       // a span may hold this many times the bytes that are wanted
constexpr std::int64_t kCheapGap = 2048;         // bytes that are sooner read than passed over by another call
constexpr std::uint64_t kLongRun = 32u << 10;    // a run of this length is read into its place, whatever lies beside it

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

// Bytes of the source that are wanted: what a step of 0 repeats counts once.
std::uint64_t distinctBytes(std::span<const AffineCopy::Dim> dims, std::uint64_t cell)
{
    std::uint64_t bytes = cell;
    for (const AffineCopy::Dim& dim : dims)
        bytes *= dim.sourceStride == 0 ? 1 : dim.count;
    return bytes;
}

bool hasCheapGaps(std::span<const AffineCopy::Dim> dims, std::uint64_t cell)
{
    for (std::size_t i = 0; i < dims.size(); ++i)
        if (dims[i].sourceStride - static_cast<std::int64_t>(extentOf(dims.subspan(i + 1), cell)) > kCheapGap)
            return false;
    return true;
}

// Whether one read of everything between the first and the last wanted byte is small and pays.
bool readsAsOne(std::span<const AffineCopy::Dim> dims, std::uint64_t cell)
{
    const std::uint64_t extent = extentOf(dims, cell);
    return extent <= kLargestSpan && (extent / kSparseFactor <= distinctBytes(dims, cell) || hasCheapGaps(dims, cell));
}

// How many steps of the outermost dimension to read as one span; 1 where each is better read by itself.
std::uint64_t stepsOfSpan(std::span<const AffineCopy::Dim> dims, std::uint64_t cell)
{
    const AffineCopy::Dim& outer = dims[0];
    const std::uint64_t inner = extentOf(dims.subspan(1), cell);
    const bool isLongRun = isRun(dims.subspan(1), cell) && inner >= kLongRun;
    if (outer.sourceStride == 0 || inner > kLargestSpan || isLongRun)
        return 1;
    std::vector<AffineCopy::Dim> block(dims.begin(), dims.end());
    block[0].count = std::min(outer.count, 1 + (kLargestSpan - inner) / static_cast<std::uint64_t>(outer.sourceStride));
    return readsAsOne(block, cell) ? block[0].count : 1;
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

Status readSpan(const Walk& walk, std::span<const AffineCopy::Dim> dims, std::int64_t source, std::int64_t target)
{
    thread_local std::vector<std::byte> span;
    const std::uint64_t extent = extentOf(dims, walk.out.cellBytes);
    span.resize(std::max<std::size_t>(span.size(), extent));
    SHARDLENS_TRY(walk.file.readAt(static_cast<std::uint64_t>(source), std::span(span).first(extent)));
    place(walk, dims, span.data(), target);
    return {};
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
    if (readsAsOne(dims, cell))
        return readSpan(walk, dims, source, target);
    const AffineCopy::Dim outer = dims[0];
    const std::uint64_t steps = stepsOfSpan(dims, cell);
    std::vector<AffineCopy::Dim> block(steps > 1 ? dims.begin() : dims.end(), dims.end());
    for (std::uint64_t i = 0; i < outer.count; i += steps) {
        const std::int64_t from = source + static_cast<std::int64_t>(i) * outer.sourceStride;
        const std::int64_t to = target + static_cast<std::int64_t>(i) * outer.targetStride;
        if (steps == 1) {
            SHARDLENS_TRY(walkFrom(walk, dims.subspan(1), from, to));
            continue;
        }
        block[0].count = std::min(steps, outer.count - i);
        SHARDLENS_TRY(readSpan(walk, block, from, to));
    }
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
    // matrix is read in stretches of its stored rows, not cell by cell. What repeats (a step of 0) repeats whole runs, so it is outermost.
    const auto longer = [](const AffineCopy::Dim& a, const AffineCopy::Dim& b) {
        return b.sourceStride != 0 && (a.sourceStride == 0 || a.sourceStride > b.sourceStride);
    };
    if (std::is_sorted(copy.dims.begin(), copy.dims.end(), longer))
        return walkFrom({source, target, copy.dims}, copy.dims, copy.source, copy.target);
    std::vector<AffineCopy::Dim> dims = copy.dims;
    std::stable_sort(dims.begin(), dims.end(), longer);
    return walkFrom({source, target, dims}, dims, copy.source, copy.target);
}

} // namespace shardlens
