#pragma once

#include "core/base/result.h"
#include "core/job/job_context.h"
#include "core/format/open_options.h"
#include "core/format/target.h"
#include "core/model/checkpoint.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace shardlens {

struct DirectoryEntry {
    std::string name;
    bool isFolder = false;
    std::uint64_t sizeBytes = 0;
};

// A path that somebody wants to open, with what a look from outside shows: gathered once, handed to every probe.
struct Candidate {
    std::string path;                     // without trailing slashes
    bool isFolder = false;
    std::uint64_t sizeBytes = 0;          // of a file
    std::vector<std::byte> head;          // first 512 bytes of a file
    std::vector<DirectoryEntry> entries;  // of a folder, hidden ones too, natural order

    [[nodiscard]] std::string name() const; // last part of the path
    [[nodiscard]] const DirectoryEntry* entry(std::string_view name) const;
};

// NotFound, Io (an unreadable folder) or Unsupported (a pipe, a device).
[[nodiscard]] Result<Candidate> lookAt(const std::string& path);

enum class Match : std::uint8_t { No, ByName, ByContent };

// One row of the table. `probe` judges from the candidate alone (it may look at sub-folders' listings, not parse files) and cannot fail;
// `open` checks again and reads headers only.
struct Format {
    const char* id;
    const char* title;
    const char* reads;  // for people: what is recognised
    const char* writes; // nullptr: read only
    bool hasTags = false; // whether OpenOptions::tag means something
    bool hasModuleKey = false;
    bool hasRules = false;
    bool hasStrategy = false;
    const char* containers = nullptr; // of its files, where layOut has a choice (TargetOptions::container): "ckpt safetensors"
    bool hasPrefix = false;           // whether TargetOptions::prefix means something
    bool layOutSelects = false;       // whether layOut honours TargetOptions::include, exclude and dtype
    bool layOutShards = false;        // whether layOut honours TargetOptions::maxShardBytes
    bool openDequantizes = false;     // whether open honours OpenOptions::dequantize itself: scales that are no tensors
    bool layOutQuantizes = false;     // whether layOut honours TargetOptions::sdloaderInt8
    Match (*probe)(const Candidate&);
    Result<CheckpointPtr> (*open)(const Candidate&, const OpenOptions&, JobContext&);
    // Files of this layout from a source of any format, where it is no matter of names and tensors alone; nullptr where it is.
    Result<Target> (*layOut)(const CheckpointPtr&, const TargetOptions&, JobContext&) = nullptr;
    // The whole tree of a source of this format as one torch file, nesting and plain values included; nullptr where there is no tree, and nothing
    // where this source has none.
    Result<std::optional<Target>> (*keepTree)(const CheckpointPtr&, const TargetOptions&, JobContext&) = nullptr;
};

[[nodiscard]] std::span<const Format> formats();
[[nodiscard]] const Format* formatById(std::string_view id);

// The format that claims the candidate most firmly, the table's order deciding among equals; nullptr if none.
[[nodiscard]] const Format* detect(const Candidate& candidate);

// lookAt, detect, open. The error is a complete thought with the path in it; for what is no checkpoint it says what was looked for.
[[nodiscard]] Result<CheckpointPtr> openCheckpoint(const std::string& path, const OpenOptions& options, JobContext& job);
// The values of the quantized weights of an opened checkpoint: what opening it with `dequantize` gives. `options`: as it was opened. Refused where none are stored.
[[nodiscard]] Result<CheckpointPtr> dequantized(const CheckpointPtr& opened, OpenOptions options, JobContext& job);

} // namespace shardlens
