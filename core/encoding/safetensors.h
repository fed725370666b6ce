#pragma once

#include "core/base/result.h"
#include "core/io/byte_source.h"
#include "core/model/shape.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shardlens {

constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000; // the reference's own limit

struct SafetensorsEntry {
    std::string name;
    DType dtype{};
    Shape shape;
    std::uint64_t begin = 0; // in the data section
    std::uint64_t end = 0;
};

struct SafetensorsHeader {
    std::uint64_t dataOffset = 0;          // of the data section in the file
    std::vector<SafetensorsEntry> entries; // ascending by place in the data
    std::vector<std::pair<std::string, std::string>> metadata; // __metadata__, in file order, later duplicates winning
    std::vector<std::string> repeated;     // names that stand twice: the last counts, the specification forbids it
};

// Reads and checks a header exactly as the reference does (formats/safetensors.md §3, every row of its table). The fragment names the tensor
// and the numbers where one is at fault.
[[nodiscard]] Result<SafetensorsHeader> readSafetensorsHeader(const ByteSource& source);

// Assigns places in the reference writer's order (dtype descending, then name): `entries` come back sorted, with begin and end.
// Refused: sizes that overflow or do not fill whole bytes.
Status placeInReferenceOrder(std::vector<SafetensorsEntry>& entries);
// The first bytes of a file: length, JSON padded to a multiple of 8 (§4.1). Refused above the reference's limit and for names that are no UTF-8.
[[nodiscard]] Result<std::vector<std::byte>> safetensorsHeaderBytes(const std::vector<SafetensorsEntry>& entries,
                                                                    std::vector<std::pair<std::string, std::string>> metadata);

} // namespace shardlens
