// Any bytes as a pickle: parsing ends, and every value of the graph can be asked everything.
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/walk_pickle.h"

#include <algorithm>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace shardlens;
    if (size > fuzz::kMaxInput)
        return -1;
    const auto* first = reinterpret_cast<const std::byte*>(data);
    const auto input = std::make_shared<const std::vector<std::byte>>(first, first + size);
    for (std::size_t at = 0; at < size;) { // one pickle after the other, as legacy files have them
        const auto graph = pickle::Graph::parse(input, at);
        if (!graph)
            break;
        if ((*graph)->end() <= at || (*graph)->end() > size)
            std::abort();
        at = (*graph)->end();
        for (std::size_t i = 0; i < (*graph)->nodeCount(); ++i)
            (void)fuzz::interrogate((*graph)->nodeAt(i));
        (void)fuzz::reachable((*graph)->root(), (*graph)->nodeCount());
    }
    return 0;
}
