#pragma once

#include "core/base/result.h"

#include <cstddef>
#include <functional>
#include <memory>

namespace shardlens {

// Runs the same work for every index below `count`, maybe on several threads, and returns when all are done.
// The first failure stops the hand-out of further indices and is returned; indices already running finish.
class Executor {
public:
    using Work = std::function<Status(std::size_t index)>;

    virtual ~Executor() = default;
    virtual Status forEach(std::size_t count, const Work& work) = 0;
    // How many indices may run at once; buffers are budgeted by it.
    [[nodiscard]] virtual std::size_t concurrency() const = 0;
};

// In order, in the caller's thread: for tests and single-threaded runs.
class InlineExecutor final : public Executor {
public:
    Status forEach(std::size_t count, const Work& work) override;
    [[nodiscard]] std::size_t concurrency() const override { return 1; }
};

// A oneTBB arena of `threads` (at least 1). Indices start in ascending order.
[[nodiscard]] std::unique_ptr<Executor> makeThreadedExecutor(std::size_t threads);
// The number of hardware threads this process may use, at least 1.
[[nodiscard]] std::size_t availableThreads();

} // namespace shardlens
