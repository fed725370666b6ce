#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "app/cli/strategy_report.h"
#include "core/base/text.h"
#include "core/io/byte_source.h"
#include "core/io/output_file.h"
#include "core/io/staged_output.h"
#include "core/layout/strategy_ranks.h"
#include "core/layout/strategy_writer.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>

namespace shardlens::cli {
namespace {

using mindspore::Strategy;
using mindspore::StrategyFolder;

constexpr std::uint64_t kLargestRank = (std::uint64_t{1} << 32) - 1; // negative numbers come as larger ones
constexpr std::uint64_t kMostRankPairs = 1ull << 32; // of a target's ranks and a source's devices, in one answer
constexpr std::size_t kMostNumbersListed = 1u << 26; // of ranks, in one answer

struct MergeArguments {
    std::string folder;
    std::string file;
    bool overwrite = false;
    bool json = false;
};

struct RanksArguments {
    std::optional<std::uint64_t> rank;
    std::string source; // empty: none
    std::string target;
    bool json = false;
};

struct ShowStrategyArguments {
    std::string path;
    std::optional<std::uint64_t> rank;
    std::string pattern;
    bool all = false;
    bool json = false;
};

// A strategy file that another one may replace; anything else may be somebody's only copy.
Status checkReplaceable(const std::string& path, bool overwrite)
{
    std::error_code failed;
    if (!std::filesystem::exists(std::filesystem::symlink_status(path, failed)))
        return {};
    if (!overwrite)
        return Error{ErrorCode::Refused, "it exists; choose another name, or replace it with --overwrite"};
    SHARDLENS_ASSIGN(const auto source, FileSource::open(path));
    SHARDLENS_ASSIGN(const auto head, readBytes(*source, 0, std::min<std::uint64_t>(source->size(), 4096), 4096));
    if (!mindspore::looksLikeStrategy({reinterpret_cast<const char*>(head.data()), head.size()}, source->size()))
        return Error{ErrorCode::Refused, "it exists and is no strategy file, so --overwrite does not replace it; remove it yourself or choose another name"};
    return {};
}

Status writeStrategy(const TargetPath& target, const std::string& bytes, bool overwrite)
{
    const auto hash = static_cast<std::uint32_t>(std::hash<std::string>()(target.path));
    SHARDLENS_ASSIGN(StagedOutput staged, StagedOutput::create({target.path, true, fmt::format("{:08x}", hash)}));
    {
        SHARDLENS_ASSIGN(const OutputFile file, OutputFile::create(staged.resultPath(), bytes.size()));
        SHARDLENS_TRY(file.writeAt(0, std::as_bytes(std::span(bytes))));
        SHARDLENS_TRY(file.flush());
    }
    return staged.publish(overwrite ? StagedOutput::Existing::Replace : StagedOutput::Existing::Refuse);
}

std::vector<std::string> mergeWarnings(const Strategy& strategy, const std::string& file)
{
    std::vector<std::string> out(strategy.notes().begin(), strategy.notes().end());
    const auto items = strategy.items();
    const auto shapeless = std::count_if(items.begin(), items.end(), [](const auto& item) { return !item.fullShape; });
    if (file.ends_with(".json") && shapeless != 0)
        out.push_back(fmt::format("{} without tensor_shape, which protobuf strategies do not say and MindSpore's compiler asks of JSON; its Python tools do not",
                                  plural(static_cast<std::uint64_t>(shapeless), "parameter", "parameters")));
    return out;
}

Status mergeStrategies(const MergeArguments& arguments, CommandContext& context)
{
    const TargetPath target(arguments.file);
    const auto withinTarget = [&](Status status) { return status ? std::move(status) : Status(status.takeError().within("target " + printable(target.path))); };
    SHARDLENS_ASSIGN(const StrategyFolder merged, mindspore::readStrategyFolder(arguments.folder));
    SHARDLENS_TRY(withinTarget(checkReplaceable(target.path, arguments.overwrite)));
    auto bytes = mindspore::strategyBytesFor(merged.strategy, target.name);
    if (!bytes)
        return withinTarget(bytes.takeError());
    SHARDLENS_TRY(context.job.poll());
    SHARDLENS_TRY(withinTarget(writeStrategy(target, *bytes, arguments.overwrite)));
    const StrategyMergeAnswer answer{target.path, bytes->size(), mergeWarnings(merged.strategy, target.name)};
    if (arguments.json)
        printJson(context.console, mergeJson(merged, answer));
    else
        printMerge(context.console, merged, answer);
    return {};
}

Result<std::optional<Strategy>> optionalStrategy(const std::string& path)
{
    if (path.empty())
        return std::optional<Strategy>();
    SHARDLENS_ASSIGN(Strategy strategy, mindspore::readStrategyOrFolder(path));
    return std::optional<Strategy>(std::move(strategy));
}

Result<RankNeeds> rankNeeds(const mindspore::NeededRanks& needed, const RanksArguments& arguments, std::uint64_t sourceDevices, JobContext& job)
{
    const std::optional<std::uint64_t>& rank = arguments.rank;
    if (!rank && needed.targetRanks() > kMostRankPairs / sourceDevices)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} target ranks and {} source devices are too many for one answer; ask for one rank with --rank", groupedText(needed.targetRanks()),
                                                           groupedText(sourceDevices))};
    RankNeeds out;
    std::map<std::vector<std::uint64_t>, std::size_t> known;
    std::size_t numbers = 0;
    const std::uint64_t end = rank ? *rank + 1 : needed.targetRanks();
    for (std::uint64_t one = rank.value_or(0); one < end; ++one) {
        SHARDLENS_TRY(job.poll());
        SHARDLENS_ASSIGN(std::vector<std::uint64_t> list, needed.of(one));
        numbers += list.size();
        if (numbers > kMostNumbersListed)
            return Error{ErrorCode::LimitExceeded, fmt::format("the lists of {} ranks are too long for one answer; ask for one with --rank", needed.targetRanks())};
        const auto [at, isNew] = known.try_emplace(std::move(list), out.lists.size());
        if (isNew)
            out.lists.push_back(at->first);
        out.ranks.emplace_back(one, at->second);
    }
    return out;
}

Status listRanks(const RanksArguments& arguments, CommandContext& context)
{
    if (arguments.source.empty() && arguments.target.empty())
        return Error{ErrorCode::Refused, "no layouts to compare: give --source-strategy, --strategy or both"};
    SHARDLENS_ASSIGN(const std::optional<Strategy> source, optionalStrategy(arguments.source));
    SHARDLENS_ASSIGN(const std::optional<Strategy> target, optionalStrategy(arguments.target));
    const Strategy* const from = source ? &*source : nullptr;
    const Strategy* const to = target ? &*target : nullptr;
    SHARDLENS_ASSIGN(const mindspore::NeededRanks needed, mindspore::NeededRanks::make(from, to));
    SHARDLENS_ASSIGN(const RankNeeds needs, rankNeeds(needed, arguments, from != nullptr ? from->stageDeviceCount() : 1, context.job));
    if (arguments.json)
        printRankNeedsJson(context.console, needs);
    else
        printRankNeeds(context.console, needs, from, to);
    return {};
}

Result<StrategyShowOptions> showOptions(const ShowStrategyArguments& arguments, const Strategy& strategy)
{
    StrategyShowOptions out{arguments.rank, {}, arguments.all || !arguments.pattern.empty()};
    if (out.rank && *out.rank >= strategy.worldSize())
        return Error{ErrorCode::Refused, fmt::format("rank {} is asked for, and there are ranks 0 to {}",
                                                     *out.rank, strategy.worldSize() - 1)}.within(printable(arguments.path));
    std::optional<Regex> pattern;
    if (!arguments.pattern.empty()) {
        auto compiled = Regex::compile(arguments.pattern);
        if (!compiled)
            return compiled.takeError().within("pattern " + printable(arguments.pattern));
        pattern = compiled.take();
    }
    const auto items = strategy.items();
    for (std::uint32_t i = 0; i < items.size(); ++i)
        if ((!out.rank || items[i].stage == strategy.stageOf(*out.rank)) && (!pattern || pattern->search(items[i].name)))
            out.items.push_back(i);
    if (pattern && out.items.empty())
        return Error{ErrorCode::Refused, fmt::format("no parameter{} matches {}",
                                                     out.rank ? " of its stage" : "", printable(arguments.pattern))}.within(printable(arguments.path));
    return out;
}

Status showStrategy(const ShowStrategyArguments& arguments, CommandContext& context)
{
    SHARDLENS_ASSIGN(const Strategy strategy, mindspore::readStrategyOrFolder(arguments.path));
    SHARDLENS_ASSIGN(const StrategyShowOptions options, showOptions(arguments, strategy));
    if (arguments.json)
        printJson(context.console, strategyJson(strategy, options));
    else
        printStrategy(context.console, strategy, options);
    return {};
}

// The callback of a command: a failure becomes a sentence and the exit code.
template <typename Arguments>
std::function<void()> runner(std::shared_ptr<Arguments> arguments, CommandContext& context, Status (*run)(const Arguments&, CommandContext&))
{
    return [arguments, &context, run] {
        if (const Status status = run(*arguments, context); !status)
            context.exitCode = reportFailure(context.console, status.error(), arguments->json);
    };
}

void addMerge(CLI::App& group, CommandContext& context)
{
    const auto arguments = std::make_shared<MergeArguments>();
    CLI::App* command = group.add_subcommand("merge", "One strategy file out of those of all pipeline stages (merge_pipeline_strategys)");
    command->add_option("FOLDER", arguments->folder, "The stages' files: *.ckpt or *.json, one or more of every stage")->required();
    command->add_option("FILE", arguments->file, "The file to write; JSON where it ends in .json, else protobuf")->required();
    command->add_flag("--overwrite", arguments->overwrite, "Replace a strategy file of that name");
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->footer("Example: shardlens strategy merge output/strategy merged_strategy.ckpt");
    command->callback(runner(arguments, context, mergeStrategies));
}

void addRanks(CLI::App& group, CommandContext& context)
{
    const auto arguments = std::make_shared<RanksArguments>();
    CLI::App* command = group.add_subcommand("ranks", "The source ranks that MindSpore opens for a target rank (rank_list_for_transform)");
    command->add_option("--rank", arguments->rank, "Only for this target rank (default: for each)")
        ->type_name("N")
        ->check(CLI::Range(std::uint64_t{0}, kLargestRank).description(""));
    command->add_option("--source-strategy", arguments->source, "The layout that there is: a strategy file, or a folder of stage files (default: the whole model)")
        ->type_name("PATH");
    command->add_option("--strategy", arguments->target, "The layout that is wanted (default: the whole model)")->type_name("PATH");
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->footer("`shardlens convert` reads less: of these files only what a rank's slices lie in.\n\n"
                    "Example: shardlens strategy ranks --source-strategy src.ckpt --strategy dst.ckpt\n"
                    "         shardlens strategy ranks --source-strategy stages --rank 3 --strategy dst.ckpt --json");
    command->callback(runner(arguments, context, listRanks));
}

void addShow(CLI::App& group, CommandContext& context)
{
    const auto arguments = std::make_shared<ShowStrategyArguments>();
    CLI::App* command = group.add_subcommand("show", "What a strategy file says: stages, devices, and how each parameter is cut");
    command->add_option("FILE", arguments->path, "A strategy file, or a folder of stage files")->required();
    command->add_option("--rank", arguments->rank, "What this rank holds")->type_name("N")->check(CLI::Range(std::uint64_t{0}, kLargestRank).description(""));
    command->add_option("--parameter", arguments->pattern, "Only names in which the pattern is found")->type_name("RE");
    command->add_flag("--all", arguments->all, "A row for each parameter (default: one for those that are cut alike)");
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->footer("Example: shardlens strategy show merged_strategy.ckpt\n"
                    "         shardlens strategy show src.json --rank 5 --parameter embedding");
    command->callback(runner(arguments, context, showStrategy));
}

} // namespace

void addStrategyCommand(CLI::App& program, CommandContext& context)
{
    CLI::App* group = program.add_subcommand("strategy", "MindSpore's strategy files: which slice of every parameter a rank holds");
    group->require_subcommand(1);
    group->footer("Example: shardlens strategy show output/strategy\n"
                  "         shardlens strategy ranks --source-strategy src.ckpt --strategy dst.ckpt\n"
                  "         shardlens strategy merge output/strategy merged_strategy.ckpt");
    addMerge(*group, context);
    addRanks(*group, context);
    addShow(*group, context);
}

} // namespace shardlens::cli
