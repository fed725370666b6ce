#include "core/format/torch_dist/torch_dist_format.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/tensor_reader.h"
#include "core/format/torch_dist/container_writer.h"
#include "core/format/torch_dist/iteration.h"
#include "core/format/torch_dist/target_common.h"
#include "core/format/torch_dist/target_extras.h"
#include "core/layout/selection.h"
#include "core/numeric/cast.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_set>

namespace shardlens::torch_dist {
namespace {

using NoteKind = TargetNote::Kind;

constexpr std::uint32_t kMostWriters = 4096;
constexpr std::string_view kStepState = "step";
constexpr const char* kBackendText =
    R"({"sharded_backend": "torch_dist", "sharded_backend_version": 1, "common_backend": "torch", "common_backend_version": 1})";

Status compilePatterns(const std::vector<std::string>& patterns, std::vector<Regex>& into)
{
    for (const std::string& pattern : patterns) {
        SHARDLENS_ASSIGN(Regex compiled, Regex::compile(pattern));
        into.push_back(std::move(compiled));
    }
    return {};
}

Status checkTargetOptions(const TargetOptions& options)
{
    const char* const sized = options.tp ? "--tp" : options.pp ? "--pp" : options.ep ? "--ep" : nullptr;
    if (sized != nullptr)
        return Error{ErrorCode::Refused, fmt::format("{} means nothing for torch-dist: it holds whole tensors, and a run of any size takes its part of them on loading", sized)};
    if (options.rank)
        return Error{ErrorCode::Refused, "--rank means nothing for torch-dist: its files are of writers, and belong to no rank of a run; --dp says how many there are"};
    if (options.zeroStage)
        return Error{ErrorCode::Refused, "--zero-stage means nothing for torch-dist"};
    if (options.dp.value_or(1) == 0 || options.dp.value_or(1) > kMostWriters)
        return Error{ErrorCode::Refused, fmt::format("--dp {}: 1 to {} writers", *options.dp, kMostWriters)};
    return {};
}

// Whether Megatron itself would stack the layers of such a model: as its arguments say, where they are known (formats/megatron.md §6.4).
bool argumentsAllowStacks(pickle::Value args)
{
    const auto said = [&](const char* name) { return args.attribute(name) ? args.attribute(name) : args.find(name); };
    for (const char* name : {"moe_layer_freq", "linear_attention_freq"})
        if (const pickle::Value frequency = said(name); frequency.isSequence() || frequency.asText() || frequency.asInt().value_or(1) > 1)
            return false;
    for (const char* name : {"hybrid_layer_pattern", "hybrid_override_pattern", "heterogeneous_layers_config_path", "heterogeneous_layers_config_encoded_json"})
        if (said(name) && !said(name).isNone())
            return false;
    return !said("hetereogenous_dist_checkpoint").asBool().value_or(false) && !said("is_hybrid_model").asBool().value_or(false);
}

// What is written, and what of the source is not.
class TargetSelection {
public:
    TargetSelection(const CheckpointPtr& source, const TargetSource& read, const TargetOptions& options) : m_source(source), m_read(read), m_options(options) {}

    Status collect(JobContext& job)
    {
        SelectionOptions selection{m_options.select, {}, {}};
        SHARDLENS_TRY(compilePatterns(m_options.include, selection.include));
        SHARDLENS_TRY(compilePatterns(m_options.exclude, selection.exclude));
        for (const std::size_t lost : selectLost(*m_source, selection)) {
            if (m_source->lostTensors()[lost].role != RoleKind::OptimizerState)
                return Error{ErrorCode::Refused, m_source->lostTensors()[lost].problem};
            ++m_lost;
        }
        const std::vector<SelectedTensor> selected = selectTensors(*m_source, selection);
        for (const SelectedTensor& one : selected)
            if (m_source->roleOf(one.tensor).kind == RoleKind::Module)
                m_withModule.insert(m_source->tensor(one.tensor).parameter);
        for (const SelectedTensor& one : selected) {
            SHARDLENS_TRY(job.poll());
            if (!one.isAlias) // a tied head is stored as the embedding alone
                SHARDLENS_TRY(add(one.tensor));
        }
        if (tensors.empty())
            return Error{ErrorCode::Refused, "nothing is selected; `shardlens list` shows what is there"};
        SHARDLENS_TRY(checkNames());
        fuseNorms();
        return settleStep();
    }

    void addResults(Target& out) const
    {
        for (std::size_t i = 0; i < tensors.size(); ++i)
            out.results.push_back({tensors[i].name.name() + m_suffixes[i], tensors[i].tensor, tensors[i].dtype});
        for (const TensorId id : m_steps)
            out.results.push_back({nameOfParameter(id) + "/" + std::string(kStepState), id, m_source->tensor(id).dtype});
    }

    void addNotes(Target& out) const
    {
        if (m_fused > 0)
            out.notes.push_back({NoteKind::Info, "Names", fmt::format("{} norms get the names of the fused modules, as this format has them for every implementation: self_attention.linear_qkv.layer_norm_weight for "
                                                                  "input_layernorm.weight, and so on.",
                                                                  groupedText(m_fused))});
        if (m_others > 0)
            out.notes.push_back({NoteKind::Dropped, "Other tensors", fmt::format("{} of neither model nor optimizer.", plural(m_others, "tensor", "tensors"))});
        if (m_lost > 0)
            out.notes.push_back({NoteKind::Dropped, "Optimizer", fmt::format("{} cannot be read; `shardlens verify` says why.", plural(m_lost, "state", "states"))});
        if (m_stepsDiffer)
            out.notes.push_back({NoteKind::Dropped, "Steps", "The parameters' steps differ, and the format has one for all of them: none is written."});
    }

    [[nodiscard]] bool hasStates() const { return m_hasStates; }
    [[nodiscard]] bool hasModel() const { return m_hasModel; }

    std::vector<TargetTensor> tensors;
    std::optional<TargetStep> step;

private:
    Result<DType> writtenDType(TensorId id) const
    {
        const Tensor& tensor = m_source->tensor(id);
        const bool isCast = m_options.dtype && isFloat(tensor.dtype) && *m_options.dtype != tensor.dtype;
        const DType dtype = isCast ? *m_options.dtype : tensor.dtype;
        const std::string name = printable(m_source->fullName(id));
        if (isCast && !canCast(tensor.dtype, dtype))
            return Error{ErrorCode::Refused, fmt::format("{} is {} and cannot be cast to {}; leave it out with --exclude, or leave --dtype out", name, nameOf(tensor.dtype), nameOf(dtype))};
        if (tensor.sparsePart)
            return Error{ErrorCode::Refused, fmt::format("{} is a part of a sparse tensor, which torch-dist cannot hold; leave it out with --exclude", name)};
        if (info(dtype).torchName.empty() || info(dtype).kind == DTypeKind::Quantized || info(dtype).valuesPerBlock != 1)
            return Error{ErrorCode::Refused, fmt::format("{} is {}, which torch-dist cannot hold; leave it out with --exclude", name, nameOf(dtype))};
        return dtype;
    }

    Status add(TensorId id)
    {
        const Role& role = m_source->roleOf(id);
        const std::string& parameter = m_source->parameterOf(id);
        if (role.kind == RoleKind::OptimizerState && role.name == kStepState && m_source->tensor(id).shape.empty()) {
            m_steps.push_back(id);
            m_hasStates = true;
            return {};
        }
        if (role.kind == RoleKind::Other && m_read.kind != TargetSource::Kind::TorchDist) {
            ++m_others;
            return {};
        }
        SHARDLENS_ASSIGN(const DType dtype, writtenDType(id));
        TargetTensor out{id, dtype, {}, {}};
        if (role.kind == RoleKind::Other) // the name is the key
            out.name.tail = parameter;
        else
            out.name = targetNameOf(parameter);
        const bool isMaster = role.kind == RoleKind::Weight && m_withModule.contains(m_source->tensor(id).parameter);
        if (role.kind == RoleKind::OptimizerState || isMaster)
            out.prefix = fmt::format("optimizer.state.{}.", isMaster ? m_read.masterState : role.name);
        m_hasStates = m_hasStates || !out.prefix.empty();
        m_hasModel = m_hasModel || (out.prefix.empty() && role.kind != RoleKind::Other);
        m_suffixes.push_back(role.kind == RoleKind::OptimizerState ? "/" + role.name : role.kind == RoleKind::Module && m_options.select == Select::All ? "/module" : "");
        tensors.push_back(std::move(out));
        return {};
    }

    Status checkNames() const
    {
        std::vector<std::string> names;
        for (const TargetTensor& tensor : tensors) {
            names.push_back(tensor.name.name());
            if (!isUtf8(names.back()))
                return Error{ErrorCode::Refused, fmt::format("the name {} is no UTF-8; leave it out with --exclude", printable(names.back()))};
        }
        if (m_read.kind == TargetSource::Kind::TorchDist || areMegatronNames(names))
            return {};
        return Error{ErrorCode::Refused, fmt::format("torch-dist holds models under the names of megatron-core (decoder.layers.0.self_attention.linear_qkv.weight), and this one has others ({}). Convert it to Megatron's "
                                                     "names first, with the training framework's tools; this version does not rename tensors between model families",
                                                     printable(names.empty() ? std::string() : names.front()))};
    }

    void fuseNorms()
    {
        if (m_read.kind == TargetSource::Kind::TorchDist)
            return;
        std::unordered_set<std::string> names;
        for (const TargetTensor& tensor : tensors)
            names.insert(tensor.name.name());
        for (const std::string& parameter : m_source->parameters()) // what is left out decides too
            names.insert(targetNameOf(parameter).name());
        for (TargetTensor& tensor : tensors) {
            TargetName& name = tensor.name;
            if (!name.layer)
                continue;
            const std::string before = name.layers + std::to_string(*name.layer) + ".";
            std::string tail = fusedNormTail(name.tail, [&](const std::string& other) { return names.contains(before + other); });
            if (tail == name.tail)
                continue;
            m_renamed.emplace(name.name(), before + tail);
            m_fused += tensor.prefix.empty() ? 1 : 0;
            name.tail = std::move(tail);
        }
    }

    // A source's step of every parameter: one number where all are equal, to the byte.
    Status settleStep()
    {
        if (m_steps.empty() || m_read.kind == TargetSource::Kind::TorchDist) // which keeps its common state
            return {};
        const StreamSet streams(m_source);
        std::vector<std::byte> first;
        for (const TensorId id : m_steps) {
            SHARDLENS_ASSIGN(const TensorReader reader, TensorReader::open(streams, id));
            std::vector<std::byte> bytes(reader.sizeBytes());
            SHARDLENS_TRY(reader.readAt(0, bytes));
            if (first.empty())
                first = bytes;
            m_stepsDiffer = m_stepsDiffer || bytes != first || m_source->tensor(id).dtype != m_source->tensor(m_steps.front()).dtype;
        }
        if (m_stepsDiffer) {
            m_steps.clear();
            return {};
        }
        const TensorId id = m_steps.front();
        const DType dtype = m_source->tensor(id).dtype;
        if (dtype == DType::I64)
            step = loadLe<std::int64_t>(first.data());
        else if (dtype == DType::F64)
            step = std::bit_cast<double>(loadLe<std::uint64_t>(first.data()));
        else
            step = id;
        return {};
    }

    std::string nameOfParameter(TensorId id) const
    {
        std::string name = targetNameOf(m_source->parameterOf(id)).name();
        const auto renamed = m_renamed.find(name);
        return renamed == m_renamed.end() ? name : renamed->second;
    }

    const CheckpointPtr& m_source;
    const TargetSource& m_read;
    const TargetOptions& m_options;
    std::set<ParameterId> m_withModule;
    std::vector<std::string> m_suffixes; // of the names of results, by tensor
    std::vector<TensorId> m_steps;
    std::map<std::string, std::string> m_renamed;
    std::uint64_t m_fused = 0;
    std::uint64_t m_others = 0;
    std::uint64_t m_lost = 0;
    bool m_hasStates = false;
    bool m_hasModel = false;
    bool m_stepsDiffer = false;
};

// Objects of the source as they are, or, where it had none in this form, an empty one for every module that asks for one.
Status addObjects(const TargetSource& read, const TargetSelection& selection, const std::vector<TargetKey>& keys, TargetCommon& common, ContainerWriter& writer, Target& out)
{
    const bool keepsForm = read.kind == TargetSource::Kind::TorchDist && !read.isSingleton;
    std::size_t kept = 0;
    for (const SourceObject& object : read.objects) {
        const bool isExtra = object.key.key.ends_with(kExtraState);
        const bool isWanted = TargetCommon::isOfOptimizer(object) ? selection.hasStates() && !common.isInCommon(object) : !isExtra || (keepsForm && selection.hasModel());
        if (!isWanted)
            continue;
        SHARDLENS_ASSIGN(TargetDcpItem item, common.object(object));
        writer.addObject(object.text, std::move(item));
        ++kept;
    }
    if (kept > 0)
        out.notes.push_back({NoteKind::Kept, "Objects", fmt::format("{} of the container.", plural(kept, "object", "objects"))});
    if (keepsForm || !selection.hasModel())
        return {};
    std::size_t made = 0;
    for (std::string& key : extraKeys(read.extras, selection.tensors, keys)) {
        SHARDLENS_ASSIGN(TargetDcpItem item, common.nothing());
        writer.addObject(std::move(key), std::move(item));
        ++made;
    }
    if (made > 0)
        out.notes.push_back({read.keepsExtras ? NoteKind::Dropped : NoteKind::Info, "Extra states",
                             read.keepsExtras ? fmt::format("{} of modules hold something (scaling factors of float8, say): empty ones are written, and the run begins them anew.", plural(made, "_extra_state", "_extra_states"))
                                              : fmt::format("{} without content, which modules ask for on loading.", plural(made, "_extra_state", "_extra_states"))});
    return {};
}

void addSourceNotes(const TargetSource& read, const TargetSelection& selection, const std::vector<TargetKey>& keys, const TargetCommon& common, Target& out)
{
    std::size_t stacks = 0;
    for (const TargetKey& key : keys)
        stacks += key.stacksLayers ? 1 : 0;
    out.notes.push_back({NoteKind::Kept, "Tensors", fmt::format("{} become {}{}; the files depend on no size of a run.", plural(selection.tensors.size(), "tensor", "tensors"), plural(keys.size(), "key", "keys"),
                                                            stacks > 0 ? fmt::format(", {} of them stacks of layers", stacks) : ", layers by number")});
    if (read.becomesReshardable() && selection.hasStates())
        out.notes.push_back({NoteKind::Info, "Optimizer", "States get their parameters' shapes and the names of the type fully_reshardable, which megatron-core reads since 0.15."});
    if (read.kind == TargetSource::Kind::Names && selection.hasStates())
        out.notes.push_back({NoteKind::Warning, "Optimizer", "The states are written, and the source has no parameter groups of Megatron's to go with them: Megatron needs --no-load-optim, or groups put into common.pt."});
    if (read.kind == TargetSource::Kind::Names || !read.file)
        out.notes.push_back({NoteKind::Warning, "Arguments", "The source has no arguments of a run: common.pt has none, and Megatron takes those of its command line."});
    if (!selection.hasStates())
        out.notes.push_back({NoteKind::Info, "Optimizer", "No states are written: start with --no-load-optim."});
    for (const std::string& key : common.dropped())
        out.notes.push_back({NoteKind::Dropped, "Random states", fmt::format("{} of the ranks: start with --no-load-rng.", key)});
    for (const std::string& name : common.leftOut())
        out.leftOut += (out.leftOut.empty() ? "" : ", ") + printable(name);
    if (!out.leftOut.empty())
        out.notes.push_back({NoteKind::Dropped, "Unknown objects", fmt::format("Objects of classes on no list of known ones are left out: {}. --keep-objects writes them as they are.", out.leftOut)});
    selection.addNotes(out);
}

} // namespace

Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job)
{
    SHARDLENS_TRY(checkTargetOptions(options));
    SHARDLENS_ASSIGN(const TargetSource read, readTargetSource(*source, job));
    TargetSelection selection(source, read, options);
    SHARDLENS_TRY(selection.collect(job));
    const bool allowed = argumentsAllowStacks(read.root.find("args")) && std::none_of(selection.tensors.begin(), selection.tensors.end(), [](const TargetTensor& tensor) { return tensor.name.tail.starts_with("mixer."); });
    const MayStack mayStack = [&](const std::string& layers) {
        const auto had = read.isSingleton ? read.stacks.end() : read.stacks.find(layers);
        return had == read.stacks.end() ? allowed : had->second;
    };
    SHARDLENS_ASSIGN(const std::vector<TargetKey> keys, stackTensors(*source, selection.tensors, read.facts, mayStack));
    Target out;
    CheckpointBuilder payload(*source);
    const std::string iteration = targetIteration(*source, read);
    ContainerWriter writer(options.dp.value_or(1), iteration);
    TargetCommon common(read, payload, options.keepObjects, selection.hasStates());
    SHARDLENS_TRY(addObjects(read, selection, keys, common, writer, out));
    for (const TargetKey& key : keys) {
        SHARDLENS_TRY(job.poll());
        SHARDLENS_TRY(writer.addTensor(key));
    }
    SHARDLENS_ASSIGN(TargetTorchFile commonFile, common.commonFile(iteration + "/" + kCommonFile, selection.step));
    out.torchFiles.push_back(std::move(commonFile));
    SHARDLENS_TRY(std::move(writer).finish(out));
    out.textFiles.push_back({iteration + "/" + kBackendFile, kBackendText});
    out.textFiles.push_back({kTrackerFile, trackerText(iteration)});
    selection.addResults(out);
    addSourceNotes(read, selection, keys, common, out);
    out.payload = std::move(payload).finish();
    return out;
}

} // namespace shardlens::torch_dist
