#pragma once

#include "app/cli/console.h"
#include "core/layout/partition_preview.h"

#include <span>
#include <string>

namespace shardlens::cli {

struct PartitionReportOptions {
    std::string title;                      // of the checkpoint; may be empty
    std::span<const std::string> names = {}; // class names of the layers; may be empty
    bool listsLayers = false;
};

// For people: a line each stage with a bar, the balance, the boundaries and what the layers leave open.
void printPartition(Console& console, const PartitionPreview& preview, const PartitionReportOptions& options);

} // namespace shardlens::cli
