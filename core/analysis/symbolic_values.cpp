#include "core/analysis/symbolic_machine.h"

#include "core/base/text.h"
#include "core/encoding/pickle/opcodes.h"
#include "core/encoding/pickle/text_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>

namespace shardlens {
namespace op = pickle::op;
namespace {

constexpr std::size_t kPythonDigits = 4300; // of a decimal number, since 3.11

double bigEndianFloat(std::uint64_t bits)
{
    std::uint64_t turned = 0;
    for (int i = 0; i < 8; ++i)
        turned = (turned << 8) | ((bits >> (8 * i)) & 0xFF);
    return std::bit_cast<double>(turned);
}

// As Python decodes it with `surrogatepass`: lone surrogates are allowed.
bool isUtf8WithSurrogates(std::string_view text)
{
    for (std::size_t at = 0;;) {
        const std::size_t lead = text.find('\xED', at);
        if (lead == std::string_view::npos)
            return isUtf8(text.substr(at));
        const bool isSurrogate = text.size() - lead >= 3 && (static_cast<unsigned char>(text[lead + 1]) & 0xE0) == 0xA0 &&
                                 (static_cast<unsigned char>(text[lead + 2]) & 0xC0) == 0x80;
        const std::size_t next = isSurrogate ? lead + 3 : lead + 1;
        if (isSurrogate && !isUtf8(text.substr(at, lead - at)))
            return false;
        if (!isSurrogate && !isUtf8(text.substr(at, std::min(lead + 3, text.size()) - at)))
            return false;
        at = isSurrogate ? next : std::min(lead + 3, text.size());
    }
}

bool isAscii(std::string_view text)
{
    return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// How the text opcodes end up: text where Python would have text.
SymbolKind kindOfCounted(std::uint8_t opcode)
{
    switch (opcode) {
    case op::kBinString: case op::kShortBinString: return SymbolKind::Text8;
    case op::kBinUnicode: case op::kShortBinUnicode: case op::kBinUnicode8: return SymbolKind::Text;
    case op::kByteArray8: return SymbolKind::ByteArray;
    case op::kLong1: case op::kLong4: return SymbolKind::BigInt;
    default: return SymbolKind::Bytes;
    }
}

} // namespace

bool SymbolicMachine::literalOpcode(const Instruction& instruction)
{
    switch (instruction.opcode) {
    case op::kNone: return push(Symbols::kNone);
    case op::kNewTrue: return push(Symbols::kTrue);
    case op::kNewFalse: return push(Symbols::kFalse);
    case op::kBinInt: case op::kBinInt1: case op::kBinInt2: return push(m_symbols.addInt(static_cast<std::int64_t>(instruction.number)));
    case op::kBinFloat: return push(m_symbols.addFloat(bigEndianFloat(instruction.number)));
    default: return countedOpcode(instruction);
    }
}

bool SymbolicMachine::countedOpcode(const Instruction& instruction)
{
    const SymbolKind kind = kindOfCounted(instruction.opcode);
    const std::string_view bytes = instruction.argument;
    if (kind == SymbolKind::Text && !isUtf8WithSurrogates(bytes))
        return wrongType(fmt::format("malformed text: {} is no UTF-8", pickle::opcodeInfo(instruction.opcode)->name));
    if (kind == SymbolKind::Bytes || kind == SymbolKind::ByteArray)
        noteBytes(bytes);
    if (kind != SymbolKind::BigInt || bytes.size() > sizeof(std::int64_t))
        return push(m_symbols.addText(kind, bytes));
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    if (!bytes.empty() && bytes.size() < sizeof(value) && (bytes.back() & '\x80') != 0)
        value |= ~std::uint64_t{0} << (8 * bytes.size());
    return push(m_symbols.addInt(static_cast<std::int64_t>(value)));
}

bool SymbolicMachine::textOpcode(const Instruction& instruction)
{
    switch (instruction.opcode) {
    case op::kInt: case op::kLong: case op::kFloat: return textNumber(instruction);
    case op::kPersId: {
        if (!isAscii(instruction.argument))
            return wrongType("malformed text: a persistent id that is not ASCII");
        const auto id = m_symbols.addText(SymbolKind::Text, instruction.argument);
        return id ? persistent(*id) : push(id);
    }
    default: break;
    }
    auto text = instruction.opcode == op::kString ? pickle::stringOfLine(instruction.argument) : pickle::unicodeOfLine(instruction.argument);
    if (!text)
        return wrongType("malformed text: " + text.error().text());
    return push(m_symbols.addOwned(instruction.opcode == op::kString ? SymbolKind::Text8 : SymbolKind::Text, text.take()));
}

bool SymbolicMachine::textNumber(const Instruction& instruction)
{
    if (instruction.opcode == op::kFloat) {
        const auto number = pickle::floatOfLine(instruction.argument);
        return number ? push(m_symbols.addFloat(*number)) : wrongType("malformed number: " + number.error().text());
    }
    const auto number = instruction.opcode == op::kInt ? pickle::intOfLine(instruction.argument) : pickle::longOfLine(instruction.argument);
    if (!number && instruction.argument.size() > kPythonDigits &&
        std::ranges::all_of(instruction.argument.substr(1, instruction.argument.size() - 2), [](char c) { return c >= '0' && c <= '9'; })) {
        m_log.add(4, "P9", fmt::format("a number of {} digits: current Python refuses it", groupedText(instruction.argument.size())));
        return push(Symbols::kOpaque); // an older one goes on
    }
    if (!number)
        return wrongType("malformed number: " + number.error().text());
    if (number->isBool)
        return push(number->small != 0 ? Symbols::kTrue : Symbols::kFalse);
    return push(number->big.empty() ? m_symbols.addInt(number->small) : m_symbols.addText(SymbolKind::BigInt, instruction.argument));
}

bool SymbolicMachine::containerOpcode(const Instruction& instruction)
{
    switch (instruction.opcode) {
    case op::kEmptyTuple: return push(Symbols::kEmptyTuple);
    case op::kTuple1: return makeTuple(1);
    case op::kTuple2: return makeTuple(2);
    case op::kTuple3: return makeTuple(3);
    case op::kEmptyList: return push(m_symbols.addContainer(SymbolKind::List, {}));
    case op::kEmptyDict: return push(m_symbols.addContainer(SymbolKind::Dict, {}));
    case op::kEmptySet: return push(m_symbols.addContainer(SymbolKind::Set, {}));
    case op::kAppend: case op::kSetItem: return addOne(instruction.opcode);
    case op::kAppends: case op::kSetItems: case op::kAddItems: return addMany(instruction.opcode);
    default: return markedContainer(instruction.opcode);
    }
}

bool SymbolicMachine::markedContainer(std::uint8_t opcode)
{
    if (!popToMark())
        return false;
    for (const SymbolId id : m_marked)
        m_calls.handOn(id);
    if (opcode == op::kTuple)
        return push(m_symbols.addTuple(m_marked));
    if (opcode == op::kDict && m_marked.size() % 2 != 0)
        return wrongType(fmt::format("{} values as keys and values of a dictionary", m_marked.size()));
    return push(m_symbols.addContainer(opcode == op::kDict ? SymbolKind::Dict : opcode == op::kList ? SymbolKind::List : SymbolKind::FrozenSet, m_marked));
}

bool SymbolicMachine::addOne(std::uint8_t opcode)
{
    const std::size_t count = opcode == op::kAppend ? 1 : 2;
    if (!need(count + 1))
        return false;
    m_marked.assign(m_stack.end() - static_cast<std::ptrdiff_t>(count), m_stack.end());
    m_stack.resize(m_stack.size() - count);
    return addTo(m_stack.back(), m_marked, opcode);
}

bool SymbolicMachine::addMany(std::uint8_t opcode)
{
    if (!popToMark() || !need(1))
        return false;
    if (opcode == op::kSetItems && m_marked.size() % 2 != 0)
        return wrongType(fmt::format("{} values as keys and values", m_marked.size()));
    return m_marked.empty() || addTo(m_stack.back(), m_marked, opcode);
}

bool SymbolicMachine::addTo(SymbolId target, std::span<const SymbolId> items, std::uint8_t opcode)
{
    for (const SymbolId id : items)
        m_calls.handOn(id);
    const SymbolKind kind = m_symbols.kindOf(target);
    if (kind == SymbolKind::Global || kind == SymbolKind::Attribute) {
        m_log.add(5, "C8", fmt::format("changes the imported object {}", m_symbols.describe(target)));
        return true;
    }
    if (isUnknown(target))
        return true;
    const bool isAppend = opcode == op::kAppend || opcode == op::kAppends;
    const bool isSet = opcode == op::kAddItems;
    const bool fits = isSet      ? kind == SymbolKind::Set
                      : isAppend ? kind == SymbolKind::List || kind == SymbolKind::ByteArray
                                 : kind == SymbolKind::Dict || kind == SymbolKind::List || kind == SymbolKind::ByteArray;
    if (!fits)
        return wrongType(fmt::format("operand of wrong type: items for {}", m_symbols.describe(target, 60)));
    const bool keeps = kind != SymbolKind::ByteArray && (kind == SymbolKind::Dict || isAppend || isSet);
    return !keeps || m_symbols.append(target, items) || push(std::nullopt);
}

} // namespace shardlens
