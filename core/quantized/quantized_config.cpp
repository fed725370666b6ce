#include "core/quantized/quantized_config.h"

#include "core/base/text.h"
#include "core/encoding/json_document.h"
#include "core/io/byte_source.h"
#include "core/quantized/source_quantization.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLargestConfig = 16u << 20;
constexpr std::size_t kDeepestConfig = 64;
constexpr const char* kMember = "quantization_config";

Json arguments(const QuantScheme& scheme)
{
    Json out{{"num_bits", scheme.bits}, {"type", scheme.codes == CodeKind::Int ? "int" : "float"}, {"symmetric", scheme.symmetric}};
    switch (scheme.scope) {
    case ScaleScope::Tensor: out["strategy"] = "tensor"; break;
    case ScaleScope::Channel: out["strategy"] = "channel"; break;
    case ScaleScope::Block: out["strategy"] = "block"; break;
    default: out["strategy"] = scheme.scale == ScaleKind::E4M3 ? "tensor_group" : "group"; break;
    }
    out["dynamic"] = false;
    if (scheme.scope == ScaleScope::Group)
        out["group_size"] = scheme.group;
    if (scheme.scope == ScaleScope::Block)
        out["block_structure"] = {scheme.group, scheme.group};
    if (scheme.scale == ScaleKind::E8M0)
        out["scale_dtype"] = out["zp_dtype"] = "torch.uint8";
    if (scheme.scale == ScaleKind::E4M3)
        out["scale_dtype"] = out["zp_dtype"] = "torch.float8_e4m3fn";
    return out;
}

// What servers do with activations: 8-bit weights of bytes are multiplied in 8 bits.
Json activations(const QuantScheme& scheme)
{
    if (scheme.format != "int-quantized" && scheme.format != "float-quantized")
        return nullptr;
    Json out{{"num_bits", 8}, {"type", scheme.codes == CodeKind::Int ? "int" : "float"}, {"symmetric", true}, {"dynamic", true}};
    out["strategy"] = scheme.scope == ScaleScope::Block ? "group" : "token";
    if (scheme.scope == ScaleScope::Block)
        out["group_size"] = scheme.group;
    return out;
}

std::vector<const QuantScheme*> schemesOf(const QuantizeChoice& choice)
{
    std::vector<const QuantScheme*> out;
    for (const ChosenWeight& weight : choice.weights)
        if (std::find(out.begin(), out.end(), &weight.layout.scheme()) == out.end())
            out.push_back(&weight.layout.scheme());
    return out;
}

std::string moduleOf(const std::string& name)
{
    return name.ends_with(kWeightSuffix) ? name.substr(0, name.size() - kWeightSuffix.size()) : name;
}

Json compressedTensors(const QuantizeChoice& choice)
{
    const std::vector<const QuantScheme*> schemes = schemesOf(choice);
    Json groups = Json::object();
    for (std::size_t i = 0; i < schemes.size(); ++i) {
        Json targets = Json::array();
        if (schemes.size() == 1)
            targets.push_back("Linear");
        else // each module by its name: what a pattern says here is not what it says to a server
            for (const ChosenWeight& weight : choice.weights)
                if (&weight.layout.scheme() == schemes[i])
                    targets.push_back(moduleOf(weight.name));
        groups[fmt::format("group_{}", i)] = {{"targets", std::move(targets)}, {"weights", arguments(*schemes[i])}, {"input_activations", activations(*schemes[i])}, {"output_activations", nullptr}, {"format", schemes[i]->format}};
    }
    const bool isOne = std::all_of(schemes.begin(), schemes.end(), [&](const QuantScheme* one) { return one->format == schemes.front()->format; });
    return {{"quant_method", "compressed-tensors"}, {"format", isOne ? std::string(schemes.front()->format) : "mixed-precision"}, {"quantization_status", "compressed"}, {"kv_cache_scheme", nullptr}, {"global_compression_ratio", nullptr},
            {"config_groups", std::move(groups)}, {"ignore", choice.ignored}};
}

Json bitsAndBytes(const QuantizeChoice& choice, std::optional<DType> dtype)
{
    const QuantScheme& scheme = choice.weights.front().layout.scheme();
    const bool four = scheme.codes == CodeKind::Book;
    Json skipped = nullptr; // the loader's own list is the head
    if (choice.ignored.size() > 1 || (choice.ignored.size() == 1 && choice.ignored.front() != "lm_head"))
        skipped = choice.ignored;
    return {{"quant_method", "bitsandbytes"}, {"_load_in_4bit", four}, {"_load_in_8bit", !four}, {"load_in_4bit", four}, {"load_in_8bit", !four}, {"bnb_4bit_quant_type", four ? std::string(scheme.format) : "fp4"},
            {"bnb_4bit_use_double_quant", false}, {"bnb_4bit_compute_dtype", dtype == DType::F16 ? "float16" : dtype == DType::F32 ? "float32" : "bfloat16"}, {"bnb_4bit_quant_storage", "uint8"}, {"llm_int8_threshold", 6.0}, {"llm_int8_skip_modules", skipped},
            {"llm_int8_enable_fp32_cpu_offload", false}, {"llm_int8_has_fp16_weight", false}};
}

Json configOf(const QuantizeChoice& choice, const QuantizeOptions& options)
{
    switch (choice.weights.front().layout.scheme().family) {
    case QuantFamily::CompressedTensors: return compressedTensors(choice);
    case QuantFamily::BitsAndBytes: return bitsAndBytes(choice, options.dtype);
    case QuantFamily::DeepSpeed: return {{"quant_method", "deepspeed-int8"}, {"bits", options.parameters.bits}, {"groups", options.parameters.pieces}}; // our own: no loader reads it
    }
    return {};
}

Result<Json> parseConfig(std::string_view source)
{
    auto parsed = parseJson(source, kLargestConfig, kDeepestConfig);
    if (!parsed)
        return parsed.takeError().within("config.json");
    if (!parsed->is_object())
        return Error{ErrorCode::Corrupt, "no JSON object"}.within("config.json");
    return parsed;
}

const Json* quantizationOf(const Json& config)
{
    for (const char* member : {kMember, "compression_config"})
        if (const auto at = config.find(member); at != config.end() && at->is_object())
            return &*at;
    if (const auto text = config.find("text_config"); text != config.end() && text->is_object())
        return quantizationOf(*text);
    return nullptr;
}

} // namespace

QuantizationConfig::QuantizationConfig() = default;
QuantizationConfig::~QuantizationConfig() = default;
QuantizationConfig::QuantizationConfig(QuantizationConfig&&) noexcept = default;
QuantizationConfig& QuantizationConfig::operator=(QuantizationConfig&&) noexcept = default;

Result<std::optional<std::string>> readConfigText(const Checkpoint& checkpoint)
{
    const std::string path = checkpoint.folder() + "/config.json";
    const auto file = FileSource::open(path);
    if (!file && file.error().code() == ErrorCode::NotFound)
        return std::optional<std::string>();
    if (!file)
        return Error{file.error().code(), file.error().message()}.within("config.json");
    auto bytes = readBytes(**file, 0, (*file)->size(), kLargestConfig);
    if (!bytes)
        return bytes.takeError().within("config.json");
    return std::optional(std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()));
}

QuantizationConfig readQuantizationConfig(const Checkpoint& checkpoint)
{
    QuantizationConfig out;
    const auto text = readConfigText(checkpoint);
    if (text && !*text)
        return out;
    out.hasFile = true;
    const auto parsed = text ? parseConfig(**text) : Result<Json>(Error{text.error()});
    if (!parsed) {
        out.problem = parsed.error().sentence();
        return out;
    }
    const Json* const found = quantizationOf(*parsed);
    if (found == nullptr)
        return out;
    const auto method = found->find("quant_method");
    out.method = method != found->end() && method->is_string() ? method->get<std::string>() : found->contains("config_groups") ? "compressed-tensors" : "";
    out.json = std::make_unique<Json>(*found);
    return out;
}

namespace {

// In all places where loaders look for it.
void removeQuantization(Json& config)
{
    config.erase(kMember);
    config.erase("compression_config");
    if (const auto text = config.find("text_config"); text != config.end() && text->is_object())
        text->erase(kMember);
}

// The dtype that tensors are cast to, where the configuration says one.
void setDType(Json& config, std::optional<DType> dtype)
{
    const char* const name = !dtype ? nullptr : *dtype == DType::F32 ? "float32" : *dtype == DType::F16 ? "float16" : *dtype == DType::BF16 ? "bfloat16" : nullptr;
    if (name == nullptr)
        return;
    for (const char* key : {"torch_dtype", "dtype"})
        if (config.contains(key) && config[key].is_string())
            config[key] = name;
    if (const auto text = config.find("text_config"); text != config.end() && text->is_object())
        setDType(*text, dtype);
}

} // namespace

Result<std::string> quantizedConfigText(const QuantizeChoice& choice, const QuantizeOptions& options, std::string_view source)
{
    Json config = Json::object();
    if (!source.empty()) {
        SHARDLENS_ASSIGN(config, parseConfig(source));
        removeQuantization(config);
    }
    setDType(config, options.dtype);
    config[kMember] = configOf(choice, options);
    return config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<std::string> plainConfigText(std::string_view source, std::optional<DType> dtype)
{
    SHARDLENS_ASSIGN(Json config, parseConfig(source));
    removeQuantization(config);
    setDType(config, dtype);
    return config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace shardlens
