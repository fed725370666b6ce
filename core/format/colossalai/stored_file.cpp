#include "core/format/colossalai/stored_file.h"

#include "core/base/text.h"
#include "core/encoding/safetensors.h"
#include "core/format/rank_file.h"
#include "core/job/executor.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::colossalai {
namespace {

constexpr std::size_t kFilesWorthThreads = 4;
constexpr std::size_t kMaxShownMetadata = 4096;

// What people find under these names when a download failed.
Status refuseDecoys(const FileSource& source)
{
    std::vector<std::byte> head(std::min<std::uint64_t>(source.size(), 64));
    SHARDLENS_TRY(source.readAt(0, head));
    const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
    if (text.starts_with("version https://git-lfs"))
        return Error{ErrorCode::Unsupported, "a Git LFS pointer: the real file was not downloaded; run git lfs pull"};
    if (text.starts_with("<!") || text.starts_with("<html"))
        return Error{ErrorCode::Unsupported, "an HTML page: the download was probably refused"};
    return {};
}

MetaNode metadataNode(const SafetensorsHeader& header)
{
    MetaNode root;
    root.kind = MetaNode::Kind::Dict;
    root.type = "__metadata__";
    root.value = header.metadata.empty() ? "empty" : plural(header.metadata.size(), "entry", "entries");
    for (const auto& [key, value] : header.metadata) {
        MetaNode node;
        node.kind = MetaNode::Kind::Text;
        node.key = printable(key);
        node.type = "str";
        node.value = printable(value.substr(0, kMaxShownMetadata)) + (value.size() > kMaxShownMetadata ? "…" : "");
        root.children.push_back(std::move(node));
    }
    return root;
}

// Whether the entries lie as the reference writer lays them.
bool isReferenceOrder(const std::vector<SafetensorsEntry>& entries)
{
    return std::is_sorted(entries.begin(), entries.end(),
                          [](const SafetensorsEntry& a, const SafetensorsEntry& b) { return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name; });
}

Status openSafetensors(const std::string& path, const std::string& name, StoredFile& out)
{
    SHARDLENS_ASSIGN(OpenedFile opened, openFile(path, name));
    out.row = opened.row;
    SHARDLENS_TRY(refuseDecoys(*opened.source));
    auto header = readSafetensorsHeader(*opened.source);
    if (!header) {
        const bool isShort = header.error().code() == ErrorCode::Corrupt; // a header that promises more than there is
        return isShort ? header.takeError().within("file truncated or damaged (an async save that did not finish leaves a full header and a short body)") : header.takeError();
    }
    out.row.container = "safetensors";
    CheckpointBuilder builder(path, path);
    const FileId file = builder.addFile(out.row);
    builder.addFileSpan({file, 0, header->dataOffset, FileSpan::Kind::Header});
    for (const std::string& twice : header->repeated)
        builder.addFinding({Severity::Warning, "repeated-name", fmt::format("{} stands twice in the header of {}; the last counts, and the specification forbids it.",
                                                                            printable(twice), printable(name)),
                            kNoTensor, file, std::nullopt});
    const RoleId weight = builder.role(RoleKind::Weight, "weight");
    for (const SafetensorsEntry& entry : header->entries) {
        const TensorId id = builder.addTensor({builder.parameter(entry.name), weight, entry.dtype, Combine::Exclusive, true, entry.shape});
        SHARDLENS_TRY(builder.addWhole(id, {builder.streamOf(file), header->dataOffset + entry.begin, builder.holder({}), {}}));
    }
    builder.addMetadata({file, metadataNode(*header)});
    out.isSorted = isReferenceOrder(header->entries);
    out.metadata = std::move(header->metadata);
    out.checkpoint = std::move(builder).finish();
    return {};
}

Status openTorch(const std::string& path, const std::string& name, JobContext& job, StoredFile& out)
{
    {
        SHARDLENS_ASSIGN(const OpenedFile opened, openFile(path, name));
        out.row = opened.row;
        SHARDLENS_TRY(refuseDecoys(*opened.source));
    }
    SHARDLENS_ASSIGN(RankFileContent content, openRankStates(path, name, [](pickle::Value root) { return Result<pickle::Value>(root); }, job));
    out.torch = content.torch;
    out.checkpoint = content.checkpoint;
    out.row = out.checkpoint->files().front();
    return {};
}

} // namespace

std::optional<TensorId> StoredFile::find(std::string_view name) const
{
    const auto at = m_byName.find(name);
    return at == m_byName.end() ? std::nullopt : std::optional(at->second);
}

void StoredFile::indexNames()
{
    if (!checkpoint)
        return;
    m_byName.reserve(checkpoint->tensors().size());
    for (std::size_t i = 0; i < checkpoint->tensors().size(); ++i)
        m_byName.emplace(checkpoint->parameterOf(idAt<TensorId>(i)), idAt<TensorId>(i));
}

StoredFileResult openStored(const std::string& path, const std::string& name, JobContext& job)
{
    StoredFileResult out;
    Status status = name.ends_with(".safetensors") ? openSafetensors(path, name, out.file) : openTorch(path, name, job, out.file);
    if (status) {
        out.file.indexNames();
        return out;
    }
    out.problem = status.takeError();
    if (out.file.row.name.empty())
        out.file.row = missingFile(path, name);
    if (out.problem->code() != ErrorCode::NotFound)
        out.file.row.state = File::State::Unreadable;
    return out;
}

Result<std::vector<StoredFileResult>> openAllStored(const std::vector<std::pair<std::string, std::string>>& paths, JobContext& job)
{
    std::vector<StoredFileResult> out(paths.size());
    const auto executor = makeThreadedExecutor(paths.size() < kFilesWorthThreads ? 1 : std::min(paths.size(), availableThreads()));
    SHARDLENS_TRY(executor->forEach(paths.size(), [&](std::size_t i) -> Status {
        SHARDLENS_TRY(job.poll());
        out[i] = openStored(paths[i].first, paths[i].second, job);
        return {};
    }));
    SHARDLENS_TRY(job.poll());
    return out;
}

std::optional<MemoryPlace> memoryOf(const Checkpoint& file, TensorId tensor)
{
    const PieceStore& pieces = file.pieces();
    if (pieces.countOf(tensor) != 1 || elementCount(file.tensor(tensor).shape).value_or(0) == 0)
        return std::nullopt;
    const Piece piece = pieces.at(idAt<PieceId>(pieces.firstOf(tensor)));
    if (file.stream(piece.source.stream).kind == Stream::Kind::Missing)
        return std::nullopt;
    return MemoryPlace{piece.source.stream, piece.source.offset};
}

bool isSameMemory(const Checkpoint& file, TensorId a, TensorId b)
{
    const Tensor& one = file.tensor(a);
    const Tensor& other = file.tensor(b);
    if (one.dtype != other.dtype || one.shape != other.shape || !memoryOf(file, a) || memoryOf(file, a) != memoryOf(file, b))
        return false;
    const auto strides = [&](TensorId id) { return file.pieces().at(idAt<PieceId>(file.pieces().firstOf(id))).source.strides; };
    return std::ranges::equal(strides(a), strides(b));
}

} // namespace shardlens::colossalai
