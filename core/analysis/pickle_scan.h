#pragma once

#include "core/base/result.h"
#include "core/job/job_context.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens {

// One thing that a scan has to say of a pickle or its container (formats/pickle-safety.md §8).
struct PickleFinding {
    int level = 0;            // 0 to 5, §6.1
    const char* code = "";    // "G5", "C6", "P1", "A3"
    std::uint64_t offset = 0; // of the opcode
    std::uint8_t opcode = 0;  // 0: of the container
    std::string what;         // a fragment, printable
};

// A name that a pickle imports, however often.
struct PickleImport {
    std::string module; // as Python 3 looks it up
    std::string name;
    std::string rawModule; // as the file has it
    std::string rawName;
    std::uint64_t count = 0;
    std::uint64_t offset = 0; // of the first
    int level = 0;
};

// What torch.load(weights_only=True) of a current PyTorch would do (§8.1).
struct WeightsOnlyForecast {
    bool accepted = true;
    std::uint64_t blockerOffset = 0;
    std::string blocker;                  // "FRAME", "argparse.Namespace"
    std::vector<std::string> safeGlobals; // what add_safe_globals would need; empty where that is not enough
};

struct PickleScan {
    std::uint64_t begin = 0; // offsets count from `base` of the options
    std::uint64_t end = 0;
    int protocol = 0;
    std::uint64_t opcodes = 0;
    bool stopped = false;      // it reached STOP
    bool needsMore = false;    // it broke off because the bytes end
    std::vector<PickleFinding> findings; // in the order of the opcodes
    std::vector<PickleImport> imports;   // in the order of the first
    WeightsOnlyForecast weightsOnly;

    // A storage that a persistent id names.
    struct Storage {
        std::string className;
        std::string key;
    };
    std::vector<Storage> storages;

    // Bytes inside the pickle that are a file of their own: handed to torch.load (`loaded`), or data that look like one. Views into the scanned bytes
    // or `texts`.
    struct Nested {
        std::uint64_t offset = 0;
        std::string_view bytes;
        bool loaded = false;
    };
    std::vector<Nested> nested;
    std::deque<std::string> texts;

    [[nodiscard]] int level() const;
};

struct PickleScanOptions {
    std::uint64_t base = 0;     // offset of the first byte of `bytes`, for findings
    bool isTorchScript = false; // an archive with constants.pkl
};

// Interprets one pickle that begins at `at`, without importing or calling anything, and says what loading it would do. A broken one keeps what was found
// before (§5). Memory is bounded by 40 MiB and a multiple of the bytes. `bytes` must outlive the result. Cancelled is the only error.
[[nodiscard]] Result<PickleScan> scanPickle(std::span<const std::byte> bytes, std::size_t at, const PickleScanOptions& options,
                                            const JobContext* job = nullptr);

// Whether bytes begin as a pickle that says its protocol (§1.2, rule 1).
[[nodiscard]] bool beginsAsPickle(std::string_view bytes);

} // namespace shardlens
