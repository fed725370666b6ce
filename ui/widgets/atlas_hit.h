#pragma once

#include "ui/widgets/atlas_painter.h"
#include "ui/widgets/hover_card.h"

#include <QPointF>

#include <optional>

namespace shardlens::ui {

// What lies under a point of the atlas. Found by geometry: no scene, no per-item object.
struct AtlasHit {
    enum class Kind : std::uint8_t { Nothing, Piece, Column, Mark, LaneHeader, Group, Legend, Minimap, Lens };
    Kind kind = Kind::Nothing;
    std::uint32_t lane = 0;
    std::uint32_t index = 0;       // Piece, Column: the (largest) piece; Mark: the mark; Group: the group; Legend: the entry
    std::size_t piecesInColumn = 0; // Column: how many share this pixel
    std::uint64_t unitsInColumn = 0;
    double unit = 0; // where in the lane

    [[nodiscard]] std::optional<AtlasPlace> place() const
    {
        return kind == Kind::Piece || kind == Kind::Column ? std::optional(AtlasPlace{lane, index}) : std::nullopt;
    }
    bool operator==(const AtlasHit&) const = default;
};

[[nodiscard]] AtlasHit hitAt(const AtlasScene& scene, QPointF point);
// What the card says about it; an empty title: nothing.
[[nodiscard]] HoverCardContent cardFor(const AtlasScene& scene, const AtlasHit& hit);
// "rank 1 · offset 6,738,421,376"
[[nodiscard]] QString statusFor(const AtlasScene& scene, const AtlasHit& hit);

} // namespace shardlens::ui
