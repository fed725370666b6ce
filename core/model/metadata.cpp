#include "core/model/metadata.h"

namespace shardlens {

const MetaNode* MetaNode::child(std::string_view name) const
{
    for (const MetaNode& node : children)
        if (node.key == name)
            return &node;
    return nullptr;
}

} // namespace shardlens
