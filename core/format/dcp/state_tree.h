#pragma once

#include "core/encoding/dcp_metadata.h"
#include "core/model/metadata.h"

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace shardlens::dcp {

// The saved state as it was before its keys were flattened, for people: dictionaries and lists with what their leaves say.
class StateTree {
public:
    StateTree() : m_root(std::make_unique<Node>()) {}

    // `leaf` stands at the entry's path; tensors of one branch become a number.
    void add(const DcpEntry& entry, MetaNode leaf);
    void addTensor(const DcpEntry& entry);
    [[nodiscard]] MetaNode take() &&;

private:
    struct Node {
        std::string key;
        bool isList = false;
        std::size_t tensors = 0; // directly here
        std::vector<std::unique_ptr<Node>> children;
        std::unordered_map<std::string, Node*> byKey;
        std::vector<MetaNode> leaves;
    };
    Node& nodeAbove(const DcpEntry& entry);
    static MetaNode finished(Node& node);

    std::unique_ptr<Node> m_root;
    std::size_t m_nodes = 0;
};

} // namespace shardlens::dcp
