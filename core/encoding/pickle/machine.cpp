#include "core/encoding/pickle/machine.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/pickle/opcodes.h"
#include "core/encoding/pickle/text_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

namespace shardlens::pickle {
namespace {

constexpr std::uint64_t kBudgetBase = 32ull << 20;
constexpr std::uint64_t kBudgetMost = 2ull << 30;
constexpr std::uint64_t kBudgetFactor = 12; // of the input: honest files need about 4
constexpr std::uint32_t kUnset = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kMaxStack = 1u << 26; // values at once: an opcode of one byte puts one there that takes no node
constexpr std::uint64_t kPollEvery = 65'536; // opcodes
constexpr std::size_t kSmallNumbers = 1024;
constexpr std::size_t kWorthReserving = 1u << 20;
constexpr std::size_t kBytesPerNode = 6; // of a pickle of many small objects
constexpr std::size_t kMaxNodes = kUnset - 1;

Error corrupt(std::string text)
{
    return {ErrorCode::Corrupt, std::move(text)};
}

} // namespace

Machine::Machine(Graph& graph, std::shared_ptr<const std::vector<std::byte>> input, std::size_t offset, Graph::Numbers numbers)
    : m_graph(graph), m_bytes(*input), m_at(offset), m_small(numbers == Graph::Numbers::Shared ? kSmallNumbers : 0), m_budget(std::min(kBudgetMost, kBudgetBase + kBudgetFactor * (input->size() - offset)))
{
    m_graph.m_input = std::move(input);
    if (m_bytes.size() - m_at > kWorthReserving) // what is not touched takes no memory; growing would copy it all
        m_graph.m_nodes.reserve((m_bytes.size() - m_at) / kBytesPerNode);
    m_graph.m_nodes.emplace_back(); // index 0: None, so that 0 can mean "nothing" in Extra
    Node tuple;
    tuple.kind = Kind::Tuple;
    m_graph.m_nodes.push_back(tuple);
    m_emptyTuple = 1;
}

Status Machine::run(const JobContext* job)
{
    for (std::uint64_t count = 0; !m_stopped; ++count) {
        if (job != nullptr && count % kPollEvery == 0)
            SHARDLENS_TRY(job->poll());
        m_opcodeAt = m_at;
        if (m_at >= m_bytes.size())
            return corrupt(fmt::format("pickle: it ends at {} without STOP", m_at));
        const auto opcode = static_cast<std::uint8_t>(m_bytes[m_at++]);
        if (Status done = step(opcode); !done)
            return done.takeError().within(fmt::format("pickle opcode {:#04x} at {}", opcode, m_opcodeAt));
    }
    m_graph.m_end = m_at;
    return {};
}

Status Machine::step(std::uint8_t opcode)
{
    switch (groupOf(opcode)) {
    case OpcodeGroup::Literal: return pushLiteral(opcode);
    case OpcodeGroup::TextLiteral: return pushTextLiteral(opcode);
    case OpcodeGroup::Container: return containerOpcode(opcode);
    case OpcodeGroup::Object: return objectOpcode(opcode);
    case OpcodeGroup::Memo: return memoOpcode(opcode);
    case OpcodeGroup::Stack: return stackOpcode(opcode);
    case OpcodeGroup::Unknown: break;
    }
    return corrupt("unknown opcode");
}

Result<std::span<const std::byte>> Machine::take(std::uint64_t count)
{
    const std::uint64_t left = m_bytes.size() - m_at;
    if (count > left)
        return corrupt(fmt::format("argument: {} B declared, {} left", groupedText(count), groupedText(left)));
    const auto out = m_bytes.subspan(m_at, count);
    m_at += count;
    return out;
}

Result<std::uint64_t> Machine::number(std::size_t bytes)
{
    SHARDLENS_ASSIGN(const auto field, take(bytes));
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < bytes; ++i)
        out |= static_cast<std::uint64_t>(field[i]) << (8 * i);
    return out;
}

Result<std::string_view> Machine::line()
{
    const char* begin = reinterpret_cast<const char*>(m_bytes.data()) + m_at;
    const std::string_view left(begin, m_bytes.size() - m_at);
    const std::size_t end = left.find('\n');
    if (end == std::string_view::npos || end == 0)
        return corrupt(end == 0 ? "an empty line as argument" : "a line that does not end");
    m_at += end + 1;
    return left.substr(0, end);
}

Result<std::string_view> Machine::counted(std::size_t lengthBytes, bool isSigned)
{
    SHARDLENS_ASSIGN(const std::uint64_t length, number(lengthBytes));
    if (isSigned && length > 0x7FFFFFFF)
        return corrupt("a negative length");
    SHARDLENS_ASSIGN(const auto bytes, take(length));
    if (length > kUnset)
        return Error{ErrorCode::LimitExceeded, fmt::format("one value of {} B", groupedText(length))};
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Status Machine::charge(std::uint64_t bytes)
{
    if (bytes > m_budget)
        return Error{ErrorCode::LimitExceeded, fmt::format("the pickle of {} B builds more than it can honestly hold", groupedText(m_bytes.size()))};
    m_budget -= bytes;
    return {};
}

Result<Machine::Index> Machine::add(Node node)
{
    SHARDLENS_TRY(charge(sizeof(Node)));
    if (m_graph.m_nodes.size() >= kMaxNodes)
        return Error{ErrorCode::LimitExceeded, "more than 2^32 values"};
    m_graph.m_nodes.push_back(node);
    return static_cast<Index>(m_graph.m_nodes.size() - 1);
}

Status Machine::push(Index index)
{
    if (m_stack.size() >= kMaxStack)
        return Error{ErrorCode::LimitExceeded, fmt::format("more than {} values on the stack", groupedText(kMaxStack))};
    m_stack.push_back(index);
    return {};
}

Status Machine::pushNode(Node node)
{
    SHARDLENS_ASSIGN(const Index index, add(node));
    return push(index);
}

Status Machine::pushInt(std::int64_t value)
{
    const bool isSmall = value >= 0 && value < static_cast<std::int64_t>(m_small.size()); // only where they are shared
    if (isSmall && m_small[static_cast<std::size_t>(value)] != 0)
        return push(m_small[static_cast<std::size_t>(value)]);
    if (isSmall)
        m_small[static_cast<std::size_t>(value)] = static_cast<Index>(m_graph.m_nodes.size());
    Node node;
    node.kind = Kind::Int;
    node.integer = value;
    return pushNode(node);
}

Status Machine::pushBytes(Kind kind, std::string_view bytes)
{
    Node node;
    node.kind = kind;
    node.a = static_cast<std::uint32_t>(bytes.size());
    node.bytes = bytes.data();
    return pushNode(node);
}

Status Machine::pushText8(std::string_view bytes, BytesOrigin origin)
{
    if (isUtf8(bytes))
        return pushBytes(Kind::Text, bytes);
    SHARDLENS_TRY(pushBytes(Kind::Bytes, bytes));
    m_graph.m_nodes[m_stack.back()].b = static_cast<std::uint32_t>(origin);
    return {};
}

Status Machine::pushOwned(Kind kind, std::string text, BytesOrigin origin)
{
    SHARDLENS_TRY(charge(text.size() + sizeof(std::string)));
    m_graph.m_texts.push_back(std::move(text));
    if (kind == Kind::Text)
        return pushText8(m_graph.m_texts.back(), origin);
    return pushBytes(kind, m_graph.m_texts.back());
}

Status Machine::pushContainer(Kind kind, std::vector<Index> items)
{
    SHARDLENS_TRY(charge(sizeof(items) + items.size() * sizeof(Index)));
    Node node;
    node.kind = kind;
    node.a = static_cast<std::uint32_t>(m_graph.m_containers.size());
    m_graph.m_containers.push_back(std::move(items));
    return pushNode(node);
}

Status Machine::pushTuple(std::span<const Index> items)
{
    if (items.empty())
        return push(m_emptyTuple);
    SHARDLENS_TRY(charge(items.size_bytes()));
    if (m_graph.m_tuples.size() + items.size() >= kMaxNodes)
        return Error{ErrorCode::LimitExceeded, "tuples of more than 2^32 values"};
    Node node;
    node.kind = Kind::Tuple;
    node.a = static_cast<std::uint32_t>(m_graph.m_tuples.size());
    node.b = static_cast<std::uint32_t>(items.size());
    m_graph.m_tuples.insert(m_graph.m_tuples.end(), items.begin(), items.end());
    return pushNode(node);
}

Status Machine::pushCall(Kind kind, Index callable, Index arguments, Index kwargs)
{
    Node node;
    node.kind = kind;
    node.a = callable;
    node.b = arguments;
    node.call.extra = 0;
    SHARDLENS_TRY(pushNode(node));
    if (kwargs != 0) {
        SHARDLENS_ASSIGN(Extra* const extra, extraOf(m_stack.back()));
        extra->kwargs = kwargs;
    }
    return {};
}

Result<Machine::Index> Machine::globalNode(std::string_view module, std::string_view name)
{
    if (!isUtf8(module) || !isUtf8(name))
        return corrupt("the name of a global is no UTF-8");
    SHARDLENS_TRY(pushBytes(Kind::Text, module));
    SHARDLENS_TRY(pushBytes(Kind::Text, name));
    SHARDLENS_ASSIGN(const Index nameIndex, pop());
    SHARDLENS_ASSIGN(const Index moduleIndex, pop());
    return addGlobal(moduleIndex, nameIndex);
}

Result<Machine::Index> Machine::addGlobal(Index module, Index name)
{
    Node node;
    node.kind = Kind::Global;
    node.a = module;
    node.b = name;
    node.integer = static_cast<std::int64_t>(m_opcodeAt * 2 + (m_protocol < 3 ? 1 : 0));
    return add(node);
}

Status Machine::need(std::size_t count) const
{
    if (m_stack.size() - floor() < count)
        return corrupt(fmt::format("{} on the stack needed, {} there", plural(count, "value", "values"), m_stack.size() - floor()));
    return {};
}

Result<Machine::Index> Machine::pop()
{
    SHARDLENS_TRY(need(1));
    const Index top = m_stack.back();
    m_stack.pop_back();
    return top;
}

Result<std::span<const Machine::Index>> Machine::popToMark()
{
    if (m_marks.empty())
        return corrupt("no mark on the stack");
    const auto begin = m_stack.begin() + static_cast<std::ptrdiff_t>(m_marks.back());
    m_popped.assign(begin, m_stack.end());
    m_stack.erase(begin, m_stack.end());
    m_marks.pop_back();
    return std::span<const Index>(m_popped);
}

Result<Extra*> Machine::extraOf(Index index)
{
    Node& node = m_graph.m_nodes[index];
    if (node.call.extra == 0) {
        SHARDLENS_TRY(charge(sizeof(Extra)));
        m_graph.m_extras.emplace_back();
        node.call.extra = static_cast<std::uint32_t>(m_graph.m_extras.size());
    }
    return &m_graph.m_extras[node.call.extra - 1];
}

Status Machine::addItems(Index target, std::span<const Index> items)
{
    if (items.empty())
        return {};
    SHARDLENS_TRY(charge(items.size_bytes() * 2)); // vectors grow by doubling
    const Node& node = m_graph.m_nodes[target];
    if (node.kind == Kind::List || node.kind == Kind::Set) {
        auto& held = m_graph.m_containers[node.a];
        held.insert(held.end(), items.begin(), items.end());
        return {};
    }
    if (node.kind != Kind::Reduce && node.kind != Kind::NewObject)
        return corrupt("items for what is no list, set or object");
    SHARDLENS_ASSIGN(Extra* const extra, extraOf(target));
    extra->list.insert(extra->list.end(), items.begin(), items.end());
    return {};
}

Status Machine::setItems(Index target, std::span<const Index> items)
{
    if (items.size() % 2 != 0)
        return corrupt(fmt::format("{} values as keys and values", items.size()));
    if (items.empty())
        return {};
    SHARDLENS_TRY(charge(items.size_bytes() * 2));
    const Node& node = m_graph.m_nodes[target];
    if (node.kind == Kind::Dict) {
        auto& held = m_graph.m_containers[node.a];
        held.insert(held.end(), items.begin(), items.end());
        return {};
    }
    if (node.kind != Kind::Reduce && node.kind != Kind::NewObject)
        return corrupt("keys for what is no dictionary or object");
    SHARDLENS_ASSIGN(Extra* const extra, extraOf(target));
    extra->dict.insert(extra->dict.end(), items.begin(), items.end());
    return {};
}

Status Machine::remember(std::uint64_t slot)
{
    SHARDLENS_TRY(need(1));
    // Python keeps a dense array; a far slot must not cost its distance here.
    if (slot < m_memo.size() + 4096) {
        if (slot >= m_memo.size()) {
            SHARDLENS_TRY(charge((slot + 1 - m_memo.size()) * sizeof(Index)));
            m_memo.resize(slot + 1, kUnset);
        }
        m_memoCount += m_memo[slot] == kUnset && m_sparse.erase(slot) == 0 ? 1 : 0;
        m_memo[slot] = m_stack.back();
        return {};
    }
    SHARDLENS_TRY(charge(64));
    m_memoCount += m_sparse.insert_or_assign(slot, m_stack.back()).second ? 1 : 0;
    return {};
}

Status Machine::recall(std::uint64_t slot)
{
    if (slot < m_memo.size() && m_memo[slot] != kUnset)
        return push(m_memo[slot]);
    const auto at = m_sparse.find(slot);
    if (at == m_sparse.end())
        return corrupt(fmt::format("memo slot {} was never set", slot));
    return push(at->second);
}

Status Machine::pushLiteral(std::uint8_t opcode)
{
    switch (opcode) {
    case op::kNone: return push(m_none);
    case op::kNewTrue:
    case op::kNewFalse: {
        Node node;
        node.kind = Kind::Bool;
        node.integer = opcode == op::kNewTrue ? 1 : 0;
        return pushNode(node);
    }
    case op::kBinInt: {
        SHARDLENS_ASSIGN(const std::uint64_t value, number(4));
        return pushInt(static_cast<std::int32_t>(static_cast<std::uint32_t>(value)));
    }
    case op::kBinInt1:
    case op::kBinInt2: {
        SHARDLENS_ASSIGN(const std::uint64_t value, number(opcode == op::kBinInt1 ? 1 : 2));
        return pushInt(static_cast<std::int64_t>(value));
    }
    case op::kLong1:
    case op::kLong4: {
        SHARDLENS_ASSIGN(const std::string_view bytes, counted(opcode == op::kLong1 ? 1 : 4, opcode == op::kLong4));
        return bytes.empty() ? pushInt(0) : pushBytes(Kind::BigInt, bytes);
    }
    case op::kBinFloat: {
        SHARDLENS_ASSIGN(const auto bytes, take(8));
        Node node;
        node.kind = Kind::Float;
        node.number = std::bit_cast<double>(loadBe64(bytes.data()));
        return pushNode(node);
    }
    default: break;
    }
    const TextOpcode text = textOpcode(opcode);
    SHARDLENS_ASSIGN(const std::string_view bytes, counted(text.lengthBytes, text.isSigned));
    const bool is8Bit = opcode == op::kBinString || opcode == op::kShortBinString;
    return text.kind == Kind::Text ? pushText8(bytes, is8Bit ? BytesOrigin::String8 : BytesOrigin::Text) : pushBytes(text.kind, bytes);
}

Status Machine::pushTextLiteral(std::uint8_t opcode)
{
    SHARDLENS_ASSIGN(const std::string_view text, line());
    switch (opcode) {
    case op::kInt:
    case op::kLong: {
        SHARDLENS_ASSIGN(const LineNumber value, opcode == op::kInt ? intOfLine(text) : longOfLine(text));
        if (!value.big.empty())
            return pushOwned(Kind::BigInt, value.big);
        Node node;
        node.kind = value.isBool ? Kind::Bool : Kind::Int;
        node.integer = value.small;
        return pushNode(node);
    }
    case op::kFloat: {
        Node node;
        node.kind = Kind::Float;
        SHARDLENS_ASSIGN(node.number, floatOfLine(text));
        return pushNode(node);
    }
    case op::kString: {
        SHARDLENS_ASSIGN(std::string value, stringOfLine(text));
        return pushOwned(Kind::Text, std::move(value), BytesOrigin::String8);
    }
    case op::kUnicode: {
        SHARDLENS_ASSIGN(std::string value, unicodeOfLine(text));
        return pushOwned(Kind::Text, std::move(value), BytesOrigin::Text); // lone surrogates are no UTF-8
    }
    default: break; // PERSID
    }
    SHARDLENS_TRY(pushText8(text, BytesOrigin::Text));
    Node node;
    node.kind = Kind::PersistentId;
    SHARDLENS_ASSIGN(node.a, pop());
    return pushNode(node);
}

Status Machine::containerOpcode(std::uint8_t opcode)
{
    switch (opcode) {
    case op::kEmptyTuple: return push(m_emptyTuple);
    case op::kEmptyList: return pushContainer(Kind::List, {});
    case op::kEmptyDict: return pushContainer(Kind::Dict, {});
    case op::kEmptySet: return pushContainer(Kind::Set, {});
    case op::kTuple1:
    case op::kTuple2:
    case op::kTuple3: {
        const std::size_t count = opcode - op::kTuple1 + 1u;
        SHARDLENS_TRY(need(count));
        const std::vector<Index> items(m_stack.end() - static_cast<std::ptrdiff_t>(count), m_stack.end());
        m_stack.resize(m_stack.size() - count);
        return pushTuple(items);
    }
    case op::kAppend: {
        SHARDLENS_TRY(need(2));
        SHARDLENS_ASSIGN(const Index item, pop());
        return addItems(m_stack.back(), std::span(&item, 1));
    }
    case op::kSetItem: {
        SHARDLENS_TRY(need(3));
        const std::array<Index, 2> pair{m_stack[m_stack.size() - 2], m_stack.back()};
        m_stack.resize(m_stack.size() - 2);
        return setItems(m_stack.back(), pair);
    }
    default: break;
    }
    SHARDLENS_ASSIGN(const auto items, popToMark());
    switch (opcode) {
    case op::kTuple: return pushTuple(items);
    case op::kList: return pushContainer(Kind::List, {items.begin(), items.end()});
    case op::kFrozenSet: return pushContainer(Kind::FrozenSet, {items.begin(), items.end()});
    case op::kDict: {
        SHARDLENS_TRY(pushContainer(Kind::Dict, {}));
        return setItems(m_stack.back(), items);
    }
    default: break;
    }
    SHARDLENS_TRY(need(1));
    return opcode == op::kSetItems ? setItems(m_stack.back(), items) : addItems(m_stack.back(), items);
}

Status Machine::objectOpcode(std::uint8_t opcode)
{
    switch (opcode) {
    case op::kGlobal:
    case op::kInst: {
        SHARDLENS_ASSIGN(const std::string_view module, line());
        SHARDLENS_ASSIGN(const std::string_view name, line());
        SHARDLENS_ASSIGN(const Index global, globalNode(module, name));
        if (opcode == op::kGlobal)
            return push(global);
        SHARDLENS_ASSIGN(const auto items, popToMark());
        SHARDLENS_TRY(pushTuple(items));
        SHARDLENS_ASSIGN(const Index arguments, pop());
        return pushCall(Kind::Reduce, global, arguments);
    }
    case op::kStackGlobal: {
        SHARDLENS_TRY(need(2));
        SHARDLENS_ASSIGN(const Index name, pop());
        SHARDLENS_ASSIGN(const Index module, pop());
        if (m_graph.m_nodes[name].kind != Kind::Text || m_graph.m_nodes[module].kind != Kind::Text)
            return corrupt("STACK_GLOBAL without two texts");
        SHARDLENS_ASSIGN(const Index global, addGlobal(module, name));
        return push(global);
    }
    case op::kExt1:
    case op::kExt2:
    case op::kExt4: {
        Node node;
        node.kind = Kind::Extension;
        SHARDLENS_ASSIGN(const std::uint64_t code, number(opcode == op::kExt1 ? 1 : opcode == op::kExt2 ? 2 : 4));
        if (code == 0 || code > 0x7FFFFFFF)
            return corrupt("an extension code that is not positive");
        node.integer = static_cast<std::int64_t>(code);
        return pushNode(node);
    }
    case op::kBinPersId: {
        Node node;
        node.kind = Kind::PersistentId;
        SHARDLENS_ASSIGN(node.a, pop());
        return pushNode(node);
    }
    case op::kObj: {
        SHARDLENS_ASSIGN(const auto items, popToMark());
        if (items.empty())
            return corrupt("OBJ without a class");
        const Index callable = items.front();
        SHARDLENS_TRY(pushTuple(items.subspan(1)));
        SHARDLENS_ASSIGN(const Index arguments, pop());
        return pushCall(Kind::Reduce, callable, arguments);
    }
    case op::kBuild: {
        SHARDLENS_TRY(need(2));
        SHARDLENS_ASSIGN(const Index state, pop());
        const Kind kind = m_graph.m_nodes[m_stack.back()].kind;
        if (kind != Kind::Reduce && kind != Kind::NewObject)
            return m_graph.m_nodes[state].kind == Kind::None ? Status{} : corrupt("BUILD on what is no object");
        if (state == 0 || !m_graph.statesOf(m_graph.m_nodes[m_stack.back()]).empty())
            SHARDLENS_TRY(charge(sizeof(Extra) + 2 * sizeof(Index)));
        m_graph.addState(m_stack.back(), state);
        return {};
    }
    default: break;
    }
    const bool withKwargs = opcode == op::kNewObjEx;
    SHARDLENS_TRY(need(withKwargs ? 3 : 2));
    Index kwargs = 0;
    if (withKwargs)
        SHARDLENS_TRY([&]() -> Status {
            SHARDLENS_ASSIGN(kwargs, pop());
            return {};
        }());
    SHARDLENS_ASSIGN(const Index arguments, pop());
    SHARDLENS_ASSIGN(const Index callable, pop());
    if (m_graph.m_nodes[arguments].kind != Kind::Tuple)
        return corrupt("arguments that are no tuple");
    return pushCall(opcode == op::kReduce ? Kind::Reduce : Kind::NewObject, callable, arguments, kwargs);
}

Status Machine::memoOpcode(std::uint8_t opcode)
{
    switch (opcode) {
    case op::kMemoize: return remember(m_memoCount);
    case op::kPut:
    case op::kGet: {
        SHARDLENS_ASSIGN(const std::string_view text, line());
        SHARDLENS_ASSIGN(const std::uint64_t slot, slotOfLine(text));
        return opcode == op::kPut ? remember(slot) : recall(slot);
    }
    case op::kBinPut:
    case op::kLongBinPut: {
        SHARDLENS_ASSIGN(const std::uint64_t slot, number(opcode == op::kBinPut ? 1 : 4));
        return remember(slot);
    }
    default: break;
    }
    SHARDLENS_ASSIGN(const std::uint64_t slot, number(opcode == op::kBinGet ? 1 : 4));
    return recall(slot);
}

Status Machine::stackOpcode(std::uint8_t opcode)
{
    switch (opcode) {
    case op::kProto: {
        SHARDLENS_ASSIGN(const std::uint64_t protocol, number(1));
        if (protocol > 5)
            return Error{ErrorCode::Unsupported, fmt::format("pickle protocol {}, and 5 is the newest known", protocol)};
        m_protocol = protocol;
        return {};
    }
    case op::kFrame: {
        SHARDLENS_ASSIGN(const std::uint64_t length, number(8));
        if (length > m_bytes.size() - m_at)
            return corrupt(fmt::format("frame: {} B declared, {} left", groupedText(length), groupedText(m_bytes.size() - m_at)));
        return {};
    }
    case op::kMark: m_marks.push_back(m_stack.size()); return charge(sizeof(std::size_t));
    case op::kPop:
        if (!m_marks.empty() && m_marks.back() == m_stack.size()) {
            m_marks.pop_back();
            return {};
        }
        SHARDLENS_TRY(need(1));
        m_stack.pop_back();
        return {};
    case op::kPopMark: {
        SHARDLENS_ASSIGN([[maybe_unused]] const auto dropped, popToMark());
        return {};
    }
    case op::kDup:
        SHARDLENS_TRY(need(1));
        SHARDLENS_TRY(charge(sizeof(Index)));
        return push(m_stack.back());
    case op::kNextBuffer: {
        Node node;
        node.kind = Kind::Buffer;
        return pushNode(node);
    }
    case op::kReadOnlyBuffer: return need(1);
    default: break; // STOP
    }
    SHARDLENS_ASSIGN(m_graph.m_root, pop());
    m_stopped = true;
    return {};
}

Result<std::shared_ptr<const Graph>> Graph::parse(std::shared_ptr<const std::vector<std::byte>> input, std::size_t offset, const JobContext* job,
                                                  Numbers numbers)
{
    if (offset > input->size())
        return Error{ErrorCode::Corrupt, "pickle: it begins past the end"};
    auto graph = std::make_shared<Graph>();
    Machine machine(*graph, std::move(input), offset, numbers);
    SHARDLENS_TRY(machine.run(job));
    return std::shared_ptr<const Graph>(std::move(graph));
}

} // namespace shardlens::pickle
