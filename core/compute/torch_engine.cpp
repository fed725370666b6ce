#include "core/compute/torch_engine.h"

#include "core/base/text.h"
#include "core/numeric/quant_books.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <condition_variable>
#include <mutex>

namespace shardlens {
namespace {

constexpr std::uint64_t kLeastDeviceStep = 64u << 10;
constexpr std::size_t kPlacesOfDevice = 2;        // one is copied while the other computes
constexpr std::size_t kErrorBytes = 512;

std::int32_t dtypeNumber(DType dtype)
{
    return dtype == DType::BF16 ? kShardlensBF16 : dtype == DType::F16 ? kShardlensF16 : kShardlensF32;
}

std::int32_t codesNumber(const QuantScheme& scheme)
{
    switch (scheme.codes) {
    case CodeKind::E4M3: return kShardlensE4M3;
    case CodeKind::E2M1: return kShardlensE2M1;
    case CodeKind::Book: return kShardlensBook;
    case CodeKind::Int: break;
    }
    return scheme.scale == ScaleKind::Weight ? kShardlensInt : kShardlensScaled;
}

std::int32_t ordered(float value)
{
    return orderedBits(std::isnan(value) ? 0x7FC00000u : std::bit_cast<std::uint32_t>(value));
}

} // namespace

struct TorchEngine::State {
    TorchModule module;
    std::string devices; // for people
    std::vector<void*> places;
    std::mutex mutex;
    std::condition_variable freed;
    std::vector<void*> free;
    std::atomic<std::uint64_t> step{kDeviceStep};
    std::atomic<std::uint64_t> smallestStep{kDeviceStep};
    std::atomic<std::uint64_t> onProcessor{0}; // blocks

    void* take()
    {
        std::unique_lock lock(mutex);
        freed.wait(lock, [this] { return !free.empty(); });
        void* const out = free.back();
        free.pop_back();
        return out;
    }
    void give(void* place)
    {
        {
            const std::lock_guard lock(mutex);
            free.push_back(place);
        }
        freed.notify_one();
    }
    // Half as long from now on; false where that would be too short.
    bool shrink(std::uint64_t tried)
    {
        if (tried / 2 < kLeastDeviceStep)
            return false;
        step.store(std::min(step.load(), tried / 2));
        smallestStep.store(std::min(smallestStep.load(), tried / 2));
        return true;
    }
};

class TorchEngine::Loaded final : public QuantEngine::Load {
public:
    Loaded(State& state, const Quantizer& quantizer, std::uint64_t first, std::span<const std::byte> values)
        : m_state(state), m_quantizer(quantizer), m_layout(quantizer.layout()), m_first(first), m_values(values), m_cell(info(m_layout.dtype()).bytesPerBlock), m_place(state.take())
    {
    }
    ~Loaded() override { m_state.give(m_place); }
    Loaded(const Loaded&) = delete;
    Loaded& operator=(const Loaded&) = delete;

    Status measure(ScaleRanges& ranges) override
    {
        return forBlocks([&](std::uint64_t at, std::uint64_t count) { return measureBlock(at, count, ranges); },
                         [&](std::uint64_t at, std::uint64_t count) { m_quantizer.measure(m_first + at, bytesOf(at, count), ranges); });
    }

    Status codes(const QuantScales& scales, std::span<std::uint8_t> out) override
    {
        return forBlocks([&](std::uint64_t at, std::uint64_t count) { return codesOfBlock(at, count, scales, out.subspan(at, count)); },
                         [&](std::uint64_t at, std::uint64_t count) { m_quantizer.makeCodes(m_first + at, bytesOf(at, count), scales, out.subspan(at, count)); });
    }

private:
    [[nodiscard]] std::span<const std::byte> bytesOf(std::uint64_t at, std::uint64_t count) const { return m_values.subspan(at * m_cell, count * m_cell); }

    // Calls `onDevice` with blocks that the device has room for; where it has none for the shortest, `onProcessor`.
    template <typename OnDevice, typename OnProcessor>
    Status forBlocks(const OnDevice& onDevice, const OnProcessor& onProcessor)
    {
        const std::uint64_t total = m_values.size() / m_cell;
        for (std::uint64_t at = 0; at < total;) {
            const std::uint64_t unit = std::min(m_layout.unitValues(), total);
            const std::uint64_t count = std::min(std::max(m_state.step.load() / unit, std::uint64_t{1}) * unit, total - at);
            std::int32_t status = upload(at, count);
            if (status == kShardlensTorchOk)
                status = onDevice(at, count);
            if (status == kShardlensTorchOutOfMemory) {
                m_loadedCount = 0;
                if (count > unit && m_state.shrink(count))
                    continue;
                m_state.onProcessor.fetch_add(1);
                onProcessor(at, count);
            } else if (status != kShardlensTorchOk) {
                return Error{ErrorCode::Io, fmt::format("{} on {}", m_error.data(), m_state.devices)};
            }
            at += count;
        }
        return {};
    }

    std::int32_t upload(std::uint64_t at, std::uint64_t count)
    {
        if (m_loadedCount == count && m_loadedAt == at)
            return kShardlensTorchOk;
        m_loadedAt = at;
        m_loadedCount = count;
        return m_state.module.functions->load(m_place, bytesOf(at, count).data(), count, dtypeNumber(m_layout.dtype()), m_layout.scheme().isLlmInt8() ? 1 : 0, m_error.data(), m_error.size());
    }

    // Calls visit(first scale, runs on the device, number of scales) for what of a block shares scales in one way.
    template <typename Visit>
    std::int32_t forSegments(std::uint64_t at, std::uint64_t count, const Visit& visit)
    {
        const ScaleGrid& grid = m_layout.grid();
        const std::uint64_t begin = m_first + at;
        const std::uint64_t block = grid.blockHeight * grid.columns;
        if (block != 0 && begin % block == 0 && (count % block == 0 || begin + count == grid.values()))
            return visit(grid.firstScale(begin), ShardlensTorchRuns{0, count, grid.run, grid.columns}, grid.endOfScales(begin + count) - grid.firstScale(begin), std::size_t{0});
        std::int32_t status = kShardlensTorchOk;
        grid.forRuns(begin, count, [&](std::uint64_t scale, std::size_t from, std::size_t length, std::size_t runs) {
            if (status == kShardlensTorchOk)
                status = visit(scale, ShardlensTorchRuns{from, length * runs, length, 0}, runs, from);
        });
        return status;
    }

    std::int32_t measureBlock(std::uint64_t at, std::uint64_t count, ScaleRanges& ranges)
    {
        return forSegments(at, count, [&](std::uint64_t scale, ShardlensTorchRuns runs, std::uint64_t scales, std::size_t) {
            std::vector<float> least(scales);
            std::vector<float> greatest(scales);
            const std::int32_t status = m_state.module.functions->measure(m_place, runs, least.data(), greatest.data(), m_error.data(), m_error.size());
            for (std::size_t i = 0; status == kShardlensTorchOk && i < scales; ++i) {
                std::int32_t& low = ranges.least[static_cast<std::size_t>(scale - ranges.first) + i];
                std::int32_t& high = ranges.greatest[static_cast<std::size_t>(scale - ranges.first) + i];
                high = std::max(high, ordered(greatest[i]));
                low = std::isnan(least[i]) ? low : std::min(low, ordered(least[i]));
            }
            return status;
        });
    }

    std::int32_t codesOfBlock(std::uint64_t at, std::uint64_t count, const QuantScales& scales, std::span<std::uint8_t> out)
    {
        const QuantScheme& scheme = m_layout.scheme();
        const float highest = static_cast<float>((1 << (m_layout.bits() - 1)) - 1);
        const QuantBook* const book = scheme.codes == CodeKind::Book ? &quantBook(scheme.format) : nullptr;
        return forSegments(at, count, [&](std::uint64_t scale, ShardlensTorchRuns runs, std::uint64_t number, std::size_t from) {
            const std::size_t own = static_cast<std::size_t>(scale - scales.first);
            const bool endsShort = book != nullptr && scale + number == m_layout.scales() && m_layout.values() % m_layout.grid().run != 0;
            const ShardlensTorchRule rule{codesNumber(scheme), scheme.scale == ScaleKind::E4M3 ? 0 : 1, endsShort ? 1 : 0, -highest - 1, highest, scales.effective.data() + own,
                                          scales.zeros.empty() ? nullptr : scales.zeros.data() + own, book == nullptr ? nullptr : book->bounds.data()};
            return m_state.module.functions->codes(m_place, runs, &rule, out.data() + from, m_error.data(), m_error.size());
        });
    }

    State& m_state;
    const Quantizer& m_quantizer;
    const QuantLayout& m_layout;
    std::uint64_t m_first;
    std::span<const std::byte> m_values;
    std::size_t m_cell;
    void* m_place;
    std::uint64_t m_loadedAt = 0;
    std::uint64_t m_loadedCount = 0;
    std::array<char, kErrorBytes> m_error{};
};

TorchEngine::TorchEngine(std::unique_ptr<State> state) : m_state(std::move(state)) {}

TorchEngine::~TorchEngine()
{
    for (void* const place : m_state->places)
        m_state->module.functions->close(place);
}

Result<std::shared_ptr<const TorchEngine>> TorchEngine::open(const TorchModule& module, const std::vector<std::string>& devices)
{
    if (devices.empty())
        return Error{ErrorCode::Refused, "no device is named"};
    auto state = std::make_unique<State>();
    state->module = module;
    std::shared_ptr<TorchEngine> out(new TorchEngine(std::move(state)));
    State& own = *out->m_state;
    for (std::size_t i = 0; i < kPlacesOfDevice; ++i)
        for (const std::string& device : devices) {
            std::array<char, kErrorBytes> error{};
            void* const place = module.functions->open(device.c_str(), error.data(), error.size());
            if (place == nullptr)
                return Error{ErrorCode::Io, error.data()}.within(device);
            own.places.push_back(place);
        }
    own.free = own.places;
    for (const std::string& device : devices)
        own.devices += (own.devices.empty() ? "" : ", ") + device;
    return std::shared_ptr<const TorchEngine>(std::move(out));
}

Result<std::unique_ptr<QuantEngine::Load>> TorchEngine::load(const Quantizer& quantizer, std::uint64_t first, std::span<const std::byte> values) const
{
    return std::unique_ptr<Load>(std::make_unique<Loaded>(*m_state, quantizer, first, values));
}

std::uint64_t TorchEngine::stepValues() const
{
    return kDeviceStep;
}

std::vector<std::string> TorchEngine::remarks() const
{
    std::vector<std::string> out;
    if (m_state->smallestStep < kDeviceStep)
        out.push_back(fmt::format("The memory of {} did not suffice for blocks of {} values: they were made as short as {}.", m_state->devices, groupedText(kDeviceStep), groupedText(m_state->smallestStep)));
    if (m_state->onProcessor != 0)
        out.push_back(fmt::format("{} had no memory on {} at all, and were computed by the processor.", plural(m_state->onProcessor, "block", "blocks"), m_state->devices));
    return out;
}

} // namespace shardlens
