#include "tests/support/torch_dist_test_run.h"

#include <filesystem>
#include <fstream>
#include <map>

namespace shardlens::test {
namespace {

using Numbers = std::vector<std::uint64_t>;

std::uint64_t cellCount(const Numbers& shape)
{
    std::uint64_t out = 1;
    for (const std::uint64_t extent : shape)
        out *= extent;
    return out;
}

// Values of a box, in row-major order.
std::vector<float> valuesOfBox(const std::vector<float>& values, const Numbers& shape, const Numbers& offset, const Numbers& extent)
{
    std::vector<float> out;
    const std::uint64_t count = cellCount(extent);
    for (std::uint64_t i = 0; i < count; ++i) {
        std::uint64_t left = i;
        std::uint64_t at = 0;
        std::uint64_t step = 1;
        for (std::size_t axis = shape.size(); axis-- > 0;) {
            at += (offset[axis] + left % extent[axis]) * step;
            left /= extent[axis];
            step *= shape[axis];
        }
        out.push_back(values[at]);
    }
    return out;
}

// What one tensor-parallel rank has of a segment: a box of the model's tensor.
struct Part {
    Numbers offset;
    Numbers extent;
};

Part rankPartOf(const TorchDistTestRun::Parameter& parameter, std::uint64_t tp, std::uint64_t segment, std::uint64_t rank)
{
    Part out{Numbers(parameter.shape.size(), 0), parameter.shape};
    if (parameter.dim) {
        const std::uint64_t each = parameter.shape[*parameter.dim] / (tp * parameter.segments);
        out.extent[*parameter.dim] = each;
        out.offset[*parameter.dim] = (segment * tp + rank) * each;
    }
    return out;
}

class ContainerMaker {
public:
    explicit ContainerMaker(const TorchDistTestRun& run) : m_run(run) {}

    void add(const TorchDistTestRun::Parameter& parameter, const std::string& state)
    {
        const bool isState = !state.empty();
        const bool isFlat = isState && m_run.optimizer == TorchDistTestRun::Optimizer::Flattened;
        const std::string key = (isState ? m_run.chain + "optimizer.state." + state + "." : "") + m_run.prefix + parameter.key;
        const std::vector<float> values = TorchDistTestRun::whole(parameter, state);
        Numbers original;
        for (const auto& [number, count] : parameter.stack)
            original.push_back(count);
        original.insert(original.end(), parameter.shape.begin(), parameter.shape.end());
        const std::uint64_t ranks = parameter.dim ? m_run.tp : 1;
        DcpTestFolder::Tensor& tensor = tensorOf(key, isFlat ? flattenedShape(parameter, original, ranks) : original);
        if (isFlat && m_run.saysShapes && m_known.insert({key, true}).second)
            m_folder.flattened.emplace_back(key, original);
        for (std::uint64_t segment = 0; segment < (parameter.dim ? parameter.segments : 1); ++segment)
            for (std::uint64_t rank = 0; rank < ranks; ++rank) {
                const Part part = rankPartOf(parameter, ranks, segment, rank);
                const std::vector<float> local = valuesOfBox(values, parameter.shape, part.offset, part.extent);
                if (isFlat)
                    addFlat(tensor, parameter, segment * ranks + rank, local);
                else
                    addBox(tensor, parameter, part, local, rank);
            }
    }

    DcpTestFolder take() { return std::move(m_folder); }

private:
    DcpTestFolder::Tensor& tensorOf(const std::string& key, const Numbers& shape)
    {
        for (DcpTestFolder::Tensor& tensor : m_folder.tensors)
            if (tensor.key == key)
                return tensor;
        m_folder.tensors.push_back({key, shape, {}});
        return m_folder.tensors.back();
    }

    // [shards along each axis …, elements of a shard]
    static Numbers flattenedShape(const TorchDistTestRun::Parameter& parameter, const Numbers& original, std::uint64_t ranks)
    {
        Numbers out;
        for (std::size_t axis = 0; axis < original.size(); ++axis) {
            const bool isStack = axis < parameter.stack.size();
            const bool isCut = parameter.dim && axis == parameter.stack.size() + *parameter.dim;
            out.push_back(isStack ? original[axis] : isCut ? ranks * parameter.segments : 1);
        }
        out.push_back(cellCount(original) / cellCount(out));
        return out;
    }

    static void addBox(DcpTestFolder::Tensor& tensor, const TorchDistTestRun::Parameter& parameter, const Part& part, const std::vector<float>& values, std::uint64_t rank)
    {
        Numbers offset;
        Numbers extent;
        for (const auto& [number, count] : parameter.stack) {
            offset.push_back(number);
            extent.push_back(1);
        }
        offset.insert(offset.end(), part.offset.begin(), part.offset.end());
        extent.insert(extent.end(), part.extent.begin(), part.extent.end());
        tensor.chunks.push_back({offset, extent, values, static_cast<std::size_t>(rank)});
    }

    void addFlat(DcpTestFolder::Tensor& tensor, const TorchDistTestRun::Parameter& parameter, std::uint64_t shard, const std::vector<float>& values)
    {
        Numbers first;
        for (const auto& [number, count] : parameter.stack)
            first.push_back(number);
        for (std::size_t axis = 0; axis < parameter.shape.size(); ++axis)
            first.push_back(parameter.dim && axis == *parameter.dim ? shard : 0);
        first.push_back(0);
        std::uint64_t begin = 0;
        for (std::uint64_t piece = 0; piece < m_run.dp; ++piece) { // 1/2, 1/3 … of what is left, and the rest
            const std::uint64_t left = values.size() - begin;
            const std::uint64_t count = piece + 1 == m_run.dp ? left : left / (piece + 2);
            if (count == 0)
                continue;
            Numbers offset = first;
            Numbers extent(first.size(), 1);
            offset.back() = begin;
            extent.back() = count;
            tensor.chunks.push_back({offset, extent, {values.begin() + static_cast<std::ptrdiff_t>(begin), values.begin() + static_cast<std::ptrdiff_t>(begin + count)}, static_cast<std::size_t>(piece)});
            begin += count;
        }
    }

    const TorchDistTestRun& m_run;
    DcpTestFolder m_folder;
    std::map<std::string, bool> m_known;
};

} // namespace

std::vector<TorchDistTestRun::Parameter> TorchDistTestRun::parameters() const
{
    std::vector<Parameter> out;
    out.push_back({"embedding.word_embeddings.weight", "embedding.word_embeddings.weight", {vocabulary, hidden}, {}, 0, 1});
    const auto add = [&](std::uint64_t layer, const std::string& tail, const Numbers& shape, std::optional<std::size_t> dim, std::uint64_t segments) {
        const std::string name = "decoder.layers." + std::to_string(layer) + "." + tail;
        const bool isExpert = tail.find("{}") != std::string::npos;
        for (std::uint64_t expert = 0; expert < (isExpert ? experts : 1); ++expert) {
            Parameter one{name, (stacked ? "decoder.layers." : "decoder.layers." + std::to_string(layer) + ".") + tail, shape, {}, dim, segments};
            if (stacked)
                one.stack.emplace_back(layer, layers);
            if (isExpert) {
                one.stack.emplace_back(expert, experts);
                one.name.replace(one.name.find("{}"), 2, std::to_string(expert));
                one.key.erase(one.key.find("{}."), 3);
            }
            out.push_back(std::move(one));
        }
    };
    for (std::uint64_t layer = 0; layer < layers; ++layer) {
        add(layer, "self_attention.linear_qkv.layer_norm_weight", {hidden}, std::nullopt, 1);
        add(layer, "self_attention.linear_qkv.weight", {3 * hidden, hidden}, 0, 1);
        add(layer, "self_attention.linear_proj.weight", {hidden, hidden}, 1, 1);
        if (experts == 0)
            add(layer, "mlp.linear_fc1.weight", {2 * ffn, hidden}, 0, 2);
        else
            add(layer, "mlp.experts.experts.{}.linear_fc1.weight", {2 * ffn, hidden}, 0, 2);
    }
    out.push_back({"decoder.final_layernorm.weight", "decoder.final_layernorm.weight", {hidden}, {}, std::nullopt, 1});
    return out;
}

std::vector<float> TorchDistTestRun::whole(const Parameter& parameter, const std::string& state)
{
    std::uint64_t hash = 7;
    for (const char c : parameter.name + "|" + state)
        hash = (hash * 31 + static_cast<unsigned char>(c)) % 9'973;
    const auto first = static_cast<float>(hash);
    std::vector<float> out;
    for (std::uint64_t i = 0; i < cellCount(parameter.shape); ++i)
        out.push_back(first + static_cast<float>(i) / 4);
    return out;
}

DcpTestFolder TorchDistTestRun::container() const
{
    ContainerMaker maker(*this);
    for (const Parameter& parameter : parameters())
        maker.add(parameter, "");
    if (optimizer != Optimizer::None)
        for (const Parameter& parameter : parameters())
            for (const std::string& state : {std::string("exp_avg"), masterState})
                maker.add(parameter, state);
    return maker.take();
}

void TorchDistTestRun::writeBeside(const std::string& iteration, std::vector<std::pair<std::string, Py>> common)
{
    std::ofstream(iteration + "/metadata.json") << R"({"sharded_backend": "torch_dist", "sharded_backend_version": 1, "common_backend": "torch", "common_backend_version": 1})";
    common.emplace_back("iteration", Py{std::int64_t{5}});
    common.emplace_back("checkpoint_version", Py{3.0});
    writeTorchFile(iteration + "/common.pt", pyDict(std::move(common)), {});
}

void TorchDistTestRun::write(const std::string& root, std::vector<std::pair<std::string, Py>> common) const
{
    const std::string iteration = root + "/iter_0000005";
    container().write(iteration);
    writeBeside(iteration, std::move(common));
    std::ofstream(root + "/latest_checkpointed_iteration.txt") << "5\n";
}

} // namespace shardlens::test
