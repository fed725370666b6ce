#include "core/format/deepspeed/facts.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::deepspeed {
namespace {

constexpr std::size_t kTagsSaid = 8;
constexpr std::size_t kTreesOfRanks = 8;       // of optimizer files: they say the same on every rank
constexpr std::size_t kMetadataNodes = 20'000; // a file

std::string lastPart(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? path : path.substr(slash + 1);
}

// "global_step5, global_step10 (--tag opens them)"
std::string otherTags(const TagFolder& folder)
{
    std::vector<std::string> shown;
    for (std::size_t i = 0; i < std::min(folder.otherTags.size(), kTagsSaid); ++i)
        shown.push_back(printable(folder.otherTags[i]));
    const std::string more = folder.otherTags.size() > kTagsSaid ? fmt::format(" and {} more", folder.otherTags.size() - kTagsSaid) : "";
    return fmt::format("{}{} (--tag opens them)", fmt::join(shown, ", "), more);
}

void addFact(Run& run, const char* title, pickle::Value value)
{
    if (const auto number = countOf(value))
        run.builder.addFact(title, groupedText(*number));
    else if (const auto text = value.asText())
        run.builder.addFact(title, printable(*text));
}

std::string modelHolds(const Run& run)
{
    if (!run.model.torch)
        return "";
    if (run.stage == Stage::Zero3)
        return run.model.root().find("frozen_param_fragments").size() > 0 ? "buffers, frozen fragments, arguments" : "buffers, arguments";
    if (run.isModuleAlone)
        return "module";
    return run.stage == Stage::None && run.model.root().find("optimizer").isMapping() ? "module, optimizer, arguments" : "module, arguments";
}

void addTree(Run& run, const RankFile& file)
{
    if (file.torch)
        run.builder.addMetadata({file.id, describe(*file.torch, kMetadataNodes)});
}

void addUniversalFacts(Run& run)
{
    const pickle::Value facts = run.model.root().find("universal_checkpoint_info");
    run.builder.addFact("made from", fmt::format("{} on {}", titleOf(run.stage), plural(run.world, "data-parallel rank", "data-parallel ranks")));
    if (const auto version = facts.find("universal_checkpoint_version").asFloat())
        run.builder.addFact("universal version", fmt::format("{}", *version));
    addFact(run, "vocabulary", facts.find("original_vocab_size"));
    addFact(run, "vocabulary with padding", facts.find("padded_vocab_size"));
}

} // namespace

void addFacts(Run& run)
{
    const pickle::Value root = run.model.root();
    run.builder.setFormat(run.folder.isUniversal ? "universal" : "deepspeed", run.folder.isUniversal ? "DeepSpeed universal" : titleOf(run.stage));
    const bool openedTag = run.folder.root == run.folder.path;
    run.builder.setTitle(lastPart(openedTag ? run.folder.path : run.folder.root), openedTag ? "" : run.folder.tag);
    if (!run.folder.otherTags.empty())
        run.builder.addFact("other tags", otherTags(run.folder));
    addFact(run, "step", root.find("global_steps"));
    addFact(run, "samples", root.find("global_samples"));
    addFact(run, "written by DeepSpeed", root.find("ds_version"));
    const pickle::Value bf16 = configOf(root, {"bf16", "enabled"});
    const pickle::Value fp16 = configOf(root, {"fp16", "enabled"});
    run.builder.addFact("training precision", bf16.asBool().value_or(false) ? "bf16" : fp16.asBool().value_or(false) ? "fp16" : "fp32");

    if (run.folder.isUniversal)
        addUniversalFacts(run);
    if (run.stage3Models.empty()) {
        run.builder.file(run.model.id).holds = modelHolds(run);
        addTree(run, run.model);
    }
    std::size_t trees = 0;
    for (const auto& [rank, file] : run.stage3Models) {
        run.builder.file(file.id).holds = file.torch ? modelHolds(run) : "";
        if (trees++ < kTreesOfRanks)
            addTree(run, file);
    }
    trees = 0;
    for (const auto& [rank, file] : run.moeOptimizers)
        if (trees++ < kTreesOfRanks)
            addTree(run, file);
    trees = 0;
    for (const auto& [rank, file] : run.optimizers) {
        run.builder.file(file.id).holds = !file.torch ? "" : run.folder.isUniversal ? "settings of the optimizer" : "fp32 masters, optimizer states";
        if (trees++ < kTreesOfRanks)
            addTree(run, file);
    }
}

} // namespace shardlens::deepspeed
