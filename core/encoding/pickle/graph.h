#pragma once

#include "core/base/result.h"
#include "core/job/job_context.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
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
    [[nodiscard]] const Graph* graph() const { return m_graph; }
    [[nodiscard]] std::uint32_t index() const { return m_index; }
    [[nodiscard]] Kind kind() const; // None for an absent value
    [[nodiscard]] bool isNone() const { return !m_graph || kind() == Kind::None; }

    // Leaves; nullopt where the value is of another kind.
    [[nodiscard]] std::optional<bool> asBool() const;
    [[nodiscard]] std::optional<std::int64_t> asInt() const;          // Int, Bool, and BigInt that fits
    [[nodiscard]] std::span<const std::byte> bigIntBytes() const;     // BigInt: little-endian two's complement; empty for others
    [[nodiscard]] std::optional<double> asFloat() const;              // Float and Int
    [[nodiscard]] std::optional<std::string_view> asText() const;     // Text: well-formed UTF-8, of whatever opcode; else it is Bytes
    [[nodiscard]] std::optional<std::span<const std::byte>> asBytes() const; // Bytes, ByteArray

    // Sequences: Tuple, List, Set, FrozenSet, also torch.Size(tuple), `set([...])` and the list items of an object.
    [[nodiscard]] bool isSequence() const;
    [[nodiscard]] std::size_t size() const; // of sequences and mappings; 0 otherwise
    [[nodiscard]] Value at(std::size_t i) const;
    // The node indices of a plain Tuple or List, or of a plain Dict's keys and values in turn; empty for others. For who reads millions.
    [[nodiscard]] std::span<const std::uint32_t> rawItems() const;

    // Mappings: Dict, also OrderedDict, defaultdict, Counter (REDUCE + SETITEMS). Items in insertion order; later duplicates of a key win in find().
    [[nodiscard]] bool isMapping() const;
    [[nodiscard]] Value keyAt(std::size_t i) const;
    [[nodiscard]] Value valueAt(std::size_t i) const;
    [[nodiscard]] Value find(std::string_view key) const; // by text key; absent if not there. Linear.

    // Global
    [[nodiscard]] std::string_view globalModule() const;
    [[nodiscard]] std::string_view globalName() const;
    [[nodiscard]] bool isGlobal(std::string_view module, std::string_view name) const;
    [[nodiscard]] std::size_t globalOffset() const;      // of the opcode that named it; 0 for one that was made, not parsed
    [[nodiscard]] bool hasPython2Names() const;          // named under a protocol below 3: Python maps the names of Python 2 (formats/pickle-safety.md §3.3)

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
    friend class GraphBuilder;

    [[nodiscard]] const struct Node& node() const;
    // The value that a mapping-like or sequence-like call was given to begin with; absent if it is no such call.
    [[nodiscard]] Value initialItems() const;

    const Graph* m_graph = nullptr;
    std::uint32_t m_index = 0;
};

// One node of the arena: 24 bytes. What `a`, `b` and the payload mean depends on the kind.
struct Node {
    Kind kind = Kind::None;
    std::uint32_t a = 0; // Text, Bytes: length; Tuple: first in the pool; containers: their number; Global: module; Reduce, NewObject: callable; PersistentId: id
    std::uint32_t b = 0; // Tuple: count; Global: name; Reduce, NewObject: arguments; Bytes: a BytesOrigin
    union {
        std::int64_t integer; // Int, Bool, Extension; Global: twice the offset of its opcode, odd where the protocol is below 3
        double number;        // Float
        const char* bytes;    // Text, Bytes, BigInt (little-endian two's complement)
        struct {
            std::uint32_t extra; // 1 + number of its Extra; 0 without
            std::uint32_t state; // what its only BUILD gave; 0: none, or they are in the Extra
        } call; // Reduce, NewObject
    };
    Node() : integer(0) {}
};

// Why a node is Bytes: text that is no UTF-8 is kept as such, and written back as what it was.
enum class BytesOrigin : std::uint32_t { Bytes, Text, String8 };

// What opcodes did to an object after it was made: APPENDS, SETITEMS, BUILD.
struct Extra {
    std::vector<std::uint32_t> list;
    std::vector<std::uint32_t> dict; // key, value, key, value …
    std::vector<std::uint32_t> states;
    std::uint32_t kwargs = 0; // 0: none
};

// The graph of one pickle. Owns its nodes and keeps the bytes that text points into. Immutable once parsed; read from any thread.
class Graph {
public:
    // Interprets one pickle that begins at `offset` of `input`. Errors carry the offset of the opcode: Corrupt, LimitExceeded. Memory stays within a
    // fixed multiple of the input's size, and of what any input may take. Cancelled where the job is told to stop.
    // Shared numbers: equal small ones are one node, for pickles of millions of sizes whose values nobody tells apart by identity.
    enum class Numbers : std::uint8_t { Apart, Shared };
    [[nodiscard]] static Result<std::shared_ptr<const Graph>> parse(std::shared_ptr<const std::vector<std::byte>> input, std::size_t offset = 0,
                                                                    const JobContext* job = nullptr, Numbers numbers = Numbers::Apart);

    [[nodiscard]] Value root() const { return {this, m_root}; }
    // Offset just after STOP.
    [[nodiscard]] std::size_t end() const { return m_end; }
    [[nodiscard]] std::size_t nodeCount() const { return m_nodes.size(); }
    [[nodiscard]] Value nodeAt(std::size_t index) const { return {this, static_cast<std::uint32_t>(index)}; }
    // Where the bytes of a Bytes value begin in the input; nullopt where they were decoded from something else, or the value is of another kind.
    [[nodiscard]] std::optional<std::size_t> offsetOf(Value bytes) const;

private:
    friend class Machine;
    friend class Value;
    friend class GraphBuilder;
    friend class Emitter;

    // What BUILD gave an object, in order. Nearly all have one, and there may be millions: it stands in the node.
    [[nodiscard]] std::span<const std::uint32_t> statesOf(const Node& node) const;
    void addState(std::uint32_t index, std::uint32_t state);

    std::shared_ptr<const std::vector<std::byte>> m_input;
    std::vector<Node> m_nodes;
    std::vector<std::uint32_t> m_tuples;
    std::deque<std::vector<std::uint32_t>> m_containers;
    std::deque<Extra> m_extras;
    std::deque<std::string> m_texts; // decoded from escapes, or made
    std::vector<std::shared_ptr<const void>> m_owners; // of bytes that imported nodes point into
    std::uint32_t m_root = 0;
    std::size_t m_end = 0;
};

// The bytes behind `_codecs.encode(text, "latin1")`, protocol 2's way to write bytes: every character below U+0100 is one byte.
[[nodiscard]] std::string latin1(std::string_view utf8);

} // namespace shardlens::pickle
