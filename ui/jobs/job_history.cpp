#include "ui/jobs/job_history.h"

#include <QStringList>

#include <nlohmann/json.hpp>

namespace shardlens::ui {
namespace {

using Json = nlohmann::json;

constexpr const char* kKey = "jobs/history";

QString entryOf(const Job& job, const JobReport& report)
{
    const Json entry{{"title", job.title().toStdString()},
                     {"disk", job.spec().disk.toStdString()},
                     {"ended", job.endedAt().toString(Qt::ISODateWithMs).toStdString()},
                     {"job", requestToJson(job.request())},
                     {"report", jobReportToJson(report).toStdString()}};
    return QString::fromStdString(entry.dump(-1, ' ', false, Json::error_handler_t::replace));
}

QString entryOf(const Job& job)
{
    const QString whole = entryOf(job, job.report());
    if (whole.size() <= JobHistory::kLargestEntry)
        return whole;
    JobReport shorter = job.report();
    shorter.lines.clear();
    shorter.files.clear();
    return entryOf(job, shorter);
}

QString textOf(const Json& object, const char* name)
{
    const auto member = object.find(name);
    return member != object.end() && member->is_string() ? QString::fromStdString(member->get<std::string>()) : QString();
}

std::unique_ptr<Job> jobOf(const QString& entry)
{
    const QByteArray bytes = entry.toUtf8();
    const Json object = Json::parse(bytes.begin(), bytes.end(), nullptr, false);
    if (!object.is_object())
        return nullptr;
    auto request = requestFromJson(textOf(object, "job").toStdString());
    const auto event = parseJobEvent(textOf(object, "report").toUtf8());
    const JobReport* report = event ? std::get_if<JobReport>(&*event) : nullptr;
    if (!request || report == nullptr)
        return nullptr;
    JobSpec spec{request.take(), textOf(object, "title"), textOf(object, "disk"), {}};
    for (const JobReportFile& file : report->files)
        spec.files.push_back({file.name, file.sizeBytes, {}});
    return std::make_unique<Job>(std::move(spec), *report, QDateTime::fromString(textOf(object, "ended"), Qt::ISODateWithMs));
}

} // namespace

std::vector<std::unique_ptr<Job>> JobHistory::load() const
{
    std::vector<std::unique_ptr<Job>> jobs;
    if (m_settings == nullptr)
        return jobs;
    const QStringList entries = m_settings->value(QLatin1String(kKey)).toStringList();
    for (const QString& entry : entries.first(std::min<qsizetype>(entries.size(), kMost)))
        if (auto job = jobOf(entry))
            jobs.push_back(std::move(job));
    return jobs;
}

void JobHistory::save(const std::vector<const Job*>& finished)
{
    if (m_settings == nullptr)
        return;
    QStringList entries;
    for (const Job* job : finished)
        if (entries.size() < kMost)
            entries.push_back(entryOf(*job));
    m_settings->setValue(QLatin1String(kKey), entries);
}

} // namespace shardlens::ui
