#pragma once

#include "core/encoding/torch_file.h"
#include "core/format/opened_file.h"
#include "core/model/checkpoint_builder.h"
#include "core/model/piece_import.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace shardlens::colossalai {

// A file of named tensors, .bin or .safetensors: a checkpoint of one file, whose pieces are taken over into the whole.
struct StoredFile {
    CheckpointPtr checkpoint;                     // null where the file is missing or cannot be read
    std::shared_ptr<const TorchFile> torch;       // of a .bin file
    std::vector<std::pair<std::string, std::string>> metadata; // of a safetensors file
    bool isSorted = false;                        // safetensors in the order of the reference writer: the order of the model is lost
    File row;                                     // as it stands in the checkpoint's table

    // The tensor of that name. Names of the checkpoint's parameters are those in the file.
    [[nodiscard]] std::optional<TensorId> find(std::string_view name) const;
    [[nodiscard]] std::size_t tensorCount() const { return checkpoint ? checkpoint->tensors().size() : 0; }
    void indexNames();

private:
    std::unordered_map<std::string_view, TensorId> m_byName; // names live in the checkpoint
};

// Opens `path` as the file `name` of a checkpoint. A file that is not there or cannot be read gives a row that says so, and the reason in `problem`.
struct StoredFileResult {
    StoredFile file;
    std::optional<Error> problem;
};
[[nodiscard]] StoredFileResult openStored(const std::string& path, const std::string& name, JobContext& job);
// Many at a time, in the order of `paths` (path, name). Cancelled where the job is told to stop.
[[nodiscard]] Result<std::vector<StoredFileResult>> openAllStored(const std::vector<std::pair<std::string, std::string>>& paths, JobContext& job);

// Whether two tensors of one file are the same memory: tied names.
[[nodiscard]] bool isSameMemory(const Checkpoint& file, TensorId a, TensorId b);
// Where the memory of a tensor begins, for finding others there.
struct MemoryPlace {
    StreamId stream{};
    std::uint64_t offset = 0;
    auto operator<=>(const MemoryPlace&) const = default;
};
[[nodiscard]] std::optional<MemoryPlace> memoryOf(const Checkpoint& file, TensorId tensor);

} // namespace shardlens::colossalai
