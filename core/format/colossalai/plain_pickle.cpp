#include "core/format/colossalai/plain_pickle.h"

#include "core/base/text.h"

#include <fmt/format.h>

namespace shardlens::colossalai {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr std::size_t kDeepest = 32;

bool isPlain(Kind kind)
{
    switch (kind) {
    case Kind::None:
    case Kind::Bool:
    case Kind::Int:
    case Kind::BigInt:
    case Kind::Float:
    case Kind::Text:
    case Kind::Tuple:
    case Kind::List:
    case Kind::Dict: return true;
    default: return false;
    }
}

const char* kindText(Kind kind)
{
    return kind == Kind::Global ? "a name to import" : kind == Kind::Reduce || kind == Kind::NewObject ? "a call" : "an object that is no plain value";
}

std::string keyText(Value key)
{
    if (const auto text = key.asText())
        return printable(*text);
    const auto number = key.asInt();
    return number ? std::to_string(*number) : "?";
}

MetaNode describeAt(Value value, std::string key, std::size_t& left, std::size_t depth)
{
    MetaNode out;
    out.key = std::move(key);
    const bool isMapping = value.isMapping();
    if (isMapping || value.isSequence()) {
        out.kind = isMapping ? MetaNode::Kind::Dict : value.kind() == Kind::Tuple ? MetaNode::Kind::Tuple : MetaNode::Kind::List;
        out.value = plural(value.size(), "entry", "entries");
        for (std::size_t i = 0; i < value.size() && depth < kDeepest; ++i) {
            if (left == 0) {
                out.value += ", not all shown";
                break;
            }
            --left;
            out.children.push_back(isMapping ? describeAt(value.valueAt(i), keyText(value.keyAt(i)), left, depth + 1) : describeAt(value.at(i), std::to_string(i), left, depth + 1));
        }
        return out;
    }
    if (const auto flag = value.asBool(); value.kind() == Kind::Bool) {
        out.kind = MetaNode::Kind::Bool;
        out.value = flag.value_or(false) ? "True" : "False";
    } else if (const auto number = value.asInt(); number) {
        out.kind = MetaNode::Kind::Integer;
        out.value = std::to_string(*number);
    } else if (const auto real = value.asFloat(); real) {
        out.kind = MetaNode::Kind::Float;
        out.value = fmt::format("{}", *real);
    } else if (const auto text = value.asText(); text) {
        out.kind = MetaNode::Kind::Text;
        out.value = printable(*text);
    }
    return out;
}

} // namespace

Result<std::shared_ptr<const pickle::Graph>> parsePlainPickle(std::vector<std::byte> bytes, JobContext& job)
{
    const std::size_t size = bytes.size();
    SHARDLENS_ASSIGN(auto graph, pickle::Graph::parse(std::make_shared<const std::vector<std::byte>>(std::move(bytes)), 0, &job));
    for (std::size_t i = 0; i < graph->nodeCount(); ++i)
        if (const Kind kind = graph->nodeAt(i).kind(); !isPlain(kind))
            return Error{ErrorCode::Unsupported, fmt::format("its pickle of {} B holds {}, and only plain values are read", groupedText(size), kindText(kind))};
    if (graph->end() != size)
        return Error{ErrorCode::Corrupt, fmt::format("{} B follow the pickle's end", groupedText(size - graph->end()))};
    return graph;
}

MetaNode describePlain(Value value, std::string key, std::size_t& maxNodes)
{
    return describeAt(value, std::move(key), maxNodes, 0);
}

} // namespace shardlens::colossalai
