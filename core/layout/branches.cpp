#include "core/layout/branches.h"

namespace shardlens {

bool isModelBranch(std::string_view key)
{
    return key == "model" || key == "state_dict" || key == "model_state_dict";
}

bool isOptimizerBranch(std::string_view key)
{
    return key == "optim" || key == "optimizer" || key == "optimizer_state_dict" || key == "optimizer_states";
}

} // namespace shardlens
