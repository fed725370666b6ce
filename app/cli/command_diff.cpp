#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "app/cli/progress_watch.h"
#include "core/analysis/diff.h"
#include "core/base/text.h"
#include "core/quantized/source_quantization.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <utility>

namespace shardlens::cli {
namespace {

constexpr std::size_t kArgumentText = 60; // of an argument's value, for people

struct DiffArguments {
    SourceArguments a;
    SourceArguments b;
    SelectionArguments selection;
    std::vector<std::string> renames;
    Tolerance tolerance;
    bool ignoreDtype = false;
    std::uint32_t threads = 0;
    bool json = false;
};

struct DiffAnswer {
    CheckpointPtr a;
    CheckpointPtr b;
    DiffReport report;
};

Result<DiffOptions> optionsOf(const DiffArguments& arguments)
{
    DiffOptions out;
    SHARDLENS_ASSIGN(out.selection, arguments.selection.options());
    for (const std::string& text : arguments.renames) {
        SHARDLENS_ASSIGN(RenameRule rule, RenameRule::parse(text));
        out.renames.push_back(std::move(rule));
    }
    out.tolerance = arguments.tolerance;
    out.ignoreDtype = arguments.ignoreDtype;
    return out;
}

Result<DiffAnswer> computeDiff(const DiffArguments& arguments, CommandContext& context)
{
    SHARDLENS_ASSIGN(const DiffOptions options, optionsOf(arguments));
    SHARDLENS_ASSIGN(const CheckpointPtr a, arguments.a.open(context.job));
    SHARDLENS_ASSIGN(const CheckpointPtr b, arguments.b.open(context.job));
    const auto executor = makeExecutor(arguments.threads);
    const ProgressWatch watch(context.job, context.console, nullptr, context.console.remarksAreTerminal(), "diff");
    SHARDLENS_ASSIGN(DiffReport report, diffCheckpoints(a, b, options, *executor, context.job));
    return DiffAnswer{a, b, std::move(report)};
}

// The tensor of a row whose values were compared, or that only one side has.
const Tensor& tensorOf(const DiffAnswer& answer, const TensorDiff& row)
{
    return row.a ? answer.a->tensor(*row.a) : answer.b->tensor(*row.b);
}

Json indexJson(std::uint64_t flat, ShapeView shape)
{
    Json out = Json::array();
    for (const std::uint64_t place : indexAt(flat, shape))
        out.push_back(place);
    return out;
}

Json sideJson(const Checkpoint& checkpoint, std::optional<TensorId> tensor)
{
    if (!tensor)
        return {};
    const Tensor& one = checkpoint.tensor(*tensor);
    return Json{{"dtype", nameOf(one.dtype)}, {"shape", shapeJson(one.shape)}};
}

Json rowJson(const DiffAnswer& answer, const TensorDiff& row)
{
    Json out{{"name", row.name}, {"name_in_b", row.state == DiffState::OnlyInA ? Json() : Json(row.nameInB)}, {"state", nameOf(row.state)},
             {"a", sideJson(*answer.a, row.a)}, {"b", sideJson(*answer.b, row.b)}};
    if (row.values) {
        const ValueDifference& values = *row.values;
        const auto cosine = values.cosine();
        out["values"] = Json{{"compared", values.values},
                             {"differing", values.differing},
                             {"non_finite", values.nonFinite},
                             {"first", values.first ? indexJson(*values.first, tensorOf(answer, row).shape) : Json()},
                             {"max_abs", values.maxAbsolute},
                             {"max_rel", values.maxRelative},
                             {"cosine", cosine ? Json(*cosine) : Json()}};
    }
    if (!row.problem.empty())
        out["problem"] = row.problem;
    return out;
}

// Row by row: a hundred thousand tensors need no second copy in memory.
void printDiffJson(Console& console, const DiffArguments& arguments, const DiffAnswer& answer)
{
    const auto dump = [](const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); };
    const DiffReport& report = answer.report;
    Json counts = Json::object();
    for (std::size_t i = 0; i < kDiffStates; ++i)
        counts[nameOf(static_cast<DiffState>(i))] = report.counts[i];
    Json list = Json::array();
    for (const ArgumentDiff& one : report.arguments)
        list.push_back(Json{{"place", one.place}, {"a", one.a ? Json(*one.a) : Json()}, {"b", one.b ? Json(*one.b) : Json()}});
    const Json suggestion = report.suggestion ? Json{{"rename", report.suggestion->rule}, {"matches", report.suggestion->matches}} : Json();
    console.write(fmt::format("{{\n \"schema\": 1,\n \"a\": {},\n \"b\": {},\n \"equal\": {},\n \"counts\": {},\n \"suggestion\": {},\n \"arguments\": {},\n \"bytes_read\": {},\n \"tensors\": [",
                              dump(arguments.a.path), dump(arguments.b.path), report.isEqual(), dump(counts), dump(suggestion), dump(list), report.bytesRead));
    for (std::size_t i = 0; i < report.tensors.size(); ++i)
        console.write((i == 0 ? "\n  " : ",\n  ") + dump(rowJson(answer, report.tensors[i])));
    console.write(report.tensors.empty() ? "]\n}\n" : "\n ]\n}\n");
}

std::string sideText(const Checkpoint& checkpoint, std::optional<TensorId> tensor)
{
    if (!tensor)
        return "–";
    const Tensor& one = checkpoint.tensor(*tensor);
    return fmt::format("{} {}", nameOf(one.dtype), shapeText(one.shape));
}

const char* stateText(DiffState state)
{
    switch (state) {
    case DiffState::Equal: return "equal";
    case DiffState::Values: return "values differ";
    case DiffState::Dtype: return "another dtype";
    case DiffState::Shape: return "another shape";
    case DiffState::OnlyInA: return "only in A";
    case DiffState::OnlyInB: return "only in B";
    case DiffState::Unreadable: return "unreadable";
    }
    return "";
}

// "NAME", or "NAME → NAME IN B" where a rule renamed it.
std::string bothNames(const TensorDiff& row)
{
    const bool isRenamed = row.state != DiffState::OnlyInA && row.nameInB != row.name;
    return isRenamed ? printable(row.name) + " → " + printable(row.nameInB) : printable(row.name);
}

void printValueTable(Console& console, const DiffAnswer& answer)
{
    Table table({{"values differ", false, true}, {"dtypes"}, {"differing", true}, {"max abs", true}, {"max rel", true}, {"cosine", true}, {"first at", false, true}});
    for (const TensorDiff& row : answer.report.tensors) {
        if (row.state != DiffState::Values)
            continue;
        const ValueDifference& values = *row.values;
        const DType a = answer.a->tensor(*row.a).dtype;
        const DType b = answer.b->tensor(*row.b).dtype;
        const auto cosine = values.cosine();
        table.addRow({bothNames(row), a == b ? std::string(nameOf(a)) : fmt::format("{} {}", nameOf(a), nameOf(b)),
                      fmt::format("{} ({})", countText(values.differing), percentText(static_cast<double>(values.differing) / static_cast<double>(values.values))),
                      fmt::format("{:.3g}", values.maxAbsolute), fmt::format("{:.3g}", values.maxRelative), cosine ? fmt::format("{:.6f}", *cosine) : "–",
                      shapeText(indexAt(*values.first, tensorOf(answer, row).shape))},
                     values.nonFinite > 0 ? Style::Bad : Style::Plain);
    }
    if (table.empty())
        return;
    table.print(console);
    console.line();
}

void printOtherTable(Console& console, const DiffAnswer& answer)
{
    Table table({{"tensors", false, true}, {"what"}, {"A", false, true}, {"B", false, true}});
    for (const TensorDiff& row : answer.report.tensors)
        if (row.state != DiffState::Equal && row.state != DiffState::Values)
            table.addRow({bothNames(row), stateText(row.state), sideText(*answer.a, row.a), sideText(*answer.b, row.b)});
    if (table.empty())
        return;
    table.print(console);
    console.line();
    for (const TensorDiff& row : answer.report.tensors)
        if (row.state == DiffState::Unreadable)
            console.warning(row.problem);
}

void printArguments(Console& console, const DiffReport& report)
{
    Table table({{"arguments", false, true}, {"A", false, true}, {"B", false, true}});
    const auto text = [](const std::optional<std::string>& value) { return value ? elided(printable(*value), kArgumentText) : "–"; };
    for (const ArgumentDiff& one : report.arguments)
        table.addRow({printable(one.place), text(one.a), text(one.b)});
    if (table.empty())
        return;
    table.print(console);
    console.line();
}

// Whether quantized weights are stored that --dequantize can take apart.
bool hasValuesOfCodes(const Checkpoint& checkpoint)
{
    if (std::none_of(checkpoint.tensors().begin(), checkpoint.tensors().end(), [](const Tensor& tensor) { return tensor.quantizedPart; }))
        return false;
    const std::vector<StoredWeight> weights = findStoredWeights(checkpoint, readQuantizationConfig(checkpoint));
    return weights.empty() || std::any_of(weights.begin(), weights.end(), [](const StoredWeight& weight) { return weight.problem.empty(); }); // empty: scales that are no tensors
}

void printDiff(Console& console, const DiffArguments& arguments, const DiffAnswer& answer)
{
    const DiffReport& report = answer.report;
    console.line(fmt::format("A  {}: {}", printable(arguments.a.path), printable(answer.a->formatTitle())));
    console.line(fmt::format("B  {}: {}", printable(arguments.b.path), printable(answer.b->formatTitle())));
    console.line();
    printValueTable(console, answer);
    printOtherTable(console, answer);
    printArguments(console, report);
    if (!report.tensors.empty() && !report.sharesNames())
        console.line(report.suggestion ? fmt::format("A and B share no name. With --rename '{}' they share {}.", printable(report.suggestion->rule),
                                                     plural(report.suggestion->matches, "name", "names"))
                                       : "A and B share no name; --rename FROM=TO can bring names together.");
    for (const auto& [side, name] : {std::pair(&*answer.a, "a"), std::pair(&*answer.b, "b")})
        if (!report.isEqual() && hasValuesOfCodes(*side))
            console.line(fmt::format("{} stores quantized weights: --dequantize-{} compares their values.", name[0] == 'a' ? "A" : "B", name));
    std::string counts;
    for (std::size_t i = 0; i < kDiffStates; ++i)
        if (report.counts[i] > 0)
            counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", groupedText(report.counts[i]), stateText(static_cast<DiffState>(i)));
    const std::string did = fmt::format("{}; {} read.", counts.empty() ? "No tensors" : counts, exactSizeText(report.bytesRead));
    console.line((report.isEqual() ? console.styled(Style::Good, "Equal.") : console.styled(Style::Warning, "Different.")) + " " + did);
}

int runDiff(const DiffArguments& arguments, CommandContext& context)
{
    const auto answer = computeDiff(arguments, context);
    if (!answer)
        return reportFailure(context.console, answer.error(), arguments.json);
    arguments.json ? printDiffJson(context.console, arguments, *answer) : printDiff(context.console, arguments, *answer);
    return answer->report.isEqual() ? kExitDone : kExitFinding;
}

} // namespace

void addDiffCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<DiffArguments>();
    CLI::App* command = program.add_subcommand("diff", "What differs between two checkpoints of any layouts and formats");
    command->add_option("A", arguments->a.path, "A checkpoint: its root folder, its tag's folder, or one file")->required();
    command->add_option("B", arguments->b.path, "The other one")->required();
    command->add_option("--tag-a", arguments->a.options.tag, "The tag of A, a DeepSpeed root folder (default: what `latest` says)")->type_name("TAG");
    command->add_option("--tag-b", arguments->b.options.tag, "The tag of B")->type_name("TAG");
    command->add_option("--strategy-a", arguments->a.options.sourceStrategy, "MindSpore: the strategy file of A, or the folder of its stages' files")->type_name("FILE");
    command->add_option("--strategy-b", arguments->b.options.sourceStrategy, "MindSpore: that of B")->type_name("FILE");
    command->add_flag("--dequantize-a", arguments->a.options.dequantize, "Weights that A stores quantized stand for their values");
    command->add_flag("--dequantize-b", arguments->b.options.dequantize, "Those of B");
    addSelectionArguments(*command, arguments->selection);
    command->add_option("--rename", arguments->renames, "Names of A are changed before they are looked for in B: FROM is a pattern, TO may name its groups ($1); may be repeated")
        ->type_name("FROM=TO")
        ->allow_extra_args(false);
    const auto isTolerance = CLI::Validator(
        [](std::string& text) {
            double number = -1;
            const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
            const bool isOne = problem == std::errc() && end == text.data() + text.size() && std::isfinite(number) && number >= 0;
            return isOne ? std::string() : fmt::format("{} is no number from 0 on", printable(text));
        },
        "");
    command->add_option("--tolerance", arguments->tolerance.absolute, "Values no further apart than this are equal")->type_name("ABS")->check(isTolerance);
    command->add_option("--relative-tolerance", arguments->tolerance.relative, "… or no further than this times the larger magnitude")
        ->type_name("REL")
        ->check(isTolerance);
    command->add_flag("--ignore-dtype", arguments->ignoreDtype, "A tensor of another dtype is equal where its values are");
    addThreadsOption(*command, arguments->threads);
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->footer("Exit code 1 says that a tensor differs; arguments that differ are listed and do not count. A NaN equals a NaN of the same bits.\n\n"
                    "Example: shardlens diff /data/run model.safetensors --rename '^module\\.=' --relative-tolerance 1e-2 --ignore-dtype");
    command->callback([arguments, &context] { context.exitCode = runDiff(*arguments, context); });
}

} // namespace shardlens::cli
