#pragma once

#include "core/convert/request.h"
#include "core/format/target.h"
#include "core/job/job_context.h"
#include "core/model/checkpoint.h"
#include "core/quantized/precision.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// A run of one tensor's values in an output file, the whole tensor or a part of it: row-major, little-endian bytes at a known place.
struct PlannedTensor {
    std::string name;
    TensorId source{};            // in Plan::payload
    DType dtype{};                // in the output
    std::uint64_t offset = 0;     // in its file
    std::uint64_t sizeBytes = 0;
    bool isAlias = false;
    bool sharesBytes = false;     // the bytes are those of an earlier tensor of the file: a tied name in a torch file
    std::uint64_t sourceOffset = 0; // bytes of the tensor's values, as `dtype`, that lie before the run
    bool withOthers = false;        // written by the steps of a computation, together with its other outputs (Plan::computed)
};

// A member of an archive whose bytes come with the tensors.
struct PlannedRecord {
    std::uint64_t offset = 0; // in its file
    std::uint64_t sizeBytes = 0;
    std::vector<std::uint64_t> crcAt; // where the CRC-32 of the bytes goes once it is known: 4 bytes, little-endian, in a literal
};

// Bytes that are known before anything is read: headers, pickles, small texts.
struct PlannedBytes {
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;
};

struct PlannedFile {
    enum class Container : std::uint8_t { Safetensors, TorchZip, MindSporeCkpt, Distcp, Pickle, Text };
    std::string name; // relative to the target folder; the target's own name where the target is one file
    Container container = Container::Text;
    std::uint64_t sizeBytes = 0;
    std::vector<PlannedBytes> literals; // ascending by offset; together with the tensors they cover the file
    std::vector<PlannedTensor> tensors; // ascending by offset
    std::vector<PlannedRecord> records; // of an archive, ascending by offset
    std::size_t tensorCount = 0;        // that the file holds, whole or in part
    std::optional<std::uint32_t> rank;  // whose file it is, in a run
    std::vector<FileId> sources{};      // of the payload, ascending: the files that its bytes are read from; of a layout only
};

// A tensor that reading the output must find, and what it must be equal to.
struct PlannedResult {
    std::string name;
    TensorId source{}; // in Plan::source
    DType dtype{};
};

// A computation whose outputs are written whole: its steps read the source once and fill them all.
struct PlannedComputation {
    struct Place {
        std::size_t output = 0;   // of the computation
        std::uint32_t file = 0;   // of Plan::files
        std::uint64_t offset = 0; // where the output begins there
    };
    std::shared_ptr<const Computation> computation;
    std::vector<Place> places; // an output may have several: names that are tied
};

// A line of "what changes", for people.
struct PlanLine {
    enum class Kind : std::uint8_t { Kept, Info, Dropped, Cast, Duplicated, Warning };
    Kind kind;
    std::string topic; // "Optimizer state"
    std::string text;  // a sentence
};
[[nodiscard]] const char* nameOf(PlanLine::Kind kind); // "dropped"

// What a conversion will do, as a value: printed by --dry-run, drawn by the window, run by the executor. Nothing has been written.
struct Plan {
    ConvertRequest request;      // with every default filled in
    std::string formatId;        // of the output
    CheckpointPtr source;
    CheckpointPtr payload;       // what the files' runs are read from: the source, or other names for the same bytes
    std::vector<PlannedResult> results;
    std::uint64_t decodedBytes = 0;     // of compressed members that are read: they are kept decoded
    std::uint64_t largestPacked = 0;    // bytes that the largest of them has in its file
    std::vector<std::shared_ptr<const Computation>> prepared; // all that the files' runs need; whose outputs are written whole are in `computed` too
    std::vector<PlannedComputation> computed;
    std::vector<LossyTensor> lossy; // whose values change: for measurePrecision()
    std::shared_ptr<const QuantEngine> engine; // that quantizes on a device; nothing: the processor
    bool targetIsFile = false;
    std::vector<PlannedFile> files;
    std::vector<PlanLine> lines;
    std::string leftOut; // classes of objects that are left out for want of keepObjects, for people
    std::optional<TargetLayout> layoutBefore; // where a run becomes a run on other ranks
    std::optional<TargetLayout> layoutAfter;
    std::uint64_t bytesToRead = 0;
    std::uint64_t bytesToWrite = 0;
    std::uint64_t blockBytes = 0;      // of output that one thread handles at a time
    std::uint64_t peakBufferBytes = 0; // of buffers, with request.threads threads
    std::uint64_t metadataBytes = 0;   // of what is held beside them

    [[nodiscard]] double readAmplification() const { return bytesToWrite == 0 ? 0 : static_cast<double>(bytesToRead) / static_cast<double>(bytesToWrite); }
    [[nodiscard]] std::size_t tensorCount() const;
    [[nodiscard]] std::uint64_t bytesToPrepare() const; // that computations read before anything is written
};

// Checks the request against the opened source and lays out the files. Refused, before anything is touched: a hole (with tensor, region, rank and missing file),
// nothing selected, a dtype the target cannot hold, a target that exists (without overwrite) or lies inside the source, too small a memory limit.
[[nodiscard]] Result<Plan> planConversion(CheckpointPtr source, const ConvertRequest& request, JobContext& job);
// The same without a look at the target's place, of which the name alone counts: for who wants to know the result before a place is chosen.
[[nodiscard]] Result<Plan> planContents(CheckpointPtr source, const ConvertRequest& request, JobContext& job);
// What of planConversion()'s checks looks at the target's place: asked again before writing.
[[nodiscard]] Status checkTarget(const Checkpoint& source, const ConvertRequest& request);
// The plan for people and tests, a line each: what is read and written, the files with their sizes, what changes.
[[nodiscard]] std::vector<std::string> planText(const Plan& plan);

} // namespace shardlens
