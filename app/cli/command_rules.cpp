#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "app/cli/rules_report.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace shardlens::cli {
namespace {

constexpr std::uint32_t kMostPreviewRanks = 4096;

struct RulesArguments {
    std::string rules; // an id or a file; empty: list them
    std::string path;  // of a checkpoint; empty: none
    std::optional<std::string> tag;
    std::optional<std::string> moduleKey;
    std::uint32_t ranks = 0; // 0: the checkpoint's own
    bool json = false;
};

Result<RulesOn> rulesOn(const RuleSet& rules, const RulesArguments& arguments, CommandContext& context)
{
    OpenOptions options;
    options.tag = arguments.tag;
    options.moduleKey = arguments.moduleKey;
    const auto candidate = lookAt(arguments.path); // what cannot be looked at, openCheckpoint explains
    const Format* format = candidate ? detect(*candidate) : nullptr;
    if (format != nullptr && format->hasRules) // others have whole tensors, which take no rules to read
        options.rules = arguments.rules;
    RulesOn out;
    SHARDLENS_ASSIGN(out.checkpoint, openCheckpoint(arguments.path, options, context.job));
    out.preview = previewRules(rules, *out.checkpoint, arguments.ranks);
    return out;
}

Status showRules(const RulesArguments& arguments, CommandContext& context)
{
    SHARDLENS_ASSIGN(const RuleSet rules, findRules(arguments.rules));
    std::optional<RulesOn> on;
    if (!arguments.path.empty()) {
        SHARDLENS_ASSIGN(on, rulesOn(rules, arguments, context));
    }
    if (arguments.json)
        printJson(context.console, rulesJson(rules, on ? &*on : nullptr));
    else
        printRules(context.console, rules, on ? &*on : nullptr);
    return {};
}

void listRules(const RulesArguments& arguments, CommandContext& context)
{
    const std::vector<KnownRules> known = knownRules();
    if (arguments.json)
        printJson(context.console, knownRulesJson(known));
    else
        printKnownRules(context.console, known);
}

} // namespace

void addRulesCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<RulesArguments>();
    CLI::App* command = program.add_subcommand("rules", "How tensor-parallel ranks divide parameters: the rule files that there are");
    CLI::Option* rules = command->add_option("RULES", arguments->rules, "Show these: an id, or a rule file (resources/rules/README.md)");
    CLI::Option* on = command->add_option("--on", arguments->path, "Also what they make of this checkpoint")->type_name("PATH")->needs(rules);
    command->add_option("--tp", arguments->ranks, "Over so many tensor-parallel ranks (default: the checkpoint's)")
        ->type_name("N")
        ->check(CLI::Range(1u, kMostPreviewRanks).description(""))
        ->needs(on);
    command->add_option("--tag", arguments->tag, "The tag of a DeepSpeed root folder (default: what `latest` says)")->type_name("TAG")->needs(on);
    command->add_option("--module-key", arguments->moduleKey, "SDLoader lists: the model's key in each file, or none")->type_name("KEY")->needs(on);
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->footer("Example: shardlens rules\n"
                    "         shardlens rules megatron-core\n"
                    "         shardlens rules my-model.json --on /data/run --tp 4");
    command->callback([arguments, &context] {
        if (arguments->rules.empty()) {
            listRules(*arguments, context);
        } else if (const Status status = showRules(*arguments, context); !status) {
            context.exitCode = reportFailure(context.console, status.error(), arguments->json);
        }
    });
}

} // namespace shardlens::cli
