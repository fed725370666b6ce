#include "core/base/shell_text.h"

#include <string_view>

namespace shardlens {
namespace {

constexpr std::string_view kPlainCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-+=:,@%";

} // namespace

std::string shellQuoted(const std::string& text)
{
    if (!text.empty() && text.find_first_not_of(kPlainCharacters) == std::string::npos)
        return text;
    std::string out = "'";
    for (const char c : text) {
        if (c == '\'')
            out += "'\\''";
        else
            out += c;
    }
    return out + "'";
}

std::string pathArgument(const std::string& path)
{
    return shellQuoted(path.starts_with('-') ? "./" + path : path);
}

} // namespace shardlens
