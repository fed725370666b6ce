#include "core/base/json_text.h"

#include <algorithm>

namespace shardlens {

std::size_t jsonNesting(std::string_view json)
{
    std::size_t depth = 0;
    std::size_t deepest = 0;
    bool inText = false;
    for (std::size_t i = 0; i < json.size(); ++i) {
        const char c = json[i];
        if (inText && c == '\\')
            ++i;
        else if (c == '"')
            inText = !inText;
        else if (!inText && (c == '[' || c == '{'))
            deepest = std::max(deepest, ++depth);
        else if (!inText && (c == ']' || c == '}') && depth > 0)
            --depth;
    }
    return deepest;
}

} // namespace shardlens
