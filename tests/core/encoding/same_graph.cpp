#include "tests/core/encoding/same_graph.h"

#include "core/encoding/pickle/global_levels.h"

#include <fmt/format.h>

#include <cmath>
#include <unordered_map>
#include <vector>

namespace shardlens::test {
namespace {

using pickle::Kind;
using pickle::Value;

using Pairs = std::vector<std::pair<Value, Value>>;

pickle::GlobalName nameIn3(Value global)
{
    const pickle::GlobalName raw{global.globalModule(), global.globalName()};
    return global.hasPython2Names() ? pickle::python3Name(raw, 2) : raw;
}

bool isLeaf(Value value)
{
    switch (value.kind()) {
    case Kind::List:
    case Kind::Dict:
    case Kind::Set:
    case Kind::FrozenSet:
    case Kind::Reduce:
    case Kind::NewObject:
    case Kind::PersistentId: return false;
    case Kind::Tuple: return value.size() == 0;
    default: return true;
    }
}

bool sameFloat(double a, double b)
{
    return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
}

bool sameLeaf(Value a, Value b)
{
    if (a.kind() == Kind::Global)
        return nameIn3(a) == nameIn3(b);
    if (a.kind() == Kind::Float)
        return sameFloat(*a.asFloat(), *b.asFloat());
    const auto left = a.asBytes();
    const auto right = b.asBytes();
    const bool sameBytes = left.has_value() == right.has_value() && (!left || std::equal(left->begin(), left->end(), right->begin(), right->end()));
    return a.asInt() == b.asInt() && a.asText() == b.asText() && sameBytes;
}

void addAll(Pairs& todo, Value a, Value b)
{
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (a.isMapping()) {
            todo.emplace_back(a.keyAt(i), b.keyAt(i));
            todo.emplace_back(a.valueAt(i), b.valueAt(i));
        } else {
            todo.emplace_back(a.at(i), b.at(i));
        }
    }
}

} // namespace

std::string differenceOf(Value a, Value b)
{
    Pairs todo{{a, b}};
    std::unordered_map<std::uint32_t, std::uint32_t> partner;
    std::unordered_map<std::uint32_t, std::uint32_t> back;
    while (!todo.empty()) {
        const auto [left, right] = todo.back();
        todo.pop_back();
        const std::string place = fmt::format("value {} and {}", left.index(), right.index());
        if (bool(left) != bool(right) || left.kind() != right.kind())
            return fmt::format("{}: kinds {} and {}", place, int(left.kind()), int(right.kind()));
        if (isLeaf(left)) {
            if (!sameLeaf(left, right))
                return place + ": leaves differ";
            continue;
        }
        const auto known = partner.find(left.index());
        const auto knownBack = back.find(right.index());
        if (known != partner.end() || knownBack != back.end()) {
            if (known == partner.end() || knownBack == back.end() || known->second != right.index())
                return place + ": sharing differs";
            continue;
        }
        partner.emplace(left.index(), right.index());
        back.emplace(right.index(), left.index());
        if (left.size() != right.size() || left.isMapping() != right.isMapping())
            return fmt::format("{}: {} and {} items", place, left.size(), right.size());
        addAll(todo, left, right);
        todo.emplace_back(left.callable(), right.callable());
        todo.emplace_back(left.args(), right.args());
        todo.emplace_back(left.kwargs(), right.kwargs());
        todo.emplace_back(left.state(), right.state());
        todo.emplace_back(left.persistentId(), right.persistentId());
    }
    return {};
}

} // namespace shardlens::test
