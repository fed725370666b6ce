#pragma once

#include "core/base/regex.h"
#include "core/base/result.h"
#include "core/layout/selection.h"
#include "core/model/checkpoint.h"
#include "core/numeric/quant_engine.h"
#include "core/numeric/quant_scheme.h"

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shardlens {

constexpr std::string_view kWeightSuffix = ".weight"; // of a module's weight

// Which tensors are to be quantized, and how.
struct QuantizeOptions {
    const QuantScheme* scheme = nullptr;                               // of all that are taken; nothing: those that `overrides` name
    std::vector<std::pair<Regex, const QuantScheme*>> overrides;       // --tensor-type: the first that matches counts, and takes the tensor too
    std::vector<Regex> include;                                        // instead of the rule for Linear weights
    std::vector<Regex> exclude;
    QuantParameters parameters;
    std::optional<DType> dtype;  // weights are cast to it first: arithmetic is done in it
    Select select = Select::Weights; // Weights or Module
    std::set<TensorId> left;         // not to be taken, whatever their names are
    std::optional<std::set<TensorId>> only; // of these alone; nothing: of all
    std::uint64_t mostBytes = 8u << 20; // of source values that a thread may hold
    std::shared_ptr<const QuantEngine> engine; // that does the arithmetic; nothing: the processor
};

// A tensor of a checkpoint that becomes a quantized one.
struct ChosenWeight {
    TensorId tensor{};
    std::string name;
    QuantLayout layout;
};

struct QuantizeChoice {
    std::vector<ChosenWeight> weights; // in the checkpoint's order
    std::vector<std::string> ignored;  // modules of Linear weights that are left as they are, sorted behind lm_head; for servers' configuration
    std::size_t leftModules = 0;       // of those, that are there: lm_head is said even where there is none
    std::vector<std::size_t> overridden; // how many tensors each override takes
    std::vector<std::string> integers; // names that were asked for by a pattern, and are of no floating-point dtype: left alone
};

// The weights of Linear layers, as far as names tell (conformance/quantization/README.md): "….weight" without a part that says embedding, norm, head or router.
[[nodiscard]] bool isLinearWeightName(std::string_view name);

// A name that is the same for weights that servers make one of (q_proj, k_proj and v_proj of a layer), and for no others; empty for all others.
[[nodiscard]] std::string fusedFamilyOf(const std::string& name);

// Whether a part of the name says embedding or norm.
[[nodiscard]] bool isOtherWeightName(std::string_view name);

// Refused: a weight that its scheme cannot hold, by name; nothing to quantize; a checkpoint that is quantized already.
[[nodiscard]] Result<QuantizeChoice> chooseWeights(const Checkpoint& checkpoint, const QuantizeOptions& options);

} // namespace shardlens
