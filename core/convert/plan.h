#pragma once

#include "core/convert/request.h"
#include "core/job/job_context.h"
#include "core/model/checkpoint.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace shardlens {

// One tensor of the output: dense, row-major, little-endian bytes at a known place.
struct PlannedTensor {
    std::string name;
    TensorId source{};
    DType dtype{};                // in the output
    std::uint64_t offset = 0;     // in its file
    std::uint64_t sizeBytes = 0;
    bool isAlias = false;
};

// Bytes that are known before anything is read: headers, pickles, small texts.
struct PlannedBytes {
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;
};

struct PlannedFile {
    enum class Container : std::uint8_t { Safetensors, TorchZip, Text };
    std::string name; // relative to the target folder; the target's own name where the target is one file
    Container container = Container::Text;
    std::uint64_t sizeBytes = 0;
    std::vector<PlannedBytes> literals;
    std::vector<PlannedTensor> tensors; // ascending by offset
};

// A line of "what changes", for people.
struct PlanLine {
    enum class Kind : std::uint8_t { Kept, Info, Dropped, Cast, Duplicated, Warning };
    Kind kind;
    std::string topic; // "Optimizer state"
    std::string text;  // a sentence
};

// What a conversion will do, as a value: printed by --dry-run, drawn by the window, run by the executor. Nothing has been written.
struct Plan {
    ConvertRequest request;      // with every default filled in
    std::string formatId;        // of the output
    CheckpointPtr source;
    bool targetIsFile = false;
    std::vector<PlannedFile> files;
    std::vector<PlanLine> lines;
    std::uint64_t bytesToRead = 0;
    std::uint64_t bytesToWrite = 0;
    std::uint64_t peakBufferBytes = 0; // of buffers
    std::uint64_t metadataBytes = 0;   // of what is held beside them

    [[nodiscard]] double readAmplification() const { return bytesToWrite == 0 ? 0 : static_cast<double>(bytesToRead) / static_cast<double>(bytesToWrite); }
    [[nodiscard]] std::size_t tensorCount() const;
};

// Checks the request against the opened source and lays out the files. Refused, before anything is touched: a hole (with tensor, region, rank and missing file),
// nothing selected, a dtype the target cannot hold, a target that exists (without overwrite) or lies inside the source, too small a memory limit.
[[nodiscard]] Result<Plan> planConversion(CheckpointPtr source, const ConvertRequest& request, JobContext& job);

} // namespace shardlens
