#pragma once

#include "core/encoding/mindspore_ckpt.h"
#include "core/encoding/mindspore_wire.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens::mindspore {

constexpr std::size_t kMapTensors = 3; // keys, values, status
constexpr std::uint64_t kMaxTagBytes = 64 << 10;

// Message Tensor of one record (formats/mindspore.md §2.1), its dims as the file has them.
struct RawTensor {
    std::vector<std::int64_t> dims;
    std::string typeName;
    std::optional<CkptPiece> content;
};

// Message Value of one record.
struct RawRecord {
    std::string tag;
    bool hasTag = false;
    bool hasTensor = false;
    bool hasMap = false;
    RawTensor tensor;
    std::vector<RawTensor> map;
    std::uint64_t mapTensors = 0; // as many as there are; `map` keeps the first three

    [[nodiscard]] bool isMap() const { return hasMap && !hasTensor; }
};

// Reads the record whose body is [begin, end), as far as it can: what came before a failure stays in `out`. Corrupt: what breaks the wire rules, more than
// 64 dims, absurdly many fields.
Status readRecord(CkptWindow& window, std::uint64_t begin, std::uint64_t end, RawRecord& out);
// The tag of a record that the file does not hold to its end; empty where the tag is not there either.
[[nodiscard]] Result<std::string> tagOfCutRecord(CkptWindow& window, std::uint64_t begin, std::uint64_t end);

} // namespace shardlens::mindspore
