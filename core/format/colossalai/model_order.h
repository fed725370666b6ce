#pragma once

#include "core/model/shape.h"

#include <string>
#include <vector>

namespace shardlens::colossalai {

// The parameters of a model in the order of its modules, as far as its files tell: what optimizers number (formats/colossalai.md §6.1).
struct ModelOrder {
    struct Named {
        std::string name;
        Shape shape;
    };
    std::vector<Named> names; // buffers and tied second names may stand among them
    bool isKnown = true;      // false: the files are sorted by name, which says nothing about the order
};

} // namespace shardlens::colossalai
