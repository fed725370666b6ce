#include "core/format/colossalai/model_files.h"

#include "core/base/text.h"
#include "core/encoding/json_document.h"
#include "core/format/colossalai/shard_index.h"
#include "core/format/colossalai/stored_file.h"
#include "core/format/opened_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>

namespace shardlens::colossalai {
namespace {

constexpr std::size_t kLargestConfig = 16u << 20;
constexpr std::size_t kDeepestConfig = 64;
constexpr std::size_t kNamed = 4; // in a sentence
constexpr std::uint64_t kVocabularyMultiple = 64;
constexpr std::uint64_t kMostRanks = 1024;

std::string stageText(const std::string& file)
{
    const auto shard = shardFileOf(file);
    return shard && shard->stage ? fmt::format(" of pipeline stage {}", *shard->stage) : std::string();
}

std::string listText(const std::vector<std::string>& names)
{
    std::vector<std::string> said;
    for (std::size_t i = 0; i < std::min(names.size(), kNamed); ++i)
        said.push_back(printable(names[i]));
    return fmt::format("{}{}", fmt::join(said, ", "), names.size() > kNamed ? fmt::format(" and {} more", groupedText(names.size() - kNamed)) : "");
}

class ModelReader {
public:
    ModelReader(CheckpointBuilder& builder, const Candidate& folder, const std::string& prefix, const RuleSet& rules, JobContext& job)
        : m_builder(builder), m_folder(folder), m_prefix(prefix), m_rules(rules), m_job(job)
    {
    }

    Result<ModelOrder> read(const std::string& chosen)
    {
        SHARDLENS_ASSIGN(m_index, findIndex(m_folder, FileKind::Model, chosen));
        if (m_index) {
            m_builder.addFact("index", m_index->name);
            sayAboutIndex(m_builder, m_folder, m_prefix, *m_index, "model");
            SHARDLENS_TRY(readSharded());
        } else {
            SHARDLENS_TRY(readSingle());
        }
        if (m_ids.empty() && !m_unread.empty())
            m_builder.addLost({m_unread, RoleKind::Weight, fmt::format("No tensor of the model can be read: {}.", m_unread)}, "no-model", kNoFile);
        checkVocabulary();
        return std::move(m_order);
    }

private:
    struct Opened {
        std::string name; // in the folder
        StoredFile stored;
        std::unique_ptr<PieceImport> import;
    };

    Status readSharded()
    {
        std::map<std::string, std::size_t> numbers;
        std::vector<std::pair<std::string, std::string>> paths;
        for (const std::string& name : m_index->files()) {
            numbers.emplace(name, paths.size());
            paths.emplace_back(m_folder.path + "/" + name, m_prefix + name);
        }
        SHARDLENS_ASSIGN(auto stored, openAllStored(paths, m_job));
        for (const auto& [name, number] : numbers)
            addFile(name, std::move(stored[number]));
        m_order.isKnown = !m_index->isSortedByName();
        std::map<std::string, std::vector<std::string>> absent; // by file
        for (const auto& [name, file] : m_index->map) {
            Opened& from = m_files[numbers.at(file)];
            if (!from.import) {
                absent[file];
                continue;
            }
            const auto held = from.stored.find(name);
            if (held)
                SHARDLENS_TRY(addTensor(name, from, *held));
            else
                absent[file].push_back(name);
        }
        for (const auto& [file, names] : absent)
            if (!names.empty())
                find(Severity::Error, "index", fmt::format("The index says that {} {} in {}, and the file does not hold {}.", listText(names), names.size() == 1 ? "lies" : "lie",
                                                           printable(file),
                                                           names.size() == 1 ? "it" : "them"), kNoFile);
        return addOthers();
    }

    // What files hold beside what the index takes from them: expert-parallel ranks' copies are replicas, the rest is no part of the model.
    Status addOthers()
    {
        std::map<std::string, std::string> fileOf(m_index->map.begin(), m_index->map.end());
        for (Opened& file : m_files) {
            std::vector<std::string> orphans;
            const auto shard = shardFileOf(file.name);
            for (std::size_t i = 0; file.import && i < file.stored.tensorCount(); ++i) {
                const TensorId held = idAt<TensorId>(i);
                const std::string& name = file.stored.checkpoint->parameterOf(held);
                const auto known = fileOf.find(name);
                if (known == fileOf.end())
                    orphans.push_back(name);
                else if (known->second != file.name && shard && shard->expert)
                    SHARDLENS_TRY(addReplica(name, file, held));
            }
            if (!orphans.empty())
                find(Severity::Warning, "orphan", fmt::format("{} holds {} that the index does not name: not part of the model.", printable(file.name), listText(orphans)), kNoFile);
        }
        return {};
    }

    Status addReplica(const std::string& name, Opened& file, TensorId held)
    {
        const auto at = m_ids.find(name);
        if (at == m_ids.end())
            return {};
        const Tensor& own = file.stored.checkpoint->tensor(held);
        const Tensor& known = m_builder.tensor(at->second);
        if (own.shape != known.shape || own.dtype != known.dtype) {
            find(Severity::Warning, "replicas-differ", fmt::format("{} is {} {} in {}, and {} {} where the index takes it from.", printable(name), nameOf(own.dtype),
                                                                   shapeText(own.shape), printable(file.name),
                                                                   nameOf(known.dtype), shapeText(known.shape)), kNoFile);
            return {};
        }
        return file.import->addWhole(at->second, held);
    }

    // model.safetensors, then pytorch_model.bin, then the only file of tensors that is there.
    Status readSingle()
    {
        std::vector<std::string> found;
        for (const DirectoryEntry& entry : m_folder.entries)
            if (!entry.isFolder && (entry.name.ends_with(".safetensors") || entry.name.ends_with(".bin") || entry.name.ends_with(".pt") || entry.name.ends_with(".pth")))
                found.push_back(entry.name);
        for (const char* usual : {"model.safetensors", "pytorch_model.bin"})
            if (m_folder.entry(usual) != nullptr)
                found = {usual};
        if (found.size() != 1)
            return Error{ErrorCode::Refused, found.empty() ? fmt::format("no model in {}: no index, no metadata of dist ids and no file of tensors", printable(m_folder.name()))
                                                           : fmt::format("{} files of tensors and no index that says which belong together: {}", found.size(), listText(found))};
        addFile(found.front(), openStored(m_folder.path + "/" + found.front(), m_prefix + found.front(), m_job));
        Opened& file = m_files.front();
        m_order.isKnown = !file.stored.isSorted;
        for (std::size_t i = 0; file.import && i < file.stored.tensorCount(); ++i)
            SHARDLENS_TRY(addTensor(file.stored.checkpoint->parameterOf(idAt<TensorId>(i)), file, idAt<TensorId>(i)));
        return {};
    }

    void addFile(const std::string& name, StoredFileResult stored)
    {
        Opened out{name, std::move(stored.file), nullptr};
        if (out.stored.checkpoint) {
            const auto shard = shardFileOf(name);
            std::vector<Holder::Coordinate> holders;
            if (shard && shard->expert)
                holders.push_back({Axis::Ep, *shard->expert == 0 ? 0 : *shard->expert - 1});
            out.import = std::make_unique<PieceImport>(m_builder, *out.stored.checkpoint, holders);
            m_builder.file(out.import->file(FileId{0})).holds = plural(out.stored.tensorCount(), "tensor", "tensors") + stageText(name);
            out.import->addFindings([](TensorId) { return kNoTensor; });
            m_hasExperts = m_hasExperts || (shard && shard->expert);
        } else {
            const FileId id = m_builder.addFile(out.stored.row);
            if (m_index && m_tensorsOf.empty())
                for (const auto& [tensor, file] : m_index->map)
                    ++m_tensorsOf[file];
            const std::uint64_t lost = m_index ? m_tensorsOf[name] : 0;
            const std::string what = m_index ? fmt::format(": {}{} are lost", plural(lost, "tensor", "tensors"), stageText(name)) : std::string();
            const bool isMissing = stored.problem->code() == ErrorCode::NotFound;
            if (m_unread.empty())
                m_unread = isMissing ? fmt::format("{} is not in the folder", printable(name)) : fmt::format("{}: {}", printable(name), stored.problem->text());
            find(Severity::Error, isMissing ? "missing-file" : "unreadable-file",
                 isMissing ? fmt::format("{} is not in the folder{}.", printable(name), what) : fmt::format("{} cannot be read{}: {}.", printable(name), what,
                                                                                                            stored.problem->text()), id);
        }
        m_files.push_back(std::move(out));
    }

    Status addTensor(const std::string& name, Opened& from, TensorId held)
    {
        const Checkpoint& file = *from.stored.checkpoint;
        if (const auto memory = memoryOf(file, held)) {
            const auto [at, isNew] = m_memory.try_emplace({&file, *memory}, std::pair{held, name});
            if (!isNew && isSameMemory(file, held, at->second.first)) {
                m_builder.addAlias(name, m_builder.parameter(at->second.second));
                return {};
            }
        }
        const Tensor& own = file.tensor(held);
        const TensorId id = m_builder.addTensor({m_builder.parameter(name), m_builder.role(RoleKind::Weight, "weight"), own.dtype,
                                                 m_hasExperts ? Combine::Replicas : Combine::Exclusive, true, own.shape});
        m_ids.emplace(name, id);
        m_order.names.push_back({name, own.shape});
        return from.import->addWhole(id, held);
    }

    // §9: an embedding with other rows than the configuration has words.
    void checkVocabulary()
    {
        const auto words = vocabularySize();
        if (!words || *words == 0)
            return;
        for (const ModelOrder::Named& one : m_order.names) {
            const auto rule = m_rules.ruleFor(one.name, {});
            if (!rule || *rule == nullptr || !(*rule)->vocabulary || one.shape.size() <= (*rule)->dim || one.shape[(*rule)->dim] == *words)
                continue;
            const std::uint64_t rows = one.shape[(*rule)->dim];
            for (std::uint64_t ranks = 1; ranks <= kMostRanks; ++ranks) {
                const std::uint64_t multiple = kVocabularyMultiple * ranks;
                const std::uint64_t padded = *words > ~std::uint64_t{0} - multiple ? 0 : (*words + multiple - 1) / multiple * multiple;
                if (rows == padded)
                    return sayVocabulary(one, *words, fmt::format("the padded vocabulary of tensor parallel {}: the rows from {} on are padding, as versions before 21 Jan 2025 wrote them", ranks, groupedText(*words)));
                if (ranks > 1 && rows < *words && rows == padded / ranks)
                    return sayVocabulary(one, *words, fmt::format("one rank's rows of a vocabulary padded for tensor parallel {}: only one tensor-parallel part survived, the rest of the data is lost", ranks));
            }
            return sayVocabulary(one, *words, rows < *words ? "fewer rows than words: data is lost" : "more rows than words");
        }
    }

    void sayVocabulary(const ModelOrder::Named& one, std::uint64_t words, const std::string& what)
    {
        find(Severity::Warning, "vocabulary", fmt::format("{} is {} and config.json says vocab_size {}: {}.", printable(one.name), shapeText(one.shape), groupedText(words), what),
             kNoFile);
    }

    std::optional<std::uint64_t> vocabularySize() const
    {
        if (m_folder.entry("config.json") == nullptr)
            return std::nullopt;
        const auto file = FileSource::open(m_folder.path + "/config.json");
        const auto bytes = file ? readBytes(**file, 0, (*file)->size(), kLargestConfig) : Result<std::vector<std::byte>>(file.error());
        if (!bytes)
            return std::nullopt;
        const auto config = parseJson({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, kLargestConfig, kDeepestConfig);
        if (!config || !config->is_object() || !config->contains("vocab_size") || !(*config)["vocab_size"].is_number_unsigned())
            return std::nullopt;
        return (*config)["vocab_size"].get<std::uint64_t>();
    }

    void find(Severity severity, const char* code, std::string text, FileId file)
    {
        m_builder.addFinding({severity, code, std::move(text), kNoTensor, file, std::nullopt});
    }

    CheckpointBuilder& m_builder;
    const Candidate& m_folder;
    const std::string& m_prefix;
    const RuleSet& m_rules;
    JobContext& m_job;
    std::optional<ShardIndex> m_index;
    std::vector<Opened> m_files;
    std::map<std::pair<const Checkpoint*, MemoryPlace>, std::pair<TensorId, std::string>> m_memory;
    std::map<std::string, TensorId> m_ids;
    std::unordered_map<std::string, std::uint64_t> m_tensorsOf; // of the index, by file; counted when a file cannot be read
    std::string m_unread;      // why the first file that could not be read could not
    bool m_hasExperts = false; // files of expert-parallel ranks, which hold copies
    ModelOrder m_order;
};

} // namespace

Result<ModelOrder> readModelFiles(CheckpointBuilder& builder, const Candidate& folder, const std::string& prefix, const std::string& index, const RuleSet& rules, JobContext& job)
{
    return ModelReader(builder, folder, prefix, rules, job).read(index);
}

void sayAboutIndex(CheckpointBuilder& builder, const Candidate& folder, const std::string& prefix, const ShardIndex& index, const char* what)
{
    const auto find = [&](Severity severity, const char* code, std::string text, FileId file) { builder.addFinding({severity, code, std::move(text), kNoTensor, file,
                                                                                                                    std::nullopt}); };
    if (index.isMerged)
        find(Severity::Warning, "interrupted-save",
             fmt::format("The save of the {} was interrupted: {} is left, and no index. {} of {} have one; they are merged and read. Files of a stage whose save did not finish may be old or torn.", what, kStageIndexFolder,
                         index.indexedStages.size(), plural(std::max(index.indexedStages.size(), index.fileStages.size()), "pipeline stage", "pipeline stages")), kNoFile);
    if (index.isDoubtful)
        find(Severity::Warning, "interrupted-save",
             fmt::format("{} lies beside {}: a later save of the {} was interrupted, and shards may be of two saves. The index is read.", kStageIndexFolder, printable(index.name),
                         what), kNoFile);
    for (const std::string& name : index.leftOver(folder)) {
        File row = missingFile(folder.path + "/" + name, prefix + name);
        if (auto opened = openFile(row.path, row.name))
            row = opened->row;
        row.holds = "not part of the checkpoint";
        const FileId id = builder.addFile(std::move(row));
        find(Severity::Info, "leftover-file", fmt::format("{} is a stale file: the index does not name it. It is ignored.", printable(name)), id);
    }
}

} // namespace shardlens::colossalai
