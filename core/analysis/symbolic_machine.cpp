#include "core/analysis/symbolic_machine.h"

#include "core/base/text.h"
#include "core/encoding/pickle/opcodes.h"
#include "core/encoding/pickle/text_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace shardlens {
namespace op = pickle::op;
namespace {

constexpr std::uint64_t kScanBudgetBase = 40ull << 20;
constexpr std::uint64_t kScanBudgetFactor = 8; // of the bytes: honest pickles take about 4
constexpr std::uint64_t kScanPollEvery = 65'536; // opcodes
constexpr std::uint64_t kMaxScannedBytes = std::numeric_limits<std::uint32_t>::max();
constexpr SymbolId kUnsetSlot = std::numeric_limits<SymbolId>::max();
constexpr std::uint64_t kMemoSlack = 1024;  // beyond what was set: still kept in the dense part
constexpr std::uint64_t kHarmlessSlot = 65'536;
constexpr int kNewestProtocol = 5;

} // namespace

int PickleScan::level() const
{
    int out = 0;
    for (const PickleFinding& finding : findings)
        out = std::max(out, finding.level);
    return out;
}

bool beginsAsPickle(std::string_view bytes)
{
    return bytes.size() >= 2 && bytes[0] == '\x80' && static_cast<unsigned char>(bytes[1]) <= kNewestProtocol;
}

Result<PickleScan> scanPickle(std::span<const std::byte> bytes, std::size_t at, const PickleScanOptions& options, const JobContext* job)
{
    return SymbolicMachine(bytes, at, options).run(job);
}

SymbolicMachine::SymbolicMachine(std::span<const std::byte> bytes, std::size_t at, const PickleScanOptions& options)
    : m_bytes(bytes.first(std::min<std::size_t>(bytes.size(), kMaxScannedBytes))), m_options(options), m_at(at),
      m_symbols(m_bytes, kScanBudgetBase + kScanBudgetFactor * (m_bytes.size() - std::min(at, m_bytes.size()))), m_calls(m_symbols, m_log, m_scan.nested)
{
    m_scan.begin = options.base + at;
}

Result<PickleScan> SymbolicMachine::run(const JobContext* job)
{
    for (bool goesOn = true; goesOn; ++m_scan.opcodes) {
        if (job != nullptr && m_scan.opcodes % kScanPollEvery == 0)
            SHARDLENS_TRY(job->poll());
        if (m_at >= m_bytes.size()) {
            m_log.setPlace(m_options.base + m_at, 0);
            m_scan.needsMore = true;
            broken("P6", fmt::format("truncated: the pickle ends without STOP after {}", plural(m_scan.opcodes, "opcode", "opcodes")));
            break;
        }
        const Instruction instruction = pickle::readInstruction(m_bytes, m_at);
        m_log.setPlace(m_options.base + instruction.begin, instruction.opcode);
        m_at = instruction.end;
        if (const auto* info = pickle::opcodeInfo(instruction.opcode); info != nullptr && !info->weightsOnly && m_scan.weightsOnly.accepted) {
            m_isOpcodeBlocked = true;
            block(info->name);
        }
        goesOn = instruction.status == Instruction::Status::Good ? step(instruction) : refuseArgument(instruction);
    }
    finish();
    return std::move(m_scan);
}

void SymbolicMachine::finish()
{
    m_scan.end = m_options.base + m_at;
    for (const PickleImport& import : m_symbols.imports())
        if (import.level >= 2 && !m_isOpcodeBlocked && (import.module != "builtins" || (import.name != "getattr" && import.name != "type")))
            m_scan.weightsOnly.safeGlobals.push_back(import.module + "." + import.name);
    if (!m_scan.stopped)
        m_scan.weightsOnly.safeGlobals.clear();
    m_scan.findings = m_log.take();
    m_scan.imports = std::move(m_symbols.imports());
    m_scan.texts = std::move(m_symbols.texts());
}

void SymbolicMachine::block(std::string what)
{
    if (!m_scan.weightsOnly.accepted)
        return;
    m_scan.weightsOnly.accepted = false;
    m_scan.weightsOnly.blockerOffset = m_log.offset();
    m_scan.weightsOnly.blocker = std::move(what);
}

bool SymbolicMachine::broken(const char* code, std::string what)
{
    m_log.add(4, code, std::move(what));
    block("a pickle that breaks off");
    return false;
}

bool SymbolicMachine::refuseArgument(const Instruction& instruction)
{
    const char* const name = instruction.status == Instruction::Status::Unknown ? "" : pickle::opcodeInfo(instruction.opcode)->name;
    switch (instruction.status) {
    case Instruction::Status::Unknown: return broken("P5", fmt::format("unknown opcode {:#04x}", instruction.opcode));
    case Instruction::Status::NegativeLength: return broken("P9", fmt::format("{}: a negative length", name));
    case Instruction::Status::EmptyLine: return broken("P6", fmt::format("{}: an empty line as argument", name));
    case Instruction::Status::Truncated: case Instruction::Status::Good: break;
    }
    // the pure-Python unpickler takes an unfinished last line as complete, and imports it
    if ((instruction.opcode == op::kGlobal || instruction.opcode == op::kInst) && !instruction.argument.empty() && !instruction.second.empty())
        if (!import(instruction.argument, instruction.second))
            return false;
    m_scan.needsMore = true;
    return broken("P6", fmt::format("truncated: {} needs {} B, {} left", name, groupedText(instruction.needed), groupedText(instruction.left)));
}

bool SymbolicMachine::step(const Instruction& instruction)
{
    checkFrame(instruction);
    switch (pickle::groupOf(instruction.opcode)) {
    case pickle::OpcodeGroup::Literal: return literalOpcode(instruction);
    case pickle::OpcodeGroup::TextLiteral: return textOpcode(instruction);
    case pickle::OpcodeGroup::Container: return containerOpcode(instruction);
    case pickle::OpcodeGroup::Object: return objectOpcode(instruction);
    case pickle::OpcodeGroup::Memo: return memoOpcode(instruction);
    case pickle::OpcodeGroup::Stack: return stackOpcode(instruction);
    case pickle::OpcodeGroup::Unknown: break;
    }
    return false;
}

// §3.4: where an opcode crosses the end of a frame, Python versions read different opcodes.
void SymbolicMachine::checkFrame(const Instruction& instruction)
{
    if (m_frameEnd && instruction.begin >= *m_frameEnd)
        m_frameEnd.reset();
    if (m_frameEnd && instruction.end > *m_frameEnd)
        m_log.add(5, "P1",
                  fmt::format("frame ends inside an opcode ({}): other readers may run other opcodes than those shown", pickle::opcodeInfo(instruction.opcode)->name));
}

bool SymbolicMachine::startFrame(std::uint64_t length)
{
    if (m_frameEnd)
        m_log.add(4, "P2", "a frame starts inside another frame");
    const std::uint64_t left = m_bytes.size() - m_at;
    if (length > left) {
        m_scan.needsMore = true;
        return broken("P6", fmt::format("truncated: the frame needs {} B, {} left", groupedText(length), groupedText(left)));
    }
    m_frameEnd = m_at + length;
    return true;
}

bool SymbolicMachine::setProtocol(const Instruction& instruction)
{
    const auto protocol = static_cast<int>(instruction.number);
    if (protocol > kNewestProtocol)
        return broken("P10", fmt::format("protocol {} is newer than any known ({})", protocol, kNewestProtocol));
    if (m_hasProtocol || m_options.base + instruction.begin != m_scan.begin)
        m_log.add(4, "P3", "protocol declared twice or not at the start");
    m_hasProtocol = true;
    m_scan.protocol = protocol;
    return true;
}

bool SymbolicMachine::stop()
{
    if (!need(1))
        return false;
    m_calls.handOn(pop());
    if (!m_stack.empty() || !m_marks.empty())
        m_log.add(4, "P15", (m_stack.empty() ? "a mark is" : plural(m_stack.size(), "value", "values")) + std::string(" left on the stack at the end"));
    m_scan.stopped = true;
    return false;
}

bool SymbolicMachine::stackOpcode(const Instruction& instruction)
{
    switch (instruction.opcode) {
    case op::kProto: return setProtocol(instruction);
    case op::kFrame: return startFrame(instruction.number);
    case op::kStop: return stop();
    case op::kMark:
        if (!m_symbols.charge(sizeof(std::size_t)))
            return push(std::nullopt);
        m_marks.push_back(m_stack.size());
        return true;
    case op::kPop:
        if (!m_marks.empty() && m_marks.back() == m_stack.size()) {
            m_marks.pop_back();
            return true;
        }
        if (!need(1))
            return false;
        noteDropped(pop());
        return true;
    case op::kPopMark:
        if (!popToMark())
            return false;
        for (const SymbolId id : m_marked)
            noteDropped(id);
        return true;
    case op::kDup: return need(1) && push(m_stack.back());
    default: // NEXT_BUFFER, READONLY_BUFFER
        m_log.add(4, "P16", "needs out-of-band buffers, which are not in the file");
        return instruction.opcode != op::kReadOnlyBuffer ? push(Symbols::kOpaque) : need(1);
    }
}

void SymbolicMachine::noteDropped(SymbolId id)
{
    if (m_symbols.kindOf(id) == SymbolKind::Call && m_log.wants(4, "P14"))
        m_log.add(4, "P14", "the result of a call is thrown away: " + m_symbols.describe(id));
    m_calls.handOn(id);
}

bool SymbolicMachine::push(std::optional<SymbolId> id)
{
    if (!id || !m_symbols.charge(sizeof(SymbolId)))
        return broken("P13",
                      fmt::format("limit reached: the pickle builds more than {} can honestly hold; the rest was not analysed", sizeText(m_bytes.size())));
    m_stack.push_back(*id);
    return true;
}

bool SymbolicMachine::need(std::size_t count)
{
    const std::size_t there = m_stack.size() - floor();
    return there >= count || broken("P7", fmt::format("stack underflow: {} needed, {} there", plural(count, "value", "values"), there));
}

SymbolId SymbolicMachine::pop()
{
    const SymbolId out = m_stack.back();
    m_stack.pop_back();
    return out;
}

bool SymbolicMachine::popToMark()
{
    if (m_marks.empty())
        return broken("P7", "no mark on the stack");
    const auto begin = m_stack.begin() + static_cast<std::ptrdiff_t>(m_marks.back());
    m_marked.assign(begin, m_stack.end());
    m_stack.erase(begin, m_stack.end());
    m_marks.pop_back();
    return true;
}

bool SymbolicMachine::isUnknown(SymbolId id) const
{
    return !m_symbols.isLiteral(id);
}

void SymbolicMachine::noteBytes(std::string_view bytes)
{
    if (beginsAsPickle(bytes) || bytes.starts_with("PK\x03\x04"))
        m_scan.nested.push_back({m_log.offset(), bytes, false});
}

bool SymbolicMachine::memoOpcode(const Instruction& instruction)
{
    switch (instruction.opcode) {
    case op::kMemoize: return remember(m_memoCount);
    case op::kBinPut: case op::kLongBinPut: return remember(instruction.number);
    case op::kBinGet: case op::kLongBinGet: return recall(instruction.number);
    default: break;
    }
    const auto slot = pickle::slotOfLine(instruction.argument);
    if (!slot)
        return wrongType("malformed number: " + slot.error().text());
    return instruction.opcode == op::kPut ? remember(*slot) : recall(*slot);
}

bool SymbolicMachine::remember(std::uint64_t slot)
{
    if (!need(1))
        return false;
    if (slot > kHarmlessSlot && slot > 16 * (m_memoCount + 64))
        m_log.add(4, "P17",
                  fmt::format("memo index {} would make Python allocate {}", groupedText(slot), sizeText(std::min(slot, std::uint64_t{1} << 58) * 16)));
    const bool isDense = slot <= m_memo.size() + kMemoSlack;
    if (isDense && slot >= m_memo.size()) {
        if (!m_symbols.charge((slot + 1 - m_memo.size()) * sizeof(SymbolId)))
            return push(std::nullopt);
        m_memo.resize(slot + 1, kUnsetSlot);
    }
    if (!isDense && !m_symbols.charge(64))
        return push(std::nullopt);
    SymbolId& held = isDense ? m_memo[slot] : m_sparseMemo.try_emplace(slot, kUnsetSlot).first->second;
    if (held != kUnsetSlot && m_log.wants(4, "P11"))
        m_log.add(4, "P11", fmt::format("memo slot {} is reused", slot));
    m_memoCount += held == kUnsetSlot ? 1 : 0;
    held = m_stack.back();
    return true;
}

bool SymbolicMachine::recall(std::uint64_t slot)
{
    if (slot < m_memo.size() && m_memo[slot] != kUnsetSlot)
        return push(m_memo[slot]);
    const auto sparse = m_sparseMemo.find(slot);
    if (sparse != m_sparseMemo.end())
        return push(sparse->second);
    return broken("P8", fmt::format("reads memo slot {}, which was never written", slot));
}

bool SymbolicMachine::makeTuple(std::size_t count)
{
    if (!need(count))
        return false;
    const std::span<const SymbolId> items = std::span(m_stack).last(count);
    for (const SymbolId id : items)
        m_calls.handOn(id);
    const auto tuple = m_symbols.addTuple(items);
    m_stack.resize(m_stack.size() - count);
    return push(tuple);
}

} // namespace shardlens
