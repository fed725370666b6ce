#pragma once

#include "core/base/result.h"
#include "core/encoding/mindspore_ckpt.h"
#include "core/model/checkpoint_builder.h"

#include <vector>

namespace shardlens::mindspore {

// Whose copy an entry is, and where.
struct CkptPlace {
    FileId file{};
    HolderId holder{};
};

// The entry's bytes as pieces that together cover the whole of `id`, whose shape must count as many values. Corrupt where a record ends inside a value.
Status addWholeEntry(CheckpointBuilder& builder, TensorId id, const CkptEntry& entry, const CkptPlace& place);
// The same where the entry is the slice `box` of `id`: box.extent must count as many values as the entry. A record that ends inside a row gives several boxes
// (at most 2·rank−1).
Status addEntryBox(CheckpointBuilder& builder, TensorId id, const CkptEntry& entry, const Box& box, const CkptPlace& place);

// Marks what is no value of an entry (the records' heads, the trailer) as Header spans.
void addCkptSpans(CheckpointBuilder& builder, FileId file, const std::vector<CkptEntry>& entries);

} // namespace shardlens::mindspore
