#include "core/format/mindspore/rank_slices.h"

#include "core/base/text.h"
#include "core/encoding/mindspore_pieces.h"
#include "core/encoding/mindspore_writer.h"
#include "core/layout/strategy_boxes.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

namespace shardlens::mindspore {
namespace {

// Cut into more than one slice.
bool isCut(const Strategy& strategy, const std::string& name)
{
    const auto items = strategy.itemsNamed(name);
    return std::any_of(items.begin(), items.end(), [&](std::uint32_t number) { return sliceCount(strategy.layoutOf(strategy.items()[number])) > 1; });
}

} // namespace

RankSlices::RankSlices(const RankRun* run, const CheckpointPtr& joined, const Strategy& target, std::vector<SourceTensor> tensors)
    : m_run(run), m_target(target), m_tensors(std::move(tensors)), m_builder(*joined), m_import(PieceImport::within(m_builder, *joined))
{
    for (const SourceTensor& tensor : m_tensors) {
        const bool isListed = !m_target.itemsNamed(tensor.name).empty();
        if (isListed && isListedBySource(tensor.name))
            ++m_transformed;
        else if (isCut(m_target, tensor.name) || (sourceStrategy() != nullptr && isCut(*sourceStrategy(), tensor.name)))
            m_copiedSlices.push_back(tensor.name);
    }
}

// No strategy means that every tensor is whole, on one device.
bool RankSlices::isListedBySource(const std::string& name) const
{
    return sourceStrategy() == nullptr || !sourceStrategy()->itemsNamed(name).empty();
}

Result<std::vector<OutputEntry>> RankSlices::entriesOf(std::uint64_t rank)
{
    const std::uint32_t stage = m_target.stageOf(rank);
    const std::uint64_t local = m_target.localRankOf(rank);
    const std::vector<const WeightsFile*> files = filesFor(local);
    std::vector<OutputEntry> out;
    for (const SourceTensor& tensor : m_tensors) {
        const bool isListed = isListedBySource(tensor.name) && !m_target.itemsNamed(tensor.name).empty();
        const StrategyItem* item = isListed ? m_target.find(tensor.name, stage) : nullptr;
        if (isListed && item == nullptr)
            continue; // of another stage
        auto made = item != nullptr ? slice(tensor, *item, local) : copy(tensor, files);
        if (!made)
            return made.takeError().within(printable(tensor.name)).within("the target's strategy " + printable(m_target.name()));
        out.push_back({tensor.name, *made, {}, tensor.typeName, {}});
    }
    SHARDLENS_TRY(addOthers(files, out));
    return out;
}

Result<TensorId> RankSlices::slice(const SourceTensor& tensor, const StrategyItem& item, std::uint64_t local)
{
    ParameterLayout layout = m_target.layoutOf(item);
    if (m_run != nullptr && m_run->plainAccumulators.contains(tensor.name))
        layout.optShardStep = layout.optShardSize = 0; // as in the source
    Tensor whole = m_builder.tensor(tensor.tensor);
    if (item.fullShape && *item.fullShape != whole.shape)
        return Error{ErrorCode::Refused, fmt::format("the strategy says {}, and the source's is {}", shapeText(*item.fullShape), shapeText(whole.shape))};
    SHARDLENS_ASSIGN(const Box box, boxOf(layout, whole.shape, local));
    if (box.extent == whole.shape)
        return tensor.tensor;
    const auto key = std::tuple(tensor.tensor, item.layout, sliceOf(layout, local));
    if (const auto known = m_slices.find(key); known != m_slices.end())
        return known->second;
    whole.shape = box.extent;
    const TensorId id = m_builder.addTensor(whole);
    SHARDLENS_TRY(m_import.addThrough(id, tensor.tensor, Slab{box, Box{Shape(box.extent.size(), 0), box.extent}}));
    m_slices.emplace(key, id);
    return id;
}

// The source's files that the original would look into for a rank, the first one first: its local rank's in every stage, then all (§5.7).
std::vector<const WeightsFile*> RankSlices::filesFor(std::uint64_t local) const
{
    std::vector<const WeightsFile*> out;
    if (m_run == nullptr)
        return out;
    if (const Strategy* strategy = sourceStrategy(); strategy != nullptr)
        for (std::uint64_t rank = local % strategy->stageDeviceCount(); rank < m_run->files.size(); rank += strategy->stageDeviceCount())
            out.push_back(m_run->files[rank].get());
    for (const auto& file : m_run->files)
        out.push_back(file.get());
    return out;
}

Result<TensorId> RankSlices::entryTensor(const WeightsFile& file, const CkptEntry& entry)
{
    if (const auto known = m_copies.find(&entry); known != m_copies.end())
        return known->second;
    const TensorId id = m_builder.addTensor({m_builder.parameter(entry.name), m_builder.role(RoleKind::Weight, "weight"), entry.dtype, Combine::Exclusive, true, entry.shape});
    SHARDLENS_TRY(addWholeEntry(m_builder, id, entry, {file.id, m_builder.holder({})}));
    m_copies.emplace(&entry, id);
    return id;
}

Result<TensorId> RankSlices::copy(const SourceTensor& tensor, const std::vector<const WeightsFile*>& files)
{
    if (sourceStrategy() == nullptr)
        return tensor.tensor;
    for (const WeightsFile* file : files)
        if (const CkptEntry* entry = file->isRead ? file->find(tensor.name) : nullptr; entry != nullptr)
            return entryTensor(*file, *entry);
    return tensor.tensor;
}

// Texts and opaque entries, by the same rule.
Status RankSlices::addOthers(const std::vector<const WeightsFile*>& files, std::vector<OutputEntry>& out)
{
    std::unordered_set<std::string_view> added;
    for (const WeightsFile* file : files) {
        if (!file->isRead)
            continue;
        for (const CkptEntry& entry : file->content.entries) {
            if (isTensor(entry) || !added.insert(entry.name).second)
                continue;
            SHARDLENS_ASSIGN(OutputEntry made, otherEntry(m_builder, *file, entry));
            out.push_back(std::move(made));
        }
    }
    return {};
}

Result<OutputEntry> otherEntry(CheckpointBuilder& builder, const WeightsFile& file, const CkptEntry& entry)
{
    if (entry.kind == CkptEntry::Kind::Text)
        return OutputEntry{entry.name, kNoTensor, entry.text, {}, {}};
    SHARDLENS_ASSIGN(const CkptOutput output, outputOf(entry));
    const TensorId id = builder.addTensor({builder.parameter(entry.name), builder.role(RoleKind::Other, "opaque"), DType::U8, Combine::Exclusive, true, {entry.sizeBytes}});
    SHARDLENS_TRY(addWholeEntry(builder, id, entry, {file.id, builder.holder({})}));
    return OutputEntry{entry.name, id, {}, output.typeName, output.shape};
}

} // namespace shardlens::mindspore
