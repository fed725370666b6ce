#include "core/io/staged_output.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace shardlens {
namespace {

constexpr std::size_t kLongestName = 180; // of the target in the hidden name: a name has at most 255 bytes
constexpr int kLockAttempts = 50;
constexpr auto kLockPause = std::chrono::milliseconds(10);
constexpr const char* kLockName = "/lock";
constexpr const char* kContentName = "/content";

Error systemError(int number)
{
    const ErrorCode code = number == ENOENT || number == ENOTDIR ? ErrorCode::NotFound : ErrorCode::Io;
    return {code, std::strerror(number)};
}

std::string hiddenPrefix(const TargetPath& target)
{
    return fmt::format(".{}.shardlens-", target.name.substr(0, kLongestName));
}

void removeTree(const std::string& path)
{
    std::error_code ignored; // what cannot be removed now is stale for the next run
    std::filesystem::remove_all(path, ignored);
}

bool sameFile(int descriptor, const std::string& path)
{
    struct stat open {};
    struct stat named {};
    return ::fstat(descriptor, &open) == 0 && ::stat(path.c_str(), &named) == 0 && open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

// The lock of a hidden folder, held by this process; -1 where somebody else holds it, or the folder went away meanwhile (errno says which).
int tryLock(const std::string& work)
{
    const std::string path = work + kLockName;
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor < 0)
        return -1;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0 && sameFile(descriptor, path))
        return descriptor;
    const int number = errno;
    ::close(descriptor);
    errno = number;
    return -1;
}

void writeOwner(int lock)
{
    const std::string text = fmt::format("{}\n", ::getpid());
    if (::ftruncate(lock, 0) != 0 || ::pwrite(lock, text.data(), text.size(), 0) < 0)
        return; // for people only: the lock itself is what counts
}

std::string ownerOf(const std::string& work)
{
    std::array<char, 32> text{};
    const int descriptor = ::open((work + kLockName).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0)
        return {};
    const ssize_t count = ::read(descriptor, text.data(), text.size() - 1);
    ::close(descriptor);
    std::string owner(text.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
    owner.erase(owner.find_last_not_of("\n ") + 1);
    return owner;
}

// True where the folder belonged to a process that is gone, and is gone now too. Whoever holds the lock is the only one to remove.
bool removeIfStale(const std::string& work)
{
    const int lock = tryLock(work);
    if (lock < 0)
        return false;
    removeTree(work);
    ::close(lock);
    return true;
}

// Makes the hidden folder and takes its lock. A second process may take an unlocked new folder for stale and remove it: then this starts again.
Result<int> makeLocked(const std::string& work)
{
    for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
        if (::mkdir(work.c_str(), 0777) == 0) {
            const int lock = tryLock(work);
            if (lock >= 0)
                return lock;
            if (errno != ENOENT && errno != EWOULDBLOCK)
                return systemError(errno);
        } else if (errno != EEXIST) {
            return systemError(errno);
        } else if (removeIfStale(work)) {
            continue;
        }
        std::this_thread::sleep_for(kLockPause);
    }
    const std::string owner = ownerOf(work);
    return Error{ErrorCode::Refused, owner.empty() ? "another process works on the same conversion"
                                                   : fmt::format("process {} works on the same conversion", printable(owner))};
}

Status flushFolder(const std::string& path)
{
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return systemError(errno);
    const int failed = ::fsync(descriptor) == 0 || errno == EINVAL ? 0 : errno; // EINVAL: a file system that has no need of it
    ::close(descriptor);
    if (failed != 0)
        return systemError(failed);
    return {};
}

Error existsError()
{
    return {ErrorCode::Refused, "it exists by now; nothing was changed"};
}

bool unsupported(int number)
{
    return number == EINVAL || number == ENOSYS || number == EOPNOTSUPP;
}

Status renameNew(const std::string& from, const std::string& to)
{
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0)
        return {};
    if (errno == EEXIST)
        return existsError();
    if (!unsupported(errno))
        return systemError(errno);
    struct stat facts {};
    if (::lstat(to.c_str(), &facts) == 0)
        return existsError();
    if (::rename(from.c_str(), to.c_str()) != 0)
        return systemError(errno);
    return {};
}

// `aside` is used only where names cannot be exchanged in one step; it lies outside the hidden folder, which is removed whatever happens.
Status renameOver(const std::string& from, const std::string& to, const std::string& aside)
{
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0)
        return {};
    if (errno == ENOENT)
        return renameNew(from, to);
    if (!unsupported(errno))
        return systemError(errno);
    SHARDLENS_TRY(renameNew(to, aside));
    Status named = renameNew(from, to);
    if (named)
        removeTree(aside);
    else if (::rename(aside.c_str(), to.c_str()) != 0)
        return named.takeError().within(fmt::format("what was there lies in {} now", printable(aside)));
    return named;
}

} // namespace

TargetPath::TargetPath(std::string whole) : path(std::move(whole))
{
    while (path.size() > 1 && path.back() == '/')
        path.pop_back();
    const std::size_t slash = path.find_last_of('/');
    name = slash == std::string::npos ? path : path.substr(slash + 1);
    parent = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::size_t removeStaleOutputs(const std::string& target)
{
    const TargetPath parts(target);
    const std::string prefix = hiddenPrefix(parts);
    std::error_code failed;
    std::vector<std::string> found;
    for (std::filesystem::directory_iterator at(parts.parent, failed), end; !failed && at != end; at.increment(failed))
        if (at->path().filename().native().starts_with(prefix))
            found.push_back(at->path().native());
    std::size_t removed = 0;
    for (const std::string& work : found)
        removed += removeIfStale(work) ? 1 : 0;
    return removed;
}

StagedOutput::StagedOutput(Options options, std::string work, int lock)
    : m_options(std::move(options)), m_work(std::move(work)), m_content(m_work + kContentName), m_lock(lock)
{
}

StagedOutput::StagedOutput(StagedOutput&& other) noexcept
    : m_options(std::move(other.m_options)), m_work(std::move(other.m_work)), m_content(std::move(other.m_content)), m_lock(std::exchange(other.m_lock, -1))
{
}

StagedOutput::~StagedOutput()
{
    if (m_lock < 0)
        return;
    removeTree(m_work);
    ::close(m_lock);
}

Result<StagedOutput> StagedOutput::create(Options options)
{
    const TargetPath parts(options.target);
    removeStaleOutputs(parts.path);
    const std::string work = parts.parent + "/" + hiddenPrefix(parts) + options.jobHash;
    auto lock = makeLocked(work);
    if (!lock)
        return lock.takeError();
    options.target = parts.path;
    StagedOutput staged(std::move(options), work, *lock);
    writeOwner(staged.m_lock);
    if (::mkdir(staged.m_content.c_str(), 0777) != 0)
        return systemError(errno);
    return staged;
}

std::string StagedOutput::resultPath() const
{
    return m_options.targetIsFile ? m_content + "/" + TargetPath(m_options.target).name : m_content;
}

Status StagedOutput::publish(Existing existing)
{
    SHARDLENS_TRY(flushFolder(m_content));
    if (existing == Existing::Replace)
        SHARDLENS_TRY(renameOver(resultPath(), m_options.target, m_options.target + ".replaced"));
    else
        SHARDLENS_TRY(renameNew(resultPath(), m_options.target));
    static_cast<void>(flushFolder(TargetPath(m_options.target).parent)); // it has its name; only a loss of power could undo that
    return {};
}

} // namespace shardlens
