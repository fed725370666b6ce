#include "core/encoding/mindspore_pieces.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace shardlens::mindspore {
namespace {

constexpr std::uint64_t kWideBytes = 4;   // of a bfloat16 kept as float32
constexpr std::uint64_t kUpperHalf = 2;   // where its two bytes begin

// The values that a piece of the entry holds, and where the first of them begins.
struct ValueRun {
    FlatRange values;
    std::uint64_t offset = 0;
};

// Adds runs of one entry to one tensor.
class EntryPieces {
public:
    EntryPieces(CheckpointBuilder& builder, TensorId id, const CkptEntry& entry, const CkptPlace& place)
        : m_builder(&builder), m_id(id), m_entry(&entry), m_stream(builder.streamOf(place.file)), m_holder(place.holder),
          m_cell(entry.wideBFloat16 ? kWideBytes : info(entry.dtype).bytesPerBlock)
    {
    }

    Status whole()
    {
        const Tensor& owner = m_builder->tensor(m_id);
        const Box all{Shape(owner.shape.size(), 0), owner.shape};
        return forEachRunOf(owner.shape, [&](const ValueRun& run) {
            if (!m_entry->wideBFloat16)
                return m_builder->addPiece(m_id, run.values, placementAt(run.offset));
            return boxes(run, all);
        });
    }

    Status slice(const Box& box)
    {
        return forEachRunOf(box.extent, [&](const ValueRun& run) { return boxes(run, box); });
    }

private:
    [[nodiscard]] CheckpointBuilder::Placement placementAt(std::uint64_t offset) const { return {m_stream, offset, m_holder, {}}; }

    [[nodiscard]] Error fail(const std::string& problem) const
    {
        return {ErrorCode::Corrupt, fmt::format("'{}': {}", printable(m_entry->name), problem)};
    }

    template <typename Visit>
    Status forEachRunOf(ShapeView shape, const Visit& visit)
    {
        const auto values = elementCount(shape);
        if (!values || *values != m_entry->sizeBytes / m_cell || m_entry->sizeBytes % m_cell != 0)
            return fail(fmt::format("{} does not hold its {} B of {}", shapeText(shape), groupedText(m_entry->sizeBytes), printable(m_entry->typeName)));
        if (*values == 0) // in no place, and still of this file
            return m_builder->addPiece(m_id, FlatRange{0, 0}, placementAt(0));
        std::uint64_t at = 0;
        for (const CkptPiece& piece : m_entry->pieces) {
            if (piece.length % m_cell != 0)
                return fail(fmt::format("a record of {} B ends inside a value of {} B", groupedText(piece.length), m_cell));
            const std::uint64_t count = piece.length / m_cell;
            SHARDLENS_TRY(visit(ValueRun{{at, at + count}, piece.offset + (m_entry->wideBFloat16 ? kUpperHalf : 0)}));
            at += count;
        }
        return {};
    }

    // A run of the slice's row-major order, box by box: each follows the one before in the file.
    Status boxes(const ValueRun& run, const Box& slice)
    {
        Status status;
        std::uint64_t offset = run.offset;
        forEachBox(run.values, slice.extent, [&](const Box& part) {
            if (!status)
                return;
            Box moved = part;
            std::transform(moved.offset.begin(), moved.offset.end(), slice.offset.begin(), moved.offset.begin(), std::plus<>());
            std::vector<std::int64_t> strides;
            if (m_entry->wideBFloat16)
                for (const std::uint64_t values : rowMajorStrides(part.extent))
                    strides.push_back(static_cast<std::int64_t>(values * kWideBytes));
            status = m_builder->addPiece(m_id, BoxView{moved}, placementAt(offset), strides);
            offset += part.volume() * m_cell;
        });
        return status;
    }

    CheckpointBuilder* m_builder;
    TensorId m_id;
    const CkptEntry* m_entry;
    StreamId m_stream;
    HolderId m_holder;
    std::uint64_t m_cell; // stored bytes of a value
};

} // namespace

Status addWholeEntry(CheckpointBuilder& builder, TensorId id, const CkptEntry& entry, const CkptPlace& place)
{
    return EntryPieces(builder, id, entry, place).whole();
}

Status addEntryBox(CheckpointBuilder& builder, TensorId id, const CkptEntry& entry, const Box& box, const CkptPlace& place)
{
    const Tensor& owner = builder.tensor(id);
    if (!isInside(BoxView{box}, owner.shape))
        return Error{ErrorCode::Corrupt, fmt::format("'{}': {} lies outside {}", printable(entry.name), regionText(BoxView{box}), shapeText(owner.shape))};
    if (box.extent == owner.shape)
        return addWholeEntry(builder, id, entry, place);
    return EntryPieces(builder, id, entry, place).slice(box);
}

void addCkptSpans(CheckpointBuilder& builder, FileId file, const std::vector<CkptEntry>& entries)
{
    std::vector<CkptPiece> stored;
    for (const CkptEntry& entry : entries)
        stored.insert(stored.end(), entry.pieces.begin(), entry.pieces.end());
    std::sort(stored.begin(), stored.end());
    stored.push_back({builder.file(file).size, 0});
    std::uint64_t at = 0;
    for (const CkptPiece& piece : stored) {
        if (piece.offset > at)
            builder.addFileSpan({file, at, piece.offset - at, FileSpan::Kind::Header});
        at = std::max(at, piece.offset + piece.length);
    }
}

} // namespace shardlens::mindspore
