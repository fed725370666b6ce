#include "ui/jobs/job_protocol.h"

#include "core/base/json_text.h"
#include "core/base/text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

namespace shardlens::ui {
namespace {

constexpr std::size_t kDeepest = 64; // brackets; ours are three

using Json = nlohmann::json;

constexpr std::array<std::pair<const char*, JobOutcome>, 4> kOutcomes{{
    {"done", JobOutcome::Done}, {"failed", JobOutcome::Failed}, {"cancelled", JobOutcome::Cancelled}, {"refused", JobOutcome::Refused}}};

constexpr std::array<std::pair<const char*, JobReportLine::Kind>, 6> kLineKinds{{
    {"kept", JobReportLine::Kind::Kept}, {"info", JobReportLine::Kind::Info}, {"dropped", JobReportLine::Kind::Dropped},
    {"cast", JobReportLine::Kind::Cast}, {"duplicated", JobReportLine::Kind::Duplicated}, {"warning", JobReportLine::Kind::Warning}}};

template <typename Table>
auto valueByName(const Table& table, const std::string& name, decltype(table[0].second) otherwise)
{
    for (const auto& [known, value] : table)
        if (name == known)
            return value;
    return otherwise;
}

template <typename Table>
std::string nameByValue(const Table& table, decltype(table[0].second) value)
{
    for (const auto& [name, known] : table)
        if (known == value)
            return name;
    return {};
}

QString textOf(const Json& object, const char* name)
{
    const auto member = object.find(name);
    return member != object.end() && member->is_string() ? QString::fromStdString(member->get<std::string>()) : QString();
}

std::uint64_t countOf(const Json& object, const char* name)
{
    const auto member = object.find(name);
    if (member == object.end())
        return 0;
    if (member->is_number_unsigned())
        return member->get<std::uint64_t>();
    return 0;
}

double numberOf(const Json& object, const char* name)
{
    const auto member = object.find(name);
    const double value = member != object.end() && member->is_number() ? member->get<double>() : 0;
    return std::isfinite(value) ? value : 0;
}

JobStages readStages(const Json& object)
{
    return {countOf(object, "read_ns"), countOf(object, "compute_ns"), countOf(object, "write_ns")};
}

JobProgress readProgress(const Json& object)
{
    return {textOf(object, "phase"), countOf(object, "done"), countOf(object, "total"), countOf(object, "bytes_read"),
            countOf(object, "bytes_written"), countOf(object, "rss"), readStages(object)};
}

JobReportLine readLine(const Json& object)
{
    return {valueByName(kLineKinds, lowerCase(textOf(object, "kind").toStdString()), JobReportLine::Kind::Info), textOf(object, "topic"),
            textOf(object, "text")};
}

// {"code": …, "text": …}, or the text alone.
QString readError(const Json& object)
{
    const auto error = object.find("error");
    return error != object.end() && error->is_object() ? textOf(*error, "text") : textOf(object, "error");
}

// {"name": …, "bytes": …}, or the name alone.
JobReportFile readFile(const Json& file)
{
    if (file.is_object())
        return {textOf(file, "name"), countOf(file, "bytes")};
    return {file.is_string() ? QString::fromStdString(file.get<std::string>()) : QString(), 0};
}

JobReport readReport(const Json& object)
{
    JobReport report;
    report.outcome = valueByName(kOutcomes, lowerCase(textOf(object, "outcome").toStdString()), JobOutcome::Failed);
    report.error = readError(object);
    report.target = textOf(object, "target");
    report.bytesRead = countOf(object, "bytes_read");
    report.bytesWritten = countOf(object, "bytes_written");
    report.seconds = numberOf(object, "seconds");
    if (const auto stages = object.find("stages"); stages != object.end() && stages->is_object())
        report.stages = readStages(*stages);
    report.peakResidentBytes = countOf(object, "peak_resident_bytes");
    if (const auto verified = object.find("verified"); verified != object.end() && verified->is_boolean())
        report.verified = verified->get<bool>();
    if (const auto files = object.find("files"); files != object.end() && files->is_array())
        for (const Json& file : *files)
            report.files.push_back(readFile(file));
    if (const auto lines = object.find("lines"); lines != object.end() && lines->is_array())
        for (const Json& line : *lines)
            if (line.is_object())
                report.lines.push_back(readLine(line));
    return report;
}

} // namespace

std::optional<JobEvent> parseJobEvent(const QByteArray& line)
{
    if (jsonNesting({line.constData(), static_cast<std::size_t>(line.size())}) > kDeepest)
        return std::nullopt;
    const Json object = Json::parse(line.begin(), line.end(), nullptr, false);
    if (!object.is_object())
        return std::nullopt;
    const QString event = textOf(object, "event");
    if (event == "start")
        return JobStarted{textOf(object, "program"), textOf(object, "version")};
    if (event == "progress")
        return readProgress(object);
    if (event == "log")
        return JobLogLine{textOf(object, "text")};
    if (event == "line")
        return readLine(object);
    if (event == "report")
        return readReport(object);
    return std::nullopt;
}

QByteArray jobReportToJson(const JobReport& report)
{
    Json lines = Json::array();
    for (const JobReportLine& line : report.lines)
        lines.push_back({{"kind", nameByValue(kLineKinds, line.kind)}, {"topic", line.topic.toStdString()}, {"text", line.text.toStdString()}});
    Json files = Json::array();
    for (const JobReportFile& file : report.files)
        files.push_back({{"name", file.name.toStdString()}, {"bytes", file.sizeBytes}});
    const Json object{{"event", "report"},
                      {"outcome", nameByValue(kOutcomes, report.outcome)},
                      {"error", report.error.toStdString()},
                      {"target", report.target.toStdString()},
                      {"files", files},
                      {"lines", lines},
                      {"bytes_read", report.bytesRead},
                      {"bytes_written", report.bytesWritten},
                      {"seconds", report.seconds},
                      {"stages", Json{{"read_ns", report.stages.readNs}, {"compute_ns", report.stages.computeNs}, {"write_ns", report.stages.writeNs}}},
                      {"peak_resident_bytes", report.peakResidentBytes},
                      {"verified", report.verified}};
    return QByteArray::fromStdString(object.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::vector<QByteArray> LineSplitter::feed(const QByteArray& bytes)
{
    std::vector<QByteArray> lines;
    qsizetype begin = 0;
    for (qsizetype end = bytes.indexOf('\n'); end >= 0; end = bytes.indexOf('\n', begin)) {
        m_rest.append(bytes.constData() + begin, end - begin);
        begin = end + 1;
        if (!m_skipping && m_rest.size() <= kLongestLine)
            lines.push_back(m_rest);
        m_skipping = false;
        m_rest.clear();
    }
    if (!m_skipping)
        m_rest.append(bytes.constData() + begin, bytes.size() - begin);
    if (m_rest.size() > kLongestLine) {
        m_skipping = true;
        m_rest.clear();
    }
    return lines;
}

QByteArray LineSplitter::takeRest()
{
    QByteArray rest;
    std::swap(rest, m_rest);
    m_skipping = false;
    return rest;
}

} // namespace shardlens::ui
