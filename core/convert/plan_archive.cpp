#include "core/convert/plan_archive.h"

#include "core/base/endian.h"
#include "core/encoding/torch_zip_layout.h"
#include "core/io/checksum.h"

#include <algorithm>
#include <string_view>

namespace shardlens {
namespace {

// formats/pytorch.md §2.2: where things stand in a row of the central directory and in a data descriptor.
constexpr std::uint64_t kRowBytes = 46;
constexpr std::uint64_t kRowCrc = 16;
constexpr std::uint64_t kRowNameLength = 28;
constexpr std::uint64_t kRowExtraLength = 30;
constexpr std::uint64_t kDescriptorCrc = 4;

// The records that PyTorch writes now, in its order (formats/pytorch.md §2.1): those before the storages, the storages, those after.
class Members {
public:
    void add(std::string name, std::vector<std::byte> bytes)
    {
        records.push_back({std::move(name), bytes.size()});
        contents.push_back(std::move(bytes));
    }
    void add(std::string name, std::string_view text)
    {
        const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
        add(std::move(name), std::vector<std::byte>(bytes, bytes + text.size()));
    }
    void addStorages(const std::vector<ArchiveStorage>& storages)
    {
        firstStorage = records.size();
        for (std::size_t key = 0; key < storages.size(); ++key) {
            records.push_back({"data/" + std::to_string(key), storages[key].sizeBytes});
            contents.emplace_back();
        }
    }

    std::vector<TorchRecord> records;
    std::vector<std::vector<std::byte>> contents; // of each record; empty for storages
    std::size_t firstStorage = 0;
};

std::string archiveRootOf(const std::string& fileName)
{
    const std::string base = fileName.substr(fileName.find_last_of('/') + 1);
    const std::string stem = base.substr(0, base.find_last_of('.'));
    return stem.empty() ? "archive" : stem;
}

// Where the directory keeps the CRC of each record; `directory` is what closing() ends with.
std::vector<std::uint64_t> directoryChecksums(const BytesAt& directory, std::size_t records)
{
    std::vector<std::uint64_t> out;
    std::uint64_t row = 0;
    for (std::size_t i = 0; i < records; ++i) {
        out.push_back(directory.offset + row + kRowCrc);
        row += kRowBytes + loadLe16(directory.bytes.data() + row + kRowNameLength) + loadLe16(directory.bytes.data() + row + kRowExtraLength);
    }
    return out;
}

std::uint64_t endOfRun(const PlannedTensor& run)
{
    return run.offset + run.sizeBytes;
}

// Zeros between the runs of a storage, as literals.
void addZeros(const ArchiveStorage& storage, std::uint64_t at, std::vector<PlannedBytes>& out)
{
    std::uint64_t filled = 0;
    for (const PlannedTensor& run : storage.runs) {
        if (run.offset > filled)
            out.push_back({at + filled, std::vector<std::byte>(run.offset - filled)});
        filled = std::max(filled, endOfRun(run));
    }
    if (storage.sizeBytes > filled)
        out.push_back({at + filled, std::vector<std::byte>(storage.sizeBytes - filled)});
}

void addStorage(ArchiveStorage& storage, const TorchRecord& record, std::uint64_t row, PlannedFile& out)
{
    addZeros(storage, record.dataOffset, out.literals);
    if (record.sizeBytes != 0)
        out.records.push_back({record.dataOffset, record.sizeBytes, {record.dataOffset + record.sizeBytes + kDescriptorCrc, row}});
    for (PlannedTensor& run : storage.runs) {
        run.offset += record.dataOffset;
        out.tensors.push_back(std::move(run));
    }
}

} // namespace

Result<PlannedFile> planTorchArchive(const std::string& fileName, ArchiveContent content)
{
    Members members;
    members.add("data.pkl", std::move(content.pickle));
    members.add(".format_version", "1");
    members.add(".storage_alignment", "64");
    members.add("byteorder", content.bigEndian ? "big" : "little");
    members.addStorages(content.storages);
    members.add("version", "3\n");
    members.add(".data/serialization_id", std::string(40, '0'));
    SHARDLENS_ASSIGN(const TorchZipLayout layout, TorchZipLayout::layOut(archiveRootOf(fileName), members.records));
    PlannedFile out;
    out.name = fileName;
    out.container = PlannedFile::Container::TorchZip;
    out.sizeBytes = layout.fileBytes();
    std::vector<std::uint32_t> crcs;
    for (const std::vector<std::byte>& bytes : members.contents)
        crcs.push_back(crc32Of(bytes)); // of storages: 0 for now
    std::vector<BytesAt> fixed = layout.headers();
    std::vector<BytesAt> closing = layout.closing(crcs);
    const std::vector<std::uint64_t> rows = directoryChecksums(closing.back(), members.records.size());
    std::move(closing.begin(), closing.end(), std::back_inserter(fixed));
    for (BytesAt& one : fixed)
        out.literals.push_back({one.offset, std::move(one.bytes)});
    for (std::size_t i = 0; i < members.contents.size(); ++i)
        if (!members.contents[i].empty())
            out.literals.push_back({layout.records()[i].dataOffset, std::move(members.contents[i])});
    for (std::size_t key = 0; key < content.storages.size(); ++key)
        addStorage(content.storages[key], layout.records()[members.firstStorage + key], rows[members.firstStorage + key], out);
    std::sort(out.literals.begin(), out.literals.end(), [](const PlannedBytes& a, const PlannedBytes& b) { return a.offset < b.offset; });
    return out;
}

} // namespace shardlens
