#include "core/format/deepspeed/reshard.h"

#include "core/base/text.h"
#include "core/format/deepspeed/universal_entries.h"
#include "core/format/deepspeed/universal_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace shardlens::deepspeed {
namespace {

using pickle::Value;

constexpr std::size_t kMaxFileName = 255; // bytes, of a file system's names

// Members of a rank's optimizer_state_dict that lie in zero/ by parameter, or mean that rank alone (formats/deepspeed.md §14.1).
constexpr std::array<std::string_view, 8> kPerRank{"base_optimizer_state", "base_optimizer_state_step", "param_slice_mappings", "single_partition_of_fp32_groups",
                                                   "fp32_flat_groups",     "optimizer_state_dict",      "group_paddings",       "param_groups"};

// The engine joins a parameter's name to the folder as it is; one that leads elsewhere could be written nowhere else.
Status checkFolderName(const std::string& parameter)
{
    std::size_t begin = 0;
    while (begin <= parameter.size()) {
        const std::size_t end = std::min(parameter.find('/', begin), parameter.size());
        const std::string part = parameter.substr(begin, end - begin);
        if (part.empty() || part == "." || part == ".." || part.size() > kMaxFileName || part.find('\0') != std::string::npos)
            return Error{ErrorCode::Refused, fmt::format("the parameter {} cannot be a folder's name, as a universal checkpoint needs it", printable(parameter))};
        begin = end + 1;
    }
    return {};
}

class UniversalWriter {
public:
    UniversalWriter(const Reshard& reshard, const ParallelRun* parallel, JobContext& job)
        : m_reshard(reshard), m_run(*reshard.run), m_parallel(parallel), m_job(job), m_tag(m_run.folder.tag.empty() ? "global_step0" : m_run.folder.tag)
    {
    }

    Result<Target> make(const Checkpoint& source);

private:
    Status addModels();
    Status addOptimizer();
    Status addParameter(const TrainedGroup& group, const TrainedParameter& parameter, const UniversalRules& rules);
    Result<Value> subParameterShape(FileMaker& maker, Value row, ShapeView shape);
    Status addVector(const std::string& file, TensorId tensor, const UniversalDivision& division);
    Status addScalar(const std::string& file, const TrainedState& state);
    Result<Value> scalarOf(FileMaker& maker, const TrainedState& state);
    Result<Value> innerOptimizer(FileMaker& maker, Value old);
    void addNotes();
    [[nodiscard]] bool isStage3() const { return m_run.stage == Stage::Zero3; }
    [[nodiscard]] std::string place(const std::string& name) const { return fmt::format("{}/{}", m_tag, name); }

    const Reshard& m_reshard;
    const Run& m_run;
    const ParallelRun* m_parallel; // nullptr: one model-parallel rank
    JobContext& m_job;
    std::string m_tag;
    Target m_target;
    std::set<std::string> m_leftOut;
    std::set<std::string> m_stripped; // parameters that lost rows of padding
};

// The model files as they are: frozen parameters, buffers, ties and client states lie only there.
Status UniversalWriter::addModels()
{
    const auto add = [&](const RankFile& file, const std::string& name, std::optional<std::uint32_t> rank) -> Status {
        SHARDLENS_TRY(m_job.poll());
        FileMaker maker(m_reshard, place(name));
        SHARDLENS_ASSIGN(const Value root, maker.tree().import(file.torch, file.root()));
        if (!maker.tree().leftOut().empty() && tensorsBelow(root) < tensorsBelow(file.root()))
            return Error{ErrorCode::Refused, fmt::format("tensors of {} lie in objects of unknown classes ({}) and would be lost with them; --keep-objects writes these as they are",
                                                         printable(name), maker.tree().leftOut().back())};
        SHARDLENS_ASSIGN(auto made, std::move(maker).finish(root, m_leftOut));
        made.rank = rank;
        m_target.torchFiles.push_back(std::move(made));
        return {};
    };
    if (m_parallel != nullptr) {
        for (const ParallelRank& rank : m_parallel->ranks)
            SHARDLENS_TRY(add(rank.opened.run->model, rank.opened.run->folder.model, rank.pipe * m_parallel->dp * m_parallel->tp + rank.model));
        for (const LayerFile& layer : m_parallel->layers) // frozen parameters and buffers of a pipeline are nowhere else (§11.3)
            SHARDLENS_TRY(add({layer.id, layer.content.torch}, layer.name, std::nullopt));
        return {};
    }
    if (m_run.stage3Models.empty())
        return add(m_run.model, m_run.folder.model, std::nullopt);
    for (const auto& [rank, name] : m_run.folder.stage3Models)
        if (const auto file = m_run.stage3Models.find(rank); file != m_run.stage3Models.end() && file->second.torch)
            SHARDLENS_TRY(add(file->second, name, rank));
    return {};
}

// SubparamShape, as loading takes it: the widths along the dimension that is cut, and its patterns (§14.1).
Result<Value> UniversalWriter::subParameterShape(FileMaker& maker, Value row, ShapeView shape)
{
    SHARDLENS_ASSIGN(const SubParameterExtents extents, subParameterExtents(row, shape));
    pickle::GraphBuilder& graph = maker.graph();
    std::vector<Value> dims;
    for (std::size_t i = 0; i < extents.other.size(); ++i) {
        std::vector<Value> widths;
        for (std::size_t k = 0; i == extents.dim && k < extents.widths.size(); ++k)
            widths.push_back(graph.integer(static_cast<std::int64_t>(extents.widths[k])));
        dims.push_back(i == extents.dim ? graph.tuple(widths) : graph.integer(extents.other[i]));
    }
    const Value patterns = graph.list();
    for (std::size_t i = 0; i < row.find("patterns").size(); ++i)
        graph.append(patterns, graph.text(row.find("patterns").at(i).asText().value_or("")));
    const Value state = graph.dict();
    graph.set(state, "patterns", patterns);
    graph.set(state, "shape", graph.tuple(dims));
    graph.set(state, "partition_dim", graph.integer(static_cast<std::int64_t>(extents.dim)));
    const Value object = graph.newObject(graph.global("deepspeed.checkpoint.universal_checkpoint", "SubparamShape"), graph.tuple({}));
    graph.build(object, state);
    return object;
}

Status UniversalWriter::addVector(const std::string& file, TensorId tensor, const UniversalDivision& division)
{
    FileMaker maker(m_reshard, place(file));
    const Tensor& from = m_reshard.payload->tensor(tensor);
    Shape shape = from.shape;
    const auto words = countOf(m_run.model.root().find("universal_checkpoint_info").find("original_vocab_size"));
    if (division.isVocabulary && words && *words > 0 && !shape.empty() && *words < shape[0]) { // rows of padding are stripped (§14.4)
        shape[0] = *words;
        m_stripped.insert(m_reshard.payload->parameterOf(tensor));
    }
    const std::uint64_t count = elementCount(shape).value_or(0);
    std::vector<TargetRun> runs;
    if (count != 0)
        runs.push_back({tensor, from.dtype, 0, count, 0});
    SHARDLENS_ASSIGN(const Value made, maker.tensor(from.dtype, isStage3() ? Shape{count} : shape, std::move(runs)));
    Value root = made; // ZeRO-3: bare
    if (!isStage3()) {
        using Kind = UniversalDivision::Kind;
        root = maker.graph().dict();
        if (division.kind == Kind::CutInTwo)
            maker.graph().set(root, "param_n_sub_params", maker.graph().integer(2));
        if (division.kind == Kind::CutByParts) {
            auto parts = subParameterShape(maker, division.parts, shape);
            if (!parts)
                return parts.takeError().within(printable(m_reshard.payload->parameterOf(tensor)));
            maker.graph().set(root, "sub_param_shape", *parts);
        } else if (division.kind != Kind::Whole)
            maker.graph().set(root, "cat_dim", maker.graph().integer(division.dim));
        if (division.isVocabulary)
            maker.graph().set(root, "vocab_tensor", maker.graph().boolean(true));
        maker.graph().set(root, "param", made);
    }
    SHARDLENS_ASSIGN(auto out, std::move(maker).finish(root, m_leftOut));
    m_target.torchFiles.push_back(std::move(out));
    return {};
}

Result<Value> UniversalWriter::scalarOf(FileMaker& maker, const TrainedState& state)
{
    if (TorchFile::isTensor(state.value)) {
        SHARDLENS_ASSIGN(const TorchTensor tensor, state.file->tensorOf(state.value));
        if (tensor.contiguous && !tensor.noData && tensor.flags.plain())
            return maker.copyOf(*state.file, tensor);
    }
    return maker.tree().import(state.file, state.value);
}

Status UniversalWriter::addScalar(const std::string& file, const TrainedState& state)
{
    FileMaker maker(m_reshard, place(file));
    SHARDLENS_ASSIGN(const Value root, scalarOf(maker, state));
    SHARDLENS_ASSIGN(auto out, std::move(maker).finish(root, m_leftOut));
    m_target.torchFiles.push_back(std::move(out));
    return {};
}

Status UniversalWriter::addParameter(const TrainedGroup& group, const TrainedParameter& parameter, const UniversalRules& rules)
{
    SHARDLENS_TRY(m_job.poll());
    SHARDLENS_TRY(checkFolderName(parameter.name));
    const UniversalDivision division = rules.divisionOf(parameter.name);
    const std::string folder = fmt::format("zero/{}", parameter.name);
    SHARDLENS_TRY(addVector(fmt::format("{}/{}.pt", folder, kUniversalMaster), *parameter.tensors->master, division));
    for (const TrainedState& state : group.states) {
        SHARDLENS_TRY(checkFolderName(state.name));
        const auto found = parameter.tensors->states.find(state.name);
        const bool isScalar = found == parameter.tensors->states.end() || (m_reshard.payload->tensor(found->second).shape.empty() && state.name == kUniversalStep);
        const std::string file = fmt::format("{}/{}.pt", folder, state.name);
        if (!isScalar)
            SHARDLENS_TRY(addVector(file, found->second, division));
        else if (!isStage3()) // there it lies in optimizer_state.pt
            SHARDLENS_TRY(addScalar(file, state));
    }
    return {};
}

// ZeRO-3: the torch optimizer's own dictionary without its vectors, where the engine looks for the step and the settings.
Result<Value> UniversalWriter::innerOptimizer(FileMaker& maker, Value old)
{
    pickle::GraphBuilder& graph = maker.graph();
    const Value out = graph.dict();
    const Value states = graph.dict();
    std::int64_t number = 0;
    for (const TrainedGroup& group : m_reshard.groups) {
        const Value members = group.paramGroup.find("params");
        for (std::size_t i = 0; i < std::max<std::size_t>(members.size(), 1); ++i) {
            const Value state = graph.dict();
            for (const TrainedState& one : group.states) {
                if (!group.parameters.empty() && group.parameters.front().tensors->states.contains(one.name) &&
                    !m_reshard.payload->tensor(group.parameters.front().tensors->states.at(one.name)).shape.empty())
                    continue;
                SHARDLENS_ASSIGN(const Value value, scalarOf(maker, one));
                graph.set(state, one.name, value);
            }
            graph.set(states, graph.integer(countOf(members.at(i)) ? static_cast<std::int64_t>(*countOf(members.at(i))) : number), state);
            ++number;
        }
    }
    graph.set(out, "state", states);
    SHARDLENS_ASSIGN(const Value rows, maker.tree().import(m_run.optimizers.at(*m_run.firstOptimizer()).torch, old.find("param_groups")));
    graph.set(out, "param_groups", rows);
    return out;
}

Status UniversalWriter::addOptimizer()
{
    FileMaker maker(m_reshard, place(kUniversalOptimizer));
    pickle::GraphBuilder& graph = maker.graph();
    const std::uint32_t first = *m_run.firstOptimizer();
    const std::shared_ptr<const TorchFile> file = m_run.optimizers.at(first).torch;
    const Value old = m_run.optimizerState(first);
    const Value root = graph.dict();
    for (std::size_t i = 0; i < old.size(); ++i) {
        const auto key = old.keyAt(i).asText();
        if (!key || std::find(kPerRank.begin(), kPerRank.end(), *key) != kPerRank.end())
            continue;
        SHARDLENS_ASSIGN(const Value value, maker.tree().import(file, old.valueAt(i)));
        graph.set(root, *key, value);
    }
    if (const Value paddings = old.find("group_paddings")) {
        const Value zeros = graph.list();
        for (std::size_t i = 0; i < paddings.size(); ++i)
            graph.append(zeros, graph.integer(0));
        graph.set(root, "group_paddings", zeros);
    }
    Value rows = old.find("param_groups"); // of a universal source
    if (isStage3()) {
        SHARDLENS_ASSIGN(const Value inner, innerOptimizer(maker, old.find("optimizer_state_dict")));
        graph.set(root, "optimizer_state_dict", inner);
        graph.set(root, "fp32_flat_groups", graph.list());
        rows = old.find("optimizer_state_dict").find("param_groups");
    } else if (!m_run.folder.isUniversal) {
        rows = old.find("base_optimizer_state").find("param_groups");
    }
    SHARDLENS_ASSIGN(const Value made, maker.tree().import(file, rows));
    graph.set(root, "param_groups", made);
    SHARDLENS_ASSIGN(auto out, std::move(maker).finish(root, m_leftOut));
    m_target.torchFiles.push_back(std::move(out));
    return {};
}

void UniversalWriter::addNotes()
{
    using Kind = TargetNote::Kind;
    std::size_t parameters = 0;
    for (const TrainedGroup& group : m_reshard.groups)
        parameters += group.parameters.size();
    m_target.notes.push_back({Kind::Kept, "Training state",
                              fmt::format("{} with masters and optimizer states, a tensor a file; the optimizer's settings, the model files with scheduler and client state: {} on {} "
                                          "becomes a universal checkpoint.",
                                          plural(parameters, "parameter", "parameters"), titleOf(m_run.stage),
                                          m_parallel == nullptr ? plural(m_run.world, "rank", "ranks")
                                                                : fmt::format("pipeline {} x data {} x tensor {}", m_parallel->pp, m_parallel->dp, m_parallel->tp))});
    if (isRoundRobin(m_run, m_run.stage))
        m_target.notes.push_back({Kind::Warning, "Round robin",
                                  "This run used round_robin_gradients. Values are placed by param_shapes, which is right; resume without round_robin_gradients: with it DeepSpeed "
                                  "(0.19.8) loads a universal checkpoint into wrong places without a word."});
    for (const std::string& name : m_stripped)
        m_target.notes.push_back({Kind::Info, "Vocabulary", fmt::format("{}: rows of padding are left out; loading adds them anew.", printable(name))});
    m_target.notes.push_back({Kind::Info, "Resuming", "Set checkpoint.load_universal in the configuration that you resume with."});
    for (const std::string& name : m_leftOut)
        m_target.leftOut += (m_target.leftOut.empty() ? "" : ", ") + printable(name);
    if (!m_leftOut.empty())
        m_target.notes.push_back({Kind::Dropped, "Unknown objects",
                                  fmt::format("Objects of classes on no list of known ones are left out: {}. --keep-objects writes them as they are.", m_target.leftOut)});
}

Result<Target> UniversalWriter::make(const Checkpoint& source)
{
    SHARDLENS_ASSIGN(const UniversalRules rules, UniversalRules::of(m_run.model.root().find("universal_checkpoint_info")));
    SHARDLENS_TRY(addModels());
    for (const TrainedGroup& group : m_reshard.groups)
        for (const TrainedParameter& parameter : group.parameters)
            SHARDLENS_TRY(addParameter(group, parameter, rules));
    SHARDLENS_TRY(addOptimizer());
    m_target.textFiles.push_back({"latest_universal", m_tag});
    addNotes();
    addResults(m_reshard, source, m_target);
    std::erase_if(m_target.results, [&](const TargetResult& result) { return m_stripped.contains(source.parameterOf(result.tensor)); }); // no longer equal
    return std::move(m_target);
}

} // namespace

Result<Target> layOutUniversal(const CheckpointPtr& source, const TargetOptions& options, JobContext& job)
{
    if (options.select != Select::All)
        return nothingToResume(fmt::format("--select {}: a universal checkpoint exists to be resumed, and takes everything", nameOf(options.select)));
    if (options.dp || options.zeroStage)
        return Error{ErrorCode::Refused, fmt::format("{} means nothing for a universal checkpoint, which is cut when it is loaded", options.dp ? "--dp" : "--zero-stage")};
    SHARDLENS_ASSIGN(auto prepared, readForResuming(source, options, job));
    const Run& run = *prepared->reshard.run;
    if (prepared->parallel && run.stage == Stage::Zero3)
        return Error{ErrorCode::Unsupported, "ZeRO-3 on several model-parallel ranks: its universal form is not written"};
    if (prepared->parallel && run.stage == Stage::None)
        return nothingToResume("the run has no ZeRO, and its optimizer numbers the parameters of each stage");
    if (options.tp || options.pp || options.ep || options.rank)
        return Error{ErrorCode::Refused, "--tp, --pp, --ep and --rank mean nothing for a universal checkpoint, which is cut when it is loaded"};
    if (run.expertRanks)
        return Error{ErrorCode::Unsupported, "a run with experts: a universal checkpoint has no place for experts of DeepSpeed's own mixture of experts"};
    const bool isElastic = run.stage != Stage::Zero3 && run.optimizerState(*run.firstOptimizer()).find("base_optimizer_state").kind() == pickle::Kind::List;
    if (isElastic)
        return Error{ErrorCode::Refused, "the run was saved with elastic_checkpoint, without param_groups, which a universal checkpoint needs: there is nothing to resume from"};
    SHARDLENS_ASSIGN(Target out, UniversalWriter(prepared->reshard, prepared->parallel.get(), job).make(*source));
    out.payload = std::move(prepared->reshard.payload);
    return out;
}

} // namespace shardlens::deepspeed
