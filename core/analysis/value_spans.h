#pragma once

#include "core/model/checkpoint.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace shardlens {

// A part of the work on many tensors: cells [begin, end) of item number `item`.
struct ValueSpan {
    std::size_t item = 0;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

// What one thread takes on at once.
constexpr std::uint64_t kSpanBytes = 32u << 20;
// What it reads at once: stays in the caches between the read and the arithmetic.
constexpr std::uint64_t kReadBytes = 256u << 10;

// Of a tensor that does not lie in row-major order: each read costs a visit to all of its stored rows.
constexpr std::uint64_t kStridedReadBytes = 8u << 20;

// `dense`, or kStridedReadBytes where a piece of the tensor has strides.
[[nodiscard]] std::uint64_t readBytesOf(const Checkpoint& checkpoint, TensorId tensor, std::uint64_t dense);

// Cuts `cells` of `cellBytes` each into spans of about kSpanBytes. One span, empty, where there are no cells.
void appendSpans(std::size_t item, std::uint64_t cells, std::uint64_t cellBytes, std::vector<ValueSpan>& out);

// Working memory that threads borrow, so that it is allocated once a thread and not once a tensor. Safe from several threads.
template <typename T>
class ScratchPool {
public:
    [[nodiscard]] std::unique_ptr<T> take()
    {
        const std::lock_guard lock(m_mutex);
        if (m_free.empty())
            return std::make_unique<T>();
        std::unique_ptr<T> out = std::move(m_free.back());
        m_free.pop_back();
        return out;
    }
    void give(std::unique_ptr<T> scratch)
    {
        const std::lock_guard lock(m_mutex);
        m_free.push_back(std::move(scratch));
    }

private:
    std::mutex m_mutex;
    std::vector<std::unique_ptr<T>> m_free;
};

} // namespace shardlens
