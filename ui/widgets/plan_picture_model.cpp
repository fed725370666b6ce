#include "ui/widgets/plan_picture_model.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <utility>

namespace shardlens::ui {
namespace {

// Of the larger side: less than half a pixel in the widest window.
constexpr std::uint64_t kParts = 4000;
// A box that breaks into more runs is taken as one stretch: its runs are far below a pixel.
constexpr std::uint64_t kMostRuns = 4096;

// Cells [begin, end) of a tensor, and where their bytes are.
struct Run {
    std::uint64_t begin;
    std::uint64_t end;
    std::uint64_t sourceBegin;
    std::uint64_t sourceEnd;
    std::size_t lane;
    std::optional<std::uint32_t> rank;
    bool coarse;
};

std::uint64_t runCount(const BoxView& box, ShapeView units)
{
    std::uint64_t count = 1;
    bool inside = false; // an axis that is cut has been met, from the innermost one outwards
    for (std::size_t axis = units.size(); axis-- > 0;) {
        if (inside)
            count *= box.extent[axis];
        else if (box.extent[axis] != units[axis])
            inside = true;
        if (count > kMostRuns)
            return count;
    }
    return count;
}

class PictureBuilder {
public:
    PictureBuilder(const Plan& plan, std::stop_token stop) : m_plan(plan), m_checkpoint(*plan.payload), m_stop(std::move(stop)) {}

    std::shared_ptr<const PlanPictureModel> build()
    {
        addBeforeLanes();
        addAfterLanes();
        m_tolerance = std::max(m_out->beforeBytes, m_out->afterBytes) / kParts;
        addSourceStretches();
        addBands();
        addTargetStretches();
        if (m_out->bands.size() > PlanPictureModel::kMostBands)
            sumBands();
        return m_stop.stop_requested() ? nullptr : m_out;
    }

private:
    void addBeforeLanes();
    void addAfterLanes();
    void addSourceStretches();
    void addBands();
    void addBandsOf(const PlannedTensor& planned, std::size_t to);
    void addRuns(const Piece& piece, const Tensor& tensor, std::vector<Run>& runs) const;
    void addComputedRuns(const Piece& piece, const Tensor& tensor, std::vector<Run>& runs) const;
    // Every place in a file that the tensor's values come from: its own pieces, and those of what it is computed from.
    void forEachPlace(const Checkpoint& checkpoint, TensorId id, const std::function<void(FileId, FlatRange, std::optional<std::uint32_t>)>& visit) const;
    void addBand(const PlanBand& band);
    void addTargetStretches();
    void sumBands();
    // Where the bytes of a piece lie in its file; nothing for values that are in no file.
    [[nodiscard]] static std::optional<std::pair<FileId, FlatRange>> placeOf(const Checkpoint& checkpoint, const Piece& piece, DType dtype);
    [[nodiscard]] static std::optional<std::uint32_t> rankOf(const Checkpoint& checkpoint, const Piece& piece, FileId file);

    const Plan& m_plan;
    const Checkpoint& m_checkpoint;
    std::stop_token m_stop;
    std::shared_ptr<PlanPictureModel> m_out = std::make_shared<PlanPictureModel>();
    std::vector<std::size_t> m_laneOfFile;
    std::map<std::pair<std::size_t, std::size_t>, std::size_t> m_lastBand; // of a pair of lanes
    std::uint64_t m_tolerance = 0;
};

constexpr std::size_t kNoLane = static_cast<std::size_t>(-1);

void PictureBuilder::addBeforeLanes()
{
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < m_checkpoint.files().size(); ++i)
        if (m_checkpoint.files()[i].state == File::State::Read && m_checkpoint.files()[i].size > 0)
            order.push_back(i);
    std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
        return m_checkpoint.files()[a].rank < m_checkpoint.files()[b].rank; // no rank sorts before rank 0
    });
    m_laneOfFile.assign(m_checkpoint.files().size(), kNoLane);
    std::set<std::uint32_t> ranks;
    for (const std::size_t i : order) {
        const File& file = m_checkpoint.files()[i];
        m_laneOfFile[i] = m_out->before.size();
        m_out->before.push_back({QString::fromStdString(file.name), file.rank, file.size, {}});
        m_out->beforeBytes += file.size;
        if (file.rank)
            ranks.insert(*file.rank);
    }
    m_out->ranks = ranks.size();
}

void PictureBuilder::addAfterLanes()
{
    for (const PlannedFile& file : m_plan.files) {
        m_out->after.push_back({QString::fromStdString(file.name), file.rank, file.sizeBytes, {}});
        m_out->afterBytes += file.sizeBytes;
    }
    m_out->afterRanks = m_plan.layoutAfter ? m_plan.layoutAfter->ranks : 0;
}

std::optional<std::pair<FileId, FlatRange>> PictureBuilder::placeOf(const Checkpoint& checkpoint, const Piece& piece, DType dtype)
{
    const Stream& stream = checkpoint.stream(piece.source.stream);
    switch (stream.kind) {
    case Stream::Kind::File:
        return std::pair{stream.file, FlatRange{piece.source.offset, piece.source.offset + piece.spanBytes(info(dtype).bytesPerBlock)}};
    case Stream::Kind::Deflated: return std::pair{stream.file, FlatRange{stream.offset, stream.offset + stream.storedBytes}};
    case Stream::Kind::Inline:
    case Stream::Kind::Computed:
    case Stream::Kind::Missing: return std::nullopt;
    }
    return std::nullopt;
}

std::optional<std::uint32_t> PictureBuilder::rankOf(const Checkpoint& checkpoint, const Piece& piece, FileId file)
{
    if (const auto rank = checkpoint.rankOfPiece(piece))
        return rank;
    return file == kNoFile ? std::nullopt : checkpoint.file(file).rank;
}

void PictureBuilder::forEachPlace(const Checkpoint& checkpoint, TensorId id, const std::function<void(FileId, FlatRange, std::optional<std::uint32_t>)>& visit) const
{
    if (checkpoint.files().size() != m_checkpoint.files().size()) // its files are not those of the lanes
        return;
    for (std::size_t p = checkpoint.pieces().firstOf(id); p < checkpoint.pieces().lastOf(id); ++p) {
        const Piece piece = checkpoint.pieces().at(idAt<PieceId>(p));
        const Stream& stream = checkpoint.stream(piece.source.stream);
        if (stream.kind == Stream::Kind::Computed) {
            for (const Computation::Input& input : checkpoint.computations()[stream.computation]->inputs())
                forEachPlace(*input.checkpoint, input.tensor, visit);
            continue;
        }
        const auto place = placeOf(checkpoint, piece, checkpoint.tensor(id).dtype);
        if (place && m_laneOfFile[indexOf(place->first)] != kNoLane)
            visit(place->first, place->second, rankOf(checkpoint, piece, place->first));
    }
}

void PictureBuilder::addSourceStretches()
{
    std::vector<bool> carried(m_checkpoint.tensors().size(), false);
    for (const PlannedFile& file : m_plan.files)
        for (const PlannedTensor& tensor : file.tensors)
            carried[indexOf(tensor.source)] = true;
    for (const PlannedResult& result : m_plan.results)
        carried[indexOf(result.source)] = true;
    std::vector<std::vector<std::pair<PlanStretch, RoleId>>> found(m_out->before.size());
    for (std::size_t t = 0; t < m_checkpoint.tensors().size() && !m_stop.stop_requested(); ++t) {
        forEachPlace(m_checkpoint, idAt<TensorId>(t), [&, role = m_checkpoint.tensors()[t].role](FileId file, FlatRange bytes, std::optional<std::uint32_t> rank) {
            found[m_laneOfFile[indexOf(file)]].push_back({{bytes.begin, bytes.end, rank, carried[t], {}}, role});
        });
    }
    for (std::size_t lane = 0; lane < found.size(); ++lane) {
        std::stable_sort(found[lane].begin(), found[lane].end(), [](const auto& a, const auto& b) { return a.first.begin < b.first.begin; });
        std::vector<PlanStretch>& out = m_out->before[lane].stretches;
        std::optional<RoleId> last;
        for (auto& [stretch, role] : found[lane]) {
            if (last == role && out.back().rank == stretch.rank && out.back().carried == stretch.carried && stretch.begin <= out.back().end + m_tolerance) {
                out.back().end = std::max(out.back().end, stretch.end);
                continue;
            }
            stretch.label = QString::fromStdString(m_checkpoint.roles()[indexOf(role)].name);
            out.push_back(stretch);
            last = role;
        }
    }
}

// All of what is computed comes from all of what it is computed from.
void PictureBuilder::addComputedRuns(const Piece& piece, const Tensor& tensor, std::vector<Run>& runs) const
{
    const Stream& stream = m_checkpoint.stream(piece.source.stream);
    const std::uint64_t cells = elementCount(tensor.shape).value_or(0);
    for (const Computation::Input& input : m_checkpoint.computations()[stream.computation]->inputs())
        forEachPlace(*input.checkpoint, input.tensor, [&](FileId file, FlatRange bytes, std::optional<std::uint32_t> rank) {
            runs.push_back({0, cells, bytes.begin, bytes.end, m_laneOfFile[indexOf(file)], rank, true});
        });
}

void PictureBuilder::addRuns(const Piece& piece, const Tensor& tensor, std::vector<Run>& runs) const
{
    if (m_checkpoint.stream(piece.source.stream).kind == Stream::Kind::Computed)
        return addComputedRuns(piece, tensor, runs);
    const auto place = placeOf(m_checkpoint, piece, tensor.dtype);
    if (!place || m_laneOfFile[indexOf(place->first)] == kNoLane)
        return;
    Run run{0, 0, place->second.begin, place->second.end, m_laneOfFile[indexOf(place->first)], rankOf(m_checkpoint, piece, place->first), false};
    if (const auto* flat = std::get_if<FlatRange>(&piece.region)) {
        run.begin = flat->begin;
        run.end = flat->end;
        runs.push_back(run);
        return;
    }
    const BoxView& box = std::get<BoxView>(piece.region);
    if (box.volume() == 0)
        return;
    const Shape units = unitShape(tensor.shape, tensor.dtype);
    const std::uint64_t cell = info(tensor.dtype).bytesPerBlock;
    const bool dense = piece.source.strides.empty() && m_checkpoint.stream(piece.source.stream).kind == Stream::Kind::File;
    if (!dense || runCount(box, units) > kMostRuns) {
        const FlatRange outline = outlineOf(box, units);
        run.begin = outline.begin;
        run.end = outline.end;
        run.coarse = outline.size() != box.volume();
        runs.push_back(run);
        return;
    }
    std::uint64_t at = place->second.begin;
    forEachRun(box, units, [&](FlatRange cells) {
        runs.push_back({cells.begin, cells.end, at, at + cells.size() * cell, run.lane, run.rank, false});
        at += cells.size() * cell;
    });
}

void PictureBuilder::addBandsOf(const PlannedTensor& planned, std::size_t to)
{
    const Tensor& tensor = m_checkpoint.tensor(planned.source);
    std::vector<Run> runs;
    for (std::size_t p = m_checkpoint.pieces().firstOf(planned.source); p < m_checkpoint.pieces().lastOf(planned.source); ++p)
        addRuns(m_checkpoint.pieces().at(idAt<PieceId>(p)), tensor, runs);
    std::stable_sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.begin < b.begin; });
    const std::uint64_t sourceCell = info(tensor.dtype).bytesPerBlock;
    const std::uint64_t targetCell = info(planned.dtype).bytesPerBlock;
    const std::uint64_t first = planned.sourceOffset / targetCell;
    const std::uint64_t last = first + planned.sizeBytes / targetCell;
    std::uint64_t covered = first;
    for (Run run : runs) {
        if (run.begin >= last)
            break;
        if (!run.coarse && run.end > last) {
            run.sourceEnd -= std::min(run.sourceEnd - run.sourceBegin, (run.end - last) * sourceCell);
            run.end = last;
        }
        if (!run.coarse && run.end <= covered)
            continue; // a replica
        if (!run.coarse && run.begin < covered) {
            run.sourceBegin += std::min(run.sourceEnd - run.sourceBegin, (covered - run.begin) * sourceCell);
            run.begin = covered;
        }
        covered = std::max(covered, run.end);
        const std::uint64_t from = planned.offset + (std::max(run.begin, first) - first) * targetCell;
        addBand({run.lane, run.sourceBegin, run.sourceEnd, to, from, planned.offset + (std::min(run.end, last) - first) * targetCell, run.rank});
    }
}

void PictureBuilder::addBands()
{
    for (std::size_t to = 0; to < m_plan.files.size(); ++to)
        for (const PlannedTensor& tensor : m_plan.files[to].tensors) {
            if (m_stop.stop_requested())
                return;
            if (!tensor.sharesBytes)
                addBandsOf(tensor, to);
        }
}

void PictureBuilder::addBand(const PlanBand& band)
{
    const auto [known, fresh] = m_lastBand.try_emplace({band.from, band.to}, m_out->bands.size());
    if (!fresh) {
        PlanBand& last = m_out->bands[known->second];
        const bool near = band.fromBegin >= last.fromBegin && band.fromBegin <= last.fromEnd + m_tolerance && band.toBegin >= last.toBegin &&
                          band.toBegin <= last.toEnd + m_tolerance;
        if (near && band.rank == last.rank) {
            last.fromEnd = std::max(last.fromEnd, band.fromEnd);
            last.toEnd = std::max(last.toEnd, band.toEnd);
            return;
        }
        known->second = m_out->bands.size();
    }
    m_out->bands.push_back(band);
}

void PictureBuilder::addTargetStretches()
{
    for (const PlanBand& band : m_out->bands)
        m_out->after[band.to].stretches.push_back({band.toBegin, band.toEnd, band.rank, true, {}});
    for (PlanLane& lane : m_out->after)
        std::stable_sort(lane.stretches.begin(), lane.stretches.end(), [](const PlanStretch& a, const PlanStretch& b) { return a.begin < b.begin; });
}

void PictureBuilder::sumBands()
{
    struct Sum {
        std::uint64_t from = 0;
        std::uint64_t to = 0;
        std::optional<std::uint32_t> rank;
    };
    std::map<std::pair<std::size_t, std::size_t>, Sum> sums;
    for (const PlanBand& band : m_out->bands) {
        Sum& sum = sums[{band.from, band.to}];
        sum.from += band.fromEnd - band.fromBegin;
        sum.to += band.toEnd - band.toBegin;
        sum.rank = band.rank;
    }
    std::vector<std::uint64_t> fromAt(m_out->before.size(), 0);
    std::vector<std::uint64_t> toAt(m_out->after.size(), 0);
    m_out->bands.clear();
    m_out->bandsAreSums = true;
    for (const auto& [pair, sum] : sums) {
        const auto [from, to] = pair;
        m_out->bands.push_back({from, fromAt[from], fromAt[from] + sum.from, to, toAt[to], toAt[to] + sum.to, sum.rank});
        fromAt[from] += sum.from;
        toAt[to] += sum.to;
    }
}

} // namespace

std::shared_ptr<const PlanPictureModel> PlanPictureModel::build(const Plan& plan, std::stop_token stop)
{
    return PictureBuilder(plan, std::move(stop)).build();
}

std::vector<JobFile> PlanPictureModel::jobFiles() const
{
    std::vector<JobFile> files;
    for (const PlanLane& lane : after) {
        JobFile file{lane.title, lane.bytes, {}, lane.rank};
        for (const PlanStretch& stretch : lane.stretches)
            file.stretches.push_back({stretch.begin, stretch.end, stretch.rank});
        files.push_back(std::move(file));
    }
    return files;
}

} // namespace shardlens::ui
