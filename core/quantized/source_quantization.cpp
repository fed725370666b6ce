#include "core/quantized/source_quantization.h"

#include "core/base/text.h"
#include "core/model/checkpoint_builder.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <unordered_map>

namespace shardlens {
namespace {

using Kind = StoredWeight::Kind;

constexpr std::size_t kMostUnread = 3; // named in a finding
constexpr std::uint64_t kWordBits = 32;
constexpr std::uint64_t kLargestGroup = 1ull << 40;
constexpr std::string_view kState = ".quant_state.bitsandbytes__";

// What config.json says of integer codes, where it says one thing of all weights.
struct WeightRule {
    std::uint64_t bits = 0;
    std::uint64_t group = 0; // of the strategy "group"
    std::string strategy;
};

std::optional<WeightRule> weightRuleOf(const QuantizationConfig& config)
{
    if (config.json == nullptr || config.method != "compressed-tensors" || !config.json->contains("config_groups"))
        return std::nullopt;
    const auto& groups = (*config.json)["config_groups"];
    if (!groups.is_object() || groups.size() != 1 || !groups.front().is_object() || !groups.front().contains("weights") || !groups.front()["weights"].is_object())
        return std::nullopt;
    const auto& weights = groups.front()["weights"];
    const auto numberOf = [&weights](const char* key) { return weights.contains(key) && weights[key].is_number_unsigned() ? weights[key].get<std::uint64_t>() : 0; };
    const auto textOf = [&weights](const char* key) { return weights.contains(key) && weights[key].is_string() ? weights[key].get<std::string>() : std::string(); };
    WeightRule out{numberOf("num_bits"), 0, textOf("strategy")};
    if (out.strategy == "group")
        out.group = numberOf("group_size");
    if (textOf("type") != "int" || out.bits == 0 || out.bits > 8 || (out.strategy == "group" && (out.group == 0 || out.group > kLargestGroup)))
        return std::nullopt;
    return out;
}

// Looks for the parts of weights by their names.
class Finder {
public:
    Finder(const Checkpoint& checkpoint, const QuantizationConfig& config) : m_checkpoint(checkpoint), m_config(config), m_rule(weightRuleOf(config))
    {
        for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
            const auto id = idAt<TensorId>(i);
            const RoleKind role = checkpoint.roleOf(id).kind;
            if (role == RoleKind::Weight || role == RoleKind::Buffer)
                m_byName.emplace(checkpoint.parameterOf(id), id);
        }
    }

    std::vector<StoredWeight> run()
    {
        for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i)
            look(idAt<TensorId>(i));
        return std::move(m_out);
    }

private:
    [[nodiscard]] TensorId find(const std::string& name) const
    {
        const auto at = m_byName.find(name);
        return at == m_byName.end() ? kNoTensor : at->second;
    }

    // Takes the tensor of that name, where there is one, as a part.
    TensorId take(StoredWeight& weight, const std::string& name) const
    {
        const TensorId id = find(name);
        if (id != kNoTensor)
            weight.parts.push_back(id);
        return id;
    }

    void look(TensorId id)
    {
        const std::string& name = m_checkpoint.parameterOf(id);
        const DType dtype = m_checkpoint.tensor(id).dtype;
        if (find(name) != id)
            return;
        if (name.ends_with("_packed") && (dtype == DType::I32 || dtype == DType::U8))
            addPacked(id, name.substr(0, name.size() - std::string_view("_packed").size()));
        else if (name.ends_with(".qweight") && dtype == DType::I32)
            addWords(id, name.substr(0, name.size() - std::string_view("qweight").size()));
        else if (name.ends_with(".W_q"))
            addUnread(id, name, "hqq", {}, "HQQ's packed weights are recognised and not taken apart");
        else if (dtype == DType::I8 || dtype == DType::F8E4M3)
            addBytes(id, name);
        else if (dtype == DType::U8)
            addBook(id, name);
    }

    void addUnread(TensorId id, const std::string& name, std::string method, std::initializer_list<std::string> others, std::string problem)
    {
        StoredWeight weight{.kind = Kind::Unread, .name = name, .method = std::move(method), .codes = id, .parts = {id}, .problem = std::move(problem)};
        for (const std::string& other : others)
            take(weight, other);
        m_out.push_back(std::move(weight));
    }

    void addWords(TensorId id, const std::string& module)
    {
        const TensorId zeros = find(module + "qzeros");
        if (zeros == kNoTensor && find(module + "scales") == kNoTensor)
            return;
        const bool isGptq = find(module + "g_idx") != kNoTensor;
        addUnread(id, module + "weight", isGptq ? "gptq" : "awq", {module + "qzeros", module + "scales", module + "g_idx"},
                  fmt::format("{} words are recognised and not taken apart", isGptq ? "GPTQ's" : "AWQ's"));
    }

    void addPacked(TensorId id, const std::string& name)
    {
        StoredWeight weight{.kind = Kind::Int, .name = name, .method = "compressed-tensors", .codes = id, .parts = {id}};
        weight.scale = take(weight, name + "_scale");
        weight.zeroPoint = take(weight, name + "_zero_point");
        weight.shape = take(weight, name + "_shape");
        weight.globalScale = take(weight, name + "_global_scale");
        const bool hasOrder = take(weight, name + "_g_idx") != kNoTensor;
        if (m_rule && m_checkpoint.tensor(id).dtype == DType::I32) {
            weight.saidBits = m_rule->bits;
            weight.saidGroup = m_rule->group;
            weight.saidChannel = m_rule->strategy == "channel";
        }
        if (m_checkpoint.tensor(id).dtype == DType::U8)
            weight.kind = Kind::E2M1;
        if (weight.scale == kNoTensor)
            weight.problem = fmt::format("it has no {}_scale", printable(name));
        else if (hasOrder)
            weight.problem = "its groups are in an order of their own (weight_g_idx), which is not read";
        else if (weight.kind == Kind::E2M1)
            describeFloat4(weight);
        else if (weight.shape == kNoTensor)
            weight.problem = fmt::format("it has no {}_shape", printable(name));
        else if (weight.problem = contradiction(weight); weight.problem.empty())
            weight.scheme = fmt::format("int{}-{}{}", wordBits(weight), groupText(weight, 0), weight.zeroPoint == kNoTensor ? "" : "-asym");
        m_out.push_back(std::move(weight));
    }

    void describeFloat4(StoredWeight& weight) const
    {
        const DType scale = m_checkpoint.tensor(weight.scale).dtype;
        if (scale == DType::F8E4M3 && weight.globalScale != kNoTensor)
            weight.scheme = "nvfp4";
        else if ((scale == DType::U8 || scale == DType::F8E8M0) && weight.globalScale == kNoTensor)
            weight.scheme = "mxfp4";
        else
            weight.problem = fmt::format("its scale is {} {} a scale of the whole tensor: neither NVFP4 nor MXFP4", nameOf(scale), weight.globalScale == kNoTensor ? "without" : "with");
    }

    // Where config.json says groups that the scales are not of: one of them is wrong, and values would be as well.
    [[nodiscard]] std::string contradiction(const StoredWeight& weight) const
    {
        const Shape& words = m_checkpoint.tensor(weight.codes).shape;
        const Tensor& scale = m_checkpoint.tensor(weight.scale);
        if (!m_rule || m_rule->strategy != "group" || words.size() != 2 || words[1] == 0 || scale.shape.size() != 2 || kWordBits % m_rule->bits != 0)
            return {};
        const std::uint64_t ofWord = kWordBits / m_rule->bits;
        const std::uint64_t least = ((words[1] - 1) * ofWord + m_rule->group) / m_rule->group; // the last word may hold fewer codes
        const std::uint64_t most = (words[1] * ofWord + m_rule->group - 1) / m_rule->group;
        if (scale.shape[1] >= least && scale.shape[1] <= most)
            return {};
        return fmt::format("config.json says {} bits and groups of {}, and {} is {} with codes {}", m_rule->bits, m_rule->group, printable(m_checkpoint.parameterOf(weight.scale)), shapeText(scale.shape), shapeText(words));
    }

    // Codes' bits as the configuration says them, else as the usual sizes of groups would have it.
    [[nodiscard]] unsigned wordBits(const StoredWeight& weight) const
    {
        if (m_rule)
            return static_cast<unsigned>(m_rule->bits);
        const Shape& words = m_checkpoint.tensor(weight.codes).shape;
        const Shape& scales = m_checkpoint.tensor(weight.scale).shape;
        if (words.size() != 2 || scales.size() != 2 || scales[1] == 0)
            return 4;
        const std::uint64_t bits = words[1] * 32 / scales[1]; // of a group
        return scales[1] == 1 ? 4 : bits % 8 == 0 && (bits / 8 == 128 || bits / 8 == 256) ? 8 : 4;
    }

    [[nodiscard]] std::string groupText(const StoredWeight& weight, std::uint64_t columns) const
    {
        const Shape& scales = m_checkpoint.tensor(weight.scale).shape;
        if (m_rule && (m_rule->strategy == "channel" || m_rule->strategy == "group")) // rows of one group, or one row, look like others
            return m_rule->strategy == "group" ? fmt::format("g{}", m_rule->group) : "channel";
        if (scales.size() < 2)
            return scales.empty() || scales[0] == 1 ? "tensor" : "channel";
        if (scales[1] == 1)
            return "channel";
        const Shape& codes = m_checkpoint.tensor(weight.codes).shape;
        const std::uint64_t all = columns != 0 ? columns : codes.size() == 2 ? codes[1] * 32 / wordBits(weight) : 0;
        return fmt::format("g{}", all / scales[1]);
    }

    void addBytes(TensorId id, const std::string& name)
    {
        const Tensor& codes = m_checkpoint.tensor(id);
        StoredWeight weight{.kind = codes.dtype == DType::I8 ? Kind::Int : Kind::E4M3, .name = name, .method = "compressed-tensors", .codes = id, .parts = {id}};
        const std::string module = name.substr(0, name.size() - std::min(name.size(), std::string_view("weight").size()));
        if (codes.dtype == DType::I8 && name.ends_with("weight") && find(module + "SCB") != kNoTensor)
            return addLlmInt8(std::move(weight), module);
        weight.scale = take(weight, name + "_scale");
        if (weight.scale == kNoTensor && codes.dtype == DType::F8E4M3) {
            weight.scale = take(weight, name + "_scale_inv");
            weight.method = "fp8";
            weight.scheme = "fp8-block128";
        }
        if (weight.scale == kNoTensor || (codes.dtype == DType::I8 && codes.shape.size() != 2 && m_config.method.empty()))
            return; // an integer tensor, or a plain cast
        weight.zeroPoint = take(weight, name + "_zero_point");
        take(weight, module + "input_scale");
        const Tensor& scale = m_checkpoint.tensor(weight.scale);
        const bool saysNothing = m_config.method.empty() && weight.zeroPoint == kNoTensor; // compressed-tensors' blocks look alike
        if (m_config.method == "deepspeed-int8" || (saysNothing && codes.dtype == DType::I8 && scale.dtype == DType::F32 && scale.shape.size() == 2 && scale.shape[0] == 1 && scale.shape[1] > 1))
            weight.method = weight.scheme = "deepspeed-int8";
        else if (weight.scheme.empty())
            weight.scheme = bytesScheme(weight, codes);
        m_out.push_back(std::move(weight));
    }

    [[nodiscard]] std::string bytesScheme(const StoredWeight& weight, const Tensor& codes) const
    {
        const Tensor& scale = m_checkpoint.tensor(weight.scale);
        if (codes.dtype == DType::F8E4M3 && (scale.dtype == DType::U8 || scale.dtype == DType::F8E8M0))
            return "mxfp8";
        const bool isBlocks = scale.shape.size() == 2 && codes.shape.size() == 2 && scale.shape[0] != codes.shape[0] && scale.shape[0] * scale.shape[1] > 1;
        const std::string group = isBlocks ? "block128" : groupText(weight, codes.shape.size() == 2 ? codes.shape[1] : 0);
        return fmt::format("{}-{}{}", codes.dtype == DType::I8 ? "int8" : "fp8", scale.shape.size() == 2 && scale.shape[0] == 1 && scale.shape[1] == 1 ? "tensor" : group,
                           weight.zeroPoint == kNoTensor ? "" : "-asym");
    }

    void addLlmInt8(StoredWeight weight, const std::string& module)
    {
        weight.kind = Kind::LlmInt8;
        weight.method = "bitsandbytes";
        weight.scheme = "llm-int8";
        weight.scale = take(weight, module + "SCB");
        weight.format = take(weight, module + "weight_format");
        m_out.push_back(std::move(weight));
    }

    void addBook(TensorId id, const std::string& name)
    {
        for (const std::string_view type : {"nf4", "fp4"}) {
            const std::string state = fmt::format("{}{}{}", name, kState, type);
            if (find(state) == kNoTensor)
                continue;
            StoredWeight weight{.kind = Kind::Book, .name = name, .scheme = std::string(type), .method = "bitsandbytes", .codes = id, .parts = {id}};
            weight.state = take(weight, state);
            weight.scale = take(weight, name + ".absmax");
            weight.book = take(weight, name + ".quant_map");
            weight.nestedScale = take(weight, name + ".nested_absmax");
            weight.nestedBook = take(weight, name + ".nested_quant_map");
            if (weight.nestedScale != kNoTensor)
                weight.scheme += "-nested";
            if (weight.scale == kNoTensor || weight.book == kNoTensor)
                weight.problem = fmt::format("it has no {}.{}", printable(name), weight.scale == kNoTensor ? "absmax" : "quant_map");
            m_out.push_back(std::move(weight));
            return;
        }
        if (find(name + ".absmax") != kNoTensor)
            addUnread(id, name, "bitsandbytes", {name + ".absmax", name + ".quant_map"}, fmt::format("it has no {}{}nf4 or __fp4, which says its shape", printable(name), kState));
    }

    const Checkpoint& m_checkpoint;
    const QuantizationConfig& m_config;
    std::optional<WeightRule> m_rule;
    std::unordered_map<std::string, TensorId> m_byName;
    std::vector<StoredWeight> m_out;
};

// Whether a look at the names alone says that there is nothing to find: most checkpoints.
bool mayBeQuantized(const Checkpoint& checkpoint)
{
    constexpr std::array<std::string_view, 8> kEnds{"_packed", "_scale", "_scale_inv", ".SCB", ".absmax", ".qweight", ".W_q", "bitsandbytes__nf4"};
    return std::any_of(checkpoint.parameters().begin(), checkpoint.parameters().end(), [&](const std::string& name) {
        return std::any_of(kEnds.begin(), kEnds.end(), [&](std::string_view end) { return name.ends_with(end); });
    });
}

std::string schemesText(const std::vector<StoredWeight>& weights)
{
    std::map<std::string, std::uint64_t> counts;
    for (const StoredWeight& weight : weights)
        ++counts[weight.scheme.empty() ? weight.method : weight.scheme];
    std::string out;
    for (const auto& [scheme, count] : counts)
        out += fmt::format("{}{} ({})", out.empty() ? "" : ", ", scheme, plural(count, "weight", "weights"));
    return out;
}

void addFindings(const std::vector<StoredWeight>& weights, const QuantizationConfig& config, CheckpointBuilder& builder)
{
    const std::string& method = weights.front().method;
    const auto warn = [&](const char* code, std::string text, TensorId tensor = kNoTensor) {
        builder.addFinding({Severity::Warning, code, std::move(text), tensor, kNoFile, std::nullopt});
    };
    if (!config.problem.empty())
        warn(kConfigFinding, config.problem);
    else if (config.method.empty() && method != "deepspeed-int8")
        warn(kConfigFinding, fmt::format("The weights are quantized as {} stores them, and {}: servers need its quantization_config to load them.", method,
                                                config.hasFile ? "config.json beside them does not say so" : "no config.json lies beside them"));
    else if (config.method.empty())
        builder.addFinding({Severity::Info, kConfigFinding, "No config.json says how many groups DeepSpeed's INT8 weights have: runs of equal length are taken, where their number allows it.", kNoTensor, kNoFile, std::nullopt});
    else if (config.method != method)
        warn(kConfigFinding, fmt::format("config.json says quant_method {}, and the tensors are those of {}.", printable(config.method), method));
    std::uint64_t unread = 0;
    for (const StoredWeight& weight : weights)
        if (!weight.problem.empty() && ++unread <= kMostUnread)
            warn(kWeightFinding, fmt::format("{} cannot be dequantized: {}.", printable(weight.name), weight.problem), weight.codes);
    if (unread > kMostUnread)
        warn(kWeightFinding, fmt::format("{} more quantized weights cannot be dequantized.", groupedText(unread - kMostUnread)));
}

} // namespace

std::vector<StoredWeight> findStoredWeights(const Checkpoint& checkpoint, const QuantizationConfig& config)
{
    return Finder(checkpoint, config).run();
}

CheckpointPtr describeQuantization(CheckpointPtr checkpoint)
{
    if (!mayBeQuantized(*checkpoint))
        return checkpoint;
    const QuantizationConfig config = readQuantizationConfig(*checkpoint);
    const std::vector<StoredWeight> weights = findStoredWeights(*checkpoint, config);
    if (weights.empty())
        return checkpoint;
    CheckpointBuilder builder(*checkpoint);
    builder.addFact(kQuantizedBy, config.method.empty() ? weights.front().method : config.method);
    builder.addFact(kQuantizedAs, schemesText(weights));
    addFindings(weights, config, builder);
    for (const StoredWeight& weight : weights)
        for (const TensorId part : weight.parts)
            builder.markQuantizedPart(part);
    return std::move(builder).finish();
}

} // namespace shardlens
