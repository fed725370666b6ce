#pragma once

#include "core/convert/plan_checks.h"
#include "core/convert/plan_shards.h"
#include "core/convert/plan_tensors.h"
#include "core/encoding/dcp_metadata.h"

#include <vector>

namespace shardlens {

// One file with a place for each of its tensors. `shard` lists positions in `tensors`.
[[nodiscard]] Result<PlannedFile> planSafetensorsFile(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const Shard& shard);
[[nodiscard]] Result<PlannedFile> planTorchFile(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const Shard& shard, const std::string& name);

// Where tensors stand in the saved state of a DCP directory: flat under their names, or, where optimizer states are among them, as trainers nest them
// (formats/pytorch.md §9.3): model.NAME, optimizer.state.NAME.STATE. Source and tensors must outlive it.
class DcpKeys {
public:
    DcpKeys(const Checkpoint& source, const std::vector<OutputTensor>& tensors, Select select);

    [[nodiscard]] std::vector<DcpStep> pathOf(const OutputTensor& tensor) const;
    // The name under which the tensor is read back.
    [[nodiscard]] std::string nameOf(const OutputTensor& tensor) const;

private:
    const Checkpoint& m_source;
    bool m_isNested = false;
};

// The data files of as many writers, and the .metadata: every tensor in rows of dimension 0.
[[nodiscard]] Result<std::vector<PlannedFile>> planDcpFiles(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const DcpKeys& keys, std::uint32_t writers);

} // namespace shardlens
