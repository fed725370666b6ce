#pragma once

#include "ui/jobs/device_probe.h"
#include "ui/models/runner.h"
#include "ui/models/scheme_outlook.h"
#include "ui/pages/convert_option_grid.h"
#include "ui/pages/convert_step.h"

#include <QObject>

#include <vector>

class QCheckBox;
class QComboBox;
class QLineEdit;
class QPushButton;

namespace shardlens::ui {

class GoalCard;
class TextLabel;

// "Quantize": a card for every scheme with the size that the result would have, which tensors stay as they are, and the device that computes. Of a source that is
// quantized already: whether its values are taken. It shows where the goal holds quantized weights.
class ConvertQuantizeOption : public QObject {
    Q_OBJECT
public:
    ConvertQuantizeOption(OptionGrid& grid, QObject* parent);

    // Never signals edited().
    void load(const JobDraft& draft, const StepFacts& facts);
    void take(JobDraft& draft) const;

    [[nodiscard]] GoalCard* card(const QString& scheme) const; // nullptr: there is none; empty: that of no scheme
    [[nodiscard]] QComboBox* devices() const { return m_devices; }
    [[nodiscard]] QCheckBox* values() const { return m_values; }
    // As the child process answers.
    void showDevices(const DeviceReport& report);

signals:
    void edited();

private:
    void makeCards(OptionGrid& grid);
    void makeDevices(OptionGrid& grid);
    void loadCards(const JobDraft& draft, const StepFacts& facts);
    void lookAt(const JobDraft& draft, const StepFacts& facts);
    void showSizes();
    void loadRows(const JobDraft& draft, const StepFacts& facts);
    void askDevices();

    QWidget* m_panel;
    TextLabel* m_heading;
    std::vector<GoalCard*> m_cards; // that of no scheme first
    QCheckBox* m_allSchemes;
    QLineEdit* m_exclude;
    OptionRow m_excludeRow;
    QComboBox* m_devices;
    QPushButton* m_refresh;
    OptionRow m_devicesRow;
    QCheckBox* m_values;
    OptionRow m_valuesRow;
    std::vector<SchemeOutlook> m_outlooks;
    CheckpointPtr m_lookedAt;
    std::optional<DType> m_lookedDType;
    Select m_lookedSelect = Select::Weights;
    Runner m_look;
    DeviceProbe m_probe;
    bool m_isShown = false;
    bool m_asked = false;
};

// The source stores quantized weights.
[[nodiscard]] bool isQuantized(const Checkpoint& source);

} // namespace shardlens::ui
