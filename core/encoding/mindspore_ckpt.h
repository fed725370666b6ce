#pragma once

#include "core/base/result.h"
#include "core/io/byte_source.h"
#include "core/job/job_context.h"
#include "core/model/checkpoint.h"
#include "core/model/shape.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::mindspore {

constexpr const char* kCkptContainer = "MindSpore ckpt"; // File::container
constexpr std::uint64_t kCrcTrailerBytes = 17; // "crc_num" and ten bytes (§2.8)
constexpr std::uint64_t kMaxCkptRecords = 1'000'000;
constexpr std::uint64_t kMaxCkptTextBytes = 4ull << 20; // stored bytes of a string that is decoded; a longer one stays opaque

// A run of stored bytes of an entry; `offset` is the file's own.
struct CkptPiece {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    auto operator<=>(const CkptPiece&) const = default;
};

// One parameter of a .ckpt file, its records joined (formats/mindspore.md §2.4). The values are the bytes of `pieces` one after the other, little-endian and
// row-major.
struct CkptEntry {
    enum class Kind : std::uint8_t {
        Tensor,
        Text,      // a string (§2.7): `text`; `dtype` and `shape` as of Opaque
        Opaque,    // random_op, a type that is not known, a string that does not decode: `dtype` U8, `shape` [sizeBytes]
        MapTensor, // one of the three tensors of a hash table: "emb.keys", "emb.values", "emb.status"
    };
    Kind kind = Kind::Tensor;
    std::string name;        // printable where the tag is no UTF-8; without the suffix of a host cache
    std::string tag;         // as stored, where that is something else than `name`
    DType dtype = DType::U8; // Int4 is I8: two values a byte, and the shape counts bytes
    std::string typeName;    // "Float32", as stored
    Shape shape;             // [] for a tensor without axes, in the old form and in the new (§2.6)
    Shape storedShape;       // of Opaque and Text: what the file says
    std::uint64_t sizeBytes = 0;
    bool wideBFloat16 = false; // 4 bytes a value, of which the upper two count: sizeBytes is twice that of BF16 (§2.5)
    std::vector<CkptPiece> pieces; // none is empty; none at all for a tensor of no values
    std::string text;        // of Text: UTF-8, without the NULs at its end
};

// What a person should know about the file. Error: a part of it cannot be read.
struct CkptNote {
    std::string code; // "mindspore-repeated-name"
    std::string text; // a fragment
    Severity severity = Severity::Warning;
};

// A parameter that is there and whose values cannot be given: cut short, or breaking the format's rules.
struct CkptLost {
    std::string name;
    std::string code;    // "mindspore-truncated", "mindspore-parameter"
    std::string problem; // a fragment that does not name it
};

struct CkptFile {
    std::vector<CkptEntry> entries; // in file order; a name that stands twice is where it stood first, with what stood last
    std::vector<CkptLost> lost;
    std::vector<CkptNote> notes;
    std::uint64_t records = 0;      // complete ones
    std::uint64_t contentEnd = 0;   // where the records end and the CRC trailer or the file's end is
    std::optional<std::uint64_t> storedCrc; // of the bytes before contentEnd (§2.8); above 32 bits in a damaged trailer only
    bool hasUncountedRecords = false; // of kinds that writers do not add to the CRC: a mismatch need not be damage
};

// Reads the heads of all records and no payload (strings but). One that breaks the rules of §2 or §8 is `lost` and the others stay; where the file is cut or its
// bytes are no record, reading ends there and what was complete stays. Fails where not one entry is complete, and for what is no weights file: empty, encrypted
// (Unsupported, with the cipher's name), a strategy file, a group map. LimitExceeded above kMaxCkptRecords, Cancelled by the job.
// Wire rules are protobuf's: fields in any order, unknown ones skipped, repeated scalars last wins, a repeated sub-message is merged.
[[nodiscard]] Result<CkptFile> readCkpt(const ByteSource& source, const JobContext* job = nullptr);

// CRC-32 of the bytes before `end`; counts in the job what it reads.
[[nodiscard]] Result<std::uint32_t> contentCrc(const ByteSource& source, std::uint64_t end, JobContext& job);
// What a comparison found, a fragment; empty where the two agree. Precondition: file.storedCrc.
[[nodiscard]] std::string crcProblem(const CkptFile& file, std::uint32_t computed);

// ---- what a file is, by its first bytes (§1.2) ----

enum class MindSporeKind : std::uint8_t { No, Weights, Strategy, Encrypted, GroupMap };

// `head` are the first bytes of a file of `fileBytes` (512 do, fewer are less sure). Strict: what only may be one is No.
[[nodiscard]] MindSporeKind mindSporeKindOf(std::span<const std::byte> head, std::uint64_t fileBytes);
// "AES-GCM", "AES-CBC", "SM4-CBC", or "AES" of before 1.7, which does not say its mode (§2.9); empty where `head` is of no encrypted file.
[[nodiscard]] std::string_view cipherOf(std::span<const std::byte> head);

// ---- types (§2.5) ----

// The name that MindSpore writes: "BFloat16". Empty where the format has none or no release's loader knows it.
[[nodiscard]] std::string_view ckptTypeName(DType dtype);
// By any name that a file may hold, those of map tensors ("float32") and of old loaders ("Uint8") too. Int4 is I8.
[[nodiscard]] std::optional<DType> dtypeOfCkptType(std::string_view name);

} // namespace shardlens::mindspore
