#pragma once

#include "core/encoding/dcp_metadata.h"
#include "core/model/checkpoint.h"

#include <functional>
#include <string>
#include <vector>

namespace shardlens::dcp {

// What a value of the saved state is called (conformance/README.md, "Trees").
struct StateName {
    std::string parameter;
    RoleKind role = RoleKind::Weight; // Weight, OptimizerState or Other
    std::string state;                // of an optimizer: "exp_avg"
};

// Which branches of the saved state are the model and the optimizer, decided for all of it.
class StateNames {
public:
    // `holdsTensor` says of an object of its own whether tensors are in it; asked only where that decides.
    StateNames(const DcpMetadata& metadata, const std::function<bool(const DcpEntry&)>& holdsTensor);

    // Of a tensor, or of a number of an optimizer.
    [[nodiscard]] StateName of(const DcpEntry& entry) const;
    // Of a tensor inside the object of an entry: `inside` is its path there.
    [[nodiscard]] StateName inside(const DcpEntry& entry, const std::string& inside) const;
    // Whether the entry lies among an optimizer's states, where plain numbers count as tensors.
    [[nodiscard]] bool isOptimizerState(const DcpEntry& entry) const;

private:
    std::string m_model;     // empty: all tensors outside the optimizer are weights
    std::string m_optimizer; // empty without one
    bool m_manyOptimizers = false; // a list of several: their numbers stand before the parameters
};

} // namespace shardlens::dcp
