#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "core/numeric/quant_scheme.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace shardlens::cli {
namespace {

void printFormatsJson(Console& console)
{
    Json rows = Json::array();
    for (const Format& format : formats())
        rows.push_back(Json{{"id", format.id},
                            {"title", format.title},
                            {"reads", format.reads},
                            {"writes", format.writes == nullptr ? Json() : Json(format.writes)}});
    Json answer = answerJson();
    answer["formats"] = std::move(rows);
    Json schemes = Json::array();
    for (const QuantScheme& scheme : quantSchemes())
        schemes.push_back(Json{{"id", scheme.name}, {"title", scheme.title}, {"family", nameOf(scheme.family)}, {"purpose", scheme.purpose}});
    answer["schemes"] = std::move(schemes);
    printJson(console, answer);
}

void printFormats(Console& console)
{
    for (const Format& format : formats()) {
        console.line(console.styled(Style::Strong, format.id) + "  " + format.title);
        const auto paragraph = [&](const char* label, const std::string& text) {
            const auto lines = wrapped(text, console.width() - 10);
            for (std::size_t i = 0; i < lines.size(); ++i)
                console.line((i == 0 ? label : "          ") + lines[i]);
        };
        paragraph("  reads   ", format.reads);
        paragraph("  writes  ", format.writes == nullptr ? "nothing yet" : format.writes);
    }
    console.line();
    console.line(console.styled(Style::Strong, "Schemes") + " of --quantize, and of --dequantize back");
    for (const QuantScheme& scheme : quantSchemes()) {
        console.line("  " + console.styled(Style::Strong, std::string(scheme.name)) + "  " + std::string(scheme.title) + console.styled(Style::Muted, std::string("  ") + nameOf(scheme.family)));
        for (const std::string& line : wrapped(scheme.purpose, console.width() - 6))
            console.line("      " + line);
    }
}

} // namespace

void addFormatsCommand(CLI::App& program, CommandContext& context)
{
    const auto json = std::make_shared<bool>(false);
    CLI::App* command = program.add_subcommand("formats", "The formats that this build reads and writes, and the schemes it quantizes in");
    command->add_flag("--json", *json, "Answer in JSON (docs/json.md)");
    command->footer("Example: shardlens formats");
    command->callback([json, &context] { *json ? printFormatsJson(context.console) : printFormats(context.console); });
}

} // namespace shardlens::cli
