#include "core/encoding/dcp_metadata.h"

#include "core/base/text.h"
#include "core/encoding/tensor_leaves.h"
#include "core/encoding/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <span>
#include <unordered_map>
#include <utility>

namespace shardlens {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr std::size_t kMostAxes = 64;
constexpr std::uint64_t kMostTensorBytes = std::numeric_limits<std::int64_t>::max(); // addresses are signed
constexpr std::size_t kMostSteps = 128;
constexpr std::uint64_t kEntriesPerPoll = 65'536;
constexpr std::size_t kRemarksSaid = 8;
constexpr std::size_t kNodesShown = 20'000;

// The class of an object: NEWOBJ, or a call of the class.
Value classOf(Value object)
{
    return object.kind() == Kind::NewObject || object.kind() == Kind::Reduce ? object.callable() : Value{};
}

bool isTorchClass(Value object, std::string_view name)
{
    const Value type = classOf(object);
    return type.kind() == Kind::Global && type.globalName() == name && type.globalModule().starts_with("torch.distributed.");
}

std::string classText(Value object)
{
    const Value type = classOf(object);
    return type.kind() == Kind::Global ? fmt::format("{}.{}", printable(type.globalModule()), printable(type.globalName())) : "a plain value";
}

bool isKind(Value value, std::initializer_list<Kind> kinds)
{
    return std::find(kinds.begin(), kinds.end(), value.kind()) != kinds.end();
}

// An attribute of objects of which there may be millions: its name is one text of the pickle, compared by its place once it is known.
class AttributeName {
public:
    explicit AttributeName(std::string_view name) : m_name(name) {}

    Value of(Value object)
    {
        const Value state = object.state();
        if (state.kind() != Kind::Dict)
            return object.attribute(m_name);
        const auto items = state.rawItems(); // keys and values in turn; the last of a key counts
        for (std::size_t i = items.size() / 2 * 2; i >= 2; i -= 2)
            if (items[i - 2] == m_index)
                return {object.graph(), items[i - 1]};
        for (std::size_t i = items.size() / 2 * 2; i >= 2; i -= 2)
            if (Value(object.graph(), items[i - 2]).asText() == m_name) {
                m_index = items[i - 2];
                return {object.graph(), items[i - 1]};
            }
        return {};
    }

private:
    std::string_view m_name;
    std::uint32_t m_index = 0xFFFFFFFF;
};

// torch.Size objects, tuples and lists of counts.
class SizesReader {
public:
    Status read(Value value, std::vector<std::uint64_t>& out)
    {
        out.clear();
        if (value.kind() == Kind::Reduce && isSizeClass(value.callable()) && value.args().size() == 1)
            value = value.args().at(0);
        if (value.kind() != Kind::Tuple && value.kind() != Kind::List)
            return Error{ErrorCode::Corrupt, "it is no list of sizes"};
        const auto items = value.rawItems();
        if (items.size() > kMostAxes)
            return Error{ErrorCode::Corrupt, fmt::format("{} sizes, at most {} are read", items.size(), kMostAxes)};
        for (const std::uint32_t item : items) {
            const auto number = Value(value.graph(), item).asInt();
            if (!number || *number < 0)
                return Error{ErrorCode::Corrupt, number ? fmt::format("a size of {}", *number) : "a size that is no number"};
            out.push_back(static_cast<std::uint64_t>(*number));
        }
        return {};
    }

private:
    bool isSizeClass(Value callable)
    {
        if (callable.index() == m_class)
            return true;
        if (!callable.isGlobal("torch", "Size"))
            return false;
        m_class = callable.index();
        return true;
    }

    std::uint32_t m_class = 0xFFFFFFFF;
};

// The path leaves the folder, or names no file in it.
bool isOutside(std::string_view path)
{
    if (path.empty() || path.front() == '/' || path.front() == '\\' || path.find('\0') != std::string_view::npos || (path.size() > 1 && path[1] == ':'))
        return true;
    for (std::size_t at = 0; at <= path.size();) {
        const std::size_t end = std::min(path.find_first_of("/\\", at), path.size());
        if (path.substr(at, end - at) == "..")
            return true;
        at = end + 1;
    }
    return false;
}

class Reader {
public:
    Reader(DcpMetadata& out, JobContext& job) : m_out(out), m_job(job) {}

    Status read(Value root)
    {
        m_out.topClass = classText(root);
        const Value entries = root.attribute("state_dict_metadata");
        const Value paths = root.attribute("planner_data");
        const Value storage = root.attribute("storage_data");
        if (!entries.isMapping())
            return Error{ErrorCode::Corrupt, "state_dict_metadata is no dictionary"};
        if (!storage.isMapping())
            return Error{ErrorCode::Corrupt, "storage_data is no dictionary: nothing says where the data are"};
        m_out.transforms.resize(1);
        SHARDLENS_TRY(readEntries(entries));
        if (paths.isMapping())
            SHARDLENS_TRY(readPaths(paths));
        SHARDLENS_TRY(readStorage(storage));
        readFlattened(root.attribute("mcore_data"));
        if (const auto version = root.attribute("version").asText())
            m_out.version = std::string(*version);
        sayRemarks();
        return {};
    }

private:
    Status poll()
    {
        return ++m_steps % kEntriesPerPoll == 0 ? m_job.poll() : Status{};
    }

    Status readEntries(Value entries)
    {
        m_out.entries.reserve(entries.size());
        for (std::size_t i = 0; i < entries.size(); ++i) {
            SHARDLENS_TRY(poll());
            DcpEntry entry;
            entry.key = keyText(entries.keyAt(i));
            const auto [known, isNew] = m_byKey.emplace(entry.key, m_out.entries.size());
            if (!isNew) {
                remark("repeated-key", fmt::format("{} stands twice in the metadata; the first is read.", printable(entry.key)));
                continue;
            }
            entry.firstChunk = m_out.chunks.size();
            readEntry(entries.valueAt(i), entry);
            m_out.entries.push_back(std::move(entry));
        }
        return {};
    }

    void readEntry(Value value, DcpEntry& entry)
    {
        if (isTorchClass(value, "BytesStorageMetadata")) {
            entry.kind = DcpEntry::Kind::Bytes;
            return;
        }
        if (!isTorchClass(value, "TensorStorageMetadata")) {
            entry.problem = fmt::format("{} is described by {}, which is no class of torch.distributed.checkpoint: not read", printable(entry.key), classText(value));
            return;
        }
        if (Status status = readTensor(value, entry); status)
            entry.kind = DcpEntry::Kind::Tensor;
        else
            entry.problem = fmt::format("The metadata of {} cannot be read: {}", printable(entry.key), status.error().text());
    }

    Status readTensor(Value value, DcpEntry& entry)
    {
        const Value properties = value.attribute("properties");
        const Value state = properties.state();
        const Value dtype = state.isSequence() && state.size() > 0 ? state.at(0) : properties.attribute("dtype");
        const auto known = dtype.kind() == Kind::Global && dtype.globalModule() == "torch" ? dtypeByTorchName(dtype.globalName()) : std::nullopt;
        if (!known)
            return Error{ErrorCode::Unsupported, dtype.kind() == Kind::Global ? fmt::format("the dtype {} is not known", printable(dtype.globalName())) : "it names no dtype"};
        entry.dtype = *known;
        SHARDLENS_TRY(m_sizes.read(value.attribute("size"), entry.shape));
        if (info(entry.dtype).valuesPerBlock > 1) // the file counts bytes, we count values
            return Error{ErrorCode::Unsupported, fmt::format("chunks of {} are not read", info(entry.dtype).torchName)};
        const auto count = elementCount(entry.shape);
        if (const auto bytes = count ? bytesOf(entry.dtype, *count) : std::nullopt; !bytes || *bytes > kMostTensorBytes)
            return Error{ErrorCode::Corrupt, fmt::format("a tensor of {} {} has more bytes than can be counted", nameOf(entry.dtype), shapeText(entry.shape))};
        const Value chunks = value.attribute("chunks");
        if (!chunks.isSequence())
            return Error{ErrorCode::Corrupt, "its chunks are no list"};
        for (std::size_t i = 0; i < chunks.size(); ++i) {
            SHARDLENS_TRY(poll());
            const Value chunk = chunks.at(i);
            if (Status status = m_sizes.read(m_offsetsName.of(chunk), m_offset); !status)
                return status.takeError().within(fmt::format("chunk {}", i));
            if (Status status = m_sizes.read(m_sizesName.of(chunk), m_extent); !status)
                return status.takeError().within(fmt::format("chunk {}", i));
            if (m_offset.size() != entry.shape.size() || m_extent.size() != entry.shape.size())
                return Error{ErrorCode::Corrupt, fmt::format("chunk {} has {} offsets and {} sizes, and the tensor {}", i, m_offset.size(), m_extent.size(),
                                                             plural(entry.shape.size(), "dimension", "dimensions"))};
            m_out.chunks.add(m_offset, m_extent);
            ++entry.chunkCount;
        }
        return {};
    }

    Status readPaths(Value paths)
    {
        for (std::size_t i = 0; i < paths.size(); ++i) {
            SHARDLENS_TRY(poll());
            const auto at = m_byKey.find(keyText(paths.keyAt(i)));
            const Value path = paths.valueAt(i);
            if (at == m_byKey.end() || !path.isSequence() || path.size() > kMostSteps)
                continue; // of other planners: the key stands for itself
            std::vector<DcpStep> steps;
            for (std::size_t s = 0; s < path.size(); ++s) {
                const auto index = path.at(s).kind() == Kind::Int ? path.at(s).asInt() : std::nullopt;
                if (!index && path.at(s).kind() != Kind::Text)
                    break;
                steps.push_back({index ? std::to_string(*index) : std::string(*path.at(s).asText()),
                                 index && *index >= 0 ? std::optional(static_cast<std::uint64_t>(*index)) : std::nullopt});
            }
            if (steps.size() == path.size())
                m_out.entries[at->second].path = std::move(steps);
        }
        return {};
    }

    Status readStorage(Value storage)
    {
        for (std::size_t i = 0; i < storage.size(); ++i) {
            SHARDLENS_TRY(poll());
            const Value index = storage.keyAt(i);
            const Value place = storage.valueAt(i);
            const Value fqn = m_fqnName.of(index);
            if (fqn.kind() != Kind::Text && fqn.kind() != Kind::Int) { // a planner that does not flatten keeps numbers as keys
                remark("foreign-storage", fmt::format("Entry {} of storage_data has a key without name ({}); it is passed over.", i, classText(index)));
                continue;
            }
            DcpEntry* const entry = entryOf(fqn);
            if (entry == nullptr) {
                remark("foreign-storage", fmt::format("storage_data names {}, of which state_dict_metadata knows nothing; it is passed over.", printable(keyText(fqn))));
                continue;
            }
            SHARDLENS_ASSIGN(const DcpItem item, itemOf(place, entry->key));
            take(*entry, index, item);
        }
        return {};
    }

    DcpEntry* entryOf(Value name)
    {
        if (name.index() != m_lastName) { // one text for all chunks of a tensor
            const auto at = m_byKey.find(keyText(name));
            m_lastName = name.index();
            m_lastEntry = at == m_byKey.end() ? nullptr : &m_out.entries[at->second];
        }
        return m_lastEntry;
    }

    Result<DcpItem> itemOf(Value place, std::string_view name)
    {
        const auto path = m_pathName.of(place).asText();
        const auto offset = m_offsetName.of(place).asInt();
        const auto length = m_lengthName.of(place).asInt();
        if (!path || !offset || !length || *offset < 0 || *length < 0)
            return Error{ErrorCode::Corrupt, fmt::format("the place of {} in storage_data lacks a file, an offset or a length, or has a negative one", printable(name))};
        if (isOutside(*path))
            return Error{ErrorCode::Refused, fmt::format("{} is said to lie in {}, outside the checkpoint's folder (relative_path); such files are not opened", printable(name), printable(*path))};
        DcpItem out;
        out.file = fileOf(*path);
        out.offset = static_cast<std::uint64_t>(*offset);
        out.length = static_cast<std::uint64_t>(*length);
        const Value transforms = m_transformsName.of(place);
        if (transforms.isSequence() && transforms.size() > 0)
            out.transforms = transformsOf(transforms);
        return out;
    }

    std::uint32_t fileOf(std::string_view path)
    {
        if (path.data() == m_lastPath.data() && path.size() == m_lastPath.size())
            return m_lastFile;
        const auto [at, isNew] = m_files.emplace(std::string(path), static_cast<std::uint32_t>(m_out.files.size()));
        if (isNew)
            m_out.files.emplace_back(path);
        m_lastPath = path;
        m_lastFile = at->second;
        return m_lastFile;
    }

    std::uint32_t transformsOf(Value list)
    {
        std::vector<std::string> names;
        for (std::size_t i = 0; i < std::min<std::size_t>(list.size(), kMostAxes); ++i)
            names.push_back(keyText(list.at(i)));
        const auto [at, isNew] = m_transforms.emplace(std::move(names), static_cast<std::uint32_t>(m_out.transforms.size()));
        if (isNew)
            m_out.transforms.push_back(at->first);
        return at->second;
    }

    void take(DcpEntry& entry, Value index, const DcpItem& item)
    {
        if (entry.kind == DcpEntry::Kind::Unknown)
            return;
        DcpItem* place = &entry.item;
        if (entry.kind == DcpEntry::Kind::Tensor) {
            if (!m_sizes.read(m_offsetName.of(index), m_offset)) {
                remark("foreign-storage", fmt::format("storage_data names {} without the offset of a chunk; it is passed over.", printable(entry.key)));
                return;
            }
            const auto chunk = chunkAt(entry, m_indexName.of(index).asInt());
            if (!chunk) {
                remark("foreign-storage", fmt::format("storage_data names a chunk of {} at {}, and the tensor has none there; it is passed over.", printable(entry.key), shapeText(m_offset)));
                return;
            }
            place = &m_out.chunks.item(*chunk);
        }
        if (place->file != DcpItem::kNoFile)
            remark("repeated-storage", fmt::format("storage_data says twice where {} lies; the last counts, as in Python.", printable(entry.key)));
        *place = item;
    }

    // The chunk of m_offset: where the hint says, nearly always.
    std::optional<std::size_t> chunkAt(const DcpEntry& entry, std::optional<std::int64_t> hint)
    {
        const auto isIt = [&](std::size_t chunk) { return std::ranges::equal(m_out.chunks.offset(chunk), m_offset); };
        if (hint && *hint >= 0 && static_cast<std::uint64_t>(*hint) < entry.chunkCount && isIt(entry.firstChunk + static_cast<std::size_t>(*hint)))
            return entry.firstChunk + static_cast<std::size_t>(*hint);
        return chunkByOffset(entry);
    }

    // Where there is no hint, or a wrong one: numbers of chunks by their offset, sorted once an entry. The first counts of those with equal offsets.
    std::optional<std::size_t> chunkByOffset(const DcpEntry& entry)
    {
        if (m_byOffset.empty()) {
            m_byOffset.resize(m_out.chunks.size());
            std::iota(m_byOffset.begin(), m_byOffset.end(), std::size_t{0});
            m_isSorted.resize(m_out.entries.size());
        }
        const auto begin = m_byOffset.begin() + static_cast<std::ptrdiff_t>(entry.firstChunk);
        const auto end = begin + static_cast<std::ptrdiff_t>(entry.chunkCount);
        const auto number = static_cast<std::size_t>(&entry - m_out.entries.data());
        const auto isBefore = [&](std::size_t a, std::span<const std::uint64_t> offset) { return std::ranges::lexicographical_compare(m_out.chunks.offset(a), offset); };
        if (!m_isSorted[number])
            std::stable_sort(begin, end, [&](std::size_t a, std::size_t b) { return isBefore(a, m_out.chunks.offset(b)); });
        m_isSorted[number] = true;
        const auto at = std::lower_bound(begin, end, std::span<const std::uint64_t>(m_offset), isBefore);
        return at != end && std::ranges::equal(m_out.chunks.offset(*at), m_offset) ? std::optional(*at) : std::nullopt;
    }

    void readFlattened(Value all)
    {
        for (std::size_t i = 0; all.isMapping() && i < all.size(); ++i) {
            Shape shape;
            const Value of = all.valueAt(i);
            const Value sizes = of.isMapping() ? of.find("nd_reformulated_orig_global_shape") : of.attribute("nd_reformulated_orig_global_shape");
            if (m_sizes.read(sizes, shape))
                m_out.flattenedShapes.emplace(keyText(all.keyAt(i)), std::move(shape));
        }
    }

    void remark(const char* code, std::string text)
    {
        if (++m_remarks <= kRemarksSaid)
            m_out.remarks.push_back({code, std::move(text), true});
    }

    void sayRemarks()
    {
        if (m_remarks > kRemarksSaid)
            m_out.remarks.push_back({"more-remarks", fmt::format("{} more such entries of the metadata.", groupedText(m_remarks - kRemarksSaid)), true});
    }

    DcpMetadata& m_out;
    JobContext& m_job;
    SizesReader m_sizes;
    AttributeName m_offsetsName{"offsets"};
    AttributeName m_sizesName{"sizes"};
    AttributeName m_fqnName{"fqn"};
    AttributeName m_indexName{"index"};
    AttributeName m_offsetName{"offset"};
    AttributeName m_pathName{"relative_path"};
    AttributeName m_lengthName{"length"};
    AttributeName m_transformsName{"transform_descriptors"};
    std::unordered_map<std::string, std::size_t> m_byKey;
    std::unordered_map<std::string, std::uint32_t> m_files;
    std::vector<std::uint64_t> m_offset;
    std::vector<std::uint64_t> m_extent;
    std::uint32_t m_lastName = 0xFFFFFFFF;
    DcpEntry* m_lastEntry = nullptr;
    std::string_view m_lastPath;
    std::uint32_t m_lastFile = 0;
    std::vector<std::size_t> m_byOffset; // all chunks; those of an entry sorted by their offset where m_isSorted says so
    std::vector<bool> m_isSorted;        // by entry
    std::map<std::vector<std::string>, std::uint32_t> m_transforms;
    std::uint64_t m_steps = 0;
    std::uint64_t m_remarks = 0;
};

// For people: what the three large dictionaries do not say.
MetaNode describeRest(Value root, const DcpMetadata& metadata)
{
    MetaNode out;
    out.kind = MetaNode::Kind::Object;
    out.type = metadata.topClass;
    const auto leaf = [&](const char* key, std::string value) { out.children.push_back({MetaNode::Kind::Summary, key, std::move(value), "", {}}); };
    leaf("state_dict_metadata", plural(metadata.entries.size(), "entry", "entries"));
    leaf("storage_data", fmt::format("{} in {}", plural(metadata.chunks.size(), "chunk", "chunks"), plural(metadata.files.size(), "file", "files")));
    const Value state = root.state();
    for (std::size_t i = 0; state.isMapping() && i < state.size(); ++i) {
        const std::string key = keyText(state.keyAt(i));
        if (key == "state_dict_metadata" || key == "storage_data" || key == "planner_data" || key == "all_local_plans")
            continue;
        MetaNode child = describe(state.valueAt(i), kNodesShown);
        child.key = printable(key);
        out.children.push_back(std::move(child));
    }
    return out;
}

} // namespace

void DcpChunks::add(ShapeView offset, ShapeView extent)
{
    m_at.push_back(m_pool.size());
    m_pool.insert(m_pool.end(), offset.begin(), offset.end());
    m_pool.insert(m_pool.end(), extent.begin(), extent.end());
    m_items.emplace_back();
}

bool DcpMetadata::isMetadata(Value root)
{
    if (!isKind(root, {Kind::NewObject, Kind::Reduce}))
        return false;
    return isTorchClass(root, "Metadata") || (root.attribute("state_dict_metadata") && root.attribute("storage_data"));
}

Result<DcpMetadata> DcpMetadata::parse(std::shared_ptr<const std::vector<std::byte>> bytes, JobContext& job)
{
    SHARDLENS_ASSIGN(const auto graph, pickle::Graph::parse(std::move(bytes), 0, &job, pickle::Graph::Numbers::Shared));
    if (!isMetadata(graph->root()))
        return Error{ErrorCode::Unsupported, fmt::format("a pickle of {}, and no metadata of torch.distributed.checkpoint", classText(graph->root()))};
    DcpMetadata out;
    SHARDLENS_TRY(Reader(out, job).read(graph->root()));
    out.tree = describeRest(graph->root(), out);
    return out;
}

namespace {

// What the numbers of one rank's metadata are in the whole.
struct Numbers {
    std::vector<std::uint32_t> files;
    std::vector<std::uint32_t> transforms;

    [[nodiscard]] DcpItem renumbered(DcpItem item) const
    {
        if (item.file != DcpItem::kNoFile)
            item.file = files[item.file];
        item.transforms = transforms[item.transforms];
        return item;
    }
};

std::string whatIs(const DcpEntry& entry)
{
    return entry.kind == DcpEntry::Kind::Bytes ? "an object" : fmt::format("{} {}", nameOf(entry.dtype), shapeText(entry.shape));
}

void appendChunks(const DcpMetadata& part, const DcpEntry& of, const Numbers& numbers, DcpEntry& entry, DcpMetadata& out)
{
    for (std::size_t i = 0; i < of.chunkCount; ++i) {
        const std::size_t chunk = of.firstChunk + i;
        out.chunks.add(part.chunks.offset(chunk), part.chunks.extent(chunk));
        out.chunks.item(out.chunks.size() - 1) = numbers.renumbered(part.chunks.item(chunk));
        ++entry.chunkCount;
    }
}

} // namespace

DcpMetadata mergeDcpMetadata(std::vector<DcpMetadata> ofRanks)
{
    DcpMetadata out;
    std::map<std::vector<std::string>, std::uint32_t> transforms{{{}, 0}};
    std::unordered_map<std::string, std::uint32_t> files;
    std::unordered_map<std::string, std::size_t> byKey;
    std::vector<Numbers> numbers(ofRanks.size());
    std::vector<std::vector<std::pair<std::size_t, std::size_t>>> parts; // of each entry: rank, its entry there
    for (std::size_t rank = 0; rank < ofRanks.size(); ++rank) {
        DcpMetadata& part = ofRanks[rank];
        for (const std::string& name : part.files) {
            const auto [at, isNew] = files.emplace(name, static_cast<std::uint32_t>(out.files.size()));
            if (isNew)
                out.files.push_back(name);
            numbers[rank].files.push_back(at->second);
        }
        for (const std::vector<std::string>& list : part.transforms)
            numbers[rank].transforms.push_back(transforms.emplace(list, static_cast<std::uint32_t>(transforms.size())).first->second);
        for (std::size_t i = 0; i < part.entries.size(); ++i) {
            const auto [at, isNew] = byKey.emplace(part.entries[i].key, out.entries.size());
            if (isNew) {
                out.entries.push_back(part.entries[i]);
                out.entries.back().chunkCount = 0;
                out.entries.back().item = numbers[rank].renumbered(out.entries.back().item);
                parts.emplace_back();
            }
            parts[at->second].emplace_back(rank, i);
        }
        std::move(part.remarks.begin(), part.remarks.end(), std::back_inserter(out.remarks));
        out.topClass = part.topClass;
        out.version = part.version;
        if (rank == 0)
            out.tree = std::move(part.tree);
    }
    out.transforms.resize(transforms.size());
    for (const auto& [list, number] : transforms)
        out.transforms[number] = list;
    for (std::size_t e = 0; e < out.entries.size(); ++e) {
        DcpEntry& entry = out.entries[e];
        entry.firstChunk = out.chunks.size();
        for (const auto& [rank, i] : parts[e]) {
            const DcpEntry& of = ofRanks[rank].entries[i];
            if (of.kind == entry.kind && of.dtype == entry.dtype && of.shape == entry.shape) {
                appendChunks(ofRanks[rank], of, numbers[rank], entry, out);
                if (entry.item.file == DcpItem::kNoFile)
                    entry.item = numbers[rank].renumbered(of.item);
                continue;
            }
            if (entry.kind != DcpEntry::Kind::Unknown)
                entry.problem = of.kind == DcpEntry::Kind::Unknown ? of.problem
                                                                   : fmt::format("The ranks' metadata do not agree about {}: {} and {}. They may be of different saves", printable(entry.key), whatIs(entry), whatIs(of));
            entry.kind = DcpEntry::Kind::Unknown;
        }
    }
    return out;
}

} // namespace shardlens
