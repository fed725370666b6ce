// Schema: formats/mindspore.md §3.1.
#include "core/base/text.h"
#include "core/layout/strategy_text.h"
#include "core/layout/strategy_wire.h"

#include <fmt/format.h>

#include <functional>
#include <limits>

namespace shardlens::mindspore {
namespace {

using Type = WireField::Type;

// int32 on the wire is sign-extended to 64 bits; some writers stop at 32.
Result<std::int32_t> int32Of(std::uint64_t value)
{
    const auto extended = static_cast<std::int64_t>(value);
    if (value > std::numeric_limits<std::uint32_t>::max() && (extended >= 0 || extended < std::numeric_limits<std::int32_t>::min()))
        return Error{ErrorCode::Corrupt, fmt::format("{} is no number of 32 bits", extended)};
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
}

Result<std::int64_t> dimOf(std::uint64_t value, bool is32Bits)
{
    if (!is32Bits)
        return static_cast<std::int64_t>(value);
    SHARDLENS_ASSIGN(const std::int32_t dim, int32Of(value));
    return dim;
}

// { repeated number dim = 1 }, packed or not.
Result<std::vector<std::int64_t>> dimsOf(const WireField& message, std::string_view file, bool is32Bits, std::size_t most)
{
    std::vector<std::int64_t> out;
    const auto add = [&](std::uint64_t value) -> Status {
        if (out.size() == most)
            return Error{ErrorCode::LimitExceeded, fmt::format("more than {} numbers in the list at byte {}", most, message.offset)};
        SHARDLENS_ASSIGN(const std::int64_t dim, dimOf(value, is32Bits));
        out.push_back(dim);
        return {};
    };
    for (WireReader reader(message, file); !reader.atEnd();) {
        SHARDLENS_ASSIGN(const WireField field, reader.next());
        if (field.number != 1)
            continue;
        if (field.type == Type::Varint)
            SHARDLENS_TRY(add(field.value));
        if (field.type != Type::Bytes)
            continue;
        for (WireReader packed(field, file); !packed.atEnd();) {
            SHARDLENS_ASSIGN(const std::uint64_t value, packed.varint());
            SHARDLENS_TRY(add(value));
        }
    }
    return out;
}

constexpr std::size_t kMostUnevenSlices = 1u << 20;

// The messages of Layouts as they come.
struct LayoutMessages {
    std::vector<std::vector<std::int64_t>> deviceMatrix;
    std::vector<std::vector<std::int64_t>> tensorMap;
    std::vector<std::vector<std::int64_t>> splitShape;
    std::vector<std::vector<std::int64_t>> indicesOffset;
    std::optional<std::int32_t> numbers[3]; // fields 5, 6, 7
};

Status readLayoutField(const WireField& field, std::string_view file, LayoutMessages& out)
{
    std::vector<std::vector<std::int64_t>>* const lists[] = {&out.deviceMatrix, &out.tensorMap, &out.splitShape, &out.indicesOffset};
    if (field.number >= 1 && field.number <= 4 && field.type == Type::Bytes) {
        const bool isMatrixOrMap = field.number <= 2;
        if (lists[field.number - 1]->size() > kMostStrategyDimensions)
            return Error{ErrorCode::LimitExceeded, fmt::format("more than {} dimensions", kMostStrategyDimensions)};
        SHARDLENS_ASSIGN(auto dims, dimsOf(field, file, isMatrixOrMap, isMatrixOrMap ? kMostStrategyDimensions : kMostUnevenSlices));
        lists[field.number - 1]->push_back(std::move(dims));
    } else if (field.number >= 5 && field.number <= 7 && field.type == Type::Varint) {
        SHARDLENS_ASSIGN(out.numbers[field.number - 5], int32Of(field.value));
    }
    return {};
}

// One message is a flat map, several are one a dimension, of which the empty ones only say that there are several (§3.3).
Status readMap(const std::vector<std::vector<std::int64_t>>& messages, ParameterLayout& out)
{
    if (messages.empty())
        return Error{ErrorCode::Corrupt, "it has no tensor map"};
    std::vector<std::vector<std::int64_t>> dimensions;
    for (const std::vector<std::int64_t>& message : messages) {
        if (messages.size() > 1 && !message.empty())
            dimensions.push_back(message);
        for (std::size_t i = 0; messages.size() == 1 && i < message.size(); ++i)
            dimensions.push_back({message[i]});
    }
    SHARDLENS_ASSIGN(out.tensorMap, axesOfMap(dimensions));
    out.isMultiAxis = messages.size() > 1 && !dimensions.empty();
    return {};
}

Result<ParameterLayout> layoutOfMessages(LayoutMessages messages)
{
    ParameterLayout out;
    if (messages.deviceMatrix.empty())
        return Error{ErrorCode::Corrupt, "it has no device matrix"};
    for (const std::int64_t size : messages.deviceMatrix.front())
        out.deviceMatrix.push_back(static_cast<std::uint32_t>(size)); // uint32 on the wire
    SHARDLENS_TRY(readMap(messages.tensorMap, out));
    if (!messages.splitShape.empty())
        out.paramSplitShape = std::move(messages.splitShape.front());
    if (!messages.indicesOffset.empty())
        out.indicesOffset = std::move(messages.indicesOffset.front());
    out.field = messages.numbers[0].value_or(0);
    out.optShardStep = messages.numbers[1].value_or(0);
    out.optShardSize = messages.numbers[2].value_or(0);
    out.lacksOptimizerFields = !messages.numbers[1] || !messages.numbers[2];
    return out;
}

struct NamedMessage {
    std::string name;
    std::vector<WireField> parts; // of its field 2
};

// Both kinds of items: a name in field 1, a message in field 2.
Result<NamedMessage> namedMessageOf(const WireField& item, std::string_view file)
{
    std::optional<std::string_view> name;
    NamedMessage out;
    for (WireReader reader(item, file); !reader.atEnd();) {
        SHARDLENS_ASSIGN(const WireField field, reader.next());
        if (field.number == 1 && field.type == Type::Bytes)
            name = field.bytes;
        else if (field.number == 2 && field.type == Type::Bytes)
            out.parts.push_back(field);
    }
    if (!name || out.parts.empty())
        return Error{ErrorCode::Corrupt, fmt::format("its item at byte {} has no {}", item.offset, name ? "content" : "name")};
    SHARDLENS_TRY(checkStrategyName(*name));
    out.name = *name;
    return out;
}

Result<StrategyText::Parameter> parameterOf(const WireField& item, std::string_view file)
{
    SHARDLENS_ASSIGN(NamedMessage named, namedMessageOf(item, file));
    const auto read = [&]() -> Result<ParameterLayout> {
        LayoutMessages messages;
        for (const WireField& part : named.parts)
            for (WireReader reader(part, file); !reader.atEnd();) {
                SHARDLENS_ASSIGN(const WireField field, reader.next());
                SHARDLENS_TRY(readLayoutField(field, file, messages));
            }
        return layoutOfMessages(std::move(messages));
    };
    auto layout = read();
    if (!layout)
        return layout.takeError().within("parameter " + printable(named.name));
    return StrategyText::Parameter{std::move(named.name), layout.take(), std::nullopt};
}

Status readOperatorField(const WireField& field, std::string_view file, StrategyOperator& out)
{
    if (field.number == 1 && field.type == Type::Varint) {
        if (field.value > std::numeric_limits<std::uint32_t>::max())
            return Error{ErrorCode::Corrupt, fmt::format("stage {}", field.value)};
        out.stage = static_cast<std::uint32_t>(field.value);
    } else if (field.number == 2 && field.type == Type::Bytes) {
        SHARDLENS_ASSIGN(const auto dims, dimsOf(field, file, true, kMostUnevenSlices));
        std::vector<std::uint64_t>& cuts = out.strategies.emplace_back();
        for (const std::int64_t dim : dims)
            cuts.push_back(static_cast<std::uint32_t>(dim));
    }
    return {};
}

Result<StrategyOperator> operatorOf(const WireField& item, std::string_view file)
{
    SHARDLENS_ASSIGN(NamedMessage named, namedMessageOf(item, file));
    StrategyOperator out{std::move(named.name), 0, {}};
    for (const WireField& part : named.parts)
        for (WireReader reader(part, file); !reader.atEnd();) {
            SHARDLENS_ASSIGN(const WireField field, reader.next());
            if (const Status read = readOperatorField(field, file, out); !read)
                return Error(read.error()).within("operator " + printable(out.name));
        }
    return out;
}

} // namespace

Result<StrategyText> parseStrategyProtobuf(std::string_view bytes)
{
    StrategyText out;
    bool hasCurrentStage = false;
    for (WireReader reader(bytes); !reader.atEnd();) {
        SHARDLENS_ASSIGN(const WireField field, reader.next());
        if (field.number == 1 && field.type == Type::Varint) {
            hasCurrentStage = true;
            out.currentStage = static_cast<std::uint32_t>(field.value);
        } else if (field.number == 2 && field.type == Type::Bytes) {
            SHARDLENS_ASSIGN(StrategyOperator one, operatorOf(field, bytes));
            out.operators.push_back(std::move(one));
        } else if (field.number == 3 && field.type == Type::Bytes) {
            SHARDLENS_ASSIGN(StrategyText::Parameter one, parameterOf(field, bytes));
            out.parameters.push_back(std::move(one));
        } else {
            return Error{ErrorCode::Corrupt, fmt::format("field {} at byte {} is none of a strategy", field.number, field.offset)};
        }
    }
    if (!hasCurrentStage)
        return Error{ErrorCode::Corrupt, "its first field, current_stage, is missing"};
    return out;
}

std::optional<std::uint32_t> stageInHead(std::string_view head)
{
    for (WireReader reader(head); !reader.atEnd();) {
        const auto field = reader.next();
        if (!field)
            return std::nullopt;
        if (field->number != 2 || field->type != Type::Bytes)
            continue;
        const auto first = operatorOf(*field, head);
        return first ? std::optional(first->stage) : std::nullopt;
    }
    return std::nullopt;
}

std::optional<std::uint64_t> layoutFingerprint(std::string_view bytes)
{
    std::uint64_t sum = 0;
    for (WireReader reader(bytes); !reader.atEnd();) {
        const auto field = reader.next();
        if (!field || field->number > 3)
            return std::nullopt;
        if (field->number == 3)
            sum += std::hash<std::string_view>()(field->bytes);
    }
    return sum;
}

} // namespace shardlens::mindspore
