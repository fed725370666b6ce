#pragma once

#include "core/encoding/pickle/graph.h"
#include "core/layout/rule_set.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace shardlens {

// What Megatron's `args` (a Namespace, or a dictionary) say: numbers, texts and flags under their names, and what follows from them: gating has several
// spellings ("swiglu"), Mamba's widths are products (formats/megatron.md §4.3).
[[nodiscard]] Facts megatronFacts(pickle::Value args);
// A value as facts have it: "true", "3", "0.5", text; nothing for others.
[[nodiscard]] std::optional<std::string> factText(pickle::Value value);
// Head and embedding are one tensor: the default of Megatron's arguments.
[[nodiscard]] bool hasTiedEmbedding(const Facts& facts);
// A whole number above 0, of up to 12 digits, that the run says; nothing where it says none.
[[nodiscard]] std::optional<std::uint64_t> factNumber(const Facts& facts, std::string_view name);

} // namespace shardlens
