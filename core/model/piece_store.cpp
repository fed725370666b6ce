#include "core/model/piece_store.h"

#include <algorithm>
#include <cassert>

namespace shardlens {
namespace {

constexpr std::uint8_t kBox = 1;
constexpr std::uint8_t kStrided = 2;
constexpr std::uint8_t kBigEndian = 4;
constexpr std::uint8_t kConjugate = 8;
constexpr std::uint8_t kNegate = 16;

std::uint8_t packed(const SourceFlags& flags)
{
    return static_cast<std::uint8_t>((flags.bigEndian ? kBigEndian : 0) | (flags.conjugate ? kConjugate : 0) | (flags.negate ? kNegate : 0));
}

template <typename T>
std::vector<T> permuted(const std::vector<T>& column, const std::vector<std::uint32_t>& from)
{
    std::vector<T> out;
    out.reserve(column.size());
    for (const std::uint32_t row : from)
        out.push_back(column[row]);
    return out;
}

} // namespace

AddressMap Piece::addresses(ShapeView units, std::uint64_t cellBytes) const
{
    if (source.strides.empty())
        return AddressMap::dense(region, units, source.offset, cellBytes);
    return AddressMap::strided(std::get<BoxView>(region), source.strides, source.offset);
}

std::uint64_t Piece::spanBytes(std::uint64_t cellBytes) const
{
    const std::uint64_t volume = volumeOf(region);
    if (source.strides.empty() || volume == 0)
        return volume * cellBytes;
    std::uint64_t last = 0;
    const auto& box = std::get<BoxView>(region);
    for (std::size_t axis = 0; axis < box.extent.size(); ++axis)
        last += (box.extent[axis] - 1) * static_cast<std::uint64_t>(source.strides[axis]);
    return last + cellBytes;
}

Piece PieceStore::at(PieceId id) const
{
    const std::size_t row = indexOf(id);
    Piece out;
    out.id = id;
    out.holder = m_holder[row];
    const std::uint8_t flags = m_flags[row];
    out.source.stream = m_stream[row];
    out.source.offset = m_offset[row];
    out.source.flags = {(flags & kBigEndian) != 0, (flags & kConjugate) != 0, (flags & kNegate) != 0};
    if ((flags & kBox) == 0) {
        out.region = FlatRange{m_begin[row], m_end[row]};
        return out;
    }
    const std::uint64_t* pool = m_pool.data() + m_begin[row];
    const std::size_t rank = m_end[row];
    out.region = BoxView{{pool, rank}, {pool + rank, rank}};
    if ((flags & kStrided) != 0)
        out.source.strides = {reinterpret_cast<const std::int64_t*>(pool + 2 * rank), rank};
    return out;
}

TensorId PieceStore::tensorOf(PieceId id) const
{
    const auto after = std::upper_bound(m_firstOfTensor.begin(), m_firstOfTensor.end(), static_cast<std::uint32_t>(indexOf(id)));
    return idAt<TensorId>(static_cast<std::size_t>(after - m_firstOfTensor.begin()) - 1);
}

std::uint64_t PieceStore::bytesUsed() const
{
    return m_begin.size() * (3 * sizeof(std::uint64_t) + sizeof(StreamId) + sizeof(HolderId) + 1) + m_pool.size() * sizeof(std::uint64_t);
}

PieceStoreBuilder::PieceStoreBuilder(const PieceStore& rows) : m_rows(rows)
{
    m_tensor.reserve(rows.size());
    for (std::size_t tensor = 0; tensor + 1 < rows.m_firstOfTensor.size(); ++tensor)
        m_tensor.insert(m_tensor.end(), rows.countOf(idAt<TensorId>(tensor)), idAt<TensorId>(tensor));
}

void PieceStoreBuilder::reserve(std::size_t pieces)
{
    m_tensor.reserve(pieces);
    m_rows.m_begin.reserve(pieces);
    m_rows.m_end.reserve(pieces);
    m_rows.m_offset.reserve(pieces);
    m_rows.m_stream.reserve(pieces);
    m_rows.m_holder.reserve(pieces);
    m_rows.m_flags.reserve(pieces);
}

void PieceStoreBuilder::add(TensorId tensor, const RegionView& region, const Placement& placement, std::span<const std::int64_t> strides)
{
    std::uint8_t flags = packed(placement.flags);
    m_tensor.push_back(tensor);
    if (const auto* flat = std::get_if<FlatRange>(&region)) {
        assert(strides.empty());
        m_rows.m_begin.push_back(flat->begin);
        m_rows.m_end.push_back(flat->end);
    } else {
        const auto& box = std::get<BoxView>(region);
        assert(strides.empty() || strides.size() == box.offset.size());
        flags = static_cast<std::uint8_t>(flags | kBox | (strides.empty() ? 0 : kStrided));
        m_rows.m_begin.push_back(m_rows.m_pool.size());
        m_rows.m_end.push_back(box.offset.size());
        m_rows.m_pool.insert(m_rows.m_pool.end(), box.offset.begin(), box.offset.end());
        m_rows.m_pool.insert(m_rows.m_pool.end(), box.extent.begin(), box.extent.end());
        for (const std::int64_t stride : strides)
            m_rows.m_pool.push_back(static_cast<std::uint64_t>(stride));
    }
    m_rows.m_offset.push_back(placement.offset);
    m_rows.m_stream.push_back(placement.stream);
    m_rows.m_holder.push_back(placement.holder);
    m_rows.m_flags.push_back(flags);
}

PieceStore PieceStoreBuilder::finish(std::size_t tensorCount) &&
{
    PieceStore& rows = m_rows;
    rows.m_firstOfTensor.assign(tensorCount + 1, 0);
    for (const TensorId tensor : m_tensor)
        ++rows.m_firstOfTensor[indexOf(tensor) + 1];
    for (std::size_t i = 0; i < tensorCount; ++i)
        rows.m_firstOfTensor[i + 1] += rows.m_firstOfTensor[i];
    if (!std::is_sorted(m_tensor.begin(), m_tensor.end())) {
        std::vector<std::uint32_t> next(rows.m_firstOfTensor.begin(), rows.m_firstOfTensor.end() - 1);
        std::vector<std::uint32_t> from(m_tensor.size());
        for (std::size_t row = 0; row < m_tensor.size(); ++row)
            from[next[indexOf(m_tensor[row])]++] = static_cast<std::uint32_t>(row);
        rows.m_begin = permuted(rows.m_begin, from);
        rows.m_end = permuted(rows.m_end, from);
        rows.m_offset = permuted(rows.m_offset, from);
        rows.m_stream = permuted(rows.m_stream, from);
        rows.m_holder = permuted(rows.m_holder, from);
        rows.m_flags = permuted(rows.m_flags, from);
    }
    return std::move(m_rows);
}

} // namespace shardlens
