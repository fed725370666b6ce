#pragma once

#include "core/encoding/pickle/global_tables.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shardlens::pickle {

// How much power an imported name has (formats/pickle-safety.md §6.1): 0 data only, 1 what weights_only accepts, 2 known inert classes, 3 unknown code,
// 4 suspicious, 5 dangerous.
struct GlobalLevel {
    int level = 0;
    std::string_view code;      // G1, G2, G3, G5, G6, G7, G8
    std::string_view component; // the part that decided it, for G6 and G7; else empty. Points into the name
    // `builtins.getattr`, `builtins.type`, `functools.partial`: what they are called with decides. `level` and `code` are for one that is handed on instead.
    bool decidedAtCall = false;
};

struct LevelOptions {
    int protocol = 2;           // in force at the import: below 4 a dotted name is one attribute
    bool isTorchScript = false; // an archive with constants.pkl: `__torch__` classes are types of its own
};

// The name that Python 3 looks up: below protocol 3 the names of Python 2 are mapped first (§3.3). Points into `raw` or into the tables.
[[nodiscard]] GlobalName python3Name(GlobalName raw, int protocol);

// The level of one import by §6.2; `name` as python3Name gave it.
[[nodiscard]] GlobalLevel levelOf(GlobalName name, const LevelOptions& options);

// §6.4: `getattr(cls, attribute)` of a class on the lists that names a class inside it.
[[nodiscard]] bool isNestedClass(GlobalName outer, std::string_view attribute);
// An identifier of ASCII letters, digits and underscores.
[[nodiscard]] bool isIdentifier(std::string_view text);
// `__x__`
[[nodiscard]] bool isDunder(std::string_view text);

// Functions that call their first argument (§6.4), and which argument they hand on to it: the index of that tuple, 0 where it is the rest of the arguments.
// nullopt for any other name.
[[nodiscard]] std::optional<std::size_t> handsOn(GlobalName name);
// Latin-1 by the names that _codecs.encode takes for it: protocol 2's way to write bytes. Other codecs run other programs.
[[nodiscard]] bool isLatin1Name(std::string_view codec);
// A member of a known enumeration by a name that can be one.
[[nodiscard]] bool isEnumerationMember(GlobalName enumeration, std::string_view attribute);

} // namespace shardlens::pickle
