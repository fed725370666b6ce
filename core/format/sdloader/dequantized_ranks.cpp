#include "core/format/sdloader/dequantized_ranks.h"

#include "core/base/text.h"
#include "core/encoding/value_reader.h"
#include "core/format/sdloader/quantized_names.h"
#include "core/model/computation.h"
#include "core/quantized/view_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace shardlens::sdloader {
namespace {

constexpr std::uint64_t kStepValues = 64u << 10;

// A box of a rank's weight, and where it lies in the file that was quantized: runs of scales count along that file's rows.
struct FilePart {
    Box own;
    std::uint64_t firstRow = 0; // in the file
    std::uint64_t firstColumn = 0;
    std::vector<float> scales;  // of the whole file
};

// The values of a rank's weight, of files that were quantized each by itself and then joined, or of one that was cut.
class RankWeight final : public Computation {
public:
    RankWeight(std::shared_ptr<const ValueReader> values, TensorId tensor, std::vector<FilePart> parts, std::uint64_t fileColumns, std::uint64_t chunk)
        : m_values(std::move(values)), m_tensor(tensor), m_parts(std::move(parts)), m_fileColumns(fileColumns), m_chunk(chunk)
    {
        const Shape& shape = m_values->checkpoint().tensor(tensor).shape;
        m_columns = shape[1];
        m_count = shape[0] * shape[1];
    }

    [[nodiscard]] std::vector<Input> inputs() const override { return {{&m_values->checkpoint(), m_tensor}}; }
    [[nodiscard]] std::size_t outputs() const override { return 1; }
    [[nodiscard]] std::uint64_t sizeBytes(std::size_t) const override { return m_count * sizeof(float); }
    [[nodiscard]] std::uint64_t bytesToRead() const override { return m_count; }
    [[nodiscard]] std::uint64_t threadBytes() const override { return kStepValues; }
    [[nodiscard]] std::uint64_t steps() const override { return 0; }
    [[nodiscard]] FlatRange bytesOf(std::size_t, std::uint64_t) const override { return {}; }
    Result<std::uint64_t> computeStep(std::uint64_t, std::span<const std::span<std::byte>>) const override { return std::uint64_t{0}; }

    Status readAt(std::size_t, std::uint64_t offset, std::span<std::byte> out) const override
    {
        // whole values first: who asks may begin and end inside one
        const std::uint64_t end = offset + out.size();
        std::vector<std::int8_t> codes;
        std::vector<float> values;
        for (std::uint64_t first = offset / sizeof(float); first * sizeof(float) < end; first += values.size()) {
            const std::uint64_t count = std::min(kStepValues, (end + sizeof(float) - 1) / sizeof(float) - first);
            codes.resize(count);
            values.resize(count);
            CastCounts lost;
            if (auto read = m_values->readAt(m_tensor, DType::I8, first, std::as_writable_bytes(std::span(codes)), lost); !read)
                return read.takeError();
            multiply(first, codes, values);
            const auto bytes = std::as_bytes(std::span(values));
            const std::uint64_t from = std::max(offset, first * sizeof(float));
            const std::uint64_t to = std::min(end, (first + count) * sizeof(float));
            std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(from - first * sizeof(float)), to - from, out.begin() + static_cast<std::ptrdiff_t>(from - offset));
        }
        return {};
    }

private:
    [[nodiscard]] const FilePart& partAt(std::uint64_t row, std::uint64_t column) const
    {
        return *std::find_if(m_parts.begin(), m_parts.end(), [&](const FilePart& part) {
            return row - part.own.offset[0] < part.own.extent[0] && column - part.own.offset[1] < part.own.extent[1]; // unsigned: what lies before is far behind
        });
    }

    // Runs that lie in one row of one part and have one scale.
    void multiply(std::uint64_t first, std::span<const std::int8_t> codes, std::span<float> out) const
    {
        for (std::size_t at = 0; at < codes.size();) {
            const std::uint64_t row = (first + at) / m_columns;
            const std::uint64_t column = (first + at) % m_columns;
            const FilePart& part = partAt(row, column);
            const std::uint64_t inFile = (part.firstRow + row - part.own.offset[0]) * m_fileColumns + part.firstColumn + column - part.own.offset[1];
            const std::uint64_t inChunk = m_chunk - inFile % m_chunk;
            const std::uint64_t inRow = part.own.offset[1] + part.own.extent[1] - column;
            const std::size_t end = at + static_cast<std::size_t>(std::min({inChunk, inRow, std::uint64_t{codes.size() - at}}));
            const float scale = part.scales[static_cast<std::size_t>(inFile / m_chunk)];
            for (; at < end; ++at)
                out[at] = static_cast<float>(codes[at]) * scale;
        }
    }

    std::shared_ptr<const ValueReader> m_values;
    TensorId m_tensor;
    std::vector<FilePart> m_parts;
    std::uint64_t m_fileColumns;
    std::uint64_t m_chunk; // values that have one scale
    std::uint64_t m_columns = 1;
    std::uint64_t m_count = 0;
};

// What lies beside the module of a rank's file.
struct Table {
    std::vector<float> scales; // [layers, 4, width]
    std::uint64_t layers = 0;
    std::uint64_t width = 0;
    std::uint64_t files = 1; // that are joined
    std::uint64_t groups = 1;
    std::uint64_t cuts = 1; // of the file
    bool extraGrouping = true;

    // Without the zeros behind them.
    [[nodiscard]] std::span<const float> rowOf(std::uint64_t layer, std::size_t row) const
    {
        const std::span<const float> all = std::span(scales).subspan(static_cast<std::size_t>((layer * kScaleRows + row) * width), static_cast<std::size_t>(width));
        std::size_t count = all.size();
        while (count > 0 && all[count - 1] == 0)
            --count;
        return all.first(count);
    }
};

class Dequantizer {
public:
    Dequantizer(RankSet& set, JobContext& job) : m_set(set), m_job(job) {}

    Status run()
    {
        for (const RankSet::Rank& rank : m_set.ranks) {
            m_tables.emplace_back();
            if (!rank.content.torch)
                continue;
            auto table = readTable(rank);
            if (!table)
                return table.takeError().within(printable(rank.name));
            m_tables.back() = table.take();
        }
        for (std::size_t i = 0; i < m_set.ranks.size(); ++i)
            if (m_set.ranks[i].content.torch)
                if (Status done = dequantize(i); !done)
                    return done.takeError().within(printable(m_set.ranks[i].name));
        return {};
    }

private:
    Result<Table> readTable(const RankSet::Rank& rank)
    {
        const pickle::Value root = rank.content.torch->root();
        const pickle::Value layout = root.find(kLayoutKey);
        const auto groups = layout.find(kGroupsKey).asInt();
        const auto cuts = layout.find(kCutsKey).asInt();
        const auto extra = layout.find(kExtraGroupingKey).asBool();
        const auto files = root.find(kMergeCountKey).asInt();
        if (!groups || !cuts || !extra || !files || *groups < 1 || *cuts < 1 || *files < 1 || static_cast<std::size_t>(*cuts) > m_set.ranks.size())
            return Error{ErrorCode::Refused, fmt::format("it has no {} that says groups, cuts and {} beside its scales: which values a scale is for is not known", kLayoutKey, kExtraGroupingKey)};
        SHARDLENS_ASSIGN(const RankFileContent beside, openRankStates(rank.content.checkpoint->files().front().path, rank.name, [](pickle::Value value) -> Result<pickle::Value> { return value; }, m_job));
        Table out;
        out.groups = static_cast<std::uint64_t>(*groups);
        out.cuts = static_cast<std::uint64_t>(*cuts);
        out.files = static_cast<std::uint64_t>(*files);
        out.extraGrouping = *extra;
        const Checkpoint& all = *beside.checkpoint;
        for (std::size_t i = 0; i < all.tensors().size(); ++i) {
            const auto id = idAt<TensorId>(i);
            if (all.parameterOf(id) != kScalesKey)
                continue;
            const Tensor& tensor = all.tensor(id);
            if (tensor.dtype != DType::F32 || tensor.shape.size() != 3 || tensor.shape[1] != kScaleRows || all.bytesOf(id) > kMostTable)
                return Error{ErrorCode::Corrupt, fmt::format("{} is {} {}, and a table of {} rows a layer is needed", kScalesKey, nameOf(tensor.dtype), shapeText(tensor.shape), kScaleRows)};
            out.layers = tensor.shape[0];
            out.width = tensor.shape[2];
            out.scales.resize(static_cast<std::size_t>(out.layers * kScaleRows * out.width));
            CastCounts lost;
            if (auto read = ValueReader(beside.checkpoint).readAt(id, DType::F32, 0, std::as_writable_bytes(std::span(out.scales)), lost); !read)
                return read.takeError();
            return out;
        }
        return Error{ErrorCode::Corrupt, fmt::format("{} is no tensor", kScalesKey)};
    }

    Status dequantize(std::size_t number)
    {
        RankSet::Rank& rank = m_set.ranks[number];
        const CheckpointPtr base = rank.content.checkpoint;
        const auto values = std::make_shared<const ValueReader>(base);
        std::array<std::uint64_t, kScaleRows> layers{};
        ViewBuilder view(base);
        for (std::size_t i = 0; i < base->tensors().size(); ++i) {
            const auto id = idAt<TensorId>(i);
            const Tensor& tensor = base->tensor(id);
            const std::string& name = base->parameterOf(id);
            const std::size_t row = scaleRowOf(name);
            if (row == kScaleRows || tensor.dtype != DType::I8 || tensor.shape.size() != 2) {
                SHARDLENS_TRY(view.keep(id));
                continue;
            }
            SHARDLENS_TRY(m_job.poll());
            auto weight = weightOf(number, id, row, layers[row]++, values);
            if (!weight)
                return weight.takeError().within(printable(name));
            Tensor made = tensor;
            made.dtype = DType::F32;
            made.quantizedPart = false;
            SHARDLENS_TRY(view.add(id, name, std::move(made), view.builder().addComputation(weight.take()).front()));
        }
        rank.content.checkpoint = std::move(view).finish();
        return {};
    }

    Result<std::shared_ptr<const Computation>> weightOf(std::size_t number, TensorId id, std::size_t row, std::uint64_t layer, const std::shared_ptr<const ValueReader>& values)
    {
        const Table& table = *m_tables[number];
        const Checkpoint& base = values->checkpoint();
        const Shape& own = base.tensor(id).shape;
        const std::size_t axis = kJoinedByColumns[row] ? 1 : 0;
        Shape file = own;
        file[axis] = table.cuts > 1 ? own[axis] * table.cuts : own[axis] / table.files;
        const std::uint64_t count = file[0] * file[1];
        const bool doubles = table.extraGrouping && looksLikeMlp(file, m_set.ranks.size(), table.files);
        const std::uint64_t groups = doubles ? 2 * table.groups : table.groups;
        if (layer >= table.layers || groups > count)
            return Error{ErrorCode::Corrupt, fmt::format("the table of {} has none for it", plural(table.layers, "layer", "layers"))};
        const std::uint64_t chunk = count / groups;
        const auto pieces = static_cast<std::size_t>((count + chunk - 1) / chunk);
        std::vector<FilePart> parts;
        if (table.cuts > 1) {
            SHARDLENS_ASSIGN(parts, partsOfCut(number, base.parameterOf(id), file, row, layer, pieces));
        } else {
            SHARDLENS_ASSIGN(parts, partsOfJoin(table, own, file, row, layer, pieces));
        }
        return std::shared_ptr<const Computation>(std::make_shared<RankWeight>(values, id, std::move(parts), file[1], chunk));
    }

    static Error wrongCount(std::size_t found, std::size_t wanted)
    {
        return {ErrorCode::Corrupt, fmt::format("the table has {} for it, and {} are needed", plural(found, "scale", "scales"), wanted)};
    }

    // Joined by columns, the table has the first scale of each file, the second of each …
    static Result<std::vector<FilePart>> partsOfJoin(const Table& table, const Shape& own, const Shape& file, std::size_t row, std::uint64_t layer, std::size_t pieces)
    {
        const std::span<const float> scales = table.rowOf(layer, row);
        const auto files = static_cast<std::size_t>(table.files);
        const std::size_t axis = kJoinedByColumns[row] ? 1 : 0;
        if (scales.size() != pieces * files || file[axis] * files != own[axis])
            return wrongCount(scales.size(), pieces * files);
        std::vector<FilePart> out(files);
        for (std::size_t i = 0; i < files; ++i) {
            out[i].own = {{0, 0}, file};
            out[i].own.offset[axis] = i * file[axis];
            for (std::size_t piece = 0; piece < pieces; ++piece)
                out[i].scales.push_back(scales[kJoinedByColumns[row] ? piece * files + i : i * pieces + piece]);
        }
        return out;
    }

    // The scales of a file are cut like it, in equal runs, or whole on each rank where they do not divide.
    Result<std::vector<FilePart>> partsOfCut(std::size_t number, const std::string& name, const Shape& file, std::size_t row, std::uint64_t layer, std::size_t pieces)
    {
        const auto cuts = static_cast<std::size_t>(m_tables[number]->cuts);
        const std::size_t first = number / cuts * cuts;
        const bool areCut = pieces % cuts == 0;
        std::vector<float> scales;
        for (std::size_t rank = areCut ? first : number; rank < (areCut ? first + cuts : number + 1); ++rank) {
            if (rank >= m_tables.size() || !m_tables[rank])
                return Error{ErrorCode::Refused, fmt::format("some of its scales lie on rank {}, whose file cannot be read", rank)};
            if (m_tables[rank]->layers <= layer)
                return wrongCount(0, pieces);
            const std::span<const float> some = m_tables[rank]->rowOf(layer, row);
            scales.insert(scales.end(), some.begin(), some.end());
        }
        if (scales.size() != pieces)
            return wrongCount(scales.size(), pieces);
        SHARDLENS_ASSIGN(const ShardRule* const rule, m_set.rules.ruleFor(name, m_set.facts));
        if (rule == nullptr || rule->kind != Division::Kind::Split)
            return Error{ErrorCode::Refused, "no rule says how it was cut"};
        SHARDLENS_ASSIGN(const Division division, divisionOf(*rule, file, static_cast<std::uint32_t>(cuts), m_set.facts));
        std::vector<FilePart> out;
        for (const Slab& slab : slabsOf(division, file, static_cast<std::uint32_t>(number - first)))
            out.push_back({slab.from, slab.to.offset[0], slab.to.offset[1], scales});
        return out;
    }

    static constexpr std::uint64_t kMostTable = 256u << 20;

    RankSet& m_set;
    JobContext& m_job;
    std::vector<std::optional<Table>> m_tables; // by rank; nothing: the file is missing
};

} // namespace

bool isQuantized(const RankSet::Rank& rank)
{
    return rank.content.torch && TorchFile::isTensor(rank.content.torch->root().find(kScalesKey));
}

Status dequantizeRanks(RankSet& set, JobContext& job)
{
    if (std::none_of(set.ranks.begin(), set.ranks.end(), isQuantized))
        return Error{ErrorCode::Refused, "--dequantize is for quantized weights, and none are stored here"};
    return Dequantizer(set, job).run();
}

} // namespace shardlens::sdloader
