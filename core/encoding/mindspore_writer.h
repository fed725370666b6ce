#pragma once

#include "core/base/result.h"
#include "core/encoding/mindspore_ckpt.h"
#include "core/model/shape.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens::mindspore {

constexpr std::uint64_t kCkptPieceBytes = 536'870'912; // a longer tensor is cut into records of as many bytes

// An entry of a .ckpt file that is to be written.
struct CkptOutput {
    std::string name;
    std::string typeName;            // as stored; of a text entry anything. outputTensor() fills it
    Shape shape;                     // [] for a tensor without axes
    std::uint64_t sizeBytes = 0;     // of the values
    std::optional<std::string> text; // UTF-8: a text entry, whose bytes the layout holds
};

// Bytes that the layout gives.
struct CkptLiteral {
    std::uint64_t offset = 0; // in the file
    std::vector<std::byte> bytes;
};

// Bytes that the caller fills in.
struct CkptRun {
    std::size_t entry = 0;       // index into the outputs
    std::uint64_t offset = 0;    // in the file
    std::uint64_t firstByte = 0; // of the entry's values
    std::uint64_t length = 0;
};

// Literals and runs, each ascending, tile [0, sizeBytes).
struct CkptLayout {
    std::vector<CkptLiteral> literals;
    std::vector<CkptRun> runs; // none is empty
    std::uint64_t sizeBytes = 0;
};

// A tensor of a type that MindSpore has a name for. Refused: any other, by its name (Float8 and complex types too, which no release's loader knows), and a size
// past 2^63.
[[nodiscard]] Result<CkptOutput> outputTensor(std::string name, DType dtype, Shape shape);
[[nodiscard]] CkptOutput outputText(std::string name, std::string text);
// What was read, to be written under its name with its values as they are: strings, random_op, Int4, types that are not known. A bfloat16 is written in two bytes a
// value whatever it was. Refused: a part of a hash table, and what outputTensor() refuses.
[[nodiscard]] Result<CkptOutput> outputOf(const CkptEntry& entry);

// The records byte for byte as a synchronous save of 2.3 and later writes them (formats/mindspore.md §2.10), in the given order, without a trailer. A tensor of no
// values is one record without content. Refused: a name twice, a name or a text that is no UTF-8, an empty name, sizes past 2^63, more than kMaxCkptRecords records.
// `pieceBytes` is for tests.
[[nodiscard]] Result<CkptLayout> layOutCkpt(const std::vector<CkptOutput>& outputs, std::uint64_t pieceBytes = kCkptPieceBytes);

} // namespace shardlens::mindspore
