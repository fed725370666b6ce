#include "core/layout/strategy_writer.h"

#include "core/base/text.h"
#include "core/layout/strategy_boxes.h"
#include "core/layout/strategy_wire.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <unordered_map>

namespace shardlens::mindspore {
namespace {

// A signed number as protobuf has it: -1 is ten bytes.
std::uint64_t extended(std::int64_t number)
{
    return static_cast<std::uint64_t>(number);
}

template <typename Numbers>
std::string dimsMessage(const Numbers& numbers)
{
    std::string out;
    for (const auto number : numbers)
        appendNumber(out, 1, static_cast<std::uint64_t>(number));
    return out;
}

std::vector<std::int64_t> mapEntries(const std::vector<std::uint32_t>& axes)
{
    return axes.empty() ? std::vector<std::int64_t>{-1} : std::vector<std::int64_t>(axes.begin(), axes.end());
}

// Fields 2 of Layouts: one message, or one a dimension and at least two (§3.3).
void appendMap(std::string& out, const ParameterLayout& layout)
{
    if (!layout.isMultiAxis) {
        std::string flat;
        for (const auto& axes : layout.tensorMap)
            flat += dimsMessage(mapEntries(axes));
        appendBytes(out, 2, flat);
        return;
    }
    for (const auto& axes : layout.tensorMap)
        appendBytes(out, 2, dimsMessage(mapEntries(axes)));
    if (layout.tensorMap.size() == 1)
        appendBytes(out, 2, {});
}

std::string layoutMessage(const ParameterLayout& layout)
{
    std::string out;
    appendBytes(out, 1, dimsMessage(layout.deviceMatrix));
    appendMap(out, layout);
    appendBytes(out, 3, dimsMessage(layout.paramSplitShape));
    appendBytes(out, 4, dimsMessage(layout.indicesOffset));
    appendNumber(out, 5, extended(layout.field));
    appendNumber(out, 6, extended(layout.optShardStep));
    appendNumber(out, 7, extended(layout.optShardSize));
    return out;
}

std::string operatorMessage(const StrategyOperator& one)
{
    std::string strategies;
    appendNumber(strategies, 1, one.stage);
    for (const auto& cuts : one.strategies)
        appendBytes(strategies, 2, dimsMessage(cuts));
    std::string out;
    appendBytes(out, 1, one.name);
    appendBytes(out, 2, strategies);
    return out;
}

std::string writtenName(const Strategy& strategy, const StrategyItem& item)
{
    return strategy.isMerged() ? fmt::format("{}-{}", item.stage, item.name) : item.name;
}

template <typename Numbers>
std::string listJson(const Numbers& numbers)
{
    return fmt::format("[{}]", fmt::join(numbers, ", "));
}

std::string layoutJson(const ParameterLayout& layout, const std::optional<Shape>& fullShape)
{
    std::vector<std::int64_t> map;
    for (const auto& axes : layout.tensorMap)
        map.push_back(mapEntries(axes).front());
    std::string out = fmt::format("{{\"dev_matrix\": {}, \"field\": {}", listJson(layout.deviceMatrix), layout.field);
    if (!layout.paramSplitShape.empty())
        out += fmt::format(", \"indices_offset\": {}", listJson(layout.indicesOffset));
    out += fmt::format(", \"opt_weight_shard_size\": {}, \"opt_weight_shard_step\": {}", layout.optShardSize, layout.optShardStep);
    if (!layout.paramSplitShape.empty())
        out += fmt::format(", \"param_split_shape\": {}", listJson(layout.paramSplitShape));
    out += fmt::format(", \"tensor_map\": {}", listJson(map));
    if (fullShape)
        out += fmt::format(", \"tensor_shape\": {}", listJson(*fullShape));
    return out + "}";
}

std::string quoted(const std::string& name)
{
    return nlohmann::json(name).dump();
}

std::string operatorsJson(const Strategy& strategy)
{
    const auto operators = strategy.operators();
    std::unordered_map<std::string_view, std::size_t> last;
    for (std::size_t i = 0; i < operators.size(); ++i)
        last[operators[i].name] = i;
    std::string out;
    for (std::size_t i = 0; i < operators.size(); ++i) {
        if (last[operators[i].name] != i)
            continue;
        std::string inputs;
        for (const auto& cuts : operators[i].strategies)
            inputs += (inputs.empty() ? "" : ", ") + listJson(cuts);
        out += fmt::format("{}\n  {}: {{\"parallel_strategy\": [{}], \"stage\": {}}}",
                           out.empty() ? "" : ",", quoted(operators[i].name), inputs, operators[i].stage);
    }
    return out;
}

bool needsSeveralAxes(const ParameterLayout& layout)
{
    for (const auto& axes : layout.tensorMap)
        if (axes.size() > 1)
            return true;
    return false;
}

} // namespace

std::string strategyProtobuf(const Strategy& strategy)
{
    std::string out;
    appendNumber(out, 1, strategy.currentStage());
    for (const StrategyOperator& one : strategy.operators())
        appendBytes(out, 2, operatorMessage(one));
    for (const StrategyItem& item : strategy.items()) {
        std::string message;
        appendBytes(message, 1, writtenName(strategy, item));
        appendBytes(message, 2, layoutMessage(strategy.layoutOf(item)));
        appendBytes(out, 3, message);
    }
    return out;
}

Result<std::string> strategyJson(const Strategy& strategy)
{
    std::string layouts;
    for (const StrategyItem& item : strategy.items()) {
        const ParameterLayout& layout = strategy.layoutOf(item);
        if (needsSeveralAxes(layout))
            return Error{ErrorCode::Refused, "a dimension is cut by several axes, which JSON cannot hold; write a protobuf strategy (.ckpt)"}
                .within("parameter " + printable(writtenName(strategy, item)));
        layouts += fmt::format("{}\n  {}: {}", layouts.empty() ? "" : ",", quoted(writtenName(strategy, item)), layoutJson(layout, item.fullShape));
    }
    return fmt::format("{{\"current_stage\": {},\n \"parallel_layout_item\": {{{}}},\n \"parallel_strategy_item\": {{{}}}}}\n",
                       strategy.currentStage(), layouts, operatorsJson(strategy));
}

Result<std::string> strategyBytesFor(const Strategy& strategy, std::string_view fileName)
{
    if (fileName.ends_with(".json"))
        return strategyJson(strategy);
    return strategyProtobuf(strategy);
}

} // namespace shardlens::mindspore
