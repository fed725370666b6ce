#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "core/base/text.h"
#include "core/format/sdloader/load_preview.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace shardlens::cli {
namespace {

using sdloader::LoadPreview;
using sdloader::LoadRequest;
using sdloader::Selection;

constexpr std::size_t kMostLoaderRanks = 1u << 16;

struct SdloaderArguments {
    LoadRequest request;
    bool json = false;
};

const char* actionName(Selection::Action action)
{
    switch (action) {
    case Selection::Action::Load: return "load";
    case Selection::Action::Merge: return "merge";
    case Selection::Action::Split: return "split";
    }
    return "";
}

void printLoadJson(Console& console, const SdloaderArguments& arguments, const LoadPreview& preview)
{
    const Selection& selection = preview.selection;
    Json answer = answerJson();
    answer["list"] = preview.list;
    answer["files"] = preview.files.size();
    answer["mp_size"] = arguments.request.mpSize;
    answer["mp_rank"] = arguments.request.mpRank;
    answer["action"] = actionName(selection.action);
    answer["file"] = preview.files[selection.file];
    answer["index"] = selection.file;
    answer["merge_count"] = selection.mergeCount;
    answer["merged"] = Json::array();
    for (std::size_t i = 0; selection.action == Selection::Action::Merge && i < selection.mergeCount; ++i)
        answer["merged"].push_back(preview.files[selection.file + i]);
    answer["split_into"] = selection.splitInto;
    answer["part"] = selection.part;
    answer["version"] = preview.version.empty() ? Json() : Json(preview.version);
    printJson(console, answer);
}

void printLoad(Console& console, const SdloaderArguments& arguments, const LoadPreview& preview)
{
    const Selection& selection = preview.selection;
    console.line(fmt::format("{}: {}, rank {} of {}", printable(preview.list), plural(preview.files.size(), "file", "files"), arguments.request.mpRank, arguments.request.mpSize));
    const std::string version = preview.version.empty() ? std::string() : fmt::format(", query_key_value as in version {}", printable(preview.version));
    switch (selection.action) {
    case Selection::Action::Load: console.line("  loads one file as it is"); break;
    case Selection::Action::Merge: console.line(fmt::format("  merges {} files{}", selection.mergeCount, version)); break;
    case Selection::Action::Split: console.line(fmt::format("  splits one file into {}, and takes part {}{}", selection.splitInto, selection.part, version)); break;
    }
    for (std::size_t i = 0; i < selection.mergeCount; ++i)
        console.line("    " + printable(preview.files[selection.file + i]));
    console.line(fmt::format("  load() returns the path of {} and a merge count of {}", printable(preview.files[selection.file]), selection.mergeCount));
}

int runSelect(const SdloaderArguments& arguments, CommandContext& context)
{
    const auto preview = sdloader::previewLoad(arguments.request, context.job);
    if (!preview)
        return reportFailure(context.console, preview.error(), arguments.json);
    arguments.json ? printLoadJson(context.console, arguments, *preview) : printLoad(context.console, arguments, *preview);
    return kExitDone;
}

} // namespace

void addSdloaderCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<SdloaderArguments>();
    CLI::App* group = program.add_subcommand("sdloader", "What DeepSpeed's MegatronSDLoader does with a list of checkpoint files");
    group->require_subcommand(1);
    group->footer("Example: shardlens sdloader select checkpoints.json --mp-size 2 --mp-rank 1");
    CLI::App* command = group->add_subcommand("select", "What MegatronSDLoader.load would load: a file, several merged, or a part of one");
    command->add_option("LIST", arguments->request.path, "The JSON list of SDLoaderFactory, or a folder with one")->required();
    command->add_option("--mp-size", arguments->request.mpSize, "load's mp_world_size: ranks that load the model")
        ->type_name("N")
        ->required()
        ->check(CLI::Range(std::size_t{1}, kMostLoaderRanks).description(""));
    command->add_option("--mp-rank", arguments->request.mpRank, "load's mp_rank: the rank that asks, from 0")->type_name("R")->required();
    command->add_flag("--pipe", arguments->request.isPipeParallel, "load's is_pipe_parallel");
    command->add_option("--module-key", arguments->request.moduleKey, "The model's key in each file, or none for None (default: auto)")->type_name("KEY");
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->footer("What the loader refuses is refused here, with exit code 2. It checks for the keys of a Megatron layer before it merges only.\n\n"
                    "Example: shardlens sdloader select checkpoints.json --mp-size 2 --mp-rank 1\n"
                    "         shardlens sdloader select layers.json --mp-size 2 --mp-rank 0 --pipe --module-key none");
    command->callback([arguments, &context] { context.exitCode = runSelect(*arguments, context); });
}

} // namespace shardlens::cli
