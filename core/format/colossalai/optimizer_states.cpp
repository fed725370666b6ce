#include "core/format/colossalai/optimizer_states.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/json_document.h"
#include "core/format/colossalai/plain_pickle.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace shardlens::colossalai {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr std::uint64_t kLargestPickle = 64ull << 20; // of one value: groups list every parameter
constexpr std::size_t kDeepestKeys = 4;
constexpr std::size_t kShownNodes = 20'000;

// "state.12.exp_avg" or "12.exp_avg"
struct StateKey {
    std::int64_t id = 0;
    std::string name;
};
std::optional<StateKey> stateKeyOf(std::string_view key)
{
    constexpr std::string_view kState = "state.";
    if (key.starts_with(kState))
        key.remove_prefix(kState.size());
    const std::size_t dot = key.find('.');
    const auto id = parameterId(key.substr(0, dot));
    if (!id || dot == std::string_view::npos || dot + 1 == key.size())
        return std::nullopt;
    return StateKey{*id, std::string(key.substr(dot + 1))};
}

template <typename Number>
std::vector<std::byte> bytesOf(Number number)
{
    std::vector<std::byte> out(sizeof(Number));
    storeLe(out.data(), number);
    return out;
}

} // namespace

std::optional<std::int64_t> parameterId(std::string_view text)
{
    std::int64_t out = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (text.empty() || text.front() == '-' || problem != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return out;
}

std::vector<OptimizerGroup> groupsOf(Value list)
{
    std::vector<OptimizerGroup> out;
    for (std::size_t g = 0; list.isSequence() && g < list.size(); ++g) {
        const Value params = list.at(g).find("params");
        const Value names = list.at(g).find("param_names");
        if (!params.isSequence())
            continue;
        OptimizerGroup group;
        for (std::size_t i = 0; i < params.size(); ++i)
            if (const auto id = params.at(i).asInt())
                group.params.push_back(*id);
        for (std::size_t i = 0; i < names.size(); ++i)
            if (const auto name = names.at(i).asText())
                group.names.emplace_back(*name);
        out.push_back(std::move(group));
    }
    return out;
}

void OptimizerStates::find(Severity severity, const char* code, std::string text, std::size_t source)
{
    m_builder.addFinding({severity, code, std::move(text), kNoTensor, m_sources[source].import->file(FileId{0}), std::nullopt});
}

Status OptimizerStates::add(StoredFile file, const std::function<bool(std::int64_t)>& isWanted)
{
    SHARDLENS_TRY(m_job.poll());
    const std::size_t source = m_sources.size();
    auto import = std::make_unique<PieceImport>(m_builder, *file.checkpoint);
    import->addFindings([](TensorId) { return kNoTensor; });
    m_sources.push_back({std::move(file), std::move(import)});
    const std::size_t before = m_ids.size();
    addTensors(source, isWanted);
    if (m_sources[source].stored.torch)
        addNumbers(source, isWanted);
    m_builder.file(m_sources[source].import->file(FileId{0})).holds = fmt::format("states of {}", plural(m_ids.size() - before, "parameter", "parameters"));
    return {};
}

void OptimizerStates::addTensors(std::size_t source, const std::function<bool(std::int64_t)>& isWanted)
{
    const StoredFile& stored = m_sources[source].stored;
    const std::set<std::string> pickled = stored.torch ? std::set<std::string>{} : nonTensorKeys(source);
    for (std::size_t i = 0; i < stored.tensorCount(); ++i) {
        const TensorId id = idAt<TensorId>(i);
        const std::string& key = stored.checkpoint->parameterOf(id);
        if (!stored.torch && key == "param_groups") {
            addFlattenedGroups(source, id);
            continue;
        }
        auto state = stateKeyOf(key);
        if (!state) {
            find(Severity::Warning, "orphan", fmt::format("{} in {} belongs to no numbered parameter, and is left out.", printable(key), printable(stored.row.name)), source);
            continue;
        }
        if (!isWanted(state->id))
            continue;
        m_ids.insert(state->id);
        const Tensor& tensor = stored.checkpoint->tensor(id);
        // Before 14 Feb 2025 some shards were written without the list: a step of five bytes and more is a pickle (§7).
        const bool mayBePickle = !stored.torch && tensor.dtype == DType::U8 && tensor.shape.size() == 1 && (pickled.contains(key) || state->name == "step");
        if (mayBePickle)
            addFlattenedValue(source, state->id, state->name, id);
        else
            m_found.push_back({state->id, std::move(state->name), source, id, tensor.dtype, tensor.shape, {}});
    }
}

// Numbers of Python that stand in the pickle itself.
void OptimizerStates::addNumbers(std::size_t source, const std::function<bool(std::int64_t)>& isWanted)
{
    const Value root = m_sources[source].stored.torch->root();
    const Value inner = root.find("state");
    const Value states = inner.isMapping() ? inner : root;
    if (const Value groups = root.find("param_groups"); groups.isSequence()) {
        m_groups = groupsOf(groups);
        m_hasGroups = !m_groups.empty();
    }
    for (std::size_t i = 0; states.isMapping() && i < states.size(); ++i) {
        const auto id = states.keyAt(i).kind() == Kind::Int ? states.keyAt(i).asInt() : std::nullopt;
        const Value ofParameter = states.valueAt(i);
        if (!id || !ofParameter.isMapping() || !isWanted(*id))
            continue;
        m_ids.insert(*id);
        for (std::size_t s = 0; s < ofParameter.size(); ++s)
            if (const auto name = ofParameter.keyAt(s).asText(); name && !TorchFile::isTensor(ofParameter.valueAt(s)))
                addPlain(source, *id, std::string(*name), ofParameter.valueAt(s));
    }
}

void OptimizerStates::addPlain(std::size_t source, std::int64_t id, const std::string& name, Value value)
{
    if (const auto whole = value.kind() == Kind::Float ? std::nullopt : value.asInt())
        m_found.push_back({id, name, source, kNoTensor, DType::I64, {}, bytesOf(*whole)});
    else if (const auto real = value.asFloat())
        m_found.push_back({id, name, source, kNoTensor, DType::F64, {}, bytesOf(*real)});
    else if (!value.isNone() && !value.isMapping())
        find(Severity::Info, "plain-state", fmt::format("State {} of parameter {} is no tensor and no number, and is not shown as one.", printable(name), id), source);
}

std::set<std::string> OptimizerStates::nonTensorKeys(std::size_t source)
{
    const auto& metadata = m_sources[source].stored.metadata;
    const auto at = std::find_if(metadata.begin(), metadata.end(), [](const auto& entry) { return entry.first == "non_tensor_keys"; });
    if (at == metadata.end())
        return {};
    const auto list = parseJson(at->second, kLargestPickle, kDeepestKeys);
    std::set<std::string> out;
    bool isList = list && list->is_array();
    for (std::size_t i = 0; isList && i < list->size(); ++i) {
        isList = (*list)[i].is_string();
        if (isList)
            out.insert((*list)[i].get<std::string>());
    }
    if (isList)
        return out;
    find(Severity::Warning, "non-tensor-keys", fmt::format("non_tensor_keys of {} is no list of texts: what it should name is shown as raw bytes.",
                                                           printable(m_sources[source].stored.row.name)), source);
    return {};
}

Result<std::shared_ptr<const pickle::Graph>> OptimizerStates::pickleIn(const StoredFile& file, TensorId tensor)
{
    const Piece piece = file.checkpoint->pieces().at(idAt<PieceId>(file.checkpoint->pieces().firstOf(tensor)));
    SHARDLENS_ASSIGN(const auto source, FileSource::open(file.row.path));
    SHARDLENS_ASSIGN(auto bytes, readBytes(*source, piece.source.offset, file.checkpoint->bytesOf(tensor), kLargestPickle));
    return parsePlainPickle(std::move(bytes), m_job);
}

void OptimizerStates::addFlattenedValue(std::size_t source, std::int64_t id, const std::string& name, TensorId tensor)
{
    const StoredFile& stored = m_sources[source].stored;
    const auto graph = pickleIn(stored, tensor);
    if (graph) {
        addPlain(source, id, name, (*graph)->root());
        return;
    }
    const Tensor& bytes = stored.checkpoint->tensor(tensor);
    find(Severity::Warning, "pickled-state", fmt::format("State {} of parameter {} in {} is {} and stays raw: {}.", printable(name), id, printable(stored.row.name),
                                                         plural(bytes.shape.front(), "byte", "bytes"), graph.error().text()), source);
    m_found.push_back({id, name, source, tensor, bytes.dtype, bytes.shape, {}});
}

void OptimizerStates::addFlattenedGroups(std::size_t source, TensorId tensor)
{
    const StoredFile& stored = m_sources[source].stored;
    const auto graph = pickleIn(stored, tensor);
    if (!graph) {
        find(Severity::Warning, "optimizer-groups", fmt::format("param_groups of {} cannot be read: {}.", printable(stored.row.name), graph.error().text()), source);
        return;
    }
    m_groups = groupsOf((*graph)->root());
    m_hasGroups = !m_groups.empty();
    std::size_t left = kShownNodes;
    MetaNode root;
    root.kind = MetaNode::Kind::Dict;
    root.value = "pickled beside the tensors";
    root.children.push_back(describePlain((*graph)->root(), "param_groups", left));
    m_builder.addMetadata({m_sources[source].import->file(FileId{0}), std::move(root)});
}

std::vector<NumberedStates> OptimizerStates::shapes() const
{
    std::map<std::int64_t, NumberedStates> byId;
    for (const std::int64_t id : m_ids)
        byId[id].id = id;
    for (const State& state : m_found)
        if (state.tensor != kNoTensor && elementCount(state.shape).value_or(0) != 1)
            byId[state.id].states.emplace_back(state.name, state.shape);
    std::vector<NumberedStates> out;
    for (auto& [id, states] : byId)
        out.push_back(std::move(states));
    return out;
}

Status OptimizerStates::finish(const std::map<std::int64_t, std::string>& names)
{
    std::stable_sort(m_found.begin(), m_found.end(), [](const State& a, const State& b) { return a.id < b.id; });
    std::set<std::pair<std::int64_t, std::string>> seen;
    for (const State& state : m_found) {
        if (!seen.emplace(state.id, state.name).second) {
            find(Severity::Warning, "repeated-name", fmt::format("State {} of parameter {} stands twice; the first counts.", printable(state.name), state.id), state.source);
            continue;
        }
        const auto named = names.find(state.id);
        const ParameterId parameter = m_builder.parameter(named == names.end() ? std::to_string(state.id) : named->second);
        const TensorId id = m_builder.addTensor({parameter, m_builder.role(RoleKind::OptimizerState, state.name), state.dtype, Combine::Exclusive, false, state.shape});
        const Source& source = m_sources[state.source];
        if (state.tensor == kNoTensor)
            SHARDLENS_TRY(m_builder.addWhole(id, {m_builder.addInline(source.import->file(FileId{0}), state.number), 0, m_builder.holder({}), {}}));
        else
            SHARDLENS_TRY(source.import->addWhole(id, state.tensor));
    }
    return {};
}

} // namespace shardlens::colossalai
