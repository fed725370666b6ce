#include "core/format/torch/torch_format.h"

#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/nested_states.h"
#include "core/format/opened_file.h"
#include "core/format/sharded_folder.h"
#include "core/format/torch/optimizer_branch.h"
#include "core/encoding/tensor_leaves.h"
#include "core/format/torch/view_slack.h"
#include "core/layout/branches.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>

namespace shardlens::torch {
namespace {

using pickle::Value;

constexpr std::string_view kShardExtension = ".bin";
constexpr std::array<std::string_view, 8> kExtensions{".pt", ".pth", ".bin", ".ckpt", ".pkl", ".tar", ".model", ".th"};
constexpr std::size_t kTiesSaid = 5; // groups of shared memory that are named

bool hasExtension(std::string_view name)
{
    return std::any_of(kExtensions.begin(), kExtensions.end(), [&](std::string_view one) { return name.ends_with(one); });
}

bool looksLikeTorch(const Candidate& file)
{
    const std::string_view head(reinterpret_cast<const char*>(file.head.data()), file.head.size());
    if (head.starts_with("PK\x03\x04"))
        return true;
    // any protocol's pickle of the legacy magic number
    return head.starts_with("\x80") && head.substr(0, 32).find("\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19") != std::string_view::npos;
}

std::vector<std::string> torchFilesOf(const Candidate& folder)
{
    std::vector<std::string> out;
    for (const DirectoryEntry& entry : folder.entries)
        if (!entry.isFolder && hasExtension(entry.name))
            out.push_back(entry.name);
    return out;
}

// Which branches hold what, decided for the whole tree (conformance/README.md, "Trees").
struct Branches {
    std::string model;     // its tensors are the weights, under names without it; empty: all tensors are
    std::string optimizer; // empty without one
};

Branches branchesOf(Value root, const std::vector<TreeLeaf>& leaves)
{
    Branches out;
    std::vector<std::string> models;
    for (std::size_t i = 0; root.isMapping() && i < root.size(); ++i) {
        const std::string key = keyText(root.keyAt(i));
        if (isModelBranch(key) && (root.valueAt(i).isMapping() || root.valueAt(i).attribute("_parameters")))
            models.push_back(key);
        if (isOptimizerBranch(key) && !TorchFile::isTensor(root.valueAt(i)))
            out.optimizer = key;
    }
    const auto isElsewhere = [&](const TreeLeaf& leaf) { return leaf.branch != models.front() && leaf.branch != out.optimizer; };
    if (models.size() == 1 && (!out.optimizer.empty() || std::none_of(leaves.begin(), leaves.end(), isElsewhere)))
        out.model = models.front();
    return out;
}

class Reader {
public:
    Reader(CheckpointBuilder& builder, IndexCheck& index) : m_builder(builder), m_index(index) {}

    Status read(const std::string& path, const std::string& name, JobContext& job)
    {
        SHARDLENS_ASSIGN(OpenedFile opened, openFile(path, name));
        SHARDLENS_ASSIGN(const TorchFile torch, TorchFile::open(opened.source, job));
        opened.row.container = containerText(torch.container());
        if (torch.container() == TorchFile::Container::TorchScript)
            m_builder.setFormat("torch", "TorchScript");
        const FileId file = m_builder.addFile(opened.row);
        addContainerSpans(m_builder, file, torch);
        for (const TorchNote& note : torch.notes())
            find(note.isWarning ? Severity::Warning : Severity::Info, note.code, fmt::format("{}: {}.", printable(name), note.text), file);
        SHARDLENS_ASSIGN(const std::vector<TreeLeaf> leaves, tensorLeavesOf(torch.root(), job, &torch));
        m_builder.file(file).holds = plural(leaves.size(), "tensor", "tensors");
        m_builder.addMetadata({file, describe(torch)});
        SHARDLENS_TRY(addAll(torch, file, name, leaves, job));
        sayShared(file);
        addViewSlack(m_builder, file, torch, leaves);
        return {};
    }

private:
    using Place = std::tuple<std::size_t, std::uint64_t, DType, Shape, std::vector<std::int64_t>>;

    Status addAll(const TorchFile& torch, FileId file, const std::string& fileName, const std::vector<TreeLeaf>& leaves, JobContext& job)
    {
        const Branches branches = branchesOf(torch.root(), leaves);
        m_placeOf.clear();
        m_shared.clear();
        TorchPieces pieces(m_builder, file, torch);
        std::vector<const TreeLeaf*> ofOptimizer;
        std::size_t count = 0;
        for (const TreeLeaf& leaf : leaves) {
            if (++count % 4096 == 0)
                SHARDLENS_TRY(job.poll());
            if (!branches.optimizer.empty() && leaf.branch == branches.optimizer) {
                ofOptimizer.push_back(&leaf);
                continue;
            }
            const bool isWeight = !leaf.isAttribute && (branches.model.empty() || leaf.branch == branches.model);
            const bool cutsBranch = isWeight && !branches.model.empty();
            const std::string name = cutsBranch ? leaf.name.substr(std::min(leaf.name.size(), branches.model.size() + 1)) : leaf.name;
            if (!isWeight || m_index.accepts(name, fileName, file))
                SHARDLENS_TRY(addLeaf(torch, pieces, file, name, leaf.value, isWeight));
        }
        if (branches.optimizer.empty())
            return {};
        SHARDLENS_ASSIGN(const auto taken, addOptimizer(m_builder, file, torch, torch.root().find(branches.optimizer)));
        for (const TreeLeaf* leaf : ofOptimizer)
            if (!taken.contains(leaf->value.index()))
                SHARDLENS_TRY(addLeaf(torch, pieces, file, leaf->name, leaf->value, false));
        return {};
    }

    // A sparse tensor is shown as its parts (conformance/README.md).
    Status addLeaf(const TorchFile& torch, TorchPieces& pieces, FileId file, const std::string& name, Value value, bool isWeight)
    {
        const auto layout = TorchFile::sparseLayoutOf(value);
        if (!layout)
            return addOne(torch, pieces, file, name, value, isWeight, false);
        const auto parts = TorchFile::sparsePartsOf(value);
        const auto shape = TorchFile::sparseShapeOf(value);
        if (!parts || !shape) {
            lose(name, isWeight, "unsupported-tensor", fmt::format("{} cannot be read: {}.", printable(name), (parts ? shape.error() : parts.error()).text()), file);
            return {};
        }
        find(Severity::Info, "sparse-tensor", fmt::format("{} is a sparse tensor ({} {}); its parts are shown.", printable(name), *layout, shapeText(*shape)), file);
        for (const TorchSparsePart& part : *parts)
            SHARDLENS_TRY(addOne(torch, pieces, file, fmt::format("{}.{}", name, part.name), part.value, isWeight, true));
        return {};
    }

    Status addOne(const TorchFile& torch, TorchPieces& pieces, FileId file, const std::string& name, Value value, bool isWeight, bool isSparsePart)
    {
        auto tensor = torch.tensorOf(value);
        if (!tensor && tensor.error().code() == ErrorCode::Unsupported) {
            lose(name, isWeight, "unsupported-tensor", fmt::format("{} cannot be read: {}.", printable(name), tensor.error().text()), file);
            return {};
        }
        if (!tensor)
            return tensor.takeError().within(printable(name));
        if (isWeight && isTied(*tensor, name))
            return {};
        if (isWeight && !m_weights.insert(name).second) {
            lose(name, isWeight, "tensor-twice", fmt::format("Two tensors come out under the name {}: a key with a dot and a nested one. The first is shown.", printable(name)), file);
            return {};
        }
        const RoleId role = isWeight ? m_builder.role(RoleKind::Weight, "weight") : m_builder.role(RoleKind::Other, "other");
        const TensorId id = m_builder.addTensor({m_builder.parameter(name), role, tensor->dtype, Combine::Exclusive, isWeight, tensor->shape, isSparsePart});
        return pieces.addWhole(id, *tensor, m_builder.holder({}));
    }

    // The same memory under another name: an alias. Overlapping memory of other shape is only counted.
    bool isTied(const TorchTensor& tensor, const std::string& name)
    {
        if (tensor.noData || elementCount(tensor.shape).value_or(0) == 0)
            return false;
        const auto [at, isNew] = m_placeOf.try_emplace(Place{tensor.storage, tensor.offsetBytes, tensor.dtype, tensor.shape, tensor.strides}, name);
        m_shared[tensor.storage].push_back(name);
        if (isNew)
            return false;
        m_builder.addAlias(name, m_builder.parameter(at->second));
        return true;
    }

    void sayShared(FileId file)
    {
        std::size_t groups = 0;
        std::string examples;
        for (const auto& [storage, names] : m_shared) {
            if (names.size() < 2)
                continue;
            if (groups++ < kTiesSaid)
                examples += fmt::format("{}{} and {}", examples.empty() ? "" : "; ", printable(names[0]), printable(names[1]));
        }
        if (groups > 0)
            find(Severity::Info, "shared-memory", fmt::format("{} shared by several tensors (tied weights or views): {}{}.", plural(groups, "storage is", "storages are"), examples,
                                                              groups > kTiesSaid ? "; …" : ""),
                 file);
    }

    void lose(const std::string& name, bool isWeight, const char* code, std::string sentence, FileId file)
    {
        m_builder.addLost({name, isWeight ? RoleKind::Weight : RoleKind::Other, std::move(sentence)}, code, file);
    }

    void find(Severity severity, std::string code, std::string text, FileId file)
    {
        m_builder.addFinding({severity, std::move(code), std::move(text), kNoTensor, file, std::nullopt});
    }

    CheckpointBuilder& m_builder;
    IndexCheck& m_index;
    std::set<std::string> m_weights;
    std::map<Place, std::string> m_placeOf;
    std::map<std::size_t, std::vector<std::string>> m_shared; // names by storage
};

Result<ShardSet> filesOf(const Candidate& candidate)
{
    if (isIndexFile(candidate, kShardExtension) || (candidate.isFolder && matchShards(candidate, kShardExtension) != Match::No))
        return findShards(candidate, kShardExtension);
    ShardSet out;
    out.folder = candidate.path;
    if (candidate.isFolder) {
        out.files = torchFilesOf(candidate);
        if (out.files.size() != 1)
            return Error{ErrorCode::Refused, fmt::format("{} files, and nothing says that they belong together: open one of them: {}", out.files.size(), printable(fmt::format("{}", fmt::join(out.files, ", "))))};
        return out;
    }
    const std::size_t slash = candidate.path.find_last_of('/');
    out.folder = slash == std::string::npos ? "." : candidate.path.substr(0, std::max<std::size_t>(slash, 1));
    out.files = {candidate.name()};
    return out;
}

} // namespace

Match probe(const Candidate& candidate)
{
    if (candidate.isFolder) {
        const Match shards = matchShards(candidate, kShardExtension);
        return shards != Match::No ? shards : torchFilesOf(candidate).empty() ? Match::No : Match::ByName;
    }
    if (isIndexFile(candidate, kShardExtension) || looksLikeTorch(candidate))
        return Match::ByContent;
    return hasExtension(candidate.name()) ? Match::ByName : Match::No;
}

Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions&, JobContext& job)
{
    SHARDLENS_ASSIGN(const ShardSet files, filesOf(candidate));
    CheckpointBuilder builder(candidate.path, files.folder);
    builder.setFormat("torch", "PyTorch");
    builder.setTitle(candidate.name(), "");
    IndexCheck index(builder, files);
    Reader reader(builder, index);
    for (const std::string& name : files.files) {
        SHARDLENS_TRY(job.poll());
        if (Status read = reader.read(files.folder + "/" + name, name, job); !read)
            return candidate.isFolder || files.index ? read.takeError().within(printable(name)) : read.takeError();
    }
    index.finish();
    if (files.index)
        builder.addFact("index", files.indexName);
    sayNestedStates(builder);
    return std::move(builder).finish();
}

} // namespace shardlens::torch
