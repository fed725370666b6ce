#include "tests/fuzz/walk_pickle.h"

#include <cstdlib>
#include <numeric>
#include <unordered_set>

namespace shardlens::fuzz {
namespace {

using pickle::Value;

constexpr std::size_t kMaxParts = 256; // of one value

// Reads every byte, so that a view that leaves its memory is noticed.
void touch(std::span<const std::byte> bytes)
{
    const volatile unsigned sum = std::accumulate(bytes.begin(), bytes.end(), 0u, [](unsigned before, std::byte byte) { return before + static_cast<unsigned>(byte); });
    (void)sum;
}

void touch(std::string_view text)
{
    touch(std::as_bytes(std::span(text)));
}

void readLeaf(Value value)
{
    if (const auto text = value.asText()) {
        touch(*text);
        touch(pickle::latin1(*text));
    }
    if (const auto bytes = value.asBytes())
        touch(*bytes);
    touch(value.globalModule());
    touch(value.globalName());
    (void)value.asBool();
    (void)value.asInt();
    (void)value.asFloat();
}

} // namespace

std::vector<Value> interrogate(Value value)
{
    readLeaf(value);
    std::vector<Value> parts{value.callable(), value.args(), value.kwargs(), value.state(), value.persistentId(), value.attribute("shape"), value.find("module")};
    const std::size_t count = value.size();
    if (count != 0 && !value.isSequence() && !value.isMapping())
        std::abort(); // only sequences and mappings have a size
    for (std::size_t i = 0; i < count && i < kMaxParts; ++i) {
        parts.push_back(value.at(i));
        parts.push_back(value.keyAt(i));
        parts.push_back(value.valueAt(i));
    }
    for (const std::size_t outside : {count, count + 1, SIZE_MAX})
        if (value.at(outside) || value.keyAt(outside) || value.valueAt(outside))
            std::abort(); // past the end is absent
    std::erase_if(parts, [](Value part) { return !part; });
    return parts;
}

std::vector<Value> reachable(Value root, std::size_t limit)
{
    std::vector<Value> out{root};
    std::unordered_set<std::uint32_t> seen{root.index()};
    for (std::size_t next = 0; next < out.size(); ++next)
        for (const Value part : interrogate(out[next]))
            if (out.size() < limit && seen.insert(part.index()).second)
                out.push_back(part);
    return out;
}

} // namespace shardlens::fuzz
