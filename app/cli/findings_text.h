#pragma once

#include "app/cli/console.h"
#include "core/model/checkpoint.h"

#include <vector>

namespace shardlens::cli {

// One paragraph a finding, the severity first; nothing where there are none.
void printFindings(Console& console, const std::vector<Finding>& findings);

} // namespace shardlens::cli
