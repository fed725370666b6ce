#include "core/compute/device_engine.h"

#include "core/compute/devices.h"
#include "core/compute/torch_engine.h"

#include <mutex>
#include <optional>

namespace shardlens {
namespace {

class LazyEngine final : public QuantEngine {
public:
    explicit LazyEngine(std::string asked) : m_asked(std::move(asked)) {}

    [[nodiscard]] Result<std::unique_ptr<Load>> load(const Quantizer& quantizer, std::uint64_t first, std::span<const std::byte> values) const override
    {
        SHARDLENS_ASSIGN(const std::shared_ptr<const QuantEngine> engine, opened());
        if (!engine)
            return std::unique_ptr<Load>();
        return engine->load(quantizer, first, values);
    }
    [[nodiscard]] std::uint64_t stepValues() const override { return kDeviceStep; }
    [[nodiscard]] std::vector<std::string> remarks() const override
    {
        const std::lock_guard lock(m_mutex);
        if (!m_engine || !*m_engine)
            return {};
        return **m_engine ? (**m_engine)->remarks() : std::vector<std::string>{"No CUDA device can be used, and the processor quantized: `shardlens devices` says why."};
    }

private:
    [[nodiscard]] Result<std::shared_ptr<const QuantEngine>> opened() const
    {
        const std::lock_guard lock(m_mutex);
        if (!m_engine)
            m_engine.emplace(open());
        return *m_engine;
    }

    [[nodiscard]] Result<std::shared_ptr<const QuantEngine>> open() const
    {
        SHARDLENS_ASSIGN(const std::vector<std::string> devices, chooseDevices(m_asked));
        if (devices.empty()) // of "auto": a driver, and no device that a module sees
            return std::shared_ptr<const QuantEngine>();
        SHARDLENS_ASSIGN(const TorchModule module, torchModule());
        SHARDLENS_ASSIGN(std::shared_ptr<const TorchEngine> engine, TorchEngine::open(module, devices));
        return std::shared_ptr<const QuantEngine>(std::move(engine));
    }

    std::string m_asked;
    mutable std::mutex m_mutex;
    mutable std::optional<Result<std::shared_ptr<const QuantEngine>>> m_engine;
};

} // namespace

std::shared_ptr<const QuantEngine> deviceEngine(const std::string& asked)
{
    if (asked == "cpu" || (asked == "auto" && !hasCudaDriver()))
        return nullptr;
    return std::make_shared<LazyEngine>(asked);
}

} // namespace shardlens
