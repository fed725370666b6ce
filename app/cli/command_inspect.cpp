#include "app/cli/commands.h"
#include "app/cli/findings_text.h"
#include "app/cli/inventory.h"
#include "app/cli/json_answer.h"
#include "app/cli/strategy_report.h"
#include "core/base/text.h"
#include "core/format/format.h"
#include "core/layout/mindspore_strategy.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace shardlens::cli {
namespace {

constexpr std::size_t kMaxLabelColumns = 32;

struct InspectArguments {
    SourceArguments source;
    bool json = false;
    bool verbose = false;
};

const char* fileStateName(File::State state)
{
    switch (state) {
    case File::State::Read: return "read";
    case File::State::Missing: return "missing";
    case File::State::Unreadable: return "unreadable";
    }
    return "";
}

Json filesJson(const Checkpoint& checkpoint, const Inventory& inventory)
{
    Json rows = Json::array();
    for (std::size_t i = 0; i < checkpoint.files().size(); ++i) {
        const File& file = checkpoint.files()[i];
        const FileUse& use = inventory.files[i];
        rows.push_back(Json{{"name", file.name},
                            {"state", fileStateName(file.state)},
                            {"bytes", file.size},
                            {"rank", file.rank ? Json(*file.rank) : Json()},
                            {"holds", file.holds},
                            {"container", file.container},
                            {"tensor_bytes", use.tensorBytes},
                            {"padding_bytes", use.paddingBytes}});
    }
    return rows;
}

Json rolesJson(const Inventory& inventory)
{
    Json rows = Json::array();
    for (const RoleUse& use : inventory.roles)
        rows.push_back(Json{{"role", use.role},
                            {"quantized", use.quantized},
                            {"dtype", shardlens::nameOf(use.dtype)},
                            {"tensors", use.tensors},
                            {"values", use.values},
                            {"bytes", use.bytes},
                            {"pieces", use.pieces},
                            {"held_values", use.heldValues}});
    return rows;
}

void printInspectJson(Console& console, const Checkpoint& checkpoint)
{
    const Inventory inventory = inventoryOf(checkpoint);
    Json answer = answerJson();
    answer["path"] = checkpoint.path();
    answer["format"] = checkpoint.formatId();
    answer["format_title"] = checkpoint.formatTitle();
    answer["title"] = checkpoint.title();
    answer["subtitle"] = checkpoint.subtitle();
    Json facts = Json::object();
    for (const auto& [name, value] : checkpoint.facts())
        facts[name] = value;
    answer["facts"] = std::move(facts);
    answer["topology"] = topologyJson(checkpoint.topology());
    answer["tensors"] = checkpoint.tensors().size();
    answer["parameters"] = checkpoint.parameters().size();
    answer["pieces"] = checkpoint.pieces().size();
    answer["bytes"] = checkpoint.totalFileBytes();
    answer["roles"] = rolesJson(inventory);
    Json aliases = Json::array();
    for (const Alias& alias : checkpoint.aliases())
        aliases.push_back(Json{{"name", alias.name}, {"tied_to", checkpoint.parameters()[indexOf(alias.parameter)]}});
    answer["tied"] = std::move(aliases);
    answer["files"] = filesJson(checkpoint, inventory);
    Json findings = Json::array();
    for (const Finding& finding : checkpoint.findings())
        findings.push_back(findingJson(checkpoint, finding));
    answer["findings"] = std::move(findings);
    Json metadata = Json::array();
    for (const FileMetadata& one : checkpoint.metadata())
        metadata.push_back(
            Json{{"file", one.file == kNoFile ? Json() : Json(checkpoint.file(one.file).name)}, {"root", metaJson(one.root)}});
    answer["metadata"] = std::move(metadata);
    printJson(console, answer);
}

void printHead(Console& console, const Checkpoint& checkpoint)
{
    std::string title = printable(checkpoint.title().empty() ? checkpoint.path() : checkpoint.title());
    if (!checkpoint.subtitle().empty())
        title += " " + printable(checkpoint.subtitle());
    console.line(console.styled(Style::Strong, title) + "  " + printable(checkpoint.formatTitle()));
    std::size_t missing = 0;
    for (const File& file : checkpoint.files())
        missing += file.state == File::State::Read ? 0 : 1;
    std::string files =
        fmt::format("{} in {}", exactSizeText(checkpoint.totalFileBytes()), plural(checkpoint.files().size() - missing, "file", "files"));
    if (missing != 0)
        files += fmt::format(", {} missing or unreadable", missing);
    console.line(files + "; " +
                 fmt::format("{} of {}", plural(checkpoint.tensors().size(), "tensor", "tensors"),
                             plural(checkpoint.parameters().size(), "parameter", "parameters")));
}

void printFacts(Console& console, const Checkpoint& checkpoint)
{
    std::size_t columns = 8;
    for (const auto& [name, value] : checkpoint.facts())
        columns = std::max(columns, std::min(displayWidth(printable(name)), kMaxLabelColumns));
    const auto fact = [&](const std::string& name, const std::string& value) {
        std::string label = "  " + elided(printable(name), columns);
        label.append(columns + 4 - displayWidth(label), ' ');
        const auto lines = wrapped(printable(value), console.width() - std::min(label.size(), console.width() - 1));
        console.line(console.styled(Style::Muted, label) + lines.front());
        for (std::size_t i = 1; i < lines.size(); ++i)
            console.line(std::string(label.size(), ' ') + lines[i]);
    };
    if (!checkpoint.topology().axes.empty())
        fact("ranks", checkpoint.topology().axes.front().axis == Axis::Rank ? std::to_string(checkpoint.topology().worldSize())
                                                                           : fmt::format("{} ({})", checkpoint.topology().worldSize(), checkpoint.topology().text()));
    for (const auto& [name, value] : checkpoint.facts())
        fact(name, value);
    for (const Alias& alias : checkpoint.aliases())
        fact("tied", fmt::format("{} shares the values of {}", alias.name, checkpoint.parameters()[indexOf(alias.parameter)]));
}

std::string roleText(const RoleUse& use)
{
    return printable(use.role) + (use.quantized ? " (quantized)" : "");
}

void printRoles(Console& console, const Inventory& inventory)
{
    Table table({{"role", false, true}, {"dtype"}, {"tensors", true}, {"values", true}, {"bytes", true}, {"pieces", true}, {""}});
    for (const RoleUse& use : inventory.roles) {
        const bool less = use.heldValues < use.values;
        table.addRow({roleText(use), std::string(shardlens::nameOf(use.dtype)), groupedText(use.tensors), groupedText(use.values),
                      exactSizeText(use.bytes), groupedText(use.pieces), less ? groupedText(use.values - use.heldValues) + " values missing" : ""},
                     less ? Style::Bad : Style::Plain);
    }
    if (!table.empty()) {
        console.line();
        table.print(console, 2);
    }
}

void printFiles(Console& console, const Checkpoint& checkpoint)
{
    Table table({{"rank", true}, {"file", false, true}, {"bytes", true}, {"holds", false, true}});
    for (const File& file : checkpoint.files()) {
        const bool read = file.state == File::State::Read;
        table.addRow({file.rank ? std::to_string(*file.rank) : "", printable(file.name), read ? groupedText(file.size) : fileStateName(file.state),
                      printable(file.holds)},
                     read ? Style::Plain : Style::Bad);
    }
    if (!table.empty()) {
        console.line();
        table.print(console, 2);
    }
}

// Where every byte of the files went, and whether the values that ranks hold are as many as the tensors need.
void printArithmetic(Console& console, const Checkpoint& checkpoint, const Inventory& inventory)
{
    console.line();
    console.line(console.styled(Style::Strong, "  Values: what the tensors need, what the pieces hold"));
    Table values({{"role", false, true}, {"dtype"}, {"need", true}, {"have", true}, {"difference", true}});
    for (const RoleUse& use : inventory.roles) {
        const bool less = use.heldValues < use.values;
        const std::uint64_t difference = less ? use.values - use.heldValues : use.heldValues - use.values;
        const std::string words = difference == 0 ? "" : groupedText(difference) + (less ? " missing" : " held twice");
        values.addRow(
            {roleText(use), std::string(shardlens::nameOf(use.dtype)), groupedText(use.values), groupedText(use.heldValues), words},
            less ? Style::Bad : Style::Plain);
    }
    values.print(console, 4);
    console.line();
    console.line(console.styled(Style::Strong, "  Bytes: what each file is made of"));
    Table bytes({{"file", false, true}, {"bytes", true}, {"tensors", true}, {"padding", true}, {"headers", true}, {"other", true}});
    for (std::size_t i = 0; i < checkpoint.files().size(); ++i) {
        const File& file = checkpoint.files()[i];
        const FileUse& use = inventory.files[i];
        const std::uint64_t known = use.tensorBytes + use.paddingBytes + use.headerBytes;
        bytes.addRow({printable(file.name), groupedText(file.size), groupedText(use.tensorBytes), groupedText(use.paddingBytes),
                      groupedText(use.headerBytes), groupedText(file.size > known ? file.size - known : 0)});
    }
    bytes.print(console, 4);
}

// A strategy file, or the folder of a run's stages, is no checkpoint; what it is can be said all the same. Nothing where it is none.
std::optional<mindspore::Strategy> strategyAt(const std::string& path)
{
    const auto file = lookAt(path);
    if (file && file->isFolder && !mindspore::strategyFilesIn(path).empty()) {
        auto folder = mindspore::readStrategyOrFolder(path);
        return folder ? std::optional(folder.take()) : std::nullopt;
    }
    if (!file || file->isFolder || !mindspore::looksLikeStrategy({reinterpret_cast<const char*>(file->head.data()), file->head.size()}, file->sizeBytes))
        return std::nullopt;
    auto strategy = mindspore::readStrategy(path);
    return strategy ? std::optional(strategy.take()) : std::nullopt;
}

void inspectStrategy(const mindspore::Strategy& strategy, bool json, Console& console)
{
    StrategyShowOptions options;
    for (std::uint32_t i = 0; i < strategy.items().size(); ++i)
        options.items.push_back(i);
    if (!json) {
        printStrategy(console, strategy, options);
        return;
    }
    Json answer = strategyJson(strategy, options);
    answer["format"] = "mindspore-strategy";
    printJson(console, answer);
}

int runInspect(const InspectArguments& arguments, CommandContext& context)
{
    const auto opened = arguments.source.open(context.job);
    if (!opened)
        if (const auto strategy = strategyAt(arguments.source.path)) {
            inspectStrategy(*strategy, arguments.json, context.console);
            return kExitDone;
        }
    if (!opened)
        return reportFailure(context.console, opened.error(), arguments.json);
    const Checkpoint& checkpoint = **opened;
    if (arguments.json) {
        printInspectJson(context.console, checkpoint);
        return kExitDone;
    }
    const Inventory inventory = inventoryOf(checkpoint);
    printHead(context.console, checkpoint);
    printFacts(context.console, checkpoint);
    printRoles(context.console, inventory);
    printFiles(context.console, checkpoint);
    if (arguments.verbose)
        printArithmetic(context.console, checkpoint, inventory);
    if (!checkpoint.findings().empty()) {
        context.console.line();
        printFindings(context.console, checkpoint.findings());
    }
    return kExitDone;
}

} // namespace

void addInspectCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<InspectArguments>();
    CLI::App* command = program.add_subcommand("inspect", "What is this: format, topology, files, sizes, findings");
    addSourceArguments(*command, arguments->source);
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md), with the metadata tree");
    command->add_flag("-v,--verbose", arguments->verbose, "Also the arithmetic: values needed and held, what each file is made of");
    command->footer("Reads headers only, no tensor data.\n\n"
                    "Example: shardlens inspect /data/run -v");
    command->callback([arguments, &context] { context.exitCode = runInspect(*arguments, context); });
}

} // namespace shardlens::cli
