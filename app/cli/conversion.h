#pragma once

#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "app/cli/progress.h"
#include "core/convert/execute.h"
#include "core/convert/plan.h"

namespace shardlens::cli {

enum class PrecisionStyle : std::uint8_t { Auto, Sampled, Exact, None }; // Auto: sampled with --dry-run, else none

// How a conversion is run and shown, whoever wrote its request.
struct ConversionOptions {
    bool dryRun = false;
    bool json = false;
    ProgressStyle progress = ProgressStyle::Auto;
    PrecisionStyle precision = PrecisionStyle::Auto;
    std::string precisionCsv; // a file to write; empty: none
};
// --dry-run, --json, --progress, --precision, --precision-csv.
void addConversionOptions(CLI::App& command, ConversionOptions& options);

// Opens, plans and, unless it is a dry run, executes; answers the exit code.
[[nodiscard]] int runConversion(const ConvertRequest& request, const ConversionOptions& options, CommandContext& context);
// The same for a request that could not be read: the failure goes where the report would have gone.
[[nodiscard]] int failConversion(const Error& error, const ConversionOptions& options, CommandContext& context);

// Of the job protocol and of `--json`; members as docs/json.md has them.
[[nodiscard]] Json planJson(const Plan& plan);
[[nodiscard]] Json reportJson(const Plan& plan, const ConvertReport& report);
// For people.
void printPlan(Console& console, const Plan& plan);
void printReport(Console& console, const Plan& plan, const ConvertReport& report);

} // namespace shardlens::cli
