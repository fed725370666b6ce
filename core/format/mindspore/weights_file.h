#pragma once

#include "core/base/result.h"
#include "core/encoding/mindspore_ckpt.h"
#include "core/encoding/safetensors.h"
#include "core/format/mindspore/folder.h"
#include "core/model/checkpoint_builder.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace shardlens::mindspore {

// A weights file of either container, as entries.
struct WeightsFile {
    std::uint32_t rank = 0;
    FileId id = kNoFile;
    std::string name;         // relative to the run's folder
    bool isRead = false;      // false: missing or unreadable, and there is a finding
    bool isSafetensors = false;
    CkptFile content;

    // nullptr where the file has no entry of that name. Valid until the file moves.
    [[nodiscard]] const CkptEntry* find(std::string_view entry) const;
    // Call once, when the content is complete.
    void index();

private:
    std::unordered_map<std::string_view, std::size_t> m_numbers;
};

// A file of which everything but values has been read, before it is part of a checkpoint.
struct ParsedWeights {
    std::unique_ptr<WeightsFile> file;
    File row;
    SafetensorsHeader header;   // of that container
    std::optional<Error> error; // why it is not read
};
// Safe from several threads.
[[nodiscard]] ParsedWeights parseWeights(const RankPath& path, const JobContext& job);

// Adds row, spans, metadata and findings to the builder. A file that is missing or cannot be read gives a row alone; where it is alone, that is the failure.
[[nodiscard]] Result<std::unique_ptr<WeightsFile>> addWeights(CheckpointBuilder& builder, ParsedWeights parsed, bool isAlone);

// All of them, several at a time, in that order, with an Error finding for each that is missing or cannot be read.
[[nodiscard]] Result<std::vector<std::unique_ptr<WeightsFile>>> readAllWeights(CheckpointBuilder& builder, const std::vector<RankPath>& paths, JobContext& job);

// Whether the entry is a tensor of the model: no text, no opaque bytes.
[[nodiscard]] inline bool isTensor(const CkptEntry& entry)
{
    return entry.kind == CkptEntry::Kind::Tensor || entry.kind == CkptEntry::Kind::MapTensor;
}

} // namespace shardlens::mindspore
