#include "core/io/output_file.h"

#include "core/base/text.h"
#include "core/io/disk_space.h"
#include "core/io/io_times.h"
#include "core/io/page_buffer.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <utility>

namespace shardlens {
namespace {

constexpr std::uint64_t kSmallestPastCache = 1u << 20; // smaller files are quicker in the cache
constexpr std::int64_t kXfsMagic = 0x58465342;         // linux/magic.h has it only of late

std::string folderOf(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos)
        return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

Error writeError(int number)
{
    if (number == EFBIG)
        return {ErrorCode::Io, "larger than this disk or this user's limit allows a file to be"};
    return {ErrorCode::Io, std::strerror(number)};
}

Error fullDisk(const Result<std::uint64_t>& freeBytes, std::uint64_t sizeBytes)
{
    return {ErrorCode::Io, fmt::format("the disk is too full: {} needed, {} free", exactSizeText(sizeBytes), freeBytes ? exactSizeText(*freeBytes) : "an unknown number")};
}

// Gives the file its full size; where the system can, with its room on the disk.
Status reserve(int descriptor, const std::string& path, std::uint64_t sizeBytes)
{
    if (sizeBytes == 0)
        return {};
    if (sizeBytes > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max()))
        return writeError(EFBIG);
    // Asked first: some file systems take all that is left before they say that it is not enough, and every other program's writes fail meanwhile.
    const std::string folder = folderOf(path);
    if (const auto freeBytes = freeBytesAt(folder); freeBytes && *freeBytes < sizeBytes)
        return fullDisk(freeBytes, sizeBytes);
    const auto size = static_cast<off_t>(sizeBytes);
    int failed = 0;
    do
        failed = ::fallocate(descriptor, 0, 0, size) == 0 ? 0 : errno;
    while (failed == EINTR);
    if (failed == EOPNOTSUPP || failed == ENOSYS)
        failed = ::ftruncate(descriptor, size) == 0 ? 0 : errno;
    if (failed == ENOSPC || failed == EDQUOT) {
        [[maybe_unused]] const int shrunk = ::ftruncate(descriptor, 0); // gives back what was taken; whether it worked or not, the disk is full
        return fullDisk(freeBytesAt(folder), sizeBytes);
    }
    if (failed != 0)
        return writeError(failed);
    return {};
}

} // namespace

Result<OutputFile> OutputFile::create(const std::string& path, std::uint64_t sizeBytes)
{
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0)
        return Error{errno == EEXIST ? ErrorCode::Refused : ErrorCode::Io, std::strerror(errno)};
    OutputFile file(descriptor, sizeBytes);
    if (Status reserved = reserve(descriptor, path, sizeBytes); !reserved)
        return reserved.takeError();
    if (sizeBytes >= kSmallestPastCache)
        file.openPastCache(path);
    return file;
}

// Two local file systems whose writes past the cache run beside each other; the bytes of a network's are better collected first.
void OutputFile::openPastCache(const std::string& path)
{
    struct statfs system = {};
    if (::fstatfs(m_descriptor, &system) == 0 && (system.f_type == EXT4_SUPER_MAGIC || system.f_type == kXfsMagic))
        m_pastCache = ::open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : m_descriptor(std::exchange(other.m_descriptor, -1)), m_pastCache(std::exchange(other.m_pastCache, -1)), m_sizeBytes(other.m_sizeBytes)
{
}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept
{
    std::swap(m_descriptor, other.m_descriptor);
    std::swap(m_pastCache, other.m_pastCache);
    std::swap(m_sizeBytes, other.m_sizeBytes);
    return *this;
}

OutputFile::~OutputFile()
{
    if (m_pastCache >= 0)
        ::close(m_pastCache);
    if (m_descriptor >= 0)
        ::close(m_descriptor);
}

std::size_t OutputFile::writePastCache(std::uint64_t offset, std::span<const std::byte> bytes) const
{
    const std::size_t whole = bytes.size() / kPageBytes * kPageBytes;
    if (m_pastCache < 0 || offset % kPageBytes != 0 || reinterpret_cast<std::uintptr_t>(bytes.data()) % kPageBytes != 0)
        return 0;
    std::size_t done = 0;
    while (done < whole) {
        const ssize_t count = ::pwrite(m_pastCache, bytes.data() + done, whole - done, static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0 || static_cast<std::size_t>(count) % kPageBytes != 0) // larger pages, a full disk: the other way says it, or does it
            return done;
        done += static_cast<std::size_t>(count);
    }
    return done;
}

Status OutputFile::writeAt(std::uint64_t offset, std::span<const std::byte> bytes) const
{
    if (offset > m_sizeBytes || bytes.size() > m_sizeBytes - offset)
        return Error{ErrorCode::Refused, fmt::format("{} B at offset {}, and the file ends at {}", bytes.size(), offset, m_sizeBytes)};
    const ScopedTime time(ioTimesOfThread().writeNs);
    std::size_t done = writePastCache(offset, bytes);
    while (done < bytes.size()) {
        const ssize_t count = ::pwrite(m_descriptor, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && (errno == ENOSPC || errno == EDQUOT))
            return Error{ErrorCode::Io, fmt::format("the disk became full {} B before the end of the file", groupedText(m_sizeBytes - offset - done))};
        if (count < 0)
            return writeError(errno);
        done += static_cast<std::size_t>(count);
    }
    return {};
}

void OutputFile::startFlush(std::uint64_t offset, std::uint64_t length) const
{
    const ScopedTime time(ioTimesOfThread().writeNs);
    ::sync_file_range(m_descriptor, static_cast<off64_t>(offset), static_cast<off64_t>(length), SYNC_FILE_RANGE_WRITE);
}

void OutputFile::waitFlush(std::uint64_t offset, std::uint64_t length) const
{
    const ScopedTime time(ioTimesOfThread().writeNs);
    ::sync_file_range(m_descriptor, static_cast<off64_t>(offset), static_cast<off64_t>(length),
                      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

Status OutputFile::flush() const
{
    const ScopedTime time(ioTimesOfThread().writeNs);
    if (::fsync(m_descriptor) != 0)
        return writeError(errno);
    return {};
}

} // namespace shardlens
