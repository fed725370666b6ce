#pragma once

#include "ui/jobs/device_probe.h"

#include <QVariant>
#include <QWidget>

#include <functional>
#include <vector>

class QLabel;
class QVBoxLayout;

namespace shardlens::ui {

// One page, no dialog: changes act at once, each can be undone (design.md §3, Settings).
class SettingsPage : public QWidget {
    Q_OBJECT
public:
    explicit SettingsPage(QWidget* parent = nullptr);

    // The devices that show, a line each, and why there are no more.
    [[nodiscard]] QString devices() const;

protected:
    void paintEvent(QPaintEvent* event) override;
    void showEvent(QShowEvent* event) override; // asks for the devices

private:
    struct Row {
        QString key;
        QVariant standard;
        std::function<void(const QVariant&)> show; // puts a value into the control
        QVariant before = {};      // when the window opened
        QWidget* undo = nullptr;   // hidden while there is nothing to undo
    };

    void addChoice(QVBoxLayout* column, const QString& key, const QString& label, const QString& why, const QStringList& names, const QStringList& values);
    void addNumber(QVBoxLayout* column, const QString& key, const QString& label, const QString& why, int low, int high, int standard, int step, const QString& suffix, const QString& zero = {});
    void addFile(QVBoxLayout* column, const QString& key, const QString& label, const QString& why, const QString& placeholder);
    void addDevices(QVBoxLayout* column);
    void askDevices();
    void showDevices(const DeviceReport& report);
    void finishRow(QVBoxLayout* column, const QString& label, const QString& why, QWidget* control, Row row);
    void store(const QString& key, const QVariant& value);
    void apply(const QString& key, const QVariant& value);
    void restoreDefaults();

    std::vector<Row> m_rows;
    DeviceProbe m_probe;
    QLabel* m_devices = nullptr;
};

} // namespace shardlens::ui
