#include "core/format/torch_dist/stack_reader.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/format/torch_dist/piece_cutter.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace shardlens::torch_dist {
namespace {

constexpr std::uint64_t kMostLayers = 1u << 16;
constexpr std::uint64_t kMostStackedExperts = 1u << 16;
constexpr std::uint64_t kMostTensors = 1u << 22;

// Stored as [shards along each axis …, elements of a shard]: how the shape before fits it (§6.5). Nothing where it does not.
bool fitsFlattened(const Shape& stored, const Shape& original)
{
    if (stored.size() != original.size() + 1)
        return false;
    std::uint64_t shard = 1;
    for (std::size_t axis = 0; axis < original.size(); ++axis) {
        if (stored[axis] == 0 || original[axis] % stored[axis] != 0)
            return false;
        const auto product = checkedMul(shard, original[axis] / stored[axis]);
        if (!product)
            return false;
        shard = *product;
    }
    return shard == stored.back();
}

bool isWholeFlat(const Shape& stored, const Shape& original)
{
    return stored.size() == 1 && original.size() > 1 && elementCount(original) == stored[0];
}

} // namespace

StackReader::StackReader(CheckpointBuilder& builder, DcpFolder& folder)
    : m_builder(builder), m_folder(folder), m_prefix(modelPrefixOf(folder.metadata())), m_tensorOf(folder.metadata().entries.size(), kNoTensor)
{
}

TensorId StackReader::tensorOf(const DcpEntry& entry) const
{
    return m_tensorOf[static_cast<std::size_t>(&entry - m_folder.metadata().entries.data())];
}

const Shape* StackReader::modelShape(const std::string& key) const
{
    const auto at = m_modelShapes.find(key);
    return at == m_modelShapes.end() ? nullptr : &at->second;
}

void StackReader::lose(const Stack& stack, const Member& member, std::string problem, const char* code)
{
    const DcpEntry& entry = m_folder.metadata().entries[member.entry];
    const bool isState = stack.kind == Key::Kind::State;
    m_builder.addLost({isState ? stack.name.text + "/" + stack.state : stack.name.text, isState ? RoleKind::OptimizerState : RoleKind::Weight,
                       fmt::format("{}: {}.", printable(entry.key), problem)},
                      code, kNoFile);
}

void StackReader::addEntry(std::size_t number, const Key& key)
{
    const DcpEntry& entry = m_folder.metadata().entries[number];
    const auto part = partNameOf(key.model);
    const std::string whole = part ? part->whole : key.kind == Key::Kind::Buffer ? entry.key : key.model;
    const std::string id = fmt::format("{}|{}|{}", key.state, whole, part ? "parts" : "");
    const auto [known, isNew] = m_byName.try_emplace(id, m_stacks.size());
    const bool isPartOfKnown = !isNew && part && std::none_of(m_stacks[known->second].members.begin(), m_stacks[known->second].members.end(),
                                                              [&](const Member& member) { return member.part == part->part; });
    if (isNew || !isPartOfKnown) {
        Stack stack{key.kind, key.state, key.kind == Key::Kind::Buffer ? ModelName{whole} : modelNameOf(whole), {}, {}, RoleKind::Other, {}};
        m_stacks.push_back(std::move(stack));
    }
    Stack& stack = isPartOfKnown ? m_stacks[known->second] : m_stacks.back();
    stack.members.push_back({number, part ? part->part : 0, entry.shape, false});
    if (key.kind == Key::Kind::Model)
        m_modelShapes.emplace(key.model, entry.shape);
    m_buffers += key.kind == Key::Kind::Buffer ? 1 : 0;
}

void StackReader::collect()
{
    const DcpMetadata& metadata = m_folder.metadata();
    for (std::size_t i = 0; i < metadata.entries.size(); ++i) {
        const DcpEntry& entry = metadata.entries[i];
        const Key key = keyOf(entry.key, m_prefix);
        if (entry.kind == DcpEntry::Kind::Tensor)
            addEntry(i, key);
        else if (entry.kind == DcpEntry::Kind::Unknown)
            m_builder.addLost({key.kind == Key::Kind::State ? key.model + "/" + key.state : entry.key, key.kind == Key::Kind::Model ? RoleKind::Weight : RoleKind::OptimizerState, entry.problem + "."},
                              "unsupported-tensor", kNoFile);
    }
}

// The shape that a state had before it was flattened. False where nothing says it.
bool StackReader::settleShape(Stack& stack, Member& member)
{
    const DcpEntry& entry = m_folder.metadata().entries[member.entry];
    const auto& known = m_folder.metadata().flattenedShapes;
    if (const auto said = known.find(entry.key); said != known.end()) {
        if (entry.shape == said->second)
            return true;
        if (!fitsFlattened(entry.shape, said->second) && !isWholeFlat(entry.shape, said->second)) {
            lose(stack, member, fmt::format("it is stored as {}, which is no way to cut {} into equal shards", shapeText(entry.shape), shapeText(said->second)), "flattened-state");
            return false;
        }
        member.shape = said->second;
        member.isFlat = true;
        return true;
    }
    const Shape* const model = stack.kind == Key::Kind::State ? modelShape(keyOf(entry.key, m_prefix).model) : nullptr;
    if (model == nullptr || *model == entry.shape)
        return true;
    if (isWholeFlat(entry.shape, *model)) {
        member.shape = *model;
        member.isFlat = true;
        return true;
    }
    if (!fitsFlattened(entry.shape, *model))
        return true; // a state of another shape than its parameter
    lose(stack, member, "optimizer tensors are flattened and their original shape is not recorded (no mcore_data in .metadata)", "flattened-state");
    return false;
}

void StackReader::settleShapes()
{
    for (Stack& stack : m_stacks) {
        std::erase_if(stack.members, [&](Member& member) { return !settleShape(stack, member); });
        for (const Member& member : stack.members)
            m_flattened += member.isFlat ? 1 : 0;
    }
    std::erase_if(m_stacks, [](const Stack& stack) { return stack.members.empty(); });
}

// How long the stacks of layers are: as most tensors of the model say.
void StackReader::countLayers()
{
    std::map<std::string, std::map<std::uint64_t, std::size_t>> seen;
    for (const Key::Kind kind : {Key::Kind::Model, Key::Kind::State})
        for (const Stack& stack : m_stacks)
            if (stack.kind == kind && stack.name.layerAt && !stack.members.front().shape.empty() && !m_layers.contains(std::string(stack.name.layersOf())))
                ++seen[std::string(stack.name.layersOf())][stack.members.front().shape.front()];
    for (const auto& [layers, counts] : seen) {
        const auto most = std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
        m_layers.emplace(layers, most->first);
    }
}

// What is stacked by its name and not by its shape stays one tensor.
bool StackReader::dropFalseStacks(Stack& stack)
{
    const Shape& shape = stack.shape;
    const std::size_t before = stack.name.stacked();
    if (stack.name.layerAt && (shape.empty() || shape[0] != m_layers[std::string(stack.name.layersOf())] || shape[0] > kMostLayers)) {
        if (stack.kind == Key::Kind::Model)
            m_builder.addFinding({Severity::Warning, "layer-stack", fmt::format("{} has the shape {}, and the other stacks of {} have {} layers: it is shown as one tensor.", printable(stack.name.text), shapeText(shape),
                                                                               printable(stack.name.layersOf()), m_layers[std::string(stack.name.layersOf())]),
                                  kNoTensor, kNoFile, std::nullopt});
        stack.name.layerAt.reset();
    }
    const std::size_t axis = stack.name.layerAt ? 1 : 0;
    if (stack.name.expertAt && (shape.size() <= axis || shape[axis] > kMostStackedExperts))
        stack.name.expertAt.reset();
    return stack.name.stacked() != before;
}

// Parts follow each other along the first axis that is not stacked. False where they do not fit.
bool StackReader::joinMembers(Stack& stack)
{
    auto& members = stack.members;
    std::sort(members.begin(), members.end(), [](const Member& a, const Member& b) { return a.part < b.part; });
    const std::size_t axis = stack.name.stacked();
    const auto& entries = m_folder.metadata().entries;
    stack.shape = members.front().shape;
    if (!partNameOf(keyOf(entries[members.front().entry].key, m_prefix).model))
        return true;
    if (stack.shape.size() <= axis || members.size() < 2)
        return false;
    for (std::size_t i = 0; i < members.size(); ++i) {
        Shape expected = stack.shape;
        if (members[i].part != i || members[i].shape.size() != expected.size() || entries[members[i].entry].dtype != entries[members.front().entry].dtype)
            return false;
        expected[axis] = members[i].shape[axis];
        if (expected != members[i].shape)
            return false;
        if (i == 0)
            continue;
        const auto sum = checkedAdd(stack.shape[axis], members[i].shape[axis]);
        if (!sum)
            return false;
        stack.shape[axis] = *sum;
    }
    return true;
}

// Parts that do not fit each other stand under their own names.
void StackReader::splitMembers(Stack& stack)
{
    const Stack whole = std::move(stack);
    for (std::size_t i = 0; i < whole.members.size(); ++i) {
        Stack one{whole.kind, whole.state, modelNameOf(keyOf(m_folder.metadata().entries[whole.members[i].entry].key, m_prefix).model), {whole.members[i]}, whole.members[i].shape, whole.role, {}};
        one.members.front().part = 0;
        if (i == 0)
            stack = std::move(one);
        else
            m_stacks.push_back(std::move(one));
    }
}

void StackReader::findMasters()
{
    std::unordered_map<std::string, const Shape*> models;
    for (const Stack& stack : m_stacks)
        if (stack.kind == Key::Kind::Model)
            models.emplace(stack.name.text, &stack.shape);
    for (Stack& stack : m_stacks) {
        const auto model = models.find(stack.name.text);
        const bool isMaster = stack.kind == Key::Kind::State && isMasterState(stack.state) && (model == models.end() || *model->second == stack.shape);
        if (isMaster)
            m_masters.insert(stack.name.text);
        if (stack.kind == Key::Kind::State) {
            stack.role = isMaster ? RoleKind::Weight : RoleKind::OptimizerState;
            m_states.insert(stack.state);
        }
    }
    for (Stack& stack : m_stacks)
        if (stack.kind == Key::Kind::Model)
            stack.role = m_masters.contains(stack.name.text) ? RoleKind::Module : RoleKind::Weight;
}

RoleId StackReader::roleOf(const Stack& stack)
{
    switch (stack.role) {
    case RoleKind::Module: return m_builder.role(stack.role, "module copy");
    case RoleKind::Weight: return m_builder.role(stack.role, stack.kind == Key::Kind::State ? "fp32 master" : "weight");
    case RoleKind::OptimizerState: return m_builder.role(stack.role, stack.state);
    case RoleKind::Buffer:
    case RoleKind::Other: break;
    }
    return m_builder.role(RoleKind::Other, "other");
}

// The tensors of one layer, or all where layers are not stacked.
Status StackReader::addStack(Stack& stack, std::uint64_t layer)
{
    const DcpEntry& first = m_folder.metadata().entries[stack.members.front().entry];
    const std::uint64_t experts = stack.name.expertAt ? stack.shape[stack.name.layerAt ? 1 : 0] : 1;
    const Shape shape(stack.shape.begin() + static_cast<std::ptrdiff_t>(stack.name.stacked()), stack.shape.end());
    const bool overlaps = std::any_of(stack.members.begin(), stack.members.end(), [&](const Member& member) { return m_folder.overlaps(m_folder.metadata().entries[member.entry]); });
    const RoleId role = roleOf(stack);
    for (std::uint64_t expert = 0; expert < experts; ++expert) {
        if (++m_made > kMostTensors)
            return Error{ErrorCode::LimitExceeded, fmt::format("its stacks hold more than {} tensors", groupedText(kMostTensors))};
        const std::string name = stack.name.of(layer, expert);
        const std::string full = stack.role == RoleKind::OptimizerState ? name + "/" + stack.state : stack.role == RoleKind::Module ? name + "/module" : name;
        if (!m_names.insert(full).second) {
            m_builder.addLost({full, stack.role, fmt::format("Two tensors come out under the name {}, one of them from {}. The first is shown.", printable(full), printable(first.key))}, "tensor-twice", kNoFile);
            stack.tensors.push_back(kNoTensor);
            continue;
        }
        const ParameterId parameter = m_builder.parameter(name);
        stack.tensors.push_back(m_builder.addTensor({parameter, role, first.dtype, overlaps ? Combine::Replicas : Combine::Exclusive, stack.role == RoleKind::Weight && stack.kind == Key::Kind::Model, shape}));
        if (stack.role == RoleKind::OptimizerState && (m_trained.empty() || m_trained.back() != parameter))
            m_trained.push_back(parameter);
    }
    for (const Member& member : stack.members)
        if (m_tensorOf[member.entry] == kNoTensor && !stack.tensors.empty())
            m_tensorOf[member.entry] = stack.tensors.front();
    return {};
}

Status StackReader::addTensors(JobContext& job)
{
    std::map<std::string, std::vector<std::size_t>, std::less<>> ofLayers;
    for (std::size_t i = 0; i < m_stacks.size(); ++i)
        if (m_stacks[i].name.layerAt)
            ofLayers[std::string(m_stacks[i].name.layersOf())].push_back(i);
    for (Stack& stack : m_stacks) { // layer by layer where the first stack of them stands
        if (!stack.name.layerAt) {
            SHARDLENS_TRY(addStack(stack, 0));
            continue;
        }
        const auto group = ofLayers.find(stack.name.layersOf());
        if (group == ofLayers.end())
            continue;
        for (std::uint64_t layer = 0; layer < stack.shape[0]; ++layer) {
            SHARDLENS_TRY(job.poll());
            for (const std::size_t i : group->second)
                SHARDLENS_TRY(addStack(m_stacks[i], layer));
        }
        ofLayers.erase(group);
    }
    std::sort(m_trained.begin(), m_trained.end());
    m_trained.erase(std::unique(m_trained.begin(), m_trained.end()), m_trained.end());
    return {};
}

Status StackReader::read(JobContext& job)
{
    collect();
    settleShapes();
    countLayers();
    for (std::size_t i = 0; i < m_stacks.size(); ++i)
        if (!joinMembers(m_stacks[i]))
            splitMembers(m_stacks[i]);
    for (std::size_t i = 0; i < m_stacks.size(); ++i)
        if (dropFalseStacks(m_stacks[i]) && m_stacks[i].members.size() > 1) {
            splitMembers(m_stacks[i]);
            dropFalseStacks(m_stacks[i]);
        }
    findMasters();
    SHARDLENS_TRY(addTensors(job));
    PieceBudget budget(m_folder.metadata().chunks.size());
    for (const Stack& stack : m_stacks) {
        SHARDLENS_TRY(job.poll());
        PieceCutter cutter(m_builder, budget, {stack.shape, stack.name.stacked(), stack.tensors});
        std::uint64_t row = 0;
        for (const Member& member : stack.members) {
            const DcpEntry& entry = m_folder.metadata().entries[member.entry];
            SHARDLENS_TRY(m_folder.forEachPiece(entry, [&](const DcpPiece& piece) { return member.isFlat ? cutter.addFlattened(piece, entry.shape, member.shape, row) : cutter.add(piece, row); }));
            row += stack.members.size() > 1 ? member.shape[stack.name.stacked()] : 0;
        }
    }
    return {};
}

} // namespace shardlens::torch_dist
