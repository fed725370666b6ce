#include "core/format/safetensors/safetensors_format.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/dcp_sharding_info.h"
#include "core/encoding/safetensors.h"
#include "core/format/opened_file.h"
#include "core/format/sharded_folder.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::safetensors {
namespace {

constexpr std::string_view kExtension = ".safetensors";
constexpr std::size_t kMaxShownMetadata = 4096;

bool hasExtension(const std::string& name)
{
    return name.ends_with(kExtension) || name.ends_with(".sft");
}

// A header length that fits the file, and an object after it: pickles renamed to .safetensors do not pass.
bool looksLikeHeader(const Candidate& file)
{
    if (file.head.size() < 9 || file.sizeBytes < 10)
        return false;
    const std::uint64_t length = loadLe64(file.head.data());
    if (length < 2 || length > kMaxSafetensorsHeader || length > file.sizeBytes - 8)
        return false;
    const auto first = std::find_if(file.head.begin() + 8, file.head.end(), [](std::byte b) {
        return b != std::byte{' '} && b != std::byte{'\n'} && b != std::byte{'\r'} && b != std::byte{'\t'};
    });
    return first != file.head.end() && *first == std::byte{'{'};
}

// What people save under this name by mistake.
Status refuseDecoys(const Candidate& file)
{
    const std::string_view head(reinterpret_cast<const char*>(file.head.data()), file.head.size());
    if (head.starts_with("version https://git-lfs"))
        return Error{ErrorCode::Unsupported, "a Git LFS pointer: the real file was not downloaded; run git lfs pull"};
    if (head.starts_with("<!") || head.starts_with("<html"))
        return Error{ErrorCode::Unsupported, "an HTML page: the download was probably refused"};
    return {};
}

MetaNode textNode(const std::string& key, const std::string& value)
{
    MetaNode node;
    node.kind = MetaNode::Kind::Text;
    node.key = printable(key);
    node.type = "str";
    node.value = value.size() <= kMaxShownMetadata ? printable(value) : printable(value.substr(0, kMaxShownMetadata)) + fmt::format("… ({} B)", groupedText(value.size()));
    return node;
}

class Reader {
public:
    Reader(CheckpointBuilder& builder, IndexCheck& index) : m_builder(builder), m_index(index) {}

    Status read(const std::string& path, const std::string& name)
    {
        SHARDLENS_ASSIGN(OpenedFile opened, openFile(path, name));
        SHARDLENS_ASSIGN(const SafetensorsHeader header, readSafetensorsHeader(*opened.source));
        SHARDLENS_ASSIGN(const auto offsets, dcpShardingInfo(header)); // torch writes it into files of whole tensors too: all offsets are 0 there
        if (offsets && std::any_of(offsets->begin(), offsets->end(), [](const auto& one) { return std::any_of(one.second.begin(), one.second.end(), [](std::uint64_t at) { return at != 0; }); }))
            return Error{ErrorCode::Unsupported, "a rank's part of a distributed checkpoint (DCP_SHARDING_INFO) under another name than torch gives it; such files are called "
                                                 "shard-00001-model-00001-of-00001.safetensors"};
        opened.row.container = "safetensors";
        opened.row.holds = plural(header.entries.size(), "tensor", "tensors");
        const FileId file = m_builder.addFile(opened.row);
        m_builder.addFileSpan({file, 0, header.dataOffset, FileSpan::Kind::Header});
        for (const std::string& twice : header.repeated)
            m_builder.addFinding({Severity::Warning, "repeated-name", fmt::format("{} stands twice in the header of {}; the last counts, and the specification forbids it.", printable(twice), printable(name)),
                                  kNoTensor, file, std::nullopt});
        for (const SafetensorsEntry& entry : header.entries)
            if (m_index.accepts(entry.name, name, file))
                SHARDLENS_TRY(add(entry, file, header.dataOffset));
        keepMetadata(header, file);
        return {};
    }

    // Names that were dropped because they were tied: __metadata__ maps them to the name that was kept (formats/safetensors.md §6).
    void addAliases(const std::vector<std::pair<std::string, std::string>>& more)
    {
        for (const auto* list : {&std::as_const(m_aliases), &more})
            for (const auto& [name, kept] : *list)
                if (name != "format" && !m_builder.hasParameter(name) && m_builder.hasParameter(kept) && m_added.insert(name).second)
                    m_builder.addAlias(name, m_builder.parameter(kept));
    }

private:
    Status add(const SafetensorsEntry& entry, FileId file, std::uint64_t dataOffset)
    {
        const RoleId role = m_builder.role(RoleKind::Weight, "weight");
        const TensorId id = m_builder.addTensor({m_builder.parameter(entry.name), role, entry.dtype, Combine::Exclusive, true, entry.shape});
        return m_builder.addWhole(id, {m_builder.streamOf(file), dataOffset + entry.begin, m_builder.holder({}), {}});
    }

    void keepMetadata(const SafetensorsHeader& header, FileId file)
    {
        MetaNode root;
        root.kind = MetaNode::Kind::Dict;
        root.type = "__metadata__";
        root.value = header.metadata.empty() ? "empty" : plural(header.metadata.size(), "entry", "entries");
        for (const auto& [key, value] : header.metadata)
            root.children.push_back(textNode(key, value));
        m_builder.addMetadata({file, std::move(root)});
        m_aliases.insert(m_aliases.end(), header.metadata.begin(), header.metadata.end());
    }

    CheckpointBuilder& m_builder;
    IndexCheck& m_index;
    std::vector<std::pair<std::string, std::string>> m_aliases;
    std::set<std::string> m_added;
};

Result<ShardSet> shardsOf(const Candidate& candidate)
{
    if (candidate.isFolder || isIndexFile(candidate, kExtension))
        return findShards(candidate, kExtension);
    SHARDLENS_TRY(refuseDecoys(candidate));
    ShardSet one;
    const std::size_t slash = candidate.path.find_last_of('/');
    one.folder = slash == std::string::npos ? "." : candidate.path.substr(0, std::max<std::size_t>(slash, 1));
    one.files = {candidate.name()};
    return one;
}

} // namespace

Match probe(const Candidate& candidate)
{
    if (candidate.isFolder)
        return matchShards(candidate, kExtension);
    if (isIndexFile(candidate, kExtension))
        return Match::ByContent;
    if (looksLikeHeader(candidate))
        return Match::ByContent;
    return hasExtension(candidate.name()) ? Match::ByName : Match::No;
}

Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions&, JobContext& job)
{
    SHARDLENS_ASSIGN(const ShardSet shards, shardsOf(candidate));
    CheckpointBuilder builder(candidate.path, shards.folder);
    builder.setFormat("safetensors", "safetensors");
    builder.setTitle(candidate.name(), "");
    IndexCheck index(builder, shards);
    Reader reader(builder, index);
    for (const std::string& name : shards.files) {
        SHARDLENS_TRY(job.poll());
        if (Status read = reader.read(shards.folder + "/" + name, name); !read)
            return candidate.isFolder || shards.index ? read.takeError().within(printable(name)) : read.takeError();
    }
    index.finish();
    reader.addAliases(shards.index ? shards.index->aliases : std::vector<std::pair<std::string, std::string>>{});
    if (shards.index)
        builder.addFact("index", shards.indexName);
    return std::move(builder).finish();
}

} // namespace shardlens::safetensors
