#include "core/format/mindspore/folder.h"

#include "core/base/text.h"
#include "core/encoding/mindspore_ckpt.h"
#include "core/layout/mindspore_strategy.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>

namespace shardlens::mindspore {
namespace {

constexpr std::string_view kNameMap = "param_name_map.json";
constexpr std::string_view kStrategyFolder = "strategy";
constexpr std::string_view kCheckpointFolder = "checkpoint";
constexpr std::size_t kNamesListed = 12;

std::optional<std::uint64_t> digitsOf(std::string_view text)
{
    std::uint64_t out = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
    return !text.empty() && failed == std::errc{} && end == text.data() + text.size() ? std::optional(out) : std::nullopt;
}

// Takes "-2_40" off the end.
std::optional<std::pair<std::uint64_t, std::uint64_t>> takeStep(std::string_view& stem)
{
    const std::size_t dash = stem.rfind('-');
    if (dash == std::string_view::npos || dash == 0)
        return std::nullopt;
    const std::string_view numbers = stem.substr(dash + 1);
    const std::size_t line = numbers.find('_');
    const auto epoch = digitsOf(numbers.substr(0, std::min(line, numbers.size())));
    const auto step = line == std::string_view::npos ? std::nullopt : digitsOf(numbers.substr(line + 1));
    if (!epoch || !step)
        return std::nullopt;
    stem = stem.substr(0, dash);
    return std::pair(*epoch, *step);
}

// "net_rank_5" of rank 5 is "net_rank_": a number of more digits that ends so is another one.
bool takeRank(std::string_view& stem, std::uint32_t rank)
{
    const std::string number = std::to_string(rank);
    if (!stem.ends_with(number))
        return false;
    const std::string_view before = stem.substr(0, stem.size() - number.size());
    if (!before.empty() && before.back() >= '0' && before.back() <= '9')
        return false;
    stem = before;
    return true;
}

std::string nameOf(const WeightsName& name, const std::string& rank)
{
    std::string out = name.stem + (name.hasRank ? rank : std::string());
    if (name.step)
        out += fmt::format("-{}_{}", name.step->first, name.step->second);
    return out + (name.isBreakpoint ? "_breakpoint" : "") + (name.isSafetensors ? ".safetensors" : ".ckpt");
}

bool holdsWeights(const Candidate& folder)
{
    return std::any_of(folder.entries.begin(), folder.entries.end(),
                       [](const DirectoryEntry& entry) { return !entry.isFolder && weightsNameOf(entry.name, std::nullopt); });
}

bool holdsRankFolders(const Candidate& folder)
{
    return std::any_of(folder.entries.begin(), folder.entries.end(), [](const DirectoryEntry& entry) { return entry.isFolder && rankOfFolder(entry.name); });
}

std::string joined(const std::string& folder, const std::string& name)
{
    return folder.ends_with('/') ? folder + name : folder + "/" + name;
}

std::string parentOf(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
}

// A .ckpt file of PyTorch's is no candidate: looked at where only the ending speaks for it.
bool isWeightsFile(const std::string& path)
{
    const auto file = lookAt(path);
    return file && !file->isFolder && mindSporeKindOf(file->head, file->sizeBytes) == MindSporeKind::Weights;
}

// What is plainly something else: a strategy, or another program's. A weights file whose beginning is harmed is none of these.
bool isOtherKind(const std::string& path)
{
    const auto file = lookAt(path);
    if (!file || file->isFolder || file->head.empty())
        return false;
    const MindSporeKind kind = mindSporeKindOf(file->head, file->sizeBytes);
    if (kind != MindSporeKind::No)
        return kind == MindSporeKind::Strategy || kind == MindSporeKind::GroupMap;
    const std::string_view head(reinterpret_cast<const char*>(file->head.data()), file->head.size());
    return head.starts_with("PK") || head.starts_with('\x80') || head.starts_with('{');
}

// The weights files of one folder become saves. `shared` are names that several ranks have alike: a number at their end is no rank's.
void addFiles(RunFolder& run, const Candidate& folder, const std::string& prefix, std::optional<std::uint32_t> rank, const std::set<std::string>& shared = {})
{
    for (const DirectoryEntry& entry : folder.entries) {
        const auto name = entry.isFolder ? std::nullopt : weightsNameOf(entry.name, shared.contains(entry.name) ? std::nullopt : rank);
        if (!name)
            continue;
        const std::string path = joined(folder.path, entry.name);
        if (!name->isSafetensors && entry.sizeBytes > 0 && (rank ? isOtherKind(path) : !isWeightsFile(path)))
            continue;
        auto save = std::find_if(run.saves.begin(), run.saves.end(), [&](const Save& one) { return one.name == *name; });
        if (save == run.saves.end())
            save = run.saves.insert(run.saves.end(), Save{*name, {}, 0});
        save->files.emplace(rank.value_or(0), RankPath{rank.value_or(0), path, prefix + entry.name});
        save->sizeBytes += entry.sizeBytes;
    }
}

// MindFormers keeps strategies in a folder beside checkpoint, checkpoint_network …; a single strategy file may lie among the rank folders.
std::string strategyBeside(const Candidate& folder)
{
    const std::string name = folder.name();
    if (name == kCheckpointFolder || name.starts_with(std::string(kCheckpointFolder) + "_")) {
        std::string beside = joined(parentOf(folder.path), std::string(kStrategyFolder));
        if (!strategyFilesIn(beside).empty())
            return beside;
    }
    const std::vector<std::string> among = strategyFilesIn(folder.path);
    return among.size() == 1 ? joined(folder.path, among.front()) : std::string();
}

// The save that counts (§1.3): of those that all ranks have the newest, else the newest of those that most have. Of several at one step the larger.
void orderSaves(RunFolder& run)
{
    std::stable_sort(run.saves.begin(), run.saves.end(), [](const Save& a, const Save& b) {
        const auto key = [](const Save& save) { return std::tuple(save.name.step.has_value(), save.name.step.value_or(std::pair<std::uint64_t, std::uint64_t>{}), !save.name.isBreakpoint, save.sizeBytes); };
        return key(a) > key(b);
    });
    const auto first = std::max_element(run.saves.begin(), run.saves.end(), [](const Save& a, const Save& b) { return a.files.size() < b.files.size(); });
    if (first != run.saves.end())
        std::rotate(run.saves.begin(), first, first + 1);
}

// How many rank folders lie beside one that is opened alone.
std::size_t siblingsOf(const Candidate& folder)
{
    if (!rankOfFolder(folder.name()))
        return 0;
    const auto above = lookAt(parentOf(folder.path));
    if (!above)
        return 0;
    const auto count = std::count_if(above->entries.begin(), above->entries.end(), [](const DirectoryEntry& entry) { return entry.isFolder && rankOfFolder(entry.name); });
    return static_cast<std::size_t>(count) - std::min<std::size_t>(static_cast<std::size_t>(count), 1);
}

bool isTag(const Save& save, const std::string& tag)
{
    const auto& step = save.name.step;
    return (step && tag == fmt::format("{}_{}", step->first, step->second)) || tag == save.name.text();
}

// What --tag takes for it: epoch and step where they are enough.
std::string tagOf(const std::vector<Save>& saves, const Save& save)
{
    const auto alike = std::count_if(saves.begin(), saves.end(), [&](const Save& other) { return other.name.step == save.name.step; });
    return save.name.step && alike == 1 ? fmt::format("{}_{}", save.name.step->first, save.name.step->second) : save.name.text();
}

std::string savesText(const std::vector<Save>& saves)
{
    std::vector<std::string> tags;
    for (const Save& save : saves)
        tags.push_back(tagOf(saves, save));
    return someNames(tags);
}

Status chooseTag(RunFolder& run, const OpenOptions& options)
{
    if (!options.tag)
        return {};
    const auto wanted = std::find_if(run.saves.begin(), run.saves.end(), [&](const Save& save) { return isTag(save, *options.tag); });
    if (wanted == run.saves.end())
        return Error{ErrorCode::NotFound, fmt::format("--tag names '{}', which is no save here; found: {}", printable(*options.tag), savesText(run.saves))};
    std::rotate(run.saves.begin(), wanted, wanted + 1);
    return {};
}

// A newer save that some ranks lack does not count, and somebody waits for it.
void findIncomplete(RunFolder& run)
{
    const Save& first = run.saves.front();
    for (std::size_t i = 1; i < run.saves.size(); ++i) {
        const Save& other = run.saves[i];
        if (!(other.name.step > first.name.step) || other.files.size() >= first.files.size())
            continue;
        const auto lacking = std::find_if(first.files.begin(), first.files.end(), [&](const auto& file) { return !other.files.contains(file.first); });
        run.incomplete = fmt::format("{} is newer, and rank {} lacks it: {} is shown.", printable(other.name.text()), lacking->first, printable(first.name.text()));
        return;
    }
}

// Of two saves of one step neither is the newer one.
void findRivals(RunFolder& run)
{
    for (std::size_t i = 1; i < run.saves.size(); ++i) {
        const WeightsName& first = run.saves.front().name;
        const WeightsName& other = run.saves[i].name;
        if (other.step == first.step && other.isBreakpoint == first.isBreakpoint && run.saves[i].files.size() == run.saves.front().files.size())
            run.rivals.push_back(other.text());
    }
}

Status addRankFolders(RunFolder& run, const Candidate& folder)
{
    std::map<std::uint32_t, Candidate> inside;
    std::map<std::string, std::size_t> seen; // names of files: in how many folders
    std::map<std::uint32_t, std::string> names;
    for (const DirectoryEntry& entry : folder.entries) {
        const auto rank = entry.isFolder ? rankOfFolder(entry.name) : std::nullopt;
        if (!rank)
            continue;
        if (*rank >= kMostRanks)
            return Error{ErrorCode::LimitExceeded, fmt::format("{}: at most {} ranks are read", printable(entry.name), groupedText(kMostRanks))};
        if (const auto [other, isNew] = names.emplace(*rank, entry.name); !isNew)
            return Error{ErrorCode::Refused, fmt::format("{} and {} are both of rank {}", printable(other->second), printable(entry.name), *rank)};
        auto listed = lookAt(joined(folder.path, entry.name));
        if (!listed) {
            run.unreadable.push_back(entry.name);
            continue;
        }
        for (const DirectoryEntry& file : listed->entries)
            ++seen[file.name];
        inside.emplace(*rank, listed.take());
    }
    std::set<std::string> shared;
    for (const auto& [name, count] : seen)
        if (count > 1)
            shared.insert(name);
    for (const auto& [rank, name] : names) {
        run.ranks.push_back(rank);
        if (const auto files = inside.find(rank); files != inside.end())
            addFiles(run, files->second, name + "/", rank, shared);
    }
    return {};
}

// Files of several ranks in one folder, as they are copied together: net_rank_0.ckpt, net_rank_1.ckpt …
bool addFlatRanks(RunFolder& run, const Candidate& folder)
{
    constexpr std::string_view kMark = "rank_";
    std::map<std::uint32_t, Candidate> ofRank;
    for (const DirectoryEntry& entry : folder.entries) {
        const auto name = entry.isFolder ? std::nullopt : weightsNameOf(entry.name, std::nullopt);
        if (!name)
            continue;
        const std::size_t mark = name->stem.rfind(kMark);
        if (!name->isSafetensors && isOtherKind(joined(folder.path, entry.name)))
            continue;
        const std::uint64_t rank = mark == std::string::npos ? kMostRanks : digitsOf(std::string_view(name->stem).substr(mark + kMark.size())).value_or(kMostRanks);
        if (rank >= kMostRanks)
            return false; // not all of them are ranks'
        Candidate& alone = ofRank[static_cast<std::uint32_t>(rank)];
        alone.path = folder.path;
        alone.isFolder = true;
        alone.entries.push_back(entry);
    }
    if (ofRank.size() < 2 || ofRank.rbegin()->first + 1 != ofRank.size())
        return false;
    for (const auto& [rank, files] : ofRank)
        addFiles(run, files, "", rank);
    for (const auto& [rank, files] : ofRank)
        run.ranks.push_back(rank);
    return true;
}

// The files that the caller names count before those in folders, whatever they are called.
Status addNamedFiles(RunFolder& run, const OpenOptions& options)
{
    if (options.rankFiles.empty())
        return {};
    if (options.rankFiles.rbegin()->first >= kMostRanks)
        return Error{ErrorCode::LimitExceeded, fmt::format("--rank-file {}: at most {} ranks are read", options.rankFiles.rbegin()->first, groupedText(kMostRanks))};
    if (run.saves.empty())
        run.saves.push_back({});
    for (const auto& [rank, path] : options.rankFiles) {
        run.saves.front().files.insert_or_assign(rank, RankPath{rank, path, path});
        if (!std::binary_search(run.ranks.begin(), run.ranks.end(), rank))
            run.ranks.insert(std::upper_bound(run.ranks.begin(), run.ranks.end(), rank), rank);
    }
    run.kind = RunFolder::Kind::RankFolders;
    return {};
}

Result<RunFolder> findInFolder(const Candidate& candidate, const OpenOptions& options)
{
    RunFolder run;
    run.folder = candidate.path;
    run.title = candidate.name();
    if (candidate.entry(kNameMap) != nullptr && options.rankFiles.empty()) {
        run.kind = RunFolder::Kind::Unified;
        return run;
    }
    const DirectoryEntry* inner = candidate.entry(kCheckpointFolder);
    if (inner != nullptr && inner->isFolder && !holdsRankFolders(candidate)) {
        SHARDLENS_ASSIGN(const Candidate below, lookAt(joined(candidate.path, std::string(kCheckpointFolder))));
        SHARDLENS_ASSIGN(RunFolder out, findInFolder(below, options));
        out.title = run.title;
        return out;
    }
    if (holdsRankFolders(candidate)) {
        run.kind = RunFolder::Kind::RankFolders;
        run.besideStrategy = strategyBeside(candidate);
        SHARDLENS_TRY(addRankFolders(run, candidate));
    } else if (addFlatRanks(run, candidate)) {
        run.kind = RunFolder::Kind::RankFolders;
        run.besideStrategy = strategyBeside(candidate);
    } else {
        addFiles(run, candidate, "", rankOfFolder(candidate.name()));
        run.siblings = siblingsOf(candidate);
        for (Save& save : run.saves) // one rank's folder, opened alone: one model
            if (const auto rank = save.files.begin()->first; rank != 0) {
                save.files.emplace(0, save.files.at(rank));
                save.files.erase(rank);
            }
    }
    if (!options.rankFiles.empty() && run.kind == RunFolder::Kind::OneFile && !run.saves.empty())
        return Error{ErrorCode::Refused, "--rank-file is for a folder of rank folders, and this is one model's"};
    orderSaves(run);
    SHARDLENS_TRY(chooseTag(run, options));
    if (!options.tag && options.rankFiles.empty() && !run.saves.empty()) {
        findRivals(run);
        findIncomplete(run);
    }
    SHARDLENS_TRY(addNamedFiles(run, options));
    return run;
}

} // namespace

std::string someNames(const std::vector<std::string>& names)
{
    std::string out;
    for (std::size_t i = 0; i < std::min(names.size(), kNamesListed); ++i)
        out += (out.empty() ? "" : ", ") + printable(names[i]);
    return names.size() > kNamesListed ? fmt::format("{} and {} more", out, groupedText(names.size() - kNamesListed)) : out;
}

std::string WeightsName::text() const
{
    return nameOf(*this, "*");
}

std::string WeightsName::fileOf(std::uint32_t rank) const
{
    return nameOf(*this, std::to_string(rank));
}

std::optional<WeightsName> weightsNameOf(std::string_view fileName, std::optional<std::uint32_t> rank)
{
    WeightsName out;
    std::string_view stem = fileName;
    for (const auto& [ending, isSafetensors] : {std::pair{std::string_view(".ckpt"), false}, {std::string_view(".safetensors"), true}}) {
        if (!fileName.ends_with(ending))
            continue;
        stem = fileName.substr(0, fileName.size() - ending.size());
        out.isSafetensors = isSafetensors;
    }
    if (stem.size() == fileName.size() || stem.empty() || stem.front() == '.')
        return std::nullopt;
    constexpr std::string_view kBreakpoint = "_breakpoint";
    if (stem.ends_with(kBreakpoint)) {
        out.isBreakpoint = true;
        stem.remove_suffix(kBreakpoint.size());
    }
    out.step = takeStep(stem);
    if (rank)
        out.hasRank = takeRank(stem, *rank);
    out.stem = stem;
    return out;
}

std::optional<std::uint32_t> rankOfFolder(std::string_view name)
{
    constexpr std::string_view kPrefix = "rank_";
    if (!name.starts_with(kPrefix))
        return std::nullopt;
    const auto number = digitsOf(name.substr(kPrefix.size()));
    return number && *number <= std::numeric_limits<std::uint32_t>::max() ? std::optional(static_cast<std::uint32_t>(*number)) : std::nullopt;
}

Result<RunFolder> findRun(const Candidate& candidate, const OpenOptions& options)
{
    RunFolder out;
    if (candidate.isFolder) {
        SHARDLENS_ASSIGN(out, findInFolder(candidate, options));
    } else {
        if (!options.rankFiles.empty())
            return Error{ErrorCode::Refused, "--rank-file is for a folder of rank folders, and this is one file"};
        out.folder = parentOf(candidate.path);
        out.title = candidate.name();
        if (candidate.name() == kNameMap) {
            out.kind = RunFolder::Kind::Unified;
            return out;
        }
        const auto name = weightsNameOf(candidate.name(), std::nullopt);
        out.saves.push_back({name.value_or(WeightsName{candidate.name(), false, {}, false, false}), {{0, {0, candidate.path, candidate.name()}}}, candidate.sizeBytes});
    }
    if (out.kind != RunFolder::Kind::Unified && out.saves.empty() && out.ranks.empty() && !strategyFilesIn(candidate.path).empty())
        return Error{ErrorCode::Refused, "strategy files and no weights: --source-strategy gives the folder to a run, and `shardlens strategy show` says what is in it"};
    if (out.kind != RunFolder::Kind::Unified && out.saves.empty())
        return Error{ErrorCode::NotFound, out.ranks.empty() ? "no weights file (*.ckpt, *.safetensors) is in it"
                                                            : fmt::format("none of the {} holds a weights file (*.ckpt, *.safetensors)", plural(out.ranks.size(), "rank folder", "rank folders"))};
    return out;
}

Match matchRun(const Candidate& candidate)
{
    if (!candidate.isFolder)
        return candidate.name() == kNameMap || mindSporeKindOf(candidate.head, candidate.sizeBytes) != MindSporeKind::No ? Match::ByContent : Match::No;
    if (candidate.entry(kNameMap) != nullptr)
        return Match::ByContent;
    const auto holdsRun = [](const Candidate& folder) {
        return std::any_of(folder.entries.begin(), folder.entries.end(), [&](const DirectoryEntry& entry) {
            if (!entry.isFolder || !rankOfFolder(entry.name))
                return false;
            const auto inside = lookAt(joined(folder.path, entry.name));
            return inside && holdsWeights(*inside);
        });
    };
    if (holdsRun(candidate))
        return Match::ByContent;
    if (const DirectoryEntry* inner = candidate.entry(kCheckpointFolder); inner != nullptr && inner->isFolder)
        if (const auto below = lookAt(joined(candidate.path, std::string(kCheckpointFolder))); below && holdsRun(*below))
            return Match::ByContent;
    std::size_t steps = 0; // one safetensors file of such a name is as good as any other
    for (const DirectoryEntry& entry : candidate.entries) {
        const auto name = entry.isFolder ? std::nullopt : weightsNameOf(entry.name, std::nullopt);
        if (name && !name->isSafetensors && isWeightsFile(joined(candidate.path, entry.name)))
            return Match::ByContent;
        steps += name && name->isSafetensors && name->step ? 1 : 0;
    }
    if (steps > 1)
        return Match::ByContent;
    return steps == 0 && !strategyFilesIn(candidate.path).empty() ? Match::ByName : Match::No; // which says so
}

} // namespace shardlens::mindspore
