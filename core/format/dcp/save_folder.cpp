#include "core/format/dcp/save_folder.h"

#include "core/base/number_list.h"
#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <span>

namespace shardlens::dcp {
namespace {

constexpr std::string_view kMetadata = ".metadata";
constexpr std::string_view kData = ".distcp";
constexpr std::string_view kUnfinished = ".metadata.tmp";
constexpr std::string_view kModelFolder = "pytorch_model_fsdp_"; // accelerate's names
constexpr std::string_view kOptimizerFolder = "optimizer_";
constexpr std::size_t kStepsLookedInto = 64;
constexpr std::uint64_t kLargestMetadata = 4ull << 30;

std::optional<std::uint32_t> numberIn(std::string_view text)
{
    std::uint32_t out = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
    return failed == std::errc{} && end == text.data() + text.size() ? std::optional(out) : std::nullopt;
}

// "__3.metadata" → 3.
std::optional<std::uint32_t> rankOfMetadata(std::string_view name)
{
    if (!name.starts_with("__") || !name.ends_with(kMetadata))
        return std::nullopt;
    return numberIn(name.substr(2, name.size() - 2 - kMetadata.size()));
}

// "__3_0.distcp" → 3.
std::optional<std::uint32_t> rankOfData(std::string_view name)
{
    if (!name.starts_with("__") || !name.ends_with(kData))
        return std::nullopt;
    return numberIn(name.substr(2, name.find('_', 2) - 2));
}

bool isPartOfSave(const DirectoryEntry& entry)
{
    return !entry.isFolder && (entry.name == kMetadata || rankOfMetadata(entry.name) || rankOfData(entry.name));
}

std::string folderOf(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
}

// A trainer's root with a directory for every save: "step-1200" (torchtitan), "checkpoint-1200", "1200". By step, ascending.
std::vector<std::pair<std::uint32_t, std::string>> stepsIn(const Candidate& root)
{
    std::vector<std::pair<std::uint32_t, std::string>> out;
    for (const DirectoryEntry& entry : root.entries) {
        const std::size_t digits = entry.name.find_first_of("0123456789");
        const std::string_view before = std::string_view(entry.name).substr(0, std::min(digits, entry.name.size()));
        const auto step = digits == std::string::npos ? std::nullopt : numberIn(std::string_view(entry.name).substr(digits));
        const bool isKnown = before.empty() || before == "step-" || before == "step_" || before == "checkpoint-" || before == "checkpoint_";
        if (entry.isFolder && step && isKnown)
            out.emplace_back(*step, entry.name);
    }
    std::sort(out.begin(), out.end());
    return out;
}

// Accelerate's folder: the numbers of the models that have a directory in it.
std::vector<std::string> numbersOf(const Candidate& folder, std::string_view prefix)
{
    std::vector<std::string> out;
    for (const DirectoryEntry& entry : folder.entries)
        if (entry.isFolder && entry.name.starts_with(prefix) && numberIn(std::string_view(entry.name).substr(prefix.size())))
            out.push_back(entry.name);
    return out;
}

bool isSaveFolder(const std::string& path)
{
    const auto inside = lookAt(path);
    return inside && std::any_of(inside->entries.begin(), inside->entries.end(), isPartOfSave);
}

// The steps of a root that are directories of this kind; the last few are looked into.
std::vector<std::string> savesBelow(const Candidate& root)
{
    std::vector<std::string> out;
    const auto steps = stepsIn(root);
    for (std::size_t i = steps.size(); i-- > 0 && steps.size() - i <= kStepsLookedInto;)
        if (isSaveFolder(root.path + "/" + steps[i].second))
            out.push_back(steps[i].second);
    return out; // the latest first
}

Result<SaveFolder> saveIn(const Candidate& folder, std::string prefix)
{
    SaveFolder out;
    out.path = folder.path;
    out.prefix = std::move(prefix);
    std::vector<std::pair<std::uint32_t, std::string>> ofRanks;
    std::set<std::uint32_t> withData;
    bool isWhole = false;
    bool isUnfinished = false;
    for (const DirectoryEntry& entry : folder.entries) {
        if (entry.isFolder)
            continue;
        isWhole = isWhole || entry.name == kMetadata;
        isUnfinished = isUnfinished || entry.name.ends_with(kUnfinished);
        if (const auto rank = rankOfMetadata(entry.name))
            ofRanks.emplace_back(*rank, entry.name);
        if (const auto rank = rankOfData(entry.name)) {
            out.dataFiles.push_back(entry);
            withData.insert(*rank);
        }
    }
    out.isInterrupted = isUnfinished;
    if (isWhole) {
        out.metadataFiles.emplace_back(kMetadata);
        return out;
    }
    std::sort(ofRanks.begin(), ofRanks.end());
    for (const auto& [rank, name] : ofRanks) {
        out.metadataFiles.push_back(name);
        withData.erase(rank);
    }
    if (!out.metadataFiles.empty()) {
        out.ranksWithout.assign(withData.begin(), withData.end());
        return out;
    }
    if (isUnfinished)
        return Error{ErrorCode::Refused, "the save was interrupted: there is a .metadata.tmp and no .metadata, so nothing says what the data files hold"};
    return Error{ErrorCode::Refused, fmt::format("{} and no .metadata: the index of the checkpoint is missing (the rank that coordinates a save writes it, maybe on another host)",
                                                 plural(out.dataFiles.size(), "data file", "data files"))};
}

} // namespace

Match matchSave(const Candidate& candidate)
{
    if (!candidate.isFolder) {
        const std::string name = candidate.name();
        const bool isPart = name == kMetadata || rankOfMetadata(name) || rankOfData(name);
        return isPart ? Match::ByContent : Match::No;
    }
    if (std::any_of(candidate.entries.begin(), candidate.entries.end(), isPartOfSave) || candidate.entry(kUnfinished) != nullptr)
        return Match::ByContent;
    for (const std::string_view prefix : {kModelFolder, kOptimizerFolder})
        for (const std::string& name : numbersOf(candidate, prefix))
            if (isSaveFolder(candidate.path + "/" + name))
                return Match::ByContent;
    return savesBelow(candidate).empty() ? Match::No : Match::ByName;
}

Result<std::vector<SaveFolder>> findSaves(const Candidate& candidate, const std::optional<std::string>& tag)
{
    std::vector<SaveFolder> out;
    const bool isHere = !candidate.isFolder || std::any_of(candidate.entries.begin(), candidate.entries.end(), isPartOfSave) || candidate.entry(kUnfinished) != nullptr;
    const std::vector<std::string> steps = isHere ? std::vector<std::string>() : savesBelow(candidate);
    if (tag && std::find(steps.begin(), steps.end(), *tag) == steps.end())
        return Error{ErrorCode::Refused, fmt::format("there is no save {} here{}", printable(*tag), steps.empty() ? "" : "; there are " + printable(fmt::format("{}", fmt::join(steps, ", "))))};
    if (!steps.empty()) {
        const std::string name = tag.value_or(steps.front());
        SHARDLENS_ASSIGN(const Candidate folder, lookAt(candidate.path + "/" + name));
        auto save = saveIn(folder, "");
        if (!save && steps.size() > 1 && !tag)
            return Error{ErrorCode::Refused, fmt::format("{}; --tag opens an earlier save: {}", save.error().text(), printable(fmt::format("{}", fmt::join(std::span(steps).subspan(1), ", "))))}.within(printable(name));
        if (!save)
            return save.takeError().within(printable(name));
        save->tag = name;
        for (const std::string& other : steps)
            if (other != name)
                save->others.push_back(other);
        out.push_back(save.take());
        return out;
    }
    if (!candidate.isFolder) {
        SHARDLENS_ASSIGN(const Candidate folder, lookAt(folderOf(candidate.path)));
        SHARDLENS_ASSIGN(SaveFolder save, saveIn(folder, ""));
        out.push_back(std::move(save));
        return out;
    }
    if (std::any_of(candidate.entries.begin(), candidate.entries.end(), isPartOfSave) || candidate.entry(kUnfinished) != nullptr) {
        SHARDLENS_ASSIGN(SaveFolder save, saveIn(candidate, ""));
        out.push_back(std::move(save));
        return out;
    }
    const auto models = numbersOf(candidate, kModelFolder);
    if (models.size() > 1)
        return Error{ErrorCode::Refused, fmt::format("{} models ({}): open one of their folders", models.size(), printable(fmt::format("{}", fmt::join(models, ", "))))};
    for (const std::string_view prefix : {kModelFolder, kOptimizerFolder})
        for (const std::string& name : numbersOf(candidate, prefix)) {
            SHARDLENS_ASSIGN(const Candidate folder, lookAt(candidate.path + "/" + name));
            if (std::none_of(folder.entries.begin(), folder.entries.end(), isPartOfSave))
                continue;
            auto save = saveIn(folder, name + "/");
            if (!save)
                return save.takeError().within(printable(name));
            out.push_back(save.take());
        }
    return out;
}

Result<SaveMetadata> readMetadata(const SaveFolder& save, JobContext& job)
{
    SaveMetadata out;
    std::vector<DcpMetadata> parts;
    for (const std::string& name : save.metadataFiles) {
        SHARDLENS_TRY(job.poll());
        auto opened = openFile(save.path + "/" + name, save.prefix + name);
        if (!opened)
            return opened.takeError().within(printable(save.prefix + name));
        auto bytes = readBytes(*opened->source, 0, opened->source->size(), kLargestMetadata);
        auto parsed = bytes ? DcpMetadata::parse(std::make_shared<const std::vector<std::byte>>(bytes.take()), job) : Result<DcpMetadata>(bytes.takeError());
        if (!parsed)
            return Error{parsed.error().code(), parsed.error().code() == ErrorCode::Corrupt ? parsed.error().text() + " (the file is cut off or damaged)" : parsed.error().text()}.within(printable(save.prefix + name));
        opened->row.container = "pickle";
        opened->row.holds = fmt::format("metadata of {}", plural(parsed->entries.size(), "key", "keys"));
        opened->row.rank = rankOfMetadata(name);
        parts.push_back(parsed.take());
        out.files.push_back(opened.take());
    }
    out.content = parts.size() == 1 ? std::move(parts.front()) : mergeDcpMetadata(std::move(parts));
    return out;
}

} // namespace shardlens::dcp
