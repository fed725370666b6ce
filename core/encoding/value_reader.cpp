#include "core/encoding/value_reader.h"

#include <algorithm>

namespace shardlens {
namespace {

constexpr std::size_t kRecentReaders = 16;

std::uint64_t cellBytesOf(DType dtype)
{
    return info(dtype).bytesPerBlock;
}

} // namespace

Result<std::shared_ptr<const TensorReader>> ValueReader::reader(TensorId tensor) const
{
    {
        const std::lock_guard lock(m_mutex);
        const auto known = std::find_if(m_recent.rbegin(), m_recent.rend(), [tensor](const auto& one) { return one->tensor() == tensor; });
        if (known != m_recent.rend())
            return *known;
    }
    SHARDLENS_ASSIGN(auto opened, TensorReader::open(m_streams, tensor));
    auto shared = std::make_shared<const TensorReader>(std::move(opened));
    const std::lock_guard lock(m_mutex);
    m_recent.push_back(shared);
    if (m_recent.size() > kRecentReaders)
        m_recent.pop_front();
    return shared;
}

Result<std::uint64_t> ValueReader::readAt(TensorId tensor, DType dtype, std::uint64_t offset, std::span<std::byte> out, CastCounts& lost) const
{
    SHARDLENS_ASSIGN(const auto from, reader(tensor));
    const DType own = m_streams.checkpoint().tensor(tensor).dtype;
    if (own == dtype) {
        SHARDLENS_TRY(from->readAt(offset, out));
        return std::uint64_t{out.size()};
    }
    // What is read may be computed from other values that are cast: each level of it has a buffer.
    thread_local std::vector<std::vector<std::byte>> spare;
    std::vector<std::byte> buffer;
    if (!spare.empty()) {
        buffer = std::move(spare.back());
        spare.pop_back();
    }
    buffer.resize(kCastBytes);
    const std::uint64_t sourceCell = cellBytesOf(own);
    const std::uint64_t targetCell = cellBytesOf(dtype);
    const std::uint64_t count = out.size() / targetCell;
    const std::uint64_t atOnce = kCastBytes / sourceCell;
    for (std::uint64_t done = 0; done < count; done += atOnce) {
        const std::uint64_t part = std::min(atOnce, count - done);
        SHARDLENS_TRY(from->readAt((offset / targetCell + done) * sourceCell, std::span(buffer).first(part * sourceCell)));
        lost += castValues(own, buffer.data(), dtype, out.data() + done * targetCell, part);
    }
    spare.push_back(std::move(buffer));
    return count * sourceCell;
}

} // namespace shardlens
