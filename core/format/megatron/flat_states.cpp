#include "core/format/megatron/optimizer_states.h"

#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::megatron {
namespace {

using pickle::Value;

constexpr std::size_t kStatesMetadataNodes = 20'000;
constexpr std::size_t kMostBuffers = 1u << 16;
constexpr std::size_t kMostLossesSaid = 8; // of buffers of one file
constexpr std::size_t kMostStatesSaid = 8;

// A buffer as the file has it.
struct FlatItem {
    std::int64_t index = 0;       // of the model chunk, or of the buffer
    std::optional<DType> dtype;   // of the parameters, or in old files of the gradients
    std::optional<DType> gradient; // where the key has both
    bool isPair = false;
    std::size_t ofIndex = 0;      // how many have this number
    std::string label;            // "buffer 0 (bfloat16, float32)"
    Value content;
};

// The parameters of a model chunk that lie in one buffer.
struct FlatGroup {
    std::uint32_t chunk = 0;
    DType dtype{};
    std::vector<const Trained*> parameters;
};

// The vectors of one state, by bucket.
struct FlatVectors {
    Role role;
    DType dtype{};
    std::vector<TorchTensor> buckets;
};

std::optional<DType> dtypeOfKey(Value key)
{
    if (key.kind() == pickle::Kind::Global && key.globalModule() == "torch")
        return dtypeByTorchName(key.globalName());
    std::string_view text = key.asText().value_or("");
    if (text.starts_with("torch."))
        text.remove_prefix(6);
    return dtypeByTorchName(text);
}

std::string keyText(Value key)
{
    if (key.kind() == pickle::Kind::Tuple)
        return key.size() == 2 ? keyText(key.at(0)) + ", " + keyText(key.at(1)) : fmt::format("{} values", key.size());
    if (key.kind() == pickle::Kind::Global)
        return printable(key.globalName());
    return printable(key.asText().value_or("?"));
}

// {index: {dtype or (parameter dtype, gradient dtype): content}}; keys that are text are about all of it (§8.3).
Result<std::vector<FlatItem>> itemsOf(Value optimizer)
{
    std::vector<FlatItem> out;
    for (std::size_t i = 0; i < optimizer.size(); ++i) {
        const auto index = optimizer.keyAt(i).asInt();
        if (optimizer.keyAt(i).asText() || !optimizer.valueAt(i).isMapping())
            continue;
        if (!index || *index < 0)
            return Error{ErrorCode::Corrupt, "a buffer has no number"};
        const Value byDtype = optimizer.valueAt(i);
        for (std::size_t k = 0; k < byDtype.size(); ++k) {
            const Value key = byDtype.keyAt(k);
            const bool isPair = key.kind() == pickle::Kind::Tuple && key.size() == 2;
            out.push_back({*index, dtypeOfKey(isPair ? key.at(0) : key), isPair ? dtypeOfKey(key.at(1)) : std::nullopt, isPair, 0,
                           fmt::format("buffer {} ({})", *index, keyText(key)), byDtype.valueAt(k)});
            if (out.size() > kMostBuffers)
                return Error{ErrorCode::LimitExceeded, fmt::format("more than {} buffers", kMostBuffers)};
        }
    }
    std::stable_sort(out.begin(), out.end(), [](const FlatItem& a, const FlatItem& b) { return a.index < b.index; });
    for (std::size_t begin = 0, end = 0; begin < out.size(); begin = end) {
        while (end < out.size() && out[end].index == out[begin].index)
            ++end;
        for (std::size_t i = begin; i < end; ++i)
            out[i].ofIndex = end - begin;
    }
    return out;
}

// Keys of two dtypes are of files that number their buffers through all chunks: where one is missing, the numbers behind it may be those of any chunk.
Status checkNumbering(const std::vector<FlatItem>& items, const std::vector<FlatGroup>& groups)
{
    const bool hasChunks = !groups.empty() && groups.back().chunk != groups.front().chunk;
    if (!hasChunks || items.empty() || items.size() == groups.size() || !std::all_of(items.begin(), items.end(), [](const FlatItem& item) { return item.isPair; }))
        return {};
    return Error{ErrorCode::Corrupt, fmt::format("it has {}, and the chunks of the model need {}: which one is whose cannot be told", plural(items.size(), "buffer", "buffers"),
                                                 groups.size())};
}

// Chunk by chunk; in each the dtypes as they first come.
std::vector<FlatGroup> groupsOf(const std::vector<const Trained*>& parameters)
{
    std::vector<FlatGroup> out;
    for (const Trained* one : parameters) {
        const auto known = std::find_if(out.begin(), out.end(), [&](const FlatGroup& group) { return group.chunk == one->chunk && group.dtype == one->dtype; });
        if (known != out.end())
            known->parameters.push_back(one);
        else
            out.push_back({one->chunk, one->dtype, {one}});
    }
    return out;
}

// Buffers are numbered through, or by the chunk of the model; old ones have all dtypes whose gradients are of one.
Result<FlatGroup> groupOfItem(const std::vector<FlatItem>& items, std::size_t at, const std::vector<FlatGroup>& groups)
{
    const FlatItem& item = items[at];
    if (items.size() == groups.size() && item.index == static_cast<std::int64_t>(at)) {
        if (!item.dtype || item.dtype == groups[at].dtype)
            return groups[at];
        if (item.isPair && item.ofIndex == 1 && groups.back().chunk != groups.front().chunk) // numbered through all chunks
            return Error{ErrorCode::Corrupt, fmt::format("the parameters of this number are {}", nameOf(groups[at].dtype))};
    }
    FlatGroup all{static_cast<std::uint32_t>(std::min<std::int64_t>(item.index, 1u << 30)), {}, {}};
    for (const FlatGroup& group : groups) {
        if (std::int64_t{group.chunk} != item.index)
            continue;
        if (item.dtype == group.dtype)
            return group;
        all.parameters.insert(all.parameters.end(), group.parameters.begin(), group.parameters.end());
    }
    if (item.isPair || item.ofIndex != 1 || all.parameters.empty())
        return Error{ErrorCode::Corrupt,
                     fmt::format("the model has no parameters for it; it has {}", plural(groups.size(), "group of one dtype", "groups of one dtype"))};
    std::sort(all.parameters.begin(), all.parameters.end(), [](const Trained* a, const Trained* b) { return a->entry < b->entry; });
    return all;
}

Result<TorchTensor> flatTensor(const TorchFile& file, Value value)
{
    SHARDLENS_ASSIGN(auto tensor, file.tensorOf(value));
    if (tensor.shape.size() != 1 || !tensor.contiguous || tensor.noData || info(tensor.dtype).valuesPerBlock != 1)
        return Error{ErrorCode::Corrupt,
                     fmt::format("a dense one-dimensional tensor is expected, and it is {} {}", nameOf(tensor.dtype), shapeText(tensor.shape))};
    return tensor;
}

Result<std::vector<FlatVectors>> vectorsOf(const TorchFile& file, Value content)
{
    std::vector<FlatVectors> out;
    for (std::size_t i = 0; i < content.size(); ++i) {
        const std::string name(content.keyAt(i).asText().value_or(""));
        const Value value = content.valueAt(i);
        const bool isTensor = TorchFile::isTensor(value);
        if (!isTensor && value.kind() != pickle::Kind::List)
            continue;
        FlatVectors made;
        for (std::size_t k = 0; k < (isTensor ? 1 : value.size()); ++k) {
            auto tensor = flatTensor(file, isTensor ? value : value.at(k));
            if (!tensor)
                return tensor.takeError().within(printable(name));
            if (k != 0 && tensor->dtype != made.dtype)
                return Error{ErrorCode::Corrupt,
                             fmt::format("{}: bucket {} is {}, those before it {}", printable(name), k, nameOf(tensor->dtype), nameOf(made.dtype))};
            made.dtype = tensor->dtype;
            made.buckets.push_back(tensor.take());
        }
        made.role = stateRole(name, made.dtype);
        out.push_back(std::move(made));
    }
    if (out.empty())
        return Error{ErrorCode::Corrupt, "it has no vectors (param, exp_avg, exp_avg_sq)"};
    return out;
}

// What should be a state and is none: "param (None) and 2 more".
std::string otherThanVectors(Value content)
{
    std::string first;
    std::size_t count = 0;
    for (std::size_t i = 0; i < content.size(); ++i) {
        const std::string_view name = content.keyAt(i).asText().value_or("?");
        const Value value = content.valueAt(i);
        if (name == "numel_unpadded" || TorchFile::isTensor(value) || value.kind() == pickle::Kind::List)
            continue;
        if (count++ == 0)
            first = fmt::format("{}{}", printable(name), value.isNone() ? " (None)" : "");
    }
    return count > 1 ? fmt::format("{} and {} more", first, count - 1) : first;
}

std::string statesText(const std::vector<std::pair<Role, DType>>& states)
{
    std::string out;
    for (std::size_t i = 0; i < states.size() && i < kMostStatesSaid; ++i)
        out += fmt::format("{}{} {}", i == 0 ? "" : ", ", printable(states[i].first.name), nameOf(states[i].second));
    return states.size() > kMostStatesSaid ? out + ", …" : out;
}

// Every parameter has the same states, as far as it has any: buffers of a run differ in nothing else than their parameters.
Status checkStates(const OptimizerKept& kept, const std::vector<FlatVectors>& vectors)
{
    std::vector<std::pair<Role, DType>> states;
    for (const FlatVectors& one : vectors)
        states.emplace_back(one.role, one.dtype);
    const auto sameState = [](const auto& a, const auto& b) { return a.first.kind == b.first.kind && a.first.name == b.first.name && a.second == b.second; };
    if (kept.states.empty() || std::is_permutation(states.begin(), states.end(), kept.states.begin(), kept.states.end(), sameState))
        return {};
    return Error{ErrorCode::Unsupported, fmt::format("it has {}, and the buffers before it {}", statesText(states), statesText(kept.states))};
}

std::vector<std::uint64_t> lengthsOf(const FlatVectors& vectors)
{
    std::vector<std::uint64_t> out;
    for (const TorchTensor& one : vectors.buckets)
        out.push_back(one.shape[0]);
    return out;
}

// The numbers of an item in a table of all buffers: by index, then by dtype. Empty where the table says none.
std::vector<std::uint64_t> numbersFor(Value table, const FlatItem& item)
{
    Value held = table.isSequence() ? table.at(static_cast<std::size_t>(item.index)) : Value{};
    for (std::size_t i = 0; table.isMapping() && i < table.size(); ++i)
        if (table.keyAt(i).asInt() == item.index)
            held = table.valueAt(i);
    if (held.isMapping()) {
        Value ofDtype;
        for (std::size_t i = 0; i < held.size(); ++i) {
            const Value key = held.keyAt(i);
            if (dtypeOfKey(key.kind() == pickle::Kind::Tuple ? key.at(0) : key) == item.dtype)
                ofDtype = held.valueAt(i);
        }
        held = ofDtype;
    }
    std::vector<std::uint64_t> out;
    for (std::size_t i = 0; held.isSequence() && i < held.size(); ++i) {
        const auto number = held.at(i).asInt();
        if (!number || *number < 0)
            return {};
        out.push_back(static_cast<std::uint64_t>(*number));
    }
    return out;
}

Result<BufferLengths> bufferLengths(Value optimizer, const FlatItem& item, const std::vector<FlatVectors>& vectors)
{
    BufferLengths out;
    out.lengths = lengthsOf(vectors.front());
    for (const FlatVectors& other : vectors)
        if (lengthsOf(other) != out.lengths)
            return Error{ErrorCode::Corrupt, fmt::format("{} and {} differ in length", printable(vectors.front().role.name), printable(other.role.name))};
    const Value unpadded = item.content.find("numel_unpadded");
    const auto coalesced = unpadded.asInt();
    if (coalesced || optimizer.find("buckets_coalesced").asBool().value_or(false)) {
        if (out.lengths.size() != 1 || (coalesced && (*coalesced < 0 || static_cast<std::uint64_t>(*coalesced) != out.lengths[0])))
            return Error{ErrorCode::Corrupt,
                         fmt::format("numel_unpadded says {} elements, and its vectors hold {}", coalesced ? std::to_string(*coalesced) : "nothing",
                                     out.lengths.size() == 1 ? groupedText(out.lengths[0]) : fmt::format("{} buckets", out.lengths.size()))};
        return out;
    }
    const bool isList = item.content.find("param").kind() == pickle::Kind::List || out.lengths.size() > 1;
    out.kind = isList ? BufferLengths::Kind::Buckets : BufferLengths::Kind::Padded;
    out.unpadded = numbersFor(optimizer.find("per_bucket_numel_unpadded"), item);
    const auto said = numbersFor(optimizer.find("per_bucket_numel"), item);
    if (!said.empty() && said != out.lengths && out.unpadded != out.lengths)
        return Error{ErrorCode::Corrupt, fmt::format("per_bucket_numel says {} for {}, and its vectors are of {}", fmt::join(said, " + "),
                                                     plural(said.size(), "bucket", "buckets"), fmt::join(out.lengths, " + "))};
    return out;
}

// Reads the file of one rank.
class FlatStates {
public:
    FlatStates(RankSet& set, Rank& rank, const std::vector<Trained>& trained, std::string name, JobContext& job)
        : m_set(set), m_rank(rank), m_trained(trained), m_name(std::move(name)), m_job(job), m_builder(*rank.content.checkpoint)
    {
    }

    Status read(File row, std::shared_ptr<const TorchFile> torch)
    {
        m_torch = std::move(torch);
        row.container = containerText(m_torch->container());
        m_file = m_builder.addFile(std::move(row));
        addContainerSpans(m_builder, m_file, *m_torch);
        m_builder.addMetadata({m_file, describe(*m_torch, kStatesMetadataNodes)});
        m_pieces.emplace(m_builder, m_file, *m_torch);
        SHARDLENS_TRY(addAll(m_torch->root()));
        finish();
        return {};
    }

    // States of every parameter that should have them, in a file that is not there or cannot be read.
    Status addHoles(File row, const Error& error)
    {
        const bool isMissing = error.code() == ErrorCode::NotFound;
        row.state = isMissing ? File::State::Missing : File::State::Unreadable;
        m_file = m_builder.addFile(std::move(row));
        if (m_set.optimizer.states.empty()) { // of no rank it is known what it has
            lose("", {error.code(), fmt::format("it cannot be read: {}", error.text())});
        } else {
            m_builder.addFinding(
                {Severity::Warning, isMissing ? "missing-file" : "unreadable-file",
                 isMissing ? fmt::format("Other ranks have a {}, and {} is missing: the optimizer's states of this rank.", kFlatStatesFile, printable(m_name))
                           : fmt::format("{} cannot be read: {}.", printable(m_name), error.text()),
                 kNoTensor, m_file, std::nullopt});
        }
        const StreamId stream = m_builder.streamOf(m_file);
        for (const Trained& one : m_trained) {
            const bool isElsewhere = m_set.optimizer.isChained && !one.isExpert && m_rank.ep > 0; // in the file of the first expert-parallel rank
            if (isElsewhere || !m_set.optimizer.dtypes.contains(one.dtype))
                continue;
            for (const auto& [role, dtype] : m_set.optimizer.states) {
                SHARDLENS_ASSIGN(const TensorId id, stateOf(one, role, dtype));
                SHARDLENS_TRY(m_builder.addWhole(id, {stream, 0, m_builder.holder({}), {}}));
            }
        }
        finish();
        return {};
    }

private:
    void finish()
    {
        m_rank.content.checkpoint = std::move(m_builder).finish();
        auto& entries = m_set.entries.at(&m_rank);
        entries.insert(entries.end(), m_entries.begin(), m_entries.end());
    }

    void lose(const std::string& what, const Error& error)
    {
        m_rank.lost.push_back({m_name, RoleKind::OptimizerState, fmt::format("{}{}{}: {}.", printable(m_name), what.empty() ? "" : ", ", what, error.text())});
    }

    Status addAll(Value root)
    {
        const bool isChain = root.isSequence();
        std::vector<Value> optimizers;
        for (std::size_t i = 0; isChain && i < root.size(); ++i)
            optimizers.push_back(root.at(i));
        if (!isChain)
            optimizers.push_back(root);
        const auto held =
            std::count_if(optimizers.begin() + std::min<std::ptrdiff_t>(2, std::ssize(optimizers)), optimizers.end(), [](Value one) { return !one.isNone(); });
        if (held > 0 || (!isChain && !root.isMapping())) {
            lose("", {ErrorCode::Unsupported,
                      isChain ? fmt::format("it is a list of {} optimizers, and those of dense and of expert parameters are known", optimizers.size())
                              : std::string("it is neither a dictionary of buffers nor a list of them")});
            return {};
        }
        const bool splitsExperts = optimizers.size() > 1;
        m_set.optimizer.isChained = m_set.optimizer.isChained || splitsExperts;
        for (std::size_t i = 0; i < std::min<std::size_t>(optimizers.size(), 2); ++i) {
            std::vector<const Trained*> own;
            for (const Trained& one : m_trained)
                if (!splitsExperts || one.isExpert == (i == 1))
                    own.push_back(&one);
            if (!optimizers[i].isNone())
                SHARDLENS_TRY(addOptimizer(optimizers[i], own, i == 1));
        }
        return {};
    }

    Status addOptimizer(Value optimizer, const std::vector<const Trained*>& parameters, bool ofExperts)
    {
        const std::string who = ofExperts ? "experts, " : "";
        auto items = itemsOf(optimizer);
        if (!items) {
            lose(ofExperts ? "experts" : "", items.error());
            return {};
        }
        const std::vector<FlatGroup> groups = groupsOf(parameters);
        if (items->empty() && !groups.empty())
            lose(ofExperts ? "experts" : "", {ErrorCode::Unsupported, "it has no buffers under numbers"});
        if (const Status numbered = checkNumbering(*items, groups); !numbered) {
            lose(ofExperts ? "experts" : "", numbered.error());
            return {};
        }
        std::set<const Trained*> covered;
        std::size_t losses = 0;
        for (std::size_t i = 0; i < items->size(); ++i) {
            SHARDLENS_TRY(m_job.poll());
            const Status added = addItem(optimizer, *items, i, groups, ofExperts, covered);
            if (added)
                continue;
            lose(who + (*items)[i].label, added.error());
            if (++losses < kMostLossesSaid || i + 1 == items->size())
                continue;
            lose(ofExperts ? "experts" : "", {ErrorCode::Corrupt, fmt::format("{} behind these are not looked at", plural(items->size() - i - 1, "buffer", "buffers"))});
            break;
        }
        if (!items->empty() && covered.size() < parameters.size())
            sayUncovered(parameters, covered);
        return {};
    }

    // Parameters that no buffer is for; those of a buffer that is lost count as covered.
    void sayUncovered(const std::vector<const Trained*>& parameters, const std::set<const Trained*>& covered)
    {
        const auto first = std::find_if(parameters.begin(), parameters.end(), [&](const Trained* one) { return !covered.contains(one); });
        m_builder.addFinding(
            {Severity::Info, "no-states",
             fmt::format("{} has no buffer for {}: {}.", printable(m_name), plural(parameters.size() - covered.size(), "parameter", "parameters"),
                         printable(m_set.entries.at(&m_rank)[(*first)->entry].global)),
             kNoTensor, m_file, std::nullopt});
    }

    Status addItem(Value optimizer, const std::vector<FlatItem>& items, std::size_t at, const std::vector<FlatGroup>& groups, bool ofExperts,
                   std::set<const Trained*>& covered)
    {
        const FlatItem& item = items[at];
        SHARDLENS_ASSIGN(const FlatGroup group, groupOfItem(items, at, groups));
        if (covered.contains(group.parameters.front()))
            return Error{ErrorCode::Corrupt, "another buffer is for its parameters"};
        covered.insert(group.parameters.begin(), group.parameters.end());
        SHARDLENS_ASSIGN(const auto vectors, vectorsOf(*m_torch, item.content));
        SHARDLENS_TRY(checkStates(m_set.optimizer, vectors));
        SHARDLENS_ASSIGN(const BufferLengths lengths, bufferLengths(optimizer, item, vectors));
        std::vector<BufferParameter> parameters;
        for (const Trained* one : group.parameters)
            parameters.push_back({one->count, one->isShared});
        SHARDLENS_ASSIGN(const BufferLayout layout,
                         chooseBufferLayout(parameters, lengths, bufferArguments(m_set, ofExperts, m_rank.pp == 0 && group.chunk == 0)));
        note(lengths, layout, vectors, group);
        if (const std::string others = otherThanVectors(item.content); !others.empty())
            lose((ofExperts ? "experts, " : "") + item.label, {ErrorCode::Unsupported, fmt::format("no vector: {}", others)});
        if (item.gradient && item.dtype)
            m_set.optimizer.gradients.insert_or_assign(*item.dtype, *item.gradient);
        for (const FlatVectors& one : vectors)
            SHARDLENS_TRY(addVectors(one, group, lengths, layout));
        return {};
    }

    void note(const BufferLengths& lengths, const BufferLayout& layout, const std::vector<FlatVectors>& vectors, const FlatGroup& group)
    {
        using Kind = BufferLengths::Kind;
        OptimizerKept& kept = m_set.optimizer;
        kept.kind = OptimizerKept::Kind::Distributed;
        kept.storedAs = lengths.kind == Kind::Coalesced ? "coalesced buffers" : lengths.kind == Kind::Buckets ? "one vector a bucket" : "padded buffers";
        kept.alignment = lengths.kind == Kind::Coalesced ? layout.rule.alignment : 64;
        for (const Trained* one : group.parameters)
            kept.dtypes.insert(one->dtype);
        if (kept.states.empty())
            for (const FlatVectors& one : vectors)
                kept.states.emplace_back(one.role, one.dtype);
    }

    Result<TensorId> stateOf(const Trained& parameter, const Role& role, DType dtype)
    {
        const Entry& entry = m_set.entries.at(&m_rank)[parameter.entry];
        const ParameterId name = m_builder.tensor(idAt<TensorId>(entry.tensor)).parameter;
        const TensorId id = m_builder.addTensor({name, m_builder.role(role.kind, role.name), dtype, Combine::Exclusive, false, parameter.shape});
        m_entries.push_back(stateEntry(entry, id));
        return id;
    }

    Status addVectors(const FlatVectors& vectors, const FlatGroup& group, const BufferLengths& lengths, const BufferLayout& layout)
    {
        const std::uint64_t cell = info(vectors.dtype).bytesPerBlock;
        const bool byBucket = lengths.kind == BufferLengths::Kind::Buckets;
        const std::vector<std::uint64_t> begins = layout.begins();
        std::vector<std::vector<FlatRange>> used(vectors.buckets.size());
        std::vector<CheckpointBuilder::Placement> placements;
        for (const TorchTensor& bucket : vectors.buckets)
            placements.push_back(m_pieces->placementOf(bucket, m_builder.holder({})));
        for (std::size_t i = 0; i < group.parameters.size(); ++i) {
            const Trained& parameter = *group.parameters[i];
            const std::size_t bucket = byBucket ? layout.places[i].bucket : 0;
            const std::uint64_t begin = byBucket ? layout.places[i].begin : begins[i];
            CheckpointBuilder::Placement placement = placements[bucket];
            placement.offset += begin * cell;
            SHARDLENS_ASSIGN(const TensorId id, stateOf(parameter, vectors.role, vectors.dtype));
            SHARDLENS_TRY(m_builder.addPiece(id, FlatRange{0, parameter.count}, placement));
            used[bucket].push_back({begin, begin + parameter.count});
        }
        for (std::size_t i = 0; i < used.size(); ++i)
            markGaps(used[i], placements[i], vectors.buckets[i].shape[0], cell);
        return {};
    }

    // What lies between parameters and behind the last.
    void markGaps(std::vector<FlatRange>& used, const CheckpointBuilder::Placement& placement, std::uint64_t length, std::uint64_t cell)
    {
        std::sort(used.begin(), used.end());
        used.push_back({length, length});
        std::uint64_t end = 0;
        for (const FlatRange& one : used) {
            if (one.begin > end)
                m_builder.addPadding(placement.stream, placement.offset + end * cell, (one.begin - end) * cell);
            end = std::max(end, one.end);
        }
    }

    RankSet& m_set;
    Rank& m_rank;
    const std::vector<Trained>& m_trained;
    std::string m_name;
    JobContext& m_job;
    CheckpointBuilder m_builder;
    FileId m_file = kNoFile;
    std::shared_ptr<const TorchFile> m_torch;
    std::optional<TorchPieces> m_pieces;
    std::vector<Entry> m_entries;
};

} // namespace

Status readFlatStates(RankSet& set, JobContext& job)
{
    std::vector<std::tuple<Rank*, File, Error>> absent;
    for (Rank& rank : set.ranks) {
        if (!rank.content.checkpoint)
            continue;
        SHARDLENS_TRY(job.poll());
        const std::string name = rank.name.substr(0, rank.name.find('/') + 1) + kFlatStatesFile;
        const std::string path = set.folder.path + "/" + name;
        auto opened = openFile(path, name);
        auto torch = opened ? TorchFile::open(opened->source, job) : Result<TorchFile>(opened.error());
        if (!torch) {
            if (torch.error().code() == ErrorCode::Cancelled)
                return torch.takeError();
            absent.emplace_back(&rank, opened ? std::move(opened->row) : missingFile(path, name), torch.takeError());
            continue;
        }
        SHARDLENS_ASSIGN(const auto trained, trainedOf(set, rank));
        SHARDLENS_TRY(FlatStates(set, rank, trained, name, job).read(std::move(opened->row), std::make_shared<const TorchFile>(torch.take())));
    }
    for (auto& [rank, row, error] : absent) { // what the others have says what these should have
        SHARDLENS_ASSIGN(const auto trained, trainedOf(set, *rank));
        const std::string name = row.name;
        SHARDLENS_TRY(FlatStates(set, *rank, trained, name, job).addHoles(std::move(row), error));
    }
    return {};
}

} // namespace shardlens::megatron
