#pragma once

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/model/region.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <stop_token>
#include <vector>

namespace shardlens {

class Checkpoint;

// How whoever waits for a computation to be prepared watches it.
struct PrepareWatch {
    std::stop_token stop{};
    std::function<void(std::uint64_t bytes)> onRead{}; // with what has been read since the last call; from any thread

    void read(std::uint64_t bytes) const
    {
        if (onRead)
            onRead(bytes);
    }
};

// Tensors that are computed from others (DESIGN.md §1, "Computed"): several outputs of one source, such as codes and scales of a weight. Any bytes of an output
// can be asked for; who wants all of them takes the steps, each of which reads its part of the source once. Safe from several threads.
class Computation {
public:
    // A tensor whose values it reads; the checkpoint lives as long as the computation.
    struct Input {
        const Checkpoint* checkpoint = nullptr;
        TensorId tensor{};
    };

    virtual ~Computation() = default;

    [[nodiscard]] virtual std::vector<Input> inputs() const = 0;

    [[nodiscard]] virtual std::size_t outputs() const = 0;
    [[nodiscard]] virtual std::uint64_t sizeBytes(std::size_t output) const = 0;
    // Bytes that computing everything reads, prepare() included, and that a thread holds meanwhile.
    [[nodiscard]] virtual std::uint64_t bytesToRead() const = 0;
    [[nodiscard]] virtual std::uint64_t threadBytes() const = 0;

    // That prepare() keeps until the end.
    [[nodiscard]] virtual std::uint64_t heldBytes() const { return 0; }

    // What must be known of all values before any output is (the range of a tensor with one scale): so many parts, which may run at once and read so many bytes.
    [[nodiscard]] virtual std::size_t preparations() const { return 0; }
    [[nodiscard]] virtual std::uint64_t bytesToPrepare() const { return 0; }
    // Each is done once, whoever asks first waits longest. readAt() and computeStep() call it themselves. Cancelled where the watch says so.
    virtual Status prepare(std::size_t part, const PrepareWatch& watch) const
    {
        (void)part;
        (void)watch;
        return {};
    }
    Status prepareAll(const PrepareWatch& watch) const
    {
        for (std::size_t part = 0; part < preparations(); ++part)
            SHARDLENS_TRY(prepare(part, watch));
        return {};
    }

    // Bytes [offset, offset + out.size()) of an output.
    virtual Status readAt(std::size_t output, std::uint64_t offset, std::span<std::byte> out) const = 0;

    // Runs of the source that give runs of all outputs together; 0 where there is one output.
    [[nodiscard]] virtual std::uint64_t steps() const = 0;
    // The bytes of an output that a step gives; of all steps they cover it. Empty for some.
    [[nodiscard]] virtual FlatRange bytesOf(std::size_t output, std::uint64_t step) const = 0;
    // `out`: room for each output's bytes of the step. Returns the source bytes read.
    virtual Result<std::uint64_t> computeStep(std::uint64_t step, std::span<const std::span<std::byte>> out) const = 0;
};

// The tensors that hold the bytes of some: they themselves, or, where they are computed, what they are computed from.
using StoredTensors = std::map<const Checkpoint*, std::set<TensorId>>;
void addStored(const Checkpoint& checkpoint, TensorId tensor, StoredTensors& out);
void addStored(const Computation& computation, StoredTensors& out);

} // namespace shardlens
