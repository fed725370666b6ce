#pragma once

#include "core/base/result.h"
#include "core/encoding/recent_sources.h"
#include "core/io/byte_source.h"
#include "core/job/job_context.h"
#include "core/model/checkpoint.h"
#include "core/model/piece_bands.h"

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace shardlens {

// Opens the streams of a checkpoint on demand and keeps those used last: as many files as the process may have open, less some for others, and 1 GiB of
// decoded members. Safe from several threads.
// Refuses a file whose size or time is no longer what the checkpoint was opened with (Io, "changed since it was opened").
class StreamSet {
public:
    explicit StreamSet(CheckpointPtr checkpoint);

    [[nodiscard]] const Checkpoint& checkpoint() const { return *m_checkpoint; }
    // The source whose offsets a piece of this stream counts in; NotFound for a Missing stream, with the file's name.
    [[nodiscard]] Result<std::shared_ptr<const ByteSource>> source(StreamId stream) const;

private:
    [[nodiscard]] std::shared_ptr<const ByteSource> known(StreamId stream) const;
    [[nodiscard]] Result<std::shared_ptr<const ByteSource>> openStream(const Stream& stream) const;

    CheckpointPtr m_checkpoint;
    mutable std::mutex m_mutex;
    mutable RecentSources m_files;                 // each costs a descriptor
    mutable RecentSources m_decoded;               // each costs its bytes
    mutable std::array<std::mutex, 16> m_decoding; // by stream: one decodes a member, others wait
};

// Reads those cells of `part` that one piece holds, each into its place in `out`, which has room for all of `part`: plain little-endian values in row-major order.
[[nodiscard]] Status readPiece(const StreamSet& streams, TensorId tensor, PieceId piece, FlatRange part, std::span<std::byte> out);
// "NAME: its pieces are scattered …": where nobody can say whether it has holes.
[[nodiscard]] std::string scatteredText(const Checkpoint& checkpoint, TensorId tensor);
// "NAME: elements 0 to 4 of [2, 3] are missing; rank 1 should hold them; FILE is not in the folder": a fragment.
[[nodiscard]] std::string holeText(const Checkpoint& checkpoint, TensorId tensor, const struct Hole& hole);

// Reads logical tensors: little-endian values in row-major order, whatever pieces they lie in.
// Replicas: the first piece that holds a cell counts. Of a mean (Combine::Average) the ranks' values are added in rank order, as floats (doubles for F64),
// divided by their number and rounded to the tensor's dtype (formats/deepspeed.md §14.4). A hole is an error that names tensor, region, rank and file.
// Safe from several threads. The StreamSet must outlive it.
class TensorReader {
public:
    // Finds for every cell the piece it is read from (core/model/piece_bands.h). Fails with a hole.
    [[nodiscard]] static Result<TensorReader> open(const StreamSet& streams, TensorId tensor);

    [[nodiscard]] TensorId tensor() const { return m_tensor; }
    [[nodiscard]] std::uint64_t sizeBytes() const { return m_sizeBytes; }
    // Bytes [offset, offset + out.size()) of the tensor's values; both must be multiples of cellBytes().
    Status readAt(std::uint64_t offset, std::span<std::byte> out) const;
    [[nodiscard]] std::uint64_t cellBytes() const { return m_cellBytes; }

    // Calls visit with each piece that values are taken from and how many, some pieces more than once; of a mean those of every rank.
    void forEachPiece(const std::function<void(PieceId piece, std::uint64_t cells)>& visit) const;

private:
    explicit TensorReader(const StreamSet& streams, TensorId tensor) : m_streams(&streams), m_tensor(tensor) {}

    Status readSummand(const PieceBands& bands, FlatRange wanted, std::span<std::byte> out) const;
    Status readMean(FlatRange wanted, std::span<std::byte> out) const;

    const StreamSet* m_streams;
    TensorId m_tensor;
    std::uint64_t m_sizeBytes = 0;
    std::uint64_t m_cellBytes = 1;
    std::vector<PieceBands> m_summands; // one where it is no mean
};

} // namespace shardlens
