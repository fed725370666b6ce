#pragma once

#include "core/analysis/finding_log.h"
#include "core/analysis/symbols.h"

#include <optional>
#include <span>
#include <vector>

namespace shardlens {

// Judges what a pickle calls (formats/pickle-safety.md §6.4). The symbols and the log must outlive it.
class CallRules {
public:
    CallRules(Symbols& symbols, FindingLog& log, std::vector<PickleScan::Nested>& nested) : m_symbols(symbols), m_log(log), m_nested(nested) {}

    // The result of calling `callee`. `arguments` is a Tuple, or what is not known before it is loaded. nullopt where the budget is spent.
    [[nodiscard]] std::optional<SymbolId> call(SymbolId callee, SymbolId arguments);

    // `getattr`, `type` and `functools.partial` as a value instead of as what is called: counts at once, once each.
    void handOn(SymbolId id);
    // BUILD on the result of a call.
    void setState(SymbolId object, SymbolId state);

private:
    enum class Answer : std::uint8_t { Plain, Attribute, EnumMember, Encoded };
    void judge(SymbolId callee, SymbolId arguments, int depth);
    void judgeGlobal(SymbolId global, SymbolId arguments, int depth);
    void judgeComputed(SymbolId callee, SymbolId arguments);
    void judgeGetattr(SymbolId arguments);
    void judgeType(SymbolId callee, SymbolId arguments);
    void judgePartial(SymbolId callee, SymbolId arguments);
    void judgeEncode(SymbolId arguments);
    void noteEncoded(std::string_view text);
    void judgeLoad(SymbolId arguments);
    // A function that calls what it is given first.
    void judgeCaller(SymbolId callee, SymbolId arguments, std::size_t passed, int depth);
    void addCallFinding(int level, SymbolId callee, SymbolId arguments);
    void noteDunder(SymbolId state);

    Symbols& m_symbols;
    FindingLog& m_log;
    std::vector<PickleScan::Nested>& m_nested;
    Answer m_answer = Answer::Plain;
    int m_attributeLevel = 0;
};

} // namespace shardlens
