#include "core/convert/replaceable.h"

#include "core/base/text.h"
#include "core/format/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fnmatch.h>
#include <optional>
#include <set>
#include <vector>

namespace shardlens {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kLargestCompanion = 64u << 20; // the largest tokenizers are half of that
constexpr const char* kWayOut = "so --overwrite does not delete it; remove it yourself or choose another name";

// What Hugging Face and DeepSpeed put beside the files of a model. Anybody's *.json or *.txt would be too much: that may be somebody's only copy.
constexpr std::array kCompanions{
    "*.index.json", "*config*.json", "vocab*.json", "*_map.json", "added_tokens.json", "*_state.json", "*_args.json", "*_results.json", "params.json",
    "modules.json", "model_index.json", "chat_template*", "tokenizer*", "merges.txt", "vocab*.txt", "spiece.model", "sentencepiece*.model", "*.bpe.model",
    "*.spm", "README*", "LICENSE*", "NOTICE*", "USE_POLICY*", ".gitattributes", "latest", "latest_universal", "zero_to_fp32.py", "training_args.bin",
};

bool isCompanion(const fs::directory_entry& entry)
{
    std::error_code failed;
    if (entry.is_regular_file(failed) && entry.file_size(failed) > kLargestCompanion)
        return false;
    const std::string name = entry.path().filename();
    return std::any_of(kCompanions.begin(), kCompanions.end(), [&](const char* pattern) { return ::fnmatch(pattern, name.c_str(), 0) == 0; });
}

// Paths below the checkpoint's folder of the files that were read as parts of it. Left-over files are listed there too, and are somebody else's.
std::set<std::string> partsOf(const Checkpoint& checkpoint, const std::string& folder)
{
    std::set<FileId> foreign;
    for (const Finding& finding : checkpoint.findings())
        if (finding.code == "leftover-file")
            foreign.insert(finding.file);
    std::set<std::string> parts;
    for (std::size_t i = 0; i < checkpoint.files().size(); ++i) {
        const File& file = checkpoint.files()[i];
        if (file.state == File::State::Read && !foreign.contains(static_cast<FileId>(i)) && file.path.starts_with(folder + "/"))
            parts.insert(file.path.substr(folder.size() + 1));
    }
    return parts;
}

bool isFolderOf(const std::set<std::string>& parts, const std::string& name)
{
    const auto at = parts.lower_bound(name + "/");
    return at != parts.end() && at->starts_with(name + "/");
}

Result<std::vector<fs::directory_entry>> listed(const std::string& folder)
{
    std::vector<fs::directory_entry> out;
    std::error_code failed;
    for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed))
        out.push_back(*at);
    if (failed)
        return Error{ErrorCode::Io, failed.message()}.within(printable(folder));
    std::sort(out.begin(), out.end());
    return out;
}

// The first entry of `below` (a path inside `folder`, with a slash at its end, or nothing) that does not belong to the checkpoint. Links are not followed:
// only the link would be deleted.
Result<std::optional<std::string>> firstForeign(const std::string& folder, const std::string& below, const std::set<std::string>& parts)
{
    SHARDLENS_ASSIGN(const auto entries, listed(folder + "/" + below));
    for (const fs::directory_entry& entry : entries) {
        const std::string name = below + entry.path().filename().native();
        std::error_code failed;
        const fs::file_type type = entry.symlink_status(failed).type();
        if (type == fs::file_type::directory) {
            if (!isFolderOf(parts, name))
                return std::optional(name + "/");
            SHARDLENS_ASSIGN(auto inside, firstForeign(folder, name + "/", parts));
            if (inside)
                return inside;
            continue;
        }
        const bool isFile = type == fs::file_type::regular || type == fs::file_type::symlink;
        if (!isFile || !(parts.contains(name) || isFolderOf(parts, name) || isCompanion(entry)))
            return std::optional(name);
    }
    return std::optional<std::string>();
}

Error notAModel(const std::string& why)
{
    return {ErrorCode::Refused, fmt::format("it is neither a checkpoint nor a model file ({}), {}", why, kWayOut)};
}

Result<CheckpointPtr> openModel(const std::string& path)
{
    JobContext job; // of its own: what is counted here is no progress of the conversion
    auto opened = openCheckpoint(path, {}, job);
    if (!opened)
        return notAModel(opened.error().message());
    if ((*opened)->tensors().empty())
        return notAModel("no tensor is in it");
    return opened;
}

Status checkFolder(const std::string& path)
{
    SHARDLENS_ASSIGN(const auto entries, listed(path));
    if (entries.empty())
        return {};
    SHARDLENS_ASSIGN(const CheckpointPtr checkpoint, openModel(path));
    SHARDLENS_ASSIGN(const auto foreign, firstForeign(path, "", partsOf(*checkpoint, path)));
    if (foreign)
        return Error{ErrorCode::Refused, fmt::format("it holds {}, which is no part of the checkpoint there, {}", printable(*foreign), kWayOut)};
    return {};
}

} // namespace

Status checkReplaceable(const std::string& path)
{
    auto there = lookAt(path);
    if (!there)
        return there.takeError().within("what is there cannot be looked at, so it is not overwritten");
    if (there->isFolder)
        return checkFolder(there->path);
    // a name alone may be a mistake, and `latest` alone opens the folder around it
    if (std::none_of(formats().begin(), formats().end(), [&](const Format& one) { return one.probe(*there) == Match::ByContent; }))
        return notAModel("its content is of no known format");
    SHARDLENS_ASSIGN(const CheckpointPtr model, openModel(there->path));
    return {};
}

} // namespace shardlens
