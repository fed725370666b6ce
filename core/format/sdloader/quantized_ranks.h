#pragma once

#include "core/format/sdloader/rank_set.h"
#include "core/format/target.h"
#include "core/quantized/quantized_weight.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace shardlens::sdloader {

// What MegatronSDLoader makes of rank files with quantize=True (formats/deepspeed.md §17): the four weight kinds of every file in INT8, each file by itself before
// files are joined or cut, and the scales of a target rank as one tensor [layers, 4, width].
class QuantizedRanks {
public:
    // Puts INT8 tensors in the place of the weights of each rank of the set; nothing is read. Refused, by name: a weight that is no floating-point matrix, more groups
    // than values, files of version 0 that are to be joined (the loader leaves their heads out of order then).
    [[nodiscard]] static Result<QuantizedRanks> make(RankSet& set, const SdloaderInt8& options, std::uint32_t targetRanks, const OpenOptions& open);

    // The scales of a target rank, F32 of shape(); refused where layers have rows of several widths, or not all four kinds.
    [[nodiscard]] Result<std::shared_ptr<const Computation>> scalesOf(std::uint32_t targetRank) const;
    [[nodiscard]] const Shape& shape() const { return m_shape; }
    // Files that a target rank is joined of; 1 where it is cut.
    [[nodiscard]] std::uint32_t mergeCount() const { return m_mergeCount; }
    // Target ranks that a file is cut for; 1 where files are joined.
    [[nodiscard]] std::uint32_t cuts() const { return m_cuts; }
    [[nodiscard]] std::size_t weights() const { return m_weights.empty() ? 0 : m_weights.front().size(); }

private:
    struct Weight {
        std::string name;
        std::size_t row = 0; // of the scales: query_key_value, dense, h_to_4h, 4h_to_h
        std::shared_ptr<const QuantizedWeight> codes;
    };
    Status quantize(RankSet::Rank& rank, const SdloaderInt8& options);
    Status measureTable();

    std::uint32_t m_targetRanks = 1;
    std::uint32_t m_mergeCount = 1;
    std::uint32_t m_cuts = 1; // of a file
    std::vector<std::vector<Weight>> m_weights; // by file, in the order of its keys
    Shape m_shape;
};

} // namespace shardlens::sdloader
