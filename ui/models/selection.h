#pragma once

#include "core/base/ids.h"

#include <cstdint>
#include <optional>

namespace shardlens::ui {

// What the user points at: one value, shared by all pages, the inspector and the status bar (design.md §1.2). Members narrow each other:
// a piece belongs to its tensor, a file to its rank. All empty: nothing is selected.
struct Selection {
    std::optional<TensorId> tensor;
    std::optional<PieceId> piece;
    std::optional<std::uint32_t> rank;
    std::optional<FileId> file;

    [[nodiscard]] bool isEmpty() const { return !tensor && !piece && !rank && !file; }
    auto operator<=>(const Selection&) const = default;
};

} // namespace shardlens::ui
