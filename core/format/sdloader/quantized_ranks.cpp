#include "core/format/sdloader/quantized_ranks.h"

#include "core/base/text.h"
#include "core/format/sdloader/quantized_names.h"
#include "core/quantized/view_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>

namespace shardlens::sdloader {
namespace {

constexpr std::uint64_t kMostUnit = 8u << 20;
constexpr std::uint64_t kScaleStep = 1u << 20; // values whose scales are made at once, where units are shorter

// The scales of a target rank: rows of those of its weights, with zeros behind them.
class ScaleTable final : public Computation {
public:
    struct Row {
        std::size_t place = 0;                                      // layer · 4 + row
        std::vector<std::shared_ptr<const QuantizedWeight>> weights; // of the files that are joined
        bool interleaves = false;                                   // joined by columns: the first scale of each file, the second of each …
        std::size_t first = 0;                                      // of a cut: those from there
        std::size_t count = 0;
    };
    ScaleTable(std::vector<Row> rows, std::size_t layers, std::size_t width)
        : m_rows(std::move(rows)), m_layers(layers), m_width(width), m_done(std::make_unique<Done[]>(m_rows.size()))
    {
    }

    [[nodiscard]] std::vector<Input> inputs() const override
    {
        std::vector<Input> out;
        for (const Row& row : m_rows)
            for (const auto& weight : row.weights)
                out.push_back(weight->inputs().front());
        return out;
    }
    [[nodiscard]] std::size_t outputs() const override { return 1; }
    [[nodiscard]] std::uint64_t sizeBytes(std::size_t) const override { return m_layers * kScaleRows * m_width * sizeof(float); }
    [[nodiscard]] std::uint64_t bytesToRead() const override { return bytesToPrepare(); }
    [[nodiscard]] std::uint64_t threadBytes() const override { return kMostUnit; }
    [[nodiscard]] std::size_t preparations() const override { return m_rows.size(); }
    [[nodiscard]] std::uint64_t heldBytes() const override { return sizeBytes(0); }
    // The source is read once for the codes, and once for the scales, but where these are measured first for the codes.
    [[nodiscard]] std::uint64_t bytesToPrepare() const override
    {
        std::uint64_t bytes = 0;
        for (const Row& row : m_rows)
            for (const auto& weight : row.weights)
                bytes += weight->scalesAreKept() ? 0 : weight->sourceBytes();
        return bytes;
    }
    Status prepare(std::size_t part, const PrepareWatch& watch) const override
    {
        Done& done = m_done[part];
        const std::lock_guard lock(done.mutex);
        if (done.isDone)
            return {};
        std::call_once(m_made, [this] { m_table.assign(m_layers * kScaleRows * m_width, 0.0f); });
        const Row& row = m_rows[part];
        SHARDLENS_ASSIGN(const std::vector<float> scales, joined(row, watch));
        std::copy_n(scales.begin() + static_cast<std::ptrdiff_t>(row.first), row.count, m_table.begin() + static_cast<std::ptrdiff_t>(row.place * m_width));
        done.isDone = true;
        return {};
    }
    Status readAt(std::size_t, std::uint64_t offset, std::span<std::byte> out) const override
    {
        SHARDLENS_TRY(prepareAll({}));
        if (m_rows.empty()) {
            std::fill(out.begin(), out.end(), std::byte{0});
            return {};
        }
        std::memcpy(out.data(), reinterpret_cast<const std::byte*>(m_table.data()) + offset, out.size());
        return {};
    }
    [[nodiscard]] std::uint64_t steps() const override { return 0; }
    [[nodiscard]] FlatRange bytesOf(std::size_t, std::uint64_t) const override { return {}; }
    Result<std::uint64_t> computeStep(std::uint64_t, std::span<const std::span<std::byte>>) const override { return std::uint64_t{0}; }

private:
    struct Done {
        std::mutex mutex;
        bool isDone = false;
    };

    // As few at a time as a computation of codes takes.
    static Status readScales(const QuantizedWeight& weight, std::span<float> out, const PrepareWatch& watch)
    {
        const std::uint64_t values = weight.layout().values();
        const std::uint64_t grain = values / (out.empty() ? 1 : out.size()); // the last one may be shorter
        const std::size_t batch = static_cast<std::size_t>(std::max<std::uint64_t>(kScaleStep / std::max<std::uint64_t>(grain, 1), 1));
        const std::uint64_t all = weight.scalesAreKept() ? 0 : weight.sourceBytes();
        std::uint64_t said = 0;
        SHARDLENS_TRY(weight.prepareAll(watch));
        for (std::size_t first = 0; first < out.size(); first += batch) {
            if (watch.stop.stop_requested())
                return Error{ErrorCode::Cancelled, "cancelled"};
            const std::span<float> some = out.subspan(first, std::min(batch, out.size() - first));
            SHARDLENS_TRY(weight.readAt(1, first * sizeof(float), std::as_writable_bytes(some)));
            const std::uint64_t read = first + some.size() == out.size() ? all : (first + some.size()) * grain * (all / std::max<std::uint64_t>(values, 1));
            watch.read(read - said);
            said = read;
        }
        return {};
    }

    static Result<std::vector<float>> joined(const Row& row, const PrepareWatch& watch)
    {
        std::vector<std::vector<float>> parts;
        std::size_t total = 0;
        for (const auto& weight : row.weights) {
            std::vector<float>& part = parts.emplace_back(static_cast<std::size_t>(weight->layout().scales()));
            SHARDLENS_TRY(readScales(*weight, part, watch));
            total += part.size();
        }
        std::vector<float> out;
        out.reserve(total);
        if (!row.interleaves) {
            for (const std::vector<float>& part : parts)
                out.insert(out.end(), part.begin(), part.end());
            return out;
        }
        for (std::size_t i = 0; i < parts.front().size(); ++i)
            for (const std::vector<float>& part : parts)
                out.push_back(part[i]);
        return out;
    }

    std::vector<Row> m_rows;
    std::size_t m_layers;
    std::size_t m_width;
    std::unique_ptr<Done[]> m_done; // of each row
    mutable std::once_flag m_made;
    mutable std::vector<float> m_table;
};

} // namespace

Status QuantizedRanks::quantize(RankSet::Rank& rank, const SdloaderInt8& options)
{
    const CheckpointPtr base = rank.content.checkpoint;
    const QuantScheme& scheme = *quantSchemeByName("sdloader-int8");
    const auto values = std::make_shared<const ValueReader>(base);
    std::vector<Weight>& weights = m_weights.emplace_back();
    ViewBuilder view(base);
    for (std::size_t i = 0; i < base->tensors().size(); ++i) {
        const auto id = idAt<TensorId>(i);
        const std::string& name = base->parameterOf(id);
        const std::size_t row = scaleRowOf(name);
        if (row == kScaleRows) {
            SHARDLENS_TRY(view.keep(id));
            continue;
        }
        const Tensor& tensor = base->tensor(id);
        const bool doubles = options.mlpExtraGrouping && looksLikeMlp(tensor.shape, m_targetRanks, m_mergeCount);
        auto layout = QuantLayout::make(scheme, {options.groups * (doubles ? 2 : 1), options.bits}, name, tensor.dtype, tensor.shape);
        if (!layout) {
            const Error error = layout.takeError();
            const char* const why = doubles ? " (twice --groups: the loader takes it for an MLP's; --no-mlp-extra-grouping)" : "";
            return Error{error.code(), error.text() + why}.within(printable(name)).within(printable(rank.name));
        }
        Tensor codes = tensor;
        codes.dtype = DType::I8;
        codes.quantizedPart = true;
        const auto weight = std::make_shared<QuantizedWeight>(layout.take(), WeightSource{values, id, name, tensor.dtype}, std::vector<std::shared_ptr<const WholeRange>>(), kMostUnit);
        SHARDLENS_TRY(view.add(id, name, std::move(codes), view.builder().addComputation(weight).front()));
        weights.push_back({name, row, weight});
    }
    rank.content.checkpoint = std::move(view).finish();
    return {};
}

// Layers and width of the table: the same for every target rank.
Status QuantizedRanks::measureTable()
{
    std::array<std::vector<std::uint64_t>, kScaleRows> counts; // of scales, by layer
    for (const Weight& weight : m_weights.front())
        counts[weight.row].push_back(weight.codes->layout().scales() * m_mergeCount);
    std::size_t layers = counts.front().size();
    for (const auto& row : counts)
        layers = std::min(layers, row.size());
    if (layers == 0)
        return Error{ErrorCode::Refused, "sdloader-int8 needs weights of all four kinds (query_key_value, dense, dense_h_to_4h, dense_4h_to_h): the loader's table of scales has a row for each"};
    std::uint64_t width = 0;
    for (std::size_t layer = 0; layer < layers; ++layer) {
        std::uint64_t own = 0;
        for (const auto& row : counts)
            own = std::max(own, row[layer] % m_cuts == 0 ? row[layer] / m_cuts : row[layer]);
        if (layer != 0 && own != width)
            return Error{ErrorCode::Refused, fmt::format("layer {} has {} scales and layer 0 has {}: the loader's table of scales has one width", layer, own, width)};
        width = own;
    }
    m_shape = {layers, kScaleRows, width};
    return {};
}

Result<QuantizedRanks> QuantizedRanks::make(RankSet& set, const SdloaderInt8& options, std::uint32_t targetRanks, const OpenOptions& open)
{
    QuantizedRanks out;
    const auto files = static_cast<std::uint32_t>(set.ranks.size());
    out.m_targetRanks = targetRanks;
    out.m_mergeCount = std::max(1u, files / std::max(1u, targetRanks));
    out.m_cuts = std::max(1u, targetRanks / files);
    if (open.moduleKey == "none")
        return Error{ErrorCode::Refused, "sdloader-int8 keeps its scales beside the model, and --module-key none says that a file is the model itself"};
    if (out.m_mergeCount > 1 && set.facts.at("version") == "0")
        return Error{ErrorCode::Refused, "files of version 0 keep query_key_value in thirds, which the loader does not put in order again when it quantizes: join them without --quantize first"};
    for (RankSet::Rank& rank : set.ranks)
        SHARDLENS_TRY(out.quantize(rank, options));
    for (const auto& weights : out.m_weights)
        if (weights.size() != out.m_weights.front().size())
            return Error{ErrorCode::Refused, "the files hold different numbers of weights to quantize"};
    SHARDLENS_TRY(out.measureTable());
    return out;
}

Result<std::shared_ptr<const Computation>> QuantizedRanks::scalesOf(std::uint32_t targetRank) const
{
    const std::size_t firstFile = m_cuts > 1 ? targetRank / m_cuts : std::size_t{targetRank} * m_mergeCount;
    std::array<std::size_t, kScaleRows> layerOf{};
    std::vector<ScaleTable::Row> rows;
    for (std::size_t i = 0; i < m_weights[firstFile].size(); ++i) {
        const std::size_t row = m_weights[firstFile][i].row;
        const std::size_t layer = layerOf[row]++;
        if (layer >= m_shape[0])
            continue;
        ScaleTable::Row out;
        out.place = layer * kScaleRows + row;
        out.interleaves = kJoinedByColumns[row];
        std::size_t total = 0;
        for (std::size_t file = firstFile; file < firstFile + m_mergeCount; ++file) {
            if (m_weights[file][i].name != m_weights[firstFile][i].name || m_weights[file][i].codes->layout().scales() != m_weights[firstFile][i].codes->layout().scales())
                return Error{ErrorCode::Refused, "the files that are joined do not hold the same scales of it"}.within(printable(m_weights[firstFile][i].name));
            out.weights.push_back(m_weights[file][i].codes);
            total += static_cast<std::size_t>(m_weights[file][i].codes->layout().scales());
        }
        out.count = total % m_cuts == 0 ? total / m_cuts : total;
        out.first = total % m_cuts == 0 ? out.count * (targetRank % m_cuts) : 0;
        if (out.count > m_shape[2])
            return Error{ErrorCode::Refused, "its scales do not fit the table's width"}.within(printable(m_weights[firstFile][i].name));
        rows.push_back(std::move(out));
    }
    return std::shared_ptr<const Computation>(std::make_shared<ScaleTable>(std::move(rows), static_cast<std::size_t>(m_shape[0]), static_cast<std::size_t>(m_shape[2])));
}

} // namespace shardlens::sdloader
