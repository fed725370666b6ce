#include "ui/jobs/device_probe.h"

#include "ui/jobs/job_program.h"

#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>

namespace shardlens::ui {

DeviceReport readDeviceReport(const QByteArray& json)
{
    DeviceReport out;
    const QJsonObject answer = QJsonDocument::fromJson(json).object();
    for (const QJsonValue& row : answer.value(QLatin1String("devices")).toArray()) {
        const QJsonObject device = row.toObject();
        out.devices.push_back({device.value(QLatin1String("id")).toString(), device.value(QLatin1String("name")).toString(),
                               static_cast<std::uint64_t>(device.value(QLatin1String("total_bytes")).toDouble()), static_cast<std::uint64_t>(device.value(QLatin1String("free_bytes")).toDouble()),
                               device.value(QLatin1String("compute_capability")).toString()});
    }
    out.remark = answer.value(QLatin1String("remark")).toString();
    if (out.devices.empty())
        out.problem = DeviceProbe::tr("The program did not say what there is to compute on.");
    return out;
}

DeviceProbe::DeviceProbe(QObject* parent) : QObject(parent)
{
    connect(&m_process, &QProcess::finished, this, &DeviceProbe::finish);
    connect(&m_process, &QProcess::errorOccurred, this, [this](QProcess::ProcessError error) {
        if (error != QProcess::FailedToStart)
            return;
        DeviceReport report;
        report.problem = tr("%1 could not be started: %2.", "program, reason").arg(m_process.program(), m_process.errorString());
        emit found(report);
    });
}

DeviceProbe::~DeviceProbe()
{
    m_process.disconnect(this);
    m_process.kill();
    m_process.waitForFinished(1000);
}

void DeviceProbe::start(const QString& program)
{
    if (isRunning())
        return;
    m_process.setProcessEnvironment(jobEnvironment());
    m_process.start(program, {QStringLiteral("devices"), QStringLiteral("--json")}, QIODevice::ReadOnly);
}

void DeviceProbe::finish()
{
    emit found(readDeviceReport(m_process.readAllStandardOutput()));
}

} // namespace shardlens::ui
