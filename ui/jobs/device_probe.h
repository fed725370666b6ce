#pragma once

#include <QObject>
#include <QProcess>
#include <QString>

#include <cstdint>
#include <vector>

namespace shardlens::ui {

// What the program can compute on, as `shardlens devices --json` says.
struct DeviceRow {
    QString id;
    QString name;
    std::uint64_t totalBytes = 0;
    std::uint64_t freeBytes = 0;
    QString capability; // "9.0"; empty: none
};

struct DeviceReport {
    std::vector<DeviceRow> devices; // the CPU first
    QString remark;                 // why there are no others; empty where there are
    QString problem;                // a sentence: the program could not be asked
};

// Asks a child process, because the window itself never loads libtorch.
class DeviceProbe : public QObject {
    Q_OBJECT
public:
    explicit DeviceProbe(QObject* parent = nullptr);
    ~DeviceProbe() override;

    // Asks anew; the answer comes by found(). Does nothing while one is on its way.
    void start(const QString& program);
    [[nodiscard]] bool isRunning() const { return m_process.state() != QProcess::NotRunning; }

signals:
    void found(const shardlens::ui::DeviceReport& report);

private:
    void finish();

    QProcess m_process;
};

// The answer's text taken apart.
[[nodiscard]] DeviceReport readDeviceReport(const QByteArray& json);

} // namespace shardlens::ui
