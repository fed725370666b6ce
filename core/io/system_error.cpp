#include "core/io/system_error.h"

#include <cerrno>
#include <cstring>

namespace shardlens {

Error systemError(int number)
{
    const ErrorCode code = number == ENOENT || number == ENOTDIR ? ErrorCode::NotFound : ErrorCode::Io;
    return {code, std::strerror(number)};
}

} // namespace shardlens
