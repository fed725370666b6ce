#pragma once

#include "core/base/result.h"
#include "core/encoding/safetensors.h"
#include "core/io/byte_source.h"
#include "core/job/job_context.h"

#include <cstdint>
#include <optional>

// The checksum that MindSpore keeps in the metadata of a safetensors file (formats/mindspore.md §6.1).
namespace shardlens::mindspore {

// crc_num, where there is one that is a number.
[[nodiscard]] std::optional<std::uint64_t> storedSafetensorsCrc(const SafetensorsHeader& header);
// CRC-32 over each name and its tensor's bytes, by name; counts in the job what it reads.
[[nodiscard]] Result<std::uint32_t> safetensorsCrc(const ByteSource& source, const SafetensorsHeader& header, JobContext& job);

} // namespace shardlens::mindspore
