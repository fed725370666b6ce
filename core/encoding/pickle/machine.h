#pragma once

#include "core/encoding/pickle/graph.h"

#include <unordered_map>

namespace shardlens::pickle {

// The stack machine behind Graph::parse: every opcode of protocols 0 to 5 (formats/pickle-safety.md §2), as data.
class Machine {
public:
    Machine(Graph& graph, std::shared_ptr<const std::vector<std::byte>> input, std::size_t offset, Graph::Numbers numbers);
    // Runs to STOP; looks at the job, where there is one, now and then.
    Status run(const JobContext* job);

private:
    using Index = std::uint32_t;

    Status step(std::uint8_t opcode);
    Status pushLiteral(std::uint8_t opcode);   // numbers, text and bytes with binary arguments
    Status pushTextLiteral(std::uint8_t opcode); // protocol 0: arguments are lines
    Status containerOpcode(std::uint8_t opcode);
    Status objectOpcode(std::uint8_t opcode);
    Status memoOpcode(std::uint8_t opcode);
    Status stackOpcode(std::uint8_t opcode);

    // Arguments.
    Result<std::span<const std::byte>> take(std::uint64_t count);
    Result<std::uint64_t> number(std::size_t bytes);
    Result<std::string_view> line();
    Result<std::string_view> counted(std::size_t lengthBytes, bool isSigned = false);

    // Nodes.
    Result<Index> add(Node node);
    Status push(Index index);
    Status pushNode(Node node);
    Status pushInt(std::int64_t value);
    Status pushBytes(Kind kind, std::string_view bytes);
    Status pushText8(std::string_view bytes, BytesOrigin origin); // text where it is UTF-8, else bytes
    Status pushOwned(Kind kind, std::string text, BytesOrigin origin = BytesOrigin::Bytes);
    Status pushContainer(Kind kind, std::vector<Index> items);
    Status pushTuple(std::span<const Index> items);
    Status pushCall(Kind kind, Index callable, Index arguments, Index kwargs = 0);
    Result<Index> globalNode(std::string_view module, std::string_view name);
    Result<Index> addGlobal(Index module, Index name);

    // Stack. A mark fences it.
    [[nodiscard]] std::size_t floor() const { return m_marks.empty() ? 0 : m_marks.back(); }
    Result<Index> pop();
    Status need(std::size_t count) const;
    Result<std::span<const Index>> popToMark(); // valid until the next one
    Result<Extra*> extraOf(Index index);
    Status addItems(Index target, std::span<const Index> items);
    Status setItems(Index target, std::span<const Index> items);
    Status remember(std::uint64_t slot);
    Status recall(std::uint64_t slot);
    Status charge(std::uint64_t bytes);

    Graph& m_graph;
    std::span<const std::byte> m_bytes;
    std::size_t m_at;
    std::size_t m_opcodeAt = 0;
    std::vector<Index> m_stack;
    std::vector<Index> m_popped;
    std::vector<Index> m_small; // nodes of small numbers, where they are shared; 0: none yet
    std::vector<std::size_t> m_marks;
    std::vector<Index> m_memo;                         // dense slots; kUnset where empty
    std::unordered_map<std::uint64_t, Index> m_sparse; // slots far away
    std::uint64_t m_memoCount = 0;
    std::uint64_t m_budget;                            // bytes that may still be allocated
    Index m_none = 0;
    Index m_emptyTuple = 0;
    std::uint64_t m_protocol = 0; // in force
    bool m_stopped = false;
};

} // namespace shardlens::pickle
