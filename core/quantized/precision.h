#pragma once

#include "core/base/result.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"
#include "core/model/checkpoint.h"
#include "core/quantized/quantized_weight.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// A tensor whose values a conversion changes: quantized, or cast to a dtype that holds less.
struct LossyTensor {
    std::string name;
    CheckpointPtr checkpoint; // that holds its values
    TensorId tensor{};
    DType to{};               // of a cast; of a weight the dtype that it is cast to before it is quantized
    std::shared_ptr<const QuantizedWeight> weight; // nothing: a cast
};

// Whether a cast can change values.
[[nodiscard]] bool losesValues(DType from, DType to);

// What becomes of a tensor's values (formats/quantization.md §9). Sums are of the finite values that were looked at, in double precision.
struct TensorPrecision {
    std::string name;
    std::string scheme; // "int4-g128", or the dtype of a cast
    Shape shape;
    DType from{};
    bool quantized = false;      // else cast
    std::uint64_t values = 0;    // of the tensor
    std::uint64_t looked = 0;    // of them, that were measured
    std::uint64_t nonFinite = 0; // NaN and infinities
    std::uint64_t overflow = 0;  // finite values that become infinite
    std::uint64_t outliers = 0;  // beyond six times the root of the mean square, to an eighth of an octave
    double least = 0;
    double greatest = 0;
    double sum = 0;
    double squares = 0;
    double keptSquares = 0; // of the values that come back
    double products = 0;    // of both
    double errorSquares = 0;
    double largestError = 0;
    std::uint64_t storedBefore = 0; // bytes
    std::uint64_t storedAfter = 0;
    std::string problem;         // a sentence, where it could not be measured: a NaN in a weight that is to be quantized

    [[nodiscard]] bool isExact() const { return looked == values; }
    [[nodiscard]] double meanSquare() const;
    [[nodiscard]] double deviation() const;
    [[nodiscard]] double rmsError() const;
    [[nodiscard]] std::optional<double> cosine() const;
    // In dB; nothing where no value changed, or all are zero.
    [[nodiscard]] std::optional<double> signalToNoise() const;
    // Squared error of the whole tensor, as far as the sample tells.
    [[nodiscard]] double wholeError() const;
};

struct PrecisionOptions {
    bool exact = false;                     // every value; else a sample
    std::uint64_t sampleValues = 64u << 10; // a tensor; its scale, where it has one of the whole, is made of all values all the same
};

// Measures each tensor, on the executor's threads; the worst signal to noise comes first, problems before all. Sets the job's total: bytes of the source that are looked
// at, those included that say what a scale of a whole tensor is.
[[nodiscard]] Result<std::vector<TensorPrecision>> measurePrecision(const std::vector<LossyTensor>& tensors, const PrecisionOptions& options, Executor& executor, JobContext& job);

// Which quantized tensors to keep as they are: few that hold much of the squared error. Of casts it says nothing, for they leave no tensor out.
struct PrecisionAdvice {
    std::vector<std::string> keep; // names, the one with the largest error first; empty: nothing stands out
    double share = 0;              // of the squared error of all
    std::uint64_t extraBytes = 0;  // that keeping them costs
    std::string text;              // a sentence or two, for people
    std::string pattern;           // that finds these names and no others; empty where there is nothing to keep
    std::string option;            // "--quantize-exclude '…'"
};
[[nodiscard]] PrecisionAdvice adviseOn(const std::vector<TensorPrecision>& tensors);

// "good for 4 bits": what a signal to noise means (formats/quantization.md §9).
[[nodiscard]] const char* gradeOf(std::optional<double> signalToNoise);

// A line a tensor with a head; names quoted as CSV does.
[[nodiscard]] std::string precisionCsv(const std::vector<TensorPrecision>& tensors);

} // namespace shardlens
