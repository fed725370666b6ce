#include "core/quantized/dequant_rule.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/json_document.h"
#include "core/numeric/kernels/scalar_math.h"
#include "core/numeric/quant_scheme.h"
#include "core/numeric/scale_grid.h"

#include <fmt/format.h>

#include <cmath>

namespace shardlens {
namespace {

using Kind = StoredWeight::Kind;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t kBlockSide = 128;
constexpr std::size_t kLargestState = 1u << 16;
constexpr std::size_t kDeepestState = 8;
constexpr std::uint64_t kFewPieces = 4096; // runs of DeepSpeed: fewer are looked for by number, more by length

class Planner {
public:
    Planner(const ValueReader& values, const Checkpoint& checkpoint, const StoredWeight& stored, const QuantizationConfig& config)
        : m_values(values), m_checkpoint(checkpoint), m_stored(stored), m_config(config)
    {
    }

    Result<DequantPlan> run()
    {
        m_out.rule.kind = m_stored.kind;
        switch (m_stored.kind) {
        case Kind::Int: SHARDLENS_TRY(planInt()); break;
        case Kind::E4M3: SHARDLENS_TRY(planE4M3()); break;
        case Kind::E2M1: SHARDLENS_TRY(planE2M1()); break;
        case Kind::Book: SHARDLENS_TRY(planBook()); break;
        case Kind::LlmInt8: SHARDLENS_TRY(planLlmInt8()); break;
        case Kind::Unread: return Error{ErrorCode::Unsupported, m_stored.problem};
        }
        return std::move(m_out);
    }

private:
    [[nodiscard]] const Tensor& tensor(TensorId id) const { return m_checkpoint.tensor(id); }
    [[nodiscard]] const Shape& codesShape() const { return tensor(m_stored.codes).shape; }
    [[nodiscard]] std::string nameOfPart(TensorId id) const { return printable(m_checkpoint.parameterOf(id)); }

    Status readAll(TensorId id, std::vector<std::byte>& out, std::uint64_t most) const
    {
        const std::uint64_t bytes = m_checkpoint.bytesOf(id);
        if (bytes > most)
            return Error{ErrorCode::LimitExceeded, fmt::format("{} has {} B, at most {} are read", nameOfPart(id), groupedText(bytes), groupedText(most))};
        out.resize(bytes);
        CastCounts lost;
        if (auto read = m_values.readAt(id, tensor(id).dtype, 0, out, lost); !read)
            return read.takeError();
        return {};
    }

    Status readFloats(TensorId id, std::size_t count, std::vector<float>& out) const
    {
        if (tensor(id).dtype != DType::F32 || elementCount(tensor(id).shape) != count)
            return Error{ErrorCode::Corrupt, fmt::format("{} is {} {}, and F32 [{}] is needed", nameOfPart(id), nameOf(tensor(id).dtype), shapeText(tensor(id).shape), count)};
        out.resize(count);
        CastCounts lost;
        if (auto read = m_values.readAt(id, DType::F32, 0, std::as_writable_bytes(std::span(out)), lost); !read)
            return read.takeError();
        return {};
    }

    Status setShape(std::uint64_t rows, std::uint64_t columns)
    {
        if (rows == 0 || columns == 0)
            return Error{ErrorCode::Corrupt, fmt::format("a weight of [{}, {}]", rows, columns)};
        m_out.shape = {rows, columns};
        m_out.rule.grid.rows = rows;
        m_out.rule.grid.columns = columns;
        return {};
    }

    Status needMatrix(TensorId id) const
    {
        if (tensor(id).shape.size() != 2)
            return Error{ErrorCode::Unsupported, fmt::format("{} is {}, and a matrix is needed", nameOfPart(id), shapeText(tensor(id).shape))};
        return {};
    }

    // Runs or blocks that the shape of the scales stands for.
    Status placeScales()
    {
        const Shape& scales = tensor(m_stored.scale).shape;
        ScaleGrid& grid = m_out.rule.grid;
        const std::uint64_t count = elementCount(scales).value_or(0);
        const bool isMatrix = scales.size() == 2;
        if (const std::uint64_t group = m_stored.saidGroup; group != 0 && isMatrix) {
            if (scales[0] != grid.rows || scales[1] != divideUp(grid.columns, group))
                return Error{ErrorCode::Corrupt, fmt::format("{} is {}, and config.json says groups of {} of [{}, {}]", nameOfPart(m_stored.scale), shapeText(scales), group, grid.rows, grid.columns)};
            if (grid.columns % group != 0)
                return Error{ErrorCode::Unsupported, fmt::format("groups of {} do not divide its rows of {} values", group, grid.columns)};
        }
        if (m_stored.saidChannel && count != grid.rows)
            return Error{ErrorCode::Corrupt, fmt::format("{} is {}, and config.json says a scale a row of [{}, {}]", nameOfPart(m_stored.scale), shapeText(scales), grid.rows, grid.columns)};
        const auto [height, width] = blockOf();
        const bool fitsBlocks = isMatrix && height != 0 && width != 0 && scales[0] == divideUp(grid.rows, height) && scales[1] == divideUp(grid.columns, width);
        if (count == 1 && scales.size() <= 2)
            grid.run = grid.values();
        else if (fitsBlocks && m_stored.kind == Kind::E4M3 && m_out.rule.scales == DequantRule::Scales::Floats)
            return placeBlocks(scales); // FP8 has no other groups
        else if ((scales.size() == 1 && scales[0] == grid.rows) || (isMatrix && scales[0] == grid.rows && scales[1] == 1))
            grid.run = grid.columns;
        else if (isMatrix && scales[0] == grid.rows && scales[1] != 0 && grid.columns % scales[1] == 0)
            grid.run = grid.columns / scales[1];
        else
            return placeBlocks(scales);
        return {};
    }

    [[nodiscard]] std::array<std::uint64_t, 2> blockOf() const
    {
        const Json* found = nullptr;
        if (m_config.json != nullptr) {
            if (const auto at = m_config.json->find("weight_block_size"); at != m_config.json->end())
                found = &*at;
            const Json::json_pointer pointer("/config_groups/group_0/weights/block_structure");
            if (found == nullptr && m_config.json->contains(pointer))
                found = &m_config.json->at(pointer);
        }
        if (found != nullptr && found->is_array() && found->size() == 2 && (*found)[0].is_number_unsigned() && (*found)[1].is_number_unsigned())
            return {(*found)[0].get<std::uint64_t>(), (*found)[1].get<std::uint64_t>()};
        return {kBlockSide, kBlockSide};
    }

    Status placeBlocks(const Shape& scales)
    {
        ScaleGrid& grid = m_out.rule.grid;
        const auto [height, width] = blockOf();
        if (height == 0 || width == 0 || scales.size() != 2 || scales[0] != divideUp(grid.rows, height) || scales[1] != divideUp(grid.columns, width)) {
            std::string fits;
            for (const std::uint64_t side : std::array<std::uint64_t, 5>{16, 32, 64, 128, 256})
                if (scales.size() == 2 && scales[0] == divideUp(grid.rows, side) && scales[1] == divideUp(grid.columns, side))
                    fits = fmt::format("; blocks of {} × {} would fit, which config.json does not say", side, side);
            return Error{ErrorCode::Corrupt, fmt::format("{} is {}, which is no scale a tensor, a row, a group of a row or a block of {} × {} of [{}, {}]{}", nameOfPart(m_stored.scale), shapeText(scales), height, width,
                                                         grid.rows, grid.columns, fits)};
        }
        grid.run = std::min(width, grid.columns);
        grid.blockHeight = std::min(height, grid.rows);
        return {};
    }

    Status useScaleDType()
    {
        const DType dtype = tensor(m_stored.scale).dtype;
        if (dtype != DType::F32 && dtype != DType::BF16 && dtype != DType::F16)
            return Error{ErrorCode::Unsupported, fmt::format("{} is {}; F32, BF16 and F16 are read", nameOfPart(m_stored.scale), nameOf(dtype))};
        m_out.rule.result = m_out.rule.rounded = dtype;
        return {};
    }

    Status planInt()
    {
        SHARDLENS_TRY(needMatrix(m_stored.codes));
        if (m_stored.method == "deepspeed-int8")
            return planDeepSpeed();
        if (m_stored.shape != kNoTensor)
            SHARDLENS_TRY(planWords());
        else
            SHARDLENS_TRY(setShape(codesShape()[0], codesShape()[1]));
        SHARDLENS_TRY(useScaleDType());
        SHARDLENS_TRY(placeScales());
        return m_stored.zeroPoint == kNoTensor ? Status{} : checkZeros();
    }

    Status planWords()
    {
        std::vector<std::byte> bytes;
        if (tensor(m_stored.shape).dtype != DType::I64 || elementCount(tensor(m_stored.shape).shape) != 2)
            return Error{ErrorCode::Corrupt, fmt::format("{} is {} {}, and I64 [2] is needed", nameOfPart(m_stored.shape), nameOf(tensor(m_stored.shape).dtype), shapeText(tensor(m_stored.shape).shape))};
        SHARDLENS_TRY(readAll(m_stored.shape, bytes, kLargestState));
        const auto rows = loadLe<std::int64_t>(bytes.data());
        const auto columns = loadLe<std::int64_t>(bytes.data() + sizeof(rows));
        const std::uint64_t words = codesShape()[1];
        if (rows <= 0 || columns <= 0 || static_cast<std::uint64_t>(rows) != codesShape()[0] || static_cast<std::uint64_t>(columns) / kQuantWordBits > words)
            return Error{ErrorCode::Corrupt, fmt::format("{} says [{}, {}], and the words are {}", nameOfPart(m_stored.shape), rows, columns, shapeText(codesShape()))};
        SHARDLENS_TRY(setShape(static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns)));
        return findBits(words, static_cast<std::uint64_t>(columns));
    }

    // As many bits a code as make that many words of a row: of several the one that config.json names, else 4 or 8 first.
    Status findBits(std::uint64_t words, std::uint64_t columns)
    {
        CodePacking& packing = m_out.rule.packing;
        packing.kind = CodePacking::Kind::Words;
        packing.wordsOfRow = words;
        std::uint64_t said = 0;
        const Json::json_pointer pointer("/config_groups/group_0/weights/num_bits");
        if (m_config.json != nullptr && m_config.json->contains(pointer) && m_config.json->at(pointer).is_number_unsigned())
            said = m_config.json->at(pointer).get<std::uint64_t>();
        for (const std::uint64_t bits : {said, std::uint64_t{4}, std::uint64_t{8}, std::uint64_t{2}, std::uint64_t{3}, std::uint64_t{5}, std::uint64_t{6}, std::uint64_t{7}, std::uint64_t{1}}) {
            if (bits == 0 || bits > 8 || (m_stored.saidBits != 0 && bits != m_stored.saidBits))
                continue;
            const bool dense = words == divideUp(columns * bits, kQuantWordBits);
            if (!dense && words != divideUp(columns, kQuantWordBits / bits))
                continue;
            packing.bits = static_cast<std::uint32_t>(bits);
            packing.loose = !dense;
            return {};
        }
        if (m_stored.saidBits != 0)
            return Error{ErrorCode::Corrupt, fmt::format("{} words a row hold no {} codes of {} bits each, which config.json says", words, columns, m_stored.saidBits)};
        return Error{ErrorCode::Corrupt, fmt::format("{} words a row hold no {} codes of 1 to 8 bits each", words, columns)};
    }

    Status checkZeros()
    {
        const Tensor& zeros = tensor(m_stored.zeroPoint);
        const Tensor& scales = tensor(m_stored.scale);
        const ScaleGrid& grid = m_out.rule.grid;
        m_out.rule.packedZeros = zeros.dtype == DType::I32;
        const std::uint64_t rows = m_out.rule.packedZeros ? divideUp(grid.rows * m_out.rule.packing.bits, kQuantWordBits) : grid.rows;
        const bool fits = m_out.rule.packedZeros ? grid.blockHeight == 0 && grid.columns % grid.run == 0 && zeros.shape == Shape{rows, grid.columns / grid.run}
                                                 : zeros.dtype == DType::I8 && elementCount(zeros.shape) == elementCount(scales.shape);
        if (!fits || (m_out.rule.packedZeros && kQuantWordBits % m_out.rule.packing.bits != 0))
            return Error{ErrorCode::Corrupt, fmt::format("{} is {} {}, which does not go with scales {}", nameOfPart(m_stored.zeroPoint), nameOf(zeros.dtype), shapeText(zeros.shape), shapeText(scales.shape))};
        return {};
    }

    // The pieces' length is said by config.json, or follows from how many there are: an even cut where there is one, else the one length that a number of groups gives.
    Status planDeepSpeed()
    {
        SHARDLENS_TRY(setShape(codesShape()[0], codesShape()[1]));
        ScaleGrid& grid = m_out.rule.grid;
        const std::uint64_t total = grid.values();
        const std::uint64_t pieces = elementCount(tensor(m_stored.scale).shape).value_or(0);
        m_out.rule.result = m_out.rule.rounded = DType::F32;
        std::vector<std::uint64_t> fitting;
        const auto consider = [&](std::uint64_t groups) {
            if (groups != 0 && groups <= total && divideUp(total, total / groups) == pieces && (fitting.empty() || fitting.back() != total / groups))
                fitting.push_back(total / groups);
        };
        if (m_config.json != nullptr && m_config.json->contains("groups") && (*m_config.json)["groups"].is_number_unsigned())
            consider((*m_config.json)["groups"].get<std::uint64_t>());
        if (fitting.empty() && pieces != 0 && total % pieces == 0)
            fitting.push_back(total / pieces);
        if (fitting.empty() && pieces > 1 && total > 0) {
            for (std::uint64_t groups = pieces <= kFewPieces ? pieces : 0; groups > 0; --groups)
                consider(groups);
            for (std::uint64_t run = divideUp(total, pieces); pieces > kFewPieces && run <= (total - 1) / (pieces - 1); ++run)
                consider(total / run);
        }
        if (fitting.size() > 1)
            return Error{ErrorCode::Unsupported, fmt::format("{} has {} scales, which runs of {} values give and runs of {}: the number of groups is needed, which config.json has beside a converted model",
                                                         nameOfPart(m_stored.scale), groupedText(pieces), groupedText(fitting[0]), groupedText(fitting[1]))};
        if (tensor(m_stored.scale).dtype != DType::F32 || fitting.empty())
            return Error{ErrorCode::Corrupt, fmt::format("{} is {} {}, which is no number of groups of {} values", nameOfPart(m_stored.scale), nameOf(tensor(m_stored.scale).dtype), shapeText(tensor(m_stored.scale).shape),
                                                         groupedText(total))};
        grid.run = fitting.front();
        return {};
    }

    Status planE4M3()
    {
        SHARDLENS_TRY(needMatrix(m_stored.codes));
        SHARDLENS_TRY(setShape(codesShape()[0], codesShape()[1]));
        for (std::uint32_t code = 0; code < 256; ++code)
            m_out.rule.book.push_back(e4m3Value(code));
        const DType scale = tensor(m_stored.scale).dtype;
        if (m_stored.method == "fp8") { // weight_scale_inv: what the vendors' own script makes of it (formats/quantization.md §7)
            if (scale != DType::F32 && scale != DType::F8E8M0 && scale != DType::BF16)
                return Error{ErrorCode::Unsupported, fmt::format("{} is {}", nameOfPart(m_stored.scale), nameOf(scale))};
            m_out.rule.result = DType::BF16;
            m_out.rule.rounded = DType::F32;
            return placeScales();
        }
        if (scale == DType::U8 || scale == DType::F8E8M0)
            return planPowers();
        SHARDLENS_TRY(useScaleDType());
        return placeScales();
    }

    Status planPowers()
    {
        m_out.rule.scales = DequantRule::Scales::E8M0;
        m_out.rule.result = m_out.rule.rounded = DType::BF16;
        return placeScales();
    }

    Status planE2M1()
    {
        SHARDLENS_TRY(needMatrix(m_stored.codes));
        SHARDLENS_TRY(setShape(codesShape()[0], codesShape()[1] * 2));
        m_out.rule.packing = {CodePacking::Kind::LowFirst, 4, 0, false};
        for (std::uint32_t code = 0; code < 16; ++code)
            m_out.rule.book.push_back(e2m1Value(code));
        if (m_stored.globalScale == kNoTensor)
            return planPowers();
        std::vector<float> global;
        SHARDLENS_TRY(readFloats(m_stored.globalScale, 1, global));
        m_out.rule.globalScale = global.front();
        if (!std::isfinite(global.front()) || global.front() == 0)
            return Error{ErrorCode::Corrupt, fmt::format("{} is {}: scales are divided by it", nameOfPart(m_stored.globalScale), global.front())};
        m_out.rule.scales = DequantRule::Scales::BelowGlobal;
        m_out.rule.result = DType::BF16;
        m_out.rule.rounded = DType::F32;
        return placeScales();
    }

    Status planBook()
    {
        std::vector<std::byte> text;
        SHARDLENS_TRY(readAll(m_stored.state, text, kLargestState));
        auto parsed = parseJson(std::string_view(reinterpret_cast<const char*>(text.data()), text.size()), kLargestState, kDeepestState);
        if (!parsed)
            return parsed.takeError().within(nameOfPart(m_stored.state));
        if (Status status = useState(*parsed); !status)
            return status.takeError().within(nameOfPart(m_stored.state));
        SHARDLENS_TRY(readFloats(m_stored.book, 16, m_out.rule.book));
        const std::uint64_t blocks = m_out.rule.grid.scales();
        const std::uint64_t bytes = divideUp(m_out.rule.grid.values(), 2);
        const bool nested = m_stored.nestedScale != kNoTensor;
        const DType wanted = nested ? DType::U8 : DType::F32;
        if (m_checkpoint.bytesOf(m_stored.codes) != bytes)
            return Error{ErrorCode::Corrupt, fmt::format("{} B of codes, and {} values need {}", groupedText(m_checkpoint.bytesOf(m_stored.codes)), groupedText(m_out.rule.grid.values()), groupedText(bytes))};
        if (tensor(m_stored.scale).dtype != wanted || elementCount(tensor(m_stored.scale).shape) != blocks)
            return Error{ErrorCode::Corrupt, fmt::format("{} is {} {}, and {} [{}] is needed", nameOfPart(m_stored.scale), nameOf(tensor(m_stored.scale).dtype), shapeText(tensor(m_stored.scale).shape), nameOf(wanted), blocks)};
        if (nested)
            SHARDLENS_TRY(planNested(*parsed, blocks));
        return {};
    }

    Status useState(const Json& state)
    {
        const auto shape = state.is_object() ? state.find("shape") : state.end();
        const auto number = [](const Json& value) { return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0; };
        if (!state.is_object() || shape == state.end() || !shape->is_array() || shape->empty())
            return Error{ErrorCode::Corrupt, "no object with a shape"};
        std::uint64_t rest = 1;
        Shape whole;
        for (const Json& one : *shape) {
            whole.push_back(number(one));
            if (__builtin_mul_overflow(rest, whole.back(), &rest))
                return Error{ErrorCode::Corrupt, "a shape without end"};
        }
        if (rest == 0)
            return Error{ErrorCode::Corrupt, fmt::format("a shape of {}", shapeText(whole))};
        SHARDLENS_TRY(setShape(whole.front(), rest / whole.front()));
        m_out.shape = whole;
        const std::uint64_t block = state.contains("blocksize") ? number(state["blocksize"]) : 0;
        const std::string name = state.contains("dtype") && state["dtype"].is_string() ? state["dtype"].get<std::string>() : std::string();
        const DType dtype = dtypeByTorchName(name).value_or(DType::U8);
        if (block < 2 || block % 2 != 0 || (dtype != DType::F32 && dtype != DType::BF16 && dtype != DType::F16))
            return Error{ErrorCode::Corrupt, "no blocksize and dtype that are known"};
        m_out.rule.packing = {CodePacking::Kind::HighFirst, 4, 0, false};
        m_out.rule.grid.run = block;
        m_out.rule.result = dtype;
        m_out.rule.rounded = DType::F32;
        return {};
    }

    Status planNested(const Json& state, std::uint64_t blocks)
    {
        const auto block = state.find("nested_blocksize");
        const auto offset = state.find("nested_offset");
        if (offset == state.end() || !offset->is_number() || !std::isfinite(offset->get<double>()) || block == state.end() || !block->is_number_unsigned() || block->get<std::uint64_t>() == 0)
            return Error{ErrorCode::Corrupt, "its statistics are nested, and nested_offset or nested_blocksize is missing"}.within(nameOfPart(m_stored.state));
        if (m_stored.nestedBook == kNoTensor)
            return Error{ErrorCode::Corrupt, "its statistics are nested, and there is no nested_quant_map"};
        m_out.rule.scales = DequantRule::Scales::Nested;
        m_out.rule.nestedOffset = static_cast<float>(offset->get<double>());
        m_out.rule.nestedRun = block->get<std::uint64_t>();
        if (elementCount(tensor(m_stored.nestedScale).shape) != divideUp(blocks, m_out.rule.nestedRun))
            return Error{ErrorCode::Corrupt, fmt::format("{} is {}, and {} are needed", nameOfPart(m_stored.nestedScale), shapeText(tensor(m_stored.nestedScale).shape), divideUp(blocks, m_out.rule.nestedRun))};
        return readFloats(m_stored.nestedBook, 256, m_out.rule.nestedBook);
    }

    Status planLlmInt8()
    {
        SHARDLENS_TRY(needMatrix(m_stored.codes));
        SHARDLENS_TRY(setShape(codesShape()[0], codesShape()[1]));
        if (m_stored.format != kNoTensor) {
            std::vector<std::byte> format;
            SHARDLENS_TRY(readAll(m_stored.format, format, kLargestState));
            if (format.size() != 1 || format.front() != std::byte{0})
                return Error{ErrorCode::Unsupported, "it was saved in the layout of a GPU's tiles (weight_format is not 0); load it with the bitsandbytes that wrote it, and save it again"};
        }
        if (tensor(m_stored.scale).dtype != DType::F32 || elementCount(tensor(m_stored.scale).shape) != m_out.rule.grid.rows)
            return Error{ErrorCode::Corrupt, fmt::format("{} is {} {}, and F32 [{}] is needed", nameOfPart(m_stored.scale), nameOf(tensor(m_stored.scale).dtype), shapeText(tensor(m_stored.scale).shape), m_out.rule.grid.rows)};
        m_out.rule.grid.run = m_out.rule.grid.columns;
        m_out.rule.result = m_out.rule.rounded = DType::F32;
        m_out.rule.factor = kLlmInt8Factor;
        return {};
    }

    const ValueReader& m_values;
    const Checkpoint& m_checkpoint;
    const StoredWeight& m_stored;
    const QuantizationConfig& m_config;
    DequantPlan m_out;
};

} // namespace

Result<DequantPlan> planDequantization(const ValueReader& values, const Checkpoint& checkpoint, const StoredWeight& stored, const QuantizationConfig& config)
{
    if (!stored.problem.empty())
        return Error{ErrorCode::Unsupported, stored.problem};
    return Planner(values, checkpoint, stored, config).run();
}

} // namespace shardlens
