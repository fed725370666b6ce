#pragma once

#include "core/base/result.h"
#include "core/model/dtype.h"
#include "core/model/shape.h"
#include "core/numeric/scale_grid.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens {

// Whose layout and arithmetic a scheme follows.
enum class QuantFamily : std::uint8_t {
    CompressedTensors, // formats/quantization.md §4
    BitsAndBytes,      // §5
    DeepSpeed,         // §2: WeightQuantization
};

[[nodiscard]] const char* nameOf(QuantFamily family); // "compressed-tensors"

// What a value becomes.
enum class CodeKind : std::uint8_t {
    Int,  // a signed integer
    E4M3, // FP8
    E2M1, // FP4
    Book, // the number of the nearest of 16 values
};

// Which values share a scale.
enum class ScaleScope : std::uint8_t {
    Tensor,
    Channel, // an output row
    Group,   // `group` neighbours of a row
    Block,   // 128 × 128, ragged at the edges
    Flat,    // `group` neighbours of the flattened tensor, the last run may be short
    Pieces,  // as many runs of the flattened tensor as somebody says (WeightQuantization's groups), one more where they do not divide it
};

// How a scale is stored and made.
enum class ScaleKind : std::uint8_t {
    Weight,     // the weight's dtype: the range divided by the codes' range
    E8M0,       // a power of two (MX)
    E4M3,       // below a scale of the whole tensor (NVFP4)
    Absmax,     // F32: the largest magnitude itself
    Multiplier, // F32: what to multiply codes with; made by s = 2^bits / (2·absmax + 1e-5)
};

// How a tensor is quantized, and what is stored of it (conformance/quantization/README.md).
struct QuantScheme {
    std::string_view name; // "int4-g128"
    QuantFamily family;
    std::string_view format; // compressed-tensors' `format`, bitsandbytes' `quant_type`
    CodeKind codes;
    std::uint8_t bits;
    ScaleScope scope;
    std::uint32_t group; // values; 0 where the scope is no run of a fixed length
    bool symmetric;
    bool packed; // codes in words or bytes of several, under NAME_packed
    ScaleKind scale;
    std::string_view title;   // "INT4, groups of 128"
    std::string_view purpose; // a sentence for people

    [[nodiscard]] constexpr bool isLlmInt8() const { return family == QuantFamily::BitsAndBytes && codes == CodeKind::Int; }
};

constexpr std::uint64_t kDefaultQuantGroups = 64;         // WeightQuantization's, as SDLoader.load() calls it
constexpr float kLlmInt8Factor = 0.007874015718698502f; // 1/127 as bitsandbytes writes it

[[nodiscard]] std::span<const QuantScheme> quantSchemes();
// In any case of letters; nullptr: there is none.
[[nodiscard]] const QuantScheme* quantSchemeByName(std::string_view name);
// "no scheme is called X; the nearest are A, B; `shardlens formats` lists all": a fragment.
[[nodiscard]] std::string unknownSchemeText(std::string_view name);

// One of the tensors that are stored instead of a weight.
struct QuantPart {
    enum class Kind : std::uint8_t { Codes, Scale, ZeroPoint, Shape, GlobalScale, Book, State, Format };
    Kind kind;
    std::string name; // of the tensor, made of the weight's
    DType dtype;
    Shape shape;
    std::vector<std::byte> constant{}; // its bytes, where they do not depend on the values

    [[nodiscard]] std::uint64_t sizeBytes() const;
};

// What to quantize a weight with, beside the scheme.
struct QuantParameters {
    std::uint64_t pieces = 1; // ScaleScope::Pieces: the groups asked for
    std::uint8_t bits = 8;    // of deepspeed-int8; other schemes have their own

    auto operator<=>(const QuantParameters&) const = default;
};

// A scheme on one weight of a known dtype and shape: which scales there are, and which tensors are stored.
class QuantLayout {
public:
    // Refused, as a fragment: no floating-point dtype that arithmetic is defined for, not two-dimensional, rows that the group does not divide, more pieces than
    // values, a name that the scheme makes no others of.
    [[nodiscard]] static Result<QuantLayout> make(const QuantScheme& scheme, const QuantParameters& parameters, std::string_view name, DType dtype, ShapeView shape);

    [[nodiscard]] const QuantScheme& scheme() const { return *m_scheme; }
    [[nodiscard]] std::uint8_t bits() const { return m_bits; }
    [[nodiscard]] DType dtype() const { return m_dtype; }
    [[nodiscard]] std::uint64_t rows() const { return m_grid.rows; }
    [[nodiscard]] std::uint64_t columns() const { return m_grid.columns; }
    [[nodiscard]] std::uint64_t values() const { return m_grid.values(); }
    [[nodiscard]] const std::vector<QuantPart>& parts() const { return m_parts; }

    [[nodiscard]] const ScaleGrid& grid() const { return m_grid; }
    [[nodiscard]] std::uint64_t scales() const { return m_grid.scales(); }
    // Values of the smallest run that can be quantized by itself: whole scales, whole words of every part. The last run may be shorter.
    [[nodiscard]] std::uint64_t unitValues() const { return m_unit; }
    // Bytes of the codes part that a run of whole units begins at; `value` is a multiple of unitValues(), or values().
    [[nodiscard]] std::uint64_t codeBytesBefore(std::uint64_t value) const;
    // Values of the smallest run whose codes are whole bytes or words, once all scales are known.
    [[nodiscard]] std::uint64_t codeStep() const { return m_codeStep; }
    // 32-bit words of a packed row; 0 where codes are bytes.
    [[nodiscard]] std::uint64_t wordsOfRow() const { return m_words; }

private:
    void placeScales(const QuantParameters& parameters);
    void placeCodes();
    Status nameParts(const std::string& name);
    void nameCompressed(const std::string& name);
    Status nameBitsAndBytes(const std::string& name);

    const QuantScheme* m_scheme = nullptr;
    std::uint8_t m_bits = 8;
    DType m_dtype{};
    ScaleGrid m_grid;
    std::uint64_t m_unit = 0;
    std::uint64_t m_codeStep = 1;
    std::uint64_t m_words = 0;
    std::vector<QuantPart> m_parts;
};

} // namespace shardlens
