#include "core/format/dcp/hf_shards.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/encoding/dcp_sharding_info.h"
#include "core/format/opened_file.h"
#include "core/model/checkpoint_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <set>
#include <unordered_map>

namespace shardlens::dcp {
namespace {

constexpr std::string_view kIndexEnding = ".safetensors.index.json";
constexpr std::size_t kShardFilesNamed = 8;
constexpr std::uint64_t kMostBytesOfShards = std::numeric_limits<std::int64_t>::max();

struct ShardFileName {
    std::uint32_t rank = 0;   // counted from 0; names count from 1
    std::uint32_t output = 0; // of the index mapping
    std::uint32_t outputs = 0;
};

// Takes "PREFIX123" off the front.
std::optional<std::uint32_t> takeNumber(std::string_view& text, std::string_view prefix)
{
    if (!text.starts_with(prefix))
        return std::nullopt;
    text.remove_prefix(prefix.size());
    std::uint32_t out = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (failed != std::errc{})
        return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return out;
}

std::optional<ShardFileName> shardFileName(std::string_view name)
{
    const auto rank = takeNumber(name, "shard-");
    const auto output = rank ? takeNumber(name, "-model-") : std::nullopt;
    const auto outputs = output ? takeNumber(name, "-of-") : std::nullopt;
    if (!outputs || name != ".safetensors" || *rank == 0)
        return std::nullopt;
    return ShardFileName{*rank - 1, *output, *outputs};
}

std::string nameOfShard(std::uint32_t rank, std::uint32_t output, std::uint32_t outputs)
{
    return fmt::format("shard-{:05d}-model-{:05d}-of-{:05d}.safetensors", rank + 1, output, outputs);
}

// A part of a tensor in one file.
struct Part {
    FileId file{};
    std::uint32_t rank = 0;
    std::uint32_t output = 0;
    DType dtype{};
    Shape offset; // as the file says it
    Shape shape;
    std::uint64_t at = 0; // first byte in the file
};

class ShardReader {
public:
    ShardReader(const Candidate& folder, CheckpointBuilder& builder) : m_folder(folder), m_builder(builder) {}

    Status run(JobContext& job)
    {
        for (const DirectoryEntry& entry : m_folder.entries) {
            SHARDLENS_TRY(job.poll());
            if (const auto name = entry.isFolder ? std::nullopt : shardFileName(entry.name))
                if (Status read = readFile(entry.name, *name); !read)
                    return read.takeError().within(printable(entry.name));
        }
        for (const std::string& name : m_order)
            SHARDLENS_TRY(addTensor(name));
        m_builder.addFinding({Severity::Info, "last-shard", "These files say where their parts of a tensor begin, and not how large it is: if the last rank's file is lost, nothing tells.", kNoTensor, kNoFile, std::nullopt});
        addMissingRanks();
        addMissingOutputs();
        return {};
    }

private:
    Status readFile(const std::string& name, const ShardFileName& place);
    Status addTensor(const std::string& name);
    void addMissingRanks();
    void addMissingOutputs();
    void addMissing(std::uint32_t rank, std::uint32_t output, const char* why);
    void lose(const std::string& name, std::string problem, FileId file) { m_builder.addLost({name, RoleKind::Weight, std::move(problem)}, "unsupported-tensor", file); }

    const Candidate& m_folder;
    CheckpointBuilder& m_builder;
    std::vector<std::string> m_order;
    std::unordered_map<std::string, std::vector<Part>> m_parts;
    std::map<std::uint32_t, std::set<std::uint32_t>> m_outputsOf; // by rank
    std::uint32_t m_outputs = 1;
    std::size_t m_missing = 0;
};

Status ShardReader::readFile(const std::string& name, const ShardFileName& place)
{
    SHARDLENS_ASSIGN(OpenedFile opened, openFile(m_folder.path + "/" + name, name));
    SHARDLENS_ASSIGN(const SafetensorsHeader header, readSafetensorsHeader(*opened.source));
    SHARDLENS_ASSIGN(const auto info, dcpShardingInfo(header));
    if (!info)
        return Error{ErrorCode::Corrupt, "its __metadata__ has no DCP_SHARDING_INFO: nothing says which part of its tensors it holds"};
    const DcpOffsets& offsets = *info;
    opened.row.container = "safetensors";
    opened.row.holds = plural(header.entries.size(), "tensor", "tensors");
    opened.row.rank = place.rank;
    const FileId file = m_builder.addFile(std::move(opened.row));
    m_builder.addFileSpan({file, 0, header.dataOffset, FileSpan::Kind::Header});
    m_outputsOf[place.rank].insert(place.output);
    m_outputs = std::max(m_outputs, place.outputs);
    for (const SafetensorsEntry& entry : header.entries) {
        const auto offset = offsets.find(entry.name);
        Part part{file, place.rank, place.output, entry.dtype, offset == offsets.end() ? Shape(entry.shape.size(), 0) : offset->second, entry.shape, header.dataOffset + entry.begin};
        const auto [at, isNew] = m_parts.try_emplace(entry.name);
        if (isNew)
            m_order.push_back(entry.name);
        at->second.push_back(std::move(part));
    }
    return {};
}

Status ShardReader::addTensor(const std::string& name)
{
    const std::vector<Part>& parts = m_parts.at(name);
    const Part& first = parts.front();
    Shape shape(first.shape.size(), 0);
    std::uint64_t cells = 0;
    for (const Part& part : parts) {
        const bool fits = part.dtype == first.dtype && part.shape.size() == shape.size() && part.offset.size() == shape.size();
        for (std::size_t axis = 0; fits && axis < shape.size(); ++axis) {
            const auto end = checkedAdd(part.offset[axis], part.shape[axis]);
            if (!end) {
                lose(name, fmt::format("{} has a part at offset {} in {}, which no tensor has.", printable(name), shapeText(part.offset), printable(m_builder.file(part.file).name)), part.file);
                return {};
            }
            shape[axis] = std::max(shape[axis], *end);
        }
        if (!fits) {
            lose(name, fmt::format("{} is {} {} at {} in {} and {} {} in {}: parts of different tensors.", printable(name), nameOf(part.dtype), shapeText(part.shape), shapeText(part.offset),
                                   printable(m_builder.file(part.file).name), nameOf(first.dtype), shapeText(first.shape), printable(m_builder.file(first.file).name)),
                 part.file);
            return {};
        }
        cells += elementCount(part.shape).value_or(0);
    }
    const auto count = elementCount(shape);
    if (const auto bytes = count ? bytesOf(first.dtype, *count) : std::nullopt; !bytes || *bytes > kMostBytesOfShards) {
        const auto farthest = std::max_element(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.offset < b.offset; });
        lose(name, fmt::format("{} is {} {} by the offset {} in {}: more bytes than can be counted.", printable(name), nameOf(first.dtype), shapeText(shape), shapeText(farthest->offset),
                               printable(m_builder.file(farthest->file).name)), farthest->file);
        return {};
    }
    const Combine combine = cells > elementCount(shape).value_or(0) ? Combine::Replicas : Combine::Exclusive;
    const TensorId id = m_builder.addTensor({m_builder.parameter(name), m_builder.role(RoleKind::Weight, "weight"), first.dtype, combine, true, shape});
    for (const Part& part : parts) {
        const CheckpointBuilder::Placement at{m_builder.streamOf(part.file), part.at, m_builder.holder({}), {}};
        if (elementCount(part.shape).value_or(0) != 0 || parts.size() == 1)
            SHARDLENS_TRY(m_builder.addPiece(id, BoxView{unitShape(part.offset, part.dtype), unitShape(part.shape, part.dtype)}, at));
    }
    return {};
}

void ShardReader::addMissing(std::uint32_t rank, std::uint32_t output, const char* why)
{
    if (++m_missing > kShardFilesNamed)
        return;
    const std::string name = nameOfShard(rank, output, m_outputs);
    const FileId id = m_builder.addFile(missingFile(m_folder.path + "/" + name, name));
    m_builder.file(id).rank = rank;
    m_builder.addFinding({Severity::Error, "missing-file", fmt::format("{} is not in the folder, {}.", name, why), kNoTensor, id, rank});
}

// Ranks are numbered without gaps. A last one that is lost leaves no trace: no file says how large a tensor is.
void ShardReader::addMissingRanks()
{
    const std::uint32_t last = m_outputsOf.rbegin()->first;
    for (std::uint32_t rank = 0; rank < last && m_missing <= kShardFilesNamed; ++rank)
        if (!m_outputsOf.contains(rank))
            addMissing(rank, *m_outputsOf.rbegin()->second.begin(), "and ranks after it are");
}

// A tensor that is cut has a part in every rank's file, be it empty. One that all ranks have but those without a file for its output has lost that file;
// without it the tensor would look smaller than it is.
void ShardReader::addMissingOutputs()
{
    std::set<std::pair<std::uint32_t, std::uint32_t>> said;
    for (const std::string& name : m_order) {
        const std::vector<Part>& parts = m_parts.at(name);
        const std::uint32_t output = parts.front().output;
        std::set<std::uint32_t> holders;
        for (const Part& part : parts)
            holders.insert(part.rank);
        if (holders.size() < 2)
            continue;
        std::vector<std::uint32_t> without;
        for (const auto& [rank, outputs] : m_outputsOf)
            if (!outputs.contains(output))
                without.push_back(rank);
        if (without.empty() || holders.size() + without.size() != m_outputsOf.size())
            continue;
        for (const std::uint32_t rank : without)
            if (said.emplace(rank, output).second)
                addMissing(rank, output, "and all other ranks have parts of the same tensors");
    }
}

std::string folderOfFile(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
}

} // namespace

Match matchShardFiles(const Candidate& candidate)
{
    if (!candidate.isFolder)
        return shardFileName(candidate.name()) ? Match::ByContent : Match::No;
    bool hasShards = false;
    for (const DirectoryEntry& entry : candidate.entries) {
        if (!entry.isFolder && entry.name.ends_with(kIndexEnding))
            return Match::No; // the whole model stands beside its pieces
        hasShards = hasShards || (!entry.isFolder && shardFileName(entry.name));
    }
    return hasShards ? Match::ByContent : Match::No;
}

Result<CheckpointPtr> openShardFiles(const Candidate& candidate, JobContext& job)
{
    Candidate folder = candidate;
    if (!candidate.isFolder) { // one file holds parts: the folder is the model
        SHARDLENS_ASSIGN(folder, lookAt(folderOfFile(candidate.path)));
    }
    CheckpointBuilder builder(candidate.path, folder.path);
    builder.setFormat("dcp", "PyTorch DCP in safetensors");
    builder.setTitle(candidate.name(), "");
    SHARDLENS_TRY(ShardReader(folder, builder).run(job));
    return std::move(builder).finish();
}

} // namespace shardlens::dcp
