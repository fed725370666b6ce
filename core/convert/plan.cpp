#include "core/convert/plan.h"

#include "core/base/text.h"
#include "core/convert/plan_checks.h"
#include "core/convert/plan_computed.h"
#include "core/convert/plan_files.h"
#include "core/convert/plan_layout.h"
#include "core/convert/plan_lines.h"
#include "core/convert/plan_memory.h"
#include "core/convert/plan_quantize.h"
#include "core/convert/plan_shards.h"
#include "core/convert/plan_stored.h"
#include "core/convert/plan_tensors.h"
#include "core/encoding/replica_compare.h"
#include "core/format/format.h"
#include "core/format/tree_items.h"
#include "core/io/rename_new.h"
#include "core/io/staged_output.h"
#include "core/job/executor.h"
#include "core/numeric/quant_scheme.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>
#include <sys/stat.h>

namespace shardlens {
namespace {

constexpr std::size_t kTensorsSampled = 32;
constexpr std::uint64_t kSampledTensorBytes = 1u << 20;

struct Naming {
    const char* stem;
    const char* extension;
};

Naming namingOf(OutputKind kind)
{
    switch (kind) {
    case OutputKind::Safetensors: return {"model", ".safetensors"};
    case OutputKind::Torch: return {"pytorch_model", ".bin"};
    case OutputKind::Dcp:
    case OutputKind::Layout: break; // name their files themselves
    }
    return {"", ""};
}

ConvertRequest filledIn(const ConvertRequest& request, const OutputChoice& choice)
{
    ConvertRequest out = request;
    out.to = choice.formatId;
    out.select = choice.select;
    if (out.threads == 0)
        out.threads = static_cast<std::uint32_t>(availableThreads());
    if (!choice.isFile && choice.kind != OutputKind::Layout && choice.kind != OutputKind::Dcp && !out.maxShardBytes)
        out.maxShardBytes = kDefaultShardBytes;
    if (choice.kind == OutputKind::Dcp && !out.dp)
        out.dp = 1;
    if (const QuantScheme* const scheme = out.quantize.scheme ? quantSchemeByName(*out.quantize.scheme) : nullptr)
        out.quantize.scheme = scheme->name; // as the table writes it
    for (std::string& text : out.quantize.tensorTypes)
        if (const std::size_t at = text.rfind('='); at != std::string::npos)
            if (const QuantScheme* const scheme = quantSchemeByName(std::string_view(text).substr(at + 1)))
                text.replace(at + 1, std::string::npos, scheme->name);
    return out;
}

PlannedFile textFile(std::string name, const std::string& text)
{
    const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
    PlannedFile out;
    out.name = std::move(name);
    out.sizeBytes = text.size();
    out.literals.push_back({0, {bytes, bytes + text.size()}});
    return out;
}

Status addFiles(const OutputTensors& selected, const OutputChoice& choice, Plan& plan, JobContext& job)
{
    const bool tiedTogether = choice.kind == OutputKind::Torch;
    const Naming naming = namingOf(choice.kind);
    const std::uint64_t maxBytes = choice.isFile ? std::numeric_limits<std::uint64_t>::max() : *plan.request.maxShardBytes;
    const std::vector<Shard> shards = splitIntoShards(selected.tensors, maxBytes, tiedTogether);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < shards.size(); ++i) {
        SHARDLENS_TRY(job.poll());
        names.push_back(choice.isFile ? TargetPath(plan.request.target).name : shardName(naming.stem, naming.extension, i, shards.size()));
        auto file = choice.kind == OutputKind::Safetensors ? planSafetensorsFile(*plan.source, selected.tensors, shards[i])
                                                           : planTorchFile(*plan.source, selected.tensors, shards[i], names.back());
        if (!file)
            return file.takeError().within(printable(names.back()));
        file->name = names.back();
        plan.files.push_back(file.take());
    }
    if (shards.size() > 1)
        plan.files.push_back(textFile(fmt::format("{}{}.index.json", naming.stem, naming.extension), indexText(selected.tensors, shards, names, tiedTogether)));
    return {};
}

void addReplaced(Plan& plan)
{
    struct stat facts {};
    const std::string target = TargetPath(plan.request.target).path;
    if (::lstat(target.c_str(), &facts) == 0 && !isEmptyFolder(target)) // of that not a thing is deleted
        plan.lines.push_back({PlanLine::Kind::Warning, "Target", fmt::format("{} exists; the result takes its place and what is there now is deleted.",
                                                                             printable(plan.request.target))});
}

// A tree is one file, and is kept as it is.
Status checkTreeRequest(const OutputChoice& choice, const ConvertRequest& request)
{
    if (!choice.isFile && choice.kind == OutputKind::Torch)
        return Error{ErrorCode::Refused, "--select all to torch keeps the source's tree, which is one file: end the target's name in .pt, or choose weights, module or optimizer"};
    if (request.dtype || !request.include.empty() || !request.exclude.empty())
        return Error{ErrorCode::Refused, fmt::format("{} cannot be used with --select all to {}, which keeps the source's tree as it is; choose weights, module or optimizer",
                                                     request.dtype ? "--dtype" : "--include and --exclude", choice.formatId)};
    return {};
}

std::optional<SdloaderInt8> sdloaderInt8(const ConvertRequest& request)
{
    if (request.quantize.scheme != kSdloaderInt8)
        return std::nullopt;
    return SdloaderInt8{request.quantize.groups.value_or(kDefaultQuantGroups), static_cast<std::uint8_t>(request.quantize.bits.value_or(8)), request.quantize.mlpExtraGrouping};
}

// The files of a layout, or of a kept tree, that a format has put together. Nothing where the source has no tree.
Result<bool> planByFormat(const OutputChoice& choice, Plan& plan, JobContext& job)
{
    const ConvertRequest& asked = plan.request;
    const TargetOptions options{asked.open, choice.select, asked.dp, asked.tp, asked.pp, asked.ep, asked.rank, asked.zeroStage, asked.keepObjects,
                                asked.strategy, asked.prefix, asked.outputFormat, choice.isFile ? TargetPath(asked.target).name : std::string(),
                                asked.include, asked.exclude, asked.dtype, asked.maxShardBytes, sdloaderInt8(asked)};
    if (choice.kind == OutputKind::Layout) {
        SHARDLENS_ASSIGN(Target target, formatById(choice.formatId)->layOut(plan.source, options, job));
        SHARDLENS_TRY(planTarget(std::move(target), plan, job));
        addOtherFiles(*plan.source, plan.files, plan.lines);
        return true;
    }
    const Format* own = formatById(plan.source->formatId());
    const bool isTree = choice.kind == OutputKind::Torch || choice.kind == OutputKind::Dcp;
    if (!isTree || choice.select != Select::All || own == nullptr || own->keepTree == nullptr)
        return false;
    SHARDLENS_ASSIGN(auto tree, own->keepTree(plan.source, options, job));
    if (!tree)
        return false;
    if (choice.kind == OutputKind::Dcp) {
        SHARDLENS_ASSIGN(tree, treeAsItems(std::move(*tree), plan.request.dp.value_or(1), job));
    } else {
        tree->torchFiles.front().name = TargetPath(plan.request.target).name;
    }
    SHARDLENS_TRY(planTarget(std::move(*tree), plan, job)); // what the source lacks is said before what the request should be
    SHARDLENS_TRY(checkTreeRequest(choice, plan.request));
    return true;
}

Status planByNames(const OutputChoice& choice, Plan& plan, JobContext& job)
{
    SHARDLENS_ASSIGN(const OutputTensors selected, planTensors(plan.source, plan.request, job));
    SHARDLENS_ASSIGN(const SelectionOptions options, selectionOf(plan.request));
    SHARDLENS_TRY(checkFindings(*plan.source, selected, options));
    SHARDLENS_TRY(checkDTypes(*plan.source, selected, choice.kind));
    const DcpKeys keys(*plan.source, selected.tensors, choice.select);
    const bool losesBranch = choice.kind == OutputKind::Dcp && plan.source->formatId() == choice.formatId && choice.select != Select::All;
    for (const OutputTensor& tensor : selected.tensors)
        plan.results.push_back({choice.kind == OutputKind::Dcp ? keys.nameOf(tensor) : tensor.name, tensor.source, tensor.dtype});
    plan.lines = planLines(*plan.source, plan.request, selected, choice.kind);
    if (losesBranch)
        plan.lines.push_back({PlanLine::Kind::Info, "Keys", "Tensors stand under the names that `shardlens list` gives, without the branch (`model.`) that the source may keep them in; --select all keeps every key, and the optimizer."});
    if (choice.kind == OutputKind::Dcp) {
        SHARDLENS_ASSIGN(plan.files, planDcpFiles(*plan.source, selected.tensors, keys, *plan.request.dp));
    } else {
        SHARDLENS_TRY(addFiles(selected, choice, plan, job));
    }
    for (const OutputTensor& tensor : selected.tensors)
        plan.bytesToRead += choice.kind == OutputKind::Torch && tensor.isAlias ? 0 : tensor.readBytes;
    plan.bytesToRead += selected.reads.computedBytes();
    selected.reads.finish(plan);
    return {};
}

const char* adviceAbout(const Checkpoint& source, TensorId tensor)
{
    if (source.modelFacts().contains("mindspore-strategy"))
        return " No strategy says how it is divided: one model has the lowest rank's, ranks have those of a source rank each.";
    if (source.formatId() == "colossalai" && source.roleOf(tensor).kind == RoleKind::Buffer)
        return " No metadata places it; that of the lowest dist id is written.";
    if (source.formatId() == "colossalai")
        return " The metadata places both there; that of the lowest dist id is written.";
    return " No rule says how it is divided; the first is written. --rules names a file with a rule.";
}

void addQuantized(QuantizePlan quantized, Plan& plan)
{
    plan.lines.insert(plan.lines.begin(), quantized.lines.begin(), quantized.lines.end());
    plan.lossy = std::move(quantized.lossy);
    plan.engine = std::move(quantized.engine);
    if (!plan.engine && plan.request.device != "cpu" && plan.request.device != "auto")
        plan.lines.push_back({PlanLine::Kind::Info, "Device", fmt::format("Nothing is computed on {}: weights are quantized there, and this conversion quantizes none.", printable(plan.request.device))});
    std::set<TensorId> cast; // a tensor counts once, whatever names it has
    for (const PlannedResult& result : plan.results)
        if (losesValues(plan.source->tensor(result.source).dtype, result.dtype) && cast.insert(result.source).second)
            plan.lossy.push_back({result.name, plan.source, result.source, result.dtype, nullptr});
    if (!quantized.config.empty())
        plan.files.push_back(textFile("config.json", quantized.config));
    const auto others = std::find_if(plan.lines.begin(), plan.lines.end(), [](const PlanLine& line) { return line.topic == "Other files"; });
    if (quantized.config.empty() || others == plan.lines.end())
        return;
    plan.lines.erase(others); // config.json is written: the rest is said anew
    addOtherFiles(*plan.source, plan.files, plan.lines);
}

// Tensors that nothing but the checkpoint itself, or no rule, says to be copies: they are compared, for they may be parts, or of two saves.
Status compareUnproven(Plan& plan, JobContext& job)
{
    const StreamSet streams(plan.source);
    for (const PlannedResult& result : plan.results) {
        if (!plan.source->tensor(result.source).unprovenCopies)
            continue;
        SHARDLENS_ASSIGN(const auto difference, replicaDifference(streams, result.source, job));
        if (!difference)
            continue;
        std::string text = differenceText(*plan.source, result.source, *difference);
        if (plan.source->tensor(result.source).combine == Combine::Exclusive) // parts that overlap, and no copies
            return Error{ErrorCode::Refused, fmt::format("{}: which of the overlapping parts counts is not known", text.substr(0, text.size() - 1))};
        plan.lines.push_back({PlanLine::Kind::Warning, "Copies differ", std::move(text) + adviceAbout(*plan.source, result.source)});
    }
    return {};
}

// A strategy is said from outside, and one of another run of the same size fits as well: copies of some small tensors are compared, with --verify of all.
Status compareByStrategy(Plan& plan, JobContext& job)
{
    if (!plan.source->modelFacts().contains("mindspore-strategy"))
        return {};
    const StreamSet streams(plan.source);
    std::size_t compared = 0;
    for (const PlannedResult& result : plan.results) {
        const Tensor& tensor = plan.source->tensor(result.source);
        const bool isSample = plan.source->bytesOf(result.source) <= kSampledTensorBytes && compared < kTensorsSampled;
        if (tensor.unprovenCopies || tensor.combine != Combine::Replicas || !(plan.request.verify || isSample))
            continue;
        SHARDLENS_TRY(job.poll());
        ++compared;
        SHARDLENS_ASSIGN(const auto difference, replicaDifference(streams, result.source, job));
        if (!difference)
            continue;
        plan.lines.push_back({PlanLine::Kind::Warning, "Copies differ",
                              differenceText(*plan.source, result.source, *difference) + " Is the source's strategy that of this run? `shardlens verify` compares all."});
        return {}; // one is enough to look again
    }
    return {};
}

// Of several saves in one folder.
void addSave(Plan& plan)
{
    const auto& facts = plan.source->facts();
    const auto also = std::find_if(facts.begin(), facts.end(), [](const auto& fact) { return fact.first == "also here"; });
    if (also != facts.end())
        plan.lines.push_back({PlanLine::Kind::Info, "Save", fmt::format("{} is converted; also here: {}.", plan.source->subtitle().empty() ? "The one that is shown" : plan.source->subtitle(), also->second)});
}

// Values that no rank has: the mean of what they have.
void addAverages(Plan& plan)
{
    const auto means = std::count_if(plan.results.begin(), plan.results.end(), [&](const PlannedResult& one) { return plan.source->tensor(one.source).combine == Combine::Average; });
    if (means > 0)
        plan.lines.push_back({PlanLine::Kind::Warning, "Averages",
                              fmt::format("The rules average {} over the tensor-parallel ranks: the mean is written, and no rank's own values.",
                                          plural(static_cast<std::uint64_t>(means), "tensor", "tensors"))});
}

} // namespace

const char* nameOf(PlanLine::Kind kind)
{
    switch (kind) {
    case PlanLine::Kind::Kept: return "kept";
    case PlanLine::Kind::Info: return "info";
    case PlanLine::Kind::Dropped: return "dropped";
    case PlanLine::Kind::Cast: return "cast";
    case PlanLine::Kind::Duplicated: return "duplicated";
    case PlanLine::Kind::Warning: return "warning";
    }
    return "";
}

std::size_t Plan::tensorCount() const
{
    if (!results.empty())
        return results.size();
    std::size_t ofFiles = 0; // of one rank alone there are no whole tensors
    for (const PlannedFile& file : files)
        ofFiles += file.tensorCount;
    return ofFiles;
}

std::uint64_t Plan::bytesToPrepare() const
{
    std::uint64_t bytes = 0;
    for (const auto& computation : prepared)
        bytes += computation->bytesToPrepare();
    return bytes;
}

Result<Plan> planContents(CheckpointPtr source, const ConvertRequest& request, JobContext& job)
{
    SHARDLENS_ASSIGN(const OutputChoice choice, chooseOutput(*source, request));
    Plan plan;
    plan.request = filledIn(request, choice);
    plan.formatId = choice.formatId;
    SHARDLENS_ASSIGN(QuantizePlan quantized, planQuantization(source, plan.request, choice, job));
    plan.source = std::move(quantized.source);
    plan.payload = plan.source;
    plan.targetIsFile = choice.isFile;
    SHARDLENS_ASSIGN(const bool done, planByFormat(choice, plan, job));
    if (!done && request.keepObjects)
        return Error{ErrorCode::Refused, "--keep-objects is for --to deepspeed, and for --select all --to torch of a torch file: elsewhere no objects are written"};
    if (!done)
        SHARDLENS_TRY(planByNames(choice, plan, job));
    addQuantized(std::move(quantized), plan);
    SHARDLENS_TRY(addStoredLines(plan));
    SHARDLENS_TRY(compareUnproven(plan, job));
    SHARDLENS_TRY(compareByStrategy(plan, job));
    addAverages(plan);
    addSave(plan);
    for (const PlannedFile& file : plan.files)
        plan.bytesToWrite += file.sizeBytes;
    planComputed(plan);
    SHARDLENS_TRY(planMemory(plan));
    return plan;
}

Result<Plan> planConversion(CheckpointPtr source, const ConvertRequest& request, JobContext& job)
{
    SHARDLENS_TRY(chooseOutput(*source, request));
    SHARDLENS_TRY(checkTarget(*source, request));
    SHARDLENS_ASSIGN(Plan plan, planContents(std::move(source), request, job));
    addReplaced(plan);
    return plan;
}

std::vector<std::string> planText(const Plan& plan)
{
    std::vector<std::string> out;
    out.push_back(fmt::format("{}, {} written, {} read", plural(plan.tensorCount(), "tensor", "tensors"), exactSizeText(plan.bytesToWrite), exactSizeText(plan.bytesToRead)));
    for (const PlannedFile& file : plan.files)
        out.push_back(fmt::format("file {}: {}, {}", printable(file.name), plural(file.tensorCount, "tensor", "tensors"), exactSizeText(file.sizeBytes)));
    for (const PlanLine& line : plan.lines)
        out.push_back(fmt::format("{} {}: {}", nameOf(line.kind), line.topic, line.text));
    return out;
}

} // namespace shardlens
