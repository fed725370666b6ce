#include "core/encoding/pickle/emitter.h"

#include "core/base/text.h"
#include "core/encoding/pickle/global_levels.h"
#include "core/encoding/pickle/opcodes.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>

namespace shardlens::pickle {
namespace {

constexpr std::size_t kBatch = 1000; // items between a mark and APPENDS, as Python itself writes
constexpr std::uint64_t kLongestText = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kShortText = 8; // repeated rather than remembered

bool isText(const Node& node)
{
    return node.kind == Kind::Text || (node.kind == Kind::Bytes && static_cast<BytesOrigin>(node.b) == BytesOrigin::Text);
}

// Values whose identity nobody can tell, or that are shorter than a reference to them.
bool isCheap(const Node& node)
{
    switch (node.kind) {
    case Kind::None:
    case Kind::Bool:
    case Kind::Int:
    case Kind::Float:
    case Kind::Extension:
    case Kind::Buffer:
    case Kind::Global: return true; // names have a memo of their own
    case Kind::Tuple: return node.b == 0;
    case Kind::Text: return node.a <= kShortText;
    default: return false;
    }
}

} // namespace

Result<std::vector<std::byte>> emitPickle(Value root)
{
    if (!root)
        return Error{ErrorCode::Refused, "there is no value to write"};
    return Emitter(*root.graph()).run(root);
}

void Emitter::raw(std::string_view bytes)
{
    const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
    m_out.insert(m_out.end(), begin, begin + bytes.size());
}

void Emitter::number(std::uint64_t value, std::size_t bytes)
{
    for (std::size_t i = 0; i < bytes; ++i)
        m_out.push_back(static_cast<std::byte>(value >> (8 * i) & 0xFF));
}

void Emitter::integer(std::int64_t value)
{
    if (value >= 0 && value <= 0xFF) {
        opcode(op::kBinInt1);
        number(static_cast<std::uint64_t>(value), 1);
    } else if (value >= 0 && value <= 0xFFFF) {
        opcode(op::kBinInt2);
        number(static_cast<std::uint64_t>(value), 2);
    } else if (value >= std::numeric_limits<std::int32_t>::min() && value <= std::numeric_limits<std::int32_t>::max()) {
        opcode(op::kBinInt);
        number(static_cast<std::uint64_t>(value), 4);
    } else {
        opcode(op::kLong1);
        number(8, 1);
        number(static_cast<std::uint64_t>(value), 8);
    }
}

void Emitter::get(std::uint32_t slot)
{
    opcode(slot <= 0xFF ? op::kBinGet : op::kLongBinGet);
    number(slot, slot <= 0xFF ? 1 : 4);
}

// Whatever is met twice is remembered; and what can change always: a cycle may lead back to it through a tuple that is not complete yet.
void Emitter::remember(Index index)
{
    const Node& node = m_graph.m_nodes[index];
    const bool canChange = node.kind == Kind::List || node.kind == Kind::Dict || node.kind == Kind::Set ||
                           ((node.kind == Kind::Reduce || node.kind == Kind::NewObject) && node.call.extra != 0);
    if (m_uses[index] < 2 && !canChange)
        return;
    opcode(m_slots <= 0xFF ? op::kBinPut : op::kLongBinPut);
    number(m_slots, m_slots <= 0xFF ? 1 : 4);
    m_memo[index] = m_slots++;
}

void Emitter::rememberGlobal(const std::string& name)
{
    opcode(m_slots <= 0xFF ? op::kBinPut : op::kLongBinPut);
    number(m_slots, m_slots <= 0xFF ? 1 : 4);
    m_globalMemo.emplace(name, m_slots++);
}

void Emitter::needProtocol(const Node& node)
{
    if (node.kind == Kind::ByteArray)
        m_protocol = 5;
    const bool plainBytes = node.kind == Kind::Bytes && static_cast<BytesOrigin>(node.b) == BytesOrigin::Bytes;
    const bool newer = plainBytes || node.kind == Kind::Set || node.kind == Kind::FrozenSet;
    const bool withKwargs = (node.kind == Kind::Reduce || node.kind == Kind::NewObject) && node.call.extra != 0 && m_graph.m_extras[node.call.extra - 1].kwargs != 0;
    // A dotted name is followed attribute by attribute from protocol 4 on.
    const bool dotted = node.kind == Kind::Global && node.integer % 2 == 0 && Value(&m_graph, node.b).asText().value_or("").find('.') != std::string_view::npos;
    // Below protocol 3 Python maps the names of Python 2: one that was meant as it stands must not become another.
    const Value global(&m_graph, static_cast<Index>(&node - m_graph.m_nodes.data()));
    const GlobalName name{global.globalModule(), global.globalName()};
    const bool wouldBeMapped = node.kind == Kind::Global && !global.hasPython2Names() && !(python3Name(name, 2) == name);
    if (newer || withKwargs || dotted || wouldBeMapped)
        m_protocol = std::max(m_protocol, 4u);
}

// Counts how often each value is reached, once for all that it holds.
void Emitter::survey(Index root)
{
    m_uses.assign(m_graph.m_nodes.size(), 0);
    m_memo.assign(m_graph.m_nodes.size(), kForgotten);
    std::vector<Index> todo;
    const auto reach = [&](Index index) {
        if (m_uses[index] == 0)
            todo.push_back(index);
        m_uses[index] = static_cast<std::uint8_t>(std::min(m_uses[index] + 1, 2));
    };
    const auto reachAll = [&](std::span<const Index> all) {
        for (const Index index : all)
            reach(index);
    };
    reach(root);
    while (!todo.empty()) {
        const Node& node = m_graph.m_nodes[todo.back()];
        todo.pop_back();
        needProtocol(node);
        switch (node.kind) {
        case Kind::Tuple: reachAll(std::span(m_graph.m_tuples).subspan(node.a, node.b)); break;
        case Kind::List:
        case Kind::Dict:
        case Kind::Set:
        case Kind::FrozenSet: reachAll(m_graph.m_containers[node.a]); break;
        case Kind::PersistentId: reach(node.a); break;
        case Kind::Reduce:
        case Kind::NewObject:
            reach(node.a);
            reach(node.b);
            reachAll(m_graph.statesOf(node));
            if (node.call.extra != 0) {
                const Extra& extra = m_graph.m_extras[node.call.extra - 1];
                reachAll(extra.list);
                reachAll(extra.dict);
                if (extra.kwargs != 0)
                    reach(extra.kwargs);
            }
            break;
        default: break;
        }
    }
}

Status Emitter::textLeaf(const Node& node)
{
    if (node.a > kLongestText)
        return Error{ErrorCode::Refused, fmt::format("a text of {} B", groupedText(node.a))};
    if (isText(node)) {
        opcode(op::kBinUnicode);
        number(node.a, 4);
    } else if (node.kind == Kind::ByteArray) {
        opcode(op::kByteArray8);
        number(node.a, 8);
    } else if (static_cast<BytesOrigin>(node.b) == BytesOrigin::String8) {
        opcode(op::kBinString);
        number(node.a, 4);
    } else {
        opcode(node.a <= 0xFF ? op::kShortBinBytes : op::kBinBytes);
        number(node.a, node.a <= 0xFF ? 1 : 4);
    }
    raw({node.bytes, node.a});
    return {};
}

Status Emitter::globalLeaf(Index index)
{
    const Value value(&m_graph, index);
    GlobalName name{value.globalModule(), value.globalName()};
    if (value.hasPython2Names() && m_protocol >= 3)
        name = python3Name(name, 2);
    const std::string key = fmt::format("{}\n{}", name.module, name.name);
    if (std::count(key.begin(), key.end(), '\n') != 1 || name.module.empty() || name.name.empty())
        return Error{ErrorCode::Refused, fmt::format("the import {}.{} cannot be written", printable(name.module), printable(name.name))};
    if (const auto known = m_globalMemo.find(key); known != m_globalMemo.end()) {
        get(known->second);
        return {};
    }
    opcode(op::kGlobal);
    raw(key);
    raw("\n");
    rememberGlobal(key);
    return {};
}

Status Emitter::leaf(const Node& node)
{
    switch (node.kind) {
    case Kind::None: opcode(op::kNone); return {};
    case Kind::Bool: opcode(node.integer != 0 ? op::kNewTrue : op::kNewFalse); return {};
    case Kind::Int: integer(node.integer); return {};
    case Kind::BigInt:
        opcode(node.a <= 0xFF ? op::kLong1 : op::kLong4);
        number(node.a, node.a <= 0xFF ? 1 : 4);
        raw({node.bytes, node.a});
        return {};
    case Kind::Float: {
        opcode(op::kBinFloat);
        const auto bits = std::bit_cast<std::uint64_t>(node.number);
        for (int shift = 56; shift >= 0; shift -= 8)
            m_out.push_back(static_cast<std::byte>(bits >> shift & 0xFF));
        return {};
    }
    case Kind::Extension: return Error{ErrorCode::Refused, "an extension code, whose meaning lies outside the file"};
    case Kind::Buffer: return Error{ErrorCode::Refused, "an out-of-band buffer, whose bytes lie outside the file"};
    default: return textLeaf(node);
    }
}

// Writes a leaf or a reference at once; starts a frame for anything that holds other values.
Status Emitter::visit(Index index)
{
    if (isRemembered(index)) {
        get(m_memo[index]);
        return {};
    }
    const Node& node = m_graph.m_nodes[index];
    switch (node.kind) {
    case Kind::Tuple:
        if (node.b == 0) {
            opcode(op::kEmptyTuple);
            return {};
        }
        break;
    case Kind::List:
    case Kind::Dict:
    case Kind::Set:
    case Kind::FrozenSet:
    case Kind::Reduce:
    case Kind::NewObject:
    case Kind::PersistentId: break;
    case Kind::Global: return globalLeaf(index);
    default:
        SHARDLENS_TRY(leaf(node));
        if (!isCheap(node))
            remember(index);
        return {};
    }
    m_frames.push_back({index});
    return {};
}

Status Emitter::finish(std::uint8_t code)
{
    opcode(code);
    const Index index = m_frames.back().node;
    m_frames.pop_back();
    remember(index);
    return {};
}

// A value that cannot change was met again inside itself, and is complete already: what was put on the stack for it goes.
void Emitter::finishImmutable(std::size_t pieces, bool marked)
{
    if (marked)
        opcode(op::kPopMark);
    else
        for (std::size_t i = 0; i < pieces; ++i)
            opcode(op::kPop);
    get(m_memo[m_frames.back().node]);
    m_frames.pop_back();
}

Status Emitter::tuple(const Node& node)
{
    Frame& frame = m_frames.back();
    const bool marked = node.b > 3;
    if (frame.at == 0 && marked)
        opcode(op::kMark);
    if (frame.at < node.b)
        return visit(m_graph.m_tuples[node.a + frame.at++]);
    if (isRemembered(frame.node)) {
        finishImmutable(node.b, marked);
        return {};
    }
    return finish(marked ? op::kTuple : static_cast<std::uint8_t>(op::kTuple1 + node.b - 1));
}

Status Emitter::frozenSet(const Node& node)
{
    Frame& frame = m_frames.back();
    const std::vector<Index>& items = m_graph.m_containers[node.a];
    if (frame.stage == 0) {
        frame.stage = 1;
        opcode(op::kMark);
    }
    if (frame.at < items.size())
        return visit(items[frame.at++]);
    if (isRemembered(frame.node)) {
        finishImmutable(0, true);
        return {};
    }
    return finish(op::kFrozenSet);
}

Result<bool> Emitter::batch(const std::vector<Index>& items, std::size_t perItem, std::uint8_t one, std::uint8_t many)
{
    Frame& frame = m_frames.back();
    const std::size_t unit = kBatch * perItem;
    const std::size_t inBatch = frame.at % unit;
    const std::size_t begin = frame.at - inBatch;
    const bool isLast = frame.at == items.size();
    const std::uint8_t single = std::min(items.size(), begin + unit) - begin == perItem && one != 0 ? one : 0;
    // The end of a batch is written when the next one begins, or at the end.
    if (frame.at != 0 && (inBatch == 0 || isLast)) {
        const std::size_t closed = inBatch == 0 ? unit : inBatch;
        opcode(closed == perItem && one != 0 ? one : many);
    }
    if (isLast)
        return false;
    if (inBatch == 0 && single == 0)
        opcode(op::kMark);
    const Index item = items[frame.at++];
    SHARDLENS_TRY(visit(item));
    return true;
}

Status Emitter::container(const Node& node)
{
    Frame& frame = m_frames.back();
    if (frame.stage == 0) {
        frame.stage = 1;
        opcode(node.kind == Kind::List ? op::kEmptyList : node.kind == Kind::Dict ? op::kEmptyDict : op::kEmptySet);
        remember(frame.node);
    }
    const std::vector<Index>& items = m_graph.m_containers[node.a];
    const bool isDict = node.kind == Kind::Dict;
    const std::uint8_t one = isDict ? op::kSetItem : node.kind == Kind::List ? op::kAppend : std::uint8_t{0};
    const std::uint8_t many = isDict ? op::kSetItems : node.kind == Kind::List ? op::kAppends : op::kAddItems;
    SHARDLENS_ASSIGN(const bool more, batch(items, isDict ? 2 : 1, one, many));
    if (!more)
        m_frames.pop_back();
    return {};
}

Status Emitter::persistent(const Node& node)
{
    Frame& frame = m_frames.back();
    if (frame.stage == 0) {
        frame.stage = 1;
        return visit(node.a);
    }
    return finish(op::kBinPersId);
}

// callable, arguments, [keywords], the call itself; then items, keys and state in the order in which Python writes them.
Status Emitter::object(const Node& node)
{
    static const Extra kNoExtra;
    const Extra& extra = node.call.extra == 0 ? kNoExtra : m_graph.m_extras[node.call.extra - 1];
    Frame& frame = m_frames.back();
    switch (frame.stage) {
    case 0: frame.stage = 1; return visit(node.a);
    case 1: frame.stage = 2; return visit(node.b);
    case 2:
        frame.stage = 3;
        if (extra.kwargs != 0)
            return visit(extra.kwargs);
        return {};
    case 3:
        if (isRemembered(frame.node)) {
            finishImmutable(extra.kwargs != 0 ? 3 : 2, false);
            return {};
        }
        frame.stage = 4;
        opcode(node.kind == Kind::Reduce ? op::kReduce : extra.kwargs != 0 ? op::kNewObjEx : op::kNewObj);
        remember(frame.node);
        return {};
    case 4:
    case 5: {
        const bool isList = frame.stage == 4;
        SHARDLENS_ASSIGN(const bool more, batch(isList ? extra.list : extra.dict, isList ? 1 : 2, isList ? op::kAppend : op::kSetItem,
                                                isList ? op::kAppends : op::kSetItems));
        if (!more) {
            m_frames.back().stage += 1;
            m_frames.back().at = 0;
        }
        return {};
    }
    default: break;
    }
    if (frame.at > 0)
        opcode(op::kBuild);
    const auto states = m_graph.statesOf(node);
    if (frame.at < states.size())
        return visit(states[frame.at++]);
    m_frames.pop_back();
    return {};
}

Status Emitter::advance()
{
    const Node& node = m_graph.m_nodes[m_frames.back().node];
    switch (node.kind) {
    case Kind::Tuple: return tuple(node);
    case Kind::FrozenSet: return frozenSet(node);
    case Kind::PersistentId: return persistent(node);
    case Kind::Reduce:
    case Kind::NewObject: return object(node);
    default: return container(node);
    }
}

Result<std::vector<std::byte>> Emitter::run(Value root)
{
    survey(root.index());
    opcode(op::kProto);
    number(m_protocol, 1);
    SHARDLENS_TRY(visit(root.index()));
    while (!m_frames.empty())
        SHARDLENS_TRY(advance());
    opcode(op::kStop);
    return std::move(m_out);
}

} // namespace shardlens::pickle
