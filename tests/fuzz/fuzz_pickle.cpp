// Any bytes as a pickle: parsing ends, every value of the graph can be asked everything, and what is written again reads and writes as the same bytes.
#include "core/encoding/pickle/emitter.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/walk_pickle.h"

#include <algorithm>
#include <cstdlib>

namespace {

void writeAgain(shardlens::pickle::Value root)
{
    using namespace shardlens;
    auto written = pickle::emitPickle(root);
    if (!written)
        return; // what cannot be written is refused
    const auto bytes = std::make_shared<const std::vector<std::byte>>(written.take());
    const auto graph = pickle::Graph::parse(bytes);
    if (!graph || (*graph)->end() != bytes->size())
        std::abort();
    const auto again = pickle::emitPickle((*graph)->root());
    if (!again || *again != *bytes)
        std::abort();
}

} // namespace

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
        writeAgain((*graph)->root());
    }
    return 0;
}
