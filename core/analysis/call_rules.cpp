#include "core/analysis/call_rules.h"

#include "core/base/text.h"
#include "core/encoding/pickle/global_levels.h"
#include "core/encoding/pickle/graph.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens {
namespace {

constexpr int kMaxPassedOn = 16; // calls handed to calls

pickle::GlobalName nameOf(const PickleImport& import)
{
    return {import.module, import.name};
}

// Names in text, as in `getattr(cls, 'name')`, that lead from a class to anything.
bool isPowerfulAttribute(std::string_view name)
{
    return pickle::isDunder(name) || pickle::isHotName(name) || pickle::isHardModule(name);
}

} // namespace

std::optional<SymbolId> CallRules::call(SymbolId callee, SymbolId arguments)
{
    m_answer = Answer::Plain;
    judge(callee, arguments, 0);
    const auto given = m_symbols.tuple(arguments);
    switch (m_answer) {
    case Answer::Attribute: case Answer::EnumMember:
        return m_symbols.add({SymbolKind::Attribute, static_cast<std::uint8_t>(m_attributeLevel),
                              m_answer == Answer::EnumMember ? symbol::kEnumMember : std::uint8_t{0}, given[0], given[1]});
    case Answer::Encoded: {
        Symbol bytes = m_symbols[given[0]];
        bytes.kind = SymbolKind::Bytes;
        noteEncoded(m_symbols.bytesOf(given[0]));
        bytes.flags |= symbol::kLatin1;
        return m_symbols.add(bytes);
    }
    case Answer::Plain: break;
    }
    return m_symbols.add({SymbolKind::Call, 0, 0, callee, arguments});
}

void CallRules::handOn(SymbolId id)
{
    Symbol& global = m_symbols.at(id);
    if (global.kind != SymbolKind::Global || (global.flags & symbol::kHandedOn) != 0)
        return;
    global.flags |= symbol::kHandedOn;
    const PickleImport& import = m_symbols.importOf(id);
    const pickle::GlobalLevel level = pickle::levelOf(nameOf(import), {.protocol = 4});
    if (level.decidedAtCall)
        m_log.addAt(import.offset, level.level, level.level == 3 ? "G3" : "C4",
                    fmt::format("hands on {} as a value, to be called with anything", m_symbols.describe(id)));
}

void CallRules::judge(SymbolId callee, SymbolId arguments, int depth)
{
    if (m_symbols.kindOf(callee) == SymbolKind::Global)
        judgeGlobal(callee, arguments, depth);
    else
        judgeComputed(callee, arguments);
}

void CallRules::judgeGlobal(SymbolId global, SymbolId arguments, int depth)
{
    const PickleImport& import = m_symbols.importOf(global);
    const pickle::GlobalName name = nameOf(import);
    if (name == pickle::GlobalName{"builtins", "getattr"})
        return judgeGetattr(arguments);
    if (name == pickle::GlobalName{"builtins", "type"})
        return judgeType(global, arguments);
    if (name == pickle::GlobalName{"functools", "partial"})
        return judgePartial(global, arguments);
    if (name == pickle::GlobalName{"_codecs", "encode"})
        return judgeEncode(arguments);
    if (name == pickle::GlobalName{"torch.storage", "_load_from_bytes"})
        return judgeLoad(arguments);
    if (const auto passed = pickle::handsOn(name))
        return judgeCaller(global, arguments, *passed, depth);
    if (import.level >= 3)
        addCallFinding(import.level, global, arguments);
}

void CallRules::judgeComputed(SymbolId callee, SymbolId arguments)
{
    const Symbol& one = m_symbols[callee];
    const auto pid = one.kind == SymbolKind::Persistent ? m_symbols.tuple(one.a) : std::span<const SymbolId>{};
    if (one.kind == SymbolKind::Attribute) {
        if ((one.flags & symbol::kEnumMember) != 0)
            m_log.add(4, "C4", fmt::format("calls the enumeration member {}", m_symbols.describe(callee)));
        else if (one.level >= 3)
            addCallFinding(one.level, callee, arguments);
    } else if (pid.size() > 1 && m_symbols.textOf(pid[0]) == "module" && m_symbols.kindOf(pid[1]) == SymbolKind::Global) {
        judgeGlobal(pid[1], arguments, 1); // a whole module of the legacy format: its class
    } else {
        const int level = one.kind == SymbolKind::Extension ? 4 : 5;
        if (m_log.wants(level, "C4"))
            m_log.add(level, "C4", fmt::format("calls an object that was itself computed: {}", m_symbols.describeCall(callee, m_symbols.tuple(arguments))));
    }
}

void CallRules::judgeGetattr(SymbolId arguments)
{
    const auto given = m_symbols.tuple(arguments);
    const auto name = given.size() == 2 ? m_symbols.textOf(given[1]) : std::nullopt;
    if (!name || m_symbols.kindOf(given[0]) != SymbolKind::Global) {
        m_log.add(5, "C5", fmt::format("takes a computed attribute: builtins.getattr{}", m_symbols.describe(arguments)));
        return;
    }
    const PickleImport& target = m_symbols.importOf(given[0]);
    const std::string what = fmt::format("{} of {} (builtins.getattr)", printable(name->substr(0, 80)), m_symbols.describe(given[0]));
    m_answer = Answer::Attribute;
    if (isPowerfulAttribute(*name) || target.level >= 4) {
        m_attributeLevel = 5;
        m_log.add(5, "C5", "takes attribute " + what);
    } else if (pickle::isEnumerationMember(nameOf(target), *name)) {
        m_attributeLevel = 2;
        m_answer = Answer::EnumMember;
        m_log.add(2, "C2", "takes enumeration member " + what);
    } else if (pickle::isNestedClass(nameOf(target), *name)) {
        m_attributeLevel = 2;
        m_log.add(2, "C2", "takes nested class " + what);
    } else {
        m_attributeLevel = target.level == 3 ? 3 : 4;
        m_log.add(m_attributeLevel, m_attributeLevel == 3 ? "C3" : "C5", "takes attribute " + what);
    }
}

void CallRules::judgeType(SymbolId callee, SymbolId arguments)
{
    const auto given = m_symbols.tuple(arguments);
    const bool asks = given.size() == 1 && (given[0] == Symbols::kNone || m_symbols.kindOf(given[0]) == SymbolKind::Global);
    const std::string what = m_symbols.describeCall(callee, given);
    if (asks)
        m_log.add(2, "C2", "asks for a type: " + what);
    else
        m_log.add(4, "C4", "builds a class or asks for the type of what was computed: " + what);
}

void CallRules::judgePartial(SymbolId callee, SymbolId arguments)
{
    const auto given = m_symbols.tuple(arguments);
    const bool isName = !given.empty() && m_symbols.kindOf(given[0]) == SymbolKind::Global;
    if (!isName)
        m_log.add(5, "C4", fmt::format("binds arguments to what was computed: {}", m_symbols.describeCall(callee, given)));
    else
        addCallFinding(std::max(3, m_symbols.importOf(given[0]).level), callee, arguments);
}

void CallRules::judgeEncode(SymbolId arguments)
{
    const auto given = m_symbols.tuple(arguments);
    const auto text = given.size() == 2 ? m_symbols.textOf(given[0]) : std::nullopt;
    const auto codec = given.size() == 2 ? m_symbols.textOf(given[1]) : std::nullopt;
    if (codec && pickle::isLatin1Name(*codec))
        m_answer = text ? Answer::Encoded : Answer::Plain;
    else
        m_log.add(4, "C7", fmt::format("unusual codec: _codecs.encode{}", m_symbols.describe(arguments)));
}

// Protocol 2's way to write bytes: those that look like a file are kept as such.
void CallRules::noteEncoded(std::string_view text)
{
    const bool isZip = text.starts_with("PK\x03\x04");
    const bool isPickle = text.starts_with("\xC2\x80") && beginsAsPickle("\x80" + std::string(text.substr(2, 1)));
    if ((!isZip && !isPickle) || !m_symbols.charge(text.size()))
        return;
    m_symbols.texts().push_back(pickle::latin1(text));
    m_nested.push_back({m_log.offset(), m_symbols.texts().back(), false});
}

void CallRules::judgeLoad(SymbolId arguments)
{
    const auto given = m_symbols.tuple(arguments);
    const bool isBytes = given.size() == 1 && (m_symbols.kindOf(given[0]) == SymbolKind::Bytes || m_symbols.kindOf(given[0]) == SymbolKind::ByteArray);
    if (!isBytes) {
        m_log.add(5, "C4", "loads a nested file that is computed while loading: torch.storage._load_from_bytes");
        return;
    }
    const std::string_view bytes = m_symbols.bytesOf(given[0]);
    if ((m_symbols[given[0]].flags & symbol::kLatin1) == 0) {
        m_nested.push_back({m_log.offset(), bytes, true});
    } else if (m_symbols.charge(bytes.size())) {
        m_symbols.texts().push_back(pickle::latin1(bytes));
        m_nested.push_back({m_log.offset(), m_symbols.texts().back(), true});
    } else {
        m_log.add(4, "P13", fmt::format("limit reached: a nested file of {} was not analysed", sizeText(bytes.size())));
    }
}

void CallRules::judgeCaller(SymbolId callee, SymbolId arguments, std::size_t passed, int depth)
{
    const auto given = m_symbols.tuple(arguments);
    if (given.empty() || m_symbols.kindOf(given[0]) != SymbolKind::Global || depth >= kMaxPassedOn) {
        m_log.add(5, "C4", fmt::format("calls what was computed, through {}", m_symbols.describeCall(callee, given)));
        return;
    }
    const bool isTuple = passed != 0 && given.size() > passed && m_symbols.kindOf(given[passed]) == SymbolKind::Tuple;
    judge(given[0], isTuple ? given[passed] : Symbols::kOpaque, depth + 1);
    m_answer = Answer::Plain; // what the inner call gives is changed by the outer one
}

void CallRules::addCallFinding(int level, SymbolId callee, SymbolId arguments)
{
    const char* const code = level == 3 ? "C3" : "C6";
    if (m_log.wants(level, code))
        m_log.add(level, code, "calls " + m_symbols.describeCall(callee, m_symbols.tuple(arguments)));
}

void CallRules::noteDunder(SymbolId state)
{
    if (m_symbols.kindOf(state) == SymbolKind::Dict && (m_symbols[state].flags & symbol::kDunderKey) != 0)
        m_log.add(4, "C9", fmt::format("object state sets special attribute {}", printable(m_symbols.dunderKeyOf(state).substr(0, 80))));
}

void CallRules::setState(SymbolId object, SymbolId state)
{
    handOn(state);
    noteDunder(state);
    const auto parts = m_symbols.tuple(state);
    for (const SymbolId part : parts.size() == 2 ? parts : std::span<const SymbolId>{})
        noteDunder(part);
    const Symbol& target = m_symbols[object];
    const bool isPartial = target.kind == SymbolKind::Call && m_symbols.kindOf(target.a) == SymbolKind::Global &&
                           nameOf(m_symbols.importOf(target.a)) == pickle::GlobalName{"functools", "partial"};
    if (isPartial && (parts.empty() || m_symbols.kindOf(parts[0]) != SymbolKind::Global))
        m_log.add(5, "C4", fmt::format("binds arguments to what was computed: state {}", m_symbols.describe(state)));
}

} // namespace shardlens
