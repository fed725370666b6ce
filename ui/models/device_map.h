#pragma once

#include "core/layout/mindspore_strategy.h"
#include "core/model/checkpoint.h"
#include "ui/models/device_grid.h"

#include <QString>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shardlens::ui {

constexpr const char* kStrategyFact = "mindspore-strategy"; // of Checkpoint::modelFacts()
constexpr const char* kNoStrategy = "no-strategy";          // Finding::code
constexpr std::uint64_t kMostDevices = 65'536; // that are drawn

// Which device of a MindSpore run holds which slice of one tensor. Immutable once built.
struct DeviceMap {
    struct Device {
        std::optional<std::uint32_t> slice; // index into `slices`; nothing: it holds none of the tensor
        bool isMissing = false;             // its file is not there or not readable
        std::vector<PieceId> pieces;        // of the checkpoint, where there is one: empty where another rank stores the slice for it
    };
    struct Slice {
        Box box;
        std::vector<std::uint32_t> ranks; // that hold it, ascending
        bool isHeld = true;               // false: it is in no file that can be read
    };

    QString parameter;
    Shape shape;
    bool isListed = false; // by the strategy; else every rank that has it holds all of it
    QString cut;           // "dimension 0 over 4 by axis 1, optimizer shard over 2", a sentence for each way where stages differ
    QString problem;       // a sentence: the strategy cannot be this tensor's; `slices` is empty then
    DeviceGrid grid;
    std::vector<Device> devices; // by rank
    std::vector<Slice> slices;   // by the first rank that holds each
    std::uint64_t valueBytes = 0; // of one value; 0: not known
    CheckpointPtr checkpoint;     // whose pieces the devices' are; nullptr: of a strategy alone

    // "rank 5: [4:8, 0:12], same as ranks 1 and 3"
    [[nodiscard]] QString sentenceOf(std::uint32_t rank) const;
    // "rank_5/net.ckpt, bytes 64 to 255"; where it lies, or why it lies nowhere. Empty without a checkpoint.
    [[nodiscard]] QString placeOf(std::uint32_t rank) const;
    // "[4:8, 0:12] on ranks 1, 3 and 5"
    [[nodiscard]] QString sliceText(std::uint32_t slice) const;
    [[nodiscard]] std::uint64_t bytesOf(std::uint32_t rank) const; // 0 where it holds nothing
    // Its file is there without the slice, which another rank stores for it (redundancy removed).
    [[nodiscard]] bool isStoredElsewhere(std::uint32_t rank) const;
};
using DeviceMapPtr = std::shared_ptr<const DeviceMap>;

// Where the devices are too many to be drawn nothing. No strategy: one device that holds all of it.
[[nodiscard]] DeviceMapPtr deviceMapOf(const mindspore::Strategy* strategy, const std::string& parameter, const Shape& shape);
// The same of a tensor of an opened run, with the slices that its files hold and where.
[[nodiscard]] DeviceMapPtr deviceMapOf(const mindspore::Strategy& strategy, const CheckpointPtr& checkpoint, TensorId tensor);

// "1", "1 and 3", "1, 3, 5, 7 and 12 more"
[[nodiscard]] QString ranksText(const std::vector<std::uint32_t>& ranks);

// The strategy that an opened run was read by: its path; empty where there is none.
[[nodiscard]] QString strategyPathOf(const Checkpoint& checkpoint);
// Rank folders of MindSpore, with a strategy or not: what one can be asked for.
[[nodiscard]] bool isMindSporeRun(const Checkpoint& checkpoint);
// Rank folders that are shown apart for want of a strategy.
[[nodiscard]] bool lacksStrategy(const Checkpoint& checkpoint);

// A strategy that was read, or why not. A value from a worker.
struct StrategyReading {
    std::shared_ptr<const mindspore::Strategy> strategy;
    QString problem; // a sentence
};
// Of a file or a folder of stage files.
[[nodiscard]] StrategyReading readStrategyAt(const QString& path);
// Whether a path is a strategy by its first bytes, or a folder of such files and no others. For a worker.
[[nodiscard]] bool looksLikeStrategyAt(const QString& path);

} // namespace shardlens::ui
