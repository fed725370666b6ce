#include "core/format/deepspeed/experts.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/deepspeed/moe_groups.h"
#include "core/format/deepspeed/rank_files.h"
#include "core/format/deepspeed/stacked_experts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace shardlens::deepspeed {
namespace {

constexpr std::string_view kExpertMarker = "deepspeed_moe.experts.deepspeed_experts.";
constexpr std::uint64_t kMaxExperts = 1u << 16; // of all layers together
constexpr std::size_t kMissingExpertsSaid = 32; // more are counted

// What an expert's file holds, or should: the names of a file that is not there are those of another expert of its layer.
struct StoredParameter {
    ExpertParameter parameter;
    TorchTensor tensor;
    bool isThere = false;
};

// Experts of each layer by `num_experts`; one entry where 0.5.x wrote a number (a file then holds its expert of every layer).
struct ExpertCounts {
    std::vector<std::uint32_t> ofLayer;
    bool hasLayers = true;
};

ExpertCounts countsOfNames(const TagFolder& folder)
{
    ExpertCounts out;
    for (const auto& [number, name] : folder.experts) {
        out.hasLayers = number.layer.has_value();
        const std::size_t layer = number.layer.value_or(0);
        if (layer >= kMaxExperts || number.expert >= kMaxExperts)
            continue;
        out.ofLayer.resize(std::max(out.ofLayer.size(), layer + 1), 0);
        out.ofLayer[layer] = std::max(out.ofLayer[layer], number.expert + 1);
    }
    return out;
}

Result<ExpertCounts> expertCounts(const Run& run)
{
    const pickle::Value said = run.model.root().find("num_experts");
    ExpertCounts out;
    if (const auto one = countOf(said)) {
        out.hasLayers = false;
        out.ofLayer.push_back(static_cast<std::uint32_t>(std::min<std::uint64_t>(*one, kMaxExperts + 1)));
    } else if (said.isSequence() && said.size() <= kMaxExperts) {
        for (std::size_t i = 0; i < said.size(); ++i)
            out.ofLayer.push_back(static_cast<std::uint32_t>(std::min<std::uint64_t>(countOf(said.at(i)).value_or(0), kMaxExperts + 1)));
    }
    if (out.ofLayer.empty())
        out = countsOfNames(run.folder);
    std::uint64_t all = 0;
    for (const std::uint32_t count : out.ofLayer)
        all += count;
    if (all > kMaxExperts)
        return Error{ErrorCode::LimitExceeded, fmt::format("num_experts counts more than {} experts", groupedText(kMaxExperts))};
    const bool oldNames = std::any_of(run.folder.experts.begin(), run.folder.experts.end(), [](const auto& row) { return !row.first.layer; });
    const bool newNames = std::any_of(run.folder.experts.begin(), run.folder.experts.end(), [](const auto& row) { return row.first.layer.has_value(); });
    if (out.hasLayers && oldNames && !newNames) { // 0.5.x with a list
        out.hasLayers = false;
        out.ofLayer = {*std::max_element(out.ofLayer.begin(), out.ofLayer.end())};
    }
    return out;
}

std::string fileNameOf(const ExpertNumber& number, std::uint32_t mpRank)
{
    const std::string layer = number.layer ? fmt::format("layer_{}_", *number.layer) : "";
    return fmt::format("{}expert_{}_mp_rank_{:02d}_model_states.pt", layer, number.expert, mpRank);
}

std::string textOf(const ExpertNumber& number)
{
    return number.layer ? fmt::format("Expert {} of layer {}", number.expert, *number.layer) : fmt::format("Expert {}", number.expert);
}

// Local experts and expert-parallel size of every module that param_shapes lists.
Status findModules(Run& run)
{
    const auto see = [&](const std::string& name, std::optional<std::uint32_t> size) -> Status {
        if (const ExpertModule* stacked = stackedModuleOf(run, name); stacked != nullptr && size && stacked->size != *size)
            return Error{ErrorCode::Corrupt, fmt::format("{} lies in a group of expert-parallel size {}, and ds_autoep_layers says {}", printable(name), *size, stacked->size)};
        const auto parameter = expertParameterOf(name);
        if (!parameter)
            return {};
        const auto [at, isNew] = run.expertModules.try_emplace(parameter->module);
        ExpertModule& module = at->second;
        module.localExperts = std::max(module.localExperts, parameter->expert + 1);
        if (size && !isNew && module.size != 0 && module.size != *size)
            return Error{ErrorCode::Corrupt, fmt::format("the experts of {} lie in groups of expert-parallel size {} and {}", printable(parameter->module), module.size, *size)};
        module.size = size.value_or(module.size);
        return {};
    };
    for (std::size_t group = 0; group < run.groups.size(); ++group) {
        SHARDLENS_ASSIGN(const auto size, expertSizeOf(run, group));
        for (const ParameterShape& parameter : run.groups[group])
            SHARDLENS_TRY(see(parameter.name, size));
    }
    const pickle::Value frozen = run.model.root().find("frozen_param_shapes");
    for (std::size_t i = 0; frozen.isMapping() && i < frozen.size(); ++i)
        SHARDLENS_TRY(see(std::string(frozen.keyAt(i).asText().value_or("")), std::nullopt));
    return {};
}

void sayMissingExpert(Run& run, const ExpertNumber& number, FileId file)
{
    run.find(Severity::Error, "missing-file",
             fmt::format("{} has no file {}: it is not in the folder. Copy it here; the weights that its model used lie nowhere else.", textOf(number), fileNameOf(number, run.folder.mpRank)), file);
}

Status openFiles(Run& run, const ExpertCounts& counts)
{
    std::size_t missing = 0;
    for (std::size_t layer = 0; layer < counts.ofLayer.size(); ++layer)
        for (std::uint32_t expert = 0; expert < counts.ofLayer[layer]; ++expert) {
            SHARDLENS_TRY(run.job().poll());
            const ExpertNumber number{counts.hasLayers ? std::optional(static_cast<std::uint32_t>(layer)) : std::nullopt, expert};
            const auto name = run.folder.experts.find(number);
            if (name != run.folder.experts.end()) {
                run.expertFiles.push_back({number, openRankFile(run, name->second, std::nullopt)});
                continue;
            }
            run.expertFiles.push_back({number, missingRankFile(run, fileNameOf(number, run.folder.mpRank), std::nullopt)});
            if (missing++ < kMissingExpertsSaid)
                sayMissingExpert(run, number, run.expertFiles.back().file.id);
        }
    if (missing > kMissingExpertsSaid)
        run.find(Severity::Error, "missing-file", fmt::format("{} more experts have no file of their own.", groupedText(missing - kMissingExpertsSaid)));
    for (const auto& [number, name] : run.folder.experts) {
        const std::size_t layer = number.layer.value_or(0);
        const bool expected = number.layer.has_value() == counts.hasLayers && layer < counts.ofLayer.size() && number.expert < counts.ofLayer[layer];
        if (!expected)
            addLeftover(run, name, std::nullopt, fmt::format("{} is none of this run's experts: num_experts says what there are", textOf(number)));
    }
    return {};
}

// "<prefix>.w1.3" of an AutoEP run's file.
std::optional<ExpertParameter> stackedParameterOf(const Run& run, const std::string& name)
{
    const std::size_t dot = name.rfind('.');
    if (dot == std::string::npos || stackedModuleOf(run, name.substr(0, dot)) == nullptr)
        return std::nullopt;
    const std::size_t before = name.rfind('.', dot - 1);
    ExpertParameter out{name.substr(0, before), 0, name.substr(before + 1, dot - before - 1), true};
    const char* const end = name.data() + name.size();
    const auto [at, problem] = std::from_chars(name.data() + dot + 1, end, out.expert);
    return problem == std::errc{} && at == end ? std::optional(std::move(out)) : std::nullopt;
}

// The tensors of a file that is there. What is under the name of another expert is said and left out.
std::vector<StoredParameter> readExpert(Run& run, const ExpertFile& expert, bool say)
{
    std::vector<StoredParameter> out;
    const pickle::Value root = expert.file.root();
    for (std::size_t i = 0; root.isMapping() && i < root.size(); ++i) {
        if (!TorchFile::isTensor(root.valueAt(i)))
            continue;
        const std::string name(root.keyAt(i).asText().value_or(""));
        auto parameter = expertParameterOf(name);
        if (!parameter)
            parameter = stackedParameterOf(run, name);
        auto tensor = expert.file.torch->tensorOf(root.valueAt(i));
        const char* problem = !parameter ? "which is no parameter of an expert" : parameter->expert != expert.number.expert ? "which belongs to another expert" : nullptr;
        if (problem == nullptr && tensor) {
            out.push_back({std::move(*parameter), tensor.take(), true});
            continue;
        }
        if (say)
            run.find(Severity::Error, "wrong-expert",
                     fmt::format("{} holds {}, {}. It is not read.", printable(run.builder.file(expert.file.id).name), printable(name),
                                 problem != nullptr ? problem : tensor.error().text()),
                     expert.file.id);
    }
    return out;
}

// What expert files hold. Of a missing or unreadable one: what another expert of the layer holds, under this one's number.
class ExpertContents {
public:
    explicit ExpertContents(Run& run) : m_run(run)
    {
        for (const ExpertFile& expert : run.expertFiles)
            if (expert.file.torch)
                m_samples.try_emplace(expert.number.layer, &expert);
    }

    [[nodiscard]] std::vector<StoredParameter> of(const ExpertFile& expert, bool say)
    {
        if (expert.file.torch)
            return readExpert(m_run, expert, say);
        const auto sample = m_samples.find(expert.number.layer);
        std::vector<StoredParameter> out = sample == m_samples.end() ? std::vector<StoredParameter>{} : readExpert(m_run, *sample->second, false);
        for (StoredParameter& one : out) {
            one.parameter.expert = expert.number.expert;
            one.isThere = false;
        }
        return out;
    }

private:
    Run& m_run;
    std::map<std::optional<std::uint32_t>, const ExpertFile*> m_samples; // by layer
};

// Which module a layer's number means, by the names in its files; two modules in one layer are a mixture of saves.
Status nameLayers(Run& run)
{
    for (const ExpertFile& expert : run.expertFiles)
        for (const StoredParameter& one : readExpert(run, expert, false)) {
            ExpertModule& module = run.expertModules[one.parameter.module];
            if (module.layer && expert.number.layer && *module.layer != *expert.number.layer)
                return Error{ErrorCode::Corrupt, fmt::format("the experts of {} lie in files of layer {} and of layer {}", printable(one.parameter.module), *module.layer, *expert.number.layer)};
            module.layer = expert.number.layer;
        }
    return {};
}

// Fills in what param_shapes does not say, and holds it against num_experts.
Status checkModules(Run& run, const ExpertCounts& counts)
{
    const auto written = static_cast<std::uint32_t>(run.moeOptimizers.size());
    for (auto& [name, module] : run.expertModules) {
        const std::size_t layer = module.layer.value_or(0);
        const bool known = (module.layer || !counts.hasLayers) && layer < counts.ofLayer.size();
        const std::uint64_t experts = known ? counts.ofLayer[layer] : std::uint64_t{module.localExperts} * std::max(module.size, 1u);
        if (experts > kMaxExperts)
            return Error{ErrorCode::LimitExceeded, fmt::format("{} has more than {} experts", printable(name), groupedText(kMaxExperts))};
        if (module.size == 0 && module.localExperts != 0)
            module.size = static_cast<std::uint32_t>(experts / module.localExperts);
        if (module.size == 0)
            module.size = written != 0 ? written : 1;
        if (module.localExperts == 0)
            module.localExperts = static_cast<std::uint32_t>(experts / module.size);
        if (module.localExperts == 0 || std::uint64_t{module.localExperts} * module.size != experts)
            return Error{ErrorCode::Corrupt, fmt::format("num_experts says {} for {}, and {} on each of {} are described", plural(experts, "expert", "experts"), printable(name),
                                                         groupedText(module.localExperts), plural(module.size, "expert-parallel rank", "expert-parallel ranks"))};
        if (module.size == 0 || run.world % module.size != 0)
            return Error{ErrorCode::Corrupt, fmt::format("{} cannot be shared by an expert-parallel size of {} ({})", plural(run.world, "rank", "ranks"), module.size, printable(name))};
    }
    return {};
}

// Without ZeRO: E by the names of the optimizer's groups, or by the files that there are. Two sizes in one run cannot be told apart there.
Result<std::uint32_t> sizeWithoutZero(const Run& run)
{
    const pickle::Value optimizer = run.model.root().find("optimizer");
    const pickle::Value inner = optimizer.find("optimizer_state_dict");
    const pickle::Value rows = (inner ? inner : optimizer).find("param_groups");
    std::uint32_t size = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const auto named = namedExpertSize(rows.at(i));
        if (named && size != 0 && *named != size)
            return Error{ErrorCode::Unsupported, fmt::format("experts of expert-parallel size {} and {} in a run without ZeRO: which is whose is stored nowhere", size, *named)};
        size = named.value_or(size);
    }
    if (size == 0 && !run.folder.moeOptimizers.empty())
        size = run.folder.moeOptimizers.rbegin()->first + 1;
    if (size > run.world)
        return Error{ErrorCode::Corrupt, fmt::format("{} cannot be shared by an expert-parallel size of {}", plural(run.world, "rank", "ranks"), groupedText(size))};
    return size;
}

// expp_rank_R_…: the optimizer of the ranks that share experts, where no ZeRO cuts it.
Status openMoeOptimizers(Run& run)
{
    if (run.stage != Stage::None)
        return {};
    SHARDLENS_ASSIGN(const std::uint32_t size, sizeWithoutZero(run));
    for (const auto& [rank, name] : run.folder.moeOptimizers) {
        if (rank < size)
            run.moeOptimizers.emplace(rank, openRankFile(run, name, std::nullopt));
        else
            addLeftover(run, name, std::nullopt, fmt::format("it belongs to expert-parallel rank {}, and this run has {}", rank, size));
    }
    for (std::uint32_t rank = 0; rank < size; ++rank) {
        if (run.moeOptimizers.contains(rank))
            continue;
        const std::string name = fmt::format("expp_rank_{}_mp_rank_{:02d}_optim_states.pt", rank, run.folder.mpRank);
        RankFile file = missingRankFile(run, name, std::nullopt);
        run.find(Severity::Error, "missing-file",
                 fmt::format("Expert-parallel rank {} has no file {}: it is not in the folder. Copy it here; the optimizer states of its experts lie nowhere else.", rank, name), file.id);
        run.moeOptimizers.emplace(rank, std::move(file));
    }
    for (auto& [rank, file] : run.moeOptimizers)
        run.builder.file(file.id).holds = file.torch ? "optimizer of its experts" : "";
    return {};
}

// One tensor of an expert's file on its way into the checkpoint. `pieces` is absent where the file is missing: the tensor is a hole then.
struct ExpertPart {
    const StoredParameter& stored;
    FileId file;
    TorchPieces* pieces;
    RoleId role;
    HolderId holder;

    [[nodiscard]] bool isThere() const { return pieces != nullptr && stored.isThere; }
};

Status addExpert(Run& run, const ExpertPart& part)
{
    const TorchTensor& tensor = part.stored.tensor;
    const TensorId id = run.builder.addTensor({run.builder.parameter(nameOf(part.stored.parameter)), part.role, tensor.dtype, Combine::Replicas, true, tensor.shape});
    return part.isThere() ? part.pieces->addWhole(id, tensor, part.holder) : run.builder.addWhole(id, {run.builder.streamOf(part.file), 0, part.holder, {}});
}

// AutoEP: the expert's own matrix is a part of the tensor that stacks them.
Status addStackedExpert(Run& run, const ExpertPart& part)
{
    const TorchTensor& tensor = part.stored.tensor;
    const ExpertModule& module = run.expertModules.at(part.stored.parameter.module);
    Shape shape{std::uint64_t{module.localExperts} * module.size};
    shape.insert(shape.end(), tensor.shape.begin(), tensor.shape.end());
    const std::uint64_t count = elementCount(tensor.shape).value_or(0);
    const std::uint64_t first = count * part.stored.parameter.expert; // both are bounded: a file's elements, and the number of experts
    SHARDLENS_ASSIGN(const TensorId id, tensorOfParameter(run, {nameOf(part.stored.parameter), std::move(shape), count, first}, part.role, tensor.dtype, Combine::Replicas, true));
    if (!part.isThere())
        return run.builder.addPiece(id, FlatRange{first, first + count}, {run.builder.streamOf(part.file), 0, part.holder, {}});
    if (!tensor.contiguous || tensor.noData)
        return Error{ErrorCode::Unsupported, "an expert's matrix that is no dense tensor in row-major order"};
    return run.builder.addPiece(id, FlatRange{first, first + count}, part.pieces->placementOf(tensor, part.holder));
}

} // namespace

std::optional<ExpertParameter> expertParameterOf(std::string_view name)
{
    const std::size_t at = name.rfind(kExpertMarker);
    if (at == std::string_view::npos || (at != 0 && name[at - 1] != '.'))
        return std::nullopt;
    ExpertParameter out{std::string(name.substr(0, at == 0 ? 0 : at - 1)), 0, {}, false};
    const std::string_view left = name.substr(at + kExpertMarker.size());
    const auto [end, problem] = std::from_chars(left.data(), left.data() + left.size(), out.expert);
    const std::size_t digits = static_cast<std::size_t>(end - left.data());
    if (problem != std::errc{} || digits + 1 >= left.size() || left[digits] != '.' || out.expert > kMaxExperts)
        return std::nullopt;
    out.rest = left.substr(digits + 1);
    return out;
}

std::string nameOf(const ExpertParameter& parameter)
{
    if (parameter.stacked)
        return fmt::format("{}.{}", parameter.module, parameter.rest);
    return fmt::format("{}{}{}{}.{}", parameter.module, parameter.module.empty() ? "" : ".", kExpertMarker, parameter.expert, parameter.rest);
}

Status openExperts(Run& run)
{
    SHARDLENS_TRY(findStackedExperts(run));
    SHARDLENS_ASSIGN(const ExpertCounts counts, expertCounts(run));
    if (counts.ofLayer.empty() && run.folder.moeOptimizers.empty() && run.expertModules.empty())
        return {};
    if (run.stage == Stage::Zero3 && run.expertModules.empty())
        return Error{ErrorCode::Unsupported, "a mixture-of-experts run of ZeRO-3 without ds_autoep_layers, which no version of DeepSpeed that is known here writes"};
    if (run.stage != Stage::Zero3) { // which keeps experts in the rank files
        SHARDLENS_TRY(findModules(run));
        SHARDLENS_TRY(openFiles(run, counts));
        SHARDLENS_TRY(openMoeOptimizers(run));
        SHARDLENS_TRY(nameLayers(run));
    }
    SHARDLENS_TRY(checkModules(run, counts));
    std::uint32_t size = 1;
    for (const auto& [name, module] : run.expertModules)
        size = std::max(size, module.size);
    const bool dataFirst = configOf(run, {"use_data_before_expert_parallelism"}).asBool().value_or(false);
    run.expertRanks.emplace(run.world, size, dataFirst);
    for (ExpertFile& expert : run.expertFiles)
        run.builder.file(expert.file.id).holds = expert.file.torch ? "one expert" : "";
    const auto [fewest, most] = std::minmax_element(counts.ofLayer.begin(), counts.ofLayer.end());
    const std::string range = counts.ofLayer.empty() ? "" : *fewest == *most ? groupedText(*most) : fmt::format("{} to {}", groupedText(*fewest), groupedText(*most));
    run.builder.addFact("experts", fmt::format("{} in each of {}, expert parallel {}", range, plural(run.expertModules.size(), "layer", "layers"), size));
    return {};
}

std::vector<std::string> globalNames(const Run& run, const std::string& localName)
{
    const auto parameter = expertParameterOf(localName);
    const auto module = parameter ? run.expertModules.find(parameter->module) : run.expertModules.end();
    if (module == run.expertModules.end())
        return {localName};
    std::vector<std::string> out;
    for (std::uint32_t rank = 0; rank < module->second.size; ++rank)
        out.push_back(nameOf({parameter->module, rank * module->second.localExperts + parameter->expert, parameter->rest, false}));
    return out;
}

void globalizeExpertNames(const Run& run, ModuleNames& names)
{
    if (run.expertModules.empty())
        return;
    for (auto* set : {&names.buffers, &names.trainable, &names.withMaster}) {
        std::set<std::string, std::less<>> made;
        for (const std::string& name : *set)
            for (std::string& global : globalNames(run, name))
                made.insert(std::move(global));
        *set = std::move(made);
    }
}

std::vector<ExpertTensor> tensorsOfExpertRank(Run& run, std::uint32_t expertRank)
{
    std::vector<std::pair<std::size_t, ExpertTensor>> found;
    std::map<std::string, std::size_t, std::less<>> order; // of modules as they come
    for (const ExpertFile& expert : run.expertFiles)
        for (StoredParameter& one : readExpert(run, expert, false)) {
            const std::size_t place = order.try_emplace(one.parameter.module, order.size()).first->second;
            if (one.parameter.expert / run.expertModules.at(one.parameter.module).localExperts == expertRank)
                found.push_back({place, {nameOf(one.parameter), &expert.file, std::move(one.tensor)}});
        }
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<ExpertTensor> out;
    for (auto& [place, tensor] : found)
        out.push_back(std::move(tensor));
    return out;
}

void registerExperts(Run& run, const std::string& module)
{
    const auto found = run.expertModules.find(module);
    if (found == run.expertModules.end())
        return;
    ExpertContents contents(run);
    for (const ExpertFile& expert : run.expertFiles) {
        if (expert.number.layer && found->second.layer != expert.number.layer)
            continue;
        for (const StoredParameter& one : contents.of(expert, false))
            if (one.parameter.module == module)
                run.builder.parameter(nameOf(one.parameter));
    }
}

Status addExperts(Run& run, const ModuleNames& names)
{
    ExpertContents contents(run);
    for (const ExpertFile& expert : run.expertFiles) {
        std::optional<TorchPieces> pieces;
        if (expert.file.torch)
            pieces.emplace(run.builder, expert.file.id, *expert.file.torch);
        for (const StoredParameter& one : contents.of(expert, true)) {
            const std::string name = nameOf(one.parameter);
            const ExpertModule& module = run.expertModules.at(one.parameter.module);
            const HolderId holder = run.expertRank(one.parameter.expert / module.localExperts, module.size);
            const Role role = moduleRoleOf(run, names, name);
            const RoleId roleId = run.builder.role(role.kind, role.name);
            const ExpertPart part{one, expert.file.id, pieces ? &*pieces : nullptr, roleId, holder};
            Status added = one.parameter.stacked ? addStackedExpert(run, part) : addExpert(run, part);
            if (!added)
                return added.takeError().within(printable(name)).within(printable(run.builder.file(expert.file.id).name));
        }
    }
    return {};
}

} // namespace shardlens::deepspeed
