#include "core/convert/plan.h"

#include "core/base/text.h"
#include "core/convert/plan_checks.h"
#include "core/convert/replaceable.h"
#include "core/io/staged_output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sys/stat.h>
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

bool isEmptyFolder(const std::string& path)
{
    std::error_code failed;
    return fs::symlink_status(path, failed).type() == fs::file_type::directory && fs::is_empty(path, failed) && !failed;
}

// A folder that somebody made for the result: its name changes hands, which that of a file system's root cannot.
Status checkEmptyFolder(const TargetPath& target, const struct stat& folder)
{
    struct stat parent {};
    if (::stat(target.parent.c_str(), &parent) == 0 && parent.st_dev != folder.st_dev)
        return Error{ErrorCode::Refused, "a file system is mounted there, and the result is made beside its name; choose a folder inside"};
    return {};
}

Status checkFree(const TargetPath& target, bool overwrite, bool isFile)
{
    struct stat facts {};
    if (::lstat(target.path.c_str(), &facts) != 0)
        return {};
    if (!isFile && isEmptyFolder(target.path))
        return checkEmptyFolder(target, facts);
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
