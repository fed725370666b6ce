#pragma once

#include "core/base/result.h"
#include "core/compute/torch_loader.h"
#include "core/numeric/quant_engine.h"

#include <memory>
#include <string>
#include <vector>

namespace shardlens {

constexpr std::uint64_t kDeviceStep = 4u << 20; // values at once: a device is slow to start

// Quantization by the libtorch module. Each device has two places (a stream and pinned buffers each), so that one block is copied while another is computed; threads take
// the next free place of any device. Where a device's memory does not suffice, blocks become half as long, down to a few values, and then the processor steps in; both
// are said in remarks().
class TorchEngine final : public QuantEngine {
public:
    // `devices`: ids as ShardlensTorchDevice has them. Io where a place cannot be had.
    [[nodiscard]] static Result<std::shared_ptr<const TorchEngine>> open(const TorchModule& module, const std::vector<std::string>& devices);
    ~TorchEngine() override;

    [[nodiscard]] Result<std::unique_ptr<Load>> load(const Quantizer& quantizer, std::uint64_t first, std::span<const std::byte> values) const override;
    [[nodiscard]] std::uint64_t stepValues() const override;
    [[nodiscard]] std::vector<std::string> remarks() const override;

private:
    struct State;
    class Loaded;
    explicit TorchEngine(std::unique_ptr<State> state);

    std::unique_ptr<State> m_state;
};

} // namespace shardlens
