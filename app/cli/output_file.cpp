#include "app/cli/output_file.h"

#include "core/base/text.h"
#include "core/io/rename_new.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <stdio.h>
#include <unistd.h>

namespace shardlens::cli {
namespace {

Error openingError(const std::string& path, int number)
{
    if (number == EEXIST)
        return Error{ErrorCode::Refused, "it exists; choose another name"}.within(printable(path));
    return Error{ErrorCode::Io, std::strerror(number)}.within(printable(path));
}

std::string hiddenName(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    const std::size_t start = slash == std::string::npos ? 0 : slash + 1;
    return path.substr(0, start) + "." + path.substr(start) + ".part" + std::to_string(::getpid());
}

Status fillFile(const std::string& hidden, const std::string& path, const std::function<Status(std::FILE*)>& fill)
{
    const int descriptor = ::open(hidden.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0)
        return openingError(path, errno);
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(::fdopen(descriptor, "wb"), std::fclose);
    SHARDLENS_TRY(fill(file.get()));
    if (std::ferror(file.get()) != 0 || std::fflush(file.get()) != 0 || ::fsync(descriptor) != 0)
        return openingError(path, errno == 0 ? EIO : errno);
    return {};
}

} // namespace

Status writeNewFile(const std::string& path, const std::function<Status(std::FILE*)>& fill)
{
    if (::access(path.c_str(), F_OK) == 0)
        return openingError(path, EEXIST);
    const std::string hidden = hiddenName(path);
    Status status = fillFile(hidden, path, fill);
    if (status)
        if (Status named = renameNew(hidden, path); !named)
            status = named.takeError().within(printable(path));
    if (!status)
        ::unlink(hidden.c_str());
    return status;
}

} // namespace shardlens::cli
