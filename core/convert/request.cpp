#include "core/convert/request.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace shardlens {
namespace {

constexpr std::string_view kPlainCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-+=:,@%";

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

// A path that starts with a dash would be read as an option.
std::string pathArgument(const std::string& path)
{
    return shellQuoted(path.starts_with('-') ? "./" + path : path);
}

Select defaultOf(const std::optional<std::string>& to)
{
    return to == "deepspeed" || to == "universal" ? Select::All : Select::Weights;
}

} // namespace

Select chosen(const ConvertRequest& request)
{
    return request.select.value_or(defaultOf(request.to));
}

std::string commandLineOf(const ConvertRequest& request)
{
    const ConvertRequest plain;
    std::string out = fmt::format("shardlens convert {} {}", pathArgument(request.source), pathArgument(request.target));
    const auto option = [&out](std::string_view name, const std::string& value) {
        out += fmt::format(" {}{}{}", name, value.starts_with('-') ? '=' : ' ', shellQuoted(value)); // a dash would start the next option
    };
    if (request.to)
        option("--to", *request.to);
    if (request.tag)
        option("--tag", *request.tag);
    if (request.select && *request.select != defaultOf(request.to))
        option("--select", nameOf(*request.select));
    if (request.dtype)
        option("--dtype", std::string(nameOf(*request.dtype)));
    for (const std::string& pattern : request.include)
        option("--include", pattern);
    for (const std::string& pattern : request.exclude)
        option("--exclude", pattern);
    if (request.maxShardBytes)
        option("--max-shard-size", fmt::format("{}B", *request.maxShardBytes));
    if (request.memoryLimit != plain.memoryLimit)
        option("--memory-limit", fmt::format("{}B", request.memoryLimit));
    if (request.threads != plain.threads)
        option("--threads", std::to_string(request.threads));
    if (request.device != plain.device)
        option("--device", request.device);
    if (request.dp)
        option("--dp", std::to_string(*request.dp));
    if (request.zeroStage)
        option("--zero-stage", std::to_string(*request.zeroStage));
    if (request.keepObjects)
        out += " --keep-objects";
    if (request.verify)
        out += " --verify";
    if (request.overwrite)
        out += " --overwrite";
    return out;
}

std::string jobHash(const ConvertRequest& request)
{
    const std::string text = requestToJson(request);
    return fmt::format("{:08x}", XXH32(text.data(), text.size(), 0));
}

} // namespace shardlens
