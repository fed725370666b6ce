#pragma once

#include "core/analysis/call_rules.h"
#include "core/analysis/finding_log.h"
#include "core/analysis/pickle_scan.h"
#include "core/analysis/symbols.h"
#include "core/encoding/pickle/global_levels.h"
#include "core/encoding/pickle/instruction.h"

#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace shardlens {

// The machine behind scanPickle: every opcode, symbolically (formats/pickle-safety.md §3 to §6). Where CPython might go on it goes on.
class SymbolicMachine {
public:
    SymbolicMachine(std::span<const std::byte> bytes, std::size_t at, const PickleScanOptions& options);
    Result<PickleScan> run(const JobContext* job);

private:
    using Instruction = pickle::Instruction;

    // Each answers whether the stream goes on; false after STOP and after a finding that says why it breaks off.
    bool step(const Instruction& instruction);
    bool refuseArgument(const Instruction& instruction);
    bool stackOpcode(const Instruction& instruction);
    bool startFrame(std::uint64_t length);
    bool setProtocol(const Instruction& instruction);
    bool stop();
    bool literalOpcode(const Instruction& instruction);
    bool countedOpcode(const Instruction& instruction);
    bool textOpcode(const Instruction& instruction);
    bool textNumber(const Instruction& instruction);
    bool containerOpcode(const Instruction& instruction);
    bool markedContainer(std::uint8_t opcode);
    bool addOne(std::uint8_t opcode);
    bool addMany(std::uint8_t opcode);
    bool addTo(SymbolId target, std::span<const SymbolId> items, std::uint8_t opcode);
    bool objectOpcode(const Instruction& instruction);
    bool stackGlobal();
    bool reduce(std::uint8_t opcode);
    bool callMarked(const Instruction& instruction);
    bool build();
    bool persistent(SymbolId id);
    bool extension(const Instruction& instruction);
    bool memoOpcode(const Instruction& instruction);
    bool remember(std::uint64_t slot);
    bool recall(std::uint64_t slot);

    bool broken(const char* code, std::string what);
    bool wrongType(const std::string& what) { return broken("P9", what); }
    bool push(std::optional<SymbolId> id);
    bool need(std::size_t count);
    SymbolId pop(); // after need()
    bool popToMark();  // into m_marked
    bool makeTuple(std::size_t count);
    bool import(std::string_view module, std::string_view name);
    void noteDropped(SymbolId id);
    void noteBytes(std::string_view bytes);
    void block(std::string what);
    void checkFrame(const Instruction& instruction);
    void finish();
    [[nodiscard]] std::size_t floor() const { return m_marks.empty() ? 0 : m_marks.back(); }
    [[nodiscard]] bool isUnknown(SymbolId id) const; // may be anything when it is loaded

    std::span<const std::byte> m_bytes;
    PickleScanOptions m_options;
    std::size_t m_at;
    PickleScan m_scan;
    FindingLog m_log;
    Symbols m_symbols;
    CallRules m_calls;
    std::vector<SymbolId> m_stack;
    std::vector<std::size_t> m_marks;
    std::vector<SymbolId> m_marked;
    std::vector<SymbolId> m_memo;
    std::unordered_map<std::uint64_t, SymbolId> m_sparseMemo;
    std::uint64_t m_memoCount = 0;
    std::unordered_map<std::string, std::uint32_t> m_importByName;
    std::optional<std::size_t> m_frameEnd;
    bool m_hasProtocol = false;
    bool m_isOpcodeBlocked = false;
};

} // namespace shardlens
