#include "core/format/colossalai/target_optimizer.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/pickle/emitter.h"
#include "core/format/colossalai/optimizer_facts.h"
#include "core/format/colossalai/optimizer_states.h"
#include "core/format/colossalai/target_flat.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <unordered_map>

namespace shardlens::colossalai {
namespace {

using pickle::Value;

constexpr double kBytesOfMib = 1024.0 * 1024.0;

Value numberValue(pickle::GraphBuilder& graph, DType dtype, const std::vector<std::byte>& bytes)
{
    return dtype == DType::I64 ? graph.integer(static_cast<std::int64_t>(loadLe64(bytes.data()))) : graph.real(std::bit_cast<double>(loadLe64(bytes.data())));
}

} // namespace

// The number that a source of this format gives a parameter: recorded, or its name where it has no other.
std::optional<std::int64_t> OptimizerWriter::ownId(const std::string& parameter) const
{
    const auto known = m_source.modelFacts().find(idFact(parameter));
    return parameterId(known == m_source.modelFacts().end() ? std::string_view(parameter) : std::string_view(known->second));
}

// As the source numbers them where each has a number of its own; else in the order of the model.
void OptimizerWriter::number(const std::vector<StateTensor>& states, const std::vector<std::string>& order)
{
    std::vector<std::string> names;
    std::unordered_map<std::string_view, std::vector<const StateTensor*>> statesOf;
    for (const StateTensor& state : states)
        statesOf[state.parameter].push_back(&state);
    std::set<std::string_view> placed;
    for (const std::string& name : order)
        if (statesOf.contains(name) && placed.insert(name).second)
            names.push_back(name);
    for (const StateTensor& state : states)
        if (placed.insert(state.parameter).second)
            names.push_back(state.parameter);
    std::map<std::int64_t, std::string> own;
    for (const std::string& name : names)
        if (const auto id = ownId(name))
            own.emplace(*id, name);
    const bool keepsIds = own.size() == names.size();
    for (std::size_t i = 0; i < names.size(); ++i)
        m_names.emplace(keepsIds ? *ownId(names[i]) : static_cast<std::int64_t>(i), names[i]);
    for (const auto& [id, name] : m_names) {
        Numbered one{id, statesOf.at(name), 0};
        for (const StateTensor* state : one.states)
            one.sizeBytes += bytesOf(state->dtype, elementCount(m_source.tensor(state->source).shape).value_or(0)).value_or(0);
        m_parameters.push_back(std::move(one));
    }
    // States that keep their numbers are named by them where a model is written beside: its order must not give them other names. Alone a number is no name.
    if (keepsIds && m_folder.empty())
        std::erase_if(m_names, [](const auto& one) { return one.second == std::to_string(one.first); });
}

std::optional<std::vector<std::byte>> OptimizerWriter::plainNumber(const StateTensor& state) const
{
    const Tensor& tensor = m_source.tensor(state.source);
    const PieceStore& pieces = m_source.pieces();
    if (!tensor.shape.empty() || (tensor.dtype != DType::I64 && tensor.dtype != DType::F64) || pieces.countOf(state.source) == 0)
        return std::nullopt;
    const Piece piece = pieces.at(idAt<PieceId>(pieces.firstOf(state.source)));
    const Stream& stream = m_source.stream(piece.source.stream);
    if (stream.kind != Stream::Kind::Inline || !piece.source.flags.plain())
        return std::nullopt;
    const auto* first = m_source.inlineBytes().data() + stream.offset + piece.source.offset;
    return std::vector<std::byte>(first, first + sizeof(std::uint64_t));
}

Result<Value> OptimizerWriter::valueOf(TargetFileMaker& maker, const StateTensor& state) const
{
    const Tensor& tensor = m_source.tensor(state.source);
    if (const auto number = plainNumber(state))
        return numberValue(maker.graph(), tensor.dtype, *number);
    if (const auto problem = foreignDType(state.parameter + "/" + state.state, state.dtype, false))
        return Error{ErrorCode::Refused, *problem};
    const std::uint64_t values = elementCount(tensor.shape).value_or(0);
    std::vector<TargetRun> runs;
    if (values != 0)
        runs.push_back({state.source, state.dtype, 0, values, 0});
    return maker.tensor(state.dtype, tensor.shape, std::move(runs));
}

Status OptimizerWriter::addBinShard(const std::string& name, std::span<const Numbered> parameters, Target& out)
{
    const StorageTensors none;
    TargetFileMaker maker(none, false, name);
    const Value root = maker.graph().dict();
    for (const Numbered& parameter : parameters) {
        const Value states = maker.graph().dict();
        for (const StateTensor* state : parameter.states) {
            SHARDLENS_ASSIGN(const Value value, valueOf(maker, *state));
            maker.graph().set(states, state->state, value);
        }
        maker.graph().set(root, maker.graph().integer(parameter.id), states);
    }
    SHARDLENS_ASSIGN(TargetTorchFile file, std::move(maker).finish(root, m_leftOut));
    out.torchFiles.push_back(std::move(file));
    return {};
}

// As the async writer flattens states (§7): what is no tensor is a pickle, and named as one.
Status OptimizerWriter::addFlatShard(const std::string& name, std::span<const Numbered> parameters, Target& out)
{
    std::vector<FlatEntry> entries;
    nlohmann::json pickled = nlohmann::json::array();
    for (const Numbered& parameter : parameters)
        for (const StateTensor* state : parameter.states) {
            const Tensor& tensor = m_source.tensor(state->source);
            FlatEntry entry{fmt::format("state.{}.{}", parameter.id, state->state), state->dtype, tensor.shape, state->source, std::nullopt};
            if (const auto number = plainNumber(*state)) {
                pickle::GraphBuilder graph;
                const Value value = numberValue(graph, tensor.dtype, *number);
                const auto made = std::move(graph).finish(value);
                SHARDLENS_ASSIGN(entry.bytes, pickle::emitPickle(made->root()));
                entry.dtype = DType::U8;
                entry.shape = {entry.bytes->size()};
                pickled.push_back(entry.name);
            }
            entries.push_back(std::move(entry));
        }
    std::vector<std::pair<std::string, std::string>> metadata{{"format", "pt"}};
    if (!pickled.empty())
        metadata.emplace_back("non_tensor_keys", pickled.dump());
    SHARDLENS_ASSIGN(TargetFlatFile file, safetensorsFile(std::move(entries), std::move(metadata), true));
    file.name = name;
    out.flatFiles.push_back(std::move(file));
    return {};
}

Status OptimizerWriter::addShard(const std::string& name, std::span<const Numbered> parameters, Target& out)
{
    for (const Numbered& parameter : parameters)
        m_index.emplace_back(parameter.id, name);
    return m_shape.stateContainer == Container::Bin ? addBinShard(m_folder + name, parameters, out) : addFlatShard(m_folder + name, parameters, out);
}

// §4.3: all states of a parameter stay together.
Status OptimizerWriter::addShards(JobContext& job, Target& out)
{
    std::size_t begin = 0;
    std::size_t shard = 1;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i <= m_parameters.size(); ++i) {
        const bool isEnd = i == m_parameters.size();
        if (isEnd || (sum > 0 && m_parameters[i].sizeBytes > m_shape.shardBytes - std::min(sum, m_shape.shardBytes))) {
            SHARDLENS_TRY(job.poll());
            SHARDLENS_TRY(addShard(optimizerShardName(m_shape.prefix, shard++, m_shape.stateContainer), std::span(m_parameters).subspan(begin, i - begin), out));
            begin = i;
            sum = 0;
        }
        sum += isEnd ? 0 : m_parameters[i].sizeBytes;
    }
    return {};
}

// Names of the parameters of a group, where each of them has one.
Value OptimizerWriter::namesOf(TargetFileMaker& maker, Value params) const
{
    std::vector<std::string> names;
    for (std::size_t i = 0; i < params.size(); ++i) {
        const auto id = params.at(i).asInt();
        const auto known = id ? m_names.find(*id) : m_names.end();
        if (known == m_names.end())
            return {};
        names.push_back(known->second);
    }
    const Value out = maker.graph().list();
    for (const std::string& name : names)
        maker.graph().append(out, maker.graph().text(name));
    return out;
}

// The groups of the source, hyper-parameters and all.
Result<Value> OptimizerWriter::ownGroups(TargetFileMaker& maker, JobContext& job, bool& isThere)
{
    const auto fact = m_source.modelFacts().find(kGroupsFact);
    if (m_source.formatId() != "colossalai" || fact == m_source.modelFacts().end() || fact->second.ends_with(".safetensors"))
        return maker.graph().none();
    const auto& files = m_source.files();
    const auto row = std::find_if(files.begin(), files.end(), [&](const File& file) { return file.name == fact->second && file.state == File::State::Read; });
    if (row == files.end())
        return maker.graph().none();
    SHARDLENS_ASSIGN(const auto bytes, FileSource::open(row->path));
    SHARDLENS_ASSIGN(TorchFile opened, TorchFile::open(bytes, job));
    const auto torch = std::make_shared<const TorchFile>(std::move(opened));
    const Value found = torch->root().isSequence() ? torch->root() : torch->root().find("param_groups");
    if (!found.isSequence())
        return maker.graph().none();
    SHARDLENS_TRY(addStorageTensors(m_payload, idAt<FileId>(static_cast<std::size_t>(row - files.begin())), *torch, m_storages));
    const Value out = maker.graph().list();
    for (std::size_t g = 0; g < found.size(); ++g) {
        const Value group = found.at(g);
        if (!group.isMapping() || !group.find("params").isSequence())
            return maker.graph().none();
        const Value made = maker.graph().dict();
        for (std::size_t i = 0; i < group.size(); ++i) {
            SHARDLENS_ASSIGN(const Value key, maker.tree().import(torch, group.keyAt(i)));
            SHARDLENS_ASSIGN(const Value value, maker.tree().import(torch, group.valueAt(i)));
            maker.graph().set(made, key, value);
        }
        if (const Value names = group.find("param_names") ? Value() : namesOf(maker, group.find("params")))
            maker.graph().set(made, "param_names", names);
        maker.graph().append(out, made);
    }
    isThere = true;
    return out;
}

Value OptimizerWriter::oneGroup(TargetFileMaker& maker) const
{
    const Value out = maker.graph().list();
    const Value group = maker.graph().dict();
    const Value params = maker.graph().list();
    for (const Numbered& parameter : m_parameters)
        maker.graph().append(params, maker.graph().integer(parameter.id));
    maker.graph().set(group, "params", params);
    if (const Value names = namesOf(maker, params))
        maker.graph().set(group, "param_names", names);
    maker.graph().append(out, group);
    return out;
}

Status OptimizerWriter::addGroups(JobContext& job, Target& out)
{
    TargetFileMaker maker(m_storages, m_shape.keepObjects, m_folder + optimizerGroupName(m_shape.prefix));
    bool isOwn = false;
    SHARDLENS_ASSIGN(Value groups, ownGroups(maker, job, isOwn));
    if (!isOwn) {
        groups = oneGroup(maker);
        out.notes.push_back({TargetNote::Kind::Dropped, "Parameter groups", "Hyper-parameters (lr, betas, weight_decay …) are not carried over from another format: one group lists all parameters, and the training script must set them."});
    }
    SHARDLENS_ASSIGN(TargetTorchFile file, std::move(maker).finish(groups, m_leftOut));
    out.torchFiles.push_back(std::move(file));
    return {};
}

Status OptimizerWriter::add(const std::vector<StateTensor>& states, const std::vector<std::string>& order, JobContext& job, Target& out)
{
    number(states, order);
    SHARDLENS_TRY(addShards(job, out));
    SHARDLENS_TRY(addGroups(job, out));
    std::uint64_t bytes = 0;
    std::string map;
    for (const Numbered& parameter : m_parameters)
        bytes += parameter.sizeBytes;
    for (const auto& [id, file] : m_index)
        map += fmt::format("{}\n    \"{}\": {}", map.empty() ? "" : ",", id, nlohmann::json(file).dump(-1, ' ', true));
    out.textFiles.push_back({m_folder + optimizerIndexName(m_shape.prefix, m_shape.stateContainer),
                             fmt::format("{{\n  \"metadata\": {{\n    \"total_size\": {},\n    \"param_groups\": {}\n  }},\n  \"weight_map\": {{{}\n  }}\n}}\n",
                                         nlohmann::json(static_cast<double>(bytes) / kBytesOfMib).dump(),
                                         nlohmann::json(optimizerGroupName(m_shape.prefix)).dump(-1, ' ', true), map)});
    for (const std::string& name : m_leftOut)
        out.leftOut += (out.leftOut.empty() ? "" : ", ") + printable(name);
    if (!m_leftOut.empty())
        out.notes.push_back({TargetNote::Kind::Dropped, "Unknown objects", fmt::format("Objects of classes on no list of known ones are left out of the parameter groups: {}.",
                                                                                       out.leftOut)});
    return {};
}

} // namespace shardlens::colossalai
