#include "core/encoding/tensor_leaves.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <unordered_set>
#include <utility>

namespace shardlens {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr std::size_t kMaxLeafDepth = 128;
constexpr std::uint64_t kMaxLeafNameBytes = 256ull << 20; // a small file can repeat a long name without end
constexpr std::size_t kMaxLeafKeyBytes = 64u << 10;
// A value is met once for every way that leads to it. Trees that people save share little; what is shared without end is refused early.
constexpr std::uint64_t kLeafVisitsPerNode = 16; // of containers
constexpr std::uint64_t kLeafStepsPerNode = 64;  // to values of any kind
constexpr std::uint64_t kFreeLeafVisits = 200'000;
constexpr std::uint64_t kLeafStepsPerPoll = 65'536;         // steps

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
    Walker(const JobContext& job, const TorchFile* script) : m_job(job), m_script(script) {}

    Result<std::vector<TreeLeaf>> run(Value root)
    {
        const std::uint64_t nodes = root ? root.graph()->nodeCount() : 0;
        m_maxVisits = kFreeLeafVisits + kLeafVisitsPerNode * nodes;
        m_maxSteps = kFreeLeafVisits + kLeafStepsPerNode * nodes;
        SHARDLENS_TRY(visit(root));
        return std::move(m_leaves);
    }

private:
    Status visit(Value value)
    {
        if (!isContainer(value))
            return {};
        if (m_barren.contains(value.index()))
            return {};
        if (++m_visits > m_maxVisits)
            return Error{ErrorCode::LimitExceeded, fmt::format("a tree in which {} containers are met, counted once for every way to them", groupedText(m_maxVisits))};
        if (TorchFile::isTensor(value)) {
            m_nameBytes += m_pathBytes + m_path.size() + (m_path.empty() ? 0 : m_path.front().size());
            if (m_nameBytes > kMaxLeafNameBytes)
                return Error{ErrorCode::LimitExceeded, fmt::format("names of more than {} in all", sizeText(kMaxLeafNameBytes))};
            m_leaves.push_back({joined(), m_path.empty() ? "" : m_path.front(), value, m_isAttribute});
            return {};
        }
        if (m_path.size() >= kMaxLeafDepth)
            return Error{ErrorCode::LimitExceeded, fmt::format("a tree of more than {} levels", kMaxLeafDepth)};
        if (!m_open.insert(value.index()).second) {
            ++m_cycles;
            return {}; // it holds itself
        }
        const std::size_t leavesBefore = m_leaves.size();
        const std::uint64_t cyclesBefore = m_cycles;
        Status status = visitChildren(value);
        m_open.erase(value.index());
        if (status && m_leaves.size() == leavesBefore && m_cycles == cyclesBefore)
            m_barren.insert(value.index());
        return status;
    }

    Status visitChildren(Value value)
    {
        if (value.isMapping()) {
            for (std::size_t i = 0; i < value.size(); ++i)
                SHARDLENS_TRY(underKey(value.keyAt(i), value.valueAt(i)));
            return {};
        }
        if (value.isSequence()) {
            for (std::size_t i = 0; i < value.size(); ++i) {
                SHARDLENS_TRY(step());
                if (isContainer(value.at(i)))
                    SHARDLENS_TRY(under(std::to_string(i), value.at(i)));
            }
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
        return state.isMapping() ? scriptAttributes(value, state) : Status{};
    }

    // Objects of TorchScript say which attributes are parameters and buffers; what lies below the others is no state either, except other modules.
    Status scriptAttributes(Value object, Value state)
    {
        if (m_script == nullptr)
            return attributes(state);
        for (std::size_t i = 0; i < state.size(); ++i) {
            const auto isState = m_script->isScriptState(object, state.keyAt(i).asText().value_or(""));
            const bool isPlain = isState && !*isState && !m_script->isScriptState(state.valueAt(i), "");
            const bool wasPlain = std::exchange(m_isAttribute, isPlain);
            const Status status = underKey(state.keyAt(i), state.valueAt(i));
            m_isAttribute = wasPlain;
            SHARDLENS_TRY(status);
        }
        return {};
    }

    Status attributes(Value state)
    {
        for (std::size_t i = 0; i < state.size(); ++i)
            SHARDLENS_TRY(underKey(state.keyAt(i), state.valueAt(i)));
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
            for (std::size_t j = 0; j < hidden.size(); ++j) {
                SHARDLENS_TRY(step());
                isHidden = isHidden || hidden.at(j).asText() == buffers.keyAt(i).asText();
            }
            if (!isHidden)
                SHARDLENS_TRY(underKey(buffers.keyAt(i), buffers.valueAt(i)));
        }
        return attributes(module.attribute("_modules"));
    }

    Status underKey(Value key, Value value)
    {
        SHARDLENS_TRY(step());
        if (!isContainer(value))
            return {};
        if (const auto text = key.asText(); text && text->size() > kMaxLeafKeyBytes)
            return Error{ErrorCode::LimitExceeded, fmt::format("a key of {} B, at most {} are read", groupedText(text->size()), groupedText(kMaxLeafKeyBytes))};
        return under(keyText(key), value);
    }

    Status under(std::string part, Value value)
    {
        m_pathBytes += part.size();
        m_path.push_back(std::move(part));
        Status status = visit(value);
        m_pathBytes -= m_path.back().size();
        m_path.pop_back();
        return status;
    }

    // Counts what is only looked at as well: few lists that hold each other can lead to many numbers.
    Status step()
    {
        if (++m_steps > m_maxSteps)
            return Error{ErrorCode::LimitExceeded, fmt::format("a tree in which {} values are met, counted once for every way to them", groupedText(m_maxSteps))};
        return m_steps % kLeafStepsPerPoll == 0 ? m_job.poll() : Status{};
    }

    [[nodiscard]] std::string joined() const { return fmt::format("{}", fmt::join(m_path, ".")); }

    const JobContext& m_job;
    const TorchFile* m_script;
    bool m_isAttribute = false;
    std::vector<std::string> m_path;
    std::size_t m_pathBytes = 0;
    std::unordered_set<std::uint32_t> m_open; // on the way from the root to here
    std::unordered_set<std::uint32_t> m_barren; // containers with no tensor below them
    std::uint64_t m_cycles = 0;                 // ends of the walk at a container that is open
    std::uint64_t m_maxVisits = 0;
    std::uint64_t m_maxSteps = 0;
    std::uint64_t m_visits = 0;
    std::uint64_t m_steps = 0;
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

Result<std::vector<TreeLeaf>> tensorLeavesOf(Value root, const JobContext& job, const TorchFile* script)
{
    return Walker(job, script).run(root);
}

} // namespace shardlens
