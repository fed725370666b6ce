#pragma once

#include "core/base/result.h"
#include "core/format/colossalai/dist_table.h"
#include "core/format/colossalai/stored_file.h"
#include "core/format/format.h"
#include "core/model/checkpoint_builder.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace shardlens::colossalai {

// Reads the weight files of a distributed checkpoint and makes pieces of what they hold: parameters by the table, tied names by shared memory, and what has
// no metadata as buffers (formats/colossalai.md §3.2). All that it is given must outlive it.
class DistFiles {
public:
    DistFiles(CheckpointBuilder& builder, const Candidate& folder, const std::string& prefix, const DistTable& table, const RuleSet& rules, JobContext& job);

    // All files of those dist ids.
    Status read(const std::set<std::uint32_t>& dists);
    // Boxes that dist ids without metadata should hold, by the rows of their metadata.
    void addMissing(const std::map<std::uint32_t, FileId>& rows);

private:
    struct Source {
        std::string path;
        std::string name;
        std::uint32_t dist = 0;
        std::vector<std::uint32_t> values; // numbers of the table's "file" values that mean it; empty: no entry names it
    };
    struct Use {
        std::uint32_t tensor = 0;
        std::uint32_t part = 0;
    };

    void collectSources(const std::set<std::uint32_t>& dists);
    [[nodiscard]] Source sourceOf(std::uint32_t value);
    Status process(const Source& source, StoredFileResult stored);
    void addUnread(const Source& source, const StoredFileResult& stored);
    Status addEntries(const Source& source, const StoredFile& stored, PieceImport& import);
    void addPart(const Use& use, const StoredFile& stored, TensorId held, PieceImport& import);
    Status addRest(const Source& source, const StoredFile& stored, PieceImport& import);
    [[nodiscard]] bool isVocabulary(const std::string& name) const;
    [[nodiscard]] bool addTied(const Source& source, const StoredFile& stored, TensorId held, PieceImport& import);
    void addBuffer(const Source& source, const StoredFile& stored, TensorId held, PieceImport& import);
    void addHole(TensorId tensor, const Box& box, StreamId nowhere, std::uint32_t dist);
    [[nodiscard]] bool isStale(const Source& source, const StoredFile& stored) const;
    [[nodiscard]] bool hasPart(const std::string& name, std::uint32_t dist) const;
    [[nodiscard]] TensorId tensorFor(std::uint32_t tensor, DType dtype);
    [[nodiscard]] std::vector<Holder::Coordinate> holderOf(std::uint32_t dist) const;
    [[nodiscard]] std::string distText(std::uint32_t dist) const;
    void sayOrphans(const std::set<std::uint32_t>& dists);
    void saySources();
    void find(Severity severity, const char* code, std::string text, FileId file, std::uint32_t dist, TensorId tensor = kNoTensor);

    CheckpointBuilder& m_builder;
    const Candidate& m_folder;
    const std::string& m_prefix;
    const DistTable& m_table;
    const RuleSet& m_rules;
    JobContext& m_job;
    std::set<std::string, std::less<>> m_here; // names of files in the folder
    std::vector<Source> m_sources;
    std::vector<std::vector<Use>> m_uses;      // by "file" value
    std::vector<std::pair<Use, FileId>> m_absent; // parts whose file is not there, or lacks them
    std::vector<TensorId> m_ids;               // by number in the table; kNoTensor before it is met
    std::map<std::string, TensorId> m_buffers; // and tied names with values of their own
    std::set<std::string> m_aliases;
    std::unordered_map<std::uint32_t, TensorId> m_held; // of the file at hand: tensor of the table → tensor of the file
    std::size_t m_holes = 0;
    std::size_t m_elsewhere = 0; // files outside the folder
    std::optional<std::map<std::pair<DType, Shape>, std::vector<std::uint32_t>>> m_vocabularies; // of them, made when first asked for
    std::size_t m_foreignPaths = 0;
    std::string m_foreignPath;
};

} // namespace shardlens::colossalai
