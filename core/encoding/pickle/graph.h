#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::pickle {

// What a pickle builds, as data: nothing was imported or called.
enum class Kind : std::uint8_t {
    None, Bool, Int, BigInt, Float, Text, Bytes, ByteArray,
    Tuple, List, Dict, Set, FrozenSet,
    Global,       // a name: module.name
    Reduce,       // callable(*args): REDUCE, INST, OBJ
    NewObject,    // cls.__new__(cls, *args, **kwargs): NEWOBJ, NEWOBJ_EX
    PersistentId, // BINPERSID, PERSID
    Extension,    // EXT1/2/4: a number in the copyreg registry
    Buffer,       // NEXT_BUFFER: out-of-band bytes that are not in the file
};

class Graph;

// A cheap handle on a node; dies with its Graph. A default Value is "absent": every question answers no.
// Identity (memo sharing) is equality of handles.
class Value {
public:
    Value() = default;
    Value(const Graph* graph, std::uint32_t index) : m_graph(graph), m_index(index) {}

    [[nodiscard]] explicit operator bool() const { return m_graph != nullptr; }
    bool operator==(const Value&) const = default;
    [[nodiscard]] std::uint32_t index() const { return m_index; }
    [[nodiscard]] Kind kind() const; // None for an absent value
    [[nodiscard]] bool isNone() const { return !m_graph || kind() == Kind::None; }

    // Leaves; nullopt where the value is of another kind.
    [[nodiscard]] std::optional<bool> asBool() const;
    [[nodiscard]] std::optional<std::int64_t> asInt() const;          // Int, Bool, and BigInt that fits
    [[nodiscard]] std::optional<double> asFloat() const;              // Float and Int
    [[nodiscard]] std::optional<std::string_view> asText() const;     // Text (UTF-8; Python 2 strings that are ASCII too)
    [[nodiscard]] std::optional<std::span<const std::byte>> asBytes() const; // Bytes, ByteArray, also `_codecs.encode(text, "latin1")`

    // Sequences: Tuple, List, Set, FrozenSet, also torch.Size(tuple), `set([...])` and the list items of an object.
    [[nodiscard]] bool isSequence() const;
    [[nodiscard]] std::size_t size() const; // of sequences and mappings; 0 otherwise
    [[nodiscard]] Value at(std::size_t i) const;

    // Mappings: Dict, also OrderedDict, defaultdict, Counter (REDUCE + SETITEMS). Items in insertion order; later duplicates of a key win in find().
    [[nodiscard]] bool isMapping() const;
    [[nodiscard]] Value keyAt(std::size_t i) const;
    [[nodiscard]] Value valueAt(std::size_t i) const;
    [[nodiscard]] Value find(std::string_view key) const; // by text key; absent if not there. Linear.

    // Global
    [[nodiscard]] std::string_view globalModule() const;
    [[nodiscard]] std::string_view globalName() const;
    [[nodiscard]] bool isGlobal(std::string_view module, std::string_view name) const;

    // Reduce, NewObject: the callable or class, its arguments, and what BUILD gave it (the last state; absent without BUILD).
    [[nodiscard]] Value callable() const;
    [[nodiscard]] Value args() const;
    [[nodiscard]] Value kwargs() const;
    [[nodiscard]] Value state() const;
    // Attribute of an object built with a dict state, or with a (dict, slots) tuple; absent if not there.
    [[nodiscard]] Value attribute(std::string_view name) const;
    // True for Reduce/NewObject of that callable.
    [[nodiscard]] bool isCallOf(std::string_view module, std::string_view name) const;

    // PersistentId: the id itself (a tuple, a text …).
    [[nodiscard]] Value persistentId() const;

private:
    const Graph* m_graph = nullptr;
    std::uint32_t m_index = 0;
};

} // namespace shardlens::pickle
