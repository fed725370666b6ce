#include "core/analysis/symbolic_machine.h"

#include "core/base/text.h"
#include "core/encoding/pickle/opcodes.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens {
namespace op = pickle::op;
namespace {

constexpr std::uint64_t kImportBytes = 512; // what keeping one distinct import takes, its texts aside

const char* powerOf(const char* code)
{
    switch (code[1]) {
    case '1': return " (accepted by weights_only)";
    case '2': return " (known library class)";
    case '3': return ": unknown code";
    case '5': return ", which can run programs, reach files or the network";
    case '7': return ": a name typical of exploits";
    default: return "";
    }
}

std::string importText(const PickleImport& import, const pickle::GlobalLevel& level)
{
    const std::string name = printable(import.module + "." + import.name);
    if (level.code == "G8")
        return "import name is malformed or cannot resolve: " + name;
    if (level.code == "G6")
        return fmt::format("imports {}: reaches {} through another module", name, printable(level.component));
    std::string out = "imports " + name + powerOf(level.code.data());
    if (level.code == "G3")
        out += "; loading runs package " + printable(std::string_view(import.module).substr(0, import.module.find('.')));
    if (import.rawModule != import.module || import.rawName != import.name)
        out += fmt::format(" (written as {})", printable(import.rawModule + "." + import.rawName));
    return out;
}

} // namespace

bool SymbolicMachine::import(std::string_view module, std::string_view name)
{
    if (!isUtf8(module) || !isUtf8(name))
        return wrongType("malformed text: the name of an import is no UTF-8");
    const int protocol = m_scan.protocol;
    std::string key = fmt::format("{}{}", protocol < 3 ? 'p' : protocol < 4 ? 'q' : 'r', module);
    key += '\n';
    key += name;
    auto known = m_importByName.find(key);
    if (known == m_importByName.end()) {
        if (!m_symbols.charge(kImportBytes + 4 * (module.size() + name.size())))
            return push(std::nullopt);
        const pickle::GlobalName found = pickle::python3Name({module, name}, protocol);
        const pickle::GlobalLevel level = pickle::levelOf(found, {.protocol = protocol, .isTorchScript = m_options.isTorchScript});
        m_symbols.imports().push_back({std::string(found.module), std::string(found.name), std::string(module), std::string(name), 0, m_log.offset(),
                                       level.decidedAtCall ? 2 : level.level});
        if (!level.decidedAtCall)
            m_log.add(level.level, level.code.data(), importText(m_symbols.imports().back(), level));
        known = m_importByName.emplace(std::move(key), static_cast<std::uint32_t>(m_symbols.imports().size() - 1)).first;
    }
    PickleImport& import = m_symbols.imports()[known->second];
    ++import.count;
    if (import.level != 1)
        block(import.module + "." + import.name);
    return push(m_symbols.add({SymbolKind::Global, 0, 0, known->second, static_cast<std::uint32_t>(m_log.offset() - m_options.base)}));
}

bool SymbolicMachine::objectOpcode(const Instruction& instruction)
{
    switch (instruction.opcode) {
    case op::kGlobal: return import(instruction.argument, instruction.second);
    case op::kStackGlobal: return stackGlobal();
    case op::kExt1: case op::kExt2: case op::kExt4: return extension(instruction);
    case op::kReduce: case op::kNewObj: case op::kNewObjEx: return reduce(instruction.opcode);
    case op::kObj: case op::kInst: return callMarked(instruction);
    case op::kBuild: return build();
    default: // BINPERSID
        if (!need(1))
            return false;
        return persistent(pop());
    }
}

bool SymbolicMachine::stackGlobal()
{
    if (!need(2))
        return false;
    const SymbolId name = pop();
    const SymbolId module = pop();
    const auto moduleText = m_symbols.textOf(module);
    const auto nameText = m_symbols.textOf(name);
    if (!moduleText || !nameText) {
        m_log.add(5, "G4",
                  fmt::format("imports an object whose name is computed while loading: {} of {}", m_symbols.describe(name, 60), m_symbols.describe(module, 60)));
        const bool isWrong = (m_symbols.isLiteral(module) && !moduleText) || (m_symbols.isLiteral(name) && !nameText);
        return isWrong ? wrongType("operand of wrong type: an import name that is no text") : push(Symbols::kOpaque);
    }
    if (m_symbols.kindOf(module) == SymbolKind::Text8 || m_symbols.kindOf(name) == SymbolKind::Text8)
        m_log.add(4, "G9", "import name given as 8-bit strings to STACK_GLOBAL, which no pickler writes");
    return import(std::string(*moduleText), std::string(*nameText));
}

bool SymbolicMachine::extension(const Instruction& instruction)
{
    const auto code = static_cast<std::int64_t>(instruction.number);
    if (code <= 0)
        return wrongType(fmt::format("extension code {}, and they begin at 1", code));
    m_log.add(4, "P12", fmt::format("extension code {}: its meaning depends on the loading program", code));
    return push(m_symbols.add({SymbolKind::Extension, 0, 0, static_cast<std::uint32_t>(code), 0}));
}

bool SymbolicMachine::reduce(std::uint8_t opcode)
{
    const bool hasNames = opcode == op::kNewObjEx;
    if (!need(hasNames ? 3 : 2))
        return false;
    if (hasNames) {
        const SymbolId names = pop();
        if (m_symbols.kindOf(names) != SymbolKind::Dict && !isUnknown(names))
            return wrongType("operand of wrong type: keyword arguments that are no dictionary");
    }
    const SymbolId arguments = pop();
    const SymbolId callee = pop();
    if (m_symbols.kindOf(arguments) != SymbolKind::Tuple && !isUnknown(arguments))
        return wrongType("operand of wrong type: arguments that are no tuple");
    if (m_symbols.isLiteral(callee))
        return wrongType(fmt::format("operand of wrong type: calls {}", m_symbols.describe(callee, 60)));
    return push(m_calls.call(callee, arguments));
}

bool SymbolicMachine::callMarked(const Instruction& instruction)
{
    if (!popToMark())
        return false;
    std::span<const SymbolId> items = m_marked;
    if (instruction.opcode == op::kInst) {
        if (!import(instruction.argument, instruction.second))
            return false;
    } else if (items.empty()) {
        return broken("P7", "stack underflow: a class needed above the mark, nothing there");
    } else {
        if (!push(items.front()))
            return false;
        items = items.subspan(1);
    }
    const SymbolId callee = pop();
    for (const SymbolId id : items)
        m_calls.handOn(id);
    const auto arguments = m_symbols.addTuple(items);
    if (!arguments)
        return push(arguments);
    if (m_symbols.isLiteral(callee))
        return wrongType(fmt::format("operand of wrong type: calls {}", m_symbols.describe(callee, 60)));
    return push(m_calls.call(callee, *arguments));
}

bool SymbolicMachine::build()
{
    if (!need(2))
        return false;
    const SymbolId state = pop();
    const SymbolId object = m_stack.back();
    const SymbolKind kind = m_symbols.kindOf(object);
    if (kind == SymbolKind::Global || kind == SymbolKind::Attribute) {
        m_calls.handOn(state);
        m_log.add(5, "C8", fmt::format("changes attributes of the imported object {}", m_symbols.describe(object)));
        return true;
    }
    if (!m_symbols.isLiteral(object)) {
        m_calls.setState(object, state);
        return true;
    }
    const bool isEmpty = state == Symbols::kNone || (m_symbols[state].b == 0 && m_symbols.kindOf(state) >= SymbolKind::Tuple && m_symbols.isLiteral(state));
    return isEmpty || wrongType(fmt::format("operand of wrong type: a state for {}", m_symbols.describe(object, 60)));
}

bool SymbolicMachine::persistent(SymbolId id)
{
    const auto parts = m_symbols.tuple(id);
    const std::string_view kind = parts.empty() ? std::string_view{} : m_symbols.textOf(parts[0]).value_or("");
    if (kind == "storage") {
        const auto key = parts.size() > 2 ? m_symbols.textOf(parts[2]) : std::nullopt;
        const bool isClass = parts.size() > 2 && m_symbols.kindOf(parts[1]) == SymbolKind::Global;
        if (key && m_symbols.charge(sizeof(PickleScan::Storage) + key->size()))
            m_scan.storages.push_back({isClass ? m_symbols.importOf(parts[1]).name : std::string{}, std::string(*key)});
    } else if (m_symbols.kindOf(id) != SymbolKind::Int) { // the tar of the first versions numbers its storages
        block("a persistent id that names no storage");
        if (m_log.wants(kind == "module" ? 2 : 3, "G10"))
            m_log.add(kind == "module" ? 2 : 3, "G10",
                      fmt::format("persistent id of kind {}", kind.empty() ? m_symbols.describe(id, 60) : printable(kind.substr(0, 60))));
    }
    m_calls.handOn(id);
    return push(m_symbols.add({SymbolKind::Persistent, 0, 0, id, 0}));
}

} // namespace shardlens
