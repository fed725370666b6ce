#pragma once

#include "core/base/result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace shardlens {

// Bytes of one file, archive member or memory block, readable at any offset.
// readAt() fills all of `out` or fails; a short read is an error. Safe to call from several threads at once.
class ByteSource {
public:
    virtual ~ByteSource() = default;
    [[nodiscard]] virtual std::uint64_t size() const = 0;
    virtual Status readAt(std::uint64_t offset, std::span<std::byte> out) const = 0;
};

// Size and time of a file as it was when asked; a job compares them again before it publishes.
struct FileStamp {
    std::uint64_t sizeBytes = 0;
    std::int64_t modifiedNs = 0;
    std::uint64_t inode = 0;
    auto operator<=>(const FileStamp&) const = default;
};

// A regular file opened for reading only (pread; never mapped, so a file that shrinks is an error and not a signal).
class FileSource final : public ByteSource {
public:
    // NotFound, Io (with the system's words), or Unsupported for what is no regular file.
    [[nodiscard]] static Result<std::shared_ptr<const FileSource>> open(const std::string& path);
    ~FileSource() override;
    FileSource(const FileSource&) = delete;
    FileSource& operator=(const FileSource&) = delete;

    [[nodiscard]] std::uint64_t size() const override { return m_stamp.sizeBytes; }
    Status readAt(std::uint64_t offset, std::span<std::byte> out) const override;
    [[nodiscard]] const FileStamp& stamp() const { return m_stamp; }
    [[nodiscard]] int descriptor() const { return m_descriptor; }
    // Tells the system that reading will be in order from here (advice only).
    void adviseSequential() const;

private:
    FileSource(int descriptor, FileStamp stamp) : m_descriptor(descriptor), m_stamp(stamp) {}
    int m_descriptor;
    FileStamp m_stamp;
};

// Bytes held in memory; owns them.
class MemorySource final : public ByteSource {
public:
    explicit MemorySource(std::vector<std::byte> bytes) : m_bytes(std::move(bytes)) {}
    [[nodiscard]] std::uint64_t size() const override { return m_bytes.size(); }
    Status readAt(std::uint64_t offset, std::span<std::byte> out) const override;

private:
    std::vector<std::byte> m_bytes;
};

// [offset, offset + size) of another source, which it keeps alive. The range must lie inside.
class SliceSource final : public ByteSource {
public:
    SliceSource(std::shared_ptr<const ByteSource> whole, std::uint64_t offset, std::uint64_t size)
        : m_whole(std::move(whole)), m_offset(offset), m_size(size)
    {
    }
    [[nodiscard]] std::uint64_t size() const override { return m_size; }
    Status readAt(std::uint64_t offset, std::span<std::byte> out) const override;

private:
    std::shared_ptr<const ByteSource> m_whole;
    std::uint64_t m_offset;
    std::uint64_t m_size;
};

// All bytes of [offset, offset + size); LimitExceeded above `limit`, before memory is taken.
[[nodiscard]] Result<std::vector<std::byte>> readBytes(const ByteSource& source, std::uint64_t offset, std::uint64_t size, std::uint64_t limit);
[[nodiscard]] Result<FileStamp> stampOf(const std::string& path);

} // namespace shardlens
