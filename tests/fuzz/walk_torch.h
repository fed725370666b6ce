#pragma once

#include "tests/fuzz/input_file.h"

namespace shardlens::fuzz {

// Opens the input as a file of torch.save, describes it, and reads from every tensor in it. False where it cannot be opened.
bool walkTorch(const InputFile& input);

} // namespace shardlens::fuzz
