#include "app/cli/json_answer.h"

#include "app/cli/commands.h"

namespace shardlens::cli {
namespace {

const char* metaKindName(MetaNode::Kind kind)
{
    switch (kind) {
    case MetaNode::Kind::Null: return "null";
    case MetaNode::Kind::Bool: return "bool";
    case MetaNode::Kind::Integer: return "integer";
    case MetaNode::Kind::Float: return "float";
    case MetaNode::Kind::Text: return "text";
    case MetaNode::Kind::Bytes: return "bytes";
    case MetaNode::Kind::List: return "list";
    case MetaNode::Kind::Tuple: return "tuple";
    case MetaNode::Kind::Set: return "set";
    case MetaNode::Kind::Dict: return "dict";
    case MetaNode::Kind::Object: return "object";
    case MetaNode::Kind::Opaque: return "opaque";
    case MetaNode::Kind::Tensor: return "tensor";
    case MetaNode::Kind::Summary: return "summary";
    }
    return "";
}

} // namespace

Json answerJson()
{
    return Json{{"schema", 1}};
}

Json failureJson(const Error& error)
{
    Json out = answerJson();
    out["error"] = Json{{"code", cli::nameOf(error.code())}, {"text", error.sentence()}};
    return out;
}

Json shapeJson(ShapeView shape)
{
    Json out = Json::array();
    for (const std::uint64_t extent : shape)
        out.push_back(extent);
    return out;
}

Json topologyJson(const Topology& topology)
{
    Json axes = Json::array();
    for (const Topology::Size& axis : topology.axes)
        axes.push_back(Json{{"axis", shardlens::nameOf(axis.axis)}, {"size", axis.size}});
    return Json{{"axes", std::move(axes)}, {"world_size", topology.worldSize()}};
}

Json findingJson(const Checkpoint& checkpoint, const Finding& finding)
{
    Json out{{"severity", cli::nameOf(finding.severity)}, {"code", finding.code}, {"text", finding.text}};
    if (finding.tensor != kNoTensor)
        out["tensor"] = checkpoint.fullName(finding.tensor);
    if (finding.file != kNoFile)
        out["file"] = checkpoint.file(finding.file).name;
    if (finding.rank)
        out["rank"] = *finding.rank;
    return out;
}

Json regionJson(const RegionView& region)
{
    if (const auto* flat = std::get_if<FlatRange>(&region))
        return Json{{"begin", flat->begin}, {"end", flat->end}};
    const auto& box = std::get<BoxView>(region);
    return Json{{"offset", shapeJson(box.offset)}, {"extent", shapeJson(box.extent)}};
}

Json metaJson(const MetaNode& node)
{
    Json out{{"kind", metaKindName(node.kind)}};
    if (!node.key.empty())
        out["key"] = node.key;
    if (!node.value.empty())
        out["value"] = node.value;
    if (!node.type.empty())
        out["type"] = node.type;
    if (!node.children.empty()) {
        Json children = Json::array();
        for (const MetaNode& child : node.children)
            children.push_back(metaJson(child));
        out["children"] = std::move(children);
    }
    return out;
}

void printJson(Console& console, const Json& json)
{
    console.line(json.dump(1, ' ', false, Json::error_handler_t::replace));
}

} // namespace shardlens::cli
