#pragma once

#include "core/analysis/pickle_scan.h"
#include "core/base/result.h"
#include "core/job/job_context.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace shardlens {

// Levels 0 to 2, 3, 4, 5 of formats/pickle-safety.md §6.1.
enum class Verdict : std::uint8_t { Safe, Unknown, Suspicious, Dangerous };
[[nodiscard]] Verdict verdictOf(int level);
[[nodiscard]] const char* nameOf(Verdict verdict); // "safe"

struct ScanFinding {
    std::size_t file = 0; // index into ScanReport::files
    std::string member;   // of an archive; empty for the file itself
    std::size_t stream = 0; // index into ScanReport::streams, or kNoStream for what concerns the container
    PickleFinding finding;
};
constexpr std::size_t kNoStream = static_cast<std::size_t>(-1);

// One pickle.
struct ScanStream {
    std::size_t file = 0;
    std::string member;
    std::uint32_t number = 0; // of the pickles in a row at that place, from 0
    std::uint64_t begin = 0;  // in the file, or in the member
    std::uint64_t end = 0;
    int protocol = 0;
    std::uint64_t opcodes = 0;
    int level = 0;
    bool embedded = false; // data that happen to be a pickle: nothing loads it by itself
    // Where its offset 0 lies in the file, for bytesOfStream().
    std::uint64_t dataOffset = 0;
    std::uint64_t deflatedBytes = 0; // of a compressed member; 0: as it lies
    bool detached = false;           // inside the decoded data of another one
    std::vector<PickleImport> imports;
    WeightsOnlyForecast weightsOnly;
};

struct ScannedFile {
    std::string name; // relative to the folder that was asked for; the file's own name otherwise
    std::string path;
    std::uint64_t sizeBytes = 0;
    std::string kind; // "zip archive", "pickle", "no pickle: a PNG picture"
    int level = 0;
    bool scanned = true;   // false: parts could not be read
    std::size_t streams = 0;
};

struct ScanReport {
    std::string path;
    std::vector<ScannedFile> files;     // natural order
    std::vector<ScanStream> streams;
    std::vector<ScanFinding> findings;  // worst first, then by file and place

    [[nodiscard]] int level() const;
    [[nodiscard]] Verdict verdict() const { return verdictOf(level()); }
};

// The pickles of a file, or of every file below a folder, judged without importing or calling anything. Of a list or index in JSON the files that it names are
// judged too, of `latest` all of its folder. What cannot be read is a finding; an error only where nothing could be: NotFound, Io, Cancelled. Reads pickles,
// directories and the first bytes of storages. Progress is in bytes of files.
[[nodiscard]] Result<ScanReport> scanPath(const std::string& path, JobContext& job);

// The bytes that a stream of the report was read from, for a listing: the whole file or member, decoded. LimitExceeded above 512 MiB; Unsupported for a
// stream inside the data of another one.
[[nodiscard]] Result<std::shared_ptr<const std::vector<std::byte>>> bytesOfStream(const ScanReport& report, const ScanStream& stream);

} // namespace shardlens
