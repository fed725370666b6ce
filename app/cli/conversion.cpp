#include "app/cli/conversion.h"

#include "app/cli/progress_events.h"
#include "app/cli/progress_watch.h"

#include <CLI/CLI.hpp>

#include <map>
#include <optional>
#include <unistd.h>

namespace shardlens::cli {
namespace {

const char* outcomeOf(const Error& error)
{
    switch (error.code()) {
    case ErrorCode::Cancelled: return "cancelled";
    case ErrorCode::Refused: return "refused";
    case ErrorCode::NotFound:
    case ErrorCode::Io:
    case ErrorCode::Corrupt:
    case ErrorCode::Unsupported:
    case ErrorCode::LimitExceeded: return "failed";
    }
    return "";
}

Json failureEvent(const Error& error)
{
    return Json{{"event", "report"},
                {"outcome", outcomeOf(error)},
                {"error", Json{{"code", cli::nameOf(error.code())}, {"text", error.sentence()}}}};
}

Json startEvent(const ConvertRequest& request)
{
    return Json{{"event", "start"},
                {"program", "shardlens"},
                {"version", SHARDLENS_VERSION},
                {"job_version", kJobVersion},
                {"pid", ::getpid()},
                {"job", Json::parse(requestToJson(request))}};
}

// What a run leaves: the plan, and the report unless it was a dry run.
struct Outcome {
    Plan plan;
    std::optional<ConvertReport> report;
};

void enter(ConvertPhase phase, JobContext& job)
{
    job.progress().phase.store(static_cast<std::uint32_t>(phase), std::memory_order_relaxed);
}

void sendLines(const Plan& plan, EventStream* events)
{
    if (events == nullptr)
        return;
    for (const PlanLine& line : plan.lines)
        events->offer(Json{{"event", "line"}, {"kind", shardlens::nameOf(line.kind)}, {"topic", line.topic}, {"text", line.text}});
}

Result<Outcome> convert(const ConvertRequest& request, bool dryRun, EventStream* events, JobContext& job)
{
    enter(ConvertPhase::Open, job);
    SHARDLENS_ASSIGN(CheckpointPtr source, openCheckpoint(request.source, request.open, job));
    enter(ConvertPhase::Plan, job);
    Outcome out;
    SHARDLENS_ASSIGN(out.plan, planConversion(std::move(source), request, job));
    sendLines(out.plan, events);
    if (dryRun)
        return out;
    const auto executor = makeExecutor(out.plan.request.threads);
    SHARDLENS_ASSIGN(out.report, executePlan(out.plan, *executor, job));
    return out;
}

int report(const Outcome& outcome, const ConversionOptions& options, EventStream* events, Console& console)
{
    Json answer = outcome.report ? reportJson(outcome.plan, *outcome.report) : planJson(outcome.plan);
    if (events != nullptr) {
        Json event{{"event", "report"}, {"outcome", outcome.report ? "done" : "planned"}};
        event.update(answer);
        events->finish(event);
    } else if (options.json) {
        Json whole = answerJson();
        whole.update(answer);
        printJson(console, whole);
    } else if (outcome.report) {
        printReport(console, outcome.plan, *outcome.report);
    } else {
        printPlan(console, outcome.plan);
    }
    return kExitDone;
}

} // namespace

void addConversionOptions(CLI::App& command, ConversionOptions& options)
{
    static const std::map<std::string, ProgressStyle> kStyles{{"auto", ProgressStyle::Auto}, {"json", ProgressStyle::Json}, {"none", ProgressStyle::None}};
    command.add_flag("--dry-run", options.dryRun, "Show the plan; write nothing");
    command.add_flag("--json", options.json, "Answer in JSON (docs/json.md)");
    command.add_option("--progress", options.progress, "auto (a bar on a terminal), json (events on standard output) or none")
        ->type_name("HOW")
        ->transform(CLI::CheckedTransformer(kStyles).description(""));
}

int failConversion(const Error& error, const ConversionOptions& options, CommandContext& context)
{
    if (options.progress == ProgressStyle::Json) {
        EventStream events(STDOUT_FILENO);
        events.finish(failureEvent(error));
    }
    return reportFailure(context.console, error, options.json && options.progress != ProgressStyle::Json);
}

int runConversion(const ConvertRequest& request, const ConversionOptions& options, CommandContext& context)
{
    std::optional<EventStream> events;
    if (options.progress == ProgressStyle::Json)
        events.emplace(STDOUT_FILENO);
    EventStream* const stream = events ? &*events : nullptr;
    if (stream != nullptr)
        stream->offer(startEvent(request));
    const auto outcome = [&] {
        const bool bar = options.progress == ProgressStyle::Auto && context.console.remarksAreTerminal();
        const ProgressWatch watch(context.job, context.console, stream, bar);
        return convert(request, options.dryRun, stream, context.job);
    }();
    if (outcome)
        return report(*outcome, options, stream, context.console);
    if (stream != nullptr)
        stream->finish(failureEvent(outcome.error()));
    return reportFailure(context.console, outcome.error(), options.json && stream == nullptr);
}

} // namespace shardlens::cli
