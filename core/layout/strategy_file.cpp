#include "core/base/text.h"
#include "core/layout/mindspore_strategy.h"
#include "core/layout/strategy_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace shardlens::mindspore {
namespace {

constexpr std::uint64_t kHeadBytes = 4096;

struct StagedName {
    std::uint32_t stage = 0;
    std::string_view name;
};

// "3-layer.weight": split at the first dash, where a number stands before it.
std::optional<StagedName> stagedNameOf(std::string_view stored)
{
    const std::size_t dash = stored.find('-');
    if (dash == std::string_view::npos)
        return std::nullopt;
    StagedName out{0, stored.substr(dash + 1)};
    const auto [end, problem] = std::from_chars(stored.data(), stored.data() + dash, out.stage);
    if (problem != std::errc{} || end != stored.data() + dash)
        return std::nullopt;
    return out;
}

// What is no strategy, by what it is.
Status checkKind(StrategyBytes kind)
{
    switch (kind) {
    case StrategyBytes::Empty: return Error{ErrorCode::Corrupt, "an empty file"};
    case StrategyBytes::Encrypted: return Error{ErrorCode::Unsupported, "it is encrypted, as weights files may be; a strategy file is not"};
    case StrategyBytes::Zip: return Error{ErrorCode::Refused, "it is a zip archive (a PyTorch file), not a strategy"};
    case StrategyBytes::Pickle: return Error{ErrorCode::Refused, "it is a pickle, not a strategy"};
    case StrategyBytes::Safetensors: return Error{ErrorCode::Refused, "it is a safetensors file with weights, not a strategy"};
    case StrategyBytes::Weights: return Error{ErrorCode::Refused, "it is a weights file, not a strategy"};
    case StrategyBytes::GroupMap: return Error{ErrorCode::Refused, "it is a group file (ParallelGroupMap), not a strategy"};
    case StrategyBytes::Unknown: return Error{ErrorCode::Refused, "it is no strategy file: neither MindSpore's protobuf nor JSON"};
    case StrategyBytes::Protobuf:
    case StrategyBytes::Json: break;
    }
    return {};
}

Result<StrategyText> parseText(std::string_view bytes)
{
    const StrategyBytes kind = kindOfStrategyBytes(bytes, bytes.size());
    SHARDLENS_TRY(checkKind(kind));
    if (kind == StrategyBytes::Json)
        return parseStrategyJson(bytes);
    auto text = parseStrategyProtobuf(bytes);
    if (!text && !looksLikeStrategy(bytes, bytes.size())) // some other protobuf, or less than its first record
        return Error{text.error().code(), "it is no strategy file: " + text.error().text()};
    return text;
}

Status requireRegular(const std::string& path)
{
    std::error_code failed;
    const auto status = std::filesystem::status(path, failed);
    if (status.type() == std::filesystem::file_type::not_found)
        return Error{ErrorCode::NotFound, "no such file"};
    if (failed)
        return Error{ErrorCode::Io, failed.message()};
    if (status.type() != std::filesystem::file_type::regular)
        return Error{ErrorCode::Unsupported, "not a regular file"};
    return {};
}

} // namespace

Result<StrategyHead> readStrategyHead(const std::string& path, std::uint64_t most)
{
    SHARDLENS_TRY(requireRegular(path));
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
    if (size < 0)
        return Error{ErrorCode::Io, std::strerror(errno == 0 ? EIO : errno)};
    StrategyHead out;
    out.fileBytes = static_cast<std::uint64_t>(size);
    out.bytes.resize(static_cast<std::size_t>(std::min(out.fileBytes, most)));
    file.seekg(0);
    if (!out.bytes.empty() && !file.read(out.bytes.data(), static_cast<std::streamsize>(out.bytes.size())))
        return Error{ErrorCode::Io, "it became shorter while it was read"};
    return out;
}

Result<std::string> readStrategyBytes(const std::string& path)
{
    SHARDLENS_ASSIGN(StrategyHead head, readStrategyHead(path, kHeadBytes));
    SHARDLENS_TRY(checkKind(kindOfStrategyBytes(head.bytes, head.fileBytes)));
    if (head.fileBytes > kLargestStrategyBytes)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} B, at most {} B are read of a strategy",
                                                           groupedText(head.fileBytes), groupedText(kLargestStrategyBytes))};
    if (head.fileBytes == head.bytes.size())
        return std::move(head.bytes);
    SHARDLENS_ASSIGN(StrategyHead whole, readStrategyHead(path, kLargestStrategyBytes));
    return std::move(whole.bytes);
}

Result<StrategyParts> parseStrategyParts(std::string_view bytes, std::string name)
{
    SHARDLENS_ASSIGN(StrategyText text, parseText(bytes));
    StrategyParts out;
    out.name = std::move(name);
    out.currentStage = text.currentStage;
    out.isMerged = !text.parameters.empty() &&
                   std::all_of(text.parameters.begin(), text.parameters.end(), [](const auto& one) { return stagedNameOf(one.storedName).has_value(); });
    const std::uint32_t ownStage = text.operators.empty() ? 0 : text.operators.front().stage;
    out.parameters.reserve(text.parameters.size());
    for (StrategyText::Parameter& one : text.parameters) {
        const StagedName staged = out.isMerged ? *stagedNameOf(one.storedName) : StagedName{ownStage, one.storedName};
        out.parameters.push_back({std::string(staged.name), staged.stage, std::move(one.layout), std::move(one.fullShape)});
    }
    if (!out.isMerged && text.operators.empty() && !out.parameters.empty())
        out.notes.push_back("no operator says which pipeline stage it is of; taken for stage 0");
    out.operators = std::move(text.operators);
    return out;
}

Result<Strategy> parseStrategy(std::string_view bytes, std::string name)
{
    SHARDLENS_ASSIGN(StrategyParts parts, parseStrategyParts(bytes, std::move(name)));
    return Strategy::make(std::move(parts));
}

Result<Strategy> readStrategy(const std::string& path)
{
    const auto read = [&]() -> Result<Strategy> {
        SHARDLENS_ASSIGN(const std::string bytes, readStrategyBytes(path));
        return parseStrategy(bytes, path);
    };
    auto strategy = read();
    if (!strategy)
        return strategy.takeError().within(printable(path));
    return strategy;
}

} // namespace shardlens::mindspore
