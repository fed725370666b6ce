#include "core/format/sdloader/list_file.h"

#include "core/base/text.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>

#include <cmath>

namespace shardlens::sdloader {
namespace {

constexpr std::uint64_t kLargestListFile = 4u << 20;
constexpr std::size_t kListsLookedAt = 32;

Result<std::string> textOfFile(const std::string& path)
{
    SHARDLENS_ASSIGN(const auto file, FileSource::open(path));
    SHARDLENS_ASSIGN(const auto bytes, readBytes(*file, 0, file->size(), kLargestListFile));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

} // namespace

std::string folderOf(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string nameOfPath(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string versionText(double version)
{
    return std::floor(version) == version ? fmt::format("{:.0f}", version) : fmt::format("{}", version);
}

// module, model, or what --module-key says (§16.2).
Result<pickle::Value> moduleOf(pickle::Value root, const std::optional<std::string>& key)
{
    if (key == "none")
        return root;
    if (key && key != "auto") {
        const pickle::Value named = root.find(*key);
        return named.isMapping() ? Result<pickle::Value>(named) : Error{ErrorCode::Refused, fmt::format("--module-key {}: the checkpoint has no such dictionary", printable(*key))};
    }
    const pickle::Value module = root.find("module");
    const pickle::Value model = root.find("model");
    const bool hasModule = module.isMapping();
    const bool hasModel = model.isMapping();
    if (hasModule && hasModel)
        return Error{ErrorCode::Refused, "the checkpoint has both 'model' and 'module' keys; --module-key says which is meant"};
    if (!hasModule && !hasModel)
        return Error{ErrorCode::Refused, "the checkpoint contains neither 'model' nor 'module'; --module-key names the key, or says none where the file is the model itself"};
    return hasModule ? module : model;
}

std::string pathOf(const FactoryList& list, const std::string& folder, const std::string& name)
{
    if (name.front() == '/')
        return name;
    if (list.baseDir.empty())
        return folder + "/" + name;
    return (list.baseDir.front() == '/' ? list.baseDir : folder + "/" + list.baseDir) + "/" + name;
}

Result<std::string> listOf(const Candidate& candidate)
{
    if (!candidate.isFolder)
        return candidate.path;
    std::vector<std::string> lists;
    std::size_t looked = 0;
    for (const DirectoryEntry& entry : candidate.entries) {
        if (entry.isFolder || !entry.name.ends_with(".json") || entry.sizeBytes > kLargestListFile || ++looked > kListsLookedAt)
            continue;
        const auto inside = lookAt(candidate.path + "/" + entry.name);
        if (inside && looksLikeList({reinterpret_cast<const char*>(inside->head.data()), inside->head.size()}))
            lists.push_back(entry.name);
    }
    if (lists.size() == 1)
        return candidate.path + "/" + lists.front();
    std::string names;
    for (const std::string& name : lists)
        names += (names.empty() ? "" : ", ") + printable(name);
    if (lists.empty())
        return Error{ErrorCode::NotFound, "no list of checkpoints (JSON with type, checkpoints and version) is in the folder"};
    return Error{ErrorCode::Refused, fmt::format("{} lists of checkpoints are in the folder; open one of them: {}", lists.size(), names)};
}

Result<ListFile> readListOf(const Candidate& candidate)
{
    SHARDLENS_ASSIGN(std::string path, listOf(candidate));
    SHARDLENS_ASSIGN(const std::string text, textOfFile(path));
    auto list = parseList(text);
    if (!list)
        return list.takeError().within(printable(nameOfPath(path)));
    return ListFile{std::move(path), list.take()};
}

} // namespace shardlens::sdloader
