#include "core/quantized/quantized_weight.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace shardlens {
namespace {

constexpr std::uint64_t kQuantStep = 256u << 10; // computed at once, where units are shorter

using PartKind = QuantPart::Kind;

Error cancelled()
{
    return {ErrorCode::Cancelled, "cancelled"};
}

// "layers.0.weight: NaN at [3, 90]": the first of the values that is not finite.
Error nonFiniteError(const QuantLayout& layout, const WeightSource& source, std::uint64_t first, std::span<const std::byte> values)
{
    const auto at = firstNonFinite(source.dtype, values, layout.scheme().isLlmInt8());
    const std::uint64_t place = first + at.value_or(0);
    const double value = toDouble(source.dtype, values.data() + at.value_or(0) * info(source.dtype).bytesPerBlock);
    const std::string what = std::isnan(value) ? "NaN" : std::isinf(value) ? (value < 0 ? "-Inf" : "Inf") : fmt::format("{:g}, beyond the range of F16,", value);
    return Error{ErrorCode::Refused, fmt::format("{} at [{}, {}]: {} cannot hold it; leave the tensor as it is with --quantize-exclude, or keep such tensors with --non-finite keep", what,
                                                 place / layout.columns(), place % layout.columns(), layout.scheme().name)}
        .within(printable(source.name));
}

float valueOf(std::int32_t ordered)
{
    return __builtin_bit_cast(float, bitsOfOrdered(ordered));
}

DType promoted(DType a, DType b)
{
    return a == b ? a : DType::F32;
}

} // namespace

Status WeightSource::read(std::uint64_t first, std::uint64_t count, std::vector<std::byte>& into) const
{
    const std::uint64_t cell = info(dtype).bytesPerBlock;
    into.resize(count * cell);
    CastCounts lost;
    auto bytes = values->readAt(tensor, dtype, first * cell, into, lost);
    if (!bytes)
        return bytes.takeError();
    return {};
}

Result<WholeRange::Range> WholeRange::get(const PrepareWatch& watch) const
{
    const std::lock_guard lock(m_mutex);
    if (m_range)
        return *m_range;
    const QuantLayout& layout = m_quantizer.layout();
    const std::uint64_t step = kQuantStep; // ranges are merged: a run may be cut anywhere
    Range out;
    std::vector<std::byte> values;
    ScaleRanges ranges;
    for (std::uint64_t first = 0; first < layout.values(); first += step) {
        if (watch.stop.stop_requested())
            return cancelled();
        const std::uint64_t count = std::min(step, layout.values() - first);
        SHARDLENS_TRY(m_source.read(first, count, values));
        watch.read(values.size());
        ranges.reset(layout.grid().firstScale(first), static_cast<std::size_t>(layout.grid().endOfScales(first + count) - layout.grid().firstScale(first)));
        m_quantizer.measure(first, values, ranges);
        if (m_quantizer.firstNonFinite(ranges))
            return nonFiniteError(layout, m_source, first, values);
        out.least = std::min(out.least, valueOf(*std::min_element(ranges.least.begin(), ranges.least.end())));
        out.greatest = std::max(out.greatest, valueOf(*std::max_element(ranges.greatest.begin(), ranges.greatest.end())));
    }
    m_range = out;
    return out;
}

QuantizedWeight::QuantizedWeight(QuantLayout layout, WeightSource source, std::vector<std::shared_ptr<const WholeRange>> family, std::uint64_t mostBytes,
                                 std::shared_ptr<const QuantEngine> engine)
    : m_quantizer(std::move(layout)), m_source(std::move(source)), m_family(std::move(family)), m_engine(std::move(engine))
{
    const QuantLayout& own = m_quantizer.layout();
    m_measuredFirst = own.unitValues() * info(m_source.dtype).bytesPerBlock > mostBytes;
    m_grain = m_measuredFirst ? own.codeStep() : own.unitValues();
    const std::uint64_t atOnce = m_engine ? std::min(m_engine->stepValues(), mostBytes / info(m_source.dtype).bytesPerBlock) : kQuantStep;
    m_stepValues = std::max(std::max(atOnce, kQuantStep) / m_grain, std::uint64_t{1}) * m_grain;
}

std::uint64_t QuantizedWeight::bytesToRead() const
{
    return sourceBytes() + bytesToPrepare();
}

// Of a family each weight counts its own range.
std::uint64_t QuantizedWeight::bytesToPrepare() const
{
    return (m_measuredFirst ? sourceBytes() : 0) + (m_family.empty() ? 0 : sourceBytes());
}

std::uint64_t QuantizedWeight::threadBytes() const
{
    const std::uint64_t values = std::min(m_stepValues, layout().values());
    return values * info(m_source.dtype).bytesPerBlock + 2 * values; // what is read, codes before and after packing
}

Status QuantizedWeight::checkFinite(const ScaleRanges& ranges) const
{
    const auto bad = m_quantizer.firstNonFinite(ranges);
    if (!bad)
        return {};
    // the values are read once more, to say where: rows of a block, or the run of the scale
    const QuantLayout& own = layout();
    const ScaleGrid& grid = own.grid();
    const std::uint64_t first = grid.blockHeight != 0 ? *bad / grid.scalesOfRow() * grid.blockHeight * grid.columns : *bad * grid.run;
    const std::uint64_t end = std::min(first + (grid.blockHeight != 0 ? own.unitValues() : grid.run), own.values());
    std::vector<std::byte> values;
    for (std::uint64_t at = first; at < end; at += kQuantStep) {
        SHARDLENS_TRY(m_source.read(at, std::min(kQuantStep, end - at), values));
        if (firstNonFinite(m_source.dtype, values, own.scheme().isLlmInt8()))
            return nonFiniteError(own, m_source, at, values);
    }
    return Error{ErrorCode::Io, "its values changed while they were read"}.within(printable(m_source.name));
}

// Of values close to the dtype's range: their span, or twice the largest, is beyond it.
Status QuantizedWeight::checkScales(const QuantScales& scales) const
{
    for (std::size_t i = 0; i < scales.stored.size(); ++i)
        if (!std::isfinite(scales.stored[i]) || !std::isfinite(scales.effective[i]))
            return Error{ErrorCode::Refused, fmt::format("scale {} of {} would be infinite in {}: its values reach too far; leave it as it is with --quantize-exclude, or cast with --dtype F32", scales.first + i,
                                                         groupedText(layout().scales()), nameOf(m_source.dtype))}
                .within(printable(m_source.name));
    return {};
}

Status QuantizedWeight::measureAll(const PrepareWatch& watch) const
{
    const QuantLayout& own = layout();
    ScaleRanges ranges;
    ranges.reset(0, static_cast<std::size_t>(own.scales()));
    std::vector<std::byte> values;
    for (std::uint64_t first = 0; first < own.values(); first += kQuantStep) {
        if (watch.stop.stop_requested())
            return cancelled();
        SHARDLENS_TRY(m_source.read(first, std::min(kQuantStep, own.values() - first), values));
        watch.read(values.size());
        m_quantizer.measure(first, values, ranges);
    }
    SHARDLENS_TRY(checkFinite(ranges));
    m_quantizer.makeScales(ranges, m_globalScale, m_scales);
    return checkScales(m_scales);
}

Status QuantizedWeight::prepare(std::size_t, const PrepareWatch& watch) const
{
    if (m_isPrepared.load(std::memory_order_acquire))
        return {};
    const std::lock_guard lock(m_mutex);
    if (m_isPrepared.load(std::memory_order_acquire))
        return {};
    if (!m_family.empty()) {
        WholeRange::Range whole;
        DType dtype = m_family.front()->dtype();
        for (const auto& member : m_family) {
            SHARDLENS_ASSIGN(const WholeRange::Range range, member->get(watch));
            whole = {std::min(whole.least, range.least), std::max(whole.greatest, range.greatest)};
            dtype = promoted(dtype, member->dtype());
        }
        m_globalScale = nvfp4GlobalScale(dtype, whole.least, whole.greatest);
    }
    if (m_measuredFirst)
        SHARDLENS_TRY(measureAll(watch));
    m_isPrepared.store(true, std::memory_order_release);
    return {};
}

QuantizedWeight::Values QuantizedWeight::valuesOf(std::uint64_t step) const
{
    const std::uint64_t first = step * m_stepValues;
    return {first, std::min(m_stepValues, layout().values() - first)};
}

std::uint64_t QuantizedWeight::steps() const
{
    return (layout().values() + m_stepValues - 1) / m_stepValues;
}

FlatRange QuantizedWeight::scalesOf(const Values& values) const
{
    return {layout().grid().firstScale(values.first), layout().grid().endOfScales(values.end())};
}

bool QuantizedWeight::isOfWhole(const QuantPart& part) const
{
    if (part.kind == PartKind::Codes)
        return false;
    return m_measuredFirst || (part.kind != PartKind::Scale && part.kind != PartKind::ZeroPoint);
}

FlatRange QuantizedWeight::bytesOf(const QuantPart& part, const Values& values) const
{
    const QuantLayout& own = layout();
    if (isOfWhole(part))
        return {0, values.first == 0 ? part.sizeBytes() : 0};
    if (part.kind == PartKind::Codes)
        return {own.codeBytesBefore(values.first), own.codeBytesBefore(values.end())};
    const std::uint64_t cell = info(part.dtype).bytesPerBlock;
    if (part.kind == PartKind::ZeroPoint && own.wordsOfRow() != 0) {
        const std::uint64_t rows = 32u / own.bits();
        const std::uint64_t ofRow = own.scales() / own.rows() * cell;
        return {values.first / own.columns() / rows * ofRow, (values.end() / own.columns() + rows - 1) / rows * ofRow};
    }
    const FlatRange scales = scalesOf(values);
    return {scales.begin * cell, scales.end * cell};
}

FlatRange QuantizedWeight::bytesOf(std::size_t output, std::uint64_t step) const
{
    return bytesOf(layout().parts()[output], valuesOf(step));
}

Status QuantizedWeight::writeWhole(const QuantPart& part, std::span<std::byte> out) const
{
    switch (part.kind) {
    case PartKind::Scale: m_quantizer.writeScales(m_scales, out); break;
    case PartKind::ZeroPoint: m_quantizer.writeZeroPoints(m_scales, out); break;
    case PartKind::GlobalScale: std::memcpy(out.data(), &m_globalScale, sizeof(m_globalScale)); break;
    default: std::copy(part.constant.begin(), part.constant.end(), out.begin()); break;
    }
    return {};
}

// The scales that values need: valid until the thread asks for others.
Result<const QuantScales*> QuantizedWeight::scalesFor(const Values& values, std::span<const std::byte> bytes, QuantEngine::Load* load) const
{
    if (m_measuredFirst)
        return &m_scales;
    thread_local ScaleRanges ranges;
    thread_local QuantScales own;
    const FlatRange scales = scalesOf(values);
    ranges.reset(scales.begin, static_cast<std::size_t>(scales.size()));
    if (load != nullptr)
        SHARDLENS_TRY(load->measure(ranges));
    else
        m_quantizer.measure(values.first, bytes, ranges);
    SHARDLENS_TRY(checkFinite(ranges));
    m_quantizer.makeScales(ranges, m_globalScale, own);
    SHARDLENS_TRY(checkScales(own));
    return &own;
}

Status QuantizedWeight::roundTrip(std::uint64_t first, std::span<const std::byte> values, std::span<float> out) const
{
    SHARDLENS_TRY(prepareAll({}));
    SHARDLENS_ASSIGN(const QuantScales* const scales, scalesFor({first, out.size()}, values));
    m_quantizer.roundTrip(first, values, *scales, out);
    return {};
}

Status QuantizedWeight::writeCodes(const Values& values, std::span<const std::byte> bytes, const QuantScales& scales, QuantEngine::Load* load, std::span<std::byte> out) const
{
    if (load == nullptr) {
        m_quantizer.writeCodes(values.first, bytes, scales, out);
        return {};
    }
    thread_local std::vector<std::uint8_t> codes;
    codes.resize(values.count);
    SHARDLENS_TRY(load->codes(scales, codes));
    m_quantizer.packCodes(codes, out);
    return {};
}

// Fills those of the outputs that there is room for.
Result<std::uint64_t> QuantizedWeight::compute(const Values& values, std::span<const std::span<std::byte>> out) const
{
    thread_local std::vector<std::byte> bytes;
    SHARDLENS_TRY(m_source.read(values.first, values.count, bytes));
    std::unique_ptr<QuantEngine::Load> load;
    if (m_engine) {
        SHARDLENS_ASSIGN(load, m_engine->load(m_quantizer, values.first, bytes));
    }
    SHARDLENS_ASSIGN(const QuantScales* const known, scalesFor(values, bytes, load.get()));
    const QuantScales& scales = *known;
    for (std::size_t i = 0; i < out.size(); ++i) {
        const QuantPart& part = layout().parts()[i];
        if (out[i].empty())
            continue;
        if (isOfWhole(part))
            SHARDLENS_TRY(writeWhole(part, out[i]));
        else if (part.kind == PartKind::Codes)
            SHARDLENS_TRY(writeCodes(values, bytes, scales, load.get(), out[i]));
        else if (part.kind == PartKind::Scale)
            m_quantizer.writeScales(scales, out[i]);
        else
            m_quantizer.writeZeroPoints(scales, out[i]);
    }
    return std::uint64_t{bytes.size()};
}

Result<std::uint64_t> QuantizedWeight::computeStep(std::uint64_t step, std::span<const std::span<std::byte>> out) const
{
    SHARDLENS_TRY(prepareAll({}));
    return compute(valuesOf(step), out);
}

Status QuantizedWeight::readAt(std::size_t output, std::uint64_t offset, std::span<std::byte> out) const
{
    if (out.empty())
        return {};
    SHARDLENS_TRY(prepareAll({}));
    const QuantPart& part = layout().parts()[output];
    std::vector<std::byte> whole;
    if (isOfWhole(part)) {
        whole.resize(part.sizeBytes());
        SHARDLENS_TRY(writeWhole(part, whole));
        std::memcpy(out.data(), whole.data() + offset, out.size());
        return {};
    }
    // As few grains as hold the bytes: all but the last give equally many.
    const std::uint64_t total = layout().values();
    const std::uint64_t ofGrain = bytesOf(part, {0, std::min(m_grain, total)}).size();
    const std::uint64_t lastGrain = (std::min(offset + out.size(), part.sizeBytes()) - 1) / ofGrain + 1;
    std::vector<std::span<std::byte>> wanted(outputs());
    for (std::uint64_t grain = offset / ofGrain; grain < lastGrain;) {
        const std::uint64_t count = std::min(std::max(m_stepValues / m_grain, std::uint64_t{1}), lastGrain - grain);
        const std::uint64_t first = grain * m_grain;
        const Values values{first, std::min(count * m_grain, total - first)};
        const FlatRange bytes = bytesOf(part, values);
        whole.resize(bytes.size());
        wanted[output] = whole;
        SHARDLENS_TRY(compute(values, wanted));
        const FlatRange shared = intersect(bytes, FlatRange{offset, offset + out.size()});
        std::memcpy(out.data() + (shared.begin - offset), whole.data() + (shared.begin - bytes.begin), shared.size());
        grain += count;
    }
    return {};
}

} // namespace shardlens
