#include "core/model/checkpoint.h"

#include <limits>

namespace shardlens {

std::string Checkpoint::fullName(TensorId id) const
{
    const Role& role = roleOf(id);
    switch (role.kind) {
    case RoleKind::Weight:
    case RoleKind::Buffer:
    case RoleKind::Other: return parameterOf(id);
    case RoleKind::Module: return parameterOf(id) + "/module";
    case RoleKind::OptimizerState: return parameterOf(id) + "/" + role.name;
    }
    return parameterOf(id);
}

std::uint64_t Checkpoint::bytesOf(TensorId id) const
{
    const Tensor& one = tensor(id);
    const auto values = elementCount(one.shape);
    const auto bytes = values ? shardlens::bytesOf(one.dtype, *values) : std::nullopt;
    return bytes.value_or(std::numeric_limits<std::int64_t>::max()); // refused by the builder: never taken for an empty tensor
}

std::uint64_t Checkpoint::totalFileBytes() const
{
    std::uint64_t total = 0;
    for (const File& one : m_files)
        total += one.size;
    return total;
}

std::optional<std::uint32_t> Checkpoint::rankOfPiece(const Piece& piece) const
{
    if (const auto rank = m_topology.rankOf(holder(piece.holder)); rank && !m_topology.axes.empty())
        return rank;
    const Stream& from = stream(piece.source.stream);
    return from.file == kNoFile ? std::nullopt : file(from.file).rank;
}

} // namespace shardlens
