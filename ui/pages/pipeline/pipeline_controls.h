#pragma once

#include "ui/models/pipeline_plan.h"

#include <QWidget>

class QComboBox;
class QLineEdit;
class QSpinBox;

namespace shardlens::ui {

// The question to the partitioner: stages, method, sizes inside a stage, version; weights and class names where they have to be typed.
class PipelineControls : public QWidget {
    Q_OBJECT
public:
    explicit PipelineControls(QWidget* parent = nullptr);

    // What has to be typed.
    struct Needs {
        bool weights = false; // the checkpoint has no layers
        bool places = false;  // names without a number may have to be put before or behind the layers
    };
    // Shows a question without asking it.
    void show(const PipelineQuestion& question, const Needs& needs);
    [[nodiscard]] PipelineQuestion question() const;

    [[nodiscard]] QSpinBox* stages() const { return m_stages; }
    [[nodiscard]] QComboBox* method() const { return m_method; }
    [[nodiscard]] QComboBox* version() const { return m_version; }
    [[nodiscard]] QLineEdit* pattern() const { return m_pattern; }
    [[nodiscard]] QLineEdit* names() const { return m_names; }
    [[nodiscard]] QLineEdit* weights() const { return m_weights; }
    [[nodiscard]] QLineEdit* before() const { return m_before; }
    [[nodiscard]] QLineEdit* behind() const { return m_behind; }
    [[nodiscard]] QSpinBox* data() const { return m_data; }
    [[nodiscard]] QSpinBox* tensor() const { return m_tensor; }

signals:
    void asked();

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void build();
    void fit();

    QSpinBox* m_stages;
    QComboBox* m_method;
    QLineEdit* m_pattern;
    QLineEdit* m_names;
    QLineEdit* m_weights;
    QLineEdit* m_before;
    QLineEdit* m_behind;
    QSpinBox* m_data;
    QSpinBox* m_tensor;
    QComboBox* m_version;
    QWidget* m_patternPair = nullptr;
    QWidget* m_namesPair = nullptr;
    QWidget* m_weightsPair = nullptr;
    QWidget* m_beforePair = nullptr;
    QWidget* m_behindPair = nullptr;
    Needs m_needs;
    bool m_isShowing = false;
};

} // namespace shardlens::ui
