// The files of several ranks, any bytes each: a run of stages and tensor-parallel ranks, Megatron-LM's, a list's, an inference set's, MindSpore's with strategies.
// It opens or refuses, every tensor can be walked, and cutting it anew ends.
#include "core/format/format.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/walk_checkpoint.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

namespace shardlens::fuzz {
namespace {

constexpr std::array kNames{"latest",
                            "step/mp_rank_00_model_states.pt",
                            "step/mp_rank_01_model_states.pt",
                            "step/zero_pp_rank_0_mp_rank_00_optim_states.pt",
                            "step/zero_pp_rank_0_mp_rank_01_optim_states.pt",
                            "step/layer_00-model_00-model_states.pt",
                            "step/layer_00-model_01-model_states.pt",
                            "step/layer_01-model_00-model_states.pt",
                            "step/layer_01-model_01-model_states.pt",
                            "step/module-pipe_00-model_01.pt",
                            "latest_checkpointed_iteration.txt",
                            "iter_0000003/mp_rank_00/model_optim_rng.pt",
                            "iter_0000003/mp_rank_01/model_optim_rng.pt",
                            "iter_0000003/mp_rank_00/distrib_optim.pt",
                            "iter_0000003/mp_rank_00_001/model_optim_rng.pt",
                            "list.json",
                            "mp_rank_00_model_states.pt",
                            "mp_rank_01_model_states.pt",
                            "ds_inference_config.json",
                            "tp_00_00.pt",
                            "tp_01_00.pt",
                            "step/zero/w/fp32.pt",
                            "step/zero/optimizer_state.pt",
                            "checkpoint/rank_0/net_rank_0-1_1.ckpt",
                            "checkpoint/rank_1/net_rank_1-1_1.ckpt",
                            "checkpoint/rank_1/net_rank_1-1_1.safetensors",
                            "strategy/stage0.ckpt",
                            "strategy/stage1.ckpt",
                            "param_name_map.json",
                            "part0.safetensors"};

// A folder in memory that is gone with the object.
class InputFolder {
public:
    InputFolder() : m_path("/dev/shm/shardlens-fuzz-" + std::to_string(::getpid())) { std::filesystem::remove_all(m_path); }
    ~InputFolder() { std::filesystem::remove_all(m_path); }
    InputFolder(const InputFolder&) = delete;
    InputFolder& operator=(const InputFolder&) = delete;

    // The input: a byte for the name, two for the length, and the file's bytes; again until it ends.
    void fill(const std::uint8_t* data, std::size_t size)
    {
        std::filesystem::create_directories(m_path);
        for (std::size_t at = 0; at + 3 <= size;) {
            const std::string name = kNames[data[at] % kNames.size()];
            const std::size_t length = std::min<std::size_t>(data[at + 1] | data[at + 2] << 8, size - at - 3);
            const std::filesystem::path path = m_path + "/" + name;
            std::filesystem::create_directories(path.parent_path());
            std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(data + at + 3), static_cast<std::streamsize>(length));
            at += 3 + length;
        }
    }
    [[nodiscard]] const std::string& path() const { return m_path; }

private:
    std::string m_path;
};

void cutAnew(const CheckpointPtr& checkpoint, const std::string& folder, JobContext& job)
{
    for (const Format& format : formats()) {
        if (format.layOut == nullptr)
            continue;
        for (const std::uint32_t ranks : {1u, 2u}) {
            TargetOptions options;
            if (!format.hasStrategy)
                options.tp = ranks;
            else if (ranks > 1)
                options.strategy = folder + "/strategy";
            const auto target = format.layOut(checkpoint, options, job);
            if (target && target->torchFiles.empty() && target->flatFiles.empty() && target->textFiles.empty())
                std::abort(); // an accepted target has files
        }
    }
}

} // namespace
} // namespace shardlens::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace shardlens;
    if (size > fuzz::kMaxInput)
        return -1;
    fuzz::InputFolder folder;
    folder.fill(data, size);
    JobContext job;
    const auto opened = openCheckpoint(folder.path(), {}, job);
    if (!opened)
        return opened.error().text().empty() ? (std::abort(), 0) : 0;
    fuzz::walkCheckpoint(*opened);
    fuzz::cutAnew(*opened, folder.path(), job);
    return 0;
}
