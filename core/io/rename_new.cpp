#include "core/io/rename_new.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

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

Status renameFolder(const std::string& from, const std::string& to)
{
    if (::rename(from.c_str(), to.c_str()) == 0) // of a folder over anything but an empty one: refused by the system
        return {};
    struct stat facts {};
    const int number = errno;
    const bool isTaken = number == EEXIST || number == ENOTEMPTY || (number == ENOTDIR && ::lstat(to.c_str(), &facts) == 0);
    return isTaken ? existsError() : renameError(number);
}

} // namespace shardlens
