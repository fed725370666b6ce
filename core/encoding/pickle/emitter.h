#pragma once

#include "core/encoding/pickle/graph.h"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace shardlens::pickle {

// The pickle of a value: what it loads to in Python equals what the value was read from, sharing and cycles included. Protocol 2 where everything in it
// can be said there, so that torch.load(weights_only=True) takes it; else 4, or 5 with a bytearray.
// Refused: out-of-band buffers and extension codes (their meaning lies outside the file), a name with a line break, more than 4 GiB of one text.
[[nodiscard]] Result<std::vector<std::byte>> emitPickle(Value root);

// The machine behind emitPickle(). It keeps its own stack: a tree may be a million levels deep.
class Emitter {
public:
    explicit Emitter(const Graph& graph) : m_graph(graph) {}
    [[nodiscard]] Result<std::vector<std::byte>> run(Value root);

private:
    using Index = std::uint32_t;
    static constexpr std::uint32_t kForgotten = 0xFFFFFFFF;

    // A value that is being written: `stage` and `at` say how far.
    struct Frame {
        Index node;
        std::uint32_t stage = 0;
        std::size_t at = 0;
    };

    void survey(Index root);
    void needProtocol(const Node& node);
    Status visit(Index index);
    Status leaf(const Node& node);
    Status textLeaf(const Node& node);
    Status globalLeaf(Index index);
    Status advance(); // one step of the top frame
    Status tuple(const Node& node);
    Status container(const Node& node);
    Status frozenSet(const Node& node);
    Status persistent(const Node& node);
    Status object(const Node& node);
    // Writes items[at …] in batches; false when there are no more.
    Result<bool> batch(const std::vector<Index>& items, std::size_t perItem, std::uint8_t one, std::uint8_t many);
    Status finish(std::uint8_t opcode);
    void finishImmutable(std::size_t pieces, bool marked);

    void opcode(std::uint8_t code) { m_out.push_back(static_cast<std::byte>(code)); }
    void raw(std::string_view bytes);
    void number(std::uint64_t value, std::size_t bytes);
    void integer(std::int64_t value);
    [[nodiscard]] bool isRemembered(Index index) const { return m_memo[index] != kForgotten; }
    void get(std::uint32_t slot);
    void remember(Index index);
    void rememberGlobal(const std::string& name);

    const Graph& m_graph;
    std::vector<std::byte> m_out;
    std::vector<std::uint8_t> m_uses; // 0, 1, 2: more than one
    std::vector<Frame> m_frames;
    std::vector<std::uint32_t> m_memo; // slot of each value
    std::unordered_map<std::string, std::uint32_t> m_globalMemo;
    std::uint32_t m_slots = 0;
    unsigned m_protocol = 2;
};

} // namespace shardlens::pickle
