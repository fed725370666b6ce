#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace shardlens {

// Numbers of things in one Checkpoint: positions in its tables, meaningless outside it, never interchangeable.
enum class TensorId : std::uint32_t {};
enum class ParameterId : std::uint32_t {};
enum class RoleId : std::uint16_t {};
enum class FileId : std::uint32_t {};
enum class StreamId : std::uint32_t {};
enum class HolderId : std::uint32_t {};
enum class PieceId : std::uint32_t {};

template <typename Id>
constexpr std::size_t indexOf(Id id)
{
    return static_cast<std::size_t>(id);
}

// `index` must fit the id; tables are limited to 2³²−1 rows by their builders.
template <typename Id>
constexpr Id idAt(std::size_t index)
{
    return static_cast<Id>(index);
}

constexpr FileId kNoFile{std::numeric_limits<std::uint32_t>::max()};
constexpr TensorId kNoTensor{std::numeric_limits<std::uint32_t>::max()};

} // namespace shardlens
