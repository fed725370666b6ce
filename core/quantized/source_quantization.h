#pragma once

#include "core/base/result.h"
#include "core/model/checkpoint.h"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// What describeQuantization() adds: facts, and codes of findings.
constexpr const char* kQuantizedBy = "quantized by";
constexpr const char* kQuantizedAs = "quantized as";
constexpr const char* kDequantizedFrom = "dequantized from"; // of a view of the values
constexpr const char* kConfigFinding = "quantization-config";
constexpr const char* kWeightFinding = "quantized-weight";

// A weight that a checkpoint stores quantized, as far as names, dtypes and shapes tell (formats/quantization.md §1.2).
struct StoredWeight {
    enum class Kind : std::uint8_t {
        Int,      // I8, or words of several: compressed-tensors', DeepSpeed's
        E4M3,     // F8_E4M3
        E2M1,     // two codes a byte
        Book,     // bitsandbytes' 4 bits
        LlmInt8,  // bitsandbytes' 8 bits
        Unread,   // recognised, and not taken apart: `problem` says why
    };
    Kind kind = Kind::Unread;
    std::string name{};   // of the weight that it stands for
    std::string scheme{}; // "int4-g32", where it has such a name
    std::string method{}; // "compressed-tensors"
    TensorId codes = kNoTensor;
    TensorId scale = kNoTensor;       // absmax, SCB, weight_scale_inv
    TensorId zeroPoint = kNoTensor;
    TensorId shape = kNoTensor;
    TensorId globalScale = kNoTensor;
    TensorId book = kNoTensor;
    TensorId state = kNoTensor;
    TensorId nestedScale = kNoTensor;
    TensorId nestedBook = kNoTensor;
    TensorId format = kNoTensor;
    std::uint64_t saidBits = 0;  // of packed integers, where config.json says one thing of all weights; 0: it does not
    std::uint64_t saidGroup = 0; // values that share a scale
    bool saidChannel = false;    // a scale a row
    std::vector<TensorId> parts{}; // all of them, others that belong to it too
    std::string problem{};         // a fragment: why its values cannot be computed

    // Whether its values are computed of a part; others belong to it, and say something else (input_scale).
    [[nodiscard]] bool needs(TensorId part) const
    {
        for (const TensorId one : {codes, scale, zeroPoint, shape, globalScale, book, state, nestedScale, nestedBook})
            if (one == part && part != kNoTensor)
                return true;
        return false;
    }
};

// What config.json says of a model's quantization.
struct QuantizationConfig {
    QuantizationConfig();
    ~QuantizationConfig();
    QuantizationConfig(QuantizationConfig&&) noexcept;
    QuantizationConfig& operator=(QuantizationConfig&&) noexcept;

    std::string method; // quant_method; empty: config.json has none, or is not there
    bool hasFile = false;
    std::string problem; // a sentence, where the file is there and cannot be read
    std::unique_ptr<nlohmann::ordered_json> json; // the object; nothing where method is empty
};

// Of the folder that a checkpoint lies in. Reads config.json, at most 16 MiB.
[[nodiscard]] QuantizationConfig readQuantizationConfig(const Checkpoint& checkpoint);

// In the order of their codes. Reads nothing but what is given.
[[nodiscard]] std::vector<StoredWeight> findStoredWeights(const Checkpoint& checkpoint, const QuantizationConfig& config);

// The same checkpoint with what it says of its quantization: facts, findings (a lost config.json, unread kinds) and a mark on the tensors. Nothing new where it
// stores no quantized weight: then it is the checkpoint itself.
[[nodiscard]] CheckpointPtr describeQuantization(CheckpointPtr checkpoint);

} // namespace shardlens
