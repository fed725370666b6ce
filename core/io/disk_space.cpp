#include "core/io/disk_space.h"

#include "core/base/checked.h"
#include "core/base/text.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <sys/statvfs.h>

namespace shardlens {

Result<std::uint64_t> freeBytesAt(const std::string& folder)
{
    struct statvfs facts {};
    if (::statvfs(folder.c_str(), &facts) != 0)
        return Error{errno == ENOENT || errno == ENOTDIR ? ErrorCode::NotFound : ErrorCode::Io, std::strerror(errno)};
    return checkedMul(facts.f_bavail, facts.f_frsize).value_or(std::numeric_limits<std::uint64_t>::max());
}

Status checkDiskSpace(const std::string& folder, std::uint64_t neededBytes)
{
    SHARDLENS_ASSIGN(const std::uint64_t freeBytes, freeBytesAt(folder));
    if (freeBytes >= neededBytes)
        return {};
    return Error{ErrorCode::Refused, fmt::format("the disk is too full: {} needed, {} free", exactSizeText(neededBytes), exactSizeText(freeBytes))};
}

} // namespace shardlens
