#include "core/encoding/state_dict.h"

#include "core/base/text.h"
#include "core/encoding/torch_file.h"

#include <fmt/format.h>

namespace shardlens {
namespace {

constexpr std::size_t kDeepestStateDict = 64;
constexpr std::size_t kLongestStateName = 64 * 1024;
constexpr std::size_t kVisitsPerNode = 16;

std::string stateKey(pickle::Value key)
{
    if (const auto text = key.asText())
        return std::string(*text);
    if (const auto number = key.asInt())
        return std::to_string(*number);
    return {};
}

Status walk(pickle::Value at, const std::string& path, std::size_t depth, std::vector<StateDictTensor>& out, std::size_t& visits)
{
    if (depth > kDeepestStateDict || path.size() > kLongestStateName)
        return Error{ErrorCode::LimitExceeded, fmt::format("a state dict nests more than {} levels deep, or has names of more than {} B", kDeepestStateDict, kLongestStateName)};
    for (std::size_t i = 0; i < at.size(); ++i) {
        const pickle::Value value = at.valueAt(i);
        const bool isTensor = TorchFile::isTensor(value);
        if (!isTensor && !value.isMapping())
            continue;
        const std::string key = stateKey(at.keyAt(i));
        std::string name = path.empty() ? key : path + "." + key;
        if (++visits > kVisitsPerNode * at.graph()->nodeCount())
            return Error{ErrorCode::LimitExceeded, "a state dict holds itself"};
        if (isTensor)
            out.push_back({std::move(name), value});
        else
            SHARDLENS_TRY(walk(value, name, depth + 1, out, visits));
    }
    return {};
}

} // namespace

Result<std::vector<StateDictTensor>> stateDictOf(pickle::Value root)
{
    std::vector<StateDictTensor> out;
    std::size_t visits = 0;
    if (root.isMapping())
        SHARDLENS_TRY(walk(root, {}, 0, out, visits));
    return out;
}

} // namespace shardlens
