#pragma once

#include "core/analysis/pickle_scan.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace shardlens {

// What stands for a value while a pickle is interpreted: enough to judge calls and to print them, not the value itself (formats/pickle-safety.md §5.1).
enum class SymbolKind : std::uint8_t {
    None, Bool, Int, BigInt, Float, Text, Text8, Bytes, ByteArray, Tuple, List, Dict, Set, FrozenSet,
    Global,     // an imported name
    Call,       // the result of a call
    Attribute,  // getattr(target, name)
    Persistent, // what the loader gives for an id
    Extension,  // a number of the copyreg registry
    Opaque,     // anything
};

using SymbolId = std::uint32_t;

// 12 bytes. What `a` and `b` hold depends on the kind.
struct Symbol {
    SymbolKind kind = SymbolKind::None;
    std::uint8_t level = 0; // Attribute
    std::uint8_t flags = 0;
    std::uint32_t a = 0; // Text, Bytes, BigInt: offset or number of an owned text; Tuple: first in the pool; List, Dict, Set: 1 + preview; Global: import;
                         // Call: callee; Attribute: target; Persistent: id; Int, Float: half of the bits
    std::uint32_t b = 0; // Text, Bytes, BigInt: length; Tuple, List, Dict, Set: count; Global: offset of the opcode; Call: arguments; Attribute: name
};
namespace symbol {
constexpr std::uint8_t kOwned = 1;      // `a` is a number of texts()
constexpr std::uint8_t kLatin1 = 2;     // Bytes whose characters are given as UTF-8 text
constexpr std::uint8_t kDunderKey = 4;  // a Dict with a key like `__x__`
constexpr std::uint8_t kEnumMember = 8; // an Attribute
constexpr std::uint8_t kHandedOn = 16;  // a Global that was used as a value
} // namespace symbol

// The arena. Adding returns nothing where the budget is spent; nothing is ever removed.
class Symbols {
public:
    // `bytes` is what texts point into.
    Symbols(std::span<const std::byte> bytes, std::uint64_t budgetBytes);

    [[nodiscard]] const Symbol& operator[](SymbolId id) const { return m_blocks[id / kBlock][id % kBlock]; }
    [[nodiscard]] Symbol& at(SymbolId id) { return m_blocks[id / kBlock][id % kBlock]; }
    [[nodiscard]] SymbolKind kindOf(SymbolId id) const { return (*this)[id].kind; }
    // Whether `bytes` more may be taken; takes them.
    [[nodiscard]] bool charge(std::uint64_t bytes);

    static constexpr SymbolId kNone = 0, kTrue = 1, kFalse = 2, kEmptyTuple = 3, kOpaque = 4;
    [[nodiscard]] std::optional<SymbolId> add(Symbol symbol);
    [[nodiscard]] std::optional<SymbolId> addInt(std::int64_t value);
    [[nodiscard]] std::optional<SymbolId> addFloat(double value);
    [[nodiscard]] std::optional<SymbolId> addText(SymbolKind kind, std::string_view inBytes); // a view into the bytes
    [[nodiscard]] std::optional<SymbolId> addOwned(SymbolKind kind, std::string text);
    [[nodiscard]] std::optional<SymbolId> addTuple(std::span<const SymbolId> items);
    [[nodiscard]] std::optional<SymbolId> addContainer(SymbolKind kind, std::span<const SymbolId> items);
    // More items of a List, Dict (keys and values in turn) or Set. False where the budget is spent.
    [[nodiscard]] bool append(SymbolId container, std::span<const SymbolId> items);

    // Text, Text8, Bytes, ByteArray, BigInt: the bytes (of kLatin1 the UTF-8 text); empty for others.
    [[nodiscard]] std::string_view bytesOf(SymbolId id) const;
    // Text or Text8; nullopt for others.
    [[nodiscard]] std::optional<std::string_view> textOf(SymbolId id) const;
    [[nodiscard]] std::int64_t intOf(SymbolId id) const;
    [[nodiscard]] std::span<const SymbolId> tuple(SymbolId id) const; // empty for what is no Tuple
    [[nodiscard]] std::string_view dunderKeyOf(SymbolId id) const;    // of a Dict with kDunderKey
    [[nodiscard]] bool isLiteral(SymbolId id) const;                  // known at scan time to be no object with methods of its own

    // As Python source for people: bounded in depth and length.
    [[nodiscard]] std::string describe(SymbolId id, std::size_t limit = 160) const;
    // "os.system('ls')"
    [[nodiscard]] std::string describeCall(SymbolId callee, std::span<const SymbolId> arguments, std::size_t limit = 160) const;

    [[nodiscard]] std::vector<PickleImport>& imports() { return m_imports; }
    [[nodiscard]] const std::vector<PickleImport>& imports() const { return m_imports; }
    [[nodiscard]] const PickleImport& importOf(SymbolId global) const { return m_imports[(*this)[global].a]; }
    [[nodiscard]] std::deque<std::string>& texts() { return m_texts; }

private:
    using Preview = std::array<SymbolId, 8>; // the first items
    void write(std::string& out, SymbolId id, std::size_t limit, int depth) const;
    void writeItems(std::string& out, std::span<const SymbolId> items, std::uint64_t count, std::size_t limit, int depth) const;
    void writeContainer(std::string& out, const Symbol& container, std::size_t limit, int depth) const;
    void noteKeys(SymbolId dict, std::span<const SymbolId> items);

    std::span<const std::byte> m_bytes;
    std::uint64_t m_budget;
    static constexpr std::size_t kBlock = 1u << 10; // symbols that are taken at once: growing must not need room for all twice
    std::vector<std::unique_ptr<Symbol[]>> m_blocks;
    std::size_t m_count = 0;
    std::array<SymbolId, 256> m_smallInts{}; // 0: not made yet
    std::vector<SymbolId> m_pool; // items of tuples
    std::vector<Preview> m_previews;
    std::deque<std::string> m_texts;
    std::vector<PickleImport> m_imports;
    std::unordered_map<SymbolId, SymbolId> m_dunderKeys; // Dict to its first such key
};

} // namespace shardlens
