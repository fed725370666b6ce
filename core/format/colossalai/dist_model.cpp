#include "core/format/colossalai/dist_model.h"

#include "core/base/text.h"
#include "core/format/colossalai/dist_files.h"
#include "core/format/colossalai/dist_table.h"
#include "core/format/colossalai/file_names.h"
#include "core/format/opened_file.h"
#include "core/job/executor.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::colossalai {
namespace {

constexpr std::size_t kMetasAtOnce = 16;
constexpr std::size_t kSaidEach = 16; // findings of one kind
constexpr std::size_t kEntriesShown = 2000; // of one metadata file
constexpr std::size_t kFilesShown = 64;     // of these

struct MetaFile {
    std::uint32_t dist = 0;
    std::string name;
    File row;
    std::optional<Error> problem;
};

Result<DistMeta> parseMeta(const std::string& path, MetaFile& file, const std::string& prefix)
{
    SHARDLENS_ASSIGN(const OpenedFile opened, openFile(path, prefix + file.name));
    file.row = opened.row;
    return readDistMeta(*opened.source);
}

// A branch of its own for each dist id: its boxes are no values that could differ from those of another.
MetaNode describeMeta(const DistMeta& meta, const std::string& name)
{
    MetaNode own{MetaNode::Kind::Dict, printable(name), plural(meta.entries.size(), "parameter", "parameters"), "", {}};
    own.children.push_back({MetaNode::Kind::Text, "checkpoint_version", printable(meta.version), "str", {}});
    for (std::size_t i = 0; i < std::min(meta.entries.size(), kEntriesShown); ++i) {
        const DistEntry& entry = meta.entries[i];
        const std::string file = entry.file < meta.files.size() ? printable(meta.files[entry.file]) : "";
        own.children.push_back({MetaNode::Kind::Text, printable(entry.name),
                                entry.problem.empty() ? fmt::format("offsets {}, lengths {}, global_shape {}, file {}", shapeText(entry.offsets), shapeText(entry.lengths), shapeText(entry.global), file)
                                                      : printable(entry.problem),
                                "", {}});
    }
    if (meta.entries.size() > kEntriesShown)
        own.children.push_back({MetaNode::Kind::Summary, "…", fmt::format("{} more parameters", groupedText(meta.entries.size() - kEntriesShown)), "", {}});
    MetaNode container{MetaNode::Kind::Dict, kOwnMetadataKey, "", "", {}};
    container.children.push_back(std::move(own));
    MetaNode root;
    root.kind = MetaNode::Kind::Dict;
    root.children.push_back(std::move(container));
    return root;
}

class DistReader {
public:
    DistReader(CheckpointBuilder& builder, const Candidate& folder, const std::string& prefix, const RuleSet& rules, JobContext& job)
        : m_builder(builder), m_folder(folder), m_prefix(prefix), m_rules(rules), m_job(job)
    {
    }

    Result<ModelOrder> read()
    {
        SHARDLENS_TRY(findMetas());
        SHARDLENS_TRY(readMetas());
        m_table.finish(m_rules, m_readable);
        describeGrid();
        sayMissingMetas();
        sayProblems();
        DistFiles files(m_builder, m_folder, m_prefix, m_table, m_rules, m_job);
        SHARDLENS_TRY(files.read(m_readable));
        files.addMissing(m_missingRows);
        sayReadings();
        return order();
    }

private:
    Status findMetas()
    {
        for (const DirectoryEntry& entry : m_folder.entries) {
            const auto dist = entry.isFolder ? std::nullopt : metaDistId(entry.name);
            if (!dist)
                continue;
            if (!m_dists.insert(*dist).second) {
                const auto other = std::find_if(m_metas.begin(), m_metas.end(), [&](const MetaFile& one) { return one.dist == *dist; });
                return Error{ErrorCode::Refused, fmt::format("dist id {} has two metadata files, {} and {}: two saves lie in one folder; move the files of one away", *dist,
                                                             printable(other->name), printable(entry.name))};
            }
            m_metas.push_back({*dist, entry.name, {}, std::nullopt});
        }
        std::sort(m_metas.begin(), m_metas.end(), [](const MetaFile& a, const MetaFile& b) { return a.dist < b.dist; });
        return {};
    }

    // Some at a time: the texts are large and the table is not.
    Status readMetas()
    {
        const auto executor = makeThreadedExecutor(std::min(m_metas.size(), availableThreads()));
        for (std::size_t begin = 0; begin < m_metas.size(); begin += kMetasAtOnce) {
            const std::size_t count = std::min(kMetasAtOnce, m_metas.size() - begin);
            std::vector<std::optional<DistMeta>> parsed(count);
            SHARDLENS_TRY(executor->forEach(count, [&](std::size_t i) -> Status {
                SHARDLENS_TRY(m_job.poll());
                MetaFile& file = m_metas[begin + i];
                auto meta = parseMeta(m_folder.path + "/" + file.name, file, m_prefix);
                if (meta)
                    parsed[i] = meta.take();
                else
                    file.problem = meta.takeError();
                return {};
            }));
            for (std::size_t i = 0; i < count; ++i)
                addMeta(m_metas[begin + i], std::move(parsed[i]));
        }
        const auto readable = std::find_if(m_metas.begin(), m_metas.end(), [](const MetaFile& one) { return !one.problem; });
        if (readable == m_metas.end())
            return std::move(*m_metas.front().problem).within(printable(m_metas.front().name));
        return {};
    }

    void addMeta(MetaFile& file, std::optional<DistMeta> meta)
    {
        if (file.row.name.empty())
            file.row = missingFile(m_folder.path + "/" + file.name, m_prefix + file.name);
        file.row.rank = file.dist;
        file.row.container = "json";
        file.row.holds = "metadata";
        file.row.state = meta ? File::State::Read : File::State::Unreadable;
        const FileId id = m_builder.addFile(file.row);
        m_metaIds[file.dist] = id;
        if (!meta) {
            find(Severity::Error, "unreadable-file", fmt::format("The metadata {} of dist id {} cannot be read: {}.", printable(file.name), file.dist, file.problem->text()), id,
                 file.dist);
            return;
        }
        if (meta->version != "1.0")
            find(Severity::Warning, "version", fmt::format("{}: checkpoint_version is {}, and 1.0 is known; it is read as 1.0.", printable(file.name),
                                                           meta->version.empty() ? "no text" : printable(meta->version)), id, file.dist);
        m_builder.file(id).holds = fmt::format("metadata of {}", plural(meta->entries.size(), "parameter", "parameters"));
        m_readable.insert(file.dist);
        if (m_readable.size() <= kFilesShown)
            m_builder.addMetadata({id, describeMeta(*meta, file.name)});
        m_table.add(file.dist, std::move(*meta));
    }

    void describeGrid()
    {
        if (const auto& grid = m_table.grid()) {
            m_builder.setTopology({{{Axis::Pp, grid->pp}, {Axis::Tp, grid->tp}}});
            m_builder.addFact("dist ids", fmt::format("{}, tensor parallel {} x pipeline {}", grid->count(), grid->tp, grid->pp));
        } else {
            m_builder.setTopology({{{Axis::Rank, *m_dists.rbegin() + 1}}});
            m_builder.addFact("dist ids", fmt::format("{}, in no grid of tensor and pipeline parallel ranks", m_dists.size()));
        }
    }

    void sayMissingMetas()
    {
        if (!m_table.grid())
            return;
        const std::string ending = m_metas.front().name.ends_with(".index.json") ? ".index.json" : ".json";
        for (const std::uint32_t dist : m_table.grid()->missing) {
            if (m_missingRows.size() == kMostMissing)
                break;
            if (const auto unread = m_metaIds.find(dist); unread != m_metaIds.end()) { // said already
                m_missingRows.emplace(dist, unread->second);
                continue;
            }
            const std::string name = fmt::format("pytorch_model-meta-dist-{:05d}{}", dist, ending);
            File row = missingFile(m_folder.path + "/" + name, m_prefix + name);
            row.rank = dist;
            const FileId id = m_builder.addFile(std::move(row));
            m_missingRows.emplace(dist, id);
            if (m_missingRows.size() <= kSaidEach)
                find(Severity::Error, "missing-rank", fmt::format("The metadata of dist id {} (tp rank {}, pp rank {}) is missing: {} is not in the folder, and what it placed is a hole.", dist,
                                                                 dist % m_table.grid()->tp, dist / m_table.grid()->tp, printable(name)), id, dist);
        }
        if (const std::size_t all = m_table.grid()->missing.size(); all > kSaidEach)
            find(Severity::Error, "missing-rank", fmt::format("{} more dist ids have no metadata.", groupedText(all - kSaidEach)), kNoFile, std::nullopt);
    }

    // Tensors that cannot be put together, by name.
    void sayProblems()
    {
        for (const DistTensor& tensor : m_table.tensors()) {
            if (tensor.problem.empty())
                continue;
            const auto file = m_metaIds.find(tensor.problemDist);
            const std::string name = file == m_metaIds.end() ? "" : printable(m_builder.file(file->second).name) + ": ";
            m_builder.addLost({tensor.name, RoleKind::Weight, fmt::format("{}{}.", name, tensor.problem)}, "entry", file == m_metaIds.end() ? kNoFile : file->second);
        }
        std::size_t said = 0;
        for (const auto& [name, dist] : m_table.repeated())
            if (said++ < kSaidEach)
                find(Severity::Warning, "repeated-name", fmt::format("{} stands twice in the metadata of dist id {}; the last counts.", printable(name), dist), m_metaIds.at(dist),
                     dist);
    }

    // What is read otherwise than the entries say.
    void sayReadings()
    {
        std::size_t fused = 0;
        std::string example;
        for (const DistTensor& tensor : m_table.tensors()) {
            if (tensor.order == PartOrder::Fused && fused++ == 0)
                example = tensor.name;
            if (tensor.order == PartOrder::Padded && tensor.problem.empty())
                find(Severity::Info, "padded-vocabulary",
                     fmt::format("{}: the padded vocabulary is recorded wrongly: lengths {} beyond global_shape {} at offset 0 on each of {}. The lowest dist id of the stage holds all real rows; its part, cut to "
                                 "global_shape, is the tensor.",
                                 printable(tensor.name), shapeText(m_table.lengths(tensor, tensor.parts.front())), shapeText(tensor.global), plural(tensor.parts.size(), "dist id",
                                                                                                                                                    "dist ids")),
                     kNoFile, std::nullopt);
            if (tensor.overlaps)
                find(Severity::Info, "overlap", fmt::format("{}: boxes of several dist ids share cells without being equal, as no run writes them; `verify` compares the values.",
                                                               printable(tensor.name)), kNoFile,
                     std::nullopt);
        }
        if (fused > 0)
            find(Severity::Info, "fused",
                 fmt::format("{} {} recorded as plain slices, and fused by the rules {}: each part is a slice of every segment, as {} has them. They are put in order again; the original's loader does so at the "
                             "same tensor-parallel size only.",
                             plural(fused, "parameter is", "parameters are"), fused == 1 ? fmt::format("({})", printable(example)) : fmt::format("({} and others)",
                                                                                                                                                 printable(example)), printable(m_rules.id),
                             printable(example)),
                 kNoFile, std::nullopt);
    }

    ModelOrder order() const
    {
        ModelOrder out;
        for (const DistTensor& tensor : m_table.tensors())
            out.names.push_back({tensor.name, tensor.global});
        return out;
    }

    void find(Severity severity, const char* code, std::string text, FileId file, std::optional<std::uint32_t> rank)
    {
        m_builder.addFinding({severity, code, std::move(text), kNoTensor, file, rank});
    }

    static constexpr std::size_t kMostMissing = 1024;

    CheckpointBuilder& m_builder;
    const Candidate& m_folder;
    const std::string& m_prefix;
    const RuleSet& m_rules;
    JobContext& m_job;
    std::vector<MetaFile> m_metas;
    std::set<std::uint32_t> m_dists;
    std::set<std::uint32_t> m_readable;
    std::map<std::uint32_t, FileId> m_metaIds;
    std::map<std::uint32_t, FileId> m_missingRows; // of metadata that is not there
    DistTable m_table;
};

} // namespace

bool hasDistMeta(const Candidate& folder)
{
    return std::any_of(folder.entries.begin(), folder.entries.end(), [](const DirectoryEntry& entry) { return !entry.isFolder && metaDistId(entry.name).has_value(); });
}

Result<ModelOrder> readDistModel(CheckpointBuilder& builder, const Candidate& folder, const std::string& prefix, const RuleSet& rules, JobContext& job)
{
    return DistReader(builder, folder, prefix, rules, job).read();
}

} // namespace shardlens::colossalai
