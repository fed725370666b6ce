#pragma once

#include "core/convert/request.h"
#include "core/model/checkpoint.h"

#include <QString>

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace shardlens::ui {

// What one choice of contents would take, and whether the source has all of it.
struct ContentFacts {
    std::size_t tensors = 0;
    std::size_t incomplete = 0;   // tensors with cells that nobody holds
    std::string firstIncomplete;  // the name of one
    std::uint64_t bytes = 0;
    std::uint64_t values = 0;     // of floating-point tensors
    std::uint64_t floatBytes = 0; // what these take as stored
    std::optional<DType> dtype;   // that most of the floating-point bytes are in
    std::string role;             // "fp32 master": the state that most of them have

    std::size_t tiedNames = 0;      // further names of these tensors
    std::uint64_t tiedBytes = 0;    // what they take where a format knows no ties
    std::uint64_t tiedValues = 0;
    std::uint64_t tiedFloatBytes = 0;

    // Bytes of values once floating-point tensors are cast: a torch file keeps ties, safetensors writes the values again.
    [[nodiscard]] std::uint64_t bytesAs(std::optional<DType> cast, const std::string& format) const;
    // Names that the result holds.
    [[nodiscard]] std::size_t tensorsInResult() const { return tensors + tiedNames; }
};

// What the convert page says about the source. Computed on a worker: it looks for holes.
struct SourceFacts {
    ContentFacts weights;
    ContentFacts module;
    ContentFacts optimizer;
    ContentFacts all;
    bool hasMaster = false;          // weights are more exact than the module copies beside them
    std::size_t parameters = 0;
    std::size_t pickleFiles = 0;
    std::size_t opaqueObjects = 0;   // of classes that were not looked into
    std::vector<std::string> changedFiles; // other size or time than when they were opened
    std::vector<std::string> missingFiles; // that the checkpoint names; also unreadable ones

    [[nodiscard]] const ContentFacts& of(Select select) const;
    [[nodiscard]] bool completeFor(Select select) const { return of(select).incomplete == 0 && of(select).tensors > 0; }
};
[[nodiscard]] SourceFacts factsOf(const Checkpoint& checkpoint, const std::stop_token& stop);

// What the user has chosen so far; a value that the page keeps as long as the tab is open.
struct JobDraft {
    std::string source;
    std::string format = "safetensors"; // format id
    Select select = Select::Weights;
    std::optional<DType> dtype;         // nothing: as stored
    bool oneFile = false;
    std::uint64_t maxShardBytes = kDefaultShardBytes;
    std::uint64_t memoryLimit = kDefaultMemoryLimit;
    std::uint32_t threads = 0; // 0: as many as there are
    QString include;           // a regular expression; empty: everything
    QString exclude;
    bool verify = true;
    bool overwrite = false;
    QString target;
    bool targetChosen = false; // by the user; else it follows the other choices

    auto operator<=>(const JobDraft&) const = default;
};

// ".safetensors" or ".pt".
[[nodiscard]] QString endingOf(const std::string& format);
// True where the name makes the target one file.
[[nodiscard]] bool namesFile(const QString& target);
// The job that the draft stands for. Defaults stay defaults, so that its command line is short.
[[nodiscard]] ConvertRequest requestOf(const JobDraft& draft);
// Beside the source: "<title>-safetensors", with a number where that exists.
[[nodiscard]] QString proposedTarget(const JobDraft& draft, const Checkpoint& checkpoint);
// Gives the target the ending that goes with `oneFile` and `format`.
[[nodiscard]] QString withEnding(QString target, const JobDraft& draft);

} // namespace shardlens::ui
