#pragma once

#include "core/analysis/scan.h"
#include "core/encoding/zip.h"
#include "core/io/byte_source.h"

#include <memory>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

namespace shardlens {

// Finds the pickles of one file wherever they hide (formats/pickle-safety.md §1 and §7) and adds what they are to a report.
class FileScanner {
public:
    FileScanner(ScanReport& report, JobContext& job) : m_report(report), m_job(job) {}
    // The file at `index` of the report. Cancelled, or the system's words.
    Status scan(std::size_t index);

private:
    using Source = std::shared_ptr<const ByteSource>;

    // How sure it is that bytes are a pickle (§1.2, §6.6).
    enum class Claim : std::uint8_t {
        Named,   // by its place, its name or its first bytes: whatever is broken is said
        Perhaps, // text opcodes: only if it reaches STOP or a level-5 finding
        Data,    // a storage: the same, and it is embedded
        Bytes,   // a bytes object: only if it reaches STOP, and it is embedded
    };
    struct Place {
        std::string member;
        int depth = 0;
        bool isTorchScript = false;
        bool hasChecksums = false; // of an archive: PyTorch can be told to write none
        bool embedded = false;
        std::uint64_t origin = 0;   // of the member in its source: offsets count from there
        std::uint64_t sourceAt = 0; // of the source in the file, for ScanStream::dataOffset
        std::uint64_t deflatedBytes = 0;
        bool isDetached = false;
    };
    // One pickle, with the bytes that its texts point into.
    struct Stream {
        std::vector<std::byte> bytes;
        PickleScan scan;
        std::uint64_t end = 0; // in the source
    };
    struct Row {
        std::vector<PickleScan::Storage> storages; // of all pickles in the row
        std::uint64_t begin = 0;                   // of the last
        std::uint64_t end = 0;                     // of the last
        std::uint32_t count = 0;
        bool stopped = false; // the last reached STOP
    };

    // Containers.
    Status scanContainer(const Source& source, const Place& place, Claim claim);
    // The end of what was recognised.
    Result<std::uint64_t> scanUnzipped(const Source& source, const Place& place, Claim claim);
    Status scanNumpy(const Source& source, std::uint64_t begin, std::uint64_t end, const Place& place);
    Result<std::uint64_t> scanTar(const Source& source, const Place& place);
    Status scanTarParts(const Source& source, std::uint64_t begin, std::uint64_t end, const Place& place);
    Status scanTarMember(const Source& source, std::uint64_t begin, std::uint64_t end, Place place);
    Result<std::uint64_t> scanLegacy(const Source& source, const Place& place);
    Result<std::uint64_t> scanLegacyStorages(const Source& source, const Row& row, const Place& place);
    [[nodiscard]] static std::string whatElse(const Source& source);

    // Zip archives.
    struct Member {
        ZipMember entry;
        ZipLocalHeader local;
        std::string head; // its first bytes, decoded
        bool hasPickleName = false;
    };
    Status scanZip(const Source& source, const Place& place);
    Status scanArchive(const Source& source, const ZipArchive& archive, const Place& place);
    Result<std::vector<Member>> lookAtMembers(const Source& source, const ZipArchive& archive, const Place& place);
    Result<bool> lookAtMember(const Source& source, Member& member, const Place& place);
    Status scanItems(const Source& source, ArchiveRow row, const Place& place);
    Status salvage(const Source& source, const Place& place);
    Result<Row> scanMember(const Source& source, const Member& member, Claim claim, const Place& place);
    struct Range {
        Source source;
        std::uint64_t begin;
        std::uint64_t end;
    };
    Result<Row> scanMemberBytes(const Range& range, const Member& member, Claim claim, Place place);
    void noteLies(const Member& member, const Place& place);
    void noteNames(const ZipArchive& archive, const Place& place);
    Status checkSum(const Range& range, const Member& member, const Place& place);
    void unread(const Place& place, const char* code, std::uint64_t offset, std::string what);

    // Pickles.
    Result<Row> scanRow(const Source& source, std::uint64_t begin, std::uint64_t end, Claim claim, const Place& place, std::uint32_t most = 0);
    Result<bool> scanOne(const Source& source, std::uint64_t begin, std::uint64_t end, Claim claim, const Place& place, Stream& out);
    Status report(Stream& stream, std::uint32_t number, const Place& place);
    Status scanNested(const PickleScan& scan, const Place& place);

    void add(const Place& place, int level, const char* code, std::uint64_t offset, std::string what);
    void add(const Place& place, std::size_t stream, PickleFinding finding);
    [[nodiscard]] std::uint64_t limitOf(const ByteSource& source) const; // of decoded bytes

    ScanReport& m_report;
    JobContext& m_job;
    std::size_t m_file = 0;
    std::uint64_t m_nestedBytes = 0;
    std::uint64_t m_nestedCount = 0;
    std::uint64_t m_decodedBytes = 0;
};

} // namespace shardlens
