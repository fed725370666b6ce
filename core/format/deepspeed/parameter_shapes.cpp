#include "core/format/deepspeed/parameter_shapes.h"

#include "core/base/checked.h"
#include "core/base/text.h"

#include <fmt/format.h>

namespace shardlens::deepspeed {
namespace {

constexpr std::size_t kMaxGroups = 1'000'000;

} // namespace

Result<ParameterGroup> groupOf(pickle::Value shapes)
{
    ParameterGroup group;
    group.reserve(shapes.size());
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        const auto name = shapes.keyAt(i).asText();
        const auto shape = shapeOf(shapes.valueAt(i));
        if (!name || !shape)
            return Error{ErrorCode::Corrupt, fmt::format("param_shapes: entry {} is no name with a shape", i)};
        const auto count = elementCount(*shape);
        if (!count || *count > (std::uint64_t{1} << 60))
            return Error{ErrorCode::Corrupt, fmt::format("param_shapes: {} has too many elements: {}", printable(*name), shapeText(*shape))};
        group.push_back({std::string(*name), *shape, *count});
    }
    return group;
}

Status readParameterShapes(Run& run)
{
    pickle::Value shapes = run.model.root().find("param_shapes");
    if (shapes.isNone())
        if (const auto first = run.firstOptimizer())
            shapes = run.optimizers.at(*first).root().find("param_shapes");
    if (shapes.isNone())
        return {};
    if (shapes.isMapping()) {
        SHARDLENS_ASSIGN(auto group, groupOf(shapes));
        run.groups.push_back(std::move(group));
        return {};
    }
    if (!shapes.isSequence() || shapes.size() > kMaxGroups)
        return Error{ErrorCode::Corrupt, "param_shapes is neither a dictionary nor a list of them"};
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        SHARDLENS_ASSIGN(auto group, groupOf(shapes.at(i)));
        run.groups.push_back(std::move(group));
    }
    return {};
}

Status cutIntoGroups(Run& run, const std::vector<std::uint64_t>& groupLengths)
{
    if (run.groups.size() != 1 || groupLengths.size() < 2)
        return {};
    const ParameterGroup all = std::move(run.groups.front());
    run.groups.assign(groupLengths.size(), {});
    const std::uint64_t alignment = 2ull * run.world;
    std::size_t group = 0;
    std::uint64_t filled = 0;
    for (const ParameterShape& parameter : all) {
        // The flat vector holds between T and ceil(T, 2W) elements: the group is full as soon as that is so.
        const auto isFull = [&] { return filled > 0 && filled <= groupLengths[group] && groupLengths[group] <= ceilDiv(filled, alignment) * alignment; };
        while (group + 1 < groupLengths.size() && isFull()) {
            ++group;
            filled = 0;
        }
        filled += parameter.count;
        run.groups[group].push_back(parameter);
    }
    return {};
}

} // namespace shardlens::deepspeed
