#include "core/io/byte_source.h"

#include "core/base/text.h"
#include "core/io/io_times.h"
#include "core/io/system_error.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shardlens {
namespace {

FileStamp stampFrom(const struct stat& facts)
{
    return {static_cast<std::uint64_t>(facts.st_size), facts.st_mtim.tv_sec * 1'000'000'000 + facts.st_mtim.tv_nsec, facts.st_ino};
}

Error outside(std::uint64_t offset, std::uint64_t count, std::uint64_t size)
{
    return {ErrorCode::Corrupt, fmt::format("{} B at offset {} needed, and it ends at {}", groupedText(count), groupedText(offset), groupedText(size))};
}

} // namespace

Result<std::shared_ptr<const FileSource>> FileSource::open(const std::string& path)
{
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); // a pipe must not block
    if (descriptor < 0)
        return systemError(errno);
    struct stat facts {};
    if (::fstat(descriptor, &facts) != 0) {
        const int number = errno;
        ::close(descriptor);
        return systemError(number);
    }
    if (!S_ISREG(facts.st_mode)) {
        ::close(descriptor);
        return Error{ErrorCode::Unsupported, S_ISDIR(facts.st_mode) ? "a folder, and a file is needed" : "not a regular file"};
    }
    return std::shared_ptr<const FileSource>(new FileSource(descriptor, stampFrom(facts)));
}

FileSource::~FileSource()
{
    ::close(m_descriptor);
}

Status FileSource::readAt(std::uint64_t offset, std::span<std::byte> out) const
{
    if (offset > size() || out.size() > size() - offset)
        return outside(offset, out.size(), size());
    const ScopedTime time(ioTimesOfThread().readNs);
    std::size_t have = 0;
    while (have < out.size()) {
        const ssize_t count = ::pread(m_descriptor, out.data() + have, out.size() - have, static_cast<off_t>(offset + have));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return systemError(errno);
        if (count == 0)
            return Error{ErrorCode::Io, fmt::format("the file became shorter while it was read: it ends at {}, and had {} B", groupedText(offset + have),
                                                    groupedText(size()))};
        have += static_cast<std::size_t>(count);
    }
    return {};
}

void FileSource::adviseSequential() const
{
    ::posix_fadvise(m_descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
}

Status MemorySource::readAt(std::uint64_t offset, std::span<std::byte> out) const
{
    if (offset > m_bytes.size() || out.size() > m_bytes.size() - offset)
        return outside(offset, out.size(), m_bytes.size());
    if (!out.empty())
        std::memcpy(out.data(), m_bytes.data() + offset, out.size());
    return {};
}

Status SliceSource::readAt(std::uint64_t offset, std::span<std::byte> out) const
{
    if (offset > m_size || out.size() > m_size - offset)
        return outside(offset, out.size(), m_size);
    return m_whole->readAt(m_offset + offset, out);
}

Result<std::vector<std::byte>> readBytes(const ByteSource& source, std::uint64_t offset, std::uint64_t size, std::uint64_t limit)
{
    if (size > limit)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} B claimed, at most {} B allowed here", groupedText(size), groupedText(limit))};
    if (offset > source.size() || size > source.size() - offset)
        return outside(offset, size, source.size());
    std::vector<std::byte> bytes(size);
    SHARDLENS_TRY(source.readAt(offset, bytes));
    return bytes;
}

Result<FileStamp> stampOf(const std::string& path)
{
    struct stat facts {};
    if (::stat(path.c_str(), &facts) != 0)
        return systemError(errno);
    return stampFrom(facts);
}

} // namespace shardlens
