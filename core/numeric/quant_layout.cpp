#include "core/numeric/quant_scheme.h"

#include "core/base/checked.h"
#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/numeric/quant_books.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace shardlens {
namespace {

constexpr std::string_view kWeight = "weight";

using Kind = QuantPart::Kind;

template <typename T>
std::vector<std::byte> bytesOfAll(std::span<const T> values)
{
    std::vector<std::byte> out(values.size() * sizeof(T));
    for (std::size_t i = 0; i < values.size(); ++i)
        storeLe(out.data() + i * sizeof(T), values[i]);
    return out;
}

std::vector<std::byte> bytesOfText(std::string_view text)
{
    const auto* first = reinterpret_cast<const std::byte*>(text.data());
    return {first, first + text.size()};
}

// What bitsandbytes keeps of a packed tensor, as it writes it.
std::string quantState(std::string_view type, std::uint32_t blocksize, DType dtype, std::uint64_t rows, std::uint64_t columns)
{
    return fmt::format(R"({{"quant_type": "{}", "blocksize": {}, "dtype": "{}", "shape": [{}, {}]}})", type, blocksize, info(dtype).torchName, rows, columns);
}

Status checkWeight(const QuantScheme& scheme, DType dtype, ShapeView shape)
{
    if (dtype != DType::F32 && dtype != DType::BF16 && dtype != DType::F16)
        return Error{ErrorCode::Refused, fmt::format("it is {}, and {} is made of F32, BF16 or F16: cast it with --dtype, or leave it as it is with --quantize-exclude", nameOf(dtype), scheme.name)};
    if (shape.size() != 2)
        return Error{ErrorCode::Refused, fmt::format("it has {}, and {} is of matrices", plural(shape.size(), "dimension", "dimensions"), scheme.name)};
    if (shape[0] == 0 || shape[1] == 0)
        return Error{ErrorCode::Refused, "it has no values"};
    if (scheme.scope == ScaleScope::Group && shape[1] % scheme.group != 0)
        return Error{ErrorCode::Refused, fmt::format("its rows of {} values are no multiple of the group of {}: leave it as it is with --quantize-exclude, or choose a scheme whose group divides them", groupedText(shape[1]), scheme.group)};
    return {};
}

} // namespace

std::uint64_t QuantPart::sizeBytes() const
{
    return bytesOf(dtype, elementCount(shape).value_or(0)).value_or(0);
}

Result<QuantLayout> QuantLayout::make(const QuantScheme& scheme, const QuantParameters& parameters, std::string_view name, DType dtype, ShapeView shape)
{
    SHARDLENS_TRY(checkWeight(scheme, dtype, shape));
    QuantLayout out;
    out.m_scheme = &scheme;
    out.m_bits = scheme.scope == ScaleScope::Pieces ? parameters.bits : scheme.bits;
    out.m_dtype = dtype;
    out.m_grid.rows = shape[0];
    out.m_grid.columns = shape[1];
    if (scheme.scope == ScaleScope::Pieces && (parameters.pieces == 0 || parameters.pieces > out.values()))
        return Error{ErrorCode::Refused, fmt::format("{} and it has {}", plural(parameters.pieces, "group is asked for,", "groups are asked for,"), plural(out.values(), "value", "values"))};
    out.placeScales(parameters);
    out.placeCodes();
    SHARDLENS_TRY(out.nameParts(std::string(name)));
    return out;
}

void QuantLayout::placeScales(const QuantParameters& parameters)
{
    switch (m_scheme->scope) {
    case ScaleScope::Tensor: m_grid.run = values(); break;
    case ScaleScope::Channel: m_grid.run = columns(); break;
    case ScaleScope::Group:
    case ScaleScope::Flat: m_grid.run = m_scheme->group; break;
    case ScaleScope::Block: m_grid.run = m_grid.blockHeight = m_scheme->group; break;
    case ScaleScope::Pieces: m_grid.run = values() / parameters.pieces; break;
    }
}

void QuantLayout::placeCodes()
{
    const bool ofWords = m_scheme->packed && m_scheme->codes == CodeKind::Int;
    m_words = ofWords ? divideUp(columns() * m_bits, kQuantWordBits) : 0;
    const std::uint64_t ofWord = kQuantWordBits / m_bits;
    if (ofWords)
        m_codeStep = columns() % ofWord == 0 ? ofWord : columns();
    else if (m_scheme->codes == CodeKind::E2M1 || m_scheme->codes == CodeKind::Book)
        m_codeStep = 2;
    m_unit = std::lcm(m_grid.run, m_codeStep);
    if (m_scheme->scope == ScaleScope::Block)
        m_unit = m_grid.run * columns();
    else if (ofWords && !m_scheme->symmetric)
        m_unit = ofWord * columns(); // zero points of so many rows share a word
    m_unit = std::min(m_unit, values());
}

std::uint64_t QuantLayout::codeBytesBefore(std::uint64_t value) const
{
    if (m_words != 0)
        return m_codeStep == columns() && columns() * m_bits % kQuantWordBits != 0 ? value / columns() * m_words * sizeof(std::uint32_t) : value * m_bits / 8;
    return m_codeStep == 2 ? divideUp(value, 2) : value;
}

Status QuantLayout::nameParts(const std::string& name)
{
    switch (m_scheme->family) {
    case QuantFamily::CompressedTensors: nameCompressed(name); return {};
    case QuantFamily::BitsAndBytes: return nameBitsAndBytes(name);
    case QuantFamily::DeepSpeed:
        m_parts.push_back({Kind::Codes, name, DType::I8, {rows(), columns()}});
        m_parts.push_back({Kind::Scale, name + "_scale", DType::F32, {1, scales()}});
        return {};
    }
    return {};
}

void QuantLayout::nameCompressed(const std::string& name)
{
    const QuantScheme& scheme = *m_scheme;
    const Shape grid = scheme.scope == ScaleScope::Tensor ? Shape{1} : scheme.scope == ScaleScope::Block ? Shape{scales() / m_grid.scalesOfRow(), m_grid.scalesOfRow()} : Shape{rows(), scales() / rows()};
    if (m_words != 0)
        m_parts.push_back({Kind::Codes, name + "_packed", DType::I32, {rows(), m_words}});
    else if (scheme.packed)
        m_parts.push_back({Kind::Codes, name + "_packed", DType::U8, {rows(), columns() / 2}});
    else
        m_parts.push_back({Kind::Codes, name, scheme.codes == CodeKind::E4M3 ? DType::F8E4M3 : DType::I8, {rows(), columns()}});
    const DType stored = scheme.scale == ScaleKind::E8M0 ? DType::U8 : scheme.scale == ScaleKind::E4M3 ? DType::F8E4M3 : m_dtype;
    m_parts.push_back({Kind::Scale, name + "_scale", stored, grid});
    if (!scheme.symmetric && m_words != 0)
        m_parts.push_back({Kind::ZeroPoint, name + "_zero_point", DType::I32, {divideUp(rows() * m_bits, kQuantWordBits), scales() / rows()}});
    else if (!scheme.symmetric)
        m_parts.push_back({Kind::ZeroPoint, name + "_zero_point", DType::I8, grid});
    if (m_words != 0) {
        const std::array<std::int64_t, 2> shape{static_cast<std::int64_t>(rows()), static_cast<std::int64_t>(columns())};
        m_parts.push_back({Kind::Shape, name + "_shape", DType::I64, {2}, bytesOfAll(std::span<const std::int64_t>(shape))});
    }
    if (scheme.scale == ScaleKind::E4M3)
        m_parts.push_back({Kind::GlobalScale, name + "_global_scale", DType::F32, {1}});
}

Status QuantLayout::nameBitsAndBytes(const std::string& name)
{
    if (m_scheme->codes == CodeKind::Book) {
        const QuantBook& book = quantBook(m_scheme->format);
        const std::vector<std::byte> state = bytesOfText(quantState(m_scheme->format, m_scheme->group, m_dtype, rows(), columns()));
        m_parts.push_back({Kind::Codes, name, DType::U8, {divideUp(values(), 2), 1}});
        m_parts.push_back({Kind::Scale, name + ".absmax", DType::F32, {scales()}});
        m_parts.push_back({Kind::Book, name + ".quant_map", DType::F32, {book.values.size()}, bytesOfAll(std::span<const float>(book.values))});
        m_parts.push_back({Kind::State, fmt::format("{}.quant_state.bitsandbytes__{}", name, m_scheme->format), DType::U8, {state.size()}, state});
        return {};
    }
    if (name != kWeight && !name.ends_with(".weight"))
        return Error{ErrorCode::Refused, "bitsandbytes keeps INT8 of modules' weights only, and its name does not end in .weight"};
    const std::string module = name.substr(0, name.size() - kWeight.size());
    m_parts.push_back({Kind::Codes, name, DType::I8, {rows(), columns()}});
    m_parts.push_back({Kind::Scale, module + "SCB", DType::F32, {rows()}});
    m_parts.push_back({Kind::Format, module + "weight_format", DType::U8, {}, {std::byte{0}}});
    return {};
}

} // namespace shardlens
