#pragma once

#include "ui/models/rule_book.h"

#include <QString>
#include <QStringList>

#include <cstdint>
#include <optional>
#include <vector>

namespace shardlens::ui {

// Consecutive cells along the divided dimension of one part: the query rows of head 3, the gate.
struct TensorBand {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::optional<std::uint32_t> part;   // of TensorBands::parts; nothing: all of them, row by row
    std::optional<std::uint32_t> number; // of the head, or of the group that shares keys and values; nothing: not by heads
};

// How a fused tensor is made up of parts, as the rule that divides it says: segments one behind another, or parts within every head.
struct TensorBands {
    std::size_t dim = 0;       // along which they follow each other
    QStringList parts;         // "query", "key", "value"
    std::uint64_t heads = 0;   // 0: it has none, or how many is not known
    std::uint64_t groups = 0;  // of heads that share keys and values; as many as heads where none are shared
    bool isByHeads = false;    // its parts lie by heads, whether their number is known or not
    bool saysHeads = false;    // the checkpoint says how many
    QString problem;           // a sentence; empty: `bands` cover the dimension
    std::vector<TensorBand> bands; // ascending, without gaps

    // The band that holds a cell.
    [[nodiscard]] const TensorBand* at(std::uint64_t cell) const;
    // "query, head 3 of 8", "key, group 1 of 2", "gate"
    [[nodiscard]] QString textOf(const TensorBand& band) const;
    // "q3"; "gate" where there are no heads.
    [[nodiscard]] QString labelOf(const TensorBand& band) const;
    // "8 heads in 2 groups (from the checkpoint)"; empty without heads.
    [[nodiscard]] QString headsText() const;
};

// Nothing where no rule names parts of it. `heads`: as somebody says; counts only where the checkpoint does not say.
[[nodiscard]] std::optional<TensorBands> bandsOf(const RuleBook& book, TensorId tensor, std::uint64_t heads);

} // namespace shardlens::ui
