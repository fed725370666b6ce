#include "core/io/rename_new.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shardlens {
namespace {

Error existsError()
{
    return {ErrorCode::Refused, "it exists by now; nothing was changed"};
}

Error renameError(int number)
{
    return {number == ENOENT || number == ENOTDIR ? ErrorCode::NotFound : ErrorCode::Io, std::strerror(number)};
}

} // namespace

Status renameNew(const std::string& from, const std::string& to)
{
    if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0)
        return {};
    if (errno == EEXIST)
        return existsError();
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return renameError(errno);
    struct stat facts {};
    if (::lstat(to.c_str(), &facts) == 0)
        return existsError();
    if (::rename(from.c_str(), to.c_str()) != 0)
        return renameError(errno);
    return {};
}

bool isEmptyFolder(const std::string& path)
{
    std::error_code failed;
    return std::filesystem::symlink_status(path, failed).type() == std::filesystem::file_type::directory && std::filesystem::is_empty(path, failed) && !failed;
}

Status renameFolder(const std::string& from, const std::string& to)
{
    struct stat made {};
    const bool isMade = isEmptyFolder(to) && ::stat(to.c_str(), &made) == 0;
    const mode_t mode = made.st_mode & 07777;
    if (isMade) {
        struct stat own {};
        if (::stat(from.c_str(), &own) == 0 && own.st_gid != made.st_gid && ::chown(from.c_str(), static_cast<uid_t>(-1), made.st_gid) != 0)
            return Error{ErrorCode::Io, std::string("its group cannot be given to the result: ") + std::strerror(errno)};
        if (::chmod(from.c_str(), mode | S_IWUSR) != 0) // a folder that cannot be written to cannot be moved; after the group, which clears set-group-ID
            return Error{ErrorCode::Io, std::string("its mode cannot be given to the result: ") + std::strerror(errno)};
    }
    if (::rename(from.c_str(), to.c_str()) == 0) { // of a folder over anything but an empty one: refused by the system
        if (isMade && (mode & S_IWUSR) == 0)
            static_cast<void>(::chmod(to.c_str(), mode));
        return {};
    }
    struct stat facts {};
    const int number = errno;
    const bool isTaken = number == EEXIST || number == ENOTEMPTY || (number == ENOTDIR && ::lstat(to.c_str(), &facts) == 0);
    return isTaken ? existsError() : renameError(number);
}

} // namespace shardlens
