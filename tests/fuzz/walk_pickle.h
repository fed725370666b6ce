#pragma once

#include "core/encoding/pickle/graph.h"

#include <vector>

namespace shardlens::fuzz {

// Asks a value everything that can be asked. Returns what it is made of (at most some of it where it is long).
std::vector<pickle::Value> interrogate(pickle::Value value);

// Interrogates every value that can be reached from `root`, at most `limit` of them, and returns them.
std::vector<pickle::Value> reachable(pickle::Value root, std::size_t limit);

} // namespace shardlens::fuzz
