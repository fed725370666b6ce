#pragma once

#include "core/base/result.h"
#include "core/format/open_options.h"
#include "core/job/job_context.h"
#include "core/layout/selection.h"
#include "core/model/checkpoint.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// WeightQuantization as MegatronSDLoader calls it (formats/deepspeed.md §17).
struct SdloaderInt8 {
    std::uint64_t groups = 64;
    std::uint8_t bits = 8;
    bool mlpExtraGrouping = true;
};

// What somebody wants of a checkpoint that is written in a family's own layout.
struct TargetOptions {
    OpenOptions open;                       // what the source was opened with
    Select select = Select::All;
    std::optional<std::uint32_t> dp;        // data-parallel size; nothing: the source's
    std::optional<std::uint32_t> tp;        // tensor-parallel size; nothing: the source's
    std::optional<std::uint32_t> pp;        // pipeline stages; nothing: the source's
    std::optional<std::uint32_t> ep;        // expert-parallel size; nothing: the source's
    std::optional<std::uint32_t> rank;      // only the files of that rank
    std::optional<std::uint32_t> zeroStage; // 1 to 3; nothing: the source's
    bool keepObjects = false;               // objects of unknown classes are written as they are
    std::optional<std::string> strategy;    // MindSpore: the strategy of the target, a file or a folder of its stages' files; nothing: the whole model in one file
    std::optional<std::string> prefix;      // Format::hasPrefix: what the names of files begin with
    std::optional<std::string> container;   // one of Format::containers
    std::string fileName;                   // where the target is one file; empty: a folder
    std::vector<std::string> include{};     // Format::layOutSelects: patterns, as in SelectionOptions
    std::vector<std::string> exclude{};
    std::optional<DType> dtype{};           // Format::layOutSelects: floating-point tensors are cast to it
    std::optional<std::uint64_t> maxShardBytes{}; // Format::layOutShards
    std::optional<SdloaderInt8> sdloaderInt8{};   // Format::layOutQuantizes
};

// A run of a tensor's values in a storage: `values` of them from `firstValue` on, in row-major order.
struct TargetRun {
    TensorId tensor{}; // of Target::payload
    DType dtype{};     // cast to it
    std::uint64_t firstValue = 0;
    std::uint64_t values = 0;
    std::uint64_t offsetBytes = 0; // in the storage
};

// What no run covers is zero.
struct TargetStorage {
    std::uint64_t sizeBytes = 0;
    std::vector<TargetRun> runs; // ascending
};

// A file as torch.save writes it: data.pkl names its storages by their number.
struct TargetTorchFile {
    std::string name; // relative to the target folder, with the folders it lies in
    std::vector<std::byte> pickle;
    std::vector<TargetStorage> storages;
    bool bigEndian = false;
    std::size_t tensors = 0; // that it holds, whole or in part; for people
    std::optional<std::uint32_t> rank; // whose file it is, in a run
};

struct TargetBytes {
    std::uint64_t offset = 0; // in the file
    std::vector<std::byte> bytes;
};

// A file of which every byte is a literal's or a run's.
struct TargetFlatFile {
    enum class Container : std::uint8_t { Safetensors, MindSporeCkpt };
    std::string name; // relative to the target folder, with the folders it lies in
    Container container{};
    std::uint64_t sizeBytes = 0;
    std::vector<TargetBytes> literals; // ascending
    std::vector<TargetRun> runs;       // ascending; offsets count in the file
    std::size_t tensors = 0;           // that it holds, whole or in part; for people
    std::optional<std::uint32_t> rank; // whose file it is, in a run
};

// An item of a DCP data file: a torch.save archive of its own.
struct TargetDcpItem {
    std::vector<std::byte> pickle;
    std::vector<TargetStorage> storages;
};

// A data file of a DCP directory (formats/pytorch.md §9.4): its items one behind the other. dcpItemBytes() (core/encoding/dcp_writer.h) says how long each
// becomes, for the metadata.
struct TargetDcpFile {
    std::string name;
    std::vector<TargetDcpItem> items;
    std::size_t tensors = 0;           // that it holds, whole or in part; for people
    std::optional<std::uint32_t> rank; // whose file it is, in a run
};

// A file that is known in full: a pickle, say.
struct TargetBytesFile {
    std::string name;
    std::vector<std::byte> bytes;
};

struct TargetTextFile {
    std::string name;
    std::string text;
};

// A tensor that the result must give under that name when it is read.
struct TargetResult {
    std::string name;
    TensorId tensor{}; // of the source
    DType dtype{};
};

// Something that is not carried over, or changed on the way; a sentence for people.
struct TargetNote {
    enum class Kind : std::uint8_t { Kept, Info, Dropped, Cast, Warning };
    Kind kind = Kind::Info;
    std::string topic;
    std::string text;
};

// How a run is divided.
struct TargetLayout {
    std::string title;       // "DeepSpeed ZeRO-2"
    std::uint32_t ranks = 1; // data parallel

    auto operator<=>(const TargetLayout&) const = default;
};

// Files to write, before any byte of a tensor was read. The payload's files and tensors begin with those of the source, under the same numbers.
struct Target {
    CheckpointPtr payload;
    CheckpointPtr logical; // where the results are tensors of another checkpoint than the source: of quantized weights
    std::vector<TargetTorchFile> torchFiles;
    std::vector<TargetFlatFile> flatFiles;
    std::vector<TargetDcpFile> dcpFiles;
    std::vector<TargetBytesFile> bytesFiles;
    std::vector<TargetTextFile> textFiles;
    std::vector<TargetResult> results;
    std::vector<TargetNote> notes;
    std::string leftOut;                // classes of the objects that keepObjects would have kept: "train.Config, amp.Scaler"; for people
    std::optional<TargetLayout> before; // of the source and of the result, where they are runs
    std::optional<TargetLayout> after;
};

} // namespace shardlens
