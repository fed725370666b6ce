#include "app/cli/conversion.h"

#include "app/cli/output_file.h"
#include "app/cli/precision_report.h"
#include "app/cli/progress_events.h"
#include "app/cli/progress_watch.h"
#include "core/base/text.h"
#include "core/compute/devices.h"

#include <CLI/CLI.hpp>

#include <algorithm>
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

// What a run leaves: the plan, what becomes of values where that was measured, and the report unless it was a dry run.
struct Outcome {
    Plan plan;
    std::vector<TensorPrecision> precision;
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

Status measure(Outcome& outcome, const ConversionOptions& options, Executor& executor, JobContext& job)
{
    const bool asked = options.precision == PrecisionStyle::Sampled || options.precision == PrecisionStyle::Exact || !options.precisionCsv.empty();
    if (options.precision == PrecisionStyle::None && !options.precisionCsv.empty())
        return Error{ErrorCode::Refused, "--precision none measures nothing that --precision-csv could write"};
    if (outcome.plan.lossy.empty() && asked)
        return Error{ErrorCode::Refused, outcome.plan.request.quantize.isAsked() ? "--precision does not measure sdloader-int8, which quantizes each file by itself"
                                                                                 : "--precision measures what a cast or a quantization loses, and this conversion changes no value"};
    if (options.precision == PrecisionStyle::None || !(asked || options.dryRun))
        return {};
    SHARDLENS_ASSIGN(outcome.precision, measurePrecision(outcome.plan.lossy, {.exact = options.precision == PrecisionStyle::Exact}, executor, job));
    if (options.precisionCsv.empty())
        return {};
    const std::string text = precisionCsv(outcome.precision);
    auto written = writeNewFile(options.precisionCsv, [&text](std::FILE* file) -> Status {
        std::fwrite(text.data(), 1, text.size(), file); // what is short is found by the caller
        return {};
    });
    return written ? Status{} : written.takeError().within("--precision-csv " + printable(options.precisionCsv));
}

Result<Outcome> convert(const ConvertRequest& request, const ConversionOptions& options, EventStream* events, JobContext& job)
{
    if (request.device != "auto")
        if (auto devices = chooseDevices(request.device); !devices) // one that is not there is said first
            return devices.takeError();
    enter(ConvertPhase::Open, job);
    SHARDLENS_ASSIGN(CheckpointPtr source, openCheckpoint(request.source, request.open, job));
    enter(ConvertPhase::Plan, job);
    Outcome out;
    SHARDLENS_ASSIGN(out.plan, planConversion(std::move(source), request, job));
    sendLines(out.plan, events);
    const auto executor = makeExecutor(out.plan.request.threads);
    SHARDLENS_TRY(measure(out, options, *executor, job));
    if (options.dryRun)
        return out;
    SHARDLENS_ASSIGN(out.report, executePlan(out.plan, *executor, job));
    return out;
}

int report(const Outcome& outcome, const ConversionOptions& options, EventStream* events, Console& console)
{
    Json answer = outcome.report ? reportJson(outcome.plan, *outcome.report) : planJson(outcome.plan);
    if (!outcome.precision.empty())
        answer["precision"] = precisionJson(outcome.precision);
    if (events != nullptr) {
        Json event{{"event", "report"}, {"outcome", outcome.report ? "done" : "planned"}};
        event.update(answer);
        events->finish(event);
    } else if (options.json) {
        Json whole = answerJson();
        whole.update(answer);
        printJson(console, whole);
    } else {
        if (!outcome.precision.empty()) {
            printPrecision(console, outcome.precision);
            console.line();
        }
        outcome.report ? printReport(console, outcome.plan, *outcome.report) : printPlan(console, outcome.plan);
    }
    const auto problem = std::find_if(outcome.precision.begin(), outcome.precision.end(), [](const TensorPrecision& one) { return !one.problem.empty(); });
    if (outcome.report || problem == outcome.precision.end())
        return kExitDone;
    if (events == nullptr)
        console.error("this would be refused: " + problem->problem);
    return kExitRefused;
}

} // namespace

namespace {

// An option that takes one of some words. (CLI11's own transformer prints the numbers behind them where it refuses.)
template <class Value>
void addChoice(CLI::App& command, const char* name, Value& into, const std::map<std::string, Value>& words, const char* help)
{
    std::vector<std::string> names;
    for (const auto& [word, value] : words)
        names.push_back(word);
    command.add_option_function<std::string>(name, [&into, words](const std::string& word) { into = words.at(word); }, help)->type_name("HOW")->check(CLI::IsMember(names));
}

} // namespace

void addConversionOptions(CLI::App& command, ConversionOptions& options)
{
    command.add_flag("--dry-run", options.dryRun, "Show the plan; write nothing");
    addChoice<PrecisionStyle>(command, "--precision", options.precision, {{"sampled", PrecisionStyle::Sampled}, {"exact", PrecisionStyle::Exact}, {"none", PrecisionStyle::None}},
                              "Measure what casts and quantization lose before anything is written: sampled, exact (every value) or none (default: sampled with --dry-run)");
    command.add_option("--precision-csv", options.precisionCsv, "Write it into a file, a line a tensor")->type_name("FILE");
    command.add_flag("--json", options.json, "Answer in JSON (docs/json.md)");
    addChoice<ProgressStyle>(command, "--progress", options.progress, {{"auto", ProgressStyle::Auto}, {"json", ProgressStyle::Json}, {"none", ProgressStyle::None}},
                             "auto (a bar on a terminal), json (events on standard output) or none");
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
        return convert(request, options, stream, context.job);
    }();
    if (outcome)
        return report(*outcome, options, stream, context.console);
    if (stream != nullptr)
        stream->finish(failureEvent(outcome.error()));
    return reportFailure(context.console, outcome.error(), options.json && stream == nullptr);
}

} // namespace shardlens::cli
