#include "core/analysis/argument_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace shardlens {
namespace {

constexpr std::size_t kShortList = 16; // items of a list that is compared and shown as one text
constexpr std::size_t kDeepest = 64;

bool isTensorLeaf(const MetaNode& node)
{
    return node.kind == MetaNode::Kind::Tensor || node.kind == MetaNode::Kind::Summary;
}

// The trees of several files laid over each other.
struct MergedNode {
    const MetaNode* node = nullptr; // of the first file that has it
    std::vector<const MetaNode*> all;
};

// Children by key, in the order in which they first occur.
std::vector<std::pair<std::string_view, MergedNode>> childrenOf(const MergedNode& parent)
{
    std::vector<std::pair<std::string_view, MergedNode>> out;
    std::unordered_map<std::string_view, std::size_t> places;
    for (const MetaNode* node : parent.all)
        for (const MetaNode& child : node->children) {
            const auto [at, isNew] = places.try_emplace(child.key, out.size());
            if (isNew)
                out.push_back({child.key, {&child, {}}});
            out[at->second].second.all.push_back(&child);
        }
    return out;
}

bool holdsArguments(const MetaNode& node)
{
    if (isTensorLeaf(node))
        return false;
    return node.children.empty() || std::any_of(node.children.begin(), node.children.end(), holdsArguments);
}

bool isShortList(const MetaNode& node)
{
    const bool isList = node.kind == MetaNode::Kind::List || node.kind == MetaNode::Kind::Tuple || node.kind == MetaNode::Kind::Set;
    return isList && node.children.size() <= kShortList &&
           std::all_of(node.children.begin(), node.children.end(), [](const MetaNode& child) { return child.children.empty() && !isTensorLeaf(child); });
}

bool isLeaf(const MetaNode& node)
{
    return node.children.empty() || isShortList(node);
}

std::string textOf(const MetaNode& node)
{
    if (node.children.empty() || !isShortList(node))
        return node.kind == MetaNode::Kind::Null ? "None" : node.value;
    std::string out;
    for (const MetaNode& child : node.children)
        out += (out.empty() ? "" : ", ") + textOf(child);
    return "[" + out + "]";
}

class ArgumentWalk {
public:
    void compare(const MergedNode& a, const MergedNode& b, const std::string& place, std::size_t depth)
    {
        if (isTensorLeaf(*a.node) && isTensorLeaf(*b.node))
            return;
        if (isLeaf(*a.node) || isLeaf(*b.node) || depth > kDeepest) {
            if (isLeaf(*a.node) != isLeaf(*b.node) || textOf(*a.node) != textOf(*b.node))
                m_out.push_back({place, textOf(*a.node), textOf(*b.node)});
            return;
        }
        const auto ofB = childrenOf(b);
        std::unordered_map<std::string_view, const MergedNode*> left;
        for (const auto& [key, child] : ofB)
            left.emplace(key, &child);
        for (const auto& [key, child] : childrenOf(a)) {
            const auto found = left.find(key);
            if (found == left.end()) {
                addLonely(child, placeOf(place, key), true);
                continue;
            }
            compare(child, *found->second, placeOf(place, key), depth + 1);
            left.erase(found);
        }
        for (const auto& [key, child] : ofB)
            if (left.contains(key))
                addLonely(child, placeOf(place, key), false);
    }

    void addLonely(const MergedNode& one, std::string place, bool isOfA)
    {
        if (!holdsArguments(*one.node))
            return;
        ArgumentDiff& added = m_out.emplace_back();
        added.place = std::move(place);
        (isOfA ? added.a : added.b) = textOf(*one.node);
    }

    [[nodiscard]] std::vector<ArgumentDiff> take() { return std::move(m_out); }

private:
    static std::string placeOf(const std::string& parent, std::string_view key)
    {
        return parent.empty() ? std::string(key) : fmt::format("{}/{}", parent, key);
    }

    std::vector<ArgumentDiff> m_out;
};

MergedNode rootOf(const Checkpoint& checkpoint)
{
    static const MetaNode kNothing{MetaNode::Kind::Dict, {}, {}, {}, {}};
    MergedNode out;
    for (const FileMetadata& file : checkpoint.metadata())
        if (!file.root.children.empty())
            out.all.push_back(&file.root);
    out.node = out.all.empty() ? &kNothing : out.all.front();
    return out;
}

} // namespace

std::vector<ArgumentDiff> differingArguments(const Checkpoint& a, const Checkpoint& b)
{
    ArgumentWalk walk;
    const MergedNode rootA = rootOf(a);
    const MergedNode rootB = rootOf(b);
    if (!rootA.all.empty() && !rootB.all.empty()) {
        walk.compare(rootA, rootB, {}, 0);
        return walk.take();
    }
    for (const auto& [key, child] : childrenOf(rootA))
        walk.addLonely(child, std::string(key), true);
    for (const auto& [key, child] : childrenOf(rootB))
        walk.addLonely(child, std::string(key), false);
    return walk.take();
}

} // namespace shardlens
