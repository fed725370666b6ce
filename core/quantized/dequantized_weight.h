#pragma once

#include "core/encoding/value_reader.h"
#include "core/model/computation.h"
#include "core/numeric/kernels/numeric_kernels.h"
#include "core/numeric/scale_grid.h"
#include "core/quantized/source_quantization.h"

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace shardlens {

// How the codes of a stored weight lie in their tensor.
struct CodePacking {
    enum class Kind : std::uint8_t { Bytes, Words, LowFirst, HighFirst };
    Kind kind = Kind::Bytes;
    std::uint32_t bits = 8;
    std::uint64_t wordsOfRow = 0; // Words: of 32 bits
    bool loose = false;           // Words: codes do not cross words (before compressed-tensors 0.18), of 3, 5, 6 and 7 bits
};

// What makes values of codes: value = (code - zero) · scale, rounded as the library does that wrote them (conformance/quantization/README.md).
struct DequantRule {
    enum class Scales : std::uint8_t { Floats, E8M0, BelowGlobal, Nested };
    StoredWeight::Kind kind{};
    CodePacking packing;
    ScaleGrid grid;
    DType result{};   // dtype of the values
    DType rounded{};  // arithmetic is rounded to it
    Scales scales = Scales::Floats;
    float globalScale = 1;
    float factor = 1;                    // values are multiplied with it at the end (LLM.int8())
    std::vector<float> book;             // of the codes of a byte or less
    std::vector<float> nestedBook;
    float nestedOffset = 0;
    std::uint64_t nestedRun = 256;
    bool packedZeros = false; // in words along the rows
};

// The values of a stored weight as the one output of a computation. Errors name the weight.
class DequantizedWeight final : public Computation {
public:
    // Reads what is small: the shape, the book, the state. Corrupt or Unsupported, with the tensor, where the parts do not fit each other.
    [[nodiscard]] static Result<std::shared_ptr<const DequantizedWeight>> make(std::shared_ptr<const ValueReader> values, const Checkpoint& checkpoint, const StoredWeight& stored,
                                                                               const QuantizationConfig& config);

    [[nodiscard]] const Shape& shape() const { return m_shape; }
    [[nodiscard]] DType dtype() const { return m_rule.result; }

    [[nodiscard]] std::vector<Input> inputs() const override;
    [[nodiscard]] std::size_t outputs() const override { return 1; }
    [[nodiscard]] std::uint64_t sizeBytes(std::size_t) const override { return m_rule.grid.values() * info(m_rule.result).bytesPerBlock; }
    [[nodiscard]] std::uint64_t bytesToRead() const override { return m_storedBytes; }
    [[nodiscard]] std::uint64_t threadBytes() const override;
    Status readAt(std::size_t output, std::uint64_t offset, std::span<std::byte> out) const override;
    [[nodiscard]] std::uint64_t steps() const override { return 0; }
    [[nodiscard]] FlatRange bytesOf(std::size_t, std::uint64_t) const override { return {}; }
    Result<std::uint64_t> computeStep(std::uint64_t, std::span<const std::span<std::byte>>) const override { return std::uint64_t{0}; }

private:
    DequantizedWeight() = default;

    Status valuesOf(std::uint64_t first, std::uint64_t count, std::span<float> out) const;
    Status readCodes(std::uint64_t first, std::uint64_t count, std::span<std::uint8_t> out) const;
    Status readWords(std::uint64_t first, std::uint64_t count, std::span<std::uint8_t> out) const;
    Status readScales(std::uint64_t first, std::uint64_t count, std::vector<float>& out) const;
    Status readZeros(std::uint64_t first, std::uint64_t count, std::vector<float>& out) const;
    Status readBytes(TensorId tensor, std::uint64_t offset, std::span<std::byte> out) const;
    Status readFloats(TensorId tensor, std::uint64_t first, std::span<float> out) const;

    std::shared_ptr<const ValueReader> m_values;
    StoredWeight m_stored;
    DequantRule m_rule;
    Shape m_shape;
    std::vector<std::pair<TensorId, DType>> m_dtypes; // of the parts, as stored
    std::uint64_t m_storedBytes = 0;
};

} // namespace shardlens
