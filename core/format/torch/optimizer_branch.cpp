#include "core/format/torch/optimizer_branch.h"

#include "core/base/endian.h"
#include "core/encoding/tensor_leaves.h"

#include <array>
#include <map>

namespace shardlens::torch {
namespace {

using pickle::Kind;
using pickle::Value;

// Number of a parameter → its name, where the groups hold param_names beside params.
std::map<std::int64_t, std::string> namesOf(Value optimizer)
{
    std::map<std::int64_t, std::string> out;
    const Value groups = optimizer.find("param_groups");
    for (std::size_t g = 0; g < groups.size(); ++g) {
        const Value numbers = groups.at(g).find("params");
        const Value names = groups.at(g).find("param_names");
        for (std::size_t i = 0; i < numbers.size() && i < names.size(); ++i)
            if (const auto number = numbers.at(i).asInt(); number && names.at(i).asText())
                out.emplace(*number, std::string(*names.at(i).asText()));
    }
    return out;
}

class OptimizerReader {
public:
    OptimizerReader(CheckpointBuilder& builder, FileId file, const TorchFile& torch) : m_builder(builder), m_file(file), m_torch(torch), m_pieces(builder, file, torch) {}

    Status read(Value optimizer, const std::string& prefix)
    {
        SHARDLENS_TRY(readFlat(optimizer, prefix));
        const auto names = namesOf(optimizer);
        const Value states = optimizer.find("state");
        for (std::size_t i = 0; i < states.size(); ++i) {
            const auto number = states.keyAt(i).asInt();
            const auto named = number ? names.find(*number) : names.end();
            const std::string parameter = prefix + (named != names.end() ? named->second : keyText(states.keyAt(i)));
            const Value ofParameter = states.valueAt(i);
            for (std::size_t s = 0; s < ofParameter.size() && ofParameter.isMapping(); ++s)
                SHARDLENS_TRY(add(parameter, keyText(ofParameter.keyAt(s)), ofParameter.valueAt(s)));
        }
        return {};
    }

    // get_state_dict(flatten_optimizer_state_dict=True): one key "state.FQN.STATE" for each.
    Status readFlat(Value optimizer, const std::string& prefix)
    {
        constexpr std::string_view kFlat = "state.";
        for (std::size_t i = 0; i < optimizer.size(); ++i) {
            const std::string key = keyText(optimizer.keyAt(i));
            const std::size_t dot = key.find_last_of('.');
            if (key.starts_with(kFlat) && dot > kFlat.size())
                SHARDLENS_TRY(add(prefix + key.substr(kFlat.size(), dot - kFlat.size()), key.substr(dot + 1), optimizer.valueAt(i)));
        }
        return {};
    }

    std::unordered_set<std::uint32_t> takeTaken() { return std::move(m_taken); }

private:
    Status add(const std::string& parameter, const std::string& state, Value value)
    {
        const RoleId role = m_builder.role(RoleKind::OptimizerState, state);
        const ParameterId owner = m_builder.parameter(parameter);
        if (TorchFile::isTensor(value)) {
            SHARDLENS_ASSIGN(const TorchTensor tensor, m_torch.tensorOf(value));
            m_taken.insert(value.index());
            const TensorId id = m_builder.addTensor({owner, role, tensor.dtype, Combine::Exclusive, false, tensor.shape});
            return m_pieces.addWhole(id, tensor, m_builder.holder({}));
        }
        std::array<std::byte, 8> bytes{};
        if (value.kind() == Kind::Int)
            storeLe(bytes.data(), value.asInt().value_or(0));
        else if (value.kind() == Kind::Float)
            storeLe(bytes.data(), value.asFloat().value_or(0));
        else
            return {};
        const TensorId id = m_builder.addTensor({owner, role, value.kind() == Kind::Int ? DType::I64 : DType::F64, Combine::Exclusive, false, {}});
        return m_builder.addWhole(id, {m_builder.addInline(m_file, bytes), 0, m_builder.holder({}), {}});
    }

    CheckpointBuilder& m_builder;
    FileId m_file;
    const TorchFile& m_torch;
    TorchPieces m_pieces;
    std::unordered_set<std::uint32_t> m_taken;
};

} // namespace

Result<std::unordered_set<std::uint32_t>> addOptimizer(CheckpointBuilder& builder, FileId file, const TorchFile& torch, Value branch)
{
    OptimizerReader reader(builder, file, torch);
    if (branch.isMapping()) {
        SHARDLENS_TRY(reader.read(branch, ""));
    } else {
        for (std::size_t i = 0; i < branch.size(); ++i)
            SHARDLENS_TRY(reader.read(branch.at(i), branch.size() == 1 ? "" : std::to_string(i) + "."));
    }
    return reader.takeTaken();
}

} // namespace shardlens::torch
