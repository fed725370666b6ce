#pragma once

#include "core/encoding/torch_pieces.h"
#include "core/format/deepspeed/run.h"

#include <functional>
#include <map>
#include <vector>

namespace shardlens::deepspeed {

// One long vector cut over the ranks: the masters of a group, or one of its moments. Parts ascend; offsets count elements of the whole.
class FlatVector {
public:
    struct Part {
        std::uint64_t begin = 0;
        std::uint64_t length = 0;
        std::uint32_t rank = 0;
        CheckpointBuilder::Placement placement; // of element `begin`
        std::uint32_t position = 0;             // among the ranks that share the vector
    };

    // The tensor of a rank, or nothing where its file is missing. Errors carry the rank's file.
    using TensorOfRank = std::function<pickle::Value(std::uint32_t rank)>;

    // Concatenates the 1-D tensors of `ranks` in their order. Where a file is missing its part is as long as the longest, and a hole:
    // partitions are equal (formats/deepspeed.md §6.1), so the r-th begins at r times that length. `expected` is what is known of a vector of which
    // no file is there.
    struct Expected {
        std::uint64_t part = 0; // elements
        DType dtype = DType::F32;
    };
    [[nodiscard]] static Result<FlatVector> gather(Run& run, std::map<std::uint32_t, TorchPieces>& pieces, const std::vector<std::uint32_t>& ranks,
                                                   const TensorOfRank& tensorOf, const Expected& expected);

    // A vector whose parts are known already; they must ascend without gaps.
    [[nodiscard]] static FlatVector of(std::vector<Part> parts, DType dtype);

    [[nodiscard]] std::uint64_t length() const { return m_parts.empty() ? 0 : m_parts.back().begin + m_parts.back().length; }
    [[nodiscard]] std::uint64_t longestPart() const { return m_longest; }
    [[nodiscard]] DType dtype() const { return m_dtype; }
    [[nodiscard]] const std::vector<Part>& parts() const { return m_parts; }
    [[nodiscard]] bool anyMissing() const { return m_anyMissing; }
    // Of the parts whose files are not there, as far as it is known.
    [[nodiscard]] std::uint64_t missingLength() const { return m_missing; }

    // Adds the pieces of a parameter that takes [begin, begin + count) of the vector; they lie in the tensor from `firstValue` on.
    Status addPieces(CheckpointBuilder& builder, TensorId tensor, std::uint64_t begin, std::uint64_t count, std::uint64_t firstValue = 0) const;
    // Marks what lies beyond the first `used` elements, or in [begin, begin + count), as padding.
    void markPadding(CheckpointBuilder& builder, std::uint64_t begin, std::uint64_t count) const;

private:
    std::vector<Part> m_parts;
    std::uint64_t m_longest = 0;
    DType m_dtype = DType::F32;
    bool m_anyMissing = false;
    std::uint64_t m_missing = 0;
};

// A helper for each rank's optimizer file, made once.
[[nodiscard]] std::map<std::uint32_t, TorchPieces> piecesOfOptimizers(Run& run);

} // namespace shardlens::deepspeed
