#include "core/encoding/pickle/graph.h"

#include <array>

namespace shardlens::pickle {
namespace {

bool isName(const Value& callable, std::initializer_list<std::string_view> modules, std::initializer_list<std::string_view> names)
{
    for (const std::string_view module : modules)
        for (const std::string_view name : names)
            if (callable.isGlobal(module, name))
                return true;
    return false;
}

bool isMappingClass(const Value& callable)
{
    return isName(callable, {"collections"}, {"OrderedDict", "defaultdict", "Counter"}) || isName(callable, {"__builtin__", "builtins"}, {"dict"});
}

bool isSequenceClass(const Value& callable)
{
    return isName(callable, {"torch"}, {"Size"}) || isName(callable, {"__builtin__", "builtins"}, {"set", "frozenset", "list", "tuple"}) ||
           isName(callable, {"collections"}, {"deque"});
}

bool isContainer(Kind kind)
{
    return kind == Kind::List || kind == Kind::Dict || kind == Kind::Set || kind == Kind::FrozenSet;
}

bool isCall(Kind kind)
{
    return kind == Kind::Reduce || kind == Kind::NewObject;
}

} // namespace

const Node& Value::node() const
{
    static const Node kAbsent;
    return m_graph == nullptr ? kAbsent : m_graph->m_nodes[m_index];
}

Kind Value::kind() const
{
    return node().kind;
}

std::optional<bool> Value::asBool() const
{
    if (kind() != Kind::Bool)
        return std::nullopt;
    return node().integer != 0;
}

std::optional<std::int64_t> Value::asInt() const
{
    const Node& self = node();
    if (self.kind == Kind::Int || self.kind == Kind::Bool)
        return self.integer;
    if (self.kind != Kind::BigInt || self.a == 0)
        return std::nullopt;
    const bool negative = (static_cast<unsigned char>(self.bytes[self.a - 1]) & 0x80) != 0;
    std::uint64_t out = negative ? ~std::uint64_t{0} : 0;
    for (std::uint32_t i = 0; i < self.a; ++i) {
        const auto byte = static_cast<unsigned char>(self.bytes[i]);
        if (i >= 8 && byte != (negative ? 0xFF : 0))
            return std::nullopt;
        if (i < 8)
            out = (out & ~(std::uint64_t{0xFF} << (8 * i))) | (std::uint64_t{byte} << (8 * i));
    }
    const auto number = static_cast<std::int64_t>(out);
    return (number < 0) == negative ? std::optional(number) : std::nullopt;
}

std::optional<double> Value::asFloat() const
{
    if (kind() == Kind::Float)
        return node().number;
    const auto whole = asInt();
    return whole ? std::optional(static_cast<double>(*whole)) : std::nullopt;
}

std::optional<std::string_view> Value::asText() const
{
    if (kind() != Kind::Text)
        return std::nullopt;
    return std::string_view(node().bytes, node().a);
}

std::span<const std::byte> Value::bigIntBytes() const
{
    return kind() == Kind::BigInt ? std::span(reinterpret_cast<const std::byte*>(node().bytes), node().a) : std::span<const std::byte>{};
}

std::optional<std::span<const std::byte>> Value::asBytes() const
{
    if (kind() == Kind::Bytes || kind() == Kind::ByteArray)
        return std::span(reinterpret_cast<const std::byte*>(node().bytes), node().a);
    return std::nullopt;
}

Value Value::initialItems() const
{
    if (!isCall(kind()))
        return {};
    const Value first = args().size() == 0 ? Value{} : args().at(0);
    if (callable().isGlobal("collections", "defaultdict"))
        return args().size() > 1 ? args().at(1) : Value{};
    return first;
}

bool Value::isSequence() const
{
    const Kind self = kind();
    if (self == Kind::Tuple || self == Kind::List || self == Kind::Set || self == Kind::FrozenSet)
        return true;
    return isCall(self) && isSequenceClass(callable());
}

bool Value::isMapping() const
{
    if (kind() == Kind::Dict)
        return true;
    if (!isCall(kind()))
        return false;
    return isMappingClass(callable()) || (node().call.extra != 0 && !m_graph->m_extras[node().call.extra - 1].dict.empty());
}

std::size_t Value::size() const
{
    const Node& self = node();
    if (self.kind == Kind::Tuple)
        return self.b;
    if (isContainer(self.kind))
        return m_graph->m_containers[self.a].size() / (self.kind == Kind::Dict ? 2 : 1);
    if (!isCall(self.kind))
        return 0;
    const bool mapping = isMapping();
    if (!mapping && !isSequence())
        return 0;
    std::size_t count = 0;
    // Only one level: a call given another call as its items is not looked into further.
    const Value initial = initialItems();
    if (initial.kind() == Kind::Tuple || isContainer(initial.kind()))
        count += initial.size();
    if (self.call.extra != 0) {
        const Extra& extra = m_graph->m_extras[self.call.extra - 1];
        count += mapping ? extra.dict.size() / 2 : extra.list.size();
    }
    return count;
}

Value Value::at(std::size_t i) const
{
    const Node& self = node();
    if (self.kind == Kind::Tuple)
        return i < self.b ? Value{m_graph, m_graph->m_tuples[self.a + i]} : Value{};
    if (isContainer(self.kind) && self.kind != Kind::Dict) {
        const auto& items = m_graph->m_containers[self.a];
        return i < items.size() ? Value{m_graph, items[i]} : Value{};
    }
    if (!isSequence())
        return {};
    const Value initial = initialItems();
    const std::size_t before = initial.kind() == Kind::Tuple || isContainer(initial.kind()) ? initial.size() : 0;
    if (i < before)
        return initial.at(i);
    if (self.call.extra == 0)
        return {};
    const auto& items = m_graph->m_extras[self.call.extra - 1].list;
    return i - before < items.size() ? Value{m_graph, items[i - before]} : Value{};
}

std::span<const std::uint32_t> Value::rawItems() const
{
    const Node& self = node();
    if (self.kind == Kind::Tuple)
        return std::span(m_graph->m_tuples).subspan(self.a, self.b);
    return self.kind == Kind::List || self.kind == Kind::Dict ? std::span<const std::uint32_t>(m_graph->m_containers[self.a]) : std::span<const std::uint32_t>();
}

namespace {

// Key (0) or value (1) of item i of what an OrderedDict or dict was called with: a dict, or pairs.
Value initialPart(const Value& initial, std::size_t i, std::size_t part)
{
    if (initial.kind() == Kind::Dict)
        return part == 0 ? initial.keyAt(i) : initial.valueAt(i);
    return initial.at(i).at(part);
}

} // namespace

Value Value::keyAt(std::size_t i) const
{
    const Node& self = node();
    if (self.kind == Kind::Dict) {
        const auto& items = m_graph->m_containers[self.a];
        return 2 * i + 1 < items.size() ? Value{m_graph, items[2 * i]} : Value{};
    }
    if (!isMapping())
        return {};
    const Value initial = initialItems();
    const std::size_t before = initial.kind() == Kind::Tuple || isContainer(initial.kind()) ? initial.size() : 0;
    if (i < before)
        return initialPart(initial, i, 0);
    if (self.call.extra == 0)
        return {};
    const auto& items = m_graph->m_extras[self.call.extra - 1].dict;
    return 2 * (i - before) + 1 < items.size() ? Value{m_graph, items[2 * (i - before)]} : Value{};
}

Value Value::valueAt(std::size_t i) const
{
    const Node& self = node();
    if (self.kind == Kind::Dict) {
        const auto& items = m_graph->m_containers[self.a];
        return 2 * i + 1 < items.size() ? Value{m_graph, items[2 * i + 1]} : Value{};
    }
    if (!isMapping())
        return {};
    const Value initial = initialItems();
    const std::size_t before = initial.kind() == Kind::Tuple || isContainer(initial.kind()) ? initial.size() : 0;
    if (i < before)
        return initialPart(initial, i, 1);
    if (self.call.extra == 0)
        return {};
    const auto& items = m_graph->m_extras[self.call.extra - 1].dict;
    return 2 * (i - before) + 1 < items.size() ? Value{m_graph, items[2 * (i - before) + 1]} : Value{};
}

Value Value::find(std::string_view key) const
{
    for (std::size_t i = size(); isMapping() && i-- > 0;)
        if (const auto text = keyAt(i).asText(); text && *text == key)
            return valueAt(i);
    return {};
}

std::string_view Value::globalModule() const
{
    if (kind() != Kind::Global)
        return {};
    return Value{m_graph, node().a}.asText().value_or("");
}

std::string_view Value::globalName() const
{
    if (kind() != Kind::Global)
        return {};
    return Value{m_graph, node().b}.asText().value_or("");
}

bool Value::isGlobal(std::string_view module, std::string_view name) const
{
    return kind() == Kind::Global && globalName() == name && globalModule() == module;
}

std::size_t Value::globalOffset() const
{
    return kind() == Kind::Global ? static_cast<std::size_t>(node().integer / 2) : 0;
}

bool Value::hasPython2Names() const
{
    return kind() == Kind::Global && node().integer % 2 != 0;
}

Value Value::callable() const
{
    return isCall(kind()) ? Value{m_graph, node().a} : Value{};
}

Value Value::args() const
{
    return isCall(kind()) ? Value{m_graph, node().b} : Value{};
}

Value Value::kwargs() const
{
    if (!isCall(kind()) || node().call.extra == 0 || m_graph->m_extras[node().call.extra - 1].kwargs == 0)
        return {};
    return {m_graph, m_graph->m_extras[node().call.extra - 1].kwargs};
}

Value Value::state() const
{
    if (!isCall(kind()))
        return {};
    const auto states = m_graph->statesOf(node());
    return states.empty() ? Value{} : Value{m_graph, states.back()};
}

Value Value::attribute(std::string_view name) const
{
    const Value built = state();
    if (built.isMapping())
        return built.find(name);
    if (built.kind() != Kind::Tuple || built.size() != 2)
        return {};
    const Value slot = built.at(1).find(name); // (dict, slots)
    return slot ? slot : built.at(0).find(name);
}

bool Value::isCallOf(std::string_view module, std::string_view name) const
{
    return callable().isGlobal(module, name);
}

Value Value::persistentId() const
{
    return kind() == Kind::PersistentId ? Value{m_graph, node().a} : Value{};
}

std::span<const std::uint32_t> Graph::statesOf(const Node& node) const
{
    if (node.call.state != 0)
        return {&node.call.state, 1};
    return node.call.extra == 0 ? std::span<const std::uint32_t>() : std::span<const std::uint32_t>(m_extras[node.call.extra - 1].states);
}

void Graph::addState(std::uint32_t index, std::uint32_t state)
{
    Node& node = m_nodes[index];
    if (state != 0 && statesOf(node).empty()) { // 0 is None itself
        node.call.state = state;
        return;
    }
    if (node.call.extra == 0) {
        m_extras.emplace_back();
        node.call.extra = static_cast<std::uint32_t>(m_extras.size());
    }
    Extra& extra = m_extras[node.call.extra - 1];
    if (node.call.state != 0)
        extra.states.push_back(std::exchange(node.call.state, 0));
    extra.states.push_back(state);
}

std::optional<std::size_t> Graph::offsetOf(Value bytes) const
{
    const auto span = bytes.graph() == this ? bytes.asBytes() : std::nullopt;
    if (!span || span->empty() || span->data() < m_input->data() || span->data() >= m_input->data() + m_input->size())
        return std::nullopt;
    return static_cast<std::size_t>(span->data() - m_input->data());
}

std::string latin1(std::string_view utf8)
{
    std::string out;
    for (std::size_t i = 0; i < utf8.size(); ++i) {
        const auto byte = static_cast<unsigned char>(utf8[i]);
        const bool pair = (byte == 0xC2 || byte == 0xC3) && i + 1 < utf8.size();
        out += pair ? static_cast<char>(((byte & 3) << 6) | (static_cast<unsigned char>(utf8[i + 1]) & 0x3F)) : utf8[i];
        i += pair ? 1 : 0;
    }
    return out;
}

} // namespace shardlens::pickle
