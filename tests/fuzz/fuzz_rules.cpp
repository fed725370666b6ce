// Any bytes as a rule file and as a list of SDLoaderFactory. What is accepted divides tensors without overlap: every part goes back to where it was cut from.
#include "core/format/sdloader/factory_list.h"
#include "core/layout/rule_set.h"
#include "tests/fuzz/input_file.h"

#include <cstdlib>
#include <string_view>

namespace shardlens::fuzz {
namespace {

constexpr std::uint64_t kExtents[] = {0, 1, 6, 24};

// Joining the parts gives the shape that was cut, and the parts' boxes fill it.
void cutAndJoin(const ShardRule& rule, const Shape& whole, std::uint32_t ranks, const Facts& facts)
{
    const auto division = divisionOf(rule, whole, ranks, facts);
    if (!division)
        return;
    std::vector<Shape> parts;
    std::uint64_t cells = 0;
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
        parts.push_back(partShape(*division, whole, rank));
        for (const Slab& slab : slabsOf(*division, whole, rank))
            cells += elementCount(slab.to.extent).value_or(0);
    }
    if (division->kind == Division::Kind::Split && cells != elementCount(whole).value_or(0))
        std::abort();
    const auto joined = joinedShape(rule, parts, facts);
    if (joined && joined->whole != whole)
        std::abort();
}

void tryRules(const RuleSet& set)
{
    const Facts facts{{"version", "2"}, {"heads", "6"}, {"hidden_size", "8"}, {"swiglu", "true"}};
    for (const char* name : {"layers.0.attention.query_key_value.weight", "decoder.layers.1.mlp.linear_fc1.weight", "w", ""}) {
        const auto rule = set.ruleFor(name, facts);
        (void)set.isOutOfCondition(name, facts);
        for (const std::uint64_t a : kExtents)
            for (std::uint32_t ranks = 1; rule && *rule != nullptr && ranks <= 3; ++ranks) {
                cutAndJoin(**rule, {a, 6}, ranks, facts);
                cutAndJoin(**rule, {a}, ranks, facts);
            }
    }
    Facts measured;
    addFactsOfShapes(set, {{"layers.0.mlp.inter_w", {6, 24}}, {"layers.0.mlp.output_w", {12, 6}}, {"w", {}}}, measured);
}

} // namespace
} // namespace shardlens::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace shardlens;
    if (size > fuzz::kMaxInput)
        return -1;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto rules = parseRules(text, "input"))
        fuzz::tryRules(*rules);
    const auto list = sdloader::parseList(text);
    if (!list)
        return 0;
    if (list->type == sdloader::FactoryList::Type::Megatron && list->checkpoints.empty())
        std::abort();
    const auto again = sdloader::parseList(sdloader::listText(*list, list->checkpoints));
    if (list->type == sdloader::FactoryList::Type::Megatron && (!again || again->checkpoints.size() != list->checkpoints.size()))
        std::abort();
    return 0;
}
