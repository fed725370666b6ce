#include "core/encoding/pickle/global_levels.h"

#include <algorithm>
#include <array>
#include <optional>

namespace shardlens::pickle {
namespace {

// Calls `visit` for every part between dots until it answers true; true where one did.
template <typename Visit>
bool anyComponent(std::string_view dotted, Visit visit)
{
    for (;;) {
        const std::size_t dot = dotted.find('.');
        if (visit(dotted.substr(0, dot)))
            return true;
        if (dot == std::string_view::npos)
            return false;
        dotted.remove_prefix(dot + 1);
    }
}

bool isMalformedText(std::string_view text)
{
    return text.empty() || std::ranges::any_of(text, [](char c) {
        const auto code = static_cast<unsigned char>(c);
        return code <= ' ' || code == 0x7F || c == '/';
    });
}

// The module or a package above it.
bool isInDangerousModule(std::string_view module)
{
    for (std::size_t end = module.find('.');; end = module.find('.', end + 1)) {
        if (isDangerousModule(module.substr(0, end)))
            return true;
        if (end == std::string_view::npos)
            return false;
    }
}

bool isExceptionName(std::string_view name)
{
    constexpr std::string_view kEndings[] = {"Error", "Exception", "Warning", "Exit", "Interrupt", "Iteration"};
    return isIdentifier(name) && std::ranges::any_of(kEndings, [name](std::string_view ending) { return name.ends_with(ending); });
}

bool isKnownByPattern(GlobalName global, const LevelOptions& options)
{
    const bool isModuleClass = global.module.starts_with("torch.nn.modules.") && !global.name.empty() && global.name.front() >= 'A' &&
                               global.name.front() <= 'Z' && isIdentifier(global.name) && global.name.find('_') == std::string_view::npos;
    const bool isNumpyType = global.module == "numpy.dtypes" && global.name.ends_with("DType") && isIdentifier(global.name);
    const bool isScriptType = options.isTorchScript && (global.module == "__torch__" || global.module.starts_with("__torch__."));
    return isModuleClass || isNumpyType || isScriptType;
}

GlobalLevel levelOfBuiltin(std::string_view module, std::string_view name)
{
    if (module != "builtins") // `__builtin__` and `__builtins__` where nothing maps them: some loaders do
        return {5, "G5", {}, false};
    if (name == "getattr")
        return {5, "G5", {}, true};
    if (name == "type")
        return {4, "G7", {}, true};
    if (isBadBuiltin(name) || name.find('.') != std::string_view::npos || isDunder(name))
        return {5, "G5", {}, false};
    if (!isIndirectBuiltin(name) && isExceptionName(name))
        return {2, "G2", {}, false};
    return {4, "G7", name, false};
}

// Rules 9 to 12 of §6.2: what the parts of a name say of an otherwise unknown module.
std::optional<GlobalLevel> levelOfParts(GlobalName global, int protocol)
{
    GlobalLevel found;
    const auto isFirst = [&found](std::string_view part, bool matches) {
        found.component = matches ? part : found.component;
        return matches;
    };
    if (anyComponent(global.name, [&](std::string_view part) { return isFirst(part, isDunder(part) || isHardModule(part)); }))
        return GlobalLevel{5, "G6", found.component, false};
    const std::size_t below = global.module.find('.');
    if (below != std::string_view::npos &&
        anyComponent(global.module.substr(below + 1), [&](std::string_view part) { return isFirst(part, isHardModule(part)); }))
        return GlobalLevel{4, "G7", found.component, false};
    if (protocol < 4 && global.name.find('.') != std::string_view::npos)
        return GlobalLevel{4, "G8", {}, false};
    if (anyComponent(global.name, [&](std::string_view part) { return isFirst(part, isHotName(part)); }))
        return GlobalLevel{4, "G7", found.component, false};
    return std::nullopt;
}

} // namespace

bool isIdentifier(std::string_view text)
{
    const auto isLetter = [](char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    const auto isDigit = [](char c) { return c >= '0' && c <= '9'; };
    return !text.empty() && isLetter(text.front()) && std::ranges::all_of(text, [&](char c) { return isLetter(c) || isDigit(c); });
}

bool isDunder(std::string_view text)
{
    return text.size() > 4 && text.starts_with("__") && text.ends_with("__");
}

bool isNestedClass(GlobalName outer, std::string_view attribute)
{
    return outer == GlobalName{"torch.distributed._shard.sharded_tensor.api", "ShardedTensor"} && attribute == "ProcessGroupState";
}

GlobalName python3Name(GlobalName raw, int protocol)
{
    return protocol < 3 ? movedName(raw) : raw;
}

GlobalLevel levelOf(GlobalName global, const LevelOptions& options)
{
    const bool isTorch = global.module == "torch" || global.module.starts_with("torch.");
    if (isWeightsOnlyName(global.module, global.name) || (isTorch && isStorageClass(global.name)))
        return {1, "G1", {}, false};
    if (isKnownName(global.module, global.name) || isKnownByPattern(global, options))
        return {2, "G2", {}, false};
    if (isMalformedText(global.module) || isMalformedText(global.name))
        return {4, "G8", {}, false};
    if (global.module == "builtins" || global.module == "__builtin__" || global.module == "__builtins__")
        return levelOfBuiltin(global.module, global.name);
    if (global == GlobalName{"functools", "partial"})
        return {3, "G3", {}, true};
    const std::size_t dot = global.name.find('.');
    if (isInDangerousModule(global.module) || isDangerousName(global.module, global.name.substr(0, dot)))
        return {5, "G5", {}, false};
    if (const auto byParts = levelOfParts(global, options.protocol))
        return *byParts;
    if (dot != std::string_view::npos && isNestedClass({global.module, global.name.substr(0, dot)}, global.name.substr(dot + 1)))
        return {2, "G2", {}, false};
    return {3, "G3", {}, false};
}

std::optional<std::size_t> handsOn(GlobalName name)
{
    struct Caller {
        GlobalName name;
        std::size_t passed;
    };
    constexpr std::array<Caller, 5> kCallers{{{{"copyreg", "_reconstructor"}, 0},
                                              {{"copyreg", "__newobj__"}, 0},
                                              {{"copyreg", "__newobj_ex__"}, 1},
                                              {{"torch._tensor", "_rebuild_from_type"}, 2},
                                              {{"torch._tensor", "_rebuild_from_type_v2"}, 2}}};
    for (const Caller& caller : kCallers)
        if (caller.name == name)
            return caller.passed;
    return std::nullopt;
}

bool isLatin1Name(std::string_view codec)
{
    constexpr std::array<std::string_view, 5> kNames{"latin1", "latin-1", "latin_1", "iso-8859-1", "iso8859-1"};
    return std::ranges::find(kNames, codec) != kNames.end();
}

bool isEnumerationMember(GlobalName enumeration, std::string_view attribute)
{
    return isKnownEnumeration(enumeration.module, enumeration.name) && isIdentifier(attribute) && !attribute.starts_with('_') && attribute != "mro";
}

} // namespace shardlens::pickle
