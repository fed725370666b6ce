#include "core/format/torch_dist/torch_dist_format.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/torch_dist/reading.h"
#include "core/format/torch_dist/stack_reader.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <set>

namespace shardlens::torch_dist {
namespace {

constexpr std::string_view kStep = "step";

// One number for all parameters, kept beside the container, stands under each of them.
Status addSteps(Reading& reading, const StackReader& stacks)
{
    const auto step = stacks.hasState(kStep) ? std::nullopt : stepOf(reading.common, reading.optimizers);
    if (!step)
        return {};
    CheckpointBuilder& builder = reading.builder;
    CheckpointBuilder::Placement place{};
    DType dtype = DType::I64;
    if (const auto* tensor = std::get_if<TorchTensor>(&step->number)) {
        TorchStorage storage = step->file->storages().at(tensor->storage);
        if (!storage.decoded)
            storage.offset += step->offset;
        place = storagePlacement(builder, step->id, storage, builder.holder({}));
        place.offset += tensor->offsetBytes;
        place.flags = tensor->flags;
        dtype = tensor->dtype;
    } else {
        std::array<std::byte, 8> bytes{};
        const auto* number = std::get_if<std::int64_t>(&step->number);
        storeLe(bytes.data(), number != nullptr ? *number : std::bit_cast<std::int64_t>(std::get<double>(step->number)));
        dtype = number != nullptr ? DType::I64 : DType::F64;
        place = {builder.addInline(step->id, bytes), 0, builder.holder({}), {}};
    }
    const RoleId role = builder.role(RoleKind::OptimizerState, kStep);
    for (const ParameterId parameter : stacks.trained())
        SHARDLENS_TRY(builder.addWhole(builder.addTensor({parameter, role, dtype, Combine::Exclusive, false, {}}), place));
    return {};
}

// How many tensor-parallel ranks cut a stack or matrix that Megatron cuts along its last axis: as many as its chunks have beginnings there (§6.2).
std::optional<std::size_t> tensorParallelOf(const DcpMetadata& metadata)
{
    for (const DcpEntry& entry : metadata.entries) {
        if (entry.kind != DcpEntry::Kind::Tensor || !entry.key.ends_with("linear_proj.weight") || entry.key.find("optimizer.") != std::string::npos || entry.shape.size() < 2)
            continue;
        std::set<std::uint64_t> begins;
        for (std::size_t chunk = entry.firstChunk; chunk < entry.firstChunk + entry.chunkCount; ++chunk)
            begins.insert(metadata.chunks.offset(chunk).back());
        return begins.size();
    }
    return std::nullopt;
}

std::string sizeFact(const Facts& facts, const char* name)
{
    const auto number = factNumber(facts, name);
    return number ? std::to_string(*number) : std::string();
}

void addRunFacts(Reading& reading)
{
    CheckpointBuilder& builder = reading.builder;
    const auto add = [&](const char* title, const std::string& text) {
        if (!text.empty() && text != "None")
            builder.addFact(title, printable(text));
    };
    for (const auto& [title, fact] : {std::pair{"iteration", "iteration"}, {"layers", "num_layers"}, {"hidden size", "hidden_size"}, {"attention heads", "num_attention_heads"}, {"query groups", "num_query_groups"},
                                      {"experts", "num_experts"}, {"padded vocabulary", "padded_vocab_size"}})
        if (const auto at = reading.facts.find(fact); at != reading.facts.end())
            add(title, at->second);
    if (const auto at = reading.facts.find("version"); at != reading.facts.end())
        add("checkpoint version", at->second);
    const auto cut = tensorParallelOf(reading.folder->metadata());
    const std::string said = sizeFact(reading.facts, "tensor_model_parallel_size");
    add("tensor parallel", !cut ? said : said.empty() || said == std::to_string(*cut) ? std::to_string(*cut) : fmt::format("{} (the chunks are cut in {})", said, *cut));
    add("pipeline parallel", sizeFact(reading.facts, "pipeline_model_parallel_size"));
    add("expert parallel", sizeFact(reading.facts, "expert_model_parallel_size"));
    std::set<std::uint32_t> writers;
    for (std::uint32_t i = 0; i < reading.folder->metadata().files.size(); ++i)
        if (const auto rank = builder.file(reading.folder->fileOf(i)).rank)
            writers.insert(*rank);
    if (!writers.empty())
        add("written by", plural(writers.size(), "rank", "ranks"));
    if (!reading.iteration.others.empty())
        builder.addFact("other iterations", fmt::format("{} (--tag opens them)", fmt::join(reading.iteration.others, ", ")));
    if (const std::string type = shardingTypeOf(reading.common); !type.empty())
        reading.facts["distrib_optim_sharding_type"] = type;
    builder.setModelFacts(reading.facts);
}

void addOptimizerFindings(Reading& reading, const StackReader& stacks)
{
    const std::string type = shardingTypeOf(reading.common);
    if (!type.empty())
        reading.builder.addFact("optimizer", printable(type));
    else if (stacks.flattened() > 0)
        reading.builder.addFact("optimizer", "flattened over the data-parallel ranks");
    std::size_t objects = 0;
    for (const DcpEntry& entry : reading.folder->metadata().entries)
        objects += entry.kind == DcpEntry::Kind::Bytes && entry.key.find("optimizer.distributed.") != std::string::npos && entry.key.find(".param_state/") != std::string::npos ? 1 : 0;
    if (stacks.buffers() == 0 && objects == 0)
        return;
    const std::string tp = sizeFact(reading.facts, "tensor_model_parallel_size");
    const std::string pp = sizeFact(reading.facts, "pipeline_model_parallel_size");
    reading.builder.addFinding({Severity::Info, "optimizer-in-buffers",
                                fmt::format("The optimizer's state lies in {} of the data-parallel groups{}: it is tied to {}. The weights can be converted, the optimizer cannot (convert it with the training framework, "
                                            "using the fully reshardable option).",
                                            stacks.buffers() > 0 ? plural(stacks.buffers(), "buffer", "buffers") : plural(objects, "object", "objects"), type.empty() ? "" : fmt::format(" ({})", printable(type)),
                                            tp.empty() && pp.empty() ? "the sizes of the run" : fmt::format("TP={}, PP={}", tp.empty() ? "1" : tp, pp.empty() ? "1" : pp)),
                                kNoTensor, kNoFile, std::nullopt});
}

// The arguments count the layers too.
void checkLayers(Reading& reading, const StackReader& stacks)
{
    const auto said = factNumber(reading.facts, "num_layers");
    const auto held = stacks.layers().find("decoder.layers.");
    if (said && held != stacks.layers().end() && held->second != *said)
        reading.builder.addFinding({Severity::Warning, "layer-count", fmt::format("The arguments say {} layers, and the stacks hold {}.", *said, held->second), kNoTensor, kNoFile, std::nullopt});
}

} // namespace

Match probe(const Candidate& candidate)
{
    return matchIteration(candidate);
}

Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    SHARDLENS_ASSIGN(Iteration iteration, resolveIteration(candidate, options));
    const bool isRoot = iteration.root != iteration.path;
    Reading reading(candidate, std::move(iteration));
    reading.builder.setFormat("torch-dist", "Megatron torch_dist");
    const std::string& top = isRoot ? reading.iteration.root : reading.iteration.path;
    reading.builder.setTitle(top.substr(top.find_last_of('/') + 1), isRoot ? reading.iteration.name : "");
    SHARDLENS_ASSIGN(DcpMetadata index, readIndex(reading, job));
    SHARDLENS_ASSIGN(reading.folder, DcpFolder::open(reading.builder, reading.iteration.path, "", std::move(index), job));
    SHARDLENS_TRY(readObjects(reading, job));
    StackReader stacks(reading.builder, *reading.folder);
    SHARDLENS_TRY(stacks.read(job));
    SHARDLENS_TRY(addSteps(reading, stacks));
    reading.folder->addFindings([&](const DcpEntry& entry) { return stacks.tensorOf(entry); });
    addFolderFindings(reading);
    checkLayers(reading, stacks);
    addRunFacts(reading);
    addOptimizerFindings(reading, stacks);
    return std::move(reading.builder).finish();
}

} // namespace shardlens::torch_dist
