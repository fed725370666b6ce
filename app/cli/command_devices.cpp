#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "core/base/text.h"
#include "core/compute/devices.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace shardlens::cli {
namespace {

void printDevicesJson(Console& console)
{
    Json rows = Json::array();
    const DeviceList found = devices();
    for (const Device& device : found.devices) {
        Json& row = rows.emplace_back(Json{{"id", device.id}, {"name", device.name}, {"total_bytes", device.totalBytes}, {"free_bytes", device.freeBytes}});
        row["compute_capability"] = device.capability.first == 0 ? Json() : Json(fmt::format("{}.{}", device.capability.first, device.capability.second));
    }
    Json answer = answerJson();
    answer["devices"] = std::move(rows);
    answer["libtorch"] = found.torch.empty() ? Json() : Json(found.torch);
    answer["remark"] = found.remark.empty() ? Json() : Json(found.remark);
    printJson(console, answer);
}

void printDevices(Console& console)
{
    const DeviceList found = devices();
    Table table({{"device"}, {"name", false, true}, {"compute"}, {"memory", true}, {"free", true}});
    for (const Device& device : found.devices)
        table.addRow({device.id, printable(device.name), device.capability.first == 0 ? std::string() : fmt::format("{}.{}", device.capability.first, device.capability.second), sizeText(device.totalBytes), sizeText(device.freeBytes)});
    table.print(console);
    if (!found.torch.empty())
        console.line(console.styled(Style::Muted, "libtorch " + printable(found.torch)));
    for (const std::string& line : wrapped(found.remark, console.width()))
        console.line(console.styled(Style::Muted, line));
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
