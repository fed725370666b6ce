#pragma once

#include "ui/models/device_map.h"
#include "ui/models/needed_rows.h"
#include "ui/models/runner.h"
#include "ui/pages/convert_step.h"

#include <QWidget>

#include <memory>

class QBoxLayout;
class QComboBox;
class QTableView;

namespace shardlens::ui {

class Card;
class DeviceMatrixView;
class SlicePicture;
class TextLabel;

// Source and target layout of one parameter, side by side, and the source ranks that each target rank needs: what another strategy means. It shows for the
// goal that makes MindSpore's files.
class ConvertStrategyPreview : public QWidget {
    Q_OBJECT
public:
    explicit ConvertStrategyPreview(QWidget* parent = nullptr);

    void load(const JobDraft& draft, const StepFacts& facts);
    [[nodiscard]] QComboBox* parameters() const { return m_parameters; }
    [[nodiscard]] DeviceMatrixView* sourceMatrix() const { return m_source.matrix; }
    [[nodiscard]] DeviceMatrixView* targetMatrix() const { return m_target.matrix; }
    [[nodiscard]] QTableView* needed() const { return m_needed; }
    [[nodiscard]] QString neededText() const;

protected:
    void resizeEvent(QResizeEvent* event) override;

private:
    struct Side {
        Card* card = nullptr;
        TextLabel* cut = nullptr;
        DeviceMatrixView* matrix = nullptr;
        SlicePicture* picture = nullptr;
        TextLabel* pointed = nullptr;
        DeviceMapPtr map;
    };

    Side makeSide(const QString& title);
    void makeNeeded();
    void connectSide(Side& side);
    void show(Side& side, DeviceMapPtr map);
    void point(Side& side, std::optional<std::uint32_t> rank);
    void pointSlice(Side& side, std::optional<std::uint32_t> slice);
    void listParameters();
    void showParameter();
    void askNeeded(bool isMindSpore);

    QComboBox* m_parameters;
    QBoxLayout* m_pair;
    Side m_source;
    Side m_target;
    Card* m_neededCard = nullptr;
    TextLabel* m_neededNote = nullptr;
    QTableView* m_needed = nullptr;
    NeededRows* m_rows;
    CheckpointPtr m_checkpoint;
    std::shared_ptr<const mindspore::Strategy> m_sourceStrategy;
    std::shared_ptr<const mindspore::Strategy> m_targetStrategy;
    bool m_isKnown = false; // for these the table has been asked for
    Runner m_run;
};

} // namespace shardlens::ui
