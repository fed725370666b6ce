#include "core/base/text.h"
#include "core/format/colossalai/colossalai_format.h"
#include "core/format/colossalai/target_model.h"
#include "core/format/colossalai/target_optimizer.h"
#include "core/format/colossalai/training_folder.h"
#include "core/format/target_file.h"
#include "core/io/byte_source.h"
#include "core/layout/rule_library.h"
#include "core/numeric/cast.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>
#include <unordered_map>
#include <unordered_set>

namespace shardlens::colossalai {
namespace {

using NoteKind = TargetNote::Kind;

constexpr std::uint64_t kUsualShardBytes = 1024ull << 20; // §4.3
constexpr std::uint64_t kMostRanksWritten = 1u << 16;
constexpr std::size_t kNamesSaid = 4;
constexpr std::uint64_t kLargestStatesText = 1u << 20;

Result<std::vector<Regex>> compiled(const std::vector<std::string>& patterns, const char* option)
{
    std::vector<Regex> out;
    for (const std::string& pattern : patterns) {
        auto regex = Regex::compile(pattern);
        if (!regex)
            return regex.takeError().within(fmt::format("{} {}", option, printable(pattern)));
        out.push_back(regex.take());
    }
    return out;
}

std::string someOf(const std::vector<std::string>& names)
{
    std::vector<std::string> said;
    for (std::size_t i = 0; i < std::min(names.size(), kNamesSaid); ++i)
        said.push_back(printable(names[i]));
    return fmt::format("{}{}", fmt::join(said, ", "), names.size() > kNamesSaid ? fmt::format(" and {} more", groupedText(names.size() - kNamesSaid)) : "");
}

bool isPlainPrefix(const std::string& prefix)
{
    return !prefix.empty() && prefix.size() <= 128 && prefix.find_first_of("/\\:") == std::string::npos && prefix.find('\0') == std::string::npos && isUtf8(prefix) && prefix.front() != '.';
}

class TargetMaker {
public:
    TargetMaker(const CheckpointPtr& source, const TargetOptions& options, JobContext& job) : m_source(*source), m_options(options), m_job(job), m_payload(*source) {}

    Result<Target> make()
    {
        SHARDLENS_TRY(chooseShape());
        SHARDLENS_TRY(chooseRules());
        SHARDLENS_TRY(chooseTensors());
        const bool isRun = !m_states.empty() && !m_tensors.empty();
        const std::vector<std::string> order = parameterOrder(); // placing sorts by stage
        if (!m_tensors.empty()) {
            SHARDLENS_TRY(ModelPlacement::place(m_source, m_rules, m_shape, m_tensors));
            ModelWriter writer(m_source, m_payload, m_shape, isRun ? fmt::format("{}/", kModelFolder) : std::string());
            SHARDLENS_TRY(writer.add(m_tensors, m_job, m_out));
        }
        if (!m_states.empty()) {
            OptimizerWriter writer(m_source, m_payload, m_shape, isRun ? fmt::format("{}/", kOptimizerFolder) : std::string());
            SHARDLENS_TRY(writer.add(m_states, order, m_job, m_out));
        }
        if (isRun)
            addRunningStates();
        addNotes(isRun);
        m_out.payload = std::move(m_payload).finish();
        return std::move(m_out);
    }

private:
    Status chooseShape()
    {
        const char* const foreign = m_options.dp ? "--dp" : m_options.ep ? "--ep" : m_options.zeroStage ? "--zero-stage" : nullptr;
        if (foreign != nullptr)
            return Error{ErrorCode::Refused, fmt::format("{} means nothing for ColossalAI's dist ids, which number tensor-parallel and pipeline ranks", foreign)};
        const bool isDist = m_source.formatId() == "colossalai" && !m_source.topology().axes.empty();
        m_shape.tp = m_options.tp.value_or(isDist ? m_source.topology().sizeOf(Axis::Tp) : 1);
        m_shape.pp = m_options.pp.value_or(isDist ? m_source.topology().sizeOf(Axis::Pp) : 1);
        const std::uint64_t count = std::uint64_t{m_shape.tp} * m_shape.pp;
        if (count == 0 || count > kMostRanksWritten)
            return Error{ErrorCode::Refused, fmt::format("tensor parallel {} x pipeline {}: 1 to {} dist ids are written", m_shape.tp, m_shape.pp, groupedText(kMostRanksWritten))};
        if (m_options.rank && *m_options.rank >= count)
            return Error{ErrorCode::Refused, fmt::format("--rank {}: the target has the dist ids 0 to {}", *m_options.rank, count - 1)};
        m_shape.rank = m_options.rank;
        if (m_options.prefix && !isPlainPrefix(*m_options.prefix))
            return Error{ErrorCode::Refused, fmt::format("--prefix {}: a part of file names is needed, without slashes and colons, not beginning with a dot",
                                                         printable(*m_options.prefix))};
        m_shape.prefix = m_options.prefix.value_or("");
        m_shape.container = containerOf(false);
        m_shape.stateContainer = containerOf(true);
        m_shape.keepObjects = m_options.keepObjects;
        m_shape.shardBytes = m_options.maxShardBytes.value_or(kUsualShardBytes);
        return {};
    }

    // Of the model's or the optimizer's files: what is asked for, else what the source's are.
    [[nodiscard]] Container containerOf(bool ofStates) const
    {
        if (m_options.container)
            return *m_options.container == "safetensors" ? Container::Safetensors : Container::Bin;
        const PieceStore& pieces = m_source.pieces();
        for (std::size_t i = 0; i < m_source.tensors().size() && m_source.formatId() == "colossalai"; ++i) {
            const auto id = idAt<TensorId>(i);
            if ((m_source.roleOf(id).kind == RoleKind::OptimizerState) != ofStates)
                continue;
            for (std::size_t row = pieces.firstOf(id); row < pieces.lastOf(id); ++row)
                if (const FileId file = m_source.stream(pieces.at(idAt<PieceId>(row)).source.stream).file; file != kNoFile && m_source.file(file).container == "safetensors")
                    return Container::Safetensors;
        }
        return Container::Bin;
    }

    Status chooseRules()
    {
        m_rules = builtInRules("colossalai");
        if (m_options.open.rules && m_source.formatId() == "colossalai") {
            SHARDLENS_ASSIGN(m_rules, findRules(*m_options.open.rules));
        }
        return {};
    }

    Result<DType> dtypeOf(const SelectedTensor& selected) const
    {
        const DType own = m_source.tensor(selected.tensor).dtype;
        if (!m_options.dtype || !isFloat(own) || own == *m_options.dtype)
            return own;
        if (!canCast(own, *m_options.dtype))
            return Error{ErrorCode::Refused, fmt::format("{} is {} and cannot be cast to {}; leave it out with --exclude, or leave --dtype out", printable(selected.name),
                                                         nameOf(own), nameOf(*m_options.dtype))};
        return *m_options.dtype;
    }

    Status chooseTensors()
    {
        SelectionOptions options;
        SHARDLENS_ASSIGN(options.include, compiled(m_options.include, "--include"));
        SHARDLENS_ASSIGN(options.exclude, compiled(m_options.exclude, "--exclude"));
        options.select = m_options.select;
        for (const std::size_t lost : selectLost(m_source, options)) {
            const std::string& problem = m_source.lostTensors()[lost].problem;
            return Error{ErrorCode::Refused, fmt::format("{} (--exclude leaves it out)", problem.substr(0, problem.find_last_not_of('.') + 1))};
        }
        const bool isAll = m_options.select == Select::All;
        if (m_options.select != Select::Optimizer) {
            options.select = isAll ? Select::Weights : m_options.select;
            SHARDLENS_TRY(addModel(selectTensors(m_source, options)));
        }
        options.select = Select::Optimizer;
        const std::vector<SelectedTensor> states = isAll || m_options.select == Select::Optimizer ? selectTensors(m_source, options) : std::vector<SelectedTensor>{};
        if (isAll) {
            options.select = Select::All;
            noteOthers(selectTensors(m_source, options));
        }
        if (m_shape.rank && !states.empty())
            m_out.notes.push_back({NoteKind::Dropped, "Optimizer states", fmt::format("Only the files of dist id {} are written, and optimizer states are no dist id's: without --rank they are written beside the model.", *m_shape.rank)});
        else
            SHARDLENS_TRY(addStates(states));
        if (m_tensors.empty() && m_states.empty())
            return Error{ErrorCode::Refused, fmt::format("nothing is selected: of {} none is {}{}", plural(m_source.tensors().size(), "tensor", "tensors"), nameOf(m_options.select),
                                                         m_options.include.empty() && m_options.exclude.empty() ? "; `shardlens list` shows what is there" : " and passes --include and --exclude")};
        return {};
    }

    Status checkName(const SelectedTensor& selected)
    {
        if (m_source.tensor(selected.tensor).sparsePart)
            return Error{ErrorCode::Refused, fmt::format("{} is a part of a sparse tensor, which ColossalAI's files cannot hold; leave it out with --exclude",
                                                         printable(selected.name))};
        if (!isUtf8(selected.name))
            return Error{ErrorCode::Refused, fmt::format("the name {} is no UTF-8; leave it out with --exclude", printable(selected.name))};
        if (!m_taken.insert(selected.name).second)
            return Error{ErrorCode::Refused, fmt::format("two tensors are named {}; leave it out with --exclude", printable(selected.name))};
        return {};
    }

    Status addModel(const std::vector<SelectedTensor>& selection)
    {
        std::unordered_map<std::uint32_t, std::size_t> firstOf; // by tensor
        for (const SelectedTensor& selected : selection) {
            SHARDLENS_TRY(m_job.poll());
            SHARDLENS_TRY(checkName(selected));
            SHARDLENS_ASSIGN(const DType dtype, dtypeOf(selected));
            ModelTensor tensor{selected.name, selected.tensor, dtype, m_source.roleOf(selected.tensor).kind == RoleKind::Buffer, std::nullopt, 0, std::nullopt};
            const auto [first, isNew] = firstOf.try_emplace(static_cast<std::uint32_t>(selected.tensor), m_tensors.size());
            if (!isNew)
                tensor.tiedTo = first->second;
            m_tensors.push_back(std::move(tensor));
            if (!m_shape.rank)
                m_out.results.push_back({selected.name, selected.tensor, dtype});
        }
        return {};
    }

    Status addStates(const std::vector<SelectedTensor>& selection)
    {
        for (const SelectedTensor& selected : selection) {
            SHARDLENS_TRY(m_job.poll());
            SHARDLENS_TRY(checkName(selected));
            const DType dtype = m_source.tensor(selected.tensor).dtype; // --dtype is about weights: a step that is rounded is another step
            m_states.push_back({m_source.parameterOf(selected.tensor), m_source.roleOf(selected.tensor).name, selected.tensor, dtype});
            m_out.results.push_back({selected.name, selected.tensor, dtype});
        }
        return {};
    }

    // What has no place in either folder.
    void noteOthers(const std::vector<SelectedTensor>& all)
    {
        std::vector<std::string> copies;
        std::vector<std::string> others;
        for (const SelectedTensor& selected : all) {
            const RoleKind kind = m_source.roleOf(selected.tensor).kind;
            if (kind == RoleKind::Module)
                copies.push_back(selected.name);
            else if (kind == RoleKind::Other)
                others.push_back(selected.name);
        }
        if (!copies.empty())
            m_out.notes.push_back({NoteKind::Dropped, "Module copies", fmt::format("{} beside a master: ColossalAI keeps one copy of a weight, and the master is written. --select module writes the copies.",
                                                                                   plural(copies.size(), "copy", "copies"))});
        if (!others.empty())
            m_out.notes.push_back({NoteKind::Dropped, "Other tensors", fmt::format("{} of neither model nor optimizer: {}.", plural(others.size(), "tensor", "tensors"),
                                                                                   someOf(others))});
    }

    [[nodiscard]] std::vector<std::string> parameterOrder() const
    {
        std::vector<std::string> out;
        for (const ModelTensor& tensor : m_tensors)
            out.push_back(tensor.name);
        if (out.empty())
            out = m_source.parameters();
        return out;
    }

    // Scheduler, epoch and step of a source of the same kind.
    void addRunningStates()
    {
        for (std::size_t i = 0; i < m_source.files().size() && m_source.formatId() == "colossalai"; ++i) {
            const File& file = m_source.files()[i];
            if (file.state != File::State::Read)
                continue;
            if (file.name == kSchedulerFile) {
                if (Status status = addScheduler(idAt<FileId>(i)); !status)
                    m_out.notes.push_back({NoteKind::Dropped, "Scheduler", fmt::format("{} is not carried over: {}.", kSchedulerFile, status.error().text())});
            } else if (file.name == kStatesFile) {
                const auto opened = FileSource::open(file.path);
                const auto bytes = opened ? readBytes(**opened, 0, (*opened)->size(), kLargestStatesText) : Result<std::vector<std::byte>>(opened.error());
                if (bytes)
                    m_out.textFiles.push_back({kStatesFile, std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size())});
            }
        }
    }

    Status addScheduler(FileId id)
    {
        SHARDLENS_ASSIGN(const auto bytes, FileSource::open(m_source.file(id).path));
        SHARDLENS_ASSIGN(TorchFile opened, TorchFile::open(bytes, m_job));
        const auto torch = std::make_shared<const TorchFile>(std::move(opened));
        StorageTensors storages;
        SHARDLENS_TRY(addStorageTensors(m_payload, id, *torch, storages));
        TargetFileMaker maker(storages, m_options.keepObjects, kSchedulerFile);
        SHARDLENS_ASSIGN(const pickle::Value root, maker.tree().import(torch, torch->root()));
        std::set<std::string> leftOut;
        SHARDLENS_ASSIGN(TargetTorchFile file, std::move(maker).finish(root, leftOut));
        if (!leftOut.empty())
            return Error{ErrorCode::Refused, fmt::format("it holds objects of classes on no list of known ones: {}; --keep-objects writes them as they are", printable(*leftOut.begin()))};
        m_out.torchFiles.push_back(std::move(file));
        return {};
    }

    void addNotes(bool isRun)
    {
        const Topology& had = m_source.topology();
        if (!m_tensors.empty())
            m_out.notes.push_back({NoteKind::Kept, "Model", fmt::format("{} on {} (tensor parallel {} x pipeline {}), by the rules {}.",
                                                                        plural(m_tensors.size(), "tensor", "tensors"),
                                                                        plural(m_shape.tp * m_shape.pp, "dist id", "dist ids"), m_shape.tp, m_shape.pp, printable(m_rules.id))});
        if (!m_states.empty())
            m_out.notes.push_back({NoteKind::Kept, "Optimizer state", fmt::format("{}, whole and numbered as the parameters are{}.", plural(m_states.size(), "state", "states"),
                                                                                  isRun ? fmt::format("; the model is in {}/, states are in {}/", kModelFolder,
                                                                                                      kOptimizerFolder) : "")});
        const auto casts = std::count_if(m_tensors.begin(), m_tensors.end(), [&](const ModelTensor& one) { return m_source.tensor(one.source).dtype != one.dtype; });
        if (casts > 0)
            m_out.notes.push_back({NoteKind::Cast, "Cast", fmt::format("{} to {}{}.", plural(static_cast<std::uint64_t>(casts), "tensor", "tensors"), nameOf(*m_options.dtype),
                                                                       m_states.empty() ? "" : "; optimizer states keep theirs")});
        const bool isCut = std::any_of(m_tensors.begin(), m_tensors.end(), [](const ModelTensor& one) { return one.dim.has_value(); });
        noteUnruled();
        if (m_shape.tp > 1 && !m_tensors.empty() && !isCut)
            m_out.notes.push_back({NoteKind::Warning, "Nothing is cut", fmt::format("No rule of {} splits a tensor of these names: every tensor-parallel rank gets all of the model.", printable(m_rules.id))});
        if (!m_states.empty() && m_source.formatId() != "colossalai")
            m_out.notes.push_back({NoteKind::Warning, "Optimizer numbers", "ColossalAI finds states by the number of their parameter, and the source records no numbers: they follow the order in which it lists its "
                                                                           "parameters. Check that this is the order of the model that resumes (`param_names` in pytorch_optim_group.bin has it)."});
        if (m_shape.rank)
            m_out.notes.push_back({NoteKind::Info, "One rank", fmt::format("Only the files of dist id {} are written.", *m_shape.rank)});
        noteDuplicates();
        m_out.before = TargetLayout{m_source.formatTitle(), had.worldSize()};
        m_out.after = TargetLayout{"ColossalAI distributed", m_shape.tp * m_shape.pp};
    }

    // Names of another framework: its rules do not know them.
    void noteUnruled()
    {
        std::vector<std::string> unruled;
        std::size_t cut = 0;
        for (const ModelTensor& tensor : m_tensors) {
            if (m_shape.tp < 2 || tensor.isBuffer || m_source.tensor(tensor.source).shape.size() < 2)
                continue;
            const auto rule = m_rules.ruleFor(tensor.name, {});
            if (tensor.dim)
                ++cut;
            else if (rule && (*rule == nullptr || (*rule)->kind != Division::Kind::Split))
                unruled.push_back(tensor.name);
        }
        if (cut > 0 && unruled.size() > cut)
            m_out.notes.push_back({NoteKind::Warning, "Little is cut", fmt::format("No rule of {} splits {}: every tensor-parallel rank gets all of these. Its rules are for the names of Hugging Face models.",
                                                                                  printable(m_rules.id), someOf(unruled))});
    }

    void noteDuplicates()
    {
        std::vector<std::string> fused;
        std::vector<std::string> whole;
        std::vector<std::string> twice;
        for (const ModelTensor& tensor : m_tensors) {
            const bool sharesStorage = tensor.tiedTo && m_shape.container == Container::Bin && m_tensors[*tensor.tiedTo].stage == tensor.stage;
            if (tensor.tiedTo && !sharesStorage)
                twice.push_back(tensor.name);
            const auto rule = m_shape.tp > 1 && !tensor.dim && !tensor.isBuffer ? m_rules.ruleFor(tensor.name, {}) : Result<const ShardRule*>(nullptr);
            if (rule && *rule != nullptr && (*rule)->kind == Division::Kind::Split)
                ((*rule)->isSegmented() ? fused : whole).push_back(tensor.name);
        }
        if (!twice.empty())
            m_out.notes.push_back({NoteKind::Info, "Tied names", fmt::format("Written again under a second name, with values of its own: {}.", someOf(twice))});
        if (!fused.empty())
            m_out.notes.push_back({NoteKind::Info, "Not cut", fmt::format("Fused tensors are whole on every tensor-parallel rank, for a part of one is a slice of every segment, and the metadata have place for one box: {}.",
                                                                          someOf(fused))});
        if (!whole.empty())
            m_out.notes.push_back({NoteKind::Info, "Not cut", fmt::format("Vocabularies that {} does not divide are whole on every tensor-parallel rank: {}.", m_shape.tp, someOf(whole))});
    }

    const Checkpoint& m_source;
    const TargetOptions& m_options;
    JobContext& m_job;
    CheckpointBuilder m_payload;
    TargetShape m_shape;
    RuleSet m_rules;
    std::vector<ModelTensor> m_tensors;
    std::vector<StateTensor> m_states;
    std::unordered_set<std::string> m_taken;
    Target m_out;
};

} // namespace

Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job)
{
    return TargetMaker(source, options, job).make();
}

} // namespace shardlens::colossalai
