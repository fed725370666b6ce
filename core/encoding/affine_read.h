#pragma once

#include "core/base/result.h"
#include "core/io/byte_source.h"
#include "core/model/affine.h"
#include "core/model/piece_store.h"

#include <span>

namespace shardlens {

// Where an AffineCopy lands: a buffer in which its target addresses count bytes, and what its cells are.
struct AffineTarget {
    std::span<std::byte> bytes;
    std::uint64_t cellBytes;
    DType dtype;
    SourceFlags flags; // undone while copying: the target holds plain little-endian values
};

// Copies cells from the source (addresses in bytes) to the target. Runs that lie close together in the source are read as one span and scattered.
[[nodiscard]] Status readAffine(const ByteSource& source, const AffineCopy& copy, const AffineTarget& target);

// Brings values stored with `flags` to plain little-endian values, in place.
void makePlain(std::span<std::byte> values, DType dtype, const SourceFlags& flags);

} // namespace shardlens
