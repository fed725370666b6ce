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
    std::uint32_t writers = 1;              // of a PyTorch DCP: files to share the tensors out to
    std::optional<std::uint32_t> dp;        // of a run to train on with; nothing: the source's ranks
    std::optional<std::uint32_t> zeroStage; // nothing: the source's
    std::optional<std::uint32_t> tp;        // likewise, and of another parallel layout; nothing: the source's
    std::optional<std::uint32_t> pp;
    std::optional<std::uint32_t> ep;
    bool keepObjects = false;
    std::optional<std::string> rules; // by which the source is read: id or file; nothing: as its format chooses
    bool sourceIsTree = false;        // one torch file with nesting: everything of it goes into one torch file as it is
    std::optional<std::string> tag;   // of a job document; this page chooses none
    OpenOptions open;                 // what else the source is open with: the strategy of a MindSpore run, files of its ranks
    bool sourceIsMindSpore = false;   // its names are flat: all of its tensors are taken
    std::string sourceContainer = "ckpt"; // of MindSpore's two, where nothing is chosen
    std::optional<std::string> strategy;  // of MindSpore's ranks, a file or folder; nothing: the whole model in one file
    std::optional<std::string> prefix;    // of the names of their files
    std::optional<std::string> container; // "ckpt" or "safetensors"; nothing: sourceContainer
    std::optional<std::uint32_t> rank;    // only that one of the target
    std::string scheme;        // that weights of Linear layers are quantized in; empty: none
    QString quantizeExclude;   // a regular expression: weights that are left as they are; empty: none
    bool dequantize = false;   // weights that the source stores quantized stand for their values
    std::string device = "auto"; // where they are quantized
    QString target;
    bool targetChosen = false; // by the user; else it follows the other choices

    auto operator<=>(const JobDraft&) const = default;
};

// With another goal. Sizes of ranks that were chosen for one mean nothing for the next, which may have no field to take them back.
[[nodiscard]] JobDraft withGoal(JobDraft draft, const std::string& format);
// Formats of runs that are cut anew in their own format: tensor-parallel lists and Megatron-LM.
[[nodiscard]] bool isLayoutFormat(const std::string& formatId);
// The goal is the source's own format on another parallel layout; a kind of run.
[[nodiscard]] bool makesLayout(const JobDraft& draft);
// The goal is a run that an engine resumes: all of the source, on ranks.
[[nodiscard]] bool makesRun(const JobDraft& draft);
// The goal is MindSpore's files: the ranks of a strategy, or the whole model in one.
[[nodiscard]] bool makesMindSpore(const JobDraft& draft);
// The goal is a framework's shards of whatever the source holds.
[[nodiscard]] bool makesSharded(const JobDraft& draft);
// Either of the kinds that take all that the source holds, without anything to pick: a run, or sharded files.
[[nodiscard]] bool takesAll(const JobDraft& draft);
// Either of the last two: what the source as a whole becomes are that format's files, and no run of the source's own.
[[nodiscard]] bool makesFrameworkFiles(const JobDraft& draft);
// Files of a framework that are cut for tensor and pipeline ranks.
[[nodiscard]] bool hasStages(const std::string& formatId);
// The goal has tensor and pipeline ranks that the draft chooses.
[[nodiscard]] bool hasStages(const JobDraft& draft);
// The goal has a number of writers.
[[nodiscard]] bool hasWriters(const JobDraft& draft);
// The goal splits its files at a size, or makes one of all.
[[nodiscard]] bool hasShards(const JobDraft& draft);
// What its files are: "ckpt" or "safetensors".
[[nodiscard]] std::string containerOf(const JobDraft& draft);
// The goal can hold quantized weights: tensors that are picked from the source, in a container that says their names.
[[nodiscard]] bool canQuantize(const JobDraft& draft);
// It does: weights of the result are codes and scales.
[[nodiscard]] bool makesCodes(const JobDraft& draft);
// The result is the source's whole tree.
[[nodiscard]] bool keepsTree(const JobDraft& draft);
// Any of these: nothing is picked from the source, nothing is cast or split, and objects that are no tensors are written too.
[[nodiscard]] bool takesWhole(const JobDraft& draft);
[[nodiscard]] bool makesOneFile(const JobDraft& draft);
// The contents that the goal takes: a run is everything, whatever was chosen for another goal.
[[nodiscard]] Select contentsOf(const JobDraft& draft);
// Why the target's name cannot be that of the result: a file where a folder is made, or the other way round. Empty: it can.
[[nodiscard]] QString problemOfTarget(const JobDraft& draft);
// ".safetensors" or ".pt"; empty where a goal makes no single file.
[[nodiscard]] QString endingOf(const std::string& format);
// True where the name makes the target one file.
[[nodiscard]] bool namesFile(const QString& target);
// The job that the draft stands for, without the choices that its goal does not offer. Defaults stay defaults, so that its command line is short.
[[nodiscard]] ConvertRequest requestOf(const JobDraft& draft);
// Beside the source: "<title>-safetensors" or "<title>-dp6", with a number where that exists.
[[nodiscard]] QString proposedTarget(const JobDraft& draft, const Checkpoint& checkpoint);
// Gives the target the ending that goes with the goal, or takes it away.
[[nodiscard]] QString withEnding(QString target, const JobDraft& draft);

} // namespace shardlens::ui
