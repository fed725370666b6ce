#include "core/format/mindspore/weights_file.h"

#include "core/base/text.h"
#include "core/encoding/mindspore_pieces.h"
#include "core/encoding/safetensors.h"
#include "core/format/opened_file.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::mindspore {
namespace {

constexpr std::size_t kMaxShownText = 4096;
constexpr std::string_view kCrcKey = "crc_num";
constexpr std::string_view kRedundancyKey = "remove_redundancy";
constexpr std::size_t kNotesSaid = 20; // of one file

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
    out.entries.reserve(header.entries.size());
    for (const SafetensorsEntry& entry : header.entries) {
        CkptEntry made;
        made.name = entry.name;
        made.dtype = entry.dtype;
        made.shape = entry.shape;
        made.sizeBytes = entry.end - entry.begin;
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

class WeightsReader {
public:
    WeightsReader(CheckpointBuilder& builder, const RankPath& path, JobContext& job) : m_builder(builder), m_path(path), m_job(job) {}

    // Not isRead where there is an error.
    std::unique_ptr<WeightsFile> read(std::optional<Error>& error)
    {
        auto out = std::make_unique<WeightsFile>();
        out->rank = m_path.rank;
        out->name = m_path.name;
        auto opened = openFile(m_path.path, m_path.name);
        File row = opened ? opened->row : missingFile(m_path.path, m_path.name);
        row.rank = m_path.rank;
        Status status = opened ? fill(*opened->source, row, *out) : Status(opened.error());
        if (!status) {
            error = status.takeError();
            row.state = error->code() == ErrorCode::NotFound ? File::State::Missing : File::State::Unreadable;
        }
        out->id = m_builder.addFile(std::move(row));
        out->isRead = !error;
        if (out->isRead)
            describe(*out);
        return out;
    }

private:
    Status fill(const ByteSource& source, File& row, WeightsFile& out)
    {
        out.isSafetensors = m_path.name.ends_with(".safetensors");
        if (out.isSafetensors) {
            SHARDLENS_ASSIGN(m_header, readSafetensorsHeader(source));
            out.content = entriesOf(m_header, source.size());
        } else {
            SHARDLENS_ASSIGN(out.content, readCkpt(source, &m_job));
        }
        row.container = out.isSafetensors ? "safetensors" : "MindSpore ckpt";
        const auto tensors = static_cast<std::uint64_t>(std::count_if(out.content.entries.begin(), out.content.entries.end(), [](const CkptEntry& entry) { return isTensor(entry); }));
        row.holds = plural(tensors, "tensor", "tensors");
        if (tensors < out.content.entries.size())
            row.holds += fmt::format(", {}", plural(out.content.entries.size() - tensors, "other entry", "other entries"));
        return {};
    }

    void describe(WeightsFile& file)
    {
        file.index();
        if (file.isSafetensors) {
            m_builder.addFileSpan({file.id, 0, m_header.dataOffset, FileSpan::Kind::Header});
            addMarks(m_builder, file.id, m_header);
        } else {
            addCkptSpans(m_builder, file.id, file.content.entries);
            addTexts(m_builder, file.id, file.content);
        }
        addFindings(m_builder, file);
    }

    CheckpointBuilder& m_builder;
    const RankPath& m_path;
    JobContext& m_job;
    SafetensorsHeader m_header;
};

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

Result<std::unique_ptr<WeightsFile>> readWeights(CheckpointBuilder& builder, const RankPath& path, bool isAlone, JobContext& job)
{
    std::optional<Error> error;
    auto out = WeightsReader(builder, path, job).read(error);
    if (!error)
        return out;
    if (isAlone || error->code() == ErrorCode::Cancelled)
        return std::move(*error);
    const bool isMissing = error->code() == ErrorCode::NotFound;
    builder.addFinding({Severity::Error, isMissing ? "missing-file" : "unreadable-file",
                        isMissing ? fmt::format("Rank {}: the file {} is missing.", path.rank, printable(path.name))
                                  : fmt::format("Rank {}: {} cannot be read: {}.", path.rank, printable(path.name), error->text()),
                        kNoTensor, out->id, path.rank});
    return out;
}

} // namespace shardlens::mindspore
