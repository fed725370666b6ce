#include "tests/ui/atlas_sample.h"

#include "core/model/checkpoint_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace shardlens::test {
namespace {

constexpr std::uint64_t kHeaderBytes = 5696;
constexpr std::uint64_t kGapBytes = 64;

struct Parameter {
    std::string name;
    Shape shape;
    std::uint64_t start;
    std::uint64_t count;
};

std::vector<Parameter> parametersOf(const AtlasSample& sample)
{
    std::vector<Parameter> out;
    std::uint64_t at = 0;
    const auto add = [&](std::string name, Shape shape) {
        std::uint64_t count = 1;
        for (const std::uint64_t extent : shape)
            count *= extent;
        out.push_back({std::move(name), std::move(shape), at, count});
        at += count;
    };
    add("model.embed_tokens.weight", {sample.vocabulary, sample.hidden});
    for (int i = 0; i < sample.layers; ++i) {
        const std::string layer = fmt::format("model.layers.{}.", i);
        for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"})
            add(layer + name + ".weight", {sample.hidden, sample.hidden});
        add(layer + "mlp.gate_proj.weight", {sample.inner, sample.hidden});
        add(layer + "mlp.up_proj.weight", {sample.inner, sample.hidden});
        add(layer + "mlp.down_proj.weight", {sample.hidden, sample.inner});
        add(layer + "input_layernorm.weight", {sample.hidden});
        add(layer + "post_attention_layernorm.weight", {sample.hidden});
    }
    add("model.norm.weight", {sample.hidden});
    add("lm_head.weight", {sample.vocabulary, sample.hidden});
    return out;
}

void require(const Status& status)
{
    if (!status) {
        fmt::print(stderr, "atlas sample: {}\n", status.error().text());
        std::abort();
    }
}

File fileOf(std::string name, std::uint64_t size, std::uint32_t rank, std::string holds)
{
    File out;
    out.path = "/data/runs/sample/" + name;
    out.name = std::move(name);
    out.size = size;
    out.rank = rank;
    out.holds = std::move(holds);
    out.container = "torch zip";
    return out;
}

void addModuleFile(CheckpointBuilder& builder, const std::vector<Parameter>& parameters, std::uint64_t total)
{
    const FileId file = builder.addFile(fileOf("mp_rank_00_model_states.pt", kHeaderBytes + total * 2, 0, "module F16, arguments"));
    const HolderId holder = builder.holder({});
    const RoleId role = builder.role(RoleKind::Module, "module copy");
    builder.addFileSpan({file, 0, kHeaderBytes, FileSpan::Kind::Header});
    for (const Parameter& one : parameters) {
        const TensorId tensor = builder.addTensor({builder.parameter(one.name), role, DType::F16, Combine::Exclusive, true, one.shape});
        require(builder.addWhole(tensor, {builder.streamOf(file), kHeaderBytes + one.start * 2, holder, {}}));
    }
}

} // namespace

CheckpointPtr makeAtlasSample(const AtlasSample& sample)
{
    const std::vector<Parameter> parameters = parametersOf(sample);
    const std::uint64_t total = parameters.back().start + parameters.back().count;
    const std::uint64_t padded = (total + 2 * sample.ranks - 1) / (2 * sample.ranks) * 2 * sample.ranks;
    const std::uint64_t part = padded / sample.ranks;
    CheckpointBuilder builder("/data/runs/llama-7b/global_step12000", "/data/runs/llama-7b/global_step12000");
    builder.setFormat("deepspeed", "DeepSpeed ZeRO-2");
    builder.setTitle("llama-7b", "global_step12000");
    builder.setTopology({{{Axis::Dp, sample.ranks}}});
    addModuleFile(builder, parameters, total);
    std::vector<FileId> files;
    for (std::uint32_t rank = 0; rank < sample.ranks; ++rank) {
        File file = fileOf(fmt::format("zero_pp_rank_{}_mp_rank_00_optim_states.pt", rank), kHeaderBytes + 3 * (part * 4 + kGapBytes), rank, "3 × F32");
        if (sample.missingRank == rank)
            file.state = File::State::Missing;
        files.push_back(builder.addFile(file));
        builder.addFileSpan({files.back(), 0, kHeaderBytes, FileSpan::Kind::Header});
    }
    const std::pair<RoleKind, const char*> states[] = {
        {RoleKind::OptimizerState, "exp_avg"}, {RoleKind::OptimizerState, "exp_avg_sq"}, {RoleKind::Weight, "fp32 master"}};
    for (std::uint64_t s = 0; s < 3; ++s) {
        const std::uint64_t base = kHeaderBytes + s * (part * 4 + kGapBytes);
        const RoleId role = builder.role(states[s].first, states[s].second);
        for (const Parameter& one : parameters) {
            const TensorId tensor = builder.addTensor({builder.parameter(one.name), role, DType::F32, Combine::Exclusive, false, one.shape});
            for (std::uint64_t rank = one.start / part; rank * part < one.start + one.count; ++rank) {
                const std::uint64_t low = std::max(one.start, rank * part);
                const std::uint64_t high = std::min(one.start + one.count, (rank + 1) * part);
                const HolderId holder = builder.holder({{{Axis::Dp, static_cast<std::uint32_t>(rank)}}});
                require(builder.addPiece(tensor, FlatRange{low - one.start, high - one.start},
                                         {builder.streamOf(files[rank]), base + (low - rank * part) * 4, holder, {}}));
            }
        }
        const std::uint64_t used = total - (sample.ranks - 1) * part;
        builder.addPadding(builder.streamOf(files.back()), base + used * 4, (part - used) * 4);
    }
    return std::move(builder).finish();
}

CheckpointPtr makeReplicatedSample(std::uint32_t ranks, std::size_t tensors)
{
    constexpr std::uint64_t kRows = 64;
    constexpr std::uint64_t kBytes = kRows * kRows * 4;
    CheckpointBuilder builder("/data/runs/replicated", "/data/runs/replicated");
    builder.setFormat("made", "replicated ranks");
    builder.setTopology({{{Axis::Dp, ranks}}});
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    std::vector<TensorId> all;
    for (std::size_t i = 0; i < tensors; ++i)
        all.push_back(builder.addTensor({builder.parameter(fmt::format("layers.{}.fc.weight", i)), role, DType::F32, Combine::Replicas, true, {kRows, kRows}}));
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
        const FileId file = builder.addFile(fileOf(fmt::format("rank_{}_weights.pt", rank), kBytes * tensors, rank, "weights"));
        for (std::size_t i = 0; i < tensors; ++i)
            require(builder.addWhole(all[i], {builder.streamOf(file), kBytes * i, builder.holder({{{Axis::Dp, rank}}}), {}}));
    }
    return std::move(builder).finish();
}

CheckpointPtr makeCrowdedSample(std::size_t pieces, std::uint32_t ranks)
{
    CheckpointBuilder builder("/data/runs/crowded", "/data/runs/crowded");
    builder.setFormat("made", "many pieces");
    builder.setTopology({{{Axis::Dp, ranks}}});
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    const char* names[] = {"self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj", "mlp.down_proj", "input_layernorm"};
    const std::size_t each = pieces / ranks;
    std::uint32_t noise = 12345;
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
        const FileId file = builder.addFile(fileOf(fmt::format("rank_{}_weights.pt", rank), each * 5000, rank, "weights"));
        std::uint64_t at = 0;
        for (std::size_t i = 0; i < each; ++i) {
            noise = noise * 1664525 + 1013904223;
            const std::uint64_t count = 16 + noise / 4 % 1000;
            const std::string name = fmt::format("model.layers.{}.{}.weight", rank * each + i / 5, names[i % 5]);
            const Shape shape = i % 5 == 4 ? Shape{count} : Shape{count, 1};
            const TensorId tensor = builder.addTensor({builder.parameter(name), role, DType::F32, Combine::Exclusive, true, shape});
            require(builder.addWhole(tensor, {builder.streamOf(file), at, builder.holder({{{Axis::Dp, rank}}}), {}}));
            at += count * 4;
        }
    }
    return std::move(builder).finish();
}

} // namespace shardlens::test
