#include "core/format/dcp_folder.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/opened_file.h"
#include "core/job/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <set>

namespace shardlens {
namespace {

constexpr std::size_t kBatch = 4096;           // items that one thread reads in a row
constexpr std::size_t kItemThreads = 8;
constexpr std::size_t kFewItems = 256;         // read in one thread
constexpr std::size_t kProblemsSaid = 8; // of one tensor
constexpr std::size_t kProblemsSaidInAll = 24;
constexpr std::size_t kLostFilesSaid = 16;
constexpr std::uint64_t kMostPairsCompared = 50'000'000;

// "__3_1.distcp" → 3: the writer, normally the rank.
std::optional<std::uint32_t> writerOf(std::string_view name)
{
    const std::size_t slash = name.find_last_of('/');
    if (slash != std::string_view::npos)
        name.remove_prefix(slash + 1);
    if (!name.starts_with("__"))
        return std::nullopt;
    std::uint32_t out = 0;
    const auto [end, failed] = std::from_chars(name.data() + 2, name.data() + name.size(), out);
    return failed == std::errc{} && end < name.data() + name.size() && *end == '_' ? std::optional(out) : std::nullopt;
}

bool isEmpty(ShapeView extent)
{
    return std::find(extent.begin(), extent.end(), 0u) != extent.end();
}

bool isInsideOf(ShapeView offset, ShapeView extent, ShapeView shape)
{
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
        if (offset[axis] > shape[axis] || extent[axis] > shape[axis] - offset[axis])
            return false;
    return true;
}

std::string boxText(ShapeView offset, ShapeView extent)
{
    return fmt::format("offset {} size {}", shapeText(Shape(offset.begin(), offset.end())), shapeText(Shape(extent.begin(), extent.end())));
}

} // namespace

DcpFolder::DcpFolder(CheckpointBuilder& builder, std::string folder, std::string prefix, DcpMetadata metadata)
    : m_builder(&builder), m_folder(std::move(folder)), m_prefix(std::move(prefix)), m_metadata(std::move(metadata))
{
}

Result<DcpFolder> DcpFolder::open(CheckpointBuilder& builder, const std::string& folder, const std::string& prefix, DcpMetadata metadata, JobContext& job)
{
    DcpFolder out(builder, folder, prefix, std::move(metadata));
    out.openFiles();
    SHARDLENS_TRY(out.readItems(job));
    return out;
}

void DcpFolder::openFiles()
{
    std::vector<std::uint64_t> chunksOf(m_metadata.files.size());
    std::vector<std::uint64_t> endOf(m_metadata.files.size()); // of the items that the metadata place in it
    for (std::size_t i = 0; i < m_metadata.chunks.size(); ++i)
        if (const DcpItem& item = m_metadata.chunks.item(i); item.file != DcpItem::kNoFile) {
            ++chunksOf[item.file];
            endOf[item.file] = std::max(endOf[item.file], checkedAdd(item.offset, item.length).value_or(std::numeric_limits<std::uint64_t>::max()));
        }
    std::vector<std::size_t> order(m_metadata.files.size()); // rows by name, whatever order the metadata have
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return naturalLess(m_metadata.files[a], m_metadata.files[b]); });
    m_data.resize(order.size());
    std::size_t lost = 0;
    for (const std::size_t i : order) {
        const std::string name = m_prefix + m_metadata.files[i];
        const std::string path = m_folder + "/" + m_metadata.files[i];
        auto opened = openFile(path, name);
        File row = opened ? opened->row : missingFile(path, name);
        if (!opened && opened.error().code() != ErrorCode::NotFound)
            row.state = File::State::Unreadable;
        row.rank = writerOf(name);
        row.container = "distcp";
        if (opened && endOf[i] > row.size)
            m_builder->addFinding({Severity::Error, "truncated-file", fmt::format("{} is cut off: the metadata place items up to byte {}, and it ends at {}.", printable(name), groupedText(endOf[i]), groupedText(row.size)),
                                   kNoTensor, idAt<FileId>(m_builder->fileCount()), writerOf(name)});
        row.holds = plural(chunksOf[i], "chunk", "chunks");
        const FileId id = m_builder->addFile(std::move(row));
        m_data[i] = {id, opened ? opened->source : nullptr, {}};
        if (opened)
            continue;
        const bool isMissing = opened.error().code() == ErrorCode::NotFound;
        if (++lost > kLostFilesSaid)
            continue;
        m_builder->addFinding({Severity::Error, isMissing ? "missing-file" : "unreadable-file",
                               fmt::format("{} {}; {} of tensors {} in it.", printable(name), isMissing ? "is not in the folder" : "cannot be read: " + opened.error().text(),
                                           plural(chunksOf[i], "chunk", "chunks"), chunksOf[i] == 1 ? "lies" : "lie"),
                               kNoTensor, id, writerOf(name)});
    }
    if (lost > kLostFilesSaid)
        m_builder->addFinding({Severity::Error, "missing-file", fmt::format("{} more data files are missing or cannot be read.", groupedText(lost - kLostFilesSaid)), kNoTensor, kNoFile, std::nullopt});
}

// Reads the beginnings of items, from several threads.
class DcpFolder::ItemReader {
public:
    ItemReader(DcpFolder& folder, JobContext& job) : m_folder(folder), m_chunks(folder.m_metadata.chunks), m_job(job) {}

    Status run()
    {
        m_entryOf.resize(m_chunks.size());
        const auto& entries = m_folder.m_metadata.entries;
        for (std::size_t e = 0; e < entries.size(); ++e)
            std::fill_n(m_entryOf.begin() + static_cast<std::ptrdiff_t>(entries[e].firstChunk), entries[e].chunkCount, static_cast<std::uint32_t>(e));
        orderItems();
        const std::vector<Batch> batches = cutIntoBatches();
        const auto executor = makeThreadedExecutor(m_order.size() <= kFewItems ? 1 : std::min(kItemThreads, availableThreads()));
        return executor->forEach(batches.size(), [&](std::size_t i) { return read(batches[i]); });
    }

private:
    struct Batch {
        std::size_t begin; // of m_order; all of one file
        std::size_t end;
    };

    void orderItems()
    {
        for (std::size_t i = 0; i < m_chunks.size(); ++i)
            if (m_chunks.item(i).file != DcpItem::kNoFile && m_folder.m_data[m_chunks.item(i).file].source && !isEmpty(m_chunks.extent(i)))
                m_order.push_back(static_cast<std::uint32_t>(i));
        std::sort(m_order.begin(), m_order.end(), [&](std::uint32_t a, std::uint32_t b) {
            return std::pair(m_chunks.item(a).file, m_chunks.item(a).offset) < std::pair(m_chunks.item(b).file, m_chunks.item(b).offset);
        });
    }

    [[nodiscard]] std::vector<Batch> cutIntoBatches() const
    {
        std::vector<Batch> out;
        for (std::size_t begin = 0; begin < m_order.size(); begin = out.back().end) {
            std::size_t end = begin;
            while (end < m_order.size() && end - begin < kBatch && m_chunks.item(m_order[end]).file == m_chunks.item(m_order[begin]).file)
                ++end;
            out.push_back({begin, end});
        }
        return out;
    }

    Status read(const Batch& batch)
    {
        SHARDLENS_TRY(m_job.poll());
        DcpDataFile file(m_folder.m_data[m_chunks.item(m_order[batch.begin]).file].source);
        for (std::size_t i = batch.begin; i < batch.end; ++i) {
            const std::size_t chunk = m_order[i];
            const DcpEntry& entry = m_folder.m_metadata.entries[m_entryOf[chunk]];
            const DcpItem& item = m_chunks.item(chunk);
            auto tensor = file.tensor(entry.key, item, m_folder.m_metadata.transforms[item.transforms], m_job);
            if (!tensor && tensor.error().code() == ErrorCode::Cancelled)
                return tensor.takeError();
            const std::string problem = !tensor ? tensor.error().text() : mismatch(*tensor, entry, m_chunks.extent(chunk));
            if (problem.empty())
                take(m_folder.m_places[chunk], std::move(*tensor));
            else
                m_folder.m_places[chunk].problem = numberOf(m_problems, m_folder.m_problems, problem);
        }
        return {};
    }

    static std::string mismatch(const DcpTensor& item, const DcpEntry& entry, ShapeView extent)
    {
        if (item.tensor.dtype == entry.dtype && std::ranges::equal(item.tensor.shape, extent))
            return {};
        return fmt::format("the item is {} {}, and the metadata say {} {}", nameOf(item.tensor.dtype), shapeText(item.tensor.shape), nameOf(entry.dtype), shapeText(Shape(extent.begin(), extent.end())));
    }

    void take(Place& place, DcpTensor item)
    {
        place.flags = item.tensor.flags;
        place.offset = item.storage.offset + item.tensor.offsetBytes;
        if (!item.tensor.contiguous)
            place.strides = numberOf(m_strides, m_folder.m_strides, item.tensor.strides);
        if (!item.storage.deflated && !item.storage.decoded)
            return;
        const std::lock_guard lock(m_mutex);
        place.offset = item.tensor.offsetBytes;
        place.storage = static_cast<std::uint32_t>(m_folder.m_storages.size());
        m_folder.m_storages.push_back(std::move(item.storage));
    }

    template <typename Value>
    std::uint32_t numberOf(std::map<Value, std::uint32_t>& known, std::vector<Value>& all, const Value& value)
    {
        const std::lock_guard lock(m_mutex);
        const auto [at, isNew] = known.emplace(value, static_cast<std::uint32_t>(all.size()));
        if (isNew)
            all.push_back(value);
        return at->second;
    }

    DcpFolder& m_folder;
    const DcpChunks& m_chunks;
    JobContext& m_job;
    std::vector<std::uint32_t> m_entryOf; // by chunk
    std::vector<std::uint32_t> m_order;   // chunks by file and offset
    std::mutex m_mutex;
    std::map<std::string, std::uint32_t> m_problems;
    std::map<std::vector<std::int64_t>, std::uint32_t> m_strides;
};

Status DcpFolder::readItems(JobContext& job)
{
    m_places.resize(m_metadata.chunks.size());
    return ItemReader(*this, job).run();
}

Status DcpFolder::forEachPiece(const DcpEntry& entry, const std::function<Status(const DcpPiece&)>& visit)
{
    const HolderId anyone = m_builder->holder({});
    for (std::size_t chunk = entry.firstChunk; chunk < entry.firstChunk + entry.chunkCount; ++chunk) {
        const DcpItem& item = m_metadata.chunks.item(chunk);
        DcpPiece piece{m_metadata.chunks.offset(chunk), m_metadata.chunks.extent(chunk), {}, {}};
        if (isEmpty(piece.extent) || item.file == DcpItem::kNoFile || !isInsideOf(piece.offset, piece.extent, entry.shape))
            continue;
        const Place& place = m_places[chunk];
        const FileId file = m_data[item.file].id;
        if (place.problem != kNone) {
            std::optional<StreamId>& lost = m_data[item.file].lost;
            if (!lost)
                lost = m_builder->addStream({Stream::Kind::Missing, file, 0, 0, 0});
            piece.placement = {*lost, 0, anyone, {}};
        } else if (place.storage != kNone) {
            piece.placement = storagePlacement(*m_builder, file, m_storages[place.storage], anyone);
            piece.placement.offset += place.offset;
            piece.placement.flags = place.flags;
        } else {
            piece.placement = {m_builder->streamOf(file), m_data[item.file].source ? place.offset : 0, anyone, place.flags};
        }
        if (place.strides != kNone)
            piece.strides = m_strides[place.strides];
        SHARDLENS_TRY(visit(piece));
    }
    return {};
}

Status DcpFolder::addPieces(const DcpEntry& entry, TensorId tensor)
{
    return forEachPiece(entry, [&](const DcpPiece& piece) { return m_builder->addPiece(tensor, BoxView{piece.offset, piece.extent}, piece.placement, piece.strides); });
}

// Values that the chunks of an entry hold, copies counted again; nothing where that is beyond 2^64.
std::optional<std::uint64_t> DcpFolder::chunkValues(const DcpEntry& entry) const
{
    std::uint64_t cells = 0;
    for (std::size_t chunk = entry.firstChunk; chunk < entry.firstChunk + entry.chunkCount; ++chunk) {
        const auto volume = elementCount(m_metadata.chunks.extent(chunk));
        const auto sum = volume ? checkedAdd(cells, *volume) : std::nullopt;
        if (!sum)
            return std::nullopt;
        cells = *sum;
    }
    return cells;
}

bool DcpFolder::overlaps(const DcpEntry& entry) const
{
    const auto cells = chunkValues(entry);
    return !cells || *cells > elementCount(unitShape(entry.shape, entry.dtype)).value_or(0);
}

Result<std::shared_ptr<const TorchFile>> DcpFolder::object(const DcpEntry& entry, JobContext& job) const
{
    if (entry.item.file == DcpItem::kNoFile)
        return Error{ErrorCode::Corrupt, "nothing says where it lies"};
    const std::string name = printable(m_prefix + m_metadata.files[entry.item.file]);
    const DataFile& data = m_data[entry.item.file];
    if (!data.source)
        return Error{ErrorCode::NotFound, fmt::format("it lies in {}, which is not there", name)};
    auto file = DcpDataFile(data.source).object(entry.item, m_metadata.transforms[entry.item.transforms], job);
    if (!file)
        return file.takeError().within(name);
    return file;
}

// The first two chunks that share cells without being the same box, by a sweep along the axis that tells most of them apart.
std::optional<std::pair<std::size_t, std::size_t>> DcpFolder::firstOverlap(const DcpEntry& entry) const
{
    const DcpChunks& chunks = m_metadata.chunks;
    std::vector<std::size_t> order;
    for (std::size_t chunk = entry.firstChunk; chunk < entry.firstChunk + entry.chunkCount; ++chunk)
        if (!isEmpty(chunks.extent(chunk)) && isInsideOf(chunks.offset(chunk), chunks.extent(chunk), entry.shape))
            order.push_back(chunk);
    std::size_t axis = 0;
    std::size_t most = 0;
    for (std::size_t a = 0; a < entry.shape.size(); ++a) {
        std::set<std::uint64_t> begins;
        for (const std::size_t chunk : order)
            begins.insert(chunks.offset(chunk)[a]);
        if (begins.size() > most) {
            most = begins.size();
            axis = a;
        }
    }
    const auto beginOf = [&](std::size_t chunk) { return entry.shape.empty() ? 0 : chunks.offset(chunk)[axis]; };
    const auto endOf = [&](std::size_t chunk) { return entry.shape.empty() ? 1 : chunks.offset(chunk)[axis] + chunks.extent(chunk)[axis]; };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return beginOf(a) < beginOf(b); });
    std::vector<std::size_t> open;
    std::uint64_t pairs = 0;
    for (const std::size_t chunk : order) {
        std::erase_if(open, [&](std::size_t one) { return endOf(one) <= beginOf(chunk); });
        for (const std::size_t one : open) {
            if (++pairs > kMostPairsCompared)
                return std::nullopt;
            const bool isSame = std::ranges::equal(chunks.offset(one), chunks.offset(chunk)) && std::ranges::equal(chunks.extent(one), chunks.extent(chunk));
            if (!isSame && intersect(BoxView{chunks.offset(one), chunks.extent(one)}, BoxView{chunks.offset(chunk), chunks.extent(chunk)}).volume() > 0)
                return std::pair(one, chunk);
        }
        open.push_back(chunk);
    }
    return std::nullopt;
}

std::string DcpFolder::placeText(std::size_t chunk) const
{
    const DcpItem& item = m_metadata.chunks.item(chunk);
    const std::string box = boxText(m_metadata.chunks.offset(chunk), m_metadata.chunks.extent(chunk));
    return item.file == DcpItem::kNoFile ? box : fmt::format("{} in {} at byte {}", box, printable(m_prefix + m_metadata.files[item.file]), groupedText(item.offset));
}

void DcpFolder::addFindings(const std::function<TensorId(const DcpEntry&)>& tensorOf)
{
    for (const DcpRemark& remark : m_metadata.remarks)
        m_builder->addFinding({remark.isWarning ? Severity::Warning : Severity::Info, remark.code, remark.text, kNoTensor, kNoFile, std::nullopt});
    for (const DcpEntry& entry : m_metadata.entries)
        if (entry.kind == DcpEntry::Kind::Tensor)
            addFindingsOf(entry, tensorOf(entry));
    if (m_problemsSaid > kProblemsSaidInAll)
        m_builder->addFinding({Severity::Warning, "chunk-unreadable", fmt::format("{} more chunks of tensors are no part of them or cannot be read; `shardlens verify` lists the tensors.", groupedText(m_problemsLeft)), kNoTensor,
                               kNoFile, std::nullopt});
}

void DcpFolder::addFindingsOf(const DcpEntry& entry, TensorId tensor)
{
    const bool isAll = tensor != kNoTensor && m_builder->tensor(tensor).shape == entry.shape; // else one of several that the entry became
    const std::string name = printable(isAll ? m_builder->fullName(tensor) : entry.key);
    const auto find = [&](const char* code, std::string text, FileId file) { m_builder->addFinding({Severity::Error, code, std::move(text), tensor, file, std::nullopt}); };
    std::size_t said = 0;
    std::size_t more = 0;
    for (std::size_t chunk = entry.firstChunk; chunk < entry.firstChunk + entry.chunkCount; ++chunk) {
        const ShapeView extent = m_metadata.chunks.extent(chunk);
        const DcpItem& item = m_metadata.chunks.item(chunk);
        const bool isInside = isInsideOf(m_metadata.chunks.offset(chunk), extent, entry.shape);
        const bool isStored = item.file != DcpItem::kNoFile;
        if ((isInside && isEmpty(extent)) || (isInside && isStored && m_places[chunk].problem == kNone))
            continue;
        const bool isCutOff = isInside && isStored && m_data[item.file].source && checkedAdd(item.offset, item.length).value_or(std::numeric_limits<std::uint64_t>::max()) > m_data[item.file].source->size(); // the file's own finding says it
        if (isCutOff)
            continue;
        if (said++ >= kProblemsSaid || ++m_problemsSaid > kProblemsSaidInAll) {
            ++more;
            continue;
        }
        if (!isInside)
            find("chunk-outside", fmt::format("A chunk of {} leaves the tensor {}: {}.", name, shapeText(entry.shape), placeText(chunk)), kNoFile);
        else if (!isStored)
            find("chunk-without-data", fmt::format("A chunk of {} has no place in storage_data: {}.", name, placeText(chunk)), kNoFile);
        else
            find("chunk-unreadable", fmt::format("A chunk of {} cannot be read ({}): {}.", name, placeText(chunk), m_problems[m_places[chunk].problem]), m_data[item.file].id);
    }
    if (more > 0 && m_problemsSaid <= kProblemsSaidInAll)
        find("chunk-unreadable", fmt::format("{} has {} more such chunks.", name, groupedText(more)), kNoFile);
    m_problemsLeft += more;
    const std::uint64_t whole = elementCount(unitShape(entry.shape, entry.dtype)).value_or(0);
    if (const auto cells = chunkValues(entry); cells && *cells < whole)
        find("hole", fmt::format("The chunks of {} hold {} of the {} values of {}: the metadata have a hole, whose place `shardlens layout` and `verify` say.", name, groupedText(*cells), groupedText(whole), shapeText(entry.shape)), kNoFile);
    if (!overlaps(entry))
        return;
    if (const auto pair = firstOverlap(entry))
        find("chunk-overlap", fmt::format("Two chunks of {} overlap without being the same: {}, and {}. torch never writes that; the metadata are harmed.", name, placeText(pair->first), placeText(pair->second)),
             kNoFile);
}

CheckpointBuilder::Placement placementInItem(CheckpointBuilder& builder, FileId file, const DcpItem& item, TorchStorage storage)
{
    const bool isCompressed = item.transforms != 0 && !storage.decoded;
    const std::uint64_t inside = isCompressed ? storage.offset : 0;
    if (isCompressed) {
        storage = {item.offset, inside + storage.sizeBytes, item.length, true, {}, nullptr, true};
    } else if (!storage.decoded) {
        storage.offset += item.offset;
    }
    CheckpointBuilder::Placement out = storagePlacement(builder, file, storage, builder.holder({}));
    out.offset += inside;
    return out;
}

} // namespace shardlens
