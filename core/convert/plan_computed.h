#pragma once

#include "core/convert/plan.h"

namespace shardlens {

// Marks the runs of a plan that are whole outputs of computations with several, and lists these in Plan::computed: one pass over the source gives them all.
void planComputed(Plan& plan);

} // namespace shardlens
