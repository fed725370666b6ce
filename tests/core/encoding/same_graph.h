#pragma once

#include "core/encoding/pickle/graph.h"

#include <string>

namespace shardlens::test {

// Empty where the two values load to equal objects with the same sharing; else where they part. Python 2 names count as what Python 3 makes of them.
// References between equal leaves (numbers, texts, names) are no sharing: nobody can tell.
[[nodiscard]] std::string differenceOf(pickle::Value a, pickle::Value b);

} // namespace shardlens::test
