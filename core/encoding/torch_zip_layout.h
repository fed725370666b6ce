#pragma once

#include "core/base/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace shardlens {

// One record of a torch archive that is to be written.
struct TorchRecord {
    std::string name; // without the root: "data.pkl", "data/0"
    std::uint64_t sizeBytes = 0;
    std::uint64_t headerOffset = 0; // filled in by layOut
    std::uint64_t dataOffset = 0;   // filled in by layOut; a multiple of 64
};

// The records that PyTorch writes now, in its order (formats/pytorch.md §2.1), for a pickle and storages of these sizes.
[[nodiscard]] std::vector<TorchRecord> torchSaveRecords(std::uint64_t pickleBytes, std::span<const std::uint64_t> storageBytes, bool bigEndian = false);
constexpr std::size_t kFirstStorageRecord = 4; // of them

// Bytes at an offset of a file.
struct BytesAt {
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;
};

// The byte layout that PyTorch itself writes (formats/pytorch.md §2.2): local headers without sizes, data aligned to 64 bytes, a data descriptor
// after every non-empty record, the central directory and a ZIP64 trailer at the end. All sizes are known before any data is.
class TorchZipLayout {
public:
    // Refused: an empty root, a name of more than 65,535 bytes with it, a total beyond 2^63.
    [[nodiscard]] static Result<TorchZipLayout> layOut(std::string root, std::vector<TorchRecord> records);

    [[nodiscard]] const std::vector<TorchRecord>& records() const { return m_records; }
    [[nodiscard]] std::uint64_t fileBytes() const { return m_fileBytes; }
    // Local headers: known before the data.
    [[nodiscard]] std::vector<BytesAt> headers() const;
    // Descriptors, central directory and trailer, once the CRC-32 of every record is known (one each, in order; 0 for empty ones).
    [[nodiscard]] std::vector<BytesAt> closing(std::span<const std::uint32_t> crcs) const;

private:
    std::string m_root; // with its slash
    std::vector<TorchRecord> m_records;
    std::uint64_t m_directoryOffset = 0;
    std::uint64_t m_fileBytes = 0;
};

} // namespace shardlens
