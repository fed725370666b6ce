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

    // Shows a question without asking it. `typesWeights`: the checkpoint has no layers.
    void show(const PipelineQuestion& question, bool typesWeights);
    [[nodiscard]] PipelineQuestion question() const;

    [[nodiscard]] QSpinBox* stages() const { return m_stages; }
    [[nodiscard]] QComboBox* method() const { return m_method; }
    [[nodiscard]] QComboBox* version() const { return m_version; }
    [[nodiscard]] QLineEdit* pattern() const { return m_pattern; }
    [[nodiscard]] QLineEdit* names() const { return m_names; }
    [[nodiscard]] QLineEdit* weights() const { return m_weights; }
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
    QSpinBox* m_data;
    QSpinBox* m_tensor;
    QComboBox* m_version;
    QWidget* m_patternPair = nullptr;
    QWidget* m_namesPair = nullptr;
    QWidget* m_weightsPair = nullptr;
    bool m_typesWeights = false;
    bool m_isShowing = false;
};

} // namespace shardlens::ui
