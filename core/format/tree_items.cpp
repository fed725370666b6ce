#include "core/format/tree_items.h"

#include "core/base/text.h"
#include "core/encoding/dcp_writer.h"
#include "core/encoding/pickle/emitter.h"
#include "core/encoding/tensor_leaves.h"
#include "core/encoding/torch_rebuild.h"
#include "core/encoding/torch_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

namespace shardlens {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr std::size_t kDeepestState = 128;
constexpr std::size_t kMostVisits = 8'000'000; // of values, counted once for every way to them

// A tensor or an object of the state, under its path.
struct StateLeaf {
    std::vector<DcpStep> path;
    Value value;
    std::optional<TorchTensor> tensor; // empty: an object
};

// Part of a storage: bytes [begin, end) of it.
TargetStorage slicedStorage(const TargetStorage& storage, std::uint64_t begin, std::uint64_t end)
{
    TargetStorage out{end - begin, {}};
    for (const TargetRun& run : storage.runs) {
        const std::uint64_t cell = info(run.dtype).bytesPerBlock;
        const std::uint64_t from = std::max(run.offsetBytes, begin);
        const std::uint64_t to = std::min(run.offsetBytes + run.values * cell, end);
        if (from < to)
            out.runs.push_back({run.tensor, run.dtype, run.firstValue + (from - run.offsetBytes) / cell, (to - from) / cell, from - begin});
    }
    return out;
}

// Whether the ends of a slice fall between values of the runs below them.
bool cutsBetweenValues(const TargetStorage& storage, std::uint64_t at)
{
    return std::none_of(storage.runs.begin(), storage.runs.end(), [&](const TargetRun& run) {
        const std::uint64_t cell = info(run.dtype).bytesPerBlock;
        return at > run.offsetBytes && at < run.offsetBytes + run.values * cell && (at - run.offsetBytes) % cell != 0;
    });
}

class Flattener {
public:
    Flattener(const TorchContainer& container, JobContext& job) : m_container(container), m_job(job) {}

    Result<std::vector<StateLeaf>> run(Value root)
    {
        if (!root.isMapping())
            return Error{ErrorCode::Refused, "the source's tree is no dictionary, and a DCP directory holds the entries of one; --select weights takes the tensors alone"};
        SHARDLENS_TRY(descend(root));
        return std::move(m_leaves);
    }
    [[nodiscard]] std::size_t emptyDictionaries() const { return m_empty; }

private:
    Status descend(Value value)
    {
        if (m_path.size() > kDeepestState)
            return Error{ErrorCode::LimitExceeded, fmt::format("a tree of more than {} levels", kDeepestState)};
        if (value.isMapping() && value.size() == 0)
            ++m_empty;
        for (std::size_t i = 0; i < value.size(); ++i) {
            m_path.push_back(value.isMapping() ? DcpStep{keyText(value.keyAt(i)), {}} : DcpStep{std::to_string(i), i});
            SHARDLENS_TRY(visit(value.isMapping() ? value.valueAt(i) : value.at(i)));
            m_path.pop_back();
        }
        return {};
    }

    Status visit(Value value)
    {
        SHARDLENS_TRY(m_job.poll());
        if (++m_visits > kMostVisits)
            return Error{ErrorCode::LimitExceeded, fmt::format("a tree in which {} values are met, counted once for every way to them", groupedText(kMostVisits))};
        if (value.isMapping() || isDescended(value, 0))
            return descend(value);
        StateLeaf leaf{m_path, value, {}};
        if (TorchFile::isTensor(value) && !TorchFile::sparseLayoutOf(value))
            if (auto tensor = rebuildTensor(m_container, value); tensor && !tensor->noData && tensor->flags.plain())
                leaf.tensor = tensor.take();
        std::string key;
        for (const DcpStep& step : m_path)
            key += (key.empty() ? "" : ".") + step.key;
        if (!m_keys.insert(key).second)
            return Error{ErrorCode::Refused, fmt::format("two values of the tree come out under the key {} (a key with a dot and a nested one, or keys of two types)", printable(key))};
        m_leaves.push_back(std::move(leaf));
        return {};
    }

    // A list that holds a tensor, a dictionary, or such a list. One that holds itself is not looked into again, and each is looked at once.
    bool isDescended(Value value, std::size_t depth)
    {
        if (value.kind() != Kind::List || depth > kDeepestState)
            return false;
        const auto [known, isNew] = m_isDescended.emplace(value.index(), false);
        if (!isNew)
            return known->second;
        bool out = false;
        for (std::size_t i = 0; i < value.size() && !out; ++i)
            out = TorchFile::isTensor(value.at(i)) || value.at(i).isMapping() || isDescended(value.at(i), depth + 1);
        m_isDescended[value.index()] = out;
        return out;
    }

    const TorchContainer& m_container;
    JobContext& m_job;
    std::vector<DcpStep> m_path;
    std::vector<StateLeaf> m_leaves;
    std::set<std::string> m_keys;
    std::unordered_map<std::uint32_t, bool> m_isDescended; // lists, by their index in the graph
    std::size_t m_visits = 0;
    std::size_t m_empty = 0;
};

class ItemMaker {
public:
    ItemMaker(Target& tree, const TorchContainer& container, std::uint32_t writers) : m_file(tree.torchFiles.front()), m_container(container), m_writers(writers) {}

    Result<std::vector<TargetDcpFile>> make(std::shared_ptr<const pickle::Graph> graph, const std::vector<StateLeaf>& leaves, std::vector<std::byte>& metadata);

private:
    Result<TargetDcpItem> object(Value value);
    Result<TargetDcpItem> rows(const TorchTensor& tensor, const DcpRows& part) const;
    [[nodiscard]] DcpRowCount countOf(const StateLeaf& leaf) const;

    const TargetTorchFile& m_file;
    const TorchContainer& m_container;
    std::uint32_t m_writers;
    std::shared_ptr<const pickle::Graph> m_graph;
};

std::uint64_t bytesBelowRow(const TorchTensor& tensor)
{
    const Shape units = unitShape(tensor.shape, tensor.dtype);
    std::uint64_t bytes = info(tensor.dtype).bytesPerBlock;
    for (std::size_t axis = 1; axis < units.size(); ++axis)
        bytes *= units[axis];
    return bytes;
}

DcpRowCount ItemMaker::countOf(const StateLeaf& leaf) const
{
    if (!leaf.tensor)
        return {1, 1024, false};
    const Shape units = unitShape(leaf.tensor->shape, leaf.tensor->dtype);
    DcpRowCount out{units.empty() ? 1 : units[0], bytesBelowRow(*leaf.tensor), leaf.tensor->contiguous && !units.empty() && elementCount(units).value_or(0) > 0};
    const TargetStorage& storage = m_file.storages[leaf.tensor->storage];
    for (std::uint64_t row = 0; out.isCut && row <= std::min<std::uint64_t>(out.rows, m_writers); ++row)
        out.isCut = cutsBetweenValues(storage, leaf.tensor->offsetBytes + row * ((out.rows + m_writers - 1) / m_writers) * out.rowBytes);
    return out;
}

// Rows of a tensor; one that is not dense keeps its strides, on as much of its storage as it spans.
Result<TargetDcpItem> ItemMaker::rows(const TorchTensor& tensor, const DcpRows& part) const
{
    TargetDcpItem out;
    const TargetStorage& storage = m_file.storages[tensor.storage];
    if (tensor.contiguous) {
        Shape shape = tensor.shape;
        if (!shape.empty())
            shape[0] = (part.end - part.begin) * (shape.size() == 1 ? info(tensor.dtype).valuesPerBlock : 1);
        const std::uint64_t row = bytesBelowRow(tensor);
        SHARDLENS_ASSIGN(out.pickle, tensorPickle(tensor.dtype, shape));
        out.storages.push_back(slicedStorage(storage, tensor.offsetBytes + part.begin * row, tensor.offsetBytes + part.end * row));
        return out;
    }
    const Shape units = unitShape(tensor.shape, tensor.dtype);
    const bool isEmpty = elementCount(units).value_or(0) == 0;
    std::uint64_t span = isEmpty ? 0 : info(tensor.dtype).bytesPerBlock;
    for (std::size_t axis = 0; axis < units.size() && !isEmpty; ++axis)
        span += (units[axis] - 1) * static_cast<std::uint64_t>(tensor.strides[axis]);
    SHARDLENS_ASSIGN(out.pickle, tensorPickle(tensor.dtype, tensor.shape, tensor.strides, span));
    out.storages.push_back(slicedStorage(storage, tensor.offsetBytes, tensor.offsetBytes + span));
    return out;
}

// An object with the storages that it reaches, numbered anew.
Result<TargetDcpItem> ItemMaker::object(Value value)
{
    TargetDcpItem out;
    pickle::GraphBuilder graph;
    std::map<std::size_t, std::size_t> numbers;
    std::optional<Error> problem;
    const Value root = graph.import(m_graph, value, [&](Value one) -> pickle::GraphBuilder::Fate {
        if (one.kind() != Kind::PersistentId)
            return {};
        const Value id = one.persistentId(); // ("storage", class, key, location, count)
        const auto storage = m_container.storageByKey.find(std::string(id.at(2).asText().value_or("")));
        if (storage == m_container.storageByKey.end() || id.size() != 5) {
            problem = Error{ErrorCode::Refused, "an object holds a storage of a kind that is not written"};
            return {pickle::GraphBuilder::Fate::Kind::Drop, {}};
        }
        const auto [number, isNew] = numbers.emplace(storage->second, numbers.size());
        if (isNew)
            out.storages.push_back(m_file.storages[storage->second]);
        const Value type = graph.global(id.at(1).globalModule(), id.at(1).globalName());
        return {pickle::GraphBuilder::Fate::Kind::Replace,
                graph.persistentId(graph.tuple({graph.text("storage"), type, graph.text(std::to_string(number->second)), graph.text("cpu"), graph.integer(id.at(4).asInt().value_or(0))}))};
    });
    if (problem)
        return *problem;
    const auto finished = std::move(graph).finish(root);
    SHARDLENS_ASSIGN(out.pickle, pickle::emitPickle(finished->root()));
    return out;
}

Result<std::vector<TargetDcpFile>> ItemMaker::make(std::shared_ptr<const pickle::Graph> graph, const std::vector<StateLeaf>& leaves, std::vector<std::byte>& metadata)
{
    m_graph = std::move(graph);
    std::vector<DcpRowCount> counts;
    for (const StateLeaf& leaf : leaves)
        counts.push_back(countOf(leaf));
    const std::vector<DcpRows> parts = dealRows(counts, m_writers);
    std::vector<TargetDcpFile> files(m_writers);
    std::vector<std::string> names;
    for (std::uint32_t writer = 0; writer < m_writers; ++writer) {
        files[writer].name = fmt::format("__{}_0.distcp", writer);
        files[writer].rank = writer;
        names.push_back(files[writer].name);
    }
    std::vector<DcpItem> places(parts.size());
    std::vector<std::uint64_t> ends(m_writers, 0);
    for (const bool objects : {true, false}) // in each file objects come first (§9.4)
        for (std::size_t i = 0; i < parts.size(); ++i) {
            const StateLeaf& leaf = leaves[parts[i].tensor];
            if (leaf.tensor.has_value() == objects)
                continue;
            SHARDLENS_ASSIGN(TargetDcpItem item, leaf.tensor ? rows(*leaf.tensor, parts[i]) : object(leaf.value));
            std::vector<std::uint64_t> sizes;
            for (const TargetStorage& storage : item.storages)
                sizes.push_back(storage.sizeBytes);
            SHARDLENS_ASSIGN(const std::uint64_t length, dcpItemBytes(item.pickle.size(), sizes));
            const std::uint32_t writer = parts[i].writer;
            places[i] = {writer, 0, ends[writer], length};
            ends[writer] += length;
            files[writer].tensors += leaf.tensor ? 1 : 0;
            files[writer].items.push_back(std::move(item));
        }
    DcpMetadataWriter writer(std::move(names));
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const StateLeaf& leaf = leaves[parts[i].tensor];
        if (!leaf.tensor) {
            writer.addObject(leaf.path, places[i]);
            continue;
        }
        const Shape units = unitShape(leaf.tensor->shape, leaf.tensor->dtype);
        if (i == 0 || parts[i - 1].tensor != parts[i].tensor)
            writer.addTensor(leaf.path, leaf.tensor->dtype, units);
        Shape offset(units.size(), 0);
        Shape extent = units;
        if (!units.empty()) {
            offset[0] = parts[i].begin;
            extent[0] = parts[i].end - parts[i].begin;
        }
        writer.addChunk(offset, extent, places[i]);
    }
    SHARDLENS_ASSIGN(metadata, std::move(writer).finish());
    return files;
}

} // namespace

Result<Target> treeAsItems(Target tree, std::uint32_t writers, JobContext& job)
{
    const TargetTorchFile& file = tree.torchFiles.front();
    if (file.bigEndian)
        return Error{ErrorCode::Refused, "the source's storages are big-endian, and its whole tree cannot be written as a DCP directory; --select weights takes the tensors"};
    TorchContainer container;
    SHARDLENS_ASSIGN(container.graph, pickle::Graph::parse(std::make_shared<const std::vector<std::byte>>(file.pickle), 0, &job));
    for (std::size_t key = 0; key < file.storages.size(); ++key) {
        container.storageByKey.emplace(std::to_string(key), key);
        container.storages.push_back({0, file.storages[key].sizeBytes, file.storages[key].sizeBytes, false, fmt::format("data/{}", key), nullptr});
    }
    Flattener flattener(container, job);
    SHARDLENS_ASSIGN(const std::vector<StateLeaf> leaves, flattener.run(container.graph->root()));
    std::vector<std::byte> metadata;
    SHARDLENS_ASSIGN(tree.dcpFiles, ItemMaker(tree, container, writers).make(container.graph, leaves, metadata));
    tree.bytesFiles.push_back({".metadata", std::move(metadata)});
    if (flattener.emptyDictionaries() > 0)
        tree.notes.push_back({TargetNote::Kind::Dropped, "Empty dictionaries", fmt::format("{} in the tree: a DCP directory has no place for what holds nothing.", plural(flattener.emptyDictionaries(), "empty dictionary", "empty dictionaries"))});
    for (TargetNote& note : tree.notes) // a torch file keeps what is shared, a directory does not
        if (note.kind == TargetNote::Kind::Kept)
            note.text = fmt::format("The whole saved state: {}, nesting and plain values.", plural(tree.results.size(), "tensor", "tensors"));
    std::set<std::size_t> storages;
    const auto shared = std::count_if(leaves.begin(), leaves.end(), [&](const StateLeaf& leaf) { return leaf.tensor && !storages.insert(leaf.tensor->storage).second; });
    if (shared > 0)
        tree.notes.push_back({TargetNote::Kind::Info, "Shared storages", fmt::format("{} the storage of another one; a DCP directory holds each by itself, so what they share is written more than once.",
                                                                                       shared == 1 ? "One tensor shares" : groupedText(static_cast<std::uint64_t>(shared)) + " tensors share")});
    tree.torchFiles.clear();
    return tree;
}

} // namespace shardlens
