#include "core/encoding/container_check.h"

#include "core/base/text.h"
#include "core/encoding/dcp_metadata.h"
#include "core/encoding/mindspore_checksum.h"
#include "core/encoding/mindspore_ckpt.h"
#include "core/encoding/zip.h"
#include "core/io/byte_source.h"
#include "core/io/checksum.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

namespace shardlens {

struct CheckedMember {
    std::string name; // without the archive's root
    std::uint64_t offset = 0;
    std::uint64_t storedBytes = 0;
    std::uint64_t sizeBytes = 0;
    std::uint64_t expected = 0; // above 32 bits only where what should be a checksum is harmed itself
    bool deflated = false;
    std::string problem{}; // of an archive that is none: there is nothing to sum
};

struct CheckedArchive {
    FileId file{};
    std::string path;
    bool hasChecksums = false;
    std::vector<CheckedMember> members;
    bool isWhole = false; // MindSpore's: one member, of all that is before the trailer, or of a safetensors file's names and tensors
    bool isSafetensors = false;
    std::string remark{}; // what a mismatch may mean
};

// What one thread does: a run of a stored member, or a deflated one as a whole.
struct CheckedPart {
    std::size_t archive = 0;
    std::size_t member = 0;
    std::uint64_t begin = 0; // in the member's bytes
    std::uint64_t length = 0;
    std::uint32_t sum = 0;
    std::string problem; // why there is no sum
};

namespace {

constexpr std::size_t kReadBytes = 1u << 20;
constexpr std::uint64_t kLargestIndex = 4ull << 30;
constexpr std::size_t kTensorsNamed = 4;
constexpr std::uint64_t kMembersSaid = 8;       // of one file
constexpr std::uint64_t kMembersSaidInAll = 64; // each is looked for among all pieces

bool startsAsZip(const ByteSource& source)
{
    std::array<std::byte, 2> head{};
    return source.size() >= head.size() && source.readAt(0, head) && head[0] == std::byte{'P'} && head[1] == std::byte{'K'};
}

std::string withoutRoot(const std::string& name)
{
    return name.substr(name.find('/') + 1); // all of it where there is none
}

// Members of one archive, which begins at `begin` of the file.
void addMembers(const ZipArchive& zip, std::uint64_t begin, const std::string& place, CheckedArchive& out)
{
    for (const ZipMember& member : zip.members()) {
        const auto offset = zip.dataOffset(member);
        if (!offset || member.encrypted || (member.method != 0 && member.method != 8) || member.sizeBytes == 0)
            continue;
        out.hasChecksums = out.hasChecksums || member.crc32 != 0;
        out.members.push_back({place + withoutRoot(member.name), begin + *offset, member.storedBytes, member.sizeBytes, member.crc32, member.method == 8});
    }
}

// The items of DCP data files, as the metadata beside them have them.
class ItemPlaces {
public:
    ItemPlaces(const Checkpoint& checkpoint, JobContext& job)
    {
        for (const File& file : checkpoint.files()) {
            const std::size_t name = file.path.find_last_of('/') + 1;
            if (file.state != File::State::Read || !file.path.ends_with(".metadata"))
                continue;
            const auto source = FileSource::open(file.path);
            auto bytes = source ? readBytes(**source, 0, (*source)->size(), kLargestIndex) : Result<std::vector<std::byte>>(source.error());
            const auto metadata = bytes ? DcpMetadata::parse(std::make_shared<const std::vector<std::byte>>(bytes.take()), job) : Result<DcpMetadata>(bytes.takeError());
            if (metadata)
                add(*metadata, file.path.substr(0, name));
        }
    }

    struct Item {
        std::string key;
        std::uint64_t length = 0;
    };
    // By their offset; null where no metadata name the file.
    [[nodiscard]] const std::map<std::uint64_t, Item>* itemsOf(const std::string& path) const
    {
        const auto file = m_items.find(path);
        return file == m_items.end() ? nullptr : &file->second;
    }

private:
    void add(const DcpMetadata& metadata, const std::string& folder)
    {
        const auto note = [&](const DcpItem& item, const std::string& key) {
            if (item.file != DcpItem::kNoFile)
                m_items[folder + metadata.files[item.file]].emplace(item.offset, Item{key, item.length});
        };
        for (const DcpEntry& entry : metadata.entries) {
            note(entry.item, entry.key);
            for (std::size_t chunk = entry.firstChunk; chunk < entry.firstChunk + entry.chunkCount; ++chunk)
                note(metadata.chunks.item(chunk), entry.key);
        }
    }

    std::unordered_map<std::string, std::map<std::uint64_t, Item>> m_items;
};

// Why an item is not one whole archive; empty where it is.
std::string problemOfItem(const Result<ZipArchive>& zip)
{
    if (!zip)
        return fmt::format("it is no archive any more ({})", zip.error().text());
    for (const ZipNote& note : zip->notes())
        if (note.code == "leading-bytes" || note.code == "trailing-bytes")
            return fmt::format("its archive does not fill it: {}", note.text);
    for (const ZipMember& member : zip->members()) {
        if (const auto offset = zip->dataOffset(member); !offset)
            return offset.error().text();
        if (member.method == 0 && member.storedBytes != member.sizeBytes)
            return fmt::format("{} is stored with {} B and says {} B", printable(member.name), groupedText(member.storedBytes), groupedText(member.sizeBytes));
    }
    return {};
}

// A DCP data file is many archives. What is none to begin with (a safetensors blob), or leaves the file, opening the checkpoint has judged.
CheckedArchive itemsOf(FileId file, const std::string& path, const std::shared_ptr<const ByteSource>& source, const std::map<std::uint64_t, ItemPlaces::Item>& items, const JobContext& job)
{
    CheckedArchive out{file, path, false, {}};
    for (const auto& [offset, item] : items) {
        if (!job.poll())
            return out;
        if (offset > source->size() || item.length > source->size() - offset)
            continue;
        const SliceSource slice(source, offset, item.length);
        if (!startsAsZip(slice))
            continue;
        const std::string place = fmt::format("item of {} at {}", printable(item.key), groupedText(offset));
        const auto zip = ZipArchive::open(slice, &job);
        if (std::string problem = problemOfItem(zip); !problem.empty())
            out.members.push_back({place, offset, item.length, item.length, 0, false, std::move(problem)});
        else
            addMembers(*zip, offset, place + ": ", out);
    }
    return out;
}

// Nothing where a header cannot be read: opening the checkpoint or reading its tensors says that.
std::optional<CheckedArchive> archiveOf(FileId file, const std::string& path, const ItemPlaces& places, const JobContext& job)
{
    const auto source = FileSource::open(path);
    if (!source)
        return std::nullopt;
    if (const auto* items = places.itemsOf(path))
        return itemsOf(file, path, *source, *items, job);
    if (!startsAsZip(**source))
        return std::nullopt;
    CheckedArchive out{file, path, false, {}};
    const auto zip = ZipArchive::open(**source, &job);
    if (!zip)
        return std::nullopt;
    addMembers(*zip, 0, "", out);
    return out;
}

// A file of MindSpore's with a checksum of its records in a trailer (formats/mindspore.md §2.8).
std::optional<CheckedArchive> ckptOf(FileId file, const std::string& path, const JobContext& job)
{
    constexpr std::string_view kMark = "crc_num";
    const auto source = FileSource::open(path);
    if (!source || (*source)->size() <= mindspore::kCrcTrailerBytes)
        return std::nullopt;
    std::array<std::byte, kMark.size()> mark{};
    if (!(*source)->readAt((*source)->size() - mindspore::kCrcTrailerBytes, mark) || std::memcmp(mark.data(), kMark.data(), mark.size()) != 0)
        return std::nullopt;
    const auto ckpt = mindspore::readCkpt(**source, &job);
    if (!ckpt || !ckpt->storedCrc)
        return std::nullopt;
    CheckedArchive out{file, path, true, {{"all before its CRC trailer", 0, ckpt->contentEnd, ckpt->contentEnd, *ckpt->storedCrc, false}}, true, false, {}};
    if (ckpt->hasUncountedRecords)
        out.remark = ", or MindSpore did not count its map, huge or offloaded parameters";
    return out;
}

// A safetensors file with MindSpore's checksum among its metadata (formats/mindspore.md §6.1).
std::optional<CheckedArchive> safetensorsOf(FileId file, const std::string& path)
{
    const auto source = FileSource::open(path);
    const auto header = source ? readSafetensorsHeader(**source) : Result<SafetensorsHeader>(source.error());
    const auto stored = header ? mindspore::storedSafetensorsCrc(*header) : std::nullopt;
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; stored && i < header->entries.size(); ++i)
        bytes += header->entries[i].end - header->entries[i].begin;
    if (!stored || bytes == 0)
        return std::nullopt;
    return CheckedArchive{file, path, true, {{"names and tensors (crc_num)", header->dataOffset, bytes, bytes, *stored, false}}, true, true, {}};
}

Status sumPart(const ByteSource& source, const CheckedMember& member, CheckedPart& part, JobContext& job)
{
    const auto count = [&](std::size_t bytes) {
        job.progress().bytesRead.fetch_add(bytes, std::memory_order_relaxed);
        job.advance(bytes);
        return job.poll();
    };
    if (member.deflated) {
        std::uint64_t made = 0;
        SHARDLENS_TRY(inflateInto(source, member.offset, member.storedBytes, member.sizeBytes, [&](std::span<const std::byte> bytes) {
            part.sum = crc32Of(bytes, part.sum);
            made += bytes.size();
            return job.poll();
        }));
        if (made != member.sizeBytes)
            return Error{ErrorCode::Corrupt, fmt::format("it decompresses to {} B, and its size is {} B", groupedText(made), groupedText(member.sizeBytes))};
        return count(member.storedBytes);
    }
    std::vector<std::byte> buffer(std::min<std::uint64_t>(kReadBytes, part.length));
    for (std::uint64_t at = 0; at < part.length; at += buffer.size()) {
        const std::span<std::byte> bytes = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), part.length - at));
        SHARDLENS_TRY(source.readAt(member.offset + part.begin + at, bytes));
        part.sum = crc32Of(bytes, part.sum);
        SHARDLENS_TRY(count(bytes.size()));
    }
    return {};
}

Status sumSafetensors(const ByteSource& source, CheckedPart& part, JobContext& job)
{
    SHARDLENS_ASSIGN(const SafetensorsHeader header, readSafetensorsHeader(source));
    SHARDLENS_ASSIGN(part.sum, mindspore::safetensorsCrc(source, header, job));
    return {};
}

// Where the bytes of a piece begin in its file, encoded or not; nothing where it has none there.
std::optional<std::pair<FileId, std::uint64_t>> placeOf(const Checkpoint& checkpoint, const Piece& piece)
{
    const Stream& stream = checkpoint.stream(piece.source.stream);
    if (stream.file == kNoFile || stream.kind == Stream::Kind::Inline || stream.kind == Stream::Kind::Missing)
        return std::nullopt;
    return std::pair(stream.file, stream.kind == Stream::Kind::Deflated ? stream.offset : piece.source.offset);
}

bool isInside(const CheckedMember& member, std::uint64_t at)
{
    return at >= member.offset && at - member.offset < member.storedBytes;
}

// The tensors with a piece that begins in the member's bytes.
std::set<TensorId> tensorsOn(const Checkpoint& checkpoint, FileId file, const CheckedMember& member)
{
    std::set<TensorId> out;
    const PieceStore& pieces = checkpoint.pieces();
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const Piece piece = pieces.at(idAt<PieceId>(i));
        const auto place = placeOf(checkpoint, piece);
        if (place && place->first == file && isInside(member, place->second))
            out.insert(pieces.tensorOf(piece.id));
    }
    return out;
}

std::string namesOf(const Checkpoint& checkpoint, const std::set<TensorId>& tensors)
{
    std::string out;
    std::size_t count = 0;
    for (const TensorId tensor : tensors)
        if (count++ < kTensorsNamed)
            out += (out.empty() ? "" : ", ") + printable(checkpoint.fullName(tensor));
    return tensors.size() > kTensorsNamed ? fmt::format("{} and {} more", out, groupedText(tensors.size() - kTensorsNamed)) : out;
}

// What is wrong with a member, by the sums of its parts; empty where nothing is.
std::string problemOf(const CheckedMember& member, std::span<const CheckedPart> parts)
{
    std::uint32_t sum = 0;
    for (const CheckedPart& part : parts) {
        if (!part.problem.empty())
            return part.problem;
        sum = crc32Joined(sum, part.sum, part.length);
    }
    if (member.deflated)
        sum = parts.front().sum; // its length is that of the compressed bytes, and it is one part
    if (sum == member.expected)
        return {};
    return fmt::format("the checksum (CRC-32) of its bytes is {:08x}, and {:08x} was written with them: they have changed since", sum, member.expected);
}

// Few findings a file, however many members are harmed: the first with the tensors on them, then a count.
class HarmLog {
public:
    explicit HarmLog(const Checkpoint& checkpoint) : m_checkpoint(checkpoint) {}

    void add(const CheckedArchive& archive, const CheckedMember& member, const std::string& problem)
    {
        const File& file = m_checkpoint.file(archive.file);
        if (++m_ofFile[archive.file] > kMembersSaid || m_said == kMembersSaidInAll)
            return;
        ++m_said;
        const auto tensors = tensorsOn(m_checkpoint, archive.file, member);
        const std::string names = tensors.empty() ? "" : fmt::format(" ({})", namesOf(m_checkpoint, tensors));
        m_findings.push_back({Severity::Warning, "checksum", fmt::format("{}: {}{}: {}.", printable(file.name), printable(member.name), names, problem),
                              tensors.size() == 1 ? *tensors.begin() : kNoTensor, archive.file, file.rank});
    }

    std::vector<Finding> take()
    {
        std::uint64_t harmed = 0;
        for (const auto& [file, count] : m_ofFile)
            harmed += count;
        if (harmed > m_said)
            m_findings.push_back({Severity::Warning, "checksum", fmt::format("{} more members of archives have wrong checksums.", groupedText(harmed - m_said)), kNoTensor, kNoFile,
                                  std::nullopt});
        return std::move(m_findings);
    }

private:
    const Checkpoint& m_checkpoint;
    std::map<FileId, std::uint64_t> m_ofFile;
    std::uint64_t m_said = 0;
    std::vector<Finding> m_findings;
};

void addWithoutChecksums(const Checkpoint& checkpoint, const std::vector<CheckedArchive>& archives, std::vector<Finding>& out)
{
    std::string example;
    std::size_t count = 0;
    for (const CheckedArchive& archive : archives)
        if (!archive.hasChecksums && !archive.members.empty() && count++ == 0)
            example = printable(checkpoint.file(archive.file).name);
    if (count != 0)
        out.push_back({Severity::Info, "no-checksums",
                       fmt::format("{}{} written without checksums, so bytes that changed cannot be noticed.", example,
                                   count == 1 ? " was" : fmt::format(" and {} were", plural(count - 1, "other file", "other files"))),
                       kNoTensor, kNoFile, std::nullopt});
}

} // namespace

struct ContainerCheck::Impl {
    std::vector<CheckedArchive> archives;
    std::vector<CheckedPart> parts;
    std::uint64_t total = 0;
};

ContainerCheck::ContainerCheck(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
ContainerCheck::ContainerCheck(ContainerCheck&&) noexcept = default;
ContainerCheck& ContainerCheck::operator=(ContainerCheck&&) noexcept = default;
ContainerCheck::~ContainerCheck() = default;

std::uint64_t ContainerCheck::totalBytes() const
{
    return m_impl->total;
}

Result<ContainerCheck> ContainerCheck::prepare(const Checkpoint& checkpoint, JobContext& job, std::uint64_t partBytes)
{
    return prepareAt(checkpoint, nullptr, job, partBytes);
}

Result<ContainerCheck> ContainerCheck::prepareFor(const Checkpoint& checkpoint, const std::vector<TensorId>& tensors, JobContext& job)
{
    Places places;
    const PieceStore& pieces = checkpoint.pieces();
    for (const TensorId tensor : tensors)
        for (std::size_t row = pieces.firstOf(tensor); row < pieces.lastOf(tensor); ++row)
            if (const auto place = placeOf(checkpoint, pieces.at(idAt<PieceId>(row))))
                places[place->first].push_back(place->second);
    for (auto& [file, begins] : places)
        std::sort(begins.begin(), begins.end());
    return prepareAt(checkpoint, &places, job, kPartBytes);
}

Result<ContainerCheck> ContainerCheck::prepareAt(const Checkpoint& checkpoint, const Places* wanted, JobContext& job, std::uint64_t partBytes)
{
    auto impl = std::make_unique<Impl>();
    const ItemPlaces places(checkpoint, job);
    for (std::size_t i = 0; i < checkpoint.files().size(); ++i) {
        SHARDLENS_TRY(job.poll());
        const File& file = checkpoint.files()[i];
        auto archive = file.state == File::State::Read ? archiveOf(idAt<FileId>(i), file.path, places, job) : std::nullopt;
        if (!archive && wanted == nullptr && file.state == File::State::Read) // of those without members there is one sum of all
            archive = file.container == "safetensors" ? safetensorsOf(idAt<FileId>(i), file.path) : ckptOf(idAt<FileId>(i), file.path, job);
        if (!archive)
            continue;
        if (wanted != nullptr) {
            const auto begins = wanted->find(idAt<FileId>(i));
            std::erase_if(archive->members, [&](const CheckedMember& member) {
                const auto at = begins == wanted->end() ? std::vector<std::uint64_t>::const_iterator() : std::lower_bound(begins->second.begin(), begins->second.end(), member.offset);
                return begins == wanted->end() || at == begins->second.end() || !isInside(member, *at);
            });
        }
        for (std::size_t m = 0; m < archive->members.size(); ++m) {
            const CheckedMember& member = archive->members[m];
            if (!member.problem.empty())
                impl->parts.push_back({impl->archives.size(), m, 0, 0, 0, member.problem});
            if (!member.problem.empty() || !archive->hasChecksums)
                continue;
            impl->total += member.storedBytes;
            const std::uint64_t step = member.deflated || archive->isSafetensors ? member.storedBytes : partBytes;
            for (std::uint64_t at = 0; at < member.storedBytes; at += step)
                impl->parts.push_back({impl->archives.size(), m, at, std::min(step, member.storedBytes - at), 0, {}});
        }
        impl->archives.push_back(std::move(*archive));
    }
    return ContainerCheck(std::move(impl));
}

Result<std::vector<Finding>> ContainerCheck::run(const Checkpoint& checkpoint, Executor& executor, JobContext& job) const
{
    std::vector<CheckedPart> parts = m_impl->parts;
    SHARDLENS_TRY(executor.forEach(parts.size(), [&](std::size_t i) -> Status {
        CheckedPart& part = parts[i];
        if (!part.problem.empty())
            return {};
        const CheckedArchive& archive = m_impl->archives[part.archive];
        const auto source = FileSource::open(archive.path);
        Status summed = !source                  ? Status(source.error())
                        : archive.isSafetensors ? sumSafetensors(**source, part, job)
                                                : sumPart(**source, archive.members[part.member], part, job);
        if (summed || summed.error().code() == ErrorCode::Cancelled)
            return summed;
        part.problem = summed.error().text();
        return {};
    }));
    HarmLog log(checkpoint);
    std::uint64_t agreeing = 0;
    for (std::size_t first = 0, last = 0; first < parts.size(); first = last) {
        while (last < parts.size() && parts[last].archive == parts[first].archive && parts[last].member == parts[first].member)
            ++last;
        const CheckedArchive& archive = m_impl->archives[parts[first].archive];
        const CheckedMember& member = archive.members[parts[first].member];
        if (const std::string problem = problemOf(member, std::span(parts).subspan(first, last - first)); !problem.empty())
            log.add(archive, member, problem + archive.remark);
        else if (archive.isWhole)
            ++agreeing;
    }
    std::vector<Finding> out = log.take();
    addWithoutChecksums(checkpoint, m_impl->archives, out);
    if (agreeing > 0)
        out.push_back({Severity::Info, "checksum-good", fmt::format("{} a CRC-32 of all bytes, and it agrees.", agreeing == 1 ? "One file carries" : groupedText(agreeing) + " files carry"),
                       kNoTensor, kNoFile, std::nullopt});
    return out;
}

} // namespace shardlens
