#include "core/format/megatron/optimizer_states.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <unordered_map>

namespace shardlens::megatron {
namespace {

using pickle::Value;
using Parameters = std::vector<const Trained*>;

// Sorts of parameters that a training job keeps in groups of their own.
enum class Sorting : std::uint8_t { None, ByDecay, ByDecayAndExperts };

// What the shape of a state says about the parameter that it might be of.
enum class Witness : std::uint8_t { Silent, For, Against };

// A parameter's shape with axes left out or of length 1: what optimizers that keep sums over rows and columns have.
bool isReduced(const Shape& held, const Shape& shape)
{
    std::size_t next = 0;
    for (std::size_t axis = 0; axis < shape.size() && next < held.size(); ++axis)
        if (held[next] == shape[axis] || (held.size() == shape.size() && held[next] == 1))
            ++next;
    return next == held.size();
}

struct Group {
    GroupClass sort;
    Parameters members;
};

// The classes that have members, each in the order of the model (formats/megatron.md §4.2).
std::vector<Group> classesOf(const Parameters& all, const std::vector<Entry>& entries, Sorting sorting)
{
    std::vector<Group> out;
    for (const bool decays : {true, false})
        for (const bool ofExperts : {false, true}) {
            Group group;
            if (sorting != Sorting::None)
                group.sort.decays = decays;
            if (sorting == Sorting::ByDecayAndExperts)
                group.sort.ofExperts = ofExperts;
            const bool isRepeated = (sorting == Sorting::None && !decays) || (sorting != Sorting::ByDecayAndExperts && ofExperts);
            for (const Trained* one : all)
                if (!isRepeated && group.sort.takes(isDecayed(one->shape.size(), entries[one->entry].local), one->isExpert))
                    group.members.push_back(one);
            if (!group.members.empty())
                out.push_back(std::move(group));
        }
    return out;
}

// One optimizer of a rank: what torch's own dictionary says, and the fp32 copies of half-precision parameters.
class PlainOptimizer {
public:
    // Nothing where the value holds no states: a run without them, or with the distributed optimizer.
    static std::optional<PlainOptimizer> of(const TorchFile& file, Value value)
    {
        PlainOptimizer out(file);
        Value torchs = value.find("optimizer");
        if (!torchs.isMapping())
            torchs = value.find("optimizer_state_dict"); // v1.0
        if (!torchs.isMapping()) // fp32 training
            torchs = value;
        out.m_masters = value.find("fp32_from_fp16_params");
        if (!out.m_masters)
            out.m_masters = value.find("fp32_from_fp16");
        const Value states = torchs.find("state");
        for (std::size_t i = 0; i < states.size(); ++i)
            if (const auto number = states.keyAt(i).asInt())
                out.m_states.insert_or_assign(*number, states.valueAt(i));
        const Value groups = torchs.find("param_groups");
        for (std::size_t g = 0; g < groups.size(); ++g) {
            const Value members = groups.at(g).find("params");
            auto& numbers = out.m_groups.emplace_back();
            for (std::size_t i = 0; i < members.size(); ++i)
                numbers.push_back(members.at(i).asInt().value_or(-1));
        }
        return out.m_states.empty() && out.m_masters.size() == 0 ? std::nullopt : std::optional(std::move(out));
    }

    // The parameters of each group, where there is exactly one way; refused otherwise.
    Result<std::vector<Group>> named(const Parameters& all, const std::vector<Entry>& entries) const
    {
        std::set<std::int64_t> numbers;
        for (const auto& group : m_groups)
            for (const std::int64_t number : group)
                if (!numbers.insert(number).second)
                    return Error{ErrorCode::Unsupported, fmt::format("its groups have the number {} twice, so its states have no names", number)};
        std::vector<std::vector<Group>> ways;
        const auto isKnown = [&](const std::vector<Group>& way) {
            return std::any_of(ways.begin(), ways.end(), [&](const auto& other) {
                return std::equal(way.begin(), way.end(), other.begin(), other.end(), [](const Group& a, const Group& b) { return a.members == b.members; });
            });
        };
        for (const Sorting sorting : {Sorting::ByDecay, Sorting::ByDecayAndExperts, Sorting::None}) {
            const std::vector<Group> classes = classesOf(all, entries, sorting);
            std::vector<std::size_t> order;
            for (std::size_t i = 0; i < classes.size(); ++i)
                order.push_back(i);
            do {
                auto way = assigned(classes, order);
                if (way && matches(*way) && !isKnown(*way))
                    ways.push_back(std::move(*way));
            } while (std::next_permutation(order.begin(), order.end()));
        }
        if (ways.size() == 1)
            return ways.front();
        const std::string sizes = sizesText();
        if (ways.empty())
            return Error{ErrorCode::Unsupported,
                         fmt::format("its groups of {} tensors do not have, each with a state or a master, the shapes of the model's {}, in the order of the "
                                     "model and sorted by weight decay, so its states have no names",
                                     sizes.empty() ? "0" : sizes, plural(all.size(), "parameter", "parameters"))};
        return Error{ErrorCode::Unsupported,
                     fmt::format("its groups of {} tensors fit the model's parameters in {} ways, so its states have no names", sizes, ways.size())};
    }

    [[nodiscard]] const std::vector<std::vector<std::int64_t>>& groups() const { return m_groups; }
    [[nodiscard]] Value statesOf(std::int64_t number) const
    {
        const auto known = m_states.find(number);
        return known == m_states.end() ? Value{} : known->second;
    }
    [[nodiscard]] Value mastersOf(std::size_t group) const { return m_masters.at(group); }

private:
    explicit PlainOptimizer(const TorchFile& file) : m_file(&file) {}

    // "18 + 29", of groups that have members; of many those of the first.
    std::string sizesText() const
    {
        constexpr std::size_t kShown = 8;
        std::string out;
        std::size_t count = 0;
        for (const auto& group : m_groups)
            if (!group.empty() && ++count <= kShown)
                out += (out.empty() ? "" : " + ") + std::to_string(group.size());
        return out + (count > kShown ? " + …" : "");
    }

    // Classes in that order for the groups that have members.
    std::optional<std::vector<Group>> assigned(const std::vector<Group>& classes, const std::vector<std::size_t>& order) const
    {
        std::vector<Group> out;
        std::size_t next = 0;
        for (const auto& group : m_groups) {
            out.push_back({{true, {}, {}}, {}});
            if (group.empty())
                continue;
            if (next == order.size() || classes[order[next]].members.size() != group.size())
                return std::nullopt;
            out.back() = classes[order[next++]];
        }
        return next == order.size() ? std::optional(std::move(out)) : std::nullopt;
    }

    // Tensors that cannot be read say nothing here: adding them fails, with the reason.
    Witness witnessOf(Value state, const Shape& shape) const
    {
        const auto held = TorchFile::isTensor(state) ? m_file->tensorOf(state) : Result<TorchTensor>(Error{ErrorCode::Unsupported, ""});
        if (!held)
            return Witness::Silent;
        if (held->shape == shape)
            return Witness::For;
        return isReduced(held->shape, shape) ? Witness::Silent : Witness::Against;
    }

    // Whether the states are those of a parameter of that shape: one at least of that shape, and none of one that it cannot have.
    bool matches(Value states, Value master, const Shape& shape) const
    {
        const Witness ofMaster = witnessOf(master, shape);
        bool isNamed = ofMaster == Witness::For;
        if (master && !isNamed)
            return false;
        for (std::size_t s = 0; s < states.size(); ++s) {
            const Witness witness = witnessOf(states.valueAt(s), shape);
            if (witness == Witness::Against)
                return false;
            isNamed = isNamed || witness == Witness::For;
        }
        return isNamed;
    }

    bool matches(const std::vector<Group>& way) const
    {
        for (std::size_t g = 0; g < way.size(); ++g) {
            const Value masters = m_masters.at(g);
            std::size_t halves = 0;
            for (std::size_t i = 0; i < way[g].members.size(); ++i) {
                const Trained& one = *way[g].members[i];
                const bool isMastered = m_masters.size() != 0 && isHalfPrecision(one.dtype);
                if (isMastered && halves == masters.size())
                    return false;
                if (!matches(statesOf(m_groups[g][i]), isMastered ? masters.at(halves++) : Value{}, one.shape))
                    return false;
            }
            if (m_masters.size() != 0 && halves != masters.size())
                return false;
        }
        return true;
    }

    const TorchFile* m_file;
    std::vector<std::vector<std::int64_t>> m_groups;
    std::unordered_map<std::int64_t, Value> m_states;
    Value m_masters;
};

// Numbers of which ranks have others than the first one had.
struct DifferingNumbers {
    std::uint64_t count = 0;
    std::string first;
};

std::string textOfNumber(const std::variant<std::int64_t, double>& number)
{
    return std::visit([](auto held) { return fmt::format("{}", held); }, number);
}

// Puts the states of one rank behind the tensors of its model.
class PlainStates {
public:
    PlainStates(RankSet& set, Rank& rank, const std::vector<Trained>& trained, DifferingNumbers& differing)
        : m_set(set),
          m_rank(rank),
          m_trained(trained),
          m_differing(differing),
          m_builder(*rank.content.checkpoint),
          m_pieces(m_builder, FileId{0}, *rank.content.torch)
    {
    }

    Status read(Value held, JobContext& job)
    {
        const bool isChain = held.isSequence();
        const std::size_t count = isChain ? held.size() : 1;
        for (std::size_t i = 0; i < count; ++i) {
            const auto optimizer = PlainOptimizer::of(*m_rank.content.torch, isChain ? held.at(i) : held);
            if (!optimizer)
                continue;
            const std::string label = isChain ? fmt::format("optimizer {}", i) : "optimizer";
            if (count > 2) {
                lose(label, {ErrorCode::Unsupported, fmt::format("it is one of {}, and those of dense and of expert parameters are known", count)});
                continue;
            }
            Parameters own;
            for (const Trained& one : m_trained)
                if (count == 1 || one.isExpert == (i == 1))
                    own.push_back(&one);
            m_set.optimizer.isChained = m_set.optimizer.isChained || count == 2;
            const auto named = optimizer->named(own, m_set.entries.at(&m_rank));
            if (!named) {
                lose(label, named.error());
                continue;
            }
            m_set.optimizer.kind = OptimizerKept::Kind::Plain;
            m_rank.groups.resize(i + 1);
            for (const Group& group : *named)
                m_rank.groups[i].push_back(group.sort);
            if (Status added = addAll(*optimizer, *named, job); !added) {
                if (added.error().code() == ErrorCode::Cancelled)
                    return added;
                lose(label, added.error());
            }
            loseUnread(label);
        }
        m_rank.content.checkpoint = std::move(m_builder).finish();
        auto& entries = m_set.entries.at(&m_rank);
        entries.insert(entries.end(), m_entries.begin(), m_entries.end());
        return {};
    }

private:
    void lose(const std::string& label, const Error& error)
    {
        m_rank.lost.push_back({m_rank.name + ", " + label, RoleKind::OptimizerState, fmt::format("{}, {}: {}.", printable(m_rank.name), label, error.text())});
    }

    // States that are neither numbers nor of their parameter's shape: one sentence, which names the first of some.
    void loseUnread(const std::string& label)
    {
        constexpr std::size_t kNamed = 4;
        if (m_unread.empty())
            return;
        std::string names;
        std::size_t count = 0;
        for (const auto& [name, what] : m_unread)
            if (++count <= kNamed)
                names += fmt::format("{}{} of {}", names.empty() ? "" : ", ", printable(name), what);
        if (m_unread.size() > kNamed)
            names += fmt::format(" and {} more", m_unread.size() - kNamed);
        lose(label, {ErrorCode::Unsupported, fmt::format("states that are neither a number nor of the shape of their parameter are not read: {}", names)});
        m_unread.clear();
    }

    Status addAll(const PlainOptimizer& optimizer, const std::vector<Group>& named, const JobContext& job)
    {
        for (std::size_t g = 0; g < named.size(); ++g) {
            const Value masters = optimizer.mastersOf(g);
            std::size_t halves = 0;
            for (std::size_t i = 0; i < named[g].members.size(); ++i) {
                SHARDLENS_TRY(job.poll());
                const Trained& one = *named[g].members[i];
                if (masters.size() != 0 && isHalfPrecision(one.dtype))
                    SHARDLENS_TRY(addTensor(one, "param", masters.at(halves++)));
                const Value states = optimizer.statesOf(optimizer.groups()[g][i]);
                for (std::size_t s = 0; s < states.size(); ++s)
                    SHARDLENS_TRY(addState(one, std::string(states.keyAt(s).asText().value_or("")), states.valueAt(s)));
            }
        }
        return {};
    }

    Status addState(const Trained& parameter, const std::string& name, Value value)
    {
        const bool isNumber = value.kind() == pickle::Kind::Int || value.kind() == pickle::Kind::Float;
        if (name.empty() || name == "param" || (!isNumber && !TorchFile::isTensor(value))) {
            m_unread.try_emplace(name, fmt::format("{} is no tensor", globalOf(parameter)));
            return {};
        }
        if (!isNumber)
            return addTensor(parameter, name, value);
        std::array<std::byte, 8> bytes{};
        if (value.kind() == pickle::Kind::Int)
            storeLe(bytes.data(), value.asInt().value_or(0));
        else
            storeLe(bytes.data(), value.asFloat().value_or(0));
        const DType dtype = value.kind() == pickle::Kind::Int ? DType::I64 : DType::F64;
        keepNumber(parameter, name, value);
        const StreamId stream = m_builder.addInline(FileId{0}, bytes);
        return m_builder.addWhole(stateOf(parameter, name, dtype, {}), {stream, 0, m_builder.holder({}), {}});
    }

    // Readers of a run take the first rank's of a parameter that several have, and so do writers.
    void keepNumber(const Trained& parameter, const std::string& name, Value value)
    {
        using Number = std::variant<std::int64_t, double>;
        const Number number = value.kind() == pickle::Kind::Int ? Number(value.asInt().value_or(0)) : Number(value.asFloat().value_or(0));
        const std::string& global = m_set.entries.at(&m_rank)[parameter.entry].global;
        const auto [kept, isNew] = m_set.optimizer.numbers.try_emplace({global, name}, number);
        if (!isNew && kept->second != number && m_differing.count++ == 0)
            m_differing.first = fmt::format("{} of {} is {} in {}, and {} in the first that has it", printable(name), printable(global), textOfNumber(number),
                                            printable(m_rank.name), textOfNumber(kept->second));
    }

    // One in the parameter's shape, or a single number.
    Status addTensor(const Trained& parameter, const std::string& name, Value value)
    {
        SHARDLENS_ASSIGN(const TorchTensor tensor, m_rank.content.torch->tensorOf(value));
        if (tensor.shape != parameter.shape && !tensor.shape.empty()) {
            m_unread.try_emplace(name, fmt::format("{} is {}, and the parameter {}", globalOf(parameter), shapeText(tensor.shape), shapeText(parameter.shape)));
            return {};
        }
        return m_pieces.addWhole(stateOf(parameter, name, tensor.dtype, tensor.shape), tensor, m_builder.holder({}));
    }

    std::string globalOf(const Trained& parameter) const { return printable(m_set.entries.at(&m_rank)[parameter.entry].global); }

    TensorId stateOf(const Trained& parameter, const std::string& name, DType dtype, const Shape& shape)
    {
        const Entry& entry = m_set.entries.at(&m_rank)[parameter.entry];
        const Role role = stateRole(name, dtype);
        const ParameterId owner = m_builder.tensor(idAt<TensorId>(entry.tensor)).parameter;
        const TensorId id = m_builder.addTensor({owner, m_builder.role(role.kind, role.name), dtype, Combine::Exclusive, false, shape});
        m_entries.push_back(stateEntry(entry, id));
        return id;
    }

    RankSet& m_set;
    Rank& m_rank;
    const std::vector<Trained>& m_trained;
    DifferingNumbers& m_differing;
    CheckpointBuilder m_builder;
    TorchPieces m_pieces;
    std::vector<Entry> m_entries;
    std::map<std::string, std::string> m_unread; // of the optimizer that is read: state, and the first parameter with what it is
};

} // namespace

Status readPlainStates(RankSet& set, JobContext& job)
{
    DifferingNumbers differing;
    for (Rank& rank : set.ranks) {
        const Value held = rank.content.torch ? rank.content.torch->root().find("optimizer") : Value{};
        if (held.size() == 0)
            continue;
        SHARDLENS_TRY(job.poll());
        SHARDLENS_ASSIGN(const auto trained, trainedOf(set, rank));
        SHARDLENS_TRY(PlainStates(set, rank, trained, differing).read(held, job));
    }
    if (differing.count > 0)
        set.builder.addFinding({Severity::Warning, "numbers-differ",
                                fmt::format("Ranks differ in {} of the optimizer's states, and the first rank's are taken: {}.",
                                            plural(differing.count, "number", "numbers"), differing.first),
                                kNoTensor, kNoFile, std::nullopt});
    return {};
}

} // namespace shardlens::megatron
