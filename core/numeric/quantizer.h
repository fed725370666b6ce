#pragma once

#include "core/numeric/kernels/numeric_kernels.h"
#include "core/numeric/quant_scheme.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace shardlens {

// Least and greatest value of the runs that share a scale, zero included, as ordered bits; of some neighbouring scales.
struct ScaleRanges {
    std::uint64_t first = 0; // number of the scale
    std::vector<std::int32_t> least;
    std::vector<std::int32_t> greatest;

    void reset(std::uint64_t firstScale, std::size_t count);
    // Takes in what another one of the same scales saw.
    void merge(const ScaleRanges& other);
};

// Scales once they are known; of some neighbouring ones.
struct QuantScales {
    std::uint64_t first = 0;
    std::vector<float> stored;    // what the scale part says (E8M0: the code; E4M3: the code)
    std::vector<float> effective; // what values are divided by, or multiplied with
    std::vector<float> zeros;     // zero points; empty where there are none
};

// Quantizes one weight, run by run (formats/quantization.md §2, §4, §5): a run's ranges are measured, made into scales, and used for its codes. Runs of whole
// QuantLayout::unitValues() stand alone; where a unit is too long to hold, ranges are measured for the whole weight first. Safe from several threads.
class Quantizer {
public:
    explicit Quantizer(QuantLayout layout, const NumericKernels& kernels = numericKernels());

    [[nodiscard]] const QuantLayout& layout() const { return m_layout; }

    // Widens the ranges by values of the flattened weight from number `first` on, in the weight's dtype. The ranges cover their scales.
    void measure(std::uint64_t first, std::span<const std::byte> values, ScaleRanges& ranges) const;
    // The number of the first range that holds a NaN or an infinity, or for LLM.int8() a value beyond F16's range.
    [[nodiscard]] std::optional<std::uint64_t> firstNonFinite(const ScaleRanges& ranges) const;
    // `globalScale`: of ScaleKind::E4M3, from nvfp4GlobalScale().
    void makeScales(const ScaleRanges& ranges, float globalScale, QuantScales& out) const;

    // Bytes of the scale part for those scales, and of the zero points: these whole rows of scales from row `firstRow` on (packed: a multiple of 32 / bits).
    void writeScales(const QuantScales& scales, std::span<std::byte> out) const;
    void writeZeroPoints(const QuantScales& scales, std::span<std::byte> out) const;
    // A code a byte, in the scheme's own numbers (Book: how many bounds lie below): what packCodes() takes.
    void makeCodes(std::uint64_t first, std::span<const std::byte> values, const QuantScales& scales, std::span<std::uint8_t> out) const;
    // The bytes of the codes part: for codes of whole steps, or up to the weight's end.
    void packCodes(std::span<const std::uint8_t> codes, std::span<std::byte> out) const;
    // Both: bytes of the codes part for values from number `first` on (a multiple of codeStep(), as many as fill whole steps or reach the end).
    void writeCodes(std::uint64_t first, std::span<const std::byte> values, const QuantScales& scales, std::span<std::byte> out) const;

    // What a reader gets back for those values: as the library that reads the scheme computes it (conformance/quantization/README.md, `--dequantize`).
    void roundTrip(std::uint64_t first, std::span<const std::byte> values, const QuantScales& scales, std::span<float> out) const;

private:
    template <typename Tile>
    void forTiles(std::uint64_t first, std::span<const std::byte> values, const Tile& tile) const;
    void packWords(std::span<const std::uint8_t> codes, std::span<std::byte> out) const;
    void fromMagnitudes(QuantScales& scales, std::span<const float> magnitudes, float globalScale) const;
    void fromRanges(QuantScales& scales, std::span<const float> least, std::span<const float> greatest) const;

    QuantLayout m_layout;
    const NumericKernels* m_kernels;
};

// NVFP4's scale of the whole tensor, from the least and greatest value of all that share it (q, k and v; gate and up), with zero (formats/quantization.md §4.6).
[[nodiscard]] float nvfp4GlobalScale(DType dtype, float least, float greatest);

// The number of the first value that is NaN or infinite (of `limit16`: or becomes infinite as F16).
[[nodiscard]] std::optional<std::uint64_t> firstNonFinite(DType dtype, std::span<const std::byte> values, bool limit16);

} // namespace shardlens
