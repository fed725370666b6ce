#include "core/format/deepspeed/names.h"

#include <charconv>

namespace shardlens::deepspeed {
namespace {

// Reads a name from left to right; each step fails without moving.
class NameScanner {
public:
    explicit NameScanner(std::string_view text) : m_left(text) {}

    bool literal(std::string_view text)
    {
        if (!m_left.starts_with(text))
            return false;
        m_left.remove_prefix(text.size());
        return true;
    }

    bool number(std::uint32_t& out, std::size_t leastDigits = 1)
    {
        std::size_t digits = 0;
        while (digits < m_left.size() && m_left[digits] >= '0' && m_left[digits] <= '9')
            ++digits;
        if (digits < leastDigits || digits == 0)
            return false;
        const auto [end, problem] = std::from_chars(m_left.data(), m_left.data() + digits, out);
        if (problem != std::errc{})
            return false;
        m_left.remove_prefix(digits);
        return true;
    }

    [[nodiscard]] bool atEnd() const { return m_left.empty(); }
    [[nodiscard]] std::string_view left() const { return m_left; }

private:
    std::string_view m_left;
};

std::optional<FileName> modelFile(std::string_view name)
{
    NameScanner scan(name);
    FileName out{FileKind::Model, "", 0, 0};
    if (!scan.literal("mp_rank_") || !scan.number(out.mpRank, 2) || !scan.literal("_model_states.pt"))
        return std::nullopt;
    if (scan.atEnd())
        return out;
    out.kind = FileKind::Fragment; // "-<writer>.<writers>"
    std::uint32_t number = 0;
    if (scan.literal("-") && scan.number(number) && scan.literal(".") && scan.number(number) && scan.atEnd())
        return out;
    return std::nullopt;
}

// What PipelineModule.ckpt_prefix begins a name with: the coordinates without the data axis. It says nothing of how the name goes on.
std::optional<FileName> stageFile(std::string_view name)
{
    NameScanner scan(name);
    FileName out{FileKind::Model, "", 0, 0};
    std::uint32_t number = 0;
    if (!scan.literal("module-pipe_") || !scan.number(number, 2))
        return std::nullopt;
    out.pipe = number;
    NameScanner behind = scan; // "-model_states" begins as "-model_01" does
    if (behind.literal("-model_") && behind.number(number, 2)) {
        out.model = number;
        scan = behind;
    }
    if (!scan.literal("_model_states"))
        (void)scan.literal("-model_states");
    return scan.left() == ".pt" ? std::optional(out) : std::nullopt;
}

std::optional<FileName> zeroFile(std::string_view name)
{
    NameScanner scan(name);
    FileName out{FileKind::Optimizer, "", 0, 0};
    if (scan.literal("bf16_"))
        out.prefix = "bf16_";
    else if (scan.literal("fp16_"))
        out.prefix = "fp16_";
    if (!scan.literal("zero_pp_rank_") || !scan.number(out.dpRank) || !scan.literal("_mp_rank_") || !scan.number(out.mpRank, 2))
        return std::nullopt;
    if (scan.left() == "_optim_states.pt" || scan.left() == "optim_states.pt")
        return out;
    out.kind = FileKind::ModelStage3;
    if (out.prefix.empty() && scan.left() == "_model_states.pt")
        return out;
    return std::nullopt;
}

std::optional<FileName> expertFile(std::string_view name)
{
    NameScanner scan(name);
    FileName out{FileKind::Expert, "", 0, 0};
    if (scan.literal("layer_") && (!scan.number(out.layer.emplace()) || !scan.literal("_")))
        return std::nullopt;
    if (scan.literal("expert_") && scan.number(out.expert) && scan.literal("_mp_rank_") && scan.number(out.mpRank, 2) &&
        scan.left() == "_model_states.pt")
        return out;
    return std::nullopt;
}

std::optional<FileName> moeOptimizerFile(std::string_view name)
{
    NameScanner scan(name);
    FileName out{FileKind::MoeOptimizer, "", 0, 0};
    if (scan.literal("expp_rank_") && scan.number(out.dpRank) && scan.literal("_mp_rank_") && scan.number(out.mpRank, 2) &&
        scan.left() == "_optim_states.pt")
        return out;
    return std::nullopt;
}

std::optional<FileName> pipelineFile(std::string_view name)
{
    NameScanner scan(name);
    std::uint32_t layer = 0;
    if (!scan.literal("layer_") || !scan.number(layer, 2) || !name.ends_with("-model_states.pt"))
        return std::nullopt;
    FileName out{FileKind::PipelineLayer, "", 0, 0};
    out.layer = layer;
    std::uint32_t model = 0;
    if (scan.literal("-model_") && scan.number(model, 2))
        out.model = model;
    return out;
}

} // namespace

std::optional<FileName> classify(std::string_view name)
{
    if (name == "ds_inference_config.json")
        return FileName{FileKind::Inference, "", 0, 0};
    for (const auto& reader : {modelFile, stageFile, zeroFile, expertFile, moeOptimizerFile, pipelineFile})
        if (auto out = reader(name))
            return out;
    return std::nullopt;
}

} // namespace shardlens::deepspeed
