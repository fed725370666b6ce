#pragma once

#include "core/encoding/pickle/graph.h"

#include <functional>
#include <initializer_list>
#include <unordered_map>

namespace shardlens::pickle {

// Makes the graph of a pickle that is to be written: new values, and parts of graphs that were read. Values that it hands out are valid until finish()
// and belong to this graph only. At most 2^32 values.
class GraphBuilder {
public:
    GraphBuilder();

    [[nodiscard]] Value none();
    [[nodiscard]] Value boolean(bool value);
    [[nodiscard]] Value integer(std::int64_t value);
    [[nodiscard]] Value real(double value);
    [[nodiscard]] Value text(std::string_view value); // UTF-8
    [[nodiscard]] Value tuple(std::span<const Value> items);
    [[nodiscard]] Value tuple(std::initializer_list<Value> items) { return tuple(std::span(items.begin(), items.size())); }
    [[nodiscard]] Value list();
    [[nodiscard]] Value dict();
    [[nodiscard]] Value global(std::string_view module, std::string_view name); // one node a name
    [[nodiscard]] Value call(Value callable, Value arguments);      // callable(*arguments)
    [[nodiscard]] Value newObject(Value type, Value arguments);     // type.__new__(type, *arguments)
    [[nodiscard]] Value persistentId(Value id);
    [[nodiscard]] Value orderedDict(); // collections.OrderedDict()

    void append(Value sequence, Value item);            // to a list, or to an object as APPENDS does
    void set(Value mapping, Value key, Value value);    // of a dict, or of an object as SETITEMS does
    void set(Value mapping, std::string_view key, Value value) { set(mapping, text(key), value); }
    void build(Value object, Value state);              // BUILD

    // What import() does with a value of another graph; asked once a value, before what it holds.
    struct Fate {
        enum class Kind : std::uint8_t { Copy, Replace, Drop } kind = Kind::Copy;
        Value with; // Replace: a value of this graph
    };
    using Decide = std::function<Fate(Value)>;

    // Copies all that `from` reaches, cycles and sharing kept. A dropped value leaves its key with it where it is the value of a dictionary, and is
    // None elsewhere. `owner` is kept alive as long as the graph: text is not copied. Values that one import() after another reaches stay one
    // as long as `owner` is the same.
    [[nodiscard]] Value import(const std::shared_ptr<const void>& owner, Value from, const Decide& decide = {});

    // The number of values so far.
    [[nodiscard]] std::size_t size() const { return m_graph->m_nodes.size(); }
    [[nodiscard]] std::shared_ptr<const Graph> finish(Value root) &&;

private:
    using Index = std::uint32_t;
    static constexpr Index kDropped = 0xFFFFFFFF;

    Value add(Node node);
    Extra& extraOf(Index index);
    Index place(Value from, const Decide& decide);
    void fill(Index index, Value from, const Decide& decide);
    void fillPairs(const std::vector<Index>& source, const Graph& graph, const Decide& decide, std::vector<Index>& out);

    std::shared_ptr<Graph> m_graph;
    std::unordered_map<std::string, Index> m_globals;
    std::unordered_map<const void*, std::unordered_map<Index, Index>> m_imported; // by source graph: their index → ours
    std::vector<std::pair<Index, Value>> m_todo;
};

} // namespace shardlens::pickle
