#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "app/cli/progress_watch.h"
#include "core/analysis/pickle_listing.h"
#include "core/analysis/scan.h"
#include "core/base/text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

namespace shardlens::cli {
namespace {

constexpr std::size_t kLinesAround = 3;   // of a listing, before and behind the opcode
constexpr std::size_t kMostListings = 10; // worst first
constexpr std::size_t kMostShown = 50;    // findings, without -v

struct ScanArguments {
    std::string path;
    bool json = false;
    bool isVerbose = false;
};

Style styleOf(int level)
{
    switch (verdictOf(level)) {
    case Verdict::Safe: return Style::Good;
    case Verdict::Unknown: case Verdict::Suspicious: return Style::Warning;
    case Verdict::Dangerous: return Style::Bad;
    }
    return Style::Plain;
}

const char* sentenceOf(Verdict verdict)
{
    switch (verdict) {
    case Verdict::Safe: return "Safe: loading imports nothing, or only names known to be inert.";
    case Verdict::Unknown: return "Unknown: loading runs code of packages that are on no list.";
    case Verdict::Suspicious: return "Suspicious: it holds what no honest writer makes, or could not be scanned in full.";
    case Verdict::Dangerous: return "Dangerous: loading it with Python can run programs, reach files or the network.";
    }
    return "";
}

std::string placeOf(const ScanReport& report, const ScanFinding& finding)
{
    std::string out = printable(report.files[finding.file].name);
    if (!finding.member.empty())
        out += " " + printable(finding.member);
    return out + " @" + std::to_string(finding.finding.offset);
}

Json findingJsonOf(const ScanReport& report, const ScanFinding& finding)
{
    Json out{{"file", report.files[finding.file].name}, {"member", finding.member}};
    if (finding.stream != kNoStream)
        out["stream"] = report.streams[finding.stream].number;
    out["offset"] = finding.finding.offset;
    out["level"] = finding.finding.level;
    out["code"] = finding.finding.code;
    if (const std::string_view opcode = opcodeName(finding.finding.opcode); !opcode.empty())
        out["opcode"] = opcode;
    out["what"] = finding.finding.what;
    return out;
}

Json weightsOnlyJson(const WeightsOnlyForecast& forecast)
{
    Json out{{"accepted", forecast.accepted}};
    if (!forecast.accepted)
        out["first_blocker"] = Json{{"offset", forecast.blockerOffset}, {"text", forecast.blocker}};
    out["add_safe_globals"] = forecast.safeGlobals;
    return out;
}

Json streamJson(const ScanReport& report, const ScanStream& stream)
{
    Json imports = Json::array();
    for (const PickleImport& import : stream.imports)
        imports.push_back(Json{{"module", import.module}, {"name", import.name}, {"raw_module", import.rawModule}, {"raw_name", import.rawName},
                               {"count", import.count}, {"offset", import.offset}, {"level", import.level}});
    return Json{{"file", report.files[stream.file].name},
                {"member", stream.member},
                {"stream", stream.number},
                {"begin", stream.begin},
                {"end", stream.end},
                {"protocol", stream.protocol},
                {"opcodes", stream.opcodes},
                {"level", stream.level},
                {"verdict", nameOf(verdictOf(stream.level))},
                {"embedded", stream.embedded},
                {"imports", std::move(imports)},
                {"weights_only", weightsOnlyJson(stream.weightsOnly)}};
}

// Row by row: a folder of many files makes an answer of many megabytes.
void printRows(Console& console, const char* name, std::size_t count, const auto& rowOf)
{
    console.write(fmt::format(",\n \"{}\": [", name));
    for (std::size_t i = 0; i < count; ++i) {
        console.write(i == 0 ? "\n  " : ",\n  ");
        console.write(rowOf(i).dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    console.write(count == 0 ? "]" : "\n ]");
}

void printReportJson(Console& console, const ScanReport& report)
{
    Json head = answerJson();
    head["path"] = report.path;
    head["verdict"] = nameOf(report.verdict());
    head["level"] = report.level();
    head["files"] = report.files.size();
    std::string text = head.dump(1, ' ', false, Json::error_handler_t::replace);
    text.resize(text.size() - 2); // "\n}"
    console.write(text);
    printRows(console, "findings", report.findings.size(), [&](std::size_t i) { return findingJsonOf(report, report.findings[i]); });
    printRows(console, "scanned", report.files.size(), [&](std::size_t i) {
        const ScannedFile& file = report.files[i];
        return Json{{"file", file.name}, {"kind", file.kind}, {"bytes", file.sizeBytes},
                    {"pickles", file.streams}, {"level", file.level}, {"complete", file.scanned}};
    });
    printRows(console, "streams", report.streams.size(), [&](std::size_t i) { return streamJson(report, report.streams[i]); });
    console.line("\n}");
}

void printFinding(Console& console, const ScanReport& report, const ScanFinding& finding)
{
    const std::string label = fmt::format("  {} {:<4}", finding.finding.level, finding.finding.code);
    const auto lines = wrapped(finding.finding.what, console.width() - label.size());
    console.line(console.styled(styleOf(finding.finding.level), label) + lines.front());
    for (std::size_t i = 1; i < lines.size(); ++i)
        console.line(std::string(label.size(), ' ') + lines[i]);
    console.line(console.styled(Style::Muted, std::string(label.size(), ' ') + placeOf(report, finding)));
}

void printListing(Console& console, const ScanReport& report, const ScanFinding& finding)
{
    if (finding.stream == kNoStream)
        return;
    const auto listing = PickleListing::of(report, report.streams[finding.stream]);
    if (!listing || listing->lines() == 0)
        return;
    const std::size_t at = listing->lineAt(finding.finding.offset);
    for (std::size_t i = at - std::min(at, kLinesAround); i < std::min(listing->lines(), at + kLinesAround + 1); ++i) {
        const PickleListing::Line line = listing->line(i);
        std::string text = fmt::format("      {} {:>10}  {:<16} {}", i == at ? ">" : " ", line.offset, line.opcode, line.argument);
        text.erase(text.find_last_not_of(' ') + 1);
        console.line(console.styled(i == at ? Style::Strong : Style::Muted, elided(text, console.lineLimit())));
    }
}

void printImports(Console& console, const ScanReport& report)
{
    std::map<std::pair<int, std::string>, std::uint64_t> counts;
    for (const ScanStream& stream : report.streams)
        for (const PickleImport& import : stream.imports)
            counts[{-import.level, printable(import.module + "." + import.name)}] += import.count;
    if (counts.empty())
        return;
    console.line();
    Table table({{.title = "level", .right = true}, {.title = "import", .shrinks = true}, {.title = "times", .right = true}});
    for (const auto& [key, count] : counts)
        table.addRow({std::to_string(-key.first), key.second, groupedText(count)}, styleOf(-key.first));
    table.print(console, 2);
}

void printReport(Console& console, const ScanReport& report, const ScanArguments& arguments)
{
    const int least = arguments.isVerbose ? 0 : 3;
    std::size_t shown = 0;
    std::size_t left = 0;
    for (const ScanFinding& finding : report.findings) {
        if (finding.finding.level < least)
            continue;
        if (!arguments.isVerbose && shown >= kMostShown) {
            ++left;
            continue;
        }
        printFinding(console, report, finding);
        if (arguments.isVerbose && shown < kMostListings && finding.finding.level >= 3)
            printListing(console, report, finding);
        ++shown;
    }
    if (left > 0)
        console.line(fmt::format("  … {} more; -v shows them", groupedText(left)));
    if (arguments.isVerbose)
        printImports(console, report);
    if (shown > 0)
        console.line();
    console.line(console.styled(styleOf(report.level()), sentenceOf(report.verdict())));
    const auto without = static_cast<std::size_t>(std::ranges::count(report.files, std::size_t{0}, &ScannedFile::streams));
    std::string did = fmt::format("{} in {}", plural(report.streams.size(), "pickle", "pickles"), plural(report.files.size(), "file", "files"));
    if (report.files.size() == 1 && without == 1)
        did += " (" + report.files.front().kind + ")";
    else if (without > 0)
        did += fmt::format(", {} without any", groupedText(without));
    console.line(did + ". Nothing in them was executed.");
}

int runScan(const ScanArguments& arguments, CommandContext& context)
{
    auto report = [&] {
        const ProgressWatch watch(context.job, context.console, nullptr, context.console.remarksAreTerminal(), "scan");
        return scanPath(arguments.path, context.job);
    }();
    if (!report)
        return reportFailure(context.console, report.takeError().within(printable(arguments.path)), arguments.json);
    arguments.json ? printReportJson(context.console, *report) : printReport(context.console, *report, arguments);
    return report->level() >= 4 ? kExitFinding : kExitDone;
}

} // namespace

void addScanCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<ScanArguments>();
    CLI::App* command = program.add_subcommand("scan", "What would loading its pickles with Python do? Nothing is executed");
    command->add_option("PATH", arguments->path, "A file, or a folder with all files below it")->required();
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->add_flag("-v", arguments->isVerbose, "All findings, the opcodes around them, and every import");
    command->footer("Verdicts: safe, unknown (exit code 0), suspicious, dangerous (exit code 1); docs/safety.md says what they mean.\n\n"
                    "Example: shardlens scan pytorch_model.bin -v");
    command->callback([arguments, &context] { context.exitCode = runScan(*arguments, context); });
}

} // namespace shardlens::cli
