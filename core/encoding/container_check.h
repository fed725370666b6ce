#pragma once

#include "core/base/result.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"
#include "core/model/checkpoint.h"

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace shardlens {

// The checksums that the files of a checkpoint carry themselves: CRC-32 of every member of a zip archive (formats/pytorch.md §2.2). PyTorch does not look at
// them, so a flipped bit loads silently. Other containers have none.
class ContainerCheck {
public:
    static constexpr std::uint64_t kPartBytes = 32ull << 20;

    // Reads the directories of the archives. Files that cannot be opened now are left out: reading the tensors says so. `partBytes`: of a stored member that
    // one thread sums at a time.
    [[nodiscard]] static Result<ContainerCheck> prepare(const Checkpoint& checkpoint, JobContext& job, std::uint64_t partBytes = kPartBytes);
    // Only of the members that hold values of some tensors.
    [[nodiscard]] static Result<ContainerCheck> prepareFor(const Checkpoint& checkpoint, const std::vector<TensorId>& tensors, JobContext& job);
    ContainerCheck(ContainerCheck&&) noexcept;
    ContainerCheck& operator=(ContainerCheck&&) noexcept;
    ~ContainerCheck();

    // Bytes that run() reads.
    [[nodiscard]] std::uint64_t totalBytes() const;
    // A warning "checksum" a member whose bytes are not those that were written, with the tensors on it; an info "no-checksums" for archives whose writer
    // left all of them out. Advances the job by totalBytes() and counts what it reads.
    [[nodiscard]] Result<std::vector<Finding>> run(const Checkpoint& checkpoint, Executor& executor, JobContext& job) const;

private:
    struct Impl;
    using Places = std::map<FileId, std::vector<std::uint64_t>>; // where pieces begin, ascending
    [[nodiscard]] static Result<ContainerCheck> prepareAt(const Checkpoint& checkpoint, const Places* places, JobContext& job, std::uint64_t partBytes);
    explicit ContainerCheck(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> m_impl;
};

} // namespace shardlens
