#include "tests/support/zero_test_run.h"

#include "tests/support/torch_test_file.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace shardlens::test {
namespace {

constexpr int kStates = 3;

// A stretch of a rank's vector: elements of one parameter, or padding.
struct Stretch {
    std::uint64_t count = 0;
    std::ptrdiff_t parameter = -1; // −1: padding
    std::uint64_t first = 0;       // element of the parameter
};

// One vector of a rank: stretches end to end. `stored` elements of it are in the master; the moments have all.
struct RankVector {
    std::vector<Stretch> stretches;
    std::uint64_t stored = 0;

    [[nodiscard]] std::uint64_t count() const
    {
        std::uint64_t total = 0;
        for (const Stretch& one : stretches)
            total += one.count;
        return total;
    }
};

std::uint64_t roundUp(std::uint64_t value, std::uint64_t step)
{
    return (value + step - 1) / step * step;
}

// The elements of a group in flat order, one rank's part of them: walked element by element, slow and plain on purpose.
std::vector<Stretch> cut(const std::vector<Stretch>& all, std::uint64_t begin, std::uint64_t end)
{
    std::vector<Stretch> out;
    std::uint64_t at = 0;
    for (const Stretch& one : all) {
        const std::uint64_t from = std::max(begin, at);
        const std::uint64_t to = std::min(end, at + one.count);
        if (from < to)
            out.push_back({to - from, one.parameter, one.first + (from - at)});
        at += one.count;
    }
    return out;
}

struct Group {
    std::vector<std::size_t> parameters;
    std::vector<std::uint64_t> gaps; // after each
    std::vector<RankVector> ranks;
};

std::vector<std::vector<std::size_t>> membersOf(const ZeroTestRun& run)
{
    std::vector<std::vector<std::size_t>> groups;
    for (std::size_t i = 0; i < run.parameters.size(); ++i) {
        if (run.parameters[i].group >= groups.size())
            groups.resize(run.parameters[i].group + 1);
        groups[run.parameters[i].group].push_back(i);
    }
    return groups;
}

std::vector<Group> flatGroups(const ZeroTestRun& run)
{
    std::vector<Group> out;
    for (const auto& members : membersOf(run)) {
        Group group{members, {}, {}};
        std::vector<Stretch> all;
        std::uint64_t total = 0;
        for (std::size_t i = 0; i < members.size(); ++i) {
            const std::uint64_t count = run.parameters[members[i]].count();
            const bool last = i + 1 == members.size();
            const std::uint64_t gap = run.alignParameters && !last ? roundUp(count, 8) - count : 0;
            all.push_back({count, static_cast<std::ptrdiff_t>(members[i]), 0});
            all.push_back({gap, -1, 0});
            group.gaps.push_back(gap);
            total += count + gap;
        }
        const std::uint64_t padded = roundUp(total, 2ull * run.world);
        all.push_back({padded - total, -1, 0});
        const std::uint64_t part = padded / run.world;
        for (std::uint32_t rank = 0; rank < run.world; ++rank) {
            RankVector vector{cut(all, rank * part, (rank + 1) * part), part};
            if (run.stripPadding)
                vector.stored = total <= rank * part ? 0 : std::min(part, total - rank * part);
            group.ranks.push_back(std::move(vector));
        }
        out.push_back(std::move(group));
    }
    return out;
}

std::vector<Group> subGroups(const ZeroTestRun& run)
{
    std::vector<Group> out;
    for (const auto& members : membersOf(run)) {
        std::uint64_t filled = 0;
        Group group;
        const auto close = [&] {
            if (!group.parameters.empty()) {
                group.ranks.resize(run.world);
                for (std::uint32_t rank = 0; rank < run.world; ++rank)
                    for (const std::size_t index : group.parameters) {
                        const std::uint64_t count = run.parameters[index].count();
                        const std::uint64_t slot = (count + run.world - 1) / run.world;
                        const std::uint64_t begin = std::min(count, rank * slot);
                        const std::uint64_t end = std::min(count, (rank + 1) * slot);
                        group.ranks[rank].stretches.push_back({end - begin, static_cast<std::ptrdiff_t>(index), begin});
                        group.ranks[rank].stretches.push_back({slot - (end - begin), -1, 0});
                        group.ranks[rank].stored += slot;
                    }
                out.push_back(std::move(group));
            }
            group = {};
            filled = 0;
        };
        for (const std::size_t index : members) {
            group.parameters.push_back(index);
            group.gaps.push_back(0);
            filled += (run.parameters[index].count() + run.world - 1) / run.world;
            if (filled >= run.subGroupSize)
                close();
        }
        close();
    }
    return out;
}

TestStorage storageOf(const ZeroTestRun& run, const RankVector& vector, int state, std::uint64_t count)
{
    if (run.sparse)
        return {count * 4, nullptr};
    return {count * 4, [&run, &vector, state](std::uint64_t offset, std::span<std::byte> out) {
                std::uint64_t at = 0;
                const std::uint64_t first = offset / 4;
                const std::uint64_t last = first + out.size() / 4;
                for (const Stretch& one : vector.stretches) {
                    for (std::uint64_t i = std::max(first, at); i < std::min(last, at + one.count); ++i) {
                        // padding is garbage that must never show
                        const float value = one.parameter < 0 ? -1e30f : run.valueAt(static_cast<std::size_t>(one.parameter), state, one.first + (i - at));
                        std::memcpy(out.data() + (i - first) * 4, &value, 4);
                    }
                    at += one.count;
                }
            }};
}

Py flatTensor(std::size_t storage, std::uint64_t storageCount, std::uint64_t count)
{
    return Py{Py::Tensor{"FloatStorage", storage, storageCount, 0, {count}, {1}}};
}

// Rows of the torch optimizer's groups: which flat groups or sub-groups each has.
std::vector<Py> paramGroups(const ZeroTestRun& run, const std::vector<Group>& groups)
{
    std::vector<std::vector<Py>> members(membersOf(run).size());
    for (std::size_t g = 0; g < groups.size(); ++g)
        if (!groups[g].parameters.empty())
            members[run.parameters[groups[g].parameters.front()].group].push_back(Py{static_cast<std::int64_t>(g)});
    std::vector<Py> out;
    for (std::vector<Py>& ofGroup : members)
        out.push_back(pyDict({{"weight_decay", Py{std::int64_t{0}}}, {"params", Py{std::move(ofGroup)}}}));
    return out;
}

void writeOptimizerFile(const ZeroTestRun& run, const std::vector<Group>& groups, std::uint32_t rank, const std::string& path)
{
    std::vector<TestStorage> storages;
    std::vector<Py> masters;
    Py::Dict states;
    Py::Tuple counts;
    std::vector<Py> gaps;
    for (std::size_t g = 0; g < groups.size(); ++g) {
        const RankVector& vector = groups[g].ranks[rank];
        const std::uint64_t full = vector.count();
        storages.push_back(storageOf(run, vector, 0, full)); // the master is a prefix view of a longer storage
        masters.push_back(flatTensor(storages.size() - 1, full, vector.stored));
        std::vector<std::pair<std::string, Py>> state{{"step", Py{std::int64_t{7}}}};
        if (run.stepTensors) {
            storages.push_back({4, [](std::uint64_t offset, std::span<std::byte> out) {
                                    const float seven = 7;
                                    std::memcpy(out.data(), reinterpret_cast<const std::byte*>(&seven) + offset, out.size());
                                }});
            state.front().second = Py{Py::Tensor{"FloatStorage", storages.size() - 1, 1, 0, {}, {}}};
        }
        for (int s = 1; s < kStates; ++s) {
            storages.push_back(storageOf(run, vector, s, full));
            state.emplace_back(s == 1 ? "exp_avg" : "exp_avg_sq", flatTensor(storages.size() - 1, full, full));
        }
        states.items.emplace_back(Py{static_cast<std::int64_t>(g)}, pyDict(std::move(state)));
        std::vector<Py> ofGroup;
        for (const std::uint64_t gap : groups[g].gaps)
            ofGroup.push_back(Py{static_cast<std::int64_t>(gap)});
        gaps.push_back(Py{std::move(ofGroup)});
        counts.items.push_back(Py{static_cast<std::int64_t>(run.world)});
    }
    const Py base = pyDict({{"state", Py{std::move(states)}}, {"param_groups", Py{paramGroups(run, groups)}}});
    const Py stage{Py::Call{{"deepspeed.runtime.zero.config", "ZeroStageEnum"}, {Py{std::int64_t{run.stage}}}}};
    Py state;
    if (run.stage == 3)
        state = pyDict({{"zero_stage", stage}, {"partition_count", Py{std::int64_t{run.world}}}, {"optimizer_state_dict", base}, {"fp32_flat_groups", Py{std::move(masters)}}});
    else
        state = pyDict({{"zero_stage", stage},
                        {"partition_count", Py{std::vector<Py>(counts.items)}},
                        {"base_optimizer_state", base},
                        {"single_partition_of_fp32_groups", Py{std::move(masters)}},
                        {"param_alignment_paddings", Py{std::move(gaps)}}});
    const Py config = pyDict({{"zero_optimization", pyDict({{"stage", Py{std::int64_t{run.stage}}}, {"sub_group_size", Py{static_cast<std::int64_t>(run.subGroupSize)}}})}});
    writeTorchFile(path, pyDict({{"optimizer_state_dict", state}, {"ds_config", config}, {"ds_version", Py{std::string("0.0-test")}}}), storages);
}

std::uint16_t upperHalf(float value)
{
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, 4);
    return static_cast<std::uint16_t>(bits >> 16); // exact: the values fit bfloat16
}

void writeModelFile(const ZeroTestRun& run, const std::vector<Group>& groups, const std::string& path)
{
    std::vector<TestStorage> storages;
    Py::Dict module{{}, true};
    for (std::size_t i = 0; i < run.parameters.size(); ++i) {
        const ZeroTestRun::Parameter& parameter = run.parameters[i];
        const std::uint64_t count = run.stage == 3 ? 0 : parameter.count();
        storages.push_back({count * 2, nullptr});
        if (!run.sparse)
            storages.back().fill = [&run, i](std::uint64_t offset, std::span<std::byte> out) {
                for (std::uint64_t at = 0; at < out.size() / 2; ++at) {
                    const std::uint16_t half = upperHalf(run.valueAt(i, 0, offset / 2 + at));
                    std::memcpy(out.data() + at * 2, &half, 2);
                }
            };
        const auto shape = run.stage == 3 ? std::vector<std::uint64_t>{0} : parameter.shape;
        module.items.emplace_back(Py{parameter.name}, Py{Py::Tensor{"BFloat16Storage", i, count, 0, shape, {}}});
    }
    std::vector<Py> shapes;
    for (const Group& group : groups) {
        Py::Dict ofGroup{{}, true};
        for (const std::size_t index : group.parameters)
            ofGroup.items.emplace_back(Py{run.parameters[index].name}, pySize(run.parameters[index].shape));
        shapes.push_back(Py{std::move(ofGroup)});
    }
    const Py config = pyDict({{"bf16", pyDict({{"enabled", Py{true}}})}, {"zero_optimization", pyDict({{"stage", Py{std::int64_t{run.stage}}}, {"sub_group_size", Py{static_cast<std::int64_t>(run.subGroupSize)}}})}});
    Py client{Py::None{}};
    if (const std::size_t dot = run.unknownClass.rfind('.'); dot != std::string::npos)
        client = Py{Py::Call{{run.unknownClass.substr(0, dot), run.unknownClass.substr(dot + 1)}, {}}};
    Py root = pyDict({{"module", Py{std::move(module)}}, {"client", std::move(client)}, {"buffer_names", Py{std::vector<Py>{}}}, {"optimizer", Py{Py::None{}}},
                           {"param_shapes", Py{std::move(shapes)}}, {"frozen_param_shapes", Py{Py::None{}}}, {"shared_params", pyDict({})},
                           {"global_steps", Py{std::int64_t{7}}}, {"dp_world_size", Py{std::int64_t{run.world}}}, {"mp_world_size", Py{std::int64_t{1}}},
                           {"ds_config", config}, {"ds_version", Py{std::string("0.0-test")}}});
    auto& members = std::get<Py::Dict>(root.value).items;
    members.insert(members.end(), run.clientState.begin(), run.clientState.end());
    writeTorchFile(path, root, storages);
}

} // namespace

std::uint64_t ZeroTestRun::Parameter::count() const
{
    std::uint64_t out = 1;
    for (const std::uint64_t extent : shape)
        out *= extent;
    return out;
}

float ZeroTestRun::valueAt(std::size_t parameter, int state, std::uint64_t index) const
{
    // At most 8 significant bits: exact in bfloat16. Neighbours differ, and so do parameters and states.
    const std::uint64_t mixed = index * 37 + parameter * 101 + static_cast<std::uint64_t>(state) * 53 + (index >> 8) * 11;
    return (static_cast<float>(mixed % 251) - 125.0f) / 8.0f;
}

void ZeroTestRun::write(const std::string& root, const std::string& tag) const
{
    const std::string folder = root + "/" + tag;
    std::filesystem::create_directories(folder);
    const std::vector<Group> groups = stage == 3 ? subGroups(*this) : flatGroups(*this);
    for (std::uint32_t rank = 0; rank < world; ++rank) {
        const std::string ranked = "zero_pp_rank_" + std::to_string(rank) + "_mp_rank_00_";
        writeOptimizerFile(*this, groups, rank, folder + "/bf16_" + ranked + "optim_states.pt");
        if (stage == 3)
            writeModelFile(*this, groups, folder + "/" + ranked + "model_states.pt");
    }
    if (stage != 3)
        writeModelFile(*this, groups, folder + "/mp_rank_00_model_states.pt");
    std::ofstream(root + "/latest") << tag;
}

} // namespace shardlens::test
