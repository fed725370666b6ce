#include "core/quantized/dequantized_weight.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/numeric/cast.h"
#include "core/numeric/kernels/scalar_math.h"
#include "core/quantized/dequant_rule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace shardlens {
namespace {

constexpr std::uint64_t kDequantStep = 64u << 10;

std::uint8_t roundTo(DType dtype)
{
    return static_cast<std::uint8_t>(dtype == DType::BF16 ? RoundTo::BF16 : dtype == DType::F16 ? RoundTo::F16 : RoundTo::F32);
}

} // namespace

Result<std::shared_ptr<const DequantizedWeight>> DequantizedWeight::make(std::shared_ptr<const ValueReader> values, const Checkpoint& checkpoint, const StoredWeight& stored, const QuantizationConfig& config)
{
    auto plan = planDequantization(*values, checkpoint, stored, config);
    if (!plan)
        return plan.takeError().within(printable(stored.name));
    std::shared_ptr<DequantizedWeight> out(new DequantizedWeight);
    out->m_values = std::move(values);
    out->m_stored = stored;
    out->m_rule = std::move(plan->rule);
    out->m_shape = std::move(plan->shape);
    for (const TensorId part : stored.parts) {
        out->m_dtypes.emplace_back(part, checkpoint.tensor(part).dtype);
        out->m_storedBytes += checkpoint.bytesOf(part);
    }
    return std::shared_ptr<const DequantizedWeight>(std::move(out));
}

std::vector<Computation::Input> DequantizedWeight::inputs() const
{
    std::vector<Input> out;
    for (const TensorId part : m_stored.parts)
        out.push_back({&m_values->checkpoint(), part});
    return out;
}

std::uint64_t DequantizedWeight::threadBytes() const
{
    return std::min(kDequantStep, m_rule.grid.values()) * 12; // codes, scales of every value at worst, values
}

Status DequantizedWeight::readBytes(TensorId tensor, std::uint64_t offset, std::span<std::byte> out) const
{
    const auto dtype = std::find_if(m_dtypes.begin(), m_dtypes.end(), [tensor](const auto& one) { return one.first == tensor; });
    CastCounts lost;
    if (auto read = m_values->readAt(tensor, dtype->second, offset, out, lost); !read)
        return read.takeError().within(printable(m_stored.name));
    return {};
}

Status DequantizedWeight::readFloats(TensorId tensor, std::uint64_t first, std::span<float> out) const
{
    CastCounts lost;
    if (auto read = m_values->readAt(tensor, DType::F32, first * sizeof(float), std::as_writable_bytes(out), lost); !read)
        return read.takeError().within(printable(m_stored.name));
    return {};
}

Status DequantizedWeight::readScales(std::uint64_t first, std::uint64_t count, std::vector<float>& out) const
{
    const std::uint64_t begin = m_rule.grid.firstScale(first);
    const std::size_t size = static_cast<std::size_t>(m_rule.grid.endOfScales(first + count) - begin);
    out.resize(size);
    if (m_rule.scales == DequantRule::Scales::Floats)
        return readFloats(m_stored.scale, begin, out);
    std::vector<std::byte> codes(size);
    SHARDLENS_TRY(readBytes(m_stored.scale, begin, codes));
    std::vector<float> outer;
    const std::uint64_t firstOuter = begin / m_rule.nestedRun;
    if (m_rule.scales == DequantRule::Scales::Nested) {
        outer.resize(static_cast<std::size_t>((begin + size - 1) / m_rule.nestedRun - firstOuter + 1));
        SHARDLENS_TRY(readFloats(m_stored.nestedScale, firstOuter, outer));
    }
    for (std::size_t i = 0; i < size; ++i) {
        const auto code = std::to_integer<std::uint32_t>(codes[i]);
        switch (m_rule.scales) {
        case DequantRule::Scales::E8M0: out[i] = e8m0Value(code); break;
        case DequantRule::Scales::BelowGlobal: out[i] = e4m3Value(code) / m_rule.globalScale; break;
        default: out[i] = m_rule.nestedBook[code] * outer[static_cast<std::size_t>((begin + i) / m_rule.nestedRun - firstOuter)] + m_rule.nestedOffset; break;
        }
    }
    return {};
}

Status DequantizedWeight::readZeros(std::uint64_t first, std::uint64_t count, std::vector<float>& out) const
{
    out.clear();
    if (m_stored.zeroPoint == kNoTensor)
        return {};
    const ScaleGrid& grid = m_rule.grid;
    const std::uint64_t begin = grid.firstScale(first);
    const std::size_t size = static_cast<std::size_t>(grid.endOfScales(first + count) - begin);
    out.resize(size);
    if (!m_rule.packedZeros) {
        std::vector<std::byte> codes(size);
        SHARDLENS_TRY(readBytes(m_stored.zeroPoint, begin, codes));
        std::transform(codes.begin(), codes.end(), out.begin(), [](std::byte code) { return static_cast<float>(static_cast<std::int8_t>(code)); });
        return {};
    }
    const std::uint32_t bits = m_rule.packing.bits;
    const std::uint64_t ofWord = kQuantWordBits / bits;
    const std::uint64_t ofRow = grid.columns / grid.run;
    const std::uint64_t firstRow = begin / ofRow / ofWord;
    const std::uint64_t lastRow = (begin + size - 1) / ofRow / ofWord;
    std::vector<std::byte> words(static_cast<std::size_t>((lastRow - firstRow + 1) * ofRow * sizeof(std::uint32_t)));
    SHARDLENS_TRY(readBytes(m_stored.zeroPoint, firstRow * ofRow * sizeof(std::uint32_t), words));
    for (std::size_t i = 0; i < size; ++i) {
        const std::uint64_t row = (begin + i) / ofRow;
        const std::uint32_t word = loadLe32(words.data() + ((row / ofWord - firstRow) * ofRow + (begin + i) % ofRow) * sizeof(std::uint32_t));
        const std::uint32_t code = (word >> (row % ofWord * bits)) & ((1u << bits) - 1);
        out[i] = static_cast<float>(static_cast<std::int32_t>(code) - (1 << (bits - 1)));
    }
    return {};
}

Status DequantizedWeight::readWords(std::uint64_t first, std::uint64_t count, std::span<std::uint8_t> out) const
{
    const CodePacking& packing = m_rule.packing;
    const std::uint64_t columns = m_rule.grid.columns;
    const std::uint64_t ofWord = kQuantWordBits / packing.bits;
    const auto bitOf = [&](std::uint64_t column) { return packing.loose ? column / ofWord * kQuantWordBits + column % ofWord * packing.bits : column * packing.bits; };
    const std::uint64_t last = first + count - 1;
    const std::uint64_t rowBits = packing.wordsOfRow * kQuantWordBits;
    const std::uint64_t begin = (first / columns * rowBits + bitOf(first % columns)) / kQuantWordBits;
    const std::uint64_t end = (last / columns * rowBits + bitOf(last % columns) + packing.bits - 1) / kQuantWordBits + 1;
    std::vector<std::byte> words(static_cast<std::size_t>((end - begin) * sizeof(std::uint32_t)) + sizeof(std::uint64_t)); // a code that crosses into the next word is loaded with it
    SHARDLENS_TRY(readBytes(m_stored.codes, begin * sizeof(std::uint32_t), std::span(words).first(words.size() - sizeof(std::uint64_t))));
    const std::uint32_t mask = (1u << packing.bits) - 1;
    const std::int32_t offset = 1 << (packing.bits - 1);
    std::uint64_t row = first / columns;
    std::uint64_t column = first % columns;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t bit = row * rowBits + bitOf(column) - begin * kQuantWordBits;
        const std::uint32_t window = loadLe<std::uint32_t>(words.data() + bit / 8) >> (bit % 8);
        out[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(window & mask) - offset);
        if (++column == columns) {
            column = 0;
            ++row;
        }
    }
    return {};
}

// A code a byte: of integers as two's complement.
Status DequantizedWeight::readCodes(std::uint64_t first, std::uint64_t count, std::span<std::uint8_t> out) const
{
    switch (m_rule.packing.kind) {
    case CodePacking::Kind::Bytes: return readBytes(m_stored.codes, first, std::as_writable_bytes(out));
    case CodePacking::Kind::Words: return readWords(first, count, out);
    case CodePacking::Kind::LowFirst:
    case CodePacking::Kind::HighFirst: break;
    }
    const bool lowFirst = m_rule.packing.kind == CodePacking::Kind::LowFirst;
    std::vector<std::byte> pairs(static_cast<std::size_t>((first + count + 1) / 2 - first / 2));
    SHARDLENS_TRY(readBytes(m_stored.codes, first / 2, pairs));
    for (std::size_t i = 0; i < count; ++i) {
        const auto pair = std::to_integer<std::uint32_t>(pairs[static_cast<std::size_t>((first + i) / 2 - first / 2)]);
        const bool low = ((first + i) % 2 == 0) == lowFirst;
        out[i] = static_cast<std::uint8_t>(low ? pair & 15u : pair >> 4);
    }
    return {};
}

Status DequantizedWeight::valuesOf(std::uint64_t first, std::uint64_t count, std::span<float> out) const
{
    thread_local std::vector<std::uint8_t> codes;
    thread_local std::vector<float> scales;
    thread_local std::vector<float> zeros;
    codes.resize(count);
    SHARDLENS_TRY(readCodes(first, count, codes));
    SHARDLENS_TRY(readScales(first, count, scales));
    SHARDLENS_TRY(readZeros(first, count, zeros));
    const std::uint64_t firstScale = m_rule.grid.firstScale(first);
    const NumericKernels& kernels = numericKernels();
    m_rule.grid.forRuns(first, count, [&](std::uint64_t scale, std::size_t at, std::size_t length, std::size_t runs) {
        const std::size_t own = static_cast<std::size_t>(scale - firstScale);
        const CodeRule rule{scales.data() + own, zeros.empty() ? nullptr : zeros.data() + own, roundTo(m_rule.rounded), 0, 0};
        if (m_rule.book.empty())
            kernels.intValues(reinterpret_cast<const std::int8_t*>(codes.data() + at), length, runs, rule, out.data() + at);
        else
            kernels.tableValues(codes.data() + at, length, runs, m_rule.book.data(), rule, out.data() + at);
    });
    if (m_rule.factor != 1)
        for (float& value : out)
            value *= m_rule.factor;
    return {};
}

Status DequantizedWeight::readAt(std::size_t, std::uint64_t offset, std::span<std::byte> out) const
{
    const std::uint64_t cell = info(m_rule.result).bytesPerBlock;
    thread_local std::vector<float> values;
    for (std::uint64_t done = 0; done < out.size();) {
        const std::uint64_t first = (offset + done) / cell;
        const std::uint64_t count = std::min(kDequantStep, (out.size() - done) / cell);
        values.resize(count);
        SHARDLENS_TRY(valuesOf(first, count, values));
        (void)castValues(DType::F32, reinterpret_cast<const std::byte*>(values.data()), m_rule.result, out.data() + done, count);
        done += count * cell;
    }
    return {};
}

} // namespace shardlens
