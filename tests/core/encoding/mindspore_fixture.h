#pragma once

#include "core/encoding/mindspore_ckpt.h"
#include "core/encoding/mindspore_writer.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::test {

// Bytes of protobuf messages, by hand.
[[nodiscard]] std::string pbVarint(std::uint64_t value);
[[nodiscard]] std::string pbBytes(int field, std::string_view bytes);
[[nodiscard]] std::string pbNumber(int field, std::uint64_t value);

// The parts of a message Tensor, in the writers' order.
[[nodiscard]] std::string ckptTensor(const std::vector<std::int64_t>& dims, std::string_view type, std::string_view content);
// A whole record with a tensor in it.
[[nodiscard]] std::string ckptRecord(std::string_view tag, std::string_view tensor);
[[nodiscard]] std::string ckptMapRecord(std::string_view tag, const std::vector<std::string>& tensors);
[[nodiscard]] std::string ckptTrailer(std::string_view content);

// formats/mindspore.md §7.1: w, b, step, note.
[[nodiscard]] std::string ckptOfFour();
[[nodiscard]] std::string ckptMapOfEmb(); // emb

// A line for each entry, lost parameter and note; "Corrupt: fragment" for a refusal. Values in hexadecimal, read where the entry says.
[[nodiscard]] std::string shownCkpt(std::string_view bytes);
[[nodiscard]] std::string ckptValues(std::string_view file, const mindspore::CkptEntry& entry);
// A layout with `values(entry)` in its runs.
[[nodiscard]] std::string filledLayout(const mindspore::CkptLayout& layout, const std::function<std::string(std::size_t)>& values);

} // namespace shardlens::test
