#pragma once

#include "core/base/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace shardlens {

// A new file of a size that is known from the start, written at any offset, from several threads at once where their ranges do not overlap.
// Errors are fragments without the file's name. Closing without flush() leaves it to the system when the bytes reach the disk.
//
// On file systems known to be good at it, runs of whole pages in page-aligned memory (PageBuffer) go to the disk past the page cache: all bytes must reach the
// disk before a file counts, and copying them into pages first only costs time and pushes out what others keep there. What begins or ends inside a page, and
// everything on other file systems, goes through the cache.
class OutputFile {
public:
    // Fails where the path exists. Room for all of it is reserved: a full disk is found here, said with needed and free bytes.
    [[nodiscard]] static Result<OutputFile> create(const std::string& path, std::uint64_t sizeBytes);
    OutputFile(OutputFile&& other) noexcept;
    OutputFile& operator=(OutputFile&& other) noexcept;
    ~OutputFile();

    [[nodiscard]] std::uint64_t sizeBytes() const { return m_sizeBytes; }
    // [offset, offset + bytes.size()) must lie inside the file.
    Status writeAt(std::uint64_t offset, std::span<const std::byte> bytes) const;
    // Asks the system to start carrying a range to the disk, so that flush() has little left to do. Advice: never fails.
    void startFlush(std::uint64_t offset, std::uint64_t length) const;
    // Waits until a range has been carried to the disk as far as startFlush() can: a step at which a caller may look for a cancel. Never fails.
    void waitFlush(std::uint64_t offset, std::uint64_t length) const;
    // Returns when size and bytes are on the disk.
    Status flush() const;

private:
    OutputFile(int descriptor, std::uint64_t sizeBytes) : m_descriptor(descriptor), m_sizeBytes(sizeBytes) {}
    void openPastCache(const std::string& path);
    // How many bytes from the front were written past the page cache; the rest, or all, are left to writeAt.
    [[nodiscard]] std::size_t writePastCache(std::uint64_t offset, std::span<const std::byte> bytes) const;

    int m_descriptor;
    int m_pastCache = -1; // the same file; -1 where it is not written so
    std::uint64_t m_sizeBytes;
};

} // namespace shardlens
