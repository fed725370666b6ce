#include "core/convert/plan.h"

#include "core/base/text.h"
#include "core/convert/plan_checks.h"
#include "core/convert/replaceable.h"
#include "core/io/rename_new.h"
#include "core/io/staged_output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace shardlens {
namespace {

namespace fs = std::filesystem;

fs::path canonical(const std::string& path)
{
    std::error_code failed;
    fs::path out = fs::weakly_canonical(path, failed);
    return failed ? fs::absolute(path) : out;
}

// True where `inner` is `outer` or lies below it; both canonical.
bool liesIn(const fs::path& inner, const fs::path& outer)
{
    auto part = inner.begin();
    for (const fs::path& wanted : outer) {
        if (part == inner.end() || *part != wanted)
            return false;
        ++part;
    }
    return true;
}

Status checkParent(const TargetPath& target)
{
    struct stat facts {};
    if (::stat(target.parent.c_str(), &facts) != 0)
        return errno == ENOENT ? Error{ErrorCode::NotFound, fmt::format("the folder {} is not there; make it first", printable(target.parent))}
                               : Error{ErrorCode::Io, std::strerror(errno)}.within(printable(target.parent));
    if (!S_ISDIR(facts.st_mode))
        return Error{ErrorCode::Refused, fmt::format("{} is no folder", printable(target.parent))};
    if (::access(target.parent.c_str(), W_OK | X_OK) != 0)
        return Error{ErrorCode::Io, fmt::format("nothing can be written into {}: {}", printable(target.parent), std::strerror(errno))};
    return {};
}

// The source is never written to, and never deleted.
Status checkApart(const Checkpoint& source, const TargetPath& target)
{
    const fs::path place = canonical(target.parent) / target.name;
    const fs::path whole = canonical(source.path());
    std::error_code failed;
    if (place == whole)
        return Error{ErrorCode::Refused, "it exists, and is the same as the source; choose another name"};
    if (fs::is_directory(whole, failed) && liesIn(place, whole))
        return Error{ErrorCode::Refused, fmt::format("it lies inside the source {}; choose a place outside", printable(source.path()))};
    for (const File& file : source.files())
        if (file.state != File::State::Missing && liesIn(canonical(file.path), place))
            return Error{ErrorCode::Refused, fmt::format("the source's file {} is or lies in the target; choose another name", printable(file.name))};
    return {};
}

// A folder that somebody made for the result: its name changes hands, and its mode and group go over to the result (StagedOutput::publish).
Status checkEmptyFolder(const std::string& path)
{
    struct statx facts {};
    if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &facts) != 0)
        return Error{ErrorCode::Io, std::strerror(errno)};
    if ((facts.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0)
        return Error{ErrorCode::Refused, "it exists, and something is mounted there: the result is made beside its name and takes it; choose a folder inside"};
    if (facts.stx_uid != ::geteuid())
        return Error{ErrorCode::Refused, "it exists and belongs to somebody else; choose another name"};
    if (::getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) > 0 || ::getxattr(path.c_str(), "system.posix_acl_default", nullptr, 0) > 0)
        return Error{ErrorCode::Refused, "it exists and has an access list, which the result would lose; choose another name"};
    return {};
}

Status checkFree(const TargetPath& target, bool overwrite, bool isFile)
{
    struct stat facts {};
    if (::lstat(target.path.c_str(), &facts) != 0)
        return {};
    if (!isFile && isEmptyFolder(target.path))
        return checkEmptyFolder(target.path);
    if (!overwrite)
        return Error{ErrorCode::Refused, "it exists; choose another name, or replace it with --overwrite (in a job document: \"overwrite\": true)"};
    return checkReplaceable(target.path);
}

Status checkPlace(const Checkpoint& source, const TargetPath& target, bool overwrite, bool isFile)
{
    if (target.name.empty() || target.name == "." || target.name == ".." || target.path == "/")
        return Error{ErrorCode::Refused, "it names no new file or folder"};
    SHARDLENS_TRY(checkParent(target));
    SHARDLENS_TRY(checkApart(source, target));
    return checkFree(target, overwrite, isFile);
}

} // namespace

Status checkTarget(const Checkpoint& source, const ConvertRequest& request)
{
    const auto choice = chooseOutput(source, request);
    Status status = checkPlace(source, TargetPath(request.target), request.overwrite, choice && choice->isFile);
    if (!status)
        return status.takeError().within("target " + printable(request.target));
    return status;
}

} // namespace shardlens
