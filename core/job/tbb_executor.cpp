#include "core/job/executor.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <atomic>
#include <mutex>
#include <optional>

namespace shardlens {
namespace {

class TbbExecutor final : public Executor {
public:
    explicit TbbExecutor(std::size_t threads)
        : m_threads(threads), m_allowed(oneapi::tbb::global_control::max_allowed_parallelism, threads), m_arena(static_cast<int>(threads))
    {
    }

    Status forEach(std::size_t count, const Work& work) override
    {
        std::atomic<std::size_t> next{0};
        std::atomic<bool> failed{false};
        std::mutex mutex;
        std::optional<Error> first;
        // One task a thread that draws ascending indices: blocks of one file are written nearly in order.
        const auto draw = [&] {
            while (!failed.load(std::memory_order_relaxed)) {
                const std::size_t index = next.fetch_add(1, std::memory_order_relaxed);
                if (index >= count)
                    return;
                if (Status status = work(index); !status) {
                    const std::lock_guard lock(mutex);
                    if (!first)
                        first = status.takeError();
                    failed.store(true, std::memory_order_relaxed);
                }
            }
        };
        m_arena.execute([&] {
            oneapi::tbb::task_group group;
            for (std::size_t i = 1; i < m_threads; ++i)
                group.run(draw);
            draw();
            group.wait();
        });
        if (first)
            return std::move(*first);
        return {};
    }

    [[nodiscard]] std::size_t concurrency() const override { return m_threads; }

private:
    std::size_t m_threads;
    oneapi::tbb::global_control m_allowed; // else oneTBB silently keeps to the number of processors
    oneapi::tbb::task_arena m_arena;
};

} // namespace

std::unique_ptr<Executor> makeThreadedExecutor(std::size_t threads)
{
    return std::make_unique<TbbExecutor>(threads == 0 ? 1 : threads);
}

} // namespace shardlens
