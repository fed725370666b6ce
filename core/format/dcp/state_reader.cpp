#include "core/format/dcp/state_reader.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/tensor_leaves.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/dcp/state_names.h"
#include "core/format/dcp/state_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace shardlens::dcp {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr std::size_t kMostObjects = 100'000;
constexpr std::size_t kNodesOfObject = 2'000;

} // namespace

bool StateReader::claim(const std::string& name, RoleKind role, FileId file)
{
    if (m_names.insert(name).second)
        return true;
    m_builder.addLost({name, role, fmt::format("Two tensors come out under the name {}: a key with a dot and a nested one. The first is shown.", printable(name))}, "tensor-twice", file);
    return false;
}

Status StateReader::addTensor(Part& part, std::size_t number, const StateNames& names)
{
    const DcpEntry& entry = part.folder.metadata().entries[number];
    const StateName name = names.of(entry);
    const std::string full = name.state.empty() ? name.parameter : name.parameter + "/" + name.state;
    if (!claim(full, name.role, kNoFile))
        return {};
    const RoleId role = name.role == RoleKind::OptimizerState ? m_builder.role(name.role, name.state) : name.role == RoleKind::Weight ? m_builder.role(name.role, "weight") : m_builder.role(name.role, "other");
    const Combine combine = part.folder.overlaps(entry) ? Combine::Replicas : Combine::Exclusive;
    const TensorId id = m_builder.addTensor({m_builder.parameter(name.parameter), role, entry.dtype, combine, name.role == RoleKind::Weight, entry.shape});
    part.tensors[number] = id;
    return part.folder.addPieces(entry, id);
}

// Tensors inside the object of an entry: a tuple that was stored whole, say.
Status StateReader::addLeaves(Part& part, const DcpEntry& entry, const TorchFile& file, const StateNames& names, JobContext& job)
{
    const auto leaves = tensorLeavesOf(file.root(), job);
    const FileId id = part.folder.fileOf(entry.item.file);
    if (!leaves && leaves.error().code() != ErrorCode::Cancelled) {
        m_builder.addFinding({Severity::Warning, "unreadable-object", fmt::format("{} is an object of its own, and its tensors are not read: {}.", printable(entry.key), leaves.error().text()), kNoTensor, id, std::nullopt});
        return {};
    }
    if (!leaves)
        return leaves.error();
    for (const TreeLeaf& leaf : *leaves) {
        const StateName name = names.inside(entry, leaf.name);
        if (TorchFile::sparseLayoutOf(leaf.value)) {
            m_builder.addLost({name.parameter, name.role, fmt::format("{} is a sparse tensor inside an object, which is not read.", printable(name.parameter))}, "unsupported-tensor", id);
            continue;
        }
        const auto tensor = file.tensorOf(leaf.value);
        if (!tensor || tensor->noData) {
            m_builder.addLost({name.parameter, name.role, fmt::format("{} cannot be read: {}.", printable(name.parameter), tensor ? "it has no data" : tensor.error().text())}, "unsupported-tensor", id);
            continue;
        }
        if (!claim(name.parameter, name.role, id))
            continue;
        const RoleId role = m_builder.role(name.role, name.role == RoleKind::Weight ? "weight" : "other");
        const TensorId made = m_builder.addTensor({m_builder.parameter(name.parameter), role, tensor->dtype, Combine::Exclusive, name.role == RoleKind::Weight, tensor->shape});
        CheckpointBuilder::Placement at = placementInItem(m_builder, id, entry.item, file.storages().at(tensor->storage));
        at.offset += tensor->offsetBytes;
        at.flags = tensor->flags;
        const Shape units = unitShape(tensor->shape, tensor->dtype);
        const Shape origin(units.size(), 0);
        SHARDLENS_TRY(tensor->contiguous ? m_builder.addWhole(made, at) : m_builder.addPiece(made, BoxView{origin, units}, at, tensor->strides));
    }
    return {};
}

Status StateReader::addObject(Part& part, std::size_t number, const StateNames& names, StateTree& tree, JobContext& job)
{
    const DcpEntry& entry = part.folder.metadata().entries[number];
    if (++m_objects > kMostObjects)
        return {};
    auto file = part.folder.object(entry, job);
    if (!file) {
        if (file.error().code() == ErrorCode::Cancelled)
            return file.takeError();
        m_builder.addFinding({Severity::Warning, "unreadable-object", fmt::format("{} is an object of its own and cannot be read: {}.", printable(entry.key), file.error().text()), kNoTensor, kNoFile, std::nullopt});
        tree.add(entry, {MetaNode::Kind::Opaque, "", "cannot be read", "object", {}});
        return {};
    }
    const Value root = (*file)->root();
    tree.add(entry, describe(**file, kNodesOfObject));
    const bool isNumber = root.kind() == Kind::Int || root.kind() == Kind::Float;
    if (!isNumber || !names.isOptimizerState(entry))
        return addLeaves(part, entry, **file, names, job);
    const StateName name = names.of(entry);
    if (!claim(name.parameter + "/" + name.state, name.role, kNoFile))
        return {};
    std::array<std::byte, 8> bytes{};
    if (root.kind() == Kind::Int)
        storeLe(bytes.data(), root.asInt().value_or(0));
    else
        storeLe(bytes.data(), root.asFloat().value_or(0));
    const TensorId id = m_builder.addTensor({m_builder.parameter(name.parameter), m_builder.role(name.role, name.state), root.kind() == Kind::Int ? DType::I64 : DType::F64, Combine::Exclusive, false, {}});
    return m_builder.addWhole(id, {m_builder.addInline(part.folder.fileOf(entry.item.file), bytes), 0, m_builder.holder({}), {}});
}

Status StateReader::addEntries(Part& part, FileId metadataFile, JobContext& job)
{
    const DcpMetadata& metadata = part.folder.metadata();
    const StateNames names(metadata, [&](const DcpEntry& entry) {
        const auto file = part.folder.object(entry, job);
        const auto leaves = file ? tensorLeavesOf((*file)->root(), job) : Result<std::vector<TreeLeaf>>(file.error());
        return leaves && !leaves->empty();
    });
    StateTree tree;
    part.tensors.assign(metadata.entries.size(), kNoTensor);
    for (std::size_t i = 0; i < metadata.entries.size(); ++i) {
        const DcpEntry& entry = metadata.entries[i];
        if (i % 1024 == 0)
            SHARDLENS_TRY(job.poll());
        switch (entry.kind) {
        case DcpEntry::Kind::Tensor:
            tree.addTensor(entry);
            SHARDLENS_TRY(addTensor(part, i, names));
            break;
        case DcpEntry::Kind::Bytes: SHARDLENS_TRY(addObject(part, i, names, tree, job)); break;
        case DcpEntry::Kind::Unknown: {
            const StateName name = names.of(entry);
            m_builder.addLost({name.state.empty() ? name.parameter : name.parameter + "/" + name.state, name.role, entry.problem + "."}, "unsupported-tensor", metadataFile);
            break;
        }
        }
    }
    MetaNode root = std::move(tree).take();
    root.children.push_back(metadata.tree);
    root.children.back().key = kOwnMetadataKey;
    m_builder.addMetadata({metadataFile, std::move(root)});
    return {};
}

// What of the folder's files does not speak for itself.
void StateReader::addSaveFindings(const SaveFolder& save, const DcpFolder& folder)
{
    const auto find = [&](Severity severity, const char* code, std::string text, FileId file, std::optional<std::uint32_t> rank) {
        m_builder.addFinding({severity, code, std::move(text), kNoTensor, file, rank});
    };
    for (const std::uint32_t rank : save.ranksWithout) {
        const std::string name = fmt::format("__{}.metadata", rank);
        const FileId id = m_builder.addFile(missingFile(save.path + "/" + name, save.prefix + name));
        find(Severity::Error, "missing-file", fmt::format("{} is not in the folder: each rank of this save has metadata of its own, and nothing says what rank {} wrote.", save.prefix + name, rank), id, rank);
    }
    if (save.isInterrupted)
        find(Severity::Info, "interrupted-save", "A .metadata.tmp lies beside the metadata: a later save into this folder was interrupted, and data files may be of it.", kNoFile, std::nullopt);
    const auto& files = folder.metadata().files;
    const std::set<std::string_view> named(files.begin(), files.end());
    for (const DirectoryEntry& entry : save.dataFiles) {
        const bool isOfLostRank = std::any_of(save.ranksWithout.begin(), save.ranksWithout.end(), [&](std::uint32_t rank) { return entry.name.starts_with(fmt::format("__{}_", rank)); });
        if (named.contains(entry.name) || entry.sizeBytes == 0 || isOfLostRank) // a rank with nothing to write leaves an empty file
            continue;
        auto opened = openFile(save.path + "/" + entry.name, save.prefix + entry.name);
        File row = opened ? opened->row : missingFile(save.path + "/" + entry.name, save.prefix + entry.name);
        row.holds = "not part of the checkpoint";
        row.container = "distcp";
        const FileId id = m_builder.addFile(std::move(row));
        find(Severity::Info, "leftover-file", fmt::format("{} ({}) is not named by the metadata: left over from an earlier save of more ranks into this folder. It is not read.", printable(save.prefix + entry.name), sizeText(entry.sizeBytes)),
             id, std::nullopt);
    }
}

Status StateReader::read(const SaveFolder& save, JobContext& job)
{
    SHARDLENS_ASSIGN(SaveMetadata metadata, readMetadata(save, job));
    FileId metadataFile = kNoFile;
    for (OpenedFile& file : metadata.files) {
        const FileId id = m_builder.addFile(std::move(file.row));
        metadataFile = metadataFile == kNoFile ? id : metadataFile;
    }
    if (!metadata.content.version.empty() && m_parts.empty())
        m_builder.addFact("metadata version", metadata.content.version);
    SHARDLENS_ASSIGN(DcpFolder folder, DcpFolder::open(m_builder, save.path, save.prefix, std::move(metadata.content), job));
    m_parts.push_back({std::move(folder), {}});
    Part& part = m_parts.back();
    SHARDLENS_TRY(addEntries(part, metadataFile, job));
    const DcpEntry* const first = part.folder.metadata().entries.data();
    part.folder.addFindings([&](const DcpEntry& entry) { return part.tensors[static_cast<std::size_t>(&entry - first)]; });
    addSaveFindings(save, part.folder);
    for (std::uint32_t i = 0; i < part.folder.metadata().files.size(); ++i)
        if (const auto rank = m_builder.file(part.folder.fileOf(i)).rank)
            m_writers.insert(*rank);
    return {};
}

void StateReader::finish()
{
    if (!m_writers.empty())
        m_builder.addFact("written by", plural(m_writers.size(), "rank", "ranks"));
    if (m_objects > kMostObjects)
        m_builder.addFinding({Severity::Warning, "many-objects", fmt::format("{} more objects beside the tensors are not read.", groupedText(m_objects - kMostObjects)), kNoTensor, kNoFile, std::nullopt});
}

} // namespace shardlens::dcp
