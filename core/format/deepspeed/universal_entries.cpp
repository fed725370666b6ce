#include "core/format/deepspeed/universal_entries.h"

#include "core/base/text.h"
#include "core/format/deepspeed/rank_files.h"

#include <fmt/format.h>

namespace shardlens::deepspeed {
namespace {

constexpr std::size_t kMaxFolders = 1'000'000;
constexpr int kMaxDepth = 16; // of parameter names with slashes
constexpr std::string_view kStateEnding = ".pt";

Status listFolder(const std::string& tagFolder, const std::string& parameter, int depth, std::size_t& folders, UniversalListing& out)
{
    if (++folders > kMaxFolders || depth > kMaxDepth)
        return Error{ErrorCode::LimitExceeded, fmt::format("zero/ has more than {} folders, or deeper ones than {}", groupedText(kMaxFolders), kMaxDepth)};
    const std::string relative = parameter.empty() ? "zero" : "zero/" + parameter;
    auto listed = lookAt(tagFolder + "/" + relative);
    if (!listed)
        return listed.takeError().within(printable(relative));
    for (const DirectoryEntry& entry : listed->entries) {
        if (entry.isFolder) {
            SHARDLENS_TRY(listFolder(tagFolder, parameter.empty() ? entry.name : parameter + "/" + entry.name, depth + 1, folders, out));
            continue;
        }
        const std::string_view name = entry.name;
        if (!parameter.empty() && name.size() > kStateEnding.size() && name.ends_with(kStateEnding))
            out[parameter].emplace(name.substr(0, name.size() - kStateEnding.size()), relative + "/" + entry.name);
    }
    return {};
}

} // namespace

Result<UniversalListing> listUniversal(const std::string& tagFolder)
{
    UniversalListing out;
    std::size_t folders = 0;
    SHARDLENS_TRY(listFolder(tagFolder, {}, 0, folders, out));
    return out;
}

UniversalEntry readUniversalEntry(Run& run, const std::string& parameter, const std::string& state, const std::string& fileName)
{
    UniversalEntry out{openRankFile(run, fileName, std::nullopt), std::nullopt, {}, false, std::nullopt, false};
    run.builder.file(out.file.id).holds = !out.file.torch ? "" : state == kUniversalMaster ? "fp32 master" : state;
    if (!out.file.torch)
        return out;
    const pickle::Value root = out.file.root();
    out.isBare = !root.isMapping();
    out.isVocabulary = root.find("vocab_tensor").asBool().value_or(false);
    if (root.find("is_expert_param").asBool().value_or(false))
        out.experts = countOf(root.find("ep_num_experts"));
    const pickle::Value value = out.isBare ? root : root.find("param");
    const bool isNumber = value.kind() == pickle::Kind::Int || value.kind() == pickle::Kind::Float;
    std::string problem = "it holds no tensor, and none under `param`";
    if (TorchFile::isTensor(value)) {
        auto tensor = out.file.torch->tensorOf(value);
        problem = tensor ? "its tensor has no values" : tensor.error().text();
        if (tensor && !tensor->noData)
            out.tensor = tensor.take();
    }
    const bool isScalar = state != kUniversalMaster && out.isBare && (isNumber || (out.tensor && out.tensor->shape.empty()));
    if (isScalar) {
        out.scalar = value;
        out.tensor.reset();
        return out;
    }
    if (!out.tensor)
        run.find(Severity::Error, "no-entry", fmt::format("{} is not the {} of {}: {}.", printable(fileName), printable(state), printable(parameter), problem), out.file.id);
    return out;
}

} // namespace shardlens::deepspeed
