#pragma once

#include "core/encoding/tensor_reader.h"
#include "core/numeric/cast.h"

#include <deque>
#include <memory>
#include <mutex>
#include <span>

namespace shardlens {

// Values of a checkpoint's tensors in the dtype that somebody wants them in. Tensors that are read in several parts are looked up once while they are
// among the last few. Safe from several threads; holds a cast buffer of at most kCastBytes a thread.
class ValueReader {
public:
    static constexpr std::size_t kCastBytes = 256u << 10;

    explicit ValueReader(CheckpointPtr checkpoint) : m_streams(std::move(checkpoint)) {}

    [[nodiscard]] const Checkpoint& checkpoint() const { return m_streams.checkpoint(); }
    // Bytes [offset, offset + out.size()) of the tensor's values as `dtype`; whole values only. Adds what a cast lost to `lost`, and returns the source bytes read.
    Result<std::uint64_t> readAt(TensorId tensor, DType dtype, std::uint64_t offset, std::span<std::byte> out, CastCounts& lost) const;

private:
    [[nodiscard]] Result<std::shared_ptr<const TensorReader>> reader(TensorId tensor) const;

    StreamSet m_streams;
    mutable std::mutex m_mutex;
    mutable std::deque<std::shared_ptr<const TensorReader>> m_recent;
};

} // namespace shardlens
