#include "tests/support/universal_test_run.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

namespace shardlens::test {
namespace {

TestStorage storageOfFloats(const std::vector<float>& values)
{
    const auto kept = std::make_shared<const std::vector<float>>(values);
    return {kept->size() * 4, [kept](std::uint64_t offset, std::span<std::byte> out) {
                std::memcpy(out.data(), reinterpret_cast<const std::byte*>(kept->data()) + offset, out.size());
            }};
}

Py wholeTensor(std::uint64_t count, const std::vector<std::uint64_t>& shape)
{
    return Py{Py::Tensor{"FloatStorage", 0, count, 0, shape, {}}};
}

void writeOptimizerState(const ZeroTestRun& run, const std::string& path)
{
    std::uint32_t groups = 0;
    for (const ZeroTestRun::Parameter& parameter : run.parameters)
        groups = std::max(groups, parameter.group + 1);
    std::vector<Py> rows;
    for (std::uint32_t g = 0; g < groups; ++g)
        rows.push_back(pyDict({{"weight_decay", Py{std::int64_t{0}}}, {"params", Py{std::vector<Py>{Py{std::int64_t{g}}}}}}));
    const Py stage{Py::Call{{"deepspeed.runtime.zero.config", "ZeroStageEnum"}, {Py{std::int64_t{run.stage}}}}};
    std::vector<std::pair<std::string, Py>> root{{"zero_stage", stage}, {"param_groups", Py{std::move(rows)}}, {"ds_version", Py{std::string("0.0-test")}}};
    if (run.stage == 3) {
        const Py states{Py::Dict{{{Py{std::int64_t{0}}, pyDict({{"step", Py{std::int64_t{7}}}})}}, false}};
        root.emplace_back("fp32_flat_groups", Py{std::vector<Py>{}});
        root.emplace_back("optimizer_state_dict", pyDict({{"state", states}}));
    }
    writeTorchFile(path, pyDict(std::move(root)), {});
}

} // namespace

void writeUniversalEntry(const std::string& path, const std::vector<float>& values, const std::vector<std::uint64_t>& shape, std::vector<std::pair<std::string, Py>> more)
{
    more.emplace_back("param", wholeTensor(values.size(), shape));
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    writeTorchFile(path, pyDict(std::move(more)), {storageOfFloats(values)});
}

void writeBareEntry(const std::string& path, const std::vector<float>& values)
{
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    writeTorchFile(path, wholeTensor(values.size(), {values.size()}), {storageOfFloats(values)});
}

void writeUniversal(const ZeroTestRun& run, const std::string& root, const std::string& tag)
{
    run.write(root, tag);
    const std::string folder = root + "/" + tag;
    for (std::uint32_t rank = 0; rank < run.world; ++rank)
        std::filesystem::remove(folder + "/bf16_zero_pp_rank_" + std::to_string(rank) + "_mp_rank_00_optim_states.pt");
    std::filesystem::remove(root + "/latest");
    std::ofstream(root + "/latest_universal") << tag;
    for (std::size_t i = 0; i < run.parameters.size(); ++i) {
        const ZeroTestRun::Parameter& parameter = run.parameters[i];
        const std::string place = folder + "/zero/" + parameter.name + "/";
        for (int state = 0; state < 3; ++state) {
            std::vector<float> values;
            for (std::uint64_t at = 0; at < parameter.count(); ++at)
                values.push_back(run.valueAt(i, state, at));
            const std::string file = place + (state == 0 ? "fp32.pt" : state == 1 ? "exp_avg.pt" : "exp_avg_sq.pt");
            if (run.stage != 3) {
                writeUniversalEntry(file, values, parameter.shape, {{"cat_dim", Py{std::int64_t{0}}}});
                continue;
            }
            values.resize(values.size() + 2, -1e30f);
            writeBareEntry(file, values);
        }
        if (run.stage != 3)
            writeTorchFile(place + "step.pt", Py{std::int64_t{7}}, {});
    }
    writeOptimizerState(run, folder + "/zero/optimizer_state.pt");
}

} // namespace shardlens::test
