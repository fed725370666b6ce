#pragma once

#include "core/base/ids.h"
#include "core/base/result.h"
#include "core/model/region.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <vector>

namespace shardlens {

class Checkpoint;

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
    // Bytes that computing everything reads, and that a thread holds meanwhile.
    [[nodiscard]] virtual std::uint64_t bytesToRead() const = 0;
    [[nodiscard]] virtual std::uint64_t threadBytes() const = 0;

    // Finds out what must be known of all values before any output is (the range of a tensor with one scale); done once, whoever asks first waits longest.
    // readAt() and computeStep() call it themselves. Cancelled where `stop` says so.
    virtual Status prepare(std::stop_token stop) const = 0;
    // Bytes [offset, offset + out.size()) of an output.
    virtual Status readAt(std::size_t output, std::uint64_t offset, std::span<std::byte> out) const = 0;

    // Runs of the source that give runs of all outputs together; 0 where there is one output.
    [[nodiscard]] virtual std::uint64_t steps() const = 0;
    // The bytes of an output that a step gives; of all steps they cover it. Empty for some.
    [[nodiscard]] virtual FlatRange bytesOf(std::size_t output, std::uint64_t step) const = 0;
    // `out`: room for each output's bytes of the step. Returns the source bytes read.
    virtual Result<std::uint64_t> computeStep(std::uint64_t step, std::span<const std::span<std::byte>> out) const = 0;
};

} // namespace shardlens
