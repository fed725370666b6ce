// Any bytes as the stream of pickles and storages that torch.save wrote before its zip archives.
#include "tests/fuzz/walk_torch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace shardlens;
    if (size > fuzz::kMaxInput || (size >= 2 && data[0] == 'P' && data[1] == 'K'))
        return -1; // archives have a target of their own
    fuzz::walkTorch(fuzz::InputFile({data, size}));
    return 0;
}
