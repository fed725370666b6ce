#include "ui/models/device_map.h"

#include "core/format/format.h"
#include "core/layout/strategy_boxes.h"
#include "ui/models/atlas_text.h"

#include <QCoreApplication>
#include <QStringList>

#include <algorithm>
#include <iterator>
#include <map>
#include <new>

namespace shardlens::ui {
namespace {

using mindspore::ParameterLayout;
using mindspore::Strategy;
using mindspore::StrategyItem;

constexpr std::size_t kRanksSaid = 8;

struct DeviceMapText {
    Q_DECLARE_TR_FUNCTIONS(DeviceMap)
};

Box wholeBox(const Shape& shape)
{
    return {Shape(shape.size(), 0), shape};
}

QString boxText(const Box& box, const Shape& shape)
{
    return box.extent == shape ? DeviceMapText::tr("all of it") : QString::fromStdString(regionText(BoxView(box)));
}

// "dimension 0 over 4 by axis 1, optimizer shard over 2"; axes are counted from the right of the device matrix.
QString cutText(const ParameterLayout& layout)
{
    QStringList parts;
    const Shape cuts = mindspore::cutsOf(layout);
    for (std::size_t dim = 0; dim < cuts.size(); ++dim) {
        if (cuts[dim] < 2)
            continue;
        std::vector<std::uint32_t> axes;
        std::copy_if(layout.tensorMap[dim].begin(), layout.tensorMap[dim].end(), std::back_inserter(axes),
                     [&](std::uint32_t axis) { return layout.deviceMatrix[layout.deviceMatrix.size() - 1 - axis] > 1; });
        parts << (axes.size() == 1 ? DeviceMapText::tr("dimension %1 over %2 by axis %3") : DeviceMapText::tr("dimension %1 over %2 by axes %3"))
                     .arg(QString::number(dim), numberText(cuts[dim]), ranksText(axes));
    }
    if (!layout.paramSplitShape.empty())
        parts << DeviceMapText::tr("rows by count");
    if (const std::uint64_t shards = mindspore::optimizerShards(layout); shards > 1)
        parts << DeviceMapText::tr("optimizer shard over %1").arg(numberText(shards));
    if (layout.field > 0)
        parts << DeviceMapText::tr("interleaved by field %1").arg(layout.field);
    return parts.isEmpty() ? DeviceMapText::tr("not cut") : parts.join(QStringLiteral(", "));
}

// Puts a map together: boxes by rank first, then the slices that they make up.
class DeviceMapBuilder {
public:
    DeviceMapBuilder(const std::string& parameter, const Shape& shape)
    {
        m_map.parameter = printableText(parameter);
        m_map.shape = shape;
    }

    void cutBy(const Strategy& strategy, const std::string& parameter);
    void takePieces(const CheckpointPtr& checkpoint, TensorId tensor);
    void beOneDevice();
    void holdWhole();
    DeviceMapPtr finish();

    [[nodiscard]] bool isListed() const { return m_map.isListed; }

private:
    void addStage(const Strategy& strategy, const StrategyItem& item);
    void addCut(std::uint32_t stage, const QString& text, std::size_t stages);
    void takeBox(std::uint32_t rank, const RegionView& region);

    DeviceMap m_map;
    std::vector<std::optional<Box>> m_boxes; // by rank
    QStringList m_cuts;                      // distinct ones
};

void DeviceMapBuilder::cutBy(const Strategy& strategy, const std::string& parameter)
{
    const std::vector<std::uint32_t> stages = strategy.stagesOf(parameter);
    m_map.isListed = !stages.empty();
    const Shape row{strategy.stageDeviceCount()};
    std::vector<Shape> matrices(strategy.stageCount(), m_map.isListed ? strategy.layoutOf(*strategy.findLowest(parameter)).deviceMatrix : row);
    for (const std::uint32_t stage : stages)
        matrices[stage] = strategy.layoutOf(*strategy.find(parameter, stage)).deviceMatrix;
    m_map.grid = DeviceGrid(matrices);
    m_map.devices.resize(strategy.worldSize());
    m_boxes.resize(strategy.worldSize());
    for (const std::uint32_t stage : stages) {
        const StrategyItem& item = *strategy.find(parameter, stage);
        addCut(stage, cutText(strategy.layoutOf(item)), stages.size());
        addStage(strategy, item);
    }
    m_map.cut = m_cuts.join(QStringLiteral("; "));
}

void DeviceMapBuilder::addCut(std::uint32_t stage, const QString& text, std::size_t stages)
{
    if (m_cuts.isEmpty() || !m_cuts.first().endsWith(text))
        m_cuts << (stages > 1 && !m_cuts.isEmpty() ? DeviceMapText::tr("stage %1: %2").arg(stage).arg(text) : text);
}

void DeviceMapBuilder::addStage(const Strategy& strategy, const StrategyItem& item)
{
    const ParameterLayout& layout = strategy.layoutOf(item);
    if (const Status fits = mindspore::checkDivides(layout, m_map.shape); !fits) {
        m_map.problem = DeviceMapText::tr("%1: %2.", "parameter, reason").arg(m_map.parameter, printableText(fits.error().text()));
        return;
    }
    const std::uint64_t devices = strategy.stageDeviceCount();
    for (std::uint64_t local = 0; local < devices; ++local)
        if (auto box = mindspore::boxOf(layout, m_map.shape, local))
            m_boxes[item.stage * devices + local] = box.take();
}

// What a file holds counts more than what the strategy says.
void DeviceMapBuilder::takeBox(std::uint32_t rank, const RegionView& region)
{
    if (const auto* box = std::get_if<BoxView>(&region))
        m_boxes[rank] = Box{Shape(box->offset.begin(), box->offset.end()), Shape(box->extent.begin(), box->extent.end())};
    else if (volumeOf(region) == elementCount(m_map.shape))
        m_boxes[rank] = wholeBox(m_map.shape);
}

void DeviceMapBuilder::takePieces(const CheckpointPtr& checkpoint, TensorId tensor)
{
    m_map.checkpoint = checkpoint;
    const Tensor& owner = checkpoint->tensor(tensor);
    m_map.valueBytes = info(owner.dtype).valuesPerBlock == 1 ? info(owner.dtype).bytesPerBlock : 0;
    for (const File& file : checkpoint->files())
        if (file.rank && *file.rank < m_map.devices.size() && file.state != File::State::Read)
            m_map.devices[*file.rank].isMissing = true;
    const auto& pieces = checkpoint->pieces();
    for (std::size_t row = pieces.firstOf(tensor); row < pieces.lastOf(tensor); ++row) {
        const Piece piece = pieces.at(idAt<PieceId>(row));
        const auto rank = checkpoint->rankOfPiece(piece);
        if (rank && *rank < m_map.devices.size() && checkpoint->stream(piece.source.stream).kind != Stream::Kind::Missing)
            m_map.devices[*rank].pieces.push_back(piece.id);
    }
    for (std::uint32_t rank = 0; rank < m_map.devices.size(); ++rank) // several are records of one slice: the strategy knows it whole
        if (m_map.devices[rank].pieces.size() == 1 && info(owner.dtype).valuesPerBlock == 1)
            takeBox(rank, pieces.at(m_map.devices[rank].pieces.front()).region);
    if (!m_map.isListed)
        for (std::size_t rank = 0; rank < m_map.devices.size(); ++rank)
            if (!m_map.devices[rank].pieces.empty())
                m_boxes[rank] = wholeBox(m_map.shape);
}

void DeviceMapBuilder::beOneDevice()
{
    m_map.grid = DeviceGrid(std::vector<Shape>{Shape{1}});
    m_map.devices.resize(1);
    m_boxes.resize(1);
}

void DeviceMapBuilder::holdWhole()
{
    for (std::optional<Box>& box : m_boxes)
        box = wholeBox(m_map.shape);
}

DeviceMapPtr DeviceMapBuilder::finish()
{
    if (!m_map.problem.isEmpty())
        std::fill(m_boxes.begin(), m_boxes.end(), std::nullopt);
    std::map<Box, std::uint32_t> numbers;
    for (std::uint32_t rank = 0; rank < m_boxes.size(); ++rank) {
        if (!m_boxes[rank])
            continue;
        const auto [known, isNew] = numbers.emplace(*m_boxes[rank], static_cast<std::uint32_t>(m_map.slices.size()));
        if (isNew)
            m_map.slices.push_back({*m_boxes[rank], {}, true});
        m_map.devices[rank].slice = known->second;
        m_map.slices[known->second].ranks.push_back(rank);
    }
    if (m_map.checkpoint)
        for (DeviceMap::Slice& slice : m_map.slices)
            slice.isHeld = std::any_of(slice.ranks.begin(), slice.ranks.end(), [this](std::uint32_t rank) { return !m_map.devices[rank].pieces.empty(); });
    return std::make_shared<const DeviceMap>(std::move(m_map));
}

// Other ranks of the slice that have it in a file.
std::vector<std::uint32_t> storersOf(const DeviceMap& map, const DeviceMap::Slice& slice)
{
    std::vector<std::uint32_t> out;
    std::copy_if(slice.ranks.begin(), slice.ranks.end(), std::back_inserter(out), [&](std::uint32_t rank) { return !map.devices[rank].pieces.empty(); });
    return out;
}

} // namespace

QString ranksText(const std::vector<std::uint32_t>& ranks)
{
    QStringList names;
    for (std::size_t i = 0; i < std::min(ranks.size(), kRanksSaid); ++i)
        names << QString::number(ranks[i]);
    if (ranks.size() > kRanksSaid)
        return DeviceMapText::tr("%1 and %2 more", "ranks").arg(names.join(QStringLiteral(", ")), numberText(ranks.size() - kRanksSaid));
    const QString last = names.isEmpty() ? QString() : names.takeLast();
    return names.isEmpty() ? last : DeviceMapText::tr("%1 and %2", "a list and its last part").arg(names.join(QStringLiteral(", ")), last);
}

QString DeviceMap::sentenceOf(std::uint32_t rank) const
{
    const Device& device = devices[rank];
    if (!device.slice)
        return DeviceMapText::tr("rank %1: none of it").arg(rank);
    const Slice& slice = slices[*device.slice];
    std::vector<std::uint32_t> others = slice.ranks;
    std::erase(others, rank);
    const QString box = boxText(slice.box, shape);
    if (others.empty())
        return DeviceMapText::tr("rank %1: %2, no other rank has it").arg(rank).arg(box);
    return (others.size() == 1 ? DeviceMapText::tr("rank %1: %2, same as rank %3") : DeviceMapText::tr("rank %1: %2, same as ranks %3"))
        .arg(QString::number(rank), box, ranksText(others));
}

QString DeviceMap::placeOf(std::uint32_t rank) const
{
    if (!checkpoint || !devices[rank].slice)
        return devices[rank].isMissing ? DeviceMapText::tr("its file is not there") : QString();
    const Device& device = devices[rank];
    if (device.pieces.empty()) {
        const std::vector<std::uint32_t> storers = storersOf(*this, slices[*device.slice]);
        const QString why = device.isMissing ? DeviceMapText::tr("its file is not there") : DeviceMapText::tr("its file does not hold it");
        return storers.empty() ? DeviceMapText::tr("%1, and no other rank has the slice").arg(why)
                               : DeviceMapText::tr("%1; the slice is read from rank %2").arg(why).arg(storers.front());
    }
    const Piece piece = checkpoint->pieces().at(device.pieces.front());
    const Stream& stream = checkpoint->stream(piece.source.stream);
    const QString file = stream.file == kNoFile ? QString() : printableText(checkpoint->file(stream.file).name);
    if (device.pieces.size() > 1)
        return DeviceMapText::tr("%1, in %2 pieces").arg(file, numberText(device.pieces.size()));
    const std::uint64_t length = piece.spanBytes(info(checkpoint->tensor(checkpoint->pieces().tensorOf(piece.id)).dtype).bytesPerBlock);
    return length == 0 ? file : DeviceMapText::tr("%1, bytes %2 to %3").arg(file, numberText(piece.source.offset), numberText(piece.source.offset + length - 1));
}

QString DeviceMap::sliceText(std::uint32_t slice) const
{
    const std::vector<std::uint32_t>& ranks = slices[slice].ranks;
    const QString box = boxText(slices[slice].box, shape);
    return (ranks.size() == 1 ? DeviceMapText::tr("%1 on rank %2", "box") : DeviceMapText::tr("%1 on ranks %2", "box")).arg(box, ranksText(ranks));
}

bool DeviceMap::isStoredElsewhere(std::uint32_t rank) const
{
    const Device& device = devices[rank];
    return checkpoint && device.slice && device.pieces.empty() && !device.isMissing && slices[*device.slice].isHeld;
}

std::uint64_t DeviceMap::bytesOf(std::uint32_t rank) const
{
    return devices[rank].slice ? slices[*devices[rank].slice].box.volume() * valueBytes : 0;
}

DeviceMapPtr deviceMapOf(const Strategy* strategy, const std::string& parameter, const Shape& shape)
{
    if (strategy != nullptr && strategy->worldSize() > kMostDevices)
        return nullptr;
    DeviceMapBuilder builder(parameter, shape);
    if (strategy != nullptr) {
        builder.cutBy(*strategy, parameter);
    } else {
        builder.beOneDevice();
    }
    if (strategy == nullptr || !builder.isListed())
        builder.holdWhole();
    return builder.finish();
}

DeviceMapPtr deviceMapOf(const Strategy& strategy, const CheckpointPtr& checkpoint, TensorId tensor)
{
    if (strategy.worldSize() > kMostDevices)
        return nullptr;
    const std::string& parameter = checkpoint->parameterOf(tensor);
    DeviceMapBuilder builder(parameter, checkpoint->tensor(tensor).shape);
    builder.cutBy(strategy, parameter);
    builder.takePieces(checkpoint, tensor);
    return builder.finish();
}

QString strategyPathOf(const Checkpoint& checkpoint)
{
    const auto found = checkpoint.modelFacts().find(kStrategyFact);
    return found == checkpoint.modelFacts().end() ? QString() : QString::fromStdString(found->second);
}

bool isMindSporeRun(const Checkpoint& checkpoint)
{
    return checkpoint.formatId() == "mindspore" && !checkpoint.topology().axes.empty();
}

bool lacksStrategy(const Checkpoint& checkpoint)
{
    return std::any_of(checkpoint.findings().begin(), checkpoint.findings().end(), [](const Finding& finding) { return finding.code == kNoStrategy; });
}

StrategyReading readStrategyAt(const QString& path)
{
    try {
        auto read = mindspore::readStrategyOrFolder(path.toStdString());
        if (!read)
            return {nullptr, printableText(read.error().sentence())};
        return {std::make_shared<const Strategy>(read.take()), {}};
    } catch (const std::bad_alloc&) {
        return {nullptr, DeviceMapText::tr("There is not enough memory to read the strategy.")};
    }
}

bool looksLikeStrategyAt(const QString& path)
{
    const auto candidate = lookAt(path.toStdString());
    if (!candidate)
        return false;
    if (candidate->isFolder) {
        const auto isCandidate = [](const DirectoryEntry& entry) { return entry.isFolder || entry.name.ends_with(".ckpt") || entry.name.ends_with(".json"); };
        const std::size_t strategies = mindspore::strategyFilesIn(candidate->path).size();
        return strategies > 0 && static_cast<std::size_t>(std::count_if(candidate->entries.begin(), candidate->entries.end(), isCandidate)) == strategies;
    }
    const std::string_view head(reinterpret_cast<const char*>(candidate->head.data()), candidate->head.size());
    return mindspore::looksLikeStrategy(head, candidate->sizeBytes);
}

} // namespace shardlens::ui
