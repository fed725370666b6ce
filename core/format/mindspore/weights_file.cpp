#include "core/format/mindspore/weights_file.h"

#include "core/base/text.h"
#include "core/encoding/mindspore_pieces.h"
#include "core/format/opened_file.h"
#include "core/job/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_set>

namespace shardlens::mindspore {
namespace {

constexpr std::size_t kMaxShownText = 4096;
constexpr const char* kInt4Mark = "Int4";
constexpr std::string_view kCrcKey = "crc_num";
constexpr std::string_view kRedundancyKey = "remove_redundancy";
constexpr std::size_t kNotesSaid = 20; // of one file
constexpr std::size_t kFilesWorthThreads = 4;
constexpr std::size_t kUnreadSaid = 32; // more are counted

MetaNode leaf(MetaNode::Kind kind, const std::string& key, const char* type, std::string value)
{
    MetaNode out;
    out.kind = kind;
    out.key = printable(key);
    out.type = type;
    out.value = std::move(value);
    return out;
}

std::string shown(const std::string& text)
{
    return text.size() <= kMaxShownText ? printable(text) : printable(text.substr(0, kMaxShownText)) + fmt::format("… ({} B)", groupedText(text.size()));
}

// The same entries of a safetensors file.
CkptFile entriesOf(const SafetensorsHeader& header, std::uint64_t fileBytes)
{
    CkptFile out;
    std::unordered_set<std::string_view> int4; // marked in __metadata__ (§6.1)
    for (const auto& [key, value] : header.metadata)
        if (value == kInt4Mark)
            int4.insert(key);
    out.entries.reserve(header.entries.size());
    for (const SafetensorsEntry& entry : header.entries) {
        CkptEntry made;
        made.name = entry.name;
        made.dtype = entry.dtype;
        made.shape = entry.shape;
        made.sizeBytes = entry.end - entry.begin;
        if (made.dtype == DType::I8 && int4.contains(made.name))
            made.typeName = kInt4Mark;
        if (made.sizeBytes > 0)
            made.pieces.push_back({header.dataOffset + entry.begin, made.sizeBytes});
        out.entries.push_back(std::move(made));
    }
    out.records = header.entries.size();
    out.contentEnd = fileBytes;
    for (const std::string& twice : header.repeated)
        out.notes.push_back({"repeated-name", fmt::format("{} stands twice in the header; the last counts, and the specification forbids it", printable(twice)), Severity::Warning});
    return out;
}

// Texts and opaque bytes, which are no tensors: for people to read.
void addTexts(CheckpointBuilder& builder, FileId file, const CkptFile& content)
{
    MetaNode root = leaf(MetaNode::Kind::Dict, "", "entries that are no tensors", "");
    for (const CkptEntry& entry : content.entries)
        if (entry.kind == CkptEntry::Kind::Text)
            root.children.push_back(leaf(MetaNode::Kind::Text, entry.name, "str", shown(entry.text)));
        else if (entry.kind == CkptEntry::Kind::Opaque)
            root.children.push_back(leaf(MetaNode::Kind::Opaque, entry.name, "opaque", fmt::format("{}, {} B", printable(entry.typeName), groupedText(entry.sizeBytes))));
    root.value = plural(root.children.size(), "entry", "entries");
    if (!root.children.empty())
        builder.addMetadata({file, std::move(root)});
}

// Of a safetensors file: what MindSpore says of itself in __metadata__ (§6.1).
void addMarks(CheckpointBuilder& builder, FileId file, const SafetensorsHeader& header)
{
    if (header.metadata.empty())
        return;
    MetaNode root = leaf(MetaNode::Kind::Dict, "", "__metadata__", plural(header.metadata.size(), "entry", "entries"));
    for (const auto& [key, value] : header.metadata) {
        root.children.push_back(leaf(MetaNode::Kind::Text, key, "str", shown(value)));
        if (key == kCrcKey)
            root.children.back().type = "CRC-32 of names and tensors";
        else if (key == kRedundancyKey)
            root.children.back().type = "replicas are stored once";
    }
    builder.addMetadata({file, std::move(root)});
}

void addFindings(CheckpointBuilder& builder, const WeightsFile& file)
{
    const std::string name = printable(file.name);
    std::size_t said = 0;
    for (const CkptNote& note : file.content.notes)
        if (said++ < kNotesSaid)
            builder.addFinding({note.severity, note.code, fmt::format("{}: {}.", name, note.text), kNoTensor, file.id, file.rank});
    if (file.content.notes.size() > kNotesSaid)
        builder.addFinding({Severity::Warning, "mindspore-notes", fmt::format("{}: {} more remarks of this kind.", name, groupedText(file.content.notes.size() - kNotesSaid)),
                            kNoTensor, file.id, file.rank});
}

Status fill(const ByteSource& source, const JobContext& job, ParsedWeights& out)
{
    WeightsFile& file = *out.file;
    file.isSafetensors = file.name.ends_with(".safetensors");
    if (file.isSafetensors) {
        SHARDLENS_ASSIGN(out.header, readSafetensorsHeader(source));
        file.content = entriesOf(out.header, source.size());
    } else {
        SHARDLENS_ASSIGN(file.content, readCkpt(source, &job));
    }
    out.row.container = file.isSafetensors ? "safetensors" : kCkptContainer;
    const std::vector<CkptEntry>& entries = file.content.entries;
    const auto tensors = static_cast<std::uint64_t>(std::count_if(entries.begin(), entries.end(), [](const CkptEntry& entry) { return isTensor(entry); }));
    out.row.holds = plural(tensors, "tensor", "tensors");
    if (tensors < entries.size())
        out.row.holds += fmt::format(", {}", plural(entries.size() - tensors, "other entry", "other entries"));
    file.index();
    return {};
}

void describe(CheckpointBuilder& builder, const WeightsFile& file, const SafetensorsHeader& header)
{
    if (file.isSafetensors) {
        builder.addFileSpan({file.id, 0, header.dataOffset, FileSpan::Kind::Header});
        addMarks(builder, file.id, header);
    } else {
        addCkptSpans(builder, file.id, file.content.entries);
        addTexts(builder, file.id, file.content);
    }
    addFindings(builder, file);
}

} // namespace

const CkptEntry* WeightsFile::find(std::string_view entry) const
{
    const auto found = m_numbers.find(entry);
    return found == m_numbers.end() ? nullptr : &content.entries[found->second];
}

void WeightsFile::index()
{
    m_numbers.reserve(content.entries.size());
    for (std::size_t i = 0; i < content.entries.size(); ++i)
        m_numbers.emplace(content.entries[i].name, i);
}

ParsedWeights parseWeights(const RankPath& path, const JobContext& job)
{
    ParsedWeights out;
    out.file = std::make_unique<WeightsFile>();
    out.file->rank = path.rank;
    out.file->name = path.name;
    auto opened = openFile(path.path, path.name);
    out.row = opened ? opened->row : missingFile(path.path, path.name);
    out.row.rank = path.rank;
    if (Status status = opened ? fill(*opened->source, job, out) : Status(opened.error()); !status) {
        out.error = status.takeError();
        out.row.state = out.error->code() == ErrorCode::NotFound ? File::State::Missing : File::State::Unreadable;
    }
    out.file->isRead = !out.error;
    return out;
}

Result<std::unique_ptr<WeightsFile>> addWeights(CheckpointBuilder& builder, ParsedWeights parsed, bool isAlone)
{
    if (parsed.error && (isAlone || parsed.error->code() == ErrorCode::Cancelled))
        return std::move(*parsed.error);
    WeightsFile& file = *parsed.file;
    file.id = builder.addFile(std::move(parsed.row));
    if (file.isRead) {
        describe(builder, file, parsed.header);
        return std::move(parsed.file);
    }
    return std::move(parsed.file);
}

namespace {

void sayUnread(CheckpointBuilder& builder, const WeightsFile& file, const Error& error)
{
    const bool isMissing = error.code() == ErrorCode::NotFound;
    builder.addFinding({Severity::Error, isMissing ? "missing-file" : "unreadable-file",
                        isMissing ? fmt::format("Rank {}: the file {} is missing. --rank-file {}=PATH names it where it lies elsewhere.", file.rank, printable(file.name), file.rank)
                                  : fmt::format("Rank {}: {} cannot be read: {}.", file.rank, printable(file.name), error.text()),
                        kNoTensor, file.id, file.rank});
}

} // namespace

Result<std::vector<std::unique_ptr<WeightsFile>>> readAllWeights(CheckpointBuilder& builder, const std::vector<RankPath>& paths, JobContext& job)
{
    std::vector<ParsedWeights> parsed(paths.size());
    const auto executor = makeThreadedExecutor(paths.size() < kFilesWorthThreads ? 1 : std::min(paths.size(), availableThreads()));
    SHARDLENS_TRY(executor->forEach(paths.size(), [&](std::size_t i) -> Status {
        SHARDLENS_TRY(job.poll());
        parsed[i] = parseWeights(paths[i], job);
        return {};
    }));
    std::vector<std::unique_ptr<WeightsFile>> out;
    std::size_t unread = 0;
    for (ParsedWeights& one : parsed) {
        const std::optional<Error> error = one.error;
        SHARDLENS_ASSIGN(auto file, addWeights(builder, std::move(one), false));
        if (error && unread++ < kUnreadSaid)
            sayUnread(builder, *file, *error);
        out.push_back(std::move(file));
    }
    if (unread > kUnreadSaid)
        builder.addFinding({Severity::Error, "missing-file", fmt::format("{} more files of ranks are missing or cannot be read.", groupedText(unread - kUnreadSaid)), kNoTensor, kNoFile,
                            std::nullopt});
    return out;
}

} // namespace shardlens::mindspore
