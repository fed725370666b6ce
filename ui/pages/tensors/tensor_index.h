#pragma once

#include "core/model/checkpoint.h"

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shardlens::ui {

// Everything the table of tensors shows, computed once per checkpoint on a worker. Immutable; shared by model and workers.
class TensorIndex {
public:
    // A row of one of the views: a part of dotted names, a parameter, or a tensor of one state.
    struct Node {
        std::string label;                 // printable
        std::int32_t parent = -1;
        std::uint32_t subtreeEnd = 0;      // one past the last node below, in preorder
        std::uint16_t depth = 0;
        std::uint32_t names = 0;           // parameters below, or 1
        TensorId tensor = kNoTensor;       // what is selected with it; kNoTensor for a group
        std::string storedAs;              // "F16 + 3×F32"; of a tied name "tied to embed.weight"
        std::uint64_t bytes = 0;
        std::uint64_t pieces = 0;
        std::vector<std::pair<std::uint32_t, std::uint64_t>> ranks; // rank → bytes of what the strip shows, ascending
    };
    // Nodes in preorder. What a filter walks through lies apart from what a row shows: a key stroke touches nothing else.
    struct View {
        std::vector<Node> nodes;
        std::vector<std::int32_t> parents;          // as in the nodes
        std::vector<std::vector<TensorId>> members; // tensors of a leaf; empty for a group
        std::vector<std::uint32_t> leaves;          // ascending
        std::string text;                           // the leaves' names in lower case, one after the other, each followed by a line break
        std::vector<std::size_t> textEnds;          // by leaf: behind its name

        [[nodiscard]] std::string_view textOf(std::size_t leaf) const
        {
            const std::size_t begin = leaf == 0 ? 0 : textEnds[leaf - 1] + 1;
            return std::string_view(text).substr(begin, textEnds[leaf] - begin);
        }
    };

    [[nodiscard]] static std::shared_ptr<const TensorIndex> build(CheckpointPtr checkpoint, std::stop_token stop);

    [[nodiscard]] const CheckpointPtr& checkpoint() const { return m_checkpoint; }
    [[nodiscard]] const View& byName() const { return m_byName; }
    [[nodiscard]] const View& byState() const { return m_byState; }
    [[nodiscard]] std::uint64_t totalBytes() const { return m_totalBytes; }

private:
    friend class TensorIndexBuilder;

    CheckpointPtr m_checkpoint;
    View m_byName;
    View m_byState;
    std::uint64_t m_totalBytes = 0;
};

// What is shown of an index.
struct RowQuery {
    enum class Mode { Tree, Flat, ByState };
    enum class Order { Model, Name, Bytes, Pieces };
    Mode mode = Mode::Tree;
    Order order = Order::Model;
    bool descending = false;
    std::string text;          // substring, any case, or a regular expression
    bool isRegex = false;
    std::string dtype;         // empty: any
    std::string state;         // role name; empty: any
    std::int64_t rank = -1;    // −1: any

    [[nodiscard]] bool filters() const { return !text.empty() || !dtype.empty() || !state.empty() || rank >= 0; }
};

struct RowResult {
    std::vector<std::uint32_t> rows; // nodes of the view, in order, all expanded
    std::uint64_t leaves = 0;        // shown
    std::uint64_t allLeaves = 0;
    bool ok = true;                  // false: the pattern does not compile; nothing else is set
    std::string problem;
};

// The rows that a query leaves, groups with nothing below them left out. Safe on a worker.
[[nodiscard]] RowResult runQuery(const TensorIndex& index, const RowQuery& query);

} // namespace shardlens::ui
