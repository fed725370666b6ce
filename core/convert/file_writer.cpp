#include "core/convert/file_writer.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/io/checksum.h"

#include <algorithm>

namespace shardlens {
namespace {

constexpr std::uint64_t kFlushWindow = 16u << 20; // carried to the disk while the next one is written

} // namespace

FileWriter::FileWriter(const PlannedFile& file, std::string folder)
    : m_file(file), m_path(std::move(folder) + "/" + file.name),
      m_hasChecksums(!file.records.empty())
{
}

void FileWriter::expect(std::size_t blocks)
{
    m_left.store(blocks, std::memory_order_relaxed);
    if (m_hasChecksums)
        m_parts.resize(blocks);
}

Status FileWriter::open()
{
    const std::lock_guard lock(m_mutex);
    if (m_output)
        return {};
    SHARDLENS_ASSIGN(m_output, OutputFile::create(m_path, m_file.sizeBytes));
    return {};
}

Status FileWriter::write(std::size_t index, const Block& block, std::span<const std::byte> bytes, JobContext& job)
{
    SHARDLENS_TRY(open());
    if (m_hasChecksums)
        for (const PlannedRecord& record : recordsIn(m_file, block.begin, block.end)) {
            const std::uint64_t from = std::max(record.offset, block.begin);
            const std::uint64_t to = std::min(record.offset + record.sizeBytes, block.end);
            m_parts[index].push_back({static_cast<std::size_t>(&record - m_file.records.data()), from, crc32Of(bytes.subspan(from - block.begin, to - from)), to - from});
        }
    SHARDLENS_TRY(m_output->writeAt(block.begin, bytes));
    job.progress().bytesWritten.fetch_add(bytes.size(), std::memory_order_relaxed);
    const std::uint64_t window = block.end / kFlushWindow;
    if (window != block.begin / kFlushWindow)
        m_output->startFlush((window - 1) * kFlushWindow, kFlushWindow);
    if (m_left.fetch_sub(1, std::memory_order_acq_rel) == 1)
        return complete(job);
    return {};
}

Status FileWriter::writeEmpty(JobContext& job)
{
    SHARDLENS_TRY(open());
    return complete(job);
}

std::vector<std::uint32_t> FileWriter::recordChecksums() const
{
    std::vector<std::uint32_t> out(m_file.records.size(), 0);
    std::vector<Part> parts;
    for (const std::vector<Part>& block : m_parts)
        parts.insert(parts.end(), block.begin(), block.end());
    std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.offset < b.offset; });
    for (const Part& part : parts)
        out[part.record] = crc32Joined(out[part.record], part.crc, part.bytes);
    return out;
}

Status FileWriter::placeChecksums() const
{
    struct Patch {
        std::uint64_t at;
        std::uint32_t crc;
    };
    const std::vector<std::uint32_t> crcs = recordChecksums();
    std::vector<Patch> patches;
    for (std::size_t i = 0; i < crcs.size(); ++i)
        for (const std::uint64_t at : m_file.records[i].crcAt)
            patches.push_back({at, crcs[i]});
    std::sort(patches.begin(), patches.end(), [](const Patch& a, const Patch& b) { return a.at < b.at; });
    for (std::size_t i = 0; i < patches.size();) {
        const auto literals = literalsIn(m_file, patches[i].at, patches[i].at + sizeof(std::uint32_t));
        if (literals.size() != 1)
            return Error{ErrorCode::Refused, "a checksum's place lies in no literal of the plan"};
        const PlannedBytes& literal = literals.front();
        std::vector<std::byte> bytes = literal.bytes;
        for (; i < patches.size() && patches[i].at + sizeof(std::uint32_t) <= literal.offset + bytes.size(); ++i)
            storeLe(bytes.data() + (patches[i].at - literal.offset), patches[i].crc);
        SHARDLENS_TRY(m_output->writeAt(literal.offset, bytes));
    }
    return {};
}

Status FileWriter::complete(JobContext& job)
{
    if (m_hasChecksums)
        SHARDLENS_TRY(placeChecksums());
    for (std::uint64_t at = 0; at < m_file.sizeBytes; at += kFlushWindow) {
        SHARDLENS_TRY(job.poll());
        m_output->waitFlush(at, std::min(kFlushWindow, m_file.sizeBytes - at));
    }
    SHARDLENS_TRY(m_output->flush());
    m_output.reset();
    return {};
}

} // namespace shardlens
