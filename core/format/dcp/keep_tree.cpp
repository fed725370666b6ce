#include "core/format/dcp/keep_tree.h"

#include "core/base/text.h"
#include "core/format/dcp/state_reader.h"
#include "core/format/target_file.h"

#include <fmt/format.h>

#include <map>

namespace shardlens::dcp {
namespace {

using pickle::Value;

// A dictionary or list of the state on its way: lists are filled by index, whatever order the keys come in.
struct Branch {
    bool isList = false;
    std::map<std::string, Value> items;               // of a dictionary
    std::map<std::uint64_t, Value> elements;          // of a list
    std::map<std::string, std::unique_ptr<Branch>> below;
    std::vector<std::string> order; // of everything, by key
};

constexpr std::uint64_t kLongestList = 1u << 20;

class TreeMaker {
public:
    TreeMaker(const CheckpointPtr& source, const TargetOptions& options) : m_source(source), m_builder(*source), m_maker(m_storages, options.keepObjects, "state.pt") {}

    Result<Target> make(const std::vector<SaveFolder>& saves, JobContext& job);

private:
    Status addSave(StateReader& reader, std::size_t part, JobContext& job);
    Status addObject(const DcpFolder& folder, const DcpEntry& entry, JobContext& job);
    Status place(const DcpEntry& entry, Value value);
    Result<Value> valueOf(Branch& branch);
    void addNotes(Target& out) const;

    CheckpointPtr m_source;
    CheckpointBuilder m_builder; // the payload: the source, and storages of objects behind it
    StorageTensors m_storages;
    TargetFileMaker m_maker;
    std::vector<std::shared_ptr<const TorchFile>> m_objects; // that the tree was taken from
    Branch m_root;
    std::uint64_t m_padding = 0; // elements that lists lack
    std::set<std::string> m_leftOut;
};

Status TreeMaker::place(const DcpEntry& entry, Value value)
{
    const std::vector<DcpStep> path = entry.path.empty() ? std::vector<DcpStep>{{entry.key, {}}} : entry.path;
    Branch* at = &m_root;
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        std::unique_ptr<Branch>& next = at->below[path[i].key];
        if (!next) {
            next = std::make_unique<Branch>();
            next->isList = path[i + 1].index.has_value();
            at->order.push_back(path[i].key);
        }
        at = next.get();
    }
    if (at->isList != path.back().index.has_value() || (path.back().index && *path.back().index >= kLongestList))
        return Error{ErrorCode::Corrupt, fmt::format("the path of {} uses one place as a dictionary and as a list, or an index beyond {}", printable(entry.key), groupedText(kLongestList))};
    at->order.push_back(path.back().key);
    const bool isNew = at->isList ? at->elements.emplace(*path.back().index, value).second : at->items.emplace(path.back().key, value).second;
    return isNew ? Status{} : Error{ErrorCode::Corrupt, fmt::format("two values have the path of {}", printable(entry.key))};
}

Result<Value> TreeMaker::valueOf(Branch& branch)
{
    pickle::GraphBuilder& graph = m_maker.graph();
    std::map<std::string, Value>& values = branch.items;
    for (auto& [key, below] : branch.below) {
        SHARDLENS_ASSIGN(const Value made, valueOf(*below));
        if (branch.isList) {
            std::uint64_t index = 0;
            for (const char c : key)
                index = c >= '0' && c <= '9' ? index * 10 + static_cast<std::uint64_t>(c - '0') : kLongestList;
            if (index >= kLongestList)
                return Error{ErrorCode::Corrupt, fmt::format("a list with an element called {}", printable(key))};
            if (!branch.elements.emplace(index, made).second)
                return Error{ErrorCode::Corrupt, fmt::format("element {} of a list is a value and a branch at once", index)};
        } else if (!values.emplace(key, made).second) {
            return Error{ErrorCode::Corrupt, fmt::format("{} is a value and a dictionary at once", printable(key))};
        }
    }
    if (branch.isList) {
        const Value out = graph.list();
        const std::uint64_t count = branch.elements.empty() ? 0 : branch.elements.rbegin()->first + 1;
        m_padding += count - branch.elements.size();
        if (m_padding > kLongestList)
            return Error{ErrorCode::LimitExceeded, fmt::format("lists of the saved state lack more than {} elements", groupedText(kLongestList))};
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto element = branch.elements.find(i);
            graph.append(out, element == branch.elements.end() ? graph.none() : element->second); // as torch pads
        }
        return out;
    }
    const Value out = graph.dict();
    for (const std::string& key : branch.order)
        graph.set(out, key, values.at(key));
    return out;
}

Status TreeMaker::addObject(const DcpFolder& folder, const DcpEntry& entry, JobContext& job)
{
    auto file = folder.object(entry, job);
    if (!file)
        return file.takeError().within(printable(entry.key));
    if ((*file)->isBigEndian() && !(*file)->storages().empty())
        return Error{ErrorCode::Refused, fmt::format("{} is an object with big-endian storages, and its tree cannot be written again; --select weights takes the tensors", printable(entry.key))};
    const FileId id = folder.fileOf(entry.item.file);
    const auto placementOf = [&](const TorchStorage& storage) { return placementInItem(m_builder, id, entry.item, storage); };
    SHARDLENS_TRY(addStorageTensors(m_builder, id, **file, m_storages, fmt::format("{}: ", entry.key), placementOf));
    m_objects.push_back(*file);
    auto value = m_maker.tree().import(*file, (*file)->root());
    if (!value)
        return value.takeError().within(printable(entry.key));
    return place(entry, *value);
}

Status TreeMaker::addSave(StateReader& reader, std::size_t number, JobContext& job)
{
    const StateReader::Part& part = reader.parts()[number];
    const DcpMetadata& metadata = part.folder.metadata();
    for (std::size_t i = 0; i < metadata.entries.size(); ++i) {
        SHARDLENS_TRY(job.poll());
        const DcpEntry& entry = metadata.entries[i];
        if (entry.kind == DcpEntry::Kind::Bytes) {
            SHARDLENS_TRY(addObject(part.folder, entry, job));
            continue;
        }
        if (part.tensors[i] == kNoTensor)
            return Error{ErrorCode::Refused, fmt::format("{} is not read, and the whole tree holds it; --select weights leaves it out", printable(entry.key))};
        SHARDLENS_ASSIGN(const Value made, m_maker.whole(m_source->tensor(part.tensors[i]), part.tensors[i]));
        SHARDLENS_TRY(place(entry, made));
    }
    return {};
}

void TreeMaker::addNotes(Target& out) const
{
    using Kind = TargetNote::Kind;
    out.notes.push_back({Kind::Kept, "Everything", fmt::format("The whole saved state: {}, nesting and plain values.", plural(out.results.size(), "tensor", "tensors"))});
    for (const std::string& name : m_leftOut)
        out.leftOut += (out.leftOut.empty() ? "" : ", ") + name;
    if (!out.leftOut.empty())
        out.notes.push_back({Kind::Dropped, "Unknown objects", fmt::format("Objects of classes on no list of known ones are left out: {}. --keep-objects writes them as they are.", out.leftOut)});
}

Result<Target> TreeMaker::make(const std::vector<SaveFolder>& saves, JobContext& job)
{
    CheckpointBuilder again(m_source->path(), m_source->folder()); // the numbers of tensors come out as in the source
    StateReader reader(again);
    for (std::size_t i = 0; i < saves.size(); ++i) {
        SHARDLENS_TRY(reader.read(saves[i], job));
        SHARDLENS_TRY(addSave(reader, i, job));
    }
    SHARDLENS_ASSIGN(const Value root, valueOf(m_root));
    Target out;
    SHARDLENS_ASSIGN(TargetTorchFile file, std::move(m_maker).finish(root, m_leftOut));
    for (const SelectedTensor& selected : selectTensors(*m_source, SelectionOptions{Select::All, {}, {}}))
        out.results.push_back({selected.name, selected.tensor, m_source->tensor(selected.tensor).dtype});
    file.tensors = out.results.size();
    out.torchFiles.push_back(std::move(file));
    out.payload = std::move(m_builder).finish();
    addNotes(out);
    return out;
}

} // namespace

Result<std::optional<Target>> keepTree(const CheckpointPtr& source, const TargetOptions& options, JobContext& job)
{
    SHARDLENS_ASSIGN(const Candidate candidate, lookAt(source->path()));
    if (matchSave(candidate) == Match::No)
        return std::optional<Target>();
    SHARDLENS_ASSIGN(const std::vector<SaveFolder> saves, findSaves(candidate, options.open.tag));
    SHARDLENS_ASSIGN(Target out, TreeMaker(source, options).make(saves, job));
    return std::optional(std::move(out));
}

} // namespace shardlens::dcp
