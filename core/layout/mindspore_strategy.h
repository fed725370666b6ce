#pragma once

#include "core/base/result.h"
#include "core/model/region.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// MindSpore's strategy files: which slice of every parameter a rank holds (formats/mindspore.md §3). Boxes: strategy_boxes.h; the files that MindSpore
// would open: strategy_ranks.h; writing: strategy_writer.h.
namespace shardlens::mindspore {

constexpr std::uint32_t kMostStrategyRanks = 1u << 22; // of all stages; a strategy of more is refused

// How a parameter lies over the devices of its pipeline stage (formats/mindspore.md §3.2). In a Strategy it is valid: axes exist and are named once, no axis
// is of size 0, the optimizer shard divides the repeated ranks, uneven row counts are as many as there are slices.
struct ParameterLayout {
    Shape deviceMatrix;                                 // D: sizes of the device axes, the last one fastest. Never empty
    std::vector<std::vector<std::uint32_t>> tensorMap;  // M: per tensor dimension the axes that cut it, most significant first, counted FROM THE RIGHT of D; none: not cut
    bool isMultiAxis = false;                           // written with one message a dimension (§3.3): D may hold ones
    bool isFromJson = false;                            // JSON flattens multi-axis maps: a map of more dimensions than the tensor has was one (§3.4)
    bool lacksOptimizerFields = false;                  // fields 5 to 7 are missing: written before MindSpore 1.3, taken as 0
    std::vector<std::int64_t> paramSplitShape;          // rows of dimension 0, one count a slice in slice order (§3.2.2); empty: even
    std::vector<std::int64_t> indicesOffset;            // kept to be written again
    std::int32_t field = 0;                             // §4.5; above 0: rows of a slice are interleaved, no box
    std::int32_t optShardStep = 0;
    std::int32_t optShardSize = 0;                      // -1: over all ranks that repeat the slice; k: groups of k

    auto operator<=>(const ParameterLayout&) const = default;
};

// A parameter of one stage.
struct StrategyItem {
    std::string name;               // without the stage's prefix
    std::uint32_t stage = 0;        // the pipeline stage that it is in
    std::uint32_t layout = 0;       // number in Strategy::layouts()
    std::optional<Shape> fullShape; // JSON files say it, protobuf files do not
};

// An operator, kept so that it can be written again; its strategies are informative.
struct StrategyOperator {
    std::string name;
    std::uint32_t stage = 0;
    std::vector<std::vector<std::uint64_t>> strategies; // per input the cuts of each dimension

    bool operator==(const StrategyOperator&) const = default;
};

// What a Strategy is made of.
struct StrategyParts {
    struct Parameter {
        std::string name; // without prefix
        std::uint32_t stage = 0;
        ParameterLayout layout;
        std::optional<Shape> fullShape;
    };
    std::string name; // of the file or folder, for messages
    std::uint32_t currentStage = 1;
    bool isMerged = false; // names are written as <stage>-<name>; always so where there are several stages
    std::vector<Parameter> parameters;
    std::vector<StrategyOperator> operators; // MindSpore's merge needs at least one of every stage
    std::vector<std::string> notes;
};

// The layouts of all parameters of a run, in all pipeline stages. Immutable; its stages are 0 to stageCount()-1, and all of its layouts are over equally many
// devices. Global rank = stage * stageDeviceCount() + local rank.
class Strategy {
public:
    // Refused, with the parameter named: a layout that breaks a rule of §8, products of device matrices that differ, a name that a stage has twice with other
    // layouts, no parameters ("no sliced parameters"), stages that are not 0..k-1 (the missing ones named), more than 2²⁰ devices a stage or 2²² ranks.
    [[nodiscard]] static Result<Strategy> make(StrategyParts parts);

    [[nodiscard]] const std::string& name() const { return m_name; }
    [[nodiscard]] std::uint32_t currentStage() const { return m_currentStage; }
    [[nodiscard]] bool isMerged() const { return m_isMerged; }
    [[nodiscard]] std::uint32_t stageCount() const { return m_stageCount; }
    [[nodiscard]] std::uint64_t stageDeviceCount() const { return m_stageDeviceCount; }
    [[nodiscard]] std::uint64_t worldSize() const { return m_stageDeviceCount * m_stageCount; }
    [[nodiscard]] std::uint32_t stageOf(std::uint64_t globalRank) const { return static_cast<std::uint32_t>(globalRank / m_stageDeviceCount); }
    [[nodiscard]] std::uint64_t localRankOf(std::uint64_t globalRank) const { return globalRank % m_stageDeviceCount; }

    [[nodiscard]] std::span<const StrategyItem> items() const { return m_items; } // in file order
    // Distinct ones: items that are cut alike share one.
    [[nodiscard]] std::span<const ParameterLayout> layouts() const { return m_layouts; }
    [[nodiscard]] const ParameterLayout& layoutOf(const StrategyItem& item) const { return m_layouts[item.layout]; }
    // O(log n); nullptr where that stage does not list the parameter. Lives as long as this.
    [[nodiscard]] const StrategyItem* find(std::string_view parameter, std::uint32_t stage) const;
    // The item of the lowest stage that lists it; nullptr where none does.
    [[nodiscard]] const StrategyItem* findLowest(std::string_view parameter) const;
    // Numbers of items of that name, by ascending stage; empty where there is none.
    [[nodiscard]] std::span<const std::uint32_t> itemsNamed(std::string_view parameter) const;
    // The stages that list it, ascending.
    [[nodiscard]] std::vector<std::uint32_t> stagesOf(std::string_view parameter) const;
    [[nodiscard]] std::size_t parameterCount() const { return m_nameRuns; } // distinct names

    [[nodiscard]] std::span<const StrategyOperator> operators() const { return m_operators; } // in file order
    // What a reader should know: fragments, "written before MindSpore 1.3; assuming no optimizer shard".
    [[nodiscard]] std::span<const std::string> notes() const { return m_notes; }

private:
    Strategy() = default;
    Status addParameters(std::vector<StrategyParts::Parameter> parameters);
    void sortNames();
    Status indexNames();
    Status countStages();

    std::string m_name;
    std::uint32_t m_currentStage = 1;
    bool m_isMerged = false;
    std::uint32_t m_stageCount = 1;
    std::uint64_t m_stageDeviceCount = 1;
    std::vector<StrategyItem> m_items;
    std::vector<ParameterLayout> m_layouts;
    std::vector<std::uint32_t> m_byName; // numbers of items, by name, then stage
    std::size_t m_nameRuns = 0;
    std::vector<StrategyOperator> m_operators;
    std::vector<std::string> m_notes;
};

// One file's bytes; protobuf or JSON is told by content. `name` is for messages and becomes Strategy::name(); errors do not repeat it.
// Names are split at their first dash where all of them begin with a number and a dash, else the file is of the stage of its first operator (§3.8, §9.1).
// Refused beside what Strategy::make refuses: truncated or other bytes, weights files, operator strategies, group maps, encrypted and empty files, each by what it is.
[[nodiscard]] Result<Strategy> parseStrategy(std::string_view bytes, std::string name);
// The same before stages are checked: the parts of a file that may be one stage's.
[[nodiscard]] Result<StrategyParts> parseStrategyParts(std::string_view bytes, std::string name);
// At most kLargestStrategyBytes. Errors are within the file.
[[nodiscard]] Result<Strategy> readStrategy(const std::string& path);
constexpr std::uint64_t kLargestStrategyBytes = 64u << 20;

// The merge of a folder's stage files (§3.7): one file a stage, by the stage of its first operator. Further files of a stage, which must say the same, and files
// that are merges themselves are skipped. A folder that holds merges only, all of them alike, stands for that merge.
struct StrategyFolder {
    struct Part {
        std::uint32_t stage = 0;
        std::string file; // its name in the folder
        std::size_t parameters = 0;
    };
    struct Skipped {
        std::string file;
        std::string why; // "stage 0 again"
    };
    Strategy strategy; // isMerged(); items by stage, then in file order
    std::vector<Part> parts;
    std::vector<Skipped> skipped;
};
// Looks at *.ckpt and *.json. Refused: both kinds, none, a file that is no strategy, files of one stage that differ, stages that are not 0..k-1 (the missing ones
// named).
[[nodiscard]] Result<StrategyFolder> readStrategyFolder(const std::string& folder);
// What --source-strategy and --strategy may name: a file, or a folder of stage files.
[[nodiscard]] Result<Strategy> readStrategyOrFolder(const std::string& path);

// Judges the first bytes of a file of `fileBytes` (§1.2): a strategy file, not weights. Never fails; a few hundred bytes are enough.
[[nodiscard]] bool looksLikeStrategy(std::string_view head, std::uint64_t fileBytes);
// Names of the files directly in a folder that look like strategies (*.ckpt, *.json), in natural order; empty where the folder cannot be read.
[[nodiscard]] std::vector<std::string> strategyFilesIn(const std::string& folder);

} // namespace shardlens::mindspore
