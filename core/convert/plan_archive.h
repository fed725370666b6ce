#pragma once

#include "core/base/result.h"
#include "core/convert/plan.h"

#include <string>
#include <vector>

namespace shardlens {

// A storage of a torch file that is to be written. Offsets of its runs count from the storage's begin; what no run covers is zero.
struct ArchiveStorage {
    std::uint64_t sizeBytes = 0;
    std::vector<PlannedTensor> runs; // ascending by offset; those that share bytes lie on an earlier one
};

struct ArchiveContent {
    std::vector<std::byte> pickle;        // data.pkl
    std::vector<ArchiveStorage> storages; // data/0, data/1, …
    bool bigEndian = false;
};

// The zip that torch.save writes (formats/pytorch.md §2): headers and pickle as literals, a record with its checksum for every storage.
[[nodiscard]] Result<PlannedFile> planTorchArchive(const std::string& fileName, ArchiveContent content);
// A data file of a DCP directory (formats/pytorch.md §9.4): such archives one behind the other, each of one item.
[[nodiscard]] Result<PlannedFile> planDcpFile(const std::string& fileName, std::vector<ArchiveContent> items);

} // namespace shardlens
