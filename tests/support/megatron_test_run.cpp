#include "tests/support/megatron_test_run.h"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

namespace shardlens::test {
namespace {

using Parameter = MegatronTestRun::Parameter;
using Optimizer = MegatronTestRun::Optimizer;
const std::vector<std::string> kMegatronStates{"param", "exp_avg", "exp_avg_sq"};

Py wholeNumber(std::uint64_t value)
{
    return Py{static_cast<std::int64_t>(value)};
}

std::string digits(std::uint32_t value, int width)
{
    char out[16];
    std::snprintf(out, sizeof out, "%0*u", width, value);
    return out;
}

// What is kept of a float32 as bfloat16.
constexpr std::size_t kHalfBytes = 2;

// A torch file on its way: every tensor has a storage of its own.
struct RankFileParts {
    std::vector<TestStorage> storages;

    Py tensor(const std::vector<float>& values, const std::vector<std::uint64_t>& shape)
    {
        storages.push_back({values.size() * sizeof(float), [values](std::uint64_t offset, std::span<std::byte> out) {
                                if (!out.empty())
                                    std::memcpy(out.data(), reinterpret_cast<const std::byte*>(values.data()) + offset, out.size());
                            }});
        return Py{Py::Tensor{"FloatStorage", storages.size() - 1, values.size(), 0, shape, {}}};
    }

    Py halfTensor(const std::vector<float>& values, const std::vector<std::uint64_t>& shape)
    {
        std::vector<std::byte> bytes(values.size() * kHalfBytes);
        for (std::size_t i = 0; i < values.size(); ++i)
            std::memcpy(bytes.data() + i * kHalfBytes, reinterpret_cast<const std::byte*>(&values[i]) + sizeof(float) - kHalfBytes, kHalfBytes);
        storages.push_back({bytes.size(), [bytes](std::uint64_t offset, std::span<std::byte> out) {
                                if (!out.empty())
                                    std::memcpy(out.data(), bytes.data() + offset, out.size());
                            }});
        return Py{Py::Tensor{"BFloat16Storage", storages.size() - 1, values.size(), 0, shape, {}}};
    }
};

// A parameter as a rank has it.
struct LocalParameter {
    std::string name;
    Parameter whole;
    std::vector<std::uint64_t> shape;
    std::uint64_t count = 0;
    bool isExpert = false;
    bool isShared = false;
};

std::vector<float> cut(const Parameter& parameter, const std::vector<float>& values, std::uint32_t tp, std::uint32_t rank)
{
    if (!parameter.dim)
        return values;
    const std::uint64_t rows = parameter.shape[0];
    const std::uint64_t columns = parameter.shape.size() > 1 ? parameter.shape[1] : 1;
    const std::uint64_t extent = *parameter.dim == 0 ? rows : columns;
    const std::uint64_t segment = extent / parameter.segments;
    std::vector<float> out;
    const auto isOurs = [&](std::uint64_t at) { return at % segment / (segment / tp) == rank; };
    for (std::uint64_t r = 0; r < rows; ++r)
        for (std::uint64_t c = 0; c < columns; ++c)
            if (isOurs(*parameter.dim == 0 ? r : c))
                out.push_back(values[r * columns + c]);
    return out;
}

struct Place {
    std::uint32_t tp = 0;
    std::uint32_t pp = 0;
    std::uint32_t ep = 0;
};

// Names begin anew with layer 0 in every chunk, and with expert 0 on every expert-parallel rank.
std::vector<LocalParameter> chunkOf(const MegatronTestRun& run, const Place& place, std::uint32_t chunk)
{
    const std::uint64_t each = run.layers / (run.pp * run.chunks);
    const std::uint64_t first = chunk * (run.layers / run.chunks) + place.pp * each;
    const std::uint64_t ownExperts = run.experts / run.ep;
    std::vector<LocalParameter> out;
    const auto add = [&](const Parameter& parameter, std::string name, bool isExpert, bool isShared) {
        LocalParameter local{std::move(name), parameter, parameter.shape, 0, isExpert, isShared};
        if (parameter.dim)
            local.shape[*parameter.dim] /= run.tp;
        local.count = std::accumulate(local.shape.begin(), local.shape.end(), std::uint64_t{1}, std::multiplies<>());
        out.push_back(std::move(local));
    };
    const bool isFirst = place.pp == 0 && chunk == 0;
    const bool isLast = place.pp + 1 == run.pp && chunk + 1 == run.chunks;
    for (const Parameter& parameter : run.parameters()) {
        const std::string& name = parameter.name;
        std::uint64_t layer = 0;
        std::uint64_t expert = 0;
        int end = 0;
        const bool inLayer = std::sscanf(name.c_str(), "decoder.layers.%lu.%n", &layer, &end) == 1;
        if (inLayer && layer >= first && layer < first + each) {
            std::string local = "decoder.layers." + std::to_string(layer - first) + "." + name.substr(static_cast<std::size_t>(end));
            const std::size_t at = local.find("local_experts.");
            int digits = 0;
            const bool isExpert = at != std::string::npos && std::sscanf(local.c_str() + at, "local_experts.%lu%n", &expert, &digits) == 1;
            if (isExpert && expert / ownExperts != place.ep)
                continue;
            if (isExpert)
                local = local.substr(0, at) + "local_experts." + std::to_string(expert % ownExperts) + local.substr(at + static_cast<std::size_t>(digits));
            add(parameter, local, isExpert, false);
        }
        const bool isEmbedding = name == "embedding.word_embeddings.weight";
        if (!inLayer && (isEmbedding ? isFirst : isLast))
            add(parameter, name, false, isEmbedding && run.tied && run.pp > 1);
    }
    if (isLast && run.tied && run.pp > 1)
        add(run.parameters().front(), "output_layer.weight", false, true);
    return out;
}

// What one buffer keeps of a state, over its whole padded length; gaps are not zero, so that nobody takes them for values.
std::vector<float> filled(const std::vector<LocalParameter>& parameters, const FlatReference& reference, const MegatronTestRun& run, std::uint32_t rank,
                          const std::string& state)
{
    std::vector<float> out(reference.buckets.empty() ? 0 : reference.buckets.back().paddedEnd, -99.F);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        const auto values = cut(parameters[i].whole, MegatronTestRun::whole(parameters[i].whole, state), run.tp, rank);
        std::copy(values.begin(), values.end(), out.begin() + static_cast<std::ptrdiff_t>(reference.places[i].begin));
    }
    return out;
}

Py floatKey(bool isPair)
{
    const Py::Global f32{"torch", "float32"};
    return isPair ? Py{Py::Tuple{{Py{f32}, Py{f32}}}} : Py{f32};
}

Py bufferDict(const MegatronTestRun& run, RankFileParts& file, const std::vector<LocalParameter>& parameters, const Place& place, std::uint64_t dp,
              bool isFirst, std::vector<Py>& perBucket)
{
    std::vector<std::uint64_t> sizes;
    std::optional<std::size_t> shared;
    for (const LocalParameter& one : parameters) {
        if (one.isShared)
            shared = sizes.size();
        sizes.push_back(one.count);
    }
    const FlatReference reference = flatReference(sizes, shared, dp, isFirst ? run.bucketSize : std::nullopt, run.aligned);
    Py::Dict out;
    for (const std::string& state : kMegatronStates) {
        const std::vector<float> all = filled(parameters, reference, run, place.tp, state);
        std::vector<Py> byBucket;
        std::vector<float> coalesced;
        for (const FlatBucket& bucket : reference.buckets) {
            const auto begin = all.begin() + static_cast<std::ptrdiff_t>(bucket.begin);
            byBucket.push_back(run.optimizer == Optimizer::Buckets
                                   ? file.tensor({begin, all.begin() + static_cast<std::ptrdiff_t>(bucket.paddedEnd)}, {bucket.paddedEnd - bucket.begin})
                                   : Py{});
            coalesced.insert(coalesced.end(), begin, begin + static_cast<std::ptrdiff_t>(bucket.unpadded));
        }
        if (run.optimizer == Optimizer::Buckets)
            out.items.emplace_back(Py{state}, Py{byBucket});
        else
            out.items.emplace_back(Py{state}, run.optimizer == Optimizer::Padded ? file.tensor(all, {all.size()}) : file.tensor(coalesced, {coalesced.size()}));
        if (run.optimizer == Optimizer::Coalesced && state == kMegatronStates.back())
            out.items.emplace_back(Py{std::string("numel_unpadded")}, wholeNumber(coalesced.size()));
    }
    std::vector<Py> lengths;
    for (const FlatBucket& bucket : reference.buckets)
        lengths.push_back(wholeNumber(bucket.paddedEnd - bucket.begin));
    perBucket.push_back(Py{Py::Dict{{{floatKey(true), Py{lengths}}}}});
    return Py{Py::Dict{{{floatKey(run.optimizer != Optimizer::Padded), Py{out}}}}};
}

Py flatOptimizer(const MegatronTestRun& run, RankFileParts& file, const std::vector<std::vector<LocalParameter>>& chunks, const Place& place,
                 std::optional<bool> ofExperts)
{
    Py::Dict out;
    if (run.optimizer == Optimizer::Coalesced)
        out.items.emplace_back(Py{std::string("buckets_coalesced")}, Py{true});
    const std::uint64_t dp = ofExperts.value_or(false) ? run.dp / run.ep : run.dp;
    std::vector<Py> perBucket;
    for (std::size_t chunk = 0; chunk < chunks.size(); ++chunk) {
        std::vector<LocalParameter> own;
        for (const LocalParameter& one : chunks[chunk])
            if (!ofExperts || one.isExpert == *ofExperts)
                own.push_back(one);
        if (!own.empty())
            out.items.emplace_back(wholeNumber(chunk), bufferDict(run, file, own, place, dp, place.pp == 0 && chunk == 0, perBucket));
    }
    if (run.optimizer == Optimizer::Buckets)
        out.items.emplace_back(Py{std::string("per_bucket_numel")}, Py{perBucket});
    return Py{out};
}

bool isHalfIn(const MegatronTestRun& run, const LocalParameter& parameter)
{
    return run.half && !parameter.name.ends_with("router.weight");
}

// fp32 training: torch's own dictionary, matrices first. In half precision it is a member beside the lists of masters.
Py plainOptimizer(const MegatronTestRun& run, RankFileParts& file, const std::vector<std::vector<LocalParameter>>& chunks, const Place& place,
                  std::optional<bool> ofExperts)
{
    Py::Dict states;
    std::vector<Py> groups;
    std::vector<Py> masters;
    std::int64_t id = 0;
    for (const bool decays : {true, false}) {
        std::vector<Py> members;
        std::vector<Py> ofGroup;
        for (const auto& chunk : chunks)
            for (const LocalParameter& one : chunk) {
                if ((one.shape.size() > 1) != decays || (ofExperts && one.isExpert != *ofExperts))
                    continue;
                std::vector<std::pair<std::string, Py>> own{{"step", Py{std::int64_t{5}}}};
                const auto part = [&](const char* state) {
                    return file.tensor(cut(one.whole, MegatronTestRun::whole(one.whole, state), run.tp, place.tp), one.shape);
                };
                for (const char* state : {"exp_avg", "exp_avg_sq"})
                    own.emplace_back(state, part(state));
                if (isHalfIn(run, one))
                    ofGroup.push_back(part("param"));
                states.items.emplace_back(Py{id}, pyDict(std::move(own)));
                members.push_back(Py{id++});
            }
        groups.push_back(pyDict({{"weight_decay", Py{decays ? 0.01 : 0.0}}, {"params", Py{members}}}));
        masters.push_back(Py{ofGroup});
    }
    Py torchs = pyDict({{"state", Py{states}}, {"param_groups", Py{groups}}});
    return run.half ? pyDict({{"optimizer", std::move(torchs)}, {"fp32_from_fp16_params", Py{masters}}}) : torchs;
}

Py argumentsOf(const MegatronTestRun& run)
{
    std::vector<std::pair<std::string, Py>> out{{"num_layers", wholeNumber(run.layers)},
                                                {"hidden_size", wholeNumber(run.hidden)},
                                                {"tensor_model_parallel_size", wholeNumber(run.tp)},
                                                {"pipeline_model_parallel_size", wholeNumber(run.pp)},
                                                {"expert_model_parallel_size", wholeNumber(run.ep)},
                                                {"swiglu", Py{true}},
                                                {"untie_embeddings_and_output_weights", Py{!run.tied}},
                                                {"overlap_grad_reduce", Py{run.bucketSize.has_value()}}};
    if (run.saysRanks)
        out.emplace_back("data_parallel_size", wholeNumber(run.dp));
    if (run.bucketSize)
        out.emplace_back("ddp_bucket_size", wholeNumber(*run.bucketSize));
    out.insert(out.end(), run.arguments.begin(), run.arguments.end());
    return pyDict(std::move(out));
}

} // namespace

FlatReference flatReference(const std::vector<std::uint64_t>& sizes, std::optional<std::size_t> shared, std::uint64_t dp,
                            std::optional<std::uint64_t> bucketSize, bool aligned)
{
    const auto roundUp = [](std::uint64_t value, std::uint64_t to) { return (value + to - 1) / to * to; };
    const std::uint64_t pad = aligned ? std::lcm(dp, std::uint64_t{128}) : dp;
    FlatReference out;
    out.places.resize(sizes.size());
    std::uint64_t start = 0;
    std::uint64_t bucketStart = 0;
    std::size_t inBucket = 0;
    const auto closeAt = [&](std::uint64_t end) {
        out.buckets.push_back({bucketStart, roundUp(end, pad), end - bucketStart});
        bucketStart = start = roundUp(end, pad);
        inBucket = 0;
    };
    for (std::size_t i = sizes.size(); i-- > 0;) {
        if (aligned)
            start = roundUp(start, 64);
        if (i == shared && inBucket > 0)
            closeAt(start);
        out.places[i] = {out.buckets.size(), start};
        ++inBucket;
        const std::uint64_t end = start + sizes[i];
        const bool isFull = bucketSize && end - bucketStart >= *bucketSize && (aligned || inBucket > 1);
        if (isFull || i == shared)
            closeAt(end);
        else
            start = end;
    }
    if (inBucket > 0)
        closeAt(start);
    return out;
}

std::vector<MegatronTestRun::Parameter> MegatronTestRun::parameters() const
{
    std::vector<Parameter> out;
    const auto add = [&](std::string name, std::vector<std::uint64_t> shape, std::optional<std::size_t> dim, std::uint64_t segments = 1) {
        out.push_back({std::move(name), std::move(shape), dim, segments, out.size()});
    };
    add("embedding.word_embeddings.weight", {vocabulary, hidden}, 0);
    for (std::uint64_t layer = 0; layer < layers; ++layer) {
        const std::string at = "decoder.layers." + std::to_string(layer) + ".";
        add(at + "input_layernorm.weight", {hidden}, {});
        add(at + "self_attention.linear_proj.weight", {hidden, hidden}, 1);
        add(at + "self_attention.linear_proj.bias", {hidden}, {});
        if (experts == 0) {
            add(at + "mlp.linear_fc1.weight", {2 * ffn, hidden}, 0, 2);
            add(at + "mlp.linear_fc2.weight", {hidden, ffn}, 1);
        } else {
            add(at + "mlp.router.weight", {experts, hidden}, {});
        }
        for (std::uint64_t expert = 0; expert < experts; ++expert) {
            const std::string of = at + "mlp.experts.local_experts." + std::to_string(expert) + ".";
            add(of + "linear_fc1.weight", {2 * ffn, hidden}, 0, 2);
            add(of + "linear_fc2.weight", {hidden, ffn}, 1);
        }
    }
    add("decoder.final_layernorm.weight", {hidden}, {});
    if (!tied)
        add("output_layer.weight", {vocabulary, hidden}, 0);
    return out;
}

std::vector<float> MegatronTestRun::whole(const Parameter& parameter, const std::string& state)
{
    const std::uint64_t count = std::accumulate(parameter.shape.begin(), parameter.shape.end(), std::uint64_t{1}, std::multiplies<>());
    const float of = state == "exp_avg" ? 1'000'000.F : state == "exp_avg_sq" ? 2'000'000.F : state == "param" ? 0.25F : 0.F;
    std::vector<float> out(count);
    std::iota(out.begin(), out.end(), of + static_cast<float>(parameter.number * 10'000));
    return out;
}

void MegatronTestRun::write(const std::string& root) const
{
    for (std::uint32_t rank = 0; rank < tp * pp * ep; ++rank) {
        const Place place{rank % tp, rank / (tp * ep), rank / tp % ep};
        const std::string name = "mp_rank_" + digits(place.tp, 2) + (pp > 1 ? "_" + digits(place.pp, 3) : "") + (ep > 1 ? "_" + digits(place.ep, 3) : "");
        const std::string folder = root + "/iter_0000003/" + name;
        std::filesystem::create_directories(folder);
        RankFileParts model;
        std::vector<std::pair<std::string, Py>> out{{"args", argumentsOf(*this)}, {"checkpoint_version", Py{3.0}}, {"iteration", wholeNumber(3)}};
        std::vector<std::vector<LocalParameter>> parts;
        for (std::uint32_t chunk = 0; chunk < chunks; ++chunk) {
            parts.push_back(chunkOf(*this, place, chunk));
            std::vector<std::pair<std::string, Py>> tensors;
            for (const LocalParameter& one : parts.back()) {
                const auto values = cut(one.whole, whole(one.whole, "module"), tp, place.tp);
                tensors.emplace_back(one.name, isHalfIn(*this, one) ? model.halfTensor(values, one.shape) : model.tensor(values, one.shape));
            }
            out.emplace_back(chunks == 1 ? "model" : "model" + std::to_string(chunk), pyDict(std::move(tensors), true));
        }
        const auto optimizers = [&](const auto& make) {
            return experts == 0 || !chained ? make(std::optional<bool>{}) : Py{std::vector<Py>{make(std::optional(false)), make(std::optional(true))}};
        };
        if (optimizer == Optimizer::Plain)
            out.emplace_back("optimizer", optimizers([&](std::optional<bool> ofExperts) { return plainOptimizer(*this, model, parts, place, ofExperts); }));
        else if (optimizer != Optimizer::None)
            out.emplace_back("optimizer", optimizers([&](std::optional<bool>) {
                                 return pyDict({{"optimizer", pyDict({{"param_groups", Py{std::vector<Py>{pyDict({{"step", wholeNumber(5)}})}}}})}});
                             }));
        Py content = pyDict(std::move(out));
        if (change)
            change(name + "/model_optim_rng.pt", content);
        writeTorchFile(folder + "/model_optim_rng.pt", content, model.storages);
        if (optimizer == Optimizer::None || optimizer == Optimizer::Plain)
            continue;
        RankFileParts states;
        Py flat = optimizers([&](std::optional<bool> ofExperts) {
            return ofExperts && !*ofExperts && place.ep > 0 ? Py{} : flatOptimizer(*this, states, parts, place, ofExperts);
        });
        if (change)
            change(name + "/distrib_optim.pt", flat);
        writeTorchFile(folder + "/distrib_optim.pt", flat, states.storages);
    }
    std::ofstream(root + "/latest_checkpointed_iteration.txt") << "3";
}

} // namespace shardlens::test
