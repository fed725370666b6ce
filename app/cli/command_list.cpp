#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "core/base/text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace shardlens::cli {
namespace {

struct ListArguments {
    SourceArguments source;
    SelectionArguments selection;
    std::vector<std::string> filter;
    bool json = false;
    bool csv = false;
};

std::string csvCell(const std::string& text)
{
    if (text.find_first_of(",\"\r\n") == std::string::npos)
        return text;
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"')
            out += '"';
        out += c;
    }
    return out + '"';
}

// What people read in the last column: the number of pieces, or whose tensor a tied name stands for.
std::string piecesText(const Checkpoint& checkpoint, const SelectedTensor& row)
{
    return row.isAlias ? "tied" : groupedText(checkpoint.pieces().countOf(row.tensor));
}

void printListCsv(Console& console, const Checkpoint& checkpoint, const std::vector<SelectedTensor>& rows)
{
    console.line("name,role,dtype,shape,bytes,pieces,tied_to");
    for (const SelectedTensor& row : rows) {
        const Tensor& tensor = checkpoint.tensor(row.tensor);
        console.line(fmt::format("{},{},{},{},{},{},{}", csvCell(row.name), csvCell(checkpoint.roleOf(row.tensor).name),
                                 nameOf(tensor.dtype), csvCell(shapeText(tensor.shape)), checkpoint.bytesOf(row.tensor),
                                 checkpoint.pieces().countOf(row.tensor), row.isAlias ? csvCell(checkpoint.fullName(row.tensor)) : ""));
    }
}

// Row by row: a hundred thousand tensors need no second copy in memory.
void printListJson(Console& console, const Checkpoint& checkpoint, const std::vector<SelectedTensor>& rows)
{
    console.write("{\n \"schema\": 1,\n \"tensors\": [");
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const SelectedTensor& row = rows[i];
        const Tensor& tensor = checkpoint.tensor(row.tensor);
        Json value{{"name", row.name},
                   {"role", checkpoint.roleOf(row.tensor).name},
                   {"dtype", nameOf(tensor.dtype)},
                   {"shape", shapeJson(tensor.shape)},
                   {"bytes", checkpoint.bytesOf(row.tensor)},
                   {"pieces", checkpoint.pieces().countOf(row.tensor)}};
        if (row.isAlias)
            value["tied_to"] = checkpoint.fullName(row.tensor);
        console.write(i == 0 ? "\n  " : ",\n  ");
        console.write(value.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    console.write(rows.empty() ? "]\n}\n" : "\n ]\n}\n");
}

void printList(Console& console, const Checkpoint& checkpoint, const std::vector<SelectedTensor>& rows)
{
    Table table({{"name", false, true}, {"dtype"}, {"shape", false, true}, {"bytes", true}, {"pieces", true}});
    std::uint64_t bytes = 0;
    for (const SelectedTensor& row : rows) {
        const Tensor& tensor = checkpoint.tensor(row.tensor);
        table.addRow({printable(row.name), std::string(nameOf(tensor.dtype)), shapeText(tensor.shape),
                      groupedText(checkpoint.bytesOf(row.tensor)), piecesText(checkpoint, row)});
        bytes += row.isAlias ? 0 : checkpoint.bytesOf(row.tensor);
    }
    if (!table.empty())
        table.print(console);
    console.line(console.styled(Style::Muted, fmt::format("{}, {}", plural(rows.size(), "name", "names"), exactSizeText(bytes))));
}

int runList(ListArguments arguments, CommandContext& context)
{
    if (arguments.selection.select.empty())
        arguments.selection.select = "all";
    arguments.selection.include.insert(arguments.selection.include.end(), arguments.filter.begin(), arguments.filter.end());
    const auto selection = arguments.selection.options();
    if (!selection)
        return reportFailure(context.console, selection.error(), arguments.json);
    const auto checkpoint = arguments.source.open(context.job);
    if (!checkpoint)
        return reportFailure(context.console, checkpoint.error(), arguments.json);
    const std::vector<SelectedTensor> rows = selectTensors(**checkpoint, *selection);
    if (arguments.json)
        printListJson(context.console, **checkpoint, rows);
    else if (arguments.csv)
        printListCsv(context.console, **checkpoint, rows);
    else
        printList(context.console, **checkpoint, rows);
    return kExitDone;
}

} // namespace

void addListCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<ListArguments>();
    CLI::App* command = program.add_subcommand("list", "The tensors: name, dtype, shape, bytes and number of pieces");
    addSourceArguments(*command, arguments->source);
    command->add_option("--filter", arguments->filter, "Only names in which the pattern is found (the same as --include)")
        ->type_name("RE")
        ->allow_extra_args(false);
    addSelectionArguments(*command, arguments->selection);
    CLI::Option* json = command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->add_flag("--csv", arguments->csv, "Answer as comma-separated values, names in full")->excludes(json);
    command->footer("Names that do not fit a terminal's width are shortened in the middle; --csv and --json give them in full.\n\n"
                    "Example: shardlens list /data/run --filter 'layers\\.7\\..*exp_avg$' --csv");
    command->callback([arguments, &context] { context.exitCode = runList(*arguments, context); });
}

} // namespace shardlens::cli
