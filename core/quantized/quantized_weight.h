#pragma once

#include "core/encoding/value_reader.h"
#include "core/model/computation.h"
#include "core/numeric/quant_engine.h"
#include "core/numeric/quantizer.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace shardlens {

// Where the values of a weight come from: read from a checkpoint and cast to the dtype that arithmetic is done in.
struct WeightSource {
    std::shared_ptr<const ValueReader> values;
    TensorId tensor{};
    std::string name; // for errors
    DType dtype{};    // cast to it

    // Values [first, first + count) of the flattened weight.
    Status read(std::uint64_t first, std::uint64_t count, std::vector<std::byte>& into) const;
};

// Least and greatest value of a whole weight, zero included; read when first asked for. Safe from several threads.
class WholeRange {
public:
    WholeRange(QuantLayout layout, WeightSource source) : m_quantizer(std::move(layout)), m_source(std::move(source)) {}

    struct Range {
        float least = 0;
        float greatest = 0;
    };
    [[nodiscard]] Result<Range> get(const PrepareWatch& watch) const;
    [[nodiscard]] DType dtype() const { return m_source.dtype; }

private:
    Quantizer m_quantizer;
    WeightSource m_source;
    mutable std::mutex m_mutex;
    mutable std::optional<Range> m_range;
};

// A weight in a scheme: its parts as outputs of a computation. Errors name the weight; a NaN or an infinity is Refused with its place.
class QuantizedWeight final : public Computation {
public:
    // `mostBytes`: of source values that a thread may hold; a weight whose units are longer is measured first, and read twice.
    // `family`: the ranges that NVFP4's scale of the whole tensor is made of (formats/quantization.md §4.6); empty for other schemes.
    // `engine`: what does the arithmetic; nothing: the processor.
    QuantizedWeight(QuantLayout layout, WeightSource source, std::vector<std::shared_ptr<const WholeRange>> family, std::uint64_t mostBytes,
                    std::shared_ptr<const QuantEngine> engine = nullptr);

    [[nodiscard]] const QuantLayout& layout() const { return m_quantizer.layout(); }

    // Values of the smallest run that is quantized by itself, once prepare() is done.
    [[nodiscard]] std::uint64_t grainValues() const { return m_grain; }
    [[nodiscard]] DType dtype() const { return m_source.dtype; }
    [[nodiscard]] std::uint64_t sourceBytes() const { return layout().values() * info(m_source.dtype).bytesPerBlock; }
    // Whether prepare() makes all scales, so that reading them reads nothing.
    [[nodiscard]] bool scalesAreKept() const { return m_measuredFirst; }
    [[nodiscard]] std::uint64_t heldBytes() const override { return m_measuredFirst ? layout().scales() * kHeldOfScale : 0; }
    // What a reader gets back for `values` (in dtype()), which begin with value number `first` and are whole grains or end the weight.
    Status roundTrip(std::uint64_t first, std::span<const std::byte> values, std::span<float> out) const;

    [[nodiscard]] std::vector<Input> inputs() const override { return {{&m_source.values->checkpoint(), m_source.tensor}}; }
    [[nodiscard]] std::size_t outputs() const override { return layout().parts().size(); }
    [[nodiscard]] std::uint64_t sizeBytes(std::size_t output) const override { return layout().parts()[output].sizeBytes(); }
    [[nodiscard]] std::uint64_t bytesToRead() const override;
    [[nodiscard]] std::uint64_t threadBytes() const override;
    [[nodiscard]] std::size_t preparations() const override { return m_measuredFirst || !m_family.empty() ? 1 : 0; }
    [[nodiscard]] std::uint64_t bytesToPrepare() const override;
    Status prepare(std::size_t part, const PrepareWatch& watch) const override;
    Status readAt(std::size_t output, std::uint64_t offset, std::span<std::byte> out) const override;
    [[nodiscard]] std::uint64_t steps() const override;
    [[nodiscard]] FlatRange bytesOf(std::size_t output, std::uint64_t step) const override;
    Result<std::uint64_t> computeStep(std::uint64_t step, std::span<const std::span<std::byte>> out) const override;

private:
    static constexpr std::uint64_t kHeldOfScale = 4 * sizeof(float); // as stored, as used, and the zero point

    struct Values {
        std::uint64_t first = 0;
        std::uint64_t count = 0;

        [[nodiscard]] std::uint64_t end() const { return first + count; }
    };
    [[nodiscard]] Values valuesOf(std::uint64_t step) const;
    [[nodiscard]] FlatRange bytesOf(const QuantPart& part, const Values& values) const;
    [[nodiscard]] FlatRange scalesOf(const Values& values) const;
    // Whether the part's bytes belong to no values in particular: those come with the first step.
    [[nodiscard]] bool isOfWhole(const QuantPart& part) const;
    Result<std::uint64_t> compute(const Values& values, std::span<const std::span<std::byte>> out) const;
    Status writeWhole(const QuantPart& part, std::span<std::byte> out) const;
    Result<const QuantScales*> scalesFor(const Values& values, std::span<const std::byte> bytes, QuantEngine::Load* load = nullptr) const;
    Status writeCodes(const Values& values, std::span<const std::byte> bytes, const QuantScales& scales, QuantEngine::Load* load, std::span<std::byte> out) const;
    Status checkFinite(const ScaleRanges& ranges) const;
    [[nodiscard]] Status checkScales(const QuantScales& scales) const;
    Status measureAll(const PrepareWatch& watch) const;

    Quantizer m_quantizer;
    WeightSource m_source;
    std::vector<std::shared_ptr<const WholeRange>> m_family;
    std::shared_ptr<const QuantEngine> m_engine;
    bool m_measuredFirst = false;
    std::uint64_t m_grain = 1; // values of the smallest run that is computed by itself
    std::uint64_t m_stepValues = 1;

    mutable std::mutex m_mutex;
    mutable std::atomic<bool> m_isPrepared{false};
    mutable float m_globalScale = 1;
    mutable QuantScales m_scales; // of the whole weight, where it is measured first
};

} // namespace shardlens
