#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shardlens::deepspeed {

// What a file of a tag folder is by its name (formats/deepspeed.md §1.2, §1.3).
enum class FileKind : std::uint8_t {
    Model,        // mp_rank_00_model_states.pt: stages 0, 1, 2; or by its coordinates: module-pipe_00-model_01_model_states.pt
    ModelStage3,  // zero_pp_rank_0_mp_rank_00_model_states.pt
    Optimizer,    // [bf16_]zero_pp_rank_0_mp_rank_00_optim_states.pt, or without the underscore before optim (≤ 0.3.13)
    Expert,       // layer_0_expert_5_mp_rank_00_model_states.pt, expert_5_mp_rank_00_model_states.pt
    MoeOptimizer, // expp_rank_0_mp_rank_00_optim_states.pt
    PipelineLayer,
    Inference,
    Fragment, // of the parallel writer: mp_rank_00_model_states.pt-0.2
};

struct FileName {
    FileKind kind;
    std::string prefix;        // "", "bf16_", "fp16_"
    std::uint32_t dpRank = 0;  // data-parallel rank (`pp_rank` in the name); of a MoeOptimizer the expert-parallel rank
    std::uint32_t mpRank = 0;  // pipeline × tensor
    std::optional<std::uint32_t> layer{}; // of an expert: the number of its mixture-of-experts module; 0.5.x writes none
    std::uint32_t expert = 0;             // its number in the whole model
    std::optional<std::uint32_t> model{}; // of a pipeline layer (its number is `layer`): the tensor-parallel rank, where the topology has a model axis
    std::optional<std::uint32_t> pipe{};  // of a Model named by PipelineModule.ckpt_prefix: the stage; mpRank then is not known from the name alone
};

// nullopt for any other name.
[[nodiscard]] std::optional<FileName> classify(std::string_view name);

} // namespace shardlens::deepspeed
