#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "core/base/text.h"
#include "core/compute/devices.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace shardlens::cli {
namespace {

void printDevicesJson(Console& console)
{
    Json rows = Json::array();
    for (const Device& device : devices())
        rows.push_back(Json{{"id", device.id}, {"name", device.name}, {"total_bytes", device.totalBytes}, {"free_bytes", device.freeBytes}});
    Json answer = answerJson();
    answer["devices"] = std::move(rows);
    printJson(console, answer);
}

void printDevices(Console& console)
{
    Table table({{"device"}, {"name", false, true}, {"memory", true}, {"free", true}});
    for (const Device& device : devices())
        table.addRow({device.id, device.name, sizeText(device.totalBytes), sizeText(device.freeBytes)});
    table.print(console);
}

} // namespace

void addDevicesCommand(CLI::App& program, CommandContext& context)
{
    const auto json = std::make_shared<bool>(false);
    CLI::App* command = program.add_subcommand("devices", "What this build can compute on");
    command->add_flag("--json", *json, "Answer in JSON (docs/json.md)");
    command->footer("Example: shardlens devices");
    command->callback([json, &context] { *json ? printDevicesJson(context.console) : printDevices(context.console); });
}

} // namespace shardlens::cli
