#include "core/base/text.h"
#include "core/layout/mindspore_strategy.h"
#include "core/layout/strategy_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

namespace shardlens::mindspore {
namespace {

constexpr std::uint64_t kStageHeadBytes = 4096;
constexpr std::size_t kMostFolderFiles = 1u << 18;

// Names of the regular files *.ckpt and *.json directly in a folder, in natural order.
Result<std::vector<std::string>> candidatesIn(const std::string& folder)
{
    std::vector<std::string> out;
    std::error_code failed;
    std::filesystem::directory_iterator at(folder, failed);
    for (const std::filesystem::directory_iterator end; !failed && at != end; at.increment(failed)) {
        const std::string extension = at->path().extension().string();
        std::error_code unknown;
        if ((extension != ".ckpt" && extension != ".json") || !at->is_regular_file(unknown))
            continue;
        if (out.size() == kMostFolderFiles)
            return Error{ErrorCode::LimitExceeded, fmt::format("more than {} files", groupedText(kMostFolderFiles))};
        out.push_back(at->path().filename().string());
    }
    if (failed)
        return Error{failed == std::errc::no_such_file_or_directory ? ErrorCode::NotFound : ErrorCode::Io, failed.message()};
    std::sort(out.begin(), out.end(), naturalLess);
    return out;
}

Status checkOneKind(const std::vector<std::string>& files)
{
    if (files.empty())
        return Error{ErrorCode::NotFound, "no *.ckpt or *.json in it: no strategy files"};
    const auto isJson = [](const std::string& file) { return file.ends_with(".json"); };
    const auto json = std::find_if(files.begin(), files.end(), isJson);
    const auto other = std::find_if_not(files.begin(), files.end(), isJson);
    if (json != files.end() && other != files.end())
        return Error{ErrorCode::Refused, fmt::format("both kinds of strategies are in it, protobuf ({}) and JSON ({}); put one kind into a folder of its own",
                                                     printable(*other), printable(*json))};
    return {};
}

// The stage files of a folder as they are gathered: one a stage.
class StageFiles {
public:
    explicit StageFiles(std::string folder) : m_folder(std::move(folder)) {}

    Status add(const std::string& file)
    {
        Status added = addFile(file);
        return added ? std::move(added) : Status(added.takeError().within(printable(file)));
    }
    Result<StrategyFolder> take() &&;

private:
    struct Stage {
        StrategyFolder::Part part;
        std::string bytes;
        StrategyParts parts;
    };
    Status addFile(const std::string& file);
    Status addMerged(Stage merged);
    // A file that is known to say what a stage's file says.
    [[nodiscard]] const Stage* sameStage(std::string_view bytes) const;
    [[nodiscard]] const Stage* stageNamed(std::uint32_t number) const;
    void skip(const std::string& file, const Stage& first)
    {
        m_skipped.push_back({file, fmt::format("stage {} again, which {} has", first.part.stage, printable(first.part.file))});
    }

    std::string m_folder;
    std::vector<Stage> m_stages;
    std::vector<StrategyFolder::Skipped> m_skipped;
    std::optional<Stage> m_merged; // the first file that is a merge itself
    std::string m_otherMerge;      // one that says something else
};

// The layouts of a file by name.
std::map<std::string_view, const ParameterLayout*> layoutsByName(const StrategyParts& parts)
{
    std::map<std::string_view, const ParameterLayout*> out;
    for (const StrategyParts::Parameter& one : parts.parameters)
        out.emplace(one.name, &one.layout);
    return out;
}

bool sayTheSame(const StrategyParts& a, const StrategyParts& b)
{
    const auto ofA = layoutsByName(a);
    const auto ofB = layoutsByName(b);
    return ofA.size() == ofB.size() && std::equal(ofA.begin(), ofA.end(), ofB.begin(), [](const auto& one, const auto& other) {
        return one.first == other.first && *one.second == *other.second;
    });
}

const StageFiles::Stage* StageFiles::stageNamed(std::uint32_t number) const
{
    const auto at = std::find_if(m_stages.begin(), m_stages.end(), [&](const Stage& one) { return one.part.stage == number; });
    return at == m_stages.end() ? nullptr : &*at;
}

const StageFiles::Stage* StageFiles::sameStage(std::string_view bytes) const
{
    for (const Stage& one : m_stages)
        if (one.bytes == bytes)
            return &one;
    const auto stage = stageInHead(bytes);
    const Stage* first = stage ? stageNamed(*stage) : nullptr;
    return first != nullptr && first->bytes.size() == bytes.size() && layoutFingerprint(first->bytes) == layoutFingerprint(bytes) ? first : nullptr;
}

Status StageFiles::addMerged(Stage merged)
{
    m_skipped.push_back({merged.part.file, "a merge already"});
    if (!m_merged)
        m_merged = std::move(merged);
    else if (m_otherMerge.empty() && merged.bytes != m_merged->bytes)
        m_otherMerge = merged.part.file;
    return {};
}

Status StageFiles::addFile(const std::string& file)
{
    const std::string path = m_folder + "/" + file;
    SHARDLENS_ASSIGN(std::string bytes, readStrategyBytes(path));
    if (const Stage* first = sameStage(bytes)) { // a thousand ranks may have written a file each
        skip(file, *first);
        return {};
    }
    SHARDLENS_ASSIGN(StrategyParts parts, parseStrategyParts(bytes, path));
    if (parts.parameters.empty())
        return Error{ErrorCode::Refused, "it lists no sliced parameters"};
    const StrategyFolder::Part part{parts.operators.empty() ? 0 : parts.operators.front().stage, file, parts.parameters.size()};
    if (parts.isMerged)
        return addMerged({part, std::move(bytes), std::move(parts)});
    if (parts.operators.empty())
        return Error{ErrorCode::Refused, "it lists no operators, which would say its pipeline stage"};
    if (const Stage* first = stageNamed(part.stage)) {
        if (!sayTheSame(first->parts, parts))
            return Error{ErrorCode::Refused, fmt::format("it is of stage {}, as {} is, and they differ: strategies of different runs in one folder",
                                                         part.stage, printable(first->part.file))};
        skip(file, *first);
        return {};
    }
    m_stages.push_back({part, std::move(bytes), std::move(parts)});
    return {};
}

Result<StrategyFolder> StageFiles::take() &&
{
    StrategyParts all;
    std::vector<StrategyFolder::Part> parts;
    if (m_stages.empty() && m_merged) {
        if (!m_otherMerge.empty())
            return Error{ErrorCode::Refused, fmt::format("{} and {} are merges that differ; name one of them",
                                                         printable(m_merged->part.file), printable(m_otherMerge))};
        std::erase_if(m_skipped, [&](const StrategyFolder::Skipped& one) { return one.file == m_merged->part.file; });
        m_stages.push_back(std::move(*m_merged));
    }
    std::sort(m_stages.begin(), m_stages.end(), [](const Stage& a, const Stage& b) { return a.part.stage < b.part.stage; });
    for (Stage& one : m_stages) {
        std::move(one.parts.parameters.begin(), one.parts.parameters.end(), std::back_inserter(all.parameters));
        std::move(one.parts.operators.begin(), one.parts.operators.end(), std::back_inserter(all.operators));
        std::move(one.parts.notes.begin(), one.parts.notes.end(), std::back_inserter(all.notes));
        parts.push_back(std::move(one.part));
    }
    all.name = m_folder;
    all.currentStage = 1; // as in every merge (§3.2)
    all.isMerged = true;
    SHARDLENS_ASSIGN(Strategy strategy, Strategy::make(std::move(all)));
    return StrategyFolder{std::move(strategy), std::move(parts), std::move(m_skipped)};
}

Result<StrategyFolder> mergeFolder(const std::string& folder)
{
    SHARDLENS_ASSIGN(const std::vector<std::string> files, candidatesIn(folder));
    SHARDLENS_TRY(checkOneKind(files));
    StageFiles stages(folder);
    for (const std::string& file : files)
        SHARDLENS_TRY(stages.add(file));
    return std::move(stages).take();
}

} // namespace

Result<StrategyFolder> readStrategyFolder(const std::string& folder)
{
    auto merged = mergeFolder(folder);
    if (!merged)
        return merged.takeError().within(printable(folder));
    return merged;
}

Result<Strategy> readStrategyOrFolder(const std::string& path)
{
    std::error_code failed;
    if (!std::filesystem::is_directory(path, failed))
        return readStrategy(path);
    SHARDLENS_ASSIGN(StrategyFolder folder, readStrategyFolder(path));
    return std::move(folder.strategy);
}

std::vector<std::string> strategyFilesIn(const std::string& folder)
{
    std::vector<std::string> out;
    const auto files = candidatesIn(folder);
    for (std::size_t i = 0; files && i < files->size(); ++i)
        if (const auto head = readStrategyHead(folder + "/" + (*files)[i], kStageHeadBytes); head && looksLikeStrategy(head->bytes, head->fileBytes))
            out.push_back((*files)[i]);
    return out;
}

} // namespace shardlens::mindspore
