#pragma once

#include "core/format/deepspeed/run.h"

namespace shardlens::deepspeed {

// Title, facts, what each file holds, and the trees of the pickles, for people.
void addFacts(Run& run);

} // namespace shardlens::deepspeed
