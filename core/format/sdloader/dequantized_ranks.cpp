#include "core/format/sdloader/dequantized_ranks.h"

#include "core/base/text.h"
#include "core/encoding/value_reader.h"
#include "core/format/sdloader/quantized_names.h"
#include "core/model/computation.h"
#include "core/quantized/view_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>

namespace shardlens::sdloader {
namespace {

constexpr std::uint64_t kStepValues = 64u << 10;

using Scales = std::shared_ptr<const std::vector<float>>; // of a whole file

// A box of a rank's weight, and where it lies in the file that was quantized: runs of scales count along that file's rows.
struct FilePart {
    Box own;
    std::uint64_t firstRow = 0; // in the file
    std::uint64_t firstColumn = 0;
    Scales scales;
};

// Which tensor holds scales, and the checkpoint that it is of.
struct ScalesTensor {
    CheckpointPtr checkpoint;
    TensorId tensor{};
};

// The values of a rank's weight, of files that were quantized each by itself and then joined, or of one that was cut.
class RankWeight final : public Computation {
public:
    // `parts`: side by side along `axis`, as long as the weight in the other one; together they are all of it.
    RankWeight(std::shared_ptr<const ValueReader> values, TensorId tensor, std::size_t axis, std::vector<FilePart> parts, std::uint64_t fileColumns, std::uint64_t chunk, std::vector<ScalesTensor> scales)
        : m_values(std::move(values)), m_tensor(tensor), m_axis(axis), m_parts(std::move(parts)), m_fileColumns(fileColumns), m_chunk(chunk), m_scales(std::move(scales))
    {
        const Shape& shape = m_values->checkpoint().tensor(tensor).shape;
        m_columns = shape[1];
        m_count = shape[0] * shape[1];
    }

    [[nodiscard]] std::vector<Input> inputs() const override
    {
        std::vector<Input> out{{&m_values->checkpoint(), m_tensor}};
        for (const ScalesTensor& one : m_scales)
            out.push_back({one.checkpoint.get(), one.tensor});
        return out;
    }
    [[nodiscard]] std::size_t outputs() const override { return 1; }
    [[nodiscard]] std::uint64_t sizeBytes(std::size_t) const override { return m_count * sizeof(float); }
    [[nodiscard]] std::uint64_t bytesToRead() const override { return m_count; }
    [[nodiscard]] std::uint64_t threadBytes() const override { return kStepValues * (sizeof(std::int8_t) + sizeof(float)); }
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
        const std::uint64_t place = m_axis == 0 ? row : column;
        return *std::prev(std::upper_bound(m_parts.begin(), m_parts.end(), place, [this](std::uint64_t at, const FilePart& part) { return at < part.own.offset[m_axis]; }));
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
            const float scale = (*part.scales)[static_cast<std::size_t>(inFile / m_chunk)];
            for (; at < end; ++at)
                out[at] = static_cast<float>(codes[at]) * scale;
        }
    }

    std::shared_ptr<const ValueReader> m_values;
    TensorId m_tensor;
    std::size_t m_axis;
    std::vector<FilePart> m_parts; // ascending along the axis
    std::uint64_t m_fileColumns;
    std::uint64_t m_chunk; // values that have one scale
    std::vector<ScalesTensor> m_scales;
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
    ScalesTensor tensor;

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
        if (!groups || !cuts || !extra || !files || *groups < 1 || *cuts < 1 || *files < 1 || *files > kMostFiles || static_cast<std::size_t>(*cuts) > m_set.ranks.size() || (*cuts > 1 && *files > 1))
            return Error{ErrorCode::Refused, fmt::format("it has no {} that says groups, cuts and {} beside its scales: which values a scale is for is not known", kLayoutKey, kExtraGroupingKey)};
        if (const auto rules = layout.find(kRulesKey).asText(); rules && *rules != m_set.rules.id)
            return Error{ErrorCode::Refused, fmt::format("it was made by the rules {}, and it is opened by {}: --rules names the file with the first", printable(*rules), printable(m_set.rules.id))};
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
            out.tensor = {beside.checkpoint, id};
            out.layers = tensor.shape[0];
            out.width = tensor.shape[2];
            out.scales.resize(static_cast<std::size_t>(out.layers * kScaleRows * out.width));
            CastCounts lost;
            if (auto read = ValueReader(beside.checkpoint).readAt(id, DType::F32, 0, std::as_writable_bytes(std::span(out.scales)), lost); !read)
                return read.takeError();
            return out;
        }
        return Error{ErrorCode::Corrupt, fmt::format("it has no {}, and other files of the set have", kScalesKey)};
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

    // What is known of a weight before its values are looked for.
    struct Place {
        std::size_t number = 0; // of the rank
        std::size_t row = 0;    // of the table
        std::uint64_t layer = 0;
        Shape own;
        Shape file;
        std::size_t axis = 0; // that files are joined or cut along
        std::size_t pieces = 0; // scales of a file
    };

    Result<std::shared_ptr<const Computation>> weightOf(std::size_t number, TensorId id, std::size_t row, std::uint64_t layer, const std::shared_ptr<const ValueReader>& values)
    {
        const Table& table = *m_tables[number];
        const std::string& name = values->checkpoint().parameterOf(id);
        Place place{number, row, layer, values->checkpoint().tensor(id).shape, {}, 0, 0};
        place.file = place.own;
        const ShardRule* rule = nullptr;
        if (table.cuts > 1 || table.files > 1) {
            SHARDLENS_ASSIGN(rule, m_set.rules.ruleFor(name, m_set.facts));
            if (rule == nullptr || rule->kind != Division::Kind::Split || rule->dim > 1)
                return Error{ErrorCode::Refused, "no rule says how files are joined or cut to what the rank has of it"};
            place.axis = rule->dim;
            place.file[place.axis] = table.cuts > 1 ? place.own[place.axis] * table.cuts : place.own[place.axis] / table.files;
        }
        const std::uint64_t count = elementCount(place.file).value_or(0);
        const bool doubles = table.extraGrouping && looksLikeMlp(place.file, m_set.ranks.size(), table.files);
        const std::uint64_t groups = doubles ? 2 * table.groups : table.groups;
        if (layer >= table.layers || groups > count)
            return Error{ErrorCode::Corrupt, fmt::format("the table of {} has none for it", plural(table.layers, "layer", "layers"))};
        const std::uint64_t chunk = count / groups;
        place.pieces = static_cast<std::size_t>((count + chunk - 1) / chunk);
        std::vector<FilePart> parts;
        std::vector<ScalesTensor> scales;
        if (table.cuts > 1)
            SHARDLENS_TRY(addCut(place, *rule, parts, scales));
        else
            SHARDLENS_TRY(addJoin(place, rule, parts, scales));
        SHARDLENS_TRY(checkParts(place, parts));
        return std::shared_ptr<const Computation>(std::make_shared<RankWeight>(values, id, place.axis, std::move(parts), place.file[1], chunk, std::move(scales)));
    }

    // In order along the axis, and all of the weight.
    static Status checkParts(const Place& place, std::vector<FilePart>& parts)
    {
        std::sort(parts.begin(), parts.end(), [&](const FilePart& a, const FilePart& b) { return a.own.offset[place.axis] < b.own.offset[place.axis]; });
        std::uint64_t end = 0;
        for (const FilePart& part : parts) {
            const std::size_t other = 1 - place.axis;
            if (part.own.offset[place.axis] != end || part.own.offset[other] != 0 || part.own.extent[other] != place.own[other])
                return Error{ErrorCode::Refused, "the rules do not make its parts lie side by side"};
            end += part.own.extent[place.axis];
        }
        if (end != place.own[place.axis])
            return Error{ErrorCode::Refused, fmt::format("the rules give {} of its {} rows or columns", end, place.own[place.axis])};
        return {};
    }

    static Error wrongCount(std::size_t found, std::size_t wanted)
    {
        return {ErrorCode::Corrupt, fmt::format("the table has {} for it, and {} are needed", plural(found, "scale", "scales"), wanted)};
    }

    // Each file was quantized by itself. Of weights that the loader joins by columns the table has the first scale of each file, the second of each …
    Status addJoin(const Place& place, const ShardRule* rule, std::vector<FilePart>& parts, std::vector<ScalesTensor>& scalesOf) const
    {
        const Table& table = *m_tables[place.number];
        const std::span<const float> scales = table.rowOf(place.layer, place.row);
        const auto files = static_cast<std::size_t>(table.files);
        if (scales.size() != place.pieces * files)
            return wrongCount(scales.size(), place.pieces * files);
        scalesOf.push_back(table.tensor);
        std::optional<Division> division;
        if (files > 1) {
            SHARDLENS_ASSIGN(division, divisionOf(*rule, place.own, static_cast<std::uint32_t>(files), m_set.facts));
        }
        for (std::size_t file = 0; file < files; ++file) {
            const auto own = std::make_shared<std::vector<float>>();
            for (std::size_t piece = 0; piece < place.pieces; ++piece)
                own->push_back(scales[kJoinedByColumns[place.row] ? piece * files + file : file * place.pieces + piece]);
            for (const Slab& slab : division ? slabsOf(*division, place.own, static_cast<std::uint32_t>(file)) : std::vector<Slab>{wholeSlab(place.own)})
                parts.push_back({slab.to, slab.from.offset[0], slab.from.offset[1], own});
        }
        return {};
    }

    // The scales of a file are cut like it, in equal runs, or whole on each rank where they do not divide.
    Status addCut(const Place& place, const ShardRule& rule, std::vector<FilePart>& parts, std::vector<ScalesTensor>& scalesOf) const
    {
        const auto cuts = static_cast<std::size_t>(m_tables[place.number]->cuts);
        const std::size_t first = place.number / cuts * cuts;
        const bool areCut = place.pieces % cuts == 0;
        const auto scales = std::make_shared<std::vector<float>>();
        for (std::size_t rank = areCut ? first : place.number; rank < (areCut ? first + cuts : place.number + 1); ++rank) {
            if (rank >= m_tables.size() || !m_tables[rank])
                return Error{ErrorCode::Refused, fmt::format("some of its scales lie on rank {}, whose file cannot be read", rank)};
            if (m_tables[rank]->layers <= place.layer)
                return wrongCount(0, place.pieces);
            const std::span<const float> some = m_tables[rank]->rowOf(place.layer, place.row);
            scales->insert(scales->end(), some.begin(), some.end());
            scalesOf.push_back(m_tables[rank]->tensor);
        }
        if (scales->size() != place.pieces)
            return wrongCount(scales->size(), place.pieces);
        SHARDLENS_ASSIGN(const Division division, divisionOf(rule, place.file, static_cast<std::uint32_t>(cuts), m_set.facts));
        const auto part = static_cast<std::uint32_t>(place.number - first);
        if (partShape(division, place.file, part) != place.own)
            return Error{ErrorCode::Refused, fmt::format("the rules cut {} to {}, and it is {}", shapeText(place.file), shapeText(partShape(division, place.file, part)), shapeText(place.own))};
        for (const Slab& slab : slabsOf(division, place.file, part))
            parts.push_back({slab.from, slab.to.offset[0], slab.to.offset[1], scales});
        return {};
    }

    static constexpr std::int64_t kMostFiles = 4096; // that are joined
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
