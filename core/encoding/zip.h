#pragma once

#include "core/base/result.h"
#include "core/io/byte_source.h"
#include "core/job/job_context.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace shardlens {

struct ZipMember {
    std::string name;
    std::uint64_t headerOffset = 0; // in the source
    std::uint64_t storedBytes = 0;
    std::uint64_t sizeBytes = 0;    // decoded
    std::uint32_t crc32 = 0;
    std::uint16_t method = 0;       // 0 stored, 8 deflated
    bool encrypted = false;
    std::uint16_t flags = 0;        // as the central directory has them
};

// The header in front of a member's bytes, which may say something else than the directory.
struct ZipLocalHeader {
    std::string name;
    std::uint16_t flags = 0;
    std::uint16_t method = 0;
    std::uint32_t storedBytes = 0; // of a member above 4 GiB, or with sizes behind its data: none
    std::uint64_t dataOffset = 0;
};
[[nodiscard]] Result<ZipLocalHeader> readLocalHeader(const ByteSource& source, std::uint64_t offset);

// Decodes what deflate made of [offset, offset + storedBytes) and hands it on in order, in runs of at most 64 KiB, up to `most` bytes. Ends with the first
// status of `visit` that is none. Corrupt where the data break off or do not decompress.
Status inflateInto(const ByteSource& source, std::uint64_t offset, std::uint64_t storedBytes, std::uint64_t most,
                   const std::function<Status(std::span<const std::byte>)>& visit);
// The first bytes of what deflate made of [offset, offset + storedBytes): at most `most`. Takes memory for what really comes out only.
[[nodiscard]] Result<std::vector<std::byte>> inflatePrefix(const ByteSource& source, std::uint64_t offset, std::uint64_t storedBytes, std::uint64_t most);

struct ZipNote {
    std::string code;
    std::string text; // a fragment
};

// A zip archive read from its central directory, leniently as PyTorch reads it (formats/pytorch.md §2.3): what is odd becomes a note.
// Opening reads the directory only: LimitExceeded above a million members, Cancelled where the job is told to stop. The source must outlive it.
class ZipArchive {
public:
    [[nodiscard]] static Result<ZipArchive> open(const ByteSource& source, const JobContext* job = nullptr);
    ZipArchive(ZipArchive&&) noexcept = default; // and no copy: its names are pointed at
    ZipArchive& operator=(ZipArchive&&) noexcept = default;

    [[nodiscard]] const std::vector<ZipMember>& members() const { return m_members; }
    // Exact name first, then without regard to case; nullptr if there is none.
    [[nodiscard]] const ZipMember* find(std::string_view name) const;
    [[nodiscard]] const ZipMember* findExact(std::string_view name) const; // in constant time
    [[nodiscard]] const std::vector<ZipNote>& notes() const { return m_notes; }
    // Offset of a member's bytes, by the lengths of its local header. Corrupt where the header is none or the bytes leave the source.
    [[nodiscard]] Result<std::uint64_t> dataOffset(const ZipMember& member) const;
    // Bytes in front of the archive, which its own offsets do not count.
    [[nodiscard]] std::uint64_t leadingBytes() const { return m_shift; }
    // Bytes behind its end, without a comment.
    [[nodiscard]] std::uint64_t trailingBytes() const { return m_trailing; }
    // The decoded bytes; LimitExceeded above `limit`.
    [[nodiscard]] Result<std::vector<std::byte>> read(const ZipMember& member, std::uint64_t limit) const;

private:
    explicit ZipArchive(const ByteSource& source) : m_source(&source) {}
    struct Directory;
    Status readDirectory(const Directory& directory, const JobContext* job);

    const ByteSource* m_source;
    std::vector<ZipMember> m_members;
    std::unordered_map<std::string_view, std::size_t> m_byName; // keys point into m_members
    std::vector<ZipNote> m_notes;
    std::uint64_t m_shift = 0; // bytes before the archive
    std::uint64_t m_trailing = 0;
};

// Archives that stand one behind another and fill a file (a DCP data file), or all of it but the last of them, whose end is cut off.
struct ArchiveRow {
    std::vector<std::uint64_t> begins; // of the whole ones, ascending; empty: the file is nothing of the kind
    std::uint64_t end = 0;             // of the last whole one: the file's end, or where the one begins that is cut off
};
[[nodiscard]] ArchiveRow archivesInARow(const std::shared_ptr<const ByteSource>& source, const JobContext& job);

} // namespace shardlens
