#include "core/encoding/pickle/graph_builder.h"

#include <algorithm>

namespace shardlens::pickle {

GraphBuilder::GraphBuilder() : m_graph(std::make_shared<Graph>())
{
    m_graph->m_nodes.emplace_back(); // index 0 is None, as in a graph that was read
}

Value GraphBuilder::add(Node node)
{
    m_graph->m_nodes.push_back(node);
    return {m_graph.get(), static_cast<Index>(m_graph->m_nodes.size() - 1)};
}

Value GraphBuilder::none()
{
    return {m_graph.get(), 0};
}

Value GraphBuilder::boolean(bool value)
{
    Node node;
    node.kind = Kind::Bool;
    node.integer = value ? 1 : 0;
    return add(node);
}

Value GraphBuilder::integer(std::int64_t value)
{
    Node node;
    node.kind = Kind::Int;
    node.integer = value;
    return add(node);
}

Value GraphBuilder::real(double value)
{
    Node node;
    node.kind = Kind::Float;
    node.number = value;
    return add(node);
}

Value GraphBuilder::text(std::string_view value)
{
    m_graph->m_texts.emplace_back(value);
    Node node;
    node.kind = Kind::Text;
    node.a = static_cast<Index>(value.size());
    node.bytes = m_graph->m_texts.back().data();
    return add(node);
}

Value GraphBuilder::tuple(std::span<const Value> items)
{
    Node node;
    node.kind = Kind::Tuple;
    node.a = static_cast<Index>(m_graph->m_tuples.size());
    node.b = static_cast<Index>(items.size());
    for (const Value item : items)
        m_graph->m_tuples.push_back(item.index());
    return add(node);
}

Value GraphBuilder::list()
{
    Node node;
    node.kind = Kind::List;
    node.a = static_cast<Index>(m_graph->m_containers.size());
    m_graph->m_containers.emplace_back();
    return add(node);
}

Value GraphBuilder::dict()
{
    const Value made = list();
    m_graph->m_nodes[made.index()].kind = Kind::Dict;
    return made;
}

Value GraphBuilder::global(std::string_view module, std::string_view name)
{
    std::string key(module);
    key += '\n';
    key += name;
    if (const auto known = m_globals.find(key); known != m_globals.end())
        return {m_graph.get(), known->second};
    Node node;
    node.kind = Kind::Global;
    node.a = text(module).index();
    node.b = text(name).index();
    const Value made = add(node);
    m_globals.emplace(std::move(key), made.index());
    return made;
}

Value GraphBuilder::call(Value callable, Value arguments)
{
    Node node;
    node.kind = Kind::Reduce;
    node.a = callable.index();
    node.b = arguments.index();
    node.call.extra = 0;
    return add(node);
}

Value GraphBuilder::newObject(Value type, Value arguments)
{
    const Value made = call(type, arguments);
    m_graph->m_nodes[made.index()].kind = Kind::NewObject;
    return made;
}

Value GraphBuilder::persistentId(Value id)
{
    Node node;
    node.kind = Kind::PersistentId;
    node.a = id.index();
    return add(node);
}

Value GraphBuilder::orderedDict()
{
    return call(global("collections", "OrderedDict"), tuple({}));
}

Extra& GraphBuilder::extraOf(Index index)
{
    Node& node = m_graph->m_nodes[index];
    if (node.call.extra == 0) {
        m_graph->m_extras.emplace_back();
        node.call.extra = static_cast<Index>(m_graph->m_extras.size());
    }
    return m_graph->m_extras[node.call.extra - 1];
}

void GraphBuilder::append(Value sequence, Value item)
{
    const Node& node = m_graph->m_nodes[sequence.index()];
    auto& items = node.kind == Kind::List ? m_graph->m_containers[node.a] : extraOf(sequence.index()).list;
    items.push_back(item.index());
}

void GraphBuilder::set(Value mapping, Value key, Value value)
{
    const Node& node = m_graph->m_nodes[mapping.index()];
    auto& items = node.kind == Kind::Dict ? m_graph->m_containers[node.a] : extraOf(mapping.index()).dict;
    items.push_back(key.index());
    items.push_back(value.index());
}

void GraphBuilder::build(Value object, Value state)
{
    m_graph->addState(object.index(), state.index());
}

// Our index for a value of the graph that is imported: its own place, made and put on the list of those to fill, or what was decided.
GraphBuilder::Index GraphBuilder::place(Value from, const Decide& decide)
{
    auto& known = m_imported[from.m_graph];
    if (const auto found = known.find(from.index()); found != known.end())
        return found->second;
    const Fate fate = decide ? decide(from) : Fate{};
    Index index = kDropped;
    if (fate.kind == Fate::Kind::Replace)
        index = fate.with.index();
    else if (fate.kind == Fate::Kind::Copy) {
        index = add(from.node()).index();
        m_todo.emplace_back(index, from);
    }
    m_imported[from.m_graph].emplace(from.index(), index); // deciding may have imported, too
    return index;
}

void GraphBuilder::fillPairs(const std::vector<Index>& source, const Graph& graph, const Decide& decide, std::vector<Index>& out)
{
    for (std::size_t i = 0; i + 1 < source.size(); i += 2) {
        const Index key = place({&graph, source[i]}, decide);
        const Index value = place({&graph, source[i + 1]}, decide);
        if (key == kDropped || value == kDropped)
            continue;
        out.push_back(key);
        out.push_back(value);
    }
}

// Gives a copied node its children. Containers of its own; indices of this graph.
void GraphBuilder::fill(Index index, Value from, const Decide& decide)
{
    const Graph& graph = *from.m_graph;
    const Node& source = from.node();
    const auto child = [&](Index i) {
        const Index placed = place({&graph, i}, decide);
        return placed == kDropped ? 0 : placed;
    };
    const auto children = [&](std::span<const Index> from) {
        std::vector<Index> out;
        out.reserve(from.size());
        for (const Index i : from)
            out.push_back(child(i));
        return out;
    };
    Node made = source;
    switch (source.kind) {
    case Kind::Tuple: {
        const auto items = children(std::span(graph.m_tuples).subspan(source.a, source.b));
        made.a = static_cast<Index>(m_graph->m_tuples.size());
        m_graph->m_tuples.insert(m_graph->m_tuples.end(), items.begin(), items.end());
        break;
    }
    case Kind::List:
    case Kind::Set:
    case Kind::FrozenSet:
    case Kind::Dict: {
        std::vector<Index> items;
        if (source.kind == Kind::Dict)
            fillPairs(graph.m_containers[source.a], graph, decide, items);
        else
            items = children(graph.m_containers[source.a]);
        made.a = static_cast<Index>(m_graph->m_containers.size());
        m_graph->m_containers.push_back(std::move(items));
        break;
    }
    case Kind::Global:
        made.a = child(source.a);
        made.b = child(source.b);
        break;
    case Kind::PersistentId: made.a = child(source.a); break;
    case Kind::Reduce:
    case Kind::NewObject: {
        made.a = child(source.a);
        made.b = child(source.b);
        made.call.state = source.call.state == 0 ? 0 : child(source.call.state);
        if (source.call.extra == 0)
            break;
        const Extra& held = graph.m_extras[source.call.extra - 1];
        Extra extra;
        extra.list = children(held.list);
        fillPairs(held.dict, graph, decide, extra.dict);
        extra.states = children(held.states);
        extra.kwargs = held.kwargs == 0 ? 0 : child(held.kwargs);
        m_graph->m_extras.push_back(std::move(extra));
        made.call.extra = static_cast<Index>(m_graph->m_extras.size());
        break;
    }
    default: break; // leaves
    }
    m_graph->m_nodes[index] = made;
}

Value GraphBuilder::import(const std::shared_ptr<const void>& owner, Value from, const Decide& decide)
{
    if (!from)
        return none();
    if (std::find(m_graph->m_owners.begin(), m_graph->m_owners.end(), owner) == m_graph->m_owners.end())
        m_graph->m_owners.push_back(owner);
    const std::size_t others = m_todo.size(); // of an import() that is deciding about this one
    const Index root = place(from, decide);
    while (m_todo.size() > others) {
        const auto [index, value] = m_todo.back();
        m_todo.pop_back();
        fill(index, value, decide);
    }
    return {m_graph.get(), root == kDropped ? 0 : root};
}

std::shared_ptr<const Graph> GraphBuilder::finish(Value root) &&
{
    m_graph->m_root = root.index();
    return std::move(m_graph);
}

} // namespace shardlens::pickle
