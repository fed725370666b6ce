#include "core/convert/plan_archive.h"

#include "core/base/endian.h"
#include "core/encoding/dcp_writer.h"
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

std::vector<std::byte> bytesOf(std::string_view text)
{
    const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
    return {bytes, bytes + text.size()};
}

// What stands in the records of torchSaveRecords(); empty for storages.
std::vector<std::vector<std::byte>> recordContents(ArchiveContent& content)
{
    std::vector<std::vector<std::byte>> out;
    out.push_back(std::move(content.pickle));
    for (const char* text : {"1", "64", content.bigEndian ? "big" : "little"})
        out.push_back(bytesOf(text));
    out.resize(out.size() + content.storages.size());
    out.push_back(bytesOf("3\n"));
    out.push_back(bytesOf(std::string(40, '0')));
    return out;
}

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

// Literals that touch become one.
std::vector<PlannedBytes> joined(std::vector<PlannedBytes> literals)
{
    std::vector<PlannedBytes> out;
    for (PlannedBytes& one : literals) {
        if (!out.empty() && out.back().offset + out.back().bytes.size() == one.offset)
            out.back().bytes.insert(out.back().bytes.end(), one.bytes.begin(), one.bytes.end());
        else
            out.push_back(std::move(one));
    }
    return out;
}

} // namespace

Result<PlannedFile> planTorchArchive(const std::string& fileName, ArchiveContent content)
{
    std::vector<std::uint64_t> storageBytes;
    for (const ArchiveStorage& storage : content.storages)
        storageBytes.push_back(storage.sizeBytes);
    std::vector<TorchRecord> records = torchSaveRecords(content.pickle.size(), storageBytes, content.bigEndian);
    SHARDLENS_ASSIGN(const TorchZipLayout layout, TorchZipLayout::layOut(archiveRootOf(fileName), std::move(records)));
    std::vector<std::vector<std::byte>> contents = recordContents(content);
    PlannedFile out;
    out.name = fileName;
    out.container = PlannedFile::Container::TorchZip;
    out.sizeBytes = layout.fileBytes();
    std::vector<std::uint32_t> crcs;
    for (const std::vector<std::byte>& bytes : contents)
        crcs.push_back(crc32Of(bytes)); // of storages: 0 for now
    std::vector<BytesAt> fixed = layout.headers();
    std::vector<BytesAt> closing = layout.closing(crcs);
    const std::vector<std::uint64_t> rows = directoryChecksums(closing.back(), contents.size());
    std::move(closing.begin(), closing.end(), std::back_inserter(fixed));
    for (BytesAt& one : fixed)
        out.literals.push_back({one.offset, std::move(one.bytes)});
    for (std::size_t i = 0; i < contents.size(); ++i)
        if (!contents[i].empty())
            out.literals.push_back({layout.records()[i].dataOffset, std::move(contents[i])});
    for (std::size_t key = 0; key < content.storages.size(); ++key)
        addStorage(content.storages[key], layout.records()[kFirstStorageRecord + key], rows[kFirstStorageRecord + key], out);
    std::sort(out.literals.begin(), out.literals.end(), [](const PlannedBytes& a, const PlannedBytes& b) { return a.offset < b.offset; });
    return out;
}

Result<PlannedFile> planDcpFile(const std::string& fileName, std::vector<ArchiveContent> items)
{
    PlannedFile out;
    out.name = fileName;
    out.container = PlannedFile::Container::Distcp;
    for (ArchiveContent& item : items) {
        SHARDLENS_ASSIGN(PlannedFile archive, planTorchArchive(std::string(kDcpItemRoot), std::move(item)));
        const std::uint64_t begin = out.sizeBytes;
        for (PlannedBytes& literal : joined(std::move(archive.literals)))
            out.literals.push_back({literal.offset + begin, std::move(literal.bytes)});
        for (PlannedTensor& tensor : archive.tensors) {
            tensor.offset += begin;
            out.tensors.push_back(std::move(tensor));
        }
        for (PlannedRecord& record : archive.records) {
            record.offset += begin;
            for (std::uint64_t& at : record.crcAt)
                at += begin;
            out.records.push_back(std::move(record));
        }
        out.sizeBytes += archive.sizeBytes;
    }
    return out;
}

} // namespace shardlens
