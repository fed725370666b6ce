#include "app/cli/commands.h"

#include "app/cli/json_answer.h"
#include "core/base/nearest.h"
#include "core/base/text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace shardlens::cli {
namespace {

constexpr std::size_t kMaxSuggestions = 3;
constexpr std::uint32_t kMostRankNumber = 1u << 30;

// "3=/data/rank3.ckpt"
void takeRankFile(const std::string& text, OpenOptions& options)
{
    const std::size_t equals = text.find('=');
    std::uint32_t rank = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + std::min(equals, text.size()), rank);
    if (equals == std::string::npos || equals + 1 == text.size() || failed != std::errc{} || end != text.data() + equals || rank > kMostRankNumber)
        throw CLI::ValidationError("--rank-file", "write the rank's number, = and the path: 3=/data/rank3.ckpt, and this is " + text);
    if (!options.rankFiles.emplace(rank, text.substr(equals + 1)).second)
        throw CLI::ValidationError("--rank-file", fmt::format("rank {} is given twice", rank));
}

void addCommands(CLI::App& program, CommandContext& context)
{
    addInspectCommand(program, context);
    addListCommand(program, context);
    addLayoutCommand(program, context);
    addShowCommand(program, context);
    addStatsCommand(program, context);
    addDigestCommand(program, context);
    addVerifyCommand(program, context);
    addScanCommand(program, context);
    addDiffCommand(program, context);
    addConvertCommand(program, context);
    addRunCommand(program, context);
    addPartitionCommand(program, context);
    addSdloaderCommand(program, context);
    addStrategyCommand(program, context);
    addFormatsCommand(program, context);
    addRulesCommand(program, context);
    addDevicesCommand(program, context);
}

// The command that a wrong usage was about, for the hint.
std::string commandNamed(const CLI::App& program, int argc, const char* const* argv)
{
    const std::string first = argc > 1 ? argv[1] : "";
    const auto known = program.get_subcommands([&](const CLI::App* one) { return one->get_name() == first; });
    return known.empty() ? std::string{} : first + " ";
}

// The parser's own words, but for what it says backwards or not at all.
std::string usageText(const CLI::App& program, const CLI::ParseError& problem, int argc, const char* const* argv)
{
    const auto chosen = program.get_subcommands();
    if (chosen.empty() && argc > 1 && argv[1][0] != '-')
        return fmt::format("no command is named {}", argv[1]);
    if (dynamic_cast<const CLI::ExtrasError*>(&problem) != nullptr && !chosen.empty())
        return fmt::format("not expected here: {}", fmt::join(chosen.front()->remaining(true), " "));
    return problem.what();
}

int reportUsage(const CLI::App& program, const CLI::ParseError& problem, int argc, const char* const* argv, Console& console)
{
    std::string text = usageText(program, problem, argc, argv);
    while (!text.empty() && (text.back() == '\n' || text.back() == '.'))
        text.pop_back();
    std::replace(text.begin(), text.end(), '\n', ' ');
    const bool json = std::any_of(argv, argv + argc, [](const char* one) { return std::strcmp(one, "--json") == 0; });
    text = printable(text) + fmt::format("; see `shardlens {}--help`", commandNamed(program, argc, argv));
    return reportFailure(console, Error{ErrorCode::Refused, text}, json);
}

} // namespace

int runCommandLine(int argc, const char* const* argv, CommandContext& context)
{
    CLI::App program{"Shardlens: see, check and reshard the checkpoints of distributed training runs.", "shardlens"};
    program.set_version_flag("--version", "shardlens " SHARDLENS_VERSION, "Print the version");
    program.set_help_flag("-h,--help", "Print this help");
    program.require_subcommand(1);
    program.get_formatter()->column_width(36);
    program.footer("Example: shardlens inspect /data/run/global_step1000\n\n"
                   "Exit codes: 0 done, 1 a finding (verify, diff, scan), 2 refused or failed, 130 cancelled. `shardlens COMMAND --help` says more.");
    addCommands(program, context);
    try {
        program.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        const auto chosen = program.get_subcommands();
        context.console.write(chosen.empty() ? program.help() : chosen.front()->help("shardlens"));
    } catch (const CLI::CallForVersion& version) {
        context.console.line(version.what());
    } catch (const CLI::ParseError& problem) {
        context.exitCode = reportUsage(program, problem, argc, argv, context.console);
    }
    if (const std::string problem = context.console.finish(); !problem.empty()) {
        context.console.error(fmt::format("writing the answer: {}.", problem));
        return kExitRefused;
    }
    return context.exitCode;
}

int reportFailure(Console& console, const Error& error, bool json)
{
    if (json)
        printJson(console, failureJson(error));
    if (error.code() == ErrorCode::Cancelled) {
        console.remark("Cancelled.");
        return kExitCancelled;
    }
    console.error(error.sentence());
    return kExitRefused;
}

const char* nameOf(ErrorCode code)
{
    switch (code) {
    case ErrorCode::NotFound: return "not-found";
    case ErrorCode::Io: return "io";
    case ErrorCode::Corrupt: return "corrupt";
    case ErrorCode::Unsupported: return "unsupported";
    case ErrorCode::LimitExceeded: return "limit-exceeded";
    case ErrorCode::Refused: return "refused";
    case ErrorCode::Cancelled: return "cancelled";
    }
    return "";
}

const char* nameOf(Severity severity)
{
    switch (severity) {
    case Severity::Info: return "info";
    case Severity::Warning: return "warning";
    case Severity::Error: return "error";
    }
    return "";
}

Result<CheckpointPtr> SourceArguments::open(JobContext& job) const
{
    return openCheckpoint(path, options, job);
}

void addOpenArguments(CLI::App& command, OpenOptions& options)
{
    command.add_option("--tag", options.tag, "The tag of a DeepSpeed root folder (default: what `latest` says), epoch and step of MindSpore's files, 10_5, a save of ColossalAI's training folder, epoch-0_step-100, or of a PyTorch DCP root, step-100 (default: the highest)")
        ->type_name("TAG");
    command.add_option("--module-key", options.moduleKey, "SDLoader lists: the model's key in each file, or none (default: module or model)")->type_name("KEY");
    command.add_option("--rules", options.rules, "How tensor-parallel ranks divide parameters: an id of `shardlens rules`, or a file")->type_name("RULES");
    command.add_option("--source-strategy", options.sourceStrategy, "MindSpore: the strategy file of the checkpoint, or the folder of its stages' files")->type_name("FILE");
    command.add_flag("--dequantize", options.dequantize, "Weights that are stored quantized stand for their values");
    command
        .add_option_function<std::vector<std::string>>(
            "--rank-file",
            [&options](const std::vector<std::string>& texts) {
                for (const std::string& text : texts)
                    takeRankFile(text, options);
            },
            "MindSpore: the file of a rank that is not in its folder; may be repeated")
        ->type_name("N=PATH")
        ->allow_extra_args(false);
}

void addSourceArguments(CLI::App& command, SourceArguments& arguments)
{
    command.add_option("PATH", arguments.path, "A checkpoint: its root folder, its tag's folder, or one file")->required();
    addOpenArguments(command, arguments.options);
}

Result<std::vector<SelectedTensor>> selectNamed(const Checkpoint& checkpoint, const SelectionOptions& options)
{
    auto out = selectTensors(checkpoint, options);
    const bool hasPatterns = !options.include.empty() || !options.exclude.empty();
    if (out.empty() && hasPatterns && selectLost(checkpoint, options).empty())
        return Error{ErrorCode::Refused, fmt::format("nothing is selected: none of the {} passes --include and --exclude; `shardlens list` shows what is there",
                                                     nameOf(options.select))};
    return out;
}

void warnOfLost(Console& console, const Checkpoint& checkpoint, const SelectionOptions& options)
{
    constexpr std::size_t kSaid = 8;
    const std::vector<std::size_t> lost = selectLost(checkpoint, options);
    for (std::size_t i = 0; i < std::min(lost.size(), kSaid); ++i)
        console.warning(fmt::format("left out: {}", checkpoint.lostTensors()[lost[i]].problem));
    if (lost.size() > kSaid)
        console.warning(fmt::format("left out: {} more, which verify lists.", groupedText(lost.size() - kSaid)));
}

Result<SelectionOptions> SelectionArguments::options() const
{
    SelectionOptions out;
    if (!select.empty())
        out.select = selectByName(select).value_or(Select::Weights); // the names were checked while parsing
    const auto compileAll = [](const std::vector<std::string>& patterns, std::vector<Regex>& into) -> Status {
        for (const std::string& pattern : patterns) {
            auto compiled = Regex::compile(pattern);
            if (!compiled)
                return compiled.takeError().within("pattern " + printable(pattern));
            into.push_back(compiled.take());
        }
        return {};
    };
    SHARDLENS_TRY(compileAll(include, out.include));
    SHARDLENS_TRY(compileAll(exclude, out.exclude));
    return out;
}

void addSelectionArguments(CLI::App& command, SelectionArguments& arguments)
{
    command.add_option("--select", arguments.select, "weights, module, optimizer or all (default: weights; list: all)")
        ->type_name("WHAT")
        ->check(CLI::IsMember({"weights", "module", "optimizer", "all"}).description(""));
    command.add_option("--include", arguments.include, "Only names in which the pattern is found; may be repeated")
        ->type_name("RE")
        ->allow_extra_args(false);
    command.add_option("--exclude", arguments.exclude, "No names in which the pattern is found; may be repeated")
        ->type_name("RE")
        ->allow_extra_args(false);
}

void addThreadsOption(CLI::App& command, std::uint32_t& threads)
{
    command.add_option("--threads", threads, "Threads to use (default: all that this process may)")
        ->type_name("N")
        ->check(CLI::Range(1u, 1024u).description(""));
}

std::unique_ptr<Executor> makeExecutor(std::uint32_t threads)
{
    return makeThreadedExecutor(threads == 0 ? availableThreads() : threads);
}

Result<TensorId> findTensor(const Checkpoint& checkpoint, const std::string& name)
{
    std::vector<std::string> names;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
        names.push_back(checkpoint.fullName(idAt<TensorId>(i)));
        if (names.back() == name)
            return idAt<TensorId>(i);
    }
    for (const Alias& alias : checkpoint.aliases()) {
        if (name.compare(0, alias.name.size(), alias.name) != 0)
            continue;
        const std::string canonical = checkpoint.parameters()[indexOf(alias.parameter)] + name.substr(alias.name.size());
        if (const auto at = std::find(names.begin(), names.end(), canonical); at != names.end())
            return idAt<TensorId>(static_cast<std::size_t>(at - names.begin()));
    }
    std::vector<std::string> close;
    for (const std::string& one : nearestNames(name, names, kMaxSuggestions))
        close.push_back(printable(one));
    std::string text = fmt::format("no tensor is named {}", printable(name));
    for (const char* part : {"_packed", "_global_scale"})
        if (const auto at = std::find(names.begin(), names.end(), name + part); at != names.end() && checkpoint.tensor(idAt<TensorId>(static_cast<std::size_t>(at - names.begin()))).quantizedPart)
            return Error{ErrorCode::NotFound, text + ": it is stored quantized, and --dequantize has its values"}.within(printable(checkpoint.path()));
    text += close.empty() ? "; `shardlens list` shows the names" : fmt::format("; close to it: {}", fmt::join(close, ", "));
    return Error{ErrorCode::NotFound, std::move(text)}.within(printable(checkpoint.path()));
}

} // namespace shardlens::cli
