#include "app/cli/conversion.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::cli {
namespace {

constexpr std::size_t kMostFiles = 12;    // listed for people
constexpr std::size_t kMostFilesWithSources = 256;
constexpr std::size_t kTopicColumns = 18;
constexpr double kWorthDividing = 0.5; // seconds: below it shares of the time say little

Json filesJson(const Plan& plan)
{
    Json out = Json::array();
    for (const PlannedFile& file : plan.files) {
        Json& row = out.emplace_back(Json{{"name", file.name}, {"bytes", file.sizeBytes}, {"tensors", file.tensorCount}});
        if (file.sources.empty() || plan.files.size() > kMostFilesWithSources)
            continue;
        Json& sources = row["sources"] = Json::array();
        for (const FileId source : file.sources)
            sources.push_back(plan.payload->file(source).name);
    }
    return out;
}

Json linesJson(const std::vector<PlanLine>& lines)
{
    Json out = Json::array();
    for (const PlanLine& line : lines)
        out.push_back(Json{{"kind", shardlens::nameOf(line.kind)}, {"topic", line.topic}, {"text", line.text}});
    return out;
}

Style styleOf(PlanLine::Kind kind)
{
    switch (kind) {
    case PlanLine::Kind::Kept: return Style::Good;
    case PlanLine::Kind::Info: return Style::Muted;
    case PlanLine::Kind::Dropped:
    case PlanLine::Kind::Cast:
    case PlanLine::Kind::Duplicated: return Style::Strong;
    case PlanLine::Kind::Warning: return Style::Warning;
    }
    return Style::Plain;
}

void printLines(Console& console, const std::vector<PlanLine>& lines)
{
    for (const PlanLine& line : lines) {
        std::string label = line.topic;
        label.resize(std::max(kTopicColumns, label.size() + 1), ' ');
        bool first = true;
        for (const std::string& text : wrapped(line.text, console.width() - kTopicColumns - 2)) {
            console.line("  " + (first ? console.styled(styleOf(line.kind), label) : std::string(kTopicColumns, ' ')) + text);
            first = false;
        }
    }
}

void printFiles(Console& console, const Plan& plan)
{
    Table table({{"file", false, true}, {"tensors", true, false}, {"size", true, false}});
    const std::size_t shown = std::min(plan.files.size(), kMostFiles);
    for (std::size_t i = 0; i < shown; ++i)
        table.addRow({printable(plan.files[i].name), groupedText(plan.files[i].tensorCount), exactSizeText(plan.files[i].sizeBytes)});
    table.print(console, 2);
    if (shown < plan.files.size())
        console.line(fmt::format("  … and {} more", groupedText(plan.files.size() - shown)));
}

std::string resultText(const Plan& plan)
{
    return fmt::format("{} ({}): {} in {}, {}", printable(plan.request.target), plan.formatId, plural(plan.tensorCount(), "tensor", "tensors"),
                       plural(plan.files.size(), "file", "files"), exactSizeText(plan.bytesToWrite));
}

} // namespace

Json planJson(const Plan& plan)
{
    return Json{{"job", Json::parse(requestToJson(plan.request))},
                {"command_line", commandLineOf(plan.request)},
                {"target", plan.request.target},
                {"format", plan.formatId},
                {"tensors", plan.tensorCount()},
                {"files", filesJson(plan)},
                {"lines", linesJson(plan.lines)},
                {"bytes_to_read", plan.bytesToRead},
                {"bytes_to_write", plan.bytesToWrite},
                {"read_amplification", plan.readAmplification()},
                {"peak_buffer_bytes", plan.peakBufferBytes},
                {"metadata_bytes", plan.metadataBytes}};
}

Json reportJson(const Plan& plan, const ConvertReport& report)
{
    return Json{{"target", report.target},
                {"format", plan.formatId},
                {"tensors", plan.tensorCount()},
                {"files", filesJson(plan)},
                {"lines", linesJson(report.lines)},
                {"bytes_read", report.bytesRead},
                {"bytes_written", report.bytesWritten},
                {"seconds", report.seconds},
                {"stages", Json{{"read_ns", report.stages.readNs}, {"compute_ns", report.stages.computeNs}, {"write_ns", report.stages.writeNs}}},
                {"peak_resident_bytes", report.peakResidentBytes},
                {"verified", report.verified}};
}

void printPlan(Console& console, const Plan& plan)
{
    console.line(console.styled(Style::Strong, "Plan") + " for " + resultText(plan));
    printFiles(console, plan);
    console.line();
    printLines(console, plan.lines);
    console.line();
    console.line(fmt::format("Reads {} for {} written; {} of buffers, {} for what describes the checkpoint, with {}.", exactSizeText(plan.bytesToRead),
                             sizeText(plan.bytesToWrite), sizeText(plan.peakBufferBytes), sizeText(plan.metadataBytes),
                             plural(plan.request.threads, "thread", "threads")));
    console.line("Nothing was written (--dry-run).");
}

void printReport(Console& console, const Plan& plan, const ConvertReport& report)
{
    console.line(console.styled(Style::Good, "Wrote") + " " + resultText(plan));
    printLines(console, report.lines);
    const double seconds = std::max(report.seconds, 1e-3);
    const bool computes = !plan.lossy.empty() || !plan.prepared.empty();
    const char* checked = !report.verified ? "" : computes && !plan.request.dtype ? "Read back and equal to what the source gives. " : plan.request.dtype ? "Read back and equal to the cast source. " : "Read back and equal to the source. ";
    console.line(fmt::format("{}{} in {}, {}; at most {} of memory.", checked, sizeText(report.bytesWritten),
                             report.seconds < 10 ? fmt::format("{:.2f} s", report.seconds) : durationText(report.seconds),
                             rateText(static_cast<double>(report.bytesWritten) / seconds), sizeText(report.peakResidentBytes)));
    const StageTimes& stages = report.stages;
    const double all = static_cast<double>(stages.readNs + stages.computeNs + stages.writeNs);
    if (report.seconds >= kWorthDividing && all > 0)
        console.line(fmt::format("Of the threads' time {} went into reading, {} into computing, {} into writing.", percentText(static_cast<double>(stages.readNs) / all),
                                 percentText(static_cast<double>(stages.computeNs) / all), percentText(static_cast<double>(stages.writeNs) / all)));
}

} // namespace shardlens::cli
