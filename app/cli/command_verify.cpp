#include "app/cli/commands.h"
#include "app/cli/findings_text.h"
#include "app/cli/json_answer.h"
#include "app/cli/progress_watch.h"
#include "core/analysis/verify.h"
#include "core/base/text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace shardlens::cli {
namespace {

struct VerifyArguments {
    SourceArguments source;
    VerifyOptions options;
    std::uint32_t threads = 0;
    bool json = false;
};

void printReportJson(Console& console, const Checkpoint& checkpoint, const VerifyArguments& arguments, const VerifyReport& report)
{
    Json answer = answerJson();
    answer["path"] = arguments.source.path;
    answer["format"] = checkpoint.formatId();
    answer["quick"] = arguments.options.quick;
    answer["worst"] = report.findings.empty() ? Json() : Json(nameOf(report.worst()));
    answer["tensors_checked"] = report.tensorsChecked;
    answer["bytes_read"] = report.bytesRead;
    Json findings = Json::array();
    for (const Finding& finding : report.findings)
        findings.push_back(findingJson(checkpoint, finding));
    answer["findings"] = std::move(findings);
    printJson(console, answer);
}

void printReport(Console& console, const Checkpoint& checkpoint, const VerifyArguments& arguments, const VerifyReport& report)
{
    console.line(fmt::format("{}: {}", printable(arguments.source.path), printable(checkpoint.formatTitle())));
    printFindings(console, report.findings);
    const std::string did =
        arguments.options.quick
            ? fmt::format("{} checked for completeness; no values were read.", plural(report.tensorsChecked, "tensor", "tensors"))
            : fmt::format("{} checked, {} read.", plural(report.tensorsChecked, "tensor", "tensors"), exactSizeText(report.bytesRead));
    switch (report.worst()) {
    case Severity::Info: console.line(console.styled(Style::Good, "Whole.") + " " + did); break;
    case Severity::Warning: console.line(console.styled(Style::Warning, "Whole, but something is odd.") + " " + did); break;
    case Severity::Error: console.line(console.styled(Style::Bad, "Not sound.") + " " + did); break;
    }
}

int runVerify(const VerifyArguments& arguments, CommandContext& context)
{
    const auto checkpoint = arguments.source.open(context.job);
    if (!checkpoint)
        return reportFailure(context.console, checkpoint.error(), arguments.json);
    const auto executor = makeExecutor(arguments.threads);
    auto report = [&] {
        const ProgressWatch watch(context.job, context.console, nullptr, context.console.remarksAreTerminal() && !arguments.options.quick, "verify");
        return verifyCheckpoint(*checkpoint, arguments.options, *executor, context.job);
    }();
    if (!report)
        return reportFailure(context.console, report.takeError().within(printable(arguments.source.path)), arguments.json);
    arguments.json ? printReportJson(context.console, **checkpoint, arguments, *report)
                   : printReport(context.console, **checkpoint, arguments, *report);
    return report->worst() == Severity::Info ? kExitDone : kExitFinding;
}

} // namespace

void addVerifyCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<VerifyArguments>();
    CLI::App* command = program.add_subcommand("verify", "Is every element there, are the bytes those that were written, do replicas agree, are the values finite?");
    addSourceArguments(*command, arguments->source);
    command->add_flag("--quick", arguments->options.quick, "Completeness only: no values are read");
    addThreadsOption(*command, arguments->threads);
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->footer("Exit code 1 says that something of severity warning or more was found.\n\n"
                    "Example: shardlens verify /data/run --quick");
    command->callback([arguments, &context] { context.exitCode = runVerify(*arguments, context); });
}

} // namespace shardlens::cli
