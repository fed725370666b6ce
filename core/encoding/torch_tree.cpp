#include "core/encoding/torch_tree.h"

#include "core/base/text.h"
#include "core/encoding/pickle/emitter.h"
#include "core/encoding/pickle/global_levels.h"
#include "core/encoding/torch_storage_types.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

namespace shardlens {
namespace {

using pickle::GlobalName;
using pickle::Kind;
using pickle::Value;

constexpr int kKnown = 2;   // the highest level that is written as it is
constexpr int kUnknown = 3; // left out unless asked for

GlobalName nameNow(Value global)
{
    const GlobalName raw{global.globalModule(), global.globalName()};
    return pickle::python3Name(raw, global.hasPython2Names() ? 2 : 4);
}

pickle::GlobalLevel levelOfGlobal(Value global)
{
    return pickle::levelOf(nameNow(global), {.protocol = global.hasPython2Names() ? 2 : 4});
}

std::string textOfName(Value global)
{
    const GlobalName name = nameNow(global);
    return printable(fmt::format("{}.{}", name.module, name.name));
}

// getattr(Enumeration, "member") and getattr(Outer, "Inner"): how older Pythons write enumerations and nested classes (formats/pickle-safety.md §6.4).
bool isKnownAttribute(Value call)
{
    const Value owner = call.args().at(0);
    const auto attribute = call.args().at(1).asText();
    if (owner.kind() != Kind::Global || call.args().size() != 2 || !attribute || !pickle::isIdentifier(*attribute) || pickle::isDunder(*attribute))
        return false;
    const GlobalName name = nameNow(owner);
    return pickle::isEnumerationMember(name, *attribute) || pickle::isNestedClass(name, *attribute);
}

bool isNestedClassCall(Value attribute)
{
    return pickle::isNestedClass(nameNow(attribute.args().at(0)), attribute.args().at(1).asText().value_or(""));
}

bool callsItsArgument(Value callable)
{
    return pickle::handsOn(nameNow(callable)).has_value();
}

bool isEncode(Value callable)
{
    return nameNow(callable) == GlobalName{"_codecs", "encode"};
}

bool isPlainEncoding(Value call)
{
    const auto codec = call.args().at(1).asText();
    return call.args().size() == 2 && call.args().at(0).asText() && codec && pickle::isLatin1Name(*codec);
}

// State that sets __class__ and the like makes an object of another class (§6.4).
std::optional<std::string> specialAttribute(Value state)
{
    for (std::size_t i = 0; state.kind() == Kind::Dict && i < state.size(); ++i)
        if (const auto key = state.keyAt(i).asText(); key && pickle::isDunder(*key))
            return printable(key->substr(0, 80));
    return std::nullopt;
}

bool isAttributeCall(Value call)
{
    return call.kind() == Kind::Reduce && call.callable().kind() == Kind::Global && nameNow(call.callable()) == GlobalName{"builtins", "getattr"};
}

bool isNestedStorage(Value call)
{
    return call.kind() == Kind::Reduce && call.callable().kind() == Kind::Global && nameNow(call.callable()) == GlobalName{"torch.storage", "_load_from_bytes"};
}

bool namesUnknown(Value value)
{
    return value.kind() == Kind::Global && levelOfGlobal(value).level == kUnknown;
}

} // namespace

Result<Value> TorchTree::tensor(std::size_t key, DType dtype, const Shape& shape, bool requiresGrad)
{
    if (info(dtype).torchName.empty() || info(dtype).kind == DTypeKind::Quantized)
        return Error{ErrorCode::Refused, fmt::format("torch has no dtype {}", nameOf(dtype))};
    const Shape counted = unitShape(shape, dtype);
    const std::uint64_t count = elementCount(counted).value_or(0);
    const std::string_view storageClass = storageClassOf(dtype);
    const bool typed = !storageClass.empty();
    const auto number = [this](std::uint64_t value) { return m_graph.integer(static_cast<std::int64_t>(value)); };
    const Value storage = m_graph.persistentId(m_graph.tuple({m_graph.text("storage"),
                                                              m_graph.global(typed ? "torch" : "torch.storage", typed ? storageClass : "UntypedStorage"),
                                                              m_graph.text(std::to_string(key)), m_graph.text("cpu"),
                                                              number(typed ? count : count * info(dtype).bytesPerBlock)}));
    std::vector<Value> extents;
    std::vector<Value> strides(counted.size());
    std::uint64_t stride = 1;
    for (std::size_t axis = counted.size(); axis-- > 0;) {
        strides[axis] = number(stride);
        stride *= std::max<std::uint64_t>(counted[axis], 1);
    }
    for (const std::uint64_t extent : counted)
        extents.push_back(number(extent));
    std::vector<Value> arguments{storage, m_graph.integer(0), m_graph.tuple(extents), m_graph.tuple(strides), m_graph.boolean(requiresGrad), m_graph.orderedDict()};
    if (!typed)
        arguments.push_back(m_graph.global("torch", info(dtype).torchName));
    return m_graph.call(m_graph.global("torch._utils", typed ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3"), m_graph.tuple(arguments));
}

TorchTree::Fate TorchTree::refuse(std::string text)
{
    if (!m_error)
        m_error = Error{ErrorCode::Refused, std::move(text)};
    return {Fate::Kind::Drop, {}};
}

TorchTree::Fate TorchTree::leaveOut(const std::string& what)
{
    if (m_keepObjects)
        return {};
    if (std::find(m_leftOut.begin(), m_leftOut.end(), what) == m_leftOut.end())
        m_leftOut.push_back(what);
    return {Fate::Kind::Drop, {}};
}

TorchTree::Fate TorchTree::fateOfName(Value global)
{
    if (nameNow(global) == GlobalName{"torch.storage", "_load_from_bytes"})
        return refuse(fmt::format("the pickle loads a torch file inside itself at offset {}, which is not looked into", groupedText(global.globalOffset())));
    const pickle::GlobalLevel level = levelOfGlobal(global);
    if (level.level <= kKnown && !level.decidedAtCall)
        return {};
    if (level.level == kUnknown || (level.decidedAtCall && nameNow(global) == GlobalName{"functools", "partial"}))
        return leaveOut(textOfName(global));
    return refuse(fmt::format("the pickle imports {} at offset {} ({}): such a pickle is not written again", textOfName(global), groupedText(global.globalOffset()),
                              level.level >= 5 ? "dangerous" : "suspicious"));
}

// getattr itself is never taken over, so that it cannot stand anywhere but in a call that was looked at.
TorchTree::Fate TorchTree::fateOfAttribute(const std::shared_ptr<const TorchFile>& file, Value call)
{
    const Value outer = call.args().at(0);
    if (namesUnknown(outer) && !m_keepObjects)
        return leaveOut(textOfName(outer));
    if (!isKnownAttribute(call) && !namesUnknown(outer))
        return refuse(fmt::format("the pickle calls getattr at offset {} for what is no known enumeration", groupedText(call.callable().globalOffset())));
    const Value owner = judged(file, call.args().at(0));
    const Value name = judged(file, call.args().at(1));
    return {Fate::Kind::Replace, m_graph.call(m_graph.global("builtins", "getattr"), m_graph.tuple({owner, name}))};
}

TorchTree::Fate TorchTree::fateOfCall(const std::shared_ptr<const TorchFile>& file, Value call)
{
    const Value callable = call.callable();
    if (isNestedStorage(call))
        return fateOfNested(file, call);
    if (isAttributeCall(call))
        return fateOfAttribute(file, call);
    if (isAttributeCall(callable) && namesUnknown(callable.args().at(0)))
        return leaveOut(textOfName(callable.args().at(0)));
    if (isAttributeCall(callable) && isNestedClassCall(callable)) // which is judged on its own
        return fateOfState(call);
    if (callable.kind() != Kind::Global)
        return refuse("the pickle calls what is no name: such a pickle is not written again");
    if (namesUnknown(callable))
        return leaveOut(textOfName(callable));
    // copyreg._reconstructor(C, …), _rebuild_from_type_v2(function, C, …): the class is an argument.
    for (std::size_t i = 0; i < std::min<std::size_t>(call.args().size(), 8); ++i)
        if (namesUnknown(call.args().at(i)))
            return leaveOut(textOfName(call.args().at(i)));
    const Value passed = call.args().at(0);
    const bool passesJudged = passed.kind() == Kind::Global && !callsItsArgument(passed) && !isEncode(passed);
    if ((callsItsArgument(callable) && !passesJudged) || (isEncode(callable) && !isPlainEncoding(call)))
        return refuse(fmt::format("the pickle calls {} at offset {} with what makes it run something else: such a pickle is not written again", textOfName(callable),
                                  groupedText(callable.globalOffset())));
    return fateOfState(call);
}

TorchTree::Fate TorchTree::fateOfState(Value call)
{
    std::optional<std::string> special = specialAttribute(call.state());
    for (std::size_t i = 0; !special && call.state().kind() == Kind::Tuple && i < call.state().size(); ++i)
        special = specialAttribute(call.state().at(i));
    if (special)
        return refuse(fmt::format("an object's state sets its special attribute {}: such a pickle is not written again", *special));
    return {};
}

Value TorchTree::judged(const std::shared_ptr<const TorchFile>& file, Value value)
{
    return m_graph.import(file, value, [&](Value one) { return fateOf(file, one); });
}

TorchTree::Fate TorchTree::fateOf(const std::shared_ptr<const TorchFile>& file, Value value)
{
    switch (value.kind()) {
    case Kind::Global: return fateOfName(value);
    case Kind::Reduce:
    case Kind::NewObject: return fateOfCall(file, value);
    case Kind::PersistentId: return fateOfStorage(file, value);
    default: return {};
    }
}

// A storage inside the pickle becomes one of the archive.
TorchTree::Fate TorchTree::fateOfNested(const std::shared_ptr<const TorchFile>& file, Value call)
{
    const auto part = file->storageOf(call);
    if (!part)
        return refuse(fmt::format("the pickle loads a torch file inside itself at offset {}: {}", groupedText(call.callable().globalOffset()), part.error().message()));
    const std::string_view type = part->dtype ? storageClassOf(*part->dtype) : std::string_view{};
    const std::uint64_t cell = type.empty() ? 1 : info(*part->dtype).bytesPerBlock;
    const std::size_t number = m_storageNumber(*file, *part);
    return {Fate::Kind::Replace, m_graph.persistentId(m_graph.tuple({m_graph.text("storage"),
                                                                     m_graph.global(type.empty() ? "torch.storage" : "torch", type.empty() ? "UntypedStorage" : type),
                                                                     m_graph.text(std::to_string(number)), m_graph.text("cpu"),
                                                                     m_graph.integer(static_cast<std::int64_t>(part->sizeBytes / cell))}))};
}

TorchTree::Fate TorchTree::fateOfStorage(const std::shared_ptr<const TorchFile>& file, Value value)
{
    const auto part = file->storageOf(value);
    if (!part)
        return refuse(part.error().message());
    const Value id = value.persistentId();
    if (levelOfGlobal(id.at(1)).level > kKnown) // its name alone says storage; its module may say anything
        return refuse(fmt::format("the pickle names {} as the class of a storage at offset {}", textOfName(id.at(1)), groupedText(id.at(1).globalOffset())));
    const std::size_t number = m_storageNumber(*file, *part);
    const Value type = judged(file, id.at(1));
    // A record may be longer than the source's pickle says, which PyTorch 2.13 refuses: what is written says what it has.
    const std::uint64_t cell = part->dtype ? info(*part->dtype).bytesPerBlock : 1;
    if (part->sizeBytes % cell != 0)
        return refuse(fmt::format("a storage has {} B, and its elements take {} B each: no such file can be written", groupedText(part->sizeBytes), cell));
    const Value count = m_graph.integer(static_cast<std::int64_t>(part->sizeBytes / cell));
    return {Fate::Kind::Replace, m_graph.persistentId(m_graph.tuple({m_graph.text("storage"), type, m_graph.text(std::to_string(number)), m_graph.text("cpu"), count}))};
}

Result<Value> TorchTree::import(const std::shared_ptr<const TorchFile>& file, Value from, const pickle::GraphBuilder::Decide& decide)
{
    const Value made = m_graph.import(file, from, [&](Value value) -> Fate {
        if (decide)
            if (const Fate first = decide(value); first.kind != Fate::Kind::Copy)
                return first;
        return fateOf(file, value);
    });
    if (m_error)
        return *m_error;
    return made;
}

std::size_t tensorsBelow(Value root)
{
    std::size_t count = 0;
    std::vector<Value> todo{root};
    std::unordered_set<std::uint32_t> seen;
    while (!todo.empty()) {
        const Value value = todo.back();
        todo.pop_back();
        if (!value || !seen.insert(value.index()).second)
            continue;
        count += TorchFile::isTensor(value) ? 1 : 0;
        for (std::size_t i = 0; i < value.size(); ++i) {
            if (value.isMapping()) {
                todo.push_back(value.keyAt(i));
                todo.push_back(value.valueAt(i));
            } else {
                todo.push_back(value.at(i));
            }
        }
        for (const Value part : {value.callable(), value.args(), value.kwargs(), value.state()})
            todo.push_back(part);
    }
    return count;
}

Result<std::vector<std::byte>> TorchTree::finish(Value root) &&
{
    const auto graph = std::move(m_graph).finish(root);
    return pickle::emitPickle(graph->root());
}

} // namespace shardlens
