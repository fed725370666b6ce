#include "core/numeric/quantizer.h"

#include "core/base/endian.h"
#include "core/numeric/cast.h"
#include "core/numeric/kernels/scalar_math.h"
#include "core/numeric/quant_books.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace shardlens {
namespace {

constexpr std::size_t kTileValues = 4096; // widened at once: stays in the first cache

RoundTo roundToOf(DType dtype)
{
    return dtype == DType::BF16 ? RoundTo::BF16 : dtype == DType::F16 ? RoundTo::F16 : RoundTo::F32;
}

// What stands in for a scale of zero (formats/quantization.md §4.2).
float leastScale(DType dtype)
{
    return dtype == DType::BF16 ? 0x1p-7f : dtype == DType::F16 ? 0x1p-10f : 0x1p-23f;
}

// The exponent of a power-of-two scale (formats/quantization.md §4.7).
std::uint32_t mxCode(float magnitude, DType dtype, int offset)
{
    const std::uint32_t mantissaBits = dtype == DType::F16 ? 10 : dtype == DType::BF16 ? 7 : 23;
    std::uint32_t bits = bitsOf(magnitude);
    int exponent = 0;
    if (dtype == DType::F16) {
        std::uint16_t half = 0;
        (void)castValues(DType::F32, reinterpret_cast<const std::byte*>(&magnitude), DType::F16, reinterpret_cast<std::byte*>(&half), 1);
        bits = half;
        const std::uint32_t power = (bits + (1u << (mantissaBits - 2))) >> mantissaBits << mantissaBits;
        const float value = power >> 10 == 0 ? 0.0f : std::ldexp(1.0f, static_cast<int>(power >> 10) - 15);
        if (value == 0)
            return 127; // 2^-127 is no F16: the scale becomes 1
        exponent = static_cast<int>(power >> 10) - 15;
    } else {
        if (dtype == DType::BF16)
            bits >>= 16;
        const std::uint32_t power = (bits + (1u << (mantissaBits - 2))) >> mantissaBits;
        if (power == 0)
            return 0;
        exponent = static_cast<int>(power) - 127;
    }
    const int code = std::clamp(127 + exponent - offset, 0, 255);
    if (dtype == DType::F16 && roundToF16(std::ldexp(1.0f, code - 127)) == 0)
        return 127;
    return static_cast<std::uint32_t>(code);
}

// Values of a scheme's codes before they are scaled; empty where the codes are the values.
std::vector<float> valueTable(const QuantScheme& scheme)
{
    std::vector<float> out;
    if (scheme.codes == CodeKind::E4M3)
        for (std::uint32_t code = 0; code < 256; ++code)
            out.push_back(e4m3Value(code));
    if (scheme.codes == CodeKind::E2M1)
        for (std::uint32_t code = 0; code < 16; ++code)
            out.push_back(e2m1Value(code));
    if (scheme.codes == CodeKind::Book) // makeCodes counts bounds
        for (const std::uint8_t code : quantBook(scheme.format).order)
            out.push_back(quantBook(scheme.format).values[code]);
    return out;
}

void storeAs(DType dtype, std::span<const float> values, std::byte* out)
{
    (void)castValues(DType::F32, reinterpret_cast<const std::byte*>(values.data()), dtype, out, values.size());
}

} // namespace

void ScaleRanges::reset(std::uint64_t firstScale, std::size_t count)
{
    first = firstScale;
    least.assign(count, 0);
    greatest.assign(count, 0);
}

void ScaleRanges::merge(const ScaleRanges& other)
{
    for (std::size_t i = 0; i < least.size(); ++i) {
        least[i] = std::min(least[i], other.least[i]);
        greatest[i] = std::max(greatest[i], other.greatest[i]);
    }
}

Quantizer::Quantizer(QuantLayout layout, const NumericKernels& kernels) : m_layout(std::move(layout)), m_kernels(&kernels) {}

// Calls `tile` with widened values, few enough for the cache, cut between runs where these are short.
template <typename Tile>
void Quantizer::forTiles(std::uint64_t first, std::span<const std::byte> values, const Tile& tile) const
{
    const DType dtype = m_layout.dtype();
    const std::size_t cell = info(dtype).bytesPerBlock;
    const std::size_t count = values.size() / cell;
    const std::uint64_t run = m_layout.grid().run;
    thread_local std::array<float, kTileValues> wide;
    for (std::size_t at = 0; at < count;) {
        std::size_t size = std::min(kTileValues, count - at);
        if (size < count - at && run <= kTileValues)
            size -= static_cast<std::size_t>((first + at + size) % run) % size; // the next tile begins with a run
        const std::byte* source = values.data() + at * cell;
        const bool casts = m_layout.scheme().isLlmInt8() && dtype != DType::F16;
        if (dtype == DType::F32 && !casts) {
            tile(first + at, reinterpret_cast<const float*>(source), size);
        } else {
            if (dtype == DType::F32)
                std::memcpy(wide.data(), source, size * sizeof(float));
            else
                (dtype == DType::BF16 ? m_kernels->widenBF16 : m_kernels->widenF16)(source, wide.data(), size);
            if (casts)
                m_kernels->roundF16(wide.data(), size);
            tile(first + at, wide.data(), size);
        }
        at += size;
    }
}

void Quantizer::measure(std::uint64_t first, std::span<const std::byte> values, ScaleRanges& ranges) const
{
    const bool symmetric = m_layout.scheme().symmetric && m_layout.scheme().scale != ScaleKind::E4M3;
    forTiles(first, values, [&](std::uint64_t begin, const float* wide, std::size_t count) {
        m_layout.grid().forRuns(begin, count, [&](std::uint64_t scale, std::size_t from, std::size_t length, std::size_t number) {
            const ScaleRuns runs{wide + from, length, number};
            const std::size_t at = static_cast<std::size_t>(scale - ranges.first);
            if (symmetric)
                m_kernels->magnitudes(runs, reinterpret_cast<std::uint32_t*>(ranges.greatest.data() + at));
            else
                m_kernels->extremes(runs, ranges.least.data() + at, ranges.greatest.data() + at);
        });
    });
}

std::optional<std::uint64_t> Quantizer::firstNonFinite(const ScaleRanges& ranges) const
{
    constexpr auto kInfinity = static_cast<std::int32_t>(kInfinityBits);
    for (std::size_t i = 0; i < ranges.greatest.size(); ++i)
        if (ranges.greatest[i] >= kInfinity || ranges.least[i] <= orderedBits(kInfinityBits | 0x80000000u))
            return ranges.first + i;
    return std::nullopt;
}

void Quantizer::makeScales(const ScaleRanges& ranges, float globalScale, QuantScales& out) const
{
    const std::size_t count = ranges.greatest.size();
    out.first = ranges.first;
    out.stored.resize(count);
    out.effective.resize(count);
    out.zeros.clear();
    thread_local std::vector<float> greatest;
    thread_local std::vector<float> least;
    greatest.resize(count);
    least.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
        greatest[i] = floatOf(bitsOfOrdered(ranges.greatest[i]));
        least[i] = floatOf(bitsOfOrdered(ranges.least[i]));
    }
    if (!m_layout.scheme().symmetric)
        return fromRanges(out, least, greatest);
    for (std::size_t i = 0; i < count; ++i)
        greatest[i] = std::max(greatest[i], -least[i]);
    fromMagnitudes(out, greatest, globalScale);
}

void Quantizer::fromRanges(QuantScales& scales, std::span<const float> least, std::span<const float> greatest) const
{
    const RoundTo kind = roundToOf(m_layout.dtype());
    const float steps = static_cast<float>((1u << m_layout.bits()) - 1);
    const float lowest = -static_cast<float>(1u << (m_layout.bits() - 1));
    const float highest = -lowest - 1;
    scales.zeros.resize(least.size());
    for (std::size_t i = 0; i < least.size(); ++i) {
        const float scale = rounded(kind, rounded(kind, greatest[i] - least[i]) / steps);
        const float quotient = least[i] / scale;
        const float zero = rounded(kind, lowest - rounded(kind, quotient));
        scales.zeros[i] = std::isnan(quotient) ? 0.0f : nearestInteger(std::clamp(zero, lowest, highest)) + 0.0f; // 0/0 of a run of zeros
        scales.stored[i] = scales.effective[i] = scale == 0 ? leastScale(m_layout.dtype()) : scale;
    }
}

void Quantizer::fromMagnitudes(QuantScales& scales, std::span<const float> magnitudes, float globalScale) const
{
    const QuantScheme& scheme = m_layout.scheme();
    const DType dtype = m_layout.dtype();
    const RoundTo kind = roundToOf(dtype);
    const float divisor = scheme.codes == CodeKind::E4M3 ? 448.0f : scheme.codes == CodeKind::E2M1 ? 6.0f : static_cast<float>((1u << m_layout.bits()) - 1) / 2;
    for (std::size_t i = 0; i < magnitudes.size(); ++i) {
        const float magnitude = magnitudes[i];
        float& stored = scales.stored[i];
        float& effective = scales.effective[i];
        switch (scheme.scale) {
        case ScaleKind::Weight: {
            const float scale = rounded(kind, magnitude / divisor);
            stored = effective = scale == 0 ? leastScale(dtype) : scale;
            break;
        }
        case ScaleKind::E8M0: {
            const std::uint32_t code = mxCode(magnitude, dtype, scheme.codes == CodeKind::E4M3 ? 8 : 2);
            stored = static_cast<float>(code);
            effective = e8m0Value(code);
            break;
        }
        case ScaleKind::E4M3: {
            const std::uint32_t code = e4m3Code(std::min(globalScale * rounded(kind, magnitude / divisor), 448.0f));
            const std::uint32_t used = code == 0 ? 0x20u : code; // 0.125
            stored = static_cast<float>(used);
            effective = e4m3Value(used) / globalScale;
            break;
        }
        case ScaleKind::Absmax: {
            const bool isShort = scheme.codes == CodeKind::Book && scales.first + i + 1 == m_layout.scales() && m_layout.values() % m_layout.grid().run != 0;
            const float floored = std::max(magnitude, 1e-38f);
            stored = isShort ? floored : magnitude;
            if (scheme.codes == CodeKind::Int)
                effective = magnitude == 0 ? 0.0f : (1.0f / magnitude) * 127.0f;
            else
                effective = isShort ? floored : 1.0f / floored; // a short run is divided
            break;
        }
        case ScaleKind::Multiplier:
            effective = (1.0f / (2 * magnitude + 1e-5f)) * static_cast<float>(1u << m_layout.bits());
            stored = 1.0f / effective;
            break;
        }
    }
}

void Quantizer::writeScales(const QuantScales& scales, std::span<std::byte> out) const
{
    switch (m_layout.scheme().scale) {
    case ScaleKind::Weight: return storeAs(m_layout.dtype(), scales.stored, out.data());
    case ScaleKind::E8M0:
    case ScaleKind::E4M3:
        for (std::size_t i = 0; i < scales.stored.size(); ++i)
            out[i] = static_cast<std::byte>(static_cast<std::uint32_t>(scales.stored[i]));
        return;
    case ScaleKind::Absmax:
    case ScaleKind::Multiplier: return storeAs(DType::F32, scales.stored, out.data());
    }
}

void Quantizer::writeZeroPoints(const QuantScales& scales, std::span<std::byte> out) const
{
    if (m_layout.wordsOfRow() == 0) {
        for (std::size_t i = 0; i < scales.zeros.size(); ++i)
            out[i] = static_cast<std::byte>(static_cast<std::int8_t>(scales.zeros[i]));
        return;
    }
    const std::size_t ofRow = static_cast<std::size_t>(m_layout.scales() / m_layout.rows());
    const std::size_t rows = scales.zeros.size() / ofRow;
    const std::size_t ofWord = 32u / m_layout.bits();
    const std::int32_t offset = 1 << (m_layout.bits() - 1);
    for (std::size_t row = 0; row < rows; row += ofWord)
        for (std::size_t column = 0; column < ofRow; ++column) {
            std::uint32_t word = 0;
            for (std::size_t i = 0; i < std::min(ofWord, rows - row); ++i)
                word |= static_cast<std::uint32_t>(static_cast<std::int32_t>(scales.zeros[(row + i) * ofRow + column]) + offset) << (i * m_layout.bits());
            storeLe(out.data() + (row / ofWord * ofRow + column) * sizeof(word), word);
        }
}

void Quantizer::makeCodes(std::uint64_t first, std::span<const std::byte> values, const QuantScales& scales, std::span<std::uint8_t> out) const
{
    const QuantScheme& scheme = m_layout.scheme();
    const float highest = static_cast<float>((1 << (m_layout.bits() - 1)) - 1);
    const bool inF32 = scheme.scale == ScaleKind::E4M3;
    CodeRule rule{nullptr, nullptr, static_cast<std::uint8_t>(inF32 ? RoundTo::F32 : roundToOf(m_layout.dtype())), -highest - 1, highest};
    const QuantBook* book = scheme.codes == CodeKind::Book ? &quantBook(scheme.format) : nullptr;
    forTiles(first, values, [&](std::uint64_t begin, const float* wide, std::size_t count) {
        m_layout.grid().forRuns(begin, count, [&](std::uint64_t scale, std::size_t at, std::size_t length, std::size_t number) {
            const ScaleRuns runs{wide + at, length, number};
            const std::size_t own = static_cast<std::size_t>(scale - scales.first);
            std::uint8_t* const codes = out.data() + (begin - first) + at;
            rule.scales = scales.effective.data() + own;
            rule.zeros = scales.zeros.empty() ? nullptr : scales.zeros.data() + own;
            if (scheme.codes == CodeKind::E4M3)
                m_kernels->e4m3Codes(runs, rule, codes);
            else if (scheme.codes == CodeKind::E2M1)
                m_kernels->e2m1Codes(runs, rule, codes);
            else if (book != nullptr)
                m_kernels->boundCodes(runs, rule.scales, scale + 1 == m_layout.scales() && m_layout.values() % m_layout.grid().run != 0, book->bounds.data(), codes);
            else
                (scheme.scale == ScaleKind::Weight ? m_kernels->intCodes : m_kernels->scaledCodes)(runs, rule, codes);
        });
    });
}

void Quantizer::packWords(std::span<const std::uint8_t> codes, std::span<std::byte> out) const
{
    auto* const target = reinterpret_cast<std::uint8_t*>(out.data());
    const std::size_t columns = static_cast<std::size_t>(m_layout.columns());
    const std::size_t rowBytes = static_cast<std::size_t>(m_layout.wordsOfRow()) * sizeof(std::uint32_t);
    const bool dense = rowBytes * 8 == columns * m_layout.bits();
    const std::size_t line = dense ? codes.size() : columns; // rows that end inside a word are filled up with zeros
    const std::size_t lineBytes = dense ? out.size() : rowBytes;
    for (std::size_t row = 0; row * line < codes.size(); ++row) {
        const std::uint8_t* const from = codes.data() + row * line;
        std::uint8_t* const to = target + row * lineBytes;
        std::size_t filled = line;
        if (m_layout.bits() == 4) {
            m_kernels->packLowFirst(from, line / 2, 8, to);
            filled = line / 2;
            if (line % 2 != 0)
                to[filled++] = static_cast<std::uint8_t>((from[line - 1] ^ 8u) & 15u);
        } else {
            for (std::size_t i = 0; i < line; ++i)
                to[i] = from[i] ^ 0x80u;
        }
        std::fill(to + filled, to + lineBytes, std::uint8_t{0});
    }
}

void Quantizer::packCodes(std::span<const std::uint8_t> codes, std::span<std::byte> out) const
{
    const QuantScheme& scheme = m_layout.scheme();
    auto* const target = reinterpret_cast<std::uint8_t*>(out.data());
    if (m_layout.wordsOfRow() != 0)
        return packWords(codes, out);
    if (scheme.codes == CodeKind::E2M1)
        return m_kernels->packLowFirst(codes.data(), codes.size() / 2, 0, target);
    if (scheme.codes != CodeKind::Book) {
        std::copy(codes.begin(), codes.end(), target);
        return;
    }
    const QuantBook& book = quantBook(scheme.format);
    thread_local std::vector<std::uint8_t> ordered;
    ordered.resize(codes.size() + 1);
    std::transform(codes.begin(), codes.end(), ordered.begin(), [&book](std::uint8_t code) { return book.order[code]; });
    const auto below = std::count_if(book.bounds.begin(), book.bounds.end(), [](float bound) { return 0.0f > bound; });
    ordered[codes.size()] = book.order[static_cast<std::size_t>(below)]; // the padding is a zero
    m_kernels->packHighFirst(ordered.data(), (codes.size() + 1) / 2, target);
}

void Quantizer::writeCodes(std::uint64_t first, std::span<const std::byte> values, const QuantScales& scales, std::span<std::byte> out) const
{
    if (m_layout.codeStep() == 1 && m_layout.wordsOfRow() == 0)
        return makeCodes(first, values, scales, {reinterpret_cast<std::uint8_t*>(out.data()), out.size()});
    thread_local std::vector<std::uint8_t> codes;
    codes.resize(values.size() / info(m_layout.dtype()).bytesPerBlock);
    makeCodes(first, values, scales, codes);
    packCodes(codes, out);
}

void Quantizer::roundTrip(std::uint64_t first, std::span<const std::byte> values, const QuantScales& scales, std::span<float> out) const
{
    const QuantScheme& scheme = m_layout.scheme();
    thread_local std::vector<std::uint8_t> codes;
    codes.resize(out.size());
    makeCodes(first, values, scales, codes);
    const std::vector<float> table = valueTable(scheme);
    std::vector<float> multipliers = scheme.scale == ScaleKind::E4M3 ? scales.effective : scales.stored;
    if (scheme.scale == ScaleKind::E8M0)
        for (float& one : multipliers)
            one = e8m0Value(static_cast<std::uint32_t>(one));
    const bool inWeightsDType = scheme.scale == ScaleKind::Weight;
    const RoundTo step = inWeightsDType ? roundToOf(m_layout.dtype()) : RoundTo::F32;
    m_layout.grid().forRuns(first, out.size(), [&](std::uint64_t scale, std::size_t at, std::size_t length, std::size_t runs) {
        const std::size_t own = static_cast<std::size_t>(scale - scales.first);
        const CodeRule rule{multipliers.data() + own, scales.zeros.empty() ? nullptr : scales.zeros.data() + own, static_cast<std::uint8_t>(step)};
        if (table.empty())
            m_kernels->intValues(reinterpret_cast<const std::int8_t*>(codes.data() + at), length, runs, rule, out.data() + at);
        else
            m_kernels->tableValues(codes.data() + at, length, runs, table.data(), rule, out.data() + at);
    });
    const RoundTo last = scheme.codes == CodeKind::Book ? roundToOf(m_layout.dtype()) : scheme.scale == ScaleKind::E8M0 || scheme.scale == ScaleKind::E4M3 ? RoundTo::BF16 : RoundTo::F32;
    for (float& value : out)
        value = rounded(last, scheme.isLlmInt8() ? value * kLlmInt8Factor : value);
}

float nvfp4GlobalScale(DType dtype, float least, float greatest)
{
    const RoundTo kind = roundToOf(dtype);
    const float tiny = dtype == DType::F16 ? 0x1p-14f : 0x1p-126f;
    const float magnitude = std::max({greatest, -least, tiny});
    const float scale = rounded(kind, rounded(kind, 1.0f / magnitude) * 2688.0f); // 448 · 6
    return std::isfinite(scale) ? scale : 1.0f;
}

std::optional<std::uint64_t> firstNonFinite(DType dtype, std::span<const std::byte> values, bool limit16)
{
    const std::size_t cell = info(dtype).bytesPerBlock;
    for (std::size_t i = 0; i * cell < values.size(); ++i) {
        const double value = toDouble(dtype, values.data() + i * cell);
        if (!std::isfinite(value) || (limit16 && std::fabs(value) >= 65520))
            return i;
    }
    return std::nullopt;
}

} // namespace shardlens
