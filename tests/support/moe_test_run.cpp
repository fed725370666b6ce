#include "tests/support/moe_test_run.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

namespace shardlens::test {
namespace {

constexpr int kMoeStates = 3;

std::string expertName(std::uint32_t layer, std::uint32_t expert, const std::string& rest)
{
    return "blocks." + std::to_string(layer) + ".deepspeed_moe.experts.deepspeed_experts." + std::to_string(expert) + "." + rest;
}

// One group of the optimizer on an expert-parallel rank: names in files, and in the whole model.
struct MoeGroup {
    bool moe = false;
    std::vector<MoeTestRun::Parameter> stored; // local numbers
    std::vector<MoeTestRun::Parameter> meant;
};

std::vector<MoeTestRun::Parameter> denseParameters(const MoeTestRun& run)
{
    std::vector<MoeTestRun::Parameter> out{{"embed.weight", {5, run.width}, 0}};
    for (std::uint32_t layer = 0; layer < run.layers; ++layer)
        out.push_back({"blocks." + std::to_string(layer) + (run.stacked ? ".moe.router.gate.weight" : ".deepspeed_moe.gate.wg.weight"), {run.experts(), run.width}, 0});
    out.push_back({"out.bias", {run.width + 4}, 0});
    return out;
}

std::string stackPrefix(std::uint32_t layer)
{
    return "blocks." + std::to_string(layer) + ".moe.experts";
}

// A layer's stacked matrices of one expert.
std::vector<MoeTestRun::Parameter> stackedMatrices(const MoeTestRun& run, std::uint32_t layer)
{
    return {{stackPrefix(layer) + ".w1", {run.width + 1, run.width}, 0}, {stackPrefix(layer) + ".w2", {run.width, run.width + 2}, 0}};
}

// `experts` of them from `firstExpert` on, as one tensor.
MoeTestRun::Parameter stackOf(MoeTestRun::Parameter matrix, std::uint64_t firstExpert, std::uint64_t experts)
{
    matrix.first = matrix.count() * firstExpert;
    matrix.shape.insert(matrix.shape.begin(), experts);
    return matrix;
}

std::vector<MoeGroup> groupsOf(const MoeTestRun& run, std::uint32_t expertRank)
{
    std::vector<MoeGroup> out(run.stacked ? 2 : 3);
    out[0].stored = out[0].meant = denseParameters(run);
    for (std::uint32_t layer = 0; run.stacked && layer < run.layers; ++layer)
        for (const MoeTestRun::Parameter& matrix : stackedMatrices(run, layer)) {
            out[1].moe = true;
            out[1].stored.push_back(stackOf(matrix, std::uint64_t{expertRank} * run.localExperts, run.localExperts));
            out[1].meant.push_back(out[1].stored.back());
        }
    if (run.stacked)
        return out;
    for (std::size_t g = 1; g < 3; ++g) {
        const std::string rest = g == 1 ? "fc.weight" : "fc.bias";
        const std::vector<std::uint64_t> shape = g == 1 ? std::vector<std::uint64_t>{run.width + 1, run.width} : std::vector<std::uint64_t>{run.width + 2};
        out[g].moe = true;
        for (std::uint32_t layer = 0; layer < run.layers; ++layer)
            for (std::uint32_t local = 0; local < run.localExperts; ++local) {
                out[g].stored.push_back({expertName(layer, local, rest), shape, 0});
                out[g].meant.push_back({expertName(layer, expertRank * run.localExperts + local, rest), shape, 0});
            }
    }
    return out;
}

TestStorage floats(std::vector<float> values)
{
    const auto kept = std::make_shared<const std::vector<float>>(std::move(values));
    return {kept->size() * 4, [kept](std::uint64_t offset, std::span<std::byte> out) {
                std::memcpy(out.data(), reinterpret_cast<const std::byte*>(kept->data()) + offset, out.size());
            }};
}

TestStorage halves(const MoeTestRun::Parameter& parameter)
{
    return {parameter.count() * 2, [parameter](std::uint64_t offset, std::span<std::byte> out) {
                for (std::uint64_t at = 0; at < out.size() / 2; ++at) {
                    const float value = MoeTestRun::valueAt(parameter.name, 0, parameter.first + offset / 2 + at);
                    std::uint32_t bits = 0;
                    std::memcpy(&bits, &value, 4);
                    const auto half = static_cast<std::uint16_t>(bits >> 16);
                    std::memcpy(out.data() + at * 2, &half, 2);
                }
            }};
}

std::vector<float> valuesOf(const MoeTestRun::Parameter& parameter, int state)
{
    std::vector<float> out(parameter.count());
    for (std::uint64_t i = 0; i < out.size(); ++i)
        out[i] = MoeTestRun::valueAt(parameter.name, state, parameter.first + i);
    return out;
}

Py denseTensor(const char* storageClass, std::size_t storage, std::uint64_t count, const std::vector<std::uint64_t>& shape)
{
    return Py{Py::Tensor{storageClass, storage, count, 0, shape, {}}};
}

Py intPy(std::uint64_t value)
{
    return Py{static_cast<std::int64_t>(value)};
}

Py groupRow(const MoeTestRun& run, const MoeGroup& group, std::vector<Py> members)
{
    const std::string name = !group.moe ? "dense" : !run.groupName.empty() ? run.groupName : "ep_size_" + std::to_string(run.expertParallel);
    return pyDict({{"name", Py{name}}, {"moe", Py{group.moe}}, {"params", Py{std::move(members)}}});
}

// This rank's part of a group's flat vector; padding is garbage that must never show.
std::vector<float> partOf(const MoeGroup& group, int state, std::uint32_t share, std::uint32_t place, std::uint64_t& stored)
{
    std::vector<float> flat;
    for (const MoeTestRun::Parameter& parameter : group.meant)
        for (const float value : valuesOf(parameter, state))
            flat.push_back(value);
    const std::uint64_t total = flat.size();
    const std::uint64_t part = (total + 2ull * share - 1) / (2ull * share) * 2;
    flat.resize(part * share, -1e30f);
    stored = total <= part * place ? 0 : std::min<std::uint64_t>(part, total - part * place);
    return {flat.begin() + static_cast<std::ptrdiff_t>(part * place), flat.begin() + static_cast<std::ptrdiff_t>(part * (place + 1))};
}

void writeZeroFile(const MoeTestRun& run, std::uint32_t rank, const std::string& path)
{
    std::vector<TestStorage> storages;
    std::vector<Py> masters;
    std::vector<Py> counts;
    std::vector<Py> rows;
    Py::Dict states;
    const std::vector<MoeGroup> groups = groupsOf(run, run.expertRank(rank));
    for (std::size_t g = 0; g < groups.size(); ++g) {
        const std::uint32_t share = groups[g].moe ? run.world / run.expertParallel : run.world;
        const std::uint32_t place = groups[g].moe ? run.place(rank) : rank;
        std::vector<std::pair<std::string, Py>> state{{"step", intPy(7)}};
        for (int s = 0; s < kMoeStates; ++s) {
            std::uint64_t stored = 0;
            storages.push_back(floats(partOf(groups[g], s, share, place, stored)));
            const std::uint64_t full = storages.back().bytes / 4;
            const std::uint64_t shown = s == 0 && run.stripPadding ? stored : full;
            const Py tensor = denseTensor("FloatStorage", storages.size() - 1, full, {shown});
            if (s == 0)
                masters.push_back(tensor);
            else
                state.emplace_back(s == 1 ? "exp_avg" : "exp_avg_sq", tensor);
        }
        states.items.emplace_back(intPy(g), pyDict(std::move(state)));
        counts.push_back(intPy(share));
        rows.push_back(groupRow(run, groups[g], {intPy(g)}));
    }
    const Py stage{Py::Call{{"deepspeed.runtime.zero.config", "ZeroStageEnum"}, {intPy(2)}}};
    const Py base = pyDict({{"state", Py{std::move(states)}}, {"param_groups", Py{std::move(rows)}}});
    const Py state = pyDict({{"zero_stage", stage}, {"partition_count", Py{std::move(counts)}}, {"base_optimizer_state", base}, {"single_partition_of_fp32_groups", Py{std::move(masters)}}});
    writeTorchFile(path, pyDict({{"optimizer_state_dict", state}, {"ds_config", pyDict({})}, {"ds_version", Py{std::string("0.0-test")}}}), storages);
}

// ZeRO-3: slots of ceil(N / share) elements, parameter by parameter; the groups are the sub-groups.
void writeStage3File(const MoeTestRun& run, std::uint32_t rank, const std::string& path)
{
    std::vector<TestStorage> storages;
    std::vector<Py> masters;
    std::vector<Py> rows;
    std::vector<Py> parts;
    Py::Dict states;
    const std::vector<MoeGroup> groups = groupsOf(run, run.expertRank(rank));
    for (std::size_t g = 0; g < groups.size(); ++g) {
        const std::uint64_t share = groups[g].moe ? run.world / run.expertParallel : run.world;
        const std::uint64_t place = groups[g].moe ? run.place(rank) : rank;
        std::vector<std::pair<std::string, Py>> state{{"step", intPy(7)}};
        for (int s = 0; s < kMoeStates; ++s) {
            std::vector<float> vector;
            for (const MoeTestRun::Parameter& parameter : groups[g].meant) {
                const std::uint64_t slot = (parameter.count() + share - 1) / share;
                const std::vector<float> all = valuesOf(parameter, s);
                for (std::uint64_t i = slot * place; i < slot * (place + 1); ++i)
                    vector.push_back(i < all.size() ? all[i] : -1e30f);
            }
            const std::uint64_t count = vector.size();
            storages.push_back(floats(std::move(vector)));
            const Py tensor = denseTensor("FloatStorage", storages.size() - 1, count, {count});
            if (s == 0)
                masters.push_back(tensor);
            else
                state.emplace_back(s == 1 ? "exp_avg" : "exp_avg_sq", tensor);
        }
        states.items.emplace_back(intPy(g), pyDict(std::move(state)));
        rows.push_back(groupRow(run, groups[g], {intPy(g)}));
        parts.push_back(pyDict({{"sub_group", intPy(g)}, {"partition_count", intPy(share)}, {"partition_rank", intPy(place)}}));
    }
    const Py base = pyDict({{"state", Py{std::move(states)}}, {"param_groups", Py{std::move(rows)}}});
    const Py state = pyDict({{"zero_stage", intPy(3)}, {"partition_count", intPy(run.world)}, {"optimizer_state_dict", base}, {"fp32_flat_groups", Py{std::move(masters)}},
                             {"ds_zero_partition_groups", Py{std::move(parts)}}});
    writeTorchFile(path, pyDict({{"optimizer_state_dict", state}, {"ds_config", pyDict({})}, {"ds_version", Py{std::string("0.0-test")}}}), storages);
}

Py stackedLayers(const MoeTestRun& run)
{
    std::vector<Py> out;
    for (std::uint32_t layer = 0; layer < run.layers; ++layer) {
        std::vector<Py> ranks;
        for (std::size_t rank = 0; rank < run.placement.size(); ++rank) {
            std::vector<Py> experts;
            for (const std::uint32_t expert : run.placement[rank])
                experts.push_back(intPy(expert));
            ranks.push_back(pyDict({{"rank", intPy(rank)}, {"experts", Py{std::move(experts)}}}));
        }
        out.push_back(pyDict({{"moe_layer_id", intPy(layer)}, {"expert_key_prefix", Py{stackPrefix(layer)}}, {"num_experts", intPy(run.experts())},
                              {"num_local_experts", intPy(run.localExperts)}, {"ep_size", intPy(run.expertParallel)}, {"expert_placement", pyDict({{"ranks", Py{std::move(ranks)}}})}}));
    }
    return Py{std::move(out)};
}

// expp_rank_R: masters in the parameters' shapes, states by number.
void writePlainOptimizer(const MoeTestRun& run, std::uint32_t expertRank, const std::string& path)
{
    std::vector<TestStorage> storages;
    std::vector<Py> groups;
    std::vector<Py> rows;
    Py::Dict states;
    std::uint64_t number = 0;
    for (const MoeGroup& group : groupsOf(run, expertRank)) {
        std::vector<Py> masters;
        std::vector<Py> members;
        for (const MoeTestRun::Parameter& parameter : group.meant) {
            std::vector<Py> tensors;
            for (int s = 0; s < kMoeStates; ++s) {
                storages.push_back(floats(valuesOf(parameter, s)));
                tensors.push_back(denseTensor("FloatStorage", storages.size() - 1, parameter.count(), parameter.shape));
            }
            masters.push_back(tensors[0]);
            members.push_back(intPy(number));
            states.items.emplace_back(intPy(number++), pyDict({{"step", intPy(7)}, {"exp_avg", tensors[1]}, {"exp_avg_sq", tensors[2]}}));
        }
        groups.push_back(Py{std::move(masters)});
        rows.push_back(groupRow(run, group, std::move(members)));
    }
    const Py base = pyDict({{"state", Py{std::move(states)}}, {"param_groups", Py{std::move(rows)}}});
    writeTorchFile(path, pyDict({{"optimizer", pyDict({{"fp32_groups", Py{std::move(groups)}}, {"optimizer_state_dict", base}})}}), storages);
}

void writeMoeModel(const MoeTestRun& run, const std::string& path)
{
    std::vector<TestStorage> storages;
    Py::Dict module{{}, true};
    for (const MoeTestRun::Parameter& parameter : denseParameters(run)) {
        storages.push_back(run.stage3 ? TestStorage{0, nullptr} : halves(parameter));
        const auto shape = run.stage3 ? std::vector<std::uint64_t>{0} : parameter.shape;
        module.items.emplace_back(Py{parameter.name}, denseTensor("BFloat16Storage", storages.size() - 1, run.stage3 ? 0 : parameter.count(), shape));
    }
    std::vector<Py> shapes;
    for (const MoeGroup& group : groupsOf(run, 0)) {
        Py::Dict ofGroup{{}, true};
        for (const MoeTestRun::Parameter& parameter : group.stored) {
            Py::Tuple shape; // as the clone before saving leaves them
            for (const std::uint64_t extent : parameter.shape)
                shape.items.push_back(intPy(extent));
            ofGroup.items.emplace_back(Py{parameter.name}, Py{std::move(shape)});
        }
        shapes.push_back(Py{std::move(ofGroup)});
    }
    std::vector<Py> counts;
    for (const std::uint32_t count : run.numExperts.empty() ? std::vector<std::uint32_t>(run.layers, run.experts()) : run.numExperts)
        counts.push_back(intPy(count));
    const Py config = pyDict({{"bf16", pyDict({{"enabled", Py{true}}})},
                              {"zero_optimization", pyDict({{"stage", intPy(run.stage3 ? 3 : run.withZero ? 2 : 0)}})},
                              {"use_data_before_expert_parallelism", Py{run.dataFirst}}});
    writeTorchFile(path,
                   pyDict({{"module", Py{std::move(module)}}, {"buffer_names", Py{std::vector<Py>{}}}, {"optimizer", Py{Py::None{}}},
                           {"param_shapes", run.withZero ? Py{std::move(shapes)} : Py{Py::None{}}}, {"frozen_param_shapes", Py{Py::None{}}}, {"shared_params", pyDict({})},
                           {"global_steps", intPy(7)}, {"dp_world_size", intPy(run.world)}, {"mp_world_size", intPy(1)},
                           {"ds_autoep_layers", run.stacked ? stackedLayers(run) : Py{Py::None{}}}, {"num_experts", run.oldNames ? intPy(run.experts()) : Py{std::move(counts)}}, {"ds_config", config}, {"ds_version", Py{std::string("0.0-test")}}}),
                   storages);
}

void writeExperts(const MoeTestRun& run, const std::string& folder)
{
    for (std::uint32_t expert = 0; expert < run.experts(); ++expert) {
        std::vector<TestStorage> storages;
        Py::Dict content;
        for (std::uint32_t layer = 0; layer < run.layers; ++layer) {
            std::vector<MoeTestRun::Parameter> held{{expertName(layer, expert, "fc.weight"), {run.width + 1, run.width}, 0}, {expertName(layer, expert, "fc.bias"), {run.width + 2}, 0}};
            if (run.stacked)
                held = stackedMatrices(run, layer);
            for (MoeTestRun::Parameter& parameter : held) {
                parameter.first = run.stacked ? parameter.count() * expert : 0;
                storages.push_back(halves(parameter));
                const std::string key = run.stacked ? parameter.name + "." + std::to_string(expert) : parameter.name;
                content.items.emplace_back(Py{key}, denseTensor("BFloat16Storage", storages.size() - 1, parameter.count(), parameter.shape));
            }
            if (run.oldNames)
                continue;
            writeTorchFile(folder + "/" + MoeTestRun::expertFile(layer, expert), Py{std::move(content)}, storages);
            content = {};
            storages.clear();
        }
        if (run.oldNames)
            writeTorchFile(folder + "/expert_" + std::to_string(expert) + "_mp_rank_00_model_states.pt", Py{std::move(content)}, storages);
    }
}

} // namespace

std::uint64_t MoeTestRun::Parameter::count() const
{
    std::uint64_t out = 1;
    for (const std::uint64_t extent : shape)
        out *= extent;
    return out;
}

std::vector<MoeTestRun::Parameter> MoeTestRun::parameters() const
{
    std::vector<Parameter> out = denseParameters(*this);
    for (std::uint32_t layer = 0; stacked && layer < layers; ++layer)
        for (const Parameter& matrix : stackedMatrices(*this, layer))
            out.push_back(stackOf(matrix, 0, experts()));
    for (std::uint32_t rank = 0; !stacked && rank < expertParallel; ++rank)
        for (const MoeGroup& group : groupsOf(*this, rank))
            if (group.moe)
                out.insert(out.end(), group.meant.begin(), group.meant.end());
    return out;
}

float MoeTestRun::valueAt(const std::string& name, int state, std::uint64_t index)
{
    std::uint64_t mixed = index * 37 + static_cast<std::uint64_t>(state) * 53;
    for (const char letter : name)
        mixed += mixed * 5 + static_cast<unsigned char>(letter);
    return (static_cast<float>(mixed % 251) - 125.0f) / 8.0f;
}

std::uint32_t MoeTestRun::expertRank(std::uint32_t rank) const
{
    return dataFirst ? rank / (world / expertParallel) : rank % expertParallel;
}

std::uint32_t MoeTestRun::place(std::uint32_t rank) const
{
    return dataFirst ? rank % (world / expertParallel) : rank / expertParallel;
}

std::string MoeTestRun::expertFile(std::uint32_t layer, std::uint32_t expert)
{
    return "layer_" + std::to_string(layer) + "_expert_" + std::to_string(expert) + "_mp_rank_00_model_states.pt";
}

void MoeTestRun::write(const std::string& root, const std::string& tag) const
{
    const std::string folder = root + "/" + tag;
    std::filesystem::create_directories(folder);
    for (std::uint32_t rank = 0; withZero && rank < world; ++rank) {
        const std::string path = folder + "/bf16_zero_pp_rank_" + std::to_string(rank) + "_mp_rank_00_optim_states.pt";
        stage3 ? writeStage3File(*this, rank, path) : writeZeroFile(*this, rank, path);
    }
    for (std::uint32_t rank = 0; stage3 && rank < world; ++rank)
        writeMoeModel(*this, folder + "/zero_pp_rank_" + std::to_string(rank) + "_mp_rank_00_model_states.pt");
    for (std::uint32_t rank = 0; !withZero && rank < expertParallel; ++rank)
        writePlainOptimizer(*this, rank, folder + "/expp_rank_" + std::to_string(rank) + "_mp_rank_00_optim_states.pt");
    if (!stage3) {
        writeMoeModel(*this, folder + "/mp_rank_00_model_states.pt");
        writeExperts(*this, folder);
    }
    std::ofstream(root + "/latest") << tag;
}

} // namespace shardlens::test
