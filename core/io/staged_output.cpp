#include "core/io/staged_output.h"

#include "core/base/text.h"
#include "core/io/rename_new.h"
#include "core/io/system_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
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
constexpr std::size_t kHashDigits = 8;
constexpr int kLockAttempts = 50;
constexpr auto kLockPause = std::chrono::milliseconds(10);
constexpr const char* kLockName = "/lock";
constexpr const char* kContentName = "/content";

std::string hiddenPrefix(const TargetPath& target)
{
    return fmt::format(".{}.shardlens-", target.name.substr(0, kLongestName));
}

// The prefix and the hash of a job: other names that begin alike are somebody else's.
bool isHiddenName(const std::string& name, const std::string& prefix)
{
    if (!name.starts_with(prefix) || name.size() != prefix.size() + kHashDigits)
        return false;
    return name.find_first_not_of("0123456789abcdef", prefix.size()) == std::string::npos;
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

// Of flock() on a file system that has no locks (Lustre without them, some network and FUSE ones).
bool hasNoLocks(int number)
{
    return number == ENOSYS || number == EOPNOTSUPP || number == ENOLCK;
}

std::string hostName()
{
    std::array<char, 256> name{};
    return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string{};
}

// When a process of this machine started, in the system's ticks; 0 where that cannot be told.
std::uint64_t startOf(pid_t process)
{
    std::ifstream file(fmt::format("/proc/{}/stat", process));
    std::string line;
    std::getline(file, line);
    const std::size_t name = line.find_last_of(')'); // the name before it may hold anything
    std::istringstream fields(name == std::string::npos ? std::string{} : line.substr(name + 1));
    std::string field;
    for (int i = 3; i <= 22; ++i) // proc(5): the 22nd is the start
        fields >> field;
    std::uint64_t start = 0;
    std::from_chars(field.data(), field.data() + field.size(), start);
    return fields ? start : 0;
}

// Who made a hidden folder: "PID START HOST". For people, and where there are no locks to tell whether that process is gone.
struct Owner {
    pid_t process = 0; // 0: not known
    std::uint64_t start = 0;
    std::string host;

    [[nodiscard]] bool isGone() const
    {
        if (process <= 0 || host != hostName())
            return false;
        if (::kill(process, 0) != 0 && errno == ESRCH)
            return true;
        const std::uint64_t now = startOf(process); // its number may have gone to another process since
        return start != 0 && now != 0 && now != start;
    }
};

void writeOwner(int lock)
{
    const std::string text = fmt::format("{} {} {}\n", ::getpid(), startOf(::getpid()), hostName());
    if (::ftruncate(lock, 0) != 0 || ::pwrite(lock, text.data(), text.size(), 0) < 0)
        return; // nobody will know; the lock itself is what counts
}

Owner ownerOf(const std::string& work)
{
    std::array<char, 300> text{};
    const int descriptor = ::open((work + kLockName).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0)
        return {};
    const ssize_t count = ::read(descriptor, text.data(), text.size() - 1);
    ::close(descriptor);
    std::istringstream whole(std::string(text.data(), count > 0 ? static_cast<std::size_t>(count) : 0));
    Owner owner;
    if (!(whole >> owner.process >> owner.start >> owner.host))
        return {};
    return owner;
}

// The lock of a hidden folder, held by this process; -1 where somebody else holds it (EWOULDBLOCK), or the folder went away meanwhile (ENOENT), or why not.
// `fresh`: this process has just made the folder, which is lock enough where the file system has none.
int tryLock(const std::string& work, bool fresh)
{
    const std::string path = work + kLockName;
    const int descriptor = ::open(path.c_str(), O_RDWR | (fresh ? O_CREAT | O_EXCL : 0) | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor < 0)
        return -1;
    int number = 0;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        number = errno;
        if (hasNoLocks(number) && (fresh || ownerOf(work).isGone()))
            number = 0;
        else if (hasNoLocks(number))
            number = EWOULDBLOCK;
    }
    if (number == 0 && !sameFile(descriptor, path))
        number = ENOENT;
    if (number == 0)
        return descriptor;
    ::close(descriptor);
    errno = number;
    return -1;
}

// Whether a folder holds nothing but what this program puts there.
bool holdsOnlyOurs(const std::string& work)
{
    std::error_code failed;
    for (std::filesystem::directory_iterator at(work, failed), end; !failed && at != end; at.increment(failed))
        if (const std::string name = "/" + at->path().filename().native(); name != kLockName && name != kContentName)
            return false;
    return !failed;
}

// True where the folder belonged to a process that is gone, and is gone now too. Everything is done through the opened folder: where there are no locks,
// another process may have removed it meanwhile and made a new one of the same name, which this must not touch.
bool removeIfStale(const std::string& work)
{
    const int folder = ::open(work.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (folder < 0)
        return false;
    const std::string opened = fmt::format("/proc/self/fd/{}", folder);
    if (const int lock = holdsOnlyOurs(opened) ? tryLock(opened, false) : -1; lock >= 0) {
        removeTree(opened + kContentName);
        ::unlink((opened + kLockName).c_str());
        ::close(lock);
    }
    ::close(folder);
    return ::rmdir(work.c_str()) == 0; // takes an empty one only: cleared just now, or its maker was stopped right after making it
}

// Makes the hidden folder and takes its lock. A second process may take an unlocked new folder for stale and remove it: then this starts again.
Result<int> makeLocked(const std::string& work)
{
    for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
        if (::mkdir(work.c_str(), 0777) == 0) {
            const int lock = tryLock(work, true);
            if (lock >= 0)
                return lock;
            const int number = errno;
            if (number != ENOENT && number != EWOULDBLOCK && number != EEXIST) {
                removeTree(work); // it is this process's own
                return systemError(number);
            }
        } else if (errno != EEXIST) {
            return systemError(errno);
        } else if (removeIfStale(work)) {
            continue;
        }
        std::this_thread::sleep_for(kLockPause);
    }
    if (!holdsOnlyOurs(work))
        return Error{ErrorCode::Refused, fmt::format("{} is in the way and holds something else; move it away", printable(work))};
    const Owner owner = ownerOf(work);
    if (owner.process == 0)
        return Error{ErrorCode::Refused, fmt::format("another process works on the same conversion, or was ended before it said which; if so, remove {}", printable(work))};
    const bool isHere = owner.host.empty() || owner.host == hostName();
    return Error{ErrorCode::Refused, isHere ? fmt::format("process {} works on the same conversion", owner.process)
                                            : fmt::format("process {} on {} works on the same conversion, or was ended there; if so, remove {}", owner.process,
                                                          printable(owner.host), printable(work))};
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

bool isFolder(const std::string& path)
{
    struct stat facts {};
    return ::lstat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
}

bool unsupported(int number)
{
    return number == EINVAL || number == ENOSYS || number == EOPNOTSUPP;
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
    if (!isFolder(from) && !isFolder(to)) // one step, without an exchange
        return ::rename(from.c_str(), to.c_str()) == 0 ? Status{} : systemError(errno);
    // A process that is killed between these two leaves the old one under the name `aside`, whole, and nothing under `to`.
    if (const Status moved = renameNew(to, aside); !moved && moved.error().code() == ErrorCode::Refused)
        return Error{ErrorCode::Refused, fmt::format("{} is there, from a run that was stopped in the middle; look at it and move it away", printable(aside))};
    else if (!moved)
        return moved;
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
        if (isHiddenName(at->path().filename().native(), prefix))
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
    ::rmdir(m_work.c_str()); // NFS keeps a removed file that is open under another name, and with it the folder
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

Status StagedOutput::makeFoldersOf(const std::string& fileName)
{
    for (std::size_t slash = fileName.find('/'); slash != std::string::npos; slash = fileName.find('/', slash + 1)) {
        const std::string folder = fmt::format("{}/{}", m_content, fileName.substr(0, slash));
        if (std::find(m_folders.begin(), m_folders.end(), folder) != m_folders.end())
            continue;
        if (::mkdir(folder.c_str(), 0777) != 0)
            return systemError(errno).within(printable(fileName.substr(0, slash)));
        m_folders.push_back(folder);
    }
    return {};
}

Status StagedOutput::publish(Existing existing)
{
    for (auto folder = m_folders.rbegin(); folder != m_folders.rend(); ++folder)
        SHARDLENS_TRY(flushFolder(*folder));
    SHARDLENS_TRY(flushFolder(m_content));
    const bool isFresh = isFolder(resultPath()) && isEmptyFolder(m_options.target); // nothing is replaced, and its mode is kept
    if (existing == Existing::Replace && !isFresh)
        SHARDLENS_TRY(renameOver(resultPath(), m_options.target, m_options.target + ".replaced"));
    else
        SHARDLENS_TRY(isFolder(resultPath()) ? renameFolder(resultPath(), m_options.target) : renameNew(resultPath(), m_options.target));
    static_cast<void>(flushFolder(TargetPath(m_options.target).parent)); // it has its name; only a loss of power could undo that
    return {};
}

} // namespace shardlens
