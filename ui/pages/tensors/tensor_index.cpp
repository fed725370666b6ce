#include "ui/pages/tensors/tensor_index.h"

#include "core/base/regex.h"
#include "core/base/text.h"
#include "ui/models/rank_uses.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>
#include <optional>

namespace shardlens::ui {
namespace {

using Node = TensorIndex::Node;
using View = TensorIndex::View;

constexpr std::size_t kMostDepth = 64; // of groups; what follows is one label

std::string lowered(std::string text)
{
    for (char& c : text)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
}

// "F16 + 3×F32": equal dtypes are counted, in the order in which they come.
std::string storedAs(const std::vector<std::pair<DType, int>>& counts)
{
    std::string out;
    for (const auto& [dtype, count] : counts) {
        out += out.empty() ? "" : " + ";
        out += count == 1 ? std::string(nameOf(dtype)) : std::to_string(count) + "×" + std::string(nameOf(dtype));
    }
    return out;
}

void addRank(std::vector<std::pair<std::uint32_t, std::uint64_t>>& ranks, std::uint32_t rank, std::uint64_t bytes)
{
    const auto at = std::lower_bound(ranks.begin(), ranks.end(), rank, [](const auto& one, std::uint32_t r) { return one.first < r; });
    if (at != ranks.end() && at->first == rank)
        at->second += bytes;
    else
        ranks.insert(at, {rank, bytes});
}

} // namespace

class TensorIndexBuilder {
public:
    TensorIndexBuilder(TensorIndex& out, std::stop_token stop) : m_out(out), m_checkpoint(*out.m_checkpoint), m_stop(std::move(stop)) {}

    void run()
    {
        m_ofParameter.resize(m_checkpoint.parameters().size());
        for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i)
            m_ofParameter[indexOf(m_checkpoint.tensors()[i].parameter)].push_back(idAt<TensorId>(i));
        buildByName();
        buildByState();
        for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i)
            m_out.m_totalBytes += m_checkpoint.bytesOf(idAt<TensorId>(i));
    }

private:
    // The strip of a parameter shows who holds its most exact copy; replicas on every rank show the file's writer.
    void describe(Node& node, const std::vector<TensorId>& tensors) const
    {
        std::vector<std::pair<DType, int>> counts;
        TensorId shown = kNoTensor;
        for (const TensorId id : tensors) {
            const Tensor& tensor = m_checkpoint.tensor(id);
            node.pieces += m_checkpoint.pieces().countOf(id);
            node.bytes += m_checkpoint.bytesOf(id);
            const bool isCounter = tensor.shape.empty() && m_checkpoint.roleOf(id).kind == RoleKind::OptimizerState;
            if (isCounter)
                continue;
            const auto at = std::find_if(counts.begin(), counts.end(), [&](const auto& one) { return one.first == tensor.dtype; });
            if (at == counts.end())
                counts.emplace_back(tensor.dtype, 1);
            else
                ++at->second;
            const RoleKind kind = m_checkpoint.roleOf(id).kind;
            if (shown == kNoTensor || kind == RoleKind::Weight || (kind == RoleKind::Buffer && m_checkpoint.roleOf(shown).kind == RoleKind::OptimizerState))
                shown = id;
        }
        node.tensor = shown == kNoTensor && !tensors.empty() ? tensors.front() : shown;
        // the smaller type first, as in "F16 + 3×F32"
        std::stable_sort(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return info(a.first).bytesPerBlock < info(b.first).bytesPerBlock; });
        node.storedAs = storedAs(counts);
        if (node.tensor == kNoTensor)
            return;
        const std::uint64_t cell = info(m_checkpoint.tensor(node.tensor).dtype).bytesPerBlock;
        for (std::size_t row = m_checkpoint.pieces().firstOf(node.tensor); row < m_checkpoint.pieces().lastOf(node.tensor); ++row) {
            const Piece piece = m_checkpoint.pieces().at(idAt<PieceId>(row));
            const Stream::Kind kind = m_checkpoint.stream(piece.source.stream).kind;
            if (kind != Stream::Kind::Missing)
                addRank(node.ranks, m_checkpoint.rankOfPiece(piece).value_or(0), volumeOf(piece.region) * cell);
        }
    }

    static std::uint32_t add(View& view, Node node)
    {
        view.parents.push_back(node.parent);
        view.nodes.push_back(std::move(node));
        view.members.emplace_back();
        return static_cast<std::uint32_t>(view.nodes.size() - 1);
    }

    static void addLeaf(View& view, Node node, const std::string& name, std::vector<TensorId> members)
    {
        const std::uint32_t at = add(view, std::move(node));
        view.nodes[at].subtreeEnd = at + 1;
        view.members[at] = std::move(members);
        view.leaves.push_back(at);
        view.text += lowered(name);
        view.textEnds.push_back(view.text.size());
        view.text += '\n';
    }

    struct Leaf {
        std::string label;
        std::string name; // whole
        ParameterId parameter;
        bool isTied; // another name of the parameter
    };

    // Groups follow the order of their first parameter, so that a tree reads like the model.
    struct Part {
        std::map<std::string, std::size_t> index;
        std::vector<std::pair<std::string, std::unique_ptr<Part>>> children;
        std::vector<Leaf> leaves;
        std::vector<std::pair<bool, std::size_t>> order; // leaf or child, number
    };

    void buildByName()
    {
        Part root;
        for (std::size_t i = 0; i < m_ofParameter.size(); ++i) {
            if (m_ofParameter[i].empty())
                continue;
            if (i % 4096 == 0 && m_stop.stop_requested())
                return;
            addName(root, m_checkpoint.parameters()[i], idAt<ParameterId>(i), false);
        }
        for (const Alias& alias : m_checkpoint.aliases())
            if (!m_ofParameter[indexOf(alias.parameter)].empty())
                addName(root, alias.name, alias.parameter, true);
        place(m_out.m_byName, root, -1, 0);
    }

    static void addName(Part& root, const std::string& whole, ParameterId parameter, bool isTied)
    {
        Part* at = &root;
        std::string_view name = whole;
        std::size_t depth = 0;
        for (std::size_t dot = name.find('.'); dot != std::string_view::npos && dot + 1 < name.size() && depth < kMostDepth; dot = name.find('.')) {
            ++depth;
            const std::string part(name.substr(0, dot));
            const auto [known, isNew] = at->index.try_emplace(part, at->children.size());
            if (isNew) {
                at->order.emplace_back(false, at->children.size());
                at->children.emplace_back(part, std::make_unique<Part>());
            }
            at = at->children[known->second].second.get();
            name.remove_prefix(dot + 1);
        }
        at->order.emplace_back(true, at->leaves.size());
        at->leaves.push_back({std::string(name), whole, parameter, isTied});
    }

    void place(View& view, const Part& part, std::int32_t parent, std::uint16_t depth)
    {
        for (const auto& [isLeaf, number] : part.order) {
            if (!isLeaf) {
                // A chain of single groups is one row: "model.layers" costs no click.
                const Part* child = part.children[number].second.get();
                std::string label = part.children[number].first;
                while (child->order.size() == 1 && !child->order[0].first) {
                    label += "." + child->children[0].first;
                    child = child->children[0].second.get();
                }
                Node group;
                group.label = printable(label);
                group.parent = parent;
                group.depth = depth;
                const std::uint32_t at = add(view, std::move(group));
                place(view, *child, static_cast<std::int32_t>(at), static_cast<std::uint16_t>(depth + 1));
                close(view, at);
                continue;
            }
            const auto& [label, name, parameter, isTied] = part.leaves[number];
            Node leaf;
            leaf.label = printable(label);
            leaf.parent = parent;
            leaf.depth = depth;
            leaf.names = 1;
            describe(leaf, m_ofParameter[indexOf(parameter)]);
            if (isTied) { // the values count where their first name stands
                leaf.storedAs = "tied to " + printable(m_checkpoint.parameters()[indexOf(parameter)]);
                leaf.names = 0;
                leaf.bytes = 0;
                leaf.pieces = 0;
            }
            addLeaf(view, std::move(leaf), name, m_ofParameter[indexOf(parameter)]);
        }
    }

    // Sums of what lies below a group, once it is complete.
    static void close(View& view, std::uint32_t at)
    {
        Node& group = view.nodes[at];
        group.subtreeEnd = static_cast<std::uint32_t>(view.nodes.size());
        std::vector<std::string> kinds;
        for (std::uint32_t i = at + 1; i < group.subtreeEnd; i = view.nodes[i].subtreeEnd) {
            const Node& child = view.nodes[i];
            group.names += child.names;
            group.bytes += child.bytes;
            group.pieces += child.pieces;
            for (const auto& [rank, bytes] : child.ranks)
                addRank(group.ranks, rank, bytes);
            if (kinds.size() < 2 && std::find(kinds.begin(), kinds.end(), child.storedAs) == kinds.end())
                kinds.push_back(child.storedAs);
        }
        group.storedAs = kinds.size() == 1 ? kinds.front() : "mixed";
    }

    void buildByState()
    {
        std::vector<std::vector<TensorId>> ofRole(m_checkpoint.roles().size());
        for (const auto& tensors : m_ofParameter)
            for (const TensorId id : tensors)
                ofRole[indexOf(m_checkpoint.tensor(id).role)].push_back(id);
        for (std::size_t role = 0; role < ofRole.size() && !m_stop.stop_requested(); ++role) {
            Node group;
            group.label = printable(m_checkpoint.roles()[role].name);
            const std::uint32_t at = add(m_out.m_byState, std::move(group));
            for (const TensorId id : ofRole[role]) {
                Node leaf;
                leaf.label = printable(m_checkpoint.parameterOf(id));
                leaf.parent = static_cast<std::int32_t>(at);
                leaf.depth = 1;
                leaf.names = 1;
                describe(leaf, {id});
                leaf.tensor = id;
                leaf.storedAs = nameOf(m_checkpoint.tensor(id).dtype);
                addLeaf(m_out.m_byState, std::move(leaf), m_checkpoint.parameterOf(id), {id});
            }
            close(m_out.m_byState, at);
        }
    }

    TensorIndex& m_out;
    const Checkpoint& m_checkpoint;
    std::stop_token m_stop;
    std::vector<std::vector<TensorId>> m_ofParameter;
};

std::shared_ptr<const TensorIndex> TensorIndex::build(CheckpointPtr checkpoint, std::stop_token stop)
{
    auto out = std::make_shared<TensorIndex>();
    out->m_checkpoint = std::move(checkpoint);
    TensorIndexBuilder(*out, std::move(stop)).run();
    return out;
}

namespace {

class Query {
public:
    Query(const TensorIndex& index, const RowQuery& query)
        : m_checkpoint(*index.checkpoint()), m_view(query.mode == RowQuery::Mode::ByState ? index.byState() : index.byName()), m_query(query), m_text(lowered(query.text))
    {
        if (query.rank >= 0)
            m_cover.emplace(m_checkpoint, static_cast<std::uint32_t>(query.rank));
    }

    RowResult run()
    {
        RowResult out;
        if (m_query.isRegex && !m_query.text.empty()) {
            auto compiled = Regex::compile(m_query.text, true);
            if (!compiled) {
                out.ok = false;
                out.problem = compiled.error().text();
                return out;
            }
            m_regex = compiled.take();
        }
        std::vector<char> shown(m_view.nodes.size(), 0);
        out.allLeaves = m_view.leaves.size();
        forEachTextMatch([&](std::size_t leaf) {
            const std::uint32_t node = m_view.leaves[leaf];
            if (!passes(node))
                return;
            ++out.leaves;
            shown[node] = 1;
            for (std::int32_t up = m_view.parents[node]; up >= 0 && shown[static_cast<std::size_t>(up)] == 0; up = m_view.parents[static_cast<std::size_t>(up)])
                shown[static_cast<std::size_t>(up)] = 1;
        });
        if (m_query.mode == RowQuery::Mode::Flat)
            takeFlat(shown, out.rows);
        else if (isModelOrder())
            takeAll(shown, out.rows);
        else
            takeChildren(0, static_cast<std::uint32_t>(m_view.nodes.size()), shown, out.rows);
        return out;
    }

private:
    // Calls `take` with each leaf whose name matches, ascending. A substring is looked for in all names at once.
    template <typename Take>
    void forEachTextMatch(Take take) const
    {
        const std::size_t count = m_view.leaves.size();
        if (m_regex || m_text.empty()) {
            for (std::size_t leaf = 0; leaf < count; ++leaf)
                if (!m_regex || m_regex->search(m_view.textOf(leaf)))
                    take(leaf);
            return;
        }
        if (m_text.find('\n') != std::string::npos)
            return; // a line break ends a name here, so none contains it
        const char* const begin = m_view.text.data();
        const char* const end = begin + m_view.text.size();
        std::size_t leaf = 0;
        for (const char* at = begin; (at = static_cast<const char*>(::memmem(at, static_cast<std::size_t>(end - at), m_text.data(), m_text.size()))) != nullptr;) {
            const auto offset = static_cast<std::size_t>(at - begin);
            leaf = static_cast<std::size_t>(std::lower_bound(m_view.textEnds.begin() + static_cast<std::ptrdiff_t>(leaf), m_view.textEnds.end(), offset) - m_view.textEnds.begin());
            take(leaf);
            at = begin + m_view.textEnds[leaf] + 1;
            ++leaf;
        }
    }

    [[nodiscard]] bool isModelOrder() const { return m_query.order == RowQuery::Order::Model && !m_query.descending; }

    [[nodiscard]] bool passes(std::uint32_t node) const
    {
        if (m_query.dtype.empty() && m_query.state.empty() && m_query.rank < 0)
            return true;
        return std::any_of(m_view.members[node].begin(), m_view.members[node].end(), [&](TensorId id) {
            const bool dtype = m_query.dtype.empty() || nameOf(m_checkpoint.tensor(id).dtype) == m_query.dtype;
            const bool state = m_query.state.empty() || m_checkpoint.roleOf(id).name == m_query.state;
            return dtype && state && (m_query.rank < 0 || isOnRank(id));
        });
    }

    [[nodiscard]] bool isOnRank(TensorId id) const
    {
        for (std::size_t row = m_checkpoint.pieces().firstOf(id); row < m_checkpoint.pieces().lastOf(id); ++row)
            if (m_cover->holds(m_checkpoint.pieces().at(idAt<PieceId>(row))))
                return true;
        return false;
    }

    [[nodiscard]] bool before(std::uint32_t a, std::uint32_t b) const
    {
        const Node& left = m_view.nodes[m_query.descending ? b : a];
        const Node& right = m_view.nodes[m_query.descending ? a : b];
        switch (m_query.order) {
        case RowQuery::Order::Name: return naturalLess(left.label, right.label);
        case RowQuery::Order::Bytes: return left.bytes < right.bytes;
        case RowQuery::Order::Pieces: return left.pieces < right.pieces;
        case RowQuery::Order::Model: break;
        }
        return m_query.descending ? b < a : a < b;
    }

    void sort(std::vector<std::uint32_t>& rows) const
    {
        if (!isModelOrder())
            std::stable_sort(rows.begin(), rows.end(), [this](std::uint32_t a, std::uint32_t b) { return before(a, b); });
    }

    void takeFlat(const std::vector<char>& shown, std::vector<std::uint32_t>& out) const
    {
        for (const std::uint32_t leaf : m_view.leaves)
            if (shown[leaf] != 0)
                out.push_back(leaf);
        sort(out);
    }

    static void takeAll(const std::vector<char>& shown, std::vector<std::uint32_t>& out)
    {
        for (std::uint32_t node = 0; node < shown.size(); ++node)
            if (shown[node] != 0)
                out.push_back(node);
    }

    void takeChildren(std::uint32_t begin, std::uint32_t end, const std::vector<char>& shown, std::vector<std::uint32_t>& out) const
    {
        std::vector<std::uint32_t> siblings;
        for (std::uint32_t i = begin; i < end; i = m_view.nodes[i].subtreeEnd)
            if (shown[i] != 0)
                siblings.push_back(i);
        sort(siblings);
        for (const std::uint32_t node : siblings) {
            out.push_back(node);
            takeChildren(node + 1, m_view.nodes[node].subtreeEnd, shown, out);
        }
    }

    const Checkpoint& m_checkpoint;
    const View& m_view;
    const RowQuery& m_query;
    std::optional<RankCover> m_cover; // of the query's rank
    std::string m_text;
    std::optional<Regex> m_regex;
};

} // namespace

RowResult runQuery(const TensorIndex& index, const RowQuery& query)
{
    return Query(index, query).run();
}

} // namespace shardlens::ui
