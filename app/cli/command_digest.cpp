#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "app/cli/progress_watch.h"
#include "core/analysis/digest.h"
#include "core/base/text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace shardlens::cli {
namespace {

struct DigestArguments {
    SourceArguments source;
    SelectionArguments selection;
    std::uint32_t threads = 0;
    bool json = false;
};

struct DigestAnswer {
    std::vector<TensorDigest> tensors;
    std::vector<std::string> leftOut; // names that are there and are not read
};

Result<DigestAnswer> computeDigests(const DigestArguments& arguments, CommandContext& context)
{
    JobContext& job = context.job;
    SHARDLENS_ASSIGN(const SelectionOptions selection, arguments.selection.options());
    SHARDLENS_ASSIGN(const CheckpointPtr checkpoint, arguments.source.open(job));
    SHARDLENS_ASSIGN(const std::vector<SelectedTensor> selected, selectNamed(*checkpoint, selection));
    warnOfLost(context.console, *checkpoint, selection);
    const auto executor = makeExecutor(arguments.threads);
    const ProgressWatch watch(job, context.console, nullptr, context.console.remarksAreTerminal(), "digest");
    auto digests = digestTensors(checkpoint, selected, *executor, job);
    if (!digests)
        return digests.takeError().within(printable(arguments.source.path));
    DigestAnswer out{digests.take(), {}};
    for (const std::size_t lost : selectLost(*checkpoint, selection))
        out.leftOut.push_back(checkpoint->lostTensors()[lost].name);
    return out;
}

// Written tensor by tensor: the order is the model's, and a name is looked up nowhere.
void printDigestsJson(Console& console, const DigestAnswer& answer)
{
    const std::vector<TensorDigest>& digests = answer.tensors;
    console.write(fmt::format("{{\n \"schema\": 1,\n \"left_out\": {},\n \"tensors\": {{", Json(answer.leftOut).dump(-1, ' ', false, Json::error_handler_t::replace)));
    for (std::size_t i = 0; i < digests.size(); ++i) {
        const TensorDigest& one = digests[i];
        const Json value{{"dtype", nameOf(one.dtype)}, {"shape", shapeJson(one.shape)}, {"sha256", one.sha256}};
        console.write(i == 0 ? "\n  " : ",\n  ");
        console.write(Json(one.name).dump(-1, ' ', false, Json::error_handler_t::replace) + ": " + value.dump());
    }
    console.write(digests.empty() ? "}\n}\n" : "\n }\n}\n");
}

void printDigests(Console& console, const DigestAnswer& answer)
{
    for (const TensorDigest& one : answer.tensors)
        console.line(fmt::format("{}  {}", one.sha256, elided(printable(one.name), console.lineLimit() > 70 ? console.lineLimit() - 66 : 34)));
}

int runDigest(const DigestArguments& arguments, CommandContext& context)
{
    const auto digests = computeDigests(arguments, context);
    if (!digests)
        return reportFailure(context.console, digests.error(), arguments.json);
    arguments.json ? printDigestsJson(context.console, *digests) : printDigests(context.console, *digests);
    return kExitDone;
}

} // namespace

void addDigestCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<DigestArguments>();
    CLI::App* command = program.add_subcommand("digest", "The sha256 of each logical tensor, whatever files it lies in");
    addSourceArguments(*command, arguments->source);
    addSelectionArguments(*command, arguments->selection);
    addThreadsOption(*command, arguments->threads);
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->footer("Two checkpoints hold the same model exactly if names, dtypes, shapes and digests (all in --json) are equal and nothing is left out.\n\n"
                    "Example: shardlens digest /data/run --select module --json");
    command->callback([arguments, &context] { context.exitCode = runDigest(*arguments, context); });
}

} // namespace shardlens::cli
