#include "core/format/colossalai/colossalai_format.h"
#include "core/format/dcp/dcp_format.h"
#include "core/format/dcp/keep_tree.h"
#include "core/format/deepspeed/deepspeed_format.h"
#include "core/format/deepspeed/reshard.h"
#include "core/format/format.h"
#include "core/format/megatron/megatron_format.h"
#include "core/format/mindspore/mindspore_format.h"
#include "core/format/safetensors/safetensors_format.h"
#include "core/format/sdloader/sdloader_format.h"
#include "core/format/torch/torch_format.h"
#include "core/format/torch_dist/torch_dist_format.h"

#include <array>

namespace shardlens {
namespace {

constexpr std::array<Format, 10> kFormats{{
    {.id = "sdloader",
     .title = "DeepSpeed SDLoader",
     .reads = "the JSON list of SDLoaderFactory (Megatron, or an inference set: bloom, ds_model) with its files, or a folder with one",
     .writes = "the rank files of another tensor-parallel size, with their list",
     .hasModuleKey = true,
     .hasRules = true,
     .openDequantizes = true,
     .layOutQuantizes = true,
     .probe = sdloader::probe,
     .open = sdloader::open,
     .layOut = sdloader::layOut},
    {.id = "deepspeed",
     .title = "DeepSpeed ZeRO",
     .reads = "a root with `latest`, or a tag folder: stages 0 to 3, BF16_Optimizer, offload, tensor, pipeline and expert parallel",
     .writes = "a run to resume at another number of ranks or another ZeRO stage (1 to 3)",
     .hasTags = true,
     .hasRules = true,
     .probe = deepspeed::probe,
     .open = deepspeed::open,
     .layOut = deepspeed::layOut},
    {.id = "torch-dist", // before the formats of its container and of its root
     .title = "Megatron torch_dist",
     .reads = "a root with latest_checkpointed_iteration.txt, or an iteration of metadata.json, .metadata and .distcp files: layers stacked or not, flattened optimizer states, common.pt",
     .writes = "a root that megatron-core loads at any sizes, of its own checkpoints, Megatron-LM's rank files, or any model with megatron-core's names; optimizer states with them",
     .hasTags = true,
     .layOutSelects = true,
     .probe = torch_dist::probe,
     .open = torch_dist::open,
     .layOut = torch_dist::layOut},
    {.id = "megatron",
     .title = "Megatron-LM",
     .reads = "a root with latest_checkpointed_iteration.txt, or an iteration of mp_rank_TT[_PPP][_EEE]/model_optim_rng.pt: tensor, pipeline and expert parallel, with distrib_optim.pt",
     .writes = "the rank files of other tensor, pipeline and expert parallel sizes, optimizer states with them",
     .hasTags = true,
     .hasRules = true,
     .probe = megatron::probe,
     .open = megatron::open,
     .layOut = megatron::layOut},
    {.id = "universal",
     .title = "DeepSpeed universal",
     .reads = "a root with `latest_universal`, or its folder with zero/: a tensor a file",
     .writes = "what a run at any number of ranks resumes from with load_universal",
     .hasTags = true,
     .probe = deepspeed::probeUniversal,
     .open = deepspeed::open,
     .layOut = deepspeed::layOutUniversal},
    {.id = "mindspore",
     .title = "MindSpore",
     .reads = "*.ckpt, rank_N folders of ckpt or safetensors files with a strategy file or without, MindFormers' trees, unified safetensors with param_name_map.json",
     .writes = "rank folders by another strategy, or the whole model in one file, as ckpt or safetensors",
     .hasTags = true,
     .hasStrategy = true,
     .containers = "ckpt safetensors",
     .hasPrefix = true,
     .probe = mindspore::probe,
     .open = mindspore::open,
     .layOut = mindspore::layOut},
    {.id = "dcp",
     .title = "PyTorch DCP",
     .reads = "directories of torch.distributed.checkpoint (.metadata and .distcp files; FSDP, HSDP, DTensor), a trainer's root with one for every step, accelerate's folders of them, its safetensors shards, rank files with ShardedTensor or DTensor",
     .writes = "a directory that torch.distributed.checkpoint.load takes, by any number of writers (--dp)",
     .hasTags = true,
     .probe = dcp::probe,
     .open = dcp::open,
     .keepTree = dcp::keepTree},
    {.id = "colossalai",
     .title = "ColossalAI",
     .reads = "distributed model checkpoints (pytorch_model-meta-dist-*.json), sharded models and optimizers of its plugins, training directories of both",
     .writes = "distributed model checkpoints of other tensor-parallel and pipeline sizes, with optimizer states a training directory",
     .hasTags = true,
     .hasRules = true,
     .containers = "bin safetensors",
     .hasPrefix = true,
     .layOutSelects = true,
     .layOutShards = true,
     .probe = colossalai::probe,
     .open = colossalai::open,
     .layOut = colossalai::layOut},
    {.id = "safetensors",
     .title = "safetensors",
     .reads = "*.safetensors, or a folder of them with or without model.safetensors.index.json",
     .writes = "one file, or shards with an index as Hugging Face names them",
     .probe = safetensors::probe,
     .open = safetensors::open},
    {.id = "torch",
     .title = "PyTorch",
     .reads = "what torch.save writes (zip and legacy), or a folder with pytorch_model.bin[.index.json]",
     .writes = "one file, or shards with an index as Hugging Face names them",
     .probe = torch::probe,
     .open = torch::open,
     .keepTree = torch::keepTree},
}};

} // namespace

std::span<const Format> formats()
{
    return kFormats;
}

} // namespace shardlens
