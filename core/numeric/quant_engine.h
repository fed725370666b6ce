#pragma once

#include "core/base/result.h"
#include "core/numeric/quantizer.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace shardlens {

// Does the arithmetic of quantization somewhere else than in the processor, with the same bits: ranges and codes; scales are made of ranges by Quantizer. Safe from several
// threads.
class QuantEngine {
public:
    // Values that lie on the device. One thread at a time.
    class Load {
    public:
        virtual ~Load() = default;
        // Quantizer::measure() of all of them.
        virtual Status measure(ScaleRanges& ranges) = 0;
        // Codes of all of them, a byte each: Quantizer::makeCodes().
        virtual Status codes(const QuantScales& scales, std::span<std::uint8_t> out) = 0;
    };

    virtual ~QuantEngine() = default;
    // Values of the flattened weight from number `first` on. `values` and `quantizer` must live as long as the load. Waits for a free place on a device.
    // nullptr: there is no device after all, the processor is to do it.
    [[nodiscard]] virtual Result<std::unique_ptr<Load>> load(const Quantizer& quantizer, std::uint64_t first, std::span<const std::byte> values) const = 0;
    // Values that it likes to be given at once.
    [[nodiscard]] virtual std::uint64_t stepValues() const = 0;
    // What there is to say after a run: that blocks were made smaller, that the processor stepped in.
    [[nodiscard]] virtual std::vector<std::string> remarks() const = 0;
};

} // namespace shardlens
