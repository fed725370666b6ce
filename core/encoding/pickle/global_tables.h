#pragma once

#include <string_view>

namespace shardlens::pickle {

// What a pickle imports: `module.name`. The texts belong to whoever made them.
struct GlobalName {
    std::string_view module;
    std::string_view name;
    bool operator==(const GlobalName&) const = default;
};

// The lists of formats/pickle-safety.md §6.3. Names as Python 3 has them.
[[nodiscard]] bool isWeightsOnlyName(std::string_view module, std::string_view name);  // W
[[nodiscard]] bool isKnownName(std::string_view module, std::string_view name);        // K
[[nodiscard]] bool isKnownEnumeration(std::string_view module, std::string_view name); // K's enumerations
[[nodiscard]] bool isDangerousModule(std::string_view module);                         // exactly this one; what lies below is the caller's question
[[nodiscard]] bool isDangerousName(std::string_view module, std::string_view name);
[[nodiscard]] bool isStorageClass(std::string_view name);
[[nodiscard]] bool isBadBuiltin(std::string_view name);
[[nodiscard]] bool isIndirectBuiltin(std::string_view name);
[[nodiscard]] bool isHardModule(std::string_view word);
[[nodiscard]] bool isHotName(std::string_view word);

// The Python 3 place of a Python 2 name (§3.3, step 1); the same name where it did not move.
[[nodiscard]] GlobalName movedName(GlobalName raw);

} // namespace shardlens::pickle
