#include "core/analysis/file_scanner.h"

#include "core/base/text.h"
#include "core/io/checksum.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

namespace shardlens {
namespace {

constexpr std::uint64_t kMemberHeadBytes = 16;
constexpr std::uint64_t kChecksumStep = 1u << 20;
constexpr std::uint64_t kLargestGuessedMember = 1ull << 30;
constexpr std::uint16_t kEncryptionFlags = 0x0001 | 0x0020 | 0x0040;
constexpr std::uint16_t kSizesFollow = 0x0008;
constexpr std::uint32_t kNoSize = 0xFFFFFFFF;

std::string lowered(std::string_view text)
{
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return out;
}

bool isPickleName(std::string_view name)
{
    const std::string low = lowered(name);
    return low.ends_with(".pkl") || low.ends_with(".pickle") || low.ends_with(".debug_pkl");
}

// "archive/data/7" of "archive/data.pkl" and the key 7; a package keeps them elsewhere.
void addStorageNames(std::unordered_set<std::string>& out, std::string_view pickle, const std::vector<PickleScan::Storage>& storages)
{
    const std::string stem = lowered(pickle.substr(0, pickle.rfind('.')));
    const std::string root = lowered(pickle.substr(0, pickle.find('/') + 1));
    for (const PickleScan::Storage& storage : storages) {
        out.insert(stem + "/" + lowered(storage.key));
        out.insert(root + ".data/" + lowered(storage.key) + ".storage");
    }
}

} // namespace

void FileScanner::unread(const Place& place, const char* code, std::uint64_t offset, std::string what)
{
    m_report.files[m_file].scanned = false;
    add(place, 4, code, offset, std::move(what) + ": not scanned");
}

Status FileScanner::scanZip(const Source& source, const Place& place)
{
    auto archive = ZipArchive::open(*source, &m_job);
    SHARDLENS_TRY(m_job.poll());
    const bool isAlone = archive && archive->leadingBytes() == 0 && archive->trailingBytes() == 0;
    if (ArchiveRow row = isAlone ? ArchiveRow() : archivesInARow(source, m_job); row.begins.size() > 1 || (!row.begins.empty() && row.end < source->size()))
        return scanItems(source, std::move(row), place);
    SHARDLENS_TRY(m_job.poll());
    if (!archive) {
        unread(place, "A5", 0, "an archive that cannot be read (" + archive.error().text() + ")");
        return salvage(source, place);
    }
    if (archive->leadingBytes() == 0)
        return scanArchive(source, *archive, place);
    add(place, 4, "A8", archive->leadingBytes(), "an archive behind another one: two programs see two different files");
    SHARDLENS_TRY(scanArchive(source, *archive, place));
    Place front = place;
    front.member = (place.member.empty() ? "" : place.member + " ") + "[in front of the archive]";
    ++front.depth;
    if (front.depth > 3)
        return {};
    return scanContainer(std::make_shared<SliceSource>(source, 0, archive->leadingBytes()), front, Claim::Perhaps);
}

// A DCP data file: whole archives one behind another, of which the last may be cut off.
Status FileScanner::scanItems(const Source& source, ArchiveRow row, const Place& place)
{
    const auto placeOf = [&](std::uint64_t from) {
        Place inner = place;
        inner.member = (place.member.empty() ? "" : place.member + " ") + fmt::format("[item at {}]", from);
        inner.sourceAt = place.sourceAt + from;
        return inner;
    };
    row.begins.push_back(row.end);
    for (std::size_t i = 0; i + 1 < row.begins.size(); ++i) {
        SHARDLENS_TRY(m_job.poll());
        const std::uint64_t from = row.begins[i];
        const auto item = std::make_shared<SliceSource>(source, from, row.begins[i + 1] - from);
        SHARDLENS_ASSIGN(const ZipArchive archive, ZipArchive::open(*item, &m_job));
        SHARDLENS_TRY(scanArchive(item, archive, placeOf(from)));
    }
    if (row.end == source->size())
        return {};
    unread(place, "A5", row.end, "cut off: the archive that begins here has no end");
    return salvage(std::make_shared<SliceSource>(source, row.end, source->size() - row.end), placeOf(row.end));
}

// Without a directory: the local headers from the start on, as far as their sizes lead.
Status FileScanner::salvage(const Source& source, const Place& place)
{
    for (std::uint64_t at = 0; at < source->size();) {
        SHARDLENS_TRY(m_job.poll());
        Member member;
        auto local = readLocalHeader(*source, at);
        if (!local || local->dataOffset > source->size())
            return {};
        member.local = local.take();
        member.entry.name = member.local.name;
        member.entry.method = member.local.method;
        const std::uint64_t left = source->size() - member.local.dataOffset;
        const bool hasSize = (member.local.flags & kSizesFollow) == 0 && member.local.storedBytes != kNoSize && member.local.storedBytes <= left;
        member.entry.storedBytes = hasSize ? member.local.storedBytes : left;
        member.hasPickleName = isPickleName(member.local.name);
        SHARDLENS_ASSIGN(const Row row, scanMember(source, member, member.hasPickleName ? Claim::Named : Claim::Perhaps, place));
        (void)row;
        if (!hasSize)
            return {};
        at = member.local.dataOffset + member.entry.storedBytes;
    }
    return {};
}

void FileScanner::noteNames(const ZipArchive& archive, const Place& place)
{
    std::unordered_map<std::string, std::size_t> names;
    for (const ZipMember& member : archive.members())
        if (++names[lowered(member.name)] == 2)
            add(place, 4, "A2", member.headerOffset,
                fmt::format("two records are named {}: PyTorch reads the first, other programs the last", printable(member.name)));
    std::vector<const ZipMember*> sorted;
    for (const ZipMember& member : archive.members())
        sorted.push_back(&member);
    std::ranges::sort(sorted, {}, &ZipMember::headerOffset);
    for (std::size_t i = 1; i < sorted.size(); ++i) {
        const std::uint64_t apart = sorted[i]->headerOffset - sorted[i - 1]->headerOffset;
        if (apart <= sorted[i - 1]->storedBytes) {
            add(place, 4, "A3", sorted[i]->headerOffset,
                fmt::format("the records {} and {} overlap", printable(sorted[i - 1]->name), printable(sorted[i]->name)));
            return;
        }
    }
}

void FileScanner::noteLies(const Member& member, const Place& place)
{
    const ZipMember& entry = member.entry;
    const std::string name = printable(entry.name);
    if (const int bits = (entry.flags | member.local.flags) & kEncryptionFlags; bits != 0)
        add(place, 4, "A4", entry.headerOffset,
            fmt::format("{}: flags {:#x} say that it is encrypted, for which other programs refuse to read it", name, bits));
    if (member.local.name != entry.name)
        add(place, 4, "A3", entry.headerOffset, fmt::format("the directory names a record {}, its own header {}", name, printable(member.local.name)));
    const bool hasSize = (member.local.flags & kSizesFollow) == 0 && member.local.storedBytes != 0 && member.local.storedBytes != kNoSize;
    if (member.local.method != entry.method || (hasSize && member.local.storedBytes != entry.storedBytes))
        add(place, 4, "A3", entry.headerOffset, fmt::format("{}: its header and the directory differ in method or size", name));
    if (entry.method == 0 && entry.storedBytes != entry.sizeBytes)
        add(place, 4, "A3", entry.headerOffset,
            fmt::format("{} is stored with {} B and says {} B", name, groupedText(entry.storedBytes), groupedText(entry.sizeBytes)));
}

Result<bool> FileScanner::lookAtMember(const Source& source, Member& member, const Place& place)
{
    const ZipMember& entry = member.entry;
    Place inner = place;
    inner.member += (place.member.empty() ? "" : " ") + entry.name;
    auto local = readLocalHeader(*source, entry.headerOffset);
    const bool isInside = local && local->dataOffset <= source->size(); // a record without bytes may begin behind the end
    const std::uint64_t left = isInside ? source->size() - local->dataOffset : 0;
    if (!isInside || entry.storedBytes > left) {
        unread(inner, "A5", 0, local && !isInside ? "its bytes would begin behind the end" : local ? fmt::format("it needs {} B and {} are left", groupedText(entry.storedBytes), groupedText(left)) : local.error().text());
        return false;
    }
    member.local = local.take();
    noteLies(member, inner);
    member.hasPickleName = isPickleName(entry.name) || isPickleName(member.local.name);
    if (entry.method == 0) {
        member.head.resize(std::min(kMemberHeadBytes, entry.storedBytes));
        SHARDLENS_TRY(source->readAt(member.local.dataOffset, std::as_writable_bytes(std::span(member.head))));
    } else if (entry.method == 8) {
        const auto head = inflatePrefix(*source, member.local.dataOffset, entry.storedBytes, kMemberHeadBytes);
        if (head)
            member.head.assign(reinterpret_cast<const char*>(head->data()), head->size());
        else
            unread(inner, "A5", 0, head.error().text());
        return head.ok();
    } else {
        unread(inner, "A5", 0, fmt::format("compressed by method {}", entry.method));
        return false;
    }
    return true;
}

Result<std::vector<FileScanner::Member>> FileScanner::lookAtMembers(const Source& source, const ZipArchive& archive, const Place& place)
{
    std::vector<Member> out;
    std::unordered_set<std::uint64_t> seen; // a record that lies where another one does is scanned once
    for (const ZipMember& entry : archive.members()) {
        if (out.size() % 1024 == 0)
            SHARDLENS_TRY(m_job.poll());
        Member member;
        member.entry = entry;
        if (!seen.insert(entry.headerOffset).second)
            continue;
        SHARDLENS_ASSIGN(const bool isReadable, lookAtMember(source, member, place));
        if (isReadable)
            out.push_back(std::move(member));
    }
    return out;
}

Status FileScanner::scanArchive(const Source& source, const ZipArchive& archive, const Place& place)
{
    noteNames(archive, place);
    SHARDLENS_ASSIGN(const std::vector<Member> members, lookAtMembers(source, archive, place));
    Place inner = place;
    inner.isTorchScript = std::ranges::any_of(members, [](const Member& member) { return member.entry.name.ends_with("/constants.pkl"); });
    inner.hasChecksums = std::ranges::any_of(members, [](const Member& member) { return member.entry.crc32 != 0; });
    std::unordered_set<std::string> storages;
    for (const Member& member : members) {
        if (!member.hasPickleName)
            continue;
        SHARDLENS_ASSIGN(const Row row, scanMember(source, member, Claim::Named, inner));
        addStorageNames(storages, member.entry.name, row.storages);
    }
    for (const Member& member : members) {
        const bool isStorage = storages.contains(lowered(member.entry.name));
        const bool isPickle = beginsAsPickle(member.head);
        if (member.hasPickleName || (isStorage && !isPickle && !member.head.starts_with("PK\x03\x04")))
            continue;
        if (!isPickle && member.entry.storedBytes > kLargestGuessedMember)
            continue;
        SHARDLENS_ASSIGN(const Row row, scanMember(source, member, isStorage ? Claim::Data : isPickle ? Claim::Named : Claim::Perhaps, inner));
        (void)row;
    }
    return {};
}

Result<FileScanner::Row> FileScanner::scanMember(const Source& source, const Member& member, Claim claim, const Place& place)
{
    const std::uint64_t begin = member.local.dataOffset;
    Place inner = place;
    inner.member += (place.member.empty() ? "" : " ") + member.entry.name;
    inner.embedded = place.embedded || claim == Claim::Data;
    m_decodedBytes += member.entry.method == 8 || member.hasPickleName ? member.entry.storedBytes : 0;
    if (m_decodedBytes > 2 * source->size() + (64ull << 20)) {
        unread(inner, "P13", 0, "limit reached: records that overlap hold more than the file");
        return Row{};
    }
    if (member.entry.method == 0) {
        inner.origin = begin;
        return scanMemberBytes({source, begin, begin + member.entry.storedBytes}, member, claim, inner);
    }
    const std::uint64_t limit = limitOf(*source);
    auto decoded = inflatePrefix(*source, begin, member.entry.storedBytes, limit + 1);
    if (!decoded) {
        unread(inner, "A5", 0, decoded.error().text());
        return Row{};
    }
    if (decoded->size() > limit) {
        unread(inner, "P13", 0, fmt::format("limit reached: it decompresses to more than {}; what follows", sizeText(limit)));
        decoded->resize(limit);
    }
    m_decodedBytes += decoded->size();
    inner.origin = 0;
    inner.isDetached = place.isDetached || place.deflatedBytes != 0;
    inner.sourceAt = place.sourceAt + begin;
    inner.deflatedBytes = member.entry.storedBytes;
    const std::uint64_t length = decoded->size();
    return scanMemberBytes({std::make_shared<MemorySource>(decoded.take()), 0, length}, member, claim, inner);
}

Status FileScanner::checkSum(const Range& range, const Member& member, const Place& place)
{
    std::vector<std::byte> block(std::min(kChecksumStep, range.end - range.begin));
    std::uint32_t sum = 0;
    for (std::uint64_t at = range.begin; at < range.end; at += block.size()) {
        SHARDLENS_TRY(m_job.poll());
        const auto part = std::span(block).first(std::min<std::uint64_t>(block.size(), range.end - at));
        SHARDLENS_TRY(range.source->readAt(at, part));
        sum = crc32Of(part, sum);
    }
    if (sum != member.entry.crc32)
        add(place, 4, "A6", 0, fmt::format("wrong checksum: {:08x}, and the directory says {:08x}", sum, member.entry.crc32));
    return {};
}

Result<FileScanner::Row> FileScanner::scanMemberBytes(const Range& range, const Member& member, Claim claim, Place place)
{
    if (claim == Claim::Named && place.hasChecksums)
        SHARDLENS_TRY(checkSum(range, member, place));
    if (member.head.starts_with("\x93NUMPY")) {
        SHARDLENS_TRY(scanNumpy(range.source, range.begin, range.end, place));
        return Row{};
    }
    if (!member.head.starts_with("PK\x03\x04"))
        return scanRow(range.source, range.begin, range.end, claim, place);
    if (++place.depth > 3) {
        unread(place, "A9", 0, "archives are nested more than 3 deep");
        return Row{};
    }
    place.sourceAt += range.begin;
    place.isDetached = place.isDetached || place.deflatedBytes != 0;
    place.origin = 0;
    SHARDLENS_TRY(scanContainer(std::make_shared<SliceSource>(range.source, range.begin, range.end - range.begin), place, claim));
    return Row{};
}

} // namespace shardlens
