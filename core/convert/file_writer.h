#pragma once

#include "core/convert/blocks.h"
#include "core/io/output_file.h"
#include "core/job/job_context.h"

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// One output file on its way: made with its first block, completed and flushed with its last, by whichever threads those are on.
class FileWriter {
public:
    FileWriter(const PlannedFile& file, std::string folder);

    // Before the first write(): how many blocks will come, in any order and each with an `index` of its own from 0. They must cover the file.
    void expect(std::size_t blocks);
    // `bytes` are the whole block, with its place in the file. The last one brings checksums into their places and the file to the disk.
    Status write(std::size_t index, const Block& block, std::span<const std::byte> bytes, JobContext& job);
    // Makes a file without bytes, of which no block comes.
    Status writeEmpty(JobContext& job);

private:
    Status open();
    Status complete(JobContext& job);
    Status placeChecksums() const;
    [[nodiscard]] std::vector<std::uint32_t> recordChecksums() const;

    const PlannedFile& m_file;
    std::string m_path;
    bool m_hasChecksums;
    std::mutex m_mutex;
    std::optional<OutputFile> m_output;
    std::atomic<std::size_t> m_left{0};
    struct Part {
        std::size_t record;
        std::uint64_t offset; // in the file
        std::uint32_t crc;
        std::uint64_t bytes;
    };
    std::vector<std::vector<Part>> m_parts; // by block; empty where the file has no checksums
};

} // namespace shardlens
