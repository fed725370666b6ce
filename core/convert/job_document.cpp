#include "core/convert/request.h"

#include "core/base/text.h"
#include "core/compute/devices.h"
#include "core/encoding/json_document.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <charconv>
#include <limits>

namespace shardlens {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLargestDocument = 16u << 20;
constexpr std::uint64_t kMostRankNumber = 1u << 30;
constexpr std::size_t kDeepestDocument = 64; // the JSON library writes values by recursion

// What reads one member into the request. Errors are fragments about the value.
struct Member {
    const char* name;
    Status (*read)(const Json& value, ConvertRequest& into);
};

Error wrongType(const char* wanted, const Json& found)
{
    return {ErrorCode::Refused, fmt::format("{} is needed, and this is {}", wanted, found.type_name())};
}

Status readText(const Json& value, std::string& into)
{
    if (!value.is_string())
        return wrongType("text", value);
    into = value.get<std::string>();
    if (into.empty() || into.find('\0') != std::string::npos)
        return Error{ErrorCode::Refused, into.empty() ? "it is empty" : "it holds a zero byte"};
    return {};
}

Status readOptionalText(const Json& value, std::optional<std::string>& into)
{
    if (value.is_null())
        return {};
    return readText(value, into.emplace());
}

Status readBool(const Json& value, bool& into)
{
    if (!value.is_boolean())
        return wrongType("true or false", value);
    into = value.get<bool>();
    return {};
}

Status readPatterns(const Json& value, std::vector<std::string>& into)
{
    if (!value.is_array())
        return wrongType("a list of patterns", value);
    for (const Json& pattern : value) {
        if (!pattern.is_string())
            return wrongType("a list of patterns", pattern);
        into.push_back(pattern.get<std::string>());
    }
    return {};
}

// A number of bytes, or text with a unit.
Status readSize(const Json& value, std::uint64_t& into)
{
    if (value.is_number_unsigned())
        into = value.get<std::uint64_t>();
    else if (value.is_string())
        into = parseSize(value.get<std::string>());
    else
        return wrongType("bytes, or text with a unit such as \"5GB\"", value);
    if (into == 0)
        return Error{ErrorCode::Refused, fmt::format("{} is no size; write bytes, or text with a unit such as \"5GB\"", printable(value.dump()))};
    return {};
}

Status readMaxShard(const Json& value, ConvertRequest& into)
{
    if (value.is_null())
        return {};
    return readSize(value, into.maxShardBytes.emplace());
}

Status readThreads(const Json& value, ConvertRequest& into)
{
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > 1024)
        return Error{ErrorCode::Refused, fmt::format("{}, and 0 (as many as there are) to 1024 are allowed", printable(value.dump()))};
    into.threads = value.get<std::uint32_t>();
    return {};
}

// A count of ranks or a stage: 1 to `most`.
Status readCount(const Json& value, std::uint64_t most, std::optional<std::uint32_t>& into, std::uint64_t least = 1)
{
    if (value.is_null())
        return {};
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() < least || value.get<std::uint64_t>() > most)
        return Error{ErrorCode::Refused, fmt::format("{}, and {} to {} are allowed", printable(value.dump()), least, groupedText(most))};
    into = value.get<std::uint32_t>();
    return {};
}

Status readSelect(const Json& value, ConvertRequest& into)
{
    std::string name;
    SHARDLENS_TRY(readText(value, name));
    const auto select = selectByName(name);
    if (!select)
        return Error{ErrorCode::Refused, fmt::format("{} is none of weights, module, optimizer, all", printable(name))};
    into.select = *select;
    return {};
}

Status readDType(const Json& value, ConvertRequest& into)
{
    if (value.is_null())
        return {};
    std::string name;
    SHARDLENS_TRY(readText(value, name));
    into.dtype = dtypeByName(name);
    if (!into.dtype)
        return Error{ErrorCode::Refused, fmt::format("{} is no dtype; F32, F16 and BF16 are", printable(name))};
    return {};
}

Status readGroups(const Json& value, ConvertRequest& into)
{
    if (value.is_null())
        return {};
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() == 0)
        return Error{ErrorCode::Refused, fmt::format("{} is no number of groups", printable(value.dump()))};
    into.quantize.groups = value.get<std::uint64_t>();
    return {};
}

Status readNonFinite(const Json& value, ConvertRequest& into)
{
    std::string name;
    SHARDLENS_TRY(readText(value, name));
    if (name != "refuse" && name != "keep")
        return Error{ErrorCode::Refused, fmt::format("{} is none of refuse, keep", printable(name))};
    into.quantize.keepNonFinite = name == "keep";
    return {};
}

Status readDevice(const Json& value, ConvertRequest& into)
{
    SHARDLENS_TRY(readText(value, into.device));
    if (!isDeviceText(into.device))
        return Error{ErrorCode::Refused, fmt::format("{} is none of auto, cpu, cuda:N", printable(into.device))};
    return {};
}

Status readOutputFormat(const Json& value, ConvertRequest& into)
{
    SHARDLENS_TRY(readOptionalText(value, into.outputFormat));
    if (into.outputFormat && *into.outputFormat != "ckpt" && *into.outputFormat != "safetensors" && *into.outputFormat != "bin")
        return Error{ErrorCode::Refused, fmt::format("{} is none of ckpt, safetensors, bin", printable(*into.outputFormat))};
    return {};
}

std::optional<std::uint32_t> rankNumber(std::string_view text)
{
    std::uint64_t out = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (failed != std::errc{} || end != text.data() + text.size() || out > kMostRankNumber)
        return std::nullopt;
    return static_cast<std::uint32_t>(out);
}

Status readRankFiles(const Json& value, ConvertRequest& into)
{
    if (!value.is_object())
        return wrongType("an object of rank numbers and paths", value);
    for (const auto& [number, path] : value.items()) {
        const auto rank = rankNumber(number);
        if (!rank)
            return Error{ErrorCode::Refused, fmt::format("{} is no number of a rank", printable(number))};
        if (into.open.rankFiles.contains(*rank))
            return Error{ErrorCode::Refused, fmt::format("rank {} is there twice", *rank)};
        SHARDLENS_TRY(readText(path, into.open.rankFiles[*rank]));
    }
    return {};
}

constexpr std::array<Member, 38> kMembers{{
    {"source", [](const Json& v, ConvertRequest& r) { return readText(v, r.source); }},
    {"target", [](const Json& v, ConvertRequest& r) { return readText(v, r.target); }},
    {"to", [](const Json& v, ConvertRequest& r) { return readOptionalText(v, r.to); }},
    {"tag", [](const Json& v, ConvertRequest& r) { return readOptionalText(v, r.open.tag); }},
    {"select", readSelect},
    {"dtype", readDType},
    {"include", [](const Json& v, ConvertRequest& r) { return readPatterns(v, r.include); }},
    {"exclude", [](const Json& v, ConvertRequest& r) { return readPatterns(v, r.exclude); }},
    {"dequantize", [](const Json& v, ConvertRequest& r) { return readBool(v, r.open.dequantize); }},
    {"quantize", [](const Json& v, ConvertRequest& r) { return readOptionalText(v, r.quantize.scheme); }},
    {"quantize_include", [](const Json& v, ConvertRequest& r) { return readPatterns(v, r.quantize.include); }},
    {"quantize_exclude", [](const Json& v, ConvertRequest& r) { return readPatterns(v, r.quantize.exclude); }},
    {"tensor_types", [](const Json& v, ConvertRequest& r) { return readPatterns(v, r.quantize.tensorTypes); }},
    {"groups", readGroups},
    {"quantize_bits", [](const Json& v, ConvertRequest& r) { return readCount(v, 8, r.quantize.bits, 2); }},
    {"mlp_extra_grouping", [](const Json& v, ConvertRequest& r) { return readBool(v, r.quantize.mlpExtraGrouping); }},
    {"non_finite", readNonFinite},
    {"max_shard_size", readMaxShard},
    {"memory_limit", [](const Json& v, ConvertRequest& r) { return readSize(v, r.memoryLimit); }},
    {"threads", readThreads},
    {"device", readDevice},
    {"module_key", [](const Json& v, ConvertRequest& r) { return readOptionalText(v, r.open.moduleKey); }},
    {"rules", [](const Json& v, ConvertRequest& r) { return readOptionalText(v, r.open.rules); }},
    {"source_strategy", [](const Json& v, ConvertRequest& r) { return readOptionalText(v, r.open.sourceStrategy); }},
    {"strategy", [](const Json& v, ConvertRequest& r) { return readOptionalText(v, r.strategy); }},
    {"prefix", [](const Json& v, ConvertRequest& r) { return readOptionalText(v, r.prefix); }},
    {"output_format", readOutputFormat},
    {"rank_files", readRankFiles},
    {"dp", [](const Json& v, ConvertRequest& r) { return readCount(v, 65'536, r.dp); }},
    {"tp", [](const Json& v, ConvertRequest& r) { return readCount(v, 65'536, r.tp); }},
    {"pp", [](const Json& v, ConvertRequest& r) { return readCount(v, 65'536, r.pp); }},
    {"ep", [](const Json& v, ConvertRequest& r) { return readCount(v, 65'536, r.ep); }},
    {"rank", [](const Json& v, ConvertRequest& r) { return readCount(v, kMostRankNumber, r.rank, 0); }},
    {"zero_stage", [](const Json& v, ConvertRequest& r) { return readCount(v, 3, r.zeroStage); }},
    {"keep_objects", [](const Json& v, ConvertRequest& r) { return readBool(v, r.keepObjects); }},
    {"verify", [](const Json& v, ConvertRequest& r) { return readBool(v, r.verify); }},
    {"overwrite", [](const Json& v, ConvertRequest& r) { return readBool(v, r.overwrite); }},
    {"$schema", [](const Json&, ConvertRequest&) { return Status{}; }},
}};

constexpr const char* kVersionMember = "shardlens_job";

Status readVersion(const Json& document)
{
    const auto version = document.find(kVersionMember);
    if (version == document.end())
        return Error{ErrorCode::Refused, fmt::format("no job document: it has no member {}", kVersionMember)};
    if (!version->is_number_integer())
        return wrongType("an integer", *version).within(kVersionMember);
    if (*version != kJobVersion)
        return Error{ErrorCode::Unsupported, fmt::format("version {} of the job document, and this program reads version {}", version->dump(), kJobVersion)};
    return {};
}

Status readMember(const std::string& name, const Json& value, ConvertRequest& into)
{
    if (name == kVersionMember)
        return {};
    for (const Member& known : kMembers) {
        if (name != known.name)
            continue;
        Status status = known.read(value, into);
        if (!status)
            return status.takeError().within(name);
        return {};
    }
    return Error{ErrorCode::Refused, fmt::format("it has a member {} that this program does not know", printable(name))};
}

} // namespace

Result<ConvertRequest> requestFromJson(std::string_view text)
{
    SHARDLENS_ASSIGN(const Json document, parseJson(text, kLargestDocument, kDeepestDocument));
    if (!document.is_object())
        return wrongType("an object", document).within("the job document");
    SHARDLENS_TRY(readVersion(document));
    ConvertRequest out;
    for (const auto& [name, value] : document.items())
        SHARDLENS_TRY(readMember(name, value, out));
    for (const auto& [name, value] : {std::pair{"source", &out.source}, std::pair{"target", &out.target}})
        if (value->empty())
            return Error{ErrorCode::Refused, fmt::format("it has no member {}", name)};
    return out;
}

std::string requestToJson(const ConvertRequest& request)
{
    const ConvertRequest plain;
    Json out{{kVersionMember, kJobVersion}, {"source", request.source}, {"target", request.target}};
    if (request.to)
        out["to"] = *request.to;
    if (request.open.tag)
        out["tag"] = *request.open.tag;
    if (request.select)
        out["select"] = nameOf(*request.select);
    if (request.dtype)
        out["dtype"] = std::string(nameOf(*request.dtype));
    if (request.open.dequantize)
        out["dequantize"] = true;
    if (request.quantize.scheme)
        out["quantize"] = *request.quantize.scheme;
    for (const auto& [name, patterns] : {std::pair{"quantize_include", &request.quantize.include}, {"quantize_exclude", &request.quantize.exclude}, {"tensor_types", &request.quantize.tensorTypes}})
        if (!patterns->empty())
            out[name] = *patterns;
    if (request.quantize.groups)
        out["groups"] = *request.quantize.groups;
    if (request.quantize.bits)
        out["quantize_bits"] = *request.quantize.bits;
    if (!request.quantize.mlpExtraGrouping)
        out["mlp_extra_grouping"] = false;
    if (request.quantize.keepNonFinite)
        out["non_finite"] = "keep";
    if (!request.include.empty())
        out["include"] = request.include;
    if (!request.exclude.empty())
        out["exclude"] = request.exclude;
    if (request.maxShardBytes)
        out["max_shard_size"] = *request.maxShardBytes;
    if (request.memoryLimit != plain.memoryLimit)
        out["memory_limit"] = request.memoryLimit;
    if (request.threads != plain.threads)
        out["threads"] = request.threads;
    if (request.device != plain.device)
        out["device"] = request.device;
    for (const auto& [name, text] : {std::pair{"module_key", request.open.moduleKey}, {"rules", request.open.rules}, {"source_strategy", request.open.sourceStrategy},
                                     {"strategy", request.strategy}, {"prefix", request.prefix}, {"output_format", request.outputFormat}})
        if (text)
            out[name] = *text;
    for (const auto& [rank, path] : request.open.rankFiles)
        out["rank_files"][std::to_string(rank)] = path;
    for (const auto& [name, size] : {std::pair{"dp", request.dp}, {"tp", request.tp}, {"pp", request.pp}, {"ep", request.ep}, {"rank", request.rank}})
        if (size)
            out[name] = *size;
    if (request.zeroStage)
        out["zero_stage"] = *request.zeroStage;
    if (request.keepObjects)
        out["keep_objects"] = true;
    if (request.verify)
        out["verify"] = true;
    if (request.overwrite)
        out["overwrite"] = true;
    return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace shardlens
