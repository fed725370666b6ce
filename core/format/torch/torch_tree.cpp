#include "core/format/torch/torch_tree.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <unordered_set>

namespace shardlens::torch {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr std::size_t kMaxDepth = 128;
constexpr std::uint64_t kMaxNameBytes = 256ull << 20; // a small file can repeat a long name without end
constexpr std::uint64_t kMaxVisits = 20'000'000;

bool isContainer(Value value)
{
    switch (value.kind()) {
    case Kind::Tuple:
    case Kind::List:
    case Kind::Dict:
    case Kind::Set:
    case Kind::FrozenSet:
    case Kind::Reduce:
    case Kind::NewObject: return true;
    default: return false;
    }
}

class Walker {
public:
    Result<std::vector<TreeLeaf>> run(Value root)
    {
        SHARDLENS_TRY(visit(root));
        return std::move(m_leaves);
    }

private:
    Status visit(Value value)
    {
        if (!isContainer(value))
            return {};
        if (++m_visits > kMaxVisits)
            return Error{ErrorCode::LimitExceeded, fmt::format("a tree of more than {} values", groupedText(kMaxVisits))};
        if (TorchFile::isTensor(value)) {
            std::string name = joined();
            m_nameBytes += name.size();
            if (m_nameBytes > kMaxNameBytes)
                return Error{ErrorCode::LimitExceeded, fmt::format("names of more than {} in all", sizeText(kMaxNameBytes))};
            m_leaves.push_back({std::move(name), m_path.empty() ? "" : m_path.front(), value});
            return {};
        }
        if (m_path.size() >= kMaxDepth)
            return Error{ErrorCode::LimitExceeded, fmt::format("a tree of more than {} levels", kMaxDepth)};
        if (!m_open.insert(value.index()).second)
            return {}; // it holds itself
        const Status status = visitChildren(value);
        m_open.erase(value.index());
        return status;
    }

    Status visitChildren(Value value)
    {
        if (value.isMapping()) {
            for (std::size_t i = 0; i < value.size(); ++i)
                SHARDLENS_TRY(under(keyText(value.keyAt(i)), value.valueAt(i)));
            return {};
        }
        if (value.isSequence()) {
            for (std::size_t i = 0; i < value.size(); ++i)
                SHARDLENS_TRY(under(std::to_string(i), value.at(i)));
            return {};
        }
        return visitObject(value);
    }

    Status visitObject(Value value)
    {
        if (value.attribute("_parameters").isMapping())
            return visitModule(value);
        Value state = value.state();
        if (state.kind() == Kind::Tuple && state.size() == 2 && state.at(1).isMapping()) { // (dict, slots)
            SHARDLENS_TRY(attributes(state.at(1)));
            state = state.at(0);
        }
        return state.isMapping() ? attributes(state) : Status{};
    }

    Status attributes(Value state)
    {
        for (std::size_t i = 0; i < state.size(); ++i)
            SHARDLENS_TRY(under(keyText(state.keyAt(i)), state.valueAt(i)));
        return {};
    }

    // A pickled module: its own parameters and persistent buffers, then its children's.
    Status visitModule(Value module)
    {
        const Value hidden = module.attribute("_non_persistent_buffers_set");
        SHARDLENS_TRY(attributes(module.attribute("_parameters")));
        const Value buffers = module.attribute("_buffers");
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            bool isHidden = false;
            for (std::size_t j = 0; j < hidden.size(); ++j)
                isHidden = isHidden || hidden.at(j).asText() == buffers.keyAt(i).asText();
            if (!isHidden)
                SHARDLENS_TRY(under(keyText(buffers.keyAt(i)), buffers.valueAt(i)));
        }
        return attributes(module.attribute("_modules"));
    }

    Status under(std::string part, Value value)
    {
        if (!isContainer(value))
            return {};
        m_path.push_back(std::move(part));
        Status status = visit(value);
        m_path.pop_back();
        return status;
    }

    [[nodiscard]] std::string joined() const { return fmt::format("{}", fmt::join(m_path, ".")); }

    std::vector<std::string> m_path;
    std::unordered_set<std::uint32_t> m_open; // on the way from the root to here
    std::uint64_t m_visits = 0;
    std::uint64_t m_nameBytes = 0;
    std::vector<TreeLeaf> m_leaves;
};

} // namespace

std::string keyText(Value key)
{
    if (const auto text = key.asText())
        return std::string(*text);
    if (const auto flag = key.asBool())
        return *flag ? "True" : "False";
    if (const auto number = key.asInt())
        return std::to_string(*number);
    if (const auto number = key.asFloat())
        return fmt::format("{}", *number);
    return key.isNone() ? "None" : fmt::format("key{}", key.index());
}

Result<std::vector<TreeLeaf>> tensorsOf(Value root)
{
    return Walker().run(root);
}

} // namespace shardlens::torch
