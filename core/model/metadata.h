#pragma once

#include "core/base/ids.h"

#include <cstdint>
#include <string>
#include <vector>

namespace shardlens {

// The key of a branch of a file's root that describes the file itself: no value of what somebody saved.
constexpr const char* kOwnMetadataKey = "(metadata)";

// What a checkpoint holds beside tensors, for people to read: dictionaries, lists, numbers, text, and objects of which nothing was executed.
struct MetaNode {
    enum class Kind : std::uint8_t {
        Null, Bool, Integer, Float, Text, Bytes,
        List, Tuple, Set, Dict,
        Object,  // class name in `type`, its arguments and state as children
        Opaque,  // an object of an unknown class: not executed
        Tensor,  // a leaf naming a tensor: "F32 [4, 8]"
        Summary, // a leaf that stands for many: "291 tensors"
    };
    Kind kind = Kind::Null;
    std::string key;   // member name or index as text; empty at a root
    std::string value; // text of a leaf; of a container its size in words
    std::string type;  // "int", "OrderedDict", "deepspeed.runtime.zero.config.ZeroStageEnum"
    std::vector<MetaNode> children;

    // The child named `name`, or nullptr.
    [[nodiscard]] const MetaNode* child(std::string_view name) const;
};

// The tree of one file.
struct FileMetadata {
    FileId file;
    MetaNode root;
};

} // namespace shardlens
