#include "core/format/sdloader/factory_list.h"

#include "core/base/text.h"
#include "core/encoding/json_document.h"

#include <fmt/format.h>

#include <cctype>

namespace shardlens::sdloader {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLargestList = 4u << 20;
constexpr std::size_t kDeepestList = 16;
constexpr std::size_t kMostFiles = 1u << 16;

Error needs(const char* member, const char* what)
{
    return {ErrorCode::Refused, fmt::format("the list's {} is not {}", member, what)};
}

Status readNames(const Json& value, const char* member, std::vector<std::string>& into)
{
    if (!value.is_array() || value.size() > kMostFiles)
        return needs(member, "a list of file names");
    for (const Json& name : value) {
        if (!name.is_string() || name.get_ref<const std::string&>().empty() || name.get_ref<const std::string&>().find('\0') != std::string::npos)
            return needs(member, "a list of file names");
        into.push_back(name.get<std::string>());
    }
    return {};
}

Status readType(const Json& document, FactoryList& out)
{
    if (!document["type"].is_string())
        return needs("type", "text");
    out.typeName = document["type"].get<std::string>();
    const std::string lowered = lowerCase(out.typeName);
    if (lowered == "bloom" || lowered == "ds_model")
        out.type = FactoryList::Type::Inference;
    else if (out.typeName != "Megatron")
        return Error{ErrorCode::Unsupported, fmt::format("{} checkpoint type is not supported; Megatron, bloom and ds_model are", printable(out.typeName))};
    return {};
}

Status readFiles(const Json& value, FactoryList& out)
{
    if (value.is_object()) { // {"tp": […], "non_tp": […]}
        if (value.contains("tp"))
            SHARDLENS_TRY(readNames(value["tp"], "checkpoints.tp", out.checkpoints));
        if (value.contains("non_tp"))
            SHARDLENS_TRY(readNames(value["non_tp"], "checkpoints.non_tp", out.notParallel));
    } else {
        SHARDLENS_TRY(readNames(value, "checkpoints", out.checkpoints));
    }
    if (out.checkpoints.empty() && (out.type == FactoryList::Type::Megatron || out.notParallel.empty()))
        return Error{ErrorCode::Refused, "the list names no checkpoint files"};
    return {};
}

} // namespace

bool looksLikeList(std::string_view head)
{
    const std::size_t start = head.find_first_not_of(" \t\r\n");
    const bool isObject = start != std::string_view::npos && head[start] == '{';
    // "type" alone is in many files of Hugging Face folders.
    return isObject && (head.find("\"checkpoints\"") != std::string_view::npos || head.find("\"Megatron\"") != std::string_view::npos);
}

Result<FactoryList> parseList(std::string_view json)
{
    SHARDLENS_ASSIGN(const Json document, parseJson(json, kLargestList, kDeepestList));
    if (!document.is_object())
        return Error{ErrorCode::Corrupt, "no list of checkpoints: it is no JSON object"};
    for (const char* member : {"type", "checkpoints", "version"})
        if (!document.contains(member))
            return Error{ErrorCode::Refused, fmt::format("the list has no member {}, which SDLoaderFactory needs", member)};
    FactoryList out;
    SHARDLENS_TRY(readType(document, out));
    SHARDLENS_TRY(readFiles(document["checkpoints"], out));
    if (const Json& version = document["version"]; version.is_number())
        out.version = version.get<double>();
    else if (!version.is_null())
        return needs("version", "a number or null");
    for (const char* member : {"tp_size", "mp_size"}) // the second wins
        if (document.contains(member) && document[member].is_number_unsigned() && document[member].get<std::uint64_t>() > 0)
            out.degree = document[member].get<std::uint64_t>();
    if (document.contains("parallelization") && document["parallelization"].is_string())
        out.parallelization = document["parallelization"].get<std::string>();
    if (document.contains("base_dir") && document["base_dir"].is_string())
        out.baseDir = document["base_dir"].get<std::string>();
    return out;
}

std::string listText(const FactoryList& list, const std::vector<std::string>& checkpoints)
{
    Json out{{"type", list.typeName}, {"version", nullptr}, {"checkpoints", checkpoints}, {"parallelization", list.parallelization}, {"mp_size", checkpoints.size()}};
    if (list.version)
        out["version"] = *list.version;
    return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Selection> select(std::size_t files, std::size_t mpWorldSize, std::size_t mpRank, bool hasModuleKey, bool isPipeParallel)
{
    if (files == 0 || mpWorldSize == 0 || mpRank >= mpWorldSize)
        return Error{ErrorCode::Refused, fmt::format("rank {} of {} on {}", mpRank, mpWorldSize, plural(files, "file", "files"))};
    Selection out;
    out.file = mpRank * files / mpWorldSize;
    if (isPipeParallel && hasModuleKey && mpWorldSize != files) { // the module's layers lie in files of their own
        out.file = 0;
        return out;
    }
    if (files > mpWorldSize) {
        if (files % mpWorldSize != 0)
            return Error{ErrorCode::Refused, fmt::format("{} cannot be merged into {}: it does not divide", plural(files, "file", "files"), mpWorldSize)};
        out.action = Selection::Action::Merge;
        out.mergeCount = files / mpWorldSize;
    } else if (files < mpWorldSize) {
        if (mpWorldSize % files != 0)
            return Error{ErrorCode::Refused, fmt::format("{} cannot be split into {}: it does not divide", plural(files, "file", "files"), mpWorldSize)};
        out.action = Selection::Action::Split;
        out.splitInto = mpWorldSize / files;
        out.part = mpRank % out.splitInto;
    }
    return out;
}

} // namespace shardlens::sdloader
