#pragma once

#include "app/cli/console.h"
#include "core/base/result.h"
#include "core/format/format.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"
#include "core/layout/selection.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace shardlens::cli {

// DESIGN.md §7.
constexpr int kExitDone = 0;
constexpr int kExitFinding = 1;  // verify, diff: a finding of severity warning or more; scan: suspicious or dangerous
constexpr int kExitRefused = 2;  // refused, failed or wrong usage
constexpr int kExitCancelled = 130;

// What every command is given. `job` stops when the user interrupts; `exitCode` is what the command leaves.
struct CommandContext {
    Console& console;
    JobContext& job;
    int exitCode = kExitDone;
};

// Each adds one command to the program: its options, its help with an example, and the callback that runs it.
void addInspectCommand(CLI::App& program, CommandContext& context);
void addListCommand(CLI::App& program, CommandContext& context);
void addLayoutCommand(CLI::App& program, CommandContext& context);
void addShowCommand(CLI::App& program, CommandContext& context);
void addStatsCommand(CLI::App& program, CommandContext& context);
void addDigestCommand(CLI::App& program, CommandContext& context);
void addScanCommand(CLI::App& program, CommandContext& context);
void addVerifyCommand(CLI::App& program, CommandContext& context);
void addDiffCommand(CLI::App& program, CommandContext& context);
void addConvertCommand(CLI::App& program, CommandContext& context);
void addRunCommand(CLI::App& program, CommandContext& context);
void addPartitionCommand(CLI::App& program, CommandContext& context);
void addSdloaderCommand(CLI::App& program, CommandContext& context);
void addStrategyCommand(CLI::App& program, CommandContext& context);
void addFormatsCommand(CLI::App& program, CommandContext& context);
void addRulesCommand(CLI::App& program, CommandContext& context);
void addDevicesCommand(CLI::App& program, CommandContext& context);

// The whole program but main(): parses, runs one command, answers the exit code. Wrong usage is a sentence and 2.
[[nodiscard]] int runCommandLine(int argc, const char* const* argv, CommandContext& context);

// Reports a failure and gives its exit code: a sentence to the remarks and, with `json`, {"schema": 1, "error": {…}} to the results.
[[nodiscard]] int reportFailure(Console& console, const Error& error, bool json);
[[nodiscard]] const char* nameOf(ErrorCode code); // "not-found"
[[nodiscard]] const char* nameOf(Severity severity);

// PATH, and how it is to be opened.
struct SourceArguments {
    std::string path;
    OpenOptions options;

    [[nodiscard]] Result<CheckpointPtr> open(JobContext& job) const;
};
// --tag, --module-key, --rules, --source-strategy and --rank-file.
void addOpenArguments(CLI::App& command, OpenOptions& options);
void addSourceArguments(CLI::App& command, SourceArguments& arguments);

// --select, --include, --exclude.
struct SelectionArguments {
    std::string select;
    std::vector<std::string> include;
    std::vector<std::string> exclude;

    // Refused where a pattern does not compile; the pattern is in the message.
    [[nodiscard]] Result<SelectionOptions> options() const;
};
// Refused where patterns were given and none of the names passes them.
[[nodiscard]] Result<std::vector<SelectedTensor>> selectNamed(const Checkpoint& checkpoint, const SelectionOptions& options);
// A warning for each selected tensor that the checkpoint holds and that is not read; the first few by name.
void warnOfLost(Console& console, const Checkpoint& checkpoint, const SelectionOptions& options);
void addSelectionArguments(CLI::App& command, SelectionArguments& arguments);

// --threads N, at least 1; 0 stands for all that the process may use.
void addThreadsOption(CLI::App& command, std::uint32_t& threads);
[[nodiscard]] std::unique_ptr<Executor> makeExecutor(std::uint32_t threads);

// The tensor that somebody names, by full name or tied name. NotFound names up to three that are close.
[[nodiscard]] Result<TensorId> findTensor(const Checkpoint& checkpoint, const std::string& name);

} // namespace shardlens::cli
