// Schema: formats/mindspore.md §3.4.
#include "core/base/json_text.h"
#include "core/base/text.h"
#include "core/layout/strategy_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <limits>

namespace shardlens::mindspore {
namespace {

// Objects that look up fast: a model has tens of thousands of parameters. The order of the file is kept beside.
using StrategyJson = nlohmann::json;

constexpr std::size_t kDeepestStrategyJson = 16;
constexpr std::size_t kLargestStrategyJson = 48u << 20; // becomes several times as much in memory
constexpr const char* kLayoutItems = "parallel_layout_item";
constexpr const char* kOperatorItems = "parallel_strategy_item";

Result<std::int64_t> wholeNumber(const StrategyJson& value)
{
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        return Error{ErrorCode::Corrupt, "a number of more than 63 bits"};
    if (!value.is_number_integer())
        return Error{ErrorCode::Corrupt, fmt::format("a whole number is needed, and this is {}", value.type_name())};
    return value.get<std::int64_t>();
}

Result<std::vector<std::int64_t>> wholeNumbers(const StrategyJson& value)
{
    if (!value.is_array())
        return Error{ErrorCode::Corrupt, fmt::format("a list is needed, and this is {}", value.type_name())};
    std::vector<std::int64_t> out;
    for (const StrategyJson& one : value) {
        SHARDLENS_ASSIGN(const std::int64_t number, wholeNumber(one));
        out.push_back(number);
    }
    return out;
}

Result<Shape> sizesOf(const StrategyJson& value)
{
    SHARDLENS_ASSIGN(const auto numbers, wholeNumbers(value));
    Shape out;
    for (const std::int64_t number : numbers) {
        if (number < 0)
            return Error{ErrorCode::Corrupt, fmt::format("{} is no size", number)};
        out.push_back(static_cast<std::uint64_t>(number));
    }
    return out;
}

Result<std::int32_t> smallNumber(const StrategyJson& value)
{
    SHARDLENS_ASSIGN(const std::int64_t number, wholeNumber(value));
    if (number < std::numeric_limits<std::int32_t>::min() || number > std::numeric_limits<std::int32_t>::max())
        return Error{ErrorCode::Corrupt, fmt::format("{} is no number of 32 bits", number)};
    return static_cast<std::int32_t>(number);
}

// MindSpore writes flat maps; lists of lists are read as one list a dimension.
Status readMapJson(const StrategyJson& value, ParameterLayout& out)
{
    if (!value.is_array())
        return Error{ErrorCode::Corrupt, fmt::format("a list is needed, and this is {}", value.type_name())};
    if (value.size() > kMostStrategyDimensions)
        return Error{ErrorCode::LimitExceeded, fmt::format("more than {} dimensions", kMostStrategyDimensions)};
    std::vector<std::vector<std::int64_t>> dimensions;
    for (const StrategyJson& one : value) {
        out.isMultiAxis = out.isMultiAxis || one.is_array();
        SHARDLENS_ASSIGN(auto axes, wholeNumbers(one.is_array() ? one : StrategyJson::array({one})));
        dimensions.push_back(std::move(axes));
    }
    SHARDLENS_ASSIGN(out.tensorMap, axesOfMap(dimensions));
    return {};
}

Status readLayoutMember(const std::string& name, const StrategyJson& value, StrategyText::Parameter& out)
{
    ParameterLayout& layout = out.layout;
    if (name == "dev_matrix") {
        SHARDLENS_ASSIGN(layout.deviceMatrix, sizesOf(value));
    } else if (name == "tensor_map") {
        return readMapJson(value, layout);
    } else if (name == "tensor_shape") {
        SHARDLENS_ASSIGN(out.fullShape, sizesOf(value));
    } else if (name == "param_split_shape") {
        SHARDLENS_ASSIGN(layout.paramSplitShape, wholeNumbers(value));
    } else if (name == "indices_offset") {
        SHARDLENS_ASSIGN(layout.indicesOffset, wholeNumbers(value));
    } else if (name == "field") {
        SHARDLENS_ASSIGN(layout.field, smallNumber(value));
    } else if (name == "opt_weight_shard_step") {
        SHARDLENS_ASSIGN(layout.optShardStep, smallNumber(value));
    } else if (name == "opt_weight_shard_size") {
        SHARDLENS_ASSIGN(layout.optShardSize, smallNumber(value));
    }
    return {};
}

// A map of more dimensions than the shape is what the writer makes of several axes a dimension.
Status checkShapeJson(const StrategyText::Parameter& parameter)
{
    const std::size_t mapped = parameter.layout.tensorMap.size();
    if (!parameter.fullShape || parameter.fullShape->size() == mapped)
        return {};
    const std::string lengths = fmt::format("its tensor_map is of {} and its tensor_shape {}",
                                            plural(mapped, "dimension", "dimensions"), shapeText(*parameter.fullShape));
    if (mapped < parameter.fullShape->size())
        return Error{ErrorCode::Corrupt, lengths};
    return Error{ErrorCode::Unsupported, lengths + ": a multi-axis layout, which JSON loses; use the protobuf strategy"};
}

Result<StrategyText::Parameter> parameterJson(const std::string& name, const StrategyJson& value)
{
    SHARDLENS_TRY(checkStrategyName(name));
    if (!value.is_object())
        return Error{ErrorCode::Corrupt, fmt::format("a layout is needed, and this is {}", value.type_name())};
    for (const char* needed : {"dev_matrix", "tensor_map"})
        if (!value.contains(needed))
            return Error{ErrorCode::Corrupt, fmt::format("{} is missing", needed)};
    StrategyText::Parameter out{name, {}, std::nullopt};
    for (const auto& [member, content] : value.items())
        if (Status read = readLayoutMember(member, content, out); !read)
            return read.takeError().within(member);
    out.layout.isFromJson = true;
    out.layout.lacksOptimizerFields = !value.contains("opt_weight_shard_step") || !value.contains("opt_weight_shard_size");
    SHARDLENS_TRY(checkShapeJson(out));
    return out;
}

Result<StrategyOperator> operatorJson(const std::string& name, const StrategyJson& value)
{
    SHARDLENS_TRY(checkStrategyName(name));
    if (!value.is_object())
        return Error{ErrorCode::Corrupt, fmt::format("a strategy is needed, and this is {}", value.type_name())};
    StrategyOperator out{name, 0, {}};
    if (const auto stage = value.find("stage"); stage != value.end()) {
        SHARDLENS_ASSIGN(const std::int32_t number, smallNumber(*stage));
        if (number < 0)
            return Error{ErrorCode::Corrupt, fmt::format("stage {}", number)};
        out.stage = static_cast<std::uint32_t>(number);
    }
    const auto inputs = value.find("parallel_strategy");
    if (inputs == value.end() || !inputs->is_array())
        return out;
    for (const StrategyJson& input : *inputs) {
        SHARDLENS_ASSIGN(auto cuts, sizesOf(input));
        out.strategies.push_back(std::move(cuts));
    }
    return out;
}

// Keeps the keys of the second level in the order of the text.
class ItemKeys final : public nlohmann::json_sax<StrategyJson> {
public:
    explicit ItemKeys(std::vector<std::string>& keys) : m_keys(keys) {}

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return ++m_depth > 0; }
    bool end_object() override { return m_depth-- > 0; }
    bool start_array(std::size_t) override { return ++m_depth > 0; }
    bool end_array() override { return m_depth-- > 0; }
    bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override { return false; }
    bool key(string_t& name) override
    {
        if (m_depth == 2)
            m_keys.push_back(std::move(name));
        return true;
    }

private:
    std::vector<std::string>& m_keys;
    std::size_t m_depth = 0;
};

// A file's JSON and the names of its items in their order, which the parser's own objects do not keep.
struct StrategyDocument {
    StrategyJson root;
    std::vector<std::string> keys; // of the second level
};

Result<StrategyDocument> parseDocument(std::string_view bytes)
{
    if (bytes.size() > kLargestStrategyJson)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} B of JSON, at most {} B are read", groupedText(bytes.size()), groupedText(kLargestStrategyJson))};
    if (const std::size_t depth = jsonNesting(bytes); depth > kDeepestStrategyJson)
        return Error{ErrorCode::LimitExceeded, fmt::format("it nests {} levels deep, at most {} are read", depth, kDeepestStrategyJson)};
    StrategyDocument out;
    try {
        out.root = StrategyJson::parse(bytes);
    } catch (const StrategyJson::exception& problem) {
        const std::string text = problem.what(); // starts with the parser's error code
        const std::size_t end = text.find("] ");
        return Error{ErrorCode::Corrupt, "no JSON: " + printable(end == std::string::npos ? text : text.substr(end + 2))};
    }
    ItemKeys keys(out.keys); // a pass of its own: the parser's callback looks through an object after each of its members
    StrategyJson::sax_parse(bytes, &keys);
    return out;
}

Status checkDocument(const StrategyJson& root)
{
    if (!root.is_object())
        return Error{ErrorCode::Refused, "no strategy file: JSON without names"};
    if (root.contains("parallel_layout_value_item") || root.contains("parallel_out_strategy_item"))
        return Error{ErrorCode::Refused, "it holds strategies of operators (set_op_strategy_config), which do not say how parameters are cut"};
    const auto items = root.find(kLayoutItems);
    if (items == root.end())
        return Error{ErrorCode::Refused, fmt::format("no strategy file: {} is missing", kLayoutItems)};
    if (items->is_null())
        return {};
    if (!items->is_object())
        return Error{ErrorCode::Corrupt, fmt::format("{} is {}", kLayoutItems, items->type_name())};
    return {};
}

// Visits the members of root[section] in the order of the file; a name that is there twice counts once, with its last content.
template <typename Visit>
Status forEachItem(StrategyDocument& document, const char* section, const Visit& visit)
{
    const auto items = document.root.find(section);
    if (items == document.root.end() || !items->is_object())
        return {};
    for (const std::string& key : document.keys)
        if (const auto item = items->find(key); item != items->end()) {
            SHARDLENS_TRY(visit(key, *item));
            items->erase(item);
        }
    return {};
}

} // namespace

Result<StrategyText> parseStrategyJson(std::string_view bytes)
{
    SHARDLENS_ASSIGN(StrategyDocument document, parseDocument(bytes));
    SHARDLENS_TRY(checkDocument(document.root));
    StrategyText out;
    if (const auto stage = document.root.find("current_stage"); stage != document.root.end() && stage->is_number_unsigned())
        out.currentStage = static_cast<std::uint32_t>(stage->get<std::uint64_t>());
    SHARDLENS_TRY(forEachItem(document, kLayoutItems, [&](const std::string& name, const StrategyJson& value) -> Status {
        auto read = parameterJson(name, value);
        if (!read)
            return read.takeError().within("parameter " + printable(name));
        out.parameters.push_back(read.take());
        return {};
    }));
    SHARDLENS_TRY(forEachItem(document, kOperatorItems, [&](const std::string& name, const StrategyJson& value) -> Status {
        auto read = operatorJson(name, value);
        if (!read)
            return read.takeError().within("operator " + printable(name));
        out.operators.push_back(read.take());
        return {};
    }));
    return out;
}

} // namespace shardlens::mindspore
