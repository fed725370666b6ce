#include "core/format/sharded_folder.h"

#include "core/base/text.h"
#include "core/format/opened_file.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens {
namespace {

constexpr std::size_t kNamed = 4; // files that a sentence names

// "one.bin, two.bin and 7 more"
std::string firstOf(const std::vector<std::string>& names)
{
    std::vector<std::string> shown;
    for (std::size_t i = 0; i < std::min(names.size(), kNamed); ++i)
        shown.push_back(printable(names[i]));
    const std::string list = fmt::format("{}", fmt::join(shown, ", "));
    return names.size() <= kNamed ? list : fmt::format("{} and {} more", list, groupedText(names.size() - kNamed));
}

std::string indexSuffix(std::string_view extension)
{
    return std::string(extension) + ".index.json";
}

std::vector<std::string> filesOf(const Candidate& folder, std::string_view extension)
{
    std::vector<std::string> out;
    for (const DirectoryEntry& entry : folder.entries)
        if (!entry.isFolder && entry.name.ends_with(extension))
            out.push_back(entry.name);
    return out;
}

// The index of a folder: the plain one where several are there (variants carry a word of their own).
Result<std::string> indexIn(const Candidate& folder, std::string_view extension)
{
    const std::vector<std::string> found = filesOf(folder, indexSuffix(extension));
    if (found.size() <= 1)
        return found.empty() ? std::string{} : found.front();
    for (const char* usual : {"model", "pytorch_model"})
        if (std::find(found.begin(), found.end(), usual + indexSuffix(extension)) != found.end())
            return usual + indexSuffix(extension);
    return Error{ErrorCode::Refused, fmt::format("{} indexes: open one of them: {}", found.size(), fmt::join(found, ", "))};
}

Status takeIndexed(ShardSet& out, const Candidate& folder, std::string_view extension)
{
    auto file = FileSource::open(out.folder + "/" + out.indexName);
    auto index = file ? readHfIndex(**file, extension) : Result<HfIndex>(file.takeError());
    if (!index)
        return index.takeError().within(fmt::format("index {}", printable(out.indexName)));
    std::set<std::string> wanted;
    for (const auto& [tensor, name] : index->weightMap)
        wanted.insert(name);
    std::set<std::string_view> there;
    for (const DirectoryEntry& entry : folder.entries)
        there.insert(entry.name);
    for (const std::string& name : wanted)
        (there.contains(name) ? out.files : out.missing).push_back(name);
    for (const std::string& name : filesOf(folder, extension))
        if (!wanted.contains(name))
            out.leftOver.push_back(name);
    std::sort(out.files.begin(), out.files.end(), naturalLess);
    out.index = index.take();
    return {};
}

// Without an index the numbering must tell: one set of -of-N, with every number.
Status takeNumbered(ShardSet& out, const std::vector<std::string>& names, std::string_view extension)
{
    std::map<std::pair<std::string, std::uint32_t>, std::map<std::uint32_t, std::string>> sets;
    std::vector<std::string> single;
    for (const std::string& name : names) {
        if (const auto shard = shardNameOf(name, extension))
            sets[{shard->base, shard->count}][shard->index] = name;
        else
            single.push_back(name);
    }
    if (sets.size() != 1 || (!single.empty() && !sets.empty()))
        return Error{ErrorCode::Refused, fmt::format("{} ({}) and no index says which of them are the model: open one of them", plural(names.size(), "file", "files"), firstOf(names))};
    const auto& [key, members] = *sets.begin();
    for (std::uint32_t number = 1; number <= key.second && number <= 99'999; ++number) {
        const auto at = members.find(number);
        if (at != members.end())
            out.files.push_back(at->second);
        else
            out.missing.push_back(fmt::format("{}-{:05d}-of-{:05d}{}", key.first, number, key.second, extension));
    }
    return {};
}

} // namespace

bool isIndexFile(const Candidate& candidate, std::string_view extension)
{
    return !candidate.isFolder && candidate.name().ends_with(indexSuffix(extension));
}

Match matchShards(const Candidate& folder, std::string_view extension)
{
    if (!filesOf(folder, indexSuffix(extension)).empty())
        return Match::ByContent;
    return filesOf(folder, extension).empty() ? Match::No : Match::ByName;
}

Result<ShardSet> findShards(const Candidate& candidate, std::string_view extension)
{
    ShardSet out;
    Candidate folder = candidate;
    if (isIndexFile(candidate, extension)) {
        const std::size_t slash = candidate.path.find_last_of('/');
        SHARDLENS_ASSIGN(folder, lookAt(slash == std::string::npos ? "." : candidate.path.substr(0, std::max<std::size_t>(slash, 1))));
        out.indexName = candidate.name();
    } else {
        SHARDLENS_ASSIGN(out.indexName, indexIn(folder, extension));
    }
    out.folder = folder.path;
    if (!out.indexName.empty()) {
        SHARDLENS_TRY(takeIndexed(out, folder, extension));
        return out;
    }
    const std::vector<std::string> names = filesOf(folder, extension);
    const bool numbered = !names.empty() && shardNameOf(names.front(), extension).has_value();
    if (names.size() == 1 && !numbered)
        out.files = names;
    else
        SHARDLENS_TRY(takeNumbered(out, names, extension));
    return out;
}

IndexCheck::IndexCheck(CheckpointBuilder& builder, const ShardSet& shards) : m_builder(builder), m_shards(shards)
{
    if (shards.index)
        for (const auto& [tensor, file] : shards.index->weightMap)
            m_fileOf.emplace(tensor, file);
}

void IndexCheck::find(Severity severity, const char* code, std::string text, FileId file)
{
    m_builder.addFinding({severity, code, std::move(text), kNoTensor, file, std::nullopt});
}

bool IndexCheck::accepts(const std::string& name, const std::string& file, FileId id)
{
    if (!m_shards.index) {
        const auto [first, isNew] = m_firstFile.try_emplace(name, file);
        if (!isNew) {
            const std::string where = first->second == file ? fmt::format("twice in {}, as a key with a dot and a nested one, or as keys of two types", printable(file))
                                                            : fmt::format("in two files; the second is {}", printable(file));
            m_builder.addLost({name, RoleKind::Weight, fmt::format("{} stands {}. The first is shown.", printable(name), where)}, "tensor-twice", id);
        }
        return isNew;
    }
    const auto known = m_fileOf.find(name);
    if (known == m_fileOf.end()) {
        find(Severity::Warning, "orphan", fmt::format("{} lies in {} and the index does not name it: it is not part of the model.", printable(name), printable(file)), id);
        return false;
    }
    if (known->second != file)
        return false; // said by finish(), if the right file lacks it
    m_seen.insert(name);
    return true;
}

void IndexCheck::finish()
{
    for (const std::string& name : m_shards.missing) {
        const FileId id = m_builder.addFile(missingFile(m_shards.folder + "/" + name, name));
        find(Severity::Error, "missing-file", fmt::format("{} is not in the folder{}.", printable(name), m_shards.index ? ", and the index says that it holds part of the model" : ""), id);
    }
    const std::set<std::string> missing(m_shards.missing.begin(), m_shards.missing.end());
    for (const auto& [tensor, file] : m_fileOf) {
        if (!missing.contains(file) && !m_seen.contains(tensor))
            find(Severity::Error, "index", fmt::format("The index says that {} lies in {}, and it does not.", printable(tensor), printable(file)));
    }
    for (const std::string& name : m_shards.leftOver) {
        auto opened = openFile(m_shards.folder + "/" + name, name);
        File row = opened ? opened->row : missingFile(m_shards.folder + "/" + name, name);
        row.holds = "not part of the model";
        const FileId id = m_builder.addFile(std::move(row));
        find(Severity::Info, "leftover-file", fmt::format("{} is not named by the index: left over from another save, or a second form of the model. It is not read.", printable(name)), id);
    }
}

} // namespace shardlens
