#include "core/format/sdloader/inference_set.h"

#include "core/base/text.h"
#include "core/format/rank_file.h"
#include "core/layout/rank_join.h"
#include "core/layout/rule_library.h"

#include <fmt/format.h>

#include <deque>
#include <map>
#include <set>

namespace shardlens::sdloader {
namespace {

constexpr const char* kInferenceRules = "deepspeed-inference";

// "[tensor, scale]" instead of a tensor: an int8 weight.
std::optional<std::string> quantizedName(pickle::Value stateDict)
{
    for (std::size_t i = 0; i < stateDict.size(); ++i) {
        const pickle::Value value = stateDict.valueAt(i);
        if (value.kind() == pickle::Kind::List && value.size() == 2 && TorchFile::isTensor(value.at(0)) && TorchFile::isTensor(value.at(1)))
            return std::string(stateDict.keyAt(i).asText().value_or(""));
    }
    return std::nullopt;
}

class InferenceSet {
public:
    InferenceSet(const Candidate& candidate, const ListFile& file)
        : m_folder(folderOf(file.path)), m_name(nameOfPath(file.path)), m_list(file.list), m_builder(candidate.path, m_folder)
    {
    }

    // The list as the loader reads it: `parts` files of each rank, one behind another for all ranks, or, without tensor parallelism, files of whole tensors.
    Status readFiles(const OpenOptions& options, JobContext& job)
    {
        const bool isWhole = m_list.parallelization != "tp" && m_list.notParallel.empty();
        const std::size_t files = isWhole ? 0 : m_list.checkpoints.size();
        const std::uint64_t degree = m_list.degree.value_or(std::max<std::size_t>(files, 1));
        if (files > 0 && (degree > files || files % degree != 0))
            return Error{ErrorCode::Refused, fmt::format("{} names {} for {}: each needs as many as the others", printable(m_name), plural(files, "file", "files"),
                                                         plural(degree, "tensor-parallel rank", "tensor-parallel ranks"))};
        m_ranks = files == 0 ? 1 : static_cast<std::uint32_t>(degree);
        for (std::size_t i = 0; i < files; ++i)
            SHARDLENS_TRY(readFile(m_list.checkpoints[i], static_cast<std::uint32_t>(i % m_ranks), options, job));
        for (const std::string& name : isWhole ? m_list.checkpoints : m_list.notParallel)
            SHARDLENS_TRY(readFile(name, std::nullopt, options, job));
        if (m_read > 0)
            return {};
        return Error{ErrorCode::NotFound, fmt::format("none of the files that {} names can be read", printable(m_name))};
    }

    Result<CheckpointPtr> join(const OpenOptions& options)
    {
        RuleSet rules = builtInRules(kInferenceRules);
        if (options.rules) {
            SHARDLENS_ASSIGN(rules, findRules(*options.rules));
        }
        Facts facts;
        addFactsOfShapes(rules, shapesOfRank(), facts);
        RankJoin parts(m_builder, rules, facts, m_ranks);
        RankJoin whole(m_builder, rules, facts, 1);
        for (Part& part : m_parts) {
            if (!part.content.checkpoint) {
                if (part.rank)
                    parts.missing(*part.rank, part.id);
                continue;
            }
            for (std::size_t i = 0; i < part.content.values.size(); ++i) {
                const TensorId tensor = idAt<TensorId>(i);
                (part.rank ? parts : whole).add(part.content.checkpoint->parameterOf(tensor), part.rank.value_or(0), *part.import, tensor);
            }
        }
        SHARDLENS_TRY(parts.finish());
        SHARDLENS_TRY(whole.finish());
        reportTwice();
        addFacts(rules, facts);
        return std::move(m_builder).finish();
    }

private:
    struct Part {
        std::optional<std::uint32_t> rank; // nothing: every rank loads it
        FileId id = kNoFile;
        RankFileContent content;           // empty where it cannot be read
        PieceImport* import = nullptr;
    };

    // base_dir is where the set was saved; one that was moved lies beside its list.
    [[nodiscard]] std::string placeOf(const std::string& name) const
    {
        const std::string listed = pathOf(m_list, m_folder, name);
        return lookAt(listed) ? listed : m_folder + "/" + name;
    }

    Status readFile(const std::string& name, std::optional<std::uint32_t> rank, const OpenOptions& options, JobContext& job)
    {
        SHARDLENS_TRY(job.poll());
        Part& part = m_parts.emplace_back();
        part.rank = rank;
        const std::string path = placeOf(name);
        auto content = openRankStates(path, name, [&](pickle::Value root) -> Result<pickle::Value> {
            SHARDLENS_ASSIGN(const pickle::Value states, moduleOf(root, options.moduleKey.value_or("none")));
            if (const auto quantized = quantizedName(states))
                return Error{ErrorCode::Unsupported, fmt::format("{} is an int8 weight with scales of its own rank (a list of both), which are not joined; save the set in a 16-bit dtype", printable(*quantized))};
            return states;
        }, job);
        if (!content)
            return notRead(part, path, name, content.takeError());
        ++m_read;
        part.content = content.take();
        part.id = idAt<FileId>(m_builder.fileCount());
        const auto holders = rank && m_ranks > 1 ? std::vector<Holder::Coordinate>{{Axis::Tp, *rank}} : std::vector<Holder::Coordinate>{};
        part.import = &m_imports.emplace_back(m_builder, *part.content.checkpoint, holders);
        File& row = m_builder.file(part.id);
        row.rank = rank;
        row.holds = plural(part.content.values.size(), "tensor", "tensors");
        part.import->addFindings([](TensorId) { return kNoTensor; });
        return {};
    }

    Status notRead(Part& part, const std::string& path, const std::string& name, Error error)
    {
        if (error.code() == ErrorCode::Refused || error.code() == ErrorCode::Unsupported || error.code() == ErrorCode::Cancelled)
            return std::move(error).within(printable(name));
        File row = missingFile(path, name);
        row.rank = part.rank;
        const bool isMissing = error.code() == ErrorCode::NotFound;
        if (!isMissing)
            row.state = File::State::Unreadable;
        part.id = m_builder.addFile(std::move(row));
        m_builder.addFinding({Severity::Error, isMissing ? "missing-file" : "unreadable-file",
                              isMissing ? fmt::format("{} is not there, and {} names it.", printable(name), printable(m_name)) : fmt::format("{} cannot be read: {}.", printable(name), error.text()),
                              kNoTensor, part.id, part.rank});
        return {};
    }

    // The loader takes a name from the files of the ranks first, and then from those that every rank loads.
    void reportTwice()
    {
        std::set<std::string> ofRanks;
        for (const Part& part : m_parts)
            if (part.rank && part.content.checkpoint)
                ofRanks.insert(part.content.checkpoint->parameters().begin(), part.content.checkpoint->parameters().end());
        for (const Part& part : m_parts)
            for (std::size_t i = 0; !part.rank && part.content.checkpoint && i < part.content.checkpoint->parameters().size(); ++i)
                if (const std::string& name = part.content.checkpoint->parameters()[i]; ofRanks.contains(name))
                    m_builder.addFinding({Severity::Error, "held-twice",
                                          fmt::format("{} lies in files of single ranks and in {}, which every rank loads: which of them counts depends on the module that loads it.", printable(name),
                                                      printable(m_builder.file(part.id).name)),
                                          kNoTensor, part.id, std::nullopt});
    }

    // Of the parts of the lowest rank.
    [[nodiscard]] std::map<std::string, Shape, std::less<>> shapesOfRank() const
    {
        std::map<std::string, Shape, std::less<>> out;
        for (const Part& part : m_parts)
            for (std::size_t i = 0; part.rank && i < part.content.values.size(); ++i)
                out.try_emplace(part.content.checkpoint->parameterOf(idAt<TensorId>(i)), part.content.checkpoint->tensors()[i].shape);
        return out;
    }

    void addFacts(const RuleSet& rules, const Facts& facts)
    {
        m_builder.setFormat("sdloader", "DeepSpeed inference set");
        m_builder.setTitle(nameOfPath(m_folder), m_name);
        if (m_ranks > 1)
            m_builder.setTopology({{{Axis::Tp, m_ranks}}});
        m_builder.setModelFacts(facts);
        m_builder.addFact("type", printable(m_list.typeName));
        if (m_ranks > 1)
            m_builder.addFact("rules", printable(rules.id));
    }

    std::string m_folder;
    std::string m_name;
    const FactoryList& m_list;
    CheckpointBuilder m_builder;
    std::uint32_t m_ranks = 1;
    std::size_t m_read = 0;
    std::deque<Part> m_parts;
    std::deque<PieceImport> m_imports;
};

} // namespace

Result<CheckpointPtr> openInferenceSet(const Candidate& candidate, const ListFile& file, const OpenOptions& options, JobContext& job)
{
    InferenceSet set(candidate, file);
    SHARDLENS_TRY(set.readFiles(options, job));
    return set.join(options);
}

} // namespace shardlens::sdloader
