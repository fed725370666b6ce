#include "core/format/dcp/state_tree.h"

#include "core/base/text.h"

#include <fmt/format.h>

namespace shardlens::dcp {
namespace {

constexpr std::size_t kMostNodes = 50'000;

} // namespace

StateTree::Node& StateTree::nodeAbove(const DcpEntry& entry)
{
    Node* at = m_root.get();
    for (std::size_t i = 0; i + 1 < entry.path.size(); ++i) {
        const auto [known, isNew] = at->byKey.try_emplace(entry.path[i].key, nullptr);
        if (isNew) {
            if (++m_nodes > kMostNodes)
                return *at;
            known->second = at->children.emplace_back(std::make_unique<Node>()).get();
            known->second->key = entry.path[i].key;
            known->second->isList = entry.path[i + 1].index.has_value();
        }
        if (known->second == nullptr)
            return *at;
        at = known->second;
    }
    return *at;
}

void StateTree::add(const DcpEntry& entry, MetaNode leaf)
{
    if (++m_nodes > kMostNodes)
        return;
    leaf.key = printable(entry.path.empty() ? entry.key : entry.path.back().key);
    nodeAbove(entry).leaves.push_back(std::move(leaf));
}

void StateTree::addTensor(const DcpEntry& entry)
{
    ++nodeAbove(entry).tensors;
}

MetaNode StateTree::finished(Node& node)
{
    MetaNode out;
    out.kind = node.isList ? MetaNode::Kind::List : MetaNode::Kind::Dict;
    out.type = node.isList ? "list" : "dict";
    out.key = printable(node.key);
    std::size_t below = node.tensors;
    out.children = std::move(node.leaves);
    for (const auto& child : node.children) {
        MetaNode one = finished(*child);
        const bool isTensorsOnly = one.children.size() == 1 && one.children.front().kind == MetaNode::Kind::Summary && one.children.front().key.empty();
        if (isTensorsOnly)
            one = {MetaNode::Kind::Summary, one.key, one.children.front().value, "", {}};
        out.children.push_back(std::move(one));
    }
    if (below > 0)
        out.children.push_back({MetaNode::Kind::Summary, "", plural(below, "tensor", "tensors"), "", {}});
    out.value = plural(out.children.size(), node.isList ? "item" : "entry", node.isList ? "items" : "entries");
    return out;
}

MetaNode StateTree::take() &&
{
    MetaNode out = finished(*m_root);
    if (m_nodes > kMostNodes)
        out.children.push_back({MetaNode::Kind::Summary, "…", fmt::format("{} more entries", groupedText(m_nodes - kMostNodes)), "", {}});
    return out;
}

} // namespace shardlens::dcp
